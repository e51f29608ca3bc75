"""A circuit as Pauli rotations alone.

CX, SWAP and X permute the basis: they cost nothing when one remembers, for every qubit, which bits of the row index
make up its value (a Z mask) and which bits change when it is flipped (an X mask), a tableau over GF(2). What is left
are rotations exp(-i angle/2 P). Those whose P is real up to i (an odd number of Y) rotate pairs of amplitudes by real
numbers; those of Z strings are phases; any other becomes a real one between two phases of a quarter turn, because
exp(i pi/4 S) P exp(-i pi/4 S) is +-i S P when S and P anticommute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .angles import Angle
from .circuit import Circuit
from .gates import Step

QUARTER = Angle({(): math.pi / 2})


@dataclass(frozen=True)
class Rotation:
    """exp(-i angle/2 P), P = i^|x&z| X^x Z^z on physical rows: bits of x flip, parities over z give signs.

    x = 0: phases (z = 0: a global one). x != 0: |x & z| is 1 modulo 4, and the rotation is
    (a, b) -> (c a - s b, s a + c b) with a the row of even parity over z and b = a ^ x.
    """

    x: int
    z: int
    angle: Angle


class Tableau:
    """Which rows of the state are which basis states: value of qubit q in row r = parity(r & z[q]) ^ flip[q]."""

    def __init__(self, qubits: int):
        bits = [1 << (qubits - 1 - q) for q in range(qubits)]
        self.x, self.z, self.flip = list(bits), list(bits), [0] * qubits

    def apply(self, step: Step) -> None:
        kind, *on = step
        if kind == "cx":
            a, b = on
            self.z[b] ^= self.z[a]
            self.flip[b] ^= self.flip[a]
            self.x[a] ^= self.x[b]
        elif kind == "swap":
            a, b = on
            for of in (self.x, self.z, self.flip):
                of[a], of[b] = of[b], of[a]
        else:
            self.flip[on[0]] ^= 1

    def pauli(self, letters: dict[int, str]) -> tuple[int, int, int]:
        """(x, z, sign) of the physical Pauli that acts as `letters` on the qubits: sign * i^|x&z| X^x Z^z."""
        x = z = negative = ys = 0
        for q, letter in letters.items():
            if letter in "XY":
                x ^= self.x[q]
            if letter in "YZ":
                z ^= self.z[q]
                negative ^= self.flip[q]
            ys += letter == "Y"
        # X^x Z^z goes over without a sign; only the power of i that makes it Hermitian is counted anew
        quarter = (ys - (x & z).bit_count()) % 4
        assert quarter in (0, 2)
        return x, z, -1 if negative ^ (quarter == 2) else 1


def lower(circuit: Circuit) -> tuple[list[Rotation], Tableau] | None:
    """The rotations, first to act first, and where the qubits are at the end. None where a gate is a dense matrix."""
    tableau = Tableau(circuit.qubits)
    found: list[Rotation] = []
    for gate in circuit.gates:
        steps = gate.steps
        if steps is None:
            return None
        for step in steps:
            if step[0] == "pauli":
                found += _rotations(tableau, step[1], step[2])
            elif step[0] == "phase":
                found.append(Rotation(0, 0, step[1]))
            else:
                tableau.apply(step)
    return found, tableau


def _rotations(tableau: Tableau, letters: dict[int, str], angle: Angle) -> list[Rotation]:
    if all(s in "IZ" for s in letters.values()):
        _, z, sign = tableau.pauli(letters)
        return [Rotation(0, z, angle * sign)]
    if sum(s == "Y" for s in letters.values()) % 2:
        return [_real(tableau, letters, angle)]
    # one letter turned by a quarter about Z: RX = RZ(-pi/2) RY RZ(pi/2), RY = RZ(pi/2) RX RZ(-pi/2)
    q = next(q for q, s in letters.items() if s in "XY")
    turned = {**letters, q: "Y" if letters[q] == "X" else "X"}
    first = QUARTER if letters[q] == "X" else -QUARTER
    _, z, sign = tableau.pauli({q: "Z"})
    return [Rotation(0, z, first * sign), _real(tableau, turned, angle), Rotation(0, z, -first * sign)]


def _real(tableau: Tableau, letters: dict[int, str], angle: Angle) -> Rotation:
    x, z, sign = tableau.pauli(letters)
    # i^3 = -i: the other direction of the same pairs
    return Rotation(x, z, angle * (sign if (x & z).bit_count() % 4 == 1 else -sign))


def commute(a: Rotation, b: Rotation) -> bool:
    return not ((a.x & b.z).bit_count() + (a.z & b.x).bit_count()) % 2


def schedule(rotations: Sequence[Rotation]) -> list[tuple[bool, dict[tuple[int, int], Angle]]]:
    """Layers (real, {(x, z): angle}) of rotations that commute: phases together, real ones together, equal ones added.

    Each rotation goes as early as those it does not commute with allow.
    """
    layers: list[tuple[bool, dict[tuple[int, int], Angle]]] = []
    strings: list[list[Rotation]] = []
    for r in rotations:
        real, place = r.x != 0, None
        for i in range(len(layers) - 1, -1, -1):
            free = all(commute(r, other) for other in strings[i])
            if layers[i][0] == real and free:
                place = i
                if (r.x, r.z) in layers[i][1]:
                    break
            if not free:
                break
        if place is None:
            layers.append((real, {}))
            strings.append([])
            place = len(layers) - 1
        found = layers[place][1]
        if (r.x, r.z) in found:
            found[r.x, r.z] = found[r.x, r.z] + r.angle
        else:
            found[r.x, r.z] = r.angle
            strings[place].append(r)
    # what cancelled is gone
    kept = [(real, {k: a for k, a in layer.items() if a.terms}) for real, layer in layers]
    return [(real, layer) for real, layer in kept if layer]
