"""The frequencies that a circuit has in its features.

Every expectation value of a circuit is a finite Fourier series in the angles that its features set (Schuld, Sweke and
Meyer 2021, arXiv 2008.08605): a rotation exp(-i v.m / 2 P), m the features (or products of features) that its angle
holds, multiplies it by frequencies -v, 0 and v, so that those of the whole circuit are all sums of one of these a
rotation. Which of them have coefficients, and which ones, is up to the rest of the circuit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import NotDefined
from .angles import Angle, Monomial
from .circuit import Circuit

MOST = 512  # frequencies
_DIGITS = 9  # decimals to which frequencies are one: sums of the same numbers in another order
Vector = tuple[float, ...]


@dataclass(frozen=True)
class Spectrum:
    """Frequencies of a circuit, one of each pair +-w, without 0.

    monomials: what is multiplied by them, as the indices of the features in each product. frequencies:
    (frequencies, monomials), double precision. size: how many the circuit has where all are here, else None.
    """

    monomials: tuple[tuple[int, ...], ...]
    frequencies: Tensor
    size: int | None

    @property
    def complete(self) -> bool:
        return self.size is not None

    def values(self, features: Tensor) -> Tensor:
        """(…, features) -> (…, monomials)."""
        return torch.stack([features[..., list(m)].prod(-1) for m in self.monomials], -1)


def spectrum(circuit: Circuit, most: int = MOST, generator: torch.Generator | None = None) -> Spectrum:
    """The spectrum of `circuit`: all of it where that is at most `most` frequencies, else a random sample of so many.

    The sample takes each rotation's 0 half of the time, +v and -v a quarter each, as pairs of eigenvalues come
    (tree sampling, Landman et al. 2022, arXiv 2210.13200, section 3.3), until `most` different ones are there: low
    frequencies are the likely ones, as they are the redundant ones in the circuit. It is drawn from `generator`, else
    from torch's default one. NotDefined, with the gate, where no feature is read, and where the frequencies are not
    fixed: a feature multiplied by a weight, or in the exponent beside other matrices.
    """
    monomials, rotations = _rotations(circuit)
    found = _all_sums(rotations, len(monomials), most)
    size = None if found is None else len(found)
    if found is None:
        found = _sample(rotations, len(monomials), most, generator)
    ordered = sorted(found, key=lambda w: (sum(x * x for x in w), w))
    frequencies = torch.tensor(ordered, dtype=torch.float64).reshape(len(ordered), len(monomials))
    return Spectrum(tuple(tuple(s.index for s in m) for m in monomials), frequencies, size)


def monomials_of(circuit: Circuit) -> tuple[tuple[int, ...], ...]:
    """The features, and products of features, that the circuit's angles hold, in order; see `spectrum` for refusals."""
    return tuple(tuple(s.index for s in m) for m in _rotations(circuit)[0])


def _rotations(circuit: Circuit) -> tuple[list[Monomial], Counter[Vector]]:
    """(the products of features, {the vector of a rotation, of one sign: how many there are})."""
    held: list[dict[Monomial, float]] = []
    for number, gate in enumerate(circuit.gates):
        if not gate.features:
            continue
        where = f"gate {number} ({gate.name!r})"
        steps = gate.steps
        if gate.name == "special_unitary" and len(gate.strings) == 1:
            steps = [("pauli", {}, gate.angles[0] * -2.0)]
        if steps is None:
            raise NotDefined(f"{where} has features in a matrix whose eigenvalues depend on them: no fixed frequencies")
        held += [_of_features(step[2], where) for step in steps if step[0] == "pauli"]
    held = [one for one in held if one]
    if not held:
        raise NotDefined("the circuit reads no feature, so it has no frequencies")
    monomials = sorted({m for one in held for m in one}, key=lambda m: (len(m), [s.index for s in m]))
    return monomials, Counter(_one_sign(tuple(one.get(m, 0.0) for m in monomials)) for one in held)


def _of_features(angle: Angle, where: str) -> dict[Monomial, float]:
    """The part of an angle that depends on features."""
    found: Mapping[Monomial, float] = {m: c for m, c in angle.terms.items() if any(s.kind == "feature" for s in m)}
    mixed = [m for m in found if any(s.kind != "feature" for s in m)]
    if mixed:
        product = "*".join(map(str, mixed[0]))
        raise NotDefined(f"{where}: {product} multiplies a feature by a weight, so its frequency is trained")
    return dict(found)


def _one_sign(vector: Vector) -> Vector:
    """The vector or its negative: the one whose first number that is not 0 is positive; its numbers rounded."""
    vector = tuple(round(x, _DIGITS) + 0.0 for x in vector)
    first = next((x for x in vector if x), 0.0)
    return vector if first >= 0 else tuple(-x + 0.0 for x in vector)


def _add(a: Vector, b: Vector, times: int) -> Vector:
    return tuple(round(x + times * y, _DIGITS) + 0.0 for x, y in zip(a, b, strict=True))


def _all_sums(rotations: Counter[Vector], width: int, most: int) -> set[Vector] | None:
    """All frequencies, of one sign and without 0; None where there are more than `most`."""
    found = {(0.0,) * width}
    for vector, count in rotations.items():
        found = {_add(w, vector, k) for w in found for k in range(-count, count + 1)}
        if len(found) > 2 * most + 1:
            return None
    return {_one_sign(w) for w in found if any(w)}


def _sample(rotations: Counter[Vector], width: int, most: int, generator: torch.Generator | None) -> dict[Vector, None]:
    """`most` different frequencies, in the order in which they were drawn."""
    vectors = torch.tensor(list(rotations.elements()), dtype=torch.float64)
    found: dict[Vector, None] = {}
    for _ in range(1000):
        ones = torch.randint(0, 2, (2, most, len(vectors)), generator=generator, dtype=torch.int64)
        drawn = (ones[0] - ones[1]).double() @ vectors  # -1, 0, 1 with probabilities 1/4, 1/2, 1/4
        for row in drawn.tolist():
            w = _one_sign(tuple(row))
            if any(w) and len(found) < most:
                found[w] = None
        if len(found) >= most:
            break
    return found
