from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dopant import registry
from dopant.components.ordinary._capacity import trainable
from dopant.components.ordinary.bottleneck_mlp import bottleneck_mlp
from dopant.components.ordinary.frozen import frozen
from dopant.components.ordinary.linear_residual import linear_residual
from dopant.components.ordinary.random_features import RandomFeatures, _hadamard, random_features
from dopant.components.quantum.flipped_quanv import flipped_quanv
from dopant.components.quantum.reupload_linear import reupload_linear
from dopant.errors import SlotMismatch

SAME_CAPACITY = [bottleneck_mlp, random_features, linear_residual]


@pytest.mark.parametrize("control", SAME_CAPACITY)
@pytest.mark.parametrize("reps", [10, 40])
def test_a_linear_slot_gets_a_control_of_the_component_s_trainable_count(control, reps):
    old = nn.Linear(256, 10)
    target = reupload_linear(old, None, reps=reps)
    new = control(old, None, target=target)
    # linear-residual cannot be smaller than the linear layer with one hidden unit
    least = 256 * 10 + 10 + 267 if control is linear_residual else 0
    wanted = trainable(target)
    assert abs(trainable(new) - wanted) <= 0.1 * wanted or trainable(new) == least
    assert str(trainable(new)) in new.describe()
    assert new(torch.randn(5, 256)).shape == (5, 10)


@pytest.mark.parametrize("control", SAME_CAPACITY)
@pytest.mark.parametrize(
    "old",
    [nn.Conv2d(32, 16, 3), nn.Conv2d(8, 6, 3, stride=2, padding=1), nn.Conv2d(8, 6, 3, padding="same", bias=False)],
)
def test_a_convolution_gets_a_control_of_the_component_s_trainable_count_and_shape(control, old):
    target = flipped_quanv(old, None)
    new = control(old, None, target=target)
    assert abs(trainable(new) - trainable(target)) <= 0.1 * trainable(target)
    x = torch.randn(2, old.in_channels, 9, 9)
    assert new(x).shape == old(x).shape


def test_the_published_head_s_bottleneck_has_the_thirteen_units_of_the_sheet():
    new = bottleneck_mlp(nn.Linear(12544, 10), None, target=nn.Linear(16383, 10))
    assert new.width == 13
    assert trainable(new) == 163_225


@pytest.mark.parametrize("control", SAME_CAPACITY)
def test_without_a_component_to_control_the_old_layer_s_count_is_matched(control):
    old = nn.Linear(30, 20)
    new = control(old, None)
    assert abs(trainable(new) - trainable(old)) <= 0.1 * trainable(old)


@pytest.mark.parametrize("control", SAME_CAPACITY)
def test_other_slots_and_groups_are_refused(control):
    with pytest.raises(SlotMismatch, match="Linear and Conv2d"):
        control(nn.ReLU(), None)
    with pytest.raises(SlotMismatch, match="groups"):
        control(nn.Conv2d(4, 4, 3, groups=2), None)


def test_unknown_options_are_refused():
    for control in (bottleneck_mlp, linear_residual):
        with pytest.raises(SlotMismatch, match="'tanh' or 'relu'"):
            control(nn.Linear(3, 3), None, act="swish")
    with pytest.raises(SlotMismatch, match="expected 'auto'"):
        random_features(nn.Linear(3, 3), None, projection="sparse")
    with pytest.raises(SlotMismatch, match="Linear slots"):
        random_features(nn.Conv2d(3, 3, 3), None, projection="structured")


def test_a_complex_parameter_counts_as_two_numbers():
    old = nn.Linear(16, 4)
    real, cmplx = (reupload_linear(old, None, parameters=p) for p in ("real", "complex"))
    assert trainable(cmplx) - 4 == 2 * (trainable(real) - 4)


def test_frozen_keeps_the_component_s_function_and_trains_nothing():
    old = nn.Linear(16, 4)
    target = reupload_linear(old, None)
    new = frozen(old, None, target=target)
    x = torch.randn(3, 16, requires_grad=True)
    assert torch.equal(new(x), target(x))
    assert trainable(new) == 0 < trainable(target)
    assert new.state_dict().keys() == target.state_dict().keys()
    (gradient,) = torch.autograd.grad(new(x).square().sum(), x)
    assert gradient.abs().max() > 0
    assert trainable(frozen(old, None)) == 0 < trainable(old)


def test_random_features_approximate_the_gaussian_kernel_of_their_bandwidth():
    for projection in ("dense", "structured"):
        torch.manual_seed(0)
        features = RandomFeatures(nn.Linear(20, 1).double(), 20_001, projection)
        features.bandwidth.fill_(3.0)
        x = torch.randn(12, 20, dtype=torch.float64)
        found = features.features(x) @ features.features(x).T
        expected = torch.exp(-torch.cdist(x, x).square() / (2 * 3.0**2))
        assert (found - expected).abs().max() < 0.05, projection


def test_the_fast_hadamard_transform_is_orthonormal_and_its_own_inverse():
    for bits in (1, 2, 5):
        x = torch.eye(2**bits, dtype=torch.float64)
        h = _hadamard(x)
        assert torch.allclose(h @ h.T, x, atol=1e-12)
        assert torch.allclose(_hadamard(h), x, atol=1e-12)
        assert torch.allclose(h.abs(), torch.full_like(h, 2 ** (-bits / 2)))


def test_preparing_sets_the_bandwidth_to_the_median_distance_between_inputs():
    features = random_features(nn.Linear(6, 2), None)
    assert math.isclose(features.bandwidth.item(), math.sqrt(6), rel_tol=1e-6)
    x = 7 * torch.randn(300, 6)
    features.prepare([(x[:100],), (x[100:],)])
    assert math.isclose(features.bandwidth.item(), torch.pdist(x).median().item(), rel_tol=1e-5)
    features.prepare([(torch.zeros(4, 6),)])
    assert features.bandwidth > 1
    features.prepare([])


def test_preparing_a_convolution_measures_distances_between_windows():
    old = nn.Conv2d(1, 2, 3, padding="same")
    features = random_features(old, None)
    x = torch.randn(20, 1, 8, 8)
    features.prepare([(x,)])
    windows = nn.functional.unfold(x, 3).transpose(1, 2).reshape(-1, 9)
    assert abs(features.bandwidth.item() / torch.pdist(windows).median().item() - 1) < 0.1


def test_a_large_random_projection_is_structured_and_small_in_memory():
    old = nn.Linear(12544, 10)
    features = random_features(old, None, target=nn.Linear(16383, 10))
    assert features.width == 16383
    assert features.projection == "structured"
    assert sum(b.numel() * b.element_size() for b in features.buffers()) < 1e6
    assert features(torch.randn(2, 12544)).shape == (2, 10)


def test_controls_say_their_kind_and_components_name_their_controls():
    for name in ("bottleneck-mlp", "random-features", "linear-residual"):
        assert registry.components.get(name).control == "same capacity"
    assert registry.components.get("frozen").control == "ablation"
    assert registry.components.get("psd-conv").control == "same class"
    for name in ("flipped-quanv", "reupload-linear"):
        for control in registry.components.get(name).controls:
            assert registry.components.get(control).control is not None
