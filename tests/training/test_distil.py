"""Distilling layer by layer: what is measured, what moves, and that it resumes."""

from __future__ import annotations

import copy

import pytest
import torch
from keepers import MemoryKeeper, Stopped
from torch import nn

import dopant as dp
from dopant._slots import measure
from dopant.datasets.source import load_source
from dopant.streams import Streams
from dopant.training.distil import Distillation
from dopant.training.loop import Loop, tensors_of


@pytest.fixture(scope="module")
def digits():
    return load_source("digits").draw(Streams(0), None)


class Net(nn.Module):
    """A swappable layer whose input and output are changed in place by what comes after."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.middle = nn.Linear(16, 12)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x.flatten(1))
        out = self.middle(hidden)
        if not torch.is_grad_enabled():
            hidden += 100.0  # whoever looks at the input later sees another one
        return self.last(self.act(out))


def teacher() -> Net:
    torch.manual_seed(5)
    return Net()


def with_middle(module: nn.Module) -> Net:
    student = teacher()
    student.middle = module
    return student


def distillation(student: Net, slots=("middle",)) -> Distillation:
    host = teacher()
    return Distillation(host, student, list(slots), measure(host, torch.randn(4, 1, 8, 8)))


class Constant(nn.Module):
    def __init__(self, value: torch.Tensor):
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(x), -1)


def inside(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(input, output) of the teacher's middle layer, by hand."""
    net = teacher()
    hidden = net.first(x.flatten(1))
    return hidden.detach(), net.middle(hidden).detach()


def test_the_imitation_error_is_the_squared_difference_over_the_variance():
    x = torch.randn(50, 1, 8, 8)
    torch.manual_seed(9)
    other = nn.Linear(16, 12)
    found = distillation(with_middle(other)).errors(iter(x.split(20)))["middle"]
    hidden, old = inside(x)
    new = other(hidden).detach()
    by_hand = (new - old).double().square().sum() / (old.double() - old.double().mean(0)).square().sum()
    assert found == pytest.approx(float(by_hand), rel=1e-6)


def test_the_old_module_itself_has_no_error_and_its_mean_output_has_error_one():
    x = torch.randn(50, 1, 8, 8)
    assert distillation(with_middle(copy.deepcopy(teacher().middle))).errors(iter([x]))["middle"] == 0.0
    mean = inside(x)[1].mean(dim=0)
    assert distillation(with_middle(Constant(mean))).errors(iter(x.split(7)))["middle"] == pytest.approx(1, abs=1e-5)


def test_an_old_output_that_does_not_vary_has_no_error_to_speak_of():
    host = teacher()
    nn.init.zeros_(host.middle.weight)
    student = copy.deepcopy(host)
    d = Distillation(host, student, ["middle"], measure(host, torch.randn(4, 1, 8, 8)))
    error = d.errors(iter([torch.randn(9, 1, 8, 8)]))["middle"]
    assert error != error


