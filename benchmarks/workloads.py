"""The workloads of circuits.py as plain data: a list of gates and the numbers that go in, the same for every library.

A workload is a dictionary that JSON can carry:

    name, kind      "W1" …; "gradient" (<Z> of every qubit, forward and backward) or "kernel" (|<phi(x)|phi(y)>|^2)
    qubits, gates   each gate is [name, [qubit, …], [angle, …]]; an angle is a number, ["feature", i] or ["weight", j]
    seed            of inputs (batch, features), weights (weights,) and cotangent (batch, qubits), all float32 numbers
    points          kernel only: (batch, qubits), what the columns of `inputs` were computed from

The loss of a gradient workload is (outputs * cotangent).sum(). Names and conventions of gates: rotations are
exp(-i angle P / 2); rot(a, b, c) = RZ(c) RY(b) RZ(a), p = diag(1, exp(i angle)); the first qubit of a controlled gate
controls; qubit 0 is the most significant bit. W6 uses only what every library of the comparison has under a name of its
own (so no SX: DeepQuantum has none); rot may be U3, which differs by a global phase.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

Workload = dict[str, Any]
SIZES = {"W1": range(2, 15), "W3": (6,), "W4": (8,), "W6": (8,)}
# name: (qubits, angles)
GATES = {
    **dict.fromkeys(("h", "x", "s", "sdg", "t", "tdg"), (1, 0)),
    **dict.fromkeys(("rx", "ry", "rz", "p"), (1, 1)),
    "rot": (1, 3),
    **dict.fromkeys(("cx", "cz", "swap"), (2, 0)),
    **dict.fromkeys(("crx", "cry", "crz", "rxx", "ryy", "rzz"), (2, 1)),
}


class Weights:
    """Numbers weights from 0 as they are asked for."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> list[Any]:
        self.count += 1
        return ["weight", self.count - 1]


def feature(index: int) -> list[Any]:
    return ["feature", index]


def ring(qubits: int, step: int = 1) -> list[list[Any]]:
    """CNOTs from each qubit to the one `step` further on, round the end."""
    return [["cx", [q, (q + step) % qubits], []] for q in range(qubits)]


def _draw(name: str, qubits: int, batch: int, features: int, weights: int, gates: list[Any], seed: int) -> Workload:
    draw = np.random.default_rng(seed)
    single = {
        "inputs": draw.uniform(-math.pi, math.pi, (batch, features)),
        "weights": draw.uniform(0, 2 * math.pi, weights),
        "cotangent": draw.standard_normal((batch, qubits)),
    }
    numbers = {key: value.astype(np.float32).tolist() for key, value in single.items()}
    return {"name": name, "kind": "gradient", "qubits": qubits, "seed": seed, "gates": gates, **numbers}


def w1(qubits: int, batch: int = 200, layers: int = 4, seed: int = 1) -> Workload:
    """Angle encoding RY, then `layers` times RY and RZ on every qubit and a ring of CNOTs."""
    weight = Weights()
    gates: list[Any] = [["ry", [q], [feature(q)]] for q in range(qubits)]
    for _ in range(layers):
        for q in range(qubits):
            gates += [["ry", [q], [weight()]], ["rz", [q], [weight()]]]
        gates += ring(qubits)
    return _draw("W1", qubits, batch, qubits, weight.count, gates, seed)


def w3(qubits: int = 6, batch: int = 64, repetitions: int = 5, seed: int = 3) -> Workload:
    """Re-uploading: RX of every feature and a strongly entangling layer, again and again.

    The ring of repetition l reaches 1 + l mod (qubits - 1) qubits far, as in PennyLane's template.
    """
    weight = Weights()
    gates: list[Any] = []
    for repetition in range(repetitions):
        gates += [["rx", [q], [feature(q)]] for q in range(qubits)]
        gates += [["rot", [q], [weight(), weight(), weight()]] for q in range(qubits)]
        gates += ring(qubits, 1 + repetition % (qubits - 1))
    return _draw("W3", qubits, batch, qubits, weight.count, gates, seed)


def w4(qubits: int = 8, batch: int = 1000, repetitions: int = 2, seed: int = 4) -> Workload:
    """Kernel matrix of the ZZ feature map in Qiskit's convention, full entanglement, points in [0, 1).

    The angles 2 x_i and 2 (pi - x_i) (pi - x_j) are columns of `inputs`, so that a library without products of
    features can run the circuit too; who has the map itself starts from `points`.
    """
    points = np.random.default_rng(seed).random((batch, qubits)).astype(np.float32).astype(np.float64)
    pairs = list(itertools.combinations(range(qubits), 2))
    columns = [2 * points[:, q] for q in range(qubits)]
    columns += [2 * (math.pi - points[:, a]) * (math.pi - points[:, b]) for a, b in pairs]
    gates: list[Any] = []
    for _ in range(repetitions):
        gates += [["h", [q], []] for q in range(qubits)]
        gates += [["p", [q], [feature(q)]] for q in range(qubits)]
        for k, (a, b) in enumerate(pairs):
            gates += [["cx", [a, b], []], ["p", [b], [feature(qubits + k)]], ["cx", [a, b], []]]
    numbers = {
        "points": points.tolist(),
        "inputs": np.stack(columns, 1).astype(np.float32).tolist(),
        "weights": [],
        "cotangent": [],
    }
    return {"name": "W4", "kind": "kernel", "qubits": qubits, "seed": seed, "gates": gates, **numbers}


def w6(qubits: int = 8, batch: int = 200, count: int = 100, seed: int = 6) -> Workload:
    """`count` gates drawn from GATES, qubits at random; an angle is a new weight or, one time in four, a feature.

    rot takes weights only: no library has to build a matrix from numbers of two kinds.
    """
    draw = np.random.default_rng(seed)
    weight = Weights()
    # in turn, so that none goes unused: some libraries refuse that
    turn = itertools.cycle(range(qubits))
    names = sorted(set(GATES) - {"p"})
    gates: list[Any] = []
    for name in draw.choice(names, count):
        wires, angles = GATES[name]
        where = [int(q) for q in draw.permutation(qubits)[:wires]]
        if angles == 1 and draw.random() < 0.25:
            gates.append([str(name), where, [feature(next(turn))]])
        else:
            gates.append([str(name), where, [weight() for _ in range(angles)]])
    return _draw("W6", qubits, batch, qubits, weight.count, gates, seed)


def workload(name: str, qubits: int) -> Workload:
    """By name; ValueError for a size that it does not come in."""
    if name not in SIZES:
        raise ValueError(f"no workload {name!r}; there are {', '.join(SIZES)}")
    if qubits not in SIZES[name]:
        raise ValueError(f"{name} comes with {SIZES[name][0]} to {SIZES[name][-1]} qubits, not {qubits}")
    return {"W1": w1, "W3": w3, "W4": w4, "W6": w6}[name](qubits)
