"""Eight processes on one study from the same moment, the making of the index included."""

import collections
import os
import subprocess
import sys
import time
from pathlib import Path

import toy_task

from dopant.study.store import Store

HERE = Path(__file__).parent
TRIALS, PROCESSES = 40, 8

RACE = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import toy_task, torch
from dopant.study import checkpoint, keeper, worker
from dopant.study.store import Store

start = time.time() + 0.3
for number in range(int(sys.argv[4])):  # forked, so that all have imported what they need before the race
    if os.fork() == 0:
        while time.time() < start:
            pass
        with Store.create(sys.argv[2]) as store:
            store.add([toy_task.trial(n) for n in range(int(sys.argv[3]))])
            finished = worker.work(store, runner=toy_task.mean_only)
        print(f"{finished}\\n", end="", flush=True)
        os._exit(0)
assert {os.wait()[1] for _ in range(int(sys.argv[4]))} == {0}
"""


def test_eight_processes_from_the_same_moment_count_every_trial_once(tmp_path):
    folder, log = tmp_path / "study", tmp_path / "steps.log"
    command = [sys.executable, "-c", RACE, str(HERE), str(folder), str(TRIALS), str(PROCESSES)]
    environment = os.environ | {"DOPANT_TOY_STEPS": str(log), "DOPANT_TOY_PACE": "0.05"}
    race = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert race.returncode == 0, race.stderr
    finished = [int(line) for line in race.stdout.split()]
    assert len(finished) == PROCESSES and sum(finished) == TRIALS and sum(n > 0 for n in finished) > 1
    executed = collections.Counter(line.split()[0] for line in log.read_text().splitlines())
    assert executed == {toy_task.trial(n).id: 1 for n in range(TRIALS)}
    with Store.open(folder) as store:
        assert store.counts() == {"planned": TRIALS, "pending": 0, "running": 0, "done": TRIALS, "failed": 0}
        assert [row["attempts"] for row in store.rows()] == [1] * TRIALS
        assert [row["replicate"] for row in store.rows()] == list(range(TRIALS))
        assert store.problems() == []


MAKER = """
import os, sys
from dopant.study.store import Store
print("ready", flush=True)
while not os.path.exists(sys.argv[2] + "/go"):
    pass
for number in range(int(sys.argv[1])):
    Store.create(f"{sys.argv[2]}/{number}").close()
"""


def test_eight_processes_make_the_same_index_many_times_over(tmp_path):
    command = [sys.executable, "-c", MAKER, "25", str(tmp_path)]
    makers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    assert all(maker.stdout.readline() == "ready\n" for maker in makers)
    time.sleep(0.1)
    (tmp_path / "go").touch()
    ends = [maker.communicate(timeout=120) for maker in makers]
    assert [maker.returncode for maker in makers] == [0] * PROCESSES, [error for _, error in ends]
    for number in range(25):
        with Store.open(tmp_path / str(number)) as store:
            assert store.counts()["planned"] == 0
