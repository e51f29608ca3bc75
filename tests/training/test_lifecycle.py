"""Each hook of a component's life, shown by one test component."""

from __future__ import annotations

import copy

import pytest
import torch
from keepers import MemoryKeeper, Stopped
from torch import nn

import dopant as dp
from dopant.datasets.source import load_source
from dopant.errors import TrialFailed
from dopant.streams import Streams
from dopant.training import lifecycle_calls
from dopant.training.loop import Loop, tensors_of


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


def test_fresh_batch_normalisation_goes_by_the_batches_that_prepare_what_stands_behind_it():
    torch.manual_seed(0)
    x = 0.1 * torch.randn(64, 6) + 3
    host = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4))
    model = dp.swap(host, {"3": "random-features"}, x[:4], seed=0)
    before = {name: b.clone() for name, b in model[1].named_buffers()}
    lifecycle_calls.prepare(model, [x], dp.Streams(0))
    assert all(torch.equal(b, before[name]) for name, b in model[1].named_buffers()) and model.training
    training = host.train()[:3](x).detach()  # what the first step will see, and a second oracle of the median distance
    distances = torch.cdist(training, training)[~torch.eye(64, dtype=bool)]
    assert float(model[3].bandwidth) == pytest.approx(float(distances.median()), rel=0.02)
    trained = copy.deepcopy(model)
    trained[1].num_batches_tracked.fill_(7)  # has averages of its own, as of a checkpoint: they are what it goes by
    lifecycle_calls.prepare(trained, [x], dp.Streams(0))
    assert float(trained[3].bandwidth) != pytest.approx(float(distances.median()), rel=0.5)


def test_prepare_is_called_once_with_the_inputs_that_reach_the_component(digits):
    model, keeper, _ = train(Whitening(), digits)
    order = torch.randperm(len(digits.train), generator=Streams(0).generator("order", 0))[: 4 * 64]
    expected = digits.train.inputs[order].flatten(1).mean(dim=0)
    assert torch.allclose(model.slot.mean, expected, atol=1e-6)
    resumed = MemoryKeeper(state=keeper.states[-1])
    again, _, _ = train(Whitening(), digits, epochs=3, keeper=resumed)
    assert again.slot.times == 1 and torch.equal(again.slot.mean, model.slot.mean)


class Reversed(nn.Module, dp.Lifecycle):
    """Trains on the labels of the split backwards, each next one of a random start."""

    def training_targets(self, targets):
        return targets.flip(0).roll(int(torch.randint(len(targets), ())))

    def forward(self, x):
        return x


class Watched(nn.Module):
    """Keeps what the network is called with in training."""

    def __init__(self):
        super().__init__()
        self.linear, self.seen = nn.Linear(64, 64), []

    def forward(self, x):
        if self.training:
            self.seen.append(x.detach().clone())
        return self.linear(x)


def expected_targets(digits, name="slot"):
    start = int(torch.randint(len(digits.train), (), generator=Streams(0).generator(f"targets:{name}")))
    return digits.train.targets.flip(0).roll(start)


def metered(digits, slot, keeper=None, epochs=2):
    """As `train`, with the targets of each step kept."""
    seen = []

    def note(outputs, targets):
        if torch.is_grad_enabled():
            seen.append(targets.clone())
        return nn.functional.cross_entropy(outputs, targets)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), slot, nn.Dropout(0.2), nn.Linear(64, 10))
    keeper = keeper or MemoryKeeper()
    loop = Loop(model, digits, dp.Recipe(lr=1e-3, batch=64, epochs=epochs), Streams(0), keeper, epochs=epochs, slots=[])
    loop.rule.loss = note
    return loop, keeper, seen


def test_training_targets_decide_what_the_loss_is_of_and_move_no_batch(digits):
    watched = Watched()
    loop, _, seen = metered(digits, nn.Sequential(watched, Reversed()))
    loop.run()
    plain = Watched()
    other, _, true = metered(digits, nn.Sequential(plain, nn.Identity()))
    other.run()
    orders = [torch.randperm(len(digits.train), generator=Streams(0).generator("order", e)) for e in (1, 2)]
    assert torch.equal(torch.cat(seen), expected_targets(digits, "1.1")[torch.cat(orders)])
    assert torch.equal(torch.cat(true), digits.train.targets[torch.cat(orders)])
    assert all(torch.equal(a, b) for a, b in zip(watched.seen, plain.seen, strict=True))  # level 0's batches


def test_validation_and_test_keep_their_labels(digits):
    _, keeper, loop = train(Reversed(), digits)
    outputs = loop.model(digits.test.inputs).argmax(1)
    assert torch.equal(loop.test().items["accuracy"], (outputs == digits.test.targets).float())
    share = float((loop.model(digits.validation.inputs).argmax(1) == digits.validation.targets).double().mean())
    assert keeper.rows[2]["validation_accuracy"] == pytest.approx(share)
    assert torch.equal(digits.train.targets, load_source("digits").draw(Streams(0), None).train.targets)


@pytest.mark.parametrize(("stop_at", "every"), [(1, None), (7, 3), (20, None), (25, 2)])
def test_a_training_on_chosen_targets_resumes_to_the_bit(digits, stop_at, every):
    undisturbed, kept, _ = metered(digits, Reversed(), epochs=3)
    undisturbed.run()
    cut, keeper, _ = metered(digits, Reversed(), MemoryKeeper(stop_at=stop_at, every=every), epochs=3)
    with pytest.raises(Stopped):
        cut.run()
    state = keeper.states[-1] if keeper.states else None
    resumed, rest, _ = metered(digits, Reversed(), MemoryKeeper(state=state), epochs=3)
    torch.manual_seed(999)  # whatever the generator's state is by then
    resumed.run()
    a, b = tensors_of(undisturbed.model), tensors_of(resumed.model)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert rest.rows[3]["validation_loss"] == kept.rows[3]["validation_loss"]


class TooFew(Reversed):
    def training_targets(self, targets):
        return targets[1:]


def test_targets_that_are_no_longer_one_an_item_are_refused(digits):
    with pytest.raises(TrialFailed, match=r"TooFew in 'slot' returns \[\(\d+,\)\] for targets of"):
        train(TooFew(), digits)


def test_the_generators_are_where_they_were_after_choosing_targets(digits):
    model = nn.Sequential(nn.Flatten(), Reversed())
    torch.manual_seed(5)
    before = torch.get_rng_state()
    lifecycle_calls.training_targets(model, digits.train.targets, Streams(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_training_loop_of_ones_own_refuses_components_that_choose_targets():
    with pytest.raises(TrialFailed, match="'1' chooses the targets"):
        lifecycle_calls.need_true_targets(nn.Sequential(nn.Flatten(), Reversed()))
    lifecycle_calls.need_true_targets(nn.Sequential(nn.Flatten(), Whitening()))


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


class Telling(nn.Module, dp.Lifecycle):
    """Tells how large its inputs were."""

    def __init__(self):
        super().__init__()
        self.seen: list[tuple[int, float]] = []

    def forward(self, x):
        if self.training:
            self.seen.append((len(x), float(x.square().mean())))
        return x

    def call_metrics(self):
        return {"power": torch.tensor(self.seen[-1][1])}


def test_what_a_component_tells_of_its_calls_is_logged_as_the_mean_over_the_samples_of_an_epoch(digits):
    model, keeper, _ = train(Telling(), digits)
    told = model.slot.seen[: len(model.slot.seen) // 2]  # two epochs
    mean = sum(n * value for n, value in told) / sum(n for n, _ in told)
    assert keeper.rows[1]["power_slot"] == pytest.approx(mean, rel=1e-6)


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
