"""What each table of the page must hold: one function a table, which computes every row from the folder.

`TABLES[id](study, table)` gives what each row must show, {column: value}, in the order of the page's rows; more or
fewer rows are a mismatch. A number is compared with the `<data>` of its cell, a text with the cell's text; a missing
number is NaN or None. A `<data>` in a column of which nothing is said is a mismatch: who adds a column adds
its recomputation.
A new table is a new function and a line in TABLES.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import figures
import tuning
from arms import Arms, Unknown
from effects import Effects, Within
from page import Cell, Table, is_rounding
from study_folder import StudyFolder

NAN = math.nan
Row = dict[str, Any]
DEVICE = ("qubits", "gates", "two_qubit_gates", "depth")
COSTS = ("trainable", "flops_step", "flops", "seconds_per_step", "seconds", "circuit_evaluations",
         "circuits_per_gradient", "circuits_per_sample")  # fmt: skip
# What a folder cannot give again, with the reason; such tables are read for their roundings alone.
EXCEPTIONS = {
    "preface-": "published numbers stand in the package and not in the folder; tests/papers recomputes them",
    "slot-": "panels of components hold what a component shows of itself; tests/study/test_blocks.py has its numbers",
    "host-p": "the same of the host's own modules",
    # no table, so by the section: see figures.outside
    "facts of #host": "what slots and components cost by themselves is measured on the host, which no folder holds; "
    "tests/study/test_blocks.py compares it with counts of its own",
}


class Study:
    """All that is recomputed of one folder, once."""

    def __init__(self, folder: StudyFolder):
        self.folder, self.arms = folder, Arms(folder)
        self.errors: list[str] = []
        self.page: dict[str, Table] = {}  # the tables of the page that is looked at
        self.cut = 0  # trials that it says it leaves out
        self._judged: dict[Any, list[Any]] = {}

    @cached_property
    def both(self) -> bool:
        """Whether two estimands are reported."""
        return any(c.endswith(" (drop-in)") for c in self.folder.cells)

    def effects(self, table: Table, complete: bool = False, estimand: str = "") -> list[Any]:
        """The effects that the rows of a table name, judged together; once for the same rows."""
        key = (complete, *((row["swap"].text, row["versus"].text, row.get("estimand")) for row in table.rows))
        if key not in self._judged:
            self._judged[key] = self._effects(table, complete, estimand)
        return self._judged[key]

    def _effects(self, table: Table, complete: bool, estimand: str) -> list[Any]:
        engine, pairs, owner = Effects(self.folder, complete), [], ""
        for row in table.rows:
            shown, versus = row["swap"].text, row["versus"].text
            said = row["estimand"].text if "estimand" in row else estimand
            try:
                if shown.startswith("control: "):
                    name = shown.removeprefix("control: ")
                    try:
                        role, plus, minus = self.arms.control(owner, name, versus, said, self.both)
                    except Unknown:
                        role, plus, minus = self.arms.resolve(shown, versus, said, self.both)
                else:
                    role, plus, minus = self.arms.resolve(shown, versus, said, self.both)
            except (Unknown, KeyError, ValueError) as error:
                self.errors.append(f"table {table.id!r}: row {shown!r} against {versus!r} is not explained: {error}")
                continue
            if role in ("level", "race", "confirmed", "main", "variant"):
                owner = plus[0][1].removesuffix(" (fresh replicates)").removesuffix(" (drop-in)")
            swap = next((shown.removeprefix(f"{r}: ") for r in ROLES if shown.startswith(f"{r}: ")), shown)
            pairs.append(engine.pair(role, swap.removesuffix(" minus its control"), versus, said, plus, minus))
        return engine.judge(pairs)

    @cached_property
    def primary(self) -> str:
        table = self.folder.study.get("tuning", {})
        return table.get("primary", "best against best")


ROLES = ("control", "variant", "baseline", "simple", "interaction")


def effects(study: Study, table: Table) -> list[Row]:
    """Every effect; and that all that the design asks for is there."""
    found = study.effects(table)
    here = {
        (e.pair.role, e.pair.swap.partition(" (aliased with ")[0], e.pair.versus.partition(" (the same ")[0])
        for e in found
    }
    here = {(role, swap, versus.removesuffix(" (drop-in)")) for role, swap, versus in here}
    roles = {role for role, _, _ in here}
    for role, swap, versus in sorted(study.arms.asked()):
        if (role, swap, versus) not in here and not (
            "level" in roles and role == "main" and ("level", swap, versus) in here
        ):
            study.errors.append(
                f"table 'effects': the design asks for {role} {swap!r} against {versus!r}; no row has it"
            )
    rows = []
    for effect, row in zip(found, table.rows, strict=False):
        want = dict(effect.values)
        want["swap"] = row["swap"].text  # resolved by name
        want["flips"] = not study.folder.resplit
        want["primary"] = effect.pair.estimand == study.primary
        rows.append(want)
    return rows


def complete(study: Study, table: Table) -> list[Row]:
    """The same without the pairs of failed trials."""
    rows = []
    for effect, row in zip(study.effects(table, complete=True), table.rows, strict=False):
        rows.append({**effect.values, "swap": row["swap"].text, "role": effect.pair.role})
        if effect.pair.role not in ("level", "main", "race", "confirmed", "interaction", "variant"):
            continue
        rows[-1].pop("verdict") if effect.pair.role in ("level", "race", "variant", "confirmed") else None
    return rows


def cells(study: Study, table: Table) -> list[Row]:
    """What each cell reached and cost: means over its finished trials."""
    folder, rows = study.folder, []
    for row in table.rows:
        name = row["cell"].text
        done = [t for cell, _, t in folder.of("main") if cell == name and t.state == "done"]
        scores = [t.metrics[folder.metric] for t in done if math.isfinite(t.metrics.get(folder.metric, NAN))]
        want: Row = {
            "cell": name, "reached": fmean(scores) if scores else NAN,
            "spread": stdev(scores) if len(scores) > 1 else NAN, "n": len(scores),
        }  # fmt: skip
        for column in table.columns:
            key = column if column in ("seconds", "steps") else f"cost_{column}"
            found = [t.metrics[key] for t in done if isinstance(t.metrics.get(key), (int, float))]
            if column not in want and column not in ("tier", "dimension"):
                want[column] = fmean(found) if found else NAN
        if not math.isnan(want.get("seconds", NAN)) and not math.isnan(want.get("steps", NAN)):
            want["seconds_per_step"] = want["seconds"] / max(1, want["steps"])
        told = [t.metrics["cost_tier"] for t in done if isinstance(t.metrics.get("cost_tier"), str)]
        want["tier"] = told[-1] if told else None
        want["dimension"] = _dimension(study, name)
        rows.append(want)
    names = [row["cell"].text for row in table.rows]
    missing = [
        c for c in folder.cells if c not in names and any(t.state == "done" for x, _, t in folder.of("main") if x == c)
    ]
    study.errors += [f"table 'cells': cell {c!r} has finished trials and no row" for c in missing]
    return rows


def _dimension(study: Study, name: str) -> str | None:
    """The words of the effective dimension, of the first replicate that has one."""
    trials = sorted((t for c, _, t in study.folder.of("main") if c == name), key=lambda t: t.replicate)
    for t in trials:
        slots = [k.removeprefix("dimension_parameters_") for k in t.metrics if k.startswith("dimension_parameters_")]
        if slots:
            words = []
            for slot in slots:
                rank, of = t.metrics.get(f"dimension_rank_{slot}"), t.metrics[f"dimension_parameters_{slot}"]
                bound = "" if t.metrics.get(f"dimension_exact_{slot}", True) else "at least "
                why = "not measured"
                words.append(f"{slot}: " + (why if rank is None else f"{bound}{int(rank):,} of {int(of):,}"))
            return "; ".join(words)
    return None


def all_trials(study: Study, table: Table) -> list[Row]:
    """Every trial as its folder has it."""
    folder, rows = study.folder, []
    left = {(t.id, cell): (cell, level, t) for cell, level, t in folder.of("main")}
    for row in table.rows:
        key = (row["trial"].text, row["cell"].text)
        if key not in left:
            study.errors.append(f"table 'all-trials': trial {key} is not in the folder, or is listed twice")
            rows.append({})
            continue
        cell, level, t = left.pop(key)
        want: Row = {
            "trial": t.id, "cell": cell, "level": level, "replicate": t.replicate,
            "status": {"lost": "failed"}.get(t.state, t.state), "attempts": t.attempts, "reason": t.reason,
            "lr": t.description["recipe"].get("lr"), "seed": folder.study["study"]["seed"],
            "swaps": _swaps(t.description.get("swaps")),
        }  # fmt: skip
        for column in table.columns:
            if column not in want:
                want[column] = tuning.setting(t, column) if tuning.is_setting(column, study) else t.metrics.get(column)
        if "swaps" in row and _parts(row["swaps"].text) == _parts(want["swaps"] or "–"):
            want["swaps"] = row["swaps"].text  # options have no order
        tuned = any(tuning.is_setting(c, study) for c in table.columns)
        if tuned and "swaps" in row and set(_parts(row["swaps"].text)) <= set(_parts(want["swaps"] or "–")):
            want["swaps"] = row["swaps"].text  # as planned: what was tuned has columns of its own
        rows.append(want | {k: v for k, v in t.metrics.items() if k in table.columns})
    if len(left) != study.cut:
        study.errors.append(
            f"table 'all-trials': {len(left)} trials of the folder have no row, such as {next(iter(left), None)}; the "
            f"page says {study.cut}"
        )
    return rows


def _swaps(swaps: dict[str, Any] | None) -> str | None:
    """`slot=component(option=value)` of a trial's description."""
    words = []
    for slot, spec in (swaps or {}).items():
        options = ", ".join(f"{k}={v}" for k, v in spec.items() if k != "component")
        words.append(f"{slot}={spec['component']}" + (f"({options})" if options else ""))
    return ", ".join(words) or None


