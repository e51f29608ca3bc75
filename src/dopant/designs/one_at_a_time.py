"""One at a time: each swap alone in the host untouched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import ConfigError
from .base import as_spec
from .entries import Entries, Entry, is_table, plain, several


@dataclass(frozen=True)
class OneAtATime(Entries):
    """Every swap alone, against the host untouched; all of them are one Holm family.

    host: as of a Ladder. swaps: {slot: component, or a list of them}, each a name or {"component": …, option: …}.
    It tells what each swap does by itself, and nothing of how they act together; that is a Factorial's.
    ConfigError with every swap that cannot be read.
    """

    host: Any
    swaps: Mapping[str, Any]
    kind: str = field(default="one-at-a-time", init=False)
    KEYS: ClassVar[dict[str, Any]] = {"swaps": dict[str, Any]}

    def __post_init__(self) -> None:
        if not is_table(self.swaps) or not self.swaps:
            raise ConfigError(f"design.swaps: a table is expected, such as {{head = ['reupload-linear']}}, "
                              f"not {self.swaps!r}")  # fmt: skip
        read, problems = {}, []
        for slot, specs in self.swaps.items():
            try:
                read[slot] = tuple(as_spec(spec) for spec in several(specs))
            except ConfigError as error:
                problems += [f"design.swaps.{slot}: {p}" for p in error.problems]
            else:
                problems += [] if read[slot] else [f"design.swaps.{slot}: no component is named"]
        if problems:
            raise ConfigError(problems)
        object.__setattr__(self, "swaps", read)

    @classmethod
    def from_table(cls, host: Any, table: Mapping[str, Any]) -> OneAtATime:
        """The design of a `[design]` table. ConfigError lists every problem."""
        return cls(host, table.get("swaps", {}))

    def entries(self) -> list[Entry]:
        return [Entry(f"design.swaps.{slot}", slot, spec) for slot, specs in self.swaps.items() for spec in specs]

    def summary(self) -> str:
        return ", ".join(entry.name for entry in self.entries()) + (
            " (one at a time)" if len(self.entries()) > 1 else ""
        )

    def to_config(self) -> dict[str, Any]:
        """The `[design]` table."""
        return {"kind": self.kind, "swaps": {slot: [plain(s) for s in specs] for slot, specs in self.swaps.items()}}
