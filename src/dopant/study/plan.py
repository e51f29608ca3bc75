"""`plan(study, results so far) -> trials still to run`: a pure function, called until it returns none.

Resuming and growing are the same call: the study says what there should be, the store what there is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..designs import Cell, Contrast
from ..designs.automatic import ALL
from ..errors import ConfigError
from ..recipe import Recipe
from ..registry import components, tasks
from .config import Study, as_named
from .files import used
from .trial import FORMAT, Trial, canonical

UNDEFINED = "not defined: "
"""How a reason in `Study.unbuildable` begins where a control means nothing for its component, or is not needed."""


def cells(study: Study) -> list[Cell]:
    """The study's cells; without controls where it says so, and without those that cannot be built."""
    cells = [cell for cell in study.design.cells(study.controls) if cell.name not in study.unbuildable]
    batch = study.recipe.batch
    cells = [_at_batch(cell, cell.recipe.get("batch", batch)) if cell.role == "control" else cell for cell in cells]
    return cells + [baseline_cell(baseline) for baseline in study.baselines]


def baseline_cell(baseline: Any) -> Cell:
    """The cell of a whole other model, called by its name and options."""
    spec = as_named(baseline, "baselines")
    options = ",".join(f"{key}={value}" for key, value in spec.items() if key != "name")
    name = spec["name"] + (f":{options}" if options else "")
    return Cell(f"baseline {name}", None, {}, "baseline", baseline=spec)


def recipe_of(study: Study, cell: Cell) -> Recipe:
    """The study's recipe with what the cell changes in it."""
    return study.recipe.model_copy(update=cell.recipe) if cell.recipe else study.recipe


def build_key(study: Study, cell: Cell) -> str:
    """Cells of one study with the same key are the same network at the same cost: at most their learning rates differ.
    So they fit alike, and what a step takes is measured once."""
    recipe = recipe_of(study, cell).to_config()
    return canonical([cell.swaps, {key: value for key, value in recipe.items() if key != "lr"}])


def _at_batch(cell: Cell, batch: int) -> Cell:
    """A control's cell with the recipe's batch for components that ask for it: work done once a step weighs by it."""

    def asks(spec: Mapping[str, Any]) -> bool:
        known = spec["component"] in components and "of" in spec and "batch" not in spec
        return known and "batch" in inspect.signature(components.get(spec["component"]).factory).parameters

    return replace(cell, swaps={s: {**spec, "batch": batch} if asks(spec) else spec for s, spec in cell.swaps.items()})


def contrasts(study: Study) -> list[Contrast]:
    """The study's contrasts; a control that cannot be built is named in the one that it belongs to, with the reason.

    Not so what was made for any component and means nothing for this one: `undefined_controls` has it.
    """
    missing, quiet = study.unbuildable, undefined_controls(study)
    found = [
        replace(
            contrast,
            controls=tuple(name for name in contrast.controls if name not in missing),
            missing_controls=(
                *contrast.missing_controls,
                *(missing[name].removeprefix(UNDEFINED) for name in contrast.controls if name in missing.keys() - quiet)
            ),
        )
        for contrast in study.design.contrasts(study.controls)
        if contrast.cell not in missing
    ]  # fmt: skip
    for baseline in study.baselines:
        name = baseline_cell(baseline).name
        found += [Contrast(name, name, reference, role="baseline") for reference in study.design.references()]
    return found


def undefined_controls(study: Study) -> dict[str, str]:
    """{cell: why there is none} of the controls that are made for any component and mean nothing for this one."""
    if study.controls not in ALL:
        return {}
    found = study.unbuildable.items()
    return {name: why.removeprefix(UNDEFINED) for name, why in found if why.startswith(UNDEFINED)}


def describe(study: Study, cell: Cell, replicate: int, recipe: Recipe, files: Mapping[str, str]) -> dict[str, Any]:
    """All that decides the numbers of one trial. files: paths and SHA-256 sums of all `--with` files."""
    named = {
        "task": as_named(study.task, "task"),
        "data": None if study.data is None else as_named(study.data, "data"),
        "host": as_named(study.design.host, "host"),
    }
    description: dict[str, Any] = {
        "format": FORMAT,
        **named,
        "swaps": cell.swaps,
        "recipe": recipe.identity(),
        "protocol": study.protocol,
        "seed": study.seed,
        "replicate": replicate,
        "threads": recipe.threads,
        "files": used(files, cell, recipe, named),
    }
    if study.folds is not None:
        description["folds"] = study.folds
    if cell.baseline is not None:
        description["baseline"] = cell.baseline
    if recipe.regime == "freeze":  # which slots move is part of the question: all that the design fills, in every cell
        description["trained_slots"] = study.slots()
    return description


