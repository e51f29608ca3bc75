"""The study: one value that holds the whole question, and its TOML file. Every problem of a request is told at once."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from .. import designs, local, pretrained, registry
from ..errors import ConfigError, DopantError, UnknownName, hint, nearest
from ..explain import explain, is_branch
from ..recipe import Recipe, RecipeTable
from .decided import AnalysisTable, resolved
from .search import Tuning as Tuning
from .trial import canonical

Named = str | dict[str, Any]
Controls = bool | Literal["all", "declared"] | list[str] | dict[str, list[str]]


class StudyTable(BaseModel):
    """`[study]`, as written in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0)
    replicates: int = Field(10, ge=1)
    task: Named = "supervised"
    data: Named | None = None
    host: Named | None = None
    controls: Controls = True
    margin: float | None = Field(None, gt=0, allow_inf_nan=False)
    protocol: Literal["published"] | None = None
    metric: str | None = None
    baselines: list[Named] = Field(default_factory=list)
    unbuildable: dict[str, str] = Field(default_factory=dict)
    step_flops: dict[str, float] = Field(default_factory=dict)
    folds: int | None = Field(None, ge=2)


_of_kinds: dict[str, Any] = {key: (annotation | None, None) for key, annotation in designs.key_types().items()}
_KeysOfDesigns: Any = create_model(
    "_KeysOfDesigns", __config__=ConfigDict(extra="forbid", frozen=True), kind=(str, "ladder"), **_of_kinds
)


class DesignTable(_KeysOfDesigns):
    """`[design]`: kind, and what that kind takes: each class of design brings its keys."""

    kind: str = "ladder"


