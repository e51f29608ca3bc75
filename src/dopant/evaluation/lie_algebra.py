"""The dynamical Lie algebra of a circuit: the closure of its generators under commutators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError, DoesNotFit
from ..quantum import _checks
from ..quantum._closure import Bits, bits, closure, letters
from ..quantum.circuit import Circuit
from ._generators import Sum, commutator, generators

TOLERANCE = 1e-8  # what is left of a normalised commutator after projection, below which it is nothing new


@dataclass(frozen=True)
class LieAlgebra:
    """dimension: real. basis, generators: Hermitian sums {string: coefficient}, i times which are in the algebra.

    exact: every generator is one Pauli string, and the algebra was closed without rounding. Else the rank is numerical:
    gap is the smallest part of a commutator that counted as new over the largest that did not; the further from 1, the
    less the tolerance decided.
    """

    dimension: int
    basis: tuple[dict[str, float], ...]
    generators: tuple[dict[str, float], ...]
    exact: bool
    gap: float

    def __str__(self) -> str:
        return f"dimension {self.dimension} from {len(self.generators)} generators"


def lie_algebra(of: Circuit | Sequence[str | Mapping[str, float]], most: int = 1024) -> LieAlgebra:
    """The real Lie algebra that i times the generators generate, by closing commutators.

    of: Pauli strings or sums {string: coefficient}; or a circuit. A circuit's generators are those of its gates with
    weights or features, moved through the fixed gates before them (the circuit is then one fixed unitary after
    rotations about them); neighbouring rotations by multiples of one angle that commute are one generator, their sum,
    as in the layers of QAOA. exp(i sum_k angle_k P_k) counts each string, exp(iH(x)) each entry of H. What a shared
    weight ties together apart from that is not seen.
    The dimension bounds the number of independent directions of the circuit at any depth (Larocca et al. 2023, arXiv
    2109.11676) and governs the variance of a deep circuit's loss (Ragone et al. 2024, arXiv 2309.09342).
    Cost: for single strings O(dimension * generators); for sums a projection for each of those, O(dimension^2 *
    strings * generators). The identity, a global phase, is left out.
    Raises DoesNotFit beyond `most` dimensions, ConfigError for what is no sum of Pauli strings of one length.
    """
    if isinstance(of, Circuit):
        n, sums = of.qubits, generators(of)
    else:
        n, sums = _read(of)
    sums = [{b: c for b, c in s.items() if b != (0, 0)} for s in sums]
    sums = [s for s in sums if s]
    shown = tuple(_named(s, n) for s in sums)
    if all(len(s) == 1 for s in sums):
        words = closure([letters(b, n) for s in sums for b in s], most)
        _within(len(words), most)
        return LieAlgebra(len(words), tuple({w: 1.0} for w in words), shown, True, float("inf"))
    basis, gap = _closed(sums, most)
    return LieAlgebra(len(basis), tuple(_named(s, n) for s in basis), shown, False, gap)


def _closed(sums: Sequence[Sum], most: int) -> tuple[list[Sum], float]:
    """An orthonormal basis, and the gap."""
    columns: dict[Bits, int] = {}
    rows = np.zeros((16, 16))
    basis: list[Sum] = []
    least, largest = float("inf"), 0.0
    unit = [_scaled(s) for s in sums]
    queue = list(unit)
    while queue:
        candidate = queue.pop(0)
        for b in candidate:
            columns.setdefault(b, len(columns))
        if len(basis) == rows.shape[0] or len(columns) > rows.shape[1]:
            rows = np.pad(rows, [(0, len(basis) + 1), (0, len(columns))])
        vector = np.zeros(rows.shape[1])
        for b, c in candidate.items():
            vector[columns[b]] = c
        known = rows[: len(basis)]
        for _ in range(2):  # once more takes away what rounding left
            vector -= (known @ vector) @ known
        left = float(np.linalg.norm(vector))
        if left <= TOLERANCE:
            largest = max(largest, left)
            continue
        least = min(least, left)
        rows[len(basis)] = vector / left
        names = list(columns)
        basis.append({names[i]: float(rows[len(basis), i]) for i in np.flatnonzero(abs(vector) > 1e-12 * left)})
        _within(len(basis), most)
        new = (commutator(g, basis[-1]) for g in unit)
        queue += [_scaled(s) for s in new if s and max(map(abs, s.values())) > TOLERANCE]
    return basis, least / largest if largest else float("inf")


def _scaled(s: Sum) -> Sum:
    norm = float(np.linalg.norm(list(s.values())))
    return {b: c / norm for b, c in s.items()}


def _within(found: int, most: int) -> None:
    if found > most:
        raise DoesNotFit(f"the Lie algebra has more than {most} dimensions; take fewer qubits, or give a larger `most`")


def _named(s: Sum, n: int) -> dict[str, float]:
    return {letters(b, n): c for b, c in s.items()}


def _read(given: Sequence[str | Mapping[str, float]]) -> tuple[int, list[Sum]]:
    found, lengths = [], set()
    for i, one in enumerate([given] if isinstance(given, str | Mapping) else given):
        where, total = f"generator {i}", {}
        for word, c in ({one: 1.0} if isinstance(one, str) else one).items():
            word = _checks.letters(word, where)
            lengths.add(len(word))
            if isinstance(c, complex) or not abs(float(c)) < float("inf"):
                raise ConfigError(f"{where}: the coefficient of {word!r} is {c!r}; a generator is Hermitian, its "
                                  "coefficients real and finite")  # fmt: skip
            total[bits(word)] = total.get(bits(word), 0.0) + float(c)
        found.append({b: c for b, c in total.items() if c})
    if len(lengths) != 1:
        raise ConfigError(f"lie_algebra: Pauli strings of lengths {sorted(lengths)}; give strings of one length, one "
                          "letter a qubit")  # fmt: skip
    return lengths.pop(), found
