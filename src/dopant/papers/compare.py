"""Published numbers beside measured ones, epoch by epoch: pure functions of two sets of curves."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ..errors import ConfigError
from ..study.results import status_of
from ..study.statistics import ALPHA
from .paper import Counterpart, Paper

WELCH = "Welch"
PREDICTION = "prediction"
NONE = "none"
KINDS = {
    WELCH: "Welch's interval of the difference of two means",
    PREDICTION: "one measured replicate: the published repeats' prediction interval of one further run, moved to the "
    "difference; it takes our spread to be theirs",
    NONE: "no interval: too few runs, or no spread",
}


@dataclass(frozen=True)
class Series:
    """One published series: means and sample standard deviations over `distinct` runs, the first epoch first."""

    variant: str
    data: str
    level: int
    distinct: int
    repeats: int
    curves: Mapping[str, tuple[float, ...]]
    duplicates: str = ""

    @property
    def epochs(self) -> int:
        return len(self.curves["test_accuracy"])


@dataclass(frozen=True)
class Measured:
    """One measured cell. curves: {metric: (replicate, epoch)} of the replicates that have reached every epoch of it.

    metric: the accuracy that stands beside the published one. finished: replicates whose trial has ended.
    failed: those of them that failed as the task declares (such as a loss that is not finite). In `metric` they count
    as `failure_value` from the epoch on that they did not finish; other metrics are without them. complete: `metric` of
    the others alone, (replicate, epoch). lost: trials that a crash or an error of the code ended; they say nothing of
    the cell and are left out.
    """

    cell: str
    metric: str
    curves: Mapping[str, np.ndarray]
    images: int | None = None
    seconds: float | None = None
    finished: int = 0
    failed: int = 0
    lost: int = 0
    failure_value: float | None = None
    complete: np.ndarray | None = None

    @property
    def replicates(self) -> int:
        return self.curves[self.metric].shape[0]

    @property
    def epochs(self) -> int:
        return self.curves[self.metric].shape[1]


@dataclass(frozen=True)
class Difference:
    """Measured minus published at one epoch. kind: which interval it is, a key of KINDS."""

    epoch: int
    published: float
    published_sd: float
    published_n: int
    measured: float
    measured_sd: float
    measured_n: int
    mean: float
    low: float
    high: float
    kind: str

    @property
    def inside(self) -> bool | None:
        """Whether the interval holds zero; None without an interval."""
        return None if math.isnan(self.low) else self.low <= 0 <= self.high


def load_published(path: Path) -> list[Series]:
    """The series of a published.toml. ConfigError where an array's length is not the number of epochs it states."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    found = []
    for row in tables.get("series", []):
        curves = {k: tuple(v) for k, v in row.items() if isinstance(v, list) and not k.startswith("last_")}
        wrong = [k for k, v in curves.items() if len(v) != row["epochs"]]
        if wrong:
            raise ConfigError(f"{path.name}: {row['variant']}, {row['data']}, level {row['level']}: the arrays "
                              f"{', '.join(wrong)} do not hold {row['epochs']} epochs")  # fmt: skip
        found.append(
            Series(row["variant"], row["data"], row["level"], row["distinct"], row["repeats"], curves,
                   row.get("duplicates", ""))
        )  # fmt: skip
    return found


def published_epochs(paper: Paper) -> dict[str, int]:
    """{version: epochs of its published curves} of the versions that the paper's cells reproduce."""
    found = {c.variant: 0 for c in paper.counterparts.values() if c.same_recipe}
    for series in load_published(paper.published_file):
        if series.variant in found:
            found[series.variant] = max(series.epochs, found[series.variant])
    return found


def published_of(paper: Paper, data: str, cell: str) -> Series | None:
    """The series published of this very cell on our data set `data`; None where nothing was."""
    counterpart = paper.counterparts.get(cell)
    return _series(paper, data, counterpart) if counterpart and counterpart.same_recipe else None


def near_of(paper: Paper, data: str, cell: str) -> Series | None:
    """For a cell that nobody published: the series that a remark names beside it; None for every other cell."""
    counterpart = paper.counterparts.get(cell)
    return None if counterpart is None or counterpart.same_recipe else _series(paper, data, counterpart)


def _series(paper: Paper, data: str, counterpart: Counterpart) -> Series | None:
    name = paper.data.get(data)  # a paper of several parts has figures instead of series
    for series in load_published(paper.published_file):
        if (series.variant, series.level, series.data) == (counterpart.variant, counterpart.level, name):
            return series
    return None


