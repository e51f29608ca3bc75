"""Numbers that were published of the end of training, beside what was measured there: pure functions.

A `[[figure]]` of published.toml is one number of one cell: part, data (the published name), cell, metric (a column of
`Answer.trials`, such as test_accuracy, test_ssim, cost_trainable), value, perhaps sd and n (runs), known (how it is
known: read in the paper, recomputed from the authors' files, from memory: a target to check), perhaps note.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ..errors import ConfigError
from ..study.statistics import ALPHA
from .compare import KINDS, NONE, difference_interval
from .paper import Paper

POINT = "point"
POINT_MEANING = "a published number without a spread: the t interval of the measured mean, moved to the difference"


@dataclass(frozen=True)
class Figure:
    """One published number; see the module."""

    cell: str
    metric: str
    value: float
    known: str
    data: str
    part: str = ""
    sd: float = math.nan
    n: int = 0
    note: str = ""


@dataclass(frozen=True)
class FigureLine:
    """A cell's published and measured number in one metric. values: of the finished replicates. low, high: of measured
    minus published, NaN without an interval; kind: which it is. figure: None where nothing was published; difference:
    NaN where the two may not be compared."""

    cell: str
    metric: str
    figure: Figure | None
    values: np.ndarray
    failed: int
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    kind: str = NONE

    @property
    def inside(self) -> bool | None:
        """Whether the interval holds zero; None without an interval."""
        return None if math.isnan(self.low) else self.low <= 0 <= self.high

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, NaN as None."""
        told = {
            "cell": self.cell, "metric": self.metric, "failed": self.failed, "values": self.values.tolist(),
            "mean": float(self.values.mean()) if len(self.values) else math.nan,
            "published": None if self.figure is None else vars(self.figure) | {"sd": _known(self.figure.sd)},
            "difference": self.difference, "low": self.low, "high": self.high, "interval": self.kind,
        }  # fmt: skip
        return {k: _known(v) if isinstance(v, float) else v for k, v in told.items()}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def load_figures(path: Path) -> list[Figure]:
    """The figures of a published.toml. ConfigError with every row that lacks a key or has an unknown one."""
    known = {f.name: f for f in fields(Figure)}
    needed = {name for name, f in known.items() if f.default is MISSING}
    found, problems = [], []
    for number, row in enumerate(tomllib.loads(path.read_text(encoding="utf-8")).get("figure", []), 1):
        wrong = [
            *(f"lacks {k!r}" for k in sorted(needed - set(row))),
            *(f"has no key {k!r}" for k in set(row) - set(known)),
        ]
        problems += [f"{path.name}: figure {number} {w}" for w in wrong]
        if not wrong:
            found.append(Figure(**row | {"value": float(row["value"]), "sd": float(row.get("sd", math.nan))}))
    if problems:
        raise ConfigError(problems)
    return found


def figures_of(paper: Paper, part: str, data: str) -> list[Figure]:
    """What was published of a part on our data set `data`."""
    name = paper.part(part or None)[1].data.get(data)
    return [f for f in load_figures(paper.published_file) if f.part == part and f.data == name]


def lines(figures: Sequence[Figure], answer: Any, comparable: bool) -> list[FigureLine]:
    """A line for each cell in the study's primary metric, and in every other one that was published of it.

    comparable: whether measured numbers may be held against published ones; without it no line has a difference.
    A failed trial is counted, not scored: the study's effects score it.
    """
    primary, trials, found = answer.metric[1], answer.trials, []
    for cell in (c.name for c in answer.cells):
        own = trials[trials["cell"] == cell]
        done, published = own[own["status"] == "done"], {f.metric: f for f in figures if f.cell == cell}
        for metric in dict.fromkeys((primary, *published)):
            values = done[metric].dropna().to_numpy(float) if metric in done else np.empty(0)
            figure = published.get(metric)
            if not len(values) and figure is None:
                continue
            line = FigureLine(cell, metric, figure, values, int((own["status"] == "failed").sum()))
            found.append(compared(line) if comparable and figure is not None and len(values) else line)
    return found


def compared(line: FigureLine) -> FigureLine:
    """The line with its difference and interval; it must have a figure and values."""
    figure, n = line.figure, len(line.values)
    assert figure is not None
    mean, sd = float(line.values.mean()), float(line.values.std(ddof=1)) if n > 1 else math.nan
    low, high, kind = interval(mean, sd, n, figure)
    return FigureLine(
        line.cell, line.metric, figure, line.values, line.failed, mean - figure.value, low, high, kind
    )  # fmt: skip


def interval(mean: float, sd: float, n: int, figure: Figure) -> tuple[float, float, str]:
    """(low, high, kind) of measured minus published; see KINDS of `compare`, and POINT_MEANING."""
    if figure.n >= 2 and figure.sd > 0:
        return difference_interval(mean, sd, n, figure.value, figure.sd, figure.n)
    if n < 2 or not sd > 0:
        return math.nan, math.nan, NONE
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * sd / math.sqrt(n)
    return mean - figure.value - half, mean - figure.value + half, POINT


def meanings(found: Sequence[FigureLine]) -> list[str]:
    """What the intervals are, one sentence for each kind that occurs."""
    every = KINDS | {POINT: POINT_MEANING}
    return [text for kind, text in every.items() if any(line.kind == kind and line.figure for line in found
                                                        if not math.isnan(line.difference))]  # fmt: skip


def scale_of(metric: str, values: Sequence[float]) -> tuple[float, int]:
    """(factor, decimals) by which a metric is written: shares in per cent."""
    share = "accuracy" in metric and all(0 <= v <= 1 for v in values)
    if share:
        return 100.0, 2
    return (1.0, 0) if values and all(float(v).is_integer() for v in values) else (1.0, 4)


def texts(line: FigureLine) -> tuple[str, str, str]:
    """(published, measured, difference) as text: `99.21 ± 0.10 (5)`, and a ! where zero is outside the interval."""
    values = [*line.values.tolist(), *([line.figure.value] if line.figure else [])]
    factor, decimals = scale_of(line.metric, values)

    def told(mean: float, sd: float, n: int) -> str:
        tail = "" if math.isnan(sd) else f" ± {factor * sd:,.{decimals}f}"
        return f"{factor * mean:,.{decimals}f}{tail}" + (f" ({n})" if n else "")

    figure = line.figure
    published = "–" if figure is None else told(figure.value, figure.sd, figure.n)
    measured = "–"
    if len(line.values):
        sd = float(line.values.std(ddof=1)) if len(line.values) > 1 else math.nan
        measured = told(float(line.values.mean()), sd, len(line.values))
    measured += f", {line.failed} failed" if line.failed else ""
    if math.isnan(line.difference):
        return published, measured, "–"
    gap = f"{factor * line.difference:+,.{decimals}f}"
    if not math.isnan(line.low):
        gap += f" [{factor * line.low:+,.{decimals}f}, {factor * line.high:+,.{decimals}f}]" + (
            "" if line.inside else " !"
        )
    return published, measured, gap


def label(metric: str, values: Sequence[float] = ()) -> str:
    """`test accuracy, %`."""
    return metric.replace("_", " ") + (", %" if "accuracy" in metric and all(0 <= v <= 1 for v in values) else "")
