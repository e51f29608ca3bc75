"""Whether two factors add up, drawn: parallel lines are additive; and how factors share the difference, as bars."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from . import axes, svg
from .factorial import design_of, is_drop_in, name_of
from .scores import Chart, Panel, Reached, exact, failed_note, metric_drawn, reached
from .tables import Entry, Header, Table
from .words import Measure, clean, difference, interval, is_missing, score

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 300.0, 58.0, 202.0, 12.0, 168.0
PANELS, COMBINATIONS = 12, 6


@dataclass(frozen=True)
class Corners:
    """The four means of an interaction. of: ((factor, first, level), the same of the other). means: by (whether the
    first factor stands at its level, whether the second does)."""

    label: str
    of: tuple[tuple[str, str, str], tuple[str, str, str]]
    means: dict[tuple[bool, bool], float]
    mean: float
    low: float
    high: float


def chart(answer: Any) -> Chart | None:
    """One panel for each interaction that was estimated; None where there is none."""
    design = design_of(answer)
    if design is None or not len(answer.effects):
        return None
    metric = metric_drawn(answer)
    found = list(_corners(answer, design))
    if not found:
        return None
    values = [m for one in found for m in one.means.values()]
    low, high = axes.span_of(values, [])
    scale = axes.Scale(low, high, BOTTOM, TOP)
    panels = [
        Panel(clean(one.label), "interaction", f"{difference(one.mean, metric)}{metric.short}",
              _panel(one, scale, metric))
        for one in found[:PANELS]
    ]  # fmt: skip
    notes = [
        "Each end of a line: the mean score with the two factors at these levels, over all levels of the others. "
        "Parallel lines: what the two add is no more and no less than their sum. The number is the difference of "
        "differences with its 95 % interval, from replicate to replicate; positive: together better than the sum."
    ]
    notes += [f"{len(found) - PANELS} more interactions are not drawn; they are in the table."] * (len(found) > PANELS)
    notes += failed_note(answer)
    return Chart("interactions", "Do the factors add up?", [], panels, notes, _table(found, metric))


def _corners(answer: Any, design: Any) -> Iterator[Corners]:
    scores, drop_in = reached(answer), is_drop_in(answer)
    places = {design.name(place): place for place in design.places()}
    rows = {row["swap"]: row for row in answer.effects.to_dict("records")
            if row.get("role") == "interaction" and row.get("primary", True)}  # fmt: skip
    for contrast in answer.contrasts:
        if contrast.role != "interaction" or contrast.swap not in rows or len(contrast.of) != 2:
            continue
        row = rows[contrast.swap]
        pair = [of.partition("=") for of in contrast.of]
        of = tuple((f, next(iter(design.factors[f])), level) for f, _, level in pair if f in design.factors)
        if len(of) != 2:
            continue
        cells: dict[tuple[bool, bool], list[str]] = {}
        for name, _ in (*contrast.plus, *contrast.minus):
            place = places[name]
            cells.setdefault((place[of[0][0]] == of[0][2], place[of[1][0]] == of[1][2]), []).append(name)
        means = {}
        for corner, names in cells.items():
            known = [scores.get(name_of(design, scores, places[n], drop_in)) for n in dict.fromkeys(names)]
            if all(isinstance(one, Reached) for one in known):
                means[corner] = sum(one.mean for one in known if one) / len(known)
        if len(means) == 4:
            yield Corners(contrast.swap, (of[0], of[1]), means, *(float(row[k]) for k in ("mean", "low", "high")))


def _panel(one: Corners, scale: axes.Scale, metric: Measure) -> Markup:
    (f, first, level), (g, other_first, other) = one.of
    xs = {False: LEFT + 22, True: RIGHT - 8}
    parts = axes.upright(scale, metric, LEFT, RIGHT)
    ends = axes.spread([scale.at(one.means[True, at]) for at in (False, True)], 34, TOP + 14, BOTTOM - 6)
    for at, name, role, y in zip((False, True), (other_first, other), ("level", "variant"), ends, strict=True):
        points = [(xs[x], scale.at(one.means[x, at])) for x in (False, True)]
        parts.append(svg.path(points, class_=f"curve {role}"))
        for (px, py), x in zip(points, (False, True), strict=True):
            told = f"{f}={level if x else first}, {g}={name}: {score(one.means[x, at], metric)}"
            shape = svg.mark("triangle" if at else "disc", px, py, 5, class_=f"mark {role}")
            parts.append(svg.tag("g", svg.tag("title", told), shape, class_="arm"))
        words = svg.wrap(f"{g}={name}", axes.FONT * 1.06, WIDTH - RIGHT - 10, 2)
        parts += [
            svg.text(RIGHT + 8, y + 4 + 15 * (k - (len(words) - 1) / 2), t, class_=f"label {role}", font_size=axes.FONT)
            for k, t in enumerate(words)
        ]
    below = [svg.wrap(f"{f}={name}", axes.FONT * 1.05, 108, 2) for name in (first, level)]
    for x, words in zip((False, True), below, strict=True):
        for k, t in enumerate(words):
            parts.append(
                svg.text(xs[x], BOTTOM + 18 + 15 * k, t, class_="tick", text_anchor="middle", font_size=axes.FONT)
            )
    between = interval(one.low, one.high, metric)
    between = f"95 % {between}" if between.startswith("[") else between
    y = BOTTOM + 26 + 15 * max(map(len, below))
    parts.append(svg.text((LEFT + RIGHT) / 2, y, between, class_="numbers", text_anchor="middle", font_size=13))
    title = f"Interaction of {clean(one.label)}: {difference(one.mean, metric)}{metric.short}, {between}"
    return svg.figure(WIDTH, y + 8, title, *parts, class_="chart interaction")


def _table(found: list[Corners], metric: Measure) -> Table:
    unit = ", pp" if metric.share else ""
    headers = [
        Header("name", "interaction"), Header("neither", "neither swapped", "mean score", True),
        Header("one", "the first alone", "mean score", True), Header("two", "the second alone", "mean score", True),
        Header("both", "both", "mean score", True),
        Header("mean", f"difference of differences{unit}", "both minus each alone plus neither", True),
        Header("low", f"95 % low{unit}", "", True), Header("high", f"95 % high{unit}", "", True),
    ]  # fmt: skip
    order = ((False, False), (True, False), (False, True), (True, True))
    rows = []
    for one in found:
        means = [exact(one.means[c], score(one.means[c], metric)) for c in order]
        effect = [exact(v, difference(v, metric)) for v in (one.mean, one.low, one.high)]
        rows.append([Entry(clean(one.label)), *means, *effect])
    return Table(headers, rows)


def shapley(answer: Any) -> Chart | None:
    """Signed bars of each full combination's factors, and their sum. The table of Shapley values has the numbers."""
    frame = getattr(answer, "shapley", None)
    if frame is None or not len(frame):
        return None
    metric = metric_drawn(answer)
    groups = [(name, part.to_dict("records")) for name, part in frame.groupby("combination", sort=False)]
    ends = [0.0, *frame["value"], *frame["total"]]
    low, high = min(ends), max(ends)
    panels = [
        Panel(
            clean(name),
            "level",
            f"{difference(rows[0]['total'], metric)}{metric.short}",
            _bars(rows, metric, low, high),
        )
        for name, rows in groups[:COMBINATIONS]
    ]
    notes = [
        "Shapley values, a description without inference: what each factor adds when the first combination is changed "
        "into this one, averaged over all orders. Bars add up to the whole difference (grey). Exact values are in the "
        "table of Shapley values."
    ]
    more = len(groups) - len(panels)
    notes += [f"{more} more combinations are not drawn; they are in answer.shapley."] * (more > 0)
    return Chart("shapley", "How the factors share the difference", [], panels, notes)


