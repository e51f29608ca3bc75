"""The statistics of docs/statistics.md, from SciPy and statsmodels alone: nothing of dopant is imported.

*d* is a vector of paired differences, one a replicate; q the share n_test / n_train of re-split replicates, else 0.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests

NAN = math.nan
ALPHA, POWER = 0.05, 0.80
MOST = 10_000  # replicates: no more are searched


def freed_of_rounding(d: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Differences of equal scores are 0, and those that agree to single precision are equal."""
    size = np.maximum(np.abs(a), np.abs(b))
    d = np.where(np.abs(d) < 1e-14 * np.maximum(size, 1e-300), 0.0, d)
    if len(d) and np.all(np.abs(d - d[0]) <= 5e-7 * size):
        return np.full_like(d, d[0])
    return d


def spread(d: np.ndarray) -> float:
    """Standard deviation of a sample; 0 of equal numbers, NaN of fewer than two."""
    if len(d) < 2:
        return NAN
    return 0.0 if np.ptp(d) == 0 else float(np.std(d, ddof=1))


def error_of(sd: float, n: int, q: float) -> float:
    return sd * math.sqrt(1 / n + q)


def interval(d: np.ndarray, q: float, *, level: float = 0.95) -> tuple[float, float]:
    """Student's, with the corrected variance of Nadeau and Bengio; none without spread."""
    sd, n = spread(d), len(d)
    if not sd > 0:
        return NAN, NAN
    return tuple(map(float, stats.t.interval(level, n - 1, np.mean(d), error_of(sd, n, q))))


def welch(a: np.ndarray, b: np.ndarray, q: float) -> tuple[float, float]:
    """Of the same arms, unpaired: Welch's degrees of freedom, each arm's variance corrected as the paired one is."""
    if min(len(a), len(b)) < 2 or (spread(a) == 0 and spread(b) == 0):
        return NAN, NAN
    if q == 0:
        found = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
        return float(found.low), float(found.high)
    n = len(a)
    va, vb = spread(a) ** 2, spread(b) ** 2
    freedom = (va / n + vb / n) ** 2 / ((va / n) ** 2 / (n - 1) + (vb / n) ** 2 / (n - 1))
    half = stats.t.ppf(0.975, freedom) * math.sqrt((va + vb) * (1 / n + q))
    mean = float(np.mean(a) - np.mean(b))
    return mean - half, mean + half


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return NAN
    return float(np.corrcoef(a, b)[0, 1])


@lru_cache(maxsize=8)
def signs(n: int) -> np.ndarray:
    """Every vector of signs, the first kept: the others are their mirror images, and statistics are absolute."""
    return np.array([(1, *rest) for rest in itertools.product((1, -1), repeat=n - 1)], dtype=float)


def sign_flips(d: np.ndarray) -> float:
    """Exact two-sided p, statistic |sum|; only up to 20 replicates."""
    sums = np.abs(signs(len(d)) @ d)
    return float(np.mean(sums >= abs(d.sum()) - 1e-10 * np.abs(d).sum()))


def joint_flips(d: np.ndarray) -> np.ndarray:
    """(entry,) p by step-down max-|t| over joint flips of an (entry, replicate) array: the definition, t as it is."""
    n = d.shape[1]
    flips = signs(n)[:, None, :] * d[None]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(flips.mean(2)) / (flips.std(2, ddof=1) / math.sqrt(n))
    t = np.where(np.isnan(t), 0.0, t)  # differences that are all 0
    t[t > 1e7] = np.inf  # without spread but for rounding
    seen, p, before = t[0], np.empty(len(d)), 0.0
    order = sorted(range(len(d)), key=lambda i: -seen[i])
    for place, i in enumerate(order):
        rest = t[:, order[place:]].max(1)
        before = max(before, float(np.mean(rest >= seen[i] * (1 - 1e-9))))
        p[i] = before
    return p


def t_test(d: np.ndarray, q: float) -> float:
    sd = spread(d)
    return float(2 * stats.t.sf(abs(np.mean(d)) / error_of(sd, len(d), q), len(d) - 1)) if sd > 0 else NAN


def holm(p: list[float]) -> list[float]:
    """Holm's correction; a p that is not known yet counts as 1."""
    if not p:
        return []
    adjusted = multipletests([1.0 if math.isnan(x) else x for x in p], method="holm")[1]
    return [NAN if math.isnan(x) else float(y) for x, y in zip(p, adjusted, strict=True)]


def at_most(d: np.ndarray, q: float, margin: float) -> float:
    """p of 'not better by the margin', one-sided."""
    sd, n = spread(d), len(d)
    return float(stats.t.cdf((np.mean(d) - margin) / error_of(sd, n, q), n - 1)) if sd > 0 else NAN


def equivalence(d: np.ndarray, q: float, margin: float) -> float:
    """The larger p of two one-sided t tests."""
    return max(at_most(d, q, margin), at_most(-d, q, margin))


@lru_cache(maxsize=4096)
def noncentrality(n: int, alpha: float, power: float = POWER, sides: int = 2) -> float:
    """The mean in standard errors that a t test of n replicates finds with this power, upper tail."""
    critical = stats.t.isf(alpha / sides, n - 1)
    high = critical + 5
    while stats.nct.sf(critical, n - 1, high) < power:
        high *= 2
    return float(optimize.brentq(lambda shift: stats.nct.sf(critical, n - 1, shift) - power, 0, high, xtol=1e-10))


def detectable(d: np.ndarray, q: float, alpha: float) -> float:
    sd = spread(d)
    return error_of(sd, len(d), q) * noncentrality(len(d), alpha) if sd > 0 else NAN


def needed(mean: float, sd: float, q: float, alpha: float, power: float = POWER, sides: int = 2) -> float:
    """The fewest replicates at which this mean is found with this power at this sd; infinite above 10,000."""

    def enough(n: int) -> bool:
        return error_of(sd, n, q) * noncentrality(n, alpha, power, sides) <= abs(mean)

    if not enough(MOST):
        return math.inf
    low, high = 2, MOST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return float(low)


def item_error(a: list[np.ndarray], b: list[np.ndarray], same: bool) -> float:
    """Standard error of the mean difference over items: of the items' means over replicates where all tested the same
    ones, else the root mean square of the replicates' own."""
    if not a or any(x.shape != y.shape for x, y in zip(a, b, strict=True)):
        return NAN
    differences = [x - y for x, y in zip(a, b, strict=True)]
    if same:
        differences = [np.mean(differences, axis=0)]
    return math.sqrt(float(np.mean([stats.sem(x) ** 2 for x in differences])))


def item_interval(d: np.ndarray) -> tuple[float, float, float]:
    """(low, high, tolerance) by a percentile bootstrap of our own: its ends wander, and so do those of the page."""
    if np.ptp(d) < 1e-12:
        return NAN, NAN, 0.0
    values, counts = np.unique(np.round(d, 12), return_counts=True)
    drawn = np.random.default_rng(20_260).multinomial(len(d), counts / len(d), 20_000)
    low, high = np.quantile(drawn @ values / len(d), [0.025, 0.975])
    return float(low), float(high), 0.3 * float(stats.sem(d)) + float(np.ptp(d)) / len(d)


def mcnemar(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Exact sign test over items: each counts once, for the arm that got it right in more replicates."""
    if any(not np.isin(x, (0.0, 1.0)).all() for x in (*a, *b)):
        return NAN
    d = np.sum([x - y for x, y in zip(a, b, strict=True)], axis=0)
    wins, losses = int((d > 0.5).sum()), int((d < -0.5).sum())
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
