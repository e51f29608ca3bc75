"""Which parts of a study exist only in this process, and what that means for workers elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from .. import local
from .config import Study


def in_process(study: Study) -> bool:
    """Whether the study uses an object that exists only in this process, so that workers elsewhere could not."""
    return bool(only_here(study))


def only_here(study: Study) -> list[str]:
    """Which parts of the study are objects of this process."""
    tables = study.to_tables()["study"]
    named = [("host", tables["host"]), ("data", tables.get("data")), ("train", tables["task"])]
    named += [("baselines", spec) for spec in tables.get("baselines", ())]
    return [
        name
        for name, spec in named
        if any(
            local.is_local(value)
            for value in (spec.values() if isinstance(spec, Mapping) else [spec])
            if isinstance(value, str)
        )
    ]


def elsewhere(study: Study) -> list[str]:
    """What other machines could not make: one line each."""
    remedies = {
        "host": 'name it by reference, such as Ladder("my_file:Net")',
        "data": "save the arrays as an .npz file that every node sees, or register a data set in a --with file",
        "train": 'name it by reference, such as train="my_file:train"',
        "baselines": "register it in a --with file and give its name",
    }
    return [
        f"engine: 'ray' cannot use an object that exists only in this process ({name}); {remedies[name]}"
        for name in dict.fromkeys(only_here(study))
    ]