def _parts(words: str) -> list[str]:
    return sorted(re.findall(r"[^,(){}: ]+", words))


def shapley(study: Study, table: Table) -> list[Row]:
    """The formula of the docs over all sets of factors."""
    values, _ = study.folder.scores()
    factors, rows = study.arms.factors, []
    moving = [f for f, levels in factors.items() if len(levels) > 1]
    for row in table.rows:
        target = dict.fromkeys(factors)
        for factor in factors:
            levels = [x for x in factors[factor] if f"{factor}={x}" in row["combination"].text]
            target[factor] = max(levels, key=len, default=factors[factor][0])
        names = {}
        for s in range(2 ** len(moving)):
            chosen = {f for i, f in enumerate(moving) if s >> i & 1}
            names[frozenset(chosen)] = study.arms.cell(
                {f: target[f] if f in chosen else factors[f][0] for f in factors}
            )
        numbers = sorted({r for _, r in values})
        whole = [r for r in numbers if all(math.isfinite(values.get((c, r), NAN)) for c in names.values())]
        worth = {s: study.folder.sign * fmean([values[c, r] for r in whole]) for s, c in names.items()}
        mine, m = row["factor"].text, len(moving)
        value = sum(
            math.factorial(len(s)) * math.factorial(m - len(s) - 1) / math.factorial(m) * (worth[s | {mine}] - worth[s])
            for s in worth if mine not in s
        )  # fmt: skip
        total = worth[frozenset(moving)] - worth[frozenset()]
        rows.append({"combination": row["combination"].text, "factor": mine, "level": target[mine], "value": value,
                     "total": total, "replicates": len(whole)})  # fmt: skip
    return rows


