"""Depolarising noise, exactly: the density matrix after every gate. Up to 6 qubits.

Source: Nielsen and Chuang, Quantum Computation and Quantum Information, section 8.3.4. With probability p a gate's
qubits are replaced by the completely mixed state (the convention of Qiskit's depolarizing_error; a Pauli error then
happens with probability p (4^k - 1)/4^k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ConfigError
from . import statevector
from .circuit import Circuit
from .observables import Measurement, matrix_of, of_probabilities
from .shots import from_density_or_state, outcome

MOST = 6  # qubits


@dataclass(frozen=True)
class NoiseModel:
    """one, two: depolarising probability after each gate on one qubit, and on two or more, controls included (of all
    its qubits at once, however many); `id` has none. readout: probability that a measured bit is read wrong."""

    one: float = 0.0
    two: float = 0.0
    readout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("one", "two", "readout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ConfigError(f"NoiseModel: {name}={value!r} is no probability from 0 to 1")
        if self.readout > 0.5:
            raise ConfigError(
                f"NoiseModel: readout={self.readout} is above 0.5; exchange the meaning of the bit instead"
            )


def check(circuit: Circuit, noise: Any, what: Measurement, shots: int | None = None) -> None:
    """ConfigError for another noise model than ours, circuits too large for a density matrix, and for what has no
    meaning with noise: a pure state, readout errors of a matrix, readout errors with shots."""
    if not isinstance(noise, NoiseModel):
        raise ConfigError(f"noise={noise!r}: take dopant.quantum.NoiseModel(one=0.001, two=0.01)")
    if circuit.qubits > MOST:
        raise ConfigError(f"noise on {circuit.qubits} qubits: density matrices are computed up to {MOST} qubits "
                          f"({4**MOST} numbers a sample); take fewer qubits, or leave noise out")  # fmt: skip
    if what.kind == "state":
        raise ConfigError("measure='state' with noise: the state is mixed; take Pauli strings or 'probabilities'")
    if noise.readout and what.kind == "matrices":
        raise ConfigError("readout errors act on measured bits: write the observable as Pauli strings")
    if noise.readout and what.kind == "overlaps":
        raise ConfigError("readout errors act on measured bits, and an overlap is not one; take probabilities")
    if noise.readout and shots is not None:
        raise ConfigError("readout errors with shots together are not simulated; take one of them")


def density(circuit: Circuit, noise: NoiseModel, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(batch, 2^n, 2^n) complex. features (batch, f), weights (w,); differentiable."""
    n, batch = circuit.qubits, x.shape[0]
    d = 1 << n
    dtype = torch.complex128 if x.dtype == torch.float64 else torch.complex64
    rho = torch.zeros(d * d, dtype=dtype, device=x.device)
    rho = torch.cat([torch.ones_like(rho[:1]), rho[1:]]).expand(batch, -1)
    for gate in circuit.gates:
        u = gate.matrix(x, weights)
        # rho as a state of 2n qubits, row index first: U on the rows, its conjugate on the columns
        rho = statevector.apply(rho, u, gate.qubits, 2 * n)
        rho = statevector.apply(rho, u.conj(), tuple(q + n for q in gate.qubits), 2 * n)
        p = noise.one if len(gate.qubits) == 1 else noise.two
        if p and gate.name != "id":
            rho = _depolarised(rho, gate.qubits, n, p)
    return rho.reshape(batch, d, d)


def _depolarised(rho: torch.Tensor, qubits: tuple[int, ...], n: int, p: float) -> torch.Tensor:
    """(1 - p) rho + p (partial trace over qubits) x (identity / 2^k)."""
    k, batch = len(qubits), rho.shape[0]
    rest = [q for q in range(n) if q not in qubits]
    order = [*qubits, *(q + n for q in qubits), *rest, *(q + n for q in rest)]
    cube = (
        rho.reshape(batch, *[2] * (2 * n))
        .permute(0, *[q + 1 for q in order])
        .flatten(1)
        .unflatten(1, (1 << k, 1 << k, -1))
    )
    traced = cube.diagonal(dim1=1, dim2=2).sum(-1)
    mixed = (
        torch.eye(1 << k, dtype=rho.dtype, device=rho.device)[None, :, :, None] * traced[:, None, None, :] / (1 << k)
    )
    out = ((1 - p) * cube + p * mixed).reshape(batch, *[2] * (2 * n))
    return out.permute(0, *[order.index(q) + 1 for q in range(2 * n)]).reshape(batch, 1 << 2 * n)


def measured(circuit: Circuit, noise: NoiseModel, what: Measurement, x: torch.Tensor, weights: torch.Tensor,
             shots: int | None, generator: torch.Generator | None) -> torch.Tensor:  # fmt: skip
    """(batch, outputs), exact or, with shots, drawn; the derivative is that of the exact values."""
    n = circuit.qubits
    rho = density(circuit, noise, x, weights)
    flips = 1 - 2 * noise.readout
    if what.kind == "probabilities":
        exact = of_probabilities(what, _misread(outcome(rho), n, noise.readout), n)
    else:
        stack = matrix_of(what, n, flips).to(x.device, rho.dtype)
        exact = torch.einsum("bij,kji->bk", rho, stack).real
    if shots is None:
        return exact
    with torch.no_grad():
        drawn = from_density_or_state(what, rho.detach(), n, shots, generator)
    return exact + (drawn - exact.detach())


def _misread(p: torch.Tensor, n: int, error: float) -> torch.Tensor:
    if not error:
        return p
    flip = torch.tensor([[1 - error, error], [error, 1 - error]], dtype=p.dtype, device=p.device)
    cube = p.reshape(-1, *[2] * n)
    for q in range(n):
        cube = (cube.movedim(q + 1, -1) @ flip).movedim(-1, q + 1)  # flip is symmetric
    return cube.reshape(p.shape)


def fidelity_of_gates(circuit: Circuit, noise: NoiseModel) -> float:
    """Probability that no gate's qubits were replaced: the product of 1 - p over gates."""
    return math.prod(1 - (noise.one if len(g.qubits) == 1 else noise.two) for g in circuit.gates if g.name != "id")
