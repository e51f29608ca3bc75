"""Looks at studies of this very process: SQLite's locks are the process's, and any closed file drops them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import toy_task

from dopant.study import forecast
from dopant.study.store import Store
from dopant.study.watch import Watcher

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/locks")


def locks(folder: Path) -> int:
    """How many locks this process holds on the index's files."""
    files = {f.stat().st_ino for f in folder.glob("index.sqlite*")}
    held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return sum(line[-4] == str(os.getpid()) and int(line[-3].rsplit(":", 1)[1]) in files for line in held)


def look(folder: Path) -> None:
    assert Watcher(folder).look().counts["planned"] == 1


def foretell(folder: Path) -> None:
    assert len(forecast._rows(folder)) == 1


@pytest.mark.parametrize("looking", [look, foretell])
def test_a_look_leaves_the_locks_of_this_process_and_no_file(tmp_path, looking):
    with Store.create(tmp_path / "study") as store:
        store.add([toy_task.trial(0)])
        before, names = locks(store.folder), sorted(os.listdir(store.folder))
        assert before > 0
        looking(store.folder)
        assert locks(store.folder) == before and sorted(os.listdir(store.folder)) == names
        (store.folder / "index.sqlite-shm").read_bytes()  # what a copy of the file does, so that this test can fail
        assert locks(store.folder) < before
    names = sorted(os.listdir(tmp_path / "study"))
    looking(tmp_path / "study")
    assert sorted(os.listdir(tmp_path / "study")) == names
