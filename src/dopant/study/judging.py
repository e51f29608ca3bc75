"""One effect judged: its direction, then its verdict in words. The rule stands in `verdicts`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..designs.entries import HOST
from . import statistics as st
from .families import IN_FAMILY, RACE
from .pairs import Effect
from .power import with_flips

LEADS = "leads the race: only fresh replicates can judge it"
COMPARED = ("control", "swap-versus-control", "baseline", "interaction", "simple")  # only a comparison, no verdict
ESTIMATE_BELOW = 10  # replicates


def directed(row: Effect) -> Effect:
    """The row with its direction, and the replicates that would tell where there is none."""
    if row.incomplete or row.replicates < 2:
        return row
    n, side = row.replicates, "better" if row.mean > 0 else "worse"
    p = row.p_holm if row.role in IN_FAMILY else row.p
    flips = n >= st.P_FROM and not row.resplit  # do sign flips have a say?
    in_reach = flips and st.smallest_p(n) * row.reach <= st.ALPHA
    row = replace(row, out_of_reach=flips and not in_reach)
    if row.spread != "some":
        if in_reach and p <= st.ALPHA:
            return replace(row, direction=side)
        needed = math.nan if row.spread == "identical" or row.resplit else float(max(_least(row), n + 1))
        return replace(row, direction="unclear", replicates_needed=needed)
    if not (math.isfinite(row.low) and math.isfinite(row.high)):
        return replace(row, direction="unclear")
    if row.low <= 0 <= row.high:
        blocked = "outside"
    elif row.p_t > st.ALPHA and not (row.role == RACE and in_reach):
        blocked = "holm"
    elif row.role in IN_FAMILY and in_reach and p > st.ALPHA:
        blocked = "sign flips"
    else:
        return replace(row, direction=side)
    return replace(row, direction="unclear", blocked=blocked.replace("outside", ""), replicates_needed=_needed(row))


def _needed(row: Effect) -> float:
    """Replicates that would show a direction or, where there is a margin, equivalence: the smaller number.

    A direction of what stands in a family needs the sign flips too, which have less power than the t test while few.
    Equivalence is planned one-sided with half of the allowed misses on each side, which is safe for any mean.
    """
    alpha = st.ALPHA / row.family
    found = st.replicates_needed(row.mean, row.sd, resplit=row.resplit, alpha=alpha)
    if row.role in IN_FAMILY and not row.resplit:
        found = with_flips(found, row.mean, row.sd, alpha=alpha, flips=st.ALPHA / row.reach)
    if abs(row.mean) < row.margin:
        power = 1 - (1 - st.POWER) / 2
        room = row.margin - abs(row.mean)
        found = min(found, st.replicates_needed(room, row.sd, resplit=row.resplit, power=power, sides=1))
    return float(max(found, _least(row), row.replicates + 1))


def _least(row: Effect) -> int:
    """The fewest replicates at which the sign-flip p, where it has a say, can reach 0.05 after Holm in the family."""
    if row.resplit:
        return 2
    return next(n for n in range(st.P_FROM, 64) if 2.0 ** (1 - n) * row.reach <= st.ALPHA)


def judged(row: Effect, labels: Mapping[str, str], ablations: frozenset[str] = frozenset()) -> Effect:
    """The row with its verdict in words: the truth table."""
    prefix = "estimate: " if row.replicates < ESTIMATE_BELOW else ""
    prefix += "untuned: " if row.untuned else ""
    word, needed = _compared(row) if row.role in COMPARED else _truth(row, labels, ablations)
    return replace(row, verdict=prefix + word, replicates_needed=needed)


def _compared(row: Effect) -> tuple[str, float]:
    if row.role == "interaction":
        words = {"better": "more than additive", "worse": "less than additive"}
        word = "additive" if row.equivalence else words.get(row.direction, "cannot tell")
        return word, row.replicates_needed if word == "cannot tell" else math.nan
    if row.equivalence:
        return "equivalent to", math.nan
    if row.direction in ("better", "worse"):
        return f"{row.direction} than", math.nan
    return "cannot tell", row.replicates_needed


def _truth(row: Effect, labels: Mapping[str, str], ablations: frozenset[str]) -> tuple[str, float]:
    """(words, replicates needed) of a level or variant."""
    if row.direction == "withheld":
        return "cannot tell", math.nan
    if row.chosen:
        return LEADS, math.nan
    average = " on average" if row.role == "main" else ""
    if row.equivalence:
        return f"no difference{average}", math.nan
    if row.direction == "worse":
        return f"worse{average}", math.nan
    if row.direction == "unclear":
        return "cannot tell", row.replicates_needed
    if row.role == "main":
        return "better on average", math.nan
    if not row.against:
        return f"cannot tell: {_ahead(row)}, but no control was run", math.nan
    explains = [c for c in row.against if c.at_most or c.direction == "worse"]
    if explains:
        return "explained by " + listed([labels[c.versus] for c in explains]), math.nan
    unbeaten = [c for c in row.against if c.direction != "better"]
    if not unbeaten and ablations.issuperset(c.versus for c in row.against):
        # what lacks a part of the component does less; an ordinary module, which has none of it, may yet do the same
        return f"cannot tell: {_ahead(row)}, but only ablations stood beside it, and no ordinary module", math.nan
    if not unbeaten:
        return "beyond the ordinary", math.nan
    names = listed([labels[c.versus] for c in unbeaten])
    words = f"cannot tell: {_ahead(row)}, but not shown better than {names}"
    known = [c.replicates_needed for c in unbeaten if not math.isnan(c.replicates_needed)]
    return words, max(known, default=math.nan)


def _ahead(row: Effect) -> str:
    return "better than the host" if row.versus == HOST else "better than the level below"


def listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
