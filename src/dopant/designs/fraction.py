"""Fractions of two-level factorials, of a stated resolution.

A fraction 2^(k-p) trains those combinations in which p products of factors, the generators, have one sign. Products
whose columns are then equal are aliased: their sum (or difference) is all that can be told. Resolution R: no product of
a factors is aliased with one of fewer than R - a. III keeps main effects apart from each other, IV also from
interactions of two factors, V also those from each other (Box, Hunter and Hunter 2005, Statistics for Experimenters,
chapter 6).
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

RESOLUTIONS = {"III": 3, "IV": 4, "V": 5}
MOST = 12  # factors: the search for generators tries sets of words


@dataclass(frozen=True)
class Fraction:
    """factors: how many. words: the generators, each the factors (bits) of a product of one sign throughout."""

    factors: int
    words: tuple[int, ...]

    def defining(self) -> frozenset[int]:
        """Every product of factors that has one sign throughout, the empty one among them."""
        found = {0}
        for word in self.words:
            found |= {word ^ other for other in found}
        return frozenset(found)

    @property
    def resolution(self) -> int:
        """The fewest factors of a product of one sign throughout; one more than there are factors in a whole design."""
        return min((word.bit_count() for word in self.defining() if word), default=self.factors + 1)

    def runs(self) -> list[tuple[int, ...]]:
        """The combinations that are trained: 1 where a factor is at its second level; that of all first levels first.

        Those in which every word has an even number of factors at their second level: of the fractions with this
        defining relation, up to signs, the one that has the combination of all first levels.
        """
        every = itertools.product((0, 1), repeat=self.factors)
        return [
            run for run in every if not any(sum(x for i, x in enumerate(run) if w >> i & 1) % 2 for w in self.words)
        ]

    def aliases(self, word: int, most: int = 2) -> list[int]:
        """Other products of at most `most` factors whose column is that of `word`, up to a sign."""
        found = (word ^ other for other in self.defining() if other)
        return sorted((w for w in found if 0 < w.bit_count() <= most), key=lambda w: (w.bit_count(), w))


@lru_cache(maxsize=64)
def fraction(factors: int, resolution: int) -> Fraction:
    """The smallest regular fraction of at least this resolution, and of those one of minimum aberration.

    Searched whole: of 2^k products those that could be generators, in the order of their length; of all sets of p that
    keep the resolution the one whose defining relation has the fewest of the shortest words, then of the next
    (Fries and Hunter 1980). Cost: below a second up to 8 factors; above, the first set found of the longest words.
    """
    for p in range(factors - 1, 0, -1):
        found = _search(factors, resolution, p)
        if found is not None:
            return found
    return Fraction(factors, ())


def _search(factors: int, resolution: int, p: int) -> Fraction | None:
    """The generator i defines the factor k - p + i as a product of the first k - p: words that are independent."""
    base = factors - p
    if (1 << base) < factors + 1:  # not even as many runs as there are main effects and a mean
        return None
    products = sorted(
        (w for w in range(1 << base) if w.bit_count() >= resolution - 1), key=lambda w: (-w.bit_count(), w)
    )
    best: tuple[list[int], Fraction] | None = None

    def extend(words: tuple[int, ...], defining: frozenset[int], start: int) -> None:
        nonlocal best
        if len(words) == p:
            counts = Counter(w.bit_count() for w in defining if w)
            score = [counts.get(n, 0) for n in range(1, factors + 1)]
            if best is None or score < best[0]:
                best = (score, Fraction(factors, words))
            return
        for i in range(start, len(products)):
            if best is not None and factors > 8:
                return
            word = products[i] | 1 << (base + len(words))
            more = {word ^ other for other in defining}
            if min(w.bit_count() for w in more) >= resolution:
                extend((*words, word), defining | more, i + 1)

    extend((), frozenset({0}), 0)
    return None if best is None else best[1]
