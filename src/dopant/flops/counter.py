"""The context in which FLOPs are counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from .formulas import FORMULAS, VALUES_ALONE, Args, Formula

KNOWN = ("aten", "prim", "prims", "profiler")  # operations of torch itself; all others are somebody's own


class Counter(TorchDispatchMode):
    """Context in which FLOPs are counted, forward and backward, whatever the device.

    by_operation: FLOPs by name of the operation. unseen: operations that are not torch's, whose work is not in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_operation: dict[str, float] = {}
        self.unseen: set[str] = set()
        self._asked = _Asked()

    def __enter__(self) -> Counter:
        self._asked.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._asked.__exit__(*error)

    @property
    def total(self) -> float:
        return sum(self.by_operation.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Args = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        packet = getattr(func, "_overloadpacket", func)
        formula = (VALUES_ALONE if self._asked.values_alone else FORMULAS).get(packet)
        formula = formula or FORMULAS.get(packet) or _torch_formula(packet)
        if formula is None and getattr(func, "_can_decompose", bool)():  # in inference mode they arrive whole
            with torch._C.DisableTorchFunction(), _Again(self):
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        outputs = self.execute(func, args, kwargs)
        if formula is not None:
            self.by_operation[str(packet)] = self.by_operation.get(str(packet), 0) + _flops(
                formula, outputs, args, kwargs
            )
        elif getattr(func, "namespace", "aten") not in KNOWN:
            self.unseen.add(str(packet))
        return outputs

    def execute(self, func: Any, args: Args, kwargs: dict) -> Any:
        return func(*args, **kwargs)


class _Again:
    """The counter's own context once more, within it: what an operation decomposes into is counted as well."""

    def __init__(self, counter: Counter):
        self.counter = counter

    def __enter__(self) -> None:
        TorchDispatchMode.__enter__(self.counter)

    def __exit__(self, *error: Any) -> None:
        TorchDispatchMode.__exit__(self.counter, *error)


class _Asked(TorchFunctionMode):
    """Notes calls for eigenvalues alone: below, while anybody watches, torch makes the vectors too."""

    values_alone = False

    def __torch_function__(self, func: Any, types: Any, args: Args = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func not in (torch.linalg.eigvalsh, torch.linalg.eigvals, torch.linalg.svdvals):
            return func(*args, **kwargs)
        # where a gradient is wanted the vectors are made after all
        tensors = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        self.values_alone = not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
        try:
            return func(*args, **kwargs)
        finally:
            self.values_alone = False


def _flops(formula: Formula, outputs: Any, args: Args, kwargs: dict) -> float:
    inputs = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    return formula(outputs, args, kwargs) * (4 if any(t.is_complex() for t in inputs) else 1)


def _torch_formula(packet: Any) -> Formula | None:
    theirs = flop_registry.get(packet)
    return None if theirs is None else lambda outputs, args, kwargs: theirs(*args, **kwargs, out_val=outputs)
