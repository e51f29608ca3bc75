"""How much of a study a page shows, so that it stays below two megabytes whatever the study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LIMIT = 1_950_000  # bytes of a page


@dataclass(frozen=True)
class Room:
    """rows: of trials, in the page's text. trials, curves: bytes of their data for the page's script. effects: rows of
    effects and cells (None: all)."""

    rows: int
    trials: int
    curves: int
    effects: int | None = None


ROOMS = (
    Room(200, 420_000, 150_000),
    Room(60, 250_000, 100_000),
    Room(20, 150_000, 60_000, 150),
    Room(20, 60_000, 30_000, 60),
    Room(10, 20_000, 10_000, 20),
)  # tried in this order


class Shortened:
    """An answer with its first `rows` effects and the costs of as many cells, which says so in its notes."""

    def __init__(self, answer: Any, rows: int):
        self._answer = answer
        self.effects = answer.effects.head(rows)
        costs = getattr(answer, "costs", None)
        self.costs = None if costs is None else costs.head(rows)
        self.notes = list(getattr(answer, "notes", []))
        left_out = len(answer.effects) - len(self.effects)
        if left_out:
            self.notes.append(
                f"This page would be too large with all {len(answer.effects)} effects: it shows the first {rows}; the "
                f"other {left_out} are in effects.csv beside it."
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)
