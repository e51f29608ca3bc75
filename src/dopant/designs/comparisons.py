"""What the cells of a factorial are compared for: main effects, simple effects, interactions of two factors.

A main effect is the mean over all places where both levels were trained with everything else equal; a simple effect is
that mean at one level of one other factor. An interaction is the difference of differences: how much more one factor's
level is worth at the other's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

from .base import Contrast
from .fraction import Fraction
from .levels import Levels, Place


def main_effects(
    factors: Mapping[str, Levels], name: Callable[[Place], str], trained: set[str], factor: str
) -> Iterator[Contrast]:
    """Of one factor, level by level against its first. name: what the cell of a place is called; trained: those names.

    A mean over several cells has its simple effects with it: told where an interaction says that it is no one's effect.
    """
    first, *others = factors[factor]
    for level in others:
        pairs = _pairs(factors, name, trained, factor, level, {})
        if not pairs:
            continue
        if len(factors) == 1:
            yield Contrast(level, level, first)
            continue
        simple = tuple(_simple_effects(factors, name, trained, factor, level)) if len(pairs) > 1 else ()
        yield _mean_effect(factors, factor, level, pairs, "", "main" if len(pairs) > 1 else "level", simple)


def _simple_effects(
    factors: Mapping[str, Levels], name: Callable[[Place], str], trained: set[str], factor: str, level: str
) -> Iterator[Contrast]:
    """The effect of one level at each level of each other factor, by itself."""
    for other, levels in factors.items():
        for at in levels if other != factor else ():
            pairs = _pairs(factors, name, trained, factor, level, {other: at})
            if pairs:
                of = (f"{factor}={level}", *(f"{other}={x}" for x in list(levels)[1:]))
                yield _mean_effect(factors, factor, level, pairs, f" at {other}={at}", "simple", of=of, at={other})


def _pairs(
    factors: Mapping[str, Levels], name: Callable[[Place], str], trained: set[str], factor: str, level: str, at: Place
) -> list[tuple[str, str]]:
    """(cell, its partner at the factor's first level) of every place of the others, or those with `at`, where both were
    trained."""
    found = []
    for others in _combinations(_rest(factors, {factor, *at})):
        one, two = (
            name({f: {**others, **at, factor: x}[f] for f in factors}) for x in (level, next(iter(factors[factor])))
        )
        if {one, two} <= trained:
            found.append((one, two))
    return found


def _mean_effect(
    factors: Mapping[str, Levels],
    factor: str,
    level: str,
    pairs: Sequence[tuple[str, str]],
    where: str,
    role: str,
    simple: tuple[Contrast, ...] = (),
    of: tuple[str, ...] = (),
    at: set[str] | None = None,
) -> Contrast:
    cell, versus = f"{factor}={level}{where}", f"{factor}={next(iter(factors[factor]))}{where}"
    swap, whole = cell, len(list(_combinations(_rest(factors, {factor} | (at or set())))))
    if len(pairs) < whole:  # the partners differ from level to level, and so must the names of their means
        some = f"{len(pairs)} cell{'s' if len(pairs) > 1 else ''}"
        cell, versus = f"{cell} ({some})", f"{versus} (the same {some} as for {level})"
    plus, minus = zip(*pairs, strict=True)
    return Contrast(swap, cell, versus, role=role, of=of, plus=_mean(plus), minus=_mean(minus), simple=simple)


def interactions(factors: Mapping[str, Levels], name: Callable[[Place], str], trained: set[str]) -> Iterator[Contrast]:
    """Of each two factors, each two levels beside the first ones."""
    for one, two in itertools.combinations(factors, 2):
        for a, b in itertools.product(list(factors[one])[1:], list(factors[two])[1:]):
            a0, b0 = next(iter(factors[one])), next(iter(factors[two]))
            found: dict[tuple[str, str], list[str]] = {}
            for others in _combinations(_rest(factors, {one, two})):
                corners = {
                    (x, y): name({f: {**others, one: x, two: y}[f] for f in factors}) for x in (a, a0) for y in (b, b0)
                }
                if trained.issuperset(corners.values()):
                    for corner, cell in corners.items():
                        found.setdefault(corner, []).append(cell)
            if found:
                added = _mean(found[a, b0]) + _mean(found[a0, b]) + _mean(found[a0, b0], -1)
                label = f"{one}={a} x {two}={b}"
                yield Contrast(
                    label, label, f"{one}={a} + {two}={b}", role="interaction",
                    of=(f"{one}={a}", f"{two}={b}"), plus=_mean(found[a, b]), minus=added,
                )  # fmt: skip


def fraction_effects(factors: Mapping[str, Levels], name: Callable[[Place], str], part: Fraction) -> Iterator[Contrast]:
    """Main effects, then what can be told of interactions of two factors, of a fraction of two-level factors.

    A main effect is the mean over all cells with the second level less that over all with the first: other factors are
    balanced between the two. Interactions of two factors whose columns are equal are one effect, which is called by all
    of them and belongs to none; those aliased with a main effect are left out.
    """
    names = list(factors)
    first, second = ([list(levels)[x] for levels in factors.values()] for x in (0, 1))
    cells = {run: name({f: (first, second)[x][i] for i, (f, x) in enumerate(zip(names, run, strict=True))})
             for run in part.runs()}  # fmt: skip

    def mean(wanted: Mapping[int, int]) -> list[str]:
        return [cell for run, cell in cells.items() if all(run[i] == x for i, x in wanted.items())]

    for i, factor in enumerate(names):
        cell, versus, same = f"{factor}={second[i]}", f"{factor}={first[i]}", part.aliases(1 << i)
        pairs = [" x ".join(names[n] for n in range(len(names)) if w >> n & 1) for w in same]
        label = cell + (f" (aliased with {', '.join(pairs)})" if same else "")
        yield Contrast(label, cell, versus, role="main", plus=_mean(mean({i: 1})), minus=_mean(mean({i: 0})))
    told: set[int] = set()
    for i, j in itertools.combinations(range(len(names)), 2):
        word = 1 << i | 1 << j
        others = part.aliases(word)
        if word in told or any(other.bit_count() == 1 for other in others):
            continue
        told |= {word, *others}
        pairs = [[n for n in range(len(names)) if w >> n & 1] for w in (word, *others)]
        label = " + ".join(" x ".join(f"{names[n]}={second[n]}" for n in pair) for pair in pairs)
        of = (f"{names[i]}={second[i]}", f"{names[j]}={second[j]}")
        added = _mean(mean({i: 1, j: 0})) + _mean(mean({i: 0, j: 1})) + _mean(mean({i: 0, j: 0}), -1)
        versus = "what these add to main effects" if others else " + ".join(of)
        plus, of = _mean(mean({i: 1, j: 1})), () if others else of
        yield Contrast(label, label, versus, role="interaction", of=of, plus=plus, minus=added)


def _rest(factors: Mapping[str, Levels], without: set[str]) -> dict[str, list[str]]:
    return {f: list(levels) for f, levels in factors.items() if f not in without}


def _mean(cells: Sequence[str], sign: int = 1) -> tuple[tuple[str, float], ...]:
    return tuple((cell, sign / len(cells)) for cell in cells)


def _combinations(factors: Mapping[str, list[str]]) -> Iterator[Place]:
    for levels in itertools.product(*factors.values()):
        yield dict(zip(factors, levels, strict=True))
