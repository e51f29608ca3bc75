"""Whether the machines of a cluster can do a study's work: one folder, the same files, the same versions."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .folder import disk

SAME = ("dopant", "torch", "numpy")  # whose versions decide numbers; of Python 3.x the x too
TOKEN = ".shared-"


def looker() -> Callable[..., dict[str, Any]]:
    """The function that a node runs. It is made here, inside another, so that it travels whole: a node that lacks
    dopant can then say so."""

    def look(folder: str, token: str | None, files: dict[str, str], packages: Sequence[str]) -> dict[str, Any]:
        import hashlib
        import os
        import platform
        import secrets
        import socket
        from importlib.metadata import PackageNotFoundError, version

        def installed(name: str) -> str | None:
            try:
                return version(name)
            except PackageNotFoundError:
                return None

        def processor() -> str:
            try:
                with open("/proc/cpuinfo", encoding="utf-8") as file:
                    names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
            except OSError:
                names = []
            return names[0] if names else platform.processor() or platform.machine()

        problems, sums = [], {}
        if token is not None:
            try:
                with open(os.path.join(folder, token), encoding="utf-8") as file:
                    text = file.read()
                with open(os.path.join(folder, f"{token}.{secrets.token_hex(8)}"), "x", encoding="utf-8") as file:
                    file.write(text)
            except OSError as error:
                problems.append(f"{error.strerror}: {error.filename}")
        for path in files:
            try:
                with open(path, "rb") as file:
                    sums[path] = hashlib.sha256(file.read()).hexdigest()
            except OSError as error:
                sums[path] = error.strerror or "cannot be read"
        return {
            "host": socket.gethostname(),
            "versions": {"python": platform.python_version()} | {name: installed(name) for name in packages},
            "platform": platform.platform(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "problems": problems,
            "sums": sums,
        }

    return look


def sums_of(paths: Sequence[str | Path]) -> dict[str, str]:
    """{absolute path: SHA-256} of files that nodes must have too."""
    return {str(Path(path).resolve()): hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths}


def versions_here() -> dict[str, str | None]:
    from .provenance import version_of

    return {"python": platform.python_version()} | {name: version_of(name) for name in SAME}


def problems_of(name: str, found: Mapping[str, Any], folder: Path, files: Mapping[str, str]) -> list[str]:
    """What keeps the node `name`, which answered `found` (see `looker`), from the work: one line each."""
    lines = [
        f"node {name} cannot use the study's folder {folder} ({why}); name with --out a folder that every node sees "
        "at the same path"
        for why in found["problems"]
    ]
    for path, sum_ in found["sums"].items():
        if sum_ != files[path]:
            why = "another file there" if len(sum_) == 64 else sum_
            lines.append(f"node {name} does not have {path} ({why}); put it where every node sees it")
    for package, ours in versions_here().items():
        theirs = found["versions"].get(package)
        short = (lambda v: v and v.rsplit(".", 1)[0]) if package == "python" else (lambda v: v)
        if short(theirs) != short(ours):
            lines.append(
                f"node {name} has {package} {theirs or 'not installed'}, here it is {ours or 'not installed'}; "
                "results of different versions do not belong in one study: install the same on all"
            )
    return lines


def examine(
    folder: Path, files: Mapping[str, str], ask: Callable[[str, Mapping[str, str]], Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Have every node read a fresh file of the study's folder and write one beside it; returns {node: facts}.

    ask(token, files): {node: what its `look` gave, or an exception}. Raises ConfigError with a line for each node and
    problem.
    """
    token, word = TOKEN + secrets.token_hex(4), secrets.token_hex(4)
    with disk(folder):
        (folder / token).write_text(word, encoding="utf-8")
    try:
        found = ask(token, files)
        lines = []
        for name, answer in found.items():
            if isinstance(answer, BaseException):
                lines.append(f"node {name} did not answer ({type(answer).__name__}: {str(answer).splitlines()[0]})")
                continue
            lines += problems_of(name, answer, folder, files)
    finally:
        for path in folder.glob(f"{token}*"):
            with contextlib.suppress(OSError):
                path.unlink()
    if lines:
        raise ConfigError(lines)
    return {name: facts_of(answer) for name, answer in found.items()}


def facts_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What provenance keeps of a node."""
    return {key: answer[key] for key in ("host", "versions", "platform", "processor", "cores")}
