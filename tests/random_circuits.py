"""Circuits drawn at random over every gate there is, and their matrices by the definition of the tensor product."""

from __future__ import annotations

import random
from collections.abc import Container

import numpy as np
import torch

from dopant.quantum import Circuit, feature, weight
from dopant.quantum.angles import Angle
from dopant.quantum.gates import GATES


def angle(draw: random.Random, features: int = 3, weights: int | None = 3, *, numbers: bool = False) -> Angle | float:
    """A number, or a polynomial of up to degree 2. weights: how many are shared, None for a new one each time."""
    number = draw.choice([draw.uniform(-4, 4), np.pi / draw.choice([1, 2, 3, 4, 8]), 1e-7, -3.0, 0.0])
    if numbers or draw.random() < 0.3:
        return number
    x, w = feature(draw.randrange(features)), weight(None if weights is None else draw.randrange(weights))
    return draw.choice([x, w, -w, x * w, number * x + w, (np.pi - x) * (w - number) / 3, x * x - 0.5])


def unitary(draw: random.Random, qubits: int) -> np.ndarray:
    generator = np.random.default_rng(draw.randrange(2**32))
    d = 2**qubits
    q, r = np.linalg.qr(generator.normal(size=(d, d)) + 1j * generator.normal(size=(d, d)))
    return q * (np.diag(r) / abs(np.diag(r)))


def circuit(
    draw: random.Random, qubits: int, gates: int, *, dense: bool = True, controls: bool = True, numbers: bool = False,
    weights: int | None = 3, without: Container[str] = (),
) -> Circuit:  # fmt: skip
    """dense: unitaries and exponentials of Pauli sums too. controls: more controls on any gate. numbers: no inputs.
    weights: see `angle`. without: gates that are left out."""
    found = Circuit(qubits)
    names = [n for n, kind in GATES.items() if kind.qubits <= qubits and n not in without] + ["pauli_exp"] * 3
    names += ["unitary", "special_unitary"] * dense
    for _ in range(gates):
        name = draw.choice(names)
        k = GATES[name].qubits if name in GATES else draw.randint(1, min(qubits, 2 if name == "unitary" else 4))
        on = draw.sample(range(qubits), k)
        more = draw.sample(
            [q for q in range(qubits) if q not in on], min(qubits - k, draw.choice([0, 0, 1, 2]) * controls)
        )
        word = "".join(draw.choice("IXYZ") for _ in range(k))
        if name == "unitary":
            found = found.unitary(on, unitary(draw, k), controls=more)
        elif name == "special_unitary":
            found = found.special_unitary(
                on, [angle(draw, weights=weights, numbers=numbers)], [word.replace("I", "X", 1)]
            )
        elif name == "pauli_exp":
            found = found.pauli_exp(word, angle(draw, weights=weights, numbers=numbers), on, controls=more)
        else:
            angles = [angle(draw, weights=weights, numbers=numbers) for _ in GATES[name].angles]
            found = found.gate(name, *on, *angles, controls=more)
    return found


def matrix(of: Circuit, features: torch.Tensor, weights: torch.Tensor) -> np.ndarray:
    """(2^n, 2^n), entry by entry: a gate acts on the bits of its qubits and needs all others equal."""
    n = of.qubits
    index = np.arange(2**n)
    found = np.eye(2**n, dtype=complex)
    for gate in of:
        small = gate.matrix(features, weights).numpy()
        place = np.zeros(2**n, dtype=int)
        for q in gate.qubits:
            place = place * 2 + (index >> (n - 1 - q) & 1)
        rest = index & ~sum(1 << (n - 1 - q) for q in gate.qubits)
        full = np.where(rest[:, None] == rest[None, :], small[place[:, None], place[None, :]], 0)
        found = full @ found
    return found


def inputs_for(
    circuit: Circuit, batch: int, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (batch, 3 or more) and weights that want a gradient."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, max(3, circuit.features), generator=generator, dtype=dtype)
    w = torch.randn(circuit.weights, generator=generator, dtype=dtype)
    return x.requires_grad_(), w.requires_grad_()


def states(of: Circuit, x: torch.Tensor, w: torch.Tensor) -> np.ndarray:
    """(batch, 2^n): what the matrix makes of |0…0>, sample by sample."""
    return np.stack([matrix(of, row.detach(), w.detach())[:, 0] for row in x])
