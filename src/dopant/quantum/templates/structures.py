"""Circuits with the structure of a problem or of a network: QAOA, re-uploading, convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...errors import ConfigError
from .. import _checks
from ..angles import weight
from ..circuit import Circuit
from ._patterns import repetitions
from .ansatze import strongly_entangling_layers
from .encodings import angle_encoding


def qaoa(n: int, edges: Sequence[Sequence[Any]], layers: int, fields: Sequence[Any] | None = None) -> Circuit:
    """H on all qubits, then exp(-i gamma C) and exp(-i beta sum_q X_q), `layers` times, for the cost
    C = sum over edges of J_ab Z_a Z_b + sum_q h_q Z_q.

    edges: (a, b) with J = 1 or (a, b, J), J a number or an Angle such as feature(k), so that the instance is an input.
    fields: h of every qubit, none unless said. Weights: 2 * layers: gamma, beta of the first layer, gamma, …
    Farhi et al. 2014 (arXiv 1411.4028). For MaxCut minimise C: twice PennyLane's maxcut cost but for a constant, so
    that gamma here is half of gamma there. ConfigError for an edge of other length or with one qubit twice.
    """
    bonds = []
    for i, edge in enumerate(edges):
        if len(edge) not in (2, 3):
            raise ConfigError(f"qaoa, edge {i}: (a, b) or (a, b, weight) is wanted, not {edge!r}")
        a, b = _checks.qubits(edge[:2], _checks.count(n), f"qaoa, edge {i}")
        bonds.append((a, b, edge[2] if len(edge) == 3 else 1.0))
    if fields is not None and len(fields) != n:
        raise ConfigError(f"qaoa: {len(fields)} fields for {n} qubits; give one for each")
    c = Circuit(n)
    for q in range(n):
        c = c.h(q)
    for _ in range(repetitions(layers, "layers")):
        gamma, beta = weight(), weight()
        for a, b, j in bonds:
            c = c.rzz(a, b, 2 * gamma * j)
        for q, h in enumerate(fields or ()):
            c = c.rz(q, 2 * gamma * h)
        for q in range(n):
            c = c.rx(q, 2 * beta)
    return c


def data_reuploading(n: int, reps: int, encode: Circuit | None = None, entangle: Circuit | None = None) -> Circuit:
    """`encode`, then `entangle` with weights of its own, `reps` times.

    encode: angle_encoding(n) unless said; it reads the same features every time. entangle: one layer of
    strongly_entangling_layers unless said. Weights: reps * (encode.weights + entangle.weights), repetition by
    repetition. Pérez-Salinas et al. 2020 (arXiv 1907.02085); with as many encodings of a feature by single-qubit
    rotations, its expectations are Fourier series of degree reps in that feature (Schuld et al. 2021, arXiv
    2008.08605; their circuit has one trainable block more, before the first encoding: compose them).
    ConfigError where a circuit has other than n qubits.
    """
    block = [angle_encoding(n) if encode is None else encode,
             strongly_entangling_layers(n, 1) if entangle is None else entangle]  # fmt: skip
    for what, part in zip(("encode", "entangle"), block, strict=True):
        if part.qubits != n:
            raise ConfigError(f"data_reuploading: {what} has {part.qubits} qubits and the circuit {n}")
    c = Circuit(n)
    for _ in range(repetitions(reps, "reps")):
        c = c.compose(block[0]).compose(block[1])
    return c


def qcnn(n: int, *, convolution: Circuit | None = None, pooling: Circuit | None = None) -> Circuit:
    """Convolutions and pooling by turns until one qubit is left, qubit 0: measure "ZI…I".

    A convolution is one two-qubit circuit with the same weights on the pairs (0,1), (2,3), … and then (1,2), … and the
    pair that closes the ring of the qubits still active (two active qubits: one pair). Pooling is one two-qubit circuit
    with the same weights on (1 -> 0), (3 -> 2), …: first its control, which is then dropped, second the qubit that
    stays; an odd qubit stays too. convolution: the general gate of two qubits, 15 weights, unless said. pooling:
    controlled RZ where the control is 1 and controlled RX where it is 0, 2 weights, unless said.
    Weights: for each of the ceil(log2 n) levels those of the convolution, then those of the pooling.
    Cong et al. 2019 (arXiv 1810.03787), pooling of Hur et al. 2022 (arXiv 2108.00661). Differs from Cong et al.: qubits
    are not measured in the middle; a controlled gate does what a gate conditioned on the outcome would (deferred
    measurement), and the state of the remaining qubits is the same. ConfigError for n < 2.
    """
    if _checks.count(n) < 2:
        raise ConfigError("qcnn: at least two qubits are wanted, one is left at the end")
    blocks = {
        "convolution": Circuit(2).special_unitary([0, 1]) if convolution is None else convolution,
        "pooling": Circuit(2).crz(0, 1, weight()).x(0).crx(0, 1, weight()).x(0) if pooling is None else pooling,
    }
    for what, block in blocks.items():
        if block.qubits != 2:
            raise ConfigError(f"qcnn: the {what} has {block.qubits} qubits; it acts on pairs")
    c, active = Circuit(n), list(range(n))
    while len(active) > 1:
        m = len(active)
        pairs = [(i, i + 1) for start in (0, 1) for i in range(start, m - 1, 2)] + [(m - 1, 0)] * (m > 2)
        c = _shared(c, blocks["convolution"], [(active[a], active[b]) for a, b in pairs])
        c = _shared(c, blocks["pooling"], [(active[i + 1], active[i]) for i in range(0, m - 1, 2)])
        active = active[::2]
    return c


def _shared(c: Circuit, block: Circuit, places: Sequence[tuple[int, int]]) -> Circuit:
    """`block` on every pair of qubits, with the same new weights everywhere."""
    # weights without a number, so that the caller can go on with either form of weight()
    own = [next(iter(weight().sources)) for _ in range(block.weights)]
    for place in places:
        for gate in block.gates:
            angles = tuple(a.replace(lambda s: own[s.index] if s.kind == "weight" else s) for a in gate.angles)
            on = _checks.moved(gate, place, c.qubits, "qcnn")
            c = c._append(replace(on, angles=angles), "qcnn")
    return c
