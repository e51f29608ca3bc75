"""Control: the component, in a network that is trained on labels in the wrong order."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..._place import SLOT_MARK
from ..._signature import Signature
from ...lifecycle import Lifecycle
from ...registry import component

_OWN = ("cost", "flops", "describe")  # asked of every module of a network, and `inner` answers for itself


class ShuffledLabels(nn.Module, Lifecycle):
    """`inner` as it is; the targets of the whole training split are permuted once. Shapes as the inner module's.

    What a host reads of the module in the slot (a weight, `batch_first`) is `inner`'s.
    """

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in _OWN or name.startswith("_") or name == "inner":
                raise
            return getattr(self.inner, name)

    def training_targets(self, targets: Any) -> Any:
        """The same targets in a random order, all tensors of the pytree in the same one."""
        order = torch.randperm(len(pytree.tree_leaves(targets)[0]))
        return pytree.tree_map(lambda leaf: leaf.index_select(0, order.to(leaf.device)), targets)


@component("shuffled-labels", control="ablation")
def shuffled_labels(old: nn.Module, signature: Signature, *, target: nn.Module | None = None) -> nn.Module:
    """The component that it controls, unchanged, in a network that is trained on shuffled labels.

    The labels of the training split are permuted once, before the first step; inputs, order of batches, dropout masks
    and starting weights stay those of the component's own cell, and validation and test keep their labels. What is
    left of the score needed no label: more than chance means that something leaks (or that the host started from a
    checkpoint, or the component from a distillation, that had seen true labels). The training metrics are of the
    shuffled labels, and how fast they rise says how readily the network remembers noise. Without a component to
    control, the old module stays. Shapes as the component's. Fills any slot. Cost: as the component; a second copy of
    the training labels.
    Source: Zhang et al. 2017, arXiv 1611.03530, section 2, "random labels". Differs from the paper in: a permutation in
    place of labels drawn for each item, which keeps how many items each class has.
    A training loop of one's own (`dp.run(train=…)`) is refused, since it would train on the true labels.
    """
    inner = copy.deepcopy(target if target is not None else old)
    # its random draws keep the name of the slot, as if nothing stood around it
    if signature is not None and signature.names:
        inner.__dict__.setdefault(SLOT_MARK, signature.names[0])
    return ShuffledLabels(inner)