def random_starts(study: Study, table: Table) -> list[Row]:
    """Gradients at random starts as the first replicate's result has them."""
    rows = []
    for row in table.rows:
        cell, slot = row["cell"].text, row["slot"].text
        trials = sorted((t for c, _, t in study.folder.of("main") if c == cell), key=lambda t: t.replicate)
        t = next((t for t in trials if any(k.startswith("gradient_") for k in t.metrics)), None)
        want: Row = {"cell": cell, "slot": slot}
        for column in table.columns:
            key = f"gradient_{column}_{slot}"
            if column not in want:
                want[column] = None if t is None else t.metrics.get(key)
        if isinstance(want.get("variance"), float) and isinstance(want.get("haar"), float):
            want["ratio"] = want["variance"] / want["haar"]
        rows.append(want)
    return rows


def imitation(study: Study, table: Table) -> list[Row]:
    """Means and standard deviations of the imitation errors over finished trials."""
    rows = []
    for row in table.rows:
        cell, slot = row["cell"].text, row["slot"].text
        done = [t for c, _, t in study.folder.of("main") if c == cell and t.state == "done"]
        want: Row = {"cell": cell, "slot": slot}
        for when in ("start", "end"):
            found = [t.metrics[f"imitation_{when}_{slot}"] for t in done if f"imitation_{when}_{slot}" in t.metrics]
            want |= {when: fmean(found), f"{when}_sd": stdev(found) if len(found) > 1 else NAN, "n": len(found)}
        rows.append(want)
    return rows


