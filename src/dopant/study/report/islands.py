"""Data for the page's script: trials, learning curves, costs beside effects, each deflated, base64, in a byte budget.

Users' texts are values in JSON and nothing else: field names are ours, and base64 has no character that HTML minds.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from dataclasses import dataclass
from typing import Any

from . import circuits, curves, forest, tables
from .thinning import kept
from .words import Measure, clean, is_missing, manner, measure, plain

EXACT, DIGITS = 17, (17, 9, 7, 5)  # significant digits of a trial's numbers, tried in this order
POINTS = (120, 60, 30)  # epochs of a curve, tried in this order
CELLS = 200  # curves, where they do not fit otherwise


@dataclass(frozen=True)
class Island:
    """One data set. data: base64 of the deflated JSON. note: what was thinned or rounded, in words, or nothing."""

    name: str
    data: str
    note: str = ""


def pack(value: Any) -> str:
    """Deflated JSON as base64: `atob`, `DecompressionStream("deflate")` and `JSON.parse` undo it."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpack(data: str) -> Any:
    """The inverse of `pack`."""
    return json.loads(zlib.decompress(base64.b64decode(data)))


def rounded(value: Any, digits: int) -> Any:
    """A number with so many significant digits; None for what is missing, a text for what JSON has no number for."""
    if type(value) is float and math.isfinite(value):  # nearly all are
        if value == int(value) and abs(value) < 2**53:
            return int(value)
        return value if digits >= EXACT else float(f"{value:.{digits}g}")
    if is_missing(value):
        return None
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    number = float(value)
    if not math.isfinite(number):
        return "∞" if number > 0 else "\u2212∞"
    return rounded(number, digits)


def _column(series: Any, digits: int) -> dict[str, Any]:
    """A column's values: of texts the different ones and, for each row, which it is (-1: none)."""
    values = series.tolist()
    numeric = series.dtype.kind in "biuf" or all(is_missing(v) or tables.is_number(v) for v in values)
    if numeric:
        return {"values": values if series.dtype.kind in "biu" else [rounded(v, digits) for v in values]}
    known: dict[str, int] = {}
    seen: dict[Any, int] = {}
    at = []
    for value in values:
        key = value if isinstance(value, str) else id(value)  # ten thousand trials have few different texts
        if key not in seen:
            seen[key] = -1 if is_missing(value) else known.setdefault(tables.text_of(value), len(known))
        at.append(seen[key])
    return {"texts": list(known), "at": at}


def trials(frame: Any, columns: list[str], cells: Any, metric: str, budget: int) -> Island | None:
    """Every trial: the columns of the page's table, and which of them is the score of the effects."""
    if not len(frame) or not columns:
        return None
    headers = [tables.header(c, Measure("", False), True) for c in columns]
    manners = [list(manner(c, Measure("", False), frame[c])) for c in columns]
    order = [{"name": clean(c.name), "role": _role(getattr(c, "role", "level"))} for c in cells or ()]

    def packed(rows: int, digits: int) -> str:
        shown = frame.head(rows)
        made = [
            {"name": clean(c), "label": h.label, "manner": how, **_column(shown[c], digits)}
            for c, h, how in zip(columns, headers, manners, strict=True)
        ]  # fmt: skip
        score = columns.index(metric) if metric in columns else -1
        return pack({"count": rows, "columns": made, "score": score, "cells": order})

    rows, digits, data = len(frame), DIGITS[0], ""
    for digits in DIGITS:
        data = packed(rows, digits)
        if len(data) <= budget:
            break
    while len(data) > budget and rows > 1:
        rows = max(1, int(0.9 * rows * budget / len(data)))
        data = packed(rows, digits)
    note = "" if digits == EXACT else f"Their numbers are rounded to {digits} digits; trials.csv is exact."
    note += "" if rows == len(frame) else f" {len(frame) - rows:,} trials are in trials.csv only."
    return Island("trials", data, note.strip())


