"""What a component may want of the training loop beyond being called: every hook, with a do-nothing default.

A component whose module inherits `Lifecycle` gets these calls; any other module gets none. The loop looks for them in
`model.modules()`, so a component deep inside another is found too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .panels import Panel


@dataclass(frozen=True)
class Phase:
    """A stretch of training before the ordinary one.

    epochs: how long; they count on top of the recipe's epochs and are numbered -epochs … -1 in the metrics.
    trainable: "own" (only the component's parameters), "rest" (all but them) or "all".
    name: for logs and curves.
    """

    name: str
    epochs: int
    trainable: str = "own"


class Lifecycle:
    """Mix-in for modules that take part in training."""

    def prepare(self, batches: Iterable[tuple[Any, ...]]) -> None:
        """Called once before the first step with the positional inputs that reach this module on training batches
        (the model in eval mode, no gradient): for k-means starts, calibration, whitening. Runs under the stream
        `prepare:NAME`."""

    def training_targets(self, targets: Any) -> Any:
        """The targets to train on, from those of the whole training split (a pytree, the item first; not to be
        changed).

        Called under the stream `targets:NAME` before the first step, and again whenever a training is resumed: what it
        returns must depend on nothing but `targets` and the draws of that stream. The same pytree with as many items is
        expected; validation and test keep their targets. Where several take part, each gets what the one before it in
        network order returned. The loss and the training metrics are of these targets.
        """
        return targets

    def phases(self) -> list[Phase]:
        """Stretches of training of its own before the ordinary one."""
        return []

    def extra_losses(self) -> dict[str, torch.Tensor]:
        """Scalar losses of the call just made, added to the task's loss and logged as `extra_NAME`."""
        return {}

    def call_metrics(self) -> dict[str, torch.Tensor]:
        """Scalars about the call just made in training, detached: the loop logs their mean over the samples of an epoch
        as `NAME_SLOT`, such as `state_norm_squared_head`. They change nothing. Empty before the first call."""
        return {}

    def after_step(self, step: int) -> None:
        """Called after each optimizer step without gradient: projections, moving averages, clipping."""

    def predict(self, outputs: Any) -> Any:
        """Called on the network's outputs in evaluation only; returns what is scored."""
        return outputs

    def panels(self, inputs: list[tuple[Any, ...]]) -> list[Panel]:
        """What the report shows of this module once it is trained: see `dopant.panels`.

        Called once at the end of a trial, in evaluation mode and without gradient, with the positional inputs that
        reach this module for eight validation items (training items where there are none), one tuple a call. What it
        draws at random changes no number of the trial, and what it raises is told in the report instead.
        """
        return []