TABLES: dict[str, Callable[[Study, Table], list[Row]]] = {
    "effects": effects,
    "complete": complete,
    "cells": cells,
    "all-trials": all_trials,
    "tuning-summary": lambda study, table: tuning.summary(study.folder, table),
    "shapley-values": shapley,
    "random-starts": random_starts,
    "imitation": imitation,
    "numbers-ladder": figures.listed,
    "numbers-mixing": figures.listed,
    "numbers-arms": figures.listed,
    "numbers-factorial": figures.listed,
    "numbers-interactions": figures.interactions,
    **{f"pareto-{cost}": figures.pareto for cost in COSTS},
}

# --- the walk -------------------------------------------------------------------------------------------------------


def check(study: Study, table: Table) -> list[str]:
    """Every mismatch of one table."""
    errors = [
        f"table {table.id!r}, row {n}, {column}: {c.text!r} is no rounding of {c.value!r}"
        for n, row in enumerate(table.rows)
        for column, c in row.items()
        if c.value is not None and not _rounded(c, column in table.shares)
    ]
    if any(table.id.startswith(e) for e in EXCEPTIONS):
        return errors
    if table.id not in TABLES:
        if table.data():
            errors.append(
                f"table {table.id!r} has {table.data()} numbers and no recomputation: write a function in "
                "tests/report/tables.py and name it in TABLES"
            )
        return errors
    study.errors = []
    wanted = TABLES[table.id](study, table)
    errors += study.errors
    if len(wanted) != len(table.rows):
        return [*errors, f"table {table.id!r}: {len(table.rows)} rows on the page, {len(wanted)} recomputed"]
    for n, (row, want) in enumerate(zip(table.rows, wanted, strict=True)):
        name = row.get("swap", row.get("cell", row.get("trial", Cell("", None)))).text
        for column in table.columns if want else ():
            said = _compared(row[column], column, want)
            if said:
                errors.append(f"table {table.id!r}, row {n} ({name}), {column}: {said}")
    return errors


def _rounded(cell: Cell, share: bool) -> bool:
    if cell.value in ("true", "false"):
        return cell.text == ("yes" if cell.value == "true" else "no")
    try:
        return is_rounding(cell.text, float(cell.value or ""), share)
    except ValueError:
        return False


def _compared(cell: Cell, column: str, want: Row) -> str:
    """What is wrong with a cell; empty where nothing is."""
    if column not in want:
        return f"{cell.value or cell.text!r} on the page, and nothing recomputes this column" if cell.value else ""
    value = want[column]
    margin = 0.0
    if isinstance(value, Within):
        value, margin = value.value, value.by
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if missing:
        return "" if cell.value is None and cell.text in ("–", "") else f"{cell.text!r} on the page, nothing recomputed"
    if isinstance(value, str):
        return "" if cell.text == value else f"{cell.text!r} on the page, {value!r} recomputed"
    if cell.value is None:
        return f"{cell.text!r} on the page, {value!r} recomputed"
    if isinstance(value, bool) or cell.value in ("true", "false"):
        return "" if cell.value == str(bool(value)).lower() else f"{cell.value} on the page, {value} recomputed"
    found = float(cell.value)
    if math.isinf(value) or math.isinf(found):
        near = value == found
    else:
        slack = 1e-6 if column == "smallest_detectable" else 1e-9
        near = abs(found - value) <= margin + slack * abs(value) + 1e-11
        if column == "replicates_needed" and math.isfinite(found) and want.get("flips"):
            near = value <= found <= 2 * value + 10  # with sign flips it is simulated: the t test's number is a bound
        near = near or (column == "p" and want.get("replicates", 0) > 20 and abs(found - value) < 0.01)
    return "" if near else f"{cell.value} on the page, {value!r} recomputed"
