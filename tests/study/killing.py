"""Kill a parent process alone, at a chosen moment, and look whether its children follow. Linux only (/proc)."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Kill:
    """What a SIGKILL met. survivors: workers that lived a second later; seconds: from the start to the kill."""

    seconds: float
    workers: list[int]
    survivors: list[int] = field(default_factory=list)


def running(process):
    """Whether a process runs; a zombie does not."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] not in "ZX"


def descendants(process):
    """All processes below `process`."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry))
    found, todo = [], [process]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def kill_parent(command, *, begun, delay, env=None, cwd=None, timeout=120.0):
    """Start `command`, wait until begun() is true, then `delay` seconds, then SIGKILL it alone.

    Returns a Kill, or None where it had ended by itself. Raises AssertionError where it fails or never begins.
    """
    start = time.monotonic()
    process = subprocess.Popen(
        command, env=env, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        while process.poll() is None and not begun():
            assert time.monotonic() - start < timeout, "it never began"
            time.sleep(0.005)
        end = time.monotonic() + delay
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read().decode()
            return None
        kill = Kill(time.monotonic() - start, descendants(process.pid))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        end = time.monotonic() + 1
        while time.monotonic() < end and any(map(running, kill.workers)):
            time.sleep(0.01)
        kill.survivors = [worker for worker in kill.workers if running(worker)]
        return kill
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stderr.close()
