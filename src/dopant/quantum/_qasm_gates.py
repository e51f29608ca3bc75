"""What the names of OpenQASM's gates mean here.

A gate call becomes a list of gates; among them "gphase", a phase exp(i angle) under its controls, which has no target
and lives only until `settled`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from .angles import Angle
from .gate import Gate
from .gates import GATES, number, pauli_rotation

Gates = list[Gate]
Make = Callable[[Sequence[Angle], Sequence[int]], Gates]


class Known:
    """A gate that a text can call: its numbers of angles and qubits, the gates that it is, about how many they are."""

    def __init__(self, angles: int, qubits: int, make: Make, size: int = 2):
        self.angles, self.qubits, self.make, self.size = angles, qubits, make, size


def _ours(name: str, controls: int = 0) -> Known:
    def make(angles: Sequence[Angle], qubits: Sequence[int]) -> Gates:
        return [Gate(name, tuple(qubits), tuple(angles), controls)]

    return Known(len(GATES[name].angles), GATES[name].qubits + controls, make)


def _cu(angles: Sequence[Angle], qubits: Sequence[int]) -> Gates:
    theta, phi, lam, gamma = angles
    return [Gate("p", (qubits[0],), (gamma,)), Gate("u", tuple(qubits), (theta, phi, lam), 1)]


def _u2(angles: Sequence[Angle], qubits: Sequence[int]) -> Gates:
    return [Gate("u", tuple(qubits), (number(math.pi / 2), *angles))]


BUILT_IN = {"U": _ours("u"), "CX": _ours("cx")}
STANDARD = {
    **{name: _ours(name) for name, kind in GATES.items() if kind.qasm == name},
    "phase": _ours("p"), "cphase": _ours("cp"), "u1": _ours("p"), "u2": Known(2, 1, _u2), "u3": _ours("u"),
    "cu": Known(4, 2, _cu),
}  # fmt: skip
OLD = {  # qelib1.inc, with the phases that Qiskit gives its gates
    **STANDARD,
    **{name: _ours(name) for name in ("u", "sxdg", "rxx", "rzz")},
    "cu1": _ours("cp"), "cu3": _ours("u", 1), "csx": _ours("sx", 1), "c3x": _ours("x", 3), "c4x": _ours("x", 4),
}  # fmt: skip


def phase(angle: Angle) -> Gates:
    return [Gate("gphase", (), (angle,))]


def under(gates: Gates, control: int, value: int) -> Gates:
    """The gates where qubit `control` is `value`."""
    found = [replace(g, qubits=(control, *g.qubits), controls=g.controls + 1) for g in gates]
    flip = Gate("x", (control,))
    return found if value else [flip, *found, flip]


def inverse(gates: Gates) -> Gates:
    return [g.inverse() for g in reversed(gates)]


def settled(gates: Gates, qubits: int) -> Gates:
    """The same without "gphase": p under one control less, and one phase of the whole at the end."""
    found, total = [], number(0.0)
    for g in gates:
        if g.name != "gphase":
            found.append(g)
        elif g.controls:
            found.append(replace(g, name="p", controls=g.controls - 1))
        else:
            total = total + g.angles[0]
    if total.terms:
        found.append(Gate("pauli_exp", (qubits - 1,), (total * -2.0,), letters="I"))
    return found


def recognised(name: str, known: Known) -> Known:
    """`known`, a definition in a text, or our gate of that name if the two are the same matrix, phase included."""
    pauli = re.fullmatch(r"pauli_([XYZ]{2,5})", name)
    if name in GATES:
        kind = GATES[name]
        count, angles, matrix, own = kind.qubits, len(kind.angles), kind.matrix, _ours(name)
    elif pauli:
        letters = pauli[1]
        count, angles, matrix = len(letters), 1, pauli_rotation(letters)
        own = Known(1, count, lambda a, q: [Gate("pauli_exp", tuple(q), tuple(a), letters=letters)])
    else:
        return known
    if (known.qubits, known.angles) != (count, angles):
        return known
    for start in (0.3, 1.1, -2.2):  # angles that mean nothing
        values = [start + 0.7 * k for k in range(angles)]
        there = _dense(settled(known.make([number(v) for v in values], range(count)), count), count)
        ours = matrix(*(torch.tensor(v, dtype=torch.float64) for v in values)).to(there.dtype)
        if not bool(((there - ours).abs() < 1e-12).all()):
            return known
    return own


def _dense(gates: Gates, qubits: int) -> torch.Tensor:
    """The product of the gates as one matrix (2^n, 2^n)."""
    nothing = torch.zeros(0, dtype=torch.float64)
    found = torch.eye(1 << qubits, dtype=torch.complex128).reshape(*[2] * qubits, -1)
    for g in gates:
        k = len(g.qubits)
        matrix = g.matrix(nothing, nothing).reshape([2] * (2 * k))
        found = torch.tensordot(matrix, found, dims=(list(range(k, 2 * k)), list(g.qubits)))  # pyright: ignore[reportArgumentType]
        found = found.movedim(list(range(k)), list(g.qubits))
    return found.reshape(1 << qubits, -1)
