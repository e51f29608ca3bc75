"""The ordinary layers against what they are composed of: torch's functions by hand, NumPy, SciPy, counts on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import torch
from torch import nn
from torch.nn import functional

import dopant as dp
from dopant import registry
from dopant._signature import Call
from dopant._slots import measure
from dopant.components.ordinary._capacity import trainable
from dopant.errors import SlotMismatch
from dopant.laws import run_laws

IMAGES, SIGNALS, VECTORS, SEQUENCES = (4, 6, 8, 8), (4, 6, 10), (4, 12), (4, 7, 12)


def placed(name: str, old: nn.Module, shape: tuple[int, ...], **options) -> nn.Module:
    """What fills the slot of `old` in a host that is nothing but that, all laws of a swap included."""
    return dp.swap(nn.Sequential(old), {"0": {"component": name, **options}}, torch.randn(shape))[0]


def why_not(name: str, old: nn.Module, shape: tuple[int, ...], **options) -> str:
    with pytest.raises(SlotMismatch) as caught:
        placed(name, old, shape, **options)
    return str(caught.value)


class Keeps(nn.Module):
    """A block of the user's own that keeps its shape."""

    def forward(self, x):
        return x.tanh()


# --- identity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [nn.ReLU(), nn.Linear(12, 12), nn.LayerNorm(12), Keeps()])
def test_the_identity_gives_what_it_takes(old):
    x = torch.randn(5, 12)
    assert torch.equal(placed("identity", old, VECTORS)(x), x)


def test_an_operation_in_place_after_the_identity_does_not_reach_the_skip_connection():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.act = nn.Linear(12, 12), nn.ReLU(inplace=True)

        def forward(self, x):
            return x + self.act(self.layer(x))

    x = torch.randn(4, 12)
    assert torch.equal(dp.swap(Residual(), {"layer": "identity"}, x)(x), x + x.relu())


def test_the_identity_says_what_stands_in_its_way():
    assert "gives float32(batch, 5) from float32(batch, 12)" in why_not("identity", nn.Linear(12, 5), VECTORS)

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair = nn.Bilinear(3, 4, 3)

        def forward(self, x):
            return self.pair(x[:, :3], x[:, 3:])

    with pytest.raises(SlotMismatch, match="drop all but the first"):
        dp.swap(Two(), {"pair": "identity"}, torch.randn(4, 7))


# --- linear, low-rank -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "shape", "count"),
    [
        (nn.Linear(12, 5), VECTORS, 12 * 5 + 5),
        (nn.Linear(12, 5, bias=False), SEQUENCES, 12 * 5),
        (nn.Conv2d(6, 8, 3, stride=2, padding=1), IMAGES, 6 * 9 * 8 + 8),
        (nn.Conv2d(6, 8, 3, groups=2, dilation=2), IMAGES, 6 * 9 * 8 + 8),
        (nn.Conv1d(6, 4, 5, padding="same", padding_mode="circular"), SIGNALS, 6 * 5 * 4 + 4),
        (nn.GELU(), SEQUENCES, 12 * 12 + 12),
        (nn.BatchNorm2d(6), IMAGES, 6 * 6 + 6),
        (nn.BatchNorm1d(6), SIGNALS, 6 * 6 + 6),
        (nn.Sequential(nn.Linear(12, 30), nn.Tanh(), nn.Linear(30, 3)), VECTORS, 12 * 3 + 3),
    ],
)
def test_linear_is_affine_of_the_expected_count(old, shape, count):
    new = placed("linear", old, shape)
    assert trainable(new) == count
    x, y = torch.randn(shape), torch.randn(shape)
    zero = new(torch.zeros(shape))
    mixed = new(2 * x - 3 * y) - zero
    assert torch.allclose(mixed, 2 * (new(x) - zero) - 3 * (new(y) - zero), atol=1e-4)


