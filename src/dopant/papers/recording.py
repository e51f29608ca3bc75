"""measured.toml: one row for each finished cell, added at once, whole or not at all, by a checkout of this project."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DopantError, StoreError
from ..study.answer import write_text
from .compare import Measured
from .toml_rows import document

CELL = "cell"
STARTS = "reproduce.json"  # in a study's folder: which commit trained which epochs
GENERATED = ("measured.toml", "README.md", ".svg")  # what recording and the page write themselves
_OURS = {"papers", "studies"}
IDENTITY = {
    CELL: ("cell", "part", "data", "images", "epochs", "replicates", "commit"),
    "factorial": ("study", "data", "images", "epochs", "replicates", "commit"),
    "study": ("study", "data", "images", "epochs", "replicates", "commit"),
    "checked_weights": ("file", "data", "commit"),
    "dimension": ("study", "slot", "component"),
}
"""A row of the same identity replaces the one before it."""

COMMENT = """Measured numbers, written by `dopant reproduce … --record` and its kin; never edited by hand.
One row for each finished cell. Arrays hold one number an epoch, the first epoch first: means over replicates.
seconds: of training, mean of one replicate, evaluation left out. dirty: whether files of the checkout differed from
the commit when training began (measured.toml and the generated page left out)."""


# --- whose numbers these are ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkout:
    """A git checkout of dopant: its commit, and whether files differ from it."""

    root: Path
    commit: str
    dirty: bool


def told(command: Callable[[], object]) -> int:
    """Run what a recorder was asked for: 0, or the code of an error of ours, which is told in words on stderr."""
    try:
        command()
    except DopantError as error:
        print(f"dopant: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def stamp(checkout: Checkout) -> dict[str, Any]:
    """What says when a row was recorded, by which commit."""
    return {"commit": checkout.commit, "dirty": checkout.dirty, "date": now()}


def checkout_of(folder: Path) -> Checkout | None:
    """The checkout of dopant that a paper's folder belongs to; None for an installed copy, or without git."""
    folder = folder.resolve()
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        commit = _git(folder, "rev-parse", "HEAD")
        if not top or not commit:
            return None
        root = Path(top).resolve()
        papers = root / "src" / "dopant" / "papers"
        if not folder.is_relative_to(papers) or not (root / "pyproject.toml").is_file():
            return None
        changed = [line[3:].strip('"') for line in (_git(root, "status", "--porcelain", "-uno") or "").splitlines()]
    except (OSError, subprocess.TimeoutExpired):
        return None
    foreign = [name for name in changed if not (_OURS & set(name.split("/")) and name.endswith(GENERATED))]
    return Checkout(root, commit, bool(foreign))


def _git(folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20)
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


def require_checkout(folder: Path) -> Checkout:
    """The checkout; ConfigError where numbers could not be said to belong to a commit."""
    found = checkout_of(folder)
    if found is None:
        raise ConfigError(
            "--record adds rows to a file of dopant's own sources, and this dopant is not run from a git checkout of "
            "them; clone the repository, `pip install -e .` there, and run the same command; without --record the "
            "results are in the study's folder"
        )
    return found


def command_line(arguments: Sequence[str]) -> str:
    """The command as others may give it: without `--out`, which names a folder of this machine, and program's path."""
    kept, skip = ["dopant"], False
    for argument in arguments[1:]:
        if skip or argument == "--out":
            skip = not skip
        elif not argument.startswith("--out="):
            kept.append(argument)
    return shlex.join(kept)


def note_start(
    folder: Path,
    answer: Any,
    command: Sequence[str],
    checkout: Checkout | None,
    *,
    paper: str,
    data: str,
    part: str = "",
) -> None:
    """Keep in the study's folder which commit goes on from which epochs, so that later rows can name all of them, and
    which paper and data set of it the study reproduces, so that its page can show the published numbers."""
    path = folder / STARTS
    starts = json.loads(path.read_text(encoding="utf-8"))["starts"] if path.is_file() else []
    starts.append(
        {
            "date": now(), "command": command_line(command), "commit": checkout.commit if checkout else None,
            "dirty": checkout.dirty if checkout else None, "epochs_before": epochs_of(answer),
        }
    )  # fmt: skip
    known = {"paper": paper, **({"part": part} if part else {}), "data": data, "starts": starts}
    write_text(path, json.dumps(known, indent=1))


def epochs_of(answer: Any) -> dict[str, int]:
    """{trial: epochs that it has}."""
    found: dict[str, int] = {}
    for line in answer.store.metrics():
        found[line["trial"]] = max(found.get(line["trial"], 0), int(line["epoch"]))
    return found


def commits_of(folder: Path, trials: Mapping[str, int]) -> list[tuple[str, bool]]:
    """[(commit, dirty)] of the starts that trained an epoch of these {trial: epochs now}, the oldest first."""
    path = folder / STARTS
    starts = json.loads(path.read_text(encoding="utf-8"))["starts"] if path.is_file() else []
    found: dict[str, bool] = {}
    for number, start in enumerate(starts):
        after = starts[number + 1]["epochs_before"] if number + 1 < len(starts) else trials
        worked = any(after.get(t, 0) > start["epochs_before"].get(t, 0) for t in trials)
        if worked and start["commit"]:
            found[start["commit"]] = found.get(start["commit"], False) or bool(start["dirty"])
    return list(found.items())


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


# --- rows -----------------------------------------------------------------------------------------------------------


