"""The combinations that a study's cells are some of: its slots (and factors of the recipe) with all their levels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..designs import Factorial
from ..designs.base import Spec, describe_swaps
from ..designs.levels import OLD, RECIPE, Levels, Place
from ..errors import ConfigError
from ..study import plan as planning
from ..study.config import Study

Code = tuple[int, ...]  # the number of a level in each factor


@dataclass(frozen=True)
class Space:
    """factors: {factor: levels}, the level that others are compared with first. cells: {code: the study's cell}.

    design: a factorial of all combinations, which knows their swaps. forbidden: pairs of (factor, level) numbers that
    cannot stand together: an option of a component, and a level at which that slot holds none.
    """

    design: Factorial
    cells: Mapping[Code, str]
    forbidden: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = ()

    @property
    def factors(self) -> Mapping[str, Levels]:
        return self.design.factors

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(len(levels) for levels in self.factors.values())

    @property
    def total(self) -> int:
        """Combinations, forbidden ones among them."""
        return math.prod(self.sizes)

    def allows(self, code: Code) -> bool:
        return not any(code[f] == x and code[g] == y for (f, x), (g, y) in self.forbidden)

    def codes(self) -> np.ndarray:
        """(combination, factor) numbers of levels, of all combinations that are allowed."""
        grid = np.array(list(itertools.product(*map(range, self.sizes))), dtype=np.int64)
        keep = np.ones(len(grid), dtype=bool)
        for (f, x), (g, y) in self.forbidden:
            keep &= ~((grid[:, f] == x) & (grid[:, g] == y))
        return grid[keep]

    def place(self, code: Code) -> Place:
        return {f: list(levels)[i] for (f, levels), i in zip(self.factors.items(), code, strict=True)}

    def name(self, code: Code) -> str:
        """What a combination is called: its cell, or its swaps and what it changes in the recipe."""
        if code in self.cells:
            return self.cells[code]
        return self.swaps(code)

    def swaps(self, code: Code) -> str:
        swaps, recipe = self.design.filled(self.place(code))
        words = [describe_swaps(swaps)] if swaps else []
        words += [f"{RECIPE}{key}={value}" for key, value in recipe.items()]
        return ", ".join(words) or "no swap"

    def settings(self, code: Code) -> dict[str, Any]:
        """What a combination sets, as one level of a factor does."""
        swaps, recipe = self.design.filled(self.place(code))
        return {**swaps, **{RECIPE + key: value for key, value in recipe.items()}}

    def columns(self) -> Iterator[tuple[int, int]]:
        """(factor, level) numbers of the main effects: every level but the first."""
        for f, size in enumerate(self.sizes):
            for level in range(1, size):
                yield f, level

    def label(self, column: tuple[int, int]) -> str:
        factor = list(self.factors)[column[0]]
        return f"{factor}={list(self.factors[factor])[column[1]]}"


def space_of(study: Study) -> Space:
    """The space of a study: of a factorial its factors; of other designs every slot (or group) that a level fills, with
    the old module and what ever stands there.

    Raises ConfigError where slots overlap, or where nothing is swapped.
    """
    design = study.design
    if isinstance(design, Factorial):
        whole = Factorial(design.host, design.factors)
        cells = {_code(whole, place): design.name(place) for place in design.places()}
    else:
        networks = [
            cell for cell in planning.cells(study) if cell.role in ("level", "variant") and not _aside(cell)
        ]  # fmt: skip
        whole = _of_cells(design.host, [cell.swaps for cell in networks])
        cells = {}
        for cell in networks:
            place = {slot: _level(whole.factors[slot], cell.swaps.get(slot)) for slot in whole.factors}
            cells.setdefault(_code(whole, place), cell.name)
    space = Space(whole, cells, tuple(_forbidden(whole.factors)))
    return Space(whole, {code: name for code, name in cells.items() if space.allows(code)}, space.forbidden)


def _aside(cell: Any) -> bool:
    return bool(cell.recipe) or cell.drop_in or cell.baseline is not None


def _of_cells(host: Any, swaps: list[dict[str, Spec]]) -> Factorial:
    factors: dict[str, list[Spec]] = {}
    for spec_by_slot in swaps:
        for slot, spec in spec_by_slot.items():
            known = factors.setdefault(slot, [])
            if spec not in known:
                known.append(spec)
    if not factors:
        raise ConfigError("choose: no cell of this study swaps anything, so there is nothing to choose among")
    owner: dict[str, str] = {}
    for group in factors:
        for slot in group.split("+"):
            if owner.setdefault(slot, group) != group:
                raise ConfigError(
                    f"choose: the slot {slot!r} is filled by {owner[slot]!r} and by {group!r}, which cannot be "
                    "combined; a factorial with named levels says what goes together"
                )
    return Factorial(host, factors)


def _level(levels: Levels, spec: Spec | None) -> str:
    if spec is None:
        return OLD
    return next(name for name, settings in levels.items() if spec in settings.values())


def _code(design: Factorial, place: Place) -> Code:
    return tuple(list(levels).index(place[factor]) for factor, levels in design.factors.items())


def _forbidden(factors: Mapping[str, Levels]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Levels with an option of a slot, each with the levels of the factor that fills this slot and does not there."""
    for f, levels in enumerate(factors.values()):
        for x, settings in enumerate(levels.values()):
            for slot in (key.partition(":")[0] for key in settings if ":" in key and not key.startswith(RECIPE)):
                for g, others in enumerate(factors.values()):
                    fills = [o.get(slot, OLD) != OLD for o in others.values()]
                    if g != f and any(fills):
                        yield from (((f, x), (g, y)) for y, filled in enumerate(fills) if not filled)
