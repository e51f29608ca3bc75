"""The projected quantum kernel: a Gaussian kernel of what single qubits of a circuit's state say.

Source: Huang et al. 2021 (arXiv 2011.01938), eq. 9.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...errors import UnknownName
from ...registry import component
from .classical import FACTORS, Widths, distances, gaussian_scale, numbers_of
from .kernel import Kernel, Setting, numbers, refuse
from .quantum import CONTROLS, CircuitKernel, Entanglement, Make, _angle, _iqp, count_problems, features_of, zz_maker


class ProjectedKernel(CircuitKernel):
    """exp(-gamma sum_q |rho_q(x) - rho_q(y)|^2), rho_q the state of qubit q by itself, |…| the Frobenius norm."""

    unit_diagonal = True
    circuits_alike = True
    gamma: Tensor  # ()

    def __init__(self, features: int, make: Make, gamma: Widths):
        n = make(2.0).qubits
        strings = ["I" * q + letter + "I" * (n - 1 - q) for q in range(n) for letter in "XYZ"]
        super().__init__(features, make, 2.0, strings)
        self.widths = gamma
        start = 1.0 if isinstance(gamma, str) else float(numbers_of(gamma)[0])
        self.register_buffer("gamma", torch.tensor(start))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        rows = self.rows(torch.cat([x, y]))  # Bloch vectors, whose squared distance is twice that of the states
        return torch.exp(-0.5 * self.gamma * (rows[: len(x)] - rows[len(x) :]).square().sum(-1))

    def gram(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            left = self.rows(x)
            return torch.exp(-0.5 * self.gamma * distances(left, None if y is None else self.rows(y)).square())

    def settings(self, x: Tensor) -> list[Setting]:
        if not isinstance(self.widths, str):
            return [{"gamma": float(value)} for value in numbers_of(self.widths)]
        with torch.no_grad():
            scale = 2 * gaussian_scale(self.rows(x))
        return [{"gamma": factor * scale} for factor in (FACTORS if self.widths == "tuned" else (1.0,))]

    def circuits(self, rows: int, columns: int | None = None) -> int:
        """Each input's circuit in every basis that its Bloch vectors need; the others' are known."""
        return rows * self.circuit.resources(measure=self.measure).settings


@component("projected-quantum-kernel", fills=Kernel, controls=CONTROLS)
def projected_quantum_kernel(
    old: nn.Module,
    signature: Any,
    *,
    encoding: Literal["zz", "iqp", "angle"] = "zz",
    reps: int = 2,
    entanglement: Entanglement = "full",
    gamma: Widths = "tuned",
) -> nn.Module:
    """exp(-gamma sum_q |rho_q(x) - rho_q(y)|^2) of the one-qubit reduced states, a qubit a feature.

    encoding: which circuit, as in `zz-kernel`, `iqp-kernel`, `angle-kernel` (which has no reps). gamma: a number; a
    list to choose from by validation; "scale": twice 1 / (3 qubits * variance of the Bloch vectors); "tuned": 0.01
    … 100 times that, as `rbf-kernel`'s.
    Cost: O(2^features) a state; on a device three circuits an input, however many pairs. Exact expectations.
    Source: Huang et al. 2021 (arXiv 2011.01938), eq. 9; their encodings are others, of principal components.
    Raises SlotMismatch for more than 20 features, ConfigError for options that cannot be.
    """
    name = "projected-quantum-kernel"
    refuse(count_problems(name, reps=reps) + numbers(name, "gamma", gamma, ("tuned", "scale")))
    features = features_of(name, old)
    makers: dict[str, Make] = {
        "zz": zz_maker(features, reps, entanglement),
        "iqp": lambda _: _iqp(features, reps, entanglement),
        "angle": lambda _: _angle(features, "y"),
    }
    if encoding not in makers:
        raise UnknownName("encoding", str(encoding), makers)
    return ProjectedKernel(features, makers[encoding], gamma)
