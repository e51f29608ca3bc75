"""Scores of a network on a split: means, and one value per item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from .._trees import learn, scores_of
from . import lifecycle_calls as lifecycle

MOST_KEPT = 100  # numbers of one item's prediction: images are not kept for every item of every trial


@dataclass(frozen=True)
class Scores:
    """loss: mean over the split. items: ids (n,), prediction (n,) or (n, …) unless it has more than 100 numbers an
    item, and one value per item of each metric."""

    loss: float
    items: dict[str, torch.Tensor]
    names: tuple[str, ...]

    def means(self, prefix: str) -> dict[str, float]:
        """{prefix + "loss": …, prefix + metric: …}."""
        means = {f"{prefix}{name}": float(self.items[name].double().mean()) for name in self.names}
        return {f"{prefix}loss": self.loss} | means


def to_device(value: Any, device: torch.device, precision: str | None) -> Any:
    """Tensors of a pytree on `device`; floating ones in the recipe's precision where it is float64."""

    def move(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        wide = precision == "float64" and leaf.is_floating_point()
        return leaf.to(device, torch.float64 if wide else leaf.dtype, non_blocking=True)

    return pytree.tree_map(move, value)


def evaluate(
    model: nn.Module,
    split: Any,
    loss: Callable[[Any, Any], torch.Tensor],
    metrics: list[Any],
    *,
    batch: int,
    device: torch.device,
    precision: str,
    before: Callable[[int], None],
) -> Scores:
    """Score `model` in eval mode on `split`, `batch` samples a call; the mode is restored.

    before(number): called before each batch, to place its random draws.
    """
    training = model.training
    model.eval()
    total, parts = 0.0, {metric.name: [] for metric in metrics}
    predictions = []
    try:
        with torch.no_grad():
            for number, indices in enumerate(torch.arange(len(split)).split(batch)):
                before(number)
                inputs, targets = split.batch(indices)
                inputs, targets = to_device(inputs, device, precision), to_device(targets, device, None)
                outputs = lifecycle.predict(model, lifecycle.call_model(model, inputs))
                total += float(loss(outputs, targets)) * len(indices)
                for metric in metrics:
                    parts[metric.name].append(metric.function(outputs, targets).cpu())
                predicted = _prediction(outputs, targets)
                predictions.append(predicted[:1].cpu() if predicted[0].numel() > MOST_KEPT else predicted.cpu())
    finally:
        model.train(training)
    items = {"ids": split.ids}
    if predictions[0][0].numel() <= MOST_KEPT:
        items["prediction"] = torch.cat(predictions)
    items |= {name: torch.cat(values) for name, values in parts.items()}
    return Scores(total / len(split), items, tuple(parts))


def _prediction(outputs: Any, targets: Any) -> torch.Tensor:
    """The class for integer targets, the output itself otherwise."""
    first = pytree.tree_leaves(learn(scores_of(outputs)))[0]
    goal = pytree.tree_leaves(targets)[0]
    return first.argmax(dim=-1) if not goal.is_floating_point() and first.ndim > goal.ndim else first
