"""Random circuits over the whole gate set, and a dense simulation that shares nothing with the package's."""

from __future__ import annotations

import random

import numpy as np
import torch

from dopant.quantum import Angle, Circuit, feature, weight
from dopant.quantum.gates import GATES


def random_angle(rng: random.Random, features: int) -> Angle | float:
    kind = rng.random()
    if kind < 0.2:
        return rng.uniform(-4, 4)
    if kind < 0.5:
        return feature(rng.randrange(features)) * rng.uniform(-2, 2) + 0.3
    if kind < 0.9:
        return weight()
    return weight() * feature(0) + feature(0) * feature(features - 1)


def random_circuit(qubits: int, gates: int, rng: random.Random, *, features: int = 3, controls: bool = True,
                   names: list[str] | None = None) -> Circuit:  # fmt: skip
    """`gates` gates drawn from all that fit, with numbers, features (repeated), weights and products as angles."""
    circuit = Circuit(qubits)
    known = [g for g in names or [*GATES, "pauli_exp"] if g == "pauli_exp" or GATES[g].qubits <= qubits]
    for _ in range(gates):
        name = rng.choice(known)
        if name == "pauli_exp":
            letters = "".join(rng.choice("IXYZ") for _ in range(qubits))
            circuit = circuit.pauli_exp(letters, random_angle(rng, features))
            continue
        kind = GATES[name]
        order = rng.sample(range(qubits), qubits)
        on, free = order[: kind.qubits], order[kind.qubits :]
        also = free[: rng.randrange(1, 3)] if controls and free and rng.random() < 0.2 else []
        circuit = circuit.gate(name, *on, *(random_angle(rng, features) for _ in kind.angles), controls=also)
    return circuit


def inputs_for(circuit: Circuit, batch: int, seed: int = 0, dtype: torch.dtype = torch.float64):
    """Features and weights that want a gradient."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, max(3, circuit.features), generator=generator, dtype=dtype)
    w = torch.randn(circuit.weights, generator=generator, dtype=dtype)
    return x.requires_grad_(), w.requires_grad_()


def dense_state(circuit: Circuit, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """One sample's state by embedding every gate's matrix in the whole space, NumPy alone."""
    n = circuit.qubits
    psi = np.zeros(2**n, complex)
    psi[0] = 1
    for gate in circuit.gates:
        u = gate.matrix(torch.as_tensor(x), torch.as_tensor(w)).detach().numpy()
        k = len(gate.qubits)
        cube = psi.reshape([2] * n)
        cube = np.tensordot(u.reshape([2] * (2 * k)), cube, axes=(range(k, 2 * k), gate.qubits))
        psi = np.moveaxis(cube, range(k), gate.qubits).reshape(-1)
    return psi
