"""Slots are filled as asked, or refused with every reason at once."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

import bad_components as bad
import dopant as dp
from dopant._place import DopantWarning, Inserted, Mixed
from dopant._swap import check_swaps, fill, why_not
from dopant.registry import components
from dopant.streams import Streams

SAMPLE = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.Dropout(0.3))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        return self.fc(self.body(self.act(self.norm(self.conv(x)))))


# --- components for these tests -------------------------------------------------------------------------------------


@dp.component("test-random-linear", fills=nn.Linear)
def random_linear(old, signature, *, draws: int = 1, scale: float = 1.0):
    """Draws a great deal while it is built, and more the larger `draws` is."""
    for _ in range(draws):
        torch.randn(1000)
    new = nn.Linear(old.in_features, old.out_features)
    with torch.no_grad():
        new.weight.mul_(scale)
    return new


@dp.component("test-given-generator")
def given_generator(old, signature, *, generator=None):
    shape = (signature.outputs[-1],)

    class Shift(nn.Module):
        def __init__(self):
            super().__init__()
            self.old = old
            self.shift = nn.Parameter(torch.randn(shape, generator=generator))

        def forward(self, *args):
            return self.old(*args) + self.shift

    return Shift()


@dp.component("test-narrow", fills=nn.Linear)
def narrow(old, signature):
    return nn.Linear(old.in_features, 8)


@dp.component("test-double", fills=nn.Linear)
def double(old, signature):
    class Double(nn.Linear):
        def forward(self, x):
            return super().forward(x).double()

    return Double(old.in_features, old.out_features)


@dp.component("test-picky", fills=lambda old, signature: None if old.out_features > 12 else "it wants over 12 outputs")
def picky(old, signature, *, qubits: int = 2):
    if 2**qubits < old.out_features:
        raise ValueError(f"{qubits} qubits give {2**qubits} outputs")
    return nn.Linear(old.in_features, old.out_features)


@dp.component("test-affine", fills=nn.Linear)
def affine(old, signature):
    return nn.Linear(old.in_features, old.out_features)


@dp.component("test-wrap", mode="wrap")
def wrap(old, signature):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.old, self.scale = old, nn.Parameter(torch.ones(()))

        def forward(self, *args, **kwargs):
            return self.scale * self.old(*args, **kwargs)

    return Scaled()


@dp.component("test-insert", mode="insert")
def insert(old, signature):
    class Leaky(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(0.9))

        def forward(self, x):
            return torch.where(x > 0, x, self.slope * x)

    return Leaky()


@dp.component("test-group", fills=nn.Linear, mode="group", changes_shape=True)
def group(old, signature, *, width: int = 3):
    first, second = old
    return {
        first: nn.Linear(signature[first].inputs[-1], width),
        second: nn.Linear(width, signature[second].outputs[-1]),
    }


@dp.component("test-control", control="ablation")
def control(old, signature, *, target=None):
    assert isinstance(target, nn.Module)
    new = nn.Sequential(target)
    new.was = type(target).__name__  # type: ignore[assignment]
    return new


@dp.component("test-no-module")
def no_module(old, signature):
    return 3


def refused(swaps, model=None, sample=SAMPLE, error=dp.DopantError) -> str:
    with pytest.raises(error) as caught:
        dp.swap(model or Net(), swaps, sample)
    return str(caught.value)


# --- what a swap gives ----------------------------------------------------------------------------------------------


def test_a_swap_replaces_the_slot_and_leaves_the_argument_alone():
    net = Net()
    before = {n: v.clone() for n, v in net.state_dict().items()}
    new = dp.swap(net, {"fc": "test-random-linear"}, SAMPLE)
    assert new is not net
    assert not torch.equal(new.fc.weight, net.fc.weight)
    assert all(torch.equal(before[n], v) for n, v in net.state_dict().items())
    assert new.fc.training == net.fc.training
    assert new(SAMPLE).shape == (4, 10)


@pytest.mark.parametrize("draws", [1, 50])
def test_pairing_untouched_weights_are_bit_identical_however_much_a_component_draws(draws):
    net = Net()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    new = dp.swap(net, {"body.1": {"component": "test-random-linear", "draws": draws}}, SAMPLE, seed=5)
    assert torch.equal(state, torch.get_rng_state())
    old_state, new_state = net.state_dict(), new.state_dict()
    assert list(old_state) == list(new_state)
    for name in old_state:
        same = torch.equal(old_state[name], new_state[name])
        assert same == (name not in ("body.1.weight", "body.1.bias")), name


def test_a_component_is_a_function_of_seed_and_slot_and_of_no_other_swap():
    def weight(swaps, slot="fc", seed=0):
        return dp.swap(Net(), swaps, SAMPLE, seed=seed).get_submodule(slot).weight

    alone = weight({"fc": "test-random-linear"})
    beside = weight({"body.1": {"component": "test-random-linear", "draws": 9}, "fc": "test-random-linear"})
    assert torch.equal(alone, beside)
    assert not torch.equal(alone, weight({"fc": "test-random-linear"}, seed=1))
    square = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    both = dp.swap(square, {"0": "test-random-linear", "1": "test-random-linear"}, torch.randn(2, 6))
    assert not torch.equal(both[0].weight, both[1].weight)


def test_a_generator_that_is_asked_for_is_the_slots_stream():
    new = dp.swap(Net(), {"fc": "test-given-generator"}, SAMPLE, seed=2)
    expected = torch.randn(10, generator=Streams(2).generator("slot:fc"))
    assert torch.equal(new.fc.shift, expected)


def test_options_reach_the_factory():
    plain = dp.swap(Net(), {"fc": "test-random-linear"}, SAMPLE)
    scaled = dp.swap(Net(), {"fc": {"component": "test-random-linear", "scale": 4.0}}, SAMPLE)
    assert torch.equal(scaled.fc.weight, 4 * plain.fc.weight)


def test_no_swap_at_all_is_a_copy():
    net = Net()
    new = fill(net, {}, None, Streams(0), laws=True)
    assert new is not net
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), new.state_dict().values(), strict=True))


def test_mix_zero_is_the_old_module_itself_one_the_new_and_between_a_blend():
    net = Net().eval()
    x = torch.randn(5, 16)
    parts = {}
    for mix in (0, 0.25, 1):
        parts[mix] = dp.swap(net, {"fc": {"component": "test-random-linear", "mix": mix}}, SAMPLE).fc
    assert type(parts[0]) is nn.Linear
    assert torch.equal(parts[0].weight, net.fc.weight)
    assert type(parts[1]) is nn.Linear
    assert isinstance(parts[0.25], Mixed)
    assert not parts[0.25].training
    torch.testing.assert_close(parts[0.25](x), 0.75 * net.fc(x) + 0.25 * parts[1](x))
    assert torch.equal(parts[0.25].new.weight, parts[1].weight)


def test_wrapping_keeps_the_old_modules_weights_inside():
    net = Net()
    new = dp.swap(net, {"body.1": "test-wrap"}, SAMPLE)
    assert torch.equal(new.body[1].old.weight, net.body[1].weight)
    assert new.body[1].scale.requires_grad
    mixed = dp.swap(net, {"fc": {"component": "test-wrap", "mix": 0.5}}, SAMPLE).fc
    assert mixed.old is mixed.new.old  # one set of weights, not two


def test_wrapping_a_batch_norm_is_not_refused_for_what_the_batch_norm_does():
    assert isinstance(dp.swap(Net(), {"norm": "test-wrap"}, SAMPLE).norm.old, nn.BatchNorm2d)


def test_inserting_puts_the_component_after_the_old_module():
    net = Net().eval()
    new = dp.swap(net, {"fc": "test-insert"}, SAMPLE)
    assert isinstance(new.fc, Inserted)
    x = torch.randn(3, 16)
    y = net.fc(x)
    torch.testing.assert_close(new.fc(x), torch.where(y > 0, y, 0.9 * y))
    half = dp.swap(net, {"fc": {"component": "test-insert", "mix": 0.5}}, SAMPLE).fc
    torch.testing.assert_close(half(x), torch.where(y > 0, y, 0.95 * y))


def test_a_group_fills_its_slots_together_and_may_change_the_shape_between_them():
    net = Net()
    new = dp.swap(net, {"body.1+fc": {"component": "test-group", "width": 5}}, SAMPLE)
    assert new.body[1].out_features == new.fc.in_features == 5
    assert new(SAMPLE).shape == (4, 10)


def test_device_dtype_and_mode_of_the_old_module_are_carried_over():
    net = Net().double().eval()
    new = dp.swap(net, {"fc": "test-affine"}, SAMPLE.double())
    assert new.fc.weight.dtype is torch.float64
    assert not new.fc.training
    frozen_part = Net()
    frozen_part.fc.eval()
    assert not dp.swap(frozen_part, {"fc": "test-affine"}, SAMPLE).fc.training


def test_complex_parameters_keep_their_imaginary_part_in_a_double_host():
    @dp.component("test-complex", fills=nn.Linear)
    def factory(old, signature):
        class Complex(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.randn(16, 10, dtype=torch.complex64))

            def forward(self, x):
                return (x.to(self.weight.dtype) @ self.weight).abs()

        return Complex()

    new = dp.swap(Net().double(), {"fc": "test-complex"}, SAMPLE.double())
    assert new.fc.weight.dtype is torch.complex128
    assert new.fc.weight.imag.abs().max() > 0


class Shared(nn.Module):
    """One linear layer under two names, called twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.inner = nn.ModuleDict({"second": self.first})

    def forward(self, x):
        return self.inner["second"](torch.tanh(self.first(x)))


