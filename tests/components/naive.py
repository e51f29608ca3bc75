"""The layers' definitions, simulated word for word: dense Pauli matrices, one exponential each, patch by patch.

Ordinary autograd through torch.linalg.matrix_exp; nothing of the package is used.
"""

from __future__ import annotations

import itertools
import math

import torch

I2 = torch.eye(2, dtype=torch.complex128)
X = torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128)
Y = torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128)
Z = torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128)


def strings(qubits: int) -> list[torch.Tensor]:
    """Every Pauli string but the identity, in the order of the product I,X,Y,Z."""
    found = []
    for factors in itertools.product((I2, X, Y, Z), repeat=qubits):
        matrix = torch.ones(1, 1, dtype=torch.complex128)
        for factor in factors:
            matrix = torch.kron(matrix, factor)
        found.append(matrix)
    return found[1:]


def gate(angles: torch.Tensor) -> torch.Tensor:
    """exp(i sum_k angle_k P_k)"""
    qubits = round(math.log(len(angles) + 1, 4))
    generator = sum(a * p for a, p in zip(angles, strings(qubits), strict=True))
    return torch.linalg.matrix_exp(1j * generator)


def flipped_quanv(
    x: torch.Tensor, angles: torch.Tensor, bias: torch.Tensor, k: int, stride: int, padding: int
) -> torch.Tensor:
    """mean over input channels of <psi|H|psi>, H the symmetrised zero-padded patch, plus bias."""
    x = torch.nn.functional.pad(x, (padding,) * 4)
    batch, channels, height, width = x.shape
    images = []
    for b in range(batch):
        for o in range(len(angles)):
            states = [gate(angles[o, c])[:, 0] for c in range(channels)]
            for i in range(0, height - k + 1, stride):
                for j in range(0, width - k + 1, stride):
                    value = bias[o]
                    for c, psi in enumerate(states):
                        patch = torch.nn.functional.pad(x[b, c, i : i + k, j : j + k], (0, 4 - k, 0, 4 - k))
                        observable = ((patch + patch.T) / 2).to(torch.complex128)
                        value = value + (psi.conj() @ observable @ psi).real / channels
                    images.append(value)
    out = ((height - k) // stride + 1, (width - k) // stride + 1)
    return torch.stack(images).view(batch, len(angles), *out)


def reupload(x: torch.Tensor, angles: torch.Tensor, outputs: int) -> torch.Tensor:
    """(batch, 2^q) states' first `outputs` probabilities, one sample, one repetition, one exponential at a time."""
    reps = len(angles)
    qubits = round(math.log(angles.shape[1] + 1, 4))
    n = 2**qubits
    gates = [gate(a) for a in angles]
    found = []
    for sample in x:
        matrix = torch.nn.functional.pad(sample, (0, n * n - len(sample))).view(n, n)
        data = torch.linalg.matrix_exp(1j * (matrix + matrix.T) / 2 / reps)
        psi = torch.full((n,), n**-0.5, dtype=torch.complex128)
        for w in gates:
            psi = w @ (data @ psi)
        found.append(psi.abs().square()[:outputs])
    return torch.stack(found)
