"""Learning curves: one small panel a cell, its mean and band over replicates, the cell it is compared with in grey."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from . import svg
from .thinning import kept
from .words import Measure, clean, measure, score

WIDTH, HEIGHT = 300.0, 190.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 288.0, 12.0, 160.0
POINTS = 120  # more than this many epochs are thinned
PANELS = 36


@dataclass(frozen=True)
class Curve:
    """Mean and band of one metric of one cell. low and high are NaN where only one replicate has the epoch."""

    epoch: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    replicates: int


@dataclass(frozen=True)
class Panel:
    """A cell's figure with its heading."""

    cell: str
    role: str
    last: str
    replicates: int
    picture: Markup


def choose(columns: list[str], metric: str) -> list[str]:
    """Which metrics to draw: the effects' own first (its validation form: the test set is read once), then losses."""
    stem = metric.removeprefix("test_").removeprefix("validation_")
    wanted = [f"test_{stem}", metric, f"validation_{stem}", "validation_accuracy", "validation_loss", "train_loss"]
    found = list(dict.fromkeys(c for c in wanted if c in columns))
    return found[:3] or [c for c in columns if c.startswith(("validation_", "train_"))][:2]


def every(metrics: Any, column: str, *, share: bool = False) -> dict[str, Curve]:
    """{cell: the mean over replicates at each epoch with its 95 % t interval} of what is finite; of a share within 0
    and 1. One pass over the table, whatever the number of cells."""
    from scipy.stats import t

    values = metrics[column]
    rows = metrics[values.notna() & (values.abs() < math.inf)]
    if rows.empty:
        return {}
    table = rows.groupby(["cell", "epoch"], sort=True)[column].agg(["mean", "std", "count"])
    half = t.ppf(0.975, (table["count"] - 1).clip(lower=1)) * table["std"] / table["count"] ** 0.5
    low, high = table["mean"] - half, table["mean"] + half
    table["low"], table["high"] = (low.clip(lower=0), high.clip(upper=1)) if share else (low, high)
    found = {}
    for cell, one in table.groupby(level="cell", sort=False):
        epochs = [int(e) for e in one.index.get_level_values("epoch")]
        mean, low, high = (one[k].tolist() for k in ("mean", "low", "high"))
        found[cell] = Curve(epochs, mean, low, high, int(one["count"].max()))
    return found


def curve(metrics: Any, cell: str, metric: str, *, share: bool = False) -> Curve | None:
    """That of one cell, thinned; None where nothing finite was logged."""
    return thinned(every(metrics[metrics["cell"] == cell], metric, share=share).get(cell))


def thinned(whole: Curve | None, points: int = POINTS) -> Curve | None:
    """At most `points` epochs, the first and the last and every peak and dip of the mean among them."""
    if whole is None or len(whole.epoch) <= points:
        return whole
    keep = kept(whole.mean, points)
    mean, low, high = ([values[i] for i in keep] for values in (whole.mean, whole.low, whole.high))
    return Curve([whole.epoch[i] for i in keep], mean, low, high, whole.replicates)


def panels(
    metrics: Any, cells: list[Any], versus: dict[str, str], column: str, *, axis: str = "epoch", start: float = 1 / 3
) -> list[Panel]:
    """One panel for each cell that logged `column`, all with the same axes.

    versus: {cell: the cell it is compared with}. axis: what the column `epoch` counts, in a word or two. start: the
    share of it that need not be seen whole.
    """
    metric = measure(column, metrics[column])
    known = every(metrics, column, share=metric.share)
    found = {cell.name: c for cell in cells if (c := thinned(known.get(cell.name))) is not None}
    if not found:
        return []
    box = limits(list(found.values()), start)
    epochs = min(c.epoch[0] for c in found.values()), max(c.epoch[-1] for c in found.values())
    made = []
    for cell in cells:
        if cell.name not in found or len(made) == PANELS:
            continue
        own, below = found[cell.name], found.get(versus.get(cell.name, ""))
        picture = _panel(own, below, cell, versus.get(cell.name, ""), metric, box, epochs, axis)
        made.append(Panel(clean(cell.name), role(cell), score(own.mean[-1], metric), own.replicates, picture))
    return made


