"""What can be seen to be wrong with a study without building anything: names, options, and what goes ill together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import local, pretrained, registry
from ..errors import ConfigError, DopantError, UnknownName, hint, nearest
from ..recipe import Recipe
from .named import as_named, called
from .trial import canonical

if TYPE_CHECKING:
    from .config import Study


def problems(study: Study) -> list[str]:
    """What can be seen to be wrong without building anything: names and options, all of them."""
    from . import budget, tuning

    found = study.recipe.problems()
    found += _known("study.task", registry.tasks, study.task)
    if study.data is not None and not isinstance(study.data, dict | str):
        pass  # an object of this process
    elif study.data is not None:
        found += _known("study.data", registry.datasets, study.data)
    host = as_named(study.design.host, "host")
    checkpoint = host.pop("checkpoint", None)
    if checkpoint is not None:
        try:
            pretrained.spec_of(checkpoint)
        except ConfigError as error:
            found += error.problems
    if ":" not in host["name"]:
        found += _known("study.host", registry.hosts, host)
    elif not registry.names_code(host["name"]):
        try:
            registry.built_by(host["name"])
        except DopantError as error:
            found.append(f"study.host: {error}")
    found += _regime_problems(study)
    found += _host_and_task_problems(study) + _task_problems(study)
    for filling in study.design.fillings():
        found += _known(filling.path, registry.components, filling.spec["component"], options=False)
    found += study.design.problems()
    found += [] if found else _recipe_problems(study) or _gain_problems(study, checkpoint is not None)
    if not isinstance(study.baselines, (list, tuple)) or not all(
        isinstance(b, str) or (isinstance(b, Mapping) and isinstance(b.get("name"), str)) for b in study.baselines
    ):
        return [
            *found,
            f"study.baselines: a list of names or tables with 'name' is expected, not {study.baselines!r}",
        ]
    for baseline in study.baselines:
        wrong = _known("study.baselines", registry.baselines, baseline)
        found += wrong or _unbuildable(baseline)
    if len({canonical(as_named(b, "baselines")) for b in study.baselines}) < len(study.baselines):
        found.append("study.baselines: the same baseline is there twice")
    elif len({called(b) for b in study.baselines}) < len(study.baselines):
        found.append(
            "study.baselines: two are called alike; a factory is called by its __name__, an estimator by its "
            "class: write a named function that returns it"
        )
    if study.baselines and not study.batched:
        found.append(f"study.baselines: are of tasks that train on batches, and {study.task_name!r} is none")
    if isinstance(study.controls, str) and study.controls not in ("all", "declared"):
        found.append(
            f"study.controls: {study.controls!r} is not known; say true, false, 'all', 'declared', or give a list "
            f"of names: [{study.controls!r}]"
        )
    elif isinstance(study.controls, list):
        for control in study.controls:
            found += _known("study.controls", registry.components, control, options=False)
    elif isinstance(study.controls, dict):
        slots = [filling.slot for filling in study.design.fillings()]
        for slot, names in study.controls.items():
            if slot not in slots and not getattr(study.design, "unsettled", False):
                found.append(f"study.controls: no level swaps the slot {slot!r}" + hint(nearest(slot, slots)))
            for control in names:
                found += _known(f"study.controls.{slot}", registry.components, control, options=False)
    if study.metric is not None:
        found += _metric_problems(study)
    found += budget.problems(study)
    found += tuning.problems(study, whole=not found)
    if study.tuning and study.protocol == "published":
        found.append("study.protocol: 'published' leaves no validation split, so [tuning] has nothing to choose by")
    for key, least in (("replicates", 1), ("seed", 0)):
        value = getattr(study, key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            found.append(f"study.{key}: {value!r} is no whole number from {least} on")
    if study.protocol not in (None, "published"):
        found.append(f"study.protocol: {study.protocol!r} is not known; leave it out, or say 'published'")
    found += _folds_problems(study)
    if study.margin is not None and not study.margin > 0:
        found.append(f"study.margin: {study.margin!r} is not a positive number")
    return found


def _folds_problems(study: Study) -> list[str]:
    """Whole repetitions only: otherwise some items would be tested more often than others."""
    k = study.folds
    if k is None:
        return []
    if isinstance(k, bool) or not isinstance(k, int) or k < 2:
        return [f"study.folds: {k!r} is no whole number from 2 on"]
    counts = {"study.replicates": study.replicates, "analysis.confirm": study.analysis.confirm or 0}
    found = [
        f"{key}: {n} is no multiple of study.folds = {k}; take {-(-n // k) * k}" for key, n in counts.items() if n % k
    ]
    if study.protocol is not None:
        found.append(f"study.folds: protocol = {study.protocol!r} tests on the official test set; nothing is folded")
    return found


def _regime_problems(study: Study) -> list[str]:
    """A regime needs dopant's own loop; distilling needs slots that keep their shapes."""
    regime = study.recipe.regime
    if regime == "all":
        return []
    found = []
    if not study.batched:
        found.append(
            f"recipe.regime: {regime!r} is of tasks that train on batches, and {study.task_name!r} is none; a loop "
            "of your own freezes and distils by itself"
        )
    specs = [(filling.slot, filling.spec) for filling in study.design.fillings()]
    for slot, spec in specs if regime == "distil" else []:
        name = spec["component"]
        if name in registry.components and registry.components.get(name).facts.get("changes_shape"):
            found.append(
                f"recipe.regime: {name!r} changes the shapes between its slots {slot!r}, so the old modules' "
                "outputs cannot be imitated; take regime = 'all'"
            )
    return found


