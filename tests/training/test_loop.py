"""The loop: resumable to the bit, paired by construction, every hook of a component called."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from keepers import MemoryKeeper, Stopped
from torch import nn

import dopant as dp
from dopant._swap import fill
from dopant.datasets.source import load_source
from dopant.registry import ComponentInfo
from dopant.streams import Streams
from dopant.training.loop import Loop, tensors_of


@pytest.fixture(scope="module")
def digits():
    return load_source("digits").draw(Streams(0), None)


class Net(nn.Module):
    """Dropout before and after a swappable layer, and batch normalisation."""

    def __init__(self, middle: nn.Module | None = None):
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop1 = nn.Dropout(0.3)
        self.middle = middle or nn.Linear(16, 16)
        self.drop2 = nn.Dropout(0.3)
        self.last = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.drop1(torch.relu(self.norm(self.first(x.flatten(1)))))
        hidden = nn.functional.dropout(self.middle(hidden), 0.1, self.training)
        return self.last(self.drop2(hidden))


def network(middle: nn.Module | None = None) -> Net:
    torch.manual_seed(3)
    net = Net()
    if middle is not None:
        net.middle = middle
    return net


def loop_of(model, data, keeper, *, epochs=3, streams=None, **recipe) -> Loop:
    values = {"lr": 3e-3, "batch": 64, "epochs": epochs} | recipe
    return Loop(model, data, dp.Recipe(**values), streams or Streams(0), keeper, epochs=epochs, slots=["middle"])


def same(a: dict, b: dict) -> bool:
    return set(a) == set(b) and all(torch.equal(a[k], b[k]) for k in a)


def without_seconds(rows: dict) -> dict:
    return {e: {k: v for k, v in row.items() if k != "seconds"} for e, row in rows.items()}


@pytest.mark.parametrize("stop_at", [1, 17, 18, 25, 40])
@pytest.mark.parametrize("every", [None, 5])
def test_a_training_cut_off_anywhere_ends_with_the_same_bits(digits, stop_at, every):
    undisturbed = MemoryKeeper()
    loop = loop_of(network(), digits, undisturbed)
    loop.run()
    cut = MemoryKeeper(stop_at=stop_at, every=every)
    with pytest.raises(Stopped):
        loop_of(network(), digits, cut).run()
    rest = MemoryKeeper(state=cut.states[-1] if cut.states else None)
    torch.manual_seed(999)  # whatever the generator's state is by then
    resumed = loop_of(network(), digits, rest)
    resumed.run()
    assert same(tensors_of(loop.model), tensors_of(resumed.model))
    moments = [
        {k: v for p in state["optimizer"]["state"].values() for k, v in p.items()}
        for state in (undisturbed.states[-1], rest.states[-1])
    ]
    assert all(torch.equal(moments[0][k], moments[1][k]) for k in moments[0])
    assert without_seconds(cut.rows) | without_seconds(rest.rows) == without_seconds(undisturbed.rows)


def test_an_optimizer_that_keeps_another_precision_resumes_to_the_bit(digits):
    settings = {"optimizer": "nadam", "precision": "float64", "clip": 1.0, "schedule": "cosine"}
    quiet = loop_of(network(), digits, MemoryKeeper(), **settings)
    quiet.run()
    cut = MemoryKeeper(stop_at=20, every=3)
    with pytest.raises(Stopped):
        loop_of(network(), digits, cut, **settings).run()
    rest = loop_of(network(), digits, MemoryKeeper(state=cut.states[-1]), **settings)
    rest.run()
    assert same(tensors_of(quiet.model), tensors_of(rest.model))


def test_more_epochs_continue_to_where_a_longer_training_would_have_ended(digits):
    long = loop_of(network(), digits, MemoryKeeper(), epochs=4)
    long.run()
    short = MemoryKeeper()
    loop_of(network(), digits, short, epochs=2).run()
    grown = loop_of(network(), digits, MemoryKeeper(state=short.states[-1]), epochs=4)
    grown.run()
    assert same(tensors_of(long.model), tensors_of(grown.model))


def test_the_loss_falls_and_the_network_learns_the_digits(digits):
    keeper = MemoryKeeper()
    loop_of(network(), digits, keeper, epochs=8).run()
    assert keeper.rows[8]["train_loss"] < 0.6 * keeper.rows[1]["train_loss"]
    assert keeper.rows[8]["validation_accuracy"] > 0.85


class Greedy(nn.Module):
    """Draws far more random numbers than what it replaces."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.rand(1000)
        return self.linear(x + 0.01 * torch.randn_like(x))