def test_a_module_registered_twice_is_replaced_under_both_names():
    new = dp.swap(Shared(), {"inner.second": "test-affine"}, torch.randn(3, 6))
    assert new.first is new.inner["second"]


class TiedLanguageModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.body = nn.Linear(6, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.body(self.embedding(tokens)))


def test_untying_weights_warns_and_keeping_them_tied_does_not():
    tokens = torch.randint(0, 11, (3, 5), generator=torch.Generator().manual_seed(0))
    with pytest.warns(DopantWarning, match=r"'head'.*tied to 'embedding.weight'"):
        dp.swap(TiedLanguageModel(), {"head": "test-affine"}, tokens)
    new = dp.swap(TiedLanguageModel(), {"head": "test-wrap", "body": "test-affine"}, tokens)
    assert new.head.old.weight is new.embedding.weight


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def test_an_lstm_may_be_replaced_by_another_that_returns_the_same_tree():
    @dp.component("test-gru", fills=nn.LSTM)
    def gru(old, signature):
        class Gru(nn.Module):
            def __init__(self):
                super().__init__()
                self.gru = nn.GRU(old.input_size, old.hidden_size, batch_first=True)

            def forward(self, x):
                y, h = self.gru(x)
                return y, (h, 2 * h)

        return Gru()

    new = dp.swap(Recurrent(), {"lstm": "test-gru"}, torch.randn(2, 7, 5))
    assert new(torch.randn(4, 7, 5)).shape == (4, 3)
    mixed = dp.swap(Recurrent(), {"lstm": {"component": "test-gru", "mix": 0.5}}, torch.randn(2, 7, 5))
    assert mixed(torch.randn(4, 7, 5)).shape == (4, 3)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x, mask=None):
        return self.encoder(x, src_key_padding_mask=mask)


