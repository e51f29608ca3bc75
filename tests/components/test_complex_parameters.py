"""What the two layers with angles that may be complex share: precision, and the norm told to the training loop."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from dopant.components.quantum.flipped_quanv import FlippedQuanv
from dopant.components.quantum.reupload_linear import ReuploadLinear

LAYERS = {
    "quanv": (lambda **options: FlippedQuanv(2, 3, **options), (4, 2, 5, 5)),
    "reupload": (lambda **options: ReuploadLinear(16, 4, reps=2, **options), (4, 16)),
}


@pytest.fixture(params=LAYERS)
def made(request):
    make, shape = LAYERS[request.param]
    return make, shape


def complex_layer(make) -> nn.Module:
    layer = make(parameters="complex")
    with torch.no_grad():
        layer.angles += 0.1j * torch.randn(layer.angles.shape)
    return layer


@pytest.mark.parametrize(
    "convert",
    [
        lambda m: m.double(),
        lambda m: m.to(torch.float64),
        lambda m: m.to("cpu", torch.float64),
        lambda m: m.to(torch.empty(0, dtype=torch.float64)),
    ],
    ids=["double", "to dtype", "to device and dtype", "to like"],
)
def test_complex_angles_follow_a_change_of_precision_whole_with_their_gradient(made, convert):
    make, shape = made
    network = nn.Sequential(complex_layer(make))
    network(torch.randn(shape)).sum().backward()
    angles, slope = network[0].angles.detach().clone(), network[0].angles.grad.clone()
    convert(network)
    assert {p.dtype for p in network.parameters()} == {torch.complex128, torch.float64}
    assert torch.equal(network[0].angles, angles.to(torch.complex128))
    assert torch.equal(network[0].angles.grad, slope.to(torch.complex128))
    assert network(torch.randn(shape, dtype=torch.float64)).dtype == torch.float64
    assert torch.equal(network.float()[0].angles, angles)


@pytest.mark.parametrize(
    ("convert", "dtype"),
    [
        (lambda m: m.to(memory_format=torch.channels_last), torch.complex64),
        (lambda m: m.share_memory(), torch.complex64),
        (lambda m: m.bfloat16(), torch.complex64),
        (lambda m: m.to("meta"), torch.complex64),
        (lambda m: m.to_empty(device="meta"), torch.complex64),
    ],
    ids=["memory format", "shared", "bfloat16", "meta", "empty"],
)
def test_other_moves_keep_complex_angles_complex(made, convert, dtype):
    make, _ = made
    layer = complex_layer(make)
    angles = layer.angles.detach().clone()
    convert(layer)
    assert layer.angles.dtype == dtype
    if layer.angles.device.type == "cpu":
        assert (layer.angles - angles).abs().max() < 0.02
    assert isinstance(layer.angles, nn.Parameter)


def test_memory_once_shared_is_shared_by_complex_angles_too(made):
    make, _ = made
    layer = complex_layer(make).share_memory()
    assert all(p.is_shared() for p in layer.parameters())


def test_the_norm_squared_is_told_of_calls_in_training_only(made):
    make, shape = made
    layer = complex_layer(make).double()
    x = torch.randn(shape, dtype=torch.float64)
    assert layer.call_metrics() == {}
    layer(x)
    (name,) = layer.call_metrics()
    told = layer.call_metrics()[name]
    states = layer.state(x) if isinstance(layer, ReuploadLinear) else layer.state()
    assert name == "state_norm_squared"
    assert told.shape == () and not told.requires_grad
    assert torch.allclose(told, states.abs().square().sum(-1).mean())
    assert abs(told - 1) > 1e-3
    layer.eval()(x)
    assert layer.call_metrics() == {}


def test_the_norm_squared_of_a_circuit_is_one_to_rounding(made):
    make, shape = made
    layer = make()
    layer(10 * torch.randn(shape))
    assert abs(layer.call_metrics()["state_norm_squared"] - 1) < 1e-5


def test_the_norm_of_a_large_state_is_told_before_it_is_used_for_anything():
    layer = ReuploadLinear(16, 4, reps=1, parameters="complex")
    with torch.no_grad():
        layer.angles.zero_()
        layer.angles[0, -1] = -0.5j  # exp(0.5 ZZ) on |++>: half of e, half of 1/e
    layer(torch.zeros(2, 16))
    wanted = torch.cosh(torch.tensor(1.0))
    assert torch.allclose(layer.call_metrics()["state_norm_squared"], wanted)


def test_an_empty_batch_tells_nothing():
    layer = ReuploadLinear(16, 4)
    layer(torch.randn(0, 16))
    assert layer.call_metrics() == {}


def test_what_is_told_is_no_state_and_stops_no_copy(made):
    make, shape = made
    layer = make(parameters="complex")
    before = set(layer.state_dict())
    layer(torch.randn(shape))
    assert set(layer.state_dict()) == before
    twin = copy.deepcopy(layer)
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), twin.parameters(), strict=True))
    torch.save(layer, io.BytesIO())