def masks_of(model, data, steps=20) -> list[torch.Tensor]:
    """What the dropouts let through of a constant, step by step, and the batches seen."""
    seen: list[torch.Tensor] = []
    for module in (model.drop1, model.drop2):
        module.register_forward_hook(lambda m, a, out: seen.append((out == 0) & (a[0] != 0)) if m.training else None)
    seen_inputs: list[torch.Tensor] = []
    model.register_forward_pre_hook(lambda m, args: seen_inputs.append(args[0].clone()) if m.training else None)
    keeper = MemoryKeeper(stop_at=steps)
    # A learning rate of next to nothing, so that activations do not die differently in the two cells.
    with pytest.raises(Stopped):
        loop_of(model, data, keeper, lr=1e-30, batch=32).run()
    return seen + seen_inputs


def test_a_component_that_draws_more_moves_no_other_mask_and_no_batch(digits):
    class Copies(nn.Module):
        """Passes a constant on, so that a mask shows whatever the weights are."""

        def forward(self, x):
            return torch.ones_like(x)

    class CopiesGreedily(Copies):
        def forward(self, x):
            torch.rand(1000)
            return torch.ones_like(x)

    plain, greedy = masks_of(network(Copies()), digits), masks_of(network(CopiesGreedily()), digits)
    assert len(plain) == len(greedy) > 40
    assert all(torch.equal(a, b) for a, b in zip(plain, greedy, strict=True))


def test_a_functional_dropout_after_a_greedy_child_keeps_its_mask_too(digits):
    class Parent(nn.Module):
        def __init__(self, child):
            super().__init__()
            self.child, self.last, self.seen = child, nn.Linear(64, 10), []

        def forward(self, x):
            self.child(x)
            mask = nn.functional.dropout(torch.ones(8), 0.5, self.training)
            self.seen.append(mask)
            return self.last(x.flatten(1))

    class Silent(nn.Module):
        def forward(self, x):
            return x

    class Loud(nn.Module):
        def forward(self, x):
            return x + 0 * torch.rand(500).sum()

    masks = []
    for child in (Silent(), Loud()):
        model = Parent(child)
        loop = Loop(model, digits, dp.Recipe(batch=64, epochs=1), Streams(0), MemoryKeeper(), epochs=1, slots=[])
        loop.run()
        masks.append(torch.stack(model.seen))
    assert torch.equal(masks[0], masks[1])


def test_phases_of_one_cell_leave_the_masks_of_the_ordinary_epochs_paired(digits):
    class Copies(nn.Module):
        def forward(self, x):
            return torch.ones_like(x)

    class CopiesWithPhases(Copies, dp.Lifecycle):
        def phases(self):
            return [dp.Phase("warm", 2, "all")]

    masks = []
    for middle in (Copies(), CopiesWithPhases()):
        model, seen = network(middle), []
        model.drop2.register_forward_hook(lambda m, a, out, seen=seen: seen.append(out == 0) if m.training else None)
        loop_of(model, digits, MemoryKeeper(), epochs=1).run()
        masks.append(seen)
    steps = len(masks[0])
    assert len(masks[1]) == 3 * steps
    assert all(torch.equal(a, b) for a, b in zip(masks[0], masks[1][2 * steps :], strict=True))


