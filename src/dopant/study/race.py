"""The leader of a race is run again: on replicates that had no part in choosing it.

The largest of many noisy differences is larger than what it stands for. So the leader, the reference and the leader's
controls are trained on further replicates, and its verdict rests on those alone.

The choice is made once, when every trial of the race has ended, and stands from the moment a confirming trial has
begun: replicates, entries or epochs that are added later grow the race's table and change neither the choice nor, for
that reason, any verdict. To choose anew, begin another study (`--fork`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import estimands, tuning
from . import plan as planning
from .scored import failure_value_in, metric_of, status_of

if TYPE_CHECKING:
    from ..designs import Contrast
    from .config import Study
    from .trial import Trial

PHASE = "confirm"
FIRST = 1_000_000  # the number of the first confirming replicate: far from those that a study may grow to
FRESH = " (fresh replicates)"


def entries(study: Study) -> list[Contrast]:
    """The contrasts of a race, those of the primary estimand where two are reported; none where there are fewer than
    two, since nothing is then chosen."""
    found = [contrast for contrast in planning.contrasts(study) if contrast.role == "race"]
    if study.tuning is not None and tuning.both(study):
        found = estimands.contrasts_of(study, found, planning.cells(study), study.tuning.reported()[0])
    return found if len(found) > 1 else []


def confirmations(study: Study) -> int:
    """How many fresh replicates the leader of a race gets: `[analysis] confirm`, else as many as chose it."""
    if not entries(study):
        return 0
    return study.replicates if study.analysis.confirm is None else study.analysis.confirm


def first_replicate(study: Study) -> int:
    """The number of the first fresh replicate; with folds, the first one of a repetition."""
    return FIRST if study.folds is None else math.ceil(FIRST / study.folds) * study.folds


def spread_out(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows, with one more for each further cell that a trial answers for."""
    found: list[Mapping[str, Any]] = []
    for row in rows:
        found.append(row)
        for cell, level in (row["extra"] or {}).get("also", ()):
            found.append({**row, "cell": cell, "level": level})
    return found


def leader(study: Study, rows: Iterable[Mapping[str, Any]]) -> Contrast | None:
    """The entry to be run again: the one that was, else the best when the race is over; None while it is not.

    The best: the largest mean difference over all replicates, failed trials at their declared value, and above 0. An
    entry with a trial that was lost to the machine or to an error, or has no score, cannot lead.
    """
    race, every = entries(study), spread_out(rows)
    begun = {row["cell"] for row in every if row["phase"] == PHASE and (row["state"] != "pending" or row["attempts"])}
    for entry in race:
        if entry.cell in begun:
            return entry
    if not race or not over(study, every):
        return None
    means = {entry.cell: _mean(study, entry, every) for entry in race}
    best = max(race, key=lambda entry: means[entry.cell])
    return best if means[best.cell] > 0 else None


