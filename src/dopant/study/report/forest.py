"""The forest plot: every effect with its intervals, its controls and variants below it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from . import svg
from .words import Measure, clean, difference, interval, is_missing, kind_of

AGAINST_CONTROL = "swap-versus-control"
SHAPES = {
    "level": "disc", "main": "disc", "simple": "disc", "control": "square", "variant": "triangle",
    AGAINST_CONTROL: "diamond", "interaction": "triangle", "baseline": "square",
}  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """Where things stand, in the figure's own units (close to CSS pixels)."""

    width: float
    plot: tuple[float, float]
    label: float  # width of a label
    font: float
    stacked: bool  # labels and numbers above the marks instead of beside them


WIDE = Layout(width=980, plot=(318, 690), label=300, font=14, stacked=False)
NARROW = Layout(width=360, plot=(12, 348), label=348, font=14, stacked=True)


def role_of(row: Row) -> str:
    """One of SHAPES; a role we do not know is drawn like a level."""
    role = row.get("role", "level")
    return role if role in SHAPES and role != "main" else "level"


def groups(effects: Any) -> list[list[Row]]:
    """The rows of `effects` (a DataFrame): each level, its simple effects, its controls, its variants, and those minus
    their controls."""
    found: list[list[Row]] = []
    for row in effects.to_dict("records"):
        owner = None if role_of(row) == "level" else _owner(row, found)
        if owner is None:
            found.append([row])
        else:
            owner.append(row)
    return [sorted(group, key=lambda r: list(SHAPES).index(role_of(r))) for group in found]


def _owner(row: Row, found: list[list[Row]]) -> list[Row] | None:
    """The group that a row belongs to; None where it stands alone."""
    if role_of(row) == "simple":
        same = [g for g in found if g[0].get("swap") == row.get("of") and role_of(g[0]) == "level"]
        return next((g for g in same if g[0].get("estimand") == row.get("estimand")), None)
    if role_of(row) == AGAINST_CONTROL:
        return next((g for g in found if any(r.get("cell") == row.get("cell") for r in g)), None)
    same = [g for g in found if g[0].get("versus") == row.get("versus") and role_of(g[0]) == "level"]
    named = [g for g in same if row.get("cell") in (g[0].get("controls") or ())]
    return (named or same or [None])[-1]


def against_level(effects: Any) -> list[list[Row]]:
    """What the first figure shows: all against the level below."""
    return [kept for g in groups(effects) if (kept := [r for r in g if role_of(r) != AGAINST_CONTROL])]


def against_controls(effects: Any) -> list[list[Row]]:
    """What the second figure shows: each level and variant minus each of its controls."""
    rows = [r for g in groups(effects) for r in g if role_of(r) == AGAINST_CONTROL]
    return [[r for r in rows if r.get("cell") == cell] for cell in dict.fromkeys(r.get("cell") for r in rows)]


def domain(rows: list[Row], metric: Measure) -> tuple[float, float]:
    """The axis: zero, every mean, the margin and the intervals.

    An interval more than four times as wide as the median one is cut (an arrow says so), and unpaired ones may widen
    the axis by a quarter on each side at most: one hopeless arm must not squash the others.
    """
    scale = 100 if metric.share else 1
    points = [0.0, *(scale * row["mean"] for row in rows if _finite(row.get("mean")))]
    points += [s * scale * row["margin"] for row in rows if _finite(row.get("margin")) for s in (-1, 1)]
    whole = [row for row in rows if all(_finite(row.get(k)) for k in ("mean", "low", "high"))]
    reach = 4 * statistics.median([scale * (r["high"] - r["low"]) / 2 for r in whole]) if whole else 0.0
    points += [max(scale * r["low"], scale * r["mean"] - reach) for r in whole]
    points += [min(scale * r["high"], scale * r["mean"] + reach) for r in whole]
    low, high = min(points), max(points)
    span = (high - low) or 1.0
    wide = [scale * row[k] for row in rows for k in ("low_unpaired", "high_unpaired") if _finite(row.get(k))]
    low, high = max(min([low, *wide]), low - span / 4), min(max([high, *wide]), high + span / 4)
    return low - 0.04 * span, high + 0.04 * span


def _finite(value: Any) -> bool:
    return not is_missing(value) and math.isfinite(value)


def forest(
    grouped: list[list[Row]], metric: Measure, *, layout: Layout = WIDE, zero: str = "", aside: str = "right is better"
) -> Markup:
    """The figure of the groups that `against_level` or `against_controls` gives. zero: what the zero line stands for.
    aside: what it means to stand on the right.

    In percentage points where the metric is a share. Positive (right) is better.
    """
    low, high = domain([row for group in grouped for row in group], metric)
    left, right = layout.plot
    scale = (100 if metric.share else 1) * (right - left) / (high - low)
    origin = left - low * (right - left) / (high - low)
    values = svg.ticks(low, high, 4 if layout.stacked else 6)
    at = [left + (value - low) / (high - low) * (right - left) for value in values]
    behind: list[Markup] = []
    body: list[Markup] = []
    y = 6.0
    for number, group in enumerate(grouped):
        if number:
            body.append(svg.line(0, y - 1, layout.width, y - 1, class_="between"))
            y += 6
        for row in group:
            parts, height, centre = _row(row, metric, layout, y)
            strip = (centre - 10, centre + 10) if layout.stacked else (y, y + height)
            behind += _behind(row, layout, origin, scale, at, strip)
            body.append(svg.tag("g", *parts, *_marks(row, layout, centre, origin, scale)))
            y += height
        y += 6
    axis = [svg.text(x, y + 14, label, class_="tick", text_anchor="middle", font_size=12)
            for x, label in zip(at, svg.tick_labels(values, signed=True), strict=True)]  # fmt: skip
    unit = metric.short.strip() if layout.stacked else metric.unit
    words = f"{metric.label}{', ' if unit else ''}{unit} ({aside})"
    words = svg.wrap(words if layout.stacked else f"difference in {words}", 12, layout.width, 1)[0]
    middle = layout.width / 2 if layout.stacked else (left + right) / 2
    axis.append(svg.text(middle, y + 33, words, class_="axis", text_anchor="middle", font_size=12))
    return svg.figure(
        layout.width, y + 40, f"Forest plot: differences in {metric.label} with 95 % intervals{zero}",
        *behind, *axis, *body, class_="forest narrow" if layout.stacked else "forest wide",
    )  # fmt: skip


