"""The exact classical parametrisation of the kernels that the flipped quanvolution can have."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...errors import SlotMismatch
from ...registry import component
from ._draw import normal
from .flipped_quanv import FlippedQuanv, KernelConv, like_conv, refuse_conv


class PSDConv(KernelConv):
    """A convolution with kernel K = A A^T / in_channels, A real (kernel_size, 2) of Frobenius norm at most 1.

    (batch, in_channels, height, width) -> (batch, out_channels, height', width').
    Parameters: factor F (out_channels, in_channels, 4, 2), drawn from N(0,1); A is the first kernel_size rows of
    F / |F|. The rows that are cut off take up the norm that A leaves free, so A reaches exactly the ball |A| <= 1 (at
    kernel size 4 its surface, trace 1) without a constraint: the same set of kernels as FlippedQuanv's, whose
    A = (Re psi, Im psi). Eight numbers a kernel, against 15 angles; at size 3 both have five free dimensions.
    Raises ConfigError as FlippedQuanv does.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        bias: bool = True,
        *,
        bias_init: str = "normal",
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias_init)
        self.factor = nn.Parameter(normal((out_channels, in_channels, 4, 2), generator, device, dtype))
        start = normal((out_channels,), generator, device, dtype)
        self.bias = nn.Parameter(start if bias_init == "normal" else torch.zeros_like(start)) if bias else None

    def kernel(self) -> torch.Tensor:
        norm = self.factor.square().sum((-2, -1), keepdim=True)
        rows = self.factor[..., : self.kernel_size, :]
        return rows @ rows.mT / norm / self.in_channels

    @torch.no_grad()
    def start_from(self, quanv: FlippedQuanv) -> None:
        """Take over the kernel and bias of `quanv`, so that both start as the same function."""
        psi = quanv.state()
        self.factor.copy_(torch.stack([psi.real, psi.imag], dim=-1))
        if self.bias is not None and quanv.bias is not None:
            self.bias.copy_(quanv.bias)


@component("psd-conv", fills=refuse_conv, paper="quantum-creep", control="same class", linear=True)
def psd_conv(
    old: nn.Module,
    signature: Any,
    *,
    bias_init: str = "normal",
    start: str = "target",
    target: nn.Module | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """The kernels of `flipped-quanv` without a circuit: K = A A^T / in_channels, |A| at most 1.

    start: "target" begins at the very kernel and bias of the component that it controls, so that only the
    parametrisation differs; "random" (and where there is no such component) draws the state uniformly.
    Fills the same slots as `flipped-quanv`. Source: derived from Wang et al. 2024, arXiv 2409.17583.
    Raises SlotMismatch with every reason why a slot cannot be filled, or for an unknown `start`.
    """
    problems = []
    reason = refuse_conv(old, signature)
    if reason:
        problems.append(f"'psd-conv' cannot fill this slot: {reason}")
    if start not in ("target", "random"):
        problems.append(f"'psd-conv': start is {start!r}; expected 'target' or 'random'")
    if problems:
        raise SlotMismatch(problems)
    assert isinstance(old, nn.Conv2d)
    layer = PSDConv(**like_conv(old), bias_init=bias_init, generator=generator)
    if start == "target" and isinstance(target, FlippedQuanv) and target.kernel_size == layer.kernel_size:
        layer.start_from(target)
    return layer
