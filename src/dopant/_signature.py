"""What a slot takes and gives: shapes and dtypes with the batch axis marked, in pytrees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .errors import SlotMismatch

READ = "its parent reads its weights instead of calling it"


class Call:
    """Arguments of one call: `Call(tokens, mask=mask)`."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.args, self.kwargs = args, kwargs

    def __repr__(self) -> str:
        return f"Call(args={self.args!r}, kwargs={self.kwargs!r})"

    def map(self, function: Any) -> Call:
        """A call whose tensors are `function(tensor)`."""
        args, kwargs = pytree.tree_map(
            lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, (self.args, self.kwargs)
        )
        return Call(*args, **kwargs)

    def tensors(self) -> list[Tensor]:
        """Every tensor among the arguments, in order."""
        return [leaf for leaf in pytree.tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Tensor)]


def as_call(sample: Any) -> Call:
    """A sample as users give it: a Call, a tuple of positional arguments, or one argument of any other kind."""
    if isinstance(sample, Call):
        return sample
    return Call(*sample) if type(sample) is tuple else Call(sample)


@dataclass(frozen=True)
class Batch:
    """The batch axis of a shape, or a whole number that grows with the batch: `multiple` for each sample."""

    multiple: int = 1

    def __repr__(self) -> str:
        return "batch" if self.multiple == 1 else f"{self.multiple}*batch"


@dataclass(frozen=True)
class Seen:
    """What a tensor held when it was measured, so that examples are of its kind (indices in range, positive, masks).

    tensor: kept whole where statistics would not do: no batch axis, truth values, or entries that are not finite.
    """

    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    std: float = 0.0
    tensor: Tensor | None = None


@dataclass(frozen=True)
class Spec:
    """Shape and dtype of one tensor; `Batch(multiple)` stands at the batch axis, if there is one."""

    shape: tuple[int | Batch, ...]
    dtype: torch.dtype
    seen: Seen | None = field(default=None, compare=False, repr=False)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape without the batch axis."""
        return tuple(s for s in self.shape if not isinstance(s, Batch))

    @property
    def axis(self) -> int | None:
        """Where the batch axis is; None where the tensor has none."""
        return next((i for i, s in enumerate(self.shape) if isinstance(s, Batch)), None)

    @property
    def multiple(self) -> int:
        """Entries along the batch axis for each sample."""
        return next((s.multiple for s in self.shape if isinstance(s, Batch)), 0)

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """A random tensor of this shape at `batch` samples, in the range that was measured."""
        shape = [s.multiple * batch if isinstance(s, Batch) else s for s in self.shape]
        seen = self.seen or Seen(mean=0.0, std=0.0)
        if seen.tensor is not None:
            if self.axis is None:
                return seen.tensor.clone()
            rows = torch.randint(0, seen.tensor.shape[self.axis], (shape[self.axis],), generator=generator)
            return seen.tensor.index_select(self.axis, rows)
        if self.dtype.is_floating_point or self.dtype.is_complex:
            wide = torch.complex128 if self.dtype.is_complex else torch.float64
            values = torch.randn(shape, generator=generator, dtype=wide)
            if seen.std > 0:
                values = values * seen.std + seen.mean
                if not self.dtype.is_complex:
                    values = values.clamp(seen.low, seen.high)
            return values.to(self.dtype)
        return torch.randint(int(seen.low), int(seen.high) + 1, shape, generator=generator).to(self.dtype)


@dataclass(frozen=True)
class CallSpec:
    """One call: pytrees of Spec (tensors) and plain constants."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any


