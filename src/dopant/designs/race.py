"""The race: many candidates for one slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from ..errors import ConfigError
from ..registry import components
from .base import Spec, as_spec
from .entries import Entries, Entry, plain, several

EVERY = "all"


@dataclass(frozen=True)
class Race(Entries):
    """Which of them? Every candidate in the same slot, each against the old module.

    The candidates are one family, corrected by max-|t| over joint sign flips; the leader is run again on fresh
    replicates, because the best of many looks better than it is (docs/statistics.md).

    host: as of a Ladder. slot: where. candidates: a list of components, or "all": everything registered that fits there
    with its default options and is no control, which `dp.run` finds by building the host and writes into the study.
    skipped: filled in then, {component: why it is not among them}.
    """

    host: Any
    slot: str
    candidates: Any = EVERY
    skipped: Mapping[str, str] = field(default_factory=dict)
    kind: str = field(default="race", init=False)
    role: ClassVar[str] = "race"  # pyright: ignore[reportIncompatibleVariableOverride]
    KEYS: ClassVar[dict[str, Any]] = {
        "slot": str, "candidates": str | list[str | dict[str, Any]], "skipped": dict[str, str],
    }  # fmt: skip

    def __post_init__(self) -> None:
        if not isinstance(self.slot, str) or not self.slot:
            raise ConfigError(f"design.slot: the name of one slot is expected, not {self.slot!r}")
        if self.candidates == EVERY:
            return
        try:
            read = tuple(as_spec(spec) for spec in several(self.candidates))
        except ConfigError as error:
            raise ConfigError([f"design.candidates: {p}" for p in error.problems]) from None
        if not read:
            raise ConfigError("design.candidates: none is named; list components, or say 'all'")
        object.__setattr__(self, "candidates", read)

    @classmethod
    def from_table(cls, host: Any, table: Mapping[str, Any]) -> Race:
        """The design of a `[design]` table. ConfigError lists every problem."""
        if "slot" not in table:
            raise ConfigError("design.slot: name the slot that they compete for, such as slot = 'head'")
        return cls(host, table["slot"], table.get("candidates", EVERY), table.get("skipped", {}))

    @property
    def unsettled(self) -> bool:
        """Whether the candidates are still to be found in the host."""
        return self.candidates == EVERY

    def tries(self, slots: Sequence[str]) -> tuple[list[tuple[str, Spec]], dict[str, str]]:
        """((slot, what would fill it), what is not even tried and why), for the slots of the host."""
        out = {}
        for info in components:
            if info.control is not None:
                out[info.name] = "it is a control"
            elif info.mode == "group":
                out[info.name] = "it fills a group of slots"
            elif any(option.required for option in info.options):
                needed = ", ".join(option.name for option in info.options if option.required)
                out[info.name] = f"it needs options ({needed})"
        return [(self.slot, {"component": info.name}) for info in components if info.name not in out], out

    def settled(self, fits: Sequence[tuple[str, Spec]], why_not: Mapping[str, str]) -> Race:
        """The design with what was found, why_not by component. ConfigError where nothing fits."""
        if not fits:
            raise ConfigError([f"design.candidates: nothing registered fits the slot {self.slot!r}", *(
                f"  {name}: {why}" for name, why in why_not.items())])  # fmt: skip
        return replace(self, candidates=tuple(spec for _, spec in fits), skipped=dict(why_not))

    def entries(self) -> list[Entry]:
        specs = () if self.unsettled else self.candidates
        return [Entry("design.candidates", self.slot, spec) for spec in specs]

    def summary(self) -> str:
        names = [entry.name.partition("=")[2] for entry in self.entries()]
        return f"each of {', '.join(names)} in {self.slot}" if names else f"everything that fits in {self.slot}"

    def to_config(self) -> dict[str, Any]:
        """The `[design]` table."""
        candidates = EVERY if self.unsettled else [plain(spec) for spec in self.candidates]
        table = {"kind": self.kind, "slot": self.slot, "candidates": candidates}
        return table | ({"skipped": dict(self.skipped)} if self.skipped else {})
