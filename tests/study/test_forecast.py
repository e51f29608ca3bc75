"""The forecast of a study against the study itself, and what is refused before a run."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import torch
import torch._subclasses.fake_tensor  # its first import is no part of what is timed

import dopant as dp
from dopant.memory import Available
from dopant.study import dry, look
from dopant.study import forecast as forecasting
from dopant.study import plan as planning
from dopant.study.run import check


def study(**recipe) -> dp.Study:
    design = dp.Ladder("mlp").level(head="bottleneck-mlp")
    values = {"batch": 50, "epochs": 4, "device": "cpu"} | recipe
    return dp.Study(design, data="digits", recipe=dp.Recipe(**values), replicates=3, controls=False, name="small")


def bytes_of(folder) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_time_and_disk_are_foreseen_and_what_is_done_is_left_out(tmp_path):
    asked, folder = study(epochs=30), tmp_path / "small"
    before = look.forecast(asked, out=folder, workers=1)
    assert before is not None and before.trials == before.planned == 6 and not folder.exists()
    start = time.perf_counter()
    answer = dp.run(asked, out=folder, workers=1, progress=None)
    seconds = time.perf_counter() - start
    assert answer.counts["done"] == 6
    assert seconds / 2 < before.seconds < 2 * seconds
    assert before.disk == pytest.approx(bytes_of(folder), rel=0.25)
    files = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    after = look.forecast(asked, out=folder, workers=1)
    more = look.forecast(asked.with_(replicates=5), out=folder, workers=1)
    assert after is not None and (after.trials, after.disk, after.seconds) == (0, 0, 0)
    assert more is not None and more.trials == 4
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == files


def test_a_dry_step_moves_no_generator_and_gives_plain_values_for_every_cell():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    rows = look.dry_steps(study())
    assert torch.equal(torch.get_rng_state(), state)
    assert [row.cell for row in rows] == ["level 0", "level 1"]
    assert rows[0].parameters == 64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10
    assert rows[0].flops == 2 * (64 * 64 + 64 * 64 + 64 * 10)  # a multiply-add is two
    assert all(0 < row.step_seconds < 1 and row.state > 3 * 4 * row.parameters for row in rows)
    json.dumps([row.to_json() for row in rows])


def test_a_worker_that_cannot_fit_is_refused_at_once_with_the_largest_batch_that_does(monkeypatch):
    room = 700_000_000
    monkeypatch.setattr(forecasting, "available", lambda device: Available(room, room, "this machine"))
    big = study(batch=1000).with_(design=dp.Ladder({"name": "mlp", "hidden": [40_000]}).level(head="frozen"))
    check(study())
    start = time.process_time()
    with pytest.raises(
        dp.DoesNotFit, match=r"samples needs .*B of memory in a worker, and 700 MB are available"
    ) as found:
        check(big.with_(data={"name": "digits"}))
    assert time.process_time() - start < 4
    assert "cell 'level 0'" in str(found.value) and "recipe." in str(found.value)
    assert found.value.needed > room


def test_too_many_workers_are_told_how_many_fit_and_one_that_fits_is_let_be(monkeypatch):
    monkeypatch.setattr(forecasting, "available", lambda device: Available(10**9, 10**9, "this machine"))
    needs = {"level 0": {"memory": 3 * 10**8, "state": 1}}
    words = forecasting.warn_of_workers(needs, 8, 100, dp.Recipe(device="cpu"))
    assert words is not None and "8 workers of 300 MB need 2.4 GB" in words and "--workers 3 fits" in words
    assert forecasting.warn_of_workers(needs, 8, 3, dp.Recipe(device="cpu")) is None  # only three trials


def test_a_disk_that_is_too_small_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10_000})
    monkeypatch.setattr(forecasting.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(dp.StoreError, match="10 kB are free there"):
        dp.run(study(), out=tmp_path / "small", progress=None)
    assert not (tmp_path / "small").exists()


def shared() -> dp.Study:
    """Two learning rates of two heads, and a tuned contrast of the heads: six cells, two networks."""
    design = dp.Factorial(
        {"name": "mlp", "hidden": [4]}, {"head": ["linear"], "recipe.lr": [3e-3, 3e-2]},
        controlled=[{"factor": "head", "level": "linear"}],
    )  # fmt: skip
    recipe = dp.Recipe(epochs=1, batch=60, lr=3e-3, device="cpu")
    return dp.Study(design, data={"name": "digits", "limit": 120}, recipe=recipe, replicates=2, controls=False,
                    tuning=dp.Tuning(lr=[3e-3, 1e-2], replicates=1))  # fmt: skip


def test_cells_that_differ_in_the_learning_rate_alone_are_measured_once(monkeypatch):
    built, checked = [], []
    real_dry, real_refuse = dry._dry, forecasting.refuse_cell
    monkeypatch.setattr(dry, "_dry", lambda s, cell, data: built.append(cell.name) or real_dry(s, cell, data))
    monkeypatch.setattr(forecasting, "refuse_cell", lambda name, *a: checked.append(name) or real_refuse(name, *a))
    rows = look.dry_steps(shared())
    assert [row.cell for row in rows] == [cell.name for cell in planning.cells(shared())] and len(rows) == 6
    assert built == checked == ["head=old, recipe.lr=0.003", "head=linear, recipe.lr=0.003"]
    assert len({row.step_seconds for row in rows}) == 2
    needs: dict = {}
    check(shared(), needs)
    assert set(needs) == {row.cell for row in rows}


def test_a_trial_that_two_cells_share_is_foreseen_once(tmp_path):
    before = look.forecast(shared(), out=tmp_path / "s", workers=1)
    assert before is not None and before.trials == before.planned == 2 * 4 + 4  # tuning: two arms of two rates
    assert "up to 4 trials more" in before.assumption


def test_controls_that_cannot_be_built_are_not_counted():
    asked = dp.Study(
        dp.Ladder("mlp").level(head="bottleneck-mlp"), data="digits", replicates=3,
        controls={"head": ["random-features", "dephased"]}, recipe=dp.Recipe(epochs=1, device="cpu"),
    )  # fmt: skip
    whole = look.forecast(asked)
    assert whole is not None and whole.planned == whole.trials == 3 * 3  # no circuit here that could be dephased
    assert len(planning.cells(asked)) == 4


def test_another_task_has_no_forecast():
    assert dry.dry_steps(study().with_(task="custom")) == []
    assert look.forecast(study().with_(task="custom")) is None


def test_the_command_gives_slots_cells_and_forecast_as_json(tmp_path):
    study(epochs=1).save(tmp_path / "small.toml")
    command = [sys.executable, "-m", "dopant", "inspect", "small.toml", "--json", "--forecast"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(result.stdout)
    assert set(found) == {"slots", "cells", "forecast", "dimensions", "gradients"} and found["forecast"]["trials"] == 6
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]
