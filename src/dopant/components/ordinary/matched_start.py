"""Control: the old kind of layer, started where the component starts."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ..._build import cast
from ...errors import SlotMismatch
from ...lifecycle import Lifecycle
from ...registry import component
from ._shape import dimension, window
from .low_rank import refuse

_ROUNDING = 1e-12  # of a squared mean: a variance below is what rounding makes of outputs that do not vary


class Moments:
    """Mean and variance per feature of tensors that come one after another, in double precision.

    The features are on `axis`; every other axis is averaged over.
    """

    def __init__(self, axis: int):
        self.axis, self.count = axis, 0
        self.mean = self.total = torch.zeros(())

    def add(self, outputs: torch.Tensor) -> None:
        rows = outputs.detach().movedim(self.axis, -1).flatten(0, -2).double()
        count, mean = len(rows), rows.mean(0)
        step, whole = mean - self.mean, self.count + count
        # sums of squared deviations add up with the distance of the means (Chan et al. 1979)
        self.total = self.total + (rows - mean).square().sum(0) + step.square() * self.count * count / whole
        self.mean, self.count = self.mean + step * count / whole, whole

    @property
    def variance(self) -> torch.Tensor:
        return self.total / self.count


class MatchedStart(nn.Module, Lifecycle):
    """An affine layer; `prepare` gives its outputs the mean and variance that the outputs of another module have.

    Shapes as the old layer's: (..., in) -> (..., out), or a convolution's. The other module is held apart: it is no
    submodule, so it is in no parameter, state or cost, and it goes when `prepare` is done.
    """

    def __init__(self, layer: nn.Module, axis: int, other: nn.Module):
        super().__init__()
        self.layer, self.axis = layer, axis
        self._other = (copy.deepcopy(other),)  # in a tuple, which torch does not look into

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)

    @torch.no_grad()
    def prepare(self, batches: Iterable[tuple[Any, ...]]) -> None:
        """Rescale the rows of the weight and set the bias, from the inputs of all batches.

        A row whose outputs do not vary is left alone; without a bias only the variance is matched.
        """
        if not self._other:
            return
        layer: Any = self.layer
        other = cast(self._other[0], layer.weight.dtype).to(layer.weight.device).eval()
        wanted, had = Moments(self.axis), Moments(self.axis)
        for x, *_ in batches:
            wanted.add(other(x))
            had.add(layer(x))
        if not wanted.count:
            return
        varies = had.variance > _ROUNDING * had.mean.square()
        factor = torch.where(varies, wanted.variance / had.variance, 1.0).sqrt()
        layer.weight.mul_(factor.view(-1, *[1] * (layer.weight.ndim - 1)))
        if layer.bias is not None:
            # the mean without the bias is scaled with the rows
            without = (had.mean - layer.bias.double()) * factor
            layer.bias.copy_(wanted.mean - without)
        self._other = ()


@component("matched-start", fills=refuse, control="ablation", linear=True)
def matched_start(old: nn.Module, signature: Any, *, target: nn.Module | None = None) -> nn.Module:
    """The old kind of layer, its outputs starting with the mean and variance of those of the component it controls.

    An affine map, freshly drawn; before the first step its rows are rescaled and its bias set, so that on the first
    training batches each output (each channel of a convolution) has the mean and the variance that it has in the
    component, as built. What is left of the effect was not the scale at which it starts. Everything after the start is
    an ordinary layer's.
    Outputs of `reupload-linear` start within a whisker of their biases: probabilities of 2^q outcomes have a mean
    around 1/2^q and vary by less over the items (at q = 7 on MNIST mean 0.008, standard deviation 0.0045, a variance
    of 2.5e-5; at q = 4 on digits 0.07, 0.017 and 3e-4), beside biases from N(0,1). This layer starts as nearly
    constant, and hands the layers before it as small a gradient.
    Shapes as the old layer's. Fills Linear, Conv1d, Conv2d and Conv3d (of one group, whatever the old one had). In a
    slot without bias only the variance is matched. Without a component to control, the old layer's outputs are
    matched. Cost: as the old layer; a copy of the component until the first step.
    A training loop of one's own that does not call `prepare` trains an ordinary fresh layer.
    Raises SlotMismatch for other slots.
    """
    wrong = refuse(old)
    if wrong:
        raise SlotMismatch(f"'matched-start' cannot fill this slot: {wrong}")
    module: Any = old
    bias = module.bias is not None
    if dimension(old):
        layer = window(old, module.in_channels, module.out_channels, bias=bias)
    else:
        layer = nn.Linear(module.in_features, module.out_features, bias)
    return MatchedStart(layer, -1 if not dimension(old) else 1, target if target is not None else old)
