"""Control: fixed random cosine features with a trained linear readout, at the same trainable count."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from ...lifecycle import Lifecycle
from ...registry import component
from ._anywhere import RandomFeaturesAnywhere, refuse_anywhere
from ._asked import asked
from ._capacity import (
    Sized,
    fan_in,
    fan_out,
    gather,
    nearest_width,
    other_width,
)

_DENSE_LIMIT = 2**23  # entries of a dense projection (32 MB); above it "auto" takes the structured one
_SAMPLES = 512  # inputs looked at for the bandwidth


class RandomFeatures(Sized, Lifecycle):
    """readout(sqrt(2/width) cos(W x / bandwidth + b)), W ~ N(0,1) and b ~ U(0, 2 pi) fixed; the readout is trained.

    Shapes as the old layer's; on a Conv2d slot x is the window. Approximates a Gaussian kernel of that bandwidth
    (Rahimi and Recht 2007), which is sqrt(inputs) until `prepare` sets it to the median distance between inputs.
    With projection "structured", W is a stack of H D3 H D2 H D1 (H Hadamard, D random signs; Yu et al. 2016): the same
    kernel in memory and time almost linear in the width, where a dense W would take hundreds of megabytes.
    """

    weight: torch.Tensor  # (width, inputs), only if dense
    signs: torch.Tensor  # (blocks, 3, side), only if structured
    phase: torch.Tensor  # (width,)
    bandwidth: torch.Tensor  # ()

    def __init__(self, old: nn.Module, wanted: int, projection: str, width: int | None = None):
        super().__init__()
        self.window = _window(old)
        self.inputs = fan_in(old)
        self.wanted = wanted
        self.width = width or nearest_width(counter(old), wanted)
        place: dict[str, Any] = {"device": old.weight.device, "dtype": old.weight.dtype}
        if projection == "auto":
            dense = self.window is not None or self.width * self.inputs <= _DENSE_LIMIT
            projection = "dense" if dense else "structured"
        self.projection = projection
        if projection == "dense":
            # drawn on the CPU in every case: the same numbers on every device
            self.register_buffer("weight", torch.randn(self.width, self.inputs, dtype=place["dtype"]).to(**place))
        else:
            side = 2 ** math.ceil(math.log2(max(2, self.inputs)))
            signs = torch.randint(0, 2, (math.ceil(self.width / side), 3, side), dtype=torch.int8) * 2 - 1
            self.register_buffer("signs", signs.to(place["device"]))
        phase = 2 * math.pi * torch.rand(self.width, dtype=place["dtype"])
        self.register_buffer("phase", phase.to(**place))
        self.register_buffer("bandwidth", torch.tensor(math.sqrt(self.inputs), **place))
        self.readout = gather(old, self.width, old.bias is not None)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., width), or (batch, in, height, width) -> (batch, width, height', width')."""
        if self.window is not None:
            weight = self.weight.view(self.width, -1, *self.window["kernel_size"]) / self.bandwidth
            where = {k: v for k, v in self.window.items() if k != "kernel_size"}
            angles = functional.conv2d(x, weight, self.phase, **where)
        elif self.projection == "dense":
            angles = functional.linear(x / self.bandwidth, self.weight, self.phase)
        else:
            angles = self._structured(x / self.bandwidth) + self.phase
        return math.sqrt(2 / self.width) * angles.cos()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(self.features(x))

    @torch.no_grad()
    def prepare(self, batches: Iterable[tuple[Any, ...]]) -> None:
        """Set the bandwidth to the median distance between (at most 512) inputs; unchanged if that is 0."""
        found, count = [], 0
        for x, *_ in batches:
            found.append(self._windows(x.detach()))
            count += len(found[-1])
            if count >= _SAMPLES:
                break
        if not found:
            return
        points = torch.cat(found)
        points = points[torch.linspace(0, len(points) - 1, min(len(points), _SAMPLES)).long()].double()
        distance = torch.pdist(points).median() if len(points) > 1 else torch.zeros(())
        if torch.isfinite(distance) and distance > 0:
            self.bandwidth.fill_(distance.item())

    def _windows(self, x: torch.Tensor) -> torch.Tensor:
        """(points, inputs): every vector that the projection sees, for convolutions at most 64 positions an image."""
        if self.window is None:
            return x.reshape(-1, self.inputs)
        window = dict(self.window)
        if isinstance(window["padding"], str):  # unfold knows no "same"; its inner windows are the same ones
            window["padding"] = 0
        patches = functional.unfold(x, **window)
        keep = torch.linspace(0, patches.shape[2] - 1, min(64, patches.shape[2])).long()
        return patches[:, :, keep.to(x.device)].transpose(1, 2).reshape(-1, self.inputs)

    def _structured(self, x: torch.Tensor) -> torch.Tensor:
        """sqrt(side) H D3 H D2 H D1 x with H orthonormal, block after block, cut to the width."""
        blocks, _, side = self.signs.shape
        signs = self.signs.to(x.dtype)
        y = functional.pad(x, (0, side - self.inputs)).unsqueeze(-2).expand(*x.shape[:-1], blocks, side)
        for k in range(3):
            y = _hadamard(y * signs[:, k])
        return math.sqrt(side) * y.flatten(-2)[..., : self.width]


