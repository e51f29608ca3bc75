"""Control: the component as it starts, never trained."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from ...errors import NotDefined
from ...registry import component
from ._capacity import trainable


@component("frozen", control="ablation")
def frozen(old: nn.Module, signature: Any, *, target: nn.Module | None = None) -> nn.Module:
    """The component that it controls at its starting values, with parameters that cannot be trained.

    The rest of the network trains around it: what remains of the effect needed no training of the component. The
    parameters keep their names and stay in the state. Without a component to control, the old module is frozen.
    Fills any slot. Cost: as the component, less the gradient of its parameters.
    Raises NotDefined where the component has nothing to train.
    """
    if target is not None and not trainable(target):
        raise NotDefined("the component has nothing to train, so frozen it is what it is")
    module = copy.deepcopy(target if target is not None else old)
    return module.requires_grad_(False)
