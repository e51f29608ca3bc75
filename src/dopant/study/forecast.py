"""What a whole study will take: time, disk and memory, from one dry step of each cell; and the refusal of what cannot
fit."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import DoesNotFit, StoreError
from ..memory import available, resident, show_bytes
from ..streams import Streams
from . import budget, race
from . import plan as planning
from .config import Study
from .dry import Dry, dry_steps, sizes
from .trial import Trial

START_SECONDS = 4.0  # of a worker: its imports and the data, a round figure of two-core machines
TRIAL_SECONDS = 0.3  # of a trial beside its steps, a round figure: building, cost ledger, files, lease
SMALL_FILES = 6000  # bytes of a trial's JSON files beside its metrics, and its rows in the index
LINE = 420  # bytes of an epoch's line of metrics
STUDY_FILES = 680_000  # bytes of a study beside its trials: page and its library, tables, index, provenance
_BASE = 400 << 20  # the most that a worker holds before its first trial; a caller may hold more


@dataclass(frozen=True)
class Forecast:
    """trials: still to run, of `planned` (each once, also where two cells have the same one; none of controls that
    cannot be built), `tuning` of these planned ones to tune by. seconds: until the end, with `workers` at once, no more
    than cores or trials. core_seconds: of all trials. disk: bytes still to be written; disk_free. worker_memory: of the
    largest cell, base included; memory_available on `device`. problems: what will not fit, in words."""

    planned: int
    trials: int
    workers: int
    cores: int
    seconds: float
    core_seconds: float
    disk: int
    disk_free: int
    worker_memory: int
    memory_available: int
    device: str
    workers_that_fit: int
    assumption: str
    problems: tuple[str, ...] = ()
    tuning: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def forecast(
    study: Study,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    cells: Sequence[Dry] | None = None,
    files: Mapping[str, str] | None = None,
) -> Forecast | None:
    """What `dp.run(study, out=out, workers=workers)` has still to do, given one dry step a cell (taken now unless
    `cells` has them). None where the study has no cells that can be stepped (a task that does not train on batches).

    out: the study's folder; finished trials in it are left out. files: sums of `--with` files, as in a plan.
    Assumes that workers share the cores evenly and do not slow each other down otherwise; on a busy machine it takes
    longer. Early stopping is not foreseen. Cost: that of `dry_steps`.
    """
    from ..tasks.build import build_data, device_of

    dry = {row.cell: row for row in (dry_steps(study) if cells is None else cells)}
    if not dry:
        return None
    # no step was taken of a control that cannot be built: a run has no trials of it
    missing = {c.name: "not built" for c in planning.cells(study) if c.baseline is None and c.name not in dry}
    study = study.with_(unbuildable={**study.unbuildable, **missing})
    study, recipe = budget.measured(study), study.recipe
    first = planning.describe(study, planning.cells(study)[0], 0, recipe, {})
    data = build_data(first, Streams(study.seed, 0))
    folder = _folder(study, out)
    rows = _rows(folder)
    every = _every(study, rows, files or {})
    left = _left(every, rows)
    steps, scored_at_once = {}, {}
    for known in planning.cells(study):
        batch, scored_at_once[known.name] = sizes(planning.recipe_of(study, known), data)
        steps[known.name] = math.ceil(len(data.train) / batch)
    seconds = disk = 0.0
    held = {row["id"]: row["epochs"] or 0 for row in rows if row["state"] == "done"}
    swapped = {cell.name for cell in planning.cells(study) if cell.swaps}
    fits = _fits(study, data, left)
    for cell, trial_id, epochs, tuning in left:
        if cell not in dry:  # a baseline
            seconds += fits.get(cell) or 0.0
            continue
        row = dry[cell]
        count = max(0, epochs - held.get(trial_id, 0))
        if recipe.regime == "distil" and cell in swapped and trial_id not in held:
            count += recipe.distil_epochs  # each with a pass over validation for the imitation error, as an epoch's
        scored = len(data.validation) * (count + 1) + (0 if tuning else len(data.test))
        if study.protocol == "published":
            scored += len(data.test) * count
        seconds += (
            count * (steps[cell] * row.step_seconds + row.save_seconds)
            + scored / scored_at_once[cell] * row.evaluation_seconds
            + TRIAL_SECONDS
        )
        best = row.state / 3 if recipe.early_stop else 0
        if trial_id not in held:
            disk += 2 * (row.state + best) + (0 if tuning else row.items) + SMALL_FILES
        disk += LINE * count
    cores = os.cpu_count() or 1
    wanted = workers or cores
    at_once = max(1, min(wanted, len(left)))
    rounds = math.ceil(len(left) / at_once) / max(1e-9, len(left) / at_once) if left else 1.0
    speed = min(at_once, max(1, cores // recipe.threads))
    if left:
        disk += STUDY_FILES + at_once * max(row.state for row in dry.values())  # a third generation while it is written
    device = device_of(recipe.device)
    room = available(device)
    memory = max(worker_memory(row.memory, device) for row in dry.values())
    fit = max(0, room.bytes // max(1, memory))
    free = shutil.disk_usage(_existing(folder)).free
    fresh = 0 if any(t.phase == race.PHASE for t in every) else race.most(study)
    more = planning.total(study, rows) - race.most(study) - sum(t.phase != race.PHASE for t in every)
    problems = []
    if disk > free:
        problems.append(disk_words(disk, free, folder))
    if memory > room.bytes:
        problems.append(
            f"a worker needs {show_bytes(memory)} of memory, and {show_bytes(room.bytes)} are available ({room.where})"
        )
    elif at_once > fit:
        problems.append(workers_words(at_once, memory, room.bytes, fit))
    return Forecast(
        len(every), len(left), at_once, cores, seconds / speed * rounds + (START_SECONDS if left else 0.0),
        seconds, int(disk), free, memory, room.bytes, str(device), fit,
        f"{at_once} workers share {cores} cores evenly and nothing else runs"
        + _fit_words(fits)
        + (f"; tuned arms count at the study's recipe, up to {more} trials more at others" if more > 0 else "")
        + (f"; up to {fresh} trials more run the race's leader again" if fresh else ""),
        tuple(problems), sum(t.phase == "tuning" for t in every),
    )  # fmt: skip


def _fits(study: Study, data: Any, left: Sequence[tuple[str, str, int, bool]]) -> dict[str, float | None]:
    """{baseline's cell that has trials left: seconds of a fit, None where that is not known before}."""
    from ..baselines.run import foretold
    from . import tuning

    due = {cell for cell, *_ in left}
    return {
        cell.name: foretold(cell.baseline, data, alone=bool(tuning.space_of(study, cell)))
        for cell in planning.cells(study)
        if cell.baseline is not None and cell.name in due
    }


def _fit_words(fits: Mapping[str, float | None]) -> str:
    told = [f"{cell} about {seconds:.0f} s a trial" for cell, seconds in fits.items() if seconds is not None]
    untold = [cell for cell, seconds in fits.items() if seconds is None]
    return (f"; {', '.join(told)}, roughly, by one fit to few items" if told else "") + (
        f"; {', '.join(untold)} not counted" if untold else ""
    )


def worker_memory(step: int, device: Any) -> int:
    """Bytes of a worker on `device`: its step, and on the CPU the process itself and what the C library keeps."""
    if device.type != "cpu":
        return step
    return step + min(step, 64 << 20) + min(resident() or _BASE, _BASE)


def workers_words(workers: int, memory: int, room: int, fit: int) -> str:
    return (
        f"{workers} workers of {show_bytes(memory)} need {show_bytes(workers * memory)} of memory, and "
        f"{show_bytes(room)} are available; --workers {max(1, fit)} fits"
    )


def disk_words(disk: float, free: int, folder: Path) -> str:
    return (
        f"the study will write {show_bytes(disk)} below {str(folder)!r}, and {show_bytes(free)} are free there; free "
        "some, name another folder with --out, or take fewer replicates"
    )


def _folder(study: Study, out: str | Path | None) -> Path:
    from .run import default_name

    return Path(out) if out else Path("runs") / (study.name or default_name(study))


def _existing(path: Path) -> Path:
    path = path.resolve()
    while not path.exists():
        path = path.parent
    return path


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a study; a look leaves no file behind."""
    from . import index
    from .store import Store

    if not (folder / "index.sqlite").is_file():
        return []
    try:
        with index.translated(folder), index.reading(folder) as database:
            index.check_schema(folder, database)
            return Store(folder, database).rows()
    except StoreError:
        if os.access(folder, os.W_OK):
            raise
    with Store.open(folder) as store:
        return store.rows()


def _every(study: Study, rows: list[dict[str, Any]], files: Mapping[str, str]) -> list[Trial]:
    """Every trial of the whole study once: the main ones of an arm that has not chosen yet under the study's recipe,
    and draws that wait for results as others, which cost the same."""
    from .run import higher_is_better

    higher = higher_is_better(study)
    named = planning.tuning_trials(study, files, rows, higher, all_of_them=True)
    tuning = [t for found in named.values() for _, trials in found for t in trials]
    chosen = planning.choose(study, files, rows, higher)
    found: dict[str, Trial] = {}
    main = planning.main_trials(study, files, chosen)
    for trial in [*tuning, *main, *race.confirming_trials(study, main, rows)]:
        found.setdefault(trial.id, trial)
    return list(found.values())


def _left(every: Sequence[Trial], rows: list[dict[str, Any]]) -> list[tuple[str, str, int, bool]]:
    """(cell, identifier, epochs, is it tuning) of those that are still to run."""
    return [(t.cell, t.id, t.epochs or 0, t.phase == "tuning") for t in planning.unfinished(every, rows)]


# --- before a run ---------------------------------------------------------------------------------------------------


def refuse_cell(name: str, model: Any, data: Any, recipe: Any) -> dict[str, int] | None:
    """Raise DoesNotFit unless a worker can train this network here; {"memory": bytes of a worker, "state": …}, or None
    where it cannot be told.

    The message has the largest batch that fits. Cost: a step or two of two samples; where that leaves room for doubt a
    trace of the whole step, which takes no memory.
    """
    from ..tasks.build import device_of
    from ..training.footprint import Meter

    device = device_of(recipe.device)
    batch, eval_batch = sizes(recipe, data)
    room = available(device)
    try:
        meter = Meter(model, data.train, recipe, device)
    except Exception:  # what fails on two samples fails in the trial too, and is told there
        return None
    cores = os.cpu_count() or 1
    foot = meter.footprint(batch, eval_batch, enough=room.bytes // (4 * cores))
    memory = worker_memory(foot.bytes, device)
    if memory > room.bytes:
        left = room.bytes - (memory - foot.bytes)
        evaluation = foot.evaluation >= foot.train
        largest = meter.largest(left, evaluation)
        key, what = ("eval_batch", "evaluation") if evaluation else ("batch", "a training step")
        count = eval_batch if evaluation else batch
        advice = f"the largest that fits is recipe.{key} = {largest}" if largest else "not even one sample fits"
        raise DoesNotFit(
            f"cell {name!r}: {what} of {count:,} samples needs {show_bytes(memory)} of memory in a worker, and "
            f"{show_bytes(room.bytes)} are available ({room.where}); {advice}",
            needed=memory,
            available=room.bytes,
        )
    return {"memory": memory, "state": foot.fixed}


def cells_left(study: Study, folder: Path, files: Mapping[str, str]) -> set[str]:
    """Names of the cells that have trials still to run in `folder`."""
    rows = _rows(folder)
    return {cell for cell, *_ in _left(_every(study.with_(unbuildable={}), rows, files), rows)}


def refuse_disk(study: Study, needs: Mapping[str, Mapping[str, int]], folder: Path, files: Mapping[str, str]) -> None:
    """Raise StoreError where the checkpoints alone cannot fit on the disk of `folder`."""
    if not needs:
        return
    rows = _rows(folder)
    due = _left(_every(study, rows, files), rows)
    disk = sum(2 * needs[cell]["state"] for cell, *_ in due if cell in needs)
    free = shutil.disk_usage(_existing(folder)).free
    if disk > free:
        raise StoreError(disk_words(disk, free, folder))


def warn_of_workers(needs: Mapping[str, Mapping[str, int]], workers: int, trials: int, recipe: Any) -> str | None:
    """What to say where so many workers at once do not fit into memory; None where they do."""
    from ..tasks.build import device_of

    if not needs:
        return None
    memory = max(need["memory"] for need in needs.values())
    room = available(device_of(recipe.device)).bytes
    at_once = max(1, min(workers, trials))
    return workers_words(at_once, memory, room, room // memory) if at_once * memory > room else None
