"""Whether the compiled kernel can be had, and its compilation: once a machine and precision, kept for later processes.

The compiled code lies in DOPANT_CACHE, else in the user's cache folder under dopant/kernel, never beside the source.
While it is compiled in the background the torch path answers; `wait()` makes the first call wait instead, which a
training that must be repeatable to the bit wants: the two paths round differently. DOPANT_KERNEL=off does without it.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}

_lock = threading.RLock()
_ready: set[torch.dtype] = set()
_started: dict[torch.dtype, threading.Thread] = {}
_state: dict[str, Any] = {"module": None, "refused": None, "wait": False}


def wait(always: bool = True) -> None:
    """From now on a first call waits for the kernel, so that one process never mixes two paths."""
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


def ready(dtype: torch.dtype) -> bool:
    """Whether a call may use the kernel now. Starts compiling it where it is not; see `wait`."""
    if dtype in _ready:
        return True
    if dtype not in DTYPES or refused():
        return False
    try:
        importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        _state["refused"] = "Numba is not installed"
        return False
    known = _marker(dtype).exists()
    if known or _state["wait"] or threading.current_thread() is not threading.main_thread():
        _prepare(dtype, known)
        return dtype in _ready
    with _lock:
        if dtype not in _started:
            thread = threading.Thread(target=_prepare, args=(dtype, known), daemon=True, name="dopant-kernel")
            _started[dtype] = thread
            thread.start()
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
                    print(f"dopant: compiling the circuit kernel for "
                          f"{str(dtype).removeprefix('torch.')} on this machine, once "
                          f"(about 15 s; kept in {folder()})", file=sys.stderr, flush=True)  # fmt: skip
                found = module()
                if found is None:
                    return
                found.warm_up(dtype)
                _ready.add(dtype)
                if not known:
                    with contextlib.suppress(OSError):
                        _marker(dtype).parent.mkdir(parents=True, exist_ok=True)
                        _marker(dtype).write_text(f"{time.monotonic() - began:.1f} s\n")
        except Exception as error:
            _state["refused"] = f"{type(error).__name__}: {error}"
            print(
                f"dopant: no compiled circuit kernel here ({_state['refused']}); torch does the work", file=sys.stderr
            )


def folder() -> Path:
    """Where compiled kernels are kept."""
    own = os.environ.get("DOPANT_CACHE")
    if own:
        return Path(own) / "kernel"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dopant" / "kernel"


def _marker(dtype: torch.dtype) -> Path:
    from . import engine_sources

    numba = importlib.metadata.version("numba")
    name = f"{platform.machine()}-{numba}-{DTYPES[dtype].name}-{engine_sources()}.done"
    return folder() / name


@contextlib.contextmanager
def _cached_elsewhere() -> Iterator[None]:
    """Numba's folder for compiled code, for what is decorated meanwhile."""
    config: Any = importlib.import_module("numba").config
    before = config.CACHE_DIR
    try:
        folder().mkdir(parents=True, exist_ok=True)
        config.CACHE_DIR = str(folder())
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