def learning(metrics: Any, cells: Any, columns: list[str], budget: int) -> Island | None:
    """Mean and band of each drawn metric of each cell by epoch, thinned until they fit."""
    if metrics is None or not len(metrics) or not columns or not cells:
        return None
    known = [(column, measure(column, metrics[column])) for column in columns]
    every = {column: curves.every(metrics, column, share=m.share) for column, m in known}
    names = [c for c in cells if any(c.name in found for found in every.values())]
    if not names:
        return None
    longest = max(len(c.epoch) for found in every.values() for c in found.values())
    data, note = "", ""
    for points, most in ((POINTS[0], len(names)), (POINTS[1], len(names)), (POINTS[2], len(names)),
                         (POINTS[2], CELLS), (POINTS[2], CELLS // 4)):  # fmt: skip
        shown = names[:most]
        data = pack({
            "cells": [{"name": clean(c.name), "role": curves.role(c)} for c in shown],
            "metrics": [
                {"label": m.label, "share": m.share, "limits": _limits(every[column], shown),
                 "curves": [_thinned(every[column].get(c.name), points) for c in shown]}
                for column, m in known
            ],
        })  # fmt: skip
        said = [f"every curve is thinned to {points} of {longest} epochs"] if longest > points else []
        said += [f"{len(names) - most} further cells are left out"] if most < len(names) else []
        note = "; ".join(said)
        if len(data) <= budget:
            break
    return Island("curves", data, note and f"In this figure {note}.")


def _limits(found: dict[str, curves.Curve], cells: Any) -> list[float]:
    shown = [found[c.name] for c in cells if c.name in found]
    return [float(f"{v:.5g}") for v in curves.limits(shown)] if shown else []


def _thinned(curve: curves.Curve | None, points: int) -> dict[str, list[Any]] | None:
    if curve is None:
        return None
    keep = kept(curve.mean, max(4, points))
    return {
        "epoch": [curve.epoch[i] for i in keep], "n": [curve.replicates],
        **{k: [rounded(getattr(curve, k)[i], 6) for i in keep] for k in ("mean", "low", "high")},
    }  # fmt: skip


def _role(role: Any) -> str:
    return role if role in ("control", "variant", "baseline") else "level"


def costs(effects: Any, table: Any, metric: Measure) -> Island | None:
    """Each cell's effect against what it is compared with, beside each cost that differs between cells.

    Of the first metric and estimand only: the primary one.
    """
    if table is None or not len(table) or not len(effects) or not {"cell", "mean"} <= set(effects.columns):
        return None
    names = [c for c in table.columns if c not in ("cell", "role", "level") and table[c].dtype.kind in "iuf"]
    names = [c for c in names if c != "steps" and table[c].notna().any() and table[c].nunique(dropna=False) > 1]
    by_cell = {record["cell"]: record for record in table.to_dict("records")}
    keys = [k for k in ("metric", "estimand") if k in effects.columns]
    first = effects.iloc[0]
    rows = [
        row
        for group in forest.against_level(effects)
        for row in group
        if all(row[k] == first[k] for k in keys) and row["cell"] in by_cell and not is_missing(row["mean"])
    ]
    found: dict[Any, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row["cell"], row)
    if not names or not found:
        return None
    scale = 100 if metric.share else 1
    points = [
        {"cell": clean(row["cell"]), "swap": clean(row.get("swap", "")), "versus": clean(row["versus"]),
         "role": _role(forest.role_of(row)), "verdict": clean(row.get("verdict") or ""),
         **{k: rounded(scale * row[k] if not is_missing(row.get(k)) else None, 6) for k in ("mean", "low", "high")},
         "costs": [rounded(by_cell[row["cell"]].get(c), 6) for c in names]}
        for row in found.values()
    ]  # fmt: skip
    columns = [
        {"label": circuits.COSTS[c].label if c in circuits.COSTS else tables.LABELS.get(c, plain(c)),
         "manner": list(manner(c, metric))}
        for c in names
    ]  # fmt: skip
    start = next((i for i, c in enumerate(names) if c == "seconds_per_step"), 0)
    unit = f", {metric.unit}" if metric.unit else ""
    return Island("costs", pack({"points": points[:400], "costs": columns, "start": start,
                                 "label": f"difference in {metric.label}{unit}", "unit": metric.short}))  # fmt: skip
