"""The controls of the same capacity in slots that are neither a Linear nor a plain Conv2d.

Where a network stands in such a slot is `parameter_matched.geometry`: on the windows of a convolution, at each
position, at each and then averaged, or on all numbers at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...lifecycle import Lifecycle
from ._capacity import ACTIVATIONS, Sized, nearest_width, refuse_dense
from ._shape import CONVOLUTIONS, on_axis, pointwise, reason, window
from .parameter_matched import Geometry, geometry

MOST_PATCH = 1024  # numbers of a window that is looked at for the bandwidth
SAMPLES = 512  # points looked at for it


def refuse_anywhere(old: nn.Module, signature: Any = None) -> str | None:
    """Why a slot is neither dense nor one of the geometries, or None if it is."""
    return None if refuse_dense(old) is None else _refuse(old, signature)


_refuse = reason(geometry)


def spread_at(old: nn.Module, place: Geometry, width: int, bias: bool = True) -> nn.Module:
    """From what `gathered` looks at to `width` features."""
    if place.kind == "windows":
        return window(old, place.inputs, width, bias=bias)
    if place.wide:
        return CONVOLUTIONS[place.rank - 3](place.inputs, width, 3, padding=1, bias=bias)
    linear = nn.Linear(place.fan_in, width, bias)
    return linear if place.kind == "flat" else on_axis(linear, place.axis, place.rank)


def gather_at(old: nn.Module, place: Geometry, width: int, bias: bool = True) -> nn.Module:
    """From `width` features, settled, to the slot's outputs."""
    if place.kind == "windows":
        return pointwise(old, width, place.outputs, bias=bias)
    linear = nn.Linear(width, place.outputs, bias)
    return linear if place.kind in ("flat", "set") else on_axis(linear, place.axis, place.rank)


def settle(place: Geometry, y: Tensor) -> Tensor:
    """Features at each position, averaged over all of a set or onto the slot's grid; else as they are."""
    if place.kind == "set":
        return y.movedim(place.axis, 1).flatten(2).mean(-1)
    if place.kind != "grid":
        return y
    moved = y.movedim(place.axis, 1)
    if tuple(moved.shape[2:]) != place.grid:
        moved = getattr(functional, f"adaptive_avg_pool{len(place.grid)}d")(moved, place.grid)
    return moved.movedim(1, place.axis)


def opened(place: Geometry, x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], -1) if place.kind == "flat" else x


def closed(place: Geometry, y: Tensor) -> Tensor:
    return y.reshape(-1, *place.sizes) if place.kind == "flat" else y


class ResidualAnywhere(Sized):
    """settle(linear(x)) + gather(settle(act(spread(x)))), the last without a bias. Shapes as the slot's."""

    def __init__(self, old: nn.Module, place: Geometry, wanted: int, act: str, width: int | None = None):
        super().__init__()
        self.place, self.wanted = place, wanted
        self.width = width or nearest_width(self.counter(place), wanted)
        self.linear = spread_at(old, place, place.outputs)
        self.spread = spread_at(old, place, self.width)
        self.act = ACTIVATIONS[act]()
        self.gather = gather_at(old, place, self.width, bias=False)

    @staticmethod
    def counter(place: Geometry) -> Any:
        """width -> trainable count."""
        return lambda w: place.outputs * (place.fan_in + 1) + w * (place.fan_in + 1 + place.outputs)

    def forward(self, x: Tensor) -> Tensor:
        place, x = self.place, opened(self.place, x)
        straight = settle(place, self.linear(x))
        return closed(place, straight + self.gather(settle(place, self.act(self.spread(x)))))


class RandomFeaturesAnywhere(Sized, Lifecycle):
    """gather(settle(sqrt(2/width) cos(W x / bandwidth + b))), W ~ N(0,1) and b ~ U(0, 2 pi) fixed.

    Shapes as the slot's. x: a window, a position's features, or all numbers. bandwidth: sqrt(numbers that W sees) until
    `prepare` sets it to the median distance between such inputs.
    """

    bandwidth: Tensor  # ()

    def __init__(self, old: nn.Module, place: Geometry, wanted: int, width: int | None = None):
        super().__init__()
        self.place, self.wanted = place, wanted
        self.width = width or nearest_width(self.counter(place), wanted)
        self.spread = _fixed(spread_at(old, place, self.width))
        for module in self.spread.modules():
            if "weight" in module._buffers:
                module.weight.normal_()  # type: ignore[operator]
                module.bias.uniform_(0, 2 * math.pi)  # type: ignore[operator]
        self.readout = gather_at(old, place, self.width)
        self.register_buffer("bandwidth", torch.tensor(math.sqrt(place.fan_in)))
        self._patches = _one_hot(spread_at(old, place, place.fan_in)) if place.fan_in <= MOST_PATCH else None

    @staticmethod
    def counter(place: Geometry) -> Any:
        """width -> trainable count."""
        return lambda w: place.outputs * (w + 1)

    def forward(self, x: Tensor) -> Tensor:
        place, x = self.place, opened(self.place, x)
        # W (x / bandwidth) + b: padding with zeros is the same before and after the division
        features = math.sqrt(2 / self.width) * self.spread(x / self.bandwidth).cos()
        return closed(place, self.readout(settle(place, features)))

    @torch.no_grad()
    def prepare(self, batches: Iterable[tuple[Any, ...]]) -> None:
        """Set the bandwidth to the median distance between (at most 512) inputs; unchanged where that is 0, or where a
        window has more than 1024 numbers."""
        if self._patches is None:
            return
        found, count = [], 0
        looking = self._patches[0]
        for x, *_ in batches:
            looking.to(x.device, x.dtype)
            for row in opened(self.place, x.detach()).split(1):  # windows of a few samples are enough
                seen = looking(row)
                points = seen.flatten(0, -2) if self.place.kind == "flat" else seen.movedim(self.place.axis, -1)
                points = points.reshape(-1, self.place.fan_in)
                found.append(points[torch.linspace(0, len(points) - 1, min(64, len(points))).long()])
                count += len(found[-1])
                if count >= SAMPLES:
                    break
            if count >= SAMPLES:
                break
        points = torch.cat(found)[:SAMPLES].double() if found else torch.zeros(0, 1)
        distance = torch.pdist(points).median() if len(points) > 1 else torch.zeros(())
        if torch.isfinite(distance) and distance > 0:
            self.bandwidth.fill_(distance.item())


def _fixed(module: nn.Module) -> nn.Module:
    """The module with buffers in the place of its parameters."""
    for part in module.modules():
        for name in list(part._parameters):
            parameter = part._parameters.pop(name)
            if parameter is not None:
                part.register_buffer(name, parameter.detach().clone())
    return module


def _one_hot(module: nn.Module) -> tuple[nn.Module]:
    """The same layer with the identity for its weight: it gives what it sees. In a tuple: no part of any state."""
    module = _fixed(module)
    for part in module.modules():
        if "weight" in part._buffers:
            size = part.weight.shape[0]  # type: ignore[union-attr, index]
            part.weight.copy_(torch.eye(size).view_as(part.weight))  # type: ignore[operator, union-attr, arg-type]
            part.bias.zero_()  # type: ignore[operator, union-attr]
    return (module,)
