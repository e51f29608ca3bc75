"""The answer of a study, read from its folder: tables, effects, networks. Nothing is kept elsewhere."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import designs, local, registry
from ..errors import ConfigError, StoreError, UnknownName, hint, nearest
from . import estimands, race, sensitivity, shapley
from . import plan as planning
from .answer import Answer, write_text
from .config import Study, from_tables, read_toml
from .notes import notes_of
from .scored import failure_value_in, metric_of
from .scored import higher_is_better_of as higher_is_better_of
from .scored import status_of as status_of
from .store import Store
from .tuned import best_of_k, searched_settings, tuning_summary

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


PLACES = ("trial", "cell", "level", "replicate", "status", "attempts", "reason", "lr")  # columns that are no result


class StudyAnswer(Answer):
    """The answer of a study's folder. Made by `dp.run` and `dp.load`; unfinished studies answer with what they have.

    tuning: the trials that chose among candidates, as `trials`; confirming: those that run a race's leader again.
    store: the folder's store.
    """

    folder: Path

    def __init__(self, folder: str | Path, study: Study | None = None):
        self.folder = Path(folder)
        self.store = Store.open(self.folder)
        self.config = study or load_study(self.folder)
        self.study: dict[str, Any] = read_toml(self.folder / "study.toml")
        self.name: str = self.study["study"].get("name") or self.folder.name

    # --- tables -----------------------------------------------------------------------------------------------------

    @functools.cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The store's rows of trials that belong to the study as it is now; one for each cell that a trial answers
        for."""
        return [dict(row) for row in race.spread_out(self.store.rows())]

    @functools.cached_property
    def trials(self) -> pd.DataFrame:
        return self._table("main")

    @functools.cached_property
    def tuning(self) -> pd.DataFrame:
        return self._table("tuning")

    @functools.cached_property
    def tuning_summary(self) -> pd.DataFrame:
        """One row per tuned arm: what it chose, and what lies on the edge of the search; see `dopant.study.tuned`."""
        return tuning_summary(self)

    @functools.cached_property
    def best_of_k(self) -> pd.DataFrame:
        """The validation score that each arm's best of k draws is expected to have; see `dopant.study.tuned`."""
        return best_of_k(self)

    @functools.cached_property
    def confirming(self) -> pd.DataFrame:
        """The trials of a race's leader, its reference and its controls on fresh replicates, as `trials`."""
        return self._table(race.PHASE)

    def _table(self, phase: str) -> pd.DataFrame:
        import pandas as pd

        records = [
            {
                "trial": row["id"], "cell": row["cell"], "level": row["level"], "replicate": row["replicate"],
                "status": row["state"], "attempts": row["attempts"], "reason": row["reason"],
                "lr": row["description"]["recipe"].get("lr"), **searched_settings(self.config, row),
                **(row["metrics"] or {}),
            }
            for row in self.rows
            if row["phase"] == phase
        ]  # fmt: skip
        table = pd.DataFrame(records, columns=None if records else list(PLACES))
        order = {cell.name: i for i, cell in enumerate(self.cells)}
        return table.sort_values(
            ["cell", "replicate"], key=lambda c: c.map(order) if c.name == "cell" else c, kind="stable"
        ).reset_index(drop=True)

    @functools.cached_property
    def _said(self) -> dict[str, str]:
        return {row["id"]: status_of(row) for row in self.rows}

    def lost(self, trial: str) -> bool:
        """Whether a failed trial says nothing of its cell; see `status_of`."""
        return self._said[trial] == "lost"

    @functools.cached_property
    def failures(self) -> list[str]:
        """One line per failed trial: cell, replicate, what is known, the folder that has the rest."""
        lines = []
        for row in self.store.rows():
            if row["state"] == "failed":
                detail = str((self.store.failure(row["id"]) or {}).get("detail") or "").strip().splitlines()
                where = f"trials/{row['id']}" if len(detail) > 1 else ""
                said = detail[-1] if detail else str(row["reason"])
                lines.append(f"{row['cell']}, replicate {row['replicate']}: {said}" + (f" ({where})" if where else ""))
        return lines

    @functools.cached_property
    def metrics(self) -> pd.DataFrame:
        import pandas as pd

        known: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            if row["phase"] == "main":
                known.setdefault(row["id"], []).append(row)
        records = [
            {
                **m, "cell": row["cell"], "level": row["level"],
            }
            for m in self.store.metrics()
            for row in known.get(m["trial"], ())
        ]  # fmt: skip
        return pd.DataFrame(records, columns=None if records else ["trial", "cell", "level", "replicate", "epoch"])

    @functools.cached_property
    def cells(self) -> list[designs.Cell]:
        return planning.cells(self.config)

    @functools.cached_property
    def contrasts(self) -> list[designs.Contrast]:
        return planning.contrasts(self.config)

    @property
    def counts(self) -> dict[str, int]:
        """planned (by the whole study), pending, running, done, failed."""
        return whole_counts(self.config, self.store.counts(), self.store.rows())

    @functools.cached_property
    def costs(self) -> pd.DataFrame:
        """One row per cell: means over its finished trials."""
        table = self.trials[self.trials["status"] == "done"]
        names = [c for c in table.columns if c.startswith("cost_") and table[c].dtype.kind in "biuf"]
        costs: Any = table.groupby("cell", sort=False)[
            [*names, *[c for c in ("seconds", "steps") if c in table]]
        ].mean()
        costs.columns = [c.removeprefix("cost_") for c in costs.columns]
        if "seconds" in costs and "steps" in costs:
            costs["seconds_per_step"] = costs["seconds"] / costs["steps"].clip(lower=1)
        return costs.reset_index()

    @functools.cached_property
    def dimensions(self) -> pd.DataFrame:
        """One row per cell and swapped slot: trainable numbers and effective dimension as it starts, the fields of
        `DimensionProbe`; of the first replicate that has them."""
        import pandas as pd

        from ..evaluation.dimension_probe import DimensionProbe, of_metrics

        found: dict[str, list[dict[str, Any]]] = {}
        for row in sorted(self.rows, key=lambda r: r["replicate"]):
            probes = of_metrics(row["metrics"] or {}) if row["phase"] == "main" else []
            if probes:
                found.setdefault(row["cell"], [{"cell": row["cell"]} | p.to_json() for p in probes])
        records = [record for cell in self.cells for record in found.get(cell.name, [])]
        return pd.DataFrame(records, columns=["cell", *DimensionProbe.__dataclass_fields__])

    @functools.cached_property
    def gradients(self) -> pd.DataFrame:
        """One row per cell and circuit in it: its gradients at random starts, `GradientProbe`'s fields and ratio.

        Of the first replicate that has them, and empty where no network holds a `CircuitLayer`.
        """
        import pandas as pd

        from ..evaluation.gradient_probe import GradientProbe, of_metrics

        found: dict[str, list[dict[str, Any]]] = {}
        order = {cell.name: i for i, cell in enumerate(self.cells)}
        for row in sorted(self.rows, key=lambda r: (order.get(r["cell"], len(order)), r["replicate"])):
            probes = of_metrics(row["metrics"] or {}) if row["phase"] == "main" else []
            if row["cell"] not in found and probes:
                found[row["cell"]] = [{"cell": row["cell"]} | p.to_json() for p in probes]
        records = [record for records in found.values() for record in records]
        return pd.DataFrame(records, columns=["cell", *GradientProbe.__dataclass_fields__, "ratio"])

    # --- the answer -------------------------------------------------------------------------------------------------

    @functools.cached_property
    def metric(self) -> tuple[str, str, bool]:
        """(name, column of `trials`, whether higher is better) of the primary metric."""
        name, column, higher = metric_of(self.config, self.rows)
        scored = self._done("trial").any() and self.config.task_name == "custom"
        if scored and column not in self.trials:
            known = [c for c in self.trials.columns if not c.startswith("cost_") and c not in PLACES]
            near = hint(nearest(name, known)) or f"; known: {', '.join(known)}"
            raise ConfigError(f"study.metric: no trial has {name!r}{near}")
        return name, column, higher

    @functools.cached_property
    def effects(self) -> pd.DataFrame:
        """Every contrast with its intervals, tests, controls and verdict; see `dopant.study.verdicts`. Where both
        estimands are reported, every contrast under each, the primary one first (column `primary`)."""
        return self._effects()

    @functools.cached_property
    def complete_cases(self) -> pd.DataFrame:
        """`effects` without the pairs of failed trials, of the effects that have some: a sensitivity analysis."""
        return sensitivity.rows_of(self.effects, lambda: self._effects(complete_cases=True))

    def _effects(self, complete_cases: bool = False) -> pd.DataFrame:
        import pandas as pd

        leader = race.leader(self.config, self.rows)
        found = self._judged("main", leader=leader and leader.cell, complete_cases=complete_cases)
        if leader is None or not len(self.confirming):
            return found
        fresh = self._judged(race.PHASE, race.contrast_of(leader), complete_cases=complete_cases)
        return pd.concat([found, fresh], ignore_index=True) if len(fresh) else found

    def _judged(self, phase: str, given: race.Renamed | None = None, **settings: Any) -> pd.DataFrame:
        """The effects by the trials of one phase. given: (contrasts, {cell: how it is named in them}) instead of the
        study's."""
        from . import verdicts

        name, column, higher = self.metric
        called = {cell.name: cell.name for cell in self.cells} if given is None else given[1]
        items = self._items(name, phase)
        settings |= {
            "metric": column, "higher_is_better": higher, "margin": self.config.margin,
            "failure_value": self.failure_value(name), "resplit": self.resplit(),
            "tier": {called[c]: v for c, v in self._tier().items() if c in called},
            "items": None if items is None else {(called[c], r): v for (c, r), v in items.items() if c in called},
            "same_items": self.resplit() is None and not self.fresh_items(),
            "kinds": {
                called[c.name]: registry.components.get(str(c.control)).control
                for c in self.cells if c.name in called and c.control in registry.components
            },
        }  # fmt: skip
        return estimands.effects(self, self._scores(phase, column, called), verdicts.effects, settings, given)

    def _scores(self, phase: str, column: str, called: Mapping[str, str]) -> pd.DataFrame:
        import pandas as pd

        trials: Any = self.trials if phase == "main" else self.confirming
        trials = trials[trials["cell"].isin(list(called))]
        value = trials[column] if column in trials else pd.Series(float("nan"), index=trials.index)
        return pd.DataFrame(
            {
                "arm": trials["cell"].map(dict(called)), "replicate": trials["replicate"],
                "status": [self._said[trial] for trial in trials["trial"]],
                "value": pd.to_numeric(value, errors="coerce"),
            }
        )  # fmt: skip

    @functools.cached_property
    def shapley(self) -> pd.DataFrame:
        """How a factorial's differences are shared among its factors: a description, see `study.shapley`."""
        from .pairs import Scores

        name, column, higher = self.metric
        table = self._scores("main", column, {cell.name: cell.name for cell in self.cells})
        return shapley.of_factorial(self.config.design, Scores.read(table, higher, self.failure_value(name)))

    @functools.cached_property
    def verdicts(self) -> list[str]:
        from . import verdicts

        return verdicts.sentences(self.effects)

    def _done(self, column: str, once: bool = False) -> Any:
        """A column of the finished trials; once: a trial that several cells share one time only."""
        table: Any = self.trials[self.trials["status"] == "done"]
        table = table.drop_duplicates("trial") if once else table
        return table[column].dropna() if column in table else table["trial"].iloc[:0]

    def resplit(self) -> float | None:
        """n_test / n_train where each replicate draws a split of its own."""
        if not len(self._done("resplit")) or not bool(self._done("resplit").iloc[0]):
            return None
        return float((self._done("n_test") / self._done("n_train")).mean())  # folds differ in size by an item

    def fresh_items(self) -> bool:
        """Whether every replicate drew items of its own from a rule."""
        return bool(len(self._done("fresh_items"))) and bool(self._done("fresh_items").iloc[0])

    def failure_value(self, name: str) -> float:
        """What a failed trial scores in the metric `name`: as declared, else 0, or infinity where lower is better; NaN
        where it is not known before a trial has finished."""
        return failure_value_in(name, self.rows)

    def _tier(self) -> dict[str, str]:
        """{cell: tier of evidence}; a cell without a circuit is classical."""
        table = self.trials
        tiers: dict[str, str] = dict.fromkeys(map(str, table["cell"]), "classical")
        if "cost_tier" in table:
            pairs = zip(table["cell"], table["cost_tier"], strict=True)
            tiers |= {str(cell): tier for cell, tier in pairs if isinstance(tier, str)}
        return tiers

    def _items(self, name: str, phase: str = "main") -> dict[tuple[str, int], Any] | None:
        found = {}
        for row in self.rows:
            if row["phase"] == phase and row["state"] == "done":
                items = self.store.items(row["id"])
                if name in items:
                    found[row["cell"], row["replicate"]] = items[name]
        return found or None

    # --- texts ------------------------------------------------------------------------------------------------------

    @property
    def question(self) -> str:
        host, data = self.study["study"]["host"], self.study["study"].get("data")
        names = [v if isinstance(v, str) else v["name"] for v in (host, data) if v]
        names = [n.removeprefix("local:").split("@")[0] for n in names]
        swaps = self.config.design.summary()
        where = f" on {names[1]}" if len(names) > 1 else ""
        what = f"What does {swaps or 'nothing'} do to {names[0]}{where}"
        if not any(cell.role == "control" for cell in self.cells):
            return f"{what}?"
        return f"{what}, and would an ordinary stand-in have done the same?"

    @functools.cached_property
    def provenance(self) -> dict[str, Any]:
        path = self.folder / "provenance.json"
        record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        every = [self._done("test_reads", once=True)]
        fresh: Any = self.confirming
        if "test_reads" in fresh:
            every.append(fresh.loc[fresh["status"] == "done"].drop_duplicates("trial")["test_reads"].dropna())
        reads = [value for part in every for value in part]
        return record | {"test_set_reads": int(sum(reads)) if reads else 0}

    @property
    def preface(self) -> list[Any]:
        """What the page begins with: of a reproduced paper, its numbers beside these as report.preface.Block."""
        from ..papers.preface import blocks_of

        return blocks_of(self)

    @property
    def decided(self) -> dict[str, str]:
        """The analysis as the study's file has it, with the level and the power that it is meant at."""
        table = self.study.get("analysis", {})
        fixed = {key: f"{table[key]:g}" for key in ("alpha", "power") if key in table}
        return table.get("plan", {}) | fixed if table.get("plan") else {}

    @property
    def notes(self) -> list[str]:
        """What a reader must know beside the numbers."""
        return notes_of(self)

    def write_tables(self) -> None:
        """effects.csv, trials.csv and, of a race, confirming.csv in the study's folder; of a tuned study tuning.csv and
        best-of-k.csv too."""
        effects = self.effects.copy()
        effects["controls"] = effects["controls"].map(lambda names: "; ".join(names))
        write_text(self.folder / "effects.csv", effects.to_csv(index=False))
        write_text(self.folder / "trials.csv", self.trials.to_csv(index=False))
        if self.config.tuning is not None:
            write_text(self.folder / "tuning.csv", self.tuning_summary.to_csv(index=False))
            write_text(self.folder / "best-of-k.csv", self.best_of_k.to_csv(index=False))
        if len(self.confirming):
            write_text(self.folder / "confirming.csv", self.confirming.to_csv(index=False))

    def model(self, trial_id: str, host: Any = None) -> nn.Module:
        """The trained network of a finished trial, in eval mode on the CPU.

        host: the class or module, where the study's host existed only in another process.
        Raises UnknownName for another identifier and StoreError where no state was kept.
        """
        import torch

        from .. import pretrained
        from .._build import cast
        from ..streams import Streams
        from ..tasks.build import build_data, build_model
        from ..training.loop import load_tensors

        rows = {row["id"]: row for row in self.rows}
        if trial_id not in rows:
            raise UnknownName("trial", trial_id, rows)
        description = rows[trial_id]["description"]
        streams = Streams(description["seed"], description["replicate"])
        state = self.store.state(trial_id)
        if state is None:
            raise StoreError(f"trial {trial_id} kept no state: it is {rows[trial_id]['state']}")
        reference = description["host"]["name"]
        if host is None and registry.names_code(reference) and not local.is_local(reference):
            raise ConfigError(
                f"this study's host, {reference!r}, is code outside the registry; pass it: model(trial_id, host=Net)"
            )
        data = build_data(description, streams) if description.get("data") else None
        with pretrained.places(self.folder):
            model = build_model(description, streams, data, host)
        if description["recipe"].get("precision") == "float64":
            model = cast(model, torch.float64)
        load_tensors(model, state["best"] or state["model"])
        return model.eval()


def whole_counts(study: Study, counts: Mapping[str, int], rows: list[dict[str, Any]]) -> dict[str, int]:
    """The store's counts, with the trials that the study will have once tuning has ended counted as pending."""
    finished = counts["planned"] >= planning.distinct(study, rows) and not counts["pending"] + counts["running"]
    planned = counts["planned"] if finished else max(planning.total(study, rows), counts["planned"])
    return dict(counts) | {"planned": planned, "pending": counts["pending"] + planned - counts["planned"]}


def load_study(folder: Path) -> Study:
    """The study of a folder; StoreError when it is not one."""
    path = Path(folder) / "study.toml"
    if not path.is_file():
        raise StoreError(f"{str(folder)!r} is not a study: it has no study.toml")
    study = from_tables(read_toml(path))
    # written before controls were made for any component: those that were declared are all that there are
    return study.with_(controls="declared") if study.controls is True else study


def load(folder: str | Path) -> StudyAnswer:
    """The answer of a study's folder, finished or not. StoreError when it is not a study."""
    return StudyAnswer(folder)
