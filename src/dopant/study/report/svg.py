"""The few shapes that the figures are made of: static SVG, escaped, coloured by the page's style sheet."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from .words import clean


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """An element. Attributes: a trailing underscore is dropped (`class_`), inner ones become hyphens; None is left out.

    Children and attribute values are escaped unless they are Markup already.
    """
    parts = []
    for key, value in attributes.items():
        if value is None:
            continue
        value = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else clean(value)
        parts.append(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"')
    inner = "".join(str(c if isinstance(c, Markup) else escape(clean(c))) for c in children)
    return Markup(f"<{name}{''.join(parts)}>{inner}</{name}>")


def text(x: float, y: float, content: str, **attributes: Any) -> Markup:
    """One line of text with its baseline at y."""
    return tag("text", content, x=float(x), y=float(y), **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: Any) -> Markup:
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), **attributes)


def path(points: Sequence[tuple[float, float]], *, closed: bool = False, **attributes: Any) -> Markup:
    """A polyline through `points`."""
    d = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) + ("Z" if closed else "")
    return tag("path", d=d, **attributes)


def mark(shape: str, x: float, y: float, r: float, **attributes: Any) -> Markup:
    """A `disc`, `square`, `diamond`, `triangle` or `arrow-left` / `arrow-right` about (x, y)."""
    if shape == "disc":
        return tag("circle", cx=float(x), cy=float(y), r=float(r), **attributes)
    corners = {
        "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        "diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
        "triangle": [(0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
        "arrow-left": [(-1, 0), (0.6, -1), (0.6, 1)],
        "arrow-right": [(1, 0), (-0.6, -1), (-0.6, 1)],
    }[shape]
    return path([(x + r * dx, y + r * dy) for dx, dy in corners], closed=True, **attributes)


def figure(width: float, height: float, title: str, *children: Markup, class_: str = "") -> Markup:
    """The outermost element: scales with its box, says in `title` what it shows to those who cannot see it."""
    return tag(
        "svg", tag("title", title), *children, class_=class_, viewBox=f"0 0 {width:g} {height:.0f}", role="img",
        width=f"{width:g}", height=f"{height:.0f}", aria_label=title, xmlns="http://www.w3.org/2000/svg",
    )  # fmt: skip


def text_width(content: str, size: float) -> float:
    """About how wide a text is, in the unit of `size`; the reader's font is unknown, so this is generous."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in content)
    narrow = sum(c in "iljtfr.,:;|'!()[] " for c in content)
    return size * (1.02 * wide + 0.36 * narrow + 0.6 * (len(content) - wide - narrow))


def wrap(content: str, size: float, width: float, lines: int = 2) -> list[str]:
    """The text in at most `lines` lines of `width`, broken at spaces or signs; a longer one ends in …"""
    found: list[str] = []
    rest = " ".join(clean(content).split())
    while rest and len(found) < lines:
        fits = len(rest)
        while fits > 1 and text_width(rest[:fits], size) > width:
            fits -= 1
        if fits < len(rest) and len(found) == lines - 1:
            found.append(rest[: max(1, fits - 1)].rstrip() + "…")
            return found
        if fits < len(rest):
            breaks = [i + 1 for i, c in enumerate(rest[:fits]) if c in " ,=:/+-" and i > fits // 3]
            fits = breaks[-1] if breaks else fits
        found.append(rest[:fits].strip())
        rest = rest[fits:].strip()
    return found or [""]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) between low and high, about `about` of them."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    raw = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((power * m for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - raw))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def tick_labels(values: Sequence[float], *, signed: bool = False) -> list[str]:
    """Labels with as many decimals as the step between ticks needs."""
    step = abs(values[1] - values[0]) if len(values) > 1 else abs(values[0]) if values else 1.0
    if step and (step >= 1e6 or step < 1e-5):
        return [f"{v:.3g}" for v in values]
    decimals = next((d for d in range(7) if all(abs(round(v, d) - v) < 1e-9 for v in values)), 6)
    labels = [f"{v:+.{decimals}f}" if signed and v else f"{v:.{decimals}f}" for v in values]
    return [label.replace("-", "\u2212") for label in labels]