def test_linear_on_images_maps_the_channels_of_each_pixel():
    new = placed("linear", nn.ReLU(), IMAGES)
    x = torch.randn(2, 6, 3, 5)
    weight, bias = new.inner.weight, new.inner.bias
    assert torch.allclose(new(x), torch.einsum("oc,bchw->bohw", weight, x) + bias[:, None, None], atol=1e-5)


def test_linear_refuses_what_moves_positions():
    assert "maps the features of each position" in why_not("linear", nn.Flatten(), IMAGES)
    assert "maps the features of each position" in why_not("linear", nn.MaxPool2d(2), IMAGES)


@pytest.mark.parametrize("rank", [1, 3])
def test_the_map_of_low_rank_has_that_rank_by_its_singular_values(rank):
    new = placed("low-rank", nn.Linear(12, 9), VECTORS, rank=rank)
    values = np.linalg.svd((new(torch.eye(12)) - new(torch.zeros(1, 12))).detach().double().numpy(), compute_uv=False)
    assert values[rank - 1] > 1e-3 and values[rank] < 1e-6
    assert trainable(new) == rank * (12 + 9) + 9

    new = placed("low-rank", nn.Conv2d(6, 8, 3, bias=False), IMAGES, rank=rank)
    windows = torch.eye(54).view(54, 6, 3, 3)
    values = np.linalg.svd(new(windows).flatten(1).detach().double().numpy(), compute_uv=False)
    assert values[rank - 1] > 1e-3 and values[rank] < 1e-6
    assert trainable(new) == rank * (54 + 8)


def test_low_rank_takes_a_quarter_of_the_smaller_side_unless_it_controls_something():
    assert placed("low-rank", nn.Linear(40, 20), (4, 40)).rank == 5
    assert placed("low-rank", nn.Linear(40, 3), (4, 40)).rank == 1
    old = nn.Linear(64, 20)
    of = {"component": "bottleneck-mlp"}  # which matches the old layer's 1300
    new = dp.swap(nn.Sequential(old), {"0": {"component": "low-rank", "of": of}}, torch.randn(4, 64))[0]
    assert new.rank == round((new.wanted - 20) / 84) == 15
    assert f"rank 15 of 20: {15 * 84 + 20} trainable numbers, {new.wanted} wanted" in new.describe()


def test_half_a_mix_of_low_rank_has_the_same_rank_as_a_whole_one():
    mixed = dp.swap(nn.Sequential(nn.Linear(40, 20)), {"0": {"component": "low-rank", "mix": 0.5}}, torch.randn(4, 40))
    assert mixed[0].new.rank == 5


@pytest.mark.parametrize(
    ("name", "old", "options"),
    [
        ("low-rank", nn.Linear(400, 300), {"rank": 50}),
        ("low-rank", nn.Conv2d(30, 200, 3), {"rank": 40}),
        ("depthwise-conv", nn.Conv2d(200, 300, 3), {}),
        ("grouped-conv", nn.Conv2d(40, 60, 3), {"groups": 4}),
    ],
)
def test_fewer_connections_start_with_the_variance_of_the_ordinary_layer(name, old, options):
    torch.manual_seed(0)
    new = registry.components.get(name).factory(old, None, **options)
    dense = isinstance(old, nn.Linear)
    fan_in = old.in_features if dense else old.in_channels * 9
    x = torch.eye(fan_in) if dense else torch.eye(fan_in).view(fan_in, old.in_channels, 3, 3)
    if name == "low-rank":
        new.gather.bias.data.zero_()
    else:
        (new[1] if name == "depthwise-conv" else new).bias.data.zero_()
    weight = new(x).flatten(1).detach()
    assert float(weight.square().mean() * fan_in) == pytest.approx(1 / 3, rel=0.05)


@pytest.mark.parametrize("rank", [0, 6])
def test_a_rank_beyond_the_matrix_is_refused_with_its_range(rank):
    assert f"rank is {rank}; expected 1 to 5, the smaller side of a 5 x 12 matrix" in why_not(
        "low-rank", nn.Linear(12, 5), VECTORS, rank=rank
    )


