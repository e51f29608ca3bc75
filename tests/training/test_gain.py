"""The initial gain scales weights in the design's slots, in every cell alike, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dopant as dp
from dopant.streams import Streams
from dopant.study import plan as planning
from dopant.tasks.build import build_data, build_model
from dopant.training.gain import apply_gain


def study(gain):
    design = dp.Ladder({"name": "creep-cnn", "size": 8}).level(conv1="flipped-quanv").level(head="reupload-linear")
    return dp.Study(design, data={"name": "digits", "limit": 200}, controls=False, recipe=dp.Recipe(initial_gain=gain))


def networks(gain):
    """{cell: its network before training}."""
    asked, streams = study(gain), Streams(0, 0)
    found = {}
    for cell in planning.cells(asked):
        description = planning.describe(asked, cell, 0, asked.recipe, {})
        found[cell.name] = build_model(description, streams, build_data(description, streams))
    return found


def test_weights_in_every_slot_of_the_design_are_scaled_in_every_cell_and_nothing_else_is():
    plain, scaled = networks(1.0), networks(3.0)
    for cell, network in scaled.items():
        own = dict(plain[cell].named_parameters())
        for name, parameter in network.named_parameters():
            weight = name.startswith(("conv1.", "head.")) and not name.endswith("bias")
            assert torch.equal(parameter, own[name] * 3 if weight else own[name]), (cell, name)
    assert {n for n, _ in scaled["level 2"].named_parameters()} > {"conv1.angles", "head.angles"}


def test_a_gain_of_one_is_no_part_of_a_trial_and_another_is():
    ids = [{t.id for t in planning.plan(study(gain), [])} for gain in (1.0, 3.0)]
    assert not ids[0] & ids[1]
    assert all("gained_slots" not in t.description for t in planning.plan(study(1.0), []))


def test_biases_normalisations_single_numbers_and_frozen_weights_keep_their_start():
    model = nn.ModuleDict(
        {"a": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LayerNorm(4)), "b": nn.Linear(2, 2)}
    )
    model["a"].register_parameter("log_scale", nn.Parameter(torch.tensor(2.0)))
    model["a"].register_parameter("still", nn.Parameter(torch.ones(2), requires_grad=False))
    assert apply_gain(model, ["a"], 0.5) == ["a.0.weight"]


def test_a_weight_that_two_slots_share_is_scaled_once():
    model = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False)})
    model["b"] = model["a"]
    before = model["a"].weight.detach().clone()
    apply_gain(model, ["a", "b"], 2.0)
    assert torch.equal(model["a"].weight, 2 * before)


def test_a_gain_on_trained_weights_is_refused(tmp_path):
    asked = study(2.0)
    host = {"name": "creep-cnn", "checkpoint": {"sha256": "0" * 64}}
    asked = asked.with_(design=dp.Ladder(host).level(head="reupload-linear"))
    assert any("scales fresh weights" in problem for problem in asked.problems())


@pytest.mark.parametrize("gain", [0.0, -1.0, float("nan")])
def test_a_gain_is_a_number_above_zero(gain):
    with pytest.raises(dp.ConfigError, match="initial_gain"):
        dp.Recipe(initial_gain=gain)
