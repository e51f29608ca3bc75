"""`plan(study, results so far) -> trials still to run`: a pure function, called until it returns none.

Resuming and growing are the same call: the study says what there should be, the store what there is.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..designs import Cell, Contrast
from ..designs.automatic import ALL
from ..errors import ConfigError
from ..recipe import Recipe
from ..registry import components, tasks
from . import budget, tuning
from .config import Study, as_named, called
from .draws import score_of
from .files import used
from .trial import FORMAT, Trial, canonical

UNDEFINED = "not defined: "
"""How a reason in `Study.unbuildable` begins where a control means nothing for its component, or is not needed."""


def cells(study: Study) -> list[Cell]:
    """The study's cells; without controls where it says so, and without those that cannot be built. Where drop-in
    effects are reported beside those of tuned arms, tuned networks are there twice."""
    cells = [cell for cell in study.design.cells(study.controls) if cell.name not in study.unbuildable]
    batch = study.recipe.batch
    cells = [_at_batch(cell, cell.recipe.get("batch", batch)) if cell.role == "control" else cell for cell in cells]
    return tuning.with_drop_in(study, cells) + [baseline_cell(baseline) for baseline in study.baselines]


def baseline_cell(baseline: Any) -> Cell:
    """The cell of a whole other model, called by its name and options."""
    return Cell(f"baseline {called(baseline)}", None, {}, "baseline", baseline=as_named(baseline, "baselines"))


def recipe_of(study: Study, cell: Cell) -> Recipe:
    """The study's recipe with what the cell changes in it, and with the epochs that its budget buys."""
    return budget.allotted(study, cell, study.recipe.model_copy(update=cell.recipe) if cell.recipe else study.recipe)


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
    found = []
    for contrast in study.design.contrasts(study.controls):
        if contrast.cell in missing:
            continue
        own = {name: unshared(contrast.cell, name) for name in contrast.controls}
        there = tuple(name for name, key in own.items() if name not in missing and key not in missing)
        gone = [missing[n].removeprefix(UNDEFINED) for n in contrast.controls if n in missing.keys() - quiet]
        gone += [missing[key] for key in own.values() if key in missing]
        found.append(replace(contrast, controls=there, missing_controls=(*contrast.missing_controls, *gone)))
    for baseline in study.baselines:
        name = baseline_cell(baseline).name
        found += [Contrast(name, name, reference, role="baseline") for reference in study.design.references()]
    return found


def unshared(cell: str, control: str) -> str:
    """How `Study.unbuildable` calls a level's control of the same capacity that a variant of it cannot share."""
    return f"{control}, for {cell}"


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
    if recipe.initial_gain != 1 and cell.baseline is None:
        description["gained_slots"] = study.slots()
    return description


def trial(study: Study, cell: Cell, replicate: int, recipe: Recipe, files: Mapping[str, str], phase: str) -> Trial:
    extra: dict[str, Any] = {"checkpoint_seconds": recipe.checkpoint_seconds}
    if study.metric is not None:
        extra["metric"] = study.metric  # no part of the identity: the same trial answers for another metric
    if cell.baseline is None:
        extra["slots"] = study.slots()  # whose gradients every arm logs, what stands there in the host too
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


def tuning_trials(
    study: Study,
    files: Mapping[str, str],
    rows: Iterable[Mapping[str, Any]] = (),
    higher_is_better: bool = True,
    *,
    all_of_them: bool = False,
) -> dict[str, list[tuple[tuning.Params, list[Trial]]]]:
    """{cell: [(candidate, its trials), …]} of those that can be named by now: as many for every arm, on the same
    replicates. all_of_them: those that wait for results of others too, as stand-ins that cost the same."""
    if study.tuning is None:
        return {}
    known = tuning.drawn(rows, study.primary_metric, higher_is_better)
    found = {}
    for cell in cells(study):
        if _tunes(study, cell):
            mine = tuning.candidates(study, cell, known, all_of_them=all_of_them)
            found[cell.name] = candidate_trials(study, cell, mine, files)
    return found