def difference_interval(
    mean: float, sd: float, n: int, published: float, published_sd: float, published_n: int, level: float = 1 - ALPHA
) -> tuple[float, float, str]:
    """(low, high, kind) of `mean - published`, each a mean of n runs with a sample standard deviation.

    Two or more measured runs: Welch's interval. One: published +- t(n-1) sd sqrt(1 + 1/n) holds one further run of the
    same kind with this probability; moved to the difference it holds zero exactly when the run lies inside.
    """
    centre = mean - published
    if published_n >= 2 and published_sd > 0 and n == 1:
        half = float(stats.t.ppf(0.5 + level / 2, published_n - 1)) * published_sd * math.sqrt(1 + 1 / published_n)
        return centre - half, centre + half, PREDICTION
    if min(n, published_n) >= 2 and (sd > 0 or published_sd > 0):
        a, b = sd**2 / n, published_sd**2 / published_n
        freedom = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (published_n - 1))
        half = float(stats.t.ppf(0.5 + level / 2, freedom)) * math.sqrt(a + b)
        return centre - half, centre + half, WELCH
    return math.nan, math.nan, NONE


def differences(series: Series, values: np.ndarray, metric: str = "test_accuracy") -> list[Difference]:
    """One difference an epoch, for the epochs that both have. values: (replicate, epoch), measured."""
    n = values.shape[0]
    found = []
    for e in range(min(series.epochs, values.shape[1])):
        mean, sd = float(values[:, e].mean()), _sd(values[:, e])
        published, published_sd = series.curves[metric][e], series.curves[f"{metric}_sd"][e]
        low, high, kind = difference_interval(mean, sd, n, published, published_sd, series.distinct)
        found.append(
            Difference(e + 1, published, published_sd, series.distinct, mean, sd, n, mean - published, low, high, kind)
        )
    return found


