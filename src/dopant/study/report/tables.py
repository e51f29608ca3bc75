"""The tables of the page: every number as it is shown, its exact value beside it for scripts (`<data value=…>`)."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import circuits
from .forest import AGAINST_CONTROL, groups, role_of
from .words import IN_UNIT_OF_METRIC, Measure, clean, formatter, is_missing, kind_of, plain, score

CUT = 200  # more trials than this stand in the page's data and in trials.csv, not in its text

EFFECTS = (
    "swap", "versus", "estimand", "metric", "replicates", "failed", "mean", "sd", "correlation", "low", "high",
    "low_unpaired", "high_unpaired", "item_error", "p", "p_floor", "p_holm", "margin", "equivalence",
    "smallest_detectable", "untuned", "tier", "verdict",
)  # fmt: skip
TRIALS = ("trial", "cell", "level", "replicate", "seed", "phase", "status", "attempts", "reason", "swaps")
ELSEWHERE = ("cost_", "gradient_", "dimension_", "warnings")  # how columns begin that other tables show
IDENTITY = ("cell", "role", "level")
HIDDEN = ("cell", "role", "controls", "sentence", "of", "p_t")  # columns of effects that the page shows in other ways

LABELS = {
    "low": "95 % low", "high": "95 % high", "low_unpaired": "unpaired low", "high_unpaired": "unpaired high",
    "sd": "SD of differences", "item_error": "item-level error", "p_floor": "smallest p possible",
    "p_holm": "p (corrected)",
    "item_low": "95 % low, items", "item_high": "95 % high, items", "mcnemar_p": "p (McNemar)",
    "low_joint": "95 % low, whole race", "high_joint": "95 % high, whole race",
    "smallest_detectable": "smallest detectable", "flops": "FLOPs", "flops_step": "FLOPs per step",
    "flops_declared": "FLOPs declared", "trainable": "trainable parameters",
    "seconds_per_step": "time per step", "dimension": "effective dimension", "test_accuracy": "test accuracy",
}  # fmt: skip
HELP = {
    "mean": "mean over replicates of (this cell minus the one it is compared with); positive is better",
    "sd": "standard deviation of the paired differences",
    "correlation": "between the two arms over replicates: what pairing gained",
    "low": "95 % interval from paired differences", "high": "95 % interval from paired differences",
    "low_unpaired": "95 % interval if the arms had not been paired",
    "high_unpaired": "95 % interval if the arms had not been paired",
    "item_error": "standard error that comes from the finite test set",
    "p": "exact sign-flip test; none below six replicates",
    "p_floor": "the smallest p that so many replicates can give",
    "p_holm": "p corrected for asking about several swaps, as the column correction says",
    "correction": "holm: Holm's; max-t: step-down max-|t| over joint sign flips, for the entries of a race",
    "low_joint": "of all entries of the race at once (Bonferroni)",
    "high_joint": "of all entries of the race at once (Bonferroni)",
    "item_low": "paired bootstrap over test items of these trained networks",
    "item_high": "paired bootstrap over test items of these trained networks",
    "mcnemar_p": "exact test over test items of these trained networks; decides nothing",
    "margin": "differences smaller than this count as equal; written down before the run",
    "equivalence": "whether the difference lies within the margin",
    "smallest_detectable": "the smallest true difference that so many replicates would have found",
    "dimension": "rank of the Jacobian of what fills the slot, as it starts, in its trainable parameters",
    "flops": "one forward pass, a sample, as computed here: of circuits their simulation",
    "flops_step": "forward and backward of a training step, a sample",
    "flops_declared": "the part of a training step that components declare because torch cannot count it",
    "untuned": "yes where the arms were not tuned alike",
    "tier": "how close to a device the evidence is",
    "primary": "of two estimands the one that the study declared",
    "estimand": "drop-in: only the swap differs; best against best: every arm tuned alike",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What a table cell shows. value: the exact number behind it, None for text. class_: for the style sheet."""

    text: str
    value: str | None = None
    class_: str = ""


