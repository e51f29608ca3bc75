"""The panels of components as the page shows them: pictures from plain data, everything that was named escaped."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ...panels import Bars, Heat, Images, Panel, Table, Text
from . import svg, tables
from .words import clean, number

WIDTH = 340.0
BLUE, ORANGE = (0, 99, 166), (176, 74, 0)  # the ends of a signed scale; white is 0
LISTED = 16  # bars, or rows of a matrix, up to which each is labelled


@dataclass(frozen=True)
class Shown:
    """One picture. kind: how the template shows it. figures: (data URI, label) of images. scale: of the colours."""

    kind: str
    picture: Markup | None = None
    figures: tuple[tuple[str, str], ...] = ()
    table: Any = None
    text: str = ""
    scale: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class ShownPanel:
    title: str
    caption: str
    pictures: list[Shown]


def panel(data: Any) -> ShownPanel:
    """A panel as a folder holds it. Raises ConfigError where it cannot be read."""
    read = Panel.from_json(data)
    return ShownPanel(clean(read.title), clean(read.caption), [shown(p, clean(read.title)) for p in read.pictures])


def shown(picture: Any, title: str) -> Shown:
    """One of the kinds of `dopant.panels` as the page shows it."""
    if isinstance(picture, Images):
        return _images(picture)
    if isinstance(picture, Heat):
        return _heat(picture, title)
    if isinstance(picture, Bars):
        return Shown("svg", _bars(picture, title), left_out=_left(picture.left_out, "bars"))
    if isinstance(picture, Table):
        return Shown("table", table=_table(picture), left_out=_left(picture.left_out, "entries"))
    assert isinstance(picture, Text)
    return Shown("text", text=clean(picture.text), left_out=_left(picture.left_out, "characters"))


def _left(count: int, what: str) -> str:
    return f"{number(count)} further {what} are not shown." if count > 0 else ""


def _images(given: Images) -> Shown:
    labels = [*given.labels, *[""] * (len(given.pixels) - len(given.labels))]
    figures = []
    for pixels, label in zip(given.pixels, labels, strict=False):
        values = base64.b64decode(pixels)
        figures.append((_png(values, given.width, given.height, given.channels, given.signed), clean(label)))
    low, high = number(given.low), number(given.high)
    scale = f"blue {low}, white 0, orange {high}" if given.signed else f"black {low}, white {high}"
    return Shown("images", figures=tuple(figures), scale=scale, left_out=_left(given.left_out, "pictures"))


def _png(values: bytes, width: int, height: int, channels: int, signed: bool) -> str:
    """A data URI. signed: one channel, drawn from blue (0) over white to orange (255)."""
    from PIL import Image

    if signed and channels == 1:
        values, channels = b"".join(_diverging(v / 127.5 - 1) for v in values), 3
    image = Image.frombytes("L" if channels == 1 else "RGB", (width, height), values)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _diverging(share: float) -> bytes:
    """share: -1 blue, 0 white, 1 orange."""
    end = ORANGE if share > 0 else BLUE
    return bytes(round(255 + (c - 255) * abs(share)) for c in end)


def _sequential(share: float) -> bytes:
    """share: 0 white, 1 blue."""
    return bytes(round(255 + (c - 255) * share) for c in BLUE)


def _heat(given: Heat, title: str) -> Shown:
    values = [v for row in given.values for v in row if v is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if given.signed:
        reach = max(abs(low), abs(high)) or 1.0
        low, high = -reach, reach
    span = (high - low) or 1.0

    def colour(v: float | None) -> bytes:
        if v is None:
            return b"\x80\x80\x80"
        share = (v - low) / span
        return _diverging(2 * share - 1) if given.signed else _sequential(share)

    rows, columns = len(given.values), len(given.values[0])
    uri = _png(b"".join(colour(v) for row in given.values for v in row), columns, rows, 3, False)
    named = len(given.rows) == rows <= LISTED
    left = 100.0 if named else 8.0
    side = min((WIDTH - left - 8) / columns, 240 / rows, 40)
    top = 8.0
    parts = [
        svg.tag("image", href=uri, x=left, y=top, width=side * columns, height=side * rows, class_="pixels",
                preserveAspectRatio="none")
    ]  # fmt: skip
    for i, label in enumerate(given.rows if named else ()):
        parts.append(svg.text(left - 6, top + side * (i + 0.5) + 4, svg.wrap(label, 12, left - 12, 1)[0],
                              class_="tick", text_anchor="end", font_size=12))  # fmt: skip
    bottom = top + side * rows
    if len(given.columns) == columns:
        fits = all(svg.text_width(clean(c), 12) <= side - 2 for c in given.columns)
        for i, label in enumerate(given.columns if fits else ()):
            parts.append(svg.text(left + side * (i + 0.5), bottom + 16, label, class_="tick", text_anchor="middle",
                                  font_size=12))  # fmt: skip
        bottom += 20 if fits else 0
    unit = f" {clean(given.unit)}" if given.unit else ""
    scale = f"white {number(low)}, blue {number(high)}{unit}"
    if given.signed:
        scale = f"blue {number(low)}, white 0, orange {number(high)}{unit}"
    if len(values) < rows * columns:
        scale += "; grey: not finite"
    table = None
    if rows <= LISTED and columns <= LISTED:
        heads = given.columns if len(given.columns) == columns else tuple(str(i) for i in range(columns))
        sides = given.rows if len(given.rows) == rows else tuple(str(i) for i in range(rows))
        table = _table(Table(("", *heads), tuple((s, *row) for s, row in zip(sides, given.values, strict=True))))
    picture = svg.figure(WIDTH, bottom + 8, f"{title}: {rows} by {columns} values, {scale}", *parts, class_="heat")
    return Shown("heat", picture, table=table, scale=scale, left_out=_left(given.left_out, "values"))


def _bars(given: Bars, title: str) -> Markup:
    values = [0.0 if v is None else v for v in given.values]
    labels = [*given.labels, *[""] * (len(values) - len(given.labels))]
    low, high = min(0.0, *values), max(0.0, *values)
    span = (high - low) or 1.0
    unit = f", {clean(given.unit)}" if given.unit else ""
    words = f"{title}: {len(values)} bars from {number(min(values))} to {number(max(values))}{unit}"
    parts: list[Markup] = []
    if len(values) <= LISTED:
        left, right = (110.0 if any(labels) else 8.0), WIDTH - 70
        scale = (right - left) / span
        zero = left - low * scale
        for i, (value, label) in enumerate(zip(given.values, labels, strict=False)):
            y = 6.0 + 24 * i
            parts.append(svg.text(left - 6, y + 14, svg.wrap(label, 12, left - 12, 1)[0], class_="tick",
                                  text_anchor="end", font_size=12))  # fmt: skip
            if value is not None:
                end = zero + value * scale
                parts.append(
                    svg.tag("rect", class_="bar", x=min(zero, end), y=y + 2, width=abs(end - zero), height=16.0)
                )
            parts.append(svg.text(right + 6, y + 14, number(value), class_="tick", font_size=12))
        bottom = 6.0 + 24 * len(values)
        parts.append(svg.line(zero, 4, zero, bottom, class_="zero"))
        height = bottom + 4
    else:
        left, right, top, bottom = 52.0, WIDTH - 6, 10.0, 150.0
        scale, step = (bottom - top) / span, (right - left) / len(values)
        zero = bottom + low * scale
        marks = svg.ticks(low, high, 4)
        for value, label in zip(marks, svg.tick_labels(marks), strict=True):
            y = zero - value * scale
            parts.append(svg.line(left, y, right, y, class_="grid"))
            parts.append(svg.text(left - 5, y + 4, label, class_="tick", text_anchor="end", font_size=12))
        for i, value in enumerate(values):
            end = zero - value * scale
            box = {
                "x": left + step * i + 0.5,
                "y": min(zero, end),
                "width": max(0.5, step - 1),
                "height": abs(end - zero),
            }
            parts.append(svg.tag("rect", svg.tag("title", f"{clean(labels[i])} {number(value)}"), class_="bar", **box))
        ends = ((left, "start", labels[0] or "0"), (right, "end", labels[-1] or str(len(values) - 1)))
        parts += [svg.text(x, bottom + 16, svg.wrap(content, 12, 130, 1)[0], class_="tick", text_anchor=anchor,
                           font_size=12) for x, anchor, content in ends]  # fmt: skip
        height = bottom + 24
    if given.unit:
        height += 18
        parts.append(svg.text(WIDTH / 2, height - 4, svg.wrap(given.unit, 12, WIDTH, 1)[0], class_="axis",
                              text_anchor="middle", font_size=12))  # fmt: skip
    return svg.figure(WIDTH, height, words, *parts, class_="bars")


def _table(given: Table) -> tables.Table:
    columns = list(zip(*given.rows, strict=False)) if given.rows else [() for _ in given.headers]
    numeric = [bool(c) and all(v is None or isinstance(v, (int, float)) for v in c) for c in columns]
    heads = [
        tables.Header(f"c{i}", clean(h), "", n) for i, (h, n) in enumerate(zip(given.headers, numeric, strict=False))
    ]
    return tables.Table(heads, [[tables.entry("", v, number) for v in row] for row in given.rows])