def trial(study: Study, cell: Cell, replicate: int, recipe: Recipe, files: Mapping[str, str], phase: str) -> Trial:
    extra: dict[str, Any] = {"checkpoint_seconds": recipe.checkpoint_seconds}
    if study.metric is not None:
        extra["metric"] = study.metric  # no part of the identity: the same trial answers for another metric
    return Trial(
        describe(study, cell, replicate, recipe, files),
        cell.name,
        cell.level,
        recipe.epochs if cell.baseline is None and _by_epochs(study) else None,  # more of them are nothing to others
        phase,
        recipe.device,
        extra,
    )


def _by_epochs(study: Study) -> bool:
    return study.task_name not in tasks or tasks.get(study.task_name).epochs


def tuning_trials(study: Study, files: Mapping[str, str]) -> dict[str, list[tuple[float, list[Trial]]]]:
    """{cell: [(learning rate, its trials), …]}: the same candidates and replicates for every arm."""
    if study.tuning is None:
        return {}
    return {
        cell.name: [
            (
                lr,
                [
                    trial(study, cell, -1 - r, recipe_of(study, cell).model_copy(update={"lr": lr}), files, "tuning")
                    for r in range(study.tuning.replicates)
                ],
            )
            for lr in study.tuning.lr
        ]
        for cell in cells(study)
        if _tunes(study, cell)
    }


def _tunes(study: Study, cell: Cell) -> bool:
    return study.tuning is not None and cell.tuned


def choose(
    study: Study, files: Mapping[str, str], rows: Iterable[Mapping[str, Any]], higher_is_better: bool
) -> dict[str, float]:
    """{cell: best learning rate by mean validation score}, of the cells whose tuning trials are all finished.

    A failed trial is the worst score there is; ties go to the candidate that is listed first.
    """
    results = {row["id"]: row for row in rows if row["state"] in ("done", "failed")}
    chosen = {}
    for cell, candidates in tuning_trials(study, files).items():
        if any(t.id not in results for _, trials in candidates for t in trials):
            continue
        done = [results[t.id] for _, trials in candidates for t in trials if results[t.id]["state"] == "done"]
        if done and not any(f"validation_{study.primary_metric}" in (row["metrics"] or {}) for row in done):
            raise ConfigError(
                f"[tuning] chooses by 'validation_{study.primary_metric}', which no trial of {cell!r} measured; name a "
                "metric that the task gives, or leave [tuning] out"
            )
        scores = [
            sum(_score(results[t.id], study.primary_metric, higher_is_better) for t in trials)
            for _, trials in candidates
        ]
        chosen[cell] = candidates[max(range(len(scores)), key=lambda i: scores[i])][0]
    return chosen


def _score(row: Mapping[str, Any], metric: str, higher_is_better: bool) -> float:
    value = (row["metrics"] or {}).get(f"validation_{metric}") if row["state"] == "done" else None
    if value is None or not math.isfinite(value):
        return -math.inf
    return value if higher_is_better else -value


def main_trials(
    study: Study, files: Mapping[str, str], learning_rates: Mapping[str, float], waiting: Collection[str] = ()
) -> list[Trial]:
    """The reported trials but those of cells that are `waiting`, replicate by replicate: pairs are complete early.

    Two cells may ask for the very same trial (a tuned arm that chose the rate of another cell): it is planned once, and
    knows in its `also` which further cells it answers for.
    """
    every = [cell for cell in cells(study) if cell.name not in waiting]
    chosen = {cell.name: {"lr": learning_rates[cell.name]} if cell.name in learning_rates else {} for cell in every}
    found: dict[str, Trial] = {}
    for replicate in range(study.replicates):
        for cell in every:
            recipe = recipe_of(study, cell).model_copy(update=chosen[cell.name])
            new = trial(study, cell, replicate, recipe, files, "main")
            first = found.setdefault(new.id, new)
            if first is not new:
                first.extra.setdefault("also", []).append([cell.name, cell.level])
    return list(found.values())


def plan(
    study: Study,
    rows: Iterable[Mapping[str, Any]],
    *,
    files: Mapping[str, str] | None = None,
    higher_is_better: bool = True,
) -> list[Trial]:
    """Trials still to run, given the store's rows: tuning ones first; an arm's main ones when its own are finished."""
    rows = list(rows)
    return unfinished(wanted_trials(study, rows, files or {}, higher_is_better), rows)


