"""Layer-wise distillation: a new component learns, alone, to give what the old module gave for its inputs.

The host before the swap is the teacher. It runs in evaluation on each batch; what reaches an old module and what leaves
it are what the component in that slot is trained on and measured by, so components in several slots learn independently
(Hinton, Vinyals and Dean 2015, arXiv 1503.02531, distil whole networks through soft labels; layer-wise regression on
hidden outputs is FitNets', Romero et al. 2014, arXiv 1412.6550, without their regressor: shapes are the slot's own).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .._place import Inserted, Mixed
from .._slots import Signature, Spec
from ..errors import ConfigError
from .lifecycle_calls import call_model, extra_losses


@dataclass
class Moments:
    """Sums over samples of one output tensor: of the squared error, of the old output and of its square, per entry."""

    error: float = 0.0
    count: int = 0
    first: Tensor | None = field(default=None)  # shape of one sample's entries
    second: float = 0.0

    def add(self, old: Tensor, new: Tensor) -> None:
        """Count a batch; the batch axis is first."""
        old, new = old.double(), new.double()
        total = old.sum(dim=0)
        self.error += float((new - old).square().sum())
        self.second += float(old.square().sum())
        self.first = total if self.first is None else self.first + total
        self.count += len(old)

    @property
    def variance(self) -> float:
        """Sum over entries and samples of the squared distance from the entry's mean over samples."""
        mean_part = float(self.first.square().sum()) / self.count if self.first is not None and self.count else 0.0
        # in exact arithmetic never below zero; below rounding of the second moment it is zero
        return max(0.0, self.second - mean_part)


class Distillation:
    """Teacher, student and the slots in which the second imitates the first.

    signatures: of the host's slots, which tell the outputs' batch axes. Raises ConfigError for a slot whose output has
    no real tensor with a batch axis, since there is nothing to imitate.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module, slots: list[str], signatures: dict[str, Signature]):
        self.teacher = teacher.eval().requires_grad_(False)
        self.student, self.slots = student, slots
        self.axes = {slot: [_axes(call.outputs) for call in signatures[slot].calls] for slot in slots}
        empty = [slot for slot, calls in self.axes.items() if not any(a is not None for axes in calls for a in axes)]
        if empty:
            raise ConfigError(
                [f"recipe.regime: slot {slot!r} gives no real tensor for each sample, so nothing can be imitated; take "
                 "regime = 'all'" for slot in empty]
            )  # fmt: skip

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained: the parameters of what stands in the slots, less those of an old module that a mix keeps
        beside it or an insertion before it. A wrapper is trained with what it wraps."""
        for slot in self.slots:
            module = self.student.get_submodule(slot)
            yield from (module.new if isinstance(module, (Mixed, Inserted)) else module).parameters()

    def __call__(self, inputs: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """(loss, extra losses) of a batch, gradients in place.

        The loss is the sum over slots of the squared error over the variance of the old output in this batch (over its
        square where it hardly varies, and the plain mean where it is zero, as after a branch that starts at zero).
        """
        loss: Tensor | None = None
        for slot, old, new in self._pairs(inputs):
            for target, output in zip(old, new, strict=True):
                part = (output - target).square().sum() / _scale(target) / len(self.axes[slot])
                loss = part if loss is None else loss + part
        assert loss is not None  # __init__ has seen an output for each slot
        # of what was called: a module outside the slots has made no call, and its losses would be of an older one
        extra = {k: v for slot in self.slots for k, v in extra_losses(self.student, slot).items()}
        total = loss + sum(extra.values()) if extra else loss
        if total.requires_grad:  # a frozen component has nothing to learn
            total.backward()
        return loss.detach(), {name: value.detach() for name, value in extra.items()}

    @torch.no_grad()
    def errors(self, batches: Iterator[Any]) -> dict[str, float]:
        """{slot: imitation error} over `batches` of inputs, the student in evaluation.

        The squared difference of new and old outputs over the variance of the old ones (around the mean over samples of
        each entry): 0 is the same function, 1 no better than the mean output. NaN where the old output does not vary.
        """
        sums: dict[tuple[str, int], Moments] = {}
        training = self.student.training
        self.student.eval()
        try:
            for inputs in batches:
                seen: dict[str, int] = {}
                for slot, old, new in self._pairs(inputs):
                    for target, output in zip(old, new, strict=True):
                        place = seen[slot] = seen.get(slot, -1) + 1
                        sums.setdefault((slot, place), Moments()).add(target, output)
        finally:
            self.student.train(training)
        found = {}
        for slot in self.slots:
            parts = [moments for (name, _), moments in sums.items() if name == slot]
            variance = sum(m.variance for m in parts)
            found[slot] = sum(m.error for m in parts) / variance if variance > 0 else float("nan")
        return found

    def _pairs(self, inputs: Any) -> Iterator[tuple[str, list[Tensor], list[Tensor]]]:
        """(slot, old outputs, new outputs) of each call of each slot: real tensors, the batch axis first."""
        for slot, calls in self._recorded(inputs).items():
            module = self.student.get_submodule(slot)
            for (args, kwargs, outputs), axes in zip(calls, self.axes[slot], strict=True):
                given = module(*args, **kwargs)
                yield slot, _chosen(outputs, axes), _chosen(given, axes)

    def _recorded(self, inputs: Any) -> dict[str, list[tuple[Any, Any, Any]]]:
        """{slot: [(args, kwargs, outputs), …]} of one run of the teacher. Copies: a host may change them in place."""
        found: dict[str, list[tuple[Any, Any, Any]]] = {slot: [] for slot in self.slots}
        handles = []

        def watch(slot: str, module: nn.Module) -> None:
            given: list[tuple[Any, Any]] = []

            def before(_: nn.Module, args: Any, kwargs: Any) -> None:
                given.append(_copied((args, kwargs)))

            def after(_: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
                found[slot].append((*given.pop(), _copied(outputs)))

            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))

        try:
            for slot in self.slots:
                watch(slot, self.teacher.get_submodule(slot))
            with torch.no_grad():
                call_model(self.teacher, inputs)
        finally:
            for handle in handles:
                handle.remove()
        return found


def _scale(target: Tensor) -> Tensor:
    """What a squared error is divided by: never so little that rounding decides."""
    square = target.square().sum()
    spread = (target - target.mean(dim=0)).square().sum()
    least = torch.where(square > 0, square, torch.full_like(square, target.numel()))
    return torch.where(spread > 1e-6 * square, spread, least)


def _copied(tree: Any) -> Any:
    return pytree.tree_map(lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, tree)


def _axes(outputs: Any) -> list[int | None]:
    """Of each leaf of an output the batch axis; None for what cannot be imitated."""
    return [
        leaf.axis if isinstance(leaf, Spec) and (leaf.dtype.is_floating_point or leaf.dtype.is_complex) else None
        for leaf in pytree.tree_leaves(outputs)
    ]


def _chosen(outputs: Any, axes: list[int | None]) -> list[Tensor]:
    chosen = []
    for leaf, axis in zip(pytree.tree_leaves(outputs), axes, strict=True):
        if axis is not None:
            real = torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf
            chosen.append(real.movedim(axis, 0).float() if real.dtype in _HALF else real.movedim(axis, 0))
    return chosen


_HALF = (torch.float16, torch.bfloat16)
