"""A table of results from elsewhere: read as it was meant, and everything that is wrong with it, told at once."""

from __future__ import annotations

import math
import warnings
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import ConfigError, DopantWarning, hint, nearest
from .scored import higher_is_better_of

KEYS = ("arm", "replicate", "item", "n_train", "n_test")  # columns that have a meaning of their own


def read(table: Any, metric: Any) -> tuple[pd.DataFrame, list[str]]:
    """(the table, notes on how it was read). Spaces around column names and arms are taken off.

    table: a DataFrame, or the path of a text file with commas, semicolons or tabs between columns; with semicolons the
    decimal mark may be a comma. Raises ConfigError for anything else, and for a file that cannot be read.
    """
    notes: list[str] = []
    if not isinstance(table, pd.DataFrame):
        if not isinstance(table, (str, PathLike)):
            raise ConfigError(f"a DataFrame or the path of a CSV file is expected, not a {type(table).__name__}")
        table = _file(Path(table), metric, notes)
    data = table.reset_index(drop=True)
    data.columns = [c.strip() if isinstance(c, str) else c for c in data.columns]
    columns = [str(c) for c in data.columns]
    if columns.count("arm") == 1:
        data["arm"] = data["arm"].map(lambda v: v if pd.isna(v) else str(v).strip()).astype(object)
    unused = [c for c in columns if c not in (*KEYS, metric)]
    if unused:
        notes.append(f"Columns that were not used: {', '.join(unused)}.")
    return data, notes


def _file(path: Path, metric: Any, notes: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise ConfigError(f"there is no table {str(path)!r}; a CSV file is expected: arm, replicate and a metric")
    try:
        found = pd.read_csv(path)
        names = str(found.columns[0]) if len(found.columns) else ""
        mark = next((m for m in (";", "\t") if m in names), None)
        if mark is None:
            return found
        found = pd.read_csv(path, sep=mark)
        comma = mark == ";" and metric in found and found[metric].astype(str).str.contains(",", regex=False).any()
        if comma:
            found = pd.read_csv(path, sep=mark, decimal=",")
    except (ValueError, OSError) as error:  # pandas' parser errors and bad encodings are ValueErrors
        raise ConfigError(f"{str(path)!r} cannot be read as CSV: {error}; UTF-8 with commas is expected") from error
    word = "semicolons" if mark == ";" else "tabs"
    notes.append(f"The file has {word} between columns" + (" and a decimal comma." if comma else "."))
    return found


def direction_notes(metric: str, higher_is_better: bool) -> list[str]:
    """A warning, said aloud too, where the metric's name suggests the other direction: every verdict turns on it."""
    if not higher_is_better or higher_is_better_of(metric):
        return []
    text = (
        f"larger {metric} counts as better here, and its name suggests the opposite; if so, say higher_is_better=False "
        "(--lower-is-better)"
    )
    warnings.warn(text, DopantWarning, stacklevel=3)
    return [f"{text[0].upper()}{text[1:]}."]


def missing_columns(data: pd.DataFrame, metric: str) -> list[str]:
    """Columns that are not there, or twice, with the nearest names."""
    columns = [str(c) for c in data.columns]
    if not isinstance(metric, str):
        return [f"metric: the name of one column is expected, not {metric!r}; it has {', '.join(columns) or 'none'}"]
    problems = [
        f"the table has no column {name!r}{hint(nearest(name, columns, 1))}; it has {', '.join(columns) or 'none'}"
        for name in ("arm", "replicate", metric)
        if name not in columns
    ]
    problems += [f"the table has two columns {name!r}" for name in sorted({c for c in columns if columns.count(c) > 1})]
    if metric in KEYS:
        problems.append(f"the metric cannot be the column {metric!r}, which has a meaning of its own")
    if not problems and data.empty:
        problems.append("the table has no rows")
    return problems


def name_problems(data: pd.DataFrame, reference: str, controls: tuple[str, ...]) -> list[str]:
    """Arms that are not there, and none that is left to be judged."""
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


def value_problems(data: pd.DataFrame, metric: str, values: pd.Series) -> list[str]:
    """Scores that are no numbers. values: the column as numbers, NaN where it is none."""
    if np.iscomplexobj(values):
        return [f"column {metric!r} holds complex numbers; one real score a row is expected"]
    bad = data.loc[values.isna() & data[metric].notna(), metric]
    if bad.empty:
        return []
    shown = ", ".join(repr(v) for v in bad.unique()[:3])
    return [f"column {metric!r}: {len(bad)} values are no numbers, such as {shown}; an empty cell means a failed trial"]


def row_problems(data: pd.DataFrame, has_items: bool) -> list[str]:
    """Empty keys, trials given twice, arms with other replicates, trials with other items."""
    keys = ["arm", "replicate", "item"] if has_items else ["arm", "replicate"]
    empty = {k: data[k].isna().to_numpy() for k in keys}
    problems = [f"column {k!r}: {np.sum(empty[k])} cells are empty" for k in keys if np.any(empty[k])]
    if problems:
        return problems
    twice = data.loc[data.duplicated(keys), keys].drop_duplicates()
    hints = (_item_hint(data, has_items) or _other_hint(data, keys)) if len(twice) else ""
    for row in twice.head(5).to_dict("records"):
        where = ", ".join(f"{k} {v!r}" for k, v in row.items())
        problems.append(f"{where} is given more than once; one row each is expected" + hints)
    if len(twice) > 5:
        problems.append(f"and {len(twice) - 5} more are given more than once")
    of_arm = [set(rows["replicate"]) for _, rows in data.groupby("arm", sort=False)]
    if len(of_arm) > 1 and not set.intersection(*of_arm):
        return [
            *problems,
            "no replicate is in every arm, and rows are paired by the column 'replicate': give the rows that share "
            "data and seed one name in all arms, such as the seed itself",
        ]
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


def _other_hint(data: pd.DataFrame, keys: list[str]) -> str:
    """The first column by which rows that are given twice could be told apart."""
    for column in data.columns:
        plain = column not in KEYS and all(isinstance(value, (str, int)) for value in data[column].tolist())
        if plain and not any(data.duplicated([*keys, column])):
            return f"; they differ in {column!r}: analyse each of its values by itself"
    return ""


def number_problems(margin: float | None, failure_value: float | None) -> list[str]:
    """What is wrong with the numbers that stand beside the table."""
    problems = []
    if margin is not None and not (_finite(margin) and margin > 0):
        problems.append(f"margin: {margin!r} is not a positive number; leave it out to claim no equivalence")
    if failure_value is not None and not _finite(failure_value):
        problems.append(f"failure_value: {failure_value!r} is not a finite number")
    return problems


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def resplit(data: pd.DataFrame) -> tuple[float | None, list[str]]:
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


def step(values: np.ndarray) -> float:
    """The coarsest of 1, 0.1, 0.01, … of which all finite scores are multiples (to single precision); 0 without one.

    values: (trial,). A guess from above: scores that were rounded to 0.001 and all end in 0 look rounded to 0.01.
    """
    x = values[np.isfinite(values)]
    rounding = 4 * np.finfo(np.float32).eps * np.abs(x)
    for decimals in range(13):
        if x.size and np.all(np.abs(x - np.round(x, decimals)) <= rounding):
            return 10.0**-decimals
    return 0.0
