"""Workers that ask for the store, and the relay that carries what they ask: all without Ray."""

import math
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

from dopant.errors import ConfigError, LeaseLost, StoreError
from dopant.study import nodes, owners, relay
from dopant.study.remote import Desk, RemoteStore
from dopant.study.store import Store
from dopant.study.worker import work

TOY = Path(__file__).parent / "toy_task.py"


@pytest.fixture
def store(tmp_path):
    with Store.create(tmp_path / "study") as store:
        yield store


def asked_of(store):
    """A remote store whose desk answers in the same process."""
    desk, one_at_a_time = Desk(), threading.Lock()

    def send(**request):
        with one_at_a_time:
            line = desk.answer(store, request)
        remote.receive(line)

    remote = RemoteStore(store.folder, send)
    return remote


def test_a_worker_that_asks_ends_with_the_numbers_of_one_that_opens_the_index(store, tmp_path):
    store.add([toy_task.trial(0), toy_task.trial(1), toy_task.trial(2, fail_at=12)])
    assert work(asked_of(store), runner=toy_task.run) == 3
    with Store.create(tmp_path / "here") as here:
        here.add(store.trials())
        work(here, runner=toy_task.run)
        ours, theirs = store.rows(), here.rows()
        assert [r["state"] for r in ours] == ["done", "done", "failed"]
        assert [(r["metrics"], r["reason"]) for r in ours] == [(r["metrics"], r["reason"]) for r in theirs]
        assert store.metrics() == here.metrics()
        for row in ours[:2]:
            outputs = [torch.as_tensor(s.items(row["id"])["outputs"]) for s in (store, here)]
            assert torch.equal(*outputs)
    assert store.problems() == []


def test_numbers_that_are_not_finite_and_kinds_of_errors_survive_the_way(store):
    store.add([toy_task.trial(0), toy_task.trial(1)])
    remote = asked_of(store)
    lease = remote.lease("elsewhere:1:1", owners.identity())
    remote.heartbeat(lease, {"epoch": 1})
    assert store.rows()[0]["progress"] == {"epoch": 1}
    with pytest.raises(TypeError, match="cannot be kept"):
        remote.commit(lease, {"x": object()})
    remote.commit(lease, {"x": math.inf, "y": 0.1})
    assert store.rows()[0]["metrics"] == {"x": math.inf, "y": 0.1}
    with pytest.raises(LeaseLost, match="attempt 1"):
        remote.heartbeat(lease)
    second = remote.lease("elsewhere:1:1", owners.identity())
    store.folder.joinpath("trials", second.trial.id, "attempt-1").rmdir()
    store.folder.joinpath("trials", second.trial.id, "attempt-1").write_text("a file in the way")
    with pytest.raises(StoreError, match="cannot write"):
        remote.commit(second, {"x": 1.0})


def test_a_lease_taken_over_is_lost_to_the_worker_that_asks(store):
    store.add([toy_task.trial()])
    first, second = asked_of(store), asked_of(store)
    lease = first.lease("elsewhere:1:1", owners.identity())
    assert store.take_from("elsewhere:1:1") == 1 and store.rows()[0]["losses"] == 1
    second.commit(second.lease("other:2:2", owners.identity()), {"by": "the other"})
    with pytest.raises(LeaseLost):
        first.commit(lease, {"by": "the late one"})
    assert store.rows()[0]["metrics"] == {"by": "the other"}


def test_the_lease_of_a_run_that_ended_on_another_machine_is_no_loss_of_the_trial(store):
    store.add([toy_task.trial()])
    store.lease_seconds = 0.05
    store.lease("elsewhere:1:1", "elsewhere:2:2")
    time.sleep(0.1)
    assert store.reclaim() == 0  # first seen now: it may live, nobody here can ask it
    time.sleep(0.1)
    assert store.reclaim() == 1
    assert (store.rows()[0]["state"], store.rows()[0]["losses"]) == ("pending", 0)


def test_a_process_of_a_machine_of_the_same_name_but_another_boot_is_not_asked_here():
    mine = owners.identity()
    machine, rest = mine.split(":", 1)
    assert owners.alive(mine) is True
    assert owners.alive(f"{machine[:-8]}00000000:{rest}") is None


# --- the relay ------------------------------------------------------------------------------------------------------


