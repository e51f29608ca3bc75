"""What a task is: how one trial becomes metrics and per-item results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..registry import check_options, origin_of, tasks

if TYPE_CHECKING:
    from ..datasets.source import Dataset
    from ..streams import Streams
    from ..study.trial import Trial

Result = tuple[dict[str, Any], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Task:
    """A registered task.

    run(trial, streams, keeper) -> (metrics, items). metrics: numbers by name; what is scored on held-out data is named
    `test_METRIC`, what may choose a learning rate `validation_METRIC`. items: one value per item, first axis the items.
    metric: the primary metric unless the study names another. networks: whether a trial's cells are swaps in a host.
    host: the one that it fits, where it fits one kind only. epochs: whether the recipe's count of them is for it.
    tunes: where it tunes every arm by itself, alike, the sentence that says how; the effects are then those of arms at
    their best, and [tuning] has nothing to do.
    batched: whether it trains a network on batches by the recipe, so that all that knows the loop (regimes, dry steps,
    forecasts, baselines, the recipe's metrics) is for it. adapt: `adapt(dataset, streams, **options)` -> the data set
    that it trains on; its keywords are the task's options. loss: the recipe's, where the study names none.
    """

    name: str
    run: Callable[[Trial, Streams, Any], Result]
    metric: str | None = None
    networks: bool = True
    doc: str = ""
    host: str | None = None
    epochs: bool = True
    tunes: str | None = None
    batched: bool = False
    adapt: Callable[..., Dataset] | None = None
    loss: str | None = None

    def options_problems(self, options: Mapping[str, Any]) -> list[str]:
        """What is wrong with the options of `[study] task`; those of a task without `adapt` are its own affair."""
        if self.adapt is None:
            return []
        return check_options("task", self.name, self.adapt, dict(options), 2)


def task(
    name: str, *, metric: str | None = None, networks: bool = True, host: str | None = None, epochs: bool = True,
    tunes: str | None = None, batched: bool = False, adapt: Callable[..., Dataset] | None = None,
    loss: str | None = None,
) -> Callable[[Callable], Callable]:  # fmt: skip
    """Decorator: register `run(trial, streams, keeper) -> (metrics, items)` as a task; see Task for the rest."""

    def register(run: Callable) -> Callable:
        made = Task(
            name, run, metric, networks, run.__doc__ or "", host, epochs, tunes, batched=batched, adapt=adapt, loss=loss
        )
        tasks.add(name, made, origin_of(run))
        return run

    return register