def candidate_trials(
    study: Study, cell: Cell, candidates: Iterable[tuning.Params], files: Mapping[str, str]
) -> list[tuple[tuning.Params, list[Trial]]]:
    assert study.tuning is not None
    found = []
    for number, params in enumerate(candidates):
        changed, recipe = tuning.settled(study, cell, params)
        recipe = recipe_of(study, cell).model_copy(update=recipe)
        trials = [trial(study, changed, -1 - r, recipe, files, "tuning") for r in range(study.tuning.scored_on)]
        for one in trials if study.tuning.draws is not None else ():
            one.extra["draws"] = [[tuning.arm_of(study, cell), number, params]]
        found.append((params, trials))
    return found


def _tunes(study: Study, cell: Cell) -> bool:
    return bool(tuning.space_of(study, cell))


def choose(
    study: Study, files: Mapping[str, str], rows: Iterable[Mapping[str, Any]], higher_is_better: bool
) -> dict[str, tuning.Params]:
    """{cell: best candidate by mean validation score}, of the cells whose tuning trials are all finished.

    A failed trial is the worst score there is; ties go to the candidate that is listed, or was drawn, first.
    """
    if study.tuning is None:
        return {}
    rows = list(rows)
    results = {row["id"]: row for row in rows if row["state"] in ("done", "failed")}
    known = tuning.drawn(rows, study.primary_metric, higher_is_better)
    chosen = {}
    for cell in cells(study):
        params = tuning.recorded(study, cell, known) if _tunes(study, cell) else None
        candidates = candidate_trials(study, cell, params or (), files)
        if not candidates or any(t.id not in results for _, trials in candidates for t in trials):
            continue
        done = [results[t.id] for _, trials in candidates for t in trials if results[t.id]["state"] == "done"]
        if done and not any(f"validation_{study.primary_metric}" in (row["metrics"] or {}) for row in done):
            raise ConfigError(
                f"[tuning] chooses by 'validation_{study.primary_metric}', which no trial of {cell.name!r} measured; "
                "name a metric that the task gives, or leave [tuning] out"
            )
        scores = [
            score_of([tuning.score(results[t.id], study.primary_metric, higher_is_better) for t in trials])
            for _, trials in candidates
        ]
        chosen[cell.name] = candidates[max(range(len(scores)), key=lambda i: scores[i])][0]
    return chosen


def main_trials(
    study: Study, files: Mapping[str, str], chosen: Mapping[str, tuning.Params], waiting: Collection[str] = ()
) -> list[Trial]:
    """The reported trials but those of cells that are `waiting`, replicate by replicate: pairs are complete early.

    chosen: {cell: its candidate}, of tuned arms. Two cells may ask for the very same trial (a tuned arm that chose what
    another cell has): it is planned once, and knows in its `also` which further cells it answers for.
    """
    every = [cell for cell in cells(study) if cell.name not in waiting]
    settled = {cell.name: tuning.settled(study, cell, chosen.get(cell.name, {})) for cell in every}
    found = []
    for replicate in range(study.replicates):
        for cell in every:
            changed, recipe = settled[cell.name]
            recipe = recipe_of(study, cell).model_copy(update=recipe)
            found.append(trial(study, changed, replicate, recipe, files, "main"))
    return _once(found)


def _once(trials: Iterable[Trial]) -> list[Trial]:
    """Each trial once, with the further cells and the draws that it answers for."""
    found: dict[str, Trial] = {}
    for new in trials:
        first = found.setdefault(new.id, new)
        if first is new:
            continue
        place = [new.cell, new.level]
        if new.cell != first.cell and place not in first.extra.get("also", ()):
            first.extra.setdefault("also", []).append(place)
        for one in new.extra.get("draws", ()):
            if one not in first.extra["draws"]:
                first.extra["draws"].append(one)
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
    candidates = tuning_trials(study, files, rows, higher_is_better)
    chosen = choose(study, files, rows, higher_is_better)
    choosing = _once(t for found in candidates.values() for _, trials in found for t in trials)
    main = main_trials(study, files, chosen, candidates.keys() - chosen.keys())
    return choosing + main + confirming_trials(study, main, rows)


