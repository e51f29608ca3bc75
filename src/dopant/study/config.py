"""The study: one value that holds the whole question, and its TOML file. Every problem of a request is told at once."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from .. import designs, local, registry
from ..errors import ConfigError, hint, nearest
from ..explain import explain, is_branch
from ..recipe import Recipe
from . import problems as found_problems
from .decided import AnalysisTable, resolved
from .named import as_named as as_named
from .named import called as called
from .search import Tuning as Tuning
from .tables import KNOWN, Controls, Named
from .tables import StudyTable as StudyTable
from .tables import Tables as Tables


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
                raise ConfigError(list(explain(error, KNOWN, "analysis."))) from None
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
        return found_problems.problems(self)

    @property
    def tunes_itself(self) -> str | None:
        """How the task tunes every arm alike, in a sentence; None where it does not by itself."""
        return registry.tasks.get(self.task_name).tunes if self.task_name in registry.tasks else None

    def slots(self) -> list[str]:
        """Every slot that the design fills somewhere, groups taken apart, in alphabetical order."""
        return sorted({name for filling in self.design.fillings() for name in filling.slot.split("+")})

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
        problems = list(explain(error, KNOWN))
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
