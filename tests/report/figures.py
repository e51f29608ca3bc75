"""The numbers beside the figures: means with their intervals, cost against effect, interactions, gradient norms.

Functions as in `tables`: what each row must hold, from the folder alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean
from typing import Any

import numpy as np
import sums
from page import Node, Table, is_rounding
from prose import share
from study_folder import DROP_IN

NAN = math.nan
Row = dict[str, Any]
DERIVED = ("swap-versus-control", "simple", "interaction")
PLAIN = ("seconds", "steps", "seconds_per_step")


def primary(study: Any) -> list[str]:
    """The cells of the primary estimand: of a cell that was trained twice, one."""
    cells = study.folder.cells
    twice = {c for c in cells if c.endswith(DROP_IN)}
    if study.primary != "drop-in":
        return [c for c in cells if c not in twice]
    return [c for c in cells if c + DROP_IN not in twice]


def scores(study: Any, cell: str) -> dict[int, float]:
    """{replicate: score} of finished trials with a finite one."""
    metric = study.folder.metric
    found = {t.replicate: t.metrics.get(metric, NAN) for c, _, t in study.folder.of("main")
             if c == cell and t.state == "done"}  # fmt: skip
    return {r: float(v) for r, v in found.items() if isinstance(v, (int, float)) and math.isfinite(v)}


def mean(study: Any, cell: str) -> Row:
    """Mean, spread and t interval of a cell; of a share within 0 and 1."""
    values = np.array(list(scores(study, cell).values()))
    if not len(values):
        return {"mean": NAN, "sd": NAN, "low": NAN, "high": NAN, "n": 0}
    low, high = sums.interval(values, study.folder.resplit)
    if share(study):
        low, high = (min(max(x, 0.0), 1.0) if math.isfinite(x) else x for x in (low, high))
    return {"mean": float(values.mean()), "sd": sums.spread(values), "low": low, "high": high, "n": len(values)}


def listed(study: Any, table: Table) -> list[Row]:
    """A row for each cell of the primary estimand, under the name that the figure gives it."""
    cells, rows = primary(study), []
    left = set(cells)
    for row in table.rows:
        name = row["name"].text
        cell = next((c for c in cells if name in _names(study, c)), None)
        if cell is None and study.arms.factors and name in {study.arms.base(c) for c in cells}:
            cell = name + DROP_IN
        if cell is None:
            study.errors.append(f"table {table.id!r}: {name!r} is no cell of the study")
            rows.append({})
            continue
        left.discard(cell)
        rows.append({"name": name, **mean(study, cell)})
    if study.arms.factors:  # combinations alone
        places = {study.arms.cell(p) for p in study.arms.places}
        left = {c for c in left if study.arms.base(c) in places}
    if table.id == "numbers-arms":  # a race and its like draw no controls
        drawn = {"host", *study.arms.swaps.values()}
        left = {c for c in left if study.arms.base(c) in drawn or c.startswith("baseline ")}
    study.errors += [f"table {table.id!r}: cell {c!r} has no row" for c in sorted(left) if scores(study, c)]
    return rows


def _names(study: Any, cell: str) -> set[str]:
    """How the figures may call a cell."""
    found = {cell}
    before, comma, rest = cell.removesuffix(DROP_IN).partition(", ")
    if comma and before.startswith("level "):
        found.add(f"{rest}{DROP_IN if cell.endswith(DROP_IN) else ''} ({before})")
    swaps = next((t.description.get("swaps") for c, _, t in study.folder.of("main") if c == cell), None)
    for slot, spec in (swaps or {}).items():
        inner = spec.get("of")
        inside = inner.get("mix") if isinstance(inner, dict) else None
        d = spec.get("mix", inside if inside is not None else 1.0)
        found |= {f"{slot}={spec['component']}, d = {d:g}", f"{slot}={rest.partition('=')[2]}, d = {d:g}"}
    return found


def pareto(study: Any, table: Table) -> list[Row]:
    """Each cell by its cost; effects where all cells were compared with one and the same, else means."""
    column = table.id.removeprefix("pareto-")
    shown, rows = _against_one(study), []
    circuits = "circuit" in column
    order = [c for c in (shown or primary(study)) if scores(study, c) or shown]
    costs = {c: _cost(study, c, column) for c in order}
    costs = {c: 0.0 if math.isnan(v) and circuits else v for c, v in costs.items()}
    here = {row["cell"].text for row in table.rows}
    study.errors += [
        f"table {table.id!r}: {c!r} has no row"
        for c in order
        if c not in here and costs[c] >= 0 and not _of_a_control(c)
    ]
    number = {row["cell"].text: n for n, row in enumerate(table.rows, 1)}
    values = {c: shown[c] if shown else tuple(mean(study, c)[k] for k in ("mean", "low", "high")) for c in here
              if c in costs}  # fmt: skip
    better = {c: v[0] if shown else study.folder.sign * v[0] for c, v in values.items()}
    for row in table.rows:
        cell = row["cell"].text
        if cell not in values:
            study.errors.append(f"table {table.id!r}: {cell!r} is no cell with a score")
            rows.append({})
            continue
        mine = costs[cell], -better[cell]
        others = [(costs[o], -better[o]) for o in values]
        beaten = any(o != mine and o[0] <= mine[0] and o[1] <= mine[1] for o in others)
        rows.append({"number": number[cell], "cell": cell, "cost": costs[cell], "front": "no" if beaten else "yes",
                     **dict(zip(("shown", "low", "high"), values[cell], strict=True))})  # fmt: skip
    return rows


def _of_a_control(cell: str) -> bool:
    """A control beside itself, which older studies had and nobody asks for."""
    before, comma, after = cell.partition(", ")
    return bool(comma) and before == after


def _cost(study: Any, cell: str, column: str) -> float:
    done = [t.metrics for c, _, t in study.folder.of("main") if c == cell and t.state == "done"]
    if column == "seconds_per_step":
        return _cost(study, cell, "seconds") / max(1, _cost(study, cell, "steps"))
    key = column if column in PLAIN else f"cost_{column}"
    found = [m[key] for m in done if isinstance(m.get(key), (int, float))]
    return fmean(found) if found else NAN


def _against_one(study: Any) -> dict[str, tuple[float, float, float]]:
    """{cell: mean, low and high of its effect} where every other cell was compared once with one and the same."""
    table = study.page.get("effects")
    found = [e for e in study.effects(table) if e.pair.role not in DERIVED] if table is not None else []
    found = [e for e in found if not study.both or e.pair.estimand == study.primary]
    single = all(len(e.pair.plus) == len(e.pair.minus) == 1 for e in found)
    if not found or not single or len({e.pair.minus for e in found}) != 1:
        return {}
    own, below = [e.pair.plus[0][1] for e in found], found[0].pair.minus[0][1]
    whole = {c for c in primary(study) if scores(study, c) and not _of_a_control(c)}
    if len(set(own)) != len(own) or whole != {below, *own}:
        return {}
    effects = {c: tuple(e.values[k] for k in ("mean", "low", "high")) for c, e in zip(own, found, strict=True)}
    return {below: (0.0, NAN, NAN)} | {c: v for c, v in effects.items() if not math.isnan(v[0])}


def interactions(study: Any, table: Table) -> list[Row]:
    """The four means over all other factors, and the effect as the table of effects has it."""
    arms, rows = study.arms, []
    effects = {e.pair.swap: e for e in study.effects(study.page["effects"]) if e.pair.role == "interaction"
               and (not study.both or e.pair.estimand == study.primary)}  # fmt: skip
    for row in table.rows:
        name = row["name"].text
        effect = effects.get(name)
        if effect is None:
            study.errors.append(f"table {table.id!r}: {name!r} is no interaction of the study")
            rows.append({})
            continue
        one, two = (arms.level_of(part) for part in name.partition(" (aliased")[0].split(" + ")[0].split(" x ", 1))
        (f, a), (g, b) = one, two
        first, other = arms.factors[f][0], arms.factors[g][0]
        corners = {"neither": (first, other), "one": (a, other), "two": (first, b), "both": (a, b)}
        want: Row = {"name": name}
        for key, (x, y) in corners.items():
            places = [p for p in arms.places if (p[f], p[g]) == (x, y)]
            if "resolution" not in study.folder.design:
                places = [p for p in places if all(q in arms.places for q in _four(p, f, g, corners.values()))]
            ends = [arms.cell(p) for p in places]
            if study.both and study.primary == "drop-in":
                ends = [c + DROP_IN if c + DROP_IN in arms.cells else c for c in ends]
            want[key] = fmean(mean(study, c)["mean"] for c in ends)
        rows.append(want | {k: effect.values[k] for k in ("mean", "low", "high")})
    return rows


def _four(place: dict[str, str], f: str, g: str, corners: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{**place, f: x, g: y} for x, y in corners]


def gradient_norms(study: Any, root: Node) -> tuple[list[Node], list[str]]:
    """(the numbers looked at, mismatches): the geometric mean over replicates at the last epoch logged."""
    seen, errors = [], []
    for section in root.find("section", id="gradient-norms"):
        for box in section.find("details"):
            if box.inside("details") is not None:  # a fold of further panels, found within its slot's
                continue
            slot = box.find("summary")[0].text
            for figure in box.find("figure"):
                cell, data = figure.find("bdi")[0].attributes["title"], figure.find("data")
                logs: dict[int, list[float]] = {}
                for name, _, t in study.folder.of("main"):
                    for line in t.log if name == cell else ():
                        value = line.get(f"grad_norm_{slot}")
                        if isinstance(value, (int, float)) and 0 < value < math.inf:
                            logs.setdefault(int(line["epoch"]), []).append(math.log10(value))
                want = 10 ** fmean(logs[max(logs)]) if logs else NAN
                for node in data:
                    seen.append(node)
                    said = float(node.attributes["value"])
                    if not math.isclose(said, want, rel_tol=1e-9) or not is_rounding(node.text, said):
                        errors.append(f"gradient norm of {slot} in {cell}: {node.text} ({said}), {want!r} recomputed")
    return seen, errors


def outside(study: Any, root: Node, nodes: list[Node]) -> list[str]:
    """Mismatches of the `<data>` that stand in no table."""
    seen, errors = gradient_norms(study, root)
    known = {id(n) for n in seen}
    for node in nodes:
        if id(node) in known:
            continue
        if node.inside("dl") is not None and any(n is node for s in root.find("section", id="host") for n in s.walk()):
            continue  # see tables.EXCEPTIONS
        errors.append(f"<data value={node.attributes.get('value')!r}> stands in no table")
    return errors
