"""How often, under which names and with what a host calls its modules: recurrent, tied, shared, unused, with None."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import dopant as dp
from dopant._place import DopantWarning
from dopant._slots import Batch

from .parts import lives, outputs_in_evaluation, same, train

# --- creep-cnn ------------------------------------------------------------------------------------------------------


def test_the_founding_network_lives_with_its_own_components(tmp_path: Path):
    seeds = iter(range(10))
    swaps = {"conv1": "flipped-quanv", "head": {"component": "reupload-linear", "reps": 2}}
    network = lives(lambda: dp.host("creep-cnn", seed=next(seeds), size=8), swaps, torch.randn(3, 1, 8, 8), tmp_path)
    assert network.head.out_features == 10


# --- recurrent ------------------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    """Gives the states a tuple of its own, and reads what the module is."""

    def __init__(self, batch_first: bool, given: bool):
        super().__init__()
        self.lstm = nn.LSTM(5, 6, num_layers=2, batch_first=batch_first)
        self.head, self.given = nn.Linear(6, 3), given

    def forward(self, x):
        count = x.shape[0]
        x = x if self.lstm.batch_first else x.transpose(0, 1)
        zeros = x.new_zeros(self.lstm.num_layers, count, self.lstm.hidden_size)
        y, (hidden, cell) = self.lstm(x, (zeros, zeros.clone())) if self.given else self.lstm(x)
        return self.head(hidden[-1] + 0 * cell[-1] + (y if self.lstm.batch_first else y.transpose(0, 1)).mean(1))


class Memory(nn.Module):
    """Instead of an LSTM: a linear map and a leaky sum over time; the last as hidden state, the mean as cell."""

    def __init__(self, old: nn.LSTM):
        super().__init__()
        self.into, self.axis, self.layers = nn.Linear(old.input_size, old.hidden_size), int(old.batch_first), 2

    def forward(self, x, states=None):
        y = torch.tanh(self.into(x))
        if states is not None:
            first, second = states
            y = y + (first + second).sum(0).unsqueeze(self.axis)
        last = y.select(self.axis, -1)
        return y, (last.repeat(self.layers, 1, 1), y.mean(self.axis).repeat(self.layers, 1, 1))


dp.component("zoo-memory", fills=nn.LSTM)(lambda old, signature: Memory(old))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("component", ["zoo-memory", "zoo-scaled"])
def test_a_recurrent_layer_lives_replaced_and_wrapped_wherever_its_batch_axis_is(
    batch_first, given, component, tmp_path
):
    network = lives(lambda: Recurrent(batch_first, given), {"lstm": component}, torch.randn(4, 7, 5), tmp_path)
    assert network.lstm.hidden_size == 6
    (call,) = dp.slots(network, torch.randn(4, 7, 5))["lstm"].calls
    assert call.args[0].axis == (0 if batch_first else 1)
    assert call.outputs[1][0].shape == (2, Batch(), 6)


def test_states_of_a_mixed_recurrent_layer_are_mixed_too():
    mixed = dp.swap(Recurrent(True, False), {"lstm": {"component": "zoo-memory", "mix": 0.25}}, torch.randn(4, 7, 5))
    x = torch.randn(2, 7, 5)
    old, new, both = mixed.lstm.old(x), mixed.lstm.new(x), mixed.lstm(x)
    torch.testing.assert_close(both[1][0], 0.75 * old[1][0] + 0.25 * new[1][0])


class Around(nn.Module):
    """A layer around an LSTM, which is the slot."""

    def __init__(self):
        super().__init__()
        self.block = nn.ModuleDict({"a": Recurrent(True, False)})
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(torch.relu(self.block["a"](x)))


def test_a_layer_around_a_recurrent_one_is_a_slot(tmp_path):
    lives(Around, {"block.a": "zoo-scaled", "out": "zoo-linear"}, torch.randn(4, 7, 5), tmp_path)


# --- tied weights ---------------------------------------------------------------------------------------------------


class LanguageModel(nn.Module):
    """The next word after the last; the head's weight is the embedding's. functional: used without a module."""

    def __init__(self, functional: bool = False):
        super().__init__()
        self.embedding, self.body = nn.Embedding(11, 6), nn.LSTM(6, 6, batch_first=True)
        self.head = None if functional else nn.Linear(6, 11, bias=False)
        if self.head is not None:
            self.head.weight = self.embedding.weight

    def forward(self, tokens):
        last = self.body(self.embedding(tokens))[0][:, -1]
        return nn.functional.linear(last, self.embedding.weight) if self.head is None else self.head(last)


class Hashed(nn.Module):
    """Instead of an embedding: three vectors, and fixed signs for each word."""

    def __init__(self, old: nn.Embedding):
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(3, old.embedding_dim))
        self.register_buffer("signs", torch.randn(old.num_embeddings, 3).sign())

    def forward(self, tokens):
        return self.signs[tokens] @ self.vectors


dp.component("zoo-hashed", fills=nn.Embedding)(lambda old, signature: Hashed(old))
TOKENS = torch.randint(0, 11, (4, 5), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("slot", "component"), [("head", "zoo-linear"), ("embedding", "zoo-hashed")])
def test_swapping_either_end_of_tied_weights_warns_and_lives(slot, component, tmp_path):
    other = "head" if slot == "embedding" else "embedding"
    with pytest.warns(DopantWarning, match=rf"slot '{slot}': its weight was tied to '{other}.weight'"):
        lives(LanguageModel, {slot: component}, TOKENS, tmp_path)


def test_a_wrapped_end_stays_tied_through_copies_training_and_saving(tmp_path):
    network = lives(LanguageModel, {"head": "zoo-scaled"}, TOKENS, tmp_path)
    assert network.head.inner.weight is network.embedding.weight
    other = copy.deepcopy(network)
    assert other.head.inner.weight is other.embedding.weight


def test_an_embedding_whose_weight_the_parent_uses_as_head_is_refused_or_warned_of():
    with pytest.raises(dp.SlotMismatch, match=r"'embedding': its parent reads its weights instead of .* \(weight\)"):
        dp.swap(LanguageModel(functional=True), {"embedding": "zoo-hashed"}, TOKENS)
    dp.component("zoo-embedding", fills=nn.Embedding)(lambda old, signature: nn.Embedding(11, 6))
    with pytest.warns(DopantWarning, match="'embedding': beside calling it its parent uses its weight directly"):
        dp.swap(LanguageModel(functional=True), {"embedding": "zoo-embedding"}, TOKENS)


# --- often, under several names, never ------------------------------------------------------------------------------


class Often(nn.Module):
    """`same` is called twice with one shape, `other` with two; `alias` is `same`; `never` is not called."""

    def __init__(self):
        super().__init__()
        self.same, self.other, self.never = nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)
        self.alias = self.same
        self.box = nn.ModuleList([self.same])

    def forward(self, x):
        y = self.other(self.box[0](self.alias(self.same(x))))
        return self.other(y[:, :4])


X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def test_a_module_called_often_is_replaced_under_every_name_and_counted(tmp_path):
    network = lives(Often, {"alias": "zoo-linear"}, X, tmp_path)
    assert network.same is network.alias is network.box[0]
    found = dp.slots(network, X)["same"]
    assert found.names == ("same", "alias", "box.0")
    assert (found.evaluated, found.trained) == (3, 3)
    assert len([n for n, _ in network.named_parameters()]) == 4 + 2


def test_a_module_called_in_several_shapes_is_told_clearly_and_lives_with_what_takes_both(tmp_path):
    @dp.component("zoo-one-shape")
    def one_shape(old, signature):
        return nn.LayerNorm(signature.inputs)

    with pytest.raises(dp.SlotMismatch, match=r"slot 'other' is called with several shapes: .*\(6,\).*\(4,\)"):
        dp.swap(Often(), {"other": "zoo-one-shape"}, X)
    dp.component("zoo-six")(lambda old, signature: nn.Linear(6, 6))
    with pytest.raises(dp.SlotMismatch, match=r"slot 'other' takes \(4,\) but 'zoo-six' fails on it"):
        dp.swap(Often(), {"other": "zoo-six"}, X)
    lives(Often, {"other": "zoo-scaled"}, X, tmp_path)


def test_a_module_that_is_never_called_is_refused_and_does_no_harm_elsewhere(tmp_path):
    with pytest.raises(dp.SlotMismatch, match=r"'never' is never called in training or evaluation, so a replacement"):
        dp.swap(Often(), {"never": "zoo-linear"}, X)
    network = dp.swap(Often(), {"same": "zoo-linear"}, X)
    train(network, X)
    assert network.never.weight.grad is None


# --- None among the outputs -----------------------------------------------------------------------------------------


class Nones(nn.Module):
    """Its inner module gives (tensor, None, {"more": None, "extra": tensor})."""

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x, mask=None, *, scale: float = 1.0):
            return self.fc(x) * scale, None, {"more": None, "extra": x.sum(1)}

    def __init__(self):
        super().__init__()
        self.inner, self.out = Nones.Inner(), nn.Linear(6, 2)

    def forward(self, x):
        y, nothing, more = self.inner(x, None, scale=2.0)
        assert nothing is None
        assert more["more"] is None
        return self.out(y), None, (more["extra"], None)


@pytest.mark.parametrize("mix", [0.5, 1])
def test_outputs_with_none_among_them_are_swapped_mixed_saved_and_loaded(mix, tmp_path):
    swaps = {"inner": {"component": "zoo-scaled", "mix": mix}, "out": "zoo-linear"}
    network = lives(Nones, swaps, X, tmp_path)
    y, nothing, (extra, none) = outputs_in_evaluation(network, X)
    assert nothing is none is None
    assert y.shape == (4, 2)
    assert extra.shape == (4,)
    assert dp.slots(network, X)["inner"].outputs == ((6,), None, {"more": None, "extra": ()})


def test_a_component_that_forgets_a_none_is_refused_with_both_outputs():
    @dp.component("zoo-forgets")
    def forgets(old, signature):
        class Forgets(nn.Linear):
            def forward(self, x, mask=None, **kwargs):
                return super().forward(x), {"more": None, "extra": x.sum(1)}

        return Forgets(6, 6)

    with pytest.raises(dp.SlotMismatch, match=r"slot 'inner' gives \(\(6,\), None, .* but 'zoo-forgets' gives"):
        dp.swap(Nones(), {"inner": "zoo-forgets"}, X)


def test_cells_share_the_weights_that_no_swap_touches():
    host = Often()
    networks = [dp.swap(host, swaps, X) for swaps in ({}, {"other": "zoo-scaled"})]
    assert same(networks[0].same(X), networks[1].same(X))
    assert torch.equal(networks[0].same.weight, host.same.weight)