def _gain_problems(study: Study, trained: bool) -> list[str]:
    """An initial gain is of fresh weights in slots."""
    own = study.recipe.initial_gain != 1 or any("initial_gain" in cell.recipe for cell in study.design.cells(False))
    searched = study.tuning is not None and "gain" in (study.tuning.search or {})
    if not own and not searched:
        return []
    where, found = "recipe.initial_gain" if own else "tuning.search.gain", []
    if trained:
        found.append(f"{where}: it scales fresh weights, and the host starts from a checkpoint")
    if study.recipe.regime == "distil":
        found.append(f"{where}: distilling replaces what a component starts from; take regime = 'all' or 'freeze'")
    return found


def _host_and_task_problems(study: Study) -> list[str]:
    """A host that one task fits wants that task, and the task that host; what tunes by itself no [tuning]."""
    if study.task_name not in registry.tasks:
        return []
    task, host = registry.tasks.get(study.task_name), as_named(study.design.host, "host")["name"]
    found = []
    owner = next((t for t in registry.tasks if t.host == host), None)
    if owner is not None and owner.name != task.name:
        found.append(f"study.task: the host {host!r} is fitted by the task {owner.name!r}, not {task.name!r}")
    if task.host is not None and host in registry.hosts and host != task.host:
        found.append(f"study.host: the task {task.name!r} fits the host {task.host!r}, not {host!r}")
    if task.tunes is not None and study.tuning is not None:
        found.append(f"tuning: the task {task.name!r} tunes every arm by itself; leave [tuning] out")
    return found


def _task_problems(study: Study) -> list[str]:
    """What the task objects to in its options and in the loss."""
    from ..training.parts import CLASSIFICATION

    if study.task_name not in registry.tasks:
        return []
    task, options = registry.tasks.get(study.task_name), as_named(study.task, "task")
    found = [f"study.task: {p}" for p in task.options_problems({k: v for k, v in options.items() if k != "name"})]
    if task.loss is not None and study.recipe.loss in CLASSIFICATION:
        found.append(
            f"recipe.loss: {study.recipe.loss!r} tells classes apart, and the task {task.name!r} compares values; "
            f"take {task.loss!r}, or leave it out"
        )
    return found


def _recipe_problems(study: Study) -> list[str]:
    """What cells would change in the recipe that it cannot be."""
    found: dict[str, None] = {}
    changes = {canonical(cell.recipe): cell.recipe for cell in study.design.cells(False) if cell.recipe}
    for changed in changes.values():
        try:
            Recipe(**{**study.recipe.to_config(), **changed})
        except ConfigError as error:
            found |= dict.fromkeys(f"design.factors: {problem}" for problem in error.problems)
    return list(found)


def _metric_problems(study: Study) -> list[str]:
    """The metric of a study that trains on batches must be known, and measured."""
    from ..training.parts import default_metrics

    if not study.batched:
        return []
    found = _known("study.metric", registry.metrics, study.metric)
    measured = default_metrics(study.recipe)
    if not found and study.metric not in measured:
        found.append(
            f"study.metric: {study.metric!r} is not measured; add it: recipe.metrics = {[study.metric, *measured]}"
        )
    return found


def _unbuildable(baseline: Any) -> list[str]:
    """Why a baseline that is known and whose options fit cannot be made."""
    from ..baselines.estimator import build

    spec = as_named(baseline, "baselines")
    try:
        build(spec.pop("name"), spec)
    except ConfigError as error:
        return [f"study.baselines: {problem}" for problem in error.problems]
    except Exception as error:
        return [f"study.baselines: {baseline!r} cannot be made: {type(error).__name__}: {error}"]
    return []


def _known(path: str, names: registry.Registry, value: Any, options: bool = True) -> list[str]:
    spec = as_named(value, path)
    name = spec.pop("name")
    if local.is_local(name):
        return []
    try:
        target = names.get(name)
    except UnknownName as error:
        return [f"{path}: {error}"]
    if not options or not callable(target):
        return []
    if names is registry.datasets:
        for option in ("limit", "test_limit"):  # every data set takes them
            spec.pop(option, None)
    return [f"{path}: {p}" for p in registry.check_options(names.kind, name, target, spec, 0)]
