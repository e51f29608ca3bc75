"""What tuning gave: each arm's choice, edges of the search, and how good the best of k draws is expected to be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import plan as planning
from . import tuning
from .draws import STARTUP, score_of
from .search import BASELINE, NAMES, SHARED, Dimension
from .trial import identify

if TYPE_CHECKING:
    import pandas as pd

    from ..designs import Cell
    from .config import Study
    from .results import StudyAnswer

EDGE = 0.05  # of a range, the least that counts as its edge
RUNNING, EXPECTED = "best so far, in the order of the draws", "expected"


@dataclass(frozen=True)
class Arm:
    """A tuned arm as far as it is known. candidates: in order, each with its scores by replicate (larger is better,
    minus infinity where a trial failed; fewer than asked for while some are not finished)."""

    cell: Cell
    space: tuple[Dimension, ...]
    planned: int
    candidates: list[tuple[tuning.Params, list[float]]] = field(default_factory=list)
    replicates: int = 1

    @property
    def scores(self) -> list[float]:
        """Of the candidates whose trials are all finished, up to the first that is not."""
        found = []
        for _, scores in self.candidates:
            if len(scores) < self.replicates:
                break
            found.append(score_of(scores))
        return found

    @property
    def complete(self) -> bool:
        return len(self.scores) == self.planned

    @property
    def best(self) -> int | None:
        """The candidate with the best mean, the first of equals; None before all are finished."""
        scores = self.scores
        return max(range(len(scores)), key=lambda i: scores[i]) if self.complete and scores else None


def arms(answer: StudyAnswer) -> list[Arm]:
    """Every tuned arm, of the store's rows."""
    study = answer.config
    if study.tuning is None:
        return []
    rows, (_, _, higher), metric = answer.rows, answer.metric, study.primary_metric
    known = tuning.drawn(rows, metric, higher)
    found = []
    for cell in answer.cells:
        space = tuning.space_of(study, cell)
        if not space:
            continue
        mine = _rows_of(study, cell, [row for row in rows if row["phase"] == "tuning"])
        if study.tuning.draws is None:
            listed = [
                (params, _scores(_of_candidate(study, cell, params, mine), metric, higher))
                for params in tuning.candidates(study, cell, {})
            ]
        else:
            draws = known.get(tuning.arm_of(study, cell)) or _as_recorded(known, mine)
            listed = [
                (draws[n].params, [draws[n].scores[r] for r in sorted(draws[n].scores)])
                for n in range(study.tuning.draws)
                if n in draws
            ]
            space = tuple(d for d in space if all(d.key in params for params, _ in listed))
        found.append(Arm(cell, space, study.tuning.draws or len(listed), listed, study.tuning.scored_on))
    return found


