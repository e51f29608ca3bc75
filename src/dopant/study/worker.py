"""A worker: leases a trial, runs its task, commits, repeats.

`python -m dopant.study.worker DIR [--with FILE]…` is one in its own process: it gets a path and nothing else, and is
gone when its parent's pipe closes. `work_here` is the same loop in the caller's process.
"""

from __future__ import annotations

import _thread
import argparse
import contextlib
import json
import logging
import os
import signal
import stat
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataMissing, DopantError, LeaseLost, StoreError, TrialFailed, UnknownName
from . import owners
from .folder import DISK_ERRORS

if TYPE_CHECKING:
    from .remote import RemoteStore
    from .store import Lease, Store

logger = logging.getLogger("dopant.study")

# What a worker's exit status says to the engine.
STORE_GONE, REQUEST_WRONG, INTERRUPTED = 73, 78, 130
INTERRUPT_SECONDS = 3.0  # a little more than the keeper's own grace


def registered_runner(trial: Any) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """What runs the trial: the registered task that it names."""
    from .. import registry

    if trial.description.get("baseline"):
        from ..baselines import run_baseline

        return run_baseline
    return registry.tasks.get(trial.description["task"]["name"]).run


def work(
    store: Store | RemoteStore,
    owner: str | None = None,
    *,
    parent: str | None = None,
    runner: Callable[..., tuple[dict[str, Any], dict[str, Any]]] | None = None,
    stop: threading.Event | None = None,
    linger: bool = False,
    on_beat: Callable[[Store], None] | None = None,
) -> int:
    """Run trials until none is pending or running (linger: until `stop`); returns how many this worker finished.

    While others are running it waits, since a lost sibling's trial comes back. Raises StoreError where the disk
    refuses, ConfigError, UnknownName or DataMissing where no trial could run, KeyboardInterrupt where it was stopped
    inside a trial; the trial is given back in each case.
    """
    owner = owner or owners.identity()
    stop = stop or threading.Event()
    finished = 0
    while not stop.is_set():
        lease = store.lease(owner, parent)
        if lease is None:
            counts = store.counts()
            if not linger and counts["pending"] + counts["running"] == 0:
                break
            stop.wait(store.idle_seconds)
            continue
        finished += _run_one(store, lease, runner, stop, on_beat)
    return finished


def _run_one(
    store: Store | RemoteStore, lease: Lease, runner: Callable | None, stop: threading.Event, on_beat: Callable | None
) -> bool:
    """Run one attempt and record how it ended; returns whether its result or failure counts."""
    import torch

    from .. import pretrained
    from ..quantum.kernel import loading as circuit_kernel
    from ..streams import Streams
    from .keeper import Heartbeat, Keeper

    trial = lease.trial
    description = trial.description
    try:  # what fails before the task begins says nothing about the trial
        runner = runner or registered_runner(trial)
        keeper = Keeper(store.folder, trial, lease.attempt, stop=stop)
    except BaseException:
        _give_back(store, lease)
        raise
    torch.set_num_threads(max(1, int(description.get("threads") or 1)))
    circuit_kernel.wait()  # a trial that began on one path of circuits and went on on another would not repeat
    try:
        beating = Heartbeat(store.another, lease, keeper, on_beat=on_beat)
        with beating, pretrained.places(store.folder):
            metrics, items = runner(trial, Streams(description["seed"], trial.replicate), keeper)
        store.commit(lease, metrics, items, keeper.warnings)
        return True
    except LeaseLost:
        logger.warning("trial %s: another worker took over; nothing of attempt %d counts", trial.id, lease.attempt)
        return False
    except TrialFailed as error:
        return _fail(store, lease, error.reason, str(error), keeper.warnings)
    except (StoreError, UnknownName, DataMissing, KeyboardInterrupt):
        _give_back(store, lease)
        raise
    except BaseException as error:
        # Where steps were made the request could be run: it is the numbers of this trial that were refused.
        if isinstance(error, ConfigError) and not keeper.current():
            _give_back(store, lease)
            raise
        if isinstance(error, OSError) and _of_the_disk(error, store.folder):
            _give_back(store, lease)
            raise StoreError(
                f"trial {trial.id} cannot write {error.filename or 'a file'}: {error.strerror}; "
                "finished work is intact: free space or make the folder writable, then run again"
            ) from error
        # A task is a function of its description: what it raised once it would raise again.
        words = " ".join(str(error).split())[:300]
        reason = f"error: {type(error).__name__}: {words}" if words else f"error: {type(error).__name__}"
        detail = traceback.format_exc()
        with contextlib.suppress(OSError):
            (lease.folder / "error.txt").write_text(detail)
        return _fail(store, lease, reason, detail, keeper.warnings)


def _fail(store: Store | RemoteStore, lease: Lease, reason: str, detail: str, warnings: list[str]) -> bool:
    try:
        store.fail(lease, reason, detail, warnings)
    except LeaseLost:
        return False
    return True


def _give_back(store: Store | RemoteStore, lease: Lease) -> None:
    # on a full disk this may fail too; the lease then ends with this process
    with contextlib.suppress(StoreError):
        store.release(lease)


