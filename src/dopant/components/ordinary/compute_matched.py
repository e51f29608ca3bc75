"""Control: an ordinary network that costs as much arithmetic as the component that it controls."""

from __future__ import annotations

import functools
import itertools
from typing import Any, Literal

import torch
from torch import nn

from ..._signature import Signature, Spec
from ...cost import forward_flops
from ...errors import SlotMismatch
from ...registry import component
from ._capacity import ACTIVATIONS, fan_in, fan_out, gather, refuse_dense, spread, trainable

NEAR = 0.1  # a shape whose FLOPs differ from those wanted by no more than this part is near enough
MOST = 2**28  # numbers of a network (1 GiB in single precision)
FEATURES_ELSEWHERE = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase)


class ComputeMatched(nn.Module):
    """Affine layers with an activation between them, of the given hidden widths. Shapes as those of `like`.

    like: a Linear or Conv2d; the first layer keeps its window, the others are 1x1. counted, wanted: FLOPs of one
    forward pass, a sample.
    """

    def __init__(
        self, like: nn.Module, widths: tuple[int, ...], act: str, *, bias: bool, counted: float, wanted: float
    ):
        super().__init__()
        self.widths, self.counted, self.wanted = widths, counted, wanted
        layers = [spread(like, widths[0]), ACTIVATIONS[act]()]
        for before, width in itertools.pairwise(widths):
            layers += [_between(like, before, width), ACTIVATIONS[act]()]
        self.layers = nn.Sequential(*layers, gather(like, widths[-1], bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)

    def describe(self) -> str:
        """One line: hidden widths, FLOPs, FLOPs wanted, the difference in percent, parameters."""
        off = self.counted / self.wanted - 1
        shape = "hidden width " + " and ".join(map(str, self.widths))
        line = f"{shape}: {self.counted:.6g} FLOPs a sample, {self.wanted:.6g} wanted"
        if off:
            line += f" ({100 * off:+.1f} %" + (", the nearest of any width)" if abs(off) > NEAR else ")")
        return f"{line}; {trainable(self)} trainable numbers"

    def extra_repr(self) -> str:
        return self.describe()


def _between(like: nn.Module, before: int, after: int) -> nn.Module:
    place: dict[str, Any] = {"device": like.weight.device, "dtype": like.weight.dtype}
    if isinstance(like, nn.Conv2d):
        return nn.Conv2d(before, after, 1, **place)
    return nn.Linear(before, after, **place)


def refuse(old: nn.Module, signature: Signature) -> str | None:
    """Why the slot is no Linear, no plain Conv2d and none of vectors (or rows of vectors), or None if it is."""
    if isinstance(old, (nn.Linear, nn.Conv2d)):
        return refuse_dense(old)
    kinds = "fills Linear, Conv2d and what takes and gives one tensor with the features last"
    if isinstance(old, FEATURES_ELSEWHERE):
        return f"{kinds}; {type(old).__name__} has them elsewhere"
    for call in signature.calls:
        taken, given = [s for s in call.args if isinstance(s, Spec)], call.outputs
        if len(taken) != 1 or len(call.args) != 1 or call.kwargs or not isinstance(given, Spec):
            return f"{kinds}, not {type(old).__name__}"
        (x,) = taken
        ranks = len(x.shape) == len(given.shape) and 1 <= len(x.sizes) <= 2
        if not ranks or x.shape[:-1] != given.shape[:-1] or x.axis in (None, len(x.shape) - 1):
            return f"{kinds}; {type(old).__name__} takes {x.sizes} and gives {given.sizes}"
        if not (x.dtype.is_floating_point and given.dtype.is_floating_point):
            return f"{kinds}, real numbers both; {type(old).__name__} takes {x.dtype} and gives {given.dtype}"
    if len({(c.args[0].shape[-1], c.outputs.shape[-1]) for c in signature.calls}) != 1:
        return f"{kinds}, of the same sizes in each call"
    return None


@component("compute-matched", fills=refuse, control="same simulation budget")
def compute_matched(
    old: nn.Module,
    signature: Signature,
    *,
    act: Literal["tanh", "relu"] = "tanh",
    batch: int = 200,
    target: nn.Module | None = None,
) -> nn.Module:
    """An ordinary network of the forward FLOPs of the component it controls: is it the arithmetic that helps?

    Affine layers with an activation between, one hidden width or (where no one width comes within 10 %) two, or the
    nearest; `describe()` says which, how many FLOPs, how many wanted, and the parameters, which follow from it: half
    the FLOPs of a Linear slot, whatever the component has. Fills Linear, Conv2d (the first layer keeps the window, the
    others are 1x1) and slots of one tensor with the features last. Without a component to control, the FLOPs are the
    old module's.
    act: "tanh" or "relu". batch: what is made once a pass is shared by so many samples.
    FLOPs are counted as the ledger does, and declared work with them: see `dopant.cost`. Cost: three forward passes of
    the component when it is built, then the same FLOPs (not the same time: dense products are the fast ones).
    Raises SlotMismatch for other slots and options, where the component is cheaper than one hidden unit, and where the
    network would have more than 2^28 numbers, each with the numbers.
    """
    reason = refuse(old, signature)
    problems = [f"'compute-matched' cannot fill this slot: {reason}"] if reason else []
    if act not in ACTIVATIONS:
        problems.append(f"'compute-matched': act is {act!r}; expected 'tanh' or 'relu'")
    if batch < 1:
        problems.append(f"'compute-matched': batch is {batch}; expected 1 or more")
    if problems:
        raise SlotMismatch(problems)
    wanted = flops(target if target is not None else old, signature, batch)
    like = old if isinstance(old, (nn.Linear, nn.Conv2d)) else _as_linear(old, signature)
    build = functools.partial(ComputeMatched, like, act=act, bias=getattr(old, "bias", True) is not None, wanted=wanted)
    inputs, outputs = fan_in(like), fan_out(like)
    least = flops(build((1,), counted=0.0), signature, batch)
    if wanted < least * (1 - NEAR):
        raise SlotMismatch(
            f"'compute-matched': the component takes {wanted:.6g} FLOPs a sample, and the smallest network here (one"
            f" hidden unit between {inputs} inputs and {outputs} outputs) {least:.6g}; control it by another"
        )
    products = wanted / least * (inputs + outputs)  # multiply-adds at one position
    widths = choose(inputs, outputs, products)
    if products + sum(widths) + outputs > MOST:
        raise SlotMismatch(
            f"'compute-matched': {wanted:.6g} FLOPs a sample take a network of {products:.3g} numbers, more than"
            f" {MOST}; control this component by another, or make it smaller"
        )
    return build(widths, counted=multiply_adds(inputs, outputs, widths) / (inputs + outputs) * least)


def flops(module: nn.Module, signature: Signature, batch: int) -> float:
    """FLOPs of the forward passes that one pass of the host makes of this slot, a sample."""
    calls = range(len(signature.calls))
    example = [functools.partial(signature.example, call=k) for k in calls]
    return sum(forward_flops(module, example[k], 2, batch=batch) for k in calls)


def multiply_adds(inputs: int, outputs: int, widths: tuple[int, ...]) -> int:
    """Of the network at one position."""
    sides = (inputs, *widths, outputs)
    return sum(a * b for a, b in itertools.pairwise(sides))


def choose(inputs: int, outputs: int, products: float) -> tuple[int, ...]:
    """Hidden widths whose multiply-adds come within NEAR of `products`: one where that does, else the two of which the
    smaller is largest; else the nearest of all."""

    def off(widths: tuple[int, ...]) -> float:
        return abs(multiply_adds(inputs, outputs, widths) / products - 1)

    one = (max(1, round(products / (inputs + outputs))),)
    if off(one) <= NEAR:
        return one
    pairs = []
    for first in range(1, max(1, int(products / inputs)) + 1):
        second = (products - inputs * first) / (first + outputs)
        pairs += [(first, width) for width in {int(second), int(second) + 1} if width >= 1]
    near = [pair for pair in pairs if off(pair) <= NEAR]
    if near:
        return max(near, key=lambda pair: (min(pair), -off(pair)))
    return min([one, *pairs], key=off)


def _as_linear(old: nn.Module, signature: Signature) -> nn.Linear:
    """A Linear of the slot's features, on the old module's device, in its dtype."""
    call = signature.calls[0]
    first = next((t for t in [*old.parameters(), *old.buffers()] if t.is_floating_point()), None)
    place: dict[str, Any] = {} if first is None else {"device": first.device, "dtype": first.dtype}
    return nn.Linear(call.args[0].shape[-1], call.outputs.shape[-1], **place)
