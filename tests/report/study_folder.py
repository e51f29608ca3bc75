"""A study's folder read without dopant: which trials there are, which attempt counts, what each scored.

A trial's folder is the truth: `trial.json` says what it is, `attempt-N/result.json` that it finished,
`attempt-N/failure.json` that it failed. Of several attempts the last one with a result counts; without one, the last.
"""

from __future__ import annotations

import json
import math
import struct
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

DROP_IN = " (drop-in)"
LOST = ("crashed", "error")  # reasons that say nothing of the cell: such trials are no results
LOSSES = ("loss", "error", "mse", "mae", "perplexity", "brier", "nll", "rmse")
TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
    "BOOL": "?",
}  # fmt: skip


def _untag(found: dict[str, Any]) -> Any:
    return float(found["$float"]) if found.keys() == {"$float"} else found


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"), object_hook=_untag)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file: eight bytes of length, a JSON header, the numbers."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    found, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], TYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in found.items()
        if name != "__metadata__"
    }


@dataclass(frozen=True)
class Trial:
    """One trial. state: done, failed, lost (a crash or an error of the code) or open. also: further cells that it
    answers for. attempts: how many were begun. metrics: of its result. epochs: the lines of its log, merged."""

    id: str
    order: int
    phase: str
    cell: str
    level: int | None
    replicate: int
    state: str
    attempts: int
    reason: str | None
    metrics: dict[str, Any]
    description: dict[str, Any]
    extra: dict[str, Any]
    path: Path
    also: tuple[tuple[str, int | None], ...] = ()

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """One dict an epoch; where an attempt was begun again, what the later one wrote of an epoch counts."""
        epochs: dict[int, dict[str, Any]] = {}
        for attempt in _attempts(self.path):
            path = attempt / "metrics.jsonl"
            for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
                try:
                    line = json.loads(text, object_hook=_untag)
                except ValueError:
                    break  # a torn last line
                epochs[int(line["epoch"])] = line
        return [epochs[e] for e in sorted(epochs)]

    def items(self, metric: str) -> np.ndarray | None:
        """The metric's value on each test item, as it was kept."""
        for attempt in reversed(_attempts(self.path)):
            result = attempt / "result.json"
            kept = read_json(result).get("items") if result.is_file() else None
            if kept and metric in kept["tree"]:
                return read_tensors(attempt / kept["file"])[kept["tree"][metric]["$tensor"]].astype(float)
        return None


def _attempts(path: Path) -> list[Path]:
    return sorted(path.glob("attempt-*"), key=lambda p: int(p.name.rpartition("-")[2]))


def _read_trial(path: Path) -> Trial:
    body, attempts = read_json(path / "trial.json"), _attempts(path)
    state, reason, metrics = "open", None, {}
    done = [a for a in attempts if (a / "result.json").is_file()]
    if done:
        state, metrics = "done", read_json(done[-1] / "result.json")["metrics"]
    elif attempts and (attempts[-1] / "failure.json").is_file():
        reason = read_json(attempts[-1] / "failure.json").get("reason") or ""
        state = "lost" if reason.startswith(LOST) else "failed"
    extra = body.get("extra") or {}
    return Trial(
        body["id"], body["order"], body["phase"], body["cell"], body["level"], body["description"]["replicate"], state,
        int(attempts[-1].name.rpartition("-")[2]) if attempts else 0, reason, metrics, body["description"], extra, path,
        tuple((cell, level) for cell, level in extra.get("also", ())),
    )  # fmt: skip


@dataclass
class StudyFolder:
    """What a study's folder says. study: its `study.toml`."""

    folder: Path
    study: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        self.study = tomllib.loads((self.folder / "study.toml").read_text(encoding="utf-8"))

    @cached_property
    def trials(self) -> list[Trial]:
        """Every trial, in the order in which they were planned."""
        return sorted((_read_trial(p.parent) for p in self.folder.glob("trials/*/trial.json")), key=lambda t: t.order)

    def of(self, phase: str) -> list[tuple[str, Any, Trial]]:
        """(cell, level, trial) of a phase, one for each cell that a trial answers for."""
        return [
            (cell, level, t)
            for t in self.trials
            if t.phase == phase
            for cell, level in ((t.cell, t.level), *t.also)
        ]  # fmt: skip

    @cached_property
    def cells(self) -> list[str]:
        return list(dict.fromkeys(cell for cell, _, _ in self.of("main")))

    @cached_property
    def design(self) -> dict[str, Any]:
        return self.study["design"]

    # --- the metric -------------------------------------------------------------------------------------------------

    @cached_property
    def metric(self) -> str:
        """The column that effects speak of: the test set's where any reported trial has it."""
        told = self.study.get("analysis", {}).get("plan", {}).get("metric", "accuracy")
        bare = (self.study["study"].get("metric") or told.partition(" ")[0]).removeprefix("test_")
        tested = any(f"test_{bare}" in t.metrics for t in self.trials if t.phase == "main")
        return f"test_{bare}" if tested else bare

    @property
    def bare(self) -> str:
        return self.metric.removeprefix("test_")

    @property
    def sign(self) -> int:
        """-1 where lower is better."""
        return -1 if any(word in self.bare for word in LOSSES) else 1

    @cached_property
    def done(self) -> list[Trial]:
        return [t for _, _, t in self.of("main") if t.state == "done"]

    @cached_property
    def failure_value(self) -> float:
        """Of a trial that failed by itself: 1/classes for an accuracy; a loss has none."""
        classes = [t.metrics["classes"] for t in self.done if "classes" in t.metrics]
        if "accuracy" in self.bare and classes:
            return 1 / classes[0]
        return 0.0 if self.sign > 0 else math.nan

    @cached_property
    def resplit(self) -> float:
        """n_test / n_train where every replicate re-splits one pool, else 0."""
        found = [t.metrics for t in self.done]
        if not found or not found[0].get("resplit"):
            return 0.0
        return float(np.mean([m["n_test"] / m["n_train"] for m in found]))

    @cached_property
    def same_items(self) -> bool:
        """Whether every replicate was tested on the same items."""
        return not self.resplit and not any(t.metrics.get("fresh_items") for t in self.done)

    @cached_property
    def margin(self) -> float:
        value = self.study["study"].get("margin")
        return math.nan if value is None else float(value)

    def scores(self, phase: str = "main") -> tuple[dict[tuple[str, int], float], set[tuple[str, int]]]:
        """({(cell, replicate): score, nan where there is none}, those that failed)."""
        values, failed = {}, set()
        for cell, _, t in self.of(phase):
            value = t.metrics.get(self.metric)
            finite = isinstance(value, (int, float)) and math.isfinite(value)
            if t.state == "failed" or (t.state == "done" and not finite):
                failed.add((cell, t.replicate))
                values[cell, t.replicate] = self.failure_value
            elif t.state == "lost":
                failed.discard((cell, t.replicate))
                values[cell, t.replicate] = math.nan
            else:
                values[cell, t.replicate] = float(value) if t.state == "done" else math.nan
        return values, failed

    def tier(self, cell: str) -> str:
        told = [t.metrics.get("cost_tier") for c, _, t in self.of("main") if c == cell]
        return next((tier for tier in reversed(told) if isinstance(tier, str)), "classical")
