"""Two studies side by side: what differs, the effects that both have, and whether one reproduces the other.

A verdict on a swap stands in each study's own answer. Here only the difference of two effects is judged, and that only
where the studies have the same data and the same metric.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError
from . import between
from . import statistics as st

if TYPE_CHECKING:
    import pandas as pd

    from .results import StudyAnswer

PAIRED, UNPAIRED, NONE = "paired", "unpaired", "not compared"
COLUMNS = (
    "swap", "versus", "estimand", "metric", "role", "n_a", "mean_a", "low_a", "high_a", "n_b", "mean_b", "low_b",
    "high_b", "method", "pairs", "difference", "low", "high", "p", "p_holm", "reading",
)  # fmt: skip
_MAKING = ("study.host", "study.seed", "study.folds", "study.task", "provenance.versions", "provenance.threads")
ROLES_LEFT_OUT = ("swap-versus-control", "confirmed")


@dataclass(repr=False)
class Comparison:
    """What `compare` found. a, b: the two answers, and their names.

    comparable: whether effects may be subtracted; reasons: why not. differences: (dotted key, value in A, value in B),
    None where it is not there. paired: whether replicates were paired, `why` in words. effects: COLUMNS, one row for
    each effect that both have; difference is A minus B, positive: larger in A. cells: one row for each cell that both
    have. reproduction: what trials with the same identifier say. notes: what a reader must know beside the numbers.
    """

    a: StudyAnswer
    b: StudyAnswer
    names: tuple[str, str]
    comparable: bool
    reasons: list[str]
    differences: list[tuple[str, Any, Any]]
    paired: bool
    why: str
    effects: pd.DataFrame
    cells: pd.DataFrame
    reproduction: between.Reproduction
    notes: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        word = "" if self.comparable else "; not comparable: " + "; ".join(self.reasons)
        return f"<Comparison of {self.names[0]!r} and {self.names[1]!r}{word}>\n" + self.reproduction.sentence

    def report(self, path: str | Path) -> Path:
        """Write the comparison as an HTML page; returns its path."""
        from .answer import write_text
        from .report import compared

        if Path(path).suffix not in (".html", ".htm"):
            raise ConfigError(f"compare: {str(path)!r} does not end in .html; the comparison is a page")
        write_text(Path(path), compared.page(self))
        return Path(path)

    def to_json(self) -> dict[str, Any]:
        """Plain values; a number that is not there is None. The keys are stable."""
        return {
            "a": _told(self.names[0], self.a), "b": _told(self.names[1], self.b), "comparable": self.comparable,
            "reasons": self.reasons, "differences": [{"key": k, "a": a, "b": b} for k, a, b in self.differences],
            "paired": self.paired, "why": self.why, "effects": between.records(self.effects),
            "cells": between.records(self.cells), "reproduction": self.reproduction.to_json(), "notes": self.notes,
        }  # fmt: skip


def compare(a: StudyAnswer | str | Path, b: StudyAnswer | str | Path) -> Comparison:
    """Two studies, given as answers or as folders.

    Effects with the same swap, level below, estimand, metric and definition of both arms are subtracted, A minus B,
    with a 95 % interval: from paired replicates where both studies have the same seed, data split and host (so
    replicate r drew the same split, start and order in both), else by Welch's. p is corrected by Holm over all of them;
    intervals are not corrected. Where replicates re-split one pool both carry the Nadeau-Bengio variance.
    Raises StoreError where a folder is no study, ConfigError for the answer of a table. Cost: reading both studies.
    """
    import pandas as pd

    a, b = _answer(a), _answer(b)
    names = (a.name, b.name) if a.name != b.name else (f"{a.name} (A)", f"{b.name} (B)")
    reasons = between.obstacles(a, b)
    differences = between.differences(a, b)
    paired, why = between.pairing(a, b)
    rows = _effects(a, b, not reasons, paired)
    reproduction = between.reproduction(a, b)
    effects = pd.DataFrame(rows, columns=list(COLUMNS))
    effects["p_holm"] = st.holm(effects["p"].to_numpy(float)) if len(effects) else []
    effects["reading"] = [
        reading(row) if row["reading"] is None else row["reading"] for row in effects.to_dict("records")
    ]
    notes = _notes(a, b, names, effects, differences, not reasons)
    cells = between.cells(a, b)
    return Comparison(
        a, b, names, not reasons, reasons, differences, paired, why, effects, cells, reproduction, notes
    )  # fmt: skip


def _answer(given: Any) -> StudyAnswer:
    from .results import StudyAnswer, load

    if isinstance(given, (str, Path)):
        return load(given)
    if not isinstance(given, StudyAnswer):
        raise ConfigError(
            f"compare: {type(given).__name__} is no study; give two folders of studies, or what dp.load gives"
        )
    return given


def _effects(a: StudyAnswer, b: StudyAnswer, comparable: bool, paired: bool) -> list[dict[str, Any]]:
    """The effects that both studies have under one name, in A's order."""
    keys = ("swap", "versus", "estimand", "metric", "role")
    others = {tuple(r[k] for k in keys): r for r in b.effects.to_dict("records")}
    own, theirs = between.Arms(a), between.Arms(b)
    found = []
    for one in a.effects.to_dict("records"):
        two = others.get(tuple(one[k] for k in keys))
        if two is None or one["role"] in ROLES_LEFT_OUT:
            continue
        row = {k: one[k] for k in keys} | dict.fromkeys(COLUMNS[len(keys) :], math.nan)
        for side, effect in (("a", one), ("b", two)):
            row |= {f"n_{side}": int(effect["replicates"])} | {
                f"{k}_{side}": effect[k] for k in ("mean", "low", "high")
            }
        row |= {"method": NONE, "pairs": 0, "reading": None}
        pairs = [(arms.defined(e["cell"]), arms.defined(e["versus"])) for arms, e in ((own, one), (theirs, two))]
        if not comparable:
            row["reading"] = "not comparable"
        elif pairs[0] != pairs[1]:
            row["reading"] = "same name, but the arms are not the same"
        else:
            row |= _difference(
                own.differences(one), theirs.differences(two), paired, max(a.resplit() or 0.0, b.resplit() or 0.0)
            )
        found.append(row)
    return found


