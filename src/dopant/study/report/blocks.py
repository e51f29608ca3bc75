"""The host drawn as blocks in the order in which its modules run, the swapped slots marked, each a link to its details.

Two layouts as of the forest plot: rows of blocks where there is room, a column on a phone. Links are SVG's own, so they
work without a script and from the keyboard; identifiers are numbers, since names of slots are anybody's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from markupsafe import Markup

from . import svg
from .flow import Block, title
from .words import clean, large, number

CHIPS = 4  # fillings that are named in a block
GROUPS = 4  # sets of arms that have a colour of their own; further ones share the last


@dataclass(frozen=True)
class Layout:
    """In the figure's own units, close to CSS pixels. columns: blocks in a row; of fewer, each may be `widest`."""

    width: float
    columns: int
    block: float
    widest: float
    gap: float


WIDE = Layout(width=980, columns=5, block=166, widest=245, gap=35)
NARROW = Layout(width=360, columns=1, block=352, widest=352, gap=22)


@dataclass(frozen=True)
class Marked:
    """A swapped slot in the drawing. number: of its details. arms: which arms swap it, in words. group: its colour.
    chips: (what fills it, identifier of that filling's details)."""

    number: int
    arms: str
    group: int
    chips: tuple[tuple[str, str], ...]


def drawing(blocks: list[Block], marked: dict[str, Marked], layout: Layout, name: str) -> Markup:
    """The figure. marked: {slot: how it is marked}. name: of the host, for those who cannot see it."""
    columns = max(1, min(layout.columns, len(blocks)))
    room = (layout.width - 8 - layout.gap * (columns - 1)) / columns
    layout = replace(layout, columns=columns, block=min(layout.widest, room))
    rows = [blocks[i : i + layout.columns] for i in range(0, len(blocks), layout.columns)]
    parts: list[Markup] = []
    y = 14.0
    wide = columns > 1
    for number_, row in enumerate(rows):
        tall = max(_height(block, marked, layout) for block in row)
        for place, block in enumerate(row):
            x = 3 + place * (layout.block + layout.gap)
            height = _height(block, marked, layout)
            if place:
                parts.append(_step(x - layout.gap, y + 26, x, y + 26))
            elif number_ and not wide:
                parts.append(_step(x + 24, y - layout.gap, x + 24, y))
            elif number_:
                parts.append(_turn(layout, x, y))
            parts.append(_block(block, marked, x, y, height, layout))
        y += tall + layout.gap + (6 if wide else 0)
    words = f"The host {clean(name)} as {len(blocks)} blocks in the order in which they run; swapped slots are links"
    height = y - layout.gap + 4
    # a group, not an image: the links inside must reach those who read with their ears
    return svg.tag(
        "svg", svg.tag("title", words), *parts, class_=f"blocks {'wide' if wide else 'narrow'}", role="group",
        viewBox=f"0 0 {layout.width:g} {height:.0f}", width=f"{layout.width:g}", height=f"{height:.0f}",
        aria_label=words, xmlns="http://www.w3.org/2000/svg",
    )  # fmt: skip


def _step(x1: float, y1: float, x2: float, y2: float) -> Markup:
    down = x1 == x2
    head = (
        [(x2 - 5, y2 - 8), (x2, y2 - 1), (x2 + 5, y2 - 8)]
        if down
        else [(x2 - 8, y2 - 5), (x2 - 1, y2), (x2 - 8, y2 + 5)]
    )
    return Markup("").join(
        [svg.line(x1, y1, x2 - (0 if down else 1), y2, class_="then"), svg.path(head, class_="then")]
    )


def _turn(layout: Layout, x: float, y: float) -> Markup:
    """From the end of the row above to the start of this one."""
    right = 3 + layout.columns * layout.block + (layout.columns - 1) * layout.gap
    above = y - layout.gap / 2 - 3
    points = [(right - 20, y - layout.gap - 6), (right - 20, above), (x + 20, above), (x + 20, y - 1)]
    head = [(x + 15, y - 8), (x + 20, y - 1), (x + 25, y - 8)]
    return Markup("").join([svg.path(points, class_="then"), svg.path(head, class_="then")])


