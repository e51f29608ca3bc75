"""A user's own `train(model, streams, log, folder) -> metrics or (metrics, items)`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import local, registry
from ..cost import ledger
from ..streams import Streams
from ..training.lifecycle_calls import need_true_targets
from .base import Result, task
from .build import build_data, build_model


class Log:
    """What a user's loop calls: `log(epoch, **metrics)`; `log.epochs` is how many the study asks for."""

    def __init__(self, keeper: Any):
        self._keeper = keeper
        self.epochs: int | None = keeper.epochs

    def __call__(self, epoch: int, **metrics: float) -> None:
        """Keep the metrics of an epoch; they appear in `Answer.metrics` and in the progress display."""
        self._keeper.alive()
        values = {k: float(v) for k, v in metrics.items()}
        self._keeper.log(epoch, values)
        loss = next((v for k, v in values.items() if "loss" in k), None)
        accuracy = next((v for k, v in values.items() if "accuracy" in k), None)
        self._keeper.progress(epoch=epoch, epochs=self.epochs, loss=loss, accuracy=accuracy)


@task("custom")
def custom(trial: Any, streams: Streams, keeper: Any) -> Result:
    """Hand over model, streams, logger and a folder; take metrics (and per-item results).

    The function may take a fifth parameter named `data`: the replicate's data set. `folder` lasts over a kill and a
    rerun, so checkpoints written there are found again. TypeError when what it returns is not metrics.
    """
    description = trial.description
    reference = description["task"]["train"]
    train = local.get(reference) if local.is_local(reference) else registry.resolve_callable(reference)
    data = build_data(description, streams) if description.get("data") else None
    model = build_model(description, streams, data)
    need_true_targets(model)
    folder = Path(keeper.folder).parent / "work"
    folder.mkdir(exist_ok=True)
    extra = {"data": data} if "data" in inspect.signature(train).parameters else {}
    with streams.seeded("train"):
        result = train(model, streams, Log(keeper), folder, **extra)
    metrics, items = result if isinstance(result, tuple) else (result, {})
    if not isinstance(metrics, Mapping) or not all(isinstance(v, (int, float, str)) for v in metrics.values()):
        raise TypeError(f"train must return {{name: number}} or (metrics, items), not {type(result).__name__}")
    found: dict[str, Any] = dict(metrics)
    if data is not None:
        found = {f"cost_{k}": v for k, v in ledger(model.cpu(), data.sample(2), 2, batch=1).items()} | found
    return found, {k: torch.as_tensor(v) for k, v in items.items()}