def role(cell: Any) -> str:
    """`level`, `control` or `variant`, for the style sheet."""
    found = getattr(cell, "role", "level")
    return found if found in ("control", "variant") else "level"


def limits(curves: list[Curve], start: float = 1 / 3) -> tuple[float, float]:
    """The means after the first part of the epochs (`start`), where curves differ, and bands as far as half a span
    beyond them.

    What lies outside leaves the panel: the steep start, and the bands of two replicates.
    """
    last = max(c.epoch[-1] for c in curves)
    means = [m for c in curves for e, m in zip(c.epoch, c.mean, strict=True) if e >= last * start or len(c.epoch) < 5]
    means = means or [m for c in curves for m in c.mean]
    low, high = min(means), max(means)
    span = (high - low) or abs(high) or 1.0
    ends = [
        v
        for c in curves
        for i, e in enumerate(c.epoch)
        for v in (c.low[i], c.high[i])
        if math.isfinite(v) and e >= last * start
    ]
    low, high = max(min([low, *ends]), low - span / 2), min(max([high, *ends]), high + span / 2)
    return low - 0.03 * span, high + 0.03 * span


def _panel(own: Curve, below: Curve | None, cell: Any, versus: str, metric: Measure, box, epochs, axis: str) -> Markup:
    low, high = box
    first, last = epochs

    def x(epoch: float) -> float:
        return LEFT + (RIGHT - LEFT) * ((epoch - first) / (last - first) if last > first else 0.5)

    def y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low)

    parts: list[Markup] = []
    per_cent = 100 if metric.share else 1
    values = svg.ticks(low * per_cent, high * per_cent, 4)
    for value, label in zip(values, svg.tick_labels(values), strict=True):
        at = y(value / per_cent)
        parts.append(svg.line(LEFT, at, RIGHT, at, class_="grid"))
        shown = label + ("\u202f%" if per_cent == 100 else "")
        parts.append(svg.text(LEFT - 6, at + 4, shown, class_="tick", text_anchor="end", font_size=12))
    whole = [v for v in svg.ticks(first, last, 4) if v == int(v)] or [first]
    for value in whole:
        parts.append(
            svg.text(x(value), BOTTOM + 16, f"{int(value)}", class_="tick", text_anchor="middle", font_size=12)
        )
    parts.append(svg.text((LEFT + RIGHT) / 2, BOTTOM + 28, axis, class_="axis", text_anchor="middle", font_size=12))
    kind = role(cell)
    lines: list[Markup] = []
    if below is not None:
        lines.append(_line(below, x, y, "reference"))
    band = [i for i in range(len(own.epoch)) if math.isfinite(own.low[i]) and math.isfinite(own.high[i])]
    if len(band) > 1:
        edge = [(x(own.epoch[i]), y(own.high[i])) for i in band]
        edge += [(x(own.epoch[i]), y(own.low[i])) for i in reversed(band)]
        lines.append(svg.path(edge, closed=True, class_=f"band {kind}"))
    lines.append(_line(own, x, y, f"curve {kind}"))
    parts.append(_clipped(lines))
    title = f"{metric.label} of {clean(cell.name)} by {axis}, last {score(own.mean[-1], metric)}"
    if below is not None:
        title += f"; grey: {clean(versus)}, last {score(below.mean[-1], metric)}"
    return svg.figure(WIDTH, HEIGHT, title, *parts, class_="panel")


def _clipped(lines: list[Markup]) -> Markup:
    """The lines as far as they lie in the plot: an inner <svg> cuts without needing an identifier."""
    top, width, height = TOP - 3, RIGHT - LEFT + 8, BOTTOM - TOP + 6
    box = {"x": LEFT - 4, "y": top, "width": width, "height": height}
    return svg.tag("svg", *lines, viewBox=f"{LEFT - 4:g} {top:g} {width:g} {height:g}", overflow="hidden", **box)


def _line(c: Curve, x: Any, y: Any, class_: str) -> Markup:
    points = [(x(e), y(m)) for e, m in zip(c.epoch, c.mean, strict=True)]
    if len(points) == 1:  # one epoch: a line of no length is invisible
        return svg.mark("disc", *points[0], 4, class_=f"dot {class_}")
    return svg.path(points, class_=class_)
