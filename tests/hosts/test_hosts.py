from __future__ import annotations

import pytest
import torch
from torch import nn

from dopant import registry
from dopant.errors import ConfigError, UnknownName
from dopant.hosts import host


@pytest.mark.parametrize(("size", "features"), [(8, 256), (32, 12544)])
def test_creep_cnn_s_head_takes_a_power_of_four_at_8_and_12544_at_32(size, features):
    network = host("creep-cnn", size=size)
    assert network.head.in_features == features
    assert [network.conv1.out_channels, network.conv2.out_channels] == [32, 16]
    assert network(torch.randn(3, 1, size, size)).shape == (3, 10)


def test_creep_cnn_is_one_affine_map():
    network = host("creep-cnn", size=8).double()
    x, y, zero = torch.randn(3, 2, 1, 8, 8, dtype=torch.float64)
    zero = zero * 0
    assert torch.allclose(network(3 * x - y), 3 * network(x) - network(y) - network(zero), atol=1e-12)


@pytest.mark.parametrize("name", ["creep-cnn", "mlp", "small-cnn"])
def test_a_host_is_the_same_for_the_same_seed_leaves_no_trace_and_follows_the_data_s_facts(name):
    before = torch.default_generator.get_state()
    facts = {"in_channels": 3, "size": 16, "classes": 7}
    first, again, other = host(name, seed=1, **facts), host(name, seed=1, **facts), host(name, seed=2, **facts)
    assert torch.equal(before, torch.default_generator.get_state())
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)
    assert first(torch.randn(4, 3, 16, 16)).shape == (4, 7)


def test_mlp_takes_vectors_depth_activation_and_dropout():
    network = host("mlp", in_features=12, hidden=[9, 8, 7], classes=3, activation="tanh", dropout=0.5)
    assert [layer.out_features for layer in network.layers] == [9, 8, 7]
    assert sum(isinstance(m, nn.Dropout) for m in network.modules()) == 3
    assert network(torch.randn(5, 12)).shape == (5, 3)
    assert host("mlp", in_features=12, hidden=[], classes=3)(torch.randn(5, 12)).shape == (5, 3)


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm), ("none", nn.Identity)])
def test_small_cnn_has_activation_normalisation_and_a_dense_head(norm, kind):
    network = host("small-cnn", size=8, channels=[4, 6, 8], dense=5, norm=norm, activation="gelu", dropout=0.1)
    assert all(isinstance(module, kind) for module in network.norms)
    assert isinstance(network.hidden, nn.Linear)
    assert network.hidden.in_features == 8
    assert network(torch.randn(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("creep-cnn", {"size": 4}, ["images of 5 or more"]),
        (
            "creep-cnn",
            {"size": -8, "classes": 0, "channels": "wide"},
            ["size is -8", "classes is 0", "channels is 'wide'"],
        ),
        ("creep-cnn", {"channels": [32]}, ["expected two widths"]),
        ("creep-cnn", {"sise": 8}, ["no option 'sise'; did you mean 'size'?"]),
        (
            "mlp",
            {"hidden": [0], "activation": "rellu", "dropout": 1},
            ["hidden", "did you mean 'relu'?", "dropout is 1"],
        ),
        ("mlp", {"in_features": 1.5}, ["'in_features'"]),
        ("small-cnn", {"size": 2, "channels": [4, 4]}, ["needs 4 or more"]),
        ("small-cnn", {"norm": "layer", "channels": []}, ["batch, group, none", "channels is []"]),
    ],
)
def test_every_bad_option_is_refused_at_once_and_in_words(name, options, words):
    with pytest.raises(ConfigError) as error:
        host(name, **options)
    assert len(error.value.problems) == len(words)
    for word in words:
        assert word in str(error.value)


def test_an_unknown_host_is_answered_with_the_nearest_name():
    with pytest.raises(UnknownName) as error:
        host("creep_cn")
    assert error.value.suggestions[0] == "creep-cnn"
    assert {"creep-cnn", "mlp", "small-cnn"} <= set(registry.hosts.names())
