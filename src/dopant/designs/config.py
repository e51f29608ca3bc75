"""The `[design]` table of a study, read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, hint, nearest
from .base import Design
from .factorial import Factorial
from .ladder import Ladder

KINDS: dict[str, type] = {"ladder": Ladder, "factorial": Factorial}
KEYS = {"ladder": ("levels", "variants"), "factorial": ("factors", "only", "controlled")}
"""What each kind's table takes beside `kind`."""


def from_config(host: Any, table: Mapping[str, Any]) -> Design:
    """The design that a `[design]` table describes. ConfigError lists every problem."""
    table = dict(table)
    kind = table.pop("kind", "ladder")
    if kind not in KINDS:
        raise ConfigError(f"design.kind: {kind!r} is not known; there is {', '.join(map(repr, KINDS))}")
    table = {key: value for key, value in table.items() if value is not None}
    problems = [
        f"design.{key}: is not of the kind {kind!r}, which takes {', '.join(KEYS[kind])}"
        + hint(nearest(key, KEYS[kind]))
        for key in table
        if key not in KEYS[kind]
    ]
    if problems:
        raise ConfigError(problems)
    return _ladder(host, table) if kind == "ladder" else Factorial(host, table.pop("factors", {}), **table)


def _ladder(host: Any, table: Mapping[str, Any]) -> Ladder:
    problems: list[str] = []
    design = Ladder(host)
    for number, level in enumerate(table.get("levels", []), start=1):
        try:
            design = design.level(**level)
        except ConfigError as error:
            problems += [f"design.levels.{number}: {p}" for p in error.problems]
    for variant in table.get("variants", []):
        variant = dict(variant)
        try:
            design = design.variant(variant.pop("level"), variant.pop("name"), **variant)
        except KeyError as error:
            problems.append(f"design.variants: the key {error.args[0]!r} is missing")
        except ConfigError as error:
            problems += [f"design.variants: {p}" for p in error.problems]
    if problems:
        raise ConfigError(problems)
    return design
