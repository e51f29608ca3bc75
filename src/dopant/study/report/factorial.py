"""The heat map of a factorial: two factors as a grid of mean scores, further ones as a grid for each level."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ...designs import Factorial
from . import axes, svg
from .scores import Chart, Reached, failed_note, listed, metric_drawn, reached
from .words import Measure, clean, difference, score

FACETS = 12  # more grids than this are not drawn
TINTS = 7
TILE = 56.0  # height
WIDE, NARROW = 980.0, 360.0


@dataclass(frozen=True)
class Axis:
    """A factor with its levels."""

    factor: str
    levels: list[str]


def design_of(answer: Any) -> Factorial | None:
    """The factorial of two moving factors or more that an answer is of; None for others."""
    design = getattr(getattr(answer, "config", None), "design", None)
    if not isinstance(design, Factorial) or len(moving(design)) < 2:
        return None
    return design


def moving(design: Factorial) -> list[Axis]:
    """The factors with more than one level."""
    return [Axis(f, list(levels)) for f, levels in design.factors.items() if len(levels) > 1]


def name_of(design: Factorial, found: dict[str, Reached], place: dict[str, str], drop_in: bool) -> str:
    """The cell of a place: of two estimands, the primary one's."""
    from ..search import SUFFIX

    name = design.name(place)
    return name + SUFFIX if drop_in and name + SUFFIX in found else name


def is_drop_in(answer: Any) -> bool:
    """Whether the primary estimand of a study that reports both is the drop-in one."""
    from ..estimands import is_primary
    from ..search import DROP_IN

    return is_primary(answer) == DROP_IN


def chart(answer: Any) -> Chart | None:
    """None for other designs, for fewer than two moving factors, and where no cell has a score."""
    design = design_of(answer)
    if design is None:
        return None
    metric, found, drop_in = metric_drawn(answer), reached(answer), is_drop_in(answer)
    still = {f: next(iter(levels)) for f, levels in design.factors.items() if len(levels) == 1}
    trained = {design.name(place) for place in design.places()}
    rows, columns, *rest = _by_size(moving(design))
    facets = list(itertools.product(*(axis.levels for axis in rest)))

    def place(row: str, column: str, facet: tuple[str, ...]) -> dict[str, str]:
        chosen = {rows.factor: row, columns.factor: column, **dict(zip((a.factor for a in rest), facet, strict=True))}
        return {f: {**still, **chosen}[f] for f in design.factors}

    def tile(row: str, column: str, facet: tuple[str, ...]) -> Reached | str:
        here = place(row, column, facet)
        if design.name(here) not in trained:
            return "not trained"
        return found.get(name_of(design, found, here, drop_in), "no score yet")

    grids = [(facet, [[tile(r, c, facet) for c in columns.levels] for r in rows.levels]) for facet in facets]
    scores = [one for _, grid in grids for row in grid for one in row if isinstance(one, Reached)]
    if not scores:
        return None
    drawn = [g for g in grids if any(t != "not trained" for row in g[1] for t in row)][:FACETS]
    best = _best(answer, scores)
    title = f"Heat map: mean {metric.label} of every combination of {rows.factor} and {columns.factor}"
    titles = [", ".join(f"{a.factor}={level}" for a, level in zip(rest, facet, strict=True)) for facet, _ in drawn]
    shown = list(zip(titles, [grid for _, grid in drawn], strict=True))
    pictures = [_picture(rows, columns, shown, metric, title, scores, best, w) for w in (WIDE, NARROW)]
    notes = [
        "Each tile: the mean over finished trials and the standard deviation of one replicate. The stronger the tint, "
        "the larger the score. Framed: the best mean, which is not to say that it is better than the next."
    ]
    cut = len([g for g in grids if any(t != "not trained" for row in g[1] for t in row)]) - len(drawn)
    if cut:
        notes.append(f"{cut} more grids are not drawn; their scores are in the table below.")
    notes += [*design.aliases(), *failed_note(answer)]
    table = listed([(design.name(p), found.get(name_of(design, found, p, drop_in))) for p in design.places()], metric)
    return Chart("factorial", f"Every combination: {metric.label}", pictures, [], [clean(n) for n in notes], table)


def _by_size(factors: list[Axis]) -> list[Axis]:
    """The two with the most levels first, rows before columns: a phone has room below, not beside."""
    return sorted(factors, key=lambda axis: -len(axis.levels))  # stable


def _best(answer: Any, scores: list[Reached]) -> str:
    from .scores import higher_is_better

    sign = 1 if higher_is_better(answer) else -1
    return max(scores, key=lambda one: sign * one.mean).cell


