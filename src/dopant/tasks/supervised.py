"""Supervised learning on batches: the ordinary task."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .._build import cast
from .._slots import measure
from ..cost import ledger
from ..errors import TrialFailed
from ..evaluation.dimension_probe import as_metrics as dimension_metrics
from ..evaluation.dimension_probe import dimension_probes
from ..evaluation.gradient_probe import as_metrics, gradient_probes
from ..recipe import Recipe
from ..streams import Streams
from ..study import exhibits
from ..training.distil import Distillation
from ..training.loop import Loop
from ..training.regimes import freeze_rest, held_statistics
from .base import Result, task
from .build import build_data, device_of, fill_host, sample_of, trial_host


@task("supervised", batched=True)
def supervised(trial: Any, streams: Streams, keeper: Any) -> Result:
    """Train the cell's network on the training split, watch validation each epoch, read the test set once at the end.

    Metrics: those of the last epoch, `test_loss` and `test_METRIC`, sizes of the splits, reads of the test set, costs
    (`cost_…`), seconds, `imitation_start_SLOT` and `imitation_end_SLOT` around distilling, `gradient_FIELD_SLOT`
    of each circuit at random starts, in the first replicate `dimension_FIELD_SLOT` of each swapped slot. Items: one row
    per test item with its number in the data set, the prediction (unless it has more than 100 numbers) and each metric.
    """
    _, metrics, items = trained(trial, streams, keeper)
    return metrics, items


def trained(trial: Any, streams: Streams, keeper: Any) -> tuple[Loop, dict[str, Any], dict[str, torch.Tensor]]:
    """(the loop with the trained network, metrics, items) of a trial; see `supervised`."""
    description = trial.description
    recipe = Recipe(**description["recipe"] | {"epochs": trial.epochs, "device": trial.device})
    data = build_data(description, streams)
    host = trial_host(description, streams, data)
    model = fill_host(host, description, streams, data)
    device = device_of(recipe.device)
    trained = description.get("trained_slots")  # under the regime "freeze"
    if trained is not None:
        freeze_rest(model, trained)
    costs = ledger(model, data.sample(2), 2, batch=recipe.batch)
    tuned = trial.phase == "tuning"
    probed = {} if tuned else as_metrics(gradient_probes(model, streams.seed, description["swaps"]))
    if not tuned and description["replicate"] == 0:
        probes = dimension_probes(model, description["swaps"], data.sample, len(data.train))
        probed |= dimension_metrics(probes)
    loop = Loop(
        model, data, recipe, streams, keeper, epochs=trial.epochs,
        slots=watched(model, description["swaps"], trial.extra.get("slots", ())),
        protocol=description.get("protocol"), device=device, held=held_statistics(model, trained) if trained else (),
        distillation=_distillation(host, model, description, data, recipe, device),
    )  # fmt: skip
    loop.run(reads_test=not tuned)
    metrics: dict[str, Any] = {f"cost_{k}": v for k, v in costs.items()}
    metrics |= {
        f"imitation_{when}_{slot}": error
        for when, errors in loop.progress.imitation.items()
        for slot, error in errors.items()
    }
    metrics |= {
        "seconds": loop.progress.seconds,
        "steps": loop.progress.step,
        "epochs": loop.progress.best_epoch or min(trial.epochs, loop.progress.epoch),
        "n_train": len(data.train),
        "n_validation": len(data.validation),
        "n_test": len(data.test),
        **data.split_facts(),
        "classes": data.classes,
        "device": str(device),
    }
    if len(data.validation):
        with loop.draws:
            metrics |= finite(loop.score("validation", 0).means("validation_"))
    # Tuning trials choose by validation; their test set stays unread.
    items: dict[str, torch.Tensor] = {}
    if not tuned:
        scores = loop.test()
        metrics |= finite(scores.means("test_"))
        items = scores.items
        metrics |= probed
    metrics["test_reads"] = loop.test_reads
    shown = data.validation if len(data.validation) else data.train
    exhibits.keep(trial, loop.model, shown, keeper, recipe.precision)
    return loop, metrics, items


def _distillation(
    host: nn.Module, model: nn.Module, description: dict[str, Any], data: Any, recipe: Recipe, device: torch.device
) -> Distillation | None:
    """What the swapped slots of `model` imitate; None unless the recipe distils and something is swapped."""
    slots = [slot for group in description["swaps"] for slot in group.split("+")]
    if recipe.regime != "distil" or not slots:
        return None
    signatures = measure(host, sample_of(description, data))
    teacher = cast(host, torch.float64) if recipe.precision == "float64" else host
    return Distillation(teacher.to(device), model, slots, signatures)


def finite(means: dict[str, float]) -> dict[str, float]:
    """The means; TrialFailed("not finite") otherwise: a network that diverged in its last step has no score."""
    for name, value in means.items():
        if not math.isfinite(value):
            raise TrialFailed("not finite", f"{name} is {value} after training")
    return means


def watched(model: nn.Module, swaps: dict[str, Any], others: Iterable[str] = ()) -> list[str]:
    """Submodules whose gradient norm is logged: the swapped slots, those that `others` of the study's arms swap, and
    the top-level children; of the last two kinds those that are there and have parameters that move."""
    names = [slot for group in swaps for slot in group.split("+")]
    there = dict(model.named_modules(remove_duplicate=False))
    moves = [slot for group in others for slot in group.split("+")] + [name for name, _ in model.named_children()]
    names += [n for n in moves if n in there and any(p.requires_grad for p in there[n].parameters())]
    return list(dict.fromkeys(names))