def relay_of(store, **more):
    given = {"environment": {}, "files": {}, "place": os.getcwd(), **more}
    return relay.Relay(str(store.folder), 1, [str(TOY)], 1, [], owners.identity(), **given)


class Served:
    """A relay with the desk that answers it."""

    def __init__(self, store, **more):
        self.store, self.relay, self.desk, self.answers = store, relay_of(store, **more), Desk(), []
        self.worker = self.relay.worker

    def until(self, seen, stop=False):
        """Exchange until `seen(said)`; returns the last that was said."""
        end = time.monotonic() + 90
        while True:
            assert time.monotonic() < end
            said = self.relay.exchange(self.answers, stop)
            self.answers = [self.desk.answer(self.store, request) for request in said["requests"]]
            if seen(said):
                return said


def test_a_relay_carries_a_study_and_says_how_its_worker_ended(store, tmp_path, monkeypatch):
    monkeypatch.setenv("DOPANT_TOY_STEPS", str(tmp_path / "steps"))
    monkeypatch.setenv("DOPANT_TOY_PACE", "0.02")
    store.add([toy_task.trial(0)])
    first = Served(store)
    begun = first.until(lambda said: (tmp_path / "steps").exists())
    assert begun["ready"] and owners.alive(begun["owner"]) and begun["status"] is None
    ended = first.until(lambda said: said["status"] is not None, stop=True)
    assert ended["status"] == 130 and store.counts()["pending"] == 1  # asked to stop, it saved and gave it back
    first.worker.close()
    again = Served(store)
    again.until(lambda said: store.counts()["done"] == 1)
    assert len((tmp_path / "steps").read_text().splitlines()) == 32  # no step twice
    again.worker.process.send_signal(signal.SIGKILL)
    assert again.until(lambda said: said["status"] is not None)["status"] == -9
    again.worker.close()


def test_a_worker_whose_relay_is_forgotten_saves_and_ends(store, tmp_path):
    script = (
        "import sys, time\n"
        "from dopant.study import relay\n"
        "relay.SILENCE_SECONDS = 0.5\n"
        f"carrier = relay.Relay({str(store.folder)!r}, 1, [], 1, [], 'elsewhere:1:1', environment={{}}, files={{}},"
        " place='.')\n"
        "print(carrier.worker.process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    store.add([toy_task.trial()])
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert process.returncode == 0, process.stderr
    assert not Path(f"/proc/{process.stdout.strip()}").exists()


# --- what nodes have ------------------------------------------------------------------------------------------------


def here(folder, **changes):
    def ask(token, files):
        return {"node-7": nodes.looker()(str(folder), token, dict(files), nodes.SAME) | changes}

    return ask


def test_nodes_like_this_one_are_fine_and_leave_nothing_in_the_folder(tmp_path):
    def ask(token, files):
        return {**here(tmp_path)(token, files), "node-8": here(tmp_path)(token, files)["node-7"]}

    found = nodes.examine(tmp_path, nodes.sums_of([TOY]), ask)
    facts = found["node-7"]
    assert found["node-8"] == facts
    assert facts["versions"]["torch"] == torch.__version__ and facts["cores"] == os.cpu_count()
    assert not list(tmp_path.iterdir()) and str(tmp_path) not in repr(facts)


def test_a_node_that_does_not_see_the_folder_is_named(tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    with pytest.raises(ConfigError, match=r"node node-7 cannot use the study's folder .*ours \(No such file.*--out"):
        nodes.examine(tmp_path / "ours", {}, here(tmp_path / "theirs"))
    assert not list((tmp_path / "ours").iterdir())


def test_files_and_versions_that_differ_are_all_told_at_once(tmp_path, monkeypatch):
    mine = nodes.versions_here()
    monkeypatch.setattr(nodes, "versions_here", lambda: mine | {"torch": "1.0", "python": "3.2.1"})
    files = {**nodes.sums_of([TOY]), str(tmp_path / "missing.py"): "0" * 64}
    with pytest.raises(ConfigError) as caught:
        nodes.examine(tmp_path, files, here(tmp_path))
    first, *rest = caught.value.problems
    assert "node-7 does not have" in first and "missing.py (No such file" in first
    assert [line.split(" has ")[1].split()[0] for line in rest] == ["python", "torch"]


def test_a_node_that_does_not_answer_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"node node-9 did not answer \(TimeoutError: too late"):
        nodes.examine(tmp_path, {}, lambda token, files: {"node-9": TimeoutError("too late")})
