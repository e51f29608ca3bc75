"""Three ways to swap into a trained network: train all, freeze the rest, distil first."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dopant as dp
from dopant.study import plan as planning
from dopant.training.regimes import freeze_rest, held_statistics

OPTIONS = {"size": 8, "channels": [4, 4], "dense": 8}


def host() -> nn.Module:
    """An object of this process, so that trials run here and no worker has to start."""
    return dp.host("small-cnn", **OPTIONS)


def study(regime: str, **recipe) -> dp.Study:
    ladder = dp.Ladder(host).level(hidden="bottleneck-mlp").level(head="linear-residual")
    values = {"lr": 1e-2, "batch": 128, "epochs": 1, "regime": regime, "distil_epochs": 1} | recipe
    return dp.Study(ladder, data="digits", recipe=dp.Recipe(**values), replicates=1, controls={"head": ["frozen"]})


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """The same start under each regime."""
    folder = tmp_path_factory.mktemp("regimes")
    start = dp.host("small-cnn", seed=3, **OPTIONS).state_dict()
    return start, {
        regime: dp.run(study(regime), out=folder / regime, checkpoint=start, progress=None)
        for regime in ("all", "freeze", "distil")
    }


def final(answer: dp.Answer) -> dict[str, dict[str, torch.Tensor]]:
    return {row.cell: answer.model(row.trial).state_dict() for row in answer.trials.itertuples()}


def test_all_trials_of_all_regimes_are_done(answers):
    for answer in answers[1].values():
        assert answer.counts["done"] == answer.counts["planned"] == 4, answer.failures


def test_freezing_moves_the_slots_alone_in_every_cell_and_keeps_running_statistics(answers):
    start, found = answers
    models = final(found["freeze"])
    for cell, state in models.items():
        outside = [name for name in start if not name.startswith(("hidden.", "head."))]
        assert "norms.0.running_mean" in outside
        assert all(torch.equal(state[name], start[name]) for name in outside), cell
    assert not torch.equal(models["level 0"]["head.weight"], start["head.weight"])
    assert not torch.equal(models["level 0"]["hidden.weight"], start["hidden.weight"])
    assert not torch.equal(models["level 1"]["head.weight"], start["head.weight"])


def test_a_batch_of_more_than_there_is_and_a_poor_imitation_are_told(answers, tmp_path):
    assert any("imitates the old module poorly" in note for note in answers[1]["distil"].notes)
    one = dp.run(study("all", batch=5000), out=tmp_path / "one", checkpoint=answers[0], progress=None)
    assert any(note == "recipe.batch is 5,000, and 1,078 items train: one step an epoch." for note in one.notes)
    assert not any("one step an epoch" in note for note in answers[1]["all"].notes)


def test_training_all_moves_the_rest_too(answers):
    start, found = answers
    state = final(found["all"])["level 1"]
    assert not torch.equal(state["convs.0.weight"], start["convs.0.weight"])
    assert not torch.equal(state["norms.0.running_mean"], start["norms.0.running_mean"])


def test_the_ledger_counts_only_what_moves_as_trainable(answers):
    costs = answers[1]["freeze"].costs.set_index("cell")
    assert costs.loc["level 0", "trainable"] == 16 * 8 + 8 + 8 * 10 + 10
    assert costs.loc["level 0", "trainable"] < costs.loc["level 0", "parameters"]


def test_level_zero_is_the_same_to_the_bit_whether_or_not_others_distil(answers):
    one, other = (final(answers[1][regime])["level 0"] for regime in ("all", "distil"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_distilling_is_measured_per_slot_and_shown_on_the_page(answers):
    answer = answers[1]["distil"]
    trials = answer.trials.set_index("cell")
    assert trials.loc["level 2", "imitation_end_head"] < trials.loc["level 2", "imitation_start_head"]
    assert trials.loc["level 1", "imitation_end_hidden"] > 0 and trials["imitation_end_head"].isna()["level 0"]
    assert {"imitation_error_hidden", "imitation_loss"} <= set(answer.metrics.columns)
    page = (answer.folder / "report.html").read_text()
    assert 'id="imitation"' in page and "Regime distil" in page
    assert 'id="imitation"' not in (answers[1]["all"].folder / "report.html").read_text()


def test_the_regime_is_part_of_a_trial_and_recipes_without_one_keep_their_identifiers():
    plain = dp.Recipe(epochs=3)
    assert not {"regime", "distil_epochs", "distil_lr"} & plain.identity().keys()
    ids = {regime: planning.main_trials(study(regime), {}, {})[0].id for regime in ("all", "freeze", "distil")}
    assert len(set(ids.values())) == 3
    longer = planning.main_trials(study("distil", distil_epochs=2), {}, {})[0].id
    assert longer != ids["distil"]


def test_what_a_regime_cannot_do_is_refused_before_anything_runs():
    @dp.component("test-wide-pair", fills=nn.Linear, mode="group", changes_shape=True)
    def wide_pair(old, signature):
        """For this test."""
        first, second = old.values()
        return dict(zip(old, (nn.Linear(first.in_features, 9), nn.Linear(9, second.out_features)), strict=True))

    ladder = dp.Ladder({"name": "mlp", "size": 8}).level(**{"layers.0+layers.1": "test-wide-pair"})
    with pytest.raises(dp.ConfigError, match="cannot be imitated"):
        dp.run(ladder, data="digits", recipe=dp.Recipe(regime="distil"))
    with pytest.raises(dp.ConfigError, match="a loop of your own freezes"):
        dp.run(
            dp.Ladder({"name": "mlp", "size": 8}).level(head="bottleneck-mlp"), data="digits",
            train=lambda model, streams, log, folder: {"accuracy": 1.0}, recipe=dp.Recipe(regime="freeze"),
        )  # fmt: skip


def test_a_weight_that_the_slot_shares_with_the_rest_stays_trainable():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Sequential(nn.BatchNorm1d(4)))
    net[2].weight = net[0].weight
    freeze_rest(net, ["2", "3"])
    assert net[0].weight.requires_grad and not net[0].bias.requires_grad and not net[1].weight.requires_grad
    assert net[3][0].weight.requires_grad
    assert held_statistics(net, ["2", "3"]) == [net[1]]