def _picture(
    rows: Axis, columns: Axis, grids: list[tuple[str, list[list[Any]]]], metric: Measure, title: str,
    scores: list[Reached], best: str, width: float,
) -> Markup:  # fmt: skip
    narrow = width == NARROW
    aside = 92.0 if narrow else 150.0  # for the names of rows
    tile = min(150.0, (width - aside) / len(columns.levels))
    whole = aside + tile * len(columns.levels)
    beside = max(1, int((width + 28) // (whole + 28)))
    low, high = min(s.mean for s in scores), max(s.mean for s in scores)
    parts: list[Markup] = []
    y = 0.0
    for at in range(0, len(grids), beside):
        row = grids[at : at + beside]
        deepest = y
        for i, (heading, grid) in enumerate(row):
            made, bottom = _grid(
                rows, columns, heading, grid, metric, (i * (whole + 28), y, aside, tile), (low, high), best
            )
            parts += made
            deepest = max(deepest, bottom)
        y = deepest + 22
    return svg.figure(width, y - 12, title, *parts, class_=f"chart heat {'narrow' if narrow else 'wide'}")


def _grid(
    rows: Axis, columns: Axis, heading: str, grid: list[list[Any]], metric: Measure,
    box: tuple[float, float, float, float], limits: tuple[float, float], best: str,
) -> tuple[list[Markup], float]:  # fmt: skip
    x, y, aside, tile = box
    parts: list[Markup] = []
    y += 4
    for t in svg.wrap(heading, 13 * 1.1, aside + tile * len(columns.levels), 2) if heading else []:
        y += 17
        parts.append(svg.text(x, y, t, class_="label level", font_size=13))
    heads = [svg.wrap(f"{columns.factor}={level}", axes.FONT, tile - 6, 3) for level in columns.levels]
    deepest = max(len(h) for h in heads)
    for j, words in enumerate(heads):
        for k, t in enumerate(words):
            below = y + 16 + 15 * (deepest - len(words) + k)
            parts.append(
                svg.text(
                    x + aside + tile * (j + 0.5), below, t, class_="sub", text_anchor="middle", font_size=axes.FONT
                )
            )
    y += 16 + 15 * (deepest - 1) + 8
    for level, line in zip(rows.levels, grid, strict=True):
        words = svg.wrap(f"{rows.factor}={level}", axes.FONT, aside - 10, 3)
        first = y + TILE / 2 + 4 - 7.5 * (len(words) - 1)
        parts += [
            svg.text(x + aside - 8, first + 15 * k, t, class_="sub", text_anchor="end", font_size=axes.FONT)
            for k, t in enumerate(words)
        ]
        for j, one in enumerate(line):
            parts.append(_tile(one, x + aside + tile * j, y, tile, metric, limits, best, f"{rows.factor}={level}, "
                               f"{columns.factor}={columns.levels[j]}{', ' if heading else ''}{heading}"))  # fmt: skip
        y += TILE
    return parts, y


def _tile(
    one: Any, x: float, y: float, width: float, metric: Measure, limits: tuple[float, float], best: str, where: str
) -> Markup:
    box = {"x": x + 2, "y": y + 2, "width": width - 4, "height": TILE - 4, "rx": 4}
    middle = x + width / 2
    if not isinstance(one, Reached):
        words = svg.wrap(one, axes.FONT, width - 8, 2)
        first = y + TILE / 2 + 4 - 7.5 * (len(words) - 1)
        texts = [
            svg.text(middle, first + 15 * k, t, class_="sub", text_anchor="middle", font_size=axes.FONT)
            for k, t in enumerate(words)
        ]
        return svg.tag("g", svg.tag("title", f"{where}: {one}"), svg.tag("rect", class_="untrained", **box), *texts)
    low, high = limits
    share = (one.mean - low) / (high - low) if high > low else 0.5
    tint = min(TINTS - 1, int(share * TINTS))
    sd = f"SD {difference(one.sd, metric, signed=False)}" if math.isfinite(one.sd) else "n = 1"
    told = f"{where}: {score(one.mean, metric)}, {sd}{metric.short if math.isfinite(one.sd) else ''}"
    return svg.tag(
        "g", svg.tag("title", f"{told}, n = {one.n}"),
        svg.tag("rect", class_=f"tile heat{tint}{' best' if one.cell == best else ''}", **box),
        svg.text(middle, y + 25, score(one.mean, metric), class_="tile-value", text_anchor="middle", font_size=14),
        svg.text(middle, y + 43, sd, text_anchor="middle", font_size=axes.FONT), class_="arm",
    )  # fmt: skip
