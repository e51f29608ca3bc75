"""What a task is given to keep its work: states, metrics, progress, and the word whether to go on."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import LeaseLost
from . import checkpoint
from .folder import TrialFolder, append_line, disk, plain
from .trial import Trial

logger = logging.getLogger("dopant.study")

SECONDS = 30.0  # between checkpoints, where the recipe does not say
GRACE = 2.0  # how long after a request to stop a task may go on to its next save


class Keeper:
    """The keeper of one attempt of one trial.

    folder: the attempt's own folder, for files of a task. epochs: how many are asked for, or None. A state that is
    saved must hold all that the rest of the trial depends on; random draws come from the streams, never from it.
    Order matters for a kill in between: log an epoch first, then save the state that has finished it.
    """

    def __init__(
        self,
        study: str | Path,
        trial: Trial,
        attempt: int,
        *,
        seconds: float | None = None,
        stop: threading.Event | None = None,
    ):
        self.trial, self.attempt, self.epochs = trial, attempt, trial.epochs
        self.trial_folder = TrialFolder(Path(study), trial.id)
        self.folder = self.trial_folder.attempt(attempt)
        recipe = trial.description.get("recipe") or {}
        wanted = trial.extra.get("checkpoint_seconds") or recipe.get("checkpoint_seconds") or SECONDS
        self.seconds = wanted if seconds is None else seconds
        self.warnings: list[str] = []
        self.lost = threading.Event()
        self._stop = stop or threading.Event()
        self._stop_seen: float | None = None
        self._saved = time.monotonic()
        self._generation = 0
        self._progress: dict[str, Any] = {}
        self._lock = threading.Lock()
        with disk(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for scratch in self.trial_folder.path.glob("attempt-*/.*.tmp"):  # of a killed attempt
                scratch.unlink(missing_ok=True)

    def restore(self) -> Any:
        """The newest state of this trial that is whole, from any attempt, with its tensors on the CPU; or None.

        A damaged state is passed over with a warning, which the report repeats.
        """
        words: list[str] = []
        found = checkpoint.newest(self.trial_folder, words)
        for word in words:
            logger.warning("trial %s: %s", self.trial.id, word)
        self.warnings += words
        if found is None:
            return None
        state, attempt, generation = found
        self._generation = generation if attempt == self.attempt else 0
        return state

    def save(self, state: Any) -> None:
        """Keep a state: nested dict, list, tuple of tensors, numbers, strings, None (see checkpoint.flatten).

        Written beside, flushed, renamed; the last two stay. Cost: one copy in memory, two flushes to the disk.
        Raises StoreError where the disk refuses, TypeError for what cannot be kept.
        """
        with disk(self.folder):
            self._flush_metrics()
            checkpoint.write(self.folder, self._generation + 1, state)
            self._generation += 1
            if self._generation >= checkpoint.KEEP:  # two whole ones here: those of earlier attempts have served
                for attempt in self.trial_folder.attempts():
                    if attempt < self.attempt:
                        for generation in checkpoint.generations(self.trial_folder.attempt(attempt)):
                            checkpoint.drop(self.trial_folder.attempt(attempt), generation)
        self._saved = time.monotonic()
        if self._stop_seen is not None:
            self._stop_seen = -1.0

    def due(self) -> bool:
        """Whether to save now: `seconds` have passed since the last save, or the study is asked to stop. Cheap."""
        if self._stop.is_set() and self._stop_seen != -1.0:
            self._stop_seen = self._stop_seen or time.monotonic()
            return True
        return time.monotonic() - self._saved >= self.seconds

    def log(self, epoch: int, metrics: dict[str, Any]) -> None:
        """Add an epoch's metrics (numbers or strings by name) to metrics.jsonl. Raises StoreError."""
        with disk(self.folder):
            append_line(self.folder / "metrics.jsonl", {"epoch": epoch, **metrics})

    def progress(self, **values: Any) -> None:
        """Say where the trial is (epoch, step, loss, …), for those who watch; goes out with the next heartbeat."""
        values = plain(values)
        with self._lock:
            self._progress.update(values)

    def current(self) -> dict[str, Any]:
        """A copy of what `progress` was told."""
        with self._lock:
            return dict(self._progress)

    def alive(self) -> None:
        """To be called each step; costs under a microsecond.

        Raises LeaseLost where another worker has the trial now, KeyboardInterrupt where the study is asked to stop
        and the state is saved, or two seconds have passed without a save.
        """
        if self.lost.is_set():
            raise LeaseLost(f"attempt {self.attempt} of trial {self.trial.id} is no longer the current one")
        if self._stop.is_set():
            now = time.monotonic()
            self._stop_seen = self._stop_seen or now
            if self._stop_seen == -1.0 or now - self._stop_seen > GRACE:
                raise KeyboardInterrupt

    def _flush_metrics(self) -> None:
        """A state must not outlive the metrics of the epochs that it has finished."""
        try:
            handle = os.open(self.folder / "metrics.jsonl", os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Heartbeat(threading.Thread):
    """Says once a second that an attempt is being worked on; a lost lease is passed on to the keeper.

    beat(progress): Store.heartbeat of this thread's own store. on_beat: called after each, for those who watch.
    """

    def __init__(
        self, open_store: Callable, lease: Any, keeper: Keeper, every: float = 1.0, on_beat: Callable | None = None
    ):
        super().__init__(name="heartbeat", daemon=True)
        self.open_store, self.lease, self.keeper, self.every, self.on_beat = open_store, lease, keeper, every, on_beat
        self._end = threading.Event()

    def run(self) -> None:
        store = None
        try:
            while not self._end.wait(self.every):
                try:
                    store = store or self.open_store()
                    store.heartbeat(self.lease, self.keeper.current())
                    if self.on_beat is not None:
                        self.on_beat(store)
                except LeaseLost:
                    self.keeper.lost.set()
                    return
                except Exception as error:  # a busy or full disk: the lease lasts for many beats
                    logger.warning("trial %s: heartbeat: %s", self.lease.trial.id, error)
        finally:
            if store is not None:
                store.close()

    def __enter__(self) -> Heartbeat:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()
