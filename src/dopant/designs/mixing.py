"""The mixing curve: how the effect grows with the share of the new component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import ConfigError
from .base import as_spec, describe_swaps
from .entries import Entries, Entry, plain

SELF = "fresh-copy"


@dataclass(frozen=True)
class Mixing(Entries):
    """(1 - d) * old(x) + d * new(x), trained at several d, each against d = 0, the host untouched; one Holm family.

    Beside each d stands the self-mixing control: the old module mixed, at the same d, with a fresh copy of itself. What
    it does too came from having two modules side by side, or from a part that begins anew, and not from the component.
    The component's other controls take its place once, at the largest d.

    host: as of a Ladder. slot, component: what is mixed into it (a name or {"component": …, option: …}). shares: the d,
    in (0, 1]; 0 may be among them, and is there in any case. The curve is `effects` of role "level" over `mix`.
    """

    host: Any
    slot: str
    component: Any
    shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0)
    kind: str = field(default="mixing", init=False)
    KEYS: ClassVar[dict[str, Any]] = {"slot": str, "component": str | dict[str, Any], "shares": list[float]}

    def __post_init__(self) -> None:
        problems = []
        if not isinstance(self.slot, str) or not self.slot:
            problems.append(f"design.slot: the name of one slot is expected, not {self.slot!r}")
        try:
            spec = as_spec(self.component)
            if "mix" in spec:
                problems.append("design.component: its 'mix' is what `shares` varies; leave it out")
            object.__setattr__(self, "component", spec)
        except ConfigError as error:
            problems += [f"design.component: {p}" for p in error.problems]
        given: list[Any] = list(self.shares) if isinstance(self.shares, (list, tuple)) else [self.shares]
        wrong = [d for d in given if isinstance(d, bool) or not isinstance(d, (int, float)) or not 0 <= d <= 1]
        problems += [f"design.shares: {d!r} is no number from 0 to 1" for d in wrong]
        if not wrong:
            kept = sorted(float(d) for d in given if d > 0)
            if not kept:
                problems.append("design.shares: a share above 0 is needed, such as shares = [0.25, 0.5, 1.0]")
            if len(set(kept)) < len(kept):
                problems.append(f"design.shares: a share is there twice in {given!r}")
            object.__setattr__(self, "shares", tuple(kept))
        if problems:
            raise ConfigError(problems)

    @classmethod
    def from_table(cls, host: Any, table: Mapping[str, Any]) -> Mixing:
        """The design of a `[design]` table. ConfigError lists every problem."""
        missing = [key for key in ("slot", "component") if key not in table]
        if missing:
            raise ConfigError([f"design.{key}: the key is missing" for key in missing])
        return cls(host, **table)

    def entries(self) -> list[Entry]:
        found = []
        for d in self.shares:
            spec = {**self.component, "mix": d}
            own = {"component": SELF, "mix": d}
            ordinary = None if d == max(self.shares) else False
            found.append(Entry("design.component", self.slot, spec, ordinary, ((SELF, own, "ablation"),)))
        return found

    def summary(self) -> str:
        shares = ", ".join(f"{d:g}" for d in self.shares)
        return f"{describe_swaps({self.slot: self.component})} mixed in by {shares}"

    def to_config(self) -> dict[str, Any]:
        """The `[design]` table."""
        return {"kind": self.kind, "slot": self.slot, "component": plain(self.component), "shares": list(self.shares)}
