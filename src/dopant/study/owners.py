"""Who holds a lease: `machine:process:start`, so that a reused process number is not mistaken for its predecessor.

Only processes of this machine can be asked whether they live. One elsewhere is known by its lease alone, so what names
a machine must not be shared by two.
"""

from __future__ import annotations

import functools
import os
import socket
import sys


@functools.cache
def machine() -> str:
    """This machine's name and, where there are any, its process namespace (containers may share a host name) and the
    number of its boot (so may machines, and the first namespace has one number on all of them)."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = "-" + file.read(8)
    except OSError:
        boot = ""
    return socket.gethostname() + space.removeprefix("pid:").replace(":", "-") + boot


def _start(process: int) -> str | None:
    """When a process started, in the kernel's ticks; "" where that cannot be known, None where it is gone."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before may hold spaces and brackets
    except FileNotFoundError:
        if sys.platform.startswith("linux"):
            return None
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return None
        except OSError:
            pass
        return ""
    except ProcessLookupError:
        return None
    except OSError:
        return ""
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()  # a zombie does nothing any more


def identity(process: int | None = None) -> str:
    """The owner string of a process on this machine (default: this one)."""
    process = os.getpid() if process is None else process
    return f"{machine()}:{process}:{_start(process) or ''}"


def alive(owner: str) -> bool | None:
    """Whether the owner still runs; None where it is on another machine and cannot be asked."""
    host, process, start = owner.rsplit(":", 2)
    if host != machine():
        return None
    now = _start(int(process))
    return now is not None and (now == start or not now or not start)
