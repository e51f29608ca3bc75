"""A circuit as SVG: no script, no outside font, colours that hold on white and on dark pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

from ._draw_layout import Picture, columns, picture

if TYPE_CHECKING:
    from .circuit import Circuit

_PITCH, _BOX, _GAP = 52, 36, 18  # between wires; height of a box; between columns
_MARGIN, _PAGE = 24, 1200  # around the drawing; the width at which rows go on below
_ROW = 34  # between rows
# middle tones: at least 4.5 to 1 against their white letters and 3 to 1 against white and near-black pages
_COLOURS = {"": "#5f6b7e", "features": "#b8580f", "weights": "#18807a", "both": "#a04488"}
_LEGEND = {"": "fixed", "features": "reads data", "weights": "trainable", "both": "data and trainable"}
_WIRE = "#737d8c"
_STYLE = {  # under a class of its own: in a page, a style sheet holds for the whole page
    "w": f"stroke:{_WIRE};stroke-width:1.6;fill:none", "q": f"fill:{_WIRE};font-size:14px;text-anchor:end",
    "n": "fill:#fff;font-size:14px;font-weight:600;text-anchor:middle",
    "a": "fill:#fff;font-size:11px;text-anchor:middle",
    "p": "fill:#fff;font-size:10px", "l": f"fill:{_WIRE};font-size:12px",
}  # fmt: skip
_FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Noto Sans', sans-serif"


def svg(circuit: Circuit) -> str:
    """The picture; one group a gate with its full label as title."""
    n = circuit.qubits
    grid = columns((picture(g, 30) for g in circuit), n)
    label = max(_width(f"q{n - 1}", 14), 18) + 18
    rows = _rows(grid, _PAGE - 2 * _MARGIN - label)
    kinds = [k for k in _COLOURS if any(p.inputs == k for column in grid for p in column if _coloured(p))]
    widths = [sum(w for _, w in row) + _GAP for row in rows]
    legend = _legend(kinds) if len(kinds) > 1 else ("", 0.0)
    width = 2 * _MARGIN + max(label + max(widths), legend[1])
    height_of_row = (n - 1) * _PITCH + _BOX
    height = 2 * _MARGIN + len(rows) * (height_of_row + _ROW) - _ROW + (_ROW + 14 if legend[0] else 0)
    parts = []
    for i, (row, length) in enumerate(zip(rows, widths, strict=True)):
        top = _MARGIN + i * (height_of_row + _ROW) + _BOX / 2
        parts += _row(row, n, top, label, length, first=i == 0, last=i == len(rows) - 1)
    if legend[0]:
        parts.append(f'<g transform="translate({_MARGIN} {_n(height - _MARGIN - 6)})">{legend[0]}</g>')
    said = f"Circuit of {len(circuit)} gate{'s' * (len(circuit) != 1)} on {n} qubit{'s' * (n > 1)}"
    style = "".join(f".dopant-circuit .{name}{{{rules}}}" for name, rules in _STYLE.items())
    return (
        f'<svg class="dopant-circuit" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'width="{_n(width)}" height="{_n(height)}" role="img" '
        f'style="max-width:100%;height:auto" font-family="{escape(_FONT)}">'
        f"<title>{said}</title><style>{style}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


Row = list[tuple[list[Picture], float]]


def _rows(grid: list[list[Picture]], room: float) -> list[Row]:
    """Columns with their widths, in rows of at most `room`."""
    rows: list[Row] = [[]]
    used = 0.0
    for column in grid:
        width = max(_wide(p) for p in column) + _GAP
        if rows[-1] and used + width > room:
            rows.append([])
            used = 0.0
        rows[-1].append((column, width))
        used += width
    return rows


def _row(row: Row, n: int, top: float, label: float, length: float, *, first: bool, last: bool) -> list[str]:
    left = _MARGIN + label
    parts = []
    for q in range(n):
        y = top + q * _PITCH
        parts.append(f'<text class="q" x="{_n(left - 14)}" y="{_n(y + 5)}">q{q}</text>')
        parts.append(f'<path class="w" d="M{_n(left)} {_n(y)}h{_n(length)}"/>')
        for there, x in ((not first, left - 1), (not last, left + length + 1)):
            if there:  # the wire goes on in another row
                sign = -1 if x < left else 1
                parts.append(f'<path class="w" stroke-dasharray="2 3" d="M{_n(x)} {_n(y)}h{sign * 8}"/>')
    x = left + _GAP
    for column, width in row:
        parts += [_gate(p, x + (width - _GAP) / 2, top) for p in column]
        x += width
    return parts


def _gate(p: Picture, x: float, top: float) -> str:
    def y(qubit: int) -> float:
        return top + qubit * _PITCH

    colour = _COLOURS[p.inputs]
    low, high = p.span
    inside = [f"<title>{escape(p.gate.label())} on {', '.join(f'q{q}' for q in p.gate.qubits)}</title>"]
    if low != high:
        line = f'stroke="{colour}" stroke-width="2"'
        inside.append(f'<path {line} d="M{_n(x)} {_n(y(low))}V{_n(y(high))}"/>')
    if p.boxed:
        inside += _box(p, x, y, colour)
    for q, mark in p.marks.items():
        if mark == "control":
            inside.append(f'<circle cx="{_n(x)}" cy="{_n(y(q))}" r="5.5" fill="{colour}"/>')
        elif mark == "not":
            inside.append(f'<circle cx="{_n(x)}" cy="{_n(y(q))}" r="12" fill="{colour}"/><path stroke="#fff" '
                          f'stroke-width="2" d="M{_n(x - 7)} {_n(y(q))}h14m-7 -7v14"/>')  # fmt: skip
        elif mark == "swap":
            inside.append(f'<path stroke="{colour}" stroke-width="2.6" stroke-linecap="round" '
                          f'd="M{_n(x - 6)} {_n(y(q) - 6)}l12 12m0 -12l-12 12"/>')  # fmt: skip
    return f"<g>{''.join(inside)}</g>"


def _box(p: Picture, x: float, y: Callable[[int], float], colour: str) -> list[str]:
    """One box over all its qubits; a wire that only passes is drawn through it."""
    boxed, wide = p.boxed, _wide(p)
    top, bottom = y(boxed[0]) - _BOX / 2, y(boxed[-1]) + _BOX / 2
    left = x - wide / 2
    found = [
        f'<rect x="{_n(left)}" y="{_n(top)}" width="{_n(wide)}" height="{_n(bottom - top)}" rx="5" fill="{colour}"/>'
    ]
    for q in range(boxed[0] + 1, boxed[-1]):
        if q not in p.marks:
            found.append(f'<path stroke="#fff" stroke-opacity=".45" stroke-width="1.6" stroke-dasharray="4 4" '
                         f'd="M{_n(left)} {_n(y(q))}h{_n(wide)}"/>')  # fmt: skip
    if p.ports:
        found += [f'<text class="p" x="{_n(left + 5)}" y="{_n(y(q) + 3.5)}">{t}</text>' for q, t in p.ports.items()]
    middle = (top + bottom) / 2
    if _passes(p, middle, y):
        middle -= _PITCH / 2
    name = _name(p)
    if p.angles:
        found.append(f'<text class="n" x="{_n(x)}" y="{_n(middle - 2)}">{escape(name)}</text>')
        found.append(f'<text class="a" x="{_n(x)}" y="{_n(middle + 12)}">{escape(p.angles)}</text>')
    else:
        found.append(f'<text class="n" x="{_n(x)}" y="{_n(middle + 5)}">{escape(name)}</text>')
    return found


def _passes(p: Picture, middle: float, y: Callable[[int], float]) -> bool:
    """A wire goes through the box just where the letters would stand."""
    return any(q not in p.marks and abs(y(q) - middle) < 1 for q in range(p.boxed[0], p.boxed[-1]))


def _name(p: Picture) -> str:
    return f"exp {p.gate.letters.replace('I', '')}" if p.label == "e" else p.label


def _coloured(p: Picture) -> bool:
    return bool(p.boxed) or p.inputs != ""


def _wide(p: Picture) -> float:
    if not p.boxed:
        return 24
    ports = 14 if p.ports else 0
    return max(_BOX, _width(_name(p), 14, bold=True) + 18 + ports, _width(p.angles, 11) + 14 + ports)


def _legend(kinds: Sequence[str]) -> tuple[str, float]:
    """The colours in words, and how wide they are."""
    parts, x = [], 0.0
    for kind in kinds:
        parts.append(f'<rect x="{_n(x)}" y="-5" width="12" height="12" rx="3" fill="{_COLOURS[kind]}"/>')
        parts.append(f'<text class="l" x="{_n(x + 18)}" y="5">{_LEGEND[kind]}</text>')
        x += 18 + _width(_LEGEND[kind], 12) + 22
    return "".join(parts), x


def _width(text: str, size: float, bold: bool = False) -> float:
    """About how wide the wider sans faces set it."""
    units = sum(0.39 if c in "il.,·[]()|/ :'" else 0.9 if c in "mwMWΩ" else 0.7 if c.isupper() else 0.63 for c in text)
    return units * size * (1.06 if bold else 1.0)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
