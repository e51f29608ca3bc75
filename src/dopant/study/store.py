"""The memory of a study: an SQLite index (plan, leases, cache) over the trial folders, which are the truth.

Any number of processes may open one study at the same moment. A lease is one UPDATE that hands out an attempt number;
only the current attempt can commit, so a result counts once even if a trial ran twice.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import LeaseLost, StoreError
from . import index, owners
from .folder import Damaged, TrialFolder, disk, dumps, loads, read_sealed, seal, write_atomic
from .trial import Trial, canonical

STATES = ("pending", "running", "done", "failed")
LEASE_SECONDS = 30.0  # a worker says every second that it lives
MAX_LOSSES = 3  # a trial whose worker is lost this often is failed("crashed")


@dataclass(frozen=True)
class Lease:
    """The right to run one trial, until another attempt of it is handed out. folder: that of the attempt."""

    trial: Trial
    attempt: int
    owner: str
    folder: Path


class Store:
    """One study's trials. One object per thread; `Store.create` and `Store.open` make them."""

    idle_seconds = 0.2  # between the questions of a worker that finds nothing to do

    def __init__(self, folder: Path, database: sqlite3.Connection, scratch: Any = None):
        self.folder, self._db, self._scratch = folder, database, scratch
        self.lease_seconds = LEASE_SECONDS
        self._seen: dict[tuple[str, int], tuple[float, float]] = {}  # leases watched for signs of life

    # --- opening ----------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, folder: str | Path) -> Store:
        """Open the study in `folder`, made if it is not there.

        Raises StoreError where `folder` is a file, holds other things, or cannot be written.
        """
        folder = Path(folder)
        with disk(folder):
            if folder.exists() and not folder.is_dir():
                raise StoreError(f"{folder} is a file; name a folder for the study")
            folder.mkdir(parents=True, exist_ok=True)
            names = set(os.listdir(folder))
            if names and not any(n.startswith("index.sqlite") or n in ("study.toml", "trials") for n in names):
                raise StoreError(f"{folder} is not empty and is not a study; name a new folder with --out")
            (folder / "trials").mkdir(exist_ok=True)
        database = index.connect(folder)
        try:
            index.prepare(folder, database)
            index.check_schema(folder, database)
        except BaseException:
            database.close()
            raise
        return cls(folder, database)

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """Open an existing study; one in a read-only place is read from a copy of its index.

        Raises StoreError where there is none, its index is damaged (`doctor` rebuilds it) or is from a newer dopant.
        """
        folder, scratch = Path(folder), None
        file = folder / "index.sqlite"
        if not file.is_file():
            if (folder / "trials").is_dir():
                raise StoreError(f"{folder} has trials but no index.sqlite; `dopant doctor {folder}` rebuilds it")
            raise StoreError(f"{folder} is not a study: it has no index.sqlite")
        if not os.access(folder, os.W_OK) or not os.access(file, os.W_OK):
            scratch = tempfile.TemporaryDirectory(prefix="dopant-")
            for path in folder.glob("index.sqlite*"):
                shutil.copyfile(path, Path(scratch.name) / path.name)
        database = index.connect(Path(scratch.name) if scratch else folder)
        try:
            index.check_schema(folder, database)
        except BaseException:
            database.close()
            raise
        return cls(folder, database, scratch)

    def another(self) -> Store:
        """The same study, for another thread."""
        return Store.open(self.folder)

    def close(self) -> None:
        self._db.close()
        if self._scratch:
            self._scratch.cleanup()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the plan ---------------------------------------------------------------------------------------------------

    def add(self, trials: Iterable[Trial]) -> int:
        """Plan trials, in their order; returns how many are new or were put back to pending.

        Known ones stay as they are, but a finished one that is now asked for more epochs is pending again (its next
        attempt goes on from its last checkpoint), and names (cell, level, phase, extra) follow the new plan.
        """
        count = 0
        with self._write():
            (last,) = self._db.execute("SELECT coalesce(max(ord), -1) FROM trials").fetchone()
            for trial in trials:
                row = self._row(trial.id)
                names = (trial.cell, trial.level, trial.phase, trial.device, dumps(trial.extra))
                if row is None:
                    last += 1
                    count += 1
                    self._insert(trial, last)
                    continue
                epochs, state = row["epochs"], row["state"]
                if trial.epochs is not None and epochs is not None and trial.epochs > epochs:
                    epochs = trial.epochs
                    if state == "done":
                        state, count = "pending", count + 1
                if (*names, epochs) != tuple(row[k] for k in ("cell", "level", "phase", "device", "extra", "epochs")):
                    self._db.execute(
                        "UPDATE trials SET cell=?, level=?, phase=?, device=?, extra=?, epochs=?, state=? WHERE id=?",
                        (*names, epochs, state, trial.id),
                    )
                    folder = TrialFolder(self.folder, trial.id)
                    if folder.path.exists():
                        folder.write_trial(_trial(self._need(trial.id)), row["ord"])
        return count

    def retry(self, ids: Iterable[str] | None = None, reasons: Iterable[str] = ("crashed",)) -> int:
        """Put failed trials back to pending: those named, or else those that failed for one of `reasons`."""
        count = 0
        with self._write():
            for row in self._db.execute("SELECT * FROM trials WHERE state='failed'").fetchall():
                if row["id"] in ids if ids is not None else row["reason"] in set(reasons):
                    for path in TrialFolder(self.folder, row["id"]).path.glob("attempt-*/failure.json"):
                        path.rename(path.with_name("failure-retried.json"))
                    self._db.execute(
                        "UPDATE trials SET state='pending', losses=0, reason=NULL WHERE id=?", (row["id"],)
                    )
                    count += 1
        return count

    def discard_unstarted(self, wanted: set[str]) -> list[dict[str, Any]]:
        """Forget trials that never began and that nobody wants any more; returns the rows that are left."""
        with self._write():
            for row in self._db.execute("SELECT id FROM trials WHERE state='pending' AND attempt=0").fetchall():
                if row["id"] not in wanted:
                    self._db.execute("DELETE FROM trials WHERE id=?", (row["id"],))
        return self.rows()

    # --- leases -----------------------------------------------------------------------------------------------------

    def lease(self, owner: str, parent: str | None = None) -> Lease | None:
        """The next pending trial with a new attempt number, or None. Leases of the dead are taken back first.

        parent: the process that started the owner; if both are dead the study was interrupted, and no crash counted.
        A trial whose result was written but not recorded is recorded, not run again.
        """
        while True:
            self.reclaim()
            if not self._query("SELECT 1 FROM trials WHERE state='pending' LIMIT 1"):
                return None  # reading needs no lock, so idle workers stand in nobody's way
            now = time.time()
            found = self._query(
                """UPDATE trials SET state='running', attempt=attempt+1, owner=?, parent=?, lease_until=?, started=?,
                finished=NULL, reason=NULL, progress=NULL
                WHERE id = (SELECT id FROM trials WHERE state='pending' ORDER BY ord LIMIT 1) RETURNING *""",
                (owner, parent, now + self.lease_seconds, now),
            )
            if not found:
                continue
            row, trial = found[0], _trial(found[0])
            folder = TrialFolder(self.folder, trial.id)
            lease = Lease(trial, row["attempt"], owner, folder.attempt(row["attempt"]))
            finished = folder.finished(trial.epochs)
            if finished is not None:
                self._adopt(lease, finished)
                continue
            lease = self._above(lease, folder)
            try:
                with disk(lease.folder):
                    folder.write_trial(trial, row["ord"])
                    lease.folder.mkdir(exist_ok=True)
            except StoreError:
                self.release(lease)
                raise
            return lease

    def heartbeat(self, lease: Lease, progress: dict[str, Any] | None = None) -> None:
        """Say that the attempt is being worked on. Raises LeaseLost where it is no longer the current one."""
        until = time.time() + self.lease_seconds
        self._expect(
            lease, "UPDATE trials SET lease_until=?, progress=?", (until, None if progress is None else dumps(progress))
        )

    def release(self, lease: Lease) -> None:
        """Give the trial back, unfinished; nothing is counted against it. No effect on a lost lease."""
        with contextlib.suppress(LeaseLost):
            self._expect(lease, "UPDATE trials SET state='pending', owner=NULL, parent=NULL, lease_until=NULL", ())

    def release_all(self, parent: str) -> int:
        """Give back every trial that workers of `parent` hold: the study was interrupted."""
        return len(
            self._query(
                """UPDATE trials SET state='pending', owner=NULL, parent=NULL, lease_until=NULL
                WHERE state='running' AND parent=? RETURNING id""",
                (parent,),
            )
        )

    def reclaim(self) -> int:
        """Take back the leases of workers that are gone; returns how many.

        Gone: its process on this machine has ended; or its lease is past and was not renewed while we looked for a
        tenth of the lease time; or it was not renewed for the whole lease time by our own clock (clocks may jump).
        A loss is counted against the trial unless the worker's parent is gone too; one on another machine, which
        cannot be asked, is taken for gone, since it would have taken the lease back itself.
        """
        count, watched = 0, {}
        for row in self._query("SELECT * FROM trials WHERE state='running'"):
            dead = owners.alive(row["owner"]) is False
            if not dead:
                key, clock = (row["id"], row["attempt"]), time.monotonic()
                until, since = self._seen.get(key, (None, clock))
                watched[key] = (row["lease_until"], since if until == row["lease_until"] else clock)
                silent = clock - watched[key][1]
                past = row["lease_until"] < time.time()
                if silent < (self.lease_seconds / 10 if past else self.lease_seconds):
                    continue
            parent = True if row["parent"] is None else owners.alive(row["parent"])
            interrupted = parent is None or (dead and parent is False)
            count += self._take_back(row, counted=not interrupted)
        self._seen = watched
        return count

    def take_from(self, owner: str, counted: bool = True) -> int:
        """Take back what `owner` holds, who is known to be gone; returns how many trials that were."""
        rows = self._query("SELECT * FROM trials WHERE state='running' AND owner=?", (owner,))
        return sum(self._take_back(row, counted) for row in rows)

    def _take_back(self, row: sqlite3.Row, counted: bool) -> int:
        losses = row["losses"] + counted
        failed = losses >= MAX_LOSSES
        with self._write():
            found = self._db.execute(
                """UPDATE trials SET state=?, losses=?, reason=?, owner=NULL, parent=NULL, lease_until=NULL
                WHERE id=? AND attempt=? AND owner=? AND lease_until=? AND state='running' RETURNING id""",
                ("failed" if failed else "pending", losses, "crashed" if failed else None,
                 row["id"], row["attempt"], row["owner"], row["lease_until"]),
            ).fetchall()  # fmt: skip
            if found and failed:
                self._write_failure(row["id"], row["attempt"], "crashed", f"its worker was lost {losses} times", ())
        return len(found)

    # --- results ----------------------------------------------------------------------------------------------------

    def commit(
        self,
        lease: Lease,
        metrics: dict[str, Any],
        items: dict[str, Any] | None = None,
        warnings: Iterable[str] = (),
        *,
        written: dict[str, Any] | None = None,
    ) -> None:
        """Record a result: metrics {name: number or string}, items {name: tensor with one row an item}.

        written: in place of items, what `checkpoint.write_tensors` gave a worker that wrote them into its folder.

        Raises LeaseLost, and changes nothing, where another attempt is current. Writes result.json inside the
        transaction; the folder therefore never lacks what the index calls done.
        """
        from . import checkpoint

        body: dict[str, Any] = {
            "format": 1, "trial": lease.trial.id, "attempt": lease.attempt, "epochs": lease.trial.epochs,
            "metrics": metrics, "warnings": list(warnings), "owner": lease.owner,
        }  # fmt: skip
        with self._write():
            row = self._current(lease)
            body |= {"started": row["started"], "finished": time.time(), "items": written}
            if items:
                body["items"] = checkpoint.write_tensors(lease.folder / "items.safetensors", dict(items))
            write_atomic(lease.folder / "result.json", seal(dumps(body, indent=1)))
            self._record(row, body)

    def fail(self, lease: Lease, reason: str, detail: str = "", warnings: Iterable[str] = ()) -> None:
        """Record that the trial failed, for good. Raises LeaseLost as `commit` does."""
        with self._write():
            self._current(lease)
            self._write_failure(lease.trial.id, lease.attempt, reason, detail, warnings)
            self._db.execute(
                """UPDATE trials SET state='failed', reason=?, finished=?, warnings=?, owner=NULL, parent=NULL,
                lease_until=NULL WHERE id=?""",
                (reason, time.time(), dumps(list(warnings)), lease.trial.id),
            )

    def _write_failure(self, trial: str, attempt: int, reason: str, detail: str, warnings: Iterable[str]) -> None:
        folder = TrialFolder(self.folder, trial).attempt(attempt)
        folder.mkdir(parents=True, exist_ok=True)
        body = {"format": 1, "trial": trial, "attempt": attempt, "reason": reason, "detail": detail,
                "warnings": list(warnings), "finished": time.time()}  # fmt: skip
        write_atomic(folder / "failure.json", seal(dumps(body, indent=1)))

    def _above(self, lease: Lease, folder: TrialFolder) -> Lease:
        """The lease with a number above all folders there are: some may be older than the index (a rebuilt one)."""
        last = max(folder.attempts(), default=0)
        if last < lease.attempt:
            return lease
        self._expect(lease, "UPDATE trials SET attempt=?", (last + 1,))
        return Lease(lease.trial, last + 1, lease.owner, folder.attempt(last + 1))

    def _adopt(self, lease: Lease, result: dict[str, Any]) -> None:
        with contextlib.suppress(LeaseLost), self._write():
            self._record(self._current(lease), result)

    def _record(self, row: sqlite3.Row, result: dict[str, Any]) -> None:
        # more epochs may have been asked for while it ran: then it goes on
        short = row["epochs"] is not None and (result["epochs"] or 0) < row["epochs"]
        self._db.execute(
            """UPDATE trials SET state=?, metrics=?, warnings=?, result_attempt=?, started=?, finished=?, losses=0,
            reason=NULL, owner=NULL, parent=NULL, lease_until=NULL WHERE id=?""",
            ("pending" if short else "done", dumps(result["metrics"]), dumps(result["warnings"]), result["attempt"],
             result["started"], result["finished"], row["id"]),
        )  # fmt: skip

    # --- reading ----------------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """{planned, pending, running, done, failed}; the first is the sum of the others."""
        found = dict.fromkeys(STATES, 0)
        found.update({r["state"]: r["n"] for r in self._query("SELECT state, count(*) n FROM trials GROUP BY state")})
        return {"planned": sum(found.values()), **found}

    def rows(self) -> list[dict[str, Any]]:
        """One dict a trial, in the order of the plan: the columns of the index, JSON columns decoded."""
        rows = []
        for row in self._query("SELECT * FROM trials ORDER BY ord"):
            found = dict(row)
            found["attempts"] = found["attempt"]
            for key in ("description", "extra", "metrics", "warnings", "progress"):
                found[key] = loads(found[key]) if found[key] is not None else None
            rows.append(found)
        return rows

    def trials(self) -> list[Trial]:
        """The planned trials, in their order."""
        return [_trial(row) for row in self._query("SELECT * FROM trials ORDER BY ord")]

    def metrics(self) -> list[dict[str, Any]]:
        """One dict a trial and epoch: trial, cell, level, replicate, epoch, and what was logged; attempts merged."""
        return [
            {"trial": row["id"], "cell": row["cell"], "level": row["level"], "replicate": row["replicate"], **line}
            for row in self._query("SELECT id, cell, level, replicate FROM trials WHERE attempt > 0 ORDER BY ord")
            for line in TrialFolder(self.folder, row["id"]).metrics()[0]
        ]

    def items(self, trial: str) -> dict[str, Any]:
        """{name: array with one row an item} of a finished trial; empty where it kept none. Raises StoreError."""
        from . import checkpoint

        row = self._need(trial)
        if row["result_attempt"] is None:
            return {}
        folder = TrialFolder(self.folder, trial).attempt(row["result_attempt"])
        with _named(trial):
            body = read_sealed(folder / "result.json")["items"]
            found = checkpoint.read_tensors(folder, body) if body else {}
        return {name: _array(value) for name, value in found.items()}

    def failure(self, trial: str) -> dict[str, Any] | None:
        """What is known of a failed trial: {reason, detail (the traceback of an error), attempt, warnings}."""
        row = self._need(trial)
        if row["state"] != "failed":
            return None
        with _named(trial):
            return read_sealed(TrialFolder(self.folder, trial).attempt(row["attempt"]) / "failure.json")

    def state(self, trial: str) -> Any:
        """The last good state that the trial's task saved. Raises StoreError where there is none."""
        from . import checkpoint

        words: list[str] = []
        self._need(trial)
        found = checkpoint.newest(TrialFolder(self.folder, trial), words)
        if found is None:
            raise StoreError(f"trial {trial} has no saved state" + "".join(f"; {word}" for word in words))
        return found[0]

    # --- the inside -------------------------------------------------------------------------------------------------

    def _query(self, statement: str, values: tuple = ()) -> list[sqlite3.Row]:
        with index.translated(self.folder):
            return self._db.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def _write(self) -> Iterator[None]:
        """One transaction that holds the write lock from its start; nothing is changed if it raises."""
        with index.translated(self.folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _row(self, trial: str) -> sqlite3.Row | None:
        found = self._query("SELECT * FROM trials WHERE id=?", (trial,))
        return found[0] if found else None

    def _need(self, trial: str) -> sqlite3.Row:
        row = self._row(trial)
        if row is None:
            raise StoreError(f"{self.folder} has no trial {trial!r}")
        return row

    def _current(self, lease: Lease) -> sqlite3.Row:
        row = self._row(lease.trial.id)
        if row is None or (row["state"], row["attempt"], row["owner"]) != ("running", lease.attempt, lease.owner):
            raise LeaseLost(f"attempt {lease.attempt} of trial {lease.trial.id} is no longer the current one")
        return row

    def _expect(self, lease: Lease, statement: str, values: tuple) -> None:
        which = " WHERE id=? AND attempt=? AND owner=? AND state='running' RETURNING id"
        if not self._query(statement + which, (*values, lease.trial.id, lease.attempt, lease.owner)):
            raise LeaseLost(f"attempt {lease.attempt} of trial {lease.trial.id} is no longer the current one")

    def _insert(self, trial: Trial, order: int) -> None:
        self._db.execute(
            """INSERT INTO trials (id, ord, cell, level, replicate, phase, device, epochs, description, extra)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (trial.id, order, trial.cell, trial.level, trial.replicate, trial.phase, trial.device, trial.epochs,
             canonical(trial.description), dumps(trial.extra)),
        )  # fmt: skip

    # --- the doctor -------------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """What is wrong with the study, a sentence each: every checksum is read. See `doctor`."""
        from . import doctor

        return doctor.problems(self)

    def rebuild(self) -> list[str]:
        """Bring the index to what the trial folders say; returns what was changed. See `doctor`."""
        from . import doctor

        return doctor.rebuild(self)


@contextlib.contextmanager
def _named(trial: str) -> Iterator[None]:
    try:
        yield
    except Damaged as error:
        raise Damaged(f"trial {trial}: {error}") from None


def _trial(row: sqlite3.Row) -> Trial:
    return Trial(
        loads(row["description"]), row["cell"], row["level"], row["epochs"], row["phase"], row["device"],
        loads(row["extra"]),
    )  # fmt: skip


def _array(value: Any) -> Any:
    """A tensor as an array; NumPy has no bfloat16, so that becomes float32."""
    if not hasattr(value, "detach"):
        return value
    return value.float().numpy() if str(value.dtype) == "torch.bfloat16" else value.numpy()
