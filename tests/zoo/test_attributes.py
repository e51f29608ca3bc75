"""Parents read plain attributes of what was replaced, and never its weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import dopant as dp
from dopant._attributes import plain_attributes
from dopant._place import DopantWarning

from .parts import lives, outputs_in_evaluation, same


class Reads(nn.Module):
    """Reads all sorts of attributes of its children, and calls them."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        self.norm = nn.LayerNorm(8)
        self.body = nn.Sequential(nn.Linear(8, 6), nn.ReLU())
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        margin = self.conv.kernel_size[0] - 1 - 2 * self.conv.padding[0]
        assert self.conv.bias is None
        x = self.conv(x).mean(1) + margin
        x = self.body(self.norm(x) * (1 + self.norm.eps))
        return self.head(x.reshape(-1, self.head.in_features)).reshape(x.shape[0], -1, self.head.out_features).sum(1)


@dp.component("zoo-conv", fills=nn.Conv2d)
def conv(old, signature):
    class Pointwise(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Parameter(torch.ones(old.out_channels))

        def forward(self, x):
            return torch.tanh(x) * self.mix[:, None, None]

    return Pointwise()


X = torch.randn(3, 1, 5, 8, generator=torch.Generator().manual_seed(0))
SWAPS = {"conv": "zoo-conv", "norm": "zoo-norm", "head": "zoo-linear"}


def test_attributes_that_the_parent_reads_are_answered_and_go_with_copies(tmp_path):
    network = lives(Reads, SWAPS, X, tmp_path)
    other = copy.deepcopy(network)
    assert other.conv.kernel_size == (3, 3)
    assert other.conv.bias is None
    assert other.norm.normalized_shape == (8,)
    assert other.norm.elementwise_affine is True
    assert (other.head.in_features, other.head.out_features) == (6, 4)
    assert same(outputs_in_evaluation(network, X), outputs_in_evaluation(other, X))
    torch.manual_seed(0)
    plain = nn.Module()
    plain.head = copy.deepcopy(other.head)
    assert list(plain.state_dict()) == ["head.down.weight", "head.down.bias", "head.up.weight", "head.up.bias"]


def test_without_the_answers_the_parent_would_fail():
    """The component itself lacks them: what is tested above is not its own doing."""
    host = Reads()
    host.head = dp.swap(nn.Sequential(nn.Linear(6, 4)), {"0": "zoo-linear"}, torch.randn(2, 6))[0]
    del vars(host.head)["in_features"]
    with pytest.raises(AttributeError, match="in_features"):
        host(X)


def test_the_replacements_own_attributes_are_never_shadowed():
    @dp.component("zoo-own", fills=nn.Linear)
    def own(old, signature):
        class Own(nn.Module):
            out_features = "of the class"

            def __init__(self):
                super().__init__()
                self.in_features = "of the instance"
                self.linear = nn.Linear(old.in_features, old.out_features)
                self.bias = nn.Parameter(torch.zeros(()))

            def forward(self, x):
                return self.linear(x) + self.bias

        return Own()

    old = nn.Linear(3, 2, bias=False)
    old.label, old.sizes, old.weights_too = "old", {"a": [1, 2]}, [torch.ones(2)]
    new = dp.swap(nn.Sequential(old), {"0": "zoo-own"}, torch.randn(2, 3))[0]
    assert (new.in_features, new.out_features) == ("of the instance", "of the class")
    assert isinstance(new.bias, nn.Parameter)
    assert new.label == "old"
    assert new.sizes == old.sizes
    assert new.sizes is not old.sizes
    for tensor in ("weight", "weights_too"):
        assert not hasattr(new, tensor)


class Insert(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.gain


dp.component("zoo-insert", mode="insert")(lambda old, signature: Insert())
FORMS = [{"component": "zoo-linear", "mix": 0.5}, "zoo-insert", {"component": "zoo-insert", "mix": 0.5}, "zoo-scaled"]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_mixed_inserted_and_wrapped_slots_answer_too(form):
    network = dp.swap(Reads(), {"head": form}, X)
    assert (network.head.in_features, network.head.out_features) == (6, 4)
    assert network(X).shape == (3, 4)


def test_a_property_is_answered_with_what_it_says_and_a_parametrised_weight_is_not_asked():
    class Half(nn.Linear):
        @property
        def middle(self):
            return self.out_features // 2

        @property
        def broken(self):
            raise RuntimeError

    old = nn.utils.parametrizations.spectral_norm(Half(6, 4))
    vectors = {name: b.clone() for name, b in old.named_buffers()}
    new = dp.swap(nn.Sequential(old), {"0": "zoo-linear"}, torch.randn(2, 6))[0]
    assert new.middle == 2
    assert not hasattr(new, "broken")
    assert not hasattr(new, "parametrizations")
    plain_attributes(old.train())  # in training each look at the weight would move the vectors
    assert all(torch.equal(vectors[name], b) for name, b in old.named_buffers())
    _ = old.weight
    assert not all(torch.equal(vectors[name], b) for name, b in old.named_buffers())


def test_a_group_that_changes_shapes_answers_no_numbers():
    @dp.component("zoo-narrow", fills=nn.Linear, mode="group", changes_shape=True)
    def narrow(old, signature):
        first, second = old
        inputs, outputs = signature[first].inputs[-1], signature[second].outputs[-1]
        return {first: nn.Sequential(nn.Linear(inputs, 2)), second: nn.Sequential(nn.Linear(2, outputs))}

    host = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    host[0].flag = True
    new = dp.swap(host, {"0+1": "zoo-narrow"}, torch.randn(2, 6))
    assert new[0].flag is True
    assert not hasattr(new[0], "out_features")


# --- weights that are read ------------------------------------------------------------------------------------------


class Functional(nn.Module):
    """Uses the weights of one child, calls another, does both with a third, and leaves a fourth alone."""

    def __init__(self):
        super().__init__()
        self.read, self.called, self.both, self.unused = (nn.Linear(4, 4) for _ in range(4))
        self.box = nn.ModuleDict({"deep": nn.Linear(4, 4)})

    def forward(self, x):
        x = nn.functional.linear(x, self.read.weight, self.read.bias)
        x = x @ self.box["deep"].weight.T
        assert self.called.weight.dtype == x.dtype  # a look, no use
        return self.called(self.both(x)) + self.both.bias


def test_what_is_read_and_what_is_called_are_told_apart():
    found = dp.slots(Functional(), torch.randn(2, 4))
    read = {name: signature.read for name, signature in found.items()}
    assert read == {
        "read": ("weight", "bias"),
        "called": (),
        "both": ("bias",),
        "unused": (),
        "box": ("deep.weight",),
        "box.deep": ("weight",),
    }


def refused(slot: str, component: str = "zoo-linear") -> str:
    with pytest.raises(dp.SlotMismatch) as caught:
        dp.swap(Functional(), {slot: component}, torch.randn(2, 4))
    return str(caught.value)


SENTENCE = "its parent reads its weights instead of calling it"


@pytest.mark.parametrize("slot", ["read", "box.deep", "both"])
def test_a_slot_whose_weights_are_read_is_refused_with_that_sentence(slot):
    assert SENTENCE in refused(slot)


def test_a_slot_that_nobody_touches_is_refused_as_never_called():
    text = refused("unused")
    assert "'unused' is never called in training or evaluation" in text
    assert SENTENCE not in text


def test_a_look_at_a_dtype_is_refused_with_that_sentence_where_the_replacement_has_no_weight():
    assert SENTENCE in refused("called")


def test_a_replacement_with_weights_of_the_same_names_is_used_and_a_warning_says_so():
    dp.component("zoo-plain-linear", fills=nn.Linear)(lambda old, signature: nn.Linear(4, 4))
    with pytest.warns(DopantWarning, match=r"'both'.*uses its bias directly; now it uses the bias of 'zoo-plain-lin"):
        network = dp.swap(Functional(), {"both": "zoo-plain-linear"}, torch.randn(2, 4))
    x = torch.randn(3, 4)
    before = network(x)
    with torch.no_grad():
        network.both.bias += 1
    shifted = before + network.called.weight.sum(1) + 1
    torch.testing.assert_close(network(x), shifted)


class FusedOnceScored(nn.Module):
    """As torch's fused path: it begins where no gradient is asked for. called: whether it calls the layer there too."""

    def __init__(self, called: bool):
        super().__init__()
        self.fc, self.called = nn.Linear(4, 4), called

    def forward(self, x):
        if self.training or torch.is_grad_enabled():
            return self.fc(x)
        y = nn.functional.linear(x, self.fc.weight, self.fc.bias)
        return y + 0 * self.fc(x) if self.called else y


def test_a_path_that_begins_without_gradients_is_seen_too():
    fc = dp.slots(FusedOnceScored(False), torch.randn(2, 4))["fc"]
    assert (fc.trained, fc.evaluated, fc.read) == (1, 0, ("weight", "bias"))
    with pytest.raises(dp.SlotMismatch, match=f"'fc' is never called in evaluation: {SENTENCE}"):
        dp.swap(FusedOnceScored(False), {"fc": "zoo-linear"}, torch.randn(2, 4))


def test_a_failure_that_would_come_at_the_first_validation_comes_at_the_swap():
    with pytest.raises(dp.SlotMismatch, match=f"fails in evaluation without gradients with 'zoo-linear'.*{SENTENCE}"):
        dp.swap(FusedOnceScored(True), {"fc": "zoo-linear"}, torch.randn(2, 4))


def test_a_host_that_needs_gradients_for_its_outputs_is_measured_and_swapped_all_the_same():
    class Force(nn.Module):
        def __init__(self):
            super().__init__()
            self.energy = nn.Linear(4, 1)

        def forward(self, x):
            x = x.detach().requires_grad_()
            return torch.autograd.grad(torch.tanh(self.energy(x)).sum(), x, create_graph=True)[0]

    found = dp.slots(Force(), torch.randn(2, 4))["energy"]
    assert (found.trained, found.evaluated) == (1, 1)
    assert dp.swap(Force(), {"energy": "zoo-linear"}, torch.randn(2, 4))(torch.randn(3, 4)).shape == (3, 4)


def test_weights_tied_to_a_module_that_is_called_are_not_read():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(torch.tanh(self.first(x)))

    assert all(not signature.read for signature in dp.slots(Tied(), torch.randn(2, 4)).values())


def test_measuring_reads_leaves_torch_as_it_was():
    dp.slots(Functional(), torch.randn(2, 4))
    assert not torch.overrides._is_torch_function_mode_enabled()
