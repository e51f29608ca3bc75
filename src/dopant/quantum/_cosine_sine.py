"""A dense unitary as one-qubit gates under controls, exactly: the cosine-sine decomposition, level by level.

Source: Möttönen, Vartiainen, Bergholm, Salomaa 2004, arXiv quant-ph/0404089; here every multiplexed rotation stays a
row of controlled ones, which is longer than their circuit and needs no further rewriting to be exact.
"""

from __future__ import annotations

import cmath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_QUBITS = 6


@dataclass(frozen=True)
class Part:
    """One gate under controls: kind "ry" (angle), "u" (theta, phi, lam) or "gphase" (angle, no target).

    controls: pairs (place, value), place counted in the qubits of the whole unitary, value 0 or 1.
    """

    kind: str
    angles: tuple[float, ...]
    controls: tuple[tuple[int, int], ...]
    target: int | None = None


def euler(matrix: Any) -> tuple[float, float, float, float]:
    """(theta, phi, lam, phase) with exp(i phase) u(theta, phi, lam) = matrix, a unitary (2, 2)."""
    (a, b), (c, d) = matrix
    theta = 2 * cmath.phase(complex(abs(a), abs(c)))
    if abs(a) >= abs(c):  # the larger entry says the phase
        phase = cmath.phase(a)
        total = cmath.phase(d) - phase  # phi + lam
        phi = cmath.phase(c) - phase if abs(c) > 1e-16 else 0.0
        return theta, phi, total - phi, phase
    # exp(i phase) is the phase of a where there is an a, else free
    phase = cmath.phase(a) if abs(a) > 1e-16 else 0.0
    return theta, cmath.phase(c) - phase, cmath.phase(-b) - phase, phase


def parts(matrix: Any) -> Iterator[Part]:
    """A unitary (2^k, 2^k) as parts, first to act first; 6, 28, 120, 496, 2016 gates for k from 2 to 6, and phases."""
    k = int(matrix.shape[0]).bit_length() - 1
    yield from _parts(np.asarray(matrix, dtype=complex), list(range(k)), ())


def _parts(matrix: Any, places: list[int], controls: tuple[tuple[int, int], ...]) -> Iterator[Part]:
    if len(places) == 1:
        theta, phi, lam, phase = euler(matrix)
        if (theta, phi, lam) != (0.0, 0.0, 0.0):
            yield Part("u", (theta, phi, lam), controls, places[0])
        if phase:
            yield Part("gphase", (phase,), controls)
        return
    from scipy.linalg import cossin

    half = matrix.shape[0] // 2
    (left0, left1), thetas, (right0, right1) = cossin(matrix, p=half, q=half, separate=True)
    top, rest = places[0], places[1:]
    yield from _parts(right0, rest, (*controls, (top, 0)))
    yield from _parts(right1, rest, (*controls, (top, 1)))
    for j, theta in enumerate(thetas):
        if theta:
            pattern = tuple((q, j >> (len(rest) - 1 - i) & 1) for i, q in enumerate(rest))
            yield Part("ry", (2 * float(theta),), (*controls, *pattern), top)
    yield from _parts(left0, rest, (*controls, (top, 0)))
    yield from _parts(left1, rest, (*controls, (top, 1)))
