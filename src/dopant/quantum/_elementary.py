"""What a gate takes on hardware: CX and one-qubit gates, in which order on which qubits, or at least how many CX.

The counts are those of stated constructions without further qubits. Multiplexed rotations by a Gray code: 2^c CX for c
controls (Möttönen et al. 2004, quant-ph/0404089); diagonals on m qubits: 2^m - 2 CX; a controlled gate is one rotation
and, unless its determinant is 1, one phase. An encoding prepares real amplitudes by one multiplexed RY a qubit, 2^k - 2
CX and 2^k - 1 rotations on k qubits (Möttönen et al. 2005, quant-ph/0407010). Shorter ones are known for cswap (7 CX,
here 8) and, of polynomial length, for many controls (Barenco et al. 1995, quant-ph/9503016).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from .gate import Gate
from .pauli import pauli_matrix

Event = tuple[int, ...]  # (q,): a one-qubit gate; (control, target): a CX

# gates that are another one under controls of their own
_WITHIN = {"cx": ("x", 1), "cy": ("y", 1), "cz": ("z", 1), "ch": ("h", 1), "cp": ("p", 1), "crx": ("rx", 1),
           "cry": ("ry", 1), "crz": ("rz", 1), "ccx": ("x", 2), "ccz": ("z", 2), "cswap": ("swap", 1)}  # fmt: skip
_WORDS = {"rx": "X", "ry": "Y", "rz": "Z", "rxx": "XX", "ryy": "YY", "rzz": "ZZ"}
_DIAGONAL = {"z", "s", "sdg", "t", "tdg", "p"}
_ONE_CX = {"x", "y", "z", "h"}  # a reflection under one control is a CX between one-qubit gates


@dataclass(frozen=True)
class Elementary:
    """cx: how many. exact: they are enough; else a lower bound for almost all angles, and `events` is empty."""

    cx: int
    exact: bool
    events: tuple[Event, ...] = ()


def base(gate: Gate) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """(name, controls, targets) with the controls that belong to the name among the controls: ccx is x under two."""
    name, own = _WITHIN.get(gate.name, (gate.name, 0))
    cut = gate.controls + own
    return name, gate.qubits[:cut], gate.qubits[cut:]


def word(gate: Gate) -> str | None:
    """The Pauli string, on the targets, about which the gate is a rotation; None where it is none."""
    name, _, _ = base(gate)
    if name == "pauli_exp":
        return gate.letters
    if name == "special_unitary" and len(gate.strings) == 1:
        return gate.strings[0]
    return _WORDS.get(name)


def elementary(gate: Gate) -> Elementary:
    """The gate in CX and one-qubit gates."""
    name, controls, targets = base(gate)
    if gate.amplitudes is not None:
        parts = [_multiplexed(targets[:i], q) if i else [(q,)] for i, q in enumerate(targets)]
        return _exact([e for part in parts for e in part])
    letters = word(gate)
    if letters is not None:
        return _exact(_rotation(letters, controls, targets))
    if name in ("unitary", "special_unitary", "hermitian_exp") and len(gate.targets) > 1:
        return _general(gate, controls, targets)
    if name == "swap":
        a, b = targets
        middle = _one("x", (*controls, a), b)
        return _exact([(b, a), *middle, (b, a)])
    if name == "iswap":
        a, b = targets
        if not controls:
            return _exact([(a,), (b,), (a, b), (b, a), (b,)])
        # CX (X_a (1 - Z_b)) CX in the exponent: a rotation under one control more
        return _exact([(a, b), *_rotation("X", (*controls, b), (a,)), (a, b)])
    return _exact([] if name == "id" else _one(name, controls, targets[0]))


def _exact(events: list[Event]) -> Elementary:
    return Elementary(sum(len(e) == 2 for e in events), True, tuple(events))


def _one(name: str, controls: tuple[int, ...], target: int) -> list[Event]:
    """A gate of one qubit under controls."""
    turn: list[Event] = [] if name in _DIAGONAL else [(target,)]
    if not controls:
        return [(target,)]
    if len(controls) == 1 and name in _ONE_CX:
        turn = [] if name == "x" else [(target,)]
        return [*turn, (controls[0], target), *turn]
    phase = [] if name == "rot" else _diagonal(controls)  # RZ RY RZ has determinant 1
    return [*turn, *_multiplexed(controls, target), *turn, *phase]


def _rotation(letters: str, controls: tuple[int, ...], targets: tuple[int, ...]) -> list[Event]:
    """exp(-i t/2 P) under controls: a ladder of CX collects the parity in the last qubit, which turns about Z."""
    acts = [(q, s) for q, s in zip(targets, letters, strict=True) if s != "I"]
    if not acts:
        return _diagonal(controls) if controls else []
    if len(acts) == 1 and not controls:
        return [(acts[0][0],)]
    on = [q for q, _ in acts]
    turns: list[Event] = [(q,) for q, s in acts if s != "Z"]
    ladder: list[Event] = list(itertools.pairwise(on))
    core = _multiplexed(controls, on[-1]) if controls else [(on[-1],)]
    return [*turns, *ladder, *core, *ladder[::-1], *turns]


def _multiplexed(controls: tuple[int, ...], target: int) -> list[Event]:
    found: list[Event] = []
    c = len(controls)
    for i in range(1 << c):
        changed = (i ^ (i >> 1)) ^ ((i + 1) % (1 << c) ^ ((i + 1) % (1 << c) >> 1))
        found += [(target,), (controls[c - changed.bit_length()], target)]
    return found


def _diagonal(qubits: tuple[int, ...]) -> list[Event]:
    if len(qubits) == 1:
        return [(qubits[0],)]
    return [*_multiplexed(qubits[:-1], qubits[-1]), *_diagonal(qubits[:-1])]


def _general(gate: Gate, controls: tuple[int, ...], targets: tuple[int, ...]) -> Elementary:
    if len(targets) == 2 and not controls:
        count = cx_of_two_qubits(_somewhere(gate))
        both: list[Event] = [(q,) for q in targets]
        return _exact(both + [e for _ in range(count) for e in ((targets[0], targets[1]), *both)])
    # N CX and the one-qubit gates around them have 4 N + 3 m free angles; a family of as many dimensions needs N
    m = len(controls) + len(targets)
    return Elementary(max(0, math.ceil((_dimensions(gate) - 3 * m) / 4)), False)


def _dimensions(gate: Gate) -> int:
    """Of the set of gates that it can be, global phase apart; a given matrix counts as a generic one."""
    d = 1 << len(gate.targets)
    if gate.name == "special_unitary":
        return len({s for s in gate.strings if set(s) != {"I"}})
    if gate.data is not None:
        count = gate.data[1]
        entries = {tuple(sorted(divmod(i, d))) for i in range(count)}
        return len(entries) - ((d - 1, d - 1) in entries)
    return d * d - (0 if gate.controls else 1)


def _somewhere(gate: Gate) -> torch.Tensor:
    """Its matrix at angles without any relation."""
    g = torch.Generator().manual_seed(0)
    count = 1 + max([s.index for a in gate.angles for s in a.sources] + list(gate.features), default=0)
    x, w = (torch.rand(count, generator=g, dtype=torch.float64) + 0.1 for _ in range(2))
    return gate.matrix(x, w)


def cx_of_two_qubits(matrix: torch.Tensor) -> int:
    """The least number of CX, 0 to 3, for a unitary (4, 4): Shende, Bullock and Markov 2004 (quant-ph/0308045),
    from gamma = U YY U^T YY of the matrix with determinant 1. Exact but for rounding of about 1e-6."""
    u = matrix.to(torch.complex128)
    u = u / torch.linalg.det(u) ** 0.25
    yy = pauli_matrix("YY")
    gamma = u @ yy @ u.T @ yy
    trace = complex(gamma.diagonal().sum())
    if abs(abs(trace.real) - 4) < 1e-5:
        return 0
    if abs(trace) < 1e-5 and float((gamma @ gamma + torch.eye(4)).abs().max()) < 1e-5:
        return 1
    return 2 if abs(trace.imag) < 1e-5 else 3
