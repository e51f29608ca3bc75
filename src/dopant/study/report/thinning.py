"""A long curve in few points that looks as the whole one does: no peak and no dip is lost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def kept(values: Sequence[float], points: int) -> list[int]:
    """Places of at most `points` of the values, in order: both ends, and the smallest and the largest of each of equal
    stretches between them.

    Evenly spread ones would miss what lasts an epoch or two, such as a loss that leaps and comes back. points: 4 or
    more. Values that are not finite are passed over where a stretch has others.
    """
    count = len(values)
    if count <= points:
        return list(range(count))
    stretches = (points - 2) // 2
    edges = [1 + round(i * (count - 2) / stretches) for i in range(stretches + 1)]
    found = {0, count - 1}
    for first, last in itertools.pairwise(edges):
        places = [i for i in range(first, last) if math.isfinite(values[i])] or list(range(first, last))[:1]
        if places:
            found |= {min(places, key=lambda i: values[i]), max(places, key=lambda i: values[i])}
    return sorted(found)