def _behind(row: Row, layout: Layout, origin: float, scale: float, ticks: list[float], strip: tuple[float, float]):
    """Margin, grid and zero line behind one row."""
    (left, right), (top, bottom) = layout.plot, strip
    parts = []
    if _finite(row.get("margin")) and row["margin"] > 0:
        x0, x1 = max(left, origin - row["margin"] * scale), min(right, origin + row["margin"] * scale)
        box = {"x": float(x0), "y": float(top), "width": float(x1 - x0), "height": bottom - top + 0.5}
        parts.append(svg.tag("rect", class_="margin", **box))
    parts += [svg.line(x, top, x, bottom + 0.5, class_="grid") for x in ticks]
    return [*parts, svg.line(origin, top, origin, bottom + 0.5, class_="zero")]


def _row(row: Row, metric: Measure, layout: Layout, y: float) -> tuple[list[Markup], float, float]:
    """Label and numbers of one effect -> (texts, height, y of the marks)."""
    role = role_of(row)
    size, bold = (layout.font, 1.12) if role == "level" else (layout.font - 1, 1.0)
    indent = 0 if role == "level" else 14
    versus = clean(row.get("versus", ""))
    name = clean(row.get("swap", ""))
    called = {"level": name, AGAINST_CONTROL: f"{name} minus {versus}"}.get(role, f"{role}: {name}")
    step = size + 3
    baseline = y + step
    texts = [(line, f"label {role}", size) for line in svg.wrap(called, size * bold, layout.label - indent)]
    if role in ("level", "baseline"):
        below = f"against {versus}" + ("" if is_missing(row.get("replicates")) else f", n = {int(row['replicates'])}")
        texts.append((svg.wrap(below, size - 2, layout.label, 1)[0], "sub", size - 2))
    beside = [(f"{difference(row.get('mean'), metric)} {interval(row.get('low'), row.get('high'), metric)}",
               f"numbers {role}", size - 1)]  # fmt: skip
    kind, _ = kind_of(row.get("verdict"))
    if role not in ("control", "simple", AGAINST_CONTROL) and not is_missing(row.get("verdict")):
        width = layout.width - indent - (0 if layout.stacked else layout.plot[1] + 20)
        said = svg.wrap(f"{kind.symbol} {row['verdict']}", (size - 1) * 1.16, width, 3)
        beside += [(line, f"verdict {kind.key}", size - 1) for line in said]

    def column(lines: list[tuple[str, str, float]], x: float, top: float) -> list[Markup]:
        return [svg.text(x, top + i * step, t, class_=c, font_size=s) for i, (t, c, s) in enumerate(lines)]

    if layout.stacked:
        parts = column([*texts, *beside], indent, baseline)
        centre = baseline + (len(texts) + len(beside) - 1) * step + 17
        return parts, centre + 12 - y, centre
    parts = column(texts, indent, baseline) + column(beside, layout.plot[1] + 20, baseline)
    return parts, max(len(texts), len(beside)) * step + 11, baseline - 0.35 * size


def _marks(row: Row, layout: Layout, y: float, origin: float, scale: float) -> list[Markup]:
    """The unpaired interval (thin), the paired one (thick, with ends), the mean."""
    role = role_of(row)
    left, right = layout.plot
    parts: list[Markup] = []
    for low, high, class_, end in (("low_unpaired", "high_unpaired", "unpaired", 0), ("low", "high", "paired", 6)):
        if not (_finite(row.get(low)) and _finite(row.get(high))):
            continue
        x0, x1 = origin + row[low] * scale, origin + row[high] * scale
        parts.append(svg.line(max(x0, left), y, min(x1, right), y, class_=f"{class_} {role}"))
        parts += [
            svg.line(x, y - end, x, y + end, class_=f"end {role}") for x in (x0, x1) if end and left <= x <= right
        ]
        parts += [svg.mark("arrow-left", left, y, 4, class_=f"cut {role}")] * (x0 < left)
        parts += [svg.mark("arrow-right", right, y, 4, class_=f"cut {role}")] * (x1 > right)
    if _finite(row.get("mean")):
        x = min(max(origin + row["mean"] * scale, left), right)
        parts.append(svg.mark(SHAPES[role], x, y, 5.5 if role == "level" else 4.6, class_=f"mark {role}"))
    return parts