class Recurrent(nn.Module):
    """Time first: the batch is axis 1 of the recurrent layer's input and output, and of its states."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 6)
        self.head = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, _ = self.lstm(x.squeeze(1).transpose(0, 1))
        return self.head(out[-1])


def test_tuples_and_batch_axes_other_than_the_first_are_followed():
    torch.manual_seed(2)
    host, x = Recurrent(), torch.randn(30, 1, 8, 8)
    student = copy.deepcopy(host)
    student.lstm = nn.LSTM(8, 6)
    found = Distillation(host, student, ["lstm"], measure(host, x[:4])).errors(iter(x.split(11)))["lstm"]
    sequence = x.squeeze(1).transpose(0, 1)
    with torch.no_grad():
        (old, (h, c)), (new, (h2, c2)) = host.lstm(sequence), student.lstm(sequence)
    above = sum(float((b - a).square().sum()) for a, b in ((old, new), (h, h2), (c, c2)))
    below = sum(float((a - a.mean(1, keepdim=True)).square().sum()) for a in (old, h, c))
    assert found == pytest.approx(above / below, rel=1e-5)


def loop_of(data, keeper, *, middle=None, epochs=1, distil_epochs=2, **recipe) -> Loop:
    torch.manual_seed(11)
    student = with_middle(middle or nn.Linear(16, 12))
    values = {"lr": 1e-2, "batch": 64, "epochs": epochs, "regime": "distil", "distil_epochs": distil_epochs} | recipe
    return Loop(student, data, dp.Recipe(**values), Streams(0), keeper, epochs=epochs, slots=["middle"],
                distillation=distillation(student))  # fmt: skip


def test_a_component_of_the_same_class_learns_to_be_the_old_module(digits):
    keeper = MemoryKeeper()
    loop = loop_of(digits, keeper, distil_epochs=30)
    before = {k: v.clone() for k, v in tensors_of(loop.model).items()}
    loop.epochs = 0
    loop.run()
    imitation = loop.progress.imitation
    assert imitation["start"]["middle"] > 0.5 and imitation["end"]["middle"] < 1e-3
    assert imitation["end"]["middle"] == keeper.rows[-1]["imitation_error_middle"]
    assert sorted(keeper.rows) == list(range(-30, 0)) and "train_loss" not in keeper.rows[-1]
    after = tensors_of(loop.model)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"middle.weight", "middle.bias"}


def test_after_distilling_the_whole_network_trains_with_a_fresh_optimizer(digits):
    keeper = MemoryKeeper()
    loop = loop_of(digits, keeper, distil_epochs=1, epochs=1)
    loop.run()
    steps = {int(v["step"]) for v in keeper.states[-1]["optimizer"]["state"].values()}
    batches = -(-len(digits.train) // 64)
    assert steps == {batches} and len(keeper.states[-1]["optimizer"]["state"]) == 6
    assert {"train_loss", "validation_accuracy"} <= keeper.rows[1].keys()


@pytest.mark.parametrize("step", [3, 20, 40])
def test_a_distillation_that_was_cut_off_ends_with_the_same_bits(digits, step):
    whole = loop_of(digits, MemoryKeeper())
    whole.run()
    keeper = MemoryKeeper(stop_at=step, every=3)
    with pytest.raises(Stopped):
        loop_of(digits, keeper).run()
    again = MemoryKeeper(state=keeper.states[-1])
    resumed = loop_of(digits, again)
    resumed.run()
    a, b = tensors_of(whole.model), tensors_of(resumed.model)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert whole.progress.imitation == resumed.progress.imitation


def test_a_component_that_cannot_learn_is_measured_all_the_same(digits):
    keeper = MemoryKeeper()
    loop = loop_of(digits, keeper, middle=nn.Linear(16, 12).requires_grad_(False), distil_epochs=1)
    loop.run()
    assert loop.progress.imitation["start"] == loop.progress.imitation["end"]
    assert loop.progress.imitation["end"]["middle"] > 0


class Indices(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.argmax(-1)


def test_a_slot_without_a_real_output_is_refused():
    host = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), Indices())
    with pytest.raises(dp.ConfigError, match="slot '2' gives no real tensor"):
        Distillation(host, copy.deepcopy(host), ["2"], measure(host, torch.randn(4, 1, 8, 8)))


def test_an_old_module_that_gives_zero_is_imitated_without_dividing_by_it():
    host = teacher()
    nn.init.zeros_(host.middle.weight)
    nn.init.zeros_(host.middle.bias)
    student = copy.deepcopy(host)
    student.middle = nn.Linear(16, 12)
    d = Distillation(host, student, ["middle"], measure(host, torch.randn(4, 1, 8, 8)))
    x = torch.randn(8, 1, 8, 8)
    loss, _ = d(x)
    with torch.no_grad():
        by_hand = student.middle(host.first(x.flatten(1))).square().mean()
    assert float(loss) == pytest.approx(float(by_hand), rel=1e-5)
    assert torch.isfinite(student.middle.weight.grad).all()


def test_what_a_mix_keeps_of_the_old_module_does_not_move_while_distilling(digits):
    host = teacher()
    swaps = {"middle": {"component": "bottleneck-mlp", "mix": 0.5}}
    student = dp.swap(host, swaps, torch.randn(4, 1, 8, 8))
    d = Distillation(host, student, ["middle"], measure(host, torch.randn(4, 1, 8, 8)))
    moving = {id(p) for p in d.parameters()}
    assert moving == {id(p) for p in student.middle.new.parameters()}
