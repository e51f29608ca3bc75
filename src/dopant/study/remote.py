"""A study's store for a worker whose machine must not touch the index: requests and answers as lines of JSON.

SQLite's index is safe from one machine only, so on a cluster the planning process alone opens it. A worker elsewhere
has a `RemoteStore`, with the methods of `Store` that a worker calls; each becomes a line on its standard output, which
a relay carries to a `Desk` in the planning process, and the answer comes back on its standard input. Trial folders
(checkpoints, metrics, items) are written by the worker, in the folder that all machines share.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .. import errors
from ..errors import DopantError, LeaseLost, StoreError
from .folder import TrialFolder, dumps, loads
from .store import Lease, Store
from .trial import Trial


def again(kind: str, message: str, default: type[DopantError] = DopantError) -> DopantError:
    """An error of another process, of the same kind; those with constructors of their own become their parent's."""
    found = getattr(errors, kind, default)
    error = found.__new__(found)
    Exception.__init__(error, message)
    if isinstance(error, errors.Problems):
        error.problems = message.splitlines()
    elif isinstance(error, errors.UnknownName):
        error.suggestions = []
    return error


class RemoteStore:
    """What a worker needs of a study's store, asked of the planning process. Safe from several threads.

    send: writes one dict to the other side. The worker's reader gives every line from there to `receive`. Each call
    waits for its answer; who has lost the other side ends (see `worker.main`), so none waits for ever.
    """

    idle_seconds = 0.5

    def __init__(self, folder: str | Path, send: Callable[..., None]):
        self.folder, self._send = Path(folder), send
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue] = {}

    def receive(self, line: str | bytes) -> None:
        """Hand an answer to whoever waits for it."""
        reply = loads(line)
        box = self._waiting.pop(reply["number"], None)
        if box is not None:
            box.put(reply)

    def _ask(self, what: str, **values: Any) -> Any:
        number, box = next(self._numbers), queue.SimpleQueue()
        body = dumps(values)  # before anything is sent: what cannot be kept is the caller's TypeError
        self._waiting[number] = box
        self._send(ask=what, number=number, body=body)
        reply = box.get()
        if "error" in reply:
            raise again(reply["kind"], reply["error"], StoreError)
        return reply["value"]

    def another(self) -> RemoteStore:
        """For another thread: itself."""
        return self

    def close(self) -> None:
        """Nothing is held."""

    def lease(self, owner: str, parent: str | None = None) -> Lease | None:
        found = self._ask("lease", owner=owner, parent=parent)
        if found is None:
            return None
        trial = Trial.from_json(found["trial"])
        folder = TrialFolder(self.folder, trial.id).attempt(found["attempt"])
        return Lease(trial, found["attempt"], owner, folder)

    def counts(self) -> dict[str, int]:
        return self._ask("counts")

    def heartbeat(self, lease: Lease, progress: dict[str, Any] | None = None) -> None:
        self._ask("heartbeat", attempt=[lease.trial.id, lease.attempt], progress=progress)

    def release(self, lease: Lease) -> None:
        self._ask("release", attempt=[lease.trial.id, lease.attempt])

    def commit(
        self, lease: Lease, metrics: dict[str, Any], items: dict[str, Any] | None = None, warnings: Iterable[str] = ()
    ) -> None:
        """As `Store.commit`; the items are written here, into the attempt's own folder, before the result counts."""
        from . import checkpoint

        written = checkpoint.write_tensors(lease.folder / "items.safetensors", dict(items)) if items else None
        self._ask(
            "commit", attempt=[lease.trial.id, lease.attempt], metrics=metrics, written=written, warnings=list(warnings)
        )

    def fail(self, lease: Lease, reason: str, detail: str = "", warnings: Iterable[str] = ()) -> None:
        self._ask(
            "fail", attempt=[lease.trial.id, lease.attempt], reason=reason, detail=detail, warnings=list(warnings)
        )


class Desk:
    """Answers one worker's requests from the store. lease: what the worker holds now, or None."""

    def __init__(self) -> None:
        self.lease: Lease | None = None

    def answer(self, store: Store, request: dict[str, Any]) -> str:
        """The line that answers a request. No error of the store is raised here: the worker gets it."""
        number = request["number"]
        try:
            return dumps({"number": number, "value": self._do(store, request["ask"], loads(request["body"]))})
        except Exception as error:  # the worker waits for a word, whatever went wrong
            words = str(error) if isinstance(error, DopantError) else f"{type(error).__name__}: {error}"
            return dumps({"number": number, "error": words, "kind": type(error).__name__})

    def _do(self, store: Store, what: str, body: dict[str, Any]) -> Any:
        if what == "counts":
            return store.counts()
        if what == "lease":
            self.lease = store.lease(body["owner"], body["parent"])
            return self.lease and {"trial": self.lease.trial.to_json(), "attempt": self.lease.attempt}
        lease = self.lease
        if lease is None or [lease.trial.id, lease.attempt] != body["attempt"]:
            raise LeaseLost(f"attempt {body['attempt'][1]} of trial {body['attempt'][0]} is no longer the current one")
        if what == "heartbeat":
            return store.heartbeat(lease, body["progress"])
        if what == "commit":
            store.commit(lease, body["metrics"], warnings=body["warnings"], written=body["written"])
        elif what == "fail":
            store.fail(lease, body["reason"], body["detail"], body["warnings"])
        elif what == "release":
            store.release(lease)
        else:
            raise DopantError(f"a worker asked for {what!r}, which this dopant does not know")
        self.lease = None
        return None


def read_answers(store: RemoteStore) -> None:
    """Read answers from standard input until it closes, and with it the planning process is gone: leave at once."""
    left = b""
    while data := os.read(0, 65536):
        *lines, left = (left + data).split(b"\n")
        for line in lines:
            store.receive(line)
    os._exit(0)


def start_reading(store: RemoteStore) -> None:
    threading.Thread(target=read_answers, args=(store,), name="parent", daemon=True).start()
