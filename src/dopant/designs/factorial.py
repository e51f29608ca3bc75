"""The factorial: every combination of the levels of several factors, or a stated part of them.

What a factor is worth is a main effect: the mean over all cells that differ in nothing else. Whether two factors add up
is their interaction. Controls stand beside the one contrast that is named for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import ConfigError, hint, nearest
from ..registry import components
from .base import Cell, Contrast, Filling, Spec, controls_of
from .comparisons import fraction_effects, interactions, main_effects
from .fraction import MOST, RESOLUTIONS, Fraction, fraction
from .levels import OLD, RECIPE, Levels, Place, is_place, key_problems, place_problems, read_levels


@dataclass(frozen=True)
class Controlled:
    """The contrast in which controls take the swap's place: `level` against `versus` of one factor, at fixed levels of
    the others. Factors of the recipe that `at` does not name are left to [tuning], or to the study's recipe."""

    factor: str
    level: str
    versus: str
    at: Place


@dataclass(frozen=True)
class Factorial:
    """All combinations of the levels of several factors.

    host: as of a Ladder. factors: {factor: levels}, each in one of two forms.
    {"head": ["reupload-linear", {"component": …, option: …}]}: the name is what is set, a slot, "recipe.KEY", or
        "slot:option" of whatever component stands there. A slot's first level is its old module, unless the list has
        "old" (or None) elsewhere.
    {"conv": {"classical": {}, "circuit": {"conv1": "flipped-quanv", "conv2": "flipped-quanv"}}}: named levels, each of
        which sets any number of such things.
    The first level of each factor is the one that the others are compared with. With one factor the cells are called as
    its levels are.
    only: the cells that are trained, as patterns {factor: level}; one that leaves factors out stands for all their
        levels. None: all. Effects are then means over the cells that have their partner.
    controlled: tables {"factor", "level", "versus" (the first level), "at" {factor: level, else the first}}.
    resolution: "III", "IV" or "V": of two-level factors, the smallest fraction of this resolution instead of all
        combinations (see `fraction`); `aliases` says what then cannot be told apart.
    ConfigError for a table that cannot be read; what is wrong between factors is told by `problems`.
    """

    host: Any
    factors: Mapping[str, Any]
    only: Sequence[Mapping[str, str]] | None = None
    controlled: Sequence[Any] = ()
    resolution: str | None = None
    kind: str = field(default="factorial", init=False)
    KEYS: ClassVar[dict[str, Any]] = {
        "factors": dict[str, Any], "only": list[dict[str, str]], "controlled": list[dict[str, Any]],
        "resolution": str,
    }  # fmt: skip

    @classmethod
    def from_table(cls, host: Any, table: Mapping[str, Any]) -> Factorial:
        """The factorial of a `[design]` table. ConfigError lists every problem."""
        return cls(host, table.get("factors", {}), **{k: v for k, v in table.items() if k != "factors"})

    def __post_init__(self) -> None:
        if not isinstance(self.factors, Mapping) or not self.factors:
            raise ConfigError("a factorial needs factors, such as {'head': ['reupload-linear']}")
        problems = [f"design.factors: {name!r} is no name" for name in self.factors if not isinstance(name, str)]
        if problems:
            raise ConfigError(problems)
        only = [] if self.only is None else self.only
        if isinstance(only, (str, Mapping)) or not all(is_place(pattern) for pattern in only):
            raise ConfigError(f"design.only: a list of tables {{factor = 'level'}} is expected, not {self.only!r}")
        if isinstance(self.controlled, (str, Mapping)) or not isinstance(self.controlled, Sequence):
            raise ConfigError(f"design.controlled: a list of tables is expected, not {self.controlled!r}")
        read: dict[str, Levels] = {}
        for name, levels in self.factors.items():
            try:
                read[name] = read_levels(name, levels)
            except ConfigError as error:
                problems += [f"design.factors.{name}: {p}" for p in error.problems]
        if problems:
            raise ConfigError(problems)
        object.__setattr__(self, "factors", read)
        object.__setattr__(self, "only", None if self.only is None else tuple(dict(p) for p in self.only))
        controlled = [c if isinstance(c, Controlled) else self._controlled(n, c) for n, c in enumerate(self.controlled)]
        object.__setattr__(self, "controlled", tuple(controlled))

    def _controlled(self, number: int, table: Mapping[str, Any]) -> Controlled:
        where = f"design.controlled.{number + 1}"
        if not isinstance(table, Mapping):
            raise ConfigError(f"{where}: a table with 'factor' and 'level' is expected, not {table!r}")
        unknown = [k for k in table if k not in ("factor", "level", "versus", "at")]
        if unknown or not {"factor", "level"} <= set(table):
            raise ConfigError(
                f"{where}: 'factor' and 'level' are needed, 'versus' and 'at' possible; got {list(table)}"
            )
        words = [table[k] for k in ("factor", "level", "versus") if k in table]
        if not all(isinstance(word, str) for word in words) or not is_place(table.get("at", {})):
            raise ConfigError(f"{where}: names are expected, and at = {{factor = 'level'}}; got {dict(table)!r}")
        name = table["factor"]
        first = next(iter(self.factors.get(name, {"": {}})))
        return Controlled(name, table["level"], table.get("versus", first), dict(table.get("at", {})))

    # --- cells ------------------------------------------------------------------------------------------------------

    def places(self) -> list[Place]:
        """Every combination that is trained, the first levels first."""
        part = self.part
        if part is not None:
            return [{f: list(levels)[x] for x, (f, levels) in zip(run, self.factors.items(), strict=True)}
                    for run in part.runs()]  # fmt: skip
        every = [dict(zip(self.factors, levels, strict=True)) for levels in itertools.product(*self.factors.values())]
        if self.only is None:
            return every
        return [place for place in every if any(pattern.items() <= place.items() for pattern in self.only)]

    @property
    def part(self) -> Fraction | None:
        """The fraction that is trained; None for all combinations, and for factors that have no such fraction."""
        if self.resolution not in RESOLUTIONS or not 1 < len(self.factors) <= MOST:
            return None
        if any(len(levels) != 2 for levels in self.factors.values()):
            return None
        return fraction(len(self.factors), RESOLUTIONS[self.resolution])

    def aliases(self) -> list[str]:
        """What the fraction cannot tell apart: sentences; empty for all combinations."""
        part = self.part
        if part is None:
            return []
        names, k = list(self.factors), len(self.factors)

        def called(word: int) -> str:
            return " x ".join(names[i] for i in range(k) if word >> i & 1)

        runs, whole = len(part.runs()), 1 << k
        roman = {n: r for r, n in RESOLUTIONS.items()}.get(part.resolution, str(part.resolution))
        if runs == whole:
            return [
                f"No fraction of {k} factors has resolution {self.resolution}: all {whole} combinations are trained."
            ]
        found = [f"{runs} of {whole} combinations are trained, a fraction of resolution {roman}."]
        seen: set[int] = set()
        for word in [1 << i for i in range(k)] + [1 << i | 1 << j for i, j in itertools.combinations(range(k), 2)]:
            same = part.aliases(word)
            if same and word not in seen:
                seen |= {word, *same}
                found.append(f"Not told apart: {' and '.join(called(w) for w in (word, *same))}.")
        if len(found) == 1:
            found.append(
                "Main effects and interactions of two factors are told apart, if those of three or more are nil."
            )
        return found

    def name(self, place: Place) -> str:
        """How the cell of a place is called."""
        if len(self.factors) == 1:
            return next(iter(place.values()))
        return ", ".join(f"{factor}={level}" for factor, level in place.items())

    def filled(self, place: Place) -> tuple[dict[str, Spec], dict[str, Any]]:
        """(swaps, changes of the recipe) of a place, which may leave factors out."""
        settings = [item for factor, level in place.items() for item in self.factors[factor][level].items()]
        swaps = {k: dict(v) for k, v in settings if not k.startswith(RECIPE) and ":" not in k and v != OLD}
        for key, value in settings:
            slot, colon, option = key.partition(":")
            if colon and slot in swaps:
                swaps[slot][option] = value
        return swaps, {k.removeprefix(RECIPE): v for k, v in settings if k.startswith(RECIPE)}

    def cells(self, controls: Any = True) -> list[Cell]:
        """The trained combinations, then those of controlled contrasts with their controls."""
        found = []
        for place in self.places():
            swaps, recipe = self.filled(place)
            found.append(Cell(self.name(place), None, swaps, recipe=recipe))
        for controlled in self._sound():
            for level in (controlled.versus, controlled.level):
                label = self._arm(controlled, level)
                swaps, recipe = self.filled(self._at(controlled, level))
                found.append(Cell(label, None, swaps, recipe=recipe))
            found += [cell for cell, _ in self._control_cells(controlled, controls) if cell is not None]
        return list({cell.name: cell for cell in found}.values())

    def _sound(self) -> list[Controlled]:
        return [c for c in self.controlled if not self._problems_of(c, "")]

    def _arm(self, controlled: Controlled, level: str) -> str:
        return f"{controlled.factor}={level} ({self._where(controlled)})"

    def _where(self, controlled: Controlled, control: bool = False) -> str:
        """What tells the arms of several controlled contrasts apart: where they stand, of controls also of what."""
        of_slot = [c for c in self.controlled if c.factor == controlled.factor]
        words = ["controlled"]
        if len({tuple(sorted(c.at.items())) for c in of_slot}) > 1:
            words += [f"{factor}={level}" for factor, level in controlled.at.items()]
        if control and len({c.level for c in of_slot}) > 1:
            words.append(f"of {controlled.level}")
        return ", ".join(words)

    def references(self) -> list[str]:
        """What whole other models are compared with: the reference arms of controlled contrasts, else the first
        cell."""
        arms = [self._arm(c, c.versus) for c in self._sound()]
        return list(dict.fromkeys(arms)) or [self.name(self.places()[0])]

    def _at(self, controlled: Controlled, level: str) -> Place:
        place = {}
        for factor, levels in self.factors.items():
            if factor == controlled.factor:
                place[factor] = level
            elif factor in controlled.at:
                place[factor] = controlled.at[factor]
            elif not all(k.startswith(RECIPE) for settings in levels.values() for k in settings):
                place[factor] = next(iter(levels))
        return place

    def _control_cells(self, controlled: Controlled, controls: Any) -> Iterator[tuple[Cell | None, str | None]]:
        """(cell, None), or (None, why there is none) of each control."""
        swaps, recipe = self.filled(self._at(controlled, controlled.level))
        own = self.factors[controlled.factor][controlled.level]
        added = {slot: swaps[slot] for slot in own if slot in swaps}
        for slots, control, problem in controls_of(added, controls):
            if problem:
                yield None, problem
                continue
            changed = {
                slot: {"component": control, "of": spec} if slot in slots else spec for slot, spec in swaps.items()
            }
            for slot in slots:
                if "mix" in swaps[slot]:
                    changed[slot]["mix"] = swaps[slot]["mix"]
            name = f"{'+'.join(slots)}={control} ({self._where(controlled, control=True)})"
            kind = components.get(control).control or "ablation"
            yield Cell(name, None, changed, "control", control, kind, recipe), None

    # --- contrasts --------------------------------------------------------------------------------------------------

    def contrasts(self, controls: Any = True) -> list[Contrast]:
        """Main effects, with their simple effects, and controlled contrasts (the Holm family), then interactions of two
        factors; see `comparisons`."""
        trained = {self.name(place) for place in self.places()}
        part = self.part
        if part is not None and len(part.runs()) < 1 << len(self.factors):
            effects = list(fraction_effects(self.factors, self.name, part))
        else:
            effects = [c for factor in self.factors for c in main_effects(self.factors, self.name, trained, factor)]
            effects += interactions(self.factors, self.name, trained)
        found = [c for c in effects if c.role != "interaction"]
        for controlled in self._sound():
            beside, why_not = [], []
            for cell, problem in self._control_cells(controlled, controls):
                if cell is None:
                    why_not.append(problem or "")
                else:
                    beside.append(cell.name)
            cell, versus = self._arm(controlled, controlled.level), self._arm(controlled, controlled.versus)
            found.append(Contrast(cell, cell, versus, tuple(beside), "level", tuple(why_not)))
            found += [Contrast(c, c, versus, (), "control") for c in beside]
        return found + [c for c in effects if c.role == "interaction"]

    # --- checks and texts -------------------------------------------------------------------------------------------

    def fillings(self) -> list[Filling]:
        """Every swap of every level."""
        return [
            Filling(f"design.factors.{factor}.{level}.{slot}", slot, spec)
            for factor, levels in self.factors.items()
            for level, settings in levels.items()
            for slot, spec in settings.items()
            if not slot.startswith(RECIPE) and ":" not in slot and spec != OLD
        ]

    def problems(self) -> list[str]:
        """Factors that set the same thing, options of slots that hold no component, unknown levels, wrong keys."""
        found = []
        owners: dict[str, str] = {}
        for factor, levels in self.factors.items():
            for key in dict.fromkeys(k for settings in levels.values() for k in settings):
                if owners.setdefault(key, factor) != factor:
                    found.append(f"design.factors: {key!r} is set by {owners[key]!r} and by {factor!r}")
                found += key_problems(f"design.factors.{factor}", key)
        found += self._resolution_problems()
        for pattern in self.only or ():
            found += place_problems(self.factors, pattern, "design.only")
        for number, controlled in enumerate(self.controlled, start=1):
            found += self._problems_of(controlled, f"design.controlled.{number}")
        if found:
            return list(dict.fromkeys(found))
        places = self.places()
        if not places:
            return ["design.only: no cell is left"]
        found += self._loose_options(places)
        if not found and len(places) > 1 and not any(c.role in ("level", "main") for c in self.contrasts(False)):
            found.append(
                "design.only: no two of the cells differ in one factor alone, so nothing could be told from them; add "
                "cells that do"
            )
        return found

    def _resolution_problems(self) -> list[str]:
        if self.resolution is None:
            return []
        if self.resolution not in RESOLUTIONS:
            return [
                f"design.resolution: {self.resolution!r} is not known; there is {', '.join(map(repr, RESOLUTIONS))}"
            ]
        found = (
            ["design.resolution: `only` says which cells are trained; leave one of the two out"] if self.only else []
        )
        if not 1 < len(self.factors) <= MOST:
            found.append(f"design.resolution: fractions are of 2 to {MOST} factors, and here are {len(self.factors)}")
        wrong = [f"{f!r} ({len(levels)})" for f, levels in self.factors.items() if len(levels) != 2]
        if wrong:
            found.append(f"design.resolution: fractions are of factors with two levels, not {', '.join(wrong)}; give "
                         "each two, or say by `only` which cells are trained")  # fmt: skip
        return found

    def _loose_options(self, places: Sequence[Place]) -> list[str]:
        """Options of slots that hold no component somewhere: one line for each key."""
        every = [*places, *(self._at(c, x) for c in self.controlled for x in (c.level, c.versus))]
        filled = {filling.slot for filling in self.fillings()}
        found = []
        for factor, levels in self.factors.items():
            for key in dict.fromkeys(k for settings in levels.values() for k in settings if ":" in k):
                slot = key.partition(":")[0]
                if slot not in filled:
                    found.append(
                        f"design.factors.{factor}: no level fills the slot {slot!r}" + hint(nearest(slot, filled))
                    )
                    continue
                without = [p for p in every if key in self.factors[factor][p[factor]] and slot not in self.filled(p)[0]]
                if without:
                    found.append(
                        f"design.factors.{factor}: {key!r} is an option of the component in {slot!r}, and the old "
                        f"module, which takes none, stands there in {len(without)} cells, such as "
                        f"{self.name(without[0])!r}; name the levels of {slot!r} and give each a component, such as "
                        f"classical = {{ {slot} = 'linear' }} (a list of a slot begins with the old module), or leave "
                        "such cells out by design.only"
                    )
        return found

    def _problems_of(self, controlled: Controlled, where: str) -> list[str]:
        place = {controlled.factor: controlled.level, **controlled.at}
        found = place_problems(self.factors, place, where)
        found += place_problems(self.factors, {controlled.factor: controlled.versus}, where)
        if controlled.factor in controlled.at:
            found.append(f"{where}.at: {controlled.factor!r} is the factor that is compared")
        if not found and controlled.level == controlled.versus:
            found.append(f"{where}: level and versus are both {controlled.level!r}")
        return found

    def summary(self) -> str:
        words = " x ".join(f"{factor} {{{', '.join(levels)}}}" for factor, levels in self.factors.items())
        return words + (f" (a fraction of resolution {self.resolution})" if self.part is not None else "")

    def to_config(self) -> dict[str, Any]:
        """The `[design]` table, with named levels throughout."""
        table: dict[str, Any] = {
            "kind": self.kind,
            "factors": {f: {name: dict(s) for name, s in levels.items()} for f, levels in self.factors.items()},
        }
        if self.resolution is not None:
            table["resolution"] = self.resolution
        if self.only is not None:
            table["only"] = [dict(pattern) for pattern in self.only]
        if self.controlled:
            table["controlled"] = [
                {"factor": c.factor, "level": c.level, "versus": c.versus, "at": dict(c.at)} for c in self.controlled
            ]
        return table