def _sd(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def measured_of(answer: Any) -> dict[str, Measured]:
    """{cell: its curves} of a study, finished or not; cells without a finished epoch or a failed trial are left out.

    The accuracy is the test set's where it was read every epoch, else the validation set's. A failed trial is scored as
    the study's own effects score it.
    """
    metrics, trials = answer.metrics, answer.trials
    column = "test_accuracy" if "test_accuracy" in metrics else "validation_accuracy"
    found: dict[str, Measured] = {}
    if column not in metrics:
        return found
    for cell in (c.name for c in answer.cells):
        part = metrics[(metrics["cell"] == cell) & (metrics["epoch"] >= 1)]
        own = trials[trials["cell"] == cell]
        done = own[own["status"] == "done"]
        failed, lost = _ended_badly(own)
        if not len(part) and not len(failed):
            continue
        every = part
        if len(done) or len(failed):  # only replicates that ended: one under way would shorten the curve of all
            part = part[part["trial"].isin(done["trial"])]
        names = [column, *(c for c in part.columns if c.startswith(("train_", "state_norm")) or c == "test_loss")]
        # a metric of other cells' slots is all missing here
        curves = {c: _wide(part, c) for c in dict.fromkeys(names) if part[c].notna().any()}
        more: dict[str, Any] = {"lost": len(lost)}
        if len(failed):
            value = float(answer.failure_value(column.partition("_")[2]))
            complete = curves.get(column, np.empty((0, answer.config.recipe.epochs)))
            curves[column] = np.vstack([complete, _failures(every, failed, column, value, complete.shape[1])])
            more |= {"failed": len(failed), "failure_value": value, "complete": complete}
        if column not in curves:
            continue
        seconds = done["seconds"].mean() if len(done) and "seconds" in done else None
        images = done["n_train"].iloc[0] if len(done) and "n_train" in done else None
        found[cell] = Measured(
            cell, column, curves, None if images is None else int(images), None if seconds is None else float(seconds),
            len(done) + len(failed), **more,
        )  # fmt: skip
    return found


def _ended_badly(own: Any) -> tuple[Any, Any]:
    """(trials that failed as the task declares, trials that were lost) of those of a cell."""
    reasons = own["reason"] if "reason" in own else [None] * len(own)
    said = [status_of({"state": s, "reason": r}) for s, r in zip(own["status"], reasons, strict=True)]
    return own[[s == "failed" for s in said]], own[[s == "lost" for s in said]]


def _failures(part: Any, failed: Any, column: str, value: float, epochs: int) -> np.ndarray:
    """(replicate, epoch) of failed trials: what they had measured, and `value` from the epoch on that they lack."""
    rows = np.full((len(failed), epochs), value)
    for row, trial in zip(rows, failed["trial"], strict=True):
        known = part[part["trial"] == trial].set_index("epoch")[column]
        for e in range(1, epochs + 1):
            if e not in known or not math.isfinite(known[e]):
                break
            row[e - 1] = known[e]
    return rows


def _wide(part: Any, column: str) -> np.ndarray:
    """(replicate, epoch), up to the last epoch that every replicate has."""
    wide = part.pivot(index="replicate", columns="epoch", values=column).sort_index().sort_index(axis=1)
    whole = wide.loc[:, wide.notna().all().cummin()]
    return whole.to_numpy(float)


COLUMNS = (
    "cell", "epoch", "comparable", "same_recipe", "published_variant", "published_level", "published_n",
    "published_accuracy", "published_accuracy_sd", "published_train_loss", "measured_n", "measured_metric",
    "measured_accuracy", "measured_accuracy_sd", "measured_train_loss", "difference", "low", "high", "interval",
    "failed", "failure_value", "complete_n", "complete_accuracy", "complete_accuracy_sd", "complete_difference",
    "complete_low", "complete_high", "complete_interval",
)  # fmt: skip


def curve_table(paper: Paper, data: str, measured: Mapping[str, Measured], comparable: bool) -> Any:
    """A pandas table with one row a cell and epoch: published and measured accuracy, difference, interval, losses.

    comparable: whether the run is one of the whole data. If not, published numbers may stand beside the measured ones,
    but no row has a difference or counts as the same recipe. The columns are always COLUMNS.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for cell, have in measured.items():
        series = published_of(paper, data, cell)
        values = have.curves[have.metric]
        by_epoch = {d.epoch: d for d in differences(series, values)} if series and _same_metric(have) else {}
        for e in range(values.shape[1]):
            found = by_epoch.get(e + 1)
            alike = comparable and found is not None
            row: dict[str, Any] = {"cell": cell, "epoch": e + 1, "comparable": alike, "same_recipe": alike}
            if found is not None and series is not None:
                row |= {
                    "published_variant": series.variant, "published_level": series.level,
                    "published_n": found.published_n, "published_accuracy": found.published,
                    "published_accuracy_sd": found.published_sd,
                    "published_train_loss": series.curves["train_loss"][e],
                }  # fmt: skip
            row |= {"measured_n": have.replicates, "measured_metric": have.metric,
                    "measured_accuracy": float(values[:, e].mean()),
                    "measured_accuracy_sd": _sd(values[:, e])}  # fmt: skip
            if "train_loss" in have.curves:
                row["measured_train_loss"] = float(have.curves["train_loss"][:, e].mean())
            if alike and found is not None:
                row |= {"difference": found.mean, "low": found.low, "high": found.high, "interval": found.kind}
            rows.append(row | _sensitivity(have, series if alike else None, e))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _sensitivity(have: Measured, series: Series | None, e: int) -> dict[str, Any]:
    """Of a row of `curve_table`: how many trials failed, and what complete cases alone would say, at epoch e + 1."""
    if not have.failed or have.complete is None:
        return {"failed": 0}
    row = {"failed": have.failed, "failure_value": have.failure_value, "complete_n": len(have.complete)}
    if not len(have.complete):
        return row
    values = have.complete[:, e]
    row |= {"complete_accuracy": float(values.mean()), "complete_accuracy_sd": _sd(values)}
    if series is not None:
        gap = differences(series, have.complete)[e]
        row |= {"complete_difference": gap.mean, "complete_low": gap.low, "complete_high": gap.high,
                "complete_interval": gap.kind}  # fmt: skip
    return row


def _same_metric(have: Measured) -> bool:
    return have.metric == "test_accuracy"


def last_common(series: Series | None, have: Measured | None) -> Difference | None:
    """The difference at the last epoch that both have; None where there is nothing to compare."""
    if series is None or have is None or not _same_metric(have) or not have.epochs:
        return None
    return differences(series, have.curves[have.metric])[-1]


def complete_cases(series: Series | None, have: Measured | None) -> Difference | None:
    """`last_common` of the replicates that did not fail; None where none failed, or all."""
    if have is None or not have.failed or have.complete is None or not len(have.complete):
        return None
    return last_common(series, replace(have, curves={have.metric: have.complete}))


def kinds_used(found: Sequence[Difference | None]) -> list[str]:
    """What the intervals are, one sentence for each kind that occurs."""
    return [text for kind, text in KINDS.items() if any(d is not None and d.kind == kind for d in found)]