def _difference(a: Any, b: Any, paired: bool, resplit: float) -> dict[str, Any]:
    """A's effect minus B's. a, b: {replicate: difference of its two arms}, positive is better."""
    if paired:
        both = a.index.intersection(b.index)
        d = (a[both] - b[both]).to_numpy(float)
        got = st.paired_interval(d, resplit=resplit)
        p = float(st.t_test(got.mean, got.error, len(d))) if len(d) > 1 else math.nan
        made = {"method": PAIRED, "pairs": len(d), "difference": float(got.mean), "low": float(got.low),
                "high": float(got.high)}  # fmt: skip
        if len(d) and not d.any():
            made["reading"] = "identical"
        return made | {"p": p if len(d) >= st.P_FROM else math.nan}
    x, y = a.to_numpy(float), b.to_numpy(float)
    made = {"method": UNPAIRED, "pairs": min(len(x), len(y))}
    if not min(len(x), len(y)):
        return made
    low, high = st.unpaired_interval(x, y, resplit=resplit)
    made |= {"difference": float(x.mean() - y.mean()), "low": float(low), "high": float(high)}
    return made | {"p": welch_p(x, y, resplit) if made["pairs"] >= st.P_FROM else math.nan}


def welch_p(a: np.ndarray, b: np.ndarray, resplit: float = 0.0) -> float:
    """Two-sided p of Welch's t test, its variances corrected as in `statistics.unpaired_interval`. NaN: no spread."""
    from scipy import stats

    n, m = len(a), len(b)
    u, v = np.var(a, ddof=1) / n, np.var(b, ddof=1) / m
    if u + v == 0:
        return math.nan
    freedom = (u + v) ** 2 / (u**2 / (n - 1) + v**2 / (m - 1))
    error = math.sqrt(u * (1 + n * resplit) + v * (1 + m * resplit))
    return float(2 * stats.t.sf(abs(a.mean() - b.mean()) / error, freedom))


def reading(row: Mapping[str, Any]) -> str:
    """What the difference of two effects allows to be said."""
    if not row["pairs"] or math.isnan(row["difference"]):
        return "nothing to compare yet"
    if row["pairs"] < st.P_FROM:
        return "too few replicates to tell"
    apart = row["low"] > 0 or row["high"] < 0
    if apart and row["p_holm"] <= st.ALPHA:
        return "larger in A" if row["difference"] > 0 else "larger in B"
    return "cannot tell"


def _notes(
    a: StudyAnswer, b: StudyAnswer, names: tuple[str, str], effects: pd.DataFrame, differences: list, comparable: bool
) -> list[str]:
    notes = []
    for name, answer in zip(names, (a, b), strict=True):
        left = answer.counts["pending"] + answer.counts["running"]
        if left:
            notes.append(f"{name} is not finished: {left} of {answer.counts['planned']} trials are still to end.")
        if answer.counts["failed"]:
            notes.append(f"{name} has {answer.counts['failed']} failed trials; its effects score them as it declares.")
    judged = [r for r in effects.to_dict("records") if r["method"] != NONE and r["reading"] != "identical"]
    if judged:
        notes.append(
            f"Differences of effects that are listed: {len(judged)}. Each 95 % interval is for itself, not corrected "
            "for their number; p is corrected by Holm over all of them, and only that decides what is called larger."
        )
        notes.append("No difference being found is no proof that the effects are the same: the interval says how far.")
    few = [r for r in effects.to_dict("records") if r["method"] == PAIRED and r["pairs"] < max(r["n_a"], r["n_b"])]
    if few:
        notes.append(
            "Paired differences are of the replicates that both studies have; the effects beside them are of all."
        )
    changed = [key for key, *_ in differences if key.split(".")[0] in ("recipe", "tuning") or key.startswith(_MAKING)]
    if comparable and judged and len(changed) > 1:
        notes.append(
            f"The studies differ in {len(changed)} settings that make a trial ({', '.join(changed[:6])}"
            + (", …" if len(changed) > 6 else "")
            + "): a difference of effects belongs to all of them together, and this cannot tell to which."
        )
    return notes


def _told(name: str, answer: StudyAnswer) -> dict[str, Any]:
    return {"name": name, "folder": str(answer.folder), "metric": answer.metric[1], "counts": answer.counts}
