"""Pauli strings closed under commutators: what rotations about them generate together."""

from __future__ import annotations

from collections.abc import Iterable

Bits = tuple[int, int]  # which letters contain an X, which a Z; the first letter is the most significant bit


def bits(letters: str) -> Bits:
    x = z = 0
    for letter in letters:
        x, z = x << 1 | (letter in "XY"), z << 1 | (letter in "YZ")
    return x, z


def letters(of: Bits, n: int) -> str:
    x, z = of
    return "".join("IXZY"[(x >> i & 1) | (z >> i & 1) << 1] for i in reversed(range(n)))


def anticommute(a: Bits, b: Bits) -> bool:
    return bool(((a[0] & b[1]).bit_count() + (a[1] & b[0]).bit_count()) % 2)


def closure(strings: Iterable[str], most: int | None = None) -> list[str]:
    """The strings and all their nested commutators, which are strings up to a factor, in the order of discovery.

    The identity commutes with everything and is left as it is. Stops once it has more than `most`. Exact.
    Commutators with the generators are enough: nested ones span the algebra (Jacobi).
    """
    words = list(dict.fromkeys(strings))
    if not words:
        return []
    n = len(words[0])
    generators = [bits(w) for w in words]
    found = dict.fromkeys(generators)
    if len(found) - ((0, 0) in found) == 4**n - 1:
        return words
    queue = list(found)
    while queue and (most is None or len(found) <= most):
        new: dict[Bits, None] = {}
        for a in queue:
            for g in generators:
                if anticommute(a, g):
                    product = (a[0] ^ g[0], a[1] ^ g[1])
                    if product not in found:
                        found[product] = new[product] = None
        queue = list(new)
    return [letters(b, n) for b in found]
