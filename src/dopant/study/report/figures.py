"""The figures of an answer as files: the very pictures of the page, each able to stand alone.

Another figure is one line of `MAKERS`: a function that takes the answer and gives its pictures.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from . import best_of_k, svg
from .standalone import Rule, rules_of, standalone
from .words import clean

SCALE = 2.0  # of a PNG: pixels for each of the page's
COLUMNS = 3  # of small panels side by side
GAP = 26.0


@dataclass(frozen=True)
class Picture:
    """name: of the file, without ending. drawn: the page's <svg>. around: what it stands in, for the style sheet.
    caption: what it shows, in a sentence."""

    name: str
    drawn: Markup
    caption: str
    around: tuple[str, ...] = ("figure",)


@dataclass(frozen=True)
class Panel:
    """A small picture of several. last: what stands right of its heading. role: its colour, as in the style sheet."""

    heading: str
    last: str
    role: str
    picture: Markup


def _forests(answer: Any) -> Iterable[Picture]:
    from . import _comparisons, _forests

    for number, one in enumerate(_forests(answer)):
        caption = f"Differences in {one['title']}; thick: 95 % interval of paired differences, thin: unpaired"
        yield Picture(f"forest-{number + 1}" if number else "forest", one["pictures"][0], caption)
    pictures = _comparisons(answer)
    if pictures:
        yield Picture("forest-controls", pictures[0], "Each swap minus each of its controls, 95 % intervals")


def _curves(answer: Any) -> Iterable[Picture]:
    from . import _curves, measure_of

    for one in _curves(answer, measure_of(answer).name):
        caption = (
            f"{one['metric']} by epoch: mean over replicates and 95 % interval; grey: the cell that it is compared with"
        )
        yield Picture(f"curves-{one['metric']}", grid(_of_cells(one["panels"]), caption), caption)


def _best_of_k(answer: Any) -> Iterable[Picture]:
    made = best_of_k.panels(answer)["panels"]
    if made:
        caption = "Validation score of the best of k candidates; grey: the cell that it is compared with"
        yield Picture("best-of-k", grid(_of_cells(made), caption), caption)


def _charts(answer: Any) -> Iterable[Picture]:
    """Ladder, heat map, interactions, Shapley bars, mixing curves, arms; cost against effect."""
    from . import charts, pareto

    for one in charts.charts(answer):
        if one.pictures:
            yield Picture(one.key, one.pictures[0], one.title, ("section.charts", "figure"))
        elif one.panels:
            shown = [Panel(p.name, p.said, p.role, p.picture) for p in one.panels]
            yield Picture(one.key, grid(shown, one.title), one.title, ("section.charts",))
    for one in pareto.charts(answer):
        yield Picture(f"cost-{one.key}", one.pictures[0], f"Effect against {one.title}", ("section.charts", "figure"))


def _gradient_norms(answer: Any) -> Iterable[Picture]:
    from . import gradient_norms

    for one in gradient_norms.of(answer):
        caption = f"Gradient norms of {one.slot} over training: geometric mean over replicates and 95 % interval"
        shown = [Panel(a.cell, a.last, a.role, a.picture) for a in one.arms]
        yield Picture(f"gradient-norms-{one.slot}", grid(shown, caption), caption)


MAKERS: tuple[Callable[[Any], Iterable[Picture]], ...] = (
    _forests,
    _curves,
    _best_of_k,
    _charts,
    _gradient_norms,
)


def pictures(answer: Any) -> list[Picture]:
    """Every picture of the answer that has something to show, in the page's order; names differ."""
    found: dict[str, Picture] = {}
    if not len(answer.effects) and not len(getattr(answer, "metrics", ())):
        return []
    for maker in MAKERS:
        for picture in maker(answer):
            plain = re.sub("[^a-z0-9]+", "-", picture.name.lower())[:60].strip("-") or "figure"
            name, number = plain, 2
            while name in found:
                name, number = f"{plain}-{number}", number + 1
            found[name] = Picture(name, picture.drawn, clean(picture.caption), picture.around)
    return list(found.values())


def figures(answer: Any) -> dict[str, str]:
    """{file name: SVG that stands alone}, light theme."""
    return {f"{picture.name}.svg": alone(picture) for picture in pictures(answer)}


def alone(picture: Picture) -> str:
    """The picture as a file of its own."""
    return standalone(str(picture.drawn), _rules(), picture.around)


@functools.cache
def _rules() -> list[Rule]:
    from . import _style

    return rules_of(_style())


def grid(panels: list[Panel], title: str) -> Markup:
    """The page's small panels side by side, each with its heading and last value above it, as one picture."""
    size = [tuple(map(float, _box(str(p.picture)))) for p in panels]
    head, width = 40.0, max(w for w, _ in size)
    height = max(h for _, h in size) + head
    across = min(COLUMNS if len(panels) <= 12 else COLUMNS + 1, len(panels))
    parts = []
    for number, (panel, (w, h)) in enumerate(zip(panels, size, strict=True)):
        x, y = (number % across) * (width + GAP), (number // across) * (height + GAP)
        room = width - svg.text_width(panel.last, 13) - 10
        heading = [
            svg.text(x, y + 17 + 15 * i, one, class_="label", font_size=13, font_weight="bold")
            for i, one in enumerate(svg.wrap(panel.heading, 13.5, room))
        ]
        last = svg.text(x + width, y + 17, panel.last, class_="numbers", text_anchor="end", font_size=13)
        rule = svg.line(x, y + 1, x + width, y + 1, class_="end")
        parts.append(svg.tag("g", rule, *heading, last, _placed(panel.picture, x, y + head, w, h), class_=panel.role))
    rows = math.ceil(len(panels) / across)
    return svg.figure(across * (width + GAP) - GAP, rows * (height + GAP) - GAP, title, *parts)


def _of_cells(panels: list[Any]) -> list[Panel]:
    """Those of `curves`."""
    return [Panel(p.cell, p.last, p.role, p.picture) for p in panels]


def _box(drawn: str) -> list[str]:
    """Width and height of an <svg>, from its viewBox."""
    return drawn.partition('viewBox="')[2].partition('"')[0].split()[2:]


def _placed(drawn: Markup, x: float, y: float, width: float, height: float) -> Markup:
    """An <svg> inside another one, at a place of its own."""
    text = str(drawn)
    head, sign, rest = text.partition(">")
    box = head.partition('viewBox="')[2].partition('"')[0]
    return Markup(f'<svg x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" viewBox="{box}"{sign}{rest}')


def write(drawn: list[Picture], folder: Path, kind: str) -> list[Path]:
    """Writes pictures into `folder` as `svg`, `png` (two pixels for each of the page's) or `pdf`; their paths."""
    from ..answer import write_bytes

    made = []
    for picture in drawn:
        path = folder / f"{picture.name}.{kind}"
        write_bytes(path, rendered(picture, kind))
        made.append(path)
    return made


def rendered(picture: Picture, kind: str) -> bytes:
    """One picture as the bytes of a file."""
    import vl_convert

    drawn = alone(picture)
    if kind == "svg":
        return drawn.encode()
    return vl_convert.svg_to_pdf(drawn) if kind == "pdf" else vl_convert.svg_to_png(drawn, scale=SCALE)
