"""A user's own `train(model, streams, log, folder[, data]) -> metrics or (metrics, items)`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import local, registry
from .._signature import as_call
from ..adapters.pairing import CALLED, Pairing, first_batches
from ..cost import ledger
from ..errors import LeaseLost
from ..evaluation.gradient_probe import as_metrics, gradient_probes
from ..lifecycle import Lifecycle
from ..recipe import Recipe
from ..streams import Streams
from ..study import exhibits
from ..training.lifecycle_calls import need_true_targets, participants
from ..training.loop import tensors_of
from ._returned import number, read
from .base import Result, task
from .build import build_data, build_model, device_of, sample_of


class Log:
    """What a user's loop calls: `log(epoch, **metrics)` once an epoch or oftener, `log.alive()` each step.

    epochs: how many the study asks for. recipe: the study's, for a loop that takes its learning rate or batch from
    there (nothing of it is applied by itself). device: the one that it names. tuning: whether this trial chooses a
    learning rate, so that the test set is none of its business.
    """

    def __init__(self, keeper: Any, recipe: Recipe | None = None, tuning: bool = False):
        self._keeper = keeper
        self._rows: dict[int, dict[str, float]] = {}
        self._ended: BaseException | None = None
        self.epochs: int = keeper.epochs
        self.recipe = recipe or Recipe(epochs=keeper.epochs)
        self.tuning = tuning

    @property
    def device(self) -> torch.device:
        return device_of(self.recipe.device)

    def __call__(self, epoch: int, **metrics: Any) -> None:
        """Keep metrics of an epoch, counted from 1; they appear in `Answer.metrics` and in the progress display.

        Numbers of Python or NumPy, or tensors of no axis. Several calls for one epoch add up to one row, in which the
        last value of a name counts. Raises TypeError for anything else, and what `alive` raises.
        """
        self.alive()
        if isinstance(epoch, bool) or int(epoch) != epoch:
            raise TypeError(f"log: the epoch is {epoch!r}; give a whole number, counted from 1")
        values = {}
        for name, value in metrics.items():
            try:
                values[name] = float(number(value))
            except TypeError as error:
                raise TypeError(f"log: {name!r} is {error}") from None
        row = self._rows.setdefault(int(epoch), {})
        new = {k: v for k, v in values.items() if k not in row or not (row[k] == v or row[k] != row[k])}
        row.update(new)
        if new:
            self._keeper.log(int(epoch), dict(row))
        loss = next((v for k, v in row.items() if "loss" in k), None)
        accuracy = next((v for k, v in row.items() if "acc" in k), None)
        self._keeper.progress(epoch=int(epoch), epochs=self.epochs, loss=loss, accuracy=accuracy)

    def alive(self) -> None:
        """To be called each step; costs under a microsecond.

        Raises LeaseLost where another worker has the trial now, KeyboardInterrupt soon after the study was asked to
        stop; let both pass.
        """
        try:
            self._keeper.alive()
        except (LeaseLost, KeyboardInterrupt) as error:
            self._ended = error
            raise

    def ended(self) -> None:
        """Raise once more what `alive` raised, whatever a framework made of it (Lightning turns a KeyboardInterrupt
        into an exit)."""
        if self._ended is not None:
            raise self._ended


@task("custom")
def custom(trial: Any, streams: Streams, keeper: Any) -> Result:
    """Hand over model, streams, logger and a folder; take metrics (and per-item results).

    The model is in training mode and on the CPU; moving it is the loop's business, as is everything in `log.recipe`.
    The function may take a fifth parameter named `data`: the replicate's data set. `folder` lasts over a kill and a
    rerun, so checkpoints written there are found again. The weights that the model has in the end are kept, for
    `Answer.model`. Costs are those of the model as handed over, per sample of a batch of `recipe.batch`.
    Of each circuit `gradient_FIELD_SLOT` is kept, at random starts.
    Raises ConfigError for what is not metrics (see `_returned.read`), TrialFailed for a metric that is not finite.
    """
    description = trial.description
    reference = description["task"]["train"]
    train = local.get(reference) if local.is_local(reference) else registry.resolve_callable(reference)
    data = build_data(description, streams) if description.get("data") else None
    model = build_model(description, streams, data).train()
    need_true_targets(model)
    recipe = Recipe(**description["recipe"] | {"epochs": trial.epochs, "device": trial.device})
    costs = _costs(model, description, data, recipe.batch)
    tuned = trial.phase == "tuning"
    probed = {} if tuned else as_metrics(gradient_probes(model, streams.seed, description["swaps"]))
    folder = Path(keeper.folder).parent / "work"
    folder.mkdir(exist_ok=True)
    takes_data = "data" in inspect.signature(train).parameters
    if data is not None:
        with Pairing(model, streams) as pairing:
            pairing.prepare(first_batches(data, streams, recipe.batch))
    before, names = _marks(model), set(tensors_of(model))
    log = Log(keeper, recipe, tuned)
    try:
        with streams.seeded("train"):
            returned = train(model, streams, log, folder, **({"data": data} if takes_data else {}))
    except BaseException:
        log.ended()
        raise
    log.ended()
    metrics, items = read(returned, None if tuned else trial.extra.get("metric"))
    keeper.warnings += _doubts(model, before)
    if set(tensors_of(model)) == names:  # a loop may have rebuilt it; such a network is the loop's to keep
        keeper.save({"model": tensors_of(model), "best": {}})
    shown = None if data is None else data.validation if len(data.validation) else data.train
    exhibits.keep(trial, model, shown, keeper)
    found = costs | metrics | probed  # what the loop gave comes first: it names the metric where the study does not
    if data is not None and takes_data:
        facts = {
            "n_train": len(data.train), "n_validation": len(data.validation), "n_test": len(data.test),
            **data.split_facts(), "classes": data.classes,
        }  # fmt: skip
        found |= {k: v for k, v in facts.items() if k not in found}
    return found, items


def _costs(model: nn.Module, description: Mapping[str, Any], data: Any, batch: int) -> dict[str, Any]:
    """The ledger, `cost_…`; from the study's sample where there are no data."""
    if data is not None:
        return {f"cost_{k}": v for k, v in ledger(model, data.sample(2), 2, batch=batch).items()}
    call = as_call(sample_of(dict(description), None))
    if (call.args and call.kwargs) or not call.tensors():
        return {}  # the ledger calls a model with the one or the other
    sample = call.kwargs or call.args
    return {f"cost_{k}": v for k, v in ledger(model, sample, len(call.tensors()[0]), batch=batch).items()}


