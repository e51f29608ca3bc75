"""The flipped quanvolution with one property taken away: entanglement, coherence, or the circuit altogether."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .flipped_quanv import FlippedQuanv, KernelConv

_SINGLE = (0, 1, 2, 3, 7, 11)  # IX IY IZ XI YI ZI among the fifteen strings IX IY IZ XI XX … ZZ


def _arguments(quanv: FlippedQuanv) -> dict[str, Any]:
    of = {name: getattr(quanv, name) for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding")}
    place = {"device": quanv.angles.device, "dtype": quanv.angles.dtype.to_real()}
    kind = "complex" if quanv.angles.is_complex() else "real"
    return {**of, **place, "bias": quanv.bias is not None, "parameters": kind}


class UnentangledQuanv(FlippedQuanv):
    """FlippedQuanv whose states are products: angles (out_channels, in_channels, 6), of IX, IY, IZ, XI, YI, ZI."""

    @classmethod
    @torch.no_grad()
    def of(cls, quanv: FlippedQuanv) -> UnentangledQuanv:
        """With those of the angles of `quanv` that act on one qubit, and its bias."""
        new = cls(**_arguments(quanv))
        new.angles = nn.Parameter(quanv.angles[..., list(_SINGLE)].clone())
        if new.bias is not None:
            new.bias.copy_(quanv.bias)  # type: ignore[arg-type]
        return new

    def state(self) -> torch.Tensor:
        few = self.angles
        whole = few.new_zeros(*few.shape[:-1], 15).index_copy(-1, torch.tensor(_SINGLE, device=few.device), few)
        return self._state_of(whole)

    def cost(self) -> dict[str, Any]:
        return super().cost() | ({"two_qubit_gates_per_state": 0} if not self.angles.is_complex() else {})


class DephasedQuanv(FlippedQuanv):
    """FlippedQuanv whose states lose their coherence before they are measured: kernels diag(|psi|^2) / in_channels."""

    @classmethod
    @torch.no_grad()
    def of(cls, quanv: FlippedQuanv) -> DephasedQuanv:
        """With the angles and the bias of `quanv`."""
        new = cls(**_arguments(quanv))
        new.load_state_dict(quanv.state_dict())
        return new

    def _kernel_of(self, psi: torch.Tensor) -> torch.Tensor:
        weights = torch.view_as_real(psi)[..., : self.kernel_size, :].square().sum(-1)
        return torch.diag_embed(weights) / self.in_channels


class SymmetricConv(KernelConv):
    """A convolution with symmetric kernels (A + A^T) / 2, A (out_channels, in_channels, k, k) free: what is left of a
    patch that only its symmetrised self is looked at. A and bias start as torch's convolutions do."""

    def __init__(self, like: FlippedQuanv):
        of = _arguments(like)
        super().__init__(
            of["in_channels"], of["out_channels"], of["kernel_size"], of["stride"], of["padding"], "normal"
        )
        plain = nn.Conv2d(
            of["in_channels"], of["out_channels"], of["kernel_size"], bias=of["bias"],
            device=of["device"], dtype=of["dtype"],
        )  # fmt: skip
        self.matrix = nn.Parameter(plain.weight.detach())
        self.bias = nn.Parameter(plain.bias.detach()) if plain.bias is not None else None

    def kernel(self) -> torch.Tensor:
        return (self.matrix + self.matrix.mT) / 2
