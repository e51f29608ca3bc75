"""The two drawings of docs/verdicts.md, from docs/examples/verdicts.csv: `python docs/generate/verdict_drawings.py`.

They are pictures on a light ground, so that they look the same on the site, on GitHub and in print.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import dopant as dp
from dopant.study.report.svg import figure, line, mark, tag, text

DOCS = Path(__file__).parents[1]
TABLE = DOCS / "examples" / "verdicts.csv"
MARGIN = 0.005
INK, SOFT, BAND, BLUE = "#1b1b1b", "#5c5c5c", "#cfe3f2", "#005f96"
WIDTH = 440
HALO = {"paint_order": "stroke", "stroke": "#ffffff", "stroke_width": 3, "stroke_opacity": 0.8}  # of text on lines


def answer() -> dp.Answer:
    """The verdicts on the table, as the page's command gives them."""
    return dp.analyse(TABLE, reference="classical", metric="accuracy", controls=["mlp"], margin=MARGIN)


def _paper(height: float) -> str:
    return tag("rect", x=0, y=0, width=WIDTH, height=height, rx=6, fill="#ffffff")


def _said(x: float, y: float, content: str, **more: object) -> str:
    style = {"font_family": "system-ui, sans-serif", "font_size": 15, "fill": INK} | more
    return text(x, y, content, **style)


def verdicts() -> str:
    """Each swap's difference with its interval, beside the margin; against the control where that decides."""
    rows = answer().effects
    swaps = rows[rows["role"] == "level"].to_dict("records")
    beside = {r["swap"]: r for r in rows[rows["role"] == "swap-versus-control"].to_dict("records")}
    height = 66.0 * len(swaps) + 26 * sum(r["direction"] == "better" for r in swaps) + 92

    def x(value: float) -> float:
        return 30 + (100 * value + 2.2) / 5.4 * (WIDTH - 60)

    top, y = 34.0, 34.0
    bottom = height - 44
    shapes = [
        _paper(height),
        tag("rect", x=x(-MARGIN), y=top - 8, width=x(MARGIN) - x(-MARGIN), height=bottom - top + 8, fill=BAND),
        line(x(0), top - 8, x(0), bottom, stroke=INK, stroke_width=1),
        _said(x(0), 18, "the margin: ±0.5", text_anchor="middle", fill=SOFT, font_size=13),
    ]  # fmt: skip
    for row in swaps:
        shapes.append(_said(30, y + 16, f"{row['swap']}: {row['verdict']}", font_weight=600, **HALO))
        shapes += _interval(x, y + 38, row, BLUE, "against classical", "disc")
        if row["direction"] == "better":
            y += 26
            shapes += _interval(x, y + 38, beside[row["swap"]], "#a84300", "against mlp", "square")
        y += 66
    for tick in (-2, -1, 0, 1, 2, 3):
        shapes.append(line(x(tick / 100), bottom, x(tick / 100), bottom + 5, stroke=INK))
        label = "0" if tick == 0 else f"{tick:+d}".replace("-", "−")
        shapes.append(_said(x(tick / 100), bottom + 20, label, text_anchor="middle", font_size=13))
    shapes.append(_said(WIDTH / 2, height - 6, "difference in percentage points; right is better", text_anchor="middle",
                        fill=SOFT, font_size=13))  # fmt: skip
    title = "; ".join(f"{r['swap']} {100 * r['mean']:+.2f}: {r['verdict']}" for r in swaps)
    return str(figure(WIDTH, height, f"Differences to classical, with 95 % intervals: {title}", *shapes))


def _interval(x, y: float, row: dict, colour: str, label: str, shape: str) -> list[str]:
    low, mean, high = x(row["low"]), x(row["mean"]), x(row["high"])
    right = high < WIDTH - 130
    return [
        line(low, y, high, y, stroke=colour, stroke_width=3),
        *(line(end, y - 6, end, y + 6, stroke=colour, stroke_width=2) for end in (low, high)),
        mark(shape, mean, y, 6.0, fill=colour),
        _said(
            high + 8 if right else low - 8, y + 5, label, text_anchor="start" if right else "end", fill=SOFT,
            font_size=13, **HALO,
        ),
    ]  # fmt: skip


def pairs() -> str:
    """Both arms of swap A, replicate by replicate."""
    table = pd.read_csv(TABLE).pivot(index="replicate", columns="arm", values="accuracy")
    height = 300.0
    low, high = 0.88, 0.945

    def y(value: float) -> float:
        return 252 - (value - low) / (high - low) * 220

    left, right = 120.0, 340.0
    shapes = [_paper(height)]
    for tick in (88, 90, 92, 94):
        shapes += [line(70, y(tick / 100), WIDTH - 50, y(tick / 100), stroke="#dddddd"),
                   _said(62, y(tick / 100) + 5, f"{tick} %", text_anchor="end", font_size=13, fill=SOFT)]  # fmt: skip
    for _, row in table.iterrows():
        shapes.append(line(left, y(row["classical"]), right, y(row["A"]), stroke=SOFT, stroke_width=1.5))
        shapes += [
            mark("disc", left, y(row["classical"]), 5.0, fill=INK),
            mark("square", right, y(row["A"]), 5.0, fill=BLUE),
        ]
    shapes += [_said(left, 276, "classical", text_anchor="middle"), _said(right, 276, "with A", text_anchor="middle"),
               _said(WIDTH / 2, 294, "accuracy; a line joins what shares start, order and split", text_anchor="middle",
                     fill=SOFT, font_size=13)]  # fmt: skip
    return str(
        figure(WIDTH, height, "Ten replicates of classical and of A, joined pair by pair: every line rises", *shapes)
    )


DRAWINGS = {"verdicts.svg": verdicts, "pairs.svg": pairs}

if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        (DOCS / name).write_text(draw() + "\n", encoding="utf-8")
        print(DOCS / name)