@dataclass(frozen=True)
class Opaque:
    """An argument that is neither a tensor nor plain, passed on as it is; equal if of the same type."""

    type_name: str
    value: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Signature:
    """What a slot takes and gives.

    calls: one CallSpec a call in one run of the host, in order; empty if the host never calls the slot.
    module: the class of the module there. names: all its names. evaluated, trained: calls in one run of each mode.
    problem: why its batch axis could not be told, if so; such a slot cannot be filled. read: names of its tensors that
    others use while neither it nor anything inside it is being called; a replacement is not asked there.
    """

    module: str
    calls: tuple[CallSpec, ...]
    names: tuple[str, ...] = ()
    evaluated: int = 0
    trained: int = 0
    problem: str | None = None
    read: tuple[str, ...] = ()

    @property
    def call(self) -> CallSpec:
        """The only call shape. Raises SlotMismatch if the slot is never called, or in different shapes."""
        name = self.names[0] if self.names else self.module
        if self.problem:
            raise SlotMismatch(f"slot {name!r}: {self.problem}")
        shapes = self.distinct
        if not shapes:
            raise SlotMismatch(f"slot {name!r} is never called" + (f": {READ}" if self.read else ""))
        if len(shapes) > 1:
            raise SlotMismatch(
                f"slot {name!r} is called with several shapes: "
                + "; ".join(f"{show(c.args)} -> {show(c.outputs)}" for c in shapes)
                + "; choose a component that reads them from Signature.calls"
            )
        return shapes[0]

    @property
    def distinct(self) -> list[CallSpec]:
        """The call shapes without repetition."""
        found: list[CallSpec] = []
        for call in self.calls:
            if call not in found:
                found.append(call)
        return found

    @property
    def inputs(self) -> Any:
        """Shape of the only positional input that holds tensors, such as (16, 4, 4); several: a tuple of shapes.

        Without the batch axis. Where the host passes everything by keyword, the keywords in order. Raises SlotMismatch.
        """
        call = self.call
        found = [a for a in call.args if _specs(a)] or [a for a in call.kwargs.values() if _specs(a)]
        shapes = tuple(sizes(a) for a in found)
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def outputs(self) -> Any:
        """Shape of the output without the batch axis, such as (5,); a pytree of shapes where it is no tensor."""
        return sizes(self.call.outputs)

    @property
    def dtype(self) -> torch.dtype:
        """Of the first tensor that goes in (of the first that comes out, where none goes in)."""
        for call in self.calls:
            for spec in _specs((call.args, call.kwargs)) + _specs(call.outputs):
                return spec.dtype
        raise SlotMismatch(f"slot {self.names[0] if self.names else self.module!r} sees no tensor")

    def example(self, batch: int = 2, generator: torch.Generator | None = None, call: int = 0) -> Call:
        """Random arguments of call number `call` at `batch` samples: normal in the measured range, indices too."""
        if not self.calls:
            raise SlotMismatch(f"slot {self.names[0] if self.names else self.module!r} is never called")
        generator = generator or torch.Generator().manual_seed(0)
        spec = self.calls[call]
        args, kwargs = pytree.tree_map(lambda leaf: _fill(leaf, batch, generator), (spec.args, spec.kwargs))
        return Call(*args, **kwargs)


def _fill(leaf: Any, batch: int, generator: torch.Generator) -> Any:
    if isinstance(leaf, Spec):
        return leaf.draw(batch, generator)
    if isinstance(leaf, Batch):
        return leaf.multiple * batch
    return leaf.value if isinstance(leaf, Opaque) else leaf


def _specs(tree: Any) -> list[Spec]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Spec)]


def sizes(tree: Any) -> Any:
    """The tree with each Spec as its shape without the batch axis."""
    return pytree.tree_map(lambda leaf: leaf.sizes if isinstance(leaf, Spec) else leaf, tree)


def show_shape(shape: tuple[int | Batch, ...]) -> str:
    return "(" + ", ".join(map(repr, shape)) + ("," if len(shape) == 1 else "") + ")"


def show(tree: Any, *, full: bool = False) -> str:
    """A tree of Specs for people: shapes without the batch axis, or in full with dtypes."""
    if not full:
        return repr(sizes(tree))

    def leaf_text(leaf: Any) -> Any:
        return _Text(f"{str(leaf.dtype)[6:]}{show_shape(leaf.shape)}") if isinstance(leaf, Spec) else leaf

    return repr(pytree.tree_map(leaf_text, tree))


class _Text(str):
    """Text whose repr has no quotes."""

    def __repr__(self) -> str:
        return str(self)