def test_a_slot_inside_a_transformer_is_called_in_evaluation_under_no_grad_too():
    x, mask = torch.randn(2, 6, 8), torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
    new = dp.swap(Encoder(), {"encoder.layers.0.linear1": "test-affine"}, dp.Call(x, mask)).eval()
    called = []
    inner = new.encoder.layers[0].linear1
    # No hook, which would switch the fast path off by itself.
    inner.forward = lambda x: called.append(1) or nn.Linear.forward(inner, x)
    with torch.no_grad():
        without = new(x, mask)
    assert called
    torch.testing.assert_close(without, new(x, mask))
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_tuple_output_with_none_is_a_signature_like_any_other():
    @dp.component("test-attention", fills=nn.MultiheadAttention)
    def attention(old, signature):
        class Mean(nn.Module):
            def __init__(self):
                super().__init__()
                self.out = nn.Linear(old.embed_dim, old.embed_dim)
                self.batch_first = True

            def forward(self, query, key, value, **kwargs):
                return self.out(query + key + value), None

        return Mean()

    new = dp.swap(Encoder(), {"encoder.layers.1.self_attn": "test-attention"}, torch.randn(2, 6, 8)).eval()
    with torch.no_grad():
        assert new(torch.randn(3, 6, 8)).shape == (3, 6, 8)


def test_a_control_gets_the_component_it_stands_for_built_from_the_same_stream():
    spec = {"component": "test-random-linear", "scale": 2.0}
    target = dp.swap(Net(), {"fc": spec}, SAMPLE).fc
    stood_for = dp.swap(Net(), {"fc": {"component": "test-control", "of": spec}}, SAMPLE).fc
    assert torch.equal(stood_for[0].weight, target.weight)
    net = Net()
    assert torch.equal(dp.swap(net, {"fc": "test-control"}, SAMPLE).fc[0].weight, net.fc.weight)


