"""What the ordinary controls share: reading a slot, counting trainable numbers, choosing a width."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ...errors import NotDefined, SlotMismatch
from ._parameter_choice import NEAR

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


def trainable(module: nn.Module) -> int:
    """Trainable real numbers of a module (a complex parameter is two)."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in module.parameters() if p.requires_grad)


def budget(old: nn.Module, target: nn.Module | None) -> int:
    """The trainable count to match: that of the component controlled, or of the old module where there is none (or
    where it has nothing to train)."""
    return (trainable(target) if target is not None else 0) or trainable(old)


def count_to_match(old: nn.Module, target: nn.Module | None) -> int:
    """`budget`; NotDefined where the component has nothing to train, or there is none and neither has the old module.

    Beside a component without parameters a network of the old module's count would be the larger one.
    """
    of, wanted = controlled(old, target), budget(old, target)
    if of is not None and not trainable(of):
        raise NotDefined("nothing to match: the component has nothing to train")
    if not wanted:
        raise NotDefined("nothing to match: neither the component nor the old module has anything to train")
    return wanted


def controlled(old: nn.Module, target: nn.Module | None) -> nn.Module | None:
    """The component that is controlled; None where there is none, and `target` is the old module or a copy of it."""
    if target is None or target is old:
        return None
    if type(target) is type(old):
        mine, theirs = old.state_dict(), target.state_dict()
        if mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine):
            return None
    return target


def refuse_dense(old: nn.Module, signature: Any = None) -> str | None:
    """Why a slot is neither a Linear nor a plain Conv2d, or None if it is."""
    if isinstance(old, nn.Linear):
        return None
    if not isinstance(old, nn.Conv2d):
        return f"fills Linear and Conv2d, not {type(old).__name__}"
    reasons = []
    if old.groups != 1:
        reasons.append(f"groups = {old.groups}, expected 1")
    if old.padding_mode != "zeros":
        reasons.append(f"padding_mode = {old.padding_mode!r}, expected 'zeros'")
    return "; ".join(reasons) or None


def require_dense(name: str, old: nn.Module, extra: list[str] | None = None) -> None:
    """Raise SlotMismatch with every reason why `name` cannot fill the slot of `old`."""
    reason = refuse_dense(old)
    problems = ([f"{name!r} cannot fill this slot: {reason}"] if reason else []) + list(extra or [])
    if problems:
        raise SlotMismatch(problems)


def fan_in(old: nn.Module) -> int:
    """How many input numbers reach one output."""
    if isinstance(old, nn.Conv2d):
        return old.in_channels * math.prod(old.kernel_size)
    assert isinstance(old, nn.Linear)
    return old.in_features


def fan_out(old: nn.Module) -> int:
    """Output features, or channels."""
    return old.out_channels if isinstance(old, nn.Conv2d) else old.out_features  # type: ignore[union-attr, return-value]


def spread(old: nn.Module, width: int, bias: bool = True) -> nn.Module:
    """A layer from the inputs of `old` to `width` features, looking at the same window, on its device and dtype."""
    place: dict[str, Any] = {"device": old.weight.device, "dtype": old.weight.dtype}
    if isinstance(old, nn.Conv2d):
        window: Any = (old.kernel_size, old.stride, old.padding, old.dilation)
        return nn.Conv2d(old.in_channels, width, *window, bias=bias, **place)
    assert isinstance(old, nn.Linear)
    return nn.Linear(old.in_features, width, bias=bias, **place)


def gather(old: nn.Module, width: int, bias: bool = True) -> nn.Module:
    """A layer from `width` features to the outputs of `old`, at each position on its own."""
    place: dict[str, Any] = {"device": old.weight.device, "dtype": old.weight.dtype}
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(width, old.out_channels, 1, bias=bias, **place)
    assert isinstance(old, nn.Linear)
    return nn.Linear(width, old.out_features, bias=bias, **place)


def nearest_width(count: Callable[[int], int], wanted: int, least: int = 1) -> int:
    """The width (at least `least`) whose trainable count is nearest to `wanted`; count must be linear in the width."""
    slope = count(least + 1) - count(least)
    return max(least, least + round((wanted - count(least)) / slope))


def other_width(count: Callable[[int], int], wanted: int, needed: bool = True) -> int:
    """The width beside the nearest one, on the other side of `wanted`; count must be linear in the width.

    NotDefined where the nearest is within a tenth (needed=False: the one beside it all the same), and where there is
    none on the other side because the narrowest is too large already.
    """
    near = nearest_width(count, wanted)
    have = count(near)
    if needed and abs(have - wanted) <= NEAR * wanted:
        raise NotDefined(f"not needed: width {near} has {have} trainable numbers, within a tenth of {wanted}")
    if have > wanted and near > 1:
        return near - 1
    if have > wanted and needed:
        raise NotDefined(f"there is none: the narrowest has {have} trainable numbers, and {wanted} are wanted")
    return near + 1


class Sized(nn.Module):
    """A control of a stated size: `describe()` says which width was chosen and how near the count came."""

    width: int
    wanted: int

    def describe(self) -> str:
        """One line: width, trainable count, count asked for, and the difference in percent."""
        have = trainable(self)
        line = f"width {self.width}: {have} trainable numbers, {self.wanted} wanted"
        if have != self.wanted and self.wanted:
            line += f" ({100 * (have - self.wanted) / self.wanted:+.1f} %, the nearest whole width of at least 1)"
        return line

    def unmatched(self) -> str | None:
        """Why it is not of the count asked for: the narrowest is too large. None where it is near, or between two."""
        have = trainable(self)
        if self.width > 1 or have <= (1 + NEAR) * self.wanted:
            return None
        return f"the narrowest has {have} trainable numbers, and {self.wanted} are wanted"

    def extra_repr(self) -> str:
        return self.describe()
