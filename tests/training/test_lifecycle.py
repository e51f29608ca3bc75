"""Each hook of a component's life, shown by one test component."""

from __future__ import annotations

import pytest
import torch
from keepers import MemoryKeeper
from torch import nn

import dopant as dp
from dopant.datasets.source import load_source
from dopant.streams import Streams
from dopant.training.loop import Loop


@pytest.fixture(scope="module")
def digits():
    return load_source("digits").draw(Streams(0), None)


def train(slot: nn.Module, digits, epochs=2, keeper=None) -> tuple[nn.Module, MemoryKeeper, Loop]:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("flat", nn.Flatten())
    model.add_module("slot", slot)
    model.add_module("head", nn.Linear(64, 10))
    keeper = keeper or MemoryKeeper()
    recipe = dp.Recipe(lr=1e-3, batch=64, epochs=epochs)
    loop = Loop(model, digits, recipe, Streams(0), keeper, epochs=epochs, slots=["slot"])
    loop.run()
    return model, keeper, loop


class Whitening(nn.Module, dp.Lifecycle):
    """Learns the mean of its inputs before training."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(64))
        self.register_buffer("times", torch.zeros(()))

    def prepare(self, batches):
        self.mean.copy_(torch.cat([b[0] for b in batches]).mean(dim=0))
        self.times += 1

    def forward(self, x):
        return x - self.mean


def test_prepare_is_called_once_with_the_inputs_that_reach_the_component(digits):
    model, keeper, _ = train(Whitening(), digits)
    order = torch.randperm(len(digits.train), generator=Streams(0).generator("order", 0))[: 4 * 64]
    expected = digits.train.inputs[order].flatten(1).mean(dim=0)
    assert torch.allclose(model.slot.mean, expected, atol=1e-6)
    resumed = MemoryKeeper(state=keeper.states[-1])
    again, _, _ = train(Whitening(), digits, epochs=3, keeper=resumed)
    assert again.slot.times == 1 and torch.equal(again.slot.mean, model.slot.mean)


class Commitment(nn.Module, dp.Lifecycle):
    """Pulls its scale towards 5 by an extra loss."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def extra_losses(self):
        return {"commitment": 100 * (self.scale - 5).square()}

    def forward(self, x):
        return x * self.scale


def test_extra_losses_reach_the_gradient_and_are_logged(digits):
    model, keeper, _ = train(Commitment(), digits)
    assert model.slot.scale > 1.02
    assert keeper.rows[1]["extra_commitment"] > keeper.rows[2]["extra_commitment"] > 0


class Projected(nn.Module, dp.Lifecycle):
    """Keeps its weights within a ball after each step."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 64)
        self.steps: list[int] = []

    def after_step(self, step):
        self.steps.append(step)
        self.linear.weight.mul_(0.5 / self.linear.weight.norm())

    def forward(self, x):
        return self.linear(x)


def test_after_step_runs_after_every_optimizer_step(digits):
    model, _, loop = train(Projected(), digits)
    assert model.slot.steps == list(range(1, loop.progress.step + 1))
    assert float(model.slot.linear.weight.detach().norm()) == pytest.approx(0.5, rel=1e-5)


class TwoStage(nn.Module, dp.Lifecycle):
    """First trains alone, then with everything."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def phases(self):
        return [dp.Phase("alone", 1, "own"), dp.Phase("others", 1, "rest")]

    def forward(self, x):
        return self.linear(x)


def test_phases_come_before_the_recipes_epochs_and_move_only_their_parameters(digits):
    keeper = MemoryKeeper()
    _, keeper, _ = train(TwoStage(), digits, epochs=1, keeper=keeper)
    assert sorted(keeper.rows) == [-2, -1, 1]
    first, second = keeper.states[0]["model"], keeper.states[1]["model"]
    torch.manual_seed(0)
    fresh = nn.Linear(64, 10)
    assert torch.equal(first["slot.linear.weight"], second["slot.linear.weight"])
    assert not torch.equal(first["head.weight"], second["head.weight"])
    assert torch.equal(first["head.weight"], fresh.weight)


class Vote(nn.Module, dp.Lifecycle):
    """Answers class 3 in evaluation, whatever the network says."""

    def predict(self, outputs):
        return nn.functional.one_hot(torch.full((len(outputs),), 3), 10).float()

    def forward(self, x):
        return x


def test_predict_decides_what_is_scored_in_evaluation_only(digits):
    _, keeper, loop = train(Vote(), digits, epochs=5)
    share = float((digits.validation.targets == 3).float().mean())
    assert keeper.rows[5]["validation_accuracy"] == pytest.approx(share)
    assert keeper.rows[5]["train_accuracy"] > 0.5
    assert set(loop.test().items["prediction"].tolist()) == {3}
