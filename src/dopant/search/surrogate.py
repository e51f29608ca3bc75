"""Main effects and interactions of two factors, fitted to the validation scores of the cells that were trained.

    score(cell, replicate) = intercept + main effects + interactions + replicate + error

by ordinary least squares in two steps: scores of cells adjusted for replicates (with every cell in every replicate the
plain means), then the effects from these means, each cell alike. Levels are coded against the first of their factor.
What cannot be estimated is settled by hierarchy, as designs are read: an interaction that cannot be told from main
effects or from other interactions counts as none, and a main effect that cannot be told from other main effects makes
combinations with that level unpredictable.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .space import Code, Space

TINY = 1e-9  # of what counts as zero among entries of order one

Column = tuple[tuple[int, int], ...]  # of a main effect ((factor, level),), of an interaction two of these


@dataclass(frozen=True)
class Fitted:
    """columns: what is in the model; coefficients: (1 + columns,), the intercept first. estimable: main effects that
    are told from all others. assumed: interactions that count as none, because the cells do not tell them.
    fitted, means: (cell,) of the cells that were trained. residual: root mean square of their difference, with the
    degrees of freedom that are left (NaN with none). free: that number."""

    space: Space
    codes: tuple[Code, ...]
    means: np.ndarray
    columns: tuple[Column, ...]
    coefficients: np.ndarray
    estimable: frozenset[tuple[int, int]]
    assumed: tuple[Column, ...]
    fitted: np.ndarray
    residual: float
    free: int

    def predict(self, codes: np.ndarray | Sequence[Code]) -> np.ndarray:
        """(combination, factor) -> (combination,) predicted scores; NaN where a level's effect is not known."""
        codes = np.asarray(codes, dtype=np.int64).reshape(-1, len(self.space.sizes))
        found = self.coefficients[0] + np.zeros(len(codes))
        for column, value in zip(self.columns, self.coefficients[1:], strict=True):
            found += value * indicator(column, codes)
        for f, level in self.unknown:
            found[codes[:, f] == level] = np.nan
        return found

    @property
    def unknown(self) -> list[tuple[int, int]]:
        """Levels whose main effect cannot be told: never trained, or always beside another one."""
        return [column for column in self.space.columns() if column not in self.estimable]


def fit(space: Space, codes: Sequence[Code], means: np.ndarray, *, interactions: bool = True) -> Fitted:
    """Effects from the scores of the cells `codes`, (cell,); without `interactions` of the main effects alone."""
    grid = np.asarray(codes, dtype=np.int64).reshape(-1, len(space.sizes))
    mains: list[Column] = [(column,) for column in space.columns()]
    pairs: list[Column] = [
        (one, two) for one, two in itertools.combinations(space.columns(), 2)
        if interactions and one[0] != two[0] and not _excluded(space, one, two)
    ]  # fmt: skip
    first = _design(mains, grid)
    unit = np.eye(first.shape[1])
    estimable = frozenset(main[0] for i, main in enumerate(mains) if _in_rows(first, unit[i + 1]))
    told: list[Column] = []
    if pairs:
        basis = np.linalg.pinv(first)
        more = np.stack([indicator(pair, grid) for pair in pairs], axis=1)
        rest = more - first @ (basis @ more)  # what main effects leave of each interaction
        rest[np.abs(rest) < TINY] = 0.0
        projector = np.linalg.pinv(rest) @ rest  # e_j is in the row space where its column here is e_j
        sure = np.abs(projector - np.eye(len(pairs))).max(axis=0) < 1e-6
        told = [pair for pair, known in zip(pairs, sure, strict=True) if known]
    columns = (*mains, *told)
    matrix = _design(columns, grid)
    coefficients, _, rank, _ = np.linalg.lstsq(matrix, np.asarray(means, float), rcond=None)
    fitted = matrix @ coefficients
    free = len(grid) - int(rank)
    residual = float(np.sqrt(np.square(means - fitted).sum() / free)) if free > 0 else float("nan")
    return Fitted(
        space, tuple(map(tuple, grid.tolist())), np.asarray(means, float), columns, coefficients, estimable,
        tuple(p for p in pairs if p not in set(told)), fitted, residual, free,
    )  # fmt: skip


def adjusted_means(cells: Sequence[int], replicates: Sequence[int], scores: Sequence[float]) -> np.ndarray:
    """(cell,) least-squares means of cells 0, 1, … when every replicate shifts all its cells alike, averaged over the
    replicates; with every cell in every replicate their plain means."""
    cell, replicate = np.asarray(cells), np.unique(np.asarray(replicates), return_inverse=True)[1]
    count, times = int(cell.max()) + 1, int(replicate.max()) + 1
    matrix = np.zeros((len(cell), count + times))
    matrix[np.arange(len(cell)), cell] = 1
    matrix[np.arange(len(cell)), count + replicate] = 1
    solution = np.linalg.lstsq(matrix, np.asarray(scores, float), rcond=None)[0]
    return solution[:count] + solution[count:].mean()


def indicator(column: Column, codes: np.ndarray) -> np.ndarray:
    """(combination,) 1.0 where all levels of the column stand."""
    return np.logical_and.reduce([codes[:, f] == level for f, level in column]).astype(float)


def _design(columns: Sequence[Column], codes: np.ndarray) -> np.ndarray:
    return np.stack([np.ones(len(codes)), *(indicator(column, codes) for column in columns)], axis=1)


def _in_rows(matrix: np.ndarray, row: np.ndarray) -> bool:
    """Whether `row` is a combination of the rows of `matrix`: whether what it asks for can be estimated."""
    return bool(np.abs(row - row @ np.linalg.pinv(matrix) @ matrix).max() < 1e-6)


def _excluded(space: Space, one: tuple[int, int], two: tuple[int, int]) -> bool:
    return (one, two) in space.forbidden or (two, one) in space.forbidden
