"""Control: an ordinary network of the same trainable count, for nearly any slot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..._signature import Signature, Spec, show_shape
from ...errors import SlotMismatch
from ...registry import component
from ._capacity import ACTIVATIONS, budget, trainable
from ._parameter_choice import NEAR, Choice, Family, bracket, choose, families
from ._shape import (
    CONVOLUTIONS,
    dimension,
    feature_axis,
    on_axis,
    one_call,
    pointwise,
    reason,
    size_at,
    window,
    without,
)


@dataclass(frozen=True)
class Geometry:
    """How a network stands in a slot.

    kind: "windows" (of the old convolution), "positions" (each by itself), "grid" (each, by 3x3 windows where `wide`;
    then averaged onto the slot's grid), "set" (each, then the mean of all), "flat" (all numbers at once).
    fan_in: numbers that reach one hidden feature; inputs, outputs: features; axis: of the features; rank: of the input.
    grid: the output's positions; sizes: the output's shape without the batch.
    """

    kind: str
    inputs: int
    fan_in: int
    outputs: int
    axis: int
    rank: int
    grid: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    wide: bool = False

    def __str__(self) -> str:
        pixels = "by windows of 3 along each axis" if self.wide else "at each position"
        return {
            "windows": "on the old windows",
            "positions": "at each position" if self.rank > 2 else "on the features",
            "grid": f"{pixels}, averaged onto the grid {self.grid}",
            "set": f"{pixels}, averaged over all",
            "flat": "on all numbers at once",
        }[self.kind]


def geometry(old: nn.Module, signature: Signature) -> Geometry:
    """How a network stands in this slot; SlotMismatch unless it takes one tensor of floats and gives one."""
    given, got = one_call(signature)
    rank = len(given.shape)
    if given.dtype != got.dtype:
        raise SlotMismatch(f"it gives {got.dtype} from {given.dtype}; the two must agree")
    if given.axis is not None and given.axis == got.axis and rank == len(got.shape) and rank >= 2:
        place = _by_position(old, given, got, rank)
        if place is not None:
            return place
    if given.axis != 0 or got.axis != 0 or given.multiple != got.multiple:
        raise SlotMismatch(
            f"it gives {show_shape(got.shape)} from {show_shape(given.shape)}; the batch must be first, and the same"
        )
    if math.prod(given.sizes) == 0 or math.prod(got.sizes) == 0:
        raise SlotMismatch(f"it gives {show_shape(got.shape)} from {show_shape(given.shape)}, which holds no numbers")
    axis = feature_axis(old, given) if rank >= 3 else 1
    wide = _wide(old, axis, rank)
    inputs = size_at(given, axis) if rank >= 2 else 1
    fan_in = inputs * 3 ** (rank - 2) if wide else inputs
    if 3 <= rank <= 5 and len(got.shape) == rank:
        grid = tuple(size_at(got, i) for i in range(1, rank) if i != axis)
        return Geometry("grid", inputs, fan_in, size_at(got, axis), axis, rank, grid, wide=wide)
    if rank >= 3 and len(got.shape) == 2:
        return Geometry("set", inputs, fan_in, size_at(got, 1), axis, rank, wide=wide)
    fan_in, outputs = math.prod(given.sizes), math.prod(got.sizes)
    return Geometry("flat", fan_in, fan_in, outputs, 1, rank, sizes=got.sizes)


def _by_position(old: Any, given: Spec, got: Spec, rank: int) -> Geometry | None:
    """The geometry of a convolution's slot, or of one that changes no axis but the features; None for others."""
    if dimension(old) and given.axis == 0:
        inputs, outputs = size_at(given, 1), size_at(got, 1)
        return Geometry("windows", inputs, inputs * math.prod(old.kernel_size), outputs, 1, rank)
    axis = feature_axis(old, given)
    if without(given, axis) != without(got, axis) or _wide(old, axis, rank):
        return None
    inputs, outputs = size_at(given, axis), size_at(got, axis)
    return Geometry("positions", inputs, inputs, outputs, axis, rank)


def _wide(old: nn.Module, axis: int, rank: int) -> bool:
    """Whether a block that stands there looks at neighbours: then so does its control."""
    looks = any(isinstance(m, CONVOLUTIONS) and math.prod(m.kernel_size) > 1 for m in old.modules())
    return looks and axis == 1 and 3 <= rank <= 5


class PerFeature(nn.Module):
    """act(scale * x + shift), scale and shift (features,), along the last axis."""

    def __init__(self, features: int, act: nn.Module):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.scale * x + self.shift)


