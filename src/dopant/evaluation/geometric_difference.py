"""How much one kernel's geometry could be worth beside another's: what a quantum kernel is held against.

Source: Huang et al. 2021 (arXiv 2011.01938), eqs. 5 and 6 and their supplement on regularised kernels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConfigError

NOTHING = 1e-10  # of the largest eigenvalue: smaller ones are rounding


def geometric_difference(classical: ArrayLike, quantum: ArrayLike, *, regularisation: float = 0.0) -> float:
    """g(K_C || K_Q) = sqrt(|| sqrt(K_Q) sqrt(K_C) (K_C + l)^-2 sqrt(K_C) sqrt(K_Q) ||), the largest eigenvalue's root.

    classical, quantum: (n, n) Gram matrices of the same inputs; each is scaled to the trace n. l: regularisation.
    For any labels s_C <= g^2 s_Q of `model_complexity` at l = 0. g near 1, or small: the classical kernel predicts
    about as well whatever the labels are. Large g: there are labels on which the quantum kernel does better, of which
    these need not be ones; up to sqrt(n) where K_C is the identity and K_Q of rank one. With l it is finite for
    singular K_C and smaller, and what is lost is in `training_gap`. infinite at l = 0 where K_Q has what K_C has not.
    Cost: two eigendecompositions. Raises ConfigError for what is no pair of Gram matrices, or a negative l.
    """
    c, q = _pair(classical, quantum, regularisation)
    values, vectors = c
    root = vectors.T @ _root(*q)  # in the eigenbasis of K_C
    if regularisation == 0:
        known = values > NOTHING * values[-1]
        if np.square(root[~known]).sum() > NOTHING * np.square(root).sum():
            return math.inf
        weights = np.where(known, 1 / np.where(known, values, 1.0), 0.0)
    else:
        weights = values / (values + regularisation) ** 2
    return float(np.linalg.norm(np.sqrt(weights)[:, None] * root, 2))


def training_gap(classical: ArrayLike, quantum: ArrayLike, *, regularisation: float) -> float:
    """l sqrt(|| sqrt(K_Q) (K_C + l)^-2 sqrt(K_Q) ||): how much of K_Q's functions K_C fails to fit at that l."""
    (values, vectors), q = _pair(classical, quantum, regularisation)
    root = vectors.T @ _root(*q)
    return float(regularisation * np.linalg.norm(root / (values + regularisation)[:, None], 2))


def model_complexity(kernel: ArrayLike, labels: ArrayLike, *, regularisation: float = 0.0) -> float:
    """s_K(n) = sum_ij (sqrt(K) (K + l)^-2 sqrt(K))_ij y_i y_j, of K scaled to the trace n: at l = 0 y' K^-1 y.

    labels: (n,) or (n, columns), of which the mean is taken; +1 and -1 for classes. The error on new inputs is bounded
    by a multiple of sqrt(s_K(n) / n): of two kernels the one with the smaller s promises more on these labels.
    infinite at l = 0 where the labels have what K has not. Raises as `geometric_difference`.
    """
    (values, vectors), _ = _pair(kernel, kernel, regularisation)
    y = np.asarray(labels, float).reshape(len(values), -1)
    parts = np.square(vectors.T @ y).mean(1)
    if regularisation == 0:
        known = values > NOTHING * values[-1]
        if parts[~known].sum() > NOTHING * parts.sum():
            return math.inf
        return float((parts[known] / values[known]).sum())
    return float((values / (values + regularisation) ** 2 * parts).sum())


Eigen = tuple[np.ndarray, np.ndarray]


def _pair(one: ArrayLike, two: ArrayLike, regularisation: float) -> tuple[Eigen, Eigen]:
    """(ascending eigenvalues, vectors) of both at trace n."""
    if not 0 <= regularisation < math.inf:
        raise ConfigError(f"regularisation is {regularisation!r}; expected a number from 0 on")
    a, b = (np.asarray(m, float) for m in (one, two))
    if a.shape != b.shape:
        raise ConfigError(f"Gram matrices of shapes {a.shape} and {b.shape}; give two of the same inputs")
    first = _eigen(a)
    return first, first if two is one else _eigen(b)


def _eigen(matrix: np.ndarray) -> Eigen:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ConfigError(f"a Gram matrix is square, (n, n), not {matrix.shape}")
    trace = float(np.trace(matrix))
    if not np.isfinite(matrix).all() or trace <= 0:
        raise ConfigError("a Gram matrix is finite and has a positive trace")
    if np.abs(matrix - matrix.T).max() > 1e-6 * np.abs(matrix).max():
        raise ConfigError("a Gram matrix is symmetric")
    values, vectors = np.linalg.eigh((matrix + matrix.T) * (len(matrix) / trace / 2))
    if values[0] < -1e-6 * values[-1]:
        raise ConfigError(
            f"a Gram matrix is positive semi-definite; its eigenvalues go from {values[0]:.2g} to {values[-1]:.2g}"
        )
    return values.clip(0), vectors


def _root(values: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return (vectors * np.sqrt(values)) @ vectors.T
