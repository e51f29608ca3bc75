"""The `[design]` table of a study, read: a small registry of kinds, in which each class of design brings its keys.

A class of design has `kind`, its name here; `KEYS`, {key: its type as pydantic takes it}, beside `kind`; and
`from_table(host, table)`, which makes it from such keys. Another kind is one more line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, hint, nearest
from .base import Design
from .factorial import Factorial
from .ladder import Ladder
from .mixing import Mixing
from .one_at_a_time import OneAtATime
from .placement import Placement
from .race import Race

KINDS: dict[str, Any] = {design.kind: design for design in (Ladder, Factorial, OneAtATime, Placement, Race, Mixing)}
KEYS: dict[str, tuple[str, ...]] = {kind: tuple(design.KEYS) for kind, design in KINDS.items()}
"""What each kind's table takes beside `kind`."""


def key_types() -> dict[str, Any]:
    """{key: type} of all kinds' keys together. A key that two kinds have is of one type in both."""
    found: dict[str, Any] = {}
    for kind, design in KINDS.items():
        for key, annotation in design.KEYS.items():
            if found.setdefault(key, annotation) != annotation:
                raise TypeError(f"the design {kind!r} has a key {key!r} of another type than an earlier kind's")
    return found


def from_config(host: Any, table: Mapping[str, Any]) -> Design:
    """The design that a `[design]` table describes. ConfigError lists every problem."""
    table = dict(table)
    kind = table.pop("kind", "ladder")
    if kind not in KINDS:
        raise ConfigError(
            f"design.kind: {kind!r} is not known; there is {', '.join(map(repr, KINDS))}" + hint(nearest(kind, KINDS))
        )
    table = {key: value for key, value in table.items() if value is not None}
    problems = [
        f"design.{key}: is not of the kind {kind!r}, which takes {', '.join(KEYS[kind])}"
        + hint(nearest(key, KEYS[kind]))
        for key in table
        if key not in KEYS[kind]
    ]
    if problems:
        raise ConfigError(problems)
    return KINDS[kind].from_table(host, table)
