"""The mixing curve: the score against the share of the new component, the self-mixing control at every share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from . import axes, svg
from .forest import SHAPES
from .scores import Chart, Reached, cells_drawn, failed_note, kind_of_design, listed, metric_drawn, reached, said
from .words import Measure, clean, score


@dataclass(frozen=True)
class Series:
    """One component mixed in: (share, what it reached) from the host on. line: joined, else single points."""

    name: str
    role: str
    points: list[tuple[float, Reached]]
    line: bool


@dataclass(frozen=True)
class Layout:
    width: float
    plot: tuple[float, float, float, float]  # left, top, right, bottom
    beside: bool  # names to the right of the plot, else below it


WIDE = Layout(980, (66, 14, 690, 344), True)
NARROW = Layout(360, (58, 12, 344, 250), False)


def chart(answer: Any) -> Chart | None:
    """None for other designs, and where no share has a score."""
    if kind_of_design(answer) != "mixing":
        return None
    metric, found, cells = metric_drawn(answer), reached(answer), cells_drawn(answer)
    series = _series(cells, found)
    if not any(s.role == "level" and len(s.points) > 1 for s in series):
        return None
    title = f"Mixing curve: {metric.label} against the share of the new component, with 95 % intervals"
    names = [(f"{s.name}, d = {d:g}", one) for s in series for d, one in s.points if d > 0]
    host = [(clean(c.name), found.get(c.name)) for c in cells if c.role == "level" and not c.swaps]
    baselines = [(clean(c.name), found.get(c.name)) for c in cells if c.role == "baseline"]
    notes = [
        "d is the share of the new component: (1 − d) of the old module's output and d of the new one's. Squares "
        "joined by dashes: the old module mixed with a fresh copy of itself, which shows what comes of having two "
        "modules side by side. Other controls stand at the largest share. Bands and bars: 95 % t interval of the mean, "
        "not of the paired difference, which verdicts go by; lines between shares join what was measured.",
        *failed_note(answer),
    ]
    pictures = [_picture(series, [b for b in baselines if b[1] is not None], metric, title, x) for x in (WIDE, NARROW)]
    return Chart(
        "mixing", f"Share by share: {metric.label}", pictures, [], notes, listed([*host, *names, *baselines], metric)
    )


def _series(cells: list[Any], found: dict[str, Reached]) -> list[Series]:
    """The component, then its controls; those that were mixed at several shares are joined and begin at the host."""
    host = next((found[c.name] for c in cells if c.role == "level" and not c.swaps and c.name in found), None)
    by_name: dict[tuple[str, str], list[tuple[float, Reached]]] = {}
    for cell in cells:
        if not cell.swaps or cell.name not in found or cell.role not in ("level", "control"):
            continue
        slot, spec = next(iter(cell.swaps.items()))
        called = cell.control or spec["component"] if cell.role == "control" else spec["component"]
        share = spec.get("mix", spec["of"].get("mix", 1.0) if isinstance(spec.get("of"), dict) else 1.0)
        by_name.setdefault((clean(f"{slot}={called}"), cell.role), []).append((float(share), found[cell.name]))
    made = []
    for (name, role), points in by_name.items():
        line = role == "level" or len(points) > 1
        start = [(0.0, host)] if line and host is not None else []
        made.append(Series(name, role, [*start, *sorted(points, key=lambda p: p[0])], line))
    return made


def _picture(
    series: list[Series], baselines: list[tuple[str, Any]], metric: Measure, title: str, layout: Layout
) -> Markup:
    left, top, right, bottom = layout.plot
    every = [one for s in series for _, one in s.points]
    points = [v for one in every for v in one.values.values()] + [b.mean for _, b in baselines]
    low, high = axes.span_of(points, [(one.low, one.high) for one in every if one.whole], (), metric.share)
    scale = axes.Scale(low, high, bottom, top)
    aside = 16.0 * sum(not s.line for s in series)  # single points stand apart at the right end
    shares = axes.Scale(0, 1, left + 14, right - 14 - aside)
    parts = axes.upright(scale, metric, left, right)
    for d in sorted({0.0, 1.0, *(d for s in series for d, _ in s.points)}):
        parts.append(svg.line(shares.at(d), bottom, shares.at(d), bottom + 5, class_="between"))
    shown: list[float] = []
    for d in sorted({0.0, 1.0, *(d for s in series for d, _ in s.points)}):
        if not shown or shares.at(d) - shares.at(shown[-1]) > 34:
            shown.append(d)
            parts.append(
                svg.text(shares.at(d), bottom + 20, f"{d:g}", class_="tick", text_anchor="middle", font_size=axes.FONT)
            )
    axis = svg.wrap("d, the share of the new component", axes.FONT, right - left, 1)[0]
    parts.append(
        svg.text((left + right) / 2, bottom + 38, axis, class_="axis", text_anchor="middle", font_size=axes.FONT)
    )
    for _, one in baselines:
        y = scale.at(one.mean)
        parts.append(svg.line(left, y, right, y, class_="through baseline"))
    ends: list[tuple[str, str, float, float, Reached]] = []  # name, role, x, y, of the last point
    lone = 0
    for s in series:
        lone += 0 if s.line else 1
        places = [(shares.at(d) + (0 if s.line else 16 * lone), d, one) for d, one in s.points]
        parts += _band(places, s, scale)
        parts += [_mark(x, s, d, one, scale, metric) for x, d, one in places if d > 0 or s.role == "level"]
        if places:
            ends.append((s.name, s.role, places[-1][0], scale.at(places[-1][2].mean), places[-1][2]))
    ends += [(clean(name), "baseline", right, scale.at(one.mean), one) for name, one in baselines]
    height = bottom + 46
    if layout.beside:
        for (name, role, x, y, one), at in zip(ends, axes.spread([e[3] for e in ends], 20, top, bottom), strict=True):
            parts.append(svg.path([(x + 8, y), (right + 4, y), (right + 18, at)], class_="leader"))
            said_here = svg.wrap(f"{name} {score(one.mean, metric)}", 13 * 1.08, layout.width - right - 24, 1)[0]
            parts.append(svg.text(right + 22, at + 4, said_here, class_=f"label {role}", font_size=13))
    else:
        for i, (name, role, _, _, one) in enumerate(ends):
            y = height + 8 + 20 * i
            parts.append(svg.mark(SHAPES.get(role, "disc"), 12, y, 5, class_=f"mark {role}"))
            said_here = svg.wrap(f"{name} {score(one.mean, metric)}", 13 * 1.08, layout.width - 30, 1)[0]
            parts.append(svg.text(26, y + 4, said_here, class_=f"label {role}", font_size=13))
        height += 20 * len(ends) + 4
    return svg.figure(
        layout.width, height, title, *parts, class_=f"chart mixing {'wide' if layout.beside else 'narrow'}"
    )


def _band(places: list[tuple[float, float, Reached]], s: Series, scale: axes.Scale) -> list[Markup]:
    if not s.line:
        return []
    parts = []
    inside = [(x, one) for x, _, one in places if one.whole]
    if s.role == "level" and len(inside) > 1:
        cut = [(x, min(one.high, scale.high), max(one.low, scale.low)) for x, one in inside]
        edge = [(x, scale.at(high)) for x, high, _ in cut] + [(x, scale.at(low)) for x, _, low in reversed(cut)]
        parts.append(svg.path(edge, closed=True, class_=f"band {s.role}"))
    drawn = svg.path([(x, scale.at(one.mean)) for x, _, one in places], class_=f"curve {s.role}")
    return [*parts, drawn]


def _mark(x: float, s: Series, d: float, one: Reached, scale: axes.Scale, metric: Measure) -> Markup:
    parts = [svg.tag("title", said(f"{s.name}, d = {d:g}" if d else "the host, d = 0", one, metric))]
    at = x if s.line and s.role == "level" else x + 9 * s.line  # a control's bar beside that of the component
    parts += axes.whisker(at, scale, one.low, one.high, s.role, upright=True, end=4)
    parts.append(svg.mark(SHAPES.get(s.role, "disc"), at, scale.at(one.mean), 5.2, class_=f"mark {s.role}"))
    return svg.tag("g", *parts, class_="arm")
