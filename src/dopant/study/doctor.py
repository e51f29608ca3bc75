"""The doctor of a study: read every checksum, and bring the index to what the trial folders say."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checkpoint, owners
from .folder import Damaged, TrialFolder, dumps, read_sealed
from .trial import identify

if TYPE_CHECKING:
    from .store import Store


def folders(study: Path) -> list[str]:
    """Names under `trials/`, sorted."""
    try:
        return sorted(n for n in os.listdir(study / "trials") if (study / "trials" / n).is_dir())
    except FileNotFoundError:
        return []


def problems(store: Store) -> list[str]:
    """A sentence on everything that is wrong: index, descriptions, logs, checkpoints, results, items, folders."""
    found = [f"index.sqlite: {row[0]}" for row in store._query("PRAGMA quick_check") if row[0] != "ok"]
    known = set()
    for row in store.rows():
        known.add(row["id"])
        found += _problems_of_row(store.folder, row)
    for name in folders(store.folder):
        found += _problems_of_folder(TrialFolder(store.folder, name))
        if name not in known:
            found.append(f"trials/{name} is in no plan; `dopant doctor` adds it if its description is whole")
    return found


def _problems_of_row(study: Path, row: dict[str, Any]) -> list[str]:
    found = []
    folder = TrialFolder(study, row["id"])
    if identify(row["description"]) != row["id"]:
        found.append(f"{row['id']}: the index holds a description whose hash is {identify(row['description'])}")
    if row["attempt"] > 0 and not folder.path.is_dir():
        return [*found, f"{row['id']}: {row['state']} after {row['attempt']} attempts, but its folder is gone"]
    if row["state"] == "done":
        result = folder.result(row["result_attempt"])
        if result is None:
            found.append(f"{row['id']}: done, but attempt-{row['result_attempt']} has no valid result.json")
        elif dumps(result["metrics"]) != dumps(row["metrics"]):
            found.append(f"{row['id']}: the index and result.json disagree on the metrics")
    if row["state"] == "failed" and not (folder.attempt(row["attempt"]) / "failure.json").is_file():
        found.append(f"{row['id']}: failed ({row['reason']}), but attempt-{row['attempt']} has no failure.json")
    return found


def _problems_of_folder(folder: TrialFolder) -> list[str]:
    found = []
    try:
        folder.read_trial()
    except Damaged as error:
        found.append(_with_id(folder, error))
    found += folder.metrics()[1]
    for number in folder.attempts():
        attempt = folder.attempt(number)
        for name in ("result.json", "failure.json"):
            if (attempt / name).exists():
                try:
                    body = read_sealed(attempt / name)
                    if name == "result.json" and body["items"]:
                        checkpoint.read_tensors(attempt, body["items"])
                except Damaged as error:
                    found.append(_with_id(folder, error))
        for generation in checkpoint.generations(attempt):
            try:
                checkpoint.read(attempt, generation)
            except Damaged as error:
                found.append(_with_id(folder, error))
    return found


def _with_id(folder: TrialFolder, error: Damaged) -> str:
    return str(error) if str(error).startswith(folder.id) else f"{folder.id}/{error}"


def rebuild(store: Store) -> list[str]:
    """Bring the index to what the folders say; returns a sentence on each change.

    A trial with a valid result for its epochs is done, one whose last attempt failed is failed, any other pending.
    Trials that never started live in the index alone and stay; those that a live worker holds are left alone.
    """
    words = []
    with store._write():
        (last,) = store._db.execute("SELECT coalesce(max(ord), -1) FROM trials").fetchone()
        for name in folders(store.folder):
            folder = TrialFolder(store.folder, name)
            try:
                trial, order = folder.read_trial()
            except Damaged as error:
                words.append(f"left out: {_with_id(folder, error)}")
                continue
            if store._row(name) is None:
                taken = store._db.execute("SELECT 1 FROM trials WHERE ord=?", (order,)).fetchone()
                last = max(last + 1, order)
                store._insert(trial, last if taken else order)
                words.append(f"{name}: added from its folder")
        for row in store._db.execute("SELECT * FROM trials ORDER BY ord").fetchall():
            if row["state"] == "running" and owners.alive(row["owner"]) is not False and _fresh(row):
                continue
            folder = TrialFolder(store.folder, row["id"])
            new = _from_folder(folder, row)
            old = {key: row[key] for key in new}
            if old != new:
                store._db.execute(f"UPDATE trials SET {', '.join(f'{k}=:{k}' for k in new)} WHERE id=:id",
                                  {**new, "id": row["id"]})  # fmt: skip
                words.append(f"{row['id']}: {row['state']} -> {new['state']}")
    return words


def _fresh(row: Any) -> bool:
    return row["lease_until"] is not None and row["lease_until"] > time.time()


def _from_folder(folder: TrialFolder, row: Any) -> dict[str, Any]:
    attempts = folder.attempts()
    last = max([*attempts, row["attempt"]])
    result = folder.finished(None)
    enough = result is not None and (row["epochs"] is None or (result["epochs"] or 0) >= row["epochs"])
    if result is not None and result["items"]:
        try:
            checkpoint.read_tensors(folder.attempt(result["attempt"]), result["items"])
        except Damaged:  # its predictions are lost, so it has to run again, from its last state
            (folder.attempt(result["attempt"]) / "result.json").rename(
                folder.attempt(result["attempt"]) / "result-damaged.json"
            )
            return _from_folder(folder, row)
    failure = None
    if attempts and not enough:
        try:
            failure = read_sealed(folder.attempt(attempts[-1]) / "failure.json")
        except Damaged:
            failure = None
    new = {"state": "done" if enough else "failed" if failure else "pending", "attempt": last,
           "owner": None, "parent": None, "lease_until": None, "reason": failure["reason"] if failure else None,
           "metrics": dumps(result["metrics"]) if result else None,
           "result_attempt": result["attempt"] if result else None}  # fmt: skip
    if result:
        new |= {"warnings": dumps(result["warnings"]), "started": result["started"], "finished": result["finished"]}
    return new


def repair(folder: str | Path) -> list[str]:
    """Rebuild the index of a study whose index may be missing or damaged; a damaged one is moved aside."""
    from ..errors import StoreError
    from .store import Store

    folder, words = Path(folder), []
    if not (folder / "trials").is_dir():
        raise StoreError(f"{folder} is not a study: it has no trials")
    try:
        store = Store.open(folder)
        if store._query("PRAGMA quick_check")[0][0] != "ok":
            store.close()
            raise StoreError("damaged")
    except StoreError as error:
        if "newer dopant" in str(error):
            raise
        for path in sorted(folder.glob("index.sqlite*")):
            number = len(list(folder.glob(f"damaged-*-{path.name}"))) + 1
            path.rename(folder / f"damaged-{number}-{path.name}")
            words.append(f"{path.name} was damaged; kept as damaged-{number}-{path.name}")
        store = Store.create(folder)
        words.append("index.sqlite made anew; run the study again to plan trials that had not started")
    with store:
        return words + store.rebuild()