@pytest.mark.parametrize("how", ["mix", "insert", "wrap"])
def test_a_dropout_that_lives_on_inside_its_replacement_keeps_its_masks(digits, how):
    class Holder(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x + 0 * torch.rand(9).sum())

    def factory(old, signature):
        """Noise beside or around the old module."""
        return Holder(old if how == "wrap" else nn.Identity())

    info = ComponentInfo("noisy", factory, mode={"mix": "replace"}.get(how, how), facts={"stochastic_in_eval": True})
    spec = {"component": info, "mix": 0.5 if how == "mix" else 1.0}

    class Host(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            return self.head(self.drop(x.flatten(1)))

    masks = []
    for swaps in ({}, {"drop": spec}):
        torch.manual_seed(0)
        model = fill(Host(), swaps, digits.sample(), Streams(0), laws=False)
        (drop,) = [m for m in model.modules() if isinstance(m, nn.Dropout)]
        seen = []
        drop.register_forward_hook(lambda m, a, out, seen=seen: seen.append(out == 0) if m.training else None)
        Loop(model, digits, dp.Recipe(batch=64, epochs=1), Streams(0), MemoryKeeper(), epochs=1, slots=[]).run()
        masks.append(seen)
    assert len(masks[0]) == len(masks[1]) > 10 and 0.3 < masks[0][0].float().mean() < 0.7
    assert all(torch.equal(a, b) for a, b in zip(*masks, strict=True))


def test_replicates_differ_in_their_masks(digits):
    keepers = [MemoryKeeper(), MemoryKeeper()]
    for keeper, replicate in zip(keepers, (0, 1), strict=True):
        loop_of(network(), digits, keeper, epochs=1, streams=Streams(0, replicate)).run()
    assert keepers[0].rows[1]["train_loss"] != keepers[1].rows[1]["train_loss"]


def test_a_loss_that_is_not_finite_ends_the_trial_with_its_reason(digits):
    class Burst(nn.Module):
        def forward(self, x):
            return x * math.inf

    with pytest.raises(dp.TrialFailed, match=r"inf|nan.*epoch 1, step 0") as caught:
        loop_of(network(Burst()), digits, MemoryKeeper()).run()
    assert caught.value.reason == "not finite"


def test_clipping_bounds_the_step_of_plain_gradient_descent(digits):
    model = network()
    before = copy.deepcopy(tensors_of(model))
    loop_of(model, digits, MemoryKeeper(stop_at=1), optimizer="sgd", lr=1.0, clip=1e-3)
    keeper = MemoryKeeper(stop_at=1)
    with pytest.raises(Stopped):
        loop_of(model, digits, keeper, optimizer="sgd", lr=1.0, clip=1e-3).run()
    after = dict(model.named_parameters())
    moved = math.sqrt(sum(float((after[k] - before[k]).detach().square().sum()) for k in after))
    assert moved == pytest.approx(1e-3, rel=1e-3)


def test_early_stopping_answers_with_the_best_epoch_and_can_still_go_on(digits):
    keeper = MemoryKeeper()
    loop = loop_of(network(), digits, keeper, epochs=60, lr=3e-2, early_stop=2)
    loop.run()
    curve = {e: row["validation_accuracy"] for e, row in keeper.rows.items()}
    best = max(curve, key=lambda e: (curve[e], -e))
    assert len(curve) == best + 2 < 60
    with loop.draws:
        assert loop.score("validation", 0).means("")["accuracy"] == curve[best]


def test_the_test_set_is_read_once_and_every_epoch_only_where_published(digits):
    loop = loop_of(network(), digits, MemoryKeeper())
    loop.run(reads_test=True)
    scores = loop.test()
    assert loop.test_reads == 1 and loop.keeper.states[-1]["test_reads"] == 1
    grown = loop_of(network(), digits, MemoryKeeper(state=loop.keeper.states[-1]), epochs=4)
    grown.run(reads_test=True)
    assert grown.test_reads == 2
    assert torch.equal(scores.items["ids"], digits.test.ids)
    assert scores.means("test_")["test_accuracy"] == pytest.approx(float(scores.items["accuracy"].mean()))


def test_validation_metrics_equal_a_direct_computation(digits):
    keeper = MemoryKeeper()
    loop = loop_of(network(), digits, keeper, epochs=1, eval_batch=50)
    loop.run()
    model = loop.model.eval()
    with torch.no_grad():
        outputs = model(digits.validation.inputs)
    loss = nn.functional.cross_entropy(outputs, digits.validation.targets)
    accuracy = (outputs.argmax(1) == digits.validation.targets).float().mean()
    assert keeper.rows[1]["validation_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert keeper.rows[1]["validation_accuracy"] == pytest.approx(float(accuracy), abs=1e-6)


@pytest.mark.parametrize("schedule", [("cosine", {}), ("step", {"every": 1, "gamma": 0.5}), ("warmup", {"length": 2})])
def test_schedules_follow_their_formula(digits, schedule):
    name, options = schedule
    loop = loop_of(network(), digits, MemoryKeeper(), epochs=4, schedule=name, schedule_options=options)
    factor = loop.schedule.factor
    if name == "cosine":
        assert factor(0, 4) == 1 and factor(2, 4) == pytest.approx(0.5) and factor(4, 4) == pytest.approx(0)
    elif name == "step":
        assert [factor(e, 4, **options) for e in (0, 0.9, 1, 2.5)] == [1, 1, 0.5, 0.25]
    else:
        assert factor(1, 4, **options) == pytest.approx(0.5, abs=1e-3) and factor(5, 4, **options) == 1
    loop.run()
    assert loop.optimizer.param_groups[0]["lr"] == pytest.approx(
        loop.recipe.lr * factor(3 + (loop.progress.step / 4 - 1) / (loop.progress.step / 4), 4, **options)
    )
