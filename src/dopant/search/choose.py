"""The best network under a budget: ranked by the fitted model, a few trained, chosen by validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import registry
from ..errors import ConfigError
from ..study import statistics as st
from ..study.results import StudyAnswer, load
from . import words
from .costs import KEYS, Costs, costs_of
from .further import built, further_study, train
from .measured import Measured, measured_of
from .select import EXHAUSTIVE, best_first, inside, nearest
from .space import Code, Space, space_of
from .surrogate import Fitted, adjusted_means, fit

if TYPE_CHECKING:
    import pandas as pd

LOOKED_AT = 50  # combinations that are built and turn out too costly, or not to fit, before the search ends


@dataclass
class Choice:
    """table: one row for each combination of the short list and the best of what was trained, by predicted score:
    rank (among all within the budgets; NaN in a large space), swaps, predicted, validation with low and high (95 %),
    replicates, parameters, qubits, seconds (a trial), costs ("measured", "built": counted on the built network,
    seconds added up; "added up"), in_budget, chosen. chosen: the winner's row, with its test score. sentences: the
    choice in words; notes: what it rests on. answer: the further study, where one was trained."""

    table: pd.DataFrame
    chosen: dict[str, Any]
    sentences: list[str]
    notes: list[str]
    answer: StudyAnswer | None = None

    def __repr__(self) -> str:
        return "\n".join(["<Choice>", *self.sentences])

    def to_json(self) -> dict[str, Any]:
        """Plain values: {"table", "chosen", "sentences", "notes", "folder"}; what is not known is null."""
        rows = [words.plain(row) for row in self.table.to_dict(orient="records")]
        folder = None if self.answer is None else str(self.answer.folder)
        return {"table": rows, "chosen": words.plain(self.chosen), "sentences": self.sentences, "notes": self.notes,
                "folder": folder}  # fmt: skip


@dataclass
class _State:
    answer: StudyAnswer
    space: Space
    fitted: Fitted
    costs: Costs
    measured: Measured
    budgets: dict[str, float]
    higher: bool
    skipped: list[str] = field(default_factory=list)

    @property
    def replicates(self) -> int:
        return self.answer.config.replicates


def choose(
    study: str | Path | StudyAnswer,
    *,
    max_parameters: float | None = None,
    max_qubits: float | None = None,
    max_seconds: float | None = None,
    top: int = 3,
    train: bool = True,
    out: str | Path | None = None,
    workers: int | None = None,
    with_files: Sequence[str | Path] = (),
    progress: Any = "auto",
    command: Sequence[str] | None = None,
) -> Choice:
    """The best combination of a study's swaps within budgets.

    study: the folder, or answer, of a study over one or several slots, finished or not; it is not changed.
    max_parameters, max_qubits: of a network (qubits: of its largest circuit). max_seconds: of training one trial.
    top: how many combinations, of those that are predicted best within the budgets, must be trained; those that are not
    yet are trained in a further study in `out` (default: NAME-choice beside the study), with the same recipe, tuning,
    replicates and draws; a second call goes on with it. train: False to choose among what is trained already.

    Predictions: main effects and interactions of two slots on validation scores, see `surrogate`; costs, see `costs`.
    The choice is the best mean validation score among all combinations within the budgets that were trained in every
    replicate. Test scores play no part in it, and only the chosen one's is told.
    Raises ConfigError for budgets that nothing keeps (naming the nearest), studies without validation scores or with
    fewer than two trained cells; else as dp.run. Cost: of each new combination one build, then its trials.
    """
    for file in with_files:
        registry.load_file(file)
    answer = study if isinstance(study, StudyAnswer) else load(study)
    budgets = _budgets({"parameters": max_parameters, "qubits": max_qubits, "seconds": max_seconds}, top)
    state = _state(answer, budgets)
    short = _short_list(state, top if train else 0)
    target = Path(out) if out is not None else answer.folder.with_name(f"{answer.folder.name}-choice")
    new = [code for code in short if not state.measured.complete(code, state.replicates)] if train else []
    further = _trained(state, new, target, workers, with_files, progress, command) if new else None
    return _choice(state, short, new, top, further)


def _budgets(asked: Mapping[str, float | None], top: int) -> dict[str, float]:
    problems = [f"max_{key}: {most!r} is no number from 0 on" for key, most in asked.items()
                if most is not None and not (isinstance(most, (int, float)) and most >= 0)]  # fmt: skip
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        problems.append(f"top: {top!r} is no whole number from 1 on")
    if problems:
        raise ConfigError([f"choose: {p}" for p in problems])
    return {key: float(most) for key, most in asked.items() if most is not None}


def _state(answer: StudyAnswer, budgets: dict[str, float]) -> _State:
    space = space_of(answer.config)
    measured = measured_of(answer, space.cells)
    if len(measured.scores) < 2:
        raise ConfigError(
            f"choose: {len(measured.scores)} of the {len(space.cells)} cells of {answer.name!r} have been trained, and "
            "effects need two or more; run the study first"
        )
    unknown = [key for key in budgets if all(math.isnan(costs[key]) for costs in measured.costs.values())]
    if unknown:
        raise ConfigError(
            [f"choose: no trial of {answer.name!r} tells its {key}, so it cannot be kept" for key in unknown]
        )
    fitted = fit(space, list(measured.scores), _means(measured))
    return _State(answer, space, fitted, costs_of(space, measured.costs), measured, budgets, answer.metric[2])


def _means(measured: Measured) -> np.ndarray:
    """(cell,) mean scores, adjusted where cells were not trained in the same replicates."""
    rows = [(i, r, s) for i, scores in enumerate(measured.scores.values()) for r, s in scores.items()]
    return adjusted_means(*map(list, zip(*rows, strict=True)))


def _short_list(state: _State, top: int) -> list[Code]:
    """The best predicted within the budgets; new ones are built, to be counted exactly. Raises ConfigError where
    nothing keeps the budgets."""
    short: list[Code] = []
    looked = 0
    for code, _ in best_first(state.fitted, state.costs, state.budgets, state.higher) if top else ():
        if code not in state.costs.exact:
            found = built(state.answer, state.space, code)
            looked += 1
            if isinstance(found, str):
                state.skipped.append(f"{state.space.swaps(code)} cannot be built: {found}")
            else:
                state.costs.exact[code] = found
                if not inside(state.costs.one(code), state.budgets):
                    state.skipped.append(f"{state.space.swaps(code)} costs more than its swaps one by one add up to")
                    found = ""
            if isinstance(found, str):
                if looked - len(short) >= LOOKED_AT:
                    break
                continue
        short.append(code)
        if len(short) == top:
            break
    kept = [c for c in state.measured.scores if inside(state.costs.one(c), state.budgets)]
    if not short and not kept:
        raise ConfigError(words.nothing_kept(state.space, state.costs, state.budgets, nearest(
            state.fitted, state.costs, state.budgets)))  # fmt: skip
    return short


def _trained(
    state: _State, new: list[Code], target: Path, workers: int | None, with_files: Sequence[str | Path], progress: Any,
    command: Sequence[str] | None,
) -> StudyAnswer:  # fmt: skip
    """Train the combinations that are new and take what they measured."""
    space = state.space
    reference = reference_of(space)
    study = further_study(state.answer.config, space, reference, new, target)
    answer = train(
        state.answer, study, target, workers=workers, with_files=with_files, progress=progress, command=command
    )
    more = measured_of(answer, {code: space.swaps(code) for code in new})
    state.measured.add(more)
    for code, costs in more.costs.items():
        state.costs.exact[code] = {k: v for k, v in costs.items() if math.isfinite(v)}
    return answer


def reference_of(space: Space) -> Code:
    """The combination of first levels, where it is a cell, else the first cell."""
    first = (0,) * len(space.sizes)
    return first if first in space.cells else next(iter(space.cells))


def _choice(state: _State, short: list[Code], new: list[Code], top: int, further: StudyAnswer | None) -> Choice:
    import pandas as pd

    measured, costs = state.measured, state.costs
    means = dict(zip(measured.scores, _means(measured), strict=True))
    most = max(map(len, measured.scores.values()))
    full = [c for c in means if len(measured.scores[c]) == most and inside(costs.one(c), state.budgets)]
    sign = 1 if state.higher else -1
    full.sort(key=lambda c: (-sign * means[c], costs.one(c)["parameters"]))
    if not full:
        raise ConfigError(
            "choose: no combination within the budgets was trained in every replicate; let it train some (train=True, "
            "without --no-train), or finish the study"
        )
    ranks = _ranks(state)
    shown = list(dict.fromkeys([*short, *full[:top]]))
    predicted = dict(zip(shown, state.fitted.predict(shown), strict=True))
    rows = []
    for code in shown:
        own, scores = costs.one(code), measured.scores.get(code, {})
        low, high = interval(list(scores.values()), state.answer.resplit())
        told = "measured" if code in measured.costs else "built" if code in costs.exact else "added up"
        rows.append(
            {"rank": ranks.get(code, math.nan), "swaps": state.space.swaps(code), "predicted": predicted[code],
             "validation": means.get(code, math.nan), "low": low, "high": high, "replicates": len(scores),
             **{key: own[key] for key in KEYS}, "costs": told, "in_budget": bool(inside(own, state.budgets)),
             "new": code in new, "chosen": code == full[0]}
        )  # fmt: skip
    table = pd.DataFrame(rows).sort_values(["rank", "predicted"], ascending=[True, not state.higher], kind="stable")
    table = table.reset_index(drop=True)
    chosen = table[table["chosen"]].iloc[0].to_dict() | _test(state, full[0])
    sentences = words.sentences(state.answer, state.space, chosen, len(full), state.budgets)
    errors = [means[c] - predicted[c] for c in new if c in means and math.isfinite(predicted[c])]
    notes = words.notes(state.answer, state.fitted, state.measured, state.skipped, errors, further)
    return Choice(table, chosen, sentences, notes, further)


def _ranks(state: _State) -> dict[Code, int]:
    if state.space.total > EXHAUSTIVE:
        return {}
    found = best_first(state.fitted, state.costs, state.budgets, state.higher)
    return {code: i for i, (code, _) in enumerate(found, start=1)}


def _test(state: _State, code: Code) -> dict[str, Any]:
    """The chosen one's test score, and its paired difference to the reference (positive is better)."""
    tests, reference = state.measured.tests[code], reference_of(state.space)
    resplit, sign = state.answer.resplit(), 1 if state.higher else -1
    low, high = interval(list(tests.values()), resplit)
    found = {"test": float(np.mean(list(tests.values()))), "test_low": low, "test_high": high}
    theirs = state.measured.tests.get(reference, {})
    pairs = [sign * (tests[r] - theirs[r]) for r in tests if r in theirs]
    if code != reference and pairs:
        low, high = interval(pairs, resplit)
        kept = bool(inside(state.costs.one(reference), state.budgets))
        found |= {
            "versus": state.space.swaps(reference), "versus_in_budget": kept, "difference": float(np.mean(pairs)),
            "difference_low": low, "difference_high": high,
        }  # fmt: skip
    return found


def interval(scores: Sequence[float], resplit: float | None) -> tuple[float, float]:
    """95 % t interval of a mean over replicates, as effects have it; NaN below two or without spread."""
    if len(scores) < 2:
        return math.nan, math.nan
    found = st.paired_interval(np.asarray(scores, float), resplit=resplit or 0.0)
    return float(found.low), float(found.high)
