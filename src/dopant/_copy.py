"""A deep copy of a network, also of one that holds tensors which torch refuses to copy."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree


def copy_module(module: nn.Module) -> nn.Module:
    """A deep copy. Tensors that were computed with a gradient and kept as plain attributes, such as the weight under
    `torch.nn.utils.weight_norm` (which the next call makes anew), become copies without their history.

    Raises what copying raises: an attribute may be anything.
    """
    memo: dict[int, Any] = {}
    for part in module.modules():
        for leaf in pytree.tree_leaves(list(vars(part).values())):
            if isinstance(leaf, Tensor) and not leaf.is_leaf:
                memo[id(leaf)] = leaf.detach().clone()
    return copy.deepcopy(module, memo)
