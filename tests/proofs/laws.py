"""Paired differences whose true mean is known, drawn for many studies at once: (studies, replicates).

Each law returns the differences and their true mean, so that it can be counted how often an interval holds it.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

Generator = np.random.Generator
Drawn = tuple[np.ndarray, float]
ITEMS = 360  # of the test split of digits, whose accuracies lie on a grid of 1 / 360
CHANCE, FAILING = 0.1, 0.1  # what a failed replicate of ten classes is scored at, and how many fail
SPLIT = (0.6, 0.2)  # shares of a pool that train and that test: the package's own split where there is no test set


def normal(rng: Generator, studies: int, n: int) -> Drawn:
    return 0.5 + rng.normal(size=(studies, n)), 0.5


def t5(rng: Generator, studies: int, n: int) -> Drawn:
    return 0.5 + rng.standard_t(5, (studies, n)), 0.5


def gridded(rng: Generator, studies: int, n: int, items: int = ITEMS) -> Drawn:
    """Accuracies on `items` test items of two arms that share a replicate's luck: .90 and .93 on average."""
    luck = rng.uniform(-0.02, 0.02, (studies, n))
    a, b = rng.binomial(items, 0.93 + luck), rng.binomial(items, 0.90 + luck)
    return (a - b) / items, 0.03


def coarse(rng: Generator, studies: int, n: int) -> Drawn:
    """The same on 50 test items, where many differences are equal."""
    return gridded(rng, studies, n, 50)


def exponential(rng: Generator, studies: int, n: int) -> Drawn:
    return rng.exponential(size=(studies, n)), 1.0


def lognormal(rng: Generator, studies: int, n: int) -> Drawn:
    return rng.lognormal(size=(studies, n)), float(np.exp(0.5))


def failing(rng: Generator, studies: int, n: int) -> Drawn:
    """The swap fails in one replicate of ten, which is then scored at chance; else it is .02 better."""
    a, b = (accuracy(rng, studies, n, mean) for mean in (0.92, 0.90))
    lost = rng.random((studies, n)) < FAILING
    return np.where(lost, CHANCE, a) - b, (1 - FAILING) * 0.92 + FAILING * CHANCE - 0.90


def both_failing(rng: Generator, studies: int, n: int) -> Drawn:
    """Both arms fail in one replicate of ten, each on its own; else the swap is .02 better."""
    a, b = (
        np.where(rng.random((studies, n)) < FAILING, CHANCE, accuracy(rng, studies, n, mean)) for mean in (0.92, 0.90)
    )
    return a - b, (1 - FAILING) * 0.02


def accuracy(rng: Generator, studies: int, n: int, mean: float) -> np.ndarray:
    """(studies, n) accuracies on the grid of the test split, spread by the test items and by 1 % of training's luck."""
    return rng.binomial(ITEMS, np.clip(rng.normal(mean, 0.01, (studies, n)), 0, 1)) / ITEMS


def overlapping(rng: Generator, studies: int, n: int) -> Drawn:
    """What Nadeau and Bengio assume: re-split replicates correlate by n_test / (n_test + n_train)."""
    train, test = SPLIT
    rho = test / (train + test)
    pool, own = rng.normal(size=(studies, 1)), rng.normal(size=(studies, n))
    return 0.5 + np.sqrt(rho) * pool + np.sqrt(1 - rho) * own, 0.5


LAWS = {
    "normal": normal, "Student t, 5 degrees of freedom": t5, "accuracies on 360 items": gridded,
    "accuracies on 50 items": coarse, "exponential": exponential, "lognormal": lognormal,
    "one replicate in ten fails, swap only": failing, "one replicate in ten fails, either arm": both_failing,
}  # fmt: skip
PROVEN = tuple(LAWS)[:4]  # those whose coverage is promised


# --- two real learners that re-split a pool -------------------------------------------------------------------------


def resplit_learners(rng: Generator, studies: int, n: int, *, pool: int = 150, features: int = 4) -> np.ndarray:
    """(studies, n) differences in test accuracy of two learners, each replicate a new 60/20/20 split of its pool.

    The classes are normal with covariances that differ; the swap is a nearest mean in whitened coordinates (linear
    discriminant), the level below a nearest mean. The true mean is the average over many pools.
    """
    label = rng.integers(0, 2, (studies, pool))
    scale = np.linspace(1.5, 0.7, features)
    x = rng.normal(size=(studies, pool, features)) * scale
    x += label[..., None] * 0.8 * np.linspace(0.3, 1.0, features)
    x[..., 0] += 0.8 * x[..., 1]  # correlated features, which only one learner accounts for
    train, test = (int(share * pool) for share in SPLIT)
    found = np.empty((studies, n))
    for r in range(n):
        order = rng.permuted(np.tile(np.arange(pool), (studies, 1)), axis=1)
        fit, tested = order[:, :train], order[:, pool - test :]
        found[:, r] = _accuracies(_take(x, fit), _take(label, fit), _take(x, tested), _take(label, tested))
    return found


def _take(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.take_along_axis(values, places if values.ndim == 2 else places[..., None], axis=1)


def _accuracies(x: np.ndarray, y: np.ndarray, new: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(studies,) accuracy of the linear discriminant minus that of the nearest mean."""
    weight = np.stack([y == 0, y == 1], axis=1).astype(float)
    means = weight @ x / weight.sum(-1, keepdims=True)  # (studies, 2, features)
    direction, middle = means[:, 1] - means[:, 0], means.mean(1)
    rest = x - np.take_along_axis(means, y[..., None], axis=1)
    covariance = np.swapaxes(rest, 1, 2) @ rest / x.shape[1] + 1e-6 * np.eye(x.shape[2])
    scores = []
    for normal_vector in (np.linalg.solve(covariance, direction[..., None])[..., 0], direction):
        side = np.einsum("sif,sf->si", new - middle[:, None], normal_vector) > 0
        scores.append((side == truth).mean(1))
    return scores[0] - scores[1]


# --- bounds ---------------------------------------------------------------------------------------------------------


def at_most(rate: float, studies: int, miss: float = 0.001) -> int:
    """How often a thing of this rate happens at most in so many studies, but for one time in a thousand (binomial)."""
    return int(stats.binom.isf(miss, studies, rate))


def at_least(rate: float, studies: int, miss: float = 0.001) -> int:
    """How often it happens at least."""
    return int(stats.binom.ppf(miss, studies, rate))
