"""The reference of the study file, read from the models that read the file. What a key means stands in meanings.toml;
a key without a meaning, or a meaning without a key, stops the build.
"""

from __future__ import annotations

import re
import tomllib
import typing
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined
from writing import code, plain, table

from dopant import designs
from dopant.recipe import RESULT_NEUTRAL, RecipeTable
from dopant.study.config import StudyTable, Tuning
from dopant.study.decided import AnalysisTable
from dopant.study.search import SETTINGS, SHARED
from dopant.training import parts

MEANINGS = Path(__file__).with_name("meanings.toml")

HEAD = """# Study file

A study file is TOML. Every table and every key may be left out, save what says which component goes where. Unknown
tables and keys are refused, all at once, with the nearest known name. `--set TABLE.KEY=VALUE` sets any of them from the
command line. Types and defaults on this page are read from the models that read the file.

```toml
[study]
data = "digits"
host = { name = "creep-cnn", size = 8 }
replicates = 10
margin = 0.01

[recipe]
lr = 3e-3
epochs = 10

[[design.levels]]
head = { component = "reupload-linear", reps = 4 }
```

A component is a name, or a table with `component` and its options; `mix = 0.5` mixes the old module in. A host, a data
set, a baseline or a task is a name, or a table with `name` and its options. Code (`module:callable`) cannot be named in
a file; give it on the command line or from Python.
"""


def page() -> str:
    """Every table and key: type, default, meaning."""
    meanings = tomllib.loads(MEANINGS.read_text(encoding="utf-8"))
    made = [HEAD]
    models = (("study", StudyTable), ("recipe", RecipeTable), ("tuning", Tuning), ("analysis", AnalysisTable))
    for name, model in models:
        rows = [
            [code(key), _type(field.annotation, field.metadata), _default(field), plain(meaning)]
            for (key, field), meaning in _paired(name, model.model_fields.items(), meanings)
        ]
        made += [f"## [{name}]", plain(meanings["tables"][name]), table(["key", "type", "default", "meaning"], rows)]
        if name == "recipe":
            made += [_registered(), "More epochs, " + ", ".join(code(k) for k in RESULT_NEUTRAL if k != "epochs")
                     + " leave finished trials what they are; any other change makes other trials."]  # fmt: skip
        if name == "tuning":
            keys = [(key, None) for key in (*SHARED, *SETTINGS)]
            rows = [[code(key), plain(meaning)] for (key, _), meaning in _paired("tuning_search", keys, meanings)]
            rows += [[code('"SLOT:OPTION"'), "an option of the component in a slot: a list or a range"],
                     [code('"baseline NAME:OPTION"'), "an option of a baseline"]]  # fmt: skip
            made += ["### [tuning.search]", plain(meanings["tables"]["tuning_search"]), table(["key", "meaning"], rows)]
    made += ["## [design]", plain(meanings["tables"]["design"])]
    for kind, design in designs.KINDS.items():
        rows = [
            [code(key), _type(annotation), plain(meaning)]
            for (key, annotation), meaning in _paired(f"design_{slug_of(kind)}", design.KEYS.items(), meanings)
        ]
        made += [f'### kind = "{kind}"', _first(design.__doc__), table(["key", "type", "meaning"], rows)]
    return "\n\n".join(made) + "\n"


def slug_of(kind: str) -> str:
    return kind.replace("-", "_")


def _paired(table_name: str, fields: Any, meanings: dict[str, Any]) -> list[tuple[tuple[str, Any], str]]:
    """((key, what the model says), meaning). ValueError where the two lists of keys differ."""
    fields, said = list(fields), dict(meanings.get(table_name, {}))
    lacking = [key for key, _ in fields if key not in said]
    left = set(said) - {key for key, _ in fields}
    if lacking or left:
        raise ValueError(f"{MEANINGS.name}: [{table_name}] lacks {lacking} and has {sorted(left)}, which are no keys")
    return [((key, field), said[key]) for key, field in fields]


def _first(doc: str | None) -> str:
    return plain((doc or "").split("\n\n")[0].replace("\n", " "))


def _registered() -> str:
    rows = [[kind, ", ".join(code(name) for name in names.names())]
            for kind, names in (("loss", parts.losses), ("optimizer", parts.optimizers), ("schedule", parts.schedules),
                                ("rule", parts.rules), ("metrics", parts.metrics))]  # fmt: skip
    return table(["key", "registered names"], rows)


def _default(field: Any) -> str:
    if field.is_required():
        return "needed"
    value = field.default if field.default is not PydanticUndefined else field.default_factory()
    if value is None:
        return "–"
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(f"{value:g}" if isinstance(value, float) else '""' if value == "" else repr(value).replace("'", '"'))


def _type(annotation: Any, metadata: Any = ()) -> str:
    said = _name(annotation)
    for bound in metadata:
        for sign, word in (("gt", "above"), ("ge", "from"), ("lt", "below"), ("le", "up to")):
            if getattr(bound, sign, None) is not None:
                said += f", {word} {getattr(bound, sign):g}"
        if getattr(bound, "min_length", None):
            said += ", not empty"
        pattern = getattr(bound, "pattern", None)
        if pattern is not None:
            said += f" like {code(pattern)}"
    return said


def _name(annotation: Any) -> str:
    """A type in TOML's words."""
    words = {str: "string", int: "whole number", float: "number", bool: "true or false", type(None): ""}
    if annotation in words:
        return words[annotation]
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(code(f'"{value}"') for value in inside)
    if origin in (list, tuple):
        names = [_name(i) for i in inside if i is not ...]
        return "list of " + (f"({names[0]})" if " or " in names[0] else names[0] + "s" * (names[0] != "anything"))
    if origin is dict:
        return "table" if inside[1] is Any else f"table of {_name(inside[1])}s"
    if inside:
        return " or ".join(dict.fromkeys(found for found in map(_name, inside) if found))
    return "anything" if annotation is Any else re.sub(r"^typing\.", "", str(annotation))
