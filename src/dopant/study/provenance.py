"""Where the numbers come from: versions, platform, data, files, commit, command."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import _loading
from ..errors import ConfigError

PACKAGES = ("dopant", "torch", "numpy", "scipy", "pandas", "scikit-learn", "safetensors", "timm")


def record(command: Sequence[str] | None, files: dict[str, str], data: dict[str, Any], threads: int) -> dict[str, Any]:
    """One start of a study. Paths of the machine stay out of it."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": list(command) if command else [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": {"python": platform.python_version()} | {p: version_of(p) for p in PACKAGES},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads_per_trial": threads,
        "git_commit": _git_commit(),
        "files": files,
        "plugins": dict(_loading.packages),
        "plugins_left_out": [b.partition(" was left out")[0] for b in _loading.broken],
        "data": data,
    }


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """The commit of the folder that the command was given in, with a + where files differ from it."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
        if commit.returncode:
            return None
        changed = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=5
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return commit.stdout.strip() + ("+" if changed else "")


def append(path: Path, start: dict[str, Any], notes: Sequence[str]) -> None:
    """Add a start to provenance.json; the newest start's facts stand at the top level, all starts under `starts`."""
    from .answer import write_text

    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    starts = [*old.get("starts", []), start]
    kept = list(dict.fromkeys([*old.get("notes", []), *notes]))
    write_text(path, json.dumps(start | {"starts": starts, "notes": kept}, indent=1, ensure_ascii=False))


def add_nodes(path: Path, nodes: Mapping[str, Any]) -> None:
    """Add what is known of the machines that do the work, {node: facts}, to the newest start."""
    from .answer import write_text

    if not path.is_file():
        return
    old = json.loads(path.read_text(encoding="utf-8"))
    known = {**(old["starts"][-1].get("nodes") or {}), **nodes}
    old["starts"][-1]["nodes"] = old["nodes"] = known
    write_text(path, json.dumps(old, indent=1, ensure_ascii=False))


def same_data(path: Path, facts: dict[str, Any]) -> None:
    """ConfigError where the study in `path` was begun on other data than these: results of the two must not mix."""
    if not path.is_file():
        return
    before = json.loads(path.read_text(encoding="utf-8")).get("data") or {}
    old, new = before.get("fingerprint"), facts.get("fingerprint")
    if old and new and old != new:
        raise ConfigError(
            f"the data have changed since this study began (fingerprint {old}, now {new}); restore them, or begin "
            "another study with --out"
        )
