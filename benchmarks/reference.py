"""Outputs and gradients of a workload from dense matrices in complex128, NumPy alone: what every library is checked by.

Slow and short: it shares no line with any engine. States are (batch, 2^n), qubit 0 the most significant bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from workloads import Workload

Array = NDArray[Any]
CHUNK = 1 << 16  # amplitudes at a time, so that a chunk of the batch stays in the cache
STEP = 1e-5  # of the central difference that differentiates a gate's matrix: exact to about 1e-10

PAULI = {
    "i": np.eye(2, dtype=complex),
    "x": np.array([[0, 1], [1, 0]], dtype=complex),
    "y": np.array([[0, -1j], [1j, 0]]),
    "z": np.diag([1.0 + 0j, -1.0]),
}
FIXED = {
    "h": (PAULI["x"] + PAULI["z"]) / 2**0.5,
    "x": PAULI["x"],
    "s": np.diag([1, 1j]),
    "sdg": np.diag([1, -1j]),
    "t": np.diag([1, np.exp(0.25j * np.pi)]),
    "tdg": np.diag([1, np.exp(-0.25j * np.pi)]),
    "swap": np.eye(4, dtype=complex)[[0, 2, 1, 3]],
}


def _exponential(pauli: Array, angle: Array) -> Array:
    """exp(-i angle P / 2) for P^2 = 1; (…) -> (…, d, d)."""
    half = np.asarray(angle)[..., None, None] / 2
    return np.cos(half) * np.eye(len(pauli)) - 1j * np.sin(half) * pauli


def _controlled(matrix: Array) -> Array:
    big = np.broadcast_to(np.eye(4, dtype=complex), (*matrix.shape[:-2], 4, 4)).copy()
    big[..., 2:, 2:] = matrix
    return big


def matrix(name: str, *angles: Array) -> Array:
    """(d, d), or (batch, d, d) where an angle is (batch,)."""
    if name in FIXED:
        return FIXED[name]
    if name == "p":
        return np.exp(0.5j * np.asarray(angles[0]))[..., None, None] * matrix("rz", *angles)
    if name == "rot":
        return matrix("rz", angles[2]) @ matrix("ry", angles[1]) @ matrix("rz", angles[0])
    if name[0] == "c":
        return _controlled(matrix(name[1:], *angles) if name not in ("cx", "cz") else PAULI[name[1]])
    word = PAULI[name[1]]
    return _exponential(np.kron(word, PAULI[name[2]]) if len(name) == 3 else word, *angles)


def apply(state: Array, gate: Array, qubits: list[int]) -> Array:
    """The gate, (d, d) or (batch, d, d), on the named qubits of every state."""
    n = state.shape[1].bit_length() - 1
    axes = [q + 1 for q in qubits]
    front = list(range(1, 1 + len(axes)))
    tensor = np.moveaxis(state.reshape(-1, *[2] * n), axes, front)
    moved = gate @ tensor.reshape(len(state), 2 ** len(axes), -1)
    return np.moveaxis(moved.reshape(tensor.shape), front, axes).reshape(state.shape)


def _value(angle: Any, inputs: Array, weights: Array) -> Array:
    if isinstance(angle, list):
        return inputs[:, angle[1]] if angle[0] == "feature" else weights[angle[1]]
    return np.asarray(float(angle))


def states(work: Workload, inputs: Array, weights: Array) -> Array:
    """(batch, 2^n), complex128."""
    state = np.zeros((len(inputs), 2 ** work["qubits"]), dtype=complex)
    state[:, 0] = 1
    for name, qubits, angles in work["gates"]:
        state = apply(state, matrix(name, *(_value(a, inputs, weights) for a in angles)), qubits)
    return state


def signs(qubits: int) -> Array:
    """(2^n, n): the eigenvalue of Z of every qubit in every basis state."""
    return 1 - 2 * ((np.arange(2**qubits)[:, None] >> np.arange(qubits)[::-1]) & 1)


def _by_chunks(work: Workload, function: Callable[[slice], tuple[Array, ...]], samples: int) -> list[tuple[Array, ...]]:
    size = max(1, CHUNK >> work["qubits"])
    return [function(slice(at, min(at + size, samples))) for at in range(0, samples, size)]


def gradients(work: Workload, samples: int | None = None) -> dict[str, Array]:
    """`outputs`, and the loss's gradients `inputs` and `weights`, of the first `samples` samples (all of them if None).

    The state and its adjoint are un-computed gate by gate; a gate's matrix is differentiated by central differences.
    """
    every = {key: np.array(work[key], dtype=float) for key in ("inputs", "weights", "cotangent")}
    z = signs(work["qubits"])

    def chunk(part: slice) -> tuple[Array, ...]:
        inputs, weights, cotangent = every["inputs"][part], every["weights"], every["cotangent"][part]
        ket = states(work, inputs, weights)
        outputs = np.abs(ket) ** 2 @ z
        bra = (cotangent @ z.T) * ket
        d_inputs, d_weights = np.zeros_like(inputs), np.zeros_like(weights)
        for name, qubits, angles in reversed(work["gates"]):
            values = [_value(a, inputs, weights) for a in angles]
            back = np.conj(np.swapaxes(matrix(name, *values), -1, -2))
            ket = apply(ket, back, qubits)
            for k, angle in enumerate(angles):
                if not isinstance(angle, list):
                    continue
                above, below = (matrix(name, *values[:k], values[k] + step, *values[k + 1 :]) for step in (STEP, -STEP))
                slope = apply(ket, (above - below) / (2 * STEP), qubits)
                found = 2 * np.einsum("bk,bk->b", bra.conj(), slope).real
                if angle[0] == "feature":
                    d_inputs[:, angle[1]] += found
                else:
                    d_weights[angle[1]] += found.sum()
            bra = apply(bra, back, qubits)
        return outputs, d_inputs, d_weights

    parts = _by_chunks(work, chunk, samples or len(every["inputs"]))
    return {
        "outputs": np.concatenate([p[0] for p in parts]),
        "inputs": np.concatenate([p[1] for p in parts]),
        "weights": np.sum([p[2] for p in parts], axis=0),
    }


def kernel(work: Workload, samples: int | None = None) -> dict[str, Array]:
    """`outputs`: (samples, samples), |<phi(x)|phi(y)>|^2."""
    inputs = np.array(work["inputs"], dtype=float)[:samples]
    parts = _by_chunks(work, lambda part: (states(work, inputs[part], np.zeros(0)),), len(inputs))
    found = np.concatenate([p[0] for p in parts])
    return {"outputs": np.abs(found @ found.conj().T) ** 2}


def answer(work: Workload, samples: int | None = None) -> dict[str, Array]:
    return kernel(work, samples) if work["kind"] == "kernel" else gradients(work, samples)
