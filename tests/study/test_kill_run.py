"""`dopant run` itself, killed: the real task, with BatchNorm, dropout, Adam and shuffling on real digits."""

import os
import sys

import pytest
import torch
from killing import kill_parent
from torch.utils import _pytree as pytree

import dopant as dp

STUDY = """
[study]
name = "killed"
data = "digits"
replicates = 2
controls = false
host = { name = "small-cnn", size = 8, channels = [8, 8], dropout = 0.3 }
[recipe]
batch = 32
epochs = 12
checkpoint_seconds = 0.2
[design]
kind = "ladder"
levels = [{ head = "bottleneck-mlp" }]
"""


def command(folder):
    return [
        sys.executable,
        "-m",
        "dopant",
        "run",
        str(folder.parent / "study.toml"),
        "--out",
        str(folder),
        "--workers",
        "2",
    ]


def state_of(answer):
    """Weights, optimizer states, metrics without clocks, predictions."""
    found = {}
    for row in answer.trials.sort_values("trial").itertuples():
        state = answer.store.state(row.trial)
        found[row.trial] = (state["model"], state["optimizer"], answer.store.items(row.trial), row.test_loss)
    curves = answer.metrics.drop(columns="seconds").sort_values(["trial", "epoch"]).reset_index(drop=True)
    return found, curves


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quiet") / "runs"
    (folder.parent / "study.toml").write_text(STUDY)
    return state_of(dp.run(dp.Study.load(folder.parent / "study.toml"), out=folder, workers=2))


def more_logged(folder):
    """Whether an epoch has been logged since now."""

    def logged():
        return sum(path.stat().st_size for path in folder.glob("trials/*/attempt-*/metrics.jsonl"))

    before = logged()
    return lambda: logged() > before


@pytest.mark.parametrize("delays", [[0.3, 0.9], pytest.param([0.1 * k for k in range(8)], marks=pytest.mark.long)])
def test_a_study_whose_parent_is_killed_ends_with_the_same_bits(tmp_path, undisturbed, delays):
    (tmp_path / "study.toml").write_text(STUDY)
    folder = tmp_path / "runs"
    kills = [
        kill_parent(command(folder), begun=more_logged(folder), delay=delay, env=dict(os.environ)) for delay in delays
    ]
    met = [kill for kill in kills if kill is not None]
    assert met and all(kill.workers for kill in met), "every kill must meet a running study"
    assert not any(kill.survivors for kill in met)
    answer = dp.run(dp.Study.load(tmp_path / "study.toml"), out=folder, workers=2)
    assert answer.counts["done"] == answer.counts["planned"] == 4
    assert answer.trials["attempts"].max() > 1
    (states, curves), (quiet_states, quiet_curves) = state_of(answer), undisturbed
    assert states.keys() == quiet_states.keys()
    for trial, state in states.items():
        ours, theirs = pytree.tree_leaves(state), pytree.tree_leaves(quiet_states[trial])
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(torch.as_tensor(a), torch.as_tensor(b)) if hasattr(a, "shape") else a == b
    assert curves.equals(quiet_curves)
