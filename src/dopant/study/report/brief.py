"""What the short forms of a report (Markdown, LaTeX, a comparison) share: few columns, as texts, and their words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import reading, tables
from .forest import AGAINST_CONTROL, groups, role_of
from .words import Measure, clean, difference, interval, is_missing, measure_of, p_value

COSTS = ("trainable", "flops", "seconds_per_step", "qubits", "two_qubit_gates", "depth", "circuit_evaluations")


@dataclass(frozen=True)
class Sheet:
    """A small table. numeric: which columns are numbers. rows: texts that nothing was escaped in."""

    title: str
    headers: list[str]
    numeric: list[bool]
    rows: list[list[str]]


def effects(answer: Any) -> list[Sheet]:
    """One sheet for each metric and estimand: swap, against, n, difference, interval, p, margin, verdict."""
    frame = answer.effects
    if not len(frame):
        return []
    keys = [k for k in ("metric", "estimand") if k in frame.columns]
    found = []
    for key, part in frame.groupby(keys, sort=False, dropna=False):
        known = dict(zip(keys, key, strict=True))
        metric = measure_of(answer, known.get("metric"))
        unit = f", {metric.short.strip()}" if metric.share else ""
        title = f"Effects on {metric.label}" + (f", {clean(known['estimand'])}" if "estimand" in known else "")
        title += ", the primary estimand" if "primary" in part.columns and part["primary"].all() else ""
        corrected = "p (corrected)" if "max-t" in set(part.get("correction", ())) else "p (Holm)"
        headers = ["swap", "against", "n", f"difference{unit}", "95 % interval", corrected, f"margin{unit}", "verdict"]
        rows = [_effect(row, metric) for group in groups(part) for row in group]
        found.append(Sheet(title, headers, [False, False, True, True, True, True, True, False], rows))
    return found


def _effect(row: dict[str, Any], metric: Measure) -> list[str]:
    role, swap = role_of(row), clean(row.get("swap", ""))
    named = {"level": swap, AGAINST_CONTROL: f"{swap} minus its control"}.get(role, f"{role}: {swap}")
    verdict = "" if is_missing(row.get("verdict")) else clean(row["verdict"])
    return [
        named, clean(row.get("versus", "")), "–" if is_missing(row.get("replicates")) else str(int(row["replicates"])),
        difference(row.get("mean"), metric), interval(row.get("low"), row.get("high"), metric),
        p_value(row.get("p_holm")), difference(row.get("margin"), metric, signed=False),
        verdict.removesuffix(" than").removesuffix(" to"),
    ]  # fmt: skip


def costs(answer: Any) -> Sheet | None:
    """What each cell reached and cost; None where nothing finished."""
    metric = measure_of(answer)
    table = tables.cells(getattr(answer, "costs", None), answer.trials, metric, None)
    if table is None:
        return None
    wanted = ["cell", "reached", "spread", "n", *COSTS]
    keep = [i for name in wanted for i, h in enumerate(table.headers) if h.name == name]
    rows = [[row[i].text for i in keep] for row in table.rows]
    headers = [table.headers[i] for i in keep]
    return Sheet("What each cell reached and cost", [h.label for h in headers], [h.numeric for h in headers], rows)


def how(answer: Any) -> list[str]:
    """What a caption must say of the effects: n, the interval, the correction, the margin, tuned or not."""
    rows = reading.levels(answer.effects)
    if not rows:
        return []
    said = [f"Means over {_numbers([r.get('replicates') for r in rows])} replicates; positive is better."]
    intervals = "95 % paired t intervals"
    if _resplit(answer):
        intervals += ", with the corrected variance of Nadeau and Bengio because replicates re-split one pool"
    said.append(f"Intervals: {intervals}, each for itself: not corrected for their number.")
    failed = sum(int(r["failed"]) for r in rows if not is_missing(r.get("failed")))
    if failed:
        said.append(f"Failed trials among their arms ({failed}) count with the metric's declared value.")
    corrections = sorted({str(r["correction"]) for r in rows if r.get("correction")})
    names = {"holm": "Holm's", "max-t": "step-down max-|t| over joint sign flips"}
    if corrections:
        said.append(
            f"p: corrected among the swaps by {' and '.join(names.get(c, clean(c)) for c in corrections)}; those of "
            "controls are not; none below six replicates."
        )
    margins = {float(r["margin"]) for r in rows if not is_missing(r.get("margin"))}
    if margins:
        metric = measure_of(answer, rows[0].get("metric"))
        shown = ", ".join(difference(m, metric, signed=False) + metric.short for m in sorted(margins))
        said.append(f"Differences within {shown} count as none (the margin).")
    else:
        said.append("No margin was written down, so nothing is called equal.")
    if {r.get("estimand") for r in rows} == {"as given"}:
        said.append("Whether the arms were tuned alike, the table does not tell.")
    elif any(not is_missing(r.get("untuned")) and bool(r["untuned"]) for r in rows):
        said.append("The arms were not tuned: all ran one recipe.")
    else:
        said.append("All arms were tuned alike.")
    return said


def one_line(text: Any) -> str:
    """A clean text without breaks of lines or turns of direction; thin and unbroken spaces stay."""
    kept = re.sub("[\u202a-\u202e\u2066-\u2069]", "\ufffd", clean(text))
    return re.sub("[ \t\n\r\v\f\x85\u2028\u2029]+", " ", kept).strip(" ")


def _numbers(values: Sequence[Any]) -> str:
    known = sorted({0 if is_missing(v) else int(v) for v in values})
    return str(known[0]) if len(known) == 1 else f"{known[0]} to {known[-1]}"


def _resplit(answer: Any) -> bool:
    ask = getattr(answer, "resplit", None)
    return callable(ask) and ask() is not None
