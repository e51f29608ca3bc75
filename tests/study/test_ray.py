"""Workers on Ray: one Ray with two CPUs for the whole file; nodes of their own in the long tests."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import toy_task
from killing import running

import dopant as dp
from dopant.errors import ConfigError, DopantError
from dopant.study import cluster, owners
from dopant.study.store import Store
from dopant.study.worker import work

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.xdist_group("ray")  # one Ray, where tests are shared out by groups
TOY = Path(__file__).parent / "toy_task.py"
QUIET = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}


@pytest.fixture(scope="module")
def two_cpus():
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handler = signal.getsignal(signal.SIGTERM)
    ray.init("local", num_cpus=2, object_store_memory=cluster.OBJECT_STORE, **QUIET)
    yield ray
    ray.shutdown()
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def store(tmp_path):
    with Store.create(tmp_path / "study") as store:
        yield store


def run(store, workers=None, **more):
    with cluster.connected(None, workers, store) as machines:
        return machines.run(store.folder, [TOY], **more)


def steps_of(tmp_path, monkeypatch, pace):
    monkeypatch.setenv("DOPANT_TOY_STEPS", str(tmp_path / "steps"))
    monkeypatch.setenv("DOPANT_TOY_PACE", str(pace))
    return tmp_path / "steps"


def undisturbed(store, folder):
    """The same trials in this process: (rows, metrics, last states)."""
    with Store.create(folder) as here:
        here.add(store.trials())
        work(here, runner=toy_task.run)
        return [r["metrics"] for r in here.rows()], here.metrics(), [here.state(r["id"]) for r in here.rows()]


def test_a_study_on_ray_in_stages_ends_with_the_numbers_of_this_process(two_cpus, store, tmp_path):
    store.add([toy_task.trial(0), toy_task.trial(1)])
    stages, seen = [[toy_task.trial(2)]], []
    counts = run(store, replan=lambda: stages and store.add(stages.pop(0)), on_poll=lambda r, c: seen.append(c["done"]))
    assert counts == {"planned": 3, "pending": 0, "running": 0, "done": 3, "failed": 0} and seen[-1] == 3
    metrics, curves, states = undisturbed(store, tmp_path / "here")
    assert [r["metrics"] for r in store.rows()] == metrics and store.metrics() == curves
    for row, state in zip(store.rows(), states, strict=True):
        ours = store.state(row["id"])["model"]
        assert all(torch.equal(ours[name], value) for name, value in state["model"].items())
    assert ray.is_initialized()  # it was there before, and stays


def test_a_killed_worker_is_replaced_and_its_trial_goes_on_from_its_last_state(two_cpus, store, tmp_path, monkeypatch):
    steps = steps_of(tmp_path, monkeypatch, 0.1)
    store.add([toy_task.trial(0)])
    killed = []

    def kill(rows, counts):
        if not killed and rows[0]["progress"]:
            killed.append(rows[0]["owner"])
            os.kill(int(killed[0].split(":")[-2]), signal.SIGKILL)

    assert run(store, 1, on_poll=kill)["done"] == 1
    row = store.rows()[0]
    assert killed and row["attempts"] == 2 and row["losses"] == 0  # a result wipes losses
    assert 32 <= len(steps.read_text().splitlines()) < 32 + 2 * toy_task.STEPS_PER_EPOCH
    monkeypatch.setenv("DOPANT_TOY_PACE", "0")
    assert [row["metrics"]] == undisturbed(store, tmp_path / "here")[0]


def test_an_interrupted_study_saves_gives_back_and_repeats_no_step(two_cpus, store, tmp_path, monkeypatch):
    steps = steps_of(tmp_path, monkeypatch, 0.03)
    store.add([toy_task.trial(0)])
    owner = []

    def interrupt(rows, counts):
        if steps.exists():
            owner.append(rows[0]["owner"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(store, 1, on_poll=interrupt)
    end = time.monotonic() + 10
    while owners.alive(owner[0]) and time.monotonic() < end:
        time.sleep(0.05)
    assert owners.alive(owner[0]) is False
    assert [(r["state"], r["losses"]) for r in store.rows()] == [("pending", 0)]
    assert run(store, 1)["done"] == 1
    assert len(steps.read_text().splitlines()) == 32


def test_what_a_worker_refuses_on_a_node_is_the_same_error_here(two_cpus, store):
    store.add([toy_task.trial(task="toy-mea")])
    with pytest.raises(DopantError, match="did you mean 'toy-mean'"):
        run(store, 1)
    assert store.counts()["pending"] == 1


def test_a_study_that_no_node_has_the_cpus_for_is_refused(two_cpus, store):
    trial = toy_task.trial()
    store.add([type(trial)({**trial.description, "threads": 64}, "toy", 0, 1)])
    with pytest.raises(DopantError, match="no node of the cluster has 64 CPUs for a trial"):
        run(store)


# --- refused before anything starts ---------------------------------------------------------------------------------


def refusal(**request):
    ladder = dp.Ladder("small-cnn").level(head="bottleneck-mlp")
    with pytest.raises(ConfigError) as caught:
        dp.run(ladder, **{"data": "digits", "replicates": 1, **request})
    return "\n".join(caught.value.problems)


def test_an_address_without_the_engine_is_refused(tmp_path):
    assert "add --engine ray" in refusal(address="auto", out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_objects_of_this_process_are_refused_each_with_its_remedy(tmp_path):
    def train(model, streams, log, folder):
        raise AssertionError("never called")

    words = refusal(train=train, sample=torch.zeros(1, 1, 8, 8), data=None, engine="ray", out=tmp_path / "x")
    assert "exists only in this process (train)" in words and 'train="my_file:train"' in words


def test_without_ray_installed_the_extra_is_named(tmp_path, monkeypatch):
    found = cluster.importlib.util.find_spec
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None if name == "ray" else found(name))
    assert "pip install 'dopant[ray]'" in refusal(engine="ray", out=tmp_path / "x")


def test_one_gpu_of_one_machine_is_refused():
    assert cluster.problems(None, "cuda:1")[0].endswith("with engine='ray' write 'cuda'")
    assert cluster.problems("auto", "cuda") == []


# --- whole clusters -------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_two_nodes_do_one_study_and_a_node_that_dies_loses_no_trial(store, tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    ray.shutdown()
    steps = steps_of(tmp_path, monkeypatch, 0.1)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": cluster.OBJECT_STORE})
    try:
        second = made.add_node(num_cpus=1, object_store_memory=cluster.OBJECT_STORE)
        made.wait_for_nodes()
        store.add([toy_task.trial(n) for n in range(3)])
        gone = []

        def lose(rows, counts):
            if not gone and sum(bool(r["progress"]) for r in rows) == 2:
                gone.append(made.remove_node(second, allow_graceful=False))

        with cluster.connected(made.address, None, store) as machines:
            assert machines.size == 2 and len(machines.nodes) == 2
            assert machines.run(store.folder, [TOY], on_poll=lose)["done"] == 3
        assert gone and sorted(r["attempts"] for r in store.rows())[-1] == 2
        monkeypatch.setenv("DOPANT_TOY_PACE", "0")
        assert [r["metrics"] for r in store.rows()] == undisturbed(store, tmp_path / "here")[0]
        assert steps.exists()
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.mark.long
def test_the_workers_of_a_killed_run_end_within_seconds_and_the_next_run_goes_on(tmp_path, monkeypatch):
    """The command itself, with a Ray of its own, on the real task."""
    folder = tmp_path / "runs"
    command = [sys.executable, "-m", "dopant", "run", "--engine", "ray", "--quick", "--workers", "1", "--out", folder]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 120
    while not any(folder.glob("trials/*/attempt-1/metrics.jsonl")) and time.monotonic() < end:
        time.sleep(0.05)
    with Store.open(folder) as store:
        held = [r["owner"] for r in store.rows() if r["state"] == "running"]
    process.kill()
    process.wait()
    assert held
    end = time.monotonic() + 15
    while any(running(int(owner.split(":")[-2])) for owner in held) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(running(int(owner.split(":")[-2])) for owner in held)
    assert subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, timeout=300).returncode == 0
    with Store.open(folder) as store:
        assert store.counts()["done"] == store.counts()["planned"] > 0