def total(study: Study, rows: Iterable[Mapping[str, Any]] = ()) -> int:
    """How many trials the whole study is at most, with tuning and the confirmation of a race's leader: a tuned arm may
    come to share those of another cell. Cells that share theirs in any case are counted once, and so are equal draws
    among the store's rows."""
    from .race import most

    fixed, tuned = _kinds(study)
    return (len(fixed) + len(tuned)) * study.replicates + tuning_total(study, rows) + most(study)


def distinct(study: Study, rows: Iterable[Mapping[str, Any]] = ()) -> int:
    """How many trials the whole study is at least: each tuned arm may have chosen what another cell has anyway."""
    return len(_kinds(study)[0]) * study.replicates + tuning_total(study, rows)


def tuning_total(study: Study, rows: Iterable[Mapping[str, Any]] = ()) -> int:
    """How many trials choose among candidates."""
    if study.tuning is None:
        return 0
    known = tuning.drawn(rows, study.primary_metric, True)
    return sum(tuning.count(study, cell, known) for cell in _kinds(study)[1].values()) * study.tuning.scored_on


def _kinds(study: Study) -> tuple[dict[str, Cell], dict[str, Cell]]:
    """The distinct trials of a replicate: of cells whose recipe is settled, and of arms that are tuned."""
    fixed, tuned = {}, {}
    for cell in cells(study):
        kind = canonical([cell.swaps, recipe_of(study, cell).to_config(), cell.baseline])
        (tuned if _tunes(study, cell) else fixed)[kind] = cell
    return fixed, tuned


def changed(
    study: Study, rows: Iterable[Mapping[str, Any]], files: Mapping[str, str], higher_is_better: bool
) -> list[str]:
    """What of the trials that exist the study would change: one sentence a difference; empty when it only grows."""
    from .race import shrunk

    rows = list(rows)
    wanted = wanted_trials(study, rows, files, higher_is_better)
    ids = {t.id for t in wanted}
    longest = max((row["epochs"] or 0 for row in rows), default=0) if study.recipe.budget != "cost" else 0
    if study.recipe.epochs < longest:  # they stand outside the identity, so that they can grow; they cannot shrink
        return [f"recipe.epochs: was {longest}, is now {study.recipe.epochs}; trials can be continued, not shortened"]
    most = max((row["replicate"] + 1 for row in rows if row["phase"] == "main"), default=0)
    if study.replicates < most:
        return [f"study.replicates: was {most}, is now {study.replicates}; take {most} or more, nothing is deleted"]
    fewer = shrunk(study, rows) or budget.shortened(wanted, rows)
    if fewer:
        return fewer
    by_place = {(t.phase, t.cell, t.replicate, t.description["recipe"]["lr"]): t for t in wanted}
    by_cell = {(t.phase, t.cell, t.replicate): t for t in wanted}
    named = {t.cell for t in wanted if t.phase == "main"} | {c for t in wanted for c, _ in t.extra.get("also", ())}
    waiting = {cell.name for cell in cells(study) if _tunes(study, cell)} - named
    arms = {tuning.arm_of(study, cell) for cell in cells(study) if _tunes(study, cell)}
    found: dict[str, None] = {}
    for row in rows:
        if row["id"] in ids:
            continue
        lr = row["description"]["recipe"]["lr"]
        new = by_place.get((row["phase"], row["cell"], row["replicate"], lr)) or by_cell.get(
            (row["phase"], row["cell"], row["replicate"])
        )
        drawn = [arm for arm, *_ in (row.get("extra") or {}).get("draws", ())]
        if drawn and not arms & set(drawn):
            found[f"tuning.search: {row['cell']} has draws of another search space, sampler or network"] = None
        elif new is None and row["phase"] == "main" and row["cell"] in waiting:
            found[f"tuning: {row['cell']} would choose again, among more candidates, and has reported trials"] = None
        elif new is None:
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
