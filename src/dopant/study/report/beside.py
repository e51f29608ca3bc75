"""What stands beside the effects: how they were decided, how a factorial shares its difference, complete cases."""

from __future__ import annotations

import math
from typing import Any

from .tables import Entry, Header, Table, effects
from .words import Measure, clean, difference, plain

MOST = 60  # rows of Shapley values that are shown


def decided(answer: Any) -> list[tuple[str, str]]:
    """(what, how) of the analysis as it was written down; empty where it was not."""
    plan = getattr(answer, "decided", None) or {}
    return [(plain(key), clean(value)) for key, value in plan.items()]


def shapley(answer: Any, metric: Measure) -> Table | None:
    """Each factor's share of each full combination's difference; None where there is no such game."""
    frame = getattr(answer, "shapley", None)
    if frame is None or not len(frame):
        return None
    unit = ", pp" if metric.share else ""
    headers = [
        Header("combination", "combination"), Header("factor", "factor"), Header("level", "level"),
        Header("value", f"Shapley value{unit}", "what the factor adds, over all orders of changing them", True),
        Header("total", f"whole difference{unit}", "of the combination against the first cell; the sum", True),
        Header("replicates", "n", "replicates in which every cell of the game has a score", True),
    ]  # fmt: skip

    def number(value: float) -> Entry:
        return Entry(difference(value, metric), None if math.isnan(value) else repr(float(value)), "number")

    rows = [
        [
            Entry(clean(r["combination"])), Entry(clean(r["factor"])), Entry(clean(r["level"])), number(r["value"]),
            number(r["total"]), Entry(str(r["replicates"]), str(r["replicates"]), "number"),
        ]
        for r in frame.head(MOST).to_dict("records")
    ]  # fmt: skip
    return Table(headers, rows, [], len(frame) - len(rows))


def complete_cases(answer: Any, metric: Measure) -> Table | None:
    """The effects without the pairs of failed trials; None where no trial failed."""
    frame = getattr(answer, "complete_cases", None)
    if frame is None or not len(frame):
        return None
    columns = ["swap", "versus", "role", "replicates", "failed", "mean", "low", "high", "p_holm", "verdict"]
    return effects(frame[[c for c in columns if c in frame.columns]], metric)
