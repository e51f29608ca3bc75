"""Lightning and accelerate, for real: their numbers against those of dopant's own loop, kills, growth, workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import studies
import torch
from killing import kill_parent

import dopant as dp

EPOCHS, LONG = 2, 8
EXAMPLES = pytest.mark.parametrize("name", ["lightning_loop", "accelerate_loop"])
SHARED = ["train_loss", "validation_loss", "validation_accuracy"]


def weights(answer: dp.Answer) -> dict:
    """{(cell, replicate): the final weights and buffers}."""
    return {
        (row.cell, row.replicate): answer.store.state(row.trial)["model"]
        for row in answer.trials.itertuples()
        if row.status == "done"
    }


def assert_same_weights(a: dp.Answer, b: dp.Answer) -> None:
    ours, theirs = weights(a), weights(b)
    assert ours and ours.keys() == theirs.keys()
    for place, state in ours.items():
        assert state.keys() == theirs[place].keys()
        for name, tensor in state.items():
            assert torch.equal(tensor, theirs[place][name]), (place, name)


def curves(answer: dp.Answer) -> pd.DataFrame:
    return answer.metrics.set_index(["cell", "replicate", "epoch"])[SHARED].sort_index()


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> dp.Answer:
    """The study by dopant's own loop."""
    return studies.own(tmp_path_factory.mktemp("own") / "s", epochs=EPOCHS)


@pytest.fixture(scope="module")
def long(tmp_path_factory) -> dp.Answer:
    """One replicate of it, for longer."""
    return studies.own(tmp_path_factory.mktemp("long") / "s", epochs=LONG, replicates=1)


@EXAMPLES
def test_a_paired_loop_ends_with_the_weights_and_effects_of_dopants_own(example, own, tmp_path, name, capfd):
    mine = studies.run(tmp_path / "s", epochs=EPOCHS, train=example(name).train)
    assert mine.counts["done"] == 4, mine.failures
    assert_same_weights(mine, own)
    pd.testing.assert_frame_equal(curves(mine), curves(own), rtol=1e-5, check_column_type=False)
    columns = ["mean", "sd", "low", "high", "low_unpaired", "high_unpaired", "item_error", "failed", "replicates"]
    pd.testing.assert_frame_equal(mine.effects[columns], own.effects[columns], rtol=1e-5)
    assert mine.effects["verdict"].tolist() == own.effects["verdict"].tolist()
    assert not any("One's own loop" in note for note in mine.notes), mine.notes
    costs = ["parameters", "trainable", "flops"]
    pd.testing.assert_frame_equal(mine.costs[costs], own.costs[costs])
    # Everything of theirs is in the trials' folders, and nothing is said but dopant's one line.
    assert not list(Path.cwd().glob("lightning_logs*")) and not (tmp_path / "lightning_logs").exists()
    said = capfd.readouterr()
    assert not said.out and all(line.startswith("dopant:") for line in said.err.splitlines()), said.err


@EXAMPLES
def test_per_item_results_reach_the_store_as_those_of_the_supervised_task_do(example, own, tmp_path, name):
    mine = studies.run(tmp_path / "s", epochs=EPOCHS, replicates=1, train=example(name).train)
    theirs = own.trials[own.trials["replicate"] == 0].set_index("cell")
    for row in mine.trials.itertuples():
        items, wanted = mine.store.items(row.trial), own.store.items(theirs.loc[row.cell, "trial"])
        for key in ("ids", "prediction", "accuracy"):
            assert (items[key] == wanted[key]).all(), key
        assert row.test_accuracy == pytest.approx(float(items["accuracy"].mean()), abs=1e-6)


@EXAMPLES
def test_a_study_whose_process_is_killed_in_training_ends_with_the_same_bits(example, long, tmp_path, name):
    train, folder = example(name).train, tmp_path / "s"
    kill = kill_parent(
        [sys.executable, str(Path(studies.__file__)), name, str(folder), str(LONG)],
        begun=lambda: any(logged(path) >= 3 for path in folder.glob("trials/*/attempt-1/metrics.jsonl")),
        delay=0.02,
        env=dict(os.environ),
    )
    assert kill is not None, "the kill must meet a running study"
    met = [path.parents[1].name for path in folder.glob("trials/*/attempt-1/metrics.jsonl") if logged(path) < LONG]
    assert len(met) == 1, "the kill must meet a trial in the middle"
    again = studies.run(folder, epochs=LONG, replicates=1, train=train)
    assert again.counts["done"] == 2
    second = folder / "trials" / met[0] / "attempt-2" / "metrics.jsonl"
    assert json.loads(second.read_text().splitlines()[0])["epoch"] > 1, "it must go on, not begin again"
    assert_same_weights(again, long)
    pd.testing.assert_frame_equal(curves(again), curves(long), rtol=1e-5, check_column_type=False)


def logged(path: Path) -> int:
    """The last whole epoch in a log."""
    return max((json.loads(line)["epoch"] for line in path.read_text().splitlines() if line.endswith("}")), default=0)


@EXAMPLES
def test_more_epochs_go_on_from_the_folder_and_more_replicates_are_added(example, own, tmp_path, name):
    train = example(name).train
    studies.run(tmp_path / "s", epochs=1, replicates=1, train=train)
    grown = studies.run(tmp_path / "s", epochs=EPOCHS, train=train)
    assert_same_weights(grown, own)
    pd.testing.assert_frame_equal(curves(grown), curves(own), rtol=1e-5, check_column_type=False)
    assert grown.trials.set_index(["cell", "replicate"])["attempts"].unstack().to_numpy().tolist() == [[2, 1], [2, 1]]


def test_dopant_imports_neither_framework():
    code = (
        "import sys, dopant, dopant.adapters, dopant.tasks.custom, dopant.study.run\n"
        "print([m for m in ('lightning', 'accelerate') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@EXAMPLES
def test_the_page_quotes_the_example_that_is_tested(name):
    examples = Path(__file__).parents[2] / "docs" / "examples"
    assert (examples / f"{name}.py").read_text() in (examples.parent / "own-loop.md").read_text()