def _hadamard(x: torch.Tensor) -> torch.Tensor:
    """The orthonormal Walsh-Hadamard transform of the last axis, by two matrix products."""
    bits = x.shape[-1].bit_length() - 1
    left, right = _sylvester(bits // 2, x), _sylvester(bits - bits // 2, x)
    y = x.reshape(*x.shape[:-1], len(left), len(right))
    return (left @ (y @ right)).reshape(x.shape) / math.sqrt(x.shape[-1])


def _sylvester(bits: int, like: torch.Tensor) -> torch.Tensor:
    """The Hadamard matrix of side 2^bits with entries +1 and -1."""
    index = torch.arange(2**bits, device=like.device)
    common = index[:, None] & index[None, :]
    parity = sum(((common >> b) & 1 for b in range(bits)), torch.zeros_like(common)) % 2
    return (1 - 2 * parity).to(like.dtype)


def _window(old: nn.Module) -> dict[str, Any] | None:
    if not isinstance(old, nn.Conv2d):
        return None
    return {k: getattr(old, k) for k in ("kernel_size", "stride", "padding", "dilation")}


def counter(old: nn.Module) -> Any:
    """width -> trainable count, in the slot of a Linear or plain Conv2d."""
    outputs, bias = fan_out(old), old.bias is not None
    return lambda w: outputs * (w + bias)


def _built(
    name: str, old: nn.Module, signature: Any, projection: str, target: nn.Module | None, other: bool
) -> nn.Module:
    bad = []
    if projection not in ("auto", "dense", "structured"):
        bad.append(f"{name!r}: projection is {projection!r}; expected 'auto', 'dense' or 'structured'")
    elif projection == "structured" and not isinstance(old, nn.Linear):
        bad.append(f"{name!r}: projection 'structured' is for Linear slots; use 'dense' or 'auto' here")
    wanted, needed, place = asked(name, old, signature, target, bad)
    if place is None:
        return RandomFeatures(old, wanted, projection, other_width(counter(old), wanted, needed) if other else None)
    count = RandomFeaturesAnywhere.counter(place)
    return RandomFeaturesAnywhere(old, place, wanted, other_width(count, wanted, needed) if other else None)


@component("random-features", fills=refuse_anywhere, control="same capacity")
def random_features(
    old: nn.Module,
    signature: Any,
    *,
    projection: Literal["auto", "dense", "structured"] = "auto",
    target: nn.Module | None = None,
) -> nn.Module:
    """Fixed random cosine features and a trained linear readout with the trainable count of the component it controls.

    Fills Linear and Conv2d (there the features look at the same window and the readout is 1x1), and every other slot
    of one tensor of floats in and one out, where it stands as `parameter-matched` does.
    projection: "dense", "structured" (Linear only: Hadamard and sign blocks), or "auto": structured where the dense
    matrix would have more than 8 million entries. The bandwidth is the median distance between training inputs.
    Without a component to control, the count is the old module's.
    Source: Rahimi and Recht 2007; Yu et al. 2016 (structured).
    Raises SlotMismatch for other slots and options, NotDefined for nothing to match.
    """
    return _built("random-features", old, signature, projection, target, False)


@component("random-features-other-side", fills=refuse_anywhere, control="same capacity")
def random_features_other_side(
    old: nn.Module,
    signature: Any,
    *,
    projection: Literal["auto", "dense", "structured"] = "auto",
    target: nn.Module | None = None,
) -> nn.Module:
    """`random-features` with the neighbouring width, on the other side of the count that is to be matched.

    Where no width comes within a tenth of the component's trainable count, the two stand on either side of it, and the
    component must beat both. Without a component to control it is there in any case.
    Fills, projection and cost as `random-features`. Raises NotDefined where it is not needed, or there is none.
    """
    return _built("random-features-other-side", old, signature, projection, target, True)
