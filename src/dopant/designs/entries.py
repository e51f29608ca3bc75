"""Designs whose every cell is the host with one thing changed: entries, each compared with the host untouched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .base import Cell, Contrast, Filling, Spec, control_cells, describe_swaps

HOST = "host"  # what the cell of the host untouched is called


@dataclass(frozen=True)
class Entry:
    """One swap: where it is written (dotted path in the study), its slot and what fills it.

    controls: None for what the study says, else what stands in its place (False: none).
    """

    path: str
    slot: str
    spec: Spec
    controls: Any = None
    more: tuple[tuple[str, Spec, str], ...] = ()  # further controls: (component, spec, kind)

    @property
    def name(self) -> str:
        return describe_swaps({self.slot: self.spec})


class Entries:
    """Cells, contrasts and texts of a design that has `entries()` and a `host`. role: of its contrasts.

    A control takes the place of an entry in one contrast: that of its entry with the host.
    """

    role = "level"

    def entries(self) -> list[Entry]:
        """Every entry, in order; their names differ."""
        raise NotImplementedError

    def cells(self, controls: Any = True) -> list[Cell]:
        """The host untouched, then each entry followed by its controls."""
        return [Cell(HOST, 0, {}), *(cell for entry in self.entries() for cell in self._cells_of(entry, controls)[0])]

    def _cells_of(self, entry: Entry, controls: Any) -> tuple[list[Cell], list[str]]:
        """(the entry's cell and those of its controls, why some are not there)."""
        swaps = {entry.slot: entry.spec}
        wanted = controls if controls is False or entry.controls is None else entry.controls
        made, why_not = control_cells(entry.name, 1, swaps, swaps, wanted)
        if controls is not False:
            made += [
                Cell(f"{entry.name}, {entry.slot}={name}", 1, {entry.slot: spec}, "control", name, kind)
                for name, spec, kind in entry.more
                if name not in {cell.control for cell in made}
            ]
        return [Cell(entry.name, 1, swaps), *made], why_not

    def contrasts(self, controls: Any = True) -> list[Contrast]:
        """Each entry against the host, beside its controls; then those of the controls."""
        found = []
        for entry in self.entries():
            (cell, *beside), why_not = self._cells_of(entry, controls)
            names = tuple(c.name for c in beside)
            found.append(Contrast(cell.name, cell.name, HOST, names, self.role, tuple(why_not)))
            found += [Contrast(name.removeprefix(f"{cell.name}, "), name, HOST, (), "control") for name in names]
        return found

    def fillings(self) -> list[Filling]:
        """Every swap."""
        return [Filling(entry.path, entry.slot, entry.spec) for entry in self.entries()]

    def references(self) -> list[str]:
        """What whole other models are compared with: the host untouched."""
        return [HOST]

    def problems(self) -> list[str]:
        """Swaps that are there twice."""
        names = [entry.name for entry in self.entries()]
        return [f"design: {name!r} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]


def plain(spec: Spec) -> str | dict[str, Any]:
    """A swap as short as it can be written."""
    return spec["component"] if set(spec) == {"component"} else dict(spec)


def several(value: Any) -> list[Any]:
    """A list of what may be given alone."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def is_table(value: Any) -> bool:
    """Whether a value is a table whose keys are names."""
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
