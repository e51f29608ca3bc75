"""The picture of the page: published test accuracies by epoch as lines with a band of one sd, measured ones as points.

Only the reproduced cells are drawn: the torch version, and level 2 of the Equinox version, whose levels 0 and 1 are not
trained here. The vertical axis of each panel is cut below, where the first epochs of level 2 lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...study.report.svg import figure, line, mark, path, tag, text, tick_labels, ticks
from ..compare import Series

COLOURS = {("torch", 0): "#777777", ("torch", 1): "#0072b2", ("torch", 2): "#d55e00", ("equinox", 2): "#009e73"}
OWN = {"level 2, real parameters": "#cc79a7"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 960.0, 330.0, 44.0, 34.0, 44.0
EPOCHS = 100


def draw(published: Sequence[Series], rows: Sequence[Mapping[str, Any]]) -> str:
    """An SVG of one panel a data set. rows: of measured.toml, one a data set and cell."""
    from . import PAPER

    names = [(data, name) for data, name in PAPER.data.items() if name]
    wide = (WIDTH - LEFT - GAP * len(names)) / len(names)
    parts = [tag("rect", x=0.0, y=0.0, width=WIDTH, height=HEIGHT, fill="#ffffff")]
    for number, (data, name) in enumerate(names):
        own = [row for row in rows if row["data"] == data and row.get("test_accuracy")]
        parts += _panel(LEFT + number * (wide + GAP), wide, name, [s for s in published if s.data == name], own)
    parts += _legend(rows)
    return str(figure(WIDTH, HEIGHT, "Test accuracy by epoch: published runs and measured ones", *parts)) + "\n"


def _panel(
    left: float, width: float, title: str, published: Sequence[Series], rows: Sequence[Mapping[str, Any]]
) -> list[Any]:
    from . import PAPER

    shown = [s for s in published if (s.variant, s.level) in COLOURS]
    last = [s.curves["test_accuracy"][-1] for s in shown]
    low = 100 * min([*last, *(row["test_accuracy"][-1] for row in rows)])
    high = 100 * max([*last, *(max(row["test_accuracy"]) for row in rows)])
    low, high = max(0.0, low - 0.3 * (high - low) - 1), high + 1
    bottom = HEIGHT - 70

    def at(epoch: float, accuracy: float) -> tuple[float, float]:
        share = (100 * accuracy - low) / (high - low)
        return left + width * epoch / EPOCHS, bottom - (bottom - TOP) * min(1.0, max(0.0, share))

    parts = [text(left, TOP - 12, f"{title}, test accuracy in %", font_size="13", font_family="sans-serif")]
    marks = ticks(low, high)
    for value, label in zip(marks, tick_labels(marks), strict=True):
        y = at(0, value / 100)[1]
        parts.append(line(left, y, left + width, y, stroke="#e5e5e5"))
        parts.append(text(left - 4, y + 4, label, font_size="10", text_anchor="end", font_family="sans-serif"))
    for epoch in (0, 25, 50, 75, 100):
        x = at(epoch, 0)[0]
        parts.append(text(x, bottom + 14, str(epoch), font_size="10", text_anchor="middle", font_family="sans-serif"))
    parts.append(line(left, bottom, left + width, bottom, stroke="#777777"))
    for s in shown:
        curve, sd = s.curves["test_accuracy"], s.curves["test_accuracy_sd"]
        over = [at(e, v + d) for e, (v, d) in enumerate(zip(curve, sd, strict=True), start=1) if 100 * v >= low]
        under = [at(e, v - d) for e, (v, d) in enumerate(zip(curve, sd, strict=True), start=1) if 100 * v >= low]
        parts.append(path([*over, *under[::-1]], fill=COLOURS[s.variant, s.level], fill_opacity="0.18", stroke="none"))
        inside = [at(e, v) for e, v in enumerate(curve, start=1) if 100 * v >= low]
        parts.append(path(inside, fill="none", stroke=COLOURS[s.variant, s.level], stroke_width="1.5"))
    for row in rows:
        counterpart = PAPER.counterparts[row["cell"]]
        colour = OWN.get(row["cell"]) or COLOURS[counterpart.variant, counterpart.level]
        step = max(1, row["epochs"] // 25)
        for e, value in enumerate(row["test_accuracy"], start=1):
            if (e % step == 0 or e in (1, row["epochs"])) and 100 * value >= low:
                parts.append(mark("disc", *at(e, value), 2.4, fill=colour))
    return parts


def _legend(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """One entry for each line, and for each cell that is only measured where it was."""
    own = [(f"{cell} (measured only)", c) for cell, c in OWN.items() if any(r["cell"] == cell for r in rows)]
    names = {"torch": "torch", "equinox": "Equinox"}
    labels = [*((f"{names[variant]} level {level}", c) for (variant, level), c in COLOURS.items()), *own]
    parts, x, y = [], LEFT, HEIGHT - 34
    for label, colour in labels:
        parts += [line(x, y - 4, x + 18, y - 4, stroke=colour, stroke_width="2"),
                  text(x + 24, y, label, font_size="11", font_family="sans-serif")]  # fmt: skip
        x += 40 + 6.2 * len(label)
    said = "Lines: published means; bands: one sd over runs. " + ("Points: measured means. " if rows else "")
    said += "Horizontal: epochs (torch 50, Equinox 100). The vertical axis is cut below."
    parts.append(text(LEFT, y + 18, said, font_size="11", font_family="sans-serif"))
    return parts