# --- convolutions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [nn.Conv2d(6, 8, 3, 2, 1), nn.Conv2d(6, 9, (3, 2), dilation=2, bias=False)])
def test_a_depthwise_convolution_is_one_window_a_channel_and_then_a_mixing(old):
    new = placed("depthwise-conv", old, IMAGES)
    x = torch.randn(3, 6, 8, 8)
    each = [
        functional.conv2d(x[:, c : c + 1], new[0].weight[c : c + 1], None, old.stride, old.padding, old.dilation)
        for c in range(6)
    ]
    expected = torch.einsum("oc,bchw->bohw", new[1].weight[:, :, 0, 0], torch.cat(each, 1))
    if old.bias is not None:
        expected = expected + new[1].bias[:, None, None]
    assert torch.allclose(new(x), expected, atol=1e-5)
    assert new(x).shape == old(x).shape
    size, out = math.prod(old.kernel_size), old.out_channels
    assert trainable(new) == 6 * size + 6 * out + out * (old.bias is not None)


def test_grouped_channels_see_only_their_group():
    new = placed("grouped-conv", nn.Conv2d(6, 9, 3), IMAGES, groups=3)
    x = torch.randn(2, 6, 5, 5)
    parts = [
        functional.conv2d(x[:, 2 * g : 2 * g + 2], new.weight[3 * g : 3 * g + 3], new.bias[3 * g : 3 * g + 3])
        for g in range(3)
    ]
    assert torch.allclose(new(x), torch.cat(parts, 1), atol=1e-5)
    assert trainable(new) == 6 * 9 * 9 // 3 + 9


def test_the_number_of_groups_divides_both_sides():
    assert placed("grouped-conv", nn.Conv2d(6, 8, 3), IMAGES).groups == 2
    assert placed("grouped-conv", nn.Conv1d(6, 9, 3), SIGNALS).groups == 3
    assert "no number of groups divides both 6 and 5 channels" in why_not("grouped-conv", nn.Conv2d(6, 5, 1), IMAGES)
    reason = why_not("grouped-conv", nn.Conv2d(6, 12, 1), IMAGES, groups=4)
    assert "groups is 4" in reason and "[1, 2, 3, 6]" in reason
    assert "fills Conv1d, Conv2d and Conv3d, not Linear" in why_not("grouped-conv", nn.Linear(12, 5), VECTORS)


# --- activations ----------------------------------------------------------------------------------------------------


def test_activations_are_their_formulas():
    x = torch.linspace(-4, 4, 48, dtype=torch.float64).view(4, 12)
    old, n = nn.Tanh(), x.numpy()

    def of(name, **options):
        new = dp.swap(nn.Sequential(old), {"0": {"component": name, **options}}, x)[0]
        return new(x).numpy()

    assert np.array_equal(of("relu"), np.maximum(n, 0))
    assert np.allclose(of("gelu"), n * scipy.special.ndtr(n), atol=1e-14)
    inner = np.sqrt(2 / np.pi) * (n + 0.044715 * n**3)
    assert np.allclose(of("gelu", approximate="tanh"), n * (1 + np.tanh(inner)) / 2, atol=1e-14)
    assert np.allclose(of("sine"), np.sin(n), atol=1e-14)
    assert np.allclose(of("sine", omega=30.0), np.sin(30 * n), atol=1e-14)


def test_an_activation_that_is_called_at_several_shapes_is_filled_at_all_of_them():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.fc = nn.ReLU(), nn.Linear(12, 5)

        def forward(self, x):
            return self.act(self.fc(self.act(x)))

    net, x = Net(), torch.randn(4, 12)
    assert torch.equal(dp.swap(net, {"act": "sine"}, x)(x), net.fc(x.sin()).sin())


