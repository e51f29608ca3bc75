"""Slots are found and measured without a trace."""

from __future__ import annotations

import random
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

import dopant as dp
from dopant._slots import Batch, Spec, as_call, resize


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 5)
        self.norm = nn.BatchNorm2d(16)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(256, 5)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(self.drop(self.norm(self.conv(x))).flatten(1))


def test_every_named_submodule_is_a_slot_with_its_shapes():
    found = dp.slots(Net(), torch.randn(4, 3, 8, 8))
    assert list(found) == ["conv", "norm", "drop", "fc", "unused"]
    assert found["conv"].inputs == (3, 8, 8)
    assert found["norm"].inputs == found["norm"].outputs == (16, 4, 4)
    assert found["fc"].outputs == (5,)
    assert found["fc"].calls[0].args[0] == Spec((Batch(), 256), torch.float32)
    assert found["fc"].module == "Linear"
    assert found["fc"].dtype is torch.float32


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_samples_own_batch_size_does_not_matter(batch):
    net = Net()
    assert dp.slots(net, torch.randn(batch, 3, 8, 8)) == dp.slots(net, torch.randn(4, 3, 8, 8))


def test_a_slot_that_is_never_called_is_listed_without_calls():
    unused = dp.slots(Net(), torch.randn(2, 3, 8, 8))["unused"]
    assert unused.calls == ()
    with pytest.raises(dp.SlotMismatch, match=r"'unused' is never called"):
        _ = unused.inputs


def test_measuring_leaves_no_trace():
    net = Net()
    net.norm.eval()
    buffers = {n: b.clone() for n, b in net.named_buffers()}
    modes = {n: m.training for n, m in net.named_modules()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    fast = torch.backends.mha.get_fastpath_enabled()
    dp.slots(net, torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)))
    assert all(torch.equal(buffers[n], b) for n, b in net.named_buffers())
    assert {n: m.training for n, m in net.named_modules()} == modes
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert all(p.grad is None for p in net.parameters())


def test_a_host_that_fails_leaves_no_hooks_and_its_error_says_where():
    net = Net()
    states = torch.get_rng_state()
    with pytest.raises(dp.ConfigError, match="fails in evaluation mode on a batch of 2"):
        dp.slots(net, torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1)))
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())
    assert torch.equal(states, torch.get_rng_state())
    assert torch.backends.mha.get_fastpath_enabled()


