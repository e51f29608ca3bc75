"""The promise of `parameter-matched`: within a tenth of the count, or one width on either side, or the numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import dopant as dp
from dopant._slots import measure
from dopant.components.ordinary._capacity import trainable
from dopant.components.ordinary.parameter_matched import parameter_matched
from dopant.errors import SlotMismatch
from dopant.laws import run_laws


class Counted(nn.Module):
    """A component of a stated trainable count."""

    def __init__(self, count: int):
        super().__init__()
        self.numbers = nn.Parameter(torch.zeros(count))


class Pooled(nn.Module):
    def forward(self, x):
        return x.mean(1)


class Spectrum(nn.Module):
    """(batch, features) -> (batch, 2, 3): nothing that keeps features or positions."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(12, 6)

    def forward(self, x):
        return self.linear(x).view(-1, 2, 3)


class Block(nn.Module):
    """A residual block that halves an image."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.skip = nn.Conv2d(6, 10, 3, 2, 1), nn.BatchNorm2d(10), nn.Conv2d(6, 10, 1, 2)

    def forward(self, x):
        return self.norm(self.conv(x)).relu() + self.skip(x)


SLOTS = {
    "linear": (nn.Linear(12, 5), (4, 12)),
    "wide linear": (nn.Linear(300, 2, bias=False), (4, 300)),
    "sequence": (nn.Linear(12, 7), (4, 6, 12)),
    "convolution": (nn.Conv2d(6, 8, 3, 2, 1), (4, 6, 8, 8)),
    "grouped convolution": (nn.Conv1d(6, 8, 3, groups=2), (4, 6, 10)),
    "layer norm": (nn.LayerNorm(12), (4, 6, 12)),
    "batch norm": (nn.BatchNorm2d(6), (4, 6, 8, 8)),
    "activation": (nn.PReLU(), (4, 12)),
    "block of images": (Block(), (4, 6, 8, 8)),
    "pool": (nn.AdaptiveAvgPool2d(2), (4, 6, 8, 8)),
    "upsampling": (nn.ConvTranspose2d(6, 4, 2, 2), (4, 6, 4, 4)),
    "set": (Pooled(), (4, 7, 5)),
    "transformer": (nn.TransformerEncoderLayer(12, 2, 16, batch_first=True), (4, 6, 12)),
    "other": (Spectrum(), (4, 12)),
    "fewer positions": (nn.Sequential(nn.Linear(12, 8), nn.Flatten(), nn.Unflatten(1, (3, 16))), (4, 6, 12)),
}
SIGNATURES = {name: measure(nn.Sequential(old), torch.randn(shape))["0"] for name, (old, shape) in SLOTS.items()}


def build(slot: str, wanted: int, **options) -> nn.Module:
    return parameter_matched(SLOTS[slot][0], SIGNATURES[slot], target=Counted(wanted), **options)


@settings(max_examples=250, deadline=None)
@given(slot=st.sampled_from(sorted(SLOTS)), wanted=st.integers(1, 4000), act=st.sampled_from(["tanh", "relu"]))
def test_the_count_is_within_a_tenth_or_a_neighbour_on_either_side_is_offered(slot, wanted, act):
    try:
        new = build(slot, wanted, act=act)
    except SlotMismatch as error:
        above = build(slot, wanted, side="above", act=act)
        assert trainable(above) > 1.1 * wanted  # the smallest there is
        assert str(wanted) in str(error) and str(trainable(above)) in str(error)
        with pytest.raises(SlotMismatch):
            build(slot, wanted, side="below", act=act)
        return
    count = trainable(new)
    assert f": {count} trainable numbers, {wanted} wanted" in new.describe()
    if abs(count - wanted) <= 0.1 * wanted:
        return
    below, above = (build(slot, wanted, side=side, act=act) for side in ("below", "above"))
    low, high = trainable(below), trainable(above)
    assert low < 0.9 * wanted and high > 1.1 * wanted and count in (low, high)
    assert f"{low} below" in new.describe() and f"{high} above" in new.describe()
    if below.choice.shape == above.choice.shape == "bottleneck":
        assert above.choice.width == below.choice.width + 1


@settings(max_examples=60, deadline=None)
@given(slot=st.sampled_from(sorted(SLOTS)), wanted=st.integers(1, 3000))
def test_the_network_has_the_slot_s_shape_at_any_batch(slot, wanted):
    shape = SLOTS[slot][1]
    new = build(slot, wanted, side="above").double()
    for batch in (1, 3):
        x = torch.randn(batch, *shape[1:], dtype=torch.float64)
        y = new(x)
        assert y.shape[1:] == SIGNATURES[slot].outputs and len(y) == batch
        assert torch.allclose(new(x[:1]), y[:1])


@pytest.mark.parametrize("slot", sorted(SLOTS))
def test_every_geometry_obeys_the_laws(slot):
    factory = lambda old, signature: parameter_matched(old, signature, target=Counted(400))  # noqa: E731
    results = run_laws(factory, SLOTS[slot][0], SIGNATURES[slot])
    assert [(r.law, r.message) for r in results if not r.passed] == []


def test_the_shapes_on_paper():
    def said(slot, wanted, **options):
        return build(slot, wanted, **options).describe()

    # bottleneck on Linear(12, 5): 18 w + 5
    assert said("linear", 95) == "bottleneck of width 5 on the features: 95 trainable numbers, 95 wanted"
    # affine: 12 * 5 + 5 = 65, where widths give 59 and 77
    assert said("linear", 66) == "affine on the features: 65 trainable numbers, 66 wanted (-1.5 %)"
    # low-rank: 17 r + 5 = 22, where the narrowest bottleneck has 23
    assert said("linear", 20) == "low-rank of width 1 on the features: 22 trainable numbers, 20 wanted (+10.0 %)"
    assert said("linear", 30) == (
        "bottleneck of width 1 on the features: 23 trainable numbers, 30 wanted (-23.3 %); none is within 10%, the "
        "neighbours are 23 below (bottleneck of width 1) and 41 above (bottleneck of width 2)"
    )
    assert said("batch norm", 12) == "per-feature at each position: 12 trainable numbers, 12 wanted"
    # windows: (6 * 9 + 1 + 8) w + 8
    assert said("convolution", 323) == "bottleneck of width 5 on the old windows: 323 trainable numbers, 323 wanted"
    assert "windows of 3 along each axis, averaged onto the grid (4, 4)" in said("block of images", 2000)
    assert (
        said("other", 119) == "bottleneck of width 6 on all numbers at once: 120 trainable numbers, 119 wanted (+0.8 %)"
    )


def test_what_is_smaller_than_any_network_is_refused_with_the_numbers():
    with pytest.raises(SlotMismatch, match=r"50 trainable numbers are wanted.*low-rank of width 1, has 304"):
        build("wide linear", 50)
    assert build("wide linear", 50, side="above").describe().startswith("low-rank of width 1")
    with pytest.raises(SlotMismatch, match="0 is to be matched"):
        parameter_matched(nn.ReLU(), SIGNATURES["activation"])


def test_without_a_component_to_control_the_old_module_s_count_is_matched():
    old = SLOTS["transformer"][0]
    new = dp.swap(nn.Sequential(old), {"0": "parameter-matched"}, torch.randn(4, 6, 12))[0]
    wanted = sum(p.numel() for p in old.parameters())
    assert new.wanted == wanted and abs(trainable(new) - wanted) <= 0.1 * wanted


def test_it_controls_a_component_in_a_slot_that_is_not_dense():
    of = {"component": "attention-pooling", "hidden": 8}
    new = dp.swap(nn.Sequential(Pooled()), {"0": {"component": "parameter-matched", "of": of}}, torch.randn(4, 7, 5))[0]
    assert new.wanted == 8 * 6
    assert new.describe().startswith("bottleneck of width 4 at each position, averaged over all: 49")


def test_a_pooled_set_is_the_mean_of_its_members():
    new = build("set", 60)
    x = torch.randn(2, 7, 5)
    hidden = torch.stack([torch.tanh(new.spread(x[:, k])) for k in range(7)]).sum(0) / 7
    assert torch.allclose(new(x), new.gather(hidden), atol=1e-6)


def test_a_convolution_s_network_sees_the_old_windows_and_nothing_more():
    old, shape = SLOTS["convolution"]
    new = build("convolution", 300)
    x = torch.zeros(1, *shape[1:], requires_grad=True)
    for module in (old, new):
        y = module(x + torch.randn(shape[1:]))
        (gradient,) = torch.autograd.grad(y[0, :, 1, 2].square().sum(), x)
        seen = gradient.abs().sum((0, 1)) > 0
        assert seen.nonzero().min(0).values.tolist() == [1, 3] and seen.nonzero().max(0).values.tolist() == [3, 5]


def test_slots_that_take_or_give_anything_else_are_refused():
    class Host(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.pair, self.embedding = (
                nn.LSTM(5, 6, batch_first=True),
                nn.Bilinear(6, 6, 3),
                nn.Embedding(9, 5),
            )

        def forward(self, tokens):
            y = self.lstm(self.embedding(tokens))[0][:, -1]
            return self.pair(y, y)

    x = torch.randint(0, 9, (4, 7))
    for slot, reason in (
        ("lstm", "gives one tensor"),
        ("pair", "takes one tensor"),
        ("embedding", "takes one tensor of"),
    ):
        with pytest.raises(SlotMismatch, match=reason):
            dp.swap(Host(), {slot: "parameter-matched"}, x)


def test_unknown_options_are_refused_together():
    with pytest.raises(SlotMismatch) as caught:
        parameter_matched(nn.Linear(12, 5), SIGNATURES["linear"], side="best", act="swish")
    assert len(caught.value.problems) == 2
