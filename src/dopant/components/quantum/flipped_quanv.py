"""The flipped quanvolution: a small quantum circuit whose observable is the image patch.

Because the patch enters as the observable, the output is linear in it, and the layer is exactly one convolution with
a constrained kernel. No patch needs a simulation. Source: Wang, Myers, Hollenberg, Parampalli 2024, arXiv 2409.17583.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from ..._precision import no_autocast
from ...errors import ConfigError, SlotMismatch
from ...panels import Images, Panel
from ...quantum.exponential import hermitian_exp_column
from ...quantum.pauli import pauli_sum
from ...registry import component
from ._draw import normal
from ._parameters import KINDS, StateLayer, choice_problems, doubled, start

_QUBITS = 2
_STRINGS = 4**_QUBITS - 1


def square_kernel(kernel_size: Any) -> int | None:
    """The side of a square kernel given as k or (k, k); None if it is neither or k is not 1 to 4."""
    pair = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
    return pair[0] if len(pair) == 2 and pair[0] == pair[1] and pair[0] in (1, 2, 3, 4) else None


def refuse_conv(old: nn.Module, signature: Any = None) -> str | None:
    """Why a 4x4-observable convolution cannot fill the slot of `old`, or None if it can."""
    if not isinstance(old, nn.Conv2d):
        return f"fills Conv2d, not {type(old).__name__}"
    reasons = []
    if old.groups != 1:
        reasons.append(f"groups = {old.groups}, expected 1")
    if tuple(old.dilation) != (1, 1):
        reasons.append(f"dilation = {tuple(old.dilation)}, expected (1, 1)")
    if square_kernel(old.kernel_size) in (None, 1):
        reasons.append(f"kernel size {tuple(old.kernel_size)}, expected square, 2 to 4 (two qubits hold a 4x4 patch)")
    if old.padding_mode != "zeros":
        reasons.append(f"padding_mode = {old.padding_mode!r}, expected 'zeros'")
    if old.weight.is_complex():
        reasons.append(f"dtype {old.weight.dtype}, expected real numbers")
    return "; ".join(reasons) or None


class KernelConv(nn.Module):
    """One ordinary convolution whose kernel is computed from other parameters by `kernel()`.

    (batch, in_channels, height, width) -> (batch, out_channels, height', width'), as nn.Conv2d.
    Under autocast the kernel is made in the precision of the parameters, and the convolution runs in the lower one, as
    that of nn.Conv2d does: a layer beside an ordinary one should differ from it in its kernels alone.
    Raises ConfigError for sizes that cannot be, all at once.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: Any,
        padding: Any,
        bias_init: str,
        choices: Iterable[tuple[str, object, tuple[str, str]]] = (),
    ):
        super().__init__()
        name = type(self).__name__
        problems = []
        if square_kernel(kernel_size) is None:
            problems.append(f"{name}: kernel_size is {kernel_size!r}; expected 1 to 4, the same on both sides")
        for label, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value < 1:
                problems.append(f"{name}: {label} is {value}; expected 1 or more")
        problems += choice_problems(name, [("bias_init", bias_init, ("normal", "zero")), *choices])
        if problems:
            raise ConfigError(problems)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = square_kernel(kernel_size) or 0
        self.stride, self.padding = stride, padding

    def kernel(self) -> torch.Tensor:
        """(out_channels, in_channels, kernel_size, kernel_size)"""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with no_autocast(x.device):
            kernel = self.kernel()
        return self.convolve(x, kernel)

    def convolve(self, x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(x, kernel, self.bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, bias={self.bias is not None}"
        )


class FlippedQuanv(StateLayer, KernelConv):
    """Mean over input channels of <psi|H|psi>, H the symmetrised patch, |psi> = exp(i sum_k angle_k P_k)|00>.

    (batch, in_channels, height, width) -> (batch, out_channels, height', width'). The patch fills the top left of a
    4x4 matrix. With psi = a + ib the kernel is the top-left block of (a a^T + b b^T)/in_channels: positive
    semidefinite, rank at most 2, trace 1/in_channels before it is cropped.

    parameters: "real" (a circuit) or "complex" (the published torch code's: psi is not normalised once training has
        moved the imaginary parts, which start at 0. Its kernel is |psi|^2 times that of the normalised state: a circuit
        times a free scale for each pair of channels, of trace |psi|^2/in_channels. A control named for what it is).
    Parameters: angles (out_channels, in_channels, 15), Pauli strings in the order of the product I,X,Y,Z without II,
        drawn from N(0,1); bias (out_channels,), real, from N(0,1), or zero with bias_init="zero".
    Cost: an ordinary convolution plus the first column of one 4x4 exponential per pair of channels and call: 2 ms for
        512 pairs (eigendecomposition), with complex parameters about 5 ms (scaling and squaring).
    Differs from the published code in: the bias is real; theirs is stored complex and its imaginary part dropped.
    Raises ConfigError for kernel sizes other than 1 to 4 and for unknown `bias_init` or `parameters`.
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
        parameters: str = "real",
        bias_init: str = "normal",
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        choices = [("parameters", parameters, KINDS)]
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias_init, choices)
        self.angles = start(normal((out_channels, in_channels, _STRINGS), generator, device, dtype), parameters)
        # the bias is drawn even if it starts at zero: everything else then starts equal whatever bias_init is
        drawn = normal((out_channels,), generator, device, dtype)
        self.bias = nn.Parameter(drawn if bias_init == "normal" else torch.zeros_like(drawn)) if bias else None

    def state(self) -> torch.Tensor:
        """|psi> of every pair of channels: (out_channels, in_channels, 4), complex; of norm 1 with real parameters.

        Made in double precision: single precision eigenvectors are off the norm by up to 1e-6, and hardly faster.
        """
        return self._state_of(self.angles)

    def _state_of(self, angles: torch.Tensor) -> torch.Tensor:
        generator = pauli_sum(doubled(angles))
        if angles.is_complex():
            column = torch.linalg.matrix_exp(1j * generator)[..., 0]
        else:
            column = hermitian_exp_column(generator)
        return column.to(angles.dtype.to_complex())

    def kernel(self) -> torch.Tensor:
        return self._kernel_of(self.state())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with no_autocast(x.device):
            psi = self.state()
            self._note(lambda: torch.view_as_real(psi).square().sum((-2, -1)))
            kernel = self._kernel_of(psi)
        return self.convolve(x, kernel)

    def panels(self, inputs: Any) -> list[Panel]:
        """The trained kernels, one picture for each pair of channels, all on one scale."""
        with no_autocast(self.angles.device):
            kernel = self.kernel()
        pairs = [f"{o} from {i}" for o in range(self.out_channels) for i in range(self.in_channels)]
        caption = (
            "Each small square is the kernel between one output and one input channel (numbered below it), and each is "
            "the corner of a two-qubit state's density matrix: symmetric, positive semidefinite, of rank two at most."
        )
        return [Panel("Trained kernels", Images.of(kernel.flatten(0, 1), pairs, signed=True), caption=caption)]

    def _kernel_of(self, psi: torch.Tensor) -> torch.Tensor:
        rows = torch.view_as_real(psi)[..., : self.kernel_size, :]
        return (rows.unsqueeze(-2) * rows.unsqueeze(-3)).sum(-1) / self.in_channels

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, parameters={'complex' if self.angles.is_complex() else 'real'}"

    def cost(self) -> dict[str, Any]:
        """What the circuit would take: qubits, states to prepare, tier of evidence.

        With complex parameters the layer as it is trained is no circuit: nothing to count, and no tier, which is to say
        classical.
        """
        if self.angles.is_complex():
            return {"unitary": False}
        return {
            "qubits": _QUBITS,
            "states": self.out_channels * self.in_channels,
            "two_qubit_gates_per_state": 1,  # any two-qubit state needs at most one CNOT
            "shots": 0,
            "unitary": True,
            "tier": "exact",
        }


def like_conv(old: nn.Conv2d) -> dict[str, Any]:
    """The arguments that give a convolution of the same shape, device and dtype."""
    return {
        "in_channels": old.in_channels,
        "out_channels": old.out_channels,
        "kernel_size": old.kernel_size[0],
        "stride": old.stride,
        "padding": old.padding,
        "bias": old.bias is not None,
        "device": old.weight.device,
        "dtype": old.weight.dtype,
    }


@component(
    "flipped-quanv",
    fills=refuse_conv,
    paper="quantum-creep",
    controls=["psd-conv", "psd-conv-free", "frozen"],
    linear=True,
)
def flipped_quanv(
    old: nn.Module,
    signature: Any,
    *,
    parameters: Literal["real", "complex"] = "real",
    bias_init: Literal["normal", "zero"] = "normal",
    generator: torch.Generator | None = None,
) -> nn.Module:
    """A convolution whose kernel is a two-qubit state's density matrix: mean over channels of <psi|patch|psi>.

    Fills Conv2d with square kernels of 2 to 4, without groups or dilation.
    parameters: "real", a circuit, or "complex", the published torch code's, whose states leave norm 1 in training: the
    kernel of a circuit times a free scale, |psi|^2, for each pair of channels.
    bias_init: "normal", as published, or "zero". A slot without bias stays without.
    Cost: 15 angles per pair of channels; time as an ordinary convolution.
    Source: Wang et al. 2024, arXiv 2409.17583. Raises SlotMismatch with every reason why a slot cannot be filled.
    """
    reason = refuse_conv(old, signature)
    if reason:
        raise SlotMismatch(f"'flipped-quanv' cannot fill this slot: {reason}")
    assert isinstance(old, nn.Conv2d)
    return FlippedQuanv(**like_conv(old), parameters=parameters, bias_init=bias_init, generator=generator)
