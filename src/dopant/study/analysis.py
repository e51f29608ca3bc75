"""The verdict engine on results from anywhere: a table with one row a trial, or one a trial and test item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from ..designs import Contrast
from ..errors import ConfigError
from . import given, sensitivity, verdicts
from . import statistics as st
from .answer import Answer


@dataclass(repr=False)
class Analysis(Answer):
    """The answer of a table. trials: arm, replicate, the metric, status. notes: also what such a table cannot tell.

    complete_cases: the effects without the pairs of failed trials, where there are some. decided: how it was analysed.
    """

    effects: pd.DataFrame
    verdicts: list[str]
    trials: pd.DataFrame
    notes: list[str]
    name: str = "analysis"
    question: str = ""
    complete_cases: pd.DataFrame | None = None
    decided: dict[str, str] = field(default_factory=dict)

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
    race: bool = False,
) -> Analysis:
    """What did each arm do against `reference`, and is it more than the `controls` do?

    table: a DataFrame or the path of a CSV file with the columns arm, replicate and the one that `metric` names; with a
        column item, one row a test item, whose mean over items is the trial's score: then also the interval over items
        and, of scores 0 and 1, McNemar's test. Rows of one replicate are paired.
        With columns n_train and n_test the replicates count as re-splits of one pool (Nadeau-Bengio variance), else as
        independent.
    controls: arms that every other arm must beat. All arms that are neither they nor the reference are swaps.
    margin: the smallest difference that matters, in the metric's unit, decided before the results were seen.
    failure_value: the score of a trial whose metric is NaN; without it such a pair counts as unfinished.
    Scores without a column item count as rounded to the decimals that they are given in: below six replicates,
    differences that vary by no more than one such step have no interval, and nothing is decided.
    race: the swaps are entries of which the best was to be found. They are corrected by max-|t| over joint sign flips
        instead of Holm, and the leader is not judged: analyse it again, alone, on fresh replicates.

    Whether the arms were tuned alike is not in such a table; the notes say so. Raises ConfigError with every problem.
    Warns (DopantWarning) where the metric's name suggests the other direction.
    """
    data, read = given.read(table, metric)
    controls = [controls] if isinstance(controls, str) else controls
    problems = given.missing_columns(data, metric)
    if problems:
        raise ConfigError(problems)
    has_items = "item" in data.columns
    reference, controls = str(reference).strip(), tuple(dict.fromkeys(str(c).strip() for c in controls))
    values: Any = pd.to_numeric(data[metric], errors="coerce")
    problems = [
        *given.name_problems(data, reference, controls),
        *given.value_problems(data, metric, values),
        *given.row_problems(data, has_items),
        *given.number_problems(margin, failure_value),
    ]
    resplit, more = given.resplit(data)
    if problems + more:
        raise ConfigError(problems + more)
    read += given.direction_notes(metric, higher_is_better)

    data = data.assign(_value=values.astype(float))
    items, same_items = _items(data) if has_items else (None, None)
    means = data.groupby(["arm", "replicate"], sort=False)["_value"].agg(lambda v: v.mean(skipna=False)).reset_index()
    means = means.rename(columns={"_value": "value"})
    means["status"] = np.where(np.isfinite(means["value"]), "done", "failed")
    step = 0.0 if has_items else given.step(means["value"].to_numpy(float))
    swaps = [arm for arm in dict.fromkeys(means["arm"]) if arm != reference and arm not in controls]
    contrasts = [Contrast(arm, arm, reference, controls, verdicts.RACE if race else "level") for arm in swaps]
    contrasts += [Contrast(arm, arm, reference, role="control") for arm in controls]

    def judged(complete_cases: bool) -> pd.DataFrame:
        return verdicts.effects(
            means, contrasts, metric=metric, higher_is_better=higher_is_better, margin=margin,
            failure_value=failure_value, resplit=resplit, tuned=True, estimand="as given", tier="as given", items=items,
            same_items=same_items, complete_cases=complete_cases, step=step,
        )  # fmt: skip

    effects = judged(False)
    complete = sensitivity.rows_of(effects, lambda: judged(True))
    notes = [*_notes(means, swaps, controls, resplit, has_items, race), *read, *sensitivity.notes_of(effects, complete)]
    return Analysis(
        effects, verdicts.sentences(effects), means.rename(columns={"value": metric}), notes,
        question=f"What do {', '.join(swaps)} do to {metric} against {reference}?", complete_cases=complete,
        decided=_decided(metric, higher_is_better, margin, failure_value, resplit, race),
    )  # fmt: skip


def _decided(
    metric: str, higher_is_better: bool, margin: float | None, failure_value: float | None, resplit: float | None,
    race: bool,
) -> dict[str, str]:  # fmt: skip
    """How the table was analysed, for the page."""
    family = "entries of the race by step-down max-|t| over joint sign flips" if race else "swaps by Holm"
    return {
        "metric": f"{metric}, {'larger' if higher_is_better else 'smaller'} is better",
        "difference": "arm minus reference, replicate by replicate; positive is better",
        "alpha": f"{st.ALPHA:g}", "power": f"{st.POWER:g}", "families": f"{family}; controls uncorrected",
        "margin": "none: no equivalence is claimed" if margin is None else f"{margin:g}",
        "failures": "a pair without a score is unfinished" if failure_value is None else f"scored at {failure_value:g}",
        "variance": "replicates independent" if resplit is None else f"Nadeau-Bengio, n_test / n_train = {resplit:.3g}",
    }  # fmt: skip


def _items(data: pd.DataFrame) -> tuple[dict[tuple[str, Any], np.ndarray], bool]:
    """Per-item values of each trial in the order of items, and whether all replicates share their items."""
    ordered = data.sort_values("item", kind="stable")
    grouped = ordered.groupby(["arm", "replicate"], sort=False)
    same = grouped["item"].agg(frozenset).nunique() == 1
    return {key: rows.to_numpy(float) for key, rows in grouped["_value"]}, bool(same)  # type: ignore[misc]


def _notes(
    means: pd.DataFrame, swaps: list[str], controls: tuple[str, ...], resplit: float | None, has_items: bool, race: bool
) -> list[str]:
    n = len(set(means["replicate"]))
    notes = [
        f"{n} replicate{'s' if n > 1 else ''}, paired by the column 'replicate'; "
        f"{len(swaps)} swap{'s' if len(swaps) > 1 else ''} in {'the race' if race else 'Holm'}'s family, "
        f"{len(controls)} control"
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
        notes.append(
            "Each trial's score is the mean over its items. Intervals over items and McNemar's p are about these "
            "trained models only; they decide nothing."
        )
    if race and len(swaps) > 1:
        notes.append(
            "The leader of a race is over-stated by having been picked: train it, the reference and the controls on "
            "fresh replicates, and analyse those alone."
        )
    return notes
