"""How components that know only tensors read a slot: what goes in, what comes out, where the features are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ..._signature import Batch, CallSpec, Signature, Spec, show, show_shape
from ...errors import SlotMismatch

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
POOLS = (
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
_CHANNELS_FIRST = (
    *CONVOLUTIONS, *POOLS, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
    nn.GroupNorm, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
)  # fmt: skip


def reason(plan: Callable[[Any, Any], Any]) -> Callable[[Any, Any], str | None]:
    """`fills` from a function that raises SlotMismatch: None where it does not, else what it said."""

    def refuse(old: Any, signature: Any) -> str | None:
        try:
            plan(old, signature)
        except SlotMismatch as error:
            return "; ".join(error.problems)
        return None

    return refuse


def calls_of(signature: Signature) -> list[CallSpec]:
    """The distinct calls of a slot. SlotMismatch where it is never called or its batch axis is unknown."""
    if signature.problem or not signature.calls:
        raise SlotMismatch(signature.problem or "it is never called")
    return signature.distinct


def tensor_calls(signature: Signature) -> list[tuple[Spec, Spec]]:
    """(input, output) of each distinct call of a slot that takes one tensor of real floats and gives one.

    SlotMismatch says what else it takes or gives.
    """
    found = []
    for call in calls_of(signature):
        given, got = call.args[0] if call.args else None, call.outputs
        if len(call.args) != 1 or call.kwargs or not isinstance(given, Spec) or not given.dtype.is_floating_point:
            taken = show(call.args, full=True) + (f" and {show(call.kwargs, full=True)}" if call.kwargs else "")
            raise SlotMismatch(f"it is called with {taken}, and this takes one tensor of floats by position")
        if not isinstance(got, Spec) or not got.dtype.is_floating_point:
            raise SlotMismatch(f"it gives {show(got, full=True)}, and this gives one tensor of floats")
        found.append((given, got))
    return found


def one_call(signature: Signature) -> tuple[Spec, Spec]:
    """`tensor_calls` of a slot that is called in one shape only."""
    found = tensor_calls(signature)
    if len(found) > 1:
        raise SlotMismatch("it is called with several shapes: " + ", ".join(show(given) for given, _ in found))
    return found[0]


def shape_kept(old: nn.Module, signature: Signature) -> list[Spec]:
    """The inputs of a slot whose output has the shape and dtype of its one input, in every call; else SlotMismatch."""
    for given, got in tensor_calls(signature):
        if given != got:
            gives, takes = show(got, full=True), show(given, full=True)
            raise SlotMismatch(f"it gives {gives} from {takes}, and this keeps the shape")
    return [given for given, _ in tensor_calls(signature)]


def feature_axis(old: nn.Module, spec: Spec) -> int:
    """Where the features of a tensor are: axis 1 for modules that put channels there (convolutions, pools, batch,
    instance and group norm), the normalised one for layer norm, else axis 1 of images and volumes (rank 4 and 5) and
    the last axis of vectors and sequences. SlotMismatch where that is the batch axis, or there is none beside it."""
    rank = len(spec.shape)
    if spec.axis is None or rank < 2:
        raise SlotMismatch(f"its input {show_shape(spec.shape)} has no batch axis with a feature axis beside it")
    axis = 1 if rank >= 4 or isinstance(old, _CHANNELS_FIRST) else rank - 1
    if isinstance(old, (nn.LayerNorm, nn.RMSNorm)):
        size = old.normalized_shape[-1]
        fitting = {a for a in (1, rank - 1) if spec.shape[a] == size}
        axis = fitting.pop() if len(fitting) == 1 else rank - 1
    if isinstance(spec.shape[axis], Batch):
        raise SlotMismatch(f"axis {axis} of its input {show_shape(spec.shape)} is the batch, where the features belong")
    return axis


def positions(spec: Spec, axis: int) -> tuple[int, ...]:
    """The sizes beside batch and features, in order. SlotMismatch where the batch axis is not the first."""
    if spec.axis != 0:
        raise SlotMismatch(f"its input {show_shape(spec.shape)} has its batch not on the first axis, as this needs it")
    return tuple(size_at(spec, i) for i in range(1, len(spec.shape)) if i != axis)


def size_at(spec: Spec, axis: int) -> int:
    """The length of an axis other than the batch."""
    size = spec.shape[axis]
    assert isinstance(size, int)
    return size


def without(spec: Spec, axis: int) -> tuple[Any, ...]:
    """The shape but for one axis."""
    return tuple(s for i, s in enumerate(spec.shape) if i != axis)


def dimension(old: nn.Module) -> int:
    """How many axes a convolution moves along: 1, 2 or 3; 0 for anything else."""
    return next((i + 1 for i, kind in enumerate(CONVOLUTIONS) if isinstance(old, kind)), 0)


def window(old: Any, inputs: int, outputs: int, *, bias: bool, groups: int = 1) -> nn.Module:
    """A convolution that looks at the same window as `old`."""
    kind: Any = CONVOLUTIONS[dimension(old) - 1]
    return kind(inputs, outputs, old.kernel_size, old.stride, old.padding, old.dilation, groups, bias, old.padding_mode)


def pointwise(old: nn.Module, inputs: int, outputs: int, *, bias: bool) -> nn.Module:
    """A convolution of kernel size 1 along as many axes as `old`; a Linear beside a Linear."""
    if not dimension(old):
        return nn.Linear(inputs, outputs, bias)
    kind: Any = CONVOLUTIONS[dimension(old) - 1]
    return kind(inputs, outputs, 1, bias=bias)


def spread_like(layer: Any, variance: float, fan_in: int) -> None:
    """Draw a layer's weight uniformly with this variance, and its bias as torch's layers of `fan_in` inputs do."""
    nn.init.uniform_(layer.weight, -((3 * variance) ** 0.5), (3 * variance) ** 0.5)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -(fan_in**-0.5), fan_in**-0.5)


class OnAxis(nn.Module):
    """A module for the last axis (or, with `place`, another one), applied along the axis `axis`."""

    def __init__(self, inner: nn.Module, axis: int, place: int = -1):
        super().__init__()
        self.inner, self.axis, self.place = inner, axis, place

    def forward(self, x: Any) -> Any:
        return self.inner(x.movedim(self.axis, self.place)).movedim(self.place, self.axis)


def on_axis(inner: nn.Module, axis: int, rank: int) -> nn.Module:
    """`inner`, a module for the last axis, along `axis` of tensors of this rank; itself where that is the last."""
    return inner if axis == rank - 1 else OnAxis(inner, axis)