@dataclass(frozen=True)
class Header:
    name: str
    label: str
    help: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    headers: list[Header]
    rows: list[list[Entry]]
    classes: list[str] = field(default_factory=list)  # of the rows
    cut: int = 0  # rows left out


def entry(column: str, value: Any, write: Callable[[Any], str]) -> Entry:
    """One value of a column, a number written as `write` says."""
    if is_missing(value):
        return Entry("–", None, "none")
    if is_number(value):
        exact = str(bool(value)).lower() if "bool" in type(value).__name__ else repr(_python(value))
        return Entry(write(value), exact, "number")
    if column == "verdict":
        return Entry(clean(value), None, f"verdict {kind_of(value)[0].key}")
    if column == "status":
        return Entry(clean(value), None, f"status {clean(value)}")
    return Entry(text_of(value), None, "id" if column == "trial" else "")


def is_number(value: Any) -> bool:
    """Whether a table shows it as a number; truth values are, as yes and no."""
    return isinstance(value, numbers.Real) or type(value).__name__ in ("bool_", "bool")


def text_of(value: Any) -> str:
    """How a table shows what is no number."""
    return "; ".join(clean(v) for v in value) if isinstance(value, (list, tuple)) else clean(value)


def _python(value: Any) -> int | float:
    number = float(value)
    return int(value) if math.isfinite(number) and isinstance(value, numbers.Integral) else number


def header(column: str, metric: Measure, numeric: bool) -> Header:
    """A column's heading with its unit."""
    label = LABELS.get(column, plain(column))
    if column in IN_UNIT_OF_METRIC and metric.share:
        label += ", pp"
    return Header(clean(column), label, HELP.get(column, ""), numeric)


def build(
    records: list[dict[str, Any]], columns: list[str], metric: Measure, classes: list[str] | None = None,
    own: Mapping[str, circuits.Column] | None = None, values: Any = None,
) -> Table:  # fmt: skip
    """A table of `records` with these columns, in this order. own: columns that have words of their own in it.

    values: a frame by whose columns it is judged how each is written, where the records are a part of it.
    """
    own = own or {}
    judged = {c: [record.get(c) for record in records] if values is None else values[c] for c in columns}
    writers = {c: formatter(c, metric, judged[c]) for c in columns}
    writers |= {c: column.write for c, column in own.items() if column.write is not None}
    rows = [[entry(c, record.get(c), writers[c]) for c in columns] for record in records]
    numeric = [any(row[i].class_ == "number" for row in rows) for i in range(len(columns))]
    for row in rows:
        for i, e in enumerate(row):
            row[i] = replace(e, class_="number none") if numeric[i] and e.class_ == "none" else e
    headers = [header(c, metric, n) for c, n in zip(columns, numeric, strict=True)]
    headers = [replace(h, label=own[h.name].label, help=own[h.name].help) if h.name in own else h for h in headers]
    return Table(headers, rows, classes or [])


def effects(frame: Any, metric: Measure) -> Table:
    """Every column of `Answer.effects`, each effect followed by its controls and variants."""
    records = [row for group in groups(frame) for row in group]
    columns = [c for c in EFFECTS if c in frame.columns]
    hidden = HIDDEN if "max-t" in set(frame.get("correction", ())) else (*HIDDEN, "correction")
    columns += [c for c in frame.columns if c not in columns and c not in hidden and _worth(frame[c])]
    table = build(records, columns, metric, [role_of(r) for r in records])
    for record, row in zip(records, table.rows, strict=True):
        role = role_of(record)
        if role != "level" and "swap" in columns:
            name = clean(record["swap"])
            row[columns.index("swap")] = Entry(
                f"{name} minus its control" if role == AGAINST_CONTROL else f"{role}: {name}"
            )
    return table


