"""Outputs as people write them: dataclasses of tensors as trees, and the scores among several tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

SCORES = "logits"  # the field that holds them in an output with named parts, as in Hugging Face's transformers


def learn(tree: Any) -> Any:
    """The tree itself; torch's pytree knows each dataclass that holds tensors in it from now on, as it knows tuples.

    Without that a dataclass is one leaf: its tensors would neither be measured, nor mixed, nor tested by the laws.
    """
    for leaf in pytree.tree_leaves(tree):
        kind = type(leaf)
        if not dataclasses.is_dataclass(leaf) or isinstance(leaf, (type, Tensor, nn.Module)):
            continue
        parts = [learn(getattr(leaf, field.name, None)) for field in dataclasses.fields(leaf)]
        if kind not in pytree.SUPPORTED_NODES and any(isinstance(part, Tensor) for part in pytree.tree_leaves(parts)):
            names = [field.name for field in dataclasses.fields(leaf) if field.init]
            pytree.register_pytree_node(
                kind,
                lambda value, names=names: ([getattr(value, name) for name in names], None),
                lambda values, _, kind=kind, names=names: kind(**dict(zip(names, values, strict=True))),
            )
    return tree


def scores_of(outputs: Any) -> Any:
    """The tensor of scores in what a network gives: itself, the part named `logits`, or the only tensor in a tuple.

    Anything else comes back as it is: several tensors want a loss and metrics of one's own, which get them all.
    """
    if isinstance(outputs, Tensor):
        return outputs
    named = outputs.get(SCORES) if isinstance(outputs, Mapping) else getattr(outputs, SCORES, None)
    if isinstance(named, Tensor):
        return named
    leaves = [leaf for leaf in pytree.tree_leaves(learn(outputs)) if isinstance(leaf, Tensor)]
    return leaves[0] if len(leaves) == 1 else outputs
