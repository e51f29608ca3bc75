"""Keepers for tests of the loop: one that holds everything in memory, and can stop a training anywhere."""

from __future__ import annotations

import copy
from typing import Any


class Stopped(Exception):
    """The training was cut off by the test."""


class MemoryKeeper:
    """Keeps states and metrics; `stop_at`: the step at which `alive` raises; `every`: steps between checkpoints."""

    def __init__(self, state: Any = None, stop_at: int | None = None, every: int | None = None):
        self.states: list[Any] = [] if state is None else [state]
        self.rows: dict[int, dict[str, float]] = {}
        self.stop_at, self.every, self.calls = stop_at, every, 0
        self.epochs = None

    def restore(self) -> Any:
        return copy.deepcopy(self.states[-1]) if self.states else None

    def save(self, state: Any) -> None:
        self.states.append(copy.deepcopy(state))

    def due(self) -> bool:
        return self.every is not None and self.calls % self.every == 0

    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        self.rows[epoch] = dict(metrics)

    def progress(self, **values: Any) -> None: ...

    def alive(self) -> None:
        if self.stop_at is not None and self.calls >= self.stop_at:
            raise Stopped
        self.calls += 1