class Windows(nn.Module):
    """Cuts an 8x8 image into 64 single pixels, each a row of its own."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        y = self.fc(x.permute(0, 2, 3, 1).reshape(-1, 3))
        return y.reshape(x.shape[0], -1)


def test_the_multiplicity_of_the_batch_axis_is_measured():
    fc = dp.slots(Windows(), torch.randn(2, 3, 8, 8))["fc"]
    assert fc.calls[0].args[0].shape == (Batch(64), 3)
    assert fc.inputs == (3,)
    assert fc.example(5).args[0].shape == (320, 3)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 6, num_layers=2)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        states = x.new_zeros(2, x.shape[0], 6), x.new_zeros(2, x.shape[0], 6)
        return self.head(self.lstm(x.transpose(0, 1), states)[0][-1])


def test_the_batch_axis_is_found_wherever_it_is():
    lstm = dp.slots(Recurrent(), torch.randn(4, 7, 5))["lstm"]
    (call,) = lstm.calls
    assert call.args[0].shape == (7, Batch(), 5)
    assert call.args[1][0].shape == (2, Batch(), 6)
    assert call.outputs[1][1].shape == (2, Batch(), 6)
    assert lstm.outputs == ((7, 6), ((2, 6), (2, 6)))
    assert lstm.inputs == ((7, 5), ((2, 6), (2, 6)))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.same = nn.Linear(4, 4)
        self.other = nn.ReLU()
        self.alias = self.same

    def forward(self, x):
        y = self.other(self.alias(self.same(x)))
        return self.other(y[:, :2])


def test_a_module_called_twice_has_two_calls():
    found = dp.slots(Twice(), torch.randn(3, 4))
    assert len(found["same"].calls) == 2
    assert found["same"].inputs == (4,)  # of one shape
    assert len(found["other"].calls) == 2
    with pytest.raises(dp.SlotMismatch, match=r"several shapes.*\(4,\).*\(2,\)"):
        _ = found["other"].inputs


def test_a_module_with_two_names_is_listed_under_both():
    found = dp.slots(Twice(), torch.randn(3, 4))
    assert found["same"] == found["alias"]
    assert found["same"].names == ("same", "alias")


Pair = namedtuple("Pair", "values weights")


class Trees(nn.Module):
    class Inner(nn.Module):
        def forward(self, batch, *, scale, mask=None):
            return Pair(batch["x"] * scale, None), [batch["n"], {"mask": mask}]

    def __init__(self):
        super().__init__()
        self.inner = Trees.Inner()

    def forward(self, x, mask):
        pair, _ = self.inner({"x": x, "n": x.shape[0]}, scale=2.0, mask=mask)
        return pair.values


def test_pytrees_keywords_and_none_are_kept_in_the_signature():
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    inner = dp.slots(Trees(), dp.Call(torch.randn(3, 5), mask=mask))["inner"]
    (call,) = inner.calls
    assert call.args == ({"x": Spec((Batch(), 5), torch.float32), "n": Batch()},)
    assert call.kwargs == {"scale": 2.0, "mask": Spec((5, 5), torch.bool)}
    assert inner.outputs[0] == Pair((5,), None)
    example = inner.example(4)
    assert example.args[0]["n"] == 4
    assert example.args[0]["x"].shape == (4, 5)
    assert torch.equal(example.kwargs["mask"], mask)  # no batch axis: as it was


def test_examples_are_of_the_kind_that_was_measured():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(11, 4)
            self.square = nn.Identity()

        def forward(self, tokens):
            return self.square(self.embedding(tokens).square())

    tokens = torch.randint(0, 11, (6, 9), generator=torch.Generator().manual_seed(0))
    found = dp.slots(Tokens(), tokens)
    drawn = found["embedding"].example(50, torch.Generator().manual_seed(1)).args[0]
    assert drawn.dtype is torch.int64
    assert drawn.min() >= 0
    assert drawn.max() <= 10
    assert found["square"].example(50).args[0].min() >= 0  # squares are not negative
    assert not torch.equal(drawn[0], drawn[1])


def test_samples_come_as_a_tensor_a_tuple_a_call_or_one_other_argument():
    x = torch.randn(2, 3)
    assert len(as_call(x).args) == 1
    assert len(as_call((x, x)).args) == 2
    assert as_call([x, x]).args == ([x, x],)
    assert as_call({"x": x}).args == ({"x": x},)
    assert as_call(dp.Call(x, y=x)).kwargs.keys() == {"y"}


def test_a_mask_without_the_batch_length_is_left_alone():
    call = resize(dp.Call(torch.randn(4, 5), torch.ones(5, 5)), 3)
    assert [tuple(t.shape) for t in call.args] == [(3, 5), (5, 5)]


@pytest.mark.parametrize("batch_first", [True, False])
def test_the_inside_of_a_transformer_is_seen_in_evaluation_too(batch_first):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, x):
            return self.encoder(x if batch_first else x.transpose(0, 1)).mean(1 if batch_first else 0)

    found = dp.slots(Encoder(), torch.randn(2, 6, 8))
    linear = found["encoder.layers.1.linear1"]
    assert (linear.evaluated, linear.trained) == (1, 1)
    assert linear.inputs == (6, 8)
    attention = found["encoder.layers.0.self_attn"]
    assert attention.outputs == ((6, 8), None)
    assert found["encoder.layers.0.self_attn.out_proj"].calls == ()


def test_a_size_that_is_no_multiple_of_the_batch_is_a_problem_of_that_slot_alone():
    class PlusOne(nn.Module):
        def __init__(self):
            super().__init__()
            self.odd, self.fc = nn.Identity(), nn.Linear(3, 2)

        def forward(self, x):
            return self.fc(self.odd(torch.cat([x, x[:1]]))[:-1])

    found = dp.slots(PlusOne(), torch.randn(4, 3))
    assert "no multiple of the batch size" in found["odd"].problem
    assert found["fc"].problem is None


def test_a_module_called_once_a_sample_is_a_problem_of_that_slot():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x):
            return torch.stack([self.fc(row) for row in x])

    assert "called 2 times at 2 samples and 3 times at 3" in dp.slots(Loop(), torch.randn(4, 3))["fc"].problem


def test_an_empty_sample_and_one_without_tensors_are_refused():
    with pytest.raises(dp.ConfigError, match="empty"):
        dp.slots(nn.Linear(3, 2), torch.randn(0, 3))
    with pytest.raises(dp.ConfigError, match="no tensor"):
        dp.slots(nn.Linear(3, 2), "text")


def test_lazy_modules_stay_lazy_in_the_argument():
    net = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    assert dp.slots(net, torch.randn(2, 7))["0"].inputs == (7,)
    assert isinstance(net[0].weight, nn.UninitializedParameter)