def test_a_relu_behind_a_relu_is_honest_though_many_of_its_inputs_are_exactly_zero():
    signature = measure(nn.Sequential(nn.ReLU(), nn.Dropout()), torch.randn(16, 12))["1"]
    assert int((signature.example(3).args[0] == 0).sum()) > 3
    results = run_laws(registry.components.get("relu"), nn.Dropout(), signature)
    assert [r for r in results if not r.passed] == []


def test_activations_refuse_what_changes_the_shape_and_wrong_options():
    assert "this keeps the shape" in why_not("relu", nn.Linear(12, 5), VECTORS)
    assert "omega is 0.0" in why_not("sine", nn.ReLU(), VECTORS, omega=0.0)
    with pytest.raises(dp.ConfigError, match="'none' or 'tanh'"):
        placed("gelu", nn.ReLU(), VECTORS, approximate="sigmoid")


# --- norms ----------------------------------------------------------------------------------------------------------


def normalised(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


@pytest.mark.parametrize(
    ("old", "shape", "axis"),
    [
        (nn.LayerNorm(12), VECTORS, 1),
        (nn.LayerNorm(12), SEQUENCES, 2),
        (nn.ReLU(), SEQUENCES, 2),
        (nn.BatchNorm1d(6), SIGNALS, 1),
        (nn.GroupNorm(2, 6), IMAGES, 1),
        (Keeps(), IMAGES, 1),
        (nn.LayerNorm(8), (4, 5, 5, 8), 3),
    ],
)
def test_norms_against_numpy_on_each_kind_of_slot(old, shape, axis):
    x = 3 * torch.randn(shape) + 1
    others = tuple(i for i in range(len(shape)) if i != axis)
    batch = placed("batch-norm", old, shape)
    assert np.allclose(batch(x).detach().numpy(), normalised(x.numpy(), others), atol=1e-4)
    layer = placed("layer-norm", old, shape)
    assert np.allclose(layer(x).detach().numpy(), normalised(x.numpy(), (axis,)), atol=1e-4)
    group = placed("group-norm", old, shape, groups=2)
    moved = np.moveaxis(x.numpy(), axis, 1)
    halves = normalised(moved.reshape(shape[0], 2, -1), (2,)).reshape(moved.shape)
    assert np.allclose(group(x).detach().numpy(), np.moveaxis(halves, 1, axis), atol=1e-4)
    assert {trainable(norm) for norm in (batch, layer, group)} == {2 * shape[axis]}


def test_batch_norm_keeps_torch_s_running_averages_and_uses_them_in_evaluation():
    x = 2 * torch.randn(IMAGES) - 1
    new = placed("batch-norm", nn.ReLU(), IMAGES, momentum=0.3)
    torch_s = nn.BatchNorm2d(6, momentum=0.3)
    for _ in range(3):
        assert torch.allclose(new(x), torch_s(x), atol=1e-5)
    new.eval(), torch_s.eval()
    assert torch.allclose(new(x), torch_s(x), atol=1e-5)
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    left = 0.7**3
    expected = (x - (mean * (1 - left))[:, None, None]) / (variance * (1 - left) + left + 1e-5).sqrt()[:, None, None]
    assert torch.allclose(new(x), expected, atol=1e-4)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (48, 24), (6, 3), (7, 1), (96, 32)])
def test_the_default_groups_have_at_least_two_channels(channels, groups):
    new = placed("group-norm", nn.ReLU(), (4, channels, 4, 4))
    assert new.inner.norm.num_groups == groups


def test_groups_of_vectors_keep_eight_numbers_each():
    assert placed("group-norm", nn.ReLU(), (4, 32)).inner.norm.num_groups == 4
    assert placed("group-norm", nn.ReLU(), VECTORS).inner.norm.num_groups == 1


