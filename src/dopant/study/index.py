"""The index of a study, `index.sqlite`: its tables, how many processes open it at once, its errors in words."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import StoreError
from .folder import disk

SCHEMA = 1
PATIENCE = 60.0  # seconds to wait for another writer
NETWORKS = (
    "nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "sshfs", "ceph", "gluster", "juicefs", "weka", "wekafs", "panfs",
    "pvfs2", "orangefs", "afs", "gfs2", "ocfs2", "s3fs", "gcsfuse", "rclone",
)  # fmt: skip

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE trials (
    id TEXT PRIMARY KEY,
    ord INTEGER NOT NULL,             -- place in the plan
    cell TEXT NOT NULL, level INTEGER, replicate INTEGER NOT NULL, phase TEXT NOT NULL, device TEXT NOT NULL,
    epochs INTEGER, description TEXT NOT NULL, extra TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'done', 'failed')),
    attempt INTEGER NOT NULL DEFAULT 0,   -- the current or last one; it only grows
    losses INTEGER NOT NULL DEFAULT 0,    -- attempts whose worker was lost since the last result
    owner TEXT, parent TEXT, lease_until REAL,
    reason TEXT, metrics TEXT, result_attempt INTEGER, warnings TEXT, progress TEXT, started REAL, finished REAL
);
CREATE INDEX by_state ON trials (state, ord);
"""


@contextlib.contextmanager
def translated(folder: Path) -> Iterator[None]:
    """Errors of SQLite and of the disk as StoreError that says what to do."""
    try:
        with disk(folder):
            yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "no such table" in text:
            raise StoreError(f"{folder}/index.sqlite is not a study's index; `dopant doctor {folder}`") from error
        raise StoreError(
            f"{folder}/index.sqlite: {text}; finished work is intact: "
            + ("try again" if "locked" in text else "free space or make the folder writable, then run again")
        ) from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{folder}/index.sqlite is damaged ({error}); `dopant doctor {folder}` rebuilds it") from error


def connect(folder: Path) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < (3, 35):
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old for RETURNING; use a Python with 3.35 or newer")
    with translated(folder):
        # autocommit: every transaction is written out; one object per thread is the caller's duty
        database = sqlite3.connect(
            folder / "index.sqlite", timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            database.row_factory = sqlite3.Row
            _switch_on_wal(database, folder)
            # a lost power line may undo the last commits but not tear one; the folders then say what is finished
            database.execute("PRAGMA synchronous=NORMAL")
        except BaseException:
            database.close()
            raise
    return database


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """The index, for reading only; a look leaves no file behind. Raises sqlite3.OperationalError where SQLite cannot
    keep its shared memory.

    The file is never opened beside SQLite, not even to copy it: closing it again would drop the locks that other
    connections of this process hold on it, and the next process to come would cut the shared memory that they have
    mapped.
    """
    file = folder.absolute() / "index.sqlite"
    # Where nobody has it open, a reader that cannot write would leave its shared memory behind.
    alone = not _network(folder) and not file.with_name("index.sqlite-wal").exists()
    uri = f"{file.as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    database = sqlite3.connect(uri, uri=True, timeout=5.0, isolation_level=None)
    try:
        database.row_factory = sqlite3.Row
        database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        yield database
    finally:
        database.close()


def _switch_on_wal(database: sqlite3.Connection, folder: Path) -> None:
    """Readers beside a writer. The switch does not wait for other openers as statements do, so it is tried again.
    Network file systems have no shared memory: there the rollback journal stays."""
    if _network(folder):
        return
    end = time.monotonic() + PATIENCE
    while True:
        try:
            database.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _network(folder: Path) -> bool:
    """Whether the folder lies on a network file system (Linux only; elsewhere taken to be local)."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return False
    path = str(folder.resolve())
    inside = [(len(at), kind) for at, kind in mounts if path == at or path.startswith(at.rstrip("/") + "/")]
    return bool(inside) and max(inside)[1].removeprefix("fuse.").startswith(NETWORKS)


def check_schema(folder: Path, database: sqlite3.Connection) -> None:
    with translated(folder):
        row = database.execute("SELECT value FROM meta WHERE key='schema'").fetchone()
    if row is None:
        raise StoreError(f"{folder}/index.sqlite is not a study's index; `dopant doctor {folder}`")
    if int(row["value"]) > SCHEMA:
        raise StoreError(
            f"{folder} was written by a newer dopant (index format {row['value']}; "
            f"this one reads up to {SCHEMA}); upgrade"
        )


def prepare(folder: Path, database: sqlite3.Connection) -> None:
    """Make the tables, all in one transaction, unless another process already has."""
    with translated(folder):
        database.execute("BEGIN IMMEDIATE")
        try:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                for statement in TABLES.split(";\n"):
                    database.execute(statement)
                database.execute("INSERT INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise
