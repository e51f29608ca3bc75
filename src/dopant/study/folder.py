"""Files of a study that survive a kill, a full disk and a flipped bit.

Every JSON text is sealed: it ends with the SHA-256 of all that stands before, so damage is seen, not believed. Whole
files are written beside their place, flushed and renamed; `metrics.jsonl` is appended to, and a torn last line is cut
off before the next one is written.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .trial import Trial, identify

FORMAT = 1

# What the world does to a disk, as opposed to a mistake of a task.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_SEAL = re.compile(rb',"checksum":"([0-9a-f]{16,64})"}\n?\Z')


class Damaged(StoreError):
    """The file is not what was written: run `dopant doctor DIR`; an older copy is used where there is one."""


# --- JSON that keeps every float and says when it was damaged -------------------------------------------------------


def plain(value: Any) -> Any:
    """`value` as strict JSON: numbers of NumPy and 0-d tensors become Python's, nan and infinities tagged strings."""
    if hasattr(value, "item") and not isinstance(value, (int, float)) and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(
        f"{type(value).__name__} cannot be kept as JSON; give a number, a string, or a list or dict of them"
    )


def _untag(found: dict[str, Any]) -> Any:
    return float(found["$float"]) if found.keys() == {"$float"} else found


def dumps(value: Any, indent: int | None = None) -> str:
    """Strict JSON of `value` (see `plain`)."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(plain(value), indent=indent, separators=separators, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """The inverse of `dumps`."""
    return json.loads(text, object_hook=_untag)


def seal(text: str, digits: int = 64) -> bytes:
    """The text of a JSON object with a checksum of its bytes as last entry."""
    head = text[:-1].rstrip().encode()
    return head + f',"checksum":"{hashlib.sha256(head).hexdigest()[:digits]}"}}\n'.encode()


def unseal(data: bytes) -> bytes:
    """The JSON object's text inside a seal. Raises Damaged where seal and text disagree."""
    found = _SEAL.search(data)
    if found is None:
        raise Damaged("cut short, or not written by dopant")
    head = data[: found.start()]
    if hashlib.sha256(head).hexdigest()[: len(found[1])] != found[1].decode():
        raise Damaged("the checksum does not match")
    return head + b"}"