def test_group_norm_bears_channels_last_in_memory_where_only_its_parameters_want_a_gradient():
    new = placed("group-norm", nn.ReLU(), IMAGES)
    x = torch.randn(IMAGES)
    (expected,) = torch.autograd.grad(new(x).square().sum(), [new.inner.norm.weight])
    y = new(x.to(memory_format=torch.channels_last))  # torch's own GroupNorm crashes here
    assert torch.allclose(torch.autograd.grad(y.square().sum(), [new.inner.norm.weight])[0], expected, rtol=1e-4)


def test_norms_say_what_stands_in_their_way():
    assert "does not divide 6 features; use one of [1, 2, 3, 6]" in why_not("group-norm", nn.ReLU(), IMAGES, groups=4)
    assert "hold a single number each" in why_not("group-norm", nn.ReLU(), VECTORS, groups=12)
    assert "single feature" in why_not("layer-norm", nn.ReLU(), (4, 1))
    assert "this keeps the shape" in why_not("batch-norm", nn.Linear(12, 5), VECTORS)
    assert "no batch axis with a feature axis beside it" in why_not("batch-norm", nn.ReLU(), (4,))


def test_a_layer_norm_of_channels_first_is_recognised_by_its_length():
    class LayerNorm2d(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.movedim(1, -1)).movedim(-1, 1)

    new = placed("batch-norm", LayerNorm2d(6), IMAGES)
    assert new.axis == 1 and new.inner.norm.num_features == 6


# --- pooling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "shape"),
    [
        (nn.MaxPool2d(2), IMAGES),
        (nn.AvgPool2d(3, 2, 1), IMAGES),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGES),
        (nn.AvgPool1d(4, 3, ceil_mode=True), SIGNALS),
        (nn.AdaptiveAvgPool2d((3, 2)), IMAGES),
        (nn.AdaptiveMaxPool1d(1), SIGNALS),
        (nn.AdaptiveAvgPool3d(2), (4, 3, 5, 4, 4)),
    ],
)
def test_pooling_has_the_windows_of_the_layer_it_replaces(old, shape):
    x = torch.randn(shape)
    for name, kind in (("mean-pooling", "Avg"), ("max-pooling", "Max")):
        new = placed(name, old, shape)
        assert new(x).shape == old(x).shape
        if kind in type(old).__name__:
            assert torch.allclose(new(x), old(x), atol=1e-6)
    if isinstance(old, nn.MaxPool2d):
        assert torch.allclose(placed("mean-pooling", old, shape)(x), functional.avg_pool2d(x, 2), atol=1e-6)


class PoolSet(nn.Module):
    """(batch, set, features) -> (batch, features), or images -> (batch, channels)."""

    def __init__(self, axes=(1,)):
        super().__init__()
        self.axes = axes

    def forward(self, x):
        return x.sum(self.axes)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((4, 7, 5), (1,)), (IMAGES, (2, 3)), ((4, 5, 7), (2,)), ((4, 3, 3, 9), (1, 2))],
)
def test_a_set_or_an_image_becomes_a_vector(shape, axes):
    x = torch.randn(shape)
    assert torch.allclose(placed("mean-pooling", PoolSet(axes), shape)(x), x.mean(axes), atol=1e-6)
    assert torch.equal(placed("max-pooling", PoolSet(axes), shape)(x), x.amax(axes))
    new = placed("attention-pooling", PoolSet(axes), shape)
    nn.init.zeros_(new.keys.weight)  # equal keys: the mean
    assert torch.allclose(new(x), x.mean(axes), atol=1e-6)


def test_attention_pooling_is_its_formula_member_by_member():
    new = placed("attention-pooling", PoolSet(), (4, 7, 6), hidden=4)
    x = torch.randn(2, 7, 6)
    v, w = new.keys.weight.detach().numpy(), new.query.detach().numpy()
    for b in range(2):
        scores = [math.exp(sum(w[j] * math.tanh(v[j] @ x[b, k].numpy()) for j in range(4))) for k in range(7)]
        expected = sum(s * x[b, k].numpy() for k, s in enumerate(scores)) / sum(scores)
        assert np.allclose(new(x)[b].detach().numpy(), expected, atol=1e-5)
    assert trainable(new) == 4 * 7
    shuffled = x[:, torch.randperm(7)]
    assert torch.allclose(new(shuffled), new(x), atol=1e-6)


