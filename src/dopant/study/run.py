"""Run, resume or grow a study: check the request whole, add what is missing, start workers, answer."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils import _pytree as pytree

from .. import designs, local, pretrained, registry
from ..designs import Design
from ..designs.automatic import ALL
from ..errors import ConfigError, DoesNotFit, DopantError, NotDefined, SlotMismatch, UnknownName
from ..recipe import Recipe
from ..streams import Streams
from . import budget, forecast, hosted, provenance, tuning
from . import plan as planning
from .answer import write_text
from .config import Study, Tuning, as_named
from .decided import AnalysisTable, change_notes
from .files import by_name, sums
from .results import StudyAnswer, higher_is_better_of, load_study, status_of, whole_counts
from .settle import settled
from .trial import identify

ENGINES = ("local",)


def run(
    study_or_design: Study | Design,
    *,
    data: Any = None,
    recipe: Recipe | None = None,
    replicates: int | None = None,
    seed: int | None = None,
    controls: Any = None,
    margin: float | None = None,
    protocol: str | None = None,
    metric: str | None = None,
    tuning: Tuning | Mapping[str, Any] | None = None,
    baselines: Sequence[Any] | None = None,
    folds: int | None = None,
    analysis: AnalysisTable | Mapping[str, Any] | None = None,
    name: str | None = None,
    train: Callable | str | None = None,
    sample: Any = None,
    checkpoint: Any = None,
    out: str | Path | None = None,
    workers: int | None = None,
    engine: str = "local",
    with_files: Sequence[str | Path] = (),
    fork: str | None = None,
    command: Sequence[str] | None = None,
    progress: Any = "auto",
    before_start: Callable[[StudyAnswer, int], None] | None = None,
) -> StudyAnswer:
    """Run a study, or go on with it; returns its Answer.

    study_or_design: a dp.Study, or a design with the rest as keywords (what is given replaces the study's).
    baselines: whole other models on the same splits, by name or as {"name": …, options}; or one of this process, as
    itself: an estimator with scikit-learn's methods, or a function that makes one (see `dopant.baselines`).
    folds, analysis: as of a dp.Study.
    train: one's own `train(model, streams, log, folder)`, a function or "module:function"; `sample` then stands in for
    data to measure slots with. checkpoint: what the host starts from: a safetensors or torch file (weights only),
    {"file": path, "leave": [names that stay as drawn]}, or a state dict. out: the study's folder (default runs/NAME).
    workers: processes, by default one per core. with_files: Python files that register components, hosts and so on.
    fork: go on under another name, keeping finished trials that are the same.
    Raises ConfigError with every problem of the request, before anything is trained; StoreError for a folder that
    cannot be used; KeyboardInterrupt after the state is saved.
    """
    if not isinstance(study_or_design, Study) and not designs.is_design(study_or_design):
        raise ConfigError(
            f"dp.run takes a design or a study, not a {type(study_or_design).__name__}; write "
            "dp.run(dp.Ladder(model).level(slot='component'), …)"
        )
    if registry.being_loaded():  # each worker loads the file again, and would begin the study again
        raise ConfigError(
            'dp.run begins a study while its file is being loaded; put the call under `if __name__ == "__main__":`'
        )
    for file in with_files:
        registry.load_file(file)
    study = _study(
        study_or_design, data=data, recipe=recipe, replicates=replicates, seed=seed, controls=controls, margin=margin,
        protocol=protocol, metric=metric, tuning=tuning, name=name, baselines=baselines, folds=folds, analysis=analysis,
    )  # fmt: skip
    # a folder says which controls were made: those that a later version adds were none of an earlier study's
    study = study.with_(controls="all") if study.controls is True else study
    study = _in_process_names(study, train, sample)
    study, starts, problems = _with_start(study, checkpoint)
    references = study.references()
    for reference in references:
        registry.allow(reference)
    problems += study.problems()
    if engine not in ENGINES:
        problems.append(f"engine: {engine!r} is not known; there is {', '.join(map(repr, ENGINES))}")
    if workers is not None and workers < 1:
        problems.append(f"workers: {workers} is too few; take 1 or more")
    problems += _unasked(study, train)
    if problems:
        raise ConfigError(list(dict.fromkeys([*problems, *_unknown_slots(study)])))
    folder = Path(out) if out else Path("runs") / (study.name or default_name(study))
    study = settled(study, folder)
    study = study if study.name else study.with_(name=folder.name)
    files = sums(with_files)
    needs: dict[str, dict[str, int]] = {}
    drawn: dict[str, Any] = {}
    with pretrained.places(folder, starts):
        facts, unbuildable = check(study, needs, forecast.cells_left(study, folder, files), drawn)
        study = budget.measured(study.with_(unbuildable=unbuildable))
    provenance.same_data(folder / "provenance.json", facts)
    if fork:
        folder, study = _fork(folder, study, fork, files)
        provenance.same_data(folder / "provenance.json", facts)
    forecast.refuse_disk(study, needs, folder, files)
    store, notes = _open(folder, study, files)
    pretrained.keep(folder, starts)
    hosted.keep(folder, drawn)
    # What was lost to a crash or to an error of the code is no result: an explicit start tries it again.
    store.retry(ids=[row["id"] for row in store.rows() if status_of(row) == "lost"])
    higher = higher_is_better(study)
    start = provenance.record(command, by_name(files), facts, study.recipe.threads)
    provenance.append(folder / "provenance.json", start, notes)
    if in_process(study):
        print(
            "dopant: an object of this process is part of the study, so its trials run here, one after another; name "
            'it by reference, such as Ladder("my_file:Net"), to use more processes',
            file=sys.stderr,
        )

    def replan() -> bool:
        rows = store.rows()
        wanted = planning.wanted_trials(study, rows, files, higher)
        # Finished trials too: a cell may have another name now, or an arm has just chosen what another cell has anyway.
        store.add(wanted)
        return bool(planning.unfinished(wanted, rows))

    answer_now = StudyAnswer(folder, study)
    count = workers or os.cpu_count() or 1
    due = replan()
    words = forecast.warn_of_workers(needs, count, planning.total(study), study.recipe) if due else None
    if words:
        print(f"dopant: {words}", file=sys.stderr)
    if before_start:
        before_start(answer_now, count)
    if due:
        with _display(progress, answer_now.name) as shown:
            _execute(store, folder, study, replan, count, with_files, shown, references)
    answer = StudyAnswer(folder, study)
    answer.write_tables()
    answer.report()
    return answer


def _display(progress: Any, name: str) -> Any:
    """A context that gives what is told of progress; only "auto" is opened and closed here."""
    if progress == "auto" and sys.stdout.isatty():
        from .report.terminal import LiveProgress

        return LiveProgress(name)
    return contextlib.nullcontext(None if progress == "auto" else progress)


def _unasked(study: Study, train: Any) -> list[str]:
    """Requests that could only end in nothing: no swap at all, or a training loop that cannot be called."""
    found = []
    if isinstance(train, str) and not local.is_local(train):
        if ":" not in train:
            return [f"train: {train!r} is no function; give the function itself, or its name as 'module:function'"]
        try:
            train = registry.resolve_callable(train)
        except ConfigError as error:
            found += [f"train: {problem}" for problem in error.problems]
    if (
        not study.design.fillings()
        and not getattr(study.design, "unsettled", False)
        and study.task_name in registry.tasks
        and registry.tasks.get(study.task_name).networks
    ):
        found.append("design.levels: no swap was asked for; add one, such as .level(head='reupload-linear')")
    if callable(train):
        try:
            inspect.signature(train).bind(None, None, None, None, **({"data": None} if _takes_data(train) else {}))
        except TypeError as error:
            found.append(f"train: it is called as train(model, streams, log, folder[, data]): {error}")
    return found


def _takes_data(train: Callable) -> bool:
    return "data" in inspect.signature(train).parameters


def _unknown_slots(study: Study) -> list[str]:
    """Slots that the host does not have, where it can be built although other things are wrong."""
    try:
        from ..tasks.build import build_data, build_host

        cell = dataclasses.replace(planning.cells(study.with_(controls=False))[0], swaps={})
        description = planning.describe(study, cell, 0, study.recipe, {})
        data = build_data(description, Streams(study.seed, 0))
        names = [name for name, _ in build_host(description["host"], Streams(0), data.facts()).named_modules() if name]
    except Exception:  # what keeps it from being built is told already
        return []
    return [str(UnknownName("slot", slot, names)) for slot in study.slots() if slot not in names]


def _execute(
    store: Any,
    folder: Path,
    study: Study,
    replan: Callable[[], bool],
    workers: int,
    files: Sequence[str | Path],
    progress: Any,
    references: Sequence[str],
) -> None:
    def tell(rows: list[dict[str, Any]], counts: dict[str, int]) -> None:
        progress.update(rows, whole_counts(study, counts, rows))

    on_poll = tell if progress else None
    if in_process(study):
        from .worker import work_here

        work_here(store, replan=replan, on_poll=on_poll)
    else:
        from .engine import run_local

        run_local(folder, workers, [str(f) for f in files], replan=replan, on_poll=on_poll, allow=references)


def in_process(study: Study) -> bool:
    """Whether the study uses an object that exists only in this process, so that workers elsewhere could not."""
    tables = study.to_tables()["study"]
    named = [tables["host"], tables.get("data"), tables["task"], *tables.get("baselines", ())]
    return any(
        local.is_local(str(value))
        for spec in named
        for value in (spec.values() if isinstance(spec, Mapping) else [spec])
        if isinstance(value, str)
    )


def _study(value: Study | Design, **given: Any) -> Study:
    study = value if isinstance(value, Study) else Study(design=value)
    if isinstance(given.get("tuning"), Mapping):
        given["tuning"] = Tuning.read(given["tuning"])
    if isinstance(given.get("recipe"), Mapping):
        given["recipe"] = Recipe(**given["recipe"])
    return study.with_(**{k: v for k, v in given.items() if v is not None})


def _in_process_names(study: Study, train: Callable | str | None, sample: Any) -> Study:
    """The study with every object of this process replaced by its `local:` name."""
    if train is not None:
        reference = train if isinstance(train, str) else local.register(getattr(train, "__name__", "train"), train)
        task: dict[str, Any] = {"name": "custom", "train": reference}
        if sample is not None:
            task["sample"] = local.register("sample", sample)
            study = study.with_(data=None)
        study = study.with_(task=task)
    if study.data is not None and not isinstance(study.data, str):
        from ..datasets.source import as_source

        data = study.data if isinstance(study.data, Mapping) else as_source(study.data)
        study = study.with_(data=as_named(data, "data"))
    if isinstance(study.baselines, (list, tuple)):
        study = study.with_(baselines=[_named_baseline(b) for b in study.baselines])
    host = study.design.host
    if not isinstance(host, str):
        study = study.with_(design=designs.with_host(study.design, as_named(host, "host")))
    return study


def _named_baseline(value: Any) -> Any:
    """A baseline that is an object of this process, alone or as the name in a table, by its `local:` name."""
    from ..baselines.estimator import is_model

    if isinstance(value, Mapping):
        name = value.get("name")
        return {**value, **as_named(name, "baselines")} if callable(name) or is_model(name) else value
    return as_named(value, "baselines") if callable(value) or is_model(value) else value


def _with_start(study: Study, checkpoint: Any) -> tuple[Study, dict[str, Any], list[str]]:
    """(the study with its checkpoint known by what it holds, {that: where it is}, problems)."""
    host = as_named(study.design.host, "host")
    checkpoint = host.get("checkpoint") if checkpoint is None else checkpoint
    if checkpoint is None:
        return study, {}, []
    try:
        spec, starts = pretrained.intern(checkpoint)
    except ConfigError as error:
        return study, {}, [*error.problems]
    return study.with_(design=designs.with_host(study.design, {**host, "checkpoint": spec})), starts, []


def default_name(study: Study) -> str:
    """HOST-DATA-HASH: the same for a study that only grows, another for another question.

    Of ladders and factorials the hash is that of their first two cells; of others also of their kind and of what the
    kind asks about.
    """
    cells = planning.cells(study)[:2]
    parts = [planning.describe(study, cell, 0, study.recipe, {}) for cell in cells]
    asked: dict[str, Any] = {"cells": parts}
    if study.design.kind not in ("ladder", "factorial"):
        table = study.design.to_config()
        asked |= {key: table[key] for key in ("kind", "slot", "component") if key in table}
        if asked.keys() & {"slot", "component"}:  # which candidates, slots or shares may be found later, or grow
            asked["cells"] = parts[:1]
    words = [as_named(v, "")["name"] for v in (study.design.host, study.data) if v is not None]
    plain = "-".join(w.removeprefix(local.PREFIX).split("@")[0].split(":")[-1] for w in words)
    return f"{''.join(c if c.isalnum() or c in '-_.' else '-' for c in plain)}-{identify(asked)[:6]}"


def check(
    study: Study,
    needs: dict[str, dict[str, int]] | None = None,
    due: set[str] | None = None,
    drawn: dict[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Build the host once and look at every swap of every cell, and whether each fits into memory (DoesNotFit).

    needs: gets, for each cell, the bytes of a worker and of a checkpoint. drawn: gets what the report draws of the
    host.

    Returns (facts of the data for provenance, {control cell that cannot be built: why}). Raises the specific error of a
    single problem of a level or variant, ConfigError with all lines of several.
    """
    from .._copy import copy_module
    from .._slots import measure_all
    from .._swap import attempt, together
    from ..tasks.build import build_data, build_host, device_of, sample_of
    from ..training.regimes import freeze_rest

    device_of(study.recipe.device)
    if not registry.tasks.get(study.task_name).networks:
        return {}, {}
    streams = Streams(study.seed, 0)
    study = study.with_(unbuildable={})
    cells = [cell for cell in planning.cells(study) if cell.baseline is None]
    # Candidates of searched options are tried by themselves too: a wrong one must not be found out by its trial.
    cells += [probe for cell in cells if cell.role != "control" for probe in tuning.build_probes(study, cell)]
    description = planning.describe(study, cells[0], 0, study.recipe, {})
    data = build_data(description, streams) if study.data is not None else None
    if data is None and "sample" not in description["task"]:
        raise ConfigError("study.data: name a data set, or give dp.run a `sample` of the host's inputs")
    if study.tuning and data is not None and not len(data.validation):
        raise ConfigError("[tuning] chooses by validation, and this data set has no validation split")
    model = build_host(description["host"], streams, data.facts() if data else {})
    sample = sample_of(description, data)
    errors: list[DopantError] = []
    unbuildable: dict[str, str] = {}
    tested: set[str] = set()  # the laws are run once for each swap, however many cells share it
    try:
        before = measure_all(model, sample)
    except ConfigError as error:
        if data is None:
            raise
        shapes = [tuple(t.shape[1:]) for t in pytree.tree_leaves(data.sample(1)) if hasattr(t, "shape")]
        raise ConfigError(
            [f"the host does not take data set {data.name!r}, with samples {shapes[0] if shapes else 'of no tensors'};"
             " another is named by data=… or --data", *error.problems]
        ) from None  # fmt: skip
    if drawn is not None:
        drawn |= hosted.try_measure(model, sample, before, study)
    counts: dict[str, dict[str, int]] = {}
    fine: dict[str, dict[str, int] | None] = {}  # what fits, fits in every cell that has the same network
    for cell in cells:
        asked = due is None or cell.name in due  # finished cells need no memory any more
        key = planning.build_key(study, cell) + ("" if asked else " finished")
        if key in fine:
            counts[cell.name] = counts.get(key, {})
            need = fine[key]
            _keep(needs, cell.name, need)
            continue
        filled, found, need = model, [], None
        if cell.swaps:
            filled, found = attempt(model, cell.swaps, sample, streams, before, laws=True, tested=tested)
            if filled is not None and not found and cell.control_kind == "same capacity" and study.controls in ALL:
                found = [SlotMismatch(why) for why in _unmatched(filled, cell)]
        if filled is not None and not found and data is not None and study.batched and asked:
            if study.recipe.regime == "freeze":
                filled = copy_module(filled)
                freeze_rest(filled, study.slots())
            try:
                need = forecast.refuse_cell(cell.name, filled, data, planning.recipe_of(study, cell))
                _keep(needs, cell.name, need)
            except DoesNotFit as error:
                found = [error]
        # What is short of memory today is no property of a control: it must not leave the study for that.
        if found and cell.role == "control" and (errors or cell.drop_in):
            continue  # what its level says already, or its tuned self
        if found and cell.role == "control" and not any(isinstance(error, DoesNotFit) for error in found):
            undefined = planning.UNDEFINED if all(isinstance(error, NotDefined) for error in found) else ""
            told = "; ".join(dict.fromkeys(str(error) for error in found))
            unbuildable[cell.name] = f"{undefined}{cell.control}: {told}"
        else:
            errors += found
        if not found:
            fine[key] = need
            counts[cell.name] = counts[key] = _trainable(filled, cell.swaps)
    if not errors:
        unbuildable |= _unshared(study, counts)
    if errors:
        raise together(list({str(error): error for error in errors}.values()))
    if data is None:
        return {}, unbuildable
    known = {k: v for k, v in data.facts().items() if isinstance(v, (int, str))}
    return known | {"items": len(data.train.pool), "fingerprint": data.fingerprint()}, unbuildable


def _keep(needs: dict[str, dict[str, int]] | None, name: str, need: dict[str, int] | None) -> None:
    """Of a cell and its searched candidates the one that needs most."""
    if needs is not None and need is not None and need["memory"] >= needs.get(name, {}).get("memory", 0):
        needs[name] = need


def _unmatched(filled: Any, cell: designs.Cell) -> list[str]:
    """Why the control of a cell is not of its component's capacity: one line for each slot, none where it is."""
    slots = [slot for slot, spec in cell.swaps.items() if spec["component"] == cell.control]
    told = [(slot, getattr(m, "unmatched", None)) for slot in slots for m in filled.get_submodule(slot).modules()]
    return [f"slot {slot!r}: {why}" for slot, ask in told if callable(ask) and (why := ask())]


def _trainable(model: Any, swaps: Mapping[str, Any]) -> dict[str, int]:
    """{slot: trainable numbers of what fills it}."""
    names = dict(model.named_modules(remove_duplicate=False))
    return {
        slot: sum(p.numel() for n in slot.split("+") for p in names[n].parameters() if p.requires_grad)
        for slot in swaps
        if all(n in names for n in slot.split("+"))
    }


def _unshared(study: Study, counts: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Why a variant does not share a level's control of the same capacity: it was matched to another count."""
    cells, found = {cell.name: cell for cell in planning.cells(study)}, {}
    for contrast in study.design.contrasts(study.controls):
        if contrast.role != "variant" or contrast.cell not in cells:
            continue
        for name in contrast.controls:
            cell = cells.get(name)
            if cell is None or cell.control_kind != "same capacity":
                continue
            slots = [s for s, spec in cell.swaps.items() if spec.get("component") == cell.control]
            mine, its = (sum(counts.get(n, {}).get(s, 0) for s in slots) for n in (contrast.cell, name))
            if abs(mine - its) > 0.1 * mine + 1:
                found[planning.unshared(contrast.cell, name)] = (
                    f"{cell.control}: it has {its:,} trainable numbers where {contrast.swap} has {mine:,}"
                )
    return found


def higher_is_better(study: Study) -> bool:
    """The direction of the metric that chooses learning rates."""
    return higher_is_better_of(study.primary_metric)


def _wanted(study: Study, rows: Sequence[Mapping[str, Any]], files: Mapping[str, str]) -> set[str]:
    return {t.id for t in planning.wanted_trials(study, rows, files, higher_is_better(study))}


def _open(folder: Path, study: Study, files: Mapping[str, str]) -> tuple[Any, list[str]]:
    """The study's store, made or opened; refuses a change to trials that exist."""
    from .store import Store

    notes: list[str] = []
    if (folder / "study.toml").is_file():
        store = Store.open(folder)
        old = load_study(folder)
        rows = store.discard_unstarted(_wanted(study, store.rows(), files))
        different = planning.changed(study, rows, files, higher_is_better(study))
        if different:
            shown = different[:12] + ([f"… and {len(different) - 12} more"] if len(different) > 12 else [])
            raise ConfigError(
                [f"the study in {str(folder)!r} has trials that this request would change:"]
                + [f"  {line}" for line in shown]
                + ["take the old settings, or begin another study beside it: --fork NAME (dp.run(…, fork='NAME'))"]
            )
        notes += change_notes(old, study, sum(r["state"] == "done" for r in rows))
    else:
        store = Store.create(folder)
    import tomli_w

    write_text(folder / "study.toml", tomli_w.dumps(study.to_tables()))
    return store, notes


def _fork(folder: Path, study: Study, name: str, files: Mapping[str, str]) -> tuple[Path, Study]:
    """A new study beside the old one that begins with copies of the finished trials which are the same in both."""
    target, study = folder.parent / name, study.with_(name=name)
    if target.exists() or not (folder / "study.toml").is_file():
        return target, study
    copy_finished(folder, target, study, files)
    return target, study


def copy_finished(folder: Path, target: Path, study: Study, files: Mapping[str, str]) -> None:
    """Begin `study` in a new folder, `target`, with copies of the finished trials of `folder` that it has too."""
    from .store import Store

    rows = Store.open(folder).rows()
    # Without the fresh replicates of a race, whose leader is chosen anew here; they are kept where it is the same.
    chosen_anew = [row for row in rows if row["phase"] != "confirm"]
    wanted = {t.id: t.epochs for t in planning.wanted_trials(study, chosen_anew, files, higher_is_better(study))}
    store = Store.create(target)
    for row in rows:
        asked = wanted.get(row["id"])
        if row["id"] in wanted and row["state"] == "done" and (asked is None or (row["epochs"] or 0) <= asked):
            shutil.copytree(folder / "trials" / row["id"], target / "trials" / row["id"])
    if (folder / pretrained.FOLDER).is_dir():
        shutil.copytree(folder / pretrained.FOLDER, target / pretrained.FOLDER)
    store.rebuild()
    study.save(target / "study.toml")
