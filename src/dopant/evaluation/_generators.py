"""The directions in which the angles of a circuit turn its state, as sums of Pauli strings.

Fixed gates are moved to the end: exp(-i t P) F = F exp(-i t F^+ P F), so that the circuit is one fixed unitary after
rotations about the moved generators.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from ..quantum._closure import Bits, anticommute, bits
from ..quantum.angles import Angle
from ..quantum.circuit import Circuit
from ..quantum.gate import Gate
from ..quantum.gates import number
from ..quantum.pauli import pauli_matrix, pauli_strings

Sum = dict[Bits, float]  # a real combination of Pauli strings
_ZERO = 1e-12  # coefficients of unit-norm sums below it are rounding


def generators(circuit: Circuit) -> list[Sum]:
    """Of the gates that read weights or features, in order. Neighbours that turn by multiples of one angle and commute
    are one generator, their sum."""
    fixed: list[Gate] = []
    found: list[tuple[Angle | None, list[Sum]]] = []
    for gate in circuit:
        for angle, total in _pieces(gate, fixed, circuit.qubits):
            for f in reversed(fixed):
                total = _moved(total, f, circuit.qubits)
            last = found[-1] if found else (None, [])
            if angle is None:
                found.append((None, [total]))
                continue
            same = last[0] is not None and _proportional(angle, last[0])
            # by how much it turns when the first of the angle's terms grows by 1
            term = next(iter((last[0] if same and last[0] is not None else angle).terms))
            total = {b: c * angle.terms[term] for b, c in total.items()}
            if same and all(not commutator(total, other) for other in last[1]):
                last[1].append(total)
            else:
                found.append((angle, [total]))
    return [added(parts) for _, parts in found]


def _pieces(gate: Gate, fixed: list[Gate], n: int):
    """(angle, generator) of a gate's live rotations, angle None where there is none of its own. What is fixed in the
    gate goes to `fixed`, after the rotations before it."""
    if gate.amplitudes is not None:  # what the qubits start with turns nothing
        return
    live = gate.data is not None or any(not a.is_number for a in gate.angles)
    if not live:
        fixed.append(gate)
    elif gate.name == "special_unitary":
        constant: Sum = {}
        for angle, word in zip(gate.angles, gate.strings, strict=True):
            place = bits(_spread(word, gate.qubits, n))
            if not angle.is_number:
                yield None, {place: 1.0}
            if angle.constant:
                constant[place] = constant.get(place, 0.0) + angle.constant
        if constant:
            yield None, constant
    elif gate.data is not None:
        d, k = 1 << len(gate.qubits), len(gate.qubits)
        for r, c in sorted({tuple(sorted(divmod(i, d))) for i in range(gate.data[1])}):
            unit = torch.zeros(d, d, dtype=torch.complex128)
            unit[r, c] = unit[c, r] = 1
            yield None, {bits(_spread(w, gate.qubits, n)): v for w, v in _decomposed(unit, k).items()}
    else:
        for step in gate.steps or ():
            if step[0] != "pauli":  # a phase
                continue
            _, letters, angle = step
            on, word = tuple(letters), "".join(letters.values())
            turning = Angle({m: c for m, c in angle.terms.items() if m})
            if turning.terms:
                yield turning, {bits(_spread(word, on, n)): 1.0}
            if angle.constant:
                fixed.append(Gate("pauli_exp", on, (number(angle.constant),), letters=word))


def _spread(word: str, qubits: Sequence[int], n: int) -> str:
    found = ["I"] * n
    for q, letter in zip(qubits, word, strict=True):
        found[q] = letter
    return "".join(found)


def _decomposed(matrix: torch.Tensor, k: int) -> dict[str, float]:
    """A Hermitian matrix on k qubits as a sum of Pauli strings."""
    words, stack = _strings(k)
    values = ((stack @ matrix.mT.reshape(-1)).real / (1 << k)).tolist()
    rounded = [float(round(v)) if abs(v - round(v)) < _ZERO else v for v in values]
    return {w: v for w, v in zip(words, rounded, strict=True) if abs(v) > _ZERO}


@functools.lru_cache(maxsize=8)
def _strings(k: int) -> tuple[list[str], torch.Tensor]:
    """All Pauli strings on k qubits, and their matrices as rows (4^k, 4^k)."""
    words = list(pauli_strings(k))
    return words, torch.stack([pauli_matrix(w).reshape(-1) for w in words])


def _moved(total: Sum, gate: Gate, n: int) -> Sum:
    """F^+ total F for a fixed gate F."""
    none, k = torch.zeros(0, dtype=torch.float64), len(gate.qubits)
    matrix = gate.matrix(none, none).to(torch.complex128)
    shifts = [n - 1 - q for q in gate.qubits]
    mask = sum(1 << s for s in shifts)
    found: Sum = {}
    for (x, z), c in total.items():
        if not (x | z) & mask:
            found[x, z] = found.get((x, z), 0.0) + c
            continue
        word = "".join("IXZY"[(x >> s & 1) | (z >> s & 1) << 1] for s in shifts)
        for new, v in _decomposed(matrix.mH @ pauli_matrix(word) @ matrix, k).items():
            a, b = bits(_spread(new, gate.qubits, n))
            place = (x & ~mask | a, z & ~mask | b)
            found[place] = found.get(place, 0.0) + c * v
    return {b: c for b, c in found.items() if abs(c) > _ZERO}


def _proportional(angle: Angle, other: Angle) -> bool:
    if angle.terms.keys() != other.terms.keys():
        return False
    ratios = [c / other.terms[m] for m, c in angle.terms.items()]
    return max(ratios) - min(ratios) < _ZERO * max(1.0, abs(ratios[0]))


def added(parts: Sequence[Sum]) -> Sum:
    found: Sum = {}
    for part in parts:
        for b, c in part.items():
            found[b] = found.get(b, 0.0) + c
    return {b: c for b, c in found.items() if abs(c) > _ZERO}


def commutator(a: Sum, b: Sum) -> Sum:
    """i/2 [a, b], Hermitian again."""
    found: Sum = {}
    for (x, z), c in a.items():
        for (u, v), e in b.items():
            if not anticommute((x, z), (u, v)):
                continue
            # P = i^|x&z| X^x Z^z; i P Q is +-R when P and Q anticommute
            power = (
                1
                + (x & z).bit_count()
                + (u & v).bit_count()
                - ((x ^ u) & (z ^ v)).bit_count()
                + 2 * (z & u).bit_count()
            )
            place = (x ^ u, z ^ v)
            found[place] = found.get(place, 0.0) + (c * e if power % 4 == 0 else -c * e)
    return {p: c for p, c in found.items() if abs(c) > _ZERO}
