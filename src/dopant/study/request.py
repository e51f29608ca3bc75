"""From the words of a command line to a study."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import ConfigError
from .config import Study, StudyTable, Tables, complete_pair, from_tables, read_toml, references

QUICK = {"replicates": 2, "epochs": 2}


def study_of_request(
    file: Path | None,
    *,
    host: str | None = None,
    data: str | None = None,
    swaps: Sequence[str] = (),
    sets: Sequence[str] = (),
    replicates: int | None = None,
    epochs: int | None = None,
    controls: bool | None = None,
    quick: bool = False,
    files: Sequence[Path] = (),
    need_swaps: bool = True,
) -> Study:
    """The study that a command line asks for.

    Without a file and without host, data and swaps: the embedded one. Without a file but with any of them: an untuned
    ladder of two levels, the host and all swaps together. Further options override either. ConfigError lists all
    problems.
    """
    for path in files:
        registry.load_file(path)
    problems: list[str] = []
    tables: dict[str, Any]
    if file is not None:
        tables = read_toml(file)
        tables.setdefault("study", {}).setdefault("name", file.stem)
        problems += [f"{file}: {p}" for p in references(tables) if not (host and p.startswith("study.host"))]
        if swaps:
            problems.append("--swap: a study file says its swaps in [design]; leave one of the two out")
    elif host or data or swaps:
        tables = {"study": {"data": "digits"}, "design": {"kind": "ladder"}}
        level = {}
        for text in swaps:
            try:
                slot, spec = parse_swap(text)
                if slot in level:
                    problems.append(f"--swap: the slot {slot!r} is swapped twice")
                level[slot] = spec
            except ConfigError as error:
                problems += error.problems
        tables["design"]["levels"] = [level] if level else []
        if not swaps and need_swaps:
            problems.append(
                "--swap: name at least one, such as --swap head=reupload-linear; `dopant inspect` lists slots"
            )
    else:
        tables = tomllib.loads((resources.files("dopant.study") / "default.toml").read_text(encoding="utf-8"))
    tables = copy.deepcopy(tables)
    study = tables.setdefault("study", {})
    recipe = tables.setdefault("recipe", {})
    if isinstance(study, dict) and isinstance(recipe, dict):
        study |= {k: v for k, v in (("host", host), ("data", data), ("replicates", replicates)) if v is not None}
        if controls is not None:
            study["controls"] = study.get("controls") or True if controls else False
        if epochs is not None:
            recipe["epochs"] = epochs
        if quick:
            _quick(tables, replicates, epochs)
    for text in sets:
        try:
            _set(tables, text)
        except ConfigError as error:
            problems += error.problems
    if file is None and isinstance(tables.get("study"), dict):
        complete_pair(tables["study"])
    try:
        result = from_tables(tables, where=str(file) if file else "")
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError([*problems, *result.problems()])
    for reference in result.references():  # what names code now was written on the command line
        registry.allow(reference)
    return result


def _quick(tables: dict[str, Any], replicates: int | None, epochs: int | None) -> None:
    whole = tables["study"].get("folds") or QUICK["replicates"]  # a repetition of cross-validation is not cut short
    tables["study"]["replicates"] = whole if replicates is None else replicates
    tables["recipe"]["epochs"] = QUICK["epochs"] if epochs is None else epochs
    tables.pop("tuning", None)
    if tables["study"].get("name"):
        tables["study"]["name"] += "-quick"


def parse_value(text: str) -> Any:
    """A TOML value; what is no TOML value is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parse_swap(text: str) -> tuple[str, Any]:
    """`slot=component[:option=value,…]` -> (slot, spec). ConfigError for another form."""
    slot, equals, rest = text.partition("=")
    name, colon, options = rest.partition(":")
    if not (slot.strip() and equals and name.strip()):
        raise ConfigError(f"--swap {text!r}: write slot=component or slot=component:option=value,option=value")
    if not colon:
        return slot.strip(), name.strip()
    spec: dict[str, Any] = {"component": name.strip()}
    for part in split_options(options):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--swap {text!r}: the option {part!r} has no '='; write option=value")
        spec[key.strip()] = parse_value(value.strip())
    return slot.strip(), spec


def split_options(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c in "[{(":
            depth += 1
        elif c in "]})":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


_KEY = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^."'=]+)\s*([.=])""")


def _split_set(text: str) -> tuple[list[str], str]:
    """`a."b c".d=value` -> (["a", "b c", "d"], "value"): keys as TOML has them; bare ones may hold any sign but .="'"""
    keys, at, end = [], 0, "."
    while end == ".":
        found = _KEY.match(text, at)
        key = found[1].strip() if found else ""
        try:
            keys.append(tomllib.loads(f"key = {key}")["key"] if key[:1] in ("'", '"') else key)
        except tomllib.TOMLDecodeError:
            key = ""
        if found is None or not key:
            raise ConfigError(
                f"--set {text!r}: write key.path=value, such as recipe.lr=1e-3; a key with a dot, an equals sign or a "
                'quote in it stands in quotes, such as design.factors."a.b"=…'
            )
        at, end = found.end(), found[2]
    return keys, text[at:]


def _set(tables: dict[str, Any], text: str) -> None:
    """Apply `key.path=value`; a path without a table means `study.…`."""
    keys, value = _split_set(text)
    if keys[0] in StudyTable.model_fields or (len(keys) == 1 and keys[0] not in Tables.model_fields):
        keys.insert(0, "study")
    table: Any = tables
    for key in keys[:-1]:
        if isinstance(table, list) and key.isdigit() and int(key) < len(table):
            table = table[int(key)]
            continue
        if isinstance(table, dict) and isinstance(table.get(key), str) and key in ("host", "data", "task"):
            table[key] = {"name": table[key]}  # options may follow a plain name
        if not isinstance(table, dict) or not isinstance(table.setdefault(key, {}), dict | list):
            raise ConfigError(f"--set {text!r}: {key!r} is no table")
        table = table[key]
    table[keys[-1]] = parse_value(value.strip())
