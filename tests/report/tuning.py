"""What tuning gave, from the tuning trials: every candidate's mean validation score, the best, the edges."""

from __future__ import annotations

import copy
import json
import math
from itertools import combinations
from statistics import fmean
from typing import Any

from page import Table
from study_folder import DROP_IN, StudyFolder, Trial

NAN = math.nan
FREE = ("draws", "replicates", "sampler")


def searched(folder: StudyFolder) -> dict[str, Any]:
    """{what is searched: its list or range}."""
    table = folder.study.get("tuning", {})
    if "search" in table:
        return {k: v for k, v in table["search"].items() if k not in FREE}
    return {k: v for k, v in table.items() if k == "lr"}


def is_setting(column: str, study: Any) -> bool:
    return column in searched(study.folder) or column == "initial_gain"


def setting(trial: Trial, key: str) -> Any:
    """What a trial had of something that is searched: of the recipe, or an option of the component in a slot."""
    owner, _, option = key.rpartition(":")
    if not owner:
        key = {"gain": "initial_gain"}.get(key, key)
        value = trial.description["recipe"].get(key, 1.0 if key == "initial_gain" else None)
        return value if isinstance(value, (int, float, str, type(None))) else str(value)
    if owner.startswith("baseline "):
        spec = trial.description.get("baseline") or {}
        return spec.get(option) if spec.get("name") == owner.removeprefix("baseline ") else None
    spec = trial.description["swaps"].get(owner) or {}
    return spec.get(option, (spec.get("of") or {}).get(option))


def _arm(folder: StudyFolder, trial: Trial) -> str:
    """What a trial trains, all that is searched left out: arms that are alike share their tuning trials."""
    told = copy.deepcopy({k: v for k, v in trial.description.items() if k != "replicate"})
    for key in searched(folder):
        owner, _, option = key.rpartition(":")
        told["recipe"].pop({"gain": "initial_gain"}.get(key, key), None)
        spec = told.get("swaps", {}).get(owner) or {}
        (spec.get("of") or spec).pop(option, None)
        spec.pop(option, None)
    return json.dumps(told, sort_keys=True)


def trials(folder: StudyFolder, cell: str) -> list[Trial]:
    """The tuning trials of a cell; those of the arm that is the same network where it shares them."""
    named = [t for name, _, t in folder.of("tuning") if name == cell]
    if named or cell.endswith(DROP_IN) or sets_what_is_searched(folder, cell):
        return named
    mine = {_arm(folder, t) for name, _, t in folder.of("main") if name == cell}
    return [t for t in folder.trials if t.phase == "tuning" and _arm(folder, t) in mine]


def sets_what_is_searched(folder: StudyFolder, cell: str) -> bool:
    """Whether a factor of the design, and so no search, sets the learning rate and the like of a cell."""
    if cell.endswith(" (controlled)"):
        return False
    levels = [level for levels in folder.design.get("factors", {}).values() for level in levels.values()]
    keys = {key.removeprefix("recipe.") for level in levels for key in level if key.startswith("recipe.")}
    return bool(keys & set(searched(folder)))


def tuned(folder: StudyFolder) -> set[str]:
    """Cells that had candidates, and whole other models, which choose their own settings by validation."""
    kernels = folder.study["study"].get("task") in ("kernel", "kernel-fitting")
    return {c for c in folder.cells if c.startswith("baseline ") or kernels or trials(folder, c)}


def candidates(folder: StudyFolder, cell: str) -> list[tuple[dict[str, Any], list[float]]]:
    """(settings, scores over tuning replicates, larger is better) in the order in which they were drawn; a failed trial
    is minus infinity."""
    keys = list(searched(folder))
    found: dict[Any, list[Trial]] = {}
    mine = trials(folder, cell)
    draws: dict[Any, int] = {}
    for t in mine:
        told = {tuple(d)[1] for d in t.extra.get("draws", ())} or {None}
        for number in told:
            settings = tuple((k, setting(t, k)) for k in keys)
            draws[number, settings] = number if number is not None else 0
            found.setdefault((number, settings), []).append(t)
    lists = {k: v for k, v in searched(folder).items() if isinstance(v, list)}

    def place(key: Any) -> tuple:
        number, settings = key
        at = [lists[k].index(v) for k, v in settings if k in lists and v in lists[k]]
        return (number is not None and number, *at)

    made = []
    for key in sorted(found, key=place):
        scores = [_score(folder, t) for t in sorted(found[key], key=lambda t: -t.replicate)]
        made.append(({k: v for k, v in key[1] if v is not None}, scores))
    return made


def _score(folder: StudyFolder, trial: Trial) -> float:
    value = trial.metrics.get(f"validation_{folder.bare}", trial.metrics.get(folder.bare, NAN))
    return folder.sign * value if trial.state == "done" and math.isfinite(value) else -math.inf


def summary(folder: StudyFolder, table: Table) -> list[dict[str, Any]]:
    """One row a tuned arm."""
    rows = []
    for row in table.rows:
        cell = row["cell"].text
        found = candidates(folder, cell)
        scores = [fmean(s) for _, s in found]
        best = scores.index(max(scores)) if scores else None
        want: dict[str, Any] = {
            "cell": cell, "candidates": len(found), "finished": len(found), "best": best,
            "failed": sum(math.isinf(s) for s in scores),
            "validation": NAN if best is None or math.isinf(scores[best]) else folder.sign * scores[best],
        }  # fmt: skip
        settings = {} if best is None else found[best][0]
        for column in table.columns:
            if column not in want and column != "edge":
                want[column] = settings.get({"initial_gain": "gain"}.get(column, column))
        edges = [
            k for k in settings if best is not None and _edge(folder, k, settings[k], [c.get(k) for c, _ in found])
        ]
        edges = sorted({"gain": "initial_gain"}.get(k, k) for k in edges)
        said = [] if row["edge"].text in ("", "–") else row["edge"].text.split(", ")
        want["edge"] = row["edge"].text if sorted(said) == edges else ", ".join(edges)  # in any order
        rows.append(want)
    return rows


def _edge(folder: StudyFolder, key: str, value: Any, tried: list[Any]) -> bool:
    """Of a list the first and the last; of a range where nothing was tried between the best and an end that is near."""
    space = searched(folder)[key]
    if isinstance(value, (str, bool)) or (key == "weight_decay" and value == 0):
        return False
    if isinstance(space, list):
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in space)
        return numbers and len(space) > 1 and value in (min(space), max(space))
    low, high, at = (math.log(x) if space.get("log") else x for x in (space["low"], space["high"], value))
    near = max(0.05, 1 / (len(tried) + 1)) * (high - low)
    return (value == min(tried) and at - low <= near) or (value == max(tried) and high - at <= near)


def expected_best(scores: list[float]) -> list[float]:
    """Of k = 1 … n of the scores: the mean of the largest over all subsets of k, by listing them where n is small."""
    n, v = len(scores), sorted(scores)
    if n <= 12:
        return [fmean(max(c) for c in combinations(scores, k)) for k in range(1, n + 1)]
    return [sum(math.comb(i, k - 1) * v[i] for i in range(k - 1, n)) / math.comb(n, k) for k in range(1, n + 1)]
