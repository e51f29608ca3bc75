"""Which cells an effect is made of: derived from `[design]` and the cells that the trials name.

An arm is a list of (weight, cell); a single cell is [(1, cell)]. Cells of a ladder are `level k`, those of a factorial
`factor=level, factor=level`, those of other designs what is swapped; a control's cell is its swap's, then a comma,
then what takes the swap's place; variants are called by name.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Any

from study_folder import DROP_IN, StudyFolder

Arm = list[tuple[float, str]]
FRESH = " (fresh replicates)"
ALIASED = " (aliased with "
SAME = " (the same "  # so many cells as for a level: what its partners are called
CONTROLS = ("bottleneck-mlp", "random-features", "linear-residual", "low-rank", "parameter-matched", "frozen")
SINGLE = ("ladder", "one-at-a-time", "placement", "race", "mixing")


class Unknown(Exception):
    """A name that the design does not explain."""


def label(slots: dict[str, Any]) -> str:
    """`conv1=flipped-quanv, head=circuit:qubits=6:layers=1` of {slot: component or its table}."""
    words = []
    for slot, filling in slots.items():
        table = {"component": filling} if isinstance(filling, str) else dict(filling)
        options = [f":{k}={v}" for k, v in table.items() if k != "component"]
        words.append(f"{slot}={table['component']}{''.join(options)}")
    return ", ".join(words)


class Arms:
    """Names of effects to arms, for one study."""

    def __init__(self, folder: StudyFolder):
        self.folder, self.design, self.kind = folder, folder.design, folder.design["kind"]
        self.cells = set(folder.cells)

    @cached_property
    def factors(self) -> dict[str, list[str]]:
        return {name: list(levels) for name, levels in self.design.get("factors", {}).items()}

    def cell(self, place: dict[str, str]) -> str:
        """The name of a combination of a factorial."""
        if len(self.factors) == 1:
            return next(iter(place.values()))
        return ", ".join(f"{factor}={place[factor]}" for factor in self.factors)

    @cached_property
    def places(self) -> list[dict[str, str]]:
        """Every combination that was trained."""
        every = (dict(zip(self.factors, levels, strict=True)) for levels in itertools.product(*self.factors.values()))
        return [place for place in every if self.cell(place) in self.cells]

    def base(self, cell: str) -> str:
        return cell.removesuffix(DROP_IN)

    # --- what the design asks ---------------------------------------------------------------------------------------

    @cached_property
    def swaps(self) -> dict[tuple[str, str], str]:
        """{(swap, versus): cell} of the levels of a design with single cells."""
        if self.kind == "ladder":
            levels = self.design["levels"]
            return {(label(level), f"level {k - 1}"): f"level {k}" for k, level in enumerate(levels, 1)}
        if self.kind not in SINGLE:
            return {}
        plain = [c for c in self.folder.cells if c != "host" and not c.startswith("baseline ")]
        plain = [c for c in plain if not c.endswith(DROP_IN)]
        others = {c for c in plain for o in plain if o != c and c.startswith(o + ", ")}
        return {(c, "host"): c for c in plain if c not in others}

    @cached_property
    def variants(self) -> dict[tuple[str, str], str]:
        """{(name, versus): cell} of a ladder's variants."""
        return {
            (v["name"], f"level {v['level'] - 1}"): f"level {v['level']}, {v['name']}"
            for v in self.design.get("variants", ())
        }

    def controls(self, cell: str) -> list[str]:
        """The cells of a swap's own controls."""
        known = set(self.swaps.values()) | set(self.variants.values())
        if cell.rpartition("=")[2] in CONTROLS:  # nothing is added to what is a control itself
            return []
        found = [c for c in self.folder.cells if c.startswith(cell + ", ") and c not in known]
        return [c for c in found if not c.endswith(DROP_IN) and ", for " not in c]

    def asked(self) -> set[tuple[str, str, str]]:
        """(role, swap, versus) of the effects that must be in the table, aliases left out, under the first estimand."""
        if self.kind in SINGLE:
            role = "race" if self.kind == "race" else "level"
            found = {(role, *key) for key in self.swaps} | {("variant", *key) for key in self.variants}
            for (_, versus), cell in self.swaps.items():
                found |= {("control", c.removeprefix(cell + ", "), versus) for c in self.controls(cell)}
            return found
        found = set()
        for factor, (first, *others) in self.factors.items():
            for level in others:
                if self.main(factor, level)[0]:
                    found.add(("main", f"{factor}={level}", f"{factor}={first}"))
        if self.design.get("resolution") not in ("III", "IV"):
            for one, two in itertools.combinations(self.factors, 2):
                for a, b in itertools.product(self.factors[one][1:], self.factors[two][1:]):
                    if self.interaction(one, a, two, b)[0]:
                        found.add(("interaction", f"{one}={a} x {two}={b}", f"{one}={a} + {two}={b}"))
        return found

    # --- sums of cells ----------------------------------------------------------------------------------------------

    def main(self, factor: str, level: str, at: dict[str, str] | None = None) -> tuple[Arm, Arm]:
        """The mean over all cells that have their partner at the factor's first level; of a fraction, where none has
        one, the mean of those with the level and of those with the first."""
        first, at = self.factors[factor][0], at or {}
        here = [p for p in self.places if at.items() <= p.items()]
        pairs = [(p, {**p, factor: first}) for p in here if p[factor] == level]
        if "resolution" in self.design:
            plus, minus = [p for p in here if p[factor] == level], [p for p in here if p[factor] == first]
        else:
            kept = [(p, q) for p, q in pairs if q in self.places]
            plus, minus = [p for p, _ in kept], [q for _, q in kept]
        return _mean([self.cell(p) for p in plus]), _mean([self.cell(p) for p in minus])

    def interaction(self, one: str, a: str, two: str, b: str) -> tuple[Arm, Arm]:
        """How much more `a` is worth at `b` than at the other factor's first level: the cell with both, against what
        the two come to if they added up, a0 + 0b - 00; means over all else that was trained with all four corners."""
        first, second = self.factors[one][0], self.factors[two][0]
        corners = [(a, b), (a, second), (first, b), (first, second)]
        found: list[list[str]] = [[], [], [], []]
        if "resolution" in self.design:
            found = [[self.cell(p) for p in self.places if (p[one], p[two]) == corner] for corner in corners]
        else:
            for p in self.places:
                four = [{**p, one: x, two: y} for x, y in corners]
                if p == four[0] and all(q in self.places for q in four):
                    for cells, q in zip(found, four, strict=True):
                        cells.append(self.cell(q))
        whole, alone, other, none = map(_mean, found)
        return whole, [*alone, *other, *((-weight, cell) for weight, cell in none)]

    # --- names on the page ------------------------------------------------------------------------------------------

    def level_of(self, words: str) -> tuple[str, str]:
        """`factor=level` -> (factor, level). Both may hold any sign, so the known names are looked for."""
        for factor, levels in self.factors.items():
            for level in levels:
                if words == f"{factor}={level}":
                    return factor, level
        raise Unknown(f"{words!r} is no level of a factor")

    def resolve(self, shown: str, versus: str, estimand: str, both: bool) -> tuple[str, Arm, Arm]:
        """(role, arm, arm that it is compared with) of a row of the table of effects."""
        for prefix in ("control", "variant", "baseline", "simple", "interaction"):
            if shown.startswith(prefix + ": "):
                role, swap = prefix, shown.removeprefix(prefix + ": ")
                break
        else:
            role, swap = "level", shown
        if swap.endswith(" minus its control"):
            role, swap = "swap-versus-control", swap.removesuffix(" minus its control")
        role, plus, minus = self._arms(role, swap.partition(ALIASED)[0], versus.partition(SAME)[0])
        if both and estimand == "drop-in":
            plus, minus = (
                [(w, c + DROP_IN if c + DROP_IN in self.cells else c) for w, c in arm] for arm in (plus, minus)
            )
        return role, plus, minus

    def _arms(self, role: str, swap: str, versus: str) -> tuple[str, Arm, Arm]:
        below = self.base(versus)
        fresh = below.endswith(FRESH)
        below = below.removesuffix(FRESH)
        swaps = {key[0]: cell for key, cell in self.swaps.items() if role == "swap-versus-control" or key[1] == below}
        if role == "simple":
            (one, at), (_, _) = swap.split(" at ", 1), versus.split(" at ", 1)
            place = dict(self.level_of(part) for part in at.split(", "))
            factor, level = self.level_of(one)
            return role, *self.main(factor, level, place)
        if role == "interaction":
            one, two = swap.split(" + ")[0].split(" x ", 1)  # of several that are aliased, the first is as good as any
            return role, *self.interaction(*self.level_of(one), *self.level_of(two))
        if below in self.cells and swap.removesuffix(FRESH) in self.cells and role != "control":
            return (role, *self._single(swap.removesuffix(FRESH), below, fresh)) if role != "level" else (
                self._level_role(fresh), *self._single(swap.removesuffix(FRESH), below, fresh)
            )  # fmt: skip
        if role in ("level", "swap-versus-control") and swap in swaps:
            mine = [c for c in (*self.swaps.values(), *self.variants.values()) if below.startswith(c + ", ")]
            cell = swaps[swap] if role == "level" or swaps[swap] in mine or not mine else mine[-1]
            return (self._level_role(fresh) if role == "level" else role), *self._single(cell, below, fresh)
        if role in ("variant", "swap-versus-control"):
            found = [c for (name, _), c in self.variants.items() if name == swap]
            found = [c for c in found if role == "variant" or below.split(", ")[0] == c.split(", ")[0]] or found
            if found:
                return role, *self._single(found[0], below, fresh)
        if role == "control":
            if swap.removesuffix(FRESH) in self.cells:
                return role, *self._single(swap.removesuffix(FRESH), below, fresh)
            raise Unknown(f"control {swap!r} against {versus!r}: give `owner` its swap")
        if role == "level":
            (factor, level), (other, first) = self.level_of(swap), self.level_of(below)
            if factor == other and first == self.factors[factor][0]:
                return "main", *self.main(factor, level)
        raise Unknown(f"{role} {swap!r} against {versus!r}: neither cells nor levels of the design")

    def control(self, owner: str, swap: str, versus: str, estimand: str, both: bool) -> tuple[str, Arm, Arm]:
        """A control named by what it puts in the swap's place, of the swap whose cell is `owner`."""
        cell = f"{self.base(owner)}, {swap}"
        if cell not in self.cells:
            raise Unknown(f"control {swap!r}: no cell {cell!r}")
        suffix = DROP_IN if both and estimand == "drop-in" and cell + DROP_IN in self.cells else ""
        fresh = versus.endswith(FRESH)
        plus, minus = self._single(cell + suffix, versus.removesuffix(FRESH), fresh)
        return "control", plus, minus

    def _level_role(self, fresh: bool) -> str:
        return "confirmed" if fresh else "race" if self.kind == "race" else "level"

    def _single(self, cell: str, versus: str, fresh: bool) -> tuple[Arm, Arm]:
        end = FRESH if fresh else ""
        return [(1.0, cell + end)], [(1.0, versus + end)]


def _mean(cells: list[str]) -> Arm:
    return [(1 / len(cells), c) for c in cells]
