"""Between a worker on a node of a cluster and the process that plans: a Ray actor that owns the worker's process.

It starts the same worker as the engine for one machine does, carries its requests to whoever calls `exchange`, and its
answers back. Nobody calling means that the planning process is gone: then the worker is asked to save, and ended.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DopantError
from . import nodes
from .engine import GRACE_SECONDS, Worker

WAIT_SECONDS = 0.5  # an exchange waits so long for a request
SILENCE_SECONDS = 20.0  # without an exchange, until the planning process is taken for gone


class _Carried(Worker):
    """A worker whose requests are queued for the relay; None follows the last one."""

    def __init__(self, *given: Any, **options: Any):
        self.requests: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.owner: str | None = None
        super().__init__(*given, **options)

    def _read(self) -> None:
        try:
            super()._read()
        finally:
            self.requests.put(None)

    def hear(self, message: dict[str, Any]) -> None:
        if "ask" in message:
            self.requests.put(message)
        else:
            self.owner = message.get("owner", self.owner)
            super().hear(message)


class Relay:
    """Runs in a process of Ray's on the worker's machine; plain Python, so it can be tried without Ray.

    environment: variables of the planning process that hold where the node has none of its own. files: {path: SHA-256}
    that must be here too. place: where the worker starts, if it is a folder here.
    """

    def __init__(
        self,
        folder: str,
        number: int,
        with_files: Sequence[str],
        threads: int,
        allow: Sequence[str],
        parent: str,
        *,
        environment: Mapping[str, str],
        files: Mapping[str, str],
        place: str,
    ):
        self.worker: _Carried | None = None
        self.stopping = False
        self.heard = time.monotonic()
        for name, value in environment.items():
            os.environ.setdefault(name, value)
        found = nodes.looker()(folder, None, dict(files), nodes.SAME)
        self.host, self.facts = found["host"], nodes.facts_of(found)
        self.problem = "\n".join(nodes.problems_of(self.host, found, Path(folder), files))
        if self.problem:
            return
        try:
            self.worker = _Carried(
                Path(folder), number, with_files, threads, allow, parent=parent, more=["--remote"],
                place=place if os.path.isdir(place) else None,
            )  # fmt: skip
        except DopantError as error:
            self.problem = f"node {self.host}: {error}"
            return
        threading.Thread(target=self._leave_when_forgotten, daemon=True).start()

    def exchange(self, answers: Sequence[str], stop: bool) -> dict[str, Any]:
        """Give the worker its answers, and take what it asks and how it is. stop: it shall save and end.

        Returns within WAIT_SECONDS {host, facts, problem, ready, owner, message, requests, status, tail}; status is
        None while the worker runs, and follows its last request.
        """
        self.heard = time.monotonic()
        worker = self.worker
        if worker is None:
            return {"host": self.host, "facts": self.facts, "problem": self.problem}
        with contextlib.suppress(OSError):  # it may have ended: its status tells
            pipe = worker.process.stdin
            assert pipe is not None
            pipe.write(b"".join(line.encode() + b"\n" for line in answers))
            pipe.flush()
        if stop and not self.stopping:
            self.stopping = True
            worker.process.terminate()
        requests = [*self._taken()]
        status = worker.ended() if worker.process.poll() is not None and worker.requests.empty() else None
        return {
            "host": self.host, "facts": self.facts, "problem": "", "ready": worker.ready, "owner": worker.owner,
            "message": worker.message, "requests": requests, "status": status,
            "tail": "" if status is None else worker.tail(),
        }  # fmt: skip

    def _taken(self) -> list[dict[str, Any]]:
        assert self.worker is not None
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self.worker.requests.get(timeout=WAIT_SECONDS))
            while True:
                found.append(self.worker.requests.get_nowait())
        return [request for request in found if request is not None]

    def _leave_when_forgotten(self) -> None:
        assert self.worker is not None
        process = self.worker.process
        while process.poll() is None:
            time.sleep(0.5)
            if time.monotonic() - self.heard > SILENCE_SECONDS:
                with contextlib.suppress(OSError):
                    process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_SECONDS)
                self.worker.close()
                os._exit(0)
