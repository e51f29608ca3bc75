"""Classical parametrisations of the kernels that the flipped quanvolution can have: with its trace, and without."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from ...errors import SlotMismatch
from ...registry import component
from ._draw import normal
from .flipped_quanv import FlippedQuanv, KernelConv, like_conv, refuse_conv


class _FactoredConv(KernelConv):
    """A convolution whose kernel comes from `factor` (out_channels, in_channels, 4, 2), drawn from N(0,1)."""

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

    @torch.no_grad()
    def _take_bias(self, other: KernelConv) -> None:
        if self.bias is not None and other.bias is not None:
            self.bias.copy_(other.bias.real if other.bias.is_complex() else other.bias)


class PSDConv(_FactoredConv):
    """A convolution with kernel K = A A^T / in_channels, A real (kernel_size, 2) of Frobenius norm at most 1.

    (batch, in_channels, height, width) -> (batch, out_channels, height', width').
    Parameters: factor F (out_channels, in_channels, 4, 2), drawn from N(0,1); A is the first kernel_size rows of
    F / |F|. The rows that are cut off take up the norm that A leaves free, so A reaches exactly the ball |A| <= 1 (at
    kernel size 4 its surface, trace 1) without a constraint: the same set of kernels as FlippedQuanv's with real
    angles, whose A = (Re psi, Im psi). Eight numbers a kernel, against 15 angles; at size 3 both have five free
    dimensions.
    Raises ConfigError as FlippedQuanv does.
    """

    def kernel(self) -> torch.Tensor:
        norm = self.factor.square().sum((-2, -1), keepdim=True)
        rows = self.factor[..., : self.kernel_size, :]
        return rows @ rows.mT / norm / self.in_channels

    @torch.no_grad()
    def start_from(self, quanv: FlippedQuanv) -> None:
        """Take over the kernel and bias of `quanv`, so that both start as the same function. A state that is not of
        norm 1 (complex angles after training) is normalised; a complex bias gives its real part."""
        psi = quanv.state()
        self.factor.copy_(torch.stack([psi.real, psi.imag], dim=-1))
        self._take_bias(quanv)


class PSDConvFree(_FactoredConv):
    """A convolution with kernel K = A A^T / in_channels, A real (kernel_size, 2) without any bound.

    (batch, in_channels, height, width) -> (batch, out_channels, height', width').
    Parameters: factor A (out_channels, in_channels, kernel_size, 2): the first kernel_size rows of PSDConv's F / |F|
    at its start, so both draw the same kernels from the same generator. K is positive semidefinite of rank at most 2,
    and its trace is free: 2 kernel_size numbers a kernel, one of them spent on a rotation of the two columns, so 5
    free dimensions at size 3 and 7 at size 4 (where the trace takes one of PSDConv's).
    Raises ConfigError as FlippedQuanv does.
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        drawn = self.factor.detach()
        unit = drawn / drawn.square().sum((-2, -1), keepdim=True).sqrt()
        self.factor = nn.Parameter(unit[..., : self.kernel_size, :].contiguous())

    def kernel(self) -> torch.Tensor:
        return self.factor @ self.factor.mT / self.in_channels

    @torch.no_grad()
    def start_from(self, other: KernelConv) -> None:
        """Take over the kernel and bias of `other`, whose kernels are positive semidefinite of rank at most 2.

        A = V sqrt(max(lambda, 0)) of the two largest eigenvalues of its kernel (real part, in double precision): what a
        kernel has beyond that rank is left out. A complex bias gives its real part.
        """
        kernel = other.kernel()
        kernel = (kernel.real if kernel.is_complex() else kernel).double() * self.in_channels
        values, vectors = torch.linalg.eigh((kernel + kernel.mT) / 2)
        factor = vectors[..., -2:] * values[..., -2:].clamp_min(0).sqrt().unsqueeze(-2)
        self.factor.copy_(torch.nn.functional.pad(factor, (2 - factor.shape[-1], 0)))
        self._take_bias(other)


@component("psd-conv", fills=refuse_conv, paper="quantum-creep", control="same class", linear=True)
def psd_conv(
    old: nn.Module,
    signature: Any,
    *,
    bias_init: Literal["normal", "zero"] = "normal",
    start: Literal["target", "random"] = "target",
    target: nn.Module | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """The kernels of `flipped-quanv` without a circuit: K = A A^T / in_channels, |A| at most 1.

    start: "target" begins at the very kernel and bias of the component that it controls, so that only the
    parametrisation differs; "random" (and where there is no such component) draws the state uniformly.
    The same class as the circuit: real angles. Complex ones leave the trace behind, and `psd-conv-free` is their class.
    Fills the same slots as `flipped-quanv`. Source: derived from Wang et al. 2024, arXiv 2409.17583.
    Raises SlotMismatch with every reason why a slot cannot be filled, or for an unknown `start`.
    """
    layer = PSDConv(**_require("psd-conv", old, signature, start), bias_init=bias_init, generator=generator)
    if start == "target" and isinstance(target, FlippedQuanv) and target.kernel_size == layer.kernel_size:
        layer.start_from(target)
    return layer


@component("psd-conv-free", fills=refuse_conv, paper="quantum-creep", control="same class", linear=True)
def psd_conv_free(
    old: nn.Module,
    signature: Any,
    *,
    bias_init: Literal["normal", "zero"] = "normal",
    start: Literal["target", "random"] = "target",
    target: nn.Module | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """The kernels of `flipped-quanv` without a circuit and without its trace: K = A A^T / in_channels, A free.

    Beside `psd-conv` it tells the bounded trace from the rank and the sign. It holds every kernel that `psd-conv` and
    `flipped-quanv` can have; with complex angles, whose state is not normalised, the classes are one (up to limits).
    start: "target" begins at the very kernel and bias of the component that it controls (complex angles too: their
    kernel is real, and of a complex bias the real part counts); "random" (and where there is no such component) draws
    the state uniformly, of norm 1.
    Fills the same slots as `flipped-quanv`. Cost: 2 kernel_size numbers a pair of channels, an ordinary convolution.
    Source: derived from Wang et al. 2024, arXiv 2409.17583.
    Raises SlotMismatch with every reason why a slot cannot be filled, or for an unknown `start`.
    """
    layer = PSDConvFree(**_require("psd-conv-free", old, signature, start), bias_init=bias_init, generator=generator)
    if start == "target" and isinstance(target, KernelConv) and target.kernel_size == layer.kernel_size:
        layer.start_from(target)
    return layer


def _require(name: str, old: nn.Module, signature: Any, start: str) -> dict[str, Any]:
    """The arguments of a convolution like `old`; SlotMismatch with every reason why there is none."""
    reason = refuse_conv(old, signature)
    problems = [f"{name!r} cannot fill this slot: {reason}"] if reason else []
    if start not in ("target", "random"):
        problems.append(f"{name!r}: start is {start!r}; expected 'target' or 'random'")
    if problems:
        raise SlotMismatch(problems)
    assert isinstance(old, nn.Conv2d)
    return like_conv(old)
