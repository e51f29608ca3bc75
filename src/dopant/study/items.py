"""What the finite test set leaves open: a paired bootstrap over items, and the exact test of which arm gets more right.

Both are about these trained networks: items are drawn anew, networks are not. They stand beside the intervals over
replicates, which decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from .statistics import ALPHA

DRAWS = 4999  # resamples of the items; the ends of the interval then wander by about 3 % of its half-width
_AT_ONCE = 2**22  # numbers


def item_differences(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> np.ndarray | None:
    """(item,) mean over replicates of a's value minus b's; None where items are none, one, or differ in number.

    a, b: one array of per-item values a replicate, the same items in the same order in all of them.
    """
    pairs = [(np.asarray(x, float).ravel(), np.asarray(y, float).ravel()) for x, y in zip(a, b, strict=True)]
    sizes = {part.size for pair in pairs for part in pair}
    if len(sizes) != 1 or min(sizes) < 2:
        return None
    found = np.mean([x - y for x, y in pairs], axis=0)
    return found if np.isfinite(found).all() else None


def bootstrap_interval(
    differences: np.ndarray, *, draws: int = DRAWS, seed: int = 0, level: float = 1 - ALPHA
) -> tuple[float, float]:
    """(low, high): percentile bootstrap interval of the mean difference over items, both arms resampled together.

    differences: (item,). Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    A resample of a mean needs only how often each distinct value was drawn, so values of right and wrong answers, few
    of which are distinct, cost draws * values and not draws * items. (nan, nan) without any spread.
    """
    differences = np.asarray(differences, float)
    scale = float(np.abs(differences).max(initial=0.0)) or 1.0
    # Means that are equal on paper differ in their last digits, which would make each item's value its own.
    values, counts = np.unique(np.round(differences / scale, 12), return_counts=True)
    values = values * scale
    items = int(counts.sum())
    if len(values) < 2:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    step = max(1, _AT_ONCE // max(len(values), 1))
    for start in range(0, draws, step):
        size = min(step, draws - start)
        if len(values) <= items // 4:
            drawn = generator.multinomial(items, counts / items, size)
            means[start : start + size] = drawn @ values / items
        else:
            places = generator.integers(0, items, (size, items), dtype=np.int32)
            means[start : start + size] = np.repeat(values, counts)[places].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mcnemar_p(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """Exact two-sided p of 'an item is as likely to be got right by a alone as by b alone'. NaN unless all are 0 or 1.

    One replicate: McNemar's test (1947, Psychometrika 12), binomial on the items that one arm alone gets right.
    Several replicates tested on the same items: each item counts once, for the arm that got it right more often over
    the replicates (a sign test over items); counting it once a replicate would take repetitions for evidence.
    """
    pairs = [(np.asarray(x, float).ravel(), np.asarray(y, float).ravel()) for x, y in zip(a, b, strict=True)]
    if not pairs or not all(np.isin(part, (0.0, 1.0)).all() for pair in pairs for part in pair):
        return math.nan
    differences = item_differences(a, b)
    if differences is None:
        return math.nan
    for_a, for_b = int((differences > 1e-12).sum()), int((differences < -1e-12).sum())
    return float(stats.binomtest(for_a, for_a + for_b).pvalue) if for_a + for_b else 1.0
