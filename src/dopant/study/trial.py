"""A trial: one cell of one replicate. Its identifier is the hash of its description."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def identify(description: dict[str, Any]) -> str:
    """The identifier of a description: 16 hexadecimal digits of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical(description).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Trial:
    """What to run (description: all that decides the numbers) and how it is called (the rest).

    description keys: format, task, data, host, swaps, recipe, protocol, seed, replicate, threads, files.
    `epochs` stands outside the description (so more epochs continue a trial) unless the schedule depends on it.
    replicate: 0, 1, … are reported; tuning ones are -1, -2, ….
    device: "auto", "cpu", "cuda": where it runs, which is provenance and not identity.
    """

    description: dict[str, Any]
    cell: str
    level: int | None = None
    epochs: int | None = None
    phase: str = "main"  # or "tuning"
    device: str = "auto"
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return identify(self.description)

    @property
    def replicate(self) -> int:
        return self.description["replicate"]

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "description": self.description, "cell": self.cell, "level": self.level,
            "epochs": self.epochs, "phase": self.phase, "device": self.device, "extra": self.extra,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trial:
        return cls(**{k: data[k] for k in ("description", "cell", "level", "epochs", "phase", "device", "extra")})
