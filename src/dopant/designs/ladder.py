"""The ladder: cumulative levels, each of which adds swaps to the one below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ..errors import ConfigError
from .base import Cell, Contrast, Filling, Spec, as_spec, control_cells, describe_swaps


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
    KEYS: ClassVar[dict[str, Any]] = {"levels": list[dict[str, Any]], "variants": list[dict[str, Any]]}

    @classmethod
    def from_table(cls, host: Any, table: Mapping[str, Any]) -> Ladder:
        """The ladder of a `[design]` table. ConfigError lists every problem."""
        problems: list[str] = []
        design = cls(host)
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
            made, why_not = control_cells(name, number, swaps, added, controls)
            cells += made
            beside = [cell.name for cell in made]
            contrasts.append(Contrast(describe_swaps(added), name, below, tuple(beside), "level", tuple(why_not)))
            contrasts += [Contrast(c.split(", ", 1)[1], c, below, (), "control") for c in beside]
            for variant in (v for v in self.variants if v.level == number):
                cell_name = f"{name}, {variant.name}"
                cells.append(Cell(cell_name, number, {**swaps, **variant.swaps}, "variant"))
                # Stand-ins for the slot are the variant's too; an ablation or a surrogate is of its own component only.
                own = ("ablation", "surrogate")
                shared = tuple(c.name for c in cells if c.name in beside and c.control_kind not in own)
                contrasts.append(Contrast(variant.name, cell_name, below, shared, "variant", tuple(why_not)))
        return cells, contrasts

    def fillings(self) -> list[Filling]:
        """Every swap of levels and variants."""
        found = [
            Filling(f"design.levels.{number}.{slot}", slot, spec)
            for number, level in enumerate(self.levels, start=1)
            for slot, spec in level.items()
        ]
        return found + [Filling(f"design.variants.{s}", s, spec) for v in self.variants for s, spec in v.swaps.items()]

    def references(self) -> list[str]:
        """What whole other models are compared with: the host untouched."""
        return ["level 0"]

    def problems(self) -> list[str]:
        """A ladder that could be written is sound."""
        return []

    def summary(self) -> str:
        return "; then ".join(describe_swaps(level) for level in self.levels)

    def to_config(self) -> dict[str, Any]:
        """The `[design]` table."""
        table: dict[str, Any] = {"kind": self.kind, "levels": [dict(level) for level in self.levels]}
        if self.variants:
            table["variants"] = [{"level": v.level, "name": v.name, **v.swaps} for v in self.variants]
        return table
