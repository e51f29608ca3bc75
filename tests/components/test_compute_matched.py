"""The control of equal arithmetic against counts by torch's own counter and by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import dopant as dp
from dopant import registry
from dopant._slots import measure
from dopant.components.ordinary.compute_matched import choose, compute_matched, flops, multiply_adds
from dopant.components.quantum.flipped_quanv import FlippedQuanv
from dopant.components.quantum.reupload_linear import reupload_linear
from dopant.errors import SlotMismatch


def slot(old: nn.Module, *shape: int):
    return measure(nn.Sequential(old), torch.randn(2, *shape))["0"]


def by_torch(module: nn.Module, *shape: int) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(2, *shape))
    return counter.get_total_flops() / 2


LIKE = {
    "a linear layer": (nn.Linear(30, 20), (30,)),
    "a linear layer over tokens": (nn.Linear(12, 12, bias=False), (5, 12)),
    "a convolution": (nn.Conv2d(3, 8, 3, padding=1), (3, 9, 9)),
    "a convolution with stride": (nn.Conv2d(8, 6, 3, stride=2, bias=False), (8, 9, 9)),
    "two layers": (nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 10)), (4, 8)),
}


@pytest.mark.parametrize("name", LIKE)
def test_without_a_component_to_control_the_old_module_s_flops_are_matched(name):
    old, shape = LIKE[name]
    new = compute_matched(old, slot(old, *shape))
    wanted, have = by_torch(old, *shape), by_torch(new, *shape)
    assert abs(have - wanted) <= 0.1 * wanted
    assert (new.counted, new.wanted) == (have, wanted)
    x = torch.randn(3, *shape)
    assert new(x).shape == old(x).shape
    assert f"{have:.6g} FLOPs" in new.describe() and f"{wanted:.6g} wanted" in new.describe()


@pytest.mark.parametrize(("reps", "batch"), [(3, 50), (40, 50), (10, 1000)])
def test_a_circuit_in_a_linear_slot_gets_a_network_of_its_flops(reps, batch):
    old = nn.Linear(64, 8)
    signature = slot(old, 64)
    target = reupload_linear(old, signature, reps=reps)
    new = compute_matched(old, signature, batch=batch, target=target)
    wanted = flops(target, signature, batch)
    assert abs(by_torch(new, 64) - wanted) <= 0.1 * wanted
    assert abs(by_torch(new, 64) / by_torch(old, 64) - 1) > 1  # and not the old module's


def test_a_convolution_s_control_has_the_flops_of_the_component():
    old = nn.Conv2d(8, 16, 3)
    signature = slot(old, 8, 9, 9)
    target = FlippedQuanv(8, 16, 3)
    new = compute_matched(old, signature, target=target, batch=10)
    assert abs(by_torch(new, 8, 9, 9) - flops(target, signature, 10)) <= 0.1 * flops(target, signature, 10)
    assert flops(target, signature, 10) > 1.2 * by_torch(old, 8, 9, 9)


class Declares(nn.Linear):
    def flops(self, batch):
        return {"forward": 1000 * batch, "backward": 0}


def test_declared_work_is_matched_too():
    old = nn.Linear(10, 5)
    new = compute_matched(old, slot(old, 10), target=Declares(10, 5))
    assert abs(by_torch(new, 10) - 1100) <= 110


def test_a_slot_that_is_called_twice_counts_both_calls():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            return self.fc(self.fc(x))

    host = Twice()
    signature = measure(host, torch.randn(2, 8))["fc"]
    new = compute_matched(host.fc, signature)
    assert new.wanted == 2 * 2 * 64 and abs(new.counted / new.wanted - 1) <= 0.1
    assert abs(2 * by_torch(new, 8) - new.wanted) <= 0.1 * new.wanted


@pytest.mark.parametrize("products", [17, 20, 23, 31, 47, 64, 100, 333, 5000])
def test_the_widths_are_the_best_there_are(products):
    inputs, outputs = 10, 7
    found = choose(inputs, outputs, products)
    sides = range(1, products // 7 + 2)
    every = [(w,) for w in sides] + list(itertools.product(sides[:200], sides[:200]))
    best = min(abs(multiply_adds(inputs, outputs, w) / products - 1) for w in every)
    off = abs(multiply_adds(inputs, outputs, found) / products - 1)
    assert off <= 0.1 or off == best


def test_a_shape_that_is_not_near_says_so():
    old = nn.Linear(6, 4)
    # one hidden unit takes 20 FLOPs, two 40; two layers of one take 22, of one and two 32
    new = compute_matched(old, slot(old, 6), target=_cheap(13))
    assert (
        new.describe() == "hidden width 1 and 1: 22 FLOPs a sample, 26 wanted (-15.4 %, the nearest of any width); 17"
        " trainable numbers"
    )


def _cheap(products: int) -> nn.Module:
    """A module of so many multiply-adds, of the shapes of Linear(6, 4)."""

    class Cheap(nn.Linear):
        def forward(self, x):
            y = super().forward(x[..., :1])
            return y + (x.new_ones(x.shape[0], 1, products - 4) @ x.new_ones(products - 4, 1)).sum(-1)

    return Cheap(1, 4)


def test_a_component_that_is_cheaper_than_one_hidden_unit_is_refused_with_the_numbers():
    old = nn.Linear(30, 20)
    with pytest.raises(SlotMismatch, match=r"takes 0 FLOPs.*30 inputs and 20 outputs\) 100"):
        compute_matched(old, slot(old, 30), target=nn.Flatten())


def test_a_network_of_a_thousand_million_numbers_is_refused_with_the_number():
    old = nn.Linear(10, 5)
    target = Declares(10, 5)
    target.flops = lambda batch: {"forward": 1e10 * batch}
    with pytest.raises(SlotMismatch, match=r"5e\+09 numbers, more than 268435456"):
        compute_matched(old, slot(old, 10), target=target)


@pytest.mark.parametrize(
    ("old", "shape", "why"),
    [(nn.Conv2d(4, 4, 3, groups=2), (4, 6, 6), "groups"), (nn.BatchNorm2d(4), (4, 6, 6), "elsewhere"),
     (nn.MaxPool2d(2), (4, 6, 6), "takes"), (nn.LSTM(5, 6), (3, 5), "not LSTM"), (nn.Flatten(), (4, 6), "takes")],
)  # fmt: skip
def test_other_slots_are_refused(old, shape, why):
    with pytest.raises(SlotMismatch, match=why):
        compute_matched(old, slot(old, *shape))


def test_all_problems_of_options_are_told_at_once():
    with pytest.raises(SlotMismatch) as caught:
        compute_matched(nn.Linear(4, 4), slot(nn.Linear(4, 4), 4), act="swish", batch=0)
    assert len(caught.value.problems) == 2


def test_it_is_a_control_of_the_same_budget_and_swaps_in_for_a_component():
    assert registry.components.get("compute-matched").control == "same simulation budget"
    host, x = dp.host("creep-cnn", size=8), torch.rand(2, 1, 8, 8)
    swaps = {"head": {"component": "compute-matched", "of": {"component": "reupload-linear"}}}
    model = dp.swap(host, swaps, x)
    target = dp.swap(host, {"head": "reupload-linear"}, x)
    signature = dp.slots(host, x)["head"]
    assert abs(flops(model.head, signature, 200) / flops(target.head, signature, 200) - 1) <= 0.1
