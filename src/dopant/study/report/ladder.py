"""The ladder chart: level by level along x, every replicate's own line, the controls of each level beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ...designs import describe_swaps
from . import axes, dots, svg
from .forest import SHAPES
from .scores import (
    Chart,
    Reached,
    cells_drawn,
    dotted,
    failed_note,
    kind_of_design,
    listed,
    metric_drawn,
    reached,
    replicates_note,
    said,
)
from .words import Measure, clean, score

WIDTH, LEFT, TOP, BOTTOM = 980.0, 66.0, 62.0, 372.0
LANE = 74.0  # a narrower one has no room for its name
ASIDE = 168.0  # for the names of baselines
ROWS = 80  # more arms than this are not drawn


@dataclass(frozen=True)
class Rung:
    """A level: its own cell first, then its variants and controls. added: what it swaps beside the level below."""

    level: int
    added: str
    arms: list[tuple[str, str, Reached | None]]  # (how it is called, role, what it reached)


def chart(answer: Any) -> Chart | None:
    """The ladder of an answer; None for other designs, or where nothing has a score."""
    if kind_of_design(answer) != "ladder":
        return None
    metric, found, cells = metric_drawn(answer), reached(answer), cells_drawn(answer)
    rungs = _rungs(cells, found)
    baselines = [(clean(c.name), found.get(c.name)) for c in cells if getattr(c, "role", "") == "baseline"]
    if not rungs or not any(one is not None for rung in rungs for *_, one in rung.arms):
        return None
    title = f"Ladder: {metric.label} of every level, its controls beside it, with 95 % intervals"
    lanes = sum(len(rung.arms) for rung in rungs)
    room = WIDTH - LEFT - 10 - (ASIDE if any(one for _, one in baselines) else 0)
    rows = _rows(rungs, baselines)[:ROWS]
    wide = (
        _columns(rungs, baselines, metric, title, room)
        if room / (lanes + 0.4 * len(rungs)) >= LANE
        else dots.dots(rows, metric, title, dots.WIDE, class_="ladder")
    )
    narrow = dots.dots(rows, metric, title, dots.NARROW, class_="ladder")
    names = [(name if role == "level" else f"{name} (level {rung.level})", one)
             for rung in rungs for name, role, one in rung.arms]  # fmt: skip
    every = [one for rung in rungs for *_, one in rung.arms]
    notes = [
        "Blue discs: the levels, each the one before with more swapped. Squares: a control in the place of what the "
        "level adds; triangles: a variant. Small dots are replicates; a thin line joins the levels of one replicate, "
        "which share data, start, order and noise. Bars: 95 % t interval of the mean, not of the paired difference, "
        "which verdicts go by. An arrow at the edge: beyond the axis; its number is written.",
        *replicates_note(every),
        *[f"{lanes + len(baselines) - ROWS} arms are not drawn; they are in the table."] * (len(rows) == ROWS),
        *failed_note(answer),
    ]
    return Chart(
        "ladder", f"Level by level: {metric.label}", [wide, narrow], [], notes, listed([*names, *baselines], metric)
    )


def _rungs(cells: list[Any], found: dict[str, Reached]) -> list[Rung]:
    """The levels in order, each with its arms."""
    rungs: list[Rung] = []
    order = {"level": 0, "variant": 1, "control": 2}
    levels = sorted({c.level for c in cells if getattr(c, "level", None) is not None})
    below: dict[str, Any] = {}
    for level in levels:
        mine = [c for c in cells if getattr(c, "level", None) == level and c.role in order]
        own = next((c for c in mine if c.role == "level"), None)
        added = {k: v for k, v in own.swaps.items() if below.get(k) != v} if own is not None else {}
        below = own.swaps if own is not None else below
        mine.sort(key=lambda c: order[c.role])  # stable
        arms = [(_called(c, level), c.role, found.get(c.name)) for c in mine]
        rungs.append(Rung(level, clean(describe_swaps(added)) if added else "the host untouched", arms))
    return rungs


def _called(cell: Any, level: int) -> str:
    """`level 2`; of what stands beside it, what it is: `head=frozen`."""
    return clean(str(cell.name) if cell.role == "level" else str(cell.name).removeprefix(f"level {level}, "))


def _rows(rungs: list[Rung], baselines: list[tuple[str, Reached | None]]) -> list[dots.Row]:
    """The same from top to bottom, for narrow screens and many arms."""
    rows = []
    for rung in rungs:
        for name, role, one in rung.arms:
            level = role == "level"
            called = name if level else f"{role}: {name}"
            rows.append(dots.Row(called, role, one, rung.added if level else "", joined=level))
    return rows + [dots.Row(name, "baseline", one, line=True) for name, one in baselines]


def _columns(
    rungs: list[Rung], baselines: list[tuple[str, Reached | None]], metric: Measure, title: str, room: float
) -> Markup:
    known = [one for rung in rungs for *_, one in rung.arms if one is not None]
    whole = [one for _, one in baselines if one is not None]
    levels = [one for rung in rungs for _, role, one in rung.arms if role == "level" and one is not None]
    low, high = axes.span_of(
        [v for one in levels for v in one.values.values()], [(one.low, one.high) for one in levels if one.whole],
        [*(v for one in known for v in one.values.values()), *(one.mean for one in whole)], metric.share,
    )  # fmt: skip
    scale = axes.Scale(low, high, BOTTOM, TOP)
    drawn = dotted(known)
    lanes = sum(len(rung.arms) for rung in rungs)
    lane = min(130.0, room / (lanes + 0.4 * len(rungs)))
    air = (room - lane * lanes) / len(rungs)  # beside each level
    right = LEFT + room
    bands: list[Markup] = []
    behind: list[Markup] = []
    front: list[Markup] = []
    x, before, deepest = LEFT, None, 0.0
    for number, rung in enumerate(rungs):
        width = lane * len(rung.arms) + air
        if number % 2 == 0:
            bands.append(svg.tag("rect", class_="strip", x=x, y=4.0, width=width, height=BOTTOM - 4))
        heading = svg.wrap(rung.added, axes.FONT, width - 8, 3)
        middle = x + width / 2
        front += [
            svg.text(middle, 19 + 15 * i, t, class_="sub", font_size=axes.FONT, text_anchor="middle")
            for i, t in enumerate(heading)
        ]
        for i, (name, role, one) in enumerate(rung.arms):
            at = x + air / 2 + lane * (i + 0.5)
            words = svg.wrap(name, axes.FONT * 1.06, lane - 8, 3)
            number_said = "no score yet" if one is None else score(one.mean, metric)
            for k, t in enumerate([*words, number_said]):
                class_ = f"label {role}" if k < len(words) else "numbers"
                front.append(
                    svg.text(at, BOTTOM + 19 + 16 * k, t, class_=class_, text_anchor="middle", font_size=axes.FONT)
                )
            deepest = max(deepest, BOTTOM + 19 + 16 * len(words))
            if one is None:
                continue
            front.append(_arm(at, scale, name, role, one, metric, drawn))
            if role != "level":
                continue
            if before is not None:
                behind += _joined(before, (at, one), scale, drawn)
            before = (at, one)
        x += width
    aside = [(clean(name), one) for name, one in baselines if one is not None]
    names = axes.spread([scale.at(min(max(one.mean, low), high)) for one in whole], 17, TOP, BOTTOM)
    for (name, one), y in zip(aside, names, strict=True):
        if scale.inside(one.mean):
            at = scale.at(one.mean)
            behind.append(svg.line(LEFT, at, right, at, class_="through baseline"))
            behind.append(svg.line(right, at, right + 10, y, class_="leader"))
        text = svg.wrap(f"{name} {score(one.mean, metric)}", axes.FONT, ASIDE - 16, 1)[0]
        front.append(svg.text(right + 14, y + 4, text, class_="label baseline", font_size=axes.FONT))
    grid = axes.upright(scale, metric, LEFT, right)
    return svg.figure(WIDTH, deepest + 14, title, *bands, *grid, *behind, *front, class_="chart ladder wide")


def _joined(before: tuple[float, Reached], after: tuple[float, Reached], scale: axes.Scale, drawn: bool):
    """A thread for each replicate that both levels have, and the step of the means."""
    (x1, one), (x2, two) = before, after
    both = [r for r in one.values if r in two.values] if drawn else []
    parts = [svg.line(x1, scale.at(one.values[r]), x2, scale.at(two.values[r]), class_="thread") for r in both]
    return [*parts, svg.line(x1, scale.at(one.mean), x2, scale.at(two.mean), class_="step")]


def _arm(x: float, scale: axes.Scale, name: str, role: str, one: Reached, metric: Measure, drawn: bool) -> Markup:
    parts = [svg.tag("title", said(name, one, metric))]
    parts += [
        svg.mark("disc", x, scale.at(v), 2.6, class_=f"replicate {role}")
        for v in one.values.values()
        if drawn and scale.inside(v)
    ]
    parts += axes.whisker(x, scale, one.low, one.high, role, upright=True)
    parts.append(axes.point(x, scale, one.mean, SHAPES.get(role, "disc"), 5.6, f"mark {role}", upright=True))
    return svg.tag("g", *parts, class_="arm")
