"""The verdict engine on results from anywhere: a table with one row a trial, or one a trial and test item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..designs import Contrast
from ..errors import ConfigError, hint, nearest
from . import statistics as st
from . import verdicts
from .answer import Answer


@dataclass(repr=False)
class Analysis(Answer):
    """The answer of a table. trials: arm, replicate, the metric, status. notes: also what such a table cannot tell."""

    effects: pd.DataFrame
    verdicts: list[str]
    trials: pd.DataFrame
    notes: list[str]
    name: str = "analysis"
    question: str = ""

    def __post_init__(self) -> None:
        done = int(list(self.trials["status"]).count("done"))
        planned = len(self.trials)
        self.counts = {"planned": planned, "pending": 0, "running": 0, "done": done, "failed": planned - done}
        self.metrics = pd.DataFrame(columns=["trial", "cell", "level", "replicate", "epoch"])
        self.costs = pd.DataFrame(columns=["cell"])
        self.cells, self.study, self.provenance = [], {}, {}


def analyse(
    table: pd.DataFrame | str | PathLike[str],
    *,
    reference: str,
    controls: Sequence[str] = (),
    metric: str,
    higher_is_better: bool = True,
    margin: float | None = None,
    failure_value: float | None = None,
) -> Analysis:
    """What did each arm do against `reference`, and is it more than the `controls` do?

    table: a DataFrame or the path of a CSV file with the columns arm, replicate and the one that `metric` names; with a
        column item, one row a test item, whose mean over items is the trial's score. Rows of one replicate are paired.
        With columns n_train and n_test the replicates count as re-splits of one pool (Nadeau-Bengio variance), else as
        independent.
    controls: arms that every other arm must beat. All arms that are neither they nor the reference are swaps.
    margin: the smallest difference that matters, in the metric's unit, decided before the results were seen.
    failure_value: the score of a trial whose metric is NaN; without it such a pair counts as unfinished.

    Whether the arms were tuned alike is not in such a table; the notes say so. Raises ConfigError with every problem.
    """
    data = _read(table)
    controls = [controls] if isinstance(controls, str) else controls
    problems = _missing_columns(data, metric)
    if problems:
        raise ConfigError(problems)
    has_items = "item" in data.columns
    data = data.assign(arm=data["arm"].where(data["arm"].isna(), data["arm"].astype(str)))
    reference, controls = str(reference), tuple(dict.fromkeys(str(c) for c in controls))
    values: Any = pd.to_numeric(data[metric], errors="coerce")
    problems = [
        *_name_problems(data, reference, controls),
        *_value_problems(data, metric, values),
        *_row_problems(data, has_items),
        *_number_problems(margin, failure_value),
    ]
    resplit, more = _resplit(data)
    if problems + more:
        raise ConfigError(problems + more)

    data = data.assign(_value=values.astype(float))
    items, same_items = _items(data) if has_items else (None, None)
    means = data.groupby(["arm", "replicate"], sort=False)["_value"].agg(lambda v: v.mean(skipna=False)).reset_index()
    means = means.rename(columns={"_value": "value"})
    means["status"] = np.where(np.isfinite(means["value"]), "done", "failed")
    swaps = [arm for arm in dict.fromkeys(means["arm"]) if arm != reference and arm not in controls]
    contrasts = [Contrast(arm, arm, reference, controls) for arm in swaps]
    contrasts += [Contrast(arm, arm, reference, role="control") for arm in controls]
    effects = verdicts.effects(
        means, contrasts, metric=metric, higher_is_better=higher_is_better, margin=margin, failure_value=failure_value,
        resplit=resplit, tuned=True, estimand="as given", tier="as given", items=items, same_items=same_items,
    )  # fmt: skip
    trials = means.rename(columns={"value": metric})
    return Analysis(
        effects, verdicts.sentences(effects), trials, _notes(means, swaps, controls, resplit, has_items),
        question=f"What do {', '.join(swaps)} do to {metric} against {reference}?",
    )  # fmt: skip


def _read(table: Any) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table.reset_index(drop=True)
    path = Path(table)
    if not path.is_file():
        raise ConfigError(f"there is no table {str(path)!r}; a CSV file is expected: arm, replicate and a metric")
    try:
        return pd.read_csv(path)
    except (ValueError, OSError) as error:  # pandas' parser errors and bad encodings are ValueErrors
        raise ConfigError(f"{str(path)!r} cannot be read as CSV: {error}") from error


def _missing_columns(data: pd.DataFrame, metric: str) -> list[str]:
    columns = [str(c) for c in data.columns]
    problems = [
        f"the table has no column {name!r}{hint(nearest(name, columns, 1))}; it has {', '.join(columns) or 'none'}"
        for name in ("arm", "replicate", metric)
        if name not in columns
    ]
    problems += [f"the table has two columns {name!r}" for name in sorted({c for c in columns if columns.count(c) > 1})]
    if metric in ("arm", "replicate", "item", "n_train", "n_test"):
        problems.append(f"the metric cannot be the column {metric!r}, which has a meaning of its own")
    if not problems and data.empty:
        problems.append("the table has no rows")
    return problems


def _name_problems(data: pd.DataFrame, reference: str, controls: tuple[str, ...]) -> list[str]:
    arms = list(dict.fromkeys(data["arm"].dropna()))
    problems = [
        f"the {what} {name!r} is no arm of the table{hint(nearest(name, arms, 1))}; its arms are {', '.join(arms)}"
        for what, name in [("reference", reference), *(("control", c) for c in controls)]
        if name not in arms
    ]
    if reference in controls:
        problems.append(f"the reference {reference!r} cannot be a control too")
    elif not problems and len(arms) == 1 + len(controls):
        problems.append("every arm is the reference or a control; at least one more arm is needed to be judged")
    return problems


def _value_problems(data: pd.DataFrame, metric: str, values: pd.Series) -> list[str]:
    bad = data.loc[values.isna() & data[metric].notna(), metric]
    if bad.empty:
        return []
    shown = ", ".join(repr(v) for v in bad.unique()[:3])
    return [f"column {metric!r}: {len(bad)} values are no numbers, such as {shown}; an empty cell means a failed trial"]


def _row_problems(data: pd.DataFrame, has_items: bool) -> list[str]:
    """Empty keys, trials given twice, arms with other replicates, trials with other items."""
    keys = ["arm", "replicate", "item"] if has_items else ["arm", "replicate"]
    empty = {k: data[k].isna().to_numpy() for k in keys}
    problems = [f"column {k!r}: {np.sum(empty[k])} cells are empty" for k in keys if np.any(empty[k])]
    if problems:
        return problems
    twice = data.loc[data.duplicated(keys), keys].drop_duplicates()
    for row in twice.head(5).to_dict("records"):
        where = ", ".join(f"{k} {v!r}" for k, v in row.items())
        problems.append(f"{where} is given more than once; one row each is expected" + _item_hint(data, has_items))
    if len(twice) > 5:
        problems.append(f"and {len(twice) - 5} more are given more than once")
    every = dict.fromkeys(data["replicate"])
    for arm, rows in data.groupby("arm", sort=False):
        lacking = [r for r in every if r not in set(rows["replicate"])]
        if lacking:
            shown = ", ".join(str(r) for r in lacking[:5]) + (", …" if len(lacking) > 5 else "")
            problems.append(f"arm {arm!r} has no row for replicate {shown}; leave the metric empty for a failed trial")
    if has_items and not problems:
        for replicate, rows in data.groupby("replicate", sort=False):
            sets = rows.groupby("arm")["item"].agg(frozenset)
            if len(set(sets)) > 1:
                problems.append(f"replicate {replicate!r}: the arms were tested on different items; expected the same")
    return problems


def _item_hint(data: pd.DataFrame, has_items: bool) -> str:
    return "" if has_items or len(data) < 4 * len(data[["arm", "replicate"]].drop_duplicates()) else (
        "; per-item results need a column 'item'"
    )  # fmt: skip


def _number_problems(margin: float | None, failure_value: float | None) -> list[str]:
    problems = []
    if margin is not None and not (math.isfinite(margin) and margin > 0):
        problems.append(f"margin: {margin!r} is not a positive number; leave it out to claim no equivalence")
    if failure_value is not None and not math.isfinite(failure_value):
        problems.append(f"failure_value: {failure_value!r} is not a finite number")
    return problems


def _resplit(data: pd.DataFrame) -> tuple[float | None, list[str]]:
    """(mean n_test / n_train, problems), None without those columns."""
    present = [c for c in ("n_train", "n_test") if c in data.columns]
    if not present:
        return None, []
    if len(present) == 1:
        return None, [f"column {present[0]!r} needs its partner: n_train and n_test together mean re-split replicates"]
    sizes = data[["n_train", "n_test"]].apply(pd.to_numeric, errors="coerce")
    if not np.all(sizes.to_numpy(float) > 0):
        return None, ["columns 'n_train' and 'n_test': positive numbers are expected in every row"]
    train, test = sizes.to_numpy(float).T
    return float(np.mean(test / train)), []


def _items(data: pd.DataFrame) -> tuple[dict[tuple[str, Any], np.ndarray], bool]:
    """Per-item values of each trial in the order of items, and whether all replicates share their items."""
    ordered = data.sort_values("item", kind="stable")
    grouped = ordered.groupby(["arm", "replicate"], sort=False)
    same = grouped["item"].agg(frozenset).nunique() == 1
    return {key: rows.to_numpy(float) for key, rows in grouped["_value"]}, bool(same)  # type: ignore[misc]


def _notes(
    means: pd.DataFrame, swaps: list[str], controls: tuple[str, ...], resplit: float | None, has_items: bool
) -> list[str]:
    n = len(set(means["replicate"]))
    notes = [
        f"{n} replicate{'s' if n > 1 else ''}, paired by the column 'replicate'; "
        f"{len(swaps)} swap{'s' if len(swaps) > 1 else ''} in Holm's family, {len(controls)} control"
        f"{'' if len(controls) == 1 else 's'} outside it.",
        "A table cannot tell whether the arms were tuned alike, nor whether the margin came before the run.",
    ]
    if resplit is not None:
        notes.append(f"Replicates count as re-splits of one pool, n_test / n_train = {resplit:.3g} (Nadeau-Bengio).")
        notes.append("Sign-flip p values ignore that re-splits share data; the corrected intervals decide.")
    else:
        notes.append("Replicates count as independent; add columns n_train and n_test if they re-split one pool.")
    if n > st.EXACT_UP_TO:
        notes.append(f"Sign-flip p values come from {st.DRAWS} random flips (seed 0).")
    if has_items:
        notes.append("Each trial's score is the mean over its items.")
    return notes