def test_attention_pooling_gives_one_position_of_an_image_the_weight_it_asks_for():
    new = placed("attention-pooling", nn.AdaptiveAvgPool2d(1), IMAGES)
    x = torch.randn(2, 6, 5, 5)
    assert new(x).shape == (2, 6, 1, 1)
    weights = new.attention(x.flatten(2))
    assert torch.allclose(weights.sum(1), torch.ones(2))
    assert torch.allclose(new(x).flatten(1), torch.einsum("bk,bck->bc", weights, x.flatten(2)), atol=1e-6)


class Masked(nn.Module):
    def __init__(self, name="key_padding_mask"):
        super().__init__()
        self.pool, self.name = PoolMasked(), name

    def forward(self, x):
        return self.pool(x, **{self.name: x[:, :, 0] > 0.5})


class PoolMasked(nn.Module):
    def forward(self, x, **masks):
        (mask,) = masks.values()
        return x.masked_fill(mask[:, :, None], 0.0).mean(1)


@pytest.mark.parametrize("name", ["mean-pooling", "max-pooling", "attention-pooling"])
def test_what_is_padding_counts_for_nothing(name):
    new = dp.swap(Masked(), {"pool": name}, torch.randn(4, 6, 5))
    x = torch.randn(8, 6, 5)
    x[:, 0, 0] = 0.0  # nobody is empty
    pooled = new(x)
    for b in range(8):
        kept = x[b : b + 1, x[b, :, 0] <= 0.5]
        assert torch.allclose(new.pool(kept), pooled[b : b + 1], atol=1e-5)
    x[3, :, 0] = 1.0  # nothing but padding
    assert torch.equal(new(x)[3], torch.zeros(5))
    grads = torch.autograd.grad(new(x.requires_grad_()).square().sum(), x)
    assert torch.isfinite(grads[0]).all()


def test_pooling_says_what_stands_in_its_way():
    with pytest.raises(SlotMismatch, match="called with mask="):
        dp.swap(Masked("mask"), {"pool": "mean-pooling"}, torch.randn(4, 6, 5))
    assert "one query gives one" in why_not("attention-pooling", nn.AdaptiveAvgPool2d(2), IMAGES)
    assert "dilation" in why_not("mean-pooling", nn.MaxPool2d(2, 1, dilation=2), IMAGES)
    assert "there is nothing to pool" in why_not("max-pooling", nn.ReLU(), IMAGES)
    assert "more positions" in why_not("max-pooling", nn.Upsample(scale_factor=2), IMAGES)
    assert "keeps the batch, first, and the features" in why_not("mean-pooling", nn.Conv2d(6, 5, 2, 2), IMAGES)
    assert "nothing to choose from" in why_not("attention-pooling", nn.AdaptiveAvgPool2d(1), (4, 6, 1, 1))
    assert "nothing to pool" in why_not("mean-pooling", nn.Flatten(), (4, 6, 1, 1))
    assert "hidden is 0" in why_not("attention-pooling", PoolSet(), (4, 7, 5), hidden=0)


def test_a_keyword_without_a_mask_is_no_obstacle():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = Optional()

        def forward(self, x):
            return self.pool(x, padding_mask=None)

    class Optional(nn.Module):
        def forward(self, x, padding_mask=None):
            return x.mean(1)

    x = torch.randn(4, 6, 5)
    signature = measure(Net(), Call(x))["pool"]
    assert signature.outputs == (5,)
    assert torch.equal(dp.swap(Net(), {"pool": "max-pooling"}, x)(x), x.amax(1))