def _bars(rows: list[dict[str, Any]], metric: Measure, low: float, high: float) -> Markup:
    span = (high - low) or 1.0
    scale = axes.Scale(low - 0.02 * span, high + 0.02 * span, 4, 212)
    parts: list[Markup] = []
    y = 4.0
    zero = scale.at(0)
    bars = [(f"{r['factor']}={r['level']}", float(r["value"]), "level") for r in rows]
    for name, value, kind in [*bars, ("whole difference", float(rows[0]["total"]), "whole")]:
        label = svg.wrap(name, 13 * 1.12, WIDTH - 6, 1)[0]
        parts.append(svg.text(2, y + 13, label, class_=f"label {'level' if kind == 'level' else 'all'}", font_size=13))
        if not is_missing(value) and math.isfinite(value):
            x0, x1 = sorted((zero, scale.at(value)))
            box = {"x": x0, "y": y + 19, "width": max(x1 - x0, 0.5), "height": 13.0}
            told = f"{clean(name)}: {difference(value, metric)}{metric.short}"
            parts.append(
                svg.tag("g", svg.tag("title", told), svg.tag("rect", class_=f"bar {kind}", **box), class_="arm")
            )
        parts.append(
            svg.text(WIDTH - 4, y + 30, difference(value, metric), class_="numbers", text_anchor="end", font_size=13)
        )
        parts.append(svg.line(zero, y + 17, zero, y + 34, class_="zero"))  # beside the bar only: names stay clear of it
        y += 42
    title = "Shapley values: " + ", ".join(f"{clean(n)} {difference(v, metric)}" for n, v, _ in bars)
    return svg.figure(WIDTH, y, title, *parts, class_="chart bars")
