"""Layers of trainable gates that fit any problem: rotations and entangling gates by turns."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ConfigError
from .. import _checks
from ..angles import weight
from ..circuit import Circuit
from ._patterns import Entanglement, axis, joined, repetitions
from ._patterns import axis as axis_of


def basic_entangling_layers(n: int, layers: int, axis: str = "x") -> Circuit:
    """A rotation of every qubit and a closed chain of CX, `layers` times.

    Weights: layers * n, as (layers, n). axis: "x", "y" or "z". As PennyLane's BasicEntanglerLayers, exactly: on two
    qubits the chain is the one CX (0, 1), on one qubit there is none.
    """
    name, c = axis_of(axis), Circuit(n)
    for _ in range(repetitions(layers, "layers")):
        for q in range(n):
            c = c.gate(name, q, weight())
        c = c.cx(0, 1) if n == 2 else c.cx_ring()
    return c


def strongly_entangling_layers(n: int, layers: int, ranges: Sequence[int] | None = None) -> Circuit:
    """Rot on every qubit, then CX from every qubit q to q + r (modulo n), `layers` times.

    Weights: 3 * layers * n, as (layers, n, 3): phi, theta, omega of RZ(omega) RY(theta) RZ(phi). ranges: r of each
    layer; 1, 2, …, n - 1, 1, … unless said. Schuld et al. 2020 (arXiv 1804.00633). As PennyLane's
    StronglyEntanglingLayers, exactly. ConfigError for a range outside 1 to n - 1 or of another number than layers.
    """
    count = repetitions(layers, "layers")
    n = _checks.count(n)
    reach = [1 + layer % max(n - 1, 1) for layer in range(count)] if ranges is None else list(ranges)
    if len(reach) != count:
        raise ConfigError(f"strongly_entangling_layers: {len(reach)} ranges for {count} layers; give one for each")
    if n > 1 and not all(_checks.whole(r) is not None and 0 < r < n for r in reach):
        raise ConfigError(f"strongly_entangling_layers: ranges {reach}; on {n} qubits they are from 1 to {n - 1}")
    c = Circuit(n)
    for r in reach:
        for q in range(n):
            c = c.rot(q, weight(), weight(), weight())
        for q in range(n if n > 1 else 0):
            c = c.cx(q, (q + r) % n)
    return c


def efficient_su2(n: int, reps: int = 3, entanglement: Entanglement = "reverse_linear",
                  rotations: Sequence[str] = ("y", "z")) -> Circuit:  # fmt: skip
    """Rotations of every qubit, then CX by `entanglement`, `reps` times, and rotations once more.

    Weights: (reps + 1) * len(rotations) * n, as (reps + 1, rotations, n): RY of all qubits before RZ of all.
    As Qiskit's efficient_su2 with the same order of weights, exactly, qubit 0 being the most significant here.
    """
    names, c = [axis(r) for r in rotations], Circuit(n)
    for layer in range(repetitions(reps, "reps") + 1):
        for name in names:
            for q in range(n):
                c = c.gate(name, q, weight())
        if layer < reps:
            for a, b in joined(n, entanglement, layer):
                c = c.cx(a, b)
    return c


def real_amplitudes(n: int, reps: int = 3, entanglement: Entanglement = "reverse_linear") -> Circuit:
    """RY on every qubit, then CX by `entanglement`, `reps` times, and RY once more: all amplitudes are real.

    Weights: (reps + 1) * n, as (reps + 1, n). As Qiskit's real_amplitudes with the same order of weights, exactly,
    qubit 0 being the most significant here.
    """
    return efficient_su2(n, reps, entanglement, ("y",))


def su4_brickwall(n: int, layers: int) -> Circuit:
    """Rows of two-qubit gates of any kind, exp(i sum_k w_k P_k) over the 15 Pauli strings, `layers` rows.

    Even rows join (0,1), (2,3), …, odd rows (1,2), (3,4), …; on two qubits every row is the one pair. Weights: 15 a
    gate, row by row, strings in the order IX, IY, IZ, XI, …, ZZ. The gate: PennyLane's SpecialUnitary, Wiersema et al.
    2023 (arXiv 2303.11355). Differs from bricks of CX and rotations in that it has no preferred direction. ConfigError
    for n < 2.
    """
    if _checks.count(n) < 2:
        raise ConfigError("su4_brickwall: a gate of two qubits needs n >= 2; su2n(1) is the general gate of one")
    c = Circuit(n)
    for layer in range(repetitions(layers, "layers")):
        for a in range(0 if n == 2 else layer % 2, n - 1, 2):
            c = c.special_unitary([a, a + 1])
    return c


def su2n(n: int) -> Circuit:
    """One gate exp(i sum_k w_k P_k) over all Pauli strings but the identity, on all qubits.

    Weights: 4^n - 1, in the order of the product I, X, Y, Z. As PennyLane's SpecialUnitary, exactly. At least
    ceil((4^n - 3n - 1)/4) CX on hardware. ConfigError for n > 6, as for `Circuit.special_unitary`.
    """
    return Circuit(n).special_unitary(range(n))
