"""Back-propagation: the gradient of the loss through the whole network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ...errors import TrialFailed
from ...registry import register_rule
from ..lifecycle_calls import call_model, extra_losses


@register_rule("backprop")
class Backprop:
    """A rule is built once per trial and then called once a batch.

    It leaves the gradients in `.grad`; the loop clips, logs and steps, so that every rule is measured alike.
    """

    def __init__(self, model: nn.Module, loss: Callable[[Any, Any], torch.Tensor]):
        self.model, self.loss = model, loss
        self.idle = not any(p.requires_grad for p in model.parameters())  # a network that is only scored

    def __call__(self, inputs: Any, targets: Any) -> tuple[torch.Tensor, Any, dict[str, torch.Tensor]]:
        """(loss, outputs, extra losses) of one batch, gradients in place. TrialFailed("not finite") for such a loss,
        on the CPU before anything is changed (on a GPU the loop looks at checkpoints: asking costs a wait)."""
        outputs = call_model(self.model, inputs)
        loss = self.loss(outputs, targets)
        extra = extra_losses(self.model)
        total = loss + sum(extra.values()) if extra else loss
        if total.device.type == "cpu" and not torch.isfinite(total):
            raise TrialFailed("not finite", f"the loss is {float(total.detach())}")
        if not self.idle:
            total.backward()
        return loss.detach(), outputs, {name: value.detach() for name, value in extra.items()}
