"""Rows of scores: each cell's mean with its interval and its replicates, the host's as a line through all of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from markupsafe import Markup

from . import axes, svg
from .forest import SHAPES
from .scores import Reached, dotted, said
from .words import Measure, clean, score


@dataclass(frozen=True)
class Row:
    """label: how the cell is called. sub: a further line. joined: whether the rows before and after that are joined too
    are connected with this one, replicate by replicate. line: drawn through the whole figure. indent: below another."""

    label: str
    role: str
    reached: Reached | None
    sub: str = ""
    joined: bool = False
    line: bool = False


@dataclass(frozen=True)
class Layout:
    width: float
    plot: tuple[float, float]
    stacked: bool


WIDE = Layout(980, (300, 860), False)
NARROW = Layout(360, (10, 350), True)


def dots(rows: list[Row], metric: Measure, title: str, layout: Layout = WIDE, *, class_: str = "dots") -> Markup:
    """The figure; a row without a score says so."""
    known = [row.reached for row in rows if row.reached is not None]
    levels = [row.reached for row in rows if row.reached is not None and row.role == "level"]
    low, high = axes.span_of(
        [v for r in levels for v in r.values.values()], [(r.low, r.high) for r in levels if r.whole],
        [v for r in known for v in r.values.values()], metric.share,
    )  # fmt: skip
    scale = axes.Scale(low, high, *layout.plot)
    drawn = dotted(known)
    y, body, centres = 8.0, [], []
    for row in rows:
        texts, height, centre = _words(row, metric, layout, y)
        body += texts
        centres.append(centre)
        y += height
    lines = []
    for row in rows:
        if row.line and row.reached is not None and scale.inside(row.reached.mean):
            x = scale.at(row.reached.mean)
            lines.append(svg.line(x, 4, x, y, class_=f"through {row.role}"))
    ladder = [(row.reached, c) for row, c in zip(rows, centres, strict=True) if row.joined and row.reached is not None]
    for (one, top), (two, bottom) in itertools.pairwise(ladder):
        both = [r for r in one.values if r in two.values] if drawn else []
        lines += [
            svg.line(scale.at(one.values[r]), top, scale.at(two.values[r]), bottom, class_="thread") for r in both
        ]
        lines.append(svg.line(scale.at(one.mean), top, scale.at(two.mean), bottom, class_="step"))
    marks = [_marks(row, scale, centre, metric, drawn) for row, centre in zip(rows, centres, strict=True)]
    about = 4 if layout.stacked else 6
    grid = axes.across(scale, metric, 4, y, about)
    words = svg.text(
        sum(layout.plot) / 2, y + 34, metric.label, class_="axis", text_anchor="middle", font_size=axes.FONT
    )
    class_ += " narrow" if layout.stacked else " wide"
    return svg.figure(layout.width, y + 42, title, *grid, *lines, *body, *marks, words, class_=f"chart {class_}")


def _words(row: Row, metric: Measure, layout: Layout, y: float) -> tuple[list[Markup], float, float]:
    """(label and number, height, y of the marks)."""
    level = row.role == "level"
    size = 14 if level else 13
    indent = 0 if level or row.role == "baseline" else 14
    room = layout.width if layout.stacked else layout.plot[0] - 24
    number = "no score yet" if row.reached is None else score(row.reached.mean, metric)
    taken = svg.text_width(number, 13) + 12 if layout.stacked else 0
    lines = [(t, f"label {row.role}", size) for t in svg.wrap(row.label, size * 1.1, room - indent - taken)]
    if row.sub:
        lines += [(t, "sub", axes.FONT) for t in svg.wrap(row.sub, axes.FONT, room - indent, 2)]
    texts = [svg.text(indent, y + 15 + 17 * i, t, class_=c, font_size=s) for i, (t, c, s) in enumerate(lines)]
    if layout.stacked:
        texts.append(svg.text(layout.width, y + 15, number, class_="numbers", text_anchor="end", font_size=13))
        centre = y + 17 * len(lines) + 14
        return texts, centre + 14 - y, centre
    centre = y + 11
    texts.append(svg.text(layout.plot[1] + 18, centre + 4, number, class_="numbers", font_size=13))
    return texts, max(17 * len(lines) + 10, 26), centre


def _marks(row: Row, scale: axes.Scale, y: float, metric: Measure, drawn: bool) -> Markup:
    one = row.reached
    if one is None:
        return Markup("")
    parts = [svg.tag("title", said(clean(row.label), one, metric))]
    parts += [
        svg.mark("disc", scale.at(v), y, 2.6, class_=f"replicate {row.role}")
        for v in one.values.values()
        if drawn and scale.inside(v)
    ]
    parts += axes.whisker(y, scale, one.low, one.high, row.role, upright=False)
    parts.append(axes.point(y, scale, one.mean, SHAPES.get(row.role, "disc"), 5.2, f"mark {row.role}", upright=False))
    return svg.tag("g", *parts, class_="arm")