def trial_columns(frame: Any) -> list[str]:
    """The columns of the table of trials: how each ended, then its results; those without any value are left out."""
    columns = [c for c in TRIALS if c in frame.columns]
    columns += [c for c in frame.columns if c not in columns and not str(c).startswith(ELSEWHERE) and _worth(frame[c])]
    if "reason" in columns and frame["reason"].map(lambda v: is_missing(v) or v == "").all():
        columns.remove("reason")
    return columns


def trials(frame: Any, rows: int = CUT) -> Table:
    """The first `rows` trials with their status."""
    columns = trial_columns(frame)
    shown = frame.head(rows)
    table = build(shown.to_dict("records"), columns, Measure("", False), values=frame)
    return Table(table.headers, table.rows, [], len(frame) - len(shown))


def _worth(series: Any) -> bool:
    return not any(isinstance(v, dict) for v in series) and bool(series.notna().any())


def cells(costs: Any, trial_frame: Any, metric: Measure, dimensions: Any = None) -> Table | None:
    """What each cell reached (mean, SD and number of its finished trials) beside what it cost.

    First what was counted and measured here, simulation included; then what circuits would take on a device.
    dimensions: rows of `StudyAnswer.dimensions`, told beside the trainable parameters. A cost that no cell has is left
    out, the tier of evidence where there is no circuit. None where there is neither.
    """
    records = [] if costs is None or costs.empty else costs.to_dict("records")
    reached = _reached(trial_frame, metric.name)
    known = [r.get("cell") for r in records]
    records += [{"cell": name} for name in reached if name not in known]
    if not records:
        return None
    cost_columns = [] if costs is None else [c for c in costs.columns if c not in IDENTITY and _worth(costs[c])]
    cost_columns.sort(key=lambda c: c in circuits.COSTS)  # a stable sort: what a device would take comes last
    ranks = _ranks(dimensions)
    if ranks:
        records = [record | {"dimension": ranks.get(record["cell"])} for record in records]
        cost_columns.insert(cost_columns.index("trainable") + 1 if "trainable" in cost_columns else 0, "dimension")
    tiers = _tiers(trial_frame)
    if tiers:
        cost_columns.append("tier")
        records = [record | {"tier": tiers.get(record["cell"])} for record in records]
    table = build(records, ["cell", *cost_columns], metric, own=circuits.COSTS)
    if not reached:
        return table
    extra = [
        Header("reached", f"{metric.label}, mean", "over finished trials", True),
        Header("spread", "SD", "over finished trials", True),
        Header("n", "n", "finished trials", True),
    ]
    rows = []
    for record, row in zip(records, table.rows, strict=True):
        mean, sd, n = reached.get(record["cell"], (math.nan, math.nan, 0))
        shown = [Entry(score(v, metric), None if is_missing(v) else repr(float(v)), "number") for v in (mean, sd)]
        rows.append([row[0], *shown, Entry(str(n), str(n), "number"), *row[1:]])
    return Table([table.headers[0], *extra, *table.headers[1:]], rows)


def _ranks(dimensions: Any) -> dict[str, str]:
    """{cell: effective dimension of what fills each slot, in words}."""
    if dimensions is None or not len(dimensions):
        return {}
    told: dict[str, list[str]] = {}
    for row in dimensions.to_dict("records"):
        known = not is_missing(row["rank"])
        exact = "" if not known or row["exact"] else "at least "
        words = f"{exact}{int(row['rank']):,} of {int(row['parameters']):,}" if known else ""
        told.setdefault(row["cell"], []).append(f"{row['slot']}: {words if known else 'not measured'}")
    return {cell: "; ".join(lines) for cell, lines in told.items()}


def unmeasured(dimensions: Any) -> list[str]:
    """Why effective dimensions were not measured: each reason once, with the cells and slots that it is of."""
    if dimensions is None or not len(dimensions):
        return []
    told: dict[str, list[str]] = {}
    for row in dimensions.fillna({"skipped": ""}).to_dict("records"):
        if is_missing(row["rank"]):
            told.setdefault(clean(row["skipped"]), []).append(f"{clean(row['cell'])} ({clean(row['slot'])})")
    return [f"{', '.join(of)}: {why}" for why, of in told.items()]