def _of_the_disk(error: OSError, folder: Path) -> bool:
    """Whether an error of a task is the disk's doing: it is full, or the study's own folder cannot be written."""
    if error.errno in DISK_ERRORS:
        return True
    name = error.filename
    inside = isinstance(name, (str, os.PathLike)) and Path(name).resolve().is_relative_to(folder.resolve())
    return isinstance(error, PermissionError) and inside


# --- in the caller's process ----------------------------------------------------------------------------------------


def work_here(
    store: Store,
    *,
    runner: Callable[..., tuple[dict[str, Any], dict[str, Any]]] | None = None,
    replan: Callable[[], Any] | None = None,
    on_poll: Callable[[list[dict[str, Any]], dict[str, int]], None] | None = None,
) -> dict[str, int]:
    """Run the study in this process, for hosts that exist only here; returns the counts.

    replan() may add trials and is called when none is left, until none comes. on_poll(rows, counts) is called once a
    second, from another thread while a trial runs. Interrupted once it saves and stops (KeyboardInterrupt), twice it
    stops at once.
    """
    import torch

    stop = threading.Event()
    here = owners.identity()
    threads = torch.get_num_threads()

    def beat(own: Store) -> None:
        if on_poll is not None:
            on_poll(own.rows(), own.counts())

    with _gentle_interrupt(stop), contextlib.ExitStack() as leaving:
        leaving.callback(torch.set_num_threads, threads)
        while True:
            work(store, here, parent=here, runner=runner, stop=stop, on_beat=beat)
            if stop.is_set():
                raise KeyboardInterrupt
            beat(store)
            if replan is not None:
                replan()
            counts = store.counts()
            if counts["pending"] + counts["running"] == 0:
                return counts


@contextlib.contextmanager
def _gentle_interrupt(stop: threading.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets `stop`, the second raises KeyboardInterrupt. Only the main thread gets any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    # a task that never asks its keeper is stopped all the same, a little later
    timer = threading.Timer(INTERRUPT_SECONDS, _thread.interrupt_main)
    timer.daemon = True

    def handle(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        timer.start()

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in old.items():
            signal.signal(number, handler)


# --- as a process ---------------------------------------------------------------------------------------------------


def _end_with_parent(watched: bool = True) -> None:
    """Leave at once when the parent is gone: its end of our standard input closes, and Linux sends SIGKILL too (the
    pipe alone would not do where a library's C code holds the interpreter, or a fork of the parent holds the pipe).

    watched: whether the pipe is read here; the reader of a remote store sees it close too."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    if watched:
        threading.Thread(target=watch, name="parent", daemon=True).start()
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main(arguments: list[str] | None = None) -> int:
    """The process: talks to its parent in JSON lines on standard output, to people on standard error."""
    parser = argparse.ArgumentParser(prog="python -m dopant.study.worker", description=__doc__)
    parser.add_argument("folder", metavar="DIR", help="the study's folder")
    parser.add_argument("--with", dest="files", action="append", default=[], metavar="FILE", help="a file to load")
    parser.add_argument("--allow", action="append", default=[], metavar="MODULE:CALLABLE", help="code it may resolve")
    parser.add_argument("--parent", help="identity of the process that plans; then wait for more until it closes stdin")
    parser.add_argument(
        "--remote", action="store_true", help="ask the parent for the store, which is another machine's"
    )
    options = parser.parse_args(arguments)
    if options.parent or stat.S_ISFIFO(os.fstat(0).st_mode):
        _end_with_parent(watched=not options.remote)
    # What tasks print goes to the log; the pipe to the parent is ours alone.
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: os._exit(INTERRUPTED) if stop.is_set() else stop.set())

    speaking = threading.Lock()  # heartbeats ask from a thread of their own

    def say(**message: Any) -> None:
        with speaking, contextlib.suppress(OSError):
            print(json.dumps(message), file=pipe, flush=True)

    try:
        from .. import registry
        from . import checkpoint, keeper  # noqa: F401  what is broken here must show before a trial is leased
        from .remote import RemoteStore, start_reading
        from .store import Store

        for file in options.files:
            registry.load_file(file)
        for reference in options.allow:
            registry.allow(reference)
        with contextlib.closing(
            RemoteStore(options.folder, say) if options.remote else Store.open(options.folder)
        ) as store:
            if isinstance(store, RemoteStore):
                start_reading(store)
            say(ready=os.getpid(), owner=owners.identity())
            work(store, parent=options.parent, stop=stop, linger=options.parent is not None)
    except KeyboardInterrupt:
        return INTERRUPTED
    except StoreError as error:
        say(error=str(error), kind=type(error).__name__)
        print(error, file=sys.stderr)
        return STORE_GONE
    except DopantError as error:
        say(error=str(error), kind=type(error).__name__)
        print(error, file=sys.stderr)
        return REQUEST_WRONG
    return INTERRUPTED if stop.is_set() else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {os.getpid()} %(levelname)s %(message)s")
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # nothing is left to tidy: no exit handler of a library may keep us