def _rows_of(study: Study, cell: Cell, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The tuning rows of a cell; of a grid, where none bears its name, those of the cell that is the same network: a
    trial is run once, under the name of the first that asked for it."""
    named = [row for row in rows if row["cell"] == cell.name]
    assert study.tuning is not None
    if named or study.tuning.draws is not None:
        return named
    asked = planning.candidate_trials(study, cell, tuning.candidates(study, cell, {}), {})
    wanted = {_network(trial.description) for _, trials in asked for trial in trials}
    return [row for row in rows if _network(row["description"]) in wanted]


def _network(description: Mapping[str, Any]) -> str:
    """What a trial trains and on what; not the files of users, whose sums a folder alone cannot tell."""
    return identify({key: value for key, value in description.items() if key != "files"})


def _as_recorded(known: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Mapping[int, tuning.Drawn]:
    """The draws that a cell's rows name: where its component is not registered here, its arm cannot be told."""
    names = [arm for row in rows for arm, *_ in (row.get("extra") or {}).get("draws", ())]
    return known[names[0]] if names else {}


def _of_candidate(
    study: Study, cell: Cell, params: tuning.Params, rows: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Those of a cell's tuning rows that tried this candidate of a grid, by what it sets in the recipe."""
    wanted = tuning.settled(study, cell, params)[1]
    return [
        row
        for row in rows
        if all(
            row["description"]["recipe"].get(k, 1.0 if k == "initial_gain" else None) == v for k, v in wanted.items()
        )
    ]


def _scores(rows: Sequence[Mapping[str, Any]], metric: str, higher: bool) -> list[float]:
    ended = sorted((row for row in rows if row["state"] in ("done", "failed")), key=lambda row: -row["replicate"])
    return [tuning.score(row, metric, higher) for row in ended]


# --- tables ---------------------------------------------------------------------------------------------------------


def tuning_summary(answer: StudyAnswer) -> pd.DataFrame:
    """One row per tuned arm: cell, candidates (planned), finished, failed (candidates with a failed trial), best (its
    number, from 0), validation (its mean score over tuning replicates, in the metric's own unit), what it chose, and
    edge: which of these lie on the edge of the search (see `edges`), so that better ones may lie beyond.

    `best`, `validation` and choices are missing until all candidates of the arm are finished. No weight decay at all is
    no edge: there is none below it.
    """
    import pandas as pd

    _, _, higher = answer.metric
    records = []
    for arm in arms(answer):
        scores, best = arm.scores, arm.best
        reached = math.nan if best is None or math.isinf(scores[best]) else scores[best] * (1 if higher else -1)
        record: dict[str, Any] = {
            "cell": arm.cell.name, "candidates": arm.planned, "finished": len(scores),
            "failed": sum(math.isinf(s) for s in scores), "best": best, "validation": reached,
        }  # fmt: skip
        if best is not None:
            record |= {column(key): shown(value) for key, value in arm.candidates[best][0].items()}
        record["edge"] = ", ".join(column(dimension.key) for dimension, _ in edges(arm))
        records.append(record)
    names = ["cell", "candidates", "finished", "failed", "best", "validation"]
    chosen = list(dict.fromkeys(key for record in records for key in record if key not in (*names, "edge")))
    return pd.DataFrame(records, columns=[*names, *chosen, "edge"]).astype({"best": "Int64"})


def edges(arm: Arm) -> list[tuple[Dimension, Any]]:
    """(what, the chosen value) of each ordered thing whose best value lies on the edge of the search.

    Of a list: it is the smallest or the largest of the list. Of a range: nothing was tried between it and that end, and
    it is within 1 / (candidates + 1) of the range from there (where the outermost of as many even draws lies), at least
    EDGE of it; on a logarithmic scale for a logarithmic range.
    """
    if arm.best is None:
        return []
    best = arm.candidates[arm.best][0]
    return [(d, best[d.key]) for d in arm.space if _on_edge(d, best[d.key], [p[d.key] for p, _ in arm.candidates])]


def _on_edge(dimension: Dimension, value: Any, tried: Sequence[Any]) -> bool:
    if not dimension.ordered() or (dimension.key == "weight_decay" and value == 0):  # nothing lies below none
        return False
    if dimension.choices:
        return len(dimension.choices) > 1 and value in (min(dimension.choices), max(dimension.choices))
    low, high, at = (math.log(x) if dimension.log else x for x in (dimension.low, dimension.high, value))
    near = max(EDGE, 1 / (len(tried) + 1)) * (high - low)
    return (value == min(tried) and at - low <= near) or (value == max(tried) and high - at <= near)


def edges_told(answer: StudyAnswer) -> dict[str, list[tuple[Dimension, Any]]]:
    """{cell: its edges} of things with three values or more: of two, each is an edge, which says nothing of one arm."""
    return {
        arm.cell.name: [(d, v) for d, v in edges(arm) if not d.choices or len(d.choices) > 2] for arm in arms(answer)
    }


def edge_words(edge: tuple[Dimension, Any]) -> str:
    """`learning rate (0.1)`."""
    dimension, value = edge
    return f"{NAMES.get(dimension.key, dimension.key)} ({value:g})"


def column(key: str) -> str:
    """How a searched thing is called in tables: `gain` is the recipe's `initial_gain`."""
    return {"gain": "initial_gain"}.get(key, key)


def shown(value: Any) -> Any:
    """A drawn value as a cell of a table."""
    return value if isinstance(value, (int, float, str)) else str(value)


def searched_settings(study: Study, row: Mapping[str, Any]) -> dict[str, Any]:
    """{column: value} of what a search varied, in the trial of a row; nothing where only learning rates were listed."""
    if study.tuning is None or study.tuning.search is None:
        return {}
    found: dict[str, Any] = {}
    description = row["description"]
    for dimension in study.tuning.dimensions():
        key, name = dimension.key, column(dimension.key)
        owner, _, option = key.rpartition(":")
        if not owner:
            found[name] = description["recipe"].get(name, 1.0 if name == "initial_gain" else None)
        elif key.startswith(BASELINE):
            spec = description.get("baseline") or {}
            found[name] = spec.get(option) if spec.get("name") == owner.removeprefix(BASELINE) else None
        else:
            spec = description["swaps"].get(owner) or {}
            found[name] = spec.get(option, (spec.get("of") or {}).get(option))
    return {name: value if value is None else shown(value) for name, value in found.items()}


def for_tuning(answer: StudyAnswer) -> str:
    """` (240 of them for tuning)`, or nothing."""
    count = planning.tuning_total(answer.config, answer.store.rows())
    return f" ({count} of them for tuning)" if count else ""


# --- words ----------------------------------------------------------------------------------------------------------


def tuning_notes(answer: StudyAnswer) -> list[str]:
    """What a reader must know of the tuning, in sentences."""
    study, table = answer.config, answer.config.tuning
    if table is None:
        return ["No arm was tuned: all ran the host's recipe (the drop-in estimand)."]
    if table.search is None:
        rates = ", ".join(f"{lr:g}" for lr in table.lr or ())
        how = f"took the better of the learning rates {rates}"
    else:
        tries = f"{table.draws} {WAYS[table.sampler]}" if table.draws else "every combination"
        how = f"took the best of {tries} of {', '.join(map(_range_words, table.dimensions()))}"
    chosen_where = (
        " Those drew their own splits of the same items, so the choice was made with items that other replicates test "
        "on, alike for every arm."
        if answer.resplit() is not None
        else ""
    )
    notes = [
        f"{_tuned_arms(study)} {how} by mean validation score on {table.scored_on} tuning replicates that are not "
        f"reported.{chosen_where}"
    ]
    if tuning.both(study):
        first, second = table.reported()
        notes.append(
            f"Two estimands: {first} (primary) and {second}. Drop-in cells ran the study's recipe, and are named "
            "'… (drop-in)' where the same network was tuned too; effects between tuned cells are best against best. "
            "Holm's correction is apart for each."
        )
    found = [f"{cell}: {', '.join(map(edge_words, those))}" for cell, those in edges_told(answer).items() if those]
    if found:
        notes.append(
            f"The best candidate lies on the edge of the search, so better ones may lie beyond: {'; '.join(found)}."
        )
    return notes


WAYS = {
    "random": "random draws",
    "qmc": "quasi-random draws",
    "tpe": f"draws (after the first {STARTUP} by the results of earlier ones)",
}


def _range_words(dimension: Dimension) -> str:
    """`learning rate 0.001 to 0.1 (log)`."""
    name = NAMES.get(dimension.key, dimension.key)
    if dimension.choices:
        return f"{name} {' or '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in dimension.choices)}"
    return f"{name} {dimension.low:g} to {dimension.high:g}" + (" (log)" if dimension.log else "")


def _tuned_arms(study: Study) -> str:
    """Of whom a note on tuning speaks: of all, or of those for whom no factor sets what is searched."""
    assert study.tuning is not None
    shared = sum(d.key in SHARED for d in study.tuning.dimensions())
    whole = all(
        sum(d.key in SHARED for d in tuning.space_of(study, cell)) == shared for cell in study.design.cells(False)
    )
    if whole:
        return "Every arm, controls included,"
    what = "whose learning rate is set by no factor" if shared == 1 else "as far as no factor sets it"
    return f"Every arm {what}, controls included,"


# --- the best of k draws --------------------------------------------------------------------------------------------


def expected_best(scores: Sequence[float], *, unbiased: bool = True) -> list[float]:
    """The expected maximum of k of n independent draws, for k = 1 … n, from the n scores (larger is better).

    With the sorted scores v_1 <= … <= v_n: sum_i v_i (F_i(k) - F_(i-1)(k)). F_i(k) = (i / n)^k takes the k draws with
    replacement from those seen (Dodge et al. 2019, arXiv 1909.03004, eq. 6), which is too low for finite n. unbiased:
    F_i(k) = C(i, k) / C(n, k), without replacement (Tang et al. 2020), whose mean over samples is the expected maximum.
    Minus infinity (a failed draw) counts where it could be the best of k; the value is then minus infinity.
    """
    v, n = sorted(scores), len(scores)

    def below(i: int, k: int) -> float:
        return math.comb(i, k) / math.comb(n, k) if unbiased else (i / n) ** k

    found = []
    for k in range(1, n + 1):
        weights = [below(i, k) - below(i - 1, k) for i in range(1, n + 1)]
        found.append(math.fsum(w * x for w, x in zip(weights, v, strict=True) if w > 0))
    return found


def best_of_k(answer: StudyAnswer) -> pd.DataFrame:
    """One row per tuned arm and number of candidates k: `expected`, the validation score (mean over tuning replicates)
    that the best of k of its candidates is expected to have; `biased`, the same by draws with replacement; `method`.

    Of the candidates finished so far. Draws of "tpe" depend on each other, so no expectation exists: `expected` is then
    the best of the first k, and `method` says so. A failed draw scores as a failed trial; where the metric has no such
    score, a k at which the best may be a failed one has none. All scores are of the replicates that choose: the best of
    many is better there than on fresh ones.
    """
    import pandas as pd

    name, _, higher = answer.metric
    sign, failure = (1 if higher else -1), answer.failure_value(name)
    adaptive = answer.config.tuning is not None and answer.config.tuning.sampler == "tpe"
    records = []
    for arm in arms(answer):
        scores = [sign * failure if math.isinf(s) else s for s in arm.scores]
        running = [max(scores[: k + 1]) for k in range(len(scores))]
        expected = running if adaptive else expected_best(scores)
        biased = [math.nan] * len(scores) if adaptive else expected_best(scores, unbiased=False)
        for k, (one, other) in enumerate(zip(expected, biased, strict=True), start=1):
            values = [sign * value if math.isfinite(value) else math.nan for value in (one, other)]
            records.append(
                {"cell": arm.cell.name, "k": k, "expected": values[0], "biased": values[1],
                 "method": RUNNING if adaptive else EXPECTED}
            )  # fmt: skip
    return pd.DataFrame(records, columns=["cell", "k", "expected", "biased", "method"])
