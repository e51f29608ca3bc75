"""Gradient norms of each swapped slot over training: a panel an arm on one logarithmic axis, and words where one is far
below the others.

What is drawn is what the supervised loop logs as `grad_norm_SLOT`: the Euclidean norm of the gradients of all
parameters in the slot together, before any clipping, averaged over the steps of an epoch. Of replicates the geometric
mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from . import svg
from .curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Curve, every, thinned
from .words import clean, number

COLUMN = "grad_norm_"
PANELS = 12  # of one slot
SLOTS = 24
FAR = 1e-3  # of the other arms' median: below, the page says so


@dataclass(frozen=True)
class Arm:
    cell: str
    role: str
    last: str
    value: str
    picture: Markup


@dataclass(frozen=True)
class SlotNorms:
    """One slot. arms: a panel each. still: arms in which no gradient reached it. warnings: sentences."""

    slot: str
    arms: list[Arm]
    still: str
    left_out: int
    warnings: list[str]


def of(answer: Any) -> list[SlotNorms]:
    """The slots that some cell swaps and that have a norm in the metrics; [] where none was logged."""
    metrics, cells = getattr(answer, "metrics", None), list(getattr(answer, "cells", []))
    if metrics is None or not len(metrics) or not {"cell", "epoch"} <= set(metrics.columns):
        return []
    if "phase" in metrics.columns:
        metrics = metrics[metrics["phase"] != "tuning"]
    slots = dict.fromkeys(s for c in cells for group in getattr(c, "swaps", None) or {} for s in group.split("+"))
    columns = [(slot, COLUMN + slot) for slot in slots if COLUMN + slot in metrics.columns]
    versus: dict[str, str] = {}
    for row in answer.effects.to_dict("records") if len(answer.effects) else ():
        versus.setdefault(row.get("cell", ""), row["versus"])
    found = [_slot(slot, metrics, column, cells, versus) for slot, column in columns[:SLOTS]]
    return [one for one in found if one is not None]


def _slot(slot: str, metrics: Any, column: str, cells: list[Any], versus: dict[str, str]) -> SlotNorms | None:
    import numpy as np

    rows = metrics[["cell", "epoch", column]].copy()
    values = rows[column].to_numpy(dtype=float, na_value=math.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows[column] = np.where(values > 0, np.log10(values), math.nan)
    known = every(rows, column)  # one pass, whatever the number of cells
    drawn = {c.name: one for c in cells if (one := thinned(known.get(c.name))) is not None}
    logged = set(metrics.loc[metrics[column].notna(), "cell"])
    still = [clean(c.name) for c in cells if c.name in logged and c.name not in drawn]
    if not drawn:
        return None
    low = min(min(c.mean) for c in drawn.values())
    high = max(max(c.mean) for c in drawn.values())
    ends = [v for c in drawn.values() for v in (*c.low, *c.high) if math.isfinite(v)]
    # bands of two replicates may be endless: half a power of ten beyond the means is enough
    limits = max(min([low, *ends]), low - 0.5) - 0.05, min(max([high, *ends]), high + 0.5) + 0.05
    epochs = min(c.epoch[0] for c in drawn.values()), max(c.epoch[-1] for c in drawn.values())
    arms = []
    for cell in [c for c in cells if c.name in drawn][:PANELS]:
        below = versus.get(cell.name, "")
        picture = _panel(drawn[cell.name], drawn.get(below), cell, below, slot, limits, epochs)
        last = 10 ** drawn[cell.name].mean[-1]
        role = str(getattr(cell, "role", "level"))
        role = role if role in ("control", "variant") else "level"
        arms.append(Arm(clean(cell.name), role, number(last), repr(last), picture))
    shown = ", ".join(still[:6]) + (f" and {len(still) - 6} more" if len(still) > 6 else "")
    return SlotNorms(clean(slot), arms, shown, len(drawn) - len(arms), warnings(slot, drawn))


def warnings(slot: str, drawn: dict[str, Curve]) -> list[str]:
    """A sentence for each arm whose norm over the last third of its epochs is a thousandth of the others' median or
    less. drawn: curves of decimal logarithms."""
    levels = {}
    for cell, c in drawn.items():
        part = c.mean[-max(1, len(c.mean) // 3) :]
        levels[cell] = sum(part) / len(part)
    found = []
    for cell, level in levels.items():
        others = sorted(v for other, v in levels.items() if other != cell)
        if not others:
            continue
        half = len(others) // 2
        middle = others[half] if len(others) % 2 else (others[half - 1] + others[half]) / 2
        if level <= middle + math.log10(FAR):
            found.append(
                f"In {clean(cell)}, the gradient of {clean(slot)} is {middle - level:.1f} powers of ten below the "
                "median of the other arms: little of the loss reaches what stands there. Look whether it was trained "
                "at all; an optimizer that rescales gradients, such as Adam, may train it all the same."
            )
    return found


def _panel(
    own: Curve, below: Curve | None, cell: Any, versus: str, slot: str, limits: tuple[float, float], epochs: Any
) -> Markup:
    """The arm's geometric mean with its band, in grey the arm that it is compared with."""
    low, high = limits
    first, last = epochs

    def x(epoch: float) -> float:
        return LEFT + (RIGHT - LEFT) * ((epoch - first) / (last - first) if last > first else 0.5)

    def y(power: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (power - low) / (high - low)

    parts: list[Markup] = []
    for power, label in powers(low, high):
        parts.append(svg.line(LEFT, y(power), RIGHT, y(power), class_="grid"))
        parts.append(svg.text(LEFT - 6, y(power) + 4, label, class_="tick", text_anchor="end", font_size=12))
    for value in [v for v in svg.ticks(first, last, 4) if v == int(v)] or [first]:
        parts.append(
            svg.text(x(value), BOTTOM + 16, f"{int(value)}", class_="tick", text_anchor="middle", font_size=12)
        )
    parts.append(svg.text((LEFT + RIGHT) / 2, BOTTOM + 29, "epoch", class_="axis", text_anchor="middle", font_size=12))
    role = str(getattr(cell, "role", "level"))
    role = role if role in ("control", "variant") else "level"
    lines: list[Markup] = []
    if below is not None:
        lines.append(_line(below, x, y, "reference"))
    band = [i for i in range(len(own.epoch)) if math.isfinite(own.low[i]) and math.isfinite(own.high[i])]
    if len(band) > 1:
        edge = [(x(own.epoch[i]), y(min(own.high[i], high + 1))) for i in band]
        edge += [(x(own.epoch[i]), y(max(own.low[i], low - 1))) for i in reversed(band)]
        lines.append(svg.path(edge, closed=True, class_=f"band {role}"))
    lines.append(_line(own, x, y, f"curve {role}"))
    box = {"x": LEFT - 4, "y": TOP - 3, "width": RIGHT - LEFT + 8, "height": BOTTOM - TOP + 6}
    view = f"{LEFT - 4:g} {TOP - 3:g} {RIGHT - LEFT + 8:g} {BOTTOM - TOP + 6:g}"
    parts.append(svg.tag("svg", *lines, viewBox=view, overflow="hidden", **box))
    title = f"Gradient norm of {clean(slot)} in {clean(cell.name)} by epoch, last {number(10 ** own.mean[-1])}"
    if below is not None:
        title += f"; grey: {clean(versus)}, last {number(10 ** below.mean[-1])}"
    return svg.figure(WIDTH, HEIGHT + 2, title, *parts, class_="panel")


def _line(c: Curve, x: Any, y: Any, class_: str) -> Markup:
    points = [(x(e), y(m)) for e, m in zip(c.epoch, c.mean, strict=True)]
    if len(points) == 1:
        return svg.mark("disc", *points[0], 4, class_=f"dot {class_}")
    return svg.path(points, class_=class_)


def powers(low: float, high: float) -> list[tuple[float, str]]:
    """(decimal logarithm, label) of the grid: whole powers of ten, with 2 and 5 times them where there are few."""

    def between(steps: tuple[int, ...]) -> list[tuple[float, str]]:
        every = [(p + math.log10(m), m * 10.0**p) for p in range(math.floor(low), math.ceil(high) + 1) for m in steps]
        return [(at, _written(value)) for at, value in every if low <= at <= high]

    found = between((1,))
    if len(found) > 5:
        step = -(-len(found) // 5)
        return found[::step]
    return found if len(found) >= 3 else between((1, 2, 5))


def _written(value: float) -> str:
    return (
        f"{value:g}".replace("-", "\u2212")
        if 1e-3 <= value < 1e4
        else f"{value:.0e}".replace("e-0", "e-").replace("-", "\u2212")
    )
