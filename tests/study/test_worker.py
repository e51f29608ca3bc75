"""The worker's loop in this process, and as processes under the engine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import toy_task
from killing import running

from dopant.errors import ConfigError, DopantError, LeaseLost, StoreError
from dopant.study import engine, owners
from dopant.study.engine import run_local
from dopant.study.keeper import Keeper
from dopant.study.store import MAX_LOSSES, Store
from dopant.study.worker import work, work_here

TOY = Path(__file__).parent / "toy_task.py"


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def store(tmp_path):
    with Store.create(tmp_path / "study") as store:
        yield store


# --- the loop in this process ---------------------------------------------------------------------------------------


def test_a_task_that_raises_fails_its_trial_at_once_and_keeps_the_traceback(store):
    store.add([toy_task.trial(task="broken"), toy_task.trial(1)])

    def runner(trial, streams, keeper):
        if trial.description["task"]["name"] == "broken":
            raise ValueError("this layer\nis wrong")
        return {"x": 1}, {}

    assert work(store, runner=runner) == 2
    first, second = store.rows()
    assert (first["state"], first["reason"]) == ("failed", "error: ValueError: this layer is wrong")
    assert first["attempts"] == 1 and second["state"] == "done"
    assert "in runner" in store.failure(first["id"])["detail"]
    assert "in runner" in (store.folder / "trials" / first["id"] / "attempt-1" / "error.txt").read_text()


def test_a_loss_that_is_not_finite_is_a_failed_trial_and_its_last_state_stays(store):
    store.add([toy_task.trial(fail_at=12)])
    work(store, runner=toy_task.run)
    row = store.rows()[0]
    assert (row["state"], row["reason"]) == ("failed", "nan")
    assert store.state(row["id"])["step"] == toy_task.STEPS_PER_EPOCH
    assert [line["epoch"] for line in store.metrics()] == [1]


def test_more_epochs_continue_from_the_last_state_to_the_same_numbers(store, tmp_path, monkeypatch):
    steps = tmp_path / "steps"
    monkeypatch.setenv("DOPANT_TOY_STEPS", str(steps))
    store.add([toy_task.trial(epochs=2)])
    work(store, runner=toy_task.run)
    store.add([toy_task.trial(epochs=5)])
    work(store, runner=toy_task.run)
    assert [int(line.split()[1]) for line in steps.read_text().splitlines()] == list(range(40))
    with Store.create(tmp_path / "straight") as straight:
        straight.add([toy_task.trial(epochs=5)])
        work(straight, runner=toy_task.run)
        assert straight.rows()[0]["metrics"] == store.rows()[0]["metrics"]
        assert straight.metrics() == store.metrics()
    assert store.rows()[0]["attempts"] == 2


def test_an_unknown_task_is_the_requests_fault_and_no_trial_fails(store):
    store.add([toy_task.trial(task="toy-mea")])
    with pytest.raises(DopantError, match="did you mean 'toy-mean'"):
        work(store)
    assert store.counts()["pending"] == 1


def test_numbers_refused_in_mid_training_fail_their_trial_and_not_the_study(store):
    store.add([toy_task.trial(0, refuse_at=toy_task.STEPS_PER_EPOCH + 1), toy_task.trial(1)])
    work(store)
    states = {row["replicate"]: row["state"] for row in store.rows()}
    assert states == {0: "failed", 1: "done"}
    assert "cannot be encoded" in next(row["reason"] for row in store.rows() if row["state"] == "failed")


def test_a_request_refused_before_the_first_step_ends_the_work_and_no_trial_fails(store):
    store.add([toy_task.trial(0, refuse_at=0)])
    with pytest.raises(ConfigError, match="cannot be encoded"):
        work(store)
    assert [row["state"] for row in store.rows()] == ["pending"]


def test_a_worker_that_lost_its_lease_stops_and_its_work_counts_nowhere(store):
    store.add([toy_task.trial()])
    steals = []

    def runner(trial, streams, keeper):
        if not steals:  # another worker takes the trial while this one sleeps
            with Store.open(store.folder) as other:
                other.release_all("stolen")
                other._db.execute("UPDATE trials SET state='pending', owner=NULL, lease_until=NULL")
                steals.append(other.lease("elsewhere:1:1"))
            with pytest.raises(LeaseLost):
                for _ in range(100):
                    keeper.alive()
                    time.sleep(0.05)
            with Store.open(store.folder) as other:
                other.commit(steals[0], {"by": "the other"})
            return {"by": "the late one"}, {}
        raise AssertionError("it ran again")

    assert work(store, runner=runner) == 0
    assert store.rows()[0]["metrics"] == {"by": "the other"} and store.counts()["done"] == 1


def test_work_here_plans_on_until_nothing_comes_and_tells_who_watches(store):
    store.add([toy_task.trial()])
    stages, seen = [[toy_task.trial(1), toy_task.trial(2)], [toy_task.trial(3)], []], []

    def replan():
        return bool(stages and store.add(stages.pop(0)))

    counts = work_here(
        store, runner=lambda *_: ({"x": 1}, {}), replan=replan, on_poll=lambda rows, counts: seen.append(counts)
    )
    assert counts["done"] == 4 and stages == [] and seen[-1]["done"] == 4


def test_ctrl_c_here_saves_then_stops_and_the_next_run_repeats_no_step(store, tmp_path, monkeypatch):
    steps = tmp_path / "steps"
    monkeypatch.setenv("DOPANT_TOY_STEPS", str(steps))
    monkeypatch.setenv("DOPANT_TOY_PACE", "0.02")
    store.add([toy_task.trial()])
    timer = threading.Timer(0.25, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        work_here(store, runner=toy_task.run)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    before = len(steps.read_text().splitlines())
    assert 0 < before < 32 and store.counts()["pending"] == 1
    assert work_here(store, runner=toy_task.run)["done"] == 1
    assert len(steps.read_text().splitlines()) == 32


def test_a_keeper_asked_to_stop_is_due_once_and_then_ends_the_task(tmp_path):
    stop = threading.Event()
    keeper = Keeper(tmp_path, toy_task.trial(), 1, stop=stop)
    keeper.alive()
    assert not keeper.due()
    stop.set()
    keeper.alive()  # the task may still reach its save
    assert keeper.due()
    keeper.save({"step": 1})
    assert not keeper.due()
    with pytest.raises(KeyboardInterrupt):
        keeper.alive()


def test_a_state_is_due_after_the_seconds_that_the_recipe_says(tmp_path):
    keeper = Keeper(tmp_path, toy_task.trial(seconds=0.05), 1)
    assert keeper.seconds == 0.05 and not keeper.due()
    time.sleep(0.06)
    assert keeper.due()
    keeper.save({})
    assert not keeper.due()


# --- as processes ---------------------------------------------------------------------------------------------------


def test_workers_run_a_study_in_stages_and_their_threads_are_the_trials(store):
    store.add([toy_task.trial(n, task="toy-mean") for n in range(3)])
    stages, seen = [[toy_task.trial(9, task="toy-mean")], [toy_task.trial(0, epochs=2)]], []
    counts = run_local(
        store.folder, 2, [TOY], replan=lambda: stages and store.add(stages.pop(0)),
        on_poll=lambda rows, counts: seen.append((len(rows), counts["done"])),
    )  # fmt: skip
    assert counts == {"planned": 5, "pending": 0, "running": 0, "done": 5, "failed": 0}
    assert seen[-1] == (5, 5)
    assert len(list((store.folder / "logs").iterdir())) <= 2  # later stages use the same workers
    with Store.create(store.folder.parent / "here") as here:
        here.add([toy_task.trial(0, epochs=2)])
        work(here, runner=toy_task.run)
        assert here.rows()[0]["metrics"] == store.rows()[-1]["metrics"]
    assert run_local(store.folder, 2, [TOY]) == counts  # a finished study starts nobody


def test_no_file_of_a_study_holds_an_absolute_path(store):
    store.add([toy_task.trial(0, epochs=1)])
    run_local(store.folder, 1, [TOY])
    place = str(store.folder).encode()
    assert [p.name for p in store.folder.rglob("*") if p.is_file() and place in p.read_bytes()] == []


def test_a_trial_that_kills_its_worker_is_retried_and_then_failed_while_others_finish(store, tmp_path, monkeypatch):
    steps = tmp_path / "steps"
    monkeypatch.setenv("DOPANT_TOY_STEPS", str(steps))
    bad = toy_task.trial(task="toy-kill")
    store.add([bad, toy_task.trial(1, task="toy-mean")])
    counts = run_local(store.folder, 1, [TOY])
    assert counts["failed"] == 1 and counts["done"] == 1
    row = store.rows()[0]
    assert (row["reason"], row["attempts"]) == ("crashed", MAX_LOSSES)
    assert steps.read_text().split().count(bad.id) == MAX_LOSSES


def test_a_worker_that_cannot_start_shows_the_end_of_its_log(store, monkeypatch):
    store.add([toy_task.trial()])
    broken = store.folder.parent / "safetensors.py"
    broken.write_text("raise RuntimeError('a broken installation')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    with pytest.raises(DopantError, match="a broken installation"):
        run_local(store.folder, 1, [])
    assert store.counts()["pending"] == 1


def test_a_with_file_that_fails_is_the_same_error_as_in_this_process(store, tmp_path):
    store.add([toy_task.trial()])
    (tmp_path / "my_layer.py").write_text("import not_there\n")
    with pytest.raises(ConfigError, match=r"my_layer\.py' fails to import: line 1: it needs the package 'not_there'"):
        run_local(store.folder, 1, [tmp_path / "my_layer.py"])
    assert store.counts()["pending"] == 1


def test_a_worker_started_by_hand_ends_when_nothing_is_left(store):
    store.add([toy_task.trial(n, task="toy-mean") for n in range(2)])
    command = [sys.executable, "-m", "dopant.study.worker", str(store.folder), "--with", str(TOY)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["ready"] and store.counts()["done"] == 2


def test_a_worker_leaves_when_its_pipe_closes_though_its_parent_lives(store, tmp_path, monkeypatch):
    monkeypatch.setenv("DOPANT_TOY_PACE", "0.05")
    monkeypatch.setenv("DOPANT_TOY_STEPS", str(tmp_path / "steps"))
    store.add([toy_task.trial()])
    worker = engine.Worker(store.folder, 1, [TOY], 1)
    while not (tmp_path / "steps").exists():
        assert worker.ended() is None
        time.sleep(0.02)
    assert alive_and_named(worker)
    worker.process.stdin.close()
    assert worker.process.wait(timeout=1) == 0 and not running(worker.process.pid)
    worker.close()


def alive_and_named(worker):
    return owners.alive(worker.identity) and worker.identity.split(":")[1] == str(worker.process.pid)


def test_a_missing_study_is_refused(tmp_path):
    with pytest.raises(StoreError, match="not a study"):
        run_local(tmp_path, 1)
