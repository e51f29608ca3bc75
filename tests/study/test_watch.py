"""Looking at a study while others work on it: nothing is written, no lock is held, and what is said agrees with the
report."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time

import fake_answer
import pytest
from commanding import command
from rich.console import Console

import dopant as dp
from dopant.errors import ConfigError, StoreError
from dopant.study import owners
from dopant.study import plan as planning
from dopant.study.folder import append_line
from dopant.study.report import live
from dopant.study.store import Store
from dopant.study.watch import TAIL, Watcher, last_line

STUDY = """
[study]
name = "watched"
data = "digits"
host = "mlp"
replicates = 3
margin = 0.01
controls = false
[recipe]
lr = 0.003
batch = 32
epochs = 3
[design]
kind = "ladder"
levels = [ { head = { component = "low-rank" } } ]
"""


def text_of(look, width=100):
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(live.picture(look, 40, width))
    console.file.close()
    return console.export_text()


def planned(folder):
    """A study of 6 trials, none begun."""
    folder.mkdir(exist_ok=True)
    (folder / "asked.toml").write_text(STUDY)
    study = dp.Study.load(folder / "asked.toml")
    study.save(folder / "study.toml")
    (folder / "asked.toml").unlink()
    with Store.create(folder) as store:
        store.add(planning.plan(study, []))
    return study


def test_two_workers_are_watched_until_the_end_and_the_effects_so_far_become_those_of_the_report(tmp_path):
    assert Watcher(tmp_path).look().state == "starting"
    planned(tmp_path)
    watcher, looks = Watcher(tmp_path), []
    worker = [sys.executable, "-m", "dopant.study.worker", str(tmp_path)]
    workers = [subprocess.Popen(worker, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    end = time.monotonic() + 120
    while (not looks or looks[-1].state != "finished") and time.monotonic() < end:
        looks.append(watcher.look())
        time.sleep(0.1)
    for process in workers:
        assert process.stdin is not None
        process.stdin.close()  # as their parent's end would
        process.wait(30)
    running = [r for look in looks for r in look.running]
    assert running and {r.alive for r in running} == {True} and max(r.silent for r in running) < 20
    assert max(look.workers for look in looks) == 2 and len({r.worker for r in running}) == 2
    seen = [r for r in running if r.metric]
    assert seen and all(r.metric == "validation_accuracy" and 0 <= r.value <= 1 for r in seen)
    assert all(r.epochs == 3 and (r.epoch is None or 0 <= r.epoch <= 3) for r in running)
    assert any(look.state == "running" and look.seconds_left is not None for look in looks)
    partial = [look for look in looks if look.estimates and 0 < look.estimates[0].pairs < 3]
    assert partial and all("not a verdict" in " ".join(live.lines(look)) for look in partial)
    last = watcher.look()
    assert last.state == "finished" and last.counts["done"] == last.counts["planned"] == 6
    answer = dp.load(tmp_path)
    row, so_far = answer.effects.iloc[0], last.estimates[0]
    assert (so_far.mean, so_far.low, so_far.high) == pytest.approx((row["mean"], row["low"], row["high"]))
    answer.store.close()
    watcher.leave()
    assert not list(tmp_path.glob("index.sqlite-*"))


def test_a_finished_study_is_told_once_and_what_is_no_study_is_refused(tmp_path):
    planned(tmp_path / "study")
    database = sqlite3.connect(tmp_path / "study" / "index.sqlite")
    database.execute("UPDATE trials SET state='done', metrics='{}', started=1, finished=2, result_attempt=1")
    database.commit()
    database.close()
    before = sorted(os.listdir(tmp_path / "study"))
    result = command("watch", str(tmp_path / "study"))
    assert result.exit_code == 0 and result.output.startswith("watched: 6 of 6 done; finished")
    told = json.loads(command("watch", str(tmp_path / "study"), "--once", "--json").output)
    assert set(told) == {
        "name", "state", "counts", "workers", "seconds_per_trial", "per_hour", "seconds_left", "running", "failures",
        "estimates", "notes",
    }  # fmt: skip
    assert sorted(os.listdir(tmp_path / "study")) == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("")
    for bad in (["nowhere"], ["other"]):
        assert isinstance(command("watch", str(tmp_path / bad[0])).exception, StoreError)
    for more in (["--json"], ["--interval", "0"]):
        assert isinstance(command("watch", str(tmp_path / "study"), *more).exception, ConfigError)


def test_a_trial_shows_its_worker_epoch_score_and_the_time_since_its_last_sign(tmp_path):
    planned(tmp_path)
    with Store.open(tmp_path) as store:
        lease = store.lease(owners.identity())
        assert lease is not None
        store.heartbeat(lease, {"epoch": 1, "fraction": 0.5, "epochs": 3})
        append_line(lease.folder / "metrics.jsonl", {"epoch": 1, "train_loss": 1.5, "validation_accuracy": 0.75})
        now = time.time()
        look = Watcher(tmp_path).look(now + 12)
        (r,) = look.running
        assert (r.cell, r.replicate, r.epoch, r.epochs) == ("level 0", 0, 1.5, 3)
        assert (r.metric, r.value, r.alive) == ("validation_accuracy", 0.75, True)
        assert r.silent == pytest.approx(12, abs=1) and str(os.getpid()) in r.worker
        assert look.state == "running" and look.workers == 1 and look.counts["pending"] == 5
        shown = text_of(look)
        assert "1.5/3" in shown and "75.00" in shown and "12 s ago" in shown
        assert Watcher(tmp_path).look(now + 300).state == "idle"  # no sign of life for five minutes
        database = sqlite3.connect(tmp_path / "index.sqlite")
        database.execute("UPDATE trials SET owner=? WHERE state='running'", (f"{owners.machine()}:999999:1",))
        database.commit()
        database.close()
        look = Watcher(tmp_path).look(now)
        assert look.running[0].alive is False and look.state == "idle" and "process ended" in text_of(look)


def test_the_forecast_is_what_finished_trials_took_over_the_workers_alive(tmp_path):
    planned(tmp_path)
    database = sqlite3.connect(tmp_path / "index.sqlite")
    ids = [r[0] for r in database.execute("SELECT id FROM trials ORDER BY ord")]  # level 0, level 1, level 0, …
    for i, seconds in ((0, 10.0), (1, 30.0)):
        database.execute(
            "UPDATE trials SET state='done', metrics='{}', started=100, finished=?, result_attempt=1 WHERE id=?",
            (100 + seconds, ids[i]),
        )
    for i, epoch in ((2, 1), (3, 2)):
        database.execute(
            "UPDATE trials SET state='running', attempt=1, owner=?, lease_until=1030, started=990, progress=? "
            "WHERE id=?",
            (f"elsewhere:{i}:", json.dumps({"epoch": epoch, "epochs": 4}), ids[i]),
        )
    database.commit()
    database.close()
    look = Watcher(tmp_path).look(1000.0)
    assert [r.alive for r in look.running] == [None, None] and look.workers == 2
    assert look.seconds_per_trial == 20 and look.per_hour == 360
    # running: 10 s a quarter done leaves 30 s, half done 10 s; waiting: 10 s and 30 s; two workers share them
    assert look.seconds_left == pytest.approx((30 + 10 + 10 + 30) / 2)


def test_failures_are_told_with_their_reasons_and_hostile_names_stay_names(tmp_path):
    planned(tmp_path)
    with Store.open(tmp_path) as store:
        lease = store.lease(owners.identity())
        assert lease is not None
        store.fail(lease, "nan", "Traceback\nloss is nan at step 7")
    for name in fake_answer.HOSTILE[:8]:
        name = name.encode("utf-8", "replace").decode()
        database = sqlite3.connect(tmp_path / "index.sqlite")
        database.execute("UPDATE trials SET cell=?, owner=?", (name, f"{name}:1:1"))
        database.execute("UPDATE trials SET state='running', lease_until=0 WHERE state='pending' AND replicate=1")
        database.commit()
        database.close()
        look = Watcher(tmp_path).look()
        assert look.failures[0].reason == "nan: loss is nan at step 7"
        for shown in (text_of(look), "\n".join(live.lines(look))):
            assert "loss is nan" in shown and not re.search("[\x00\x1b\u202e]", shown)
    assert "[red]rich" in text_of(look) or "nul" in text_of(look)


def test_a_study_whose_file_cannot_be_read_here_is_watched_without_effects(tmp_path):
    planned(tmp_path)
    text = (tmp_path / "study.toml").read_text().replace('"low-rank"', '"only-in-my-file"')
    (tmp_path / "study.toml").write_text(text.replace("[recipe]", "[recipe]\nno_such_key = 1"))
    look = Watcher(tmp_path).look()
    assert look.counts["pending"] == 6 and "effects are not estimated" in look.notes[0]
    (tmp_path / "index.sqlite").unlink()
    assert Watcher(tmp_path).look().state == "starting"


def test_the_last_whole_line_of_a_log_is_found_at_its_end(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert last_line(path) is None
    for epoch in range(1, 200):
        append_line(path, {"epoch": epoch, "text": "x" * 150})
    assert path.stat().st_size > TAIL
    with open(path, "ab") as file:
        file.write(b'{"epoch": 200, "te')
    found = last_line(path)
    assert found is not None and found["epoch"] == 199