def over(study: Study, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every trial of the race's entries and of what they are compared with has ended."""
    ended = {(r["cell"], r["replicate"]) for r in rows if r["phase"] == "main" and r["state"] in ("done", "failed")}
    cells = {name for entry in entries(study) for name in (entry.cell, entry.versus)}
    return all((cell, replicate) in ended for cell in cells for replicate in range(study.replicates))


def _mean(study: Study, entry: Contrast, rows: Sequence[Mapping[str, Any]]) -> float:
    """The mean difference of an entry, positive is better; -inf where some pair has no two scores."""
    name, column, higher = metric_of(study, rows)
    worst = failure_value_in(name, rows)

    def score(row: Mapping[str, Any]) -> float:
        value = (row["metrics"] or {}).get(column) if status_of(row) == "done" else None
        if isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
        return worst if status_of(row) in ("done", "failed") else math.nan

    scores = {(row["cell"], row["replicate"]): score(row) for row in rows if row["phase"] == "main"}
    numbers = range(study.replicates)
    found = [scores[entry.cell, r] - scores[entry.versus, r] for r in numbers]
    return (1 if higher else -1) * sum(found) / len(found) if all(map(math.isfinite, found)) else -math.inf


def confirming_trials(study: Study, main: Iterable[Trial], rows: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """The trials of the leader, its reference and its controls on fresh replicates, each as its main one was.

    main: the main trials; cells that wait for their tuning have none yet, and then nothing is planned.
    """
    count = confirmations(study)
    best = leader(study, list(rows)) if count else None
    if best is None:
        return []
    known: dict[str, Trial] = {}
    for trial in main:
        if trial.replicate == 0:
            known[trial.cell] = trial
            known |= {cell: replace(trial, cell=cell, level=level) for cell, level in trial.extra.get("also", ())}
    cells = [best.versus, best.cell, *best.controls]
    if not known.keys() >= set(cells):
        return []
    found: dict[str, Trial] = {}
    for number in range(first_replicate(study), first_replicate(study) + count):
        for cell in cells:
            extra = {key: value for key, value in known[cell].extra.items() if key != "also"}
            description = known[cell].description | {"replicate": number}
            new = replace(known[cell], description=description, phase=PHASE, extra=extra)
            first = found.setdefault(new.id, new)
            if first is not new:
                first.extra.setdefault("also", []).append([cell, new.level])
    return list(found.values())


def most(study: Study) -> int:
    """The most trials that confirming may add."""
    return confirmations(study) * (2 + max((len(entry.controls) for entry in entries(study)), default=0))


def notes_of(study: Study, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences on how the race went: who leads, on what that rests, and what the fresh replicates cannot put right."""
    race, fresh = entries(study), confirmations(study)
    if not race:
        return []
    if not fresh:
        return ["analysis.confirm = 0: the leader of the race was not run again, so it gets no verdict."]
    ended, best = over(study, rows), leader(study, rows)
    if best is None and ended:
        found = [_mean(study, entry, rows) for entry in race]
        if not any(math.isfinite(mean) for mean in found):
            return [
                "The old module, or every entry of the race, has a trial without a score, so no leader can be chosen."
            ]
        return ["No entry of the race did better than the old module on average, so none was run again."]
    if best is None:
        return [f"The race is not over; its leader will be run again on {fresh} fresh replicates."]
    notes = [
        f"{best.swap} led the race and was run again, with what it is compared with and its controls, on {fresh} fresh "
        f"replicates (numbers from {first_replicate(study):,}); its verdict rests on those alone. They draw anew from "
        "the same data: what it owes to luck with these very items, they cannot tell."
    ]
    means = {entry.cell: _mean(study, entry, rows) for entry in race} if ended else {}
    ahead = max(race, key=lambda entry: means.get(entry.cell, -math.inf))
    if means and means[ahead.cell] > means[best.cell]:
        notes.append(f"With what was added since, {ahead.swap} leads; the choice stands, and a --fork chooses anew.")
    return notes


def shrunk(study: Study, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence where fewer fresh replicates are asked for than there are results of."""
    numbers = [row["replicate"] for row in rows if row["phase"] == PHASE]
    had, asked = max(numbers, default=-1) + 1 - first_replicate(study), confirmations(study)
    if not entries(study) or had <= asked:
        return []
    return [f"analysis.confirm: was {had}, is now {asked}; take {had} or more, nothing is deleted"]


Renamed = tuple[list["Contrast"], dict[str, str]]


def contrast_of(entry: Contrast) -> Renamed:
    """(the contrasts of the leader on fresh replicates, {its cells: what they are called there})."""
    called = {cell: cell + FRESH for cell in (entry.cell, entry.versus, *entry.controls)}
    beside = tuple(called[control] for control in entry.controls)
    main = replace(entry, cell=called[entry.cell], versus=called[entry.versus], controls=beside, role="confirmed")
    more = [replace(main, swap=c, cell=called[c], controls=(), role="control") for c in entry.controls]
    more = [replace(contrast, missing_controls=()) for contrast in more]
    return [main, *more], called
