"""A component under test: fresh copies of it, inputs of its slot, and calls that leave no trace."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .._build import cast
from .._slots import LARGE, SMALL, Batch, Call, CallSpec, Spec, describe, merge, plain_attention
from ..streams import default_generators, mix

CROWDS = (33, 17)  # a larger batch, for what happens only there: the first that the slot's tensors leave room for
MOST_ENTRIES = 2**22  # of all tensors into and out of the slot at that batch (16 MiB in single precision)
COSTLY_SECONDS = 0.02  # a call that takes more CPU time than this is costly


class NotTested(Exception):
    """A law that does not apply here; the text says why."""


@dataclass
class Shown:
    """One call, its outputs and what else it did."""

    module: nn.Module
    state: dict[str, Any]  # before the call
    call: Call
    outputs: Any
    drawn: list[str]  # whose global generators it drew from that it must not touch
    kept: bool  # whether the call left its arguments as they were
    seconds: float  # CPU time


@dataclass
class Subject:
    """One module that stands for a component in one slot.

    module: as built; never called itself, only copies of it. build: seed -> another one, for laws that need two.
    call_spec: what the slot takes and gives. facts: what the component declares. quick: the cheap form of each law.
    """

    module: nn.Module
    call_spec: CallSpec
    facts: dict[str, Any] = field(default_factory=dict)
    build: Callable[[int], nn.Module] | None = None
    seed: int = 0
    quick: bool = False
    _shown: dict[bool, Shown] = field(default_factory=dict, init=False, repr=False)

    def declares(self, fact: str) -> bool:
        return bool(self.facts.get(fact))

    @property
    def native(self) -> torch.dtype:
        """The dtype of floats in which the laws are tested: the slot's own, if double; else single."""
        doubles = (torch.float64, torch.complex128)
        specs = pytree.tree_leaves((self.call_spec.args, self.call_spec.kwargs, self.call_spec.outputs))
        return torch.float64 if any(isinstance(s, Spec) and s.dtype in doubles for s in specs) else torch.float32

    def fresh(self, training: bool, dtype: torch.dtype | None = None) -> nn.Module:
        """A copy of the module in this mode, its numbers in `dtype` if given."""
        return self.ready(copy.deepcopy(self.module), training, dtype)

    def ready(self, module: nn.Module, training: bool, dtype: torch.dtype | None = None) -> nn.Module:
        """`module` itself in this mode, in `dtype` if given; half precision is tested as single."""
        module.train(training)
        if dtype is None and any(p.dtype in (torch.float16, torch.bfloat16) for p in module.parameters()):
            dtype = self.native
        return cast(module, dtype) if dtype else module

    def key(self, salt: int) -> int:
        return mix(self.seed + 0x1A35, salt)

    def example(self, batch: int, salt: int = 0, dtype: torch.dtype | None = None) -> Call:
        """Random arguments at `batch` samples, floats in `dtype`; the same for the same salt."""
        generator = torch.Generator().manual_seed(self.key(salt) & (2**63 - 1))
        spec = self.call_spec

        def fill(leaf: Any) -> Any:
            if isinstance(leaf, Spec):
                return to_dtype(leaf.draw(batch, generator), dtype or self.native)
            if isinstance(leaf, Batch):
                return leaf.multiple * batch
            return getattr(leaf, "value", leaf) if type(leaf).__name__ == "Opaque" else leaf

        args, kwargs = pytree.tree_map(fill, (spec.args, spec.kwargs))
        return Call(*args, **kwargs)

    def run(self, module: nn.Module, call: Call, seed: int = 0) -> Any:
        """The outputs for copies of the arguments, all default generators seeded alike and restored."""
        call = place(call, module)
        with default_generators(self.key(1000 + seed)), plain_attention():
            return module(*call.args, **call.kwargs)

    def shown(self, training: bool) -> Shown:
        """One call of a fresh copy at three samples, seed 0. Laws share it, since a call may be costly."""
        if training not in self._shown:
            self._shown[training] = self.watched(self.fresh(training), self.example(3, salt=3))
        return self._shown[training]

    def watched(self, module: nn.Module, call: Call) -> Shown:
        """`run`, and what it left behind; `module` itself is called."""
        state, given = copy.deepcopy(module.state_dict()), place(call, module)
        with torch.no_grad(), default_generators(self.key(1000)), plain_attention():
            before, start = _global_states(), time.thread_time()
            outputs = module(*given.args, **given.kwargs)
            seconds, after = time.thread_time() - start, _global_states()
        drawn = [owner for owner in before if before[owner] != after[owner]]
        kept = difference(given.map(lambda t: t.cpu()).tensors(), call.tensors()) == 0
        return Shown(module, state, call, outputs, drawn, kept, seconds)

    @cached_property
    def costly(self) -> bool:
        """Whether the quick laws must do with fewer calls; no law is left out. Only ever so in the quick form."""
        return self.quick and self.shown(False).seconds > COSTLY_SECONDS

    @cached_property
    def crowd(self) -> int | None:
        """A batch large enough for what a module does only at such (as in training); None for very large inputs."""
        specs = pytree.tree_leaves((self.call_spec.args, self.call_spec.kwargs, self.call_spec.outputs))
        each = sum(math.prod(s.sizes) * s.multiple for s in specs if isinstance(s, Spec))
        return next((size for size in CROWDS if size * each <= MOST_ENTRIES), None)

    @cached_property
    def out_specs(self) -> Any:
        """The outputs' specs as measured on the component itself (which may differ from the slot's)."""
        module = self.fresh(False)
        with torch.no_grad():
            small, large = (describe(self.run(module, self.example(n)), look=False) for n in (SMALL, LARGE))
        merged, problems = merge(small, large)
        if problems:
            raise ValueError("; ".join(problems))
        return merged

    def need_batch(self) -> None:
        """NotTested unless some argument and some output have a batch axis."""
        inputs = pytree.tree_leaves((self.call_spec.args, self.call_spec.kwargs))
        if not any(isinstance(s, Spec) and s.axis is not None for s in inputs):
            raise NotTested("nothing that comes in has a batch axis")
        if not any(isinstance(s, Spec) and s.axis is not None for s in pytree.tree_leaves(self.out_specs)):
            raise NotTested("nothing that comes out has a batch axis")

    def sample_of(self, call: Call, index: int, count: int = 1) -> Call:
        """The arguments of one sample, or of `count` from it on."""
        spec = (self.call_spec.args, self.call_spec.kwargs)
        args, kwargs = pytree.tree_map(lambda s, v: part(s, v, index, count), spec, (call.args, call.kwargs))
        return Call(*args, **kwargs)

    def outputs_of(self, outputs: Any, index: int) -> list[Tensor]:
        """The outputs of one sample: those tensors that have a batch axis."""
        specs, tensors = pytree.tree_leaves(self.out_specs), pytree.tree_leaves(outputs)
        pairs = zip(specs, tensors, strict=True)
        return [part(s, t, index) for s, t in pairs if isinstance(s, Spec) and s.axis is not None]

    def replaced(self, call: Call, other: Call, index: int) -> Call:
        """`call` with sample `index` taken from `other`."""

        def put(spec: Any, mine: Any, theirs: Any) -> Any:
            if not isinstance(spec, Spec) or spec.axis is None:
                return mine
            mine = mine.clone()
            part(spec, mine, index).copy_(part(spec, theirs, index))
            return mine

        args, kwargs = pytree.tree_map(
            put, (self.call_spec.args, self.call_spec.kwargs), (call.args, call.kwargs), (other.args, other.kwargs)
        )
        return Call(*args, **kwargs)