def test_the_quick_laws_cost_far_less_than_a_tenth_of_a_second():
    x = torch.randn(4, 16)
    net = nn.Sequential(nn.Linear(16, 10))
    dp.swap(net, {"0": "test-affine"}, x)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        dp.swap(net, {"0": "test-affine"}, x)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.1


# --- what is refused ------------------------------------------------------------------------------------------------


def test_the_wrong_shape_is_refused_with_both_shapes():
    text = refused({"fc": "test-narrow"}, error=dp.SlotMismatch)
    assert text == "slot 'fc' gives (10,) but 'test-narrow' gives (8,)"


def test_the_wrong_dtype_is_refused():
    text = refused({"fc": "test-double"}, error=dp.SlotMismatch)
    assert "gives float32(batch, 10) but 'test-double' gives float64(batch, 10)" in text


def test_an_unknown_slot_or_component_is_named_with_the_nearest():
    with pytest.raises(dp.UnknownName) as caught:
        dp.swap(Net(), {"boddy.1": "test-affine"}, SAMPLE)
    assert caught.value.suggestions[0] == "body.1"
    assert "'test-affine'" in refused({"fc": "test-afine"}, error=dp.UnknownName)


def test_bad_options_are_refused_with_the_nearest():
    text = refused({"fc": {"component": "test-random-linear", "scal": 2}}, error=dp.ConfigError)
    assert "slot 'fc'" in text
    assert "did you mean 'scale'" in text


@pytest.mark.parametrize("mix", [-0.1, 1.5, "half", True, None])
def test_a_bad_mix_is_refused(mix):
    assert "from 0 (old) to 1 (new)" in refused({"fc": {"component": "test-affine", "mix": mix}}, error=dp.ConfigError)


@pytest.mark.parametrize("value", [3, None, {"name": "test-affine"}, ["test-affine"]])
def test_a_swap_that_is_no_swap_is_refused(value):
    assert "slot 'fc'" in refused({"fc": value}, error=dp.ConfigError)


def test_fills_is_checked_and_its_reason_given():
    assert "it fills Linear, and this is Conv2d" in refused({"conv": "test-affine"}, error=dp.SlotMismatch)
    assert "it wants over 12 outputs" in refused({"fc": "test-picky"}, error=dp.SlotMismatch)


def test_what_a_factory_raises_names_slot_and_component():
    text = refused({"body.1": {"component": "test-picky", "qubits": 3}}, error=dp.ConfigError)
    assert "slot 'body.1': 'test-picky' cannot be built: ValueError: 3 qubits give 8 outputs" in text
    assert "returns int, not a module" in refused({"fc": "test-no-module"}, error=dp.ConfigError)


def test_nested_slots_are_refused():
    text = refused({"body": "test-wrap", "body.1": "test-affine"}, error=dp.ConfigError)
    assert "slot 'body.1' lies within slot 'body'" in text


def test_doubled_swaps_are_refused_under_any_name():
    x = torch.randn(3, 6)
    text = refused({"first": "test-affine", "inner.second": "test-affine"}, Shared(), x, dp.ConfigError)
    assert "filled twice: 'first' and 'inner.second' are one module" in text
    text = refused({"body.1+fc": "test-group", "fc": "test-affine"}, error=dp.ConfigError)
    assert "'fc' is filled twice" in text


def test_a_component_for_one_slot_does_not_fill_a_group():
    assert "fills one slot" in refused({"body.1+fc": "test-affine"}, error=dp.ConfigError)


def test_a_group_that_changes_shapes_has_no_mix():
    assert "no mix" in refused({"body.1+fc": {"component": "test-group", "mix": 0.5}}, error=dp.ConfigError)


class Bypasses(nn.Module):
    """Calls its layer in one mode only, and uses its weights directly in the other."""

    def __init__(self, called_in_training: bool):
        super().__init__()
        self.fc, self.when = nn.Linear(4, 3), called_in_training

    def forward(self, x):
        if self.training == self.when:
            return self.fc(x)
        return nn.functional.linear(x, self.fc.weight, self.fc.bias)


@pytest.mark.parametrize(("when", "mode"), [(True, "evaluation"), (False, "training")])
def test_a_replacement_that_one_mode_never_calls_is_refused(when, mode):
    text = refused({"fc": "test-affine"}, Bypasses(when), torch.randn(2, 4), dp.SlotMismatch)
    assert f"'fc' is never called in {mode}" in text


class PicksByClass(nn.Module):
    """Calls its layer only while it is the layer that it knows."""

    def __init__(self):
        super().__init__()
        self.fc, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x) if type(self.fc) is nn.Linear else self.spare(x)