class Tables(BaseModel):
    """The tables of a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: StudyTable = Field(default_factory=lambda: StudyTable.model_validate({}))
    recipe: RecipeTable = Field(default_factory=lambda: RecipeTable.model_validate({}))
    design: DesignTable = DesignTable()
    tuning: Tuning | None = None
    analysis: AnalysisTable = AnalysisTable()


@dataclass(frozen=True)
class Study:
    """Task, data, host, design, controls, recipe, replicates: the whole question.

    design: dp.Ladder(…), dp.Factorial(…), dp.OneAtATime(…), dp.Placement(…), dp.Race(…) or dp.Mixing(…); it holds the
    host. task, data: a registered name or {"name": …, options};
    data may also be a dp.Dataset's source, arrays (inputs, targets), or None for a task that brings its own.
    controls: True or "all" (what the components declare, and what is made for any component; docs/controls.md),
    "declared", False, names, or {slot: names}.
    margin: the smallest difference that matters, in the metric's unit; written down before the run, it is what
    equivalence is judged by. protocol: None (test set read once per trial) or "published" (train on everything, read
    it every epoch, said on the page). metric: the primary one, else the task's. baselines: whole other models on the
    same splits, such as "logistic-regression". unbuildable: filled in by dp.run, which control cells do not fit their
    slots and why. step_flops: filled in by dp.run where recipe.budget is "cost", FLOPs a sample of a training step.
    folds: every so many replicates are one repetition of cross-validation with as many folds, where there is no
    official test set. analysis: {"confirm": fresh replicates for the leader of a race}.
    """

    design: designs.Design
    task: Named = "supervised"
    data: Any = "mnist"
    recipe: Recipe = field(default_factory=lambda: Recipe())
    replicates: int = 10
    seed: int = 0
    controls: Controls = True
    margin: float | None = None
    protocol: str | None = None
    name: str | None = None
    metric: str | None = None
    tuning: Tuning | None = None
    unbuildable: dict[str, str] = field(default_factory=dict)
    baselines: Sequence[Any] = ()
    folds: int | None = None
    analysis: AnalysisTable = field(default_factory=lambda: AnalysisTable())
    step_flops: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.analysis, Mapping):
            try:
                object.__setattr__(self, "analysis", AnalysisTable(**self.analysis))
            except ValidationError as error:
                raise ConfigError(list(explain(error, _KNOWN, "analysis."))) from None
        if "loss" not in self.recipe.model_fields_set and self.task_name in registry.tasks:
            loss = registry.tasks.get(self.task_name).loss
            if loss is not None:
                object.__setattr__(self, "recipe", self.recipe.model_copy(update={"loss": loss}))

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """The study of a TOML file. ConfigError names the file and every problem in it."""
        tables = read_toml(path)
        problems = references(tables)
        if problems:
            raise ConfigError([f"{path}: {p}" for p in problems])
        return from_tables(tables, where=str(path))

    def save(self, path: str | Path) -> None:
        """Write the complete study as TOML."""
        Path(path).write_text(tomli_w.dumps(self.to_tables()), encoding="utf-8")

    def to_tables(self) -> dict[str, Any]:
        """The study as the tables of its file, complete."""
        host = as_named(self.design.host, "host")
        study = {
            "name": self.name, "seed": self.seed, "replicates": self.replicates, "task": self.task,
            "data": None if self.data is None else as_named(self.data, "data"), "host": host,
            "controls": self.controls, "margin": self.margin, "protocol": self.protocol, "metric": self.metric,
            "baselines": [b if isinstance(b, str) else as_named(b, "baselines") for b in self.baselines] or None,
            "unbuildable": self.unbuildable or None, "step_flops": self.step_flops or None, "folds": self.folds,
        }  # fmt: skip
        tables = {
            "study": {k: v for k, v in study.items() if v is not None},
            "recipe": self.recipe.to_config(),
            "design": self.design.to_config(),
        }
        if self.tuning:
            tables["tuning"] = self.tuning.to_config()
        return tables | {"analysis": resolved(self)}

    def problems(self) -> list[str]:
        """What can be seen to be wrong without building anything: names and options, all of them."""
        from . import budget, tuning

        found = self.recipe.problems()
        found += _known("study.task", registry.tasks, self.task)
        if self.data is not None and not isinstance(self.data, dict | str):
            pass  # an object of this process
        elif self.data is not None:
            found += _known("study.data", registry.datasets, self.data)
        host = as_named(self.design.host, "host")
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
        found += self._regime_problems()
        found += self._host_and_task_problems() + self._task_problems()
        for filling in self.design.fillings():
            found += _known(filling.path, registry.components, filling.spec["component"], options=False)
        found += self.design.problems()
        found += [] if found else self._recipe_problems() or self._gain_problems(checkpoint is not None)
        if not isinstance(self.baselines, (list, tuple)) or not all(
            isinstance(b, str) or (isinstance(b, Mapping) and isinstance(b.get("name"), str)) for b in self.baselines
        ):
            return [
                *found,
                f"study.baselines: a list of names or tables with 'name' is expected, not {self.baselines!r}",
            ]
        for baseline in self.baselines:
            wrong = _known("study.baselines", registry.baselines, baseline)
            found += wrong or _unbuildable(baseline)
        if len({canonical(as_named(b, "baselines")) for b in self.baselines}) < len(self.baselines):
            found.append("study.baselines: the same baseline is there twice")
        elif len({called(b) for b in self.baselines}) < len(self.baselines):
            found.append(
                "study.baselines: two are called alike; a factory is called by its __name__, an estimator by its "
                "class: write a named function that returns it"
            )
        if self.baselines and not self.batched:
            found.append(f"study.baselines: are of tasks that train on batches, and {self.task_name!r} is none")
        if isinstance(self.controls, str) and self.controls not in ("all", "declared"):
            found.append(
                f"study.controls: {self.controls!r} is not known; say true, false, 'all', 'declared', or give a list "
                f"of names: [{self.controls!r}]"
            )
        elif isinstance(self.controls, list):
            for control in self.controls:
                found += _known("study.controls", registry.components, control, options=False)
        elif isinstance(self.controls, dict):
            slots = [filling.slot for filling in self.design.fillings()]
            for slot, names in self.controls.items():
                if slot not in slots and not getattr(self.design, "unsettled", False):
                    found.append(f"study.controls: no level swaps the slot {slot!r}" + hint(nearest(slot, slots)))
                for control in names:
                    found += _known(f"study.controls.{slot}", registry.components, control, options=False)
        if self.metric is not None:
            found += self._metric_problems()
        found += budget.problems(self)
        found += tuning.problems(self, whole=not found)
        if self.tuning and self.protocol == "published":
            found.append("study.protocol: 'published' leaves no validation split, so [tuning] has nothing to choose by")
        for key, least in (("replicates", 1), ("seed", 0)):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                found.append(f"study.{key}: {value!r} is no whole number from {least} on")
        if self.protocol not in (None, "published"):
            found.append(f"study.protocol: {self.protocol!r} is not known; leave it out, or say 'published'")
        found += self._folds_problems()
        if self.margin is not None and not self.margin > 0:
            found.append(f"study.margin: {self.margin!r} is not a positive number")
        return found

    def _folds_problems(self) -> list[str]:
        """Whole repetitions only: otherwise some items would be tested more often than others."""
        k = self.folds
        if k is None:
            return []
        if isinstance(k, bool) or not isinstance(k, int) or k < 2:
            return [f"study.folds: {k!r} is no whole number from 2 on"]
        counts = {"study.replicates": self.replicates, "analysis.confirm": self.analysis.confirm or 0}
        found = [
            f"{key}: {n} is no multiple of study.folds = {k}; take {-(-n // k) * k}"
            for key, n in counts.items()
            if n % k
        ]
        if self.protocol is not None:
            found.append(f"study.folds: protocol = {self.protocol!r} tests on the official test set; nothing is folded")
        return found

    def _regime_problems(self) -> list[str]:
        """A regime needs dopant's own loop; distilling needs slots that keep their shapes."""
        regime = self.recipe.regime
        if regime == "all":
            return []
        found = []
        if not self.batched:
            found.append(
                f"recipe.regime: {regime!r} is of tasks that train on batches, and {self.task_name!r} is none; a loop "
                "of your own freezes and distils by itself"
            )
        specs = [(filling.slot, filling.spec) for filling in self.design.fillings()]
        for slot, spec in specs if regime == "distil" else []:
            name = spec["component"]
            if name in registry.components and registry.components.get(name).facts.get("changes_shape"):
                found.append(
                    f"recipe.regime: {name!r} changes the shapes between its slots {slot!r}, so the old modules' "
                    "outputs cannot be imitated; take regime = 'all'"
                )
        return found

    def _gain_problems(self, trained: bool) -> list[str]:
        """An initial gain is of fresh weights in slots."""
        own = self.recipe.initial_gain != 1 or any("initial_gain" in cell.recipe for cell in self.design.cells(False))
        searched = self.tuning is not None and "gain" in (self.tuning.search or {})
        if not own and not searched:
            return []
        where, found = "recipe.initial_gain" if own else "tuning.search.gain", []
        if trained:
            found.append(f"{where}: it scales fresh weights, and the host starts from a checkpoint")
        if self.recipe.regime == "distil":
            found.append(f"{where}: distilling replaces what a component starts from; take regime = 'all' or 'freeze'")
        return found

    def _host_and_task_problems(self) -> list[str]:
        """A host that one task fits wants that task, and the task that host; what tunes by itself no [tuning]."""
        if self.task_name not in registry.tasks:
            return []
        task, host = registry.tasks.get(self.task_name), as_named(self.design.host, "host")["name"]
        found = []
        owner = next((t for t in registry.tasks if t.host == host), None)
        if owner is not None and owner.name != task.name:
            found.append(f"study.task: the host {host!r} is fitted by the task {owner.name!r}, not {task.name!r}")
        if task.host is not None and host in registry.hosts and host != task.host:
            found.append(f"study.host: the task {task.name!r} fits the host {task.host!r}, not {host!r}")
        if task.tunes is not None and self.tuning is not None:
            found.append(f"tuning: the task {task.name!r} tunes every arm by itself; leave [tuning] out")
        return found

    def _task_problems(self) -> list[str]:
        """What the task objects to in its options and in the loss."""
        from ..training.parts import CLASSIFICATION

        if self.task_name not in registry.tasks:
            return []
        task, options = registry.tasks.get(self.task_name), as_named(self.task, "task")
        found = [f"study.task: {p}" for p in task.options_problems({k: v for k, v in options.items() if k != "name"})]
        if task.loss is not None and self.recipe.loss in CLASSIFICATION:
            found.append(
                f"recipe.loss: {self.recipe.loss!r} tells classes apart, and the task {task.name!r} compares values; "
                f"take {task.loss!r}, or leave it out"
            )
        return found

    @property
    def tunes_itself(self) -> str | None:
        """How the task tunes every arm alike, in a sentence; None where it does not by itself."""
        return registry.tasks.get(self.task_name).tunes if self.task_name in registry.tasks else None

    def slots(self) -> list[str]:
        """Every slot that the design fills somewhere, groups taken apart, in alphabetical order."""
        return sorted({name for filling in self.design.fillings() for name in filling.slot.split("+")})

    def _recipe_problems(self) -> list[str]:
        """What cells would change in the recipe that it cannot be."""
        found: dict[str, None] = {}
        changes = {canonical(cell.recipe): cell.recipe for cell in self.design.cells(False) if cell.recipe}
        for changed in changes.values():
            try:
                Recipe(**{**self.recipe.to_config(), **changed})
            except ConfigError as error:
                found |= dict.fromkeys(f"design.factors: {problem}" for problem in error.problems)
        return list(found)

    def _metric_problems(self) -> list[str]:
        """The metric of a study that trains on batches must be known, and measured."""
        from ..training.parts import default_metrics

        if not self.batched:
            return []
        found = _known("study.metric", registry.metrics, self.metric)
        measured = default_metrics(self.recipe)
        if not found and self.metric not in measured:
            found.append(
                f"study.metric: {self.metric!r} is not measured; add it: recipe.metrics = {[self.metric, *measured]}"
            )
        return found

    def references(self) -> list[str]:
        """The code that the study names, `module:callable`: its host, its own training loop."""
        named = [as_named(self.design.host, "host")["name"], as_named(self.task, "task").get("train")]
        return [name for name in named if registry.names_code(name) and not local.is_local(name)]

    @property
    def batched(self) -> bool:
        """Whether the task trains networks on batches by the recipe."""
        return self.task_name in registry.tasks and registry.tasks.get(self.task_name).batched

    @property
    def task_name(self) -> str:
        return as_named(self.task, "task")["name"]

    @property
    def primary_metric(self) -> str:
        """The metric that verdicts speak of, without its prefix."""
        from ..training.parts import default_metrics

        if self.metric:
            return self.metric
        return registry.tasks.get(self.task_name).metric or default_metrics(self.recipe)[0]

    def with_(self, **changes: Any) -> Study:
        """A study with some fields changed."""
        return replace(self, **changes)