def place(call: Call, module: nn.Module) -> Call:
    """Copies of the arguments on the module's device."""
    device = next((t.device for t in [*module.parameters(), *module.buffers()]), torch.device("cpu"))
    return call.map(lambda t: t.to(device).clone())


def _global_states() -> dict[str, Any]:
    """The states of the global generators that a call must not touch."""
    numpy: Any = np.random.get_state(legacy=False)
    return {"NumPy's": (numpy["state"]["key"].tobytes(), numpy["state"]["pos"]), "Python's": random.getstate()}


def part(spec: Any, value: Any, index: int, count: int = 1) -> Any:
    """The entries of `count` samples of a tensor; anything without a batch axis as it is."""
    if isinstance(spec, Batch):
        return spec.multiple * count
    if not isinstance(spec, Spec) or spec.axis is None:
        return value
    return value.narrow(spec.axis, index * spec.multiple, count * spec.multiple)


def to_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A float tensor in `dtype`, a complex one in its complex kin, any other as it is."""
    if tensor.is_complex():
        return tensor.to(torch.complex128 if dtype == torch.float64 else torch.complex64)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def floats(tree: Any) -> list[Tensor]:
    """Tensors of real or complex numbers, in order."""
    leaves = pytree.tree_leaves(tree)
    return [t for t in leaves if isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex())]


def tensors(tree: Any) -> list[Tensor]:
    return [t for t in pytree.tree_leaves(tree) if isinstance(t, Tensor)]


def difference(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest difference relative to the largest entry of `b` (or to one, if that is smaller than 1e-3).

    Infinite where numbers or shapes of tensors differ, or an entry is not finite on one side alone.
    """
    if [tuple(t.shape) for t in a] != [tuple(t.shape) for t in b]:
        return float("inf")
    worst = 0.0
    for x, y in zip(a, b, strict=True):
        if x.numel() == 0 or torch.equal(x, y):
            continue
        wide = torch.complex128 if x.is_complex() or y.is_complex() else torch.float64
        x, y = x.detach().to(wide), y.detach().to(wide)
        size = float(torch.nan_to_num(y.abs(), posinf=0.0).max())
        gap = (x - y).abs()
        gap = torch.where(x == y, torch.zeros_like(gap), gap)
        value = float(gap.max()) / max(size, 1e-3)
        worst = max(worst, value if value == value else float("inf"))
    return worst