class ParameterMatched(nn.Module):
    """A network of the chosen shape and width in the geometry of a slot. Shapes as the slot's."""

    def __init__(self, old: nn.Module, place: Geometry, choice: Choice, known: list[Family], wanted: int, act: str):
        super().__init__()
        self.place, self.choice, self.known, self.wanted = place, choice, known, wanted
        hidden = choice.width or place.outputs
        bias = choice.shape != "low-rank"
        self.act: nn.Module = ACTIVATIONS[act]() if choice.shape == "bottleneck" else nn.Identity()
        self.spread: nn.Module
        self.gather: nn.Module = nn.Identity()
        if choice.shape == "per-feature":
            self.spread = on_axis(PerFeature(place.inputs, ACTIVATIONS[act]()), place.axis, place.rank)
            return
        if place.kind == "windows":
            self.spread = window(old, place.inputs, hidden, bias=bias)
        elif place.wide:
            self.spread = CONVOLUTIONS[place.rank - 3](place.inputs, hidden, 3, padding=1, bias=bias)
        else:
            self.spread = self._along(nn.Linear(place.inputs, hidden, bias))
        if choice.width:
            windows = place.kind == "windows"
            linear = nn.Linear(hidden, place.outputs)
            self.gather = pointwise(old, hidden, place.outputs, bias=True) if windows else self._along(linear, True)

    def _along(self, linear: nn.Module, last: bool = False) -> nn.Module:
        """`linear` along the feature axis; what is left of a set, or all numbers at once, has it last anyway."""
        place = self.place
        if place.kind == "flat" or (last and place.kind == "set"):
            return linear
        return on_axis(linear, place.axis, place.rank)

    def forward(self, x: Tensor) -> Tensor:
        place = self.place
        if place.kind == "flat":
            x = x.reshape(x.shape[0], -1)
        y = self.act(self.spread(x))
        if place.kind == "set":
            y = y.movedim(place.axis, 1).flatten(2).mean(-1)
        elif place.kind == "grid":
            moved = y.movedim(place.axis, 1)
            if tuple(moved.shape[2:]) != place.grid:
                moved = getattr(functional, f"adaptive_avg_pool{len(place.grid)}d")(moved, place.grid)
            y = moved.movedim(1, place.axis)
        y = self.gather(y)
        return y.reshape(-1, *place.sizes) if place.kind == "flat" else y

    def describe(self) -> str:
        """One line: shape, width and place of the network, its trainable count, the count wanted, how near it came, and
        where no width came within a tenth, the counts on either side."""
        have, wanted = trainable(self), self.wanted
        line = f"{self.choice} {self.place}: {have} trainable numbers, {wanted} wanted"
        if have != wanted:
            line += f" ({100 * (have - wanted) / wanted:+.1f} %)"
        if abs(have - wanted) > NEAR * wanted:
            sides = zip(("below", "above"), bracket(self.known, wanted), strict=True)
            offered = [f"{c.count} {side} ({c})" for side, c in sides if c is not None]
            line += f"; none is within {NEAR:.0%}, the neighbours are {' and '.join(offered)}"
        return line

    def extra_repr(self) -> str:
        return self.describe()


@component("parameter-matched", fills=reason(geometry), control="same capacity")
def parameter_matched(
    old: nn.Module,
    signature: Signature,
    *,
    side: Literal["nearest", "below", "above"] = "nearest",
    act: Literal["tanh", "relu"] = "tanh",
    target: nn.Module | None = None,
) -> nn.Module:
    """An ordinary network with the trainable count of the component that it controls, for nearly any slot.

    Shapes: the slot's, one tensor of floats in and one out. Where it stands: on the windows of a convolution; at each
    position where only the features change; else at each position and then averaged onto the slot's grid, or over all
    positions where a vector comes out (Zaheer et al. 2017, arXiv 1703.06114); else on all numbers at once. In the place
    of a block with convolutions it looks at windows of 3; attention between positions has no counterpart. The features
    are where `batch-norm` looks for them.
    Its shape, the first of these that comes within a tenth of the count: a bottleneck (affine, `act`, affine), an
    affine map, a low-rank map, or a scale, shift and `act` for each feature. Where none does, the nearer of the two
    neighbouring widths of a bottleneck (of all shapes, where the narrowest bottleneck is too large). side: "below" and
    "above" take the neighbour on that side in any case; train both, and the component stands between them.
    act: "tanh" or "relu". `describe()` says shape, width, place and counts. Without a component to control, or where
    that has nothing to train, the count is the old module's. Cost: as an ordinary network of that size.
    Raises SlotMismatch for slots that take or give anything else, for nothing to match, and with the numbers where the
    smallest network is more than a tenth too large.
    """
    problems = []
    if side not in ("nearest", "below", "above"):
        problems.append(f"side is {side!r}; expected 'nearest', 'below' or 'above'")
    if act not in ACTIVATIONS:
        problems.append(f"act is {act!r}; expected 'tanh' or 'relu'")
    wanted = budget(old, target)
    if not wanted:
        problems.append(
            "neither the component it controls nor the old module has anything to train, so 0 is to be matched"
        )
    if problems:
        raise SlotMismatch(problems)
    place = geometry(old, signature)
    per_feature = place.kind == "positions" and place.inputs == place.outputs
    known = families(place.fan_in, place.outputs, per_feature=per_feature)
    return ParameterMatched(old, place, choose(known, wanted, side), known, wanted, act)
