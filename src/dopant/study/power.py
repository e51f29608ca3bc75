"""How many replicates would tell, where exact sign flips must agree with the t test."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import stats

from .statistics import MOST_REPLICATES, POWER, paired_interval, sign_flip_test

STUDIES = 2_000  # simulated, from seed 0: the power is known to a standard error of 0.9 %
COARSE = 5  # so many replicates above the fewest that can reach the level, flips are as powerful as the t test
MOST_FLIPPED = 13  # and from more than these on their number is taken from the t test whatever the level


def with_flips(needed: float, effect: float, sd: float, *, alpha: float, flips: float, power: float = POWER) -> float:
    """The first number of replicates from `needed` on at which sign flips agree with this power.

    needed: what the t test alone asks for at `alpha` (`statistics.replicates_needed`). flips: the level of the flips'
    own p. There are 2**(n-1) flips, so p comes in steps: with six replicates at 0.05 all differences must have one
    sign, which has a power of 62 % where the t test has 80 %; with seven to nine it is 75 to 78 %, from ten on the same
    to one per cent. Above that, and for a number that is NaN or infinite, `needed` stays.
    Cost: up to a second for a level that is new, then nothing.
    """
    if not math.isfinite(needed) or needed > MOST_REPLICATES or not sd > 0:
        return needed
    fewest = 1 + math.ceil(-math.log2(flips))  # 2**(1-n) <= flips
    n = max(int(needed), fewest)
    while n <= min(fewest + COARSE, MOST_FLIPPED) and detectable(n, alpha, flips, power) > abs(effect) / sd:
        n += 1
    return float(n)


@lru_cache(maxsize=512)
def detectable(n: int, alpha: float, flips: float, power: float = POWER) -> float:
    """True mean, in sd, that the t test at `alpha` and the exact sign flips at `flips` both find with this power.

    Normal differences, simulated; the same draws for every mean. inf where n flips cannot reach the level.
    """
    if 2.0 ** (1 - n) > flips:
        return math.inf
    noise = np.random.default_rng(0).standard_normal((STUDIES, n))

    def found(mean: float) -> float:
        d = noise + mean
        told = paired_interval(d, level=1 - alpha).low > 0
        told[told] = sign_flip_test(d[told]) <= flips
        return float(told.mean())

    low, high = 0.0, float(stats.norm.ppf(power)) + 4.0
    while high - low > 0.002:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high
