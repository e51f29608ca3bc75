"""Circuits as pictures: text for terminals and logs, SVG for pages and talks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UnknownName
from ._draw_layout import Picture, columns, picture

if TYPE_CHECKING:
    from .circuit import Circuit

_WIDTH = 100


def draw(circuit: Circuit, format: str = "text") -> str:
    """The circuit as Unicode text, at most 100 columns wide (rows go on below), or as a self-contained SVG.

    Gates stand in the earliest column that is free; ● is a control, ⊕ a NOT, × an end of a swap. Angles are shortened
    to three digits; in an SVG the pointer shows them in full. Gates on several qubits carry on each the Pauli letter
    (e^X, e^Y: the exponential of XY) or the number of the factor. Cost: linear in gates times qubits.
    Raises UnknownName for another format.
    """
    if format == "text":
        return _text(circuit)
    if format == "svg":
        from ._draw_svg import svg

        return svg(circuit)
    raise UnknownName("format", str(format), ["text", "svg"])


def _text(circuit: Circuit) -> str:
    n = circuit.qubits
    names = [f"q{q}: " for q in range(n)]
    margin = max(map(len, names))
    blocks = [_block(c, n) for c in columns((picture(g) for g in circuit), n)]
    rows: list[list[list[str]]] = [[]]
    used = margin
    for block in blocks:
        width = len(block[0])
        if rows[-1] and used + width > _WIDTH - 4:  # room for the marks of going on
            rows.append([])
            used = margin
        rows[-1].append(block)
        used += width
    drawn = []
    for i, row in enumerate(rows):
        lines = []
        for k in range(2 * n - 1):
            wire = k % 2 == 0
            line = (names[k // 2] if wire else "").ljust(margin)
            line += ("┄─" if i else "──") if wire else "  "
            line += "".join(block[k] for block in row)
            line += ("─┄" if i < len(rows) - 1 else "─") if wire else ""
            lines.append(line.rstrip())
        drawn.append("\n".join(lines))
    return "\n\n\n".join(drawn)


def _block(column: list[Picture], qubits: int) -> list[str]:
    """One column: the lines of wires and, between them, those of connections; all of one width."""
    symbols = {q: p.symbol(q) for p in column for q in p.marks}
    spans = [p.span for p in column]
    width = max(map(len, symbols.values())) + 1
    middle = (width - 2) // 2
    lines = []
    for q in range(qubits):
        crossed = any(low < q < high for low, high in spans)
        symbol = symbols.get(q, "┼" if crossed else "─")
        left = middle - (len(symbol) - 1) // 2
        lines.append("─" * left + symbol + "─" * (width - left - len(symbol)))
        if q + 1 < qubits:
            down = any(low <= q < high for low, high in spans)
            lines.append(" " * middle + ("│" if down else " ") + " " * (width - middle - 1))
    return lines
