"""Published numbers beside measured ones, epoch by epoch: pure functions of two sets of curves."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ..errors import ConfigError
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
    """

    cell: str
    metric: str
    curves: Mapping[str, np.ndarray]
    images: int | None = None
    seconds: float | None = None
    finished: int = 0

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
    for row in tables["series"]:
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


def published_of(paper: Paper, data: str, cell: str) -> Series | None:
    """The series published of this very cell on our data set `data`; None where nothing was."""
    counterpart = paper.counterparts.get(cell)
    return _series(paper, data, counterpart) if counterpart and counterpart.same_recipe else None


def near_of(paper: Paper, data: str, cell: str) -> Series | None:
    """For a cell that nobody published: the series that a remark names beside it; None for every other cell."""
    counterpart = paper.counterparts.get(cell)
    return None if counterpart is None or counterpart.same_recipe else _series(paper, data, counterpart)


def _series(paper: Paper, data: str, counterpart: Counterpart) -> Series | None:
    name = paper.data.get(data)
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
    """{cell: its curves} of a study, finished or not; cells without a finished epoch are left out.

    The accuracy is the test set's where it was read every epoch, else the validation set's.
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
        if not len(part):
            continue
        if len(done):  # only replicates that ended: one under way would shorten the curve of all
            part = part[part["trial"].isin(done["trial"])]
        names = [column, *(c for c in part.columns if c.startswith(("train_", "state_norm")) or c == "test_loss")]
        # a metric of other cells' slots is all missing here
        curves = {c: _wide(part, c) for c in dict.fromkeys(names) if part[c].notna().any()}
        seconds = done["seconds"].mean() if len(done) and "seconds" in done else None
        images = done["n_train"].iloc[0] if len(done) and "n_train" in done else None
        found[cell] = Measured(
            cell, column, curves, None if images is None else int(images), None if seconds is None else float(seconds),
            len(done),
        )  # fmt: skip
    return found


def _wide(part: Any, column: str) -> np.ndarray:
    """(replicate, epoch), up to the last epoch that every replicate has."""
    wide = part.pivot(index="replicate", columns="epoch", values=column).sort_index().sort_index(axis=1)
    whole = wide.loc[:, wide.notna().all().cummin()]
    return whole.to_numpy(float)


COLUMNS = (
    "cell", "epoch", "comparable", "same_recipe", "published_variant", "published_level", "published_n",
    "published_accuracy", "published_accuracy_sd", "published_train_loss", "measured_n", "measured_metric",
    "measured_accuracy", "measured_accuracy_sd", "measured_train_loss", "difference", "low", "high", "interval",
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
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _same_metric(have: Measured) -> bool:
    return have.metric == "test_accuracy"


def last_common(series: Series | None, have: Measured | None) -> Difference | None:
    """The difference at the last epoch that both have; None where there is nothing to compare."""
    if series is None or have is None or not _same_metric(have) or not have.epochs:
        return None
    return differences(series, have.curves[have.metric])[-1]


def kinds_used(found: Sequence[Difference | None]) -> list[str]:
    """What the intervals are, one sentence for each kind that occurs."""
    return [text for kind, text in KINDS.items() if any(d is not None and d.kind == kind for d in found)]
