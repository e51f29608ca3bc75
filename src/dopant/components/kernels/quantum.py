"""Kernels of circuits: how alike two inputs are as states.

Source: Havlicek et al. 2019 (arXiv 1804.11326).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import SlotMismatch
from ...quantum import Circuit, QuantumKernel, templates
from ...registry import component
from .classical import numbers_of
from .kernel import Kernel, Setting, numbers, refuse

MOST_QUBITS = 20
CONTROLS = ["rbf-kernel", "laplacian-kernel", "polynomial-kernel", "linear-kernel", "fourier-kernel"]
Entanglement = Literal["full", "linear", "reverse_linear", "circular", "sca", "pairwise"]
Make = Callable[[float], Circuit]


class CircuitKernel(Kernel):
    """What kernels of circuits share: a circuit for each value of one number, `strength`, of which validation chooses.

    make(strength): the circuit, one qubit and one feature for each input. Gradients reach the inputs.
    """

    strength: Tensor  # ()

    def __init__(self, features: int, make: Make, strength: float | list[float], measure: Any):
        super().__init__(features)
        self.told, self.make, self.measure = strength, make, measure
        make(float(numbers_of(strength)[0]))  # what cannot be a circuit is refused here
        self.register_buffer("strength", torch.tensor(float(numbers_of(strength)[0])))
        self._made: dict[tuple[float, Any], Any] = {}  # what is compiled for a circuit

    @property
    def circuit(self) -> Circuit:
        return self.make(float(self.strength))

    def rows(self, x: Tensor) -> Tensor:
        """(n, features) -> (n, …): what the circuit says of each input."""
        key = float(self.strength), x.dtype
        if key not in self._made:
            self._made[key] = self.circuit.layer(self.measure).to(x.dtype).requires_grad_(False)
        return self._made[key](x)

    def settings(self, x: Tensor) -> list[Setting]:
        return [{"strength": float(value)} for value in numbers_of(self.told)]

    def cost(self) -> dict[str, Any]:
        """What the circuit of one evaluation would take, and the tier of evidence."""
        r = self.circuit_run().resources(measure="probabilities")
        return {
            "qubits": r.qubits, "gates": r.gates, "two_qubit_gates": r.two_qubit_gates, "depth": r.depth,
            "shots": self.shots or 0, "tier": "finite shots" if self.shots else "exact expectation",
        }  # fmt: skip

    def circuit_run(self) -> Circuit:
        """The circuit that a device runs."""
        return self.circuit

    def flops(self, batch: int) -> dict[str, dict[str, float]]:
        """Two states a pair, made by the compiled simulator."""
        return self.circuit.layer(self.measure).flops(2 * batch)

    def extra_repr(self) -> str:
        shots = f", shots={self.shots}" if self.shots else ""
        return f"{self.circuit!r}, strength={self.told!r}{shots}"


class FidelityKernel(CircuitKernel):
    """|<x|y>|^2 of the states that the circuit makes, exact or estimated from `shots` measurements an entry.

    With shots, an entry is the frequency of 0…0 after U(x) and the inverse of U(y): binomial of the exact value, drawn
    from torch's default generator. k(x, x) = 1 is known and not measured, and gram(x) measures each pair once. The
    derivative is that of the exact value.
    """

    unit_diagonal = True

    def __init__(self, features: int, make: Make, strength: float | list[float] = 1.0, shots: int | None = None):
        super().__init__(features, make, strength, "state")
        self.shots = shots

    @property
    def dimension(self) -> int:
        """Of the feature space: that of the density matrices."""
        return 4**self.circuit.qubits

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        states = self.rows(torch.cat([x, y]))
        left, right = states[: len(x)], states[len(x) :]
        overlap = (left.conj() * right).sum(-1)
        exact = overlap.real.square() + overlap.imag.square()
        if self.shots is None:
            return exact
        return exact + (self._measured(exact.detach()) - exact.detach())

    def gram(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        key = float(self.strength), "gram"
        if key not in self._made:
            self._made[key] = QuantumKernel(self.circuit)
        array = self._made[key](x.numpy(), None if y is None else y.numpy())
        exact = torch.from_numpy(np.asarray(array)).to(x.dtype)
        if y is None:
            exact = (exact + exact.mT) / 2  # products in another order differ in the last bit
        if self.shots is None:
            return exact
        found = torch.binomial(torch.full_like(exact, self.shots), exact.clamp(0, 1)) / self.shots
        if y is not None:
            return found
        upper = found.triu(1)
        return upper + upper.mT + torch.eye(len(x), dtype=x.dtype)

    def _measured(self, exact: Tensor) -> Tensor:
        """Frequencies of pairs with these probabilities: the binomial quantile of a uniform number for each, so that no
        pair's draw depends on another's value."""
        from scipy.stats import binom

        assert self.shots is not None
        uniform = torch.rand(exact.shape, dtype=torch.float64)
        counts = binom.ppf(uniform.numpy(), self.shots, exact.double().clamp(0, 1).numpy())
        return torch.from_numpy(np.asarray(counts) / self.shots).to(exact.dtype)

    def circuits(self, rows: int, columns: int | None = None) -> int:
        return rows * (rows - 1) // 2 if columns is None else rows * columns

    def circuit_run(self) -> Circuit:
        """U(x), then the inverse of U(y), whose features are those after x's."""
        c = self.circuit
        return c.compose(c.inverse(), first_feature=c.features)


@cache
def _zz(n: int, reps: int, entanglement: Any, alpha: float) -> Circuit:
    return templates.pauli_feature_map(n, reps, ("Z", "ZZ"), entanglement, alpha)


def zz_maker(features: int, reps: int, entanglement: str) -> Make:
    return lambda alpha: _zz(features, reps, entanglement, alpha)


