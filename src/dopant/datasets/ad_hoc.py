"""Data made for one quantum feature map: what its kernel separates, and others do not."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from ..errors import ConfigError
from ..registry import register_dataset
from ..streams import Streams
from .generated import PARTS, Generated, problems_of_sizes
from .source import Pool

BLOCK = 4096  # points that are tried at once
BLOCKS = 1000  # how many of these at most
UNITARIES = 20  # how many of them are tried
LEAST = 0.01  # of all points that each label must have, else another unitary is drawn


@register_dataset("ad-hoc")
def ad_hoc(
    *,
    train_size: int = 20,
    validation_size: int = 20,
    test_size: int = 20,
    gap: float = 0.3,
    qubits: int = 2,
    unitary: int | None = None,
) -> Generated:
    """Points (qubits,) of (0, 2 pi], two classes: the sign of <x| V' Z…Z V |x>, and no point where its size is `gap` or
    less. |x> = U(x) H U(x) H |0…0>, U(x) = exp(i (sum_a x_a Z_a + sum_ab (pi - x_a)(pi - x_b) Z_a Z_b)).

    The labels are a linear function of the states of `zz-kernel`'s own feature map: the data show that a kernel can be
    the right one, not that a quantum computer was needed (two qubits are 4 amplitudes).
    train_size, validation_size, test_size: points of each label. gap: from 0 up to, but not, 1. qubits: 2 or 3.
    unitary: None draws V anew, uniformly from the unitary matrices, for each replicate, together with its points: the
    replicates are independent, and an effect is a mean over V. A whole number draws one V from it for all replicates,
    whose points remain their own: an effect is then that of this V alone.
    A V under which a label has less than 1 % of the points is drawn again.
    Source: Havlicek et al. 2019 (arXiv 1804.11326), who have 20 + 20 training and test points, three V and no
    validation points. Cost: milliseconds. Raises ConfigError for options that cannot be, and where a gap leaves
    too few points.
    """
    problems = problems_of_sizes("ad-hoc", train_size=train_size, validation_size=validation_size, test_size=test_size)
    if not 0 <= gap < 1:
        problems.append(f"data set 'ad-hoc': gap is {gap!r}; expected a number from 0 up to, but not, 1")
    if qubits not in (2, 3):
        problems.append(f"data set 'ad-hoc': qubits is {qubits!r}; expected 2 or 3")
    if unitary is not None and (isinstance(unitary, bool) or unitary < 0):
        problems.append(f"data set 'ad-hoc': unitary is {unitary!r}; expected a whole number from 0 on, or nothing")
    if problems:
        raise ConfigError(problems)
    sizes: dict[str, int] = dict(zip(PARTS, (train_size, validation_size, test_size), strict=True))

    def make(streams: Streams) -> dict[str, Pool]:
        rule = streams if unitary is None else Streams(unitary)
        return _draw(rule, streams, sizes, gap, qubits)

    return Generated.of("ad-hoc", 2, make)


def states(x: np.ndarray) -> np.ndarray:
    """(points, n) angles -> (points, 2^n) amplitudes of |x>, qubit 0 the most significant bit."""
    n = x.shape[1]
    signs = signs_of(n)
    phase = x @ signs
    for a, b in itertools.combinations(range(n), 2):
        phase += ((math.pi - x[:, a]) * (math.pi - x[:, b]))[:, None] * (signs[a] * signs[b])
    turn = np.exp(1j * phase)
    hadamard = np.ones((1, 1))
    for _ in range(n):
        hadamard = np.kron(hadamard, np.array([[1, 1], [1, -1]]) / math.sqrt(2))
    return turn * ((turn * hadamard[0]) @ hadamard)  # the first layer acts on |0…0>: row 0


def signs_of(n: int) -> np.ndarray:
    """(n, 2^n): Z of qubit q in each basis state."""
    index = np.arange(2**n)
    return np.stack([1 - 2 * ((index >> (n - 1 - q)) & 1) for q in range(n)]).astype(float)


def observable(unitary: np.ndarray) -> np.ndarray:
    """V' Z…Z V, (2^n, 2^n)."""
    parity = signs_of(unitary.shape[0].bit_length() - 1).prod(0)
    return unitary.conj().T @ (parity[:, None] * unitary)


def random_unitary(size: int, numbers: np.random.Generator) -> np.ndarray:
    """(size, size), uniform in the unitary group: QR of a complex Gaussian matrix with R's diagonal made positive
    (Mezzadri 2007, math-ph/0609050). Its determinant's phase is of no effect here."""
    normal = numbers.normal(size=(2, size, size))
    q, r = np.linalg.qr(normal[0] + 1j * normal[1])
    return q * (np.diag(r) / np.abs(np.diag(r)))


def values(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """<x| M |x> of each point, (points,)."""
    amplitudes = states(x)
    return np.einsum("pi,ij,pj->p", amplitudes.conj(), matrix, amplitudes).real


def _draw(rule: Streams, streams: Streams, sizes: dict[str, int], gap: float, qubits: int) -> dict[str, Pool]:
    wanted = sum(sizes.values())
    matrix = _labelling(rule, gap, qubits)
    found = None if matrix is None else _points(matrix, streams.numpy("split"), wanted, gap)
    if found is None:
        raise ConfigError(
            f"data set 'ad-hoc': gap {gap} leaves too few points of a label ({wanted} of each are wanted); take a "
            "smaller one"
        )
    pools, start = {}, 0
    for part, size in sizes.items():
        x = np.concatenate([side[start : start + size] for side in found])
        y = np.repeat([0, 1], size)
        pools[part] = Pool(torch.as_tensor(x, dtype=torch.get_default_dtype()), torch.as_tensor(y))
        start += size
    return pools


def _labelling(rule: Streams, gap: float, qubits: int) -> np.ndarray | None:
    """V' Z…Z V of the first unitary under which no label is rare; None where none is found."""
    for attempt in range(UNITARIES):
        numbers = rule.numpy("ad-hoc unitary", attempt)
        matrix = observable(random_unitary(2**qubits, numbers))
        value = values(_uniform(numbers, qubits), matrix)
        if min((value < -gap).mean(), (value > gap).mean()) >= LEAST:
            return matrix
    return None


def _points(matrix: np.ndarray, numbers: np.random.Generator, wanted: int, gap: float) -> list[np.ndarray] | None:
    """`wanted` points of each label, negative ones first; None where they do not come."""
    kept: list[list[np.ndarray]] = [[], []]
    for _ in range(BLOCKS):
        x = _uniform(numbers, matrix.shape[0].bit_length() - 1)
        value = values(x, matrix)
        for label, inside in enumerate((value < -gap, value > gap)):
            kept[label].append(x[inside])
        if min(sum(map(len, side)) for side in kept) >= wanted:
            return [np.concatenate(side)[:wanted] for side in kept]
    return None


def _uniform(numbers: np.random.Generator, qubits: int) -> np.ndarray:
    """(BLOCK, qubits) in (0, 2 pi]."""
    return 2 * math.pi * (1 - numbers.random((BLOCK, qubits)))
