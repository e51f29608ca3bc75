"""Whether a tensor is only itself: what a function of our own may look into, and what is left to torch's operations."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad

PLAIN = (torch.Tensor, torch.nn.Parameter)
# by their own names, as every call of a small circuit looks
_compiling, _active = torch.compiler.is_compiling, torch._C._are_functorch_transforms_active
_batched = torch._C._functorch.is_legacy_batchedtensor  # pyright: ignore[reportAttributeAccessIssue]


def transformed(x: torch.Tensor) -> bool:
    """Whether more than plain backward derivatives happens to x: a transform of torch.func (vmap, grad, jvp, …), a
    forward derivative, compilation, a subclass such as a fake tensor, a tensor without numbers."""
    return type(x) not in PLAIN or _compiling() or _active() or forward_ad._current_level >= 0 or x.is_meta


def beside_real(x: torch.Tensor) -> bool:
    """Whether x is a fake tensor of a mode that takes real ones too, as those do on which memory is foreseen."""
    return getattr(getattr(x, "fake_mode", None), "allow_non_fake_inputs", False)


def several(gradient: torch.Tensor) -> bool:
    """Whether a gradient stands for many at once: `is_grads_batched=True`, jacobians with `vectorize=True`, vmap."""
    return (transformed(gradient) and not beside_real(gradient)) or _batched(gradient)
