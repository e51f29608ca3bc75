"""The index: each result counts once, four states add up, nothing a late writer does matters, and it can be rebuilt."""

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import toy_task
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from dopant.errors import LeaseLost, StoreError
from dopant.study import doctor, owners
from dopant.study.keeper import Keeper
from dopant.study.store import MAX_LOSSES, Store

ME = owners.identity()


@pytest.fixture
def store(tmp_path):
    with Store.create(tmp_path / "study") as store:
        yield store


def dead_owner():
    """The identity of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        return owners.identity(process.pid)


def finish(store, **metrics):
    lease = store.lease(ME)
    Keeper(store.folder, lease.trial, lease.attempt).save({"step": lease.trial.epochs})
    store.commit(lease, {"accuracy": 0.5, **metrics}, {"correct": torch.tensor([True, False])})
    return lease


# --- planning -------------------------------------------------------------------------------------------------------


def test_trials_are_leased_in_the_order_of_the_plan_and_adding_twice_adds_once(store):
    trials = [toy_task.trial(n) for n in (3, 1, 2)]
    assert store.add(trials) == 3 and store.add(trials) == 0
    assert [store.lease(ME).trial for _ in trials] == trials
    assert store.lease(ME) is None


def test_more_epochs_put_a_finished_trial_back_and_fewer_change_nothing(store):
    store.add([toy_task.trial(epochs=4)])
    finish(store)
    assert store.add([toy_task.trial(epochs=3)]) == 0 and store.counts()["done"] == 1
    assert store.add([toy_task.trial(epochs=6)]) == 1 and store.counts()["pending"] == 1
    lease = store.lease(ME)
    assert lease.attempt == 2 and lease.trial.epochs == 6
    assert Keeper(store.folder, lease.trial, 2).restore() == {"step": 4}
    assert Store.open(store.folder).rows()[0]["epochs"] == 6


def test_epochs_raised_while_a_trial_runs_make_it_go_on_after_its_commit(store):
    store.add([toy_task.trial(epochs=4)])
    lease = store.lease(ME)
    store.add([toy_task.trial(epochs=5)])
    store.commit(lease, {"accuracy": 1.0})
    assert store.counts()["pending"] == 1
    assert store.lease(ME).trial.epochs == 5


def test_a_new_name_of_a_cell_reaches_the_index_and_the_folder(store):
    trial = toy_task.trial()
    store.add([trial])
    finish(store)
    assert store.add([dataclasses.replace(trial, cell="renamed", level=2)]) == 0
    assert (store.rows()[0]["cell"], store.rows()[0]["level"], store.rows()[0]["state"]) == ("renamed", 2, "done")
    assert doctor.TrialFolder(store.folder, trial.id).read_trial()[0].cell == "renamed"


# --- results --------------------------------------------------------------------------------------------------------


def test_a_result_comes_back_with_its_items_and_numbers_exact(store):
    store.add([toy_task.trial()])
    lease = store.lease(ME)
    metrics = {"loss": torch.tensor(0.1), "steps": np.int64(3), "note": "x", "bad": float("nan"), "f": 0.1 + 0.2}
    items = {"p": torch.randn(5, 3), "half": torch.ones(2, dtype=torch.bfloat16), "n": np.arange(3)}
    store.commit(lease, metrics, items, ["a word"])
    row = store.rows()[0]
    assert row["state"] == "done" and row["attempts"] == 1 and row["warnings"] == ["a word"]
    assert row["metrics"]["f"] == 0.1 + 0.2 and np.isnan(row["metrics"]["bad"])
    assert row["metrics"]["loss"] == torch.tensor(0.1).item() and row["metrics"]["steps"] == 3
    found = store.items(row["id"])
    assert np.array_equal(found["p"], items["p"].numpy()) and found["half"].tolist() == [1, 1]
    assert found["n"].tolist() == [0, 1, 2]


def test_a_late_writer_with_an_old_attempt_changes_nothing(store):
    store.add([toy_task.trial()])
    old = store.lease("elsewhere:1:1")
    store.release(old)
    new = store.lease(ME)
    assert new.attempt == 2

    def everything():
        files = {p: p.read_bytes() for p in store.folder.rglob("*") if p.is_file() and "index" not in p.name}
        return store.rows(), files

    for when in ("while the new attempt runs", "after it has committed"):
        before = everything()
        for late in (
            lambda: store.commit(old, {"accuracy": 0.0}, {"x": torch.zeros(1)}),
            lambda: store.fail(old, "nan"),
            lambda: store.heartbeat(old, {"epoch": 1}),
        ):
            with pytest.raises(LeaseLost):
                late()
        store.release(old)
        assert everything() == before, when
        if when.startswith("while"):
            store.commit(new, {"accuracy": 1.0}, {"x": torch.ones(1)})
    assert store.rows()[0]["metrics"] == {"accuracy": 1.0}


def test_an_owner_cannot_commit_twice(store):
    store.add([toy_task.trial()])
    lease = finish(store)
    with pytest.raises(LeaseLost):
        store.commit(lease, {"accuracy": 0.9})


def test_a_result_written_but_not_recorded_is_recorded_and_not_run_again(store, monkeypatch):
    store.add([toy_task.trial()])
    lease = store.lease(ME)
    with monkeypatch.context() as patch:  # a kill between the file and the commit
        patch.setattr(Store, "_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.commit(lease, {"accuracy": 0.7}, {"x": torch.ones(2)})
    assert store.counts()["running"] == 1
    store.release(lease)
    assert store.lease(ME) is None
    row = store.rows()[0]
    assert (row["state"], row["metrics"]) == ("done", {"accuracy": 0.7})
    assert store.items(row["id"])["x"].tolist() == [1, 1]


def test_a_failure_keeps_its_reason_and_detail_and_can_be_retried(store):
    store.add([toy_task.trial()])
    lease = store.lease(ME)
    store.fail(lease, "nan", "at step 7")
    row = store.rows()[0]
    assert (row["state"], row["reason"]) == ("failed", "nan")
    assert store.failure(row["id"])["detail"] == "at step 7"
    assert store.retry() == 0  # a nan is a result
    assert store.retry([row["id"]]) == 1 and store.lease(ME).attempt == 2


# --- the lost -------------------------------------------------------------------------------------------------------


def test_a_trial_whose_worker_died_is_leased_again_at_once(store):
    store.add([toy_task.trial()])
    first = store.lease(dead_owner(), parent=ME)
    second = store.lease(ME)
    assert (second.trial.id, second.attempt) == (first.trial.id, 2)
    assert store.rows()[0]["losses"] == 1


def test_a_trial_that_loses_its_worker_too_often_is_failed_as_crashed(store):
    store.add([toy_task.trial()])
    for _ in range(MAX_LOSSES):
        assert store.lease(dead_owner(), parent=ME) is not None
    assert store.lease(ME) is None
    row = store.rows()[0]
    assert (row["state"], row["reason"], row["attempts"]) == ("failed", "crashed", MAX_LOSSES)
    assert "lost 3 times" in store.failure(row["id"])["detail"]
    assert store.problems() == []
    assert store.retry() == 1 and store.lease(ME).attempt == MAX_LOSSES + 1


def test_an_interrupted_study_counts_no_crash(store):
    """Parent and worker are both gone: whoever killed the study may do so as often as they like."""
    store.add([toy_task.trial()])
    for _ in range(3 * MAX_LOSSES):
        assert store.lease(dead_owner(), parent=dead_owner()) is not None
    store.reclaim()
    assert store.counts()["pending"] == 1 and store.rows()[0]["losses"] == 0


def test_a_reused_process_number_is_not_the_old_owner(store):
    store.add([toy_task.trial()])
    store.lease(f"{owners.machine()}:{os.getpid()}:1")
    assert store.lease(ME).attempt == 2


def test_a_silent_worker_elsewhere_loses_its_lease_and_a_talking_one_keeps_it(store):
    store.lease_seconds = 0.3
    store.add([toy_task.trial()])
    lease = store.lease("elsewhere:1:1")
    for _ in range(6):
        time.sleep(0.1)
        store.heartbeat(lease, {"epoch": 1})
        assert store.reclaim() == 0
    assert store.rows()[0]["progress"] == {"epoch": 1}
    end = time.monotonic() + 5
    while not store.reclaim():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert store.counts()["pending"] == 1 and store.rows()[0]["losses"] == 1


def test_a_clock_that_jumped_back_does_not_keep_a_dead_lease_alive(store):
    store.add([toy_task.trial()])
    store.lease("elsewhere:1:1")
    store._db.execute("UPDATE trials SET lease_until = lease_until + 1e6")
    store.lease_seconds = 0.2
    assert store.reclaim() == 0
    time.sleep(0.25)
    assert store.reclaim() == 1


def test_a_lease_that_just_expired_is_not_taken_before_its_owner_had_time_to_renew_it(store):
    """After a sleeping laptop wakes all leases are past at once, and all owners live."""
    store.lease_seconds = 1.0
    store.add([toy_task.trial()])
    lease = store.lease("elsewhere:1:1")
    store._db.execute("UPDATE trials SET lease_until = lease_until - 1e6")
    assert store.reclaim() == 0
    store.heartbeat(lease)
    time.sleep(0.15)
    assert store.reclaim() == 0


# --- what is not a study --------------------------------------------------------------------------------------------


def test_what_is_not_a_study_is_refused_with_a_word(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        Store.create(tmp_path / "file")
    with pytest.raises(StoreError, match="not empty and is not a study"):
        Store.create(tmp_path / "full")
    for name in ("full", "absent", "file"):
        with pytest.raises(StoreError, match="not a study"):
            Store.open(tmp_path / name)
    assert os.listdir(tmp_path / "full") == ["thesis.tex"]


def test_a_newer_index_is_refused_and_another_database_too(tmp_path):
    with Store.create(tmp_path / "newer") as store:
        store._db.execute("UPDATE meta SET value='99' WHERE key='schema'")
    for open_it in (Store.open, Store.create):
        with pytest.raises(StoreError, match=r"newer dopant .*format 99"):
            open_it(tmp_path / "newer")
    (tmp_path / "other").mkdir()
    with sqlite3.connect(tmp_path / "other" / "index.sqlite") as database:
        database.execute("CREATE TABLE recipes (x)")
    database.close()
    with pytest.raises(StoreError, match="not a study's index"):
        Store.open(tmp_path / "other")
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "index.sqlite").write_bytes(b"noise" * 1000)
    with pytest.raises(StoreError, match="dopant doctor"):
        Store.open(tmp_path / "noise")


def test_an_unknown_trial_is_refused_and_one_without_state_says_so(store):
    with pytest.raises(StoreError, match="no trial 'x'"):
        store.items("x")
    store.add([toy_task.trial()])
    with pytest.raises(StoreError, match="no saved state"):
        store.state(toy_task.trial().id)


# --- the doctor -----------------------------------------------------------------------------------------------------


def study_with_everything(folder):
    """Four trials: done, failed, begun, never begun."""
    with Store.create(folder) as store:
        store.add([toy_task.trial(n) for n in range(4)])
        finish(store)
        store.fail(store.lease(ME), "nan", "at step 1")
        begun = store.lease(ME)
        keeper = Keeper(folder, begun.trial, 1)
        keeper.log(1, {"train_loss": 1.0})
        keeper.save({"step": 1, "x": torch.ones(4)})
        store.release(begun)
        return store.rows(), store.metrics()


def visible(rows):
    return [{k: r[k] for k in ("id", "state", "reason", "metrics", "attempts", "epochs", "cell", "ord")} for r in rows]


@pytest.mark.parametrize("damage", ["gone", "noise", "truncated"])
def test_the_index_is_rebuilt_from_the_folders(tmp_path, damage):
    folder = tmp_path / "study"
    rows, metrics = study_with_everything(folder)
    path = folder / "index.sqlite"
    for side in folder.glob("index.sqlite-*"):
        side.unlink()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"noise" * 2000 if damage == "noise" else path.read_bytes()[:9000])
    words = doctor.repair(folder)
    assert any("made anew" in word for word in words)
    with Store.open(folder) as store:
        assert visible(store.rows()) == visible(rows[:3])  # the fourth had no folder
        assert store.metrics() == metrics and store.problems() == []
        store.add([toy_task.trial(n) for n in range(4)])
        assert store.counts() == {"planned": 4, "pending": 2, "running": 0, "done": 1, "failed": 1}
        assert store.items(rows[0]["id"])["correct"].tolist() == [True, False]
        assert store.lease(ME).attempt == 2


def test_rebuilding_a_sound_study_changes_nothing(tmp_path):
    folder = tmp_path / "study"
    rows, _ = study_with_everything(folder)
    with Store.open(folder) as store:
        assert store.problems() == [] and store.rebuild() == [] and store.rows() == rows
    assert doctor.repair(folder) == []


def test_the_doctor_names_every_kind_of_damage(tmp_path):
    folder = tmp_path / "study"
    rows, _ = study_with_everything(folder)
    done, failed, begun = (folder / "trials" / row["id"] for row in rows[:3])

    def edit(path, old, new):
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new, 1))

    (done / "attempt-1" / "items.safetensors").write_bytes(b"")
    edit(failed / "attempt-1" / "failure.json", b"nan", b"fun")
    edit(begun / "attempt-1" / "metrics.jsonl", b"1.0", b"2.0")
    edit(begun / "attempt-1" / "checkpoint-1.safetensors", b"\x80?", b"\x80@")
    edit(begun / "trial.json", b'"seed": 5', b'"seed": 6')
    (folder / "trials" / "stranger").mkdir()
    with Store.open(folder) as store:
        store._db.execute("UPDATE trials SET description = replace(description, '5', '7') WHERE ord = 3")
        problems = store.problems()
    wanted = ["items.safetensors: the checksum", "failure.json: the checksum", "metrics.jsonl line 1",
              "trial.json: the checksum", "checkpoint-1.safetensors: the checksum", "trials/stranger is in no plan",
              "stranger/trial.json is missing", "the index holds a description whose hash is"]  # fmt: skip
    for piece in wanted:
        assert sum(piece in problem for problem in problems) == 1, (piece, problems)
    assert len(problems) == len(wanted)


def test_a_result_whose_items_are_damaged_runs_again_after_the_doctor(tmp_path):
    folder = tmp_path / "study"
    rows, _ = study_with_everything(folder)
    (folder / "trials" / rows[0]["id"] / "attempt-1" / "items.safetensors").write_bytes(b"")
    with Store.open(folder) as store:
        with pytest.raises(StoreError, match="the checksum does not match"):
            store.items(rows[0]["id"])
        assert store.rebuild() == [f"{rows[0]['id']}: done -> pending"]
        assert store.problems() == []
        lease = store.lease(ME)
        assert lease.trial.id == rows[0]["id"] and lease.attempt == 2


def test_trials_copied_into_a_fork_count_without_running_again(tmp_path):
    rows, _ = study_with_everything(tmp_path / "one")
    (tmp_path / "two").mkdir()
    shutil.copytree(tmp_path / "one" / "trials", tmp_path / "two" / "trials")
    with Store.create(tmp_path / "two") as store:
        store.add([toy_task.trial(n) for n in range(3)])
        lease = store.lease(ME)  # the first is adopted
        assert store.rows()[0]["metrics"] == rows[0]["metrics"]
        assert lease.trial.id == rows[1]["id"] and lease.attempt == 2


# --- any order of events --------------------------------------------------------------------------------------------


class Life(RuleBasedStateMachine):
    """Planned = pending + running + done + failed, and each result counts once, whatever happens in whatever order."""

    folder = None
    number = 0
    dead = None

    def __init__(self):
        super().__init__()
        Life.number += 1
        self.store = Store.create(Life.folder / str(Life.number))
        self.planned: set[str] = set()
        self.leases = []
        self.results: dict[str, int] = {}

    @rule(numbers=st.lists(st.integers(0, 4), max_size=3))
    def plan(self, numbers):
        trials = [toy_task.trial(n) for n in numbers]
        self.store.add(trials)
        self.planned |= {t.id for t in trials}

    @rule(alive=st.booleans())
    def lease(self, alive):
        lease = self.store.lease(ME if alive else Life.dead, ME)
        if lease:
            self.leases.append(lease)

    @rule(data=st.data(), what=st.sampled_from(["commit", "fail", "release", "heartbeat"]))
    def use(self, data, what):
        if not self.leases:
            return
        lease = data.draw(st.sampled_from(self.leases))
        before = self.store.rows()
        try:
            if what == "commit":
                self.store.commit(lease, {"attempt": lease.attempt})
                assert lease.trial.id not in self.results, "counted twice"
                self.results[lease.trial.id] = lease.attempt
            elif what == "fail":
                self.store.fail(lease, "nan")
            elif what == "release":
                self.store.release(lease)
            else:
                self.store.heartbeat(lease)
        except LeaseLost:
            assert self.store.rows() == before

    @rule()
    def crash_and_return(self):
        self.store.close()
        self.store = Store.open(self.store.folder)

    @rule()
    def rebuild(self):
        self.store.rebuild()

    @invariant()
    def all_are_accounted_for(self):
        counts = self.store.counts()
        assert counts["planned"] == len(self.planned)
        assert counts["planned"] == sum(counts[s] for s in ("pending", "running", "done", "failed"))
        assert counts["done"] == len(self.results)
        for row in self.store.rows():
            if row["state"] == "done":
                assert row["metrics"] == {"attempt": self.results[row["id"]]}

    def teardown(self):
        assert self.store.problems() == []
        self.store.close()


def test_planned_is_pending_running_done_and_failed_after_any_order_of_events(tmp_path, monkeypatch):
    Life.folder, Life.dead = tmp_path, dead_owner()
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # no power fails here
    run_state_machine_as_test(Life, settings=settings(max_examples=25, stateful_step_count=25, deadline=None))