def test_a_replacement_that_the_host_bypasses_is_refused():
    text = refused({"fc": "test-wrap"}, PicksByClass(), torch.randn(2, 4), dp.SlotMismatch)
    assert "'test-wrap': slot 'fc' is never called in training or evaluation" in text


def test_a_host_that_reads_an_attribute_of_the_old_module_fails_with_a_useful_word():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            return self.fc(x) + self.fc.bias

    text = refused({"fc": "test-wrap"}, Reads(), torch.randn(2, 4), dp.SlotMismatch)
    assert "the host fails with 'test-wrap' in 'fc'" in text
    assert "'bias'" in text


def test_a_group_that_changes_what_the_host_gives_is_refused():
    @dp.component("test-group-wrong", fills=nn.Linear, mode="group", changes_shape=True)
    def wrong(old, signature):
        first, second = old
        return {first: nn.Linear(signature[first].inputs[-1], 3), second: nn.Linear(3, 7)}

    text = refused({"body.1+fc": "test-group-wrong"}, error=dp.SlotMismatch)
    assert "the host gives (7,) instead of (10,)" in text


def test_all_problems_of_a_request_come_at_once():
    request = {
        "fcc": "test-affine",
        "conv": "test-affine",
        "fc": "test-narrow",
        "body.1": {"component": "test-random-linear", "scal": 1, "mix": 7},
        "act": "no-such-component",
    }
    with pytest.raises(dp.ConfigError) as caught:
        dp.swap(Net(), request, SAMPLE)
    text = "\n".join(caught.value.problems)
    for part in ("'fcc'", "it fills Linear", "gives (8,)", "'scal'", "mix is 7", "no-such-component"):
        assert part in text
    assert len(caught.value.problems) == 6


def test_problems_of_one_kind_keep_their_class():
    with pytest.raises(dp.SlotMismatch) as caught:
        dp.swap(Net(), {"fc": "test-narrow", "body.1": "test-double"}, SAMPLE)
    assert len(caught.value.problems) == 2


def test_several_cells_are_checked_at_once_without_raising():
    cells = [{}, {"fc": "test-affine"}, {"fc": "test-narrow"}, {"fc": "test-narrow", "conv": "test-affine"}]
    found = check_swaps(Net(), cells, SAMPLE, Streams(0))
    assert len(found) == 2
    assert check_swaps(Net(), cells[:2], SAMPLE, Streams(0)) == []


def test_a_broken_law_is_found_in_every_cell_it_first_appears_in():
    dp.component("test-swap-leaks", fills=nn.Linear)(
        lambda old, signature: type("Centres", (nn.Linear,), {"forward": _centre})(old.in_features, old.out_features)
    )
    found = check_swaps(Net(), [{"fc": "test-affine"}, {"fc": "test-swap-leaks"}], SAMPLE, Streams(0))
    assert [("'no-leak'" in line or "'batch'" in line) for line in found] == [True, True]


def _centre(self, x):
    y = nn.Linear.forward(self, x)
    return y - y.mean(0)


def test_a_component_that_changes_its_input_is_refused_by_name_of_the_law():
    @dp.component("test-inplace", fills=nn.Linear)
    def inplace(old, signature):
        class InPlace(nn.Linear):
            def forward(self, x):
                return super().forward(x.clamp_(-0.1, 0.1))

        return InPlace(old.in_features, old.out_features)

    with pytest.raises(dp.ComponentRefused) as caught:
        dp.swap(Net(), {"fc": "test-inplace"}, SAMPLE)
    assert caught.value.law == "input-kept"


def test_why_not_gives_the_reason_or_none():
    signatures = dp.slots(Net(), SAMPLE)
    net = Net()

    def reason(component, slot):
        return why_not(components.get(component), net.get_submodule(slot), signatures[slot])

    assert reason("test-affine", "fc") is None
    assert "it fills Linear" in reason("test-affine", "conv")
    assert "gives (8,)" in reason("test-narrow", "fc")
    assert "2 qubits give 4 outputs" in reason("test-picky", "body.1")
    assert reason("test-group", "fc") is not None


def test_untouched_modules_are_honest_ones():
    """The helpers of the law tests fill a host, too."""
    dp.component("test-honest", fills=nn.Linear)(lambda old, signature: bad.Honest(old.in_features, old.out_features))
    assert isinstance(dp.swap(Net(), {"fc": "test-honest"}, SAMPLE).fc, bad.Honest)
