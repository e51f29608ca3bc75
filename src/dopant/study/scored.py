"""What of a store's row is a score: the state of a trial, the metric that verdicts speak of, the value of a failure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import registry
from ..errors import UnknownName

if TYPE_CHECKING:
    from .config import Study


def status_of(row: Mapping[str, Any]) -> str:
    """The store's state, but "lost" for what says nothing of the cell: a crash, or an error of the code.

    Only a failure that the task itself declared, such as a loss that is not finite, is a result.
    """
    lost = row["state"] == "failed" and str(row["reason"]).startswith(("crashed", "error"))
    return "lost" if lost else row["state"]


def higher_is_better_of(name: str) -> bool:
    """As registered, also for `test_NAME`, `validation_NAME`, …; by its words for a name that nobody registered."""
    for known in (name, *(name.removeprefix(p) for p in ("test_", "validation_", "val_", "train_"))):
        if known in registry.metrics:
            return registry.metrics.get(known).higher_is_better
    if {"nll", "ppl", "rmse", "wer", "cer", "fid"} & set(name.lower().replace("-", "_").split("_")):
        return False
    return not any(word in name.lower() for word in ("loss", "error", "mse", "mae", "perplexity", "brier", "deviance"))


def metric_of(study: Study, rows: Iterable[Mapping[str, Any]]) -> tuple[str, str, bool]:
    """(name, column of the rows' metrics, whether higher is better) of the primary metric: the test set's if there."""
    measured = [row["metrics"] or {} for row in rows if row["phase"] == "main"]
    try:
        name: str | None = study.primary_metric
    except UnknownName:
        name = None
    if study.task_name == "custom" and not study.metric:
        name = next((c for found in measured for c in found if not c.startswith("cost_")), "accuracy")
    name = name or "accuracy"
    bare = name.removeprefix("test_")
    if any(f"test_{bare}" in found for found in measured):
        return bare, f"test_{bare}", higher_is_better_of(bare)
    return name, name, higher_is_better_of(name)


def failure_value_of(name: str, classes: int | None) -> float:
    """What a failed trial scores in the metric `name`: as declared, else 0, or infinity where lower is better."""
    try:
        return registry.metrics.get(name).failure(classes)
    except UnknownName:
        return 0.0 if higher_is_better_of(name) else math.inf


def failure_value_in(name: str, rows: Iterable[Mapping[str, Any]]) -> float:
    """The same by what a study's trials tell of their data, of any phase; NaN where that is not known yet: the metric's
    value hangs on the number of classes, and no trial has finished."""
    done = [row["metrics"] or {} for row in rows if row["state"] == "done"]
    classes = next((int(found["classes"]) for found in done if found.get("classes")), None)
    value = failure_value_of(name, classes)
    return value if done or value == failure_value_of(name, 2) == failure_value_of(name, 3) else math.nan
