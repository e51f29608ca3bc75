"""A full or read-only disk: one clear error, the study intact, and it goes on when there is room again."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import toy_task

from dopant.errors import StoreError
from dopant.study import owners
from dopant.study.engine import run_local
from dopant.study.keeper import Keeper
from dopant.study.store import Store
from dopant.study.worker import work

TOY = Path(__file__).parent / "toy_task.py"


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own, 600 kB; needs the right to mount."""
    place = tmp_path / "small"
    place.mkdir()
    if os.name != "posix" or os.getuid() or not shutil.which("mount"):
        pytest.skip("only root can mount")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["mount", "-o", "remount,rw", place], capture_output=True)
    assert subprocess.run(["umount", place]).returncode == 0


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_while_saving_leaves_the_older_states_and_gives_the_trial_back(tmp_path, monkeypatch, call):
    with Store.create(tmp_path / "study") as store:
        store.add([toy_task.trial()])
        saves = []

        def runner(trial, streams, keeper):
            for number in range(3):
                if number == 2:
                    monkeypatch.setattr(os, call, full)
                keeper.save({"step": number, "x": torch.ones(10)})
                saves.append(number)

        with pytest.raises(StoreError, match="No space left on device; finished work is intact"):
            work(store, runner=runner)
        monkeypatch.undo()
        assert saves == [0, 1] and store.counts()["pending"] == 1 and store.rows()[0]["losses"] == 0
        assert store.state(toy_task.trial().id)["step"] == 1
        assert store.problems() == []
        assert list(store.folder.rglob("*.tmp")) == []
        assert work(store, runner=toy_task.run) == 1


def test_a_log_line_cut_by_a_full_disk_is_repaired_by_the_next(tmp_path, monkeypatch):
    keeper = Keeper(tmp_path, toy_task.trial(), 1)
    keeper.log(1, {"loss": 1.0})
    write = os.write

    def half(handle, data):
        monkeypatch.setattr(os, "write", full)
        return write(handle, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(StoreError, match="No space left"):
        keeper.log(2, {"loss": 2.0})
    monkeypatch.undo()
    keeper.log(2, {"loss": 2.0})
    assert keeper.trial_folder.metrics() == ([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 2.0}], [])


def test_a_task_that_meets_a_full_disk_is_not_a_failed_trial_but_its_own_missing_file_is(tmp_path):
    with Store.create(tmp_path / "study") as store:
        store.add([toy_task.trial()])

        def fills(trial, streams, keeper):
            raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/cache")

        with pytest.raises(StoreError, match="/somewhere/cache: No space left"):
            work(store, runner=fills)
        assert store.counts()["pending"] == 1

        def lacks(trial, streams, keeper):
            Path("/not/there").read_text()

        work(store, runner=lacks)
        assert store.rows()[0]["reason"].startswith("error: FileNotFoundError")


def test_a_study_on_a_disk_that_fills_up_stops_with_one_error_and_finishes_when_there_is_room(small_disk):
    folder = small_disk / "study"
    with Store.create(folder) as store:
        store.add([toy_task.trial(n, epochs=3) for n in range(4)])
    ballast = small_disk / "ballast"
    with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"0" * 4096)
    with pytest.raises(StoreError, match="intact"):
        run_local(folder, 1, [TOY])
    os.truncate(ballast, ballast.stat().st_size - 65536)  # room to begin, not to finish
    with pytest.raises(StoreError, match="intact"):
        run_local(folder, 1, [TOY])
    with Store.open(folder) as store:
        counts = store.counts()
        assert counts["failed"] == 0 and counts["done"] < 4
    ballast.unlink()
    assert run_local(folder, 1, [TOY])["done"] == 4
    with Store.open(folder) as store:
        assert store.problems() == []


def test_a_read_only_study_can_be_read_and_says_that_it_cannot_be_written(small_disk):
    folder = small_disk / "study"
    with Store.create(folder) as store:
        store.add([toy_task.trial(epochs=1), toy_task.trial(1, epochs=1)])
        lease = store.lease(owners.identity())
        store.commit(lease, {"x": 1}, {"y": torch.ones(2)})
        shutil.copytree(folder, small_disk / "copy")  # with its log of writes not yet merged, as after a kill
    assert (small_disk / "copy" / "index.sqlite-wal").stat().st_size > 0
    assert subprocess.run(["mount", "-o", "remount,ro", small_disk]).returncode == 0
    for name in ("study", "copy"):
        with Store.open(small_disk / name) as store:
            assert store.counts()["done"] == 1 and store.items(lease.trial.id)["y"].tolist() == [1, 1]
            assert store.problems() == []
        with pytest.raises(StoreError, match=r"Read-only|writable"):
            run_local(small_disk / name, 1, [TOY])
    with pytest.raises(StoreError, match="Read-only file system"):
        Store.create(small_disk / "new")
    assert lease.folder.is_dir()


def test_a_read_only_study_refuses_to_lease_without_changing_its_copy(small_disk):
    folder = small_disk / "study"
    with Store.create(folder) as store:
        store.add([toy_task.trial(epochs=1)])
    assert subprocess.run(["mount", "-o", "remount,ro", small_disk]).returncode == 0
    with Store.open(folder) as store, pytest.raises(StoreError, match=r"(?i)read-only"):
        store.lease(owners.identity())
