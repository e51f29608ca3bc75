"""Losses, optimizers, schedules and metrics by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from .._trees import scores_of
from ..errors import UnknownName
from ..registry import Registry, check_options, metrics, origin_of, rules

if TYPE_CHECKING:
    from ..recipe import Recipe

Loss = Callable[[Any, Any], torch.Tensor]

losses: Registry[Loss] = Registry("loss")
optimizers: Registry[type[torch.optim.Optimizer]] = Registry("optimizer")


@dataclass(frozen=True)
class Schedule:
    """A factor on the learning rate: `factor(epoch, epochs, **options)` with epoch = finished epochs, fractional."""

    factor: Callable[..., float]
    depends_on_epochs: bool = False


schedules: Registry[Schedule] = Registry("schedule")


@dataclass(frozen=True)
class Metric:
    """`function(outputs, targets)` -> one value per sample (batch,), averaged over a split.

    failure: the score of a trial that failed, as a function of the number of classes (None for regression).
    """

    name: str
    function: Callable[[Any, Any], torch.Tensor]
    higher_is_better: bool
    failure: Callable[[int | None], float]


def metric(
    name: str, *, higher_is_better: bool, failure: float | None = None
) -> Callable[[Callable[..., torch.Tensor]], Callable[..., torch.Tensor]]:
    """Decorator: register a per-sample metric `(outputs, targets) -> (batch,)` under `name`.

    failure: what a failed trial scores; without it 0 where higher is better, infinity where lower is.
    """

    def register(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        value = failure if failure is not None else (0.0 if higher_is_better else math.inf)
        metrics.add(name, Metric(name, function, higher_is_better, lambda classes: value), origin_of(function))
        return function

    return register


def _accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1 where the largest output is the target's, shapes (batch, classes) and (batch,) -> (batch,)."""
    return (scores_of(outputs).argmax(dim=-1) == targets).to(torch.get_default_dtype())


def _per_sample(error: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    def function(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (
            error(scores_of(outputs).reshape(targets.shape), targets)
            .flatten(1 if targets.ndim > 1 else 0)
            .reshape(len(targets), -1)
            .mean(dim=1)
        )

    return function


# A network that failed predicts nothing: chance is what it is worth, not zero, which would overstate the harm.
metrics.add("accuracy", Metric("accuracy", _accuracy, True, lambda classes: 1 / classes if classes else 0.0), "dopant")
metrics.add("mse", Metric("mse", _per_sample(lambda a, b: (a - b).square()), False, lambda classes: math.inf), "dopant")
metrics.add("mae", Metric("mae", _per_sample(lambda a, b: (a - b).abs()), False, lambda classes: math.inf), "dopant")


def _bce(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(scores.reshape(targets.shape), targets.to(scores))


losses.add("cross-entropy", lambda outputs, targets: F.cross_entropy(scores_of(outputs), targets), "dopant")
losses.add("nll", lambda outputs, targets: F.nll_loss(scores_of(outputs), targets), "dopant")
losses.add("mse", lambda outputs, targets: F.mse_loss(scores_of(outputs).reshape(targets.shape), targets), "dopant")
losses.add("l1", lambda outputs, targets: F.l1_loss(scores_of(outputs).reshape(targets.shape), targets), "dopant")
losses.add("huber", lambda outputs, targets: F.huber_loss(scores_of(outputs).reshape(targets.shape), targets), "dopant")
losses.add("bce", lambda outputs, targets: _bce(scores_of(outputs), targets), "dopant")
CLASSIFICATION = ("cross-entropy", "nll")

for _name in ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax"):
    optimizers.add(_name.lower(), getattr(torch.optim, _name), "torch")

schedules.add("constant", Schedule(lambda epoch, epochs: 1.0), "dopant")
schedules.add(
    "cosine",
    Schedule(
        lambda epoch, epochs, floor=0.0: floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, epoch / epochs))),
        depends_on_epochs=True,
    ),
    "dopant",
)
schedules.add("step", Schedule(lambda epoch, epochs, every, gamma=0.1: gamma ** (int(epoch) // int(every))), "dopant")
schedules.add("exponential", Schedule(lambda epoch, epochs, gamma: gamma ** int(epoch)), "dopant")
schedules.add("warmup", Schedule(lambda epoch, epochs, length=1.0: min(1.0, (epoch + 1e-3) / length)), "dopant")


def default_metrics(recipe: Recipe) -> tuple[str, ...]:
    """The recipe's metrics, or accuracy for losses of classification and the mean squared error otherwise."""
    if recipe.metrics:
        return recipe.metrics
    return ("accuracy",) if recipe.loss in CLASSIFICATION else ("mse",)


def build_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over the parameters that require a gradient; foreach kernels off on the CPU, where they
    cost more than they save and tie the result to the grouping of parameters."""
    # A network without anything to train (frozen components in a frozen rest) is only scored; torch wants one number.
    trainable = [p for p in model.parameters() if p.requires_grad] or [nn.Parameter(torch.zeros(()))]
    factory = optimizers.get(recipe.optimizer)
    options = dict(recipe.optimizer_options)
    if "betas" in options:
        options["betas"] = tuple(options["betas"])
    if recipe.weight_decay:
        options["weight_decay"] = recipe.weight_decay
    if "foreach" in inspect.signature(factory).parameters and trainable and trainable[0].device.type == "cpu":
        options.setdefault("foreach", False)
    return factory(trainable, lr=recipe.lr, **options)  # type: ignore[call-arg]


def problems(recipe: Recipe) -> list[str]:
    """Unknown names and options of a recipe, each with its dotted path."""
    found: list[str] = []
    for key, registry in (("loss", losses), ("optimizer", optimizers), ("schedule", schedules), ("rule", rules)):
        try:
            registry.get(getattr(recipe, key))
        except UnknownName as error:
            found.append(f"recipe.{key}: {error}")
    for name in recipe.metrics or ():
        try:
            metrics.get(name)
        except UnknownName as error:
            found.append(f"recipe.metrics: {error}")
    if recipe.optimizer in optimizers:
        reserved = {"self", "params", "lr", "weight_decay"}
        found += [
            f"recipe.optimizer_options: {p}"
            for p in check_options(
                "optimizer", recipe.optimizer, optimizers.get(recipe.optimizer), recipe.optimizer_options, reserved
            )
        ]
    if recipe.schedule in schedules:
        found += [
            f"recipe.schedule_options: {p}"
            for p in check_options(
                "schedule", recipe.schedule, schedules.get(recipe.schedule).factor, recipe.schedule_options, 2
            )
        ]
    return found
