"""A study as it runs, seen from outside: counts, who works on what, how long it will take, what the effects look like.

Looking never writes and holds no lock: the index is opened for reading and closed again at each look, and of the trial
folders only the last lines of the running ones are read. What is finished is read once.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DopantError, StoreError
from . import estimands, index, owners, race, tuning
from . import plan as planning
from . import statistics as st
from .folder import Damaged, TrialFolder, loads, read_sealed, unseal
from .results import load_study, whole_counts
from .scored import failure_value_of, metric_of, status_of
from .store import LEASE_SECONDS, STATES, Store

TAIL = 16_384  # bytes at the end of a log in which its last whole line is looked for
FAILURES = 5
JUDGED = ("level", "main", "race", "variant", "baseline")  # roles of the effects that are shown
COLUMNS = (
    "id, cell, level, replicate, phase, state, epochs, attempt, owner, lease_until, started, finished, reason, "
    "progress, extra, result_attempt"
)


@dataclass(frozen=True)
class Running:
    """A trial that is being worked on. worker: machine and process. silent: seconds since its last sign of life.
    alive: None where its worker is on another machine. epoch: may have a fraction; epochs: None where it has none.
    metric, value: the last that its log has of validation (else of training)."""

    trial: str
    cell: str
    replicate: int
    phase: str
    worker: str
    alive: bool | None
    silent: float
    seconds: float
    epoch: float | None
    epochs: int | None
    metric: str
    value: float


@dataclass(frozen=True)
class SoFar:
    """A running estimate of an effect, and no verdict: mean and 95 % interval of the pairs that are there. share: of a
    metric that is a share of items."""

    swap: str
    versus: str
    role: str
    metric: str
    pairs: int
    replicates: int
    mean: float
    low: float
    high: float
    share: bool


@dataclass(frozen=True)
class Failure:
    trial: str
    cell: str
    replicate: int
    reason: str


@dataclass(frozen=True)
class Look:
    """One look at a study. state: `starting` (nothing planned yet), `running`, `idle` (trials wait and nobody works) or
    `finished`. workers: alive. seconds_per_trial: mean of finished ones. per_hour, seconds_left: None while unknown."""

    name: str
    state: str
    counts: dict[str, int]
    workers: int
    seconds_per_trial: float | None
    per_hour: float | None
    seconds_left: float | None
    running: list[Running] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    estimates: list[SoFar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values; a number that is not there is None. The keys are stable."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: plain(v) for k, v in value.items()}
            if isinstance(value, list):
                return [plain(v) for v in value]
            return None if isinstance(value, float) and not math.isfinite(value) else value

        return plain(asdict(self))


class Watcher:
    """Looks at one study again and again. Raises StoreError at once where the folder is none and never will be."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        names = set(os.listdir(self.folder)) if self.folder.is_dir() else None
        if names is None:
            raise StoreError(f"{str(folder)!r} is not a study: there is no such folder")
        if names and not any(n.startswith("index.sqlite") or n in ("study.toml", "trials") for n in names):
            raise StoreError(f"{str(folder)!r} is not a study: it has no study.toml")
        self._metrics: dict[str, tuple[Any, dict[str, Any]]] = {}  # by trial: (which result, its numbers)
        self._study: Any = None
        self._written = 0.0  # when the study's file was
        self._note = ""
        self._planned: tuple[Any, dict[str, int]] | None = None
        self._effects: tuple[Any, list[SoFar]] | None = None
        self._words: dict[tuple[str, int], str] = {}

    # --- looking ----------------------------------------------------------------------------------------------------

    def look(self, now: float | None = None) -> Look:
        """The study now. Raises StoreError where the index cannot be read. Cost: 0.3 s at 10,000 trials."""
        now = time.time() if now is None else now
        self._load()
        name = self.folder.resolve().name if self._study is None else self._study.name or self.folder.resolve().name
        if not (self.folder / "index.sqlite").is_file():
            return Look(name, "starting", _counted([]), 0, None, None, None, notes=self._notes())
        rows = self._rows()
        counts = self._counts(rows)
        if not rows:
            return Look(name, "starting", counts, 0, None, None, None, notes=self._notes())
        running = [self._running(row, now) for row in rows if row["state"] == "running"]
        working = {r.worker for r in running if r.alive is not False and r.silent < LEASE_SECONDS}
        left = counts["pending"] + counts["running"]
        state = "finished" if not left else "running" if working else "idle"
        each = _seconds(rows)
        per_hour = 3600 * len(working) / each if each and working else None
        return Look(
            name, state, counts, len(working), each, per_hour,
            self._left(rows, running, counts, len(working)) if left else 0.0, running, self._failures(rows),
            self._estimates(rows), self._notes(),
        )  # fmt: skip

    def leave(self) -> None:
        """Of a study that nobody works on any more: bring what SQLite kept beside the index into it, as the last worker
        would have, had nobody been looking at that moment."""
        if (self.folder / "index.sqlite-wal").exists() and os.access(self.folder, os.W_OK):
            with contextlib.suppress(DopantError):
                Store.open(self.folder).close()

    def _notes(self) -> list[str]:
        return [self._note] if self._note else []

    def _load(self) -> None:
        """The study's file, again when it was written again: a study grows while it runs."""
        path = self.folder / "study.toml"
        try:
            written = path.stat().st_mtime
        except OSError:
            return
        if written == self._written:
            return
        self._written, self._planned, self._effects = written, None, None
        try:
            self._study, self._note = load_study(self.folder), ""
        except DopantError as error:  # such as a component of a file that was not loaded here
            self._study = None
            self._note = f"effects are not estimated: {str(error).splitlines()[0]}"

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The index, for reading only; from a copy of it in a place where SQLite cannot keep its shared memory."""
        with contextlib.ExitStack() as stack:
            try:
                database = stack.enter_context(index.reading(self.folder))
            except sqlite3.OperationalError:
                database = stack.enter_context(Store.open(self.folder))._db
            yield database

    def _rows(self) -> list[dict[str, Any]]:
        """The trials in the order of the plan, each also for further cells that it answers for; empty while the index
        is being made."""
        try:
            with index.translated(self.folder), self._reading() as database:
                if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'trials'").fetchone():
                    return []
                rows = [dict(row) for row in database.execute(f"SELECT {COLUMNS} FROM trials ORDER BY ord")]
                new = [r["id"] for r in rows if r["state"] == "done" and self._seen(r) is None]
                if len(new) > 500:
                    found = database.execute("SELECT id, metrics FROM trials WHERE state = 'done'").fetchall()
                else:
                    ask = "SELECT id, metrics FROM trials WHERE id = ?"
                    found = [one for i in new if (one := database.execute(ask, (i,)).fetchone()) is not None]
        except DopantError:
            if not (self.folder / "study.toml").is_file():
                return []
            raise
        fresh = {one["id"]: one["metrics"] for one in found}
        wanted = set(new)
        for row in rows:
            if row["id"] in wanted and fresh.get(row["id"]) is not None:
                self._metrics[row["id"]] = ((row["result_attempt"], row["finished"]), loads(fresh[row["id"]]))
            row["metrics"] = self._seen(row) if row["state"] == "done" else None
            row["attempts"] = row["attempt"]
            row["extra"] = json.loads(row["extra"]) if row["extra"] not in (None, "{}") else {}
            row["progress"] = loads(row["progress"]) if row["progress"] else {}
        return rows

    def _seen(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        known = self._metrics.get(row["id"])
        return known[1] if known is not None and known[0] == (row["result_attempt"], row["finished"]) else None

    def _counts(self, rows: list[dict[str, Any]]) -> dict[str, int]:
        """As the study's own: trials that wait for tuning to end are planned and pending."""
        counts = _counted(rows)
        if self._study is None:
            return counts
        key = tuple(counts.values())
        if self._planned is None or self._planned[0] != key:
            try:
                self._planned = key, whole_counts(self._study, counts, rows)
            except DopantError:
                self._planned = key, counts
        return self._planned[1]

    # --- who works ---------------------------------------------------------------------------------------------------

    def _running(self, row: Mapping[str, Any], now: float) -> Running:
        owner = row["owner"] or "::"
        host, process, _ = owner.rsplit(":", 2)
        machine = host.partition("[")[0]
        progress = row["progress"]
        epochs = progress.get("epochs") or row["epochs"]
        epoch = progress.get("epoch")
        epoch = None if epoch is None else max(0.0, epoch + (progress.get("fraction") or 0.0))
        metric, value = self._last(row)
        return Running(
            row["id"], row["cell"], row["replicate"], row["phase"], f"{machine}:{process}",
            owners.alive(owner) if row["owner"] else False,
            max(0.0, now - ((row["lease_until"] or now) - LEASE_SECONDS)), max(0.0, now - (row["started"] or now)),
            epoch, epochs, metric, value,
        )  # fmt: skip

    def _last(self, row: Mapping[str, Any]) -> tuple[str, float]:
        """(name, value) of the last validation metric in the log of a running trial, of its newest attempt that has
        one."""
        folder = TrialFolder(self.folder, row["id"])
        for attempt in range(row["attempt"], max(0, row["attempt"] - 3), -1):
            line = last_line(folder.attempt(attempt) / "metrics.jsonl")
            if line is not None:
                break
        else:
            return "", math.nan
        primary = "" if self._study is None else self._primary()
        wanted = [f"validation_{primary}", f"test_{primary}", primary]
        wanted += [k for k in line if k.startswith("validation_")] + [k for k in line if k.endswith("loss")]
        for key in wanted:
            if isinstance(line.get(key), (int, float)):
                return key, float(line[key])
        return "", math.nan

    def _primary(self) -> str:
        try:
            return str(self._study.primary_metric or "").removeprefix("test_")
        except DopantError:
            return ""

    def _left(
        self, rows: list[dict[str, Any]], running: list[Running], counts: Mapping[str, int], workers: int
    ) -> float | None:
        """Seconds until the end: what finished trials of a cell took, over the workers that are alive. A cell not seen
        yet is taken to be like the mean of the others. None while nothing has finished, or nobody works."""
        mean, by_cell = _seconds(rows), _seconds_of(rows)
        if not workers:
            return None
        if mean is None:
            shares = [(r.seconds, r.epoch / r.epochs) for r in running if r.epoch and r.epochs]
            if not shares:
                return None
            mean = sum(s / share for s, share in shares) / len(shares)
        waiting = [by_cell.get(row["cell"], mean) for row in rows if row["state"] == "pending"]
        waiting += [mean] * max(0, counts["planned"] - len(rows))
        going = []
        for r in running:
            whole = by_cell.get(r.cell, mean)
            if r.epoch and r.epochs:
                going.append(max(0.0, r.seconds * (r.epochs / r.epoch - 1)))
            else:
                going.append(max(0.0, whole - r.seconds))
        return max([*going, (sum(waiting) + sum(going)) / workers])

    def _failures(self, rows: list[dict[str, Any]]) -> list[Failure]:
        """The last few that failed, newest first, with what is known of each."""
        failed = sorted((r for r in rows if r["state"] == "failed"), key=lambda r: -(r["finished"] or 0))[:FAILURES]
        return [Failure(r["id"], r["cell"], r["replicate"], self._why(r)) for r in failed]

    def _why(self, row: Mapping[str, Any]) -> str:
        key = (row["id"], row["attempt"])
        if key not in self._words:
            try:
                body = read_sealed(TrialFolder(self.folder, row["id"]).attempt(row["attempt"]) / "failure.json")
                detail = str(body.get("detail") or "").strip().splitlines()
            except (Damaged, OSError):
                detail = []
            self._words[key] = f"{row['reason']}" + (f": {detail[-1]}" if detail else "")
        return self._words[key]

    # --- effects so far ---------------------------------------------------------------------------------------------

    def _estimates(self, rows: list[dict[str, Any]]) -> list[SoFar]:
        """The effects of the pairs that are there; computed again only when a trial has ended."""
        if self._study is None:
            return []
        ended = [r for r in rows if r["phase"] == "main" and r["state"] in ("done", "failed")]
        key = (len(ended), max((r["finished"] or 0 for r in ended), default=0))
        if self._effects is None or self._effects[0] != key:
            try:
                self._effects = key, list(self._measured(ended))
            except DopantError as error:
                self._note = f"effects are not estimated: {str(error).splitlines()[0]}"
                self._effects = key, []
        return self._effects[1]

    def _measured(self, ended: list[dict[str, Any]]) -> Iterator[SoFar]:
        study = self._study
        name, column, higher = metric_of(study, ended)
        done = [r["metrics"] for r in ended if r["metrics"]]
        classes = next((int(m["classes"]) for m in done if m.get("classes") is not None), None)
        worst = failure_value_of(name, classes)
        split = [m for m in done if m.get("resplit")]
        resplit = sum(m["n_test"] / m["n_train"] for m in split) / len(split) if split else 0.0
        scores: dict[str, dict[int, float]] = {}
        for row in race.spread_out(ended):
            value = (row["metrics"] or {}).get(column) if row["state"] == "done" else None
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                value = math.nan if status_of(row) == "lost" else worst
            scores.setdefault(row["cell"], {})[row["replicate"]] = float(value)
        known = [v for table in scores.values() for v in table.values() if math.isfinite(v)]
        share = "accuracy" in column and all(0 <= v <= 1 for v in known)
        contrasts = planning.contrasts(study)
        if tuning.both(study) and study.tuning is not None:
            contrasts = estimands.contrasts_of(study, contrasts, planning.cells(study), study.tuning.reported()[0])
        for c in contrasts:
            if c.role not in JUDGED:
                continue
            one, two = _arm(scores, c.plus or ((c.cell, 1.0),)), _arm(scores, c.minus or ((c.versus, 1.0),))
            gaps = [one[r] - two[r] for r in sorted(one.keys() & two.keys())]
            d = (1 if higher else -1) * np.array([g for g in gaps if math.isfinite(g)])
            got = st.paired_interval(d, resplit=resplit)
            yield SoFar(
                c.swap, c.versus, c.role, column, len(d), study.replicates, float(got.mean), float(got.low),
                float(got.high), share,
            )  # fmt: skip


