"""Axes, whiskers and labels that do not cover one another: what the charts of scores have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from . import svg
from .words import Measure

FONT = 12.5  # of ticks and small labels, in the figure's unit: 12 px or more on every screen
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Scale:
    """From values `low` … `high` to places `start` … `end`; log: by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high, value = (math.log10(v) for v in (self.low, self.high, value)) if self.log else (
            self.low, self.high, value)  # fmt: skip
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + (self.end - self.start) * share

    def inside(self, value: float) -> bool:
        return self.low <= value <= self.high


def span_of(
    points: Iterable[float], intervals: Iterable[tuple[float, float]], others: Iterable[float] = (), share: bool = False
) -> tuple[float, float]:
    """An axis for points and intervals: all the points, and intervals as far as half a span beyond them (those of two
    replicates may reach anywhere, and would squash the rest).

    others: points that are seen where they lie within one and a half spans of the first ones; one hopeless control must
    not squash the rest, and an arrow at the edge says that it is there. share: an axis within 0 and 1.
    """
    seen = [p for p in points if math.isfinite(p)]
    rest = [p for p in others if math.isfinite(p)]
    if not seen:
        seen, rest = rest, []
    if not seen:
        return 0.0, 1.0
    low, high = min(seen), max(seen)
    reach = 1.5 * ((high - low) or abs(high) * 0.1)
    seen += [p for p in rest if low - reach <= p <= high + reach]
    low, high = min(seen), max(seen)
    span = (high - low) or abs(high) * 0.1 or 1.0
    ends = [e for pair in intervals for e in pair if math.isfinite(e)]
    low, high = max(min([low, *ends]), low - span / 2), min(max([high, *ends]), high + span / 2)
    span = (high - low) or span
    low, high = low - 0.05 * span, high + 0.05 * span
    return (max(low, -0.03), min(high, 1.03)) if share else (low, high)


def ticks(scale: Scale, metric: Measure, about: int = 5, signed: bool = False) -> list[tuple[float, str]]:
    """(value, label) of each tick: in per cent, or percentage points where they are differences, of shares."""
    times = 100 if metric.share else 1
    values = svg.ticks(scale.low * times, scale.high * times, about)
    unit = "" if signed or not metric.share else "\u202f%"
    return [(v / times, t + unit) for v, t in zip(values, svg.tick_labels(values, signed=signed), strict=True)]


def upright(scale: Scale, metric: Measure, left: float, right: float, signed: bool = False) -> list[Markup]:
    """Grid lines from left to right with their labels to the left of them."""
    parts = []
    for value, label in ticks(scale, metric, signed=signed):
        y = scale.at(value)
        parts.append(svg.line(left, y, right, y, class_="grid"))
        parts.append(svg.text(left - 7, y + 4, label, class_="tick", text_anchor="end", font_size=FONT))
    return parts


def across(scale: Scale, metric: Measure, top: float, bottom: float, about: int = 5) -> list[Markup]:
    """Grid lines from top to bottom with their labels below them."""
    parts = []
    for value, label in ticks(scale, metric, about):
        x = scale.at(value)
        parts.append(svg.line(x, top, x, bottom, class_="grid"))
        parts.append(svg.text(x, bottom + 16, label, class_="tick", text_anchor="middle", font_size=FONT))
    return parts


def whisker(place: float, scale: Scale, low: float, high: float, role: str, *, upright: bool, end: float = 5):
    """An interval across its axis: with ends where they are inside, with arrows where it leaves the plot."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return []
    parts = []
    if high < scale.low or low > scale.high:
        return []
    first, last = (scale.at(min(max(v, scale.low), scale.high)) for v in (low, high))

    def points(*pairs: tuple[float, float]) -> list[tuple[float, float]]:
        return [(a, b) if upright else (b, a) for a, b in pairs]

    (x1, y1), (x2, y2) = points((place, first), (place, last))
    parts.append(svg.line(x1, y1, x2, y2, class_=f"paired {role}"))
    for value, at in ((low, first), (high, last)):
        if scale.inside(value):
            (x1, y1), (x2, y2) = points((place - end, at), (place + end, at))
            parts.append(svg.line(x1, y1, x2, y2, class_=f"end {role}"))
        else:
            outwards = math.copysign(6, scale.end - scale.start) * (1 if value > scale.high else -1)
            arrow = points((place - 4, at - outwards), (place, at), (place + 4, at - outwards))
            parts.append(svg.path(arrow, closed=True, class_=f"cut {role}"))
    return parts


def point(place: float, scale: Scale, value: float, shape: str, r: float, class_: str, *, upright: bool) -> Markup:
    """A mark, or an arrow at the edge of the plot that a value lies beyond."""
    if scale.inside(value):
        at = scale.at(value)
        return svg.mark(shape, *((place, at) if upright else (at, place)), r, class_=class_)
    at = scale.at(scale.high if value > scale.high else scale.low)
    out = math.copysign(9, scale.end - scale.start) * (1 if value > scale.high else -1)
    corners = [(place - 6, at - out), (place, at), (place + 6, at - out)]
    return svg.path([c if upright else (c[1], c[0]) for c in corners], closed=True, class_=f"{class_} beyond-axis")


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near the wanted ones as can be with `gap` between each two, within low and high where there is room."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    before = low - gap
    for i in order:
        before = placed[i] = max(wanted[i], before + gap)
    after = high + gap
    for i in reversed(order):
        if placed[i] > after - gap:
            placed[i] = after - gap
        after = placed[i]
    return placed


def covers(a: Box, b: Box, air: float = 1.0) -> bool:
    return a[0] < b[2] + air and b[0] < a[2] + air and a[1] < b[3] + air and b[1] < a[3] + air


def beside(x: float, y: float, width: float, height: float, taken: Sequence[Box], bounds: Box) -> Box | None:
    """A free box of this size near the point (x, y), the nearest one that is found in rings around it; None where all
    are taken."""
    for reach in (11.0, 18.0, 27.0, 38.0, 52.0, 70.0, 92.0, 120.0):
        for turn in (0, 180, 315, 45, 225, 135, 270, 90, 20, 340, 160, 200):
            cx, cy = x + reach * math.cos(math.radians(turn)), y + reach * math.sin(math.radians(turn))
            across = math.cos(math.radians(turn))
            left = cx if across > 0.3 else cx - width if across < -0.3 else cx - width / 2
            box = (left, cy - height / 2, left + width, cy + height / 2)
            inside = box[0] >= bounds[0] and box[1] >= bounds[1] and box[2] <= bounds[2] and box[3] <= bounds[3]
            if inside and not any(covers(box, other) for other in taken):
                return box
    return None
