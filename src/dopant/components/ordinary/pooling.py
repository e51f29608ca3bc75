"""Pooling: the mean, the largest, or an attended mean of positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..._signature import CallSpec, Signature, Spec, show, show_shape
from ...errors import SlotMismatch
from ...registry import component
from ._shape import POOLS, calls_of, feature_axis, positions, reason, size_at

MASKS = ("key_padding_mask", "src_key_padding_mask", "padding_mask")  # True where a position is padding, as in torch
_AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


@dataclass(frozen=True)
class Plan:
    """What is pooled.

    axis: of the features; places, grid: sizes of input and output beside them, the latter () for a vector. window:
    kernel_size, stride, padding, ceil_mode and whether zeros of the padding count, where the old module has one.
    """

    axis: int
    features: int
    places: tuple[int, ...]
    grid: tuple[int, ...]
    window: dict[str, Any] | None = None

    @property
    def single(self) -> bool:
        return math.prod(self.grid) == 1


def plan(old: nn.Module, signature: Signature) -> Plan:
    """How to pool in this slot; SlotMismatch with the reason where that is not possible."""
    calls = calls_of(signature)
    found = {str(made): made for made in (_plan_call(old, call) for call in calls)}
    if len(found) > 1:
        raise SlotMismatch("it is called with several shapes: " + ", ".join(show(c.args) for c in calls))
    return next(iter(found.values()))


def _plan_call(old: nn.Module, call: CallSpec) -> Plan:
    given, got = call.args[0] if call.args else None, call.outputs
    if len(call.args) != 1 or not _floats(given) or not _floats(got):
        takes, gives = show(call.args, full=True), show(got, full=True)
        raise SlotMismatch(f"it gives {gives} from {takes}, and pooling takes one tensor of floats and gives one")
    assert isinstance(given, Spec) and isinstance(got, Spec)
    axis = _pooled_features(old, given, got)
    places = positions(given, axis)
    for name, mask in call.kwargs.items():
        fits = mask is None or (isinstance(mask, Spec) and mask.dtype == torch.bool and mask.sizes == places)
        if name not in MASKS or not fits or (mask is not None and len(got.shape) != 2):
            raise SlotMismatch(
                f"it is called with {name}={show(mask, full=True)}; pooling takes {', '.join(MASKS)} of truth values "
                "(batch, set), true for padding, where a set becomes a vector, and nothing else by keyword"
            )
    grid = () if len(got.shape) == 2 else positions(got, axis)
    made = Plan(axis, size_at(given, axis), places, grid, _window(old))
    if made.window is None and not isinstance(old, POOLS):
        if any(n > m for n, m in zip(grid, places, strict=False)):
            raise SlotMismatch(f"it has more positions after it, {grid}, than before, {places}; that is no pooling")
        if grid == places or math.prod(places) == 1:
            raise SlotMismatch(f"it has as many positions after it as before, {grid or 1}; there is nothing to pool")
    if len(grid) > 3:
        raise SlotMismatch(f"its output has {len(grid)} axes beside batch and features; pooling does up to 3")
    return made


def _floats(leaf: Any) -> bool:
    return isinstance(leaf, Spec) and leaf.dtype.is_floating_point


def _pooled_features(old: nn.Module, given: Spec, got: Spec) -> int:
    """The axis of `given` that the pooling keeps: the usual one, or where a vector comes out, the one of its length."""
    if given.axis == 0 and got.axis == 0 and given.shape[0] == got.shape[0] and given.dtype == got.dtype:
        rank, usual = len(given.shape), feature_axis(old, given)
        if len(got.shape) == 2 and rank > 2:
            for axis in dict.fromkeys((usual, rank - 1, 1)):
                if given.shape[axis] == got.shape[1]:
                    return axis
        elif rank > 2 and len(got.shape) == rank and given.shape[usual] == got.shape[usual]:
            return usual
    raise SlotMismatch(
        f"it gives {show_shape(got.shape)} from {show_shape(given.shape)}; pooling keeps the batch, first, and the "
        "features, and makes fewer of the other positions, or one vector of all"
    )


def _window(old: Any) -> dict[str, Any] | None:
    if not isinstance(old, (*_AVERAGES, *_MAXIMA)):
        return None
    found = {name: getattr(old, name) for name in ("kernel_size", "stride", "padding", "ceil_mode")}
    dilation = getattr(old, "dilation", 1)
    return found | {"dilation": dilation, "count_include_pad": getattr(old, "count_include_pad", False)}


class Pooling(nn.Module):
    """Pools over positions, features kept. Subclasses say how a set, a window and a grid become numbers.

    (batch, set, features) -> (batch, features), with a mask (batch, set) that is true for padding, or
    (batch, features, *positions) -> (batch, features, *grid).
    """

    def __init__(self, made: Plan):
        super().__init__()
        self.plan = made

    def forward(self, x: Tensor, **masks: Tensor | None) -> Tensor:
        made = self.plan
        x = x.movedim(made.axis, 1)
        if made.window is not None:
            return self.windows(x, made.window)
        if made.grid and not made.single:
            return self.onto(x, made.grid).movedim(1, made.axis)
        given = [mask for mask in masks.values() if mask is not None]
        padding = None if not given else torch.stack(given).any(0)
        y = self.all_of(x.flatten(2), padding)
        return y.reshape(*y.shape, *made.grid).movedim(1, made.axis) if made.grid else y

    def all_of(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """(batch, features, positions) -> (batch, features); a sample of nothing but padding gives zeros."""
        raise NotImplementedError

    def onto(self, x: Tensor, grid: tuple[int, ...]) -> Tensor:
        raise NotImplementedError

    def windows(self, x: Tensor, window: dict[str, Any]) -> Tensor:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.plan.features} features onto {self.plan.grid or 'one vector'}"


class MeanPooling(Pooling):
    """The mean over positions."""

    def all_of(self, x: Tensor, padding: Tensor | None) -> Tensor:
        if padding is None:
            return x.mean(-1)
        kept = (~padding).sum(-1, keepdim=True).clamp(min=1)
        return x.masked_fill(padding[:, None], 0.0).sum(-1) / kept

    def onto(self, x: Tensor, grid: tuple[int, ...]) -> Tensor:
        return getattr(functional, f"adaptive_avg_pool{len(grid)}d")(x, grid)

    def windows(self, x: Tensor, window: dict[str, Any]) -> Tensor:
        where = {k: v for k, v in window.items() if k != "dilation"}
        return getattr(functional, f"avg_pool{x.ndim - 2}d")(x, **where)


class MaxPooling(Pooling):
    """The largest over positions, of each feature by itself."""

    def all_of(self, x: Tensor, padding: Tensor | None) -> Tensor:
        if padding is None:
            return x.amax(-1)
        largest = x.masked_fill(padding[:, None], -math.inf).amax(-1)
        return largest.masked_fill(padding.all(-1)[:, None], 0.0)

    def onto(self, x: Tensor, grid: tuple[int, ...]) -> Tensor:
        return getattr(functional, f"adaptive_max_pool{len(grid)}d")(x, grid)

    def windows(self, x: Tensor, window: dict[str, Any]) -> Tensor:
        where = {k: v for k, v in window.items() if k != "count_include_pad"}
        return getattr(functional, f"max_pool{x.ndim - 2}d")(x, **where)


class AttentionPooling(Pooling):
    """sum_k a_k x_k with a = softmax_k(w^T tanh(V x_k)): keys V x_k, and one learned query w.

    Parameters: keys.weight V (hidden, features), query w (hidden,).
    """

    def __init__(self, made: Plan, hidden: int):
        super().__init__(made)
        self.keys = nn.Linear(made.features, hidden, bias=False)
        self.query = nn.Parameter(torch.empty(hidden).uniform_(-(hidden**-0.5), hidden**-0.5))

    def attention(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """The weights (batch, positions) of (batch, features, positions); they add up to 1, and are 0 for padding."""
        scores = torch.tanh(self.keys(x.mT)) @ self.query
        if padding is not None:
            scores = scores.masked_fill(padding, torch.finfo(scores.dtype).min)
        return scores.softmax(-1)

    def all_of(self, x: Tensor, padding: Tensor | None) -> Tensor:
        if padding is not None:
            x = x.masked_fill(padding[:, None], 0.0)
        return (x @ self.attention(x, padding)[:, :, None]).squeeze(-1)


def mean_plan(old: nn.Module, signature: Signature) -> Plan:
    made = plan(old, signature)
    dilation = made.window["dilation"] if made.window else 1
    if dilation not in (1, (1,), (1, 1), (1, 1, 1)):
        raise SlotMismatch(f"its windows have dilation {dilation}, and a mean is taken of windows without gaps")
    return made


def attention_plan(old: nn.Module, signature: Signature) -> Plan:
    made = plan(old, signature)
    if not made.single:
        raise SlotMismatch(f"its output has {made.grid} positions, and one query gives one; 'mean-pooling' gives more")
    if math.prod(made.places) == 1:
        raise SlotMismatch("its input has a single position, so there is nothing to choose from")
    return Plan(made.axis, made.features, made.places, made.grid)  # all positions, whatever the old window was


@component("mean-pooling", fills=reason(mean_plan), linear=True)
def mean_pooling(old: nn.Module, signature: Signature) -> nn.Module:
    """The mean over positions.

    Shapes: (batch, channels, *space) -> (batch, channels, *smaller space), the slot's own; (batch, set, features) ->
    (batch, features); images -> (batch, channels). Fills pooling layers of 1 to 3 dimensions, by the old one's windows
    where it has any (zeros of the padding count only where they did in an average), and every other slot that keeps the
    features and has fewer positions after it, by torch's adaptive windows. The features are where `batch-norm` looks
    for them; where a vector comes out, on the axis of its length. A keyword key_padding_mask, src_key_padding_mask or
    padding_mask (batch, set), true for padding, leaves those positions out; a set of nothing else gives zeros.
    Cost: no parameters. Raises SlotMismatch for other slots, other masks, and windows with dilation.
    """
    return MeanPooling(mean_plan(old, signature))


@component("max-pooling", fills=reason(plan))
def max_pooling(old: nn.Module, signature: Signature) -> nn.Module:
    """The largest number over positions, of each feature by itself.

    Shapes, slots and masks as `mean-pooling`; dilated windows too. Padding of a window never wins.
    Cost: no parameters. Source: Boureau et al. 2010 (mean against max). Raises SlotMismatch for other slots and masks.
    """
    return MaxPooling(plan(old, signature))


@component("attention-pooling", fills=reason(attention_plan))
def attention_pooling(old: nn.Module, signature: Signature, *, hidden: int | None = None) -> nn.Module:
    """The mean over positions with learned weights, softmax(w^T tanh(V x)): one query w against the keys tanh(V x).

    Shapes: (batch, set, features) -> (batch, features); (batch, channels, *space) -> (batch, channels), or with axes of
    length 1 behind. Slots and masks as `mean-pooling` where a single position comes out; all positions are attended to,
    whatever windows the old module had. hidden: length of query and keys, half the features (at least 1) unless said.
    Cost: hidden * (features + 1) parameters. Source: Ilse et al. 2018, arXiv 1802.04712, eqs. 7 and 8 (without the gate
    of eq. 9). Raises SlotMismatch for other slots, more than one position in the output, and a `hidden` below 1.
    """
    made = attention_plan(old, signature)
    hidden = max(1, made.features // 2) if hidden is None else hidden
    if hidden < 1:
        raise SlotMismatch(f"hidden is {hidden}; expected at least 1")
    return AttentionPooling(made, hidden)
