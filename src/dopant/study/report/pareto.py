"""Cost against effect: every cell by what it costs and what it reached, and which of them none beats in both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from . import axes, svg
from .forest import AGAINST_CONTROL, SHAPES
from .scores import Chart, cells_drawn, exact, failed_note, higher_is_better, metric_drawn, reached
from .tables import Entry, Header, Table
from .words import Measure, clean, difference, is_missing, large, number, score, seconds

COSTS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("trainable", "trainable parameters", number),
    ("flops_step", "FLOPs of a training step, a sample", large),
    ("flops", "FLOPs of a forward pass, a sample", large),
    ("seconds_per_step", "seconds a training step", seconds),
    ("seconds", "seconds a trial", seconds),
    ("circuit_evaluations", "circuits in all, on a device", number),
    ("circuits_per_gradient", "circuits of a gradient, a sample, on a device", number),
    ("circuits_per_sample", "circuits of a forward pass, a sample, on a device", number),
)
INSTEAD = {"flops": "flops_step", "seconds": "seconds_per_step", "circuits_per_gradient": "circuit_evaluations",
           "circuits_per_sample": "circuit_evaluations"}  # drawn only where the better one is not known  # fmt: skip
ROLES = ("level", "control", "variant", "baseline")


@dataclass(frozen=True)
class Point:
    """One cell. better: what counts, larger is better. shown: the value on the axis, with its interval."""

    cell: str
    role: str
    cost: float
    better: float
    shown: float
    low: float
    high: float


@dataclass(frozen=True)
class Layout:
    width: float
    plot: tuple[float, float, float, float]
    names: bool


WIDE = Layout(980, (78, 34, 964, 450), True)
NARROW = Layout(360, (66, 48, 350, 366), False)
LABELS = 60  # the others are told apart by pointing at them, and by the table
CROWD = 100  # of more cells than this the first cost alone is drawn: a page has a size
MANY = 12  # with more cells only those not dominated have their names in the figure


def charts(answer: Any) -> list[Chart]:
    """One for each cost that tells the cells apart; empty where costs or scores are missing."""
    costs = getattr(answer, "costs", None)
    if costs is None or not len(costs):
        return []
    metric, told = metric_drawn(answer), _values(answer)
    values, reference = told
    made: list[Chart] = []
    for column, words, write in COSTS:
        if column not in costs.columns or INSTEAD.get(column) in [c.key for c in made]:
            continue
        of = {r["cell"]: r[column] for r in costs.to_dict("records")}
        points, missing = _points(answer, values, of, circuits="circuits" in column or column == "circuit_evaluations")
        if len(points) < 2 or len({p.cost for p in points}) < 2:
            continue
        if made and len(points) > CROWD:
            continue
        made.append(replace(_chart(points, missing, words, write, metric, reference, column), folded=bool(made)))
    notes = failed_note(answer)
    return [replace(c, notes=[*c.notes, *notes]) for c in made]


def _values(answer: Any) -> tuple[dict[str, tuple[float, float, float, float]], str]:
    """({cell: (larger is better, shown, low, high)}, the common reference, or nothing for mean scores).

    Effects where every cell was compared with one and the same; else mean scores.
    """
    derived = (AGAINST_CONTROL, "simple", "interaction")
    rows = [r for r in answer.effects.to_dict("records") if r.get("role", "level") not in derived]
    rows = [r for r in rows if r.get("primary", True)]
    drawn = {c.name for c in cells_drawn(answer)}  # of two estimands, the primary one's
    scores = {cell: one for cell, one in reached(answer).items() if not drawn or cell in drawn}
    against = {r.get("versus") for r in rows}
    own = [r.get("cell") for r in rows]
    if len(against) == 1 and against <= scores.keys() and set(own) <= scores.keys() and len(set(own)) == len(own):
        reference = next(iter(against))
        if set(scores) == {reference, *own}:
            found = {r["cell"]: (r["mean"], r["mean"], r["low"], r["high"]) for r in rows if not is_missing(r["mean"])}
            return {reference: (0.0, 0.0, math.nan, math.nan)} | found, clean(reference)
    sign = 1 if higher_is_better(answer) else -1
    return {name: (sign * one.mean, one.mean, one.low, one.high) for name, one in scores.items()}, ""


def _points(
    answer: Any, values: dict[str, tuple[float, float, float, float]], costs: dict[str, Any], circuits: bool
) -> tuple[list[Point], list[str]]:
    """(the cells with both, those without a cost). A cell without a circuit runs none on a device."""
    points, missing = [], []
    known = {c.name: getattr(c, "role", "level") for c in cells_drawn(answer)}
    for cell, value in values.items():
        given: Any = costs.get(cell)
        cost = (0.0 if circuits else math.nan) if is_missing(given) else float(given)
        role = known.get(cell, "level")
        if not math.isfinite(cost) or cost < 0:
            missing.append(clean(cell))
        elif cell in known:
            points.append(Point(cell, role if role in ROLES else "level", cost, *map(float, value)))
    return points, missing


def front(points: list[Point]) -> list[Point]:
    """Those that no other beats: none costs as little or less and is as good or better, and one of the two truly. By
    means alone; the cheapest first."""
    kept = [
        p
        for p in points
        if not any(
            q.cost <= p.cost and q.better >= p.better and (q.cost < p.cost or q.better > p.better) for q in points
        )
    ]
    return sorted(kept, key=lambda p: (p.cost, -p.better))


def _chart(
    points: list[Point], missing: list[str], words: str, write: Callable[[Any], str], metric: Measure, reference: str,
    column: str,
) -> Chart:  # fmt: skip
    best = front(points)
    order = {p.cell: i for i, p in enumerate(points, 1)}
    drawn = [p for p in points if len(points) <= MANY or p.role != "control" or p in best]
    y_axis = f"difference in {metric.label} against {reference}" if reference else f"mean {metric.label}"
    title = f"Cost against effect: {y_axis} by {words}; not dominated: {', '.join(clean(p.cell) for p in best)}"
    pictures = [_picture(drawn, best, order, words, write, metric, reference, y_axis, title, x) for x in (WIDE, NARROW)]
    names = "; ".join(f"{order[p.cell]} {clean(p.cell)}" for p in best)
    notes = [
        f"Not dominated, by means alone (no other cell costs as little and reaches as much): {names}. A difference "
        "within the margin or the intervals is no proof that one cell beats another: see the verdicts.",
        f"Bars: 95 % t interval of the paired difference against {reference}, not corrected for the number of cells, "
        "and no comparison of two other cells."
        if reference
        else "Bars: 95 % t interval of the mean, not of the paired difference, which verdicts go by.",
    ]
    if len(points) > CROWD:
        notes.append("Of so many cells one cost is drawn; the others are in the table of costs.")
    if len(points) > MANY:
        gone = len(points) - len(drawn)
        notes.append(
            f"In the table only, of so many cells: {gone} dominated controls, and the intervals of dominated cells."
        )
    if len(drawn) > LABELS:
        notes.append(f"Of {len(drawn)} cells {LABELS} are labelled, those that are not dominated first.")
    if missing:
        notes.append(f"Without this cost, and not drawn: {', '.join(missing)}.")
    return Chart(column, words, pictures, [], notes, _table(points, best, order, words, write, metric, reference))


def _table(
    points: list[Point], best: list[Point], order: dict[str, int], words: str, write: Callable[[Any], str],
    metric: Measure, reference: str,
) -> Table:  # fmt: skip
    def shown(value: float) -> Entry:
        return exact(value, difference(value, metric) if reference else score(value, metric))

    unit = ", pp" if reference and metric.share else ""
    effect = f"difference{unit}" if reference else f"{metric.label}, mean"
    which = "t interval of the paired difference" if reference else "t interval of the mean"
    headers = [
        Header("number", "no.", "in the figure", True), Header("cell", "cell"), Header("cost", words, "", True),
        Header("shown", effect, f"against {reference}" if reference else "over finished trials", True),
        Header("low", f"95 % low{unit}", which, True), Header("high", f"95 % high{unit}", which, True),
        Header("front", "not dominated"),
    ]  # fmt: skip
    rows = [
        [Entry(str(order[p.cell]), str(order[p.cell]), "number"), Entry(clean(p.cell)), exact(p.cost, write(p.cost)),
         shown(p.shown), shown(p.low), shown(p.high), Entry("yes" if p in best else "no")]
        for p in points
    ]  # fmt: skip
    return Table(headers, rows, [p.role for p in points])


def _picture(
    points: list[Point], best: list[Point], order: dict[str, int], words: str, write: Callable[[Any], str],
    metric: Measure, reference: str, y_axis: str, title: str, layout: Layout,
) -> Markup:  # fmt: skip
    left, top, right, bottom = layout.plot
    kept, crowded = set(map(id, best)), len(order) > MANY
    swaps = [p for p in points if p.role in ("level", "variant")]
    low, high = axes.span_of(
        [p.shown for p in swaps], [(p.low, p.high) for p in swaps if p in best or not crowded],
        [p.shown for p in points], metric.share and not reference,
    )  # fmt: skip
    scale = axes.Scale(low, high, bottom, top)
    x, marks = _costs_axis([p.cost for p in points], left, right, 5 if layout.names else 3)
    parts = axes.upright(scale, metric, left, right, signed=bool(reference))
    last = -math.inf
    for at, value in marks:
        label = write(value)
        half = svg.text_width(label, axes.FONT) / 2
        parts.append(svg.line(at, bottom, at, bottom + 5, class_="between"))
        if at - half > last + 8 and at + half <= layout.width:
            parts.append(svg.text(at, bottom + 20, label, class_="tick", text_anchor="middle", font_size=axes.FONT))
            last = at + half
    parts.append(
        svg.text((left + right) / 2, bottom + 40, words, class_="axis", text_anchor="middle", font_size=axes.FONT)
    )
    unit = f", {metric.unit}" if reference and metric.unit else ""
    above = svg.wrap(f"{y_axis}{unit}", axes.FONT, layout.width - 4, 1 if layout.names else 2)
    parts += [svg.text(2, 15 + 16 * i, t, class_="axis", font_size=axes.FONT) for i, t in enumerate(above)]
    if reference:
        parts.append(svg.line(left, scale.at(0), right, scale.at(0), class_="zero"))

    def y(p: Point) -> float:
        return scale.at(min(max(p.shown, low), high))

    stairs: list[tuple[float, float]] = []
    for p in best:
        stairs += [(x(p.cost), stairs[-1][1])] if stairs else []
        stairs.append((x(p.cost), y(p)))
    if len(best) > 1:
        parts.append(svg.path(stairs, class_="front"))
    taken: list[axes.Box] = [(x(p.cost) - 7, y(p) - 7, x(p.cost) + 7, y(p) + 7) for p in points]
    taken += [_box(*pair) for pair in itertools.pairwise(stairs)] if len(best) > 1 else []
    if reference:  # and off the line of no difference
        taken.append((left, scale.at(0) - 1, right, scale.at(0) + 1))
    for p in points:  # names stay off the bars too
        if math.isfinite(p.low) and math.isfinite(p.high) and (id(p) in kept or not crowded):
            ends = [scale.at(min(max(v, low), high)) for v in (p.low, p.high)]
            taken.append((x(p.cost) - 3, min(ends), x(p.cost) + 3, max(ends)))
    arms: list[Markup] = []
    texts: list[Markup] = []
    by_rank = sorted(points, key=lambda p: (id(p) not in kept, ROLES.index(p.role), order[p.cell]))
    for rank, p in enumerate(by_rank):
        px, py = x(p.cost), y(p)
        bold = id(p) in kept
        arm = [svg.tag("title", f"{order[p.cell]} {clean(p.cell)}: {write(p.cost)} {words}, "
                       f"{difference(p.shown, metric) if reference else score(p.shown, metric)}")]  # fmt: skip
        if bold or not crowded:
            arm += axes.whisker(px, scale, p.low, p.high, p.role, upright=True, end=4)
        shape, class_ = SHAPES.get(p.role, "disc"), f"mark {p.role}{' best' if bold else ''}"
        arm.append(axes.point(px, scale, p.shown, shape, 5.6, class_, upright=True))
        arms.append(svg.tag("g", *arm, class_="arm"))
        if rank >= LABELS:
            continue
        texts += _label(p, order[p.cell], px, py, taken, (left, top - 10, layout.width - 2, bottom - 2),
                        layout.names and (bold or not crowded), bold)  # fmt: skip
    return svg.figure(
        layout.width, bottom + 48, title, *parts, *reversed(arms), *texts,
        class_=f"chart pareto {'wide' if layout.names else 'narrow'}{' many' if crowded else ''}",
    )  # fmt: skip


def _box(one: tuple[float, float], two: tuple[float, float]) -> axes.Box:
    """What a step of the stair takes, short of its ends, where the marks are."""
    (x1, x2), (y1, y2) = sorted((one[0], two[0])), sorted((one[1], two[1]))
    return (x1 + 1, y1 - 1, x2 - 1, y2 + 1) if x2 - x1 > y2 - y1 else (x1 - 1, y1 + 1, x2 + 1, y2 - 1)


def _label(
    p: Point, number_: int, x: float, y: float, taken: list[axes.Box], bounds: axes.Box, names: bool, bold: bool
) -> list[Markup]:
    """Number and name where there is room, else the number alone; a line to it where it stands away from its mark."""
    full = f"{number_} {clean(p.cell)}"
    wanted = [full] if names and svg.text_width(full, 13) * 1.06 < 330 else []
    for words in [*wanted, str(number_)]:
        width = svg.text_width(words, 13) * (1.1 if bold else 1.02) + 2
        box = axes.beside(x, y, width, 16, taken, bounds)
        if box is None:
            continue
        taken.append(box)
        parts = []
        near_x, near_y = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
        if math.hypot(near_x - x, near_y - y) > 16:
            parts.append(svg.line(x, y, near_x, near_y, class_="leader"))
        class_ = f"label {p.role}{' best' if bold else ''}"
        left = box[2] <= x  # written up to its mark: the reader's font may be wider than we think
        at, anchor = (box[2] - 1, "end") if left else (box[0] + 1, None)
        parts.append(svg.text(at, box[3] - 3.5, words, class_=class_, font_size=13, text_anchor=anchor))
        return parts
    return []


def _costs_axis(
    costs: list[float], left: float, right: float, about: int
) -> tuple[Callable[[float], float], list[tuple[float, float]]]:
    """(place of a cost, ticks). By logarithms where the largest is ten times the smallest or more; then costs of zero
    have a place of their own at the left end."""
    positive = sorted({c for c in costs if c > 0})
    zero = min(costs) == 0
    if not positive or (positive[-1] < 10 * positive[0] and not zero):
        low, high = min(costs), max(costs)
        air = 0.08 * ((high - low) or 1)
        scale = axes.Scale(low - air, high + air, left, right)
        return scale.at, [(scale.at(v), v) for v in svg.ticks(max(0.0, low - air), high + air, about)]
    start = left + (46 if zero else 0)
    air = (positive[-1] / positive[0]) ** 0.08 if positive[-1] > positive[0] else 3.0
    scale = axes.Scale(positive[0] / air, positive[-1] * air, start, right, log=True)

    def at(cost: float) -> float:
        return left + 18 if cost <= 0 else scale.at(cost)

    powers = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
    whole = [10.0**k for k in powers if scale.inside(10.0**k)]
    if len(whole) < 3:
        whole = [m * 10.0**k for k in powers for m in (1, 2, 5) if scale.inside(m * 10.0**k)]
    whole = whole[:: max(1, math.ceil(len(whole) / (about + 2)))]
    return at, ([(left + 18, 0.0)] if zero else []) + [(scale.at(v), v) for v in whole]