@cache
def _iqp(n: int, reps: int, entanglement: Any) -> Circuit:
    return templates.iqp_feature_map(n, reps, entanglement)


@cache
def _angle(n: int, axis: str) -> Circuit:
    return templates.angle_encoding(n, axis)


class BandwidthKernel(FidelityKernel):
    """A fidelity kernel of inputs times `strength`, the bandwidth."""

    def rows(self, x: Tensor) -> Tensor:
        return super().rows(self.strength.to(x.dtype) * x)

    def gram(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        c = self.strength.to(x.dtype)
        return super().gram(c * x, None if y is None else c * y)


def features_of(name: str, old: nn.Module) -> int:
    """Inputs of the slot. SlotMismatch where they would take more than 20 qubits."""
    assert isinstance(old, Kernel)
    if old.features > MOST_QUBITS:
        raise SlotMismatch(
            f"{name!r} takes a qubit for each feature, and the inputs have {old.features}; up to {MOST_QUBITS} can be "
            "simulated: let the host keep fewer, host = { name = 'kernel-machine', pca = 8, scaling = 'angle' }"
        )
    return old.features


def count_problems(name: str, **counts: Any) -> list[str]:
    """Problems of options that must be whole numbers from 1 on."""
    return [
        f"{name!r}: {key} is {value!r}; expected a whole number from 1 on"
        for key, value in counts.items()
        if isinstance(value, bool) or value < 1
    ]


def _zz_kernel(
    name: str, old: nn.Module, reps: int, entanglement: str, alpha: float | list[float], shots: int | None
) -> nn.Module:
    counts = {"reps": reps} | ({} if shots is None else {"shots": shots})
    refuse(count_problems(name, **counts) + numbers(name, "alpha", alpha))
    features = features_of(name, old)
    return FidelityKernel(features, zz_maker(features, reps, entanglement), alpha, shots)


@component("zz-kernel", fills=Kernel, controls=CONTROLS, paper="quantum-feature-spaces",
           examples=({}, {"reps": 1, "entanglement": "linear", "alpha": [1.0, 2.0]}))  # fmt: skip
def zz_kernel(
    old: nn.Module,
    signature: Any,
    *,
    reps: int = 2,
    entanglement: Entanglement = "full",
    alpha: float | list[float] = 2.0,
) -> nn.Module:
    """The fidelity kernel |<x|y>|^2 of the ZZ feature map, a qubit a feature: the published one by default.

    The map: `reps` times H on every qubit, then exp(-i alpha/2 x_a Z) and exp(-i alpha/2 (pi - x_a)(pi - x_b) ZZ).
    entanglement: which pairs (a, b). alpha: a number, or a list to choose from by validation; 2 is the paper's, up to
    the sign of i, which no fidelity sees. Exact; `zz-kernel-shots` measures.
    Cost: O(2^features) a state; on a device, n (n - 1)/2 circuits for n training inputs and n for each new one.
    Source: Havlicek et al. 2019 (arXiv 1804.11326). Raises SlotMismatch for more than 20 features.
    """
    return _zz_kernel("zz-kernel", old, reps, entanglement, alpha, None)


@component("zz-kernel-shots", fills=Kernel, controls=CONTROLS, stochastic_in_eval=True, examples=({"shots": 64},))
def zz_kernel_shots(
    old: nn.Module,
    signature: Any,
    *,
    shots: int = 1024,
    reps: int = 2,
    entanglement: Entanglement = "full",
    alpha: float | list[float] = 2.0,
) -> nn.Module:
    """`zz-kernel` with every entry estimated from `shots` simulated measurements.

    The estimated matrix of the training inputs need not be positive semi-definite; the machine sets its negative
    eigenvalues to 0 and says how large they were (`kernel_clipped`). The paper measured 50,000 times an entry.
    """
    return _zz_kernel("zz-kernel-shots", old, reps, entanglement, alpha, shots)


@component("iqp-kernel", fills=Kernel, controls=CONTROLS, examples=({"bandwidth": [0.5, 1.0]},))
def iqp_kernel(
    old: nn.Module,
    signature: Any,
    *,
    reps: int = 1,
    entanglement: Entanglement = "full",
    bandwidth: float | list[float] = 1.0,
) -> nn.Module:
    """The fidelity kernel of IQP circuits: H and RZ(c x_a) on every qubit, exp(-i c^2 x_a x_b ZZ / 2) on pairs.

    bandwidth: c, a number or a list to choose from by validation. Cost and errors as for `zz-kernel`.
    Source: Havlicek et al. 2019 (arXiv 1804.11326); the bandwidth: Shaydulin and Wild 2022 (arXiv 2111.05451).
    """
    refuse(count_problems("iqp-kernel", reps=reps) + numbers("iqp-kernel", "bandwidth", bandwidth))
    features = features_of("iqp-kernel", old)
    return BandwidthKernel(features, lambda _: _iqp(features, reps, entanglement), bandwidth)


@component("angle-kernel", fills=Kernel, controls=CONTROLS, examples=({"bandwidth": [0.5, 1.0]},))
def angle_kernel(
    old: nn.Module, signature: Any, *, axis: Literal["x", "y"] = "y", bandwidth: float | list[float] = 1.0
) -> nn.Module:
    """The fidelity kernel of one rotation a feature: prod_a cos^2(c (x_a - y_a) / 2), which needs no quantum computer.

    axis: of the rotations; both give this kernel. bandwidth: c, a number or a list to choose from by validation.
    An unentangled map: what of another kernel's effect is left with it owes nothing to entanglement.
    """
    refuse(numbers("angle-kernel", "bandwidth", bandwidth))
    features = features_of("angle-kernel", old)
    return BandwidthKernel(features, lambda _: _angle(features, axis), bandwidth)
