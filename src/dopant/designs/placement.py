"""Placement: one component in every slot that it fits, one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ..errors import ConfigError, UnknownName
from ..registry import components
from .base import Spec, as_spec
from .entries import Entries, Entry, plain


@dataclass(frozen=True)
class Placement(Entries):
    """Where does it help? One component, in each slot by itself, against the host untouched; one Holm family.

    host: as of a Ladder. component: a name or {"component": …, option: …}. slots: where; None for every slot that it
    fits, which `dp.run` finds by building the host, and then writes into the study, so that it stays the same study.
    skipped: filled in then, {slot: why the component does not fit there}.
    """

    host: Any
    component: Any
    slots: Sequence[str] | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    kind: str = field(default="placement", init=False)
    KEYS: ClassVar[dict[str, Any]] = {"component": str | dict[str, Any], "slots": list[str], "skipped": dict[str, str]}

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "component", as_spec(self.component))
        except ConfigError as error:
            raise ConfigError([f"design.component: {p}" for p in error.problems]) from None
        slots = self.slots
        if slots is None:
            return
        if isinstance(slots, str) or not isinstance(slots, Sequence) or not all(isinstance(s, str) for s in slots):
            raise ConfigError(f"design.slots: a list of slots is expected, not {slots!r}")
        if not slots:
            raise ConfigError("design.slots: no slot is named; leave the key out to try all of them")
        object.__setattr__(self, "slots", tuple(slots))

    @classmethod
    def from_table(cls, host: Any, table: Mapping[str, Any]) -> Placement:
        """The design of a `[design]` table. ConfigError lists every problem."""
        if "component" not in table:
            raise ConfigError("design.component: name what is to be placed, such as component = 'flipped-quanv'")
        return cls(host, table["component"], table.get("slots"), table.get("skipped", {}))

    @property
    def unsettled(self) -> bool:
        """Whether the slots are still to be found in the host."""
        return self.slots is None

    def tries(self, slots: Sequence[str]) -> tuple[list[tuple[str, Spec]], dict[str, str]]:
        """((slot, what would fill it), what is not even tried and why), for the slots of the host."""
        return [(slot, self.component) for slot in slots], {}

    def settled(self, fits: Sequence[tuple[str, Spec]], why_not: Mapping[str, str]) -> Placement:
        """The design with what was found, why_not by slot. ConfigError where it fits nowhere."""
        if not fits:
            raise ConfigError([f"design.component: {self.component['component']!r} fits no slot of the host", *(
                f"  {slot}: {why}" for slot, why in why_not.items())])  # fmt: skip
        return replace(self, slots=tuple(slot for slot, _ in fits), skipped=dict(why_not))

    def entries(self) -> list[Entry]:
        return [Entry("design.component", slot, self.component) for slot in self.slots or ()]

    def problems(self) -> list[str]:
        """A component that is not known, where no slot says so yet; slots that are there twice."""
        if not self.unsettled:
            return super().problems()
        try:
            info = components.get(self.component["component"])
        except UnknownName as error:
            return [f"design.component: {error}"]
        return [f"design.component: {info.name!r} fills a group of slots"] if info.mode == "group" else []

    def summary(self) -> str:
        name = self.component["component"]
        return f"{name} in {', '.join(self.slots)}" if self.slots else f"{name} in every slot that it fits"

    def to_config(self) -> dict[str, Any]:
        """The `[design]` table."""
        table: dict[str, Any] = {"kind": self.kind, "component": plain(self.component)}
        table |= {} if self.slots is None else {"slots": list(self.slots)}
        return table | ({"skipped": dict(self.skipped)} if self.skipped else {})
