"""The engine for this machine: starts workers, plans on when they run dry, and answers for those that die."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import DopantError, StoreError
from . import owners
from .folder import disk
from .remote import again
from .store import Store
from .worker import INTERRUPTED, REQUEST_WRONG, STORE_GONE

POLL_SECONDS = 0.1
WATCH_SECONDS = 0.5  # between calls of on_poll
GRACE_SECONDS = 6.0  # for workers to save when the study is interrupted
IDLE_DEATHS = 3  # workers that may die in a row without holding a trial
_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM", "NUMBA")


class Worker:
    """One worker process, its log in DIR/logs and what it said last.

    parent: the planning process, by default this one. more: further arguments. place: where it starts.
    """

    name = "a worker"

    def __init__(
        self,
        folder: Path,
        number: int,
        files: Sequence[str | Path],
        threads: int,
        allow: Sequence[str] = (),
        *,
        parent: str | None = None,
        more: Sequence[str] = (),
        place: str | None = None,
    ):
        self.log = folder / "logs" / f"worker-{number}.log"
        command = [sys.executable, "-m", "dopant.study.worker", str(folder.resolve()), *more]
        command += ["--parent", parent or owners.identity()]
        for file in files:
            command += ["--with", str(Path(file).resolve())]
        for reference in allow:
            command += ["--allow", reference]
        with disk(self.log):
            self.log.parent.mkdir(exist_ok=True)
            with open(self.log, "ab") as log:
                self.start_of_log = log.tell()
                self.process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=_environment(threads),
                    cwd=place,
                )  # fmt: skip
        self.identity = owners.identity(self.process.pid)
        self.ready, self.message = False, None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self.hear(json.loads(line))

    def hear(self, message: dict[str, Any]) -> None:
        """Take in one line of it; runs in a thread."""
        self.ready = self.ready or "ready" in message
        self.message = message if "error" in message else self.message

    def ended(self) -> int | None:
        """The exit status, or None while it runs."""
        status = self.process.poll()
        if status is not None:
            self._reader.join(timeout=1)
        return status

    def close(self) -> None:
        """Close its pipe, on which it leaves at once, and wait for it."""
        for pipe in (self.process.stdin, None):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(timeout=1)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def tail(self, lines: int = 15) -> str:
        """The last lines that it wrote to its log."""
        try:
            data = self.log.read_bytes()[self.start_of_log :]
        except OSError:
            return ""
        return "\n".join(data.decode(errors="replace").splitlines()[-lines:])


def _environment(threads: int) -> dict[str, str]:
    """For a worker: the threads of a trial (read when torch is imported), and the place of a package not installed."""
    environment = dict(os.environ) | {f"{name}_NUM_THREADS": str(threads) for name in _THREADS}
    spec = importlib.util.find_spec("dopant")
    if spec is not None and spec.origin is not None:
        root = str(Path(spec.origin).parent.parent)
        if not root.endswith("-packages"):
            paths = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
            environment["PYTHONPATH"] = os.pathsep.join(paths if root in paths else [*paths, root])
    return environment


def run_local(
    folder: str | Path,
    workers: int | None = None,
    with_files: Sequence[str | Path] = (),
    *,
    replan: Callable[[], Any] | None = None,
    on_poll: Callable[[list[dict[str, Any]], dict[str, int]], None] | None = None,
    allow: Sequence[str] = (),
) -> dict[str, int]:
    """Run what is planned in `folder` with worker processes; returns the counts when nothing is pending or running.

    workers: how many, by default one per core. replan() may add trials to the study; it is called when none is
    pending and, after the last has ended, until none comes. on_poll(rows, counts) is called twice a second.
    Raises StoreError where the disk refuses, another DopantError where workers cannot start, KeyboardInterrupt when
    interrupted by SIGINT or SIGTERM; unfinished trials are then given back with their last state.
    allow: references to code (`module:callable`) that workers may resolve.
    """
    with Store.open(folder) as store:
        return carry_out(store, Crew(store, workers or os.cpu_count() or 1, with_files, allow), replan, on_poll)


def carry_out(store: Store, crew: Crew, replan: Callable | None, on_poll: Callable | None) -> dict[str, int]:
    """Have the crew do what is planned, as `run_local` says; it is closed at the end."""
    with _interruptible():
        try:
            _supervise(store, crew, replan, on_poll)
        except BaseException:
            crew.interrupt()
            raise
        finally:
            crew.close()
            # what a killed worker still held was interrupted, not lost
            with contextlib.suppress(StoreError):
                store.release_all(owners.identity())
        return store.counts()


def _supervise(store: Store, crew: Crew, replan: Callable | None, on_poll: Callable | None) -> None:
    watched, planned_at = 0.0, -1
    while True:
        crew.check()
        store.reclaim()
        counts = store.counts()
        if counts["pending"] == 0 and replan is not None:
            ended = counts["done"] + counts["failed"]
            if ended != planned_at or counts["running"] == 0:
                planned_at = ended
                replan()
                counts = store.counts()
        if on_poll is not None and (time.monotonic() - watched > WATCH_SECONDS or counts["running"] == 0):
            on_poll(store.rows(), counts)
            watched = time.monotonic()
        if counts["pending"] + counts["running"] == 0:
            return
        crew.grow(counts["pending"] + counts["running"])
        time.sleep(POLL_SECONDS)


class Crew:
    """The workers of one run."""

    def __init__(self, store: Store, size: int, files: Sequence[str | Path], allow: Sequence[str] = ()):
        self.store, self.size, self.files, self.allow = store, size, files, allow
        self.workers: list[Any] = []
        self.started = 0
        self.idle_deaths = 0

    def grow(self, wanted: int) -> None:
        """Have as many workers as there is work for, up to the size."""
        if len(self.workers) >= min(self.size, wanted):
            return
        threads = max((int(t.description.get("threads") or 1) for t in self.store.trials()), default=1)
        while len(self.workers) < min(self.size, wanted):
            self.started += 1
            self.workers.append(self.start(threads))

    def start(self, threads: int) -> Any:
        """One more worker."""
        return Worker(self.store.folder, self.started, self.files, threads, self.allow)

    def held(self, worker: Any, status: int) -> bool:
        """Whether a worker that ended held a trial, which it has lost."""
        return any(r["state"] == "running" and r["owner"] == worker.identity for r in self.store.rows())

    def check(self) -> None:
        """Look for workers that ended; `grow` replaces them. Raises what made them end where it concerns all."""
        for worker in list(self.workers):
            status = worker.ended()
            if status is None:
                continue
            self.workers.remove(worker)
            worker.close()
            if status in (STORE_GONE, REQUEST_WRONG) and worker.message:
                default = StoreError if status == STORE_GONE else DopantError
                raise again(worker.message["kind"], worker.message["error"], default)
            if not worker.ready and status != INTERRUPTED:
                raise DopantError(
                    f"{worker.name} could not start ({_words(status)}); the end of {worker.log}:\n{worker.tail()}"
                )
            self.idle_deaths = 0 if self.held(worker, status) else self.idle_deaths + 1
            if self.idle_deaths >= IDLE_DEATHS:
                raise DopantError(f"workers keep ending ({_words(status)}); the end of {worker.log}:\n{worker.tail()}")

    def interrupt(self) -> None:
        """Ask all to save and stop; a second interrupt, or the end of the grace, kills them."""
        for worker in self.workers:
            with contextlib.suppress(OSError):
                worker.process.terminate()
        end = time.monotonic() + GRACE_SECONDS
        try:
            while time.monotonic() < end and any(w.process.poll() is None for w in self.workers):
                time.sleep(0.02)
        except KeyboardInterrupt:
            pass

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.workers = []


def _words(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM means what Ctrl-C means. Signals reach the main thread only; elsewhere nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
