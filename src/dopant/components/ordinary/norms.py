"""Norms: batch, layer and group normalisation, each in the slots of the others and wherever a shape is kept."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..._signature import Signature
from ...errors import SlotMismatch
from ...registry import component
from ._shape import OnAxis, feature_axis, on_axis, positions, reason, shape_kept, size_at

_MOST_GROUPS = 32  # of Wu and He
_LEAST_VALUES = 8  # of a group: of two values only the signs are left


class _Flat(nn.Module):
    """A norm of (batch, features, positions), on (batch, features, …).

    Laid out anew where it must be: torch 2.13 crashes in GroupNorm's backward pass on a tensor with the channels last
    in memory of which no gradient is wanted.
    """

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.flatten(2).contiguous()).view(x.shape) if x.ndim > 2 else self.norm(x)


def features_of(old: nn.Module, signature: Signature) -> tuple[int, int, int, int]:
    """(feature axis, features, rank, positions) of a slot that keeps its shape; SlotMismatch for others."""
    found = set()
    for spec in shape_kept(old, signature):
        axis = feature_axis(old, spec)
        features = size_at(spec, axis)
        found.add((axis, features, len(spec.shape), math.prod(spec.sizes) // features))
    if len({f[:3] for f in found}) > 1:
        raise SlotMismatch("its calls differ in their features: " + ", ".join(str(f[1]) for f in sorted(found)))
    return min(found, key=lambda f: f[3])


def group_plan(old: nn.Module, signature: Signature, groups: int | None = None) -> tuple[int, int, int, int]:
    """(feature axis, features, rank, groups), the default number where none is given; else SlotMismatch."""
    axis, features, rank, places = features_of(old, signature)
    for spec in shape_kept(old, signature):
        positions(spec, axis)
    if groups is None:
        fine = [
            g for g in range(1, min(features, _MOST_GROUPS) + 1)
            if features % g == 0 and features // g >= 2 and features // g * places >= _LEAST_VALUES
        ]  # fmt: skip
        groups = max(fine, default=1)
    if groups < 1 or features % groups:
        divisors = [g for g in range(1, features + 1) if features % g == 0]
        raise SlotMismatch(f"groups is {groups}, which does not divide {features} features; use one of {divisors}")
    if features // groups * places < 2:
        raise SlotMismatch(f"{groups} groups of {features} features hold a single number each, which a norm makes 0")
    return axis, features, rank, groups


@component("batch-norm", fills=reason(features_of), couples_samples=True)
def batch_norm(old: nn.Module, signature: Signature, *, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """Each feature normalised over the batch and all positions, by running averages in evaluation; then a scale and a
    shift of its own.

    Shapes: any with a batch and a feature axis, kept. Fills norms and every other slot that takes one tensor of floats
    and keeps its shape. The features are axis 1 where the old module is a convolution, pool, batch, instance or group
    norm, the normalised axis where it is a layer norm, else axis 1 of rank 4 and 5 and the last axis of ranks 2 and 3.
    Samples of a batch see each other in training. Cost: 2 * features parameters. Source: Ioffe and Szegedy 2015,
    arXiv 1502.03167, algorithms 1 and 2; torch's running averages. Raises SlotMismatch for other slots.
    """
    axis, features, _, _ = features_of(old, signature)
    return OnAxis(_Flat(nn.BatchNorm1d(features, eps, momentum)), axis, place=1)


@component("layer-norm", fills=reason(features_of))
def layer_norm(old: nn.Module, signature: Signature, *, eps: float = 1e-5) -> nn.Module:
    """All features of a position normalised together, then a scale and a shift for each.

    Shapes, slots and the feature axis as `batch-norm`; on images that is over the channels of each pixel, as in
    ConvNeXt (Liu et al. 2022, arXiv 2201.03545). Where the old layer norm spans several axes, this one spans the last
    of them.
    Cost: 2 * features parameters. Source: Ba et al. 2016, arXiv 1607.06450, eq. 4.
    Raises SlotMismatch for other slots and for a single feature, which would always become its shift.
    """
    axis, features, rank, _ = features_of(old, signature)
    if features < 2:
        raise SlotMismatch("it has a single feature, which a norm over the features makes 0")
    return on_axis(nn.LayerNorm(features, eps), axis, rank)


@component("group-norm", fills=reason(group_plan))
def group_norm(old: nn.Module, signature: Signature, *, groups: int | None = None, eps: float = 1e-5) -> nn.Module:
    """Groups of features normalised together with all positions of a sample, then a scale and a shift for each feature.

    Shapes, slots and the feature axis as `batch-norm`, with the batch first. groups: how many; it must divide the
    features and leave more than one number in each. Unless said, the largest divisor up to 32 that leaves at least two
    features and eight numbers in a group, or 1. Cost: 2 * features parameters. Source: Wu and He 2018, arXiv
    1803.08494, eqs. 1 to 7 (there 32 groups). Raises SlotMismatch for other slots and numbers of groups.
    """
    axis, features, _, groups = group_plan(old, signature, groups)
    return OnAxis(_Flat(nn.GroupNorm(groups, features, eps)), axis, place=1)
