"""Whether the compiled kernel can be had, and its compilation: once a machine and precision, kept for later processes.

The compiled code lies in DOPANT_CACHE, else in the user's cache folder under dopant/kernel, never beside the source.
A first call waits for it, so that a process repeats to the bit: the two paths round differently. After `wait(False)`
the torch path answers while it is compiled in the background. DOPANT_KERNEL=off does without it.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from . import engine_sources

DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}

_lock = threading.RLock()  # held while compiling
_starting = threading.Lock()  # held for a moment
_ready: set[torch.dtype] = set()
_started: dict[torch.dtype, threading.Thread] = {}
_state: dict[str, Any] = {"module": None, "refused": None, "wait": True, "folder": None}


def _in_a_forked_child() -> None:
    """Threads, and the locks that they hold, do not come along: what is ready stays, what was begun begins anew."""
    global _lock, _starting
    _lock, _starting = threading.RLock(), threading.Lock()
    _started.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_forked_child)


def wait(always: bool = True) -> None:
    """Whether a first call waits for the kernel, as it does unless told otherwise: one process then never mixes two
    paths, which round differently. False: the torch path answers meanwhile."""
    _state["wait"] = always


def refused() -> str | None:
    """Why there is no compiled kernel here, or None."""
    if os.environ.get("DOPANT_KERNEL", "").lower() in ("off", "0", "no", "false"):
        return "DOPANT_KERNEL is off"
    if sys.byteorder != "little":
        return "a processor that is not little-endian"
    return _state["refused"]


def module() -> ModuleType | None:
    """`dopant.quantum.kernel.function`, or None where Numba cannot be imported (`refused` says why)."""
    if refused():
        return None
    with _lock:
        if _state["module"] is None:
            try:
                with _cached_elsewhere():
                    from . import function
            except Exception as error:  # Numba and llvmlite fail in many ways on processors they do not know
                _state["refused"] = f"Numba: {type(error).__name__}: {error}"
                return None
            _state["module"] = function
        return _state["module"]


def ready(dtype: torch.dtype, *, wait: bool = False) -> bool:
    """Whether a call may use the kernel now. Starts compiling it where it is not; `wait`, here or once for all, makes
    the call wait until it is there."""
    if dtype in _ready:
        return True
    if dtype not in DTYPES or refused():
        return False
    try:
        importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        _state["refused"] = "Numba is not installed"
        return False
    known = _known(dtype)
    with _starting:
        # always a thread of its own: the caller's modes, hooks and default device are not for the warm-up
        thread = _started.get(dtype)
        if thread is None:
            thread = threading.Thread(target=_prepare, args=(dtype, known), daemon=True, name="dopant-kernel")
            _started[dtype] = thread
            thread.start()
    if known or wait or _state["wait"] or threading.current_thread() is not threading.main_thread():
        thread.join()
    return dtype in _ready


def _prepare(dtype: torch.dtype, known: bool) -> None:
    """Compile, or load what was compiled, by running a small circuit that uses every function."""
    with _lock:
        if dtype in _ready or refused():
            return
        began = time.monotonic()
        try:
            with _alone(known):
                if not known:
                    _say(f"compiling the circuit kernel for {str(dtype).removeprefix('torch.')} on this machine, once "
                         f"(about 15 s; kept in {folder()})")  # fmt: skip
                found = module()
                if found is None:
                    _say(f"no compiled circuit kernel here ({refused()}); torch does the work")
                    return
                try:
                    found.warm_up(dtype)
                except Exception as error:
                    if not known:
                        raise
                    _say(f"what was compiled is damaged ({type(error).__name__}: {error}); compiling it again")
                    for old in folder().rglob("*.nb[ic]"):
                        old.unlink(missing_ok=True)
                    found.warm_up(dtype)
                _ready.add(dtype)
                if not known:
                    with contextlib.suppress(OSError):
                        _marker(dtype).parent.mkdir(parents=True, exist_ok=True)
                        _marker(dtype).write_text(f"{time.monotonic() - began:.1f} s\n")
        except Exception as error:
            _state["refused"] = f"{type(error).__name__}: {error}"
            _say(f"no compiled circuit kernel here ({_state['refused']}); torch does the work")


def _say(what: str) -> None:
    print(f"dopant: {what}", file=sys.stderr, flush=True)


def folder() -> Path:
    """Where compiled kernels are kept; a temporary folder of this process where that cannot be written."""
    if _state["folder"] is not None:
        return _state["folder"]
    own = os.environ.get("DOPANT_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dopant"
    return base / "kernel"


def _known(dtype: torch.dtype) -> bool:
    """Whether this kernel was compiled here before and is still there."""
    with contextlib.suppress(OSError):
        return _marker(dtype).exists() and any((folder() / engine_sources()).rglob("*.nbc"))
    return False


def _marker(dtype: torch.dtype) -> Path:
    numba = importlib.metadata.version("numba")
    name = f"{platform.machine()}-{numba}-{DTYPES[dtype].name}-{engine_sources()}.done"
    return folder() / name


def _writable() -> Path:
    found = folder()
    try:
        found.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=found):
            pass
    except OSError as error:
        _state["folder"] = Path(tempfile.mkdtemp(prefix="dopant-kernel-"))
        atexit.register(shutil.rmtree, _state["folder"], ignore_errors=True)
        _say(f"{found} cannot be written ({error}); the compiled kernel is kept for this process only")
        return _state["folder"]
    return found


@contextlib.contextmanager
def _cached_elsewhere() -> Iterator[None]:
    """Numba's folder for compiled code, for what is decorated meanwhile."""
    config: Any = importlib.import_module("numba").config
    before = config.CACHE_DIR
    try:
        # a folder for each version of the sources: Numba looks at the file of a function and not at those it calls
        config.CACHE_DIR = str(_writable() / engine_sources())
        yield
    finally:
        config.CACHE_DIR = before


@contextlib.contextmanager
def _alone(known: bool) -> Iterator[None]:
    """One process compiles, the others wait and load; where no lock can be had each compiles for itself."""
    if known:
        yield
        return
    try:
        import filelock

        folder().mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(str(folder() / "lock"), timeout=120)
        lock.acquire()
    except Exception:
        yield
        return
    try:
        yield
    finally:
        lock.release()
