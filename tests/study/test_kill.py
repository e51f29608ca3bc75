"""SIGKILL of the parent alone, again and again: nothing finished is lost, and the numbers are those of a quiet run."""

import collections
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import toy_task
from killing import kill_parent

from dopant.study import checkpoint
from dopant.study.store import Store
from dopant.study.worker import work

HERE = Path(__file__).parent
PARENT = "import sys; from dopant.study.engine import run_local; run_local(sys.argv[1], 2, [sys.argv[2]])"
TRIALS, EPOCHS, PACE = 6, 4, 0.05
STEPS = EPOCHS * toy_task.STEPS_PER_EPOCH


def planned():
    # every other trial saves inside its epochs too
    return [toy_task.trial(n, epochs=EPOCHS, seconds=0.12 if n % 2 else None) for n in range(TRIALS)]


def results(folder):
    """All numbers of a study: weights and optimiser state by trial, epochs, final metrics, items."""
    with Store.open(folder) as store:
        rows = store.rows()
        assert store.counts() == {"planned": TRIALS, "pending": 0, "running": 0, "done": TRIALS, "failed": 0}
        states = {row["id"]: checkpoint.flatten(store.state(row["id"])) for row in rows}
        items = {row["id"]: store.items(row["id"])["outputs"].tobytes() for row in rows}
        return states, store.metrics(), {row["id"]: row["metrics"] for row in rows}, items


def equal(one, other):
    """Bit for bit."""
    for (id_, (tree, tensors)), (other_id, (other_tree, other_tensors)) in zip(
        one[0].items(), other[0].items(), strict=True
    ):
        assert id_ == other_id and tree == other_tree and tensors.keys() == other_tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor.view(-1).view(torch.uint8), other_tensors[name].view(-1).view(torch.uint8))
    assert one[1:] == other[1:]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """The undisturbed run, in this process."""
    folder = tmp_path_factory.mktemp("quiet") / "study"
    threads = torch.get_num_threads()
    with Store.create(folder) as store:
        store.add(planned())
        work(store, runner=toy_task.run)
    torch.set_num_threads(threads)
    return results(folder)


def steps_of(path):
    return path.read_text().split("\n")[:-1] if path.exists() else []


def kill_and_finish(folder, kills, seed, quiet):
    """Kill a study `kills` times at random times between its first and its last step; returns how many hit a trial."""
    log = folder.parent / "steps.log"
    environment = os.environ | {"DOPANT_TOY_PACE": str(PACE), "DOPANT_TOY_STEPS": str(log)}
    command = [sys.executable, "-c", PARENT, str(folder), str(HERE / "toy_task.py")]
    with Store.create(folder) as store:
        store.add(planned())
    draw, inside, at_risk = random.Random(seed), 0, 0
    # moments spread over the whole study: a number of executed steps, and a place inside the step that follows
    for moment in sorted(draw.uniform(1, TRIALS * STEPS - 12) for _ in range(kills)):
        before = len(steps_of(log))

        def begun(before=before, moment=moment):
            steps = steps_of(log)
            return len(steps) > before and len(set(steps)) >= moment

        kill = kill_parent(command, begun=begun, delay=moment % 1 * PACE, env=environment)
        assert kill is not None, "the study ended before the kill: slow it down"
        assert kill.workers and not kill.survivors
        counted = collections.Counter(line.split()[0] for line in set(steps_of(log)))
        with Store.open(folder) as store:
            rows = store.rows()
            assert store.problems() == []
        hit = [counted[row["id"]] for row in rows if row["state"] == "running"]
        at_risk += len(hit)
        inside += any(0 < n < STEPS for n in hit)
        print(f"seed {seed}: kill after {moment:.2f} steps, {kill.seconds:.2f} s; running trials at steps {hit}")
    assert subprocess.run(command, env=environment | {"DOPANT_TOY_PACE": "0"}, timeout=120).returncode == 0
    executed = steps_of(log)
    assert len(set(executed)) == TRIALS * STEPS
    assert len(executed) <= TRIALS * STEPS + at_risk * toy_task.STEPS_PER_EPOCH
    equal(results(folder), quiet)
    return inside


def test_six_kills_of_the_parent_lose_no_more_than_an_epoch_each(tmp_path, quiet):
    assert kill_and_finish(tmp_path / "study", 6, 0, quiet) >= 4


@pytest.mark.long
def test_thirty_kills_of_the_parent_lose_no_more_than_an_epoch_each(tmp_path, quiet):
    inside = 0
    for seed in range(1, 6):
        (tmp_path / str(seed)).mkdir()
        inside += kill_and_finish(tmp_path / str(seed) / "study", 6, seed, quiet)
    assert inside >= 20


def test_an_interrupted_study_saves_inside_the_epoch_and_goes_on_from_there(tmp_path, quiet):
    """SIGTERM to the parent: workers save first, so that not one step is repeated."""
    folder, log = tmp_path / "study", tmp_path / "steps.log"
    with Store.create(folder) as store:
        store.add(planned())
    environment = os.environ | {"DOPANT_TOY_PACE": str(PACE), "DOPANT_TOY_STEPS": str(log)}
    command = [sys.executable, "-c", PARENT, str(folder), str(HERE / "toy_task.py")]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    while len(steps_of(log)) < 12:
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert b"KeyboardInterrupt" in process.communicate(timeout=20)[1]
    with Store.open(folder) as store:
        assert store.counts()["running"] == 0 and store.counts()["pending"] > 0
        assert sum(row["losses"] for row in store.rows()) == 0
    assert subprocess.run(command, env=environment | {"DOPANT_TOY_PACE": "0"}, timeout=120).returncode == 0
    assert len(steps_of(log)) == len(set(steps_of(log))) == TRIALS * STEPS
    equal(results(folder), quiet)
