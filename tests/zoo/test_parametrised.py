"""Weights that are computed: torch's parametrisations, and the weight and spectral norms of old."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import dopant as dp

from .parts import lives, outputs_in_evaluation, same, train


def old_weight_norm(module: nn.Module) -> nn.Module:
    with warnings.catch_warnings():  # deprecated, and in many a network all the same
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(module)


class Squared(nn.Module):
    """A parametrisation of one's own."""

    def forward(self, weight):
        return weight * weight.abs()


def squared(module: nn.Module) -> nn.Module:
    parametrize.register_parametrization(module, "weight", Squared())
    return module


KINDS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "orthogonal": parametrizations.orthogonal,
    "spectral": parametrizations.spectral_norm,
    "weight-norm": parametrizations.weight_norm,
    "own": squared,
    "old-weight-norm": old_weight_norm,
    "old-spectral-norm": nn.utils.spectral_norm,
}


class Net(nn.Module):
    def __init__(self, kind: str):
        super().__init__()
        self.first = KINDS[kind](nn.Linear(6, 6))
        self.second = KINDS[kind](nn.Linear(6, 6))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
@pytest.mark.parametrize("slot", ["first", "head"])
def test_a_layer_lives_replaced_beside_one_whose_weight_is_computed(kind, slot, tmp_path: Path):
    network = lives(lambda: Net(kind), {slot: "zoo-linear"}, X, tmp_path)
    assert network.first.in_features == 6


@each_kind
def test_a_layer_whose_weight_is_computed_lives_inside_a_wrapper_and_mixed(kind, tmp_path: Path):
    lives(lambda: Net(kind), {"first": "zoo-scaled"}, X, tmp_path)
    lives(lambda: Net(kind), {"second": {"component": "zoo-linear", "mix": 0.5}}, X, tmp_path)


@each_kind
def test_measuring_and_swapping_leave_the_host_as_it_was(kind):
    host = Net(kind).eval()
    before = copy.deepcopy(host.state_dict())
    start = outputs_in_evaluation(host, X)
    found = dp.slots(host, X)
    assert found["first"].read == found["head"].read == ()
    assert (found["first"].evaluated, found["first"].trained) == (1, 1)
    network = dp.swap(host, {}, X)
    assert all(torch.equal(before[name], tensor) for name, tensor in host.state_dict().items())
    assert same(start, outputs_in_evaluation(network, X))
    train(network, X)
    assert same(start, outputs_in_evaluation(host, X))


@each_kind
def test_a_host_that_has_been_trained_is_copied_with_what_its_last_call_left(kind):
    host = Net(kind)
    train(host, X)  # weights of old norms are now tensors with a history, which torch refuses to copy
    trained = outputs_in_evaluation(host.eval(), X)
    network = dp.swap(host, {"head": "zoo-scaled"}, X)
    with torch.no_grad():
        network.head.scale.fill_(1)
    assert same(trained, outputs_in_evaluation(network, X))
    assert host.training is False


@pytest.mark.parametrize("kind", ["orthogonal", "spectral", "weight-norm", "own"])
def test_a_computed_weight_that_a_parent_reads_is_told_from_one_that_is_called(kind):
    class Reads(Net):
        def forward(self, x):
            return self.head(torch.tanh(self.second(x)) @ self.first.weight)

    assert dp.slots(Reads(kind), X)["first"].read
    with pytest.raises(dp.SlotMismatch, match="its parent reads its weights instead of calling it"):
        dp.swap(Reads(kind), {"first": "zoo-linear"}, X)


@pytest.mark.parametrize("kind", ["orthogonal", "old-weight-norm"])  # one of each make
def test_a_study_with_such_a_host_runs_every_level(kind, tmp_path: Path):
    x = torch.randn(90, 6)
    answer = dp.run(
        dp.Ladder(lambda: Net(kind)).level(second="zoo-linear"), data=(x, x.argmax(1) % 3),
        recipe=dp.Recipe(lr=1e-2, batch=30, epochs=1), replicates=1, controls=False, out=tmp_path / "study",
    )  # fmt: skip
    assert list(answer.trials["status"]) == ["done", "done"]
    for trial in answer.trials["trial"]:
        items = answer.store.items(trial)
        outputs = outputs_in_evaluation(answer.model(trial), x[torch.as_tensor(items["ids"])])
        assert torch.equal(outputs.argmax(1), torch.as_tensor(items["prediction"]))