def _arm(scores: Mapping[str, Mapping[int, float]], parts: Any) -> dict[int, float]:
    """{replicate: weighted sum of cells}, where every one of them has a score."""
    tables = [(weight, scores.get(cell, {})) for cell, weight in parts]
    common = set.intersection(*(set(table) for _, table in tables))
    return {r: sum(weight * table[r] for weight, table in tables) for r in common}


def _counted(rows: list[dict[str, Any]]) -> dict[str, int]:
    found = dict.fromkeys(STATES, 0)
    for row in rows:
        found[row["state"]] += 1
    return {"planned": len(rows), **found}


def _seconds_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """{cell: mean seconds of its finished trials}."""
    taken: dict[str, list[float]] = {}
    for row in rows:
        if row["state"] == "done" and row["started"] and row["finished"]:
            taken.setdefault(row["cell"], []).append(max(0.0, row["finished"] - row["started"]))
    return {cell: sum(found) / len(found) for cell, found in taken.items()}


def _seconds(rows: list[dict[str, Any]]) -> float | None:
    found = _seconds_of([row | {"cell": ""} for row in rows if row["state"] == "done"])
    return found.get("") or None


def last_line(path: Path) -> dict[str, Any] | None:
    """The last whole line of a trial's log; None where there is none. Reads only the end of the file."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            data = file.read()
    except OSError:
        return None
    for line in reversed(data.split(b"\n")):
        with contextlib.suppress(Damaged, ValueError):
            return loads(unseal(line))
    return None