def unfinished(wanted: Iterable[Trial], rows: Iterable[Mapping[str, Any]]) -> list[Trial]:
    """Those of the wanted trials that the store's rows do not answer."""
    # A finished trial is due again when the study now asks for more epochs; one that failed stays failed.
    have = {row["id"]: (row["state"], row["epochs"] or 0) for row in rows}

    def finished(t: Trial) -> bool:
        state, epochs = have.get(t.id, ("pending", 0))
        return state == "failed" or (state == "done" and epochs >= (t.epochs or 0))

    return [t for t in wanted if not finished(t)]


def wanted_trials(
    study: Study, rows: Iterable[Mapping[str, Any]], files: Mapping[str, str], higher_is_better: bool
) -> list[Trial]:
    """Every trial that can be named by now: the tuning ones, the main ones of cells that need none or whose own are
    finished, and those that confirm the leader of a race."""
    from .race import confirming_trials

    rows = list(rows)
    tuning = [t for candidates in tuning_trials(study, files).values() for _, trials in candidates for t in trials]
    chosen = choose(study, files, rows, higher_is_better)
    main = main_trials(
        study, files, chosen, {cell.name for cell in cells(study) if _tunes(study, cell)} - chosen.keys()
    )
    return tuning + main + confirming_trials(study, main, rows)


def total(study: Study) -> int:
    """How many trials the whole study is at most, with tuning and the confirmation of a race's leader: a tuned arm may
    come to share those of another cell. Cells that share theirs in any case are counted once."""
    from .race import most

    fixed, tuned = _kinds(study)
    return (len(fixed) + len(tuned)) * study.replicates + tuning_total(study) + most(study)


def distinct(study: Study) -> int:
    """How many trials the whole study is at least: each tuned arm may have chosen what another cell has anyway."""
    return len(_kinds(study)[0]) * study.replicates + tuning_total(study)


def tuning_total(study: Study) -> int:
    """How many trials choose learning rates."""
    return len(_kinds(study)[1]) * len(study.tuning.lr) * study.tuning.replicates if study.tuning else 0


def _kinds(study: Study) -> tuple[set[str], set[str]]:
    """The distinct trials of a replicate: of cells whose recipe is settled, and of arms that are tuned."""
    fixed, tuned = set(), set()
    for cell in cells(study):
        kind = canonical([cell.swaps, recipe_of(study, cell).to_config(), cell.baseline])
        (tuned if _tunes(study, cell) else fixed).add(kind)
    return fixed, tuned


def changed(
    study: Study, rows: Iterable[Mapping[str, Any]], files: Mapping[str, str], higher_is_better: bool
) -> list[str]:
    """What of the trials that exist the study would change: one sentence a difference; empty when it only grows."""
    from .race import shrunk

    rows = list(rows)
    wanted = wanted_trials(study, rows, files, higher_is_better)
    ids = {t.id for t in wanted}
    longest = max((row["epochs"] or 0 for row in rows), default=0)
    if study.recipe.epochs < longest:  # they stand outside the identity, so that they can grow; they cannot shrink
        return [f"recipe.epochs: was {longest}, is now {study.recipe.epochs}; trials can be continued, not shortened"]
    most = max((row["replicate"] + 1 for row in rows if row["phase"] == "main"), default=0)
    if study.replicates < most:
        return [f"study.replicates: was {most}, is now {study.replicates}; take {most} or more, nothing is deleted"]
    fewer = shrunk(study, rows)
    if fewer:
        return fewer
    by_place = {(t.phase, t.cell, t.replicate, t.description["recipe"]["lr"]): t for t in wanted}
    by_cell = {(t.phase, t.cell, t.replicate): t for t in wanted}
    found: dict[str, None] = {}
    for row in rows:
        if row["id"] in ids:
            continue
        lr = row["description"]["recipe"]["lr"]
        new = by_place.get((row["phase"], row["cell"], row["replicate"], lr)) or by_cell.get(
            (row["phase"], row["cell"], row["replicate"])
        )
        if new is None:
            label = (
                f"{row['cell']}, replicate {row['replicate']}"
                if row["phase"] == "main"
                else f"{row['cell']}, {'fresh replicates' if row['phase'] == 'confirm' else row['phase']}"
            )
            found[f"{label} has results but is no part of the study now"] = None
        else:
            for path, old, now in differences(row["description"], new.description):
                found[f"{path}: was {old!r}, is now {now!r}"] = None
    return list(found)


def differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted path, old, new) of every leaf that differs."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            difference
            for key in sorted(set(old) | set(new))
            for difference in differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if old == new else [(path, old, new)]