def imitation(trial_frame: Any, cells: Any) -> Table | None:
    """How well each component gave the old module's outputs on its inputs, before and after distilling; or None.

    Means and SDs over finished trials of `imitation_start_SLOT` and `imitation_end_SLOT`.
    """
    columns = [str(c) for c in getattr(trial_frame, "columns", ())]
    slots = [c.removeprefix("imitation_start_") for c in columns if c.startswith("imitation_start_")]
    done = trial_frame[trial_frame["status"] == "done"] if slots and "status" in columns else trial_frame
    rows = []
    for cell in dict.fromkeys(c.name for c in cells) if slots else ():
        for slot in slots:
            mine = done[done["cell"] == cell]
            values = [
                mine[f"imitation_{when}_{slot}"] for when in ("start", "end") if f"imitation_{when}_{slot}" in mine
            ]
            if len(values) < 2 or not values[1].notna().any():
                continue
            row = [Entry(clean(cell)), Entry(clean(slot))]
            for value in values:
                row += [Entry("–" if v != v else f"{v:.3g}", None if v != v else repr(float(v)), "number")
                        for v in (value.mean(), value.std())]  # fmt: skip
            rows.append([*row, Entry(str(value.count()), str(value.count()), "number")])
    if not rows:
        return None
    labels = {"cell": "cell", "slot": "slot", "start": "error at start", "start_sd": "SD", "end": "after distilling",
              "end_sd": "SD", "n": "n"}  # fmt: skip
    return Table([Header(name, label, "", name not in ("cell", "slot")) for name, label in labels.items()], rows)


def gradients(frame: Any) -> Table | None:
    """The circuits of each cell at random starts, from `StudyAnswer.gradients`; None where there is none."""
    if frame is None or not len(frame):
        return None
    columns = [c for c in circuits.GRADIENTS if c in frame.columns and (c != "skipped" or frame[c].astype(bool).any())]
    return build(frame.to_dict("records"), columns, Measure("", False), own=circuits.GRADIENTS)


def _reached(frame: Any, metric: str) -> dict[Any, tuple[float, float, int]]:
    if metric not in getattr(frame, "columns", ()) or "cell" not in frame.columns:
        return {}
    frame = frame[frame[metric].notna()]
    if "phase" in frame.columns:
        frame = frame[frame["phase"] != "tuning"]
    if "status" in frame.columns:
        frame = frame[frame["status"] == "done"]
    found = frame.groupby("cell", sort=False)[metric].agg(["mean", "std", "count"])
    return {cell: (row["mean"], row["std"], int(row["count"])) for cell, row in found.iterrows()}


def _tiers(frame: Any) -> dict[Any, str]:
    """{cell: tier of evidence} of the cells with circuits."""
    if "cost_tier" not in getattr(frame, "columns", ()):
        return {}
    pairs = zip(frame["cell"], frame["cost_tier"], strict=True)
    return {cell: tier for cell, tier in pairs if isinstance(tier, str)}


def facts(mapping: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as (dotted key, text) pairs."""
    found: list[tuple[str, str]] = []
    for key, value in (mapping or {}).items():
        name = f"{prefix}{clean(key)}"
        if isinstance(value, dict):
            found += facts(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            nested = [v for v in value if isinstance(v, dict)]
            found += [pair for i, v in enumerate(nested, 1) for pair in facts(_told(v), f"{name}.{i}.")]
            found += [] if nested or not value else [(name, ", ".join(clean(v) for v in value))]
        elif value is not None:
            found.append((name, clean(value)))
    return found


def _told(start: dict[str, Any]) -> dict[str, Any]:
    """Of each start of a study only when and how: the newest one's facts stand above."""
    short = {k: start[k] for k in ("started", "command") if k in start}
    return short or start
