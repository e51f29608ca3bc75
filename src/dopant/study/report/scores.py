"""The scores that the charts draw: of each cell the mean over its finished trials, with its interval, by replicate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import statistics as st
from ..scored import higher_is_better_of
from .tables import Entry, Header, Table
from .words import Measure, clean, difference, is_missing, measure_of, score


@dataclass(frozen=True)
class Reached:
    """What one cell reached. sd: of one replicate. values: {replicate: score} of its finished trials.

    low, high: 95 % t interval of the mean, with the variance of Nadeau and Bengio where replicates re-split one pool;
    NaN below two replicates or without any spread; of a share cut at 0 and 1, as learning curves are.
    """

    cell: str
    mean: float
    sd: float
    low: float
    high: float
    values: Mapping[Any, float] = field(repr=False)

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def whole(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


DOTS = 600  # more replicates than this in one figure are not drawn: a page has a size, and nobody could tell them apart


def dotted(found: Iterable[Reached | None]) -> bool:
    """Whether the replicates of these cells are drawn one by one."""
    return sum(one.n for one in found if one is not None) <= DOTS


@dataclass(frozen=True)
class Chart:
    """A figure of the page. pictures: one for each width, or a single one. panels: small figures (heading, role,
    number, picture) instead. table: every number drawn."""

    key: str
    title: str
    pictures: list[Any] = field(default_factory=list)
    panels: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    table: Table | None = None
    folded: bool = False


@dataclass(frozen=True)
class Panel:
    """One small figure with its heading."""

    name: str
    role: str
    said: str
    picture: Any


def kind_of_design(answer: Any) -> str:
    """`ladder`, `factorial` and so on; empty for results from elsewhere."""
    design = getattr(getattr(answer, "config", None), "design", None)
    if design is not None:
        return str(design.kind)
    table = (getattr(answer, "study", None) or {}).get("design")
    return str(table.get("kind", "")) if isinstance(table, Mapping) else ""


def metric_drawn(answer: Any) -> Measure:
    """The metric of the effects; of a study that has none yet, its primary one."""
    found = measure_of(answer)
    if found.name or not isinstance(getattr(answer, "metric", None), tuple):
        return found
    return measure_of(answer, answer.metric[1])


def higher_is_better(answer: Any) -> bool:
    known = getattr(answer, "metric", None)
    return bool(known[2]) if isinstance(known, tuple) else higher_is_better_of(metric_drawn(answer).name)


def cells_drawn(answer: Any) -> list[Any]:
    """The cells of the primary estimand: of a cell that was trained tuned and under the study's recipe, one."""
    cells = list(getattr(answer, "cells", None) or [])
    twice = {c.name for c in cells if getattr(c, "drop_in", False)}
    if not twice:
        return cells
    from ..estimands import is_primary
    from ..search import DROP_IN, SUFFIX

    if is_primary(answer) != DROP_IN:
        return [c for c in cells if c.name not in twice]
    return [c for c in cells if c.name + SUFFIX not in twice]


def reached(answer: Any) -> dict[str, Reached]:
    """{cell: what it reached}, of the cells that have a finished trial with a finite score."""
    metric = metric_drawn(answer)
    table, column = answer.trials, metric.name
    if column not in getattr(table, "columns", ()) or "cell" not in table.columns:
        return {}
    if "status" in table.columns:
        table = table[table["status"] == "done"]
    if "phase" in table.columns:
        table = table[table["phase"] != "tuning"]
    ask = getattr(answer, "resplit", None)
    resplit: Any = (ask() if callable(ask) else None) or 0.0
    by_cell: dict[str, dict[Any, float]] = {}
    replicates = table["replicate"] if "replicate" in table.columns else range(len(table))
    for cell, replicate, value in zip(table["cell"], replicates, table[column], strict=True):
        if not is_missing(value) and math.isfinite(value):
            by_cell.setdefault(cell, {})[replicate] = float(value)
    found = {}
    for cell, values in by_cell.items():
        one = st.paired_interval(np.array(list(values.values())), resplit=resplit)
        low, high = float(one.low), float(one.high)
        if metric.share:  # no accuracy is below 0 or above 1; comparisons with NaN keep it
            low, high = (0.0 if low < 0 else low), (1.0 if high > 1 else high)
        found[cell] = Reached(cell, float(one.mean), float(one.sd), low, high, values)
    return found


def listed(found: Iterable[tuple[str, Reached | None]], metric: Measure, first: str = "cell") -> Table:
    """The numbers of a figure: name, mean, interval and number of replicates of each cell."""
    headers = [
        Header("name", first), Header("mean", f"{metric.label}, mean", "over finished trials", True),
        Header("sd", f"SD{', pp' if metric.share else ''}", "standard deviation of one replicate", True),
        Header("low", "95 % low", "t interval of the mean", True),
        Header("high", "95 % high", "t interval of the mean", True), Header("n", "n", "finished trials", True),
    ]  # fmt: skip
    rows = []
    for name, one in found:
        mean, sd, low, high = (math.nan,) * 4 if one is None else (one.mean, one.sd, one.low, one.high)
        n = 0 if one is None else one.n
        spread = exact(sd, difference(sd, metric, signed=False))
        scores = [exact(v, score(v, metric)) for v in (mean, low, high)]
        rows.append([Entry(clean(name)), scores[0], spread, *scores[1:], Entry(str(n), str(n), "number")])
    return Table(headers, rows)


def exact(value: float, shown: str) -> Entry:
    """A number as it is shown, its exact value beside it."""
    return Entry(shown, None if is_missing(value) else repr(float(value)), "number")


def said(name: str, one: Reached, metric: Measure) -> str:
    """What a mark says when it is pointed at: `level 1: 91.62 % [90.10, 93.00 %], n = 6`."""
    between = f" [{score(one.low, metric)}, {score(one.high, metric)}]" if one.whole else ""
    return f"{clean(name)}: {score(one.mean, metric)}{between}, n = {one.n}"


def replicates_note(found: Iterable[Reached | None]) -> list[str]:
    """A sentence where there are too many replicates to draw each."""
    return [] if dotted(found) else ["The replicates are too many to draw each; see the table of trials."]


def failed_note(answer: Any) -> list[str]:
    """A sentence where trials failed: the effects count them, a mean of scores does not."""
    failed = (getattr(answer, "counts", None) or {}).get("failed", 0)
    if not failed:
        return []
    return [
        f"Means are over finished trials: the {failed} that failed are in the effects, at the task's failure value, "
        "and not here."
    ]
