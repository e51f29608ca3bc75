"""Feature maps of quantum kernels: layers of H and of phases that are polynomials of the features."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import _checks
from ..angles import Angle, feature
from ..circuit import Circuit
from ._patterns import Entanglement, joined, repetitions


def z_feature_map(n: int, reps: int = 2) -> Circuit:
    """H and P(2 x_q) on every qubit, `reps` times. Features: n. Weights: none. As Qiskit's z_feature_map, exactly."""
    c = Circuit(n)
    for _ in range(repetitions(reps, "reps")):
        c = _phases(_hadamards(c))
    return c


def zz_feature_map(n: int, reps: int = 2, entanglement: Entanglement = "full") -> Circuit:
    """H, P(2 x_q), then CX, P(2 (pi - x_a)(pi - x_b)), CX on each pair (a, b), `reps` times.

    Features: n. Weights: none. entanglement: "full", "linear", "reverse_linear", "circular", "sca", "pairwise", or the
    pairs. Havlíček et al. 2019 (arXiv 1804.11326). As Qiskit's zz_feature_map, exactly, qubit 0 being the most
    significant here; on one qubit, where Qiskit raises, it is the z_feature_map.
    """
    c = Circuit(n)
    for layer in range(repetitions(reps, "reps")):
        c = _phases(_hadamards(c))
        for a, b in joined(n, entanglement, layer):
            c = c.cx(a, b).p(b, 2 * _product((a, b))).cx(a, b)
    return c


def pauli_feature_map(n: int, reps: int = 2, paulis: Sequence[str] = ("Z", "ZZ"), entanglement: Entanglement = "full",
                      alpha: float = 2.0) -> Circuit:  # fmt: skip
    """H on all qubits, then exp(-i alpha/2 f(x) P) for each string P of `paulis` on each block of qubits, `reps` times.

    f(x) = x_q for one qubit and the product of (pi - x_q) for more. Features: n. Weights: none. entanglement: as for
    zz_feature_map, for every length of string; named blocks must fit all strings longer than one. Strings longer than n
    act nowhere. Qiskit's pauli_feature_map up to the global phase (it writes diag(1, exp(i alpha f)) for the
    rotation); letter k of a string acts on qubit k of its block, where Qiskit reads strings from the right.
    """
    words = [_checks.letters(p, "pauli_feature_map") for p in paulis]
    c = Circuit(n)
    for layer in range(repetitions(reps, "reps")):
        c = _hadamards(c)
        for word in words:
            pattern = "linear" if len(word) == 1 else entanglement
            for block in joined(n, pattern, layer, len(word)):
                c = c.pauli_exp(word, alpha * _product(block), block)
    return c


def iqp_feature_map(n: int, reps: int = 1, entanglement: Entanglement = "full") -> Circuit:
    """H and RZ(x_q) on every qubit, then exp(-i x_a x_b ZZ / 2) on each pair (a, b), `reps` times.

    Features: n. Weights: none. Instantaneous quantum polynomial circuits, Havlíček et al. 2019 (arXiv 1804.11326). As
    PennyLane's IQPEmbedding, exactly; entanglement as for zz_feature_map.
    """
    c = Circuit(n)
    for layer in range(repetitions(reps, "reps")):
        for q in range(n):
            c = c.h(q).rz(q, feature(q))
        for a, b in joined(n, entanglement, layer):
            c = c.rzz(a, b, feature(a) * feature(b))
    return c


def _hadamards(c: Circuit) -> Circuit:
    for q in range(c.qubits):
        c = c.h(q)
    return c


def _phases(c: Circuit) -> Circuit:
    for q in range(c.qubits):
        c = c.p(q, 2 * feature(q))
    return c


def _product(block: Sequence[int]) -> Angle:
    if len(block) == 1:
        return feature(block[0])
    found = math.pi - feature(block[0])
    for q in block[1:]:
        found = found * (math.pi - feature(q))
    return found