def _marks(model: nn.Module) -> dict[str, tuple[float, float]]:
    """Two numbers of each parameter that may move, which an optimizer's step is certain to change in some of them."""

    def marks(parameter: torch.Tensor) -> tuple[float, float]:
        flat = torch.view_as_real(parameter) if parameter.is_complex() else parameter
        flat = flat.detach()
        return float(flat.sum(dtype=torch.float64)), float(torch.linalg.vector_norm(flat, dtype=torch.float64))

    return {name: marks(p) for name, p in model.named_parameters() if p.requires_grad}


def _doubts(model: nn.Module, before: Mapping[str, tuple[float, float]]) -> list[str]:
    """Words on a loop that left out what a comparison rests on."""
    found = []
    after = _marks(model)
    if before and all(after.get(name, mark) == mark for name, mark in before.items()):
        found.append(
            "One's own loop changed no parameter of a model that it was given: what it reports may be another model's, "
            "or come from no training at all."
        )
    called = vars(model).pop(CALLED, set())
    missed = {
        f"{type(module).__name__}.{kind}"
        for module in participants(model).values()
        for kind in ("prepare", "phases", "extra_losses", "after_step", "predict")
        if kind not in called and getattr(type(module), kind) is not getattr(Lifecycle, kind)
        and (kind != "phases" or module.phases())
    }  # fmt: skip
    if missed:
        found.append(
            f"One's own loop did not call what a component asks of a training loop: {', '.join(sorted(missed))} (see "
            "dopant.adapters.Pairing); its effect is that of the component without it."
        )
    return found