def _chips(mark: Marked | None) -> list[tuple[str, str]]:
    if mark is None:
        return []
    shown = list(mark.chips[:CHIPS])
    left = len(mark.chips) - len(shown)
    return shown + ([(f"and {left} more", f"slot-{mark.number}")] if left > 0 else [])


def _height(block: Block, marked: dict[str, Marked], layout: Layout) -> float:
    mark = marked.get(block.names[0]) if block.slot else None
    lines = len(_lines(block, mark, layout))
    return 14 + lines * 18 + (6 + 27 * len(_chips(mark)) if mark else 0) + 4


def _lines(block: Block, mark: Marked | None, layout: Layout) -> list[tuple[str, str, float]]:
    """(text, class, size) of each line."""
    room = layout.block - 24
    found = [(line, "name", 14.0) for line in svg.wrap(title(block), 14 * 1.1, room, 2)]
    of = f"{block.class_}" + (f" × {len(block.names)}" if len(block.names) > 1 and "," not in block.class_ else "")
    found.append((svg.wrap(of, 12.5, room, 1)[0], "sub", 12.5))
    size = f"{large(block.parameters)} parameters" if block.parameters else "no parameters"
    if not block.slot and block.modules > 1:
        size += f", {block.modules} modules"
    found += [(line, "sub", 12.5) for line in svg.wrap(size, 12.5, room, 2)]
    if block.calls != 1:
        found.append((f"called {block.calls} times" if block.calls else "never called", "sub", 12.5))
    if block.inside:
        found.append((svg.wrap(f"inside {block.inside}", 12.5, room, 1)[0], "sub", 12.5))
    if mark is not None:
        found += [(line, "arms", 12.5) for line in svg.wrap(mark.arms, 12.5 * 1.06, room, 2)]
    return found


def _block(block: Block, marked: dict[str, Marked], x: float, y: float, height: float, layout: Layout) -> Markup:
    mark = marked.get(block.names[0]) if block.slot else None
    group = f"swapped g{mark.group}" if mark else "plain"
    box = {"x": x, "y": y, "width": layout.block, "height": height}
    parts = [svg.tag("rect", class_="box", rx=8.0, **box)]
    if block.modules > 1 and not mark:  # a pile: it stands for several
        parts.insert(0, svg.tag("rect", class_="box pile", rx=8.0, **(box | {"x": x + 3, "y": y - 4})))
    if mark:  # a bar at the side and a sign, so that it is known without its colour
        parts.append(svg.tag("rect", class_="bar", x=x, y=y, width=7.0, height=height, rx=3.0))
        parts.append(svg.mark("diamond", x + layout.block - 15, y + 16, 5, class_="sign"))
    at = y + 22
    for content, class_, size in _lines(block, mark, layout):
        parts.append(svg.text(x + 15, at, content, class_=class_, font_size=size))
        at += 18
    if mark is None:
        return svg.tag("g", svg.tag("title", _said(block)), *parts, class_=f"block {group}")
    said = f"Slot {clean(block.names[0])}: {mark.arms}, {len(mark.chips)} fillings; go to its details"
    link = svg.tag("a", svg.tag("title", said), *parts, href=f"#slot-{mark.number}", aria_label=said)
    return svg.tag("g", link, *_fillings(mark, x, at - 6, layout), class_=f"block {group}")


def _fillings(mark: Marked, x: float, top: float, layout: Layout) -> list[Markup]:
    made = []
    for place, (content, identifier) in enumerate(_chips(mark)):
        y = top + 27 * place
        shown = svg.wrap(content, 12.5, layout.block - 42, 1)[0]
        made.append(
            svg.tag(
                "a", svg.tag("title", content),
                svg.tag("rect", class_="chip", x=x + 14, y=y, width=layout.block - 24, height=23.0, rx=11.0),
                svg.text(x + 24, y + 16, shown, class_="chiptext", font_size=12.5),
                href=f"#{identifier}", aria_label=f"{clean(content)}: go to its details",
            )
        )  # fmt: skip
    return made


def _said(block: Block) -> str:
    names = ", ".join(block.names)
    return f"{names}: {block.class_}, {number(block.parameters)} parameters, {block.modules} modules, not swapped"
