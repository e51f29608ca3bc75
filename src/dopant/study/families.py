"""Effects that are asked about together: their common corrections, and the leader of a race."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from . import statistics as st
from .joint import joint_sign_flips, simultaneous
from .pairs import Effect

FAMILIES = (("level", "main"), ("interaction",), ("confirmed",))  # roles that are corrected for each other, by Holm
RACE = "race"  # the family that is corrected by max-|t| over joint sign flips
IN_FAMILY = (RACE, *(role for roles in FAMILIES for role in roles))


def with_holm(rows: list[Effect]) -> list[Effect]:
    """The rows, those of a family with Holm-adjusted p and what they can detect then; one without p counts as not
    significant."""
    rows = list(rows)
    for roles in FAMILIES:
        level = [i for i, row in enumerate(rows) if row.role in roles]
        by_flips, by_t = st.holm([rows[i].p for i in level]), st.holm([rows[i].p_t for i in level])
        for i, flips, t in zip(level, by_flips, by_t, strict=True):
            row, family = rows[i], len(level)
            least = st.smallest_detectable(row.sd, row.replicates, resplit=row.resplit, alpha=st.ALPHA / family)
            least = float(least) if row.spread == "some" else math.nan
            rows[i] = replace(
                row, p_holm=float(flips), p_t=float(t), family=family, reach=float(family), smallest_detectable=least,
                correction="holm",
            )  # fmt: skip
    return rows


def with_joint(rows: list[Effect]) -> list[Effect]:
    """The rows, the entries of a race with p by max-|t| over joint sign flips and with simultaneous intervals.

    Where entries are unfinished, p is multiplied by all entries over the finished ones: those and each of the others
    share the level by Bonferroni, which is valid, though not the p of the finished race. p_t is Holm's, for where sign
    flips have no say.
    """
    rows = list(rows)
    race = [i for i, row in enumerate(rows) if row.role == RACE]
    known = [i for i in race if not rows[i].incomplete and rows[i].replicates >= st.P_FROM]
    by_flips: dict[int, float] = {}
    if known:
        # A pair that was left out is no difference under any sign: it counts as 0.
        p = joint_sign_flips(np.array([np.nan_to_num(rows[i].differences) for i in known]))
        by_flips = dict(zip(known, p, strict=True))
    reach = len(race) / len(known) if known else 1.0
    for i, t in zip(race, st.holm([rows[i].p_t for i in race]), strict=True):
        row, family = rows[i], len(race)
        least = st.smallest_detectable(row.sd, row.replicates, resplit=row.resplit, alpha=st.ALPHA / family)
        sd = row.sd if row.spread == "some" else math.nan
        low, high = simultaneous(row.mean, sd, row.replicates, family, resplit=row.resplit)
        rows[i] = replace(
            row, p_holm=min(1.0, float(by_flips[i]) * reach) if i in by_flips else math.nan, p_t=float(t),
            smallest_detectable=float(least) if row.spread == "some" else math.nan, correction="max-t", family=family,
            reach=reach, low_joint=low, high_joint=high,
        )  # fmt: skip
    return rows


def with_leader(rows: list[Effect], leader: str | None) -> list[Effect]:
    """The rows, the leader of a race of two or more marked: what was picked for its score is over-stated by it."""
    race = [row for row in rows if row.role == RACE]
    ahead = [row for row in race if row.replicates and not row.incomplete and row.mean > 0]
    best = max(ahead, key=lambda row: row.mean).cell if ahead else None
    if len(race) < 2:
        return rows
    # what has come to lead since the leader was chosen is over-stated as well
    marked = {leader, best} - {None}
    return [replace(row, chosen=len(race)) if row.role == RACE and row.cell in marked else row for row in rows]