# --- writing --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turn an OSError of our own reading and writing into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {error.filename or path}: {error.strerror or error}; "
            "finished work is intact: free space or make the folder writable, then run again"
        ) from error


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path`, wholly or not at all: a sibling file, flushed to the disk, then renamed over `path`."""
    scratch = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        with open(scratch, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise


def read_sealed(path: Path) -> Any:
    """The object in a sealed JSON file. Raises Damaged, naming the file, where it is missing or not as written."""
    try:
        return loads(unseal(path.read_bytes()))
    except FileNotFoundError:
        raise Damaged(f"{path.parent.name}/{path.name} is missing") from None
    except OSError as error:
        raise Damaged(f"{path.parent.name}/{path.name}: {error.strerror}") from None
    except (Damaged, ValueError) as error:
        raise Damaged(f"{path.parent.name}/{path.name}: {error}") from None


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Add one sealed line to a log; a torn last line, left by a kill or a full disk, is cut off first."""
    repair(path)
    data = seal(dumps(row), digits=16)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        while data:
            data = data[os.write(handle, data) :]
    finally:
        os.close(handle)


def repair(path: Path) -> int:
    """Make the log end with a whole line. Returns how many bytes of a torn line were cut off."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return 0
    if size == 0:
        return 0
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return 0
        file.seek(0)
        data = file.read()
        start = data.rfind(b"\n") + 1
        try:
            unseal(data[start:])
        except Damaged:
            file.truncate(start)
            return size - start
        file.seek(0, os.SEEK_END)  # the line is whole, only its end was not written
        file.write(b"\n")
    return 0


def read_lines(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The whole rows of a log, and a word on each line that is not whole."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], []
    lines = data.split(b"\n")
    whole = _all_whole(lines)
    if whole is not None:
        return whole, []
    rows, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            rows.append(loads(unseal(line)))
        except (Damaged, ValueError) as error:
            problems.append(f"{path.parent.name}/{path.name} line {number}: {error}")
    return rows, problems


def _all_whole(lines: list[bytes]) -> list[dict[str, Any]] | None:
    """The rows of a log whose every line is whole, parsed at once (a third of the time); None where one is not."""
    heads = []
    for line in filter(None, lines):
        head, found, rest = line.rpartition(b',"checksum":"')
        digits = rest[:-2]
        if not found or not rest.endswith(b'"}') or not 16 <= len(digits) <= 64:
            return None
        if hashlib.sha256(head).hexdigest()[: len(digits)].encode() != digits:
            return None
        heads.append(head)
    text = b"[" + b"},".join(heads) + b"}]" if heads else b"[]"
    try:
        rows = loads(text) if b'"$float"' in text else json.loads(text)
    except ValueError:
        return None
    return rows if len(rows) == len(heads) else None


# --- the folder of one trial ----------------------------------------------------------------------------------------


class TrialFolder:
    """`trials/ID`: trial.json and one folder an attempt, with its log, checkpoints and result or failure."""

    def __init__(self, study: Path, trial_id: str):
        self.path, self.id = study / "trials" / trial_id, trial_id

    def attempt(self, number: int) -> Path:
        return self.path / f"attempt-{number}"

    def attempts(self) -> list[int]:
        """Numbers of the attempts that left a folder, ascending."""
        try:
            names = os.listdir(self.path)
        except OSError:
            return []
        return sorted(int(n[8:]) for n in names if n.startswith("attempt-") and n[8:].isdigit())

    def write_trial(self, trial: Trial, order: int) -> None:
        """Keep the description (atomic). Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        body = {"format": FORMAT, "order": order, **trial.to_json()}
        # json, not dumps: the description must come back exactly as it was hashed, and holds no nan
        data = seal(json.dumps(body, indent=1, separators=(",", ": "), allow_nan=False))
        path = self.path / "trial.json"
        if not path.exists() or path.read_bytes() != data:
            write_atomic(path, data)

    def read_trial(self) -> tuple[Trial, int]:
        """The trial and its place in the plan. Raises Damaged."""
        body = read_sealed(self.path / "trial.json")
        if body.get("format", 0) > FORMAT:
            raise StoreError(f"{self.id}/trial.json was written by a newer dopant; upgrade this one")
        if identify(body["description"]) != self.id:
            raise Damaged(f"{self.id}/trial.json: the description's hash is {identify(body['description'])}")
        return Trial.from_json(body), body["order"]

    def result(self, number: int) -> dict[str, Any] | None:
        """The valid result of an attempt, or None."""
        try:
            found = read_sealed(self.attempt(number) / "result.json")
        except Damaged:
            return None
        return found if found.get("trial") == self.id and found.get("attempt") == number else None

    def finished(self, epochs: int | None) -> dict[str, Any] | None:
        """The latest valid result that reached `epochs` (None: any), or None."""
        for number in reversed(self.attempts()):
            found = self.result(number)
            if found and (epochs is None or (found["epochs"] is not None and found["epochs"] >= epochs)):
                return found
        return None

    def metrics(self) -> tuple[list[dict[str, Any]], list[str]]:
        """One row an epoch, ascending; where attempts overlap the highest counts. And what was damaged."""
        merged: dict[Any, dict[str, Any]] = {}
        problems: list[str] = []
        for number in self.attempts():
            rows, bad = read_lines(self.attempt(number) / "metrics.jsonl")
            merged.update((row["epoch"], row) for row in rows)
            problems += [f"{self.id}/{word}" for word in bad]
        return [merged[epoch] for epoch in sorted(merged)], problems
