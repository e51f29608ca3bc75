"""Designs: which cells are trained, and which contrasts between them answer the question.

A design is a value: its methods return a new one. `Cell` and `Contrast` are what the planner and the statistics see.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import ConfigError
from .registry import components

Spec = dict[str, Any]  # {"component": name, …options}, always JSON values


@dataclass(frozen=True)
class Cell:
    """One level of every factor. swaps: {slot: spec}; a slot of a group is its names joined by '+'.

    role: "level", "control" or "variant". controls_kind: of a control, which of the four kinds it is.
    """

    name: str
    level: int | None
    swaps: dict[str, Spec]
    role: str = "level"
    control: str | None = None
    control_kind: str | None = None


@dataclass(frozen=True)
class Contrast:
    """One effect: `cell` minus `versus`, beside its pre-named `controls` (names of cells). All are names of cells.

    swap: how the effect is called, such as `head=reupload-linear`. role: "level", or "control" or "variant" if it
    stands beside the effects, outside the Holm family. missing_controls: sentences, why one is not there.
    """

    swap: str
    cell: str
    versus: str
    controls: tuple[str, ...] = ()
    role: str = "level"
    missing_controls: tuple[str, ...] = ()


def as_spec(value: Any) -> Spec:
    """A swap as written (`"name"` or `{"component": "name", …}`) in its full form."""
    if isinstance(value, str):
        return {"component": value}
    if isinstance(value, Mapping) and isinstance(value.get("component"), str):
        return dict(value)
    raise ConfigError(f"a swap is a component's name or a table with the key 'component', not {value!r}")


def describe_swaps(swaps: Mapping[str, Spec]) -> str:
    """`conv1=flipped-quanv, head=reupload-linear:reps=3`."""
    parts = []
    for slot, spec in swaps.items():
        options = "".join(f":{k}={v}" for k, v in spec.items() if k not in ("component", "of"))
        parts.append(f"{slot}={spec['component']}{options}")
    return ", ".join(parts)


@dataclass(frozen=True)
class Variant:
    """A level changed in some slots: a further level of one factor, not a control."""

    level: int
    name: str
    swaps: dict[str, Spec]


@dataclass(frozen=True)
class Ladder:
    """Cumulative: level 0 is the host untouched, each `.level(…)` adds swaps to the one below.

    host: a registered name, a mapping {"name": …, options}, a callable that builds the module, a reference
    "module:callable", or a ready module (one starting point for all replicates; the report says so).
    """

    host: Any
    levels: tuple[dict[str, Spec], ...] = ()
    variants: tuple[Variant, ...] = ()
    kind: str = field(default="ladder", init=False)

    def level(self, **swaps: Any) -> Ladder:
        """A ladder with one more level. Dotted slots: `.level(**{"encoder.0": "name"})`."""
        if not swaps:
            raise ConfigError("a level needs at least one swap, such as .level(head='reupload-linear')")
        return replace(self, levels=(*self.levels, {slot: as_spec(spec) for slot, spec in swaps.items()}))

    def variant(self, level: int, name: str, **swaps: Any) -> Ladder:
        """A ladder with a variant of `level` in which `swaps` replace those of the same slots."""
        if not 1 <= level <= len(self.levels):
            raise ConfigError(
                f"variant {name!r}: there is no level {level}; the ladder has levels 1 to {len(self.levels)}"
            )
        return replace(self, variants=(*self.variants, Variant(level, name, {s: as_spec(v) for s, v in swaps.items()})))

    def swaps_at(self, level: int) -> dict[str, Spec]:
        """All swaps of the cell at `level`."""
        merged: dict[str, Spec] = {}
        for added in self.levels[:level]:
            merged.update(added)
        return merged

    def cells(self, controls: bool | list[str] | Mapping[str, list[str]] = True) -> list[Cell]:
        """Every cell, level 0 first, each level followed by its controls and its variants."""
        return self._build(controls)[0]

    def contrasts(self, controls: bool | list[str] | Mapping[str, list[str]] = True) -> list[Contrast]:
        """One contrast a level, then those of its controls and variants, each against the level below."""
        return self._build(controls)[1]

    def _build(self, controls: Any) -> tuple[list[Cell], list[Contrast]]:
        cells = [Cell("level 0", 0, {})]
        contrasts: list[Contrast] = []
        for number, added in enumerate(self.levels, start=1):
            swaps, below = self.swaps_at(number), f"level {number - 1}"
            name = f"level {number}"
            cells.append(Cell(name, number, swaps))
            beside, why_not = [], []
            for slots, control, problem in _controls_of(added, controls):
                if problem:
                    why_not.append(problem)
                    continue
                changed = dict(swaps)
                for slot in slots:
                    changed[slot] = {"component": control, "of": added[slot]}
                    if "mix" in added[slot]:  # the old module stays beside the control as it does beside the component
                        changed[slot]["mix"] = added[slot]["mix"]
                cell_name = f"{name}, {'+'.join(slots)}={control}"
                cells.append(
                    Cell(cell_name, number, changed, "control", control, components.get(control).control or "ablation")
                )
                beside.append(cell_name)
            contrasts.append(Contrast(describe_swaps(added), name, below, tuple(beside), "level", tuple(why_not)))
            contrasts += [Contrast(c.split(", ", 1)[1], c, below, (), "control") for c in beside]
            for variant in (v for v in self.variants if v.level == number):
                cell_name = f"{name}, {variant.name}"
                cells.append(Cell(cell_name, number, {**swaps, **variant.swaps}, "variant"))
                # Stand-ins for the slot are the variant's too; an ablation is of the level's own component only.
                shared = tuple(c.name for c in cells if c.name in beside and c.control_kind != "ablation")
                contrasts.append(Contrast(variant.name, cell_name, below, shared, "variant", tuple(why_not)))
        return cells, contrasts

    def to_config(self) -> dict[str, Any]:
        """The `[design]` table."""
        table: dict[str, Any] = {"kind": self.kind, "levels": [dict(level) for level in self.levels]}
        if self.variants:
            table["variants"] = [{"level": v.level, "name": v.name, **v.swaps} for v in self.variants]
        return table


def _controls_of(added: Mapping[str, Spec], wanted: Any) -> list[tuple[list[str], str, str | None]]:
    """(slots, control, problem) for the swaps of one level: a control replaces all slots of one component at once.

    wanted: True for all that the components declare, False for none, a list of names, or {slot: names}.
    """
    if wanted is False:
        return []
    found: list[tuple[list[str], str, str | None]] = []
    by_component: dict[str, list[str]] = {}
    for slot, spec in added.items():
        by_component.setdefault(spec["component"], []).append(slot)
    for name, slots in by_component.items():
        if isinstance(wanted, Mapping):
            names = list(dict.fromkeys(c for slot in slots for c in wanted.get(slot, [])))
        elif wanted is True:
            names = list(components.get(name).controls)
        else:
            names = list(wanted)
        for control in names:
            if control not in components:
                found.append((slots, control, f"control {control!r} of {name!r} is not registered"))
            else:
                found.append((slots, control, None))
    return found


KINDS: dict[str, Callable[..., Any]] = {"ladder": Ladder}


def from_config(host: Any, table: Mapping[str, Any]) -> Ladder:
    """The design that a `[design]` table describes. ConfigError lists every problem."""
    table = dict(table)
    kind = table.pop("kind", "ladder")
    if kind not in KINDS:
        raise ConfigError(f"design.kind: {kind!r} is not known; there is {', '.join(map(repr, KINDS))}")
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


def takes_target(factory: Callable) -> bool:
    """Whether a control's factory wants the component that it controls."""
    return "target" in inspect.signature(factory).parameters