def as_named(value: Any, kind: str) -> dict[str, Any]:
    """A name or table in the form {"name": …, options}; an object of this process gets a `local:` name."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping):
        if not isinstance(value.get("name"), str):
            raise ConfigError(f"study.{kind}: a table needs the key 'name'")
        return dict(value)
    label = getattr(value, "__name__", None) or getattr(value, "name", None) or type(value).__name__
    return {"name": local.register(str(label), value)}


def called(baseline: Any) -> str:
    """What a baseline is called: its name and options."""
    spec = as_named(baseline, "baselines")
    options = ",".join(f"{key}={value}" for key, value in spec.items() if key != "name")
    return local.label(spec["name"]) + (f":{options}" if options else "")


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


# --- reading --------------------------------------------------------------------------------------------------------


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file; ConfigError for a missing file or wrong syntax, with line and column."""
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        beside = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise ConfigError(f"there is no file {str(path)!r}" + hint(nearest(path.name, beside))) from None
    except IsADirectoryError:
        raise ConfigError(f"{str(path)!r} is a folder; name the file, such as {str(path / 'study.toml')!r}") from None
    except (PermissionError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def references(tables: Mapping[str, Any]) -> list[str]:
    """Problems with a file that names code (`module:callable`): opening somebody's study must not run theirs."""
    study = tables.get("study")
    study = study if isinstance(study, Mapping) else {}
    named = {"host": study.get("host"), "task": study.get("task")}
    values = [(f"study.{k}", v.get("name") if isinstance(v, Mapping) else v) for k, v in named.items()]
    if isinstance(study.get("task"), Mapping):
        values.append(("study.task.train", study["task"].get("train")))
    return [
        f"{path}: {value!r} names code, which a file must not; give it on the command line (--host MODULE:CALLABLE) or "
        "from Python"
        for path, value in values
        if registry.names_code(value)
    ]


def from_tables(raw: Mapping[str, Any], where: str = "") -> Study:
    """The study that tables describe. ConfigError with every problem, each by its dotted path."""
    prefix = f"{where}: " if where else ""
    try:
        tables = Tables.model_validate(raw)
    except ValidationError as error:
        problems = list(explain(error, _KNOWN))
        try:  # what else is wrong with the rest of it
            problems += from_tables(_without(raw, error)).problems()
        except ConfigError as more:
            problems += more.problems
        raise ConfigError([prefix + p for p in dict.fromkeys(problems)]) from None
    study, recipe = tables.study, Recipe.model_construct(tables.recipe.model_fields_set, **dict(tables.recipe))
    host = study.host if study.host is not None else _host_of_task(study.task)
    try:
        if host is None:
            raise ConfigError("study.host: name a host, such as host = 'creep-cnn'")
        design = designs.from_config(host, tables.design.model_dump(exclude_unset=True))
    except ConfigError as error:
        problems = list(error.problems)
        if study.host is not None and tables.design.kind not in designs.KINDS:  # what else is wrong, were it a ladder
            try:
                set_ = tables.design.model_dump(exclude_none=True)
                kept = {k: v for k, v in set_.items() if k in designs.KEYS["ladder"]}
                problems += from_tables({**raw, "design": {**kept, "kind": "ladder"}}).problems()
            except ConfigError as more:
                problems += more.problems
        raise ConfigError([prefix + p for p in problems]) from None
    return Study(
        design, study.task, study.data, recipe, study.replicates, study.seed, study.controls, study.margin,
        study.protocol, study.name or (Path(where).stem if where else None), study.metric, tables.tuning,
        dict(study.unbuildable), tuple(study.baselines), study.folds, AnalysisTable(confirm=tables.analysis.confirm),
        dict(study.step_flops),
    )  # fmt: skip


def _host_of_task(task: Any) -> str | None:
    """The host of a task that fits one kind only; None for others, and for tasks that are not known."""
    name = task.get("name") if isinstance(task, dict) else task
    return registry.tasks.get(name).host if isinstance(name, str) and name in registry.tasks else None


def complete_pair(study: dict[str, Any]) -> None:
    """Of a `[study]` table that the command line began, in place: the task that fits the host which was named, or the
    host that the task fits, or `creep-cnn`."""
    host = study.get("host")
    name = host.get("name") if isinstance(host, dict) else host
    if name is None:  # options may have been set before the name is known
        name = _host_of_task(study.get("task")) or "creep-cnn"
        study["host"] = {"name": name, **host} if host else name
    elif "task" not in study:
        owner = next((task.name for task in registry.tasks if task.host is not None and task.host == name), None)
        study |= {"task": owner} if owner else {}


_KNOWN = {
    (): list(Tables.model_fields),
    ("study",): list(StudyTable.model_fields),
    ("recipe",): list(Recipe.model_fields),
    ("design",): list(DesignTable.model_fields),
    ("tuning",): list(Tuning.model_fields),
    ("analysis",): list(AnalysisTable.model_fields),
}


def _without(raw: Mapping[str, Any], error: ValidationError) -> dict[str, Any]:
    """The tables less every key that `error` complains of, so that the rest can be looked at too."""
    pruned = copy.deepcopy(dict(raw))
    for item in error.errors():
        location = [part for part in item["loc"] if not is_branch(part)]
        table: Any = pruned
        for part in location[:-1]:
            table = table.get(part) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table.pop(location[-1], None)
        else:
            pruned.pop(str(location[0]), None)
    return pruned