def cell_row(answer: Any, have: Measured, *, data: str, command: Sequence[str], checkout: Checkout) -> dict[str, Any]:
    """One row of a cell whose replicates have all ended. ConfigError where no start of the study names a commit."""
    row = _row(answer, have.cell, "", data, have.images, have.epochs, have.replicates, have.seconds, command)
    for name in (have.metric, "train_loss", "test_loss", "train_accuracy"):
        if name in have.curves:
            values = have.curves[name]
            row[name] = _rounded(values.mean(0))
            if values.shape[0] > 1:
                row[f"{name}_sd"] = _rounded(values.std(0, ddof=1))
    row[f"{have.metric}_last"] = _rounded(have.curves[have.metric][:, -1])
    norms = {n: float(v[:, -1].mean()) for n, v in have.curves.items() if n.startswith("state_norm") and v.size}
    row |= {name: float(f"{norm:.6g}") for name, norm in norms.items()}
    return row


def end_row(
    answer: Any, cell: str, *, part: str, data: str, command: Sequence[str], checkout: Checkout
) -> dict[str, Any]:
    """One row of a cell of a paper with published end figures: each metric at the end of training, a number a replicate
    in their order, and what the network costs. Raises as `cell_row`."""
    trials = answer.trials
    done = trials[(trials["cell"] == cell) & (trials["status"] == "done")].sort_values("replicate")
    images = int(done["n_train"].iloc[0]) if "n_train" in done else None
    seconds = float(done["seconds"].mean()) if "seconds" in done else None
    row = _row(answer, cell, part, data, images, answer.config.recipe.epochs, len(done), seconds, command)
    kept = [c for c in done.columns if str(c).startswith(("test_", "input_")) and c != "test_reads"]
    row |= {c: _rounded(done[c]) for c in kept if done[c].notna().all()}
    costs = [c for c in done.columns if str(c).startswith("cost_") and done[c].dtype.kind in "iuf"]
    return row | {c: float(done[c].iloc[0]) for c in costs if done[c].notna().all()}


def _row(
    answer: Any, cell: str, part: str, data: str, images: int | None, epochs: int, replicates: int,
    seconds: float | None, command: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """What every row of a cell begins with; see `cell_row`."""
    own = [row for row in answer.rows if row["cell"] == cell and row["phase"] == "main"]
    reached = epochs_of(answer)
    commits = commits_of(answer.folder, {row["id"]: reached.get(row["id"], 0) for row in own})
    if not commits:  # an installed copy trained it: what is here now says nothing of that
        raise ConfigError(
            f"{cell!r} was trained by a copy of dopant that is no checkout, so no commit can be named; train it "
            "again in one, with another --out"
        )
    recipe = own[0]["description"]["recipe"]
    return {
        "cell": cell, **({"part": part} if part else {}), "data": data, "images": images, "epochs": epochs,
        "replicates": replicates, "command": command_line(command), "commit": commits[-1][0],
        "dirty": any(dirty for _, dirty in commits), "earlier_commits": [c for c, _ in commits[:-1]] or None,
        "date": now(), "optimizer": recipe["optimizer"], "lr": recipe["lr"], "batch": recipe["batch"],
        "protocol": answer.config.protocol or "own split, test set read once",
        "seconds": None if seconds is None else round(seconds, 1), **_machine(answer, own),
    }  # fmt: skip


def _machine(answer: Any, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    known = answer.provenance
    return {
        "device": (rows[0]["metrics"] or {}).get("device"), "processor": known.get("processor"),
        "threads": known.get("threads_per_trial"), "torch": (known.get("versions") or {}).get("torch"),
    }  # fmt: skip


def _rounded(values: Any) -> list[float]:
    return [round(float(v), 5) if math.isfinite(v) else math.nan for v in np.asarray(values)]


def finished_cells(answer: Any) -> list[str]:
    """Cells all of whose replicates have ended well, at the epochs that the study asks for."""
    epochs, replicates = answer.config.recipe.epochs, answer.config.replicates
    by_cell: dict[str, int] = {}
    for row in answer.store.rows():
        if row["phase"] == "main" and row["state"] == "done" and (row["epochs"] or 0) >= epochs:
            by_cell[row["cell"]] = by_cell.get(row["cell"], 0) + 1
    return [cell.name for cell in answer.cells if by_cell.get(cell.name, 0) >= replicates]


# --- the file -------------------------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """{kind of row: rows}; empty where there is no file yet. ConfigError for damaged TOML."""
    if not path.is_file():
        return {}
    try:
        return dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path.name} is not valid TOML: {error}; `git checkout` it, nothing was added") from None


def add(path: Path, kind: str, row: Mapping[str, Any]) -> str:
    """Add a row, or put it in the place of the one with the same identity; "added" or "replaced".

    Two processes that add at the same time both succeed (where the system has flock). Raises StoreError where the file
    cannot be written; it is then as it was.
    """
    identity = IDENTITY[kind]
    with _locked(path.parent):
        tables = read(path)
        rows = list(tables.get(kind, []))
        same = [i for i, old in enumerate(rows) if all(old.get(key) == row.get(key) for key in identity)]
        kept = {k: v for k, v in row.items() if v is not None}
        if same:
            rows[same[0]] = kept
        else:
            rows.append(kept)
        tables[kind] = rows
        ordered = {name: tables[name] for name in (*IDENTITY, *tables) if name in tables}
        write_text(path, document(COMMENT, {}, ordered))
    return "replaced" if same else "added"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: one process at a time is then the user's duty
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"cannot open {folder.name!r}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
