"""How low the cross entropy of a circuit's probabilities can be: a check of published logs that needs no training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from ...errors import ConfigError

TRAIN_COUNTS = {
    "mnist": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
    "fashion-mnist": (6000,) * 10,
    "cifar10": (5000,) * 10,
}
"""Training images of each class."""


def lowest_cross_entropy(frequencies: Sequence[float] | np.ndarray) -> float:
    """The least mean cross entropy of logits p_j + b_j with p_j >= 0, sum p <= 1 and one bias b for all samples.

    frequencies: (class,) of the classes, in any unit. For a given b the best p puts everything on the true class, so
    what is left is to minimise sum_y f_y [ln(sum_j e^{b_j} + (e - 1) e^{b_y}) - b_y] - 1 over b: convex, and for n
    balanced classes symmetric, with the minimum ln(e + n - 1) - 1 at equal b. A layer of probabilities of a normalised
    state plus a bias cannot do better on average, whatever it learns. Raises ConfigError for fewer than two classes or
    frequencies that are not positive.
    """
    f = np.asarray(frequencies, float)
    if f.ndim != 1 or len(f) < 2 or not np.all(np.isfinite(f)) or not np.all(f > 0):
        raise ConfigError(f"frequencies: expected two or more positive numbers, not {frequencies!r}")
    f = f / f.sum()

    def objective(b: np.ndarray) -> tuple[float, np.ndarray]:
        shift = b.max()
        weights = np.exp(b - shift)
        totals = weights.sum() + (math.e - 1) * weights  # one denominator for each true class
        value = float(f @ (np.log(totals) + shift - b)) - 1
        gradient = weights * (f / totals).sum() + (math.e - 1) * weights * f / totals - f
        return value, gradient

    found = minimize(objective, np.log(f), jac=True, method="BFGS", options={"gtol": 1e-10})
    return float(found.fun)


def mean_of_batches(frequencies: Sequence[float], batch: int, draws: int, generator: np.random.Generator) -> float:
    """The same bound where the bias may foresee the class frequencies of each random batch: a little lower.

    A training loss is a mean over batches between which the bias moves, so this is the bound that no order of batches
    can undercut by more than chance. Classes that a batch lacks are left out of it. Cost: `draws` minimisations.
    """
    f = np.asarray(frequencies, float)
    counts = generator.multinomial(batch, f / f.sum(), size=draws)
    return float(np.mean([_of_batch(c) for c in counts]))


def _of_batch(counts: np.ndarray) -> float:
    present = counts[counts > 0]
    # an absent class costs nothing: its bias may go to minus infinity
    return lowest_cross_entropy(present) if len(present) > 1 else 0.0
