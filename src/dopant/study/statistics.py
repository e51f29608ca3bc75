"""The numbers behind an effect: pure functions of paired differences.

`differences` has the shape (…, replicate): leading axes are independent studies, computed at once. Where there is no
spread, or fewer than two replicates, intervals and t tests are NaN: nothing can be estimated, whatever a formula says
(SciPy answers 0.0 or NaN there); the verdicts find words for those cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats
from scipy.optimize import brentq

ALPHA = 0.05
POWER = 0.80
EXACT_UP_TO = 20  # replicates: all sign flips are enumerated up to here
DRAWS = 99_999  # random sign flips beyond
P_FROM = 6  # replicates: with five, the smallest two-sided sign-flip p is 0.0625
MOST_REPLICATES = 10_000  # where the search for a sufficient number ends


@dataclass(frozen=True)
class Interval:
    """mean, sd (of one difference), error (standard error of the mean), low, high: each of shape (…)."""

    mean: np.ndarray
    sd: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray


def standard_error(sd: np.ndarray | float, n: int, resplit: float = 0.0) -> np.ndarray:
    """Standard error of a mean over n replicates: sd * sqrt(1/n + resplit).

    resplit: n_test / n_train where replicates draw new splits of one pool, so that their training sets overlap; else 0.
    Source: Nadeau and Bengio 2003, Machine Learning 52, eq. 8.
    """
    return np.asarray(sd, float) * math.sqrt(1 / n + resplit)


def paired_interval(differences: np.ndarray, *, resplit: float = 0.0, level: float = 1 - ALPHA) -> Interval:
    """Paired t interval of the mean difference, with the corrected variance of `standard_error`.

    differences: (…, replicate). NaN bounds below two replicates or without any spread.
    """
    d = np.asarray(differences, float)
    n = d.shape[-1]
    nothing = np.full(d.shape[:-1], np.nan)
    if n == 0:
        return Interval(nothing, nothing, nothing, nothing, nothing)
    mean = d.mean(-1)
    if n == 1:
        return Interval(mean, nothing, nothing, nothing, nothing)
    sd = _sd(d)
    error = standard_error(sd, n, resplit)
    half = np.where(sd > 0, stats.t.ppf(0.5 + level / 2, n - 1) * error, np.nan)
    return Interval(mean, sd, error, mean - half, mean + half)


def _sd(x: np.ndarray) -> np.ndarray:
    # The mean of equal numbers may be off in its last digit, which would leave a spread where there is none.
    return np.where(np.ptp(x, axis=-1) > 0, x.std(-1, ddof=1), 0.0)


def unpaired_interval(
    a: np.ndarray, b: np.ndarray, *, resplit: float = 0.0, level: float = 1 - ALPHA
) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of mean(a) - mean(b) as if the replicates were not paired: Welch's interval.

    a, b: (…, replicate). With `resplit` each variance is corrected as in `standard_error`, so that the two intervals
    differ by the pairing alone. NaN below two replicates or without any spread.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    n, m = a.shape[-1], b.shape[-1]
    if min(n, m) < 2:
        nothing = np.full(a.shape[:-1], np.nan)
        return nothing, nothing
    plain_a, plain_b = _sd(a) ** 2 / n, _sd(b) ** 2 / m
    spread = plain_a + plain_b > 0
    freedom = np.divide(
        (plain_a + plain_b) ** 2,
        plain_a**2 / (n - 1) + plain_b**2 / (m - 1),
        out=np.ones(spread.shape),
        where=spread,
    )
    error = np.sqrt(plain_a * (1 + n * resplit) + plain_b * (1 + m * resplit))
    half = np.where(spread, stats.t.ppf(0.5 + level / 2, freedom) * error, np.nan)
    mean = a.mean(-1) - b.mean(-1)
    return mean - half, mean + half


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation over replicates: what the pairing achieved. NaN where either arm is constant."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape[-1] < 2:
        return np.full(a.shape[:-1], np.nan)
    scale = _sd(a) * _sd(b) * (a.shape[-1] - 1)
    together = ((a - a.mean(-1, keepdims=True)) * (b - b.mean(-1, keepdims=True))).sum(-1)
    return np.divide(together, scale, out=np.full(scale.shape, np.nan), where=scale > 0)


def t_test(mean: np.ndarray, error: np.ndarray, n: int) -> np.ndarray:
    """Two-sided p of the paired t test from its mean and standard error. NaN where the error is zero or NaN."""
    return 2 * stats.t.sf(np.abs(_ratio(mean, error)), n - 1)


def equivalence_test(mean: np.ndarray, error: np.ndarray, n: int, margin: float) -> np.ndarray:
    """p of equivalence within ±margin: the larger of two one-sided t tests (Schuirmann 1987)."""
    above = stats.t.sf(_ratio(np.asarray(mean) + margin, error), n - 1)
    return np.maximum(above, at_most_test(mean, error, n, margin))


def at_most_test(mean: np.ndarray, error: np.ndarray, n: int, margin: float) -> np.ndarray:
    """p of 'the true mean is below +margin' (one-sided t test): equivalent or worse, but not better by the margin."""
    return stats.t.cdf(_ratio(np.asarray(mean) - margin, error), n - 1)


def _ratio(numerator: np.ndarray, error: np.ndarray) -> np.ndarray:
    numerator, error = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(error, float))
    return np.divide(numerator, error, out=np.full(error.shape, np.nan), where=error > 0)


def sign_flip_test(differences: np.ndarray, *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Two-sided p of 'each difference might as well have had the other sign', statistic |sum|.

    differences: (…, replicate) -> (…). Up to 20 replicates all 2**n flips are counted (half of them, by symmetry),
    beyond that `draws` random ones from `seed`, the observed one included: p = (hits + 1) / (draws + 1).
    The replicates must be independent. Those that re-split one pool are not, and p is too small for them: at a
    correlation of 0.25 of ten differences, three in ten studies without an effect have p below 0.05.
    Cost: 2**(n-1) additions a study, or n * draws.
    """
    d = np.asarray(differences, float)
    n = d.shape[-1]
    if n == 0:
        return np.full(d.shape[:-1], np.nan)
    rows = d.reshape(-1, n)
    # Sums that are equal on paper may differ in the last digits; a grid of accuracies is far coarser than 1e-10.
    bar = np.abs(rows.sum(1)) - 1e-10 * np.abs(rows).sum(1)
    p = np.empty(len(rows))
    step = max(1, 2**22 // 2 ** min(n - 1, EXACT_UP_TO))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        if n <= EXACT_UP_TO:
            p[part] = (np.abs(_all_flips(rows[part])) >= bar[part, None]).mean(1)
        else:
            p[part] = (_random_hits(rows[part], bar[part], draws, seed) + 1) / (draws + 1)
    p[~np.isfinite(bar)] = np.nan
    return p.reshape(d.shape[:-1])


def _all_flips(rows: np.ndarray) -> np.ndarray:
    """(study, 2**(n-1)) sums under every pattern of signs with the first sign kept."""
    sums = rows[:, :1]
    for k in range(1, rows.shape[1]):
        sums = np.concatenate([sums + rows[:, k : k + 1], sums - rows[:, k : k + 1]], axis=1)
    return sums


def _random_hits(rows: np.ndarray, bar: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """How many random patterns of signs give a sum of at least `bar`; eight signs at once by a table of their sums."""
    patterns = _random_signs(rows.shape[1], draws, seed)
    padded = np.zeros((len(rows), len(patterns), 8))
    padded.reshape(len(rows), -1)[:, : rows.shape[1]] = rows
    sums_of_eight = padded @ _SIGNS_OF_BYTE.T
    hits = np.zeros(len(rows))
    for i, tables in enumerate(sums_of_eight):
        sums = tables[0][patterns[0]]
        for table, pattern in zip(tables[1:], patterns[1:], strict=True):
            sums += table[pattern]
        hits[i] = (np.abs(sums) >= bar[i]).sum()
    return hits


_SIGNS_OF_BYTE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1) * 2.0 - 1.0


@lru_cache(maxsize=2)
def _random_signs(n: int, draws: int, seed: int) -> np.ndarray:
    """(ceil(n / 8), draws) bytes of random signs, a set bit for plus: the same for all effects of n replicates."""
    generator = np.random.default_rng(seed)
    parts = []
    for start in range(0, draws, 10_000):
        bits = generator.integers(0, 2, (min(10_000, draws - start), n), dtype=np.int8)
        parts.append(np.packbits(bits.astype(bool), axis=1))
    return np.ascontiguousarray(np.concatenate(parts).T)


def smallest_p(n: int, draws: int = DRAWS) -> float:
    """The floor of `sign_flip_test`: 2**(1-n) for the exact test, at least 1/(draws+1) for random flips."""
    return 2.0 ** (1 - n) if n <= EXACT_UP_TO else max(2.0 ** (1 - n), 1 / (draws + 1))


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm-adjusted p values of one family. A NaN (not known yet) counts in the family as 1 and stays NaN."""
    p = np.asarray(p, float)
    known = np.where(np.isnan(p), 1.0, p)
    order = np.argsort(known, kind="stable")
    stepped = np.maximum.accumulate(known[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return np.where(np.isnan(p), np.nan, adjusted)


@lru_cache(maxsize=4096)
def noncentrality(n: int, alpha: float = ALPHA, power: float = POWER, sides: int = 2) -> float:
    """True mean, in standard errors, at which a t test of n replicates has this power (noncentral t)."""
    critical = float(stats.t.isf(alpha / sides, n - 1))

    def missing(shift: float) -> float:
        return float(stats.nct.sf(critical, n - 1, shift)) - power  # the other tail adds less than 1e-5 at 80 %

    high = critical + 5.0
    while missing(high) < 0:
        high *= 2
    return float(brentq(missing, 0.0, high, xtol=1e-9))  # pyright: ignore[reportArgumentType]


def smallest_detectable(
    sd: np.ndarray | float, n: int, *, resplit: float = 0.0, alpha: float = ALPHA, power: float = POWER
) -> np.ndarray:
    """The true mean difference that a paired t test of n replicates finds with this power at this sd. NaN: n < 2.

    alpha: the level of that test, 0.05 / m for one of m swaps under Holm (its first step, which is safe for any step).
    """
    if n < 2:
        return np.full(np.shape(sd), np.nan)
    return standard_error(sd, n, resplit) * noncentrality(n, alpha, power)


def replicates_needed(
    effect: float, sd: float, *, resplit: float = 0.0, alpha: float = ALPHA, power: float = POWER, sides: int = 2
) -> float:
    """Replicates at which a t test finds a true mean `effect` with this power at this sd.

    inf where 10,000 would not do: the effect is tiny, or overlapping training sets (`resplit`) keep the error up.
    """
    if not (math.isfinite(effect) and math.isfinite(sd)):
        return math.nan
    if sd == 0:
        return math.nan if effect == 0 else 2

    def enough(n: int) -> bool:
        return float(standard_error(sd, n, resplit)) * noncentrality(n, alpha, power, sides) <= abs(effect)

    if not enough(MOST_REPLICATES):
        return math.inf
    low, high = 1, MOST_REPLICATES  # `low` is not enough, `high` is
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def item_error(a: Sequence[np.ndarray], b: Sequence[np.ndarray], *, same_items: bool) -> float:
    """Standard error of the mean difference that comes from the finite test set, the arms paired item by item.

    a, b: one array of per-item values (such as correct or not) a replicate, in the same order of items.
    same_items: every replicate was tested on the same items. Then each item's difference is averaged over replicates
    and the error taken over items. Else it is the root mean square of the replicates' own errors: an upper bound,
    reached when the test sets overlap wholly. NaN where the arms' items differ in number.
    """
    pairs = [(np.asarray(x, float).ravel(), np.asarray(y, float).ravel()) for x, y in zip(a, b, strict=True)]
    if not pairs or any(x.shape != y.shape or x.size < 2 for x, y in pairs):
        return math.nan
    differences = [x - y for x, y in pairs]
    if same_items:
        if len({d.size for d in differences}) > 1:
            return math.nan
        differences = [np.mean(differences, axis=0)]
    squares = [d.var(ddof=1) / d.size for d in differences]
    return float(np.sqrt(np.mean(squares)))
