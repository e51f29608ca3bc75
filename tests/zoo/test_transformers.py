"""torch's own transformers: what is trained is what is evaluated, and every part of a layer can be swapped."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn

import dopant as dp
from dopant._attention import keep_plain

from .parts import lives, outputs_in_evaluation, same, tensors, train

SIZES = {"d_model": 8, "nhead": 2, "dim_feedforward": 16, "dropout": 0.0}
PADDING = torch.tensor([[False] * 6, [False] * 4 + [True] * 2, [False] * 1 + [True] * 5])
SWAPS = {
    "encoder.layers.0.self_attn": "zoo-attention",
    "encoder.layers.0.linear1": "zoo-linear",
    "encoder.layers.0.norm1": "zoo-norm",
    "encoder.layers.1.self_attn": "zoo-attention",
    "encoder.layers.1.linear1": "zoo-linear",
    "encoder.layers.1.norm1": "zoo-norm",
}


class Encoder(nn.Module):
    """The stock encoder, given the batch first whatever its layers want."""

    def __init__(self, batch_first: bool):
        super().__init__()
        layer = nn.TransformerEncoderLayer(**SIZES, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=batch_first)
        self.batch_first = batch_first

    def forward(self, x, padding=None):
        x = x if self.batch_first else x.transpose(0, 1)
        y = self.encoder(x, src_key_padding_mask=padding)
        return y if self.batch_first else y.transpose(0, 1)


def sample() -> dp.Call:
    return dp.Call(torch.randn(3, 6, 8), PADDING)


def in_training_and_evaluation(model: nn.Module, call: dp.Call) -> tuple[torch.Tensor, torch.Tensor]:
    model.train()
    trained = model(*call.args)
    return trained.detach(), outputs_in_evaluation(model, call)


CELLS = [{}, {"encoder.layers.0.linear1": "zoo-linear"}, {"encoder.layers.1": "zoo-scaled"}, SWAPS]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("swaps", CELLS, ids=["level-0", "one", "layer", "all"])
def test_training_and_evaluation_give_the_same_bits_padded_positions_too(batch_first, swaps):
    network, call = dp.swap(Encoder(batch_first), swaps, sample()), sample()
    trained, evaluated = in_training_and_evaluation(network, call)
    assert torch.equal(trained, evaluated)
    assert evaluated[PADDING].abs().min() > 0  # the fused path would have left zeros there
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_the_untouched_encoder_differs_from_itself_on_torchs_own_path():
    """Why it is switched off: this is what the tests above would see without."""
    trained, evaluated = in_training_and_evaluation(Encoder(True), sample())
    assert not torch.equal(trained[PADDING], evaluated[PADDING])


@pytest.mark.parametrize("setting", [True, False])
def test_a_call_leaves_torchs_setting_as_the_user_had_it_and_an_error_does_too(setting):
    network = keep_plain(Encoder(True))
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(setting)
    try:
        outputs_in_evaluation(network, sample())
        with pytest.raises((RuntimeError, AssertionError)):
            network(torch.randn(3, 6, 7))
        assert torch.backends.mha.get_fastpath_enabled() == setting
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_feed_forward_and_norm_of_both_layers_live_as_replacements(batch_first, tmp_path: Path):
    network = lives(lambda: Encoder(batch_first), SWAPS, sample(), tmp_path)
    trained, evaluated = in_training_and_evaluation(network, sample())
    assert trained.shape == evaluated.shape
    found = dp.slots(network, sample())
    assert all((found[slot].trained, found[slot].evaluated) == (1, 1) for slot in SWAPS)


def test_a_whole_layer_answers_what_the_encoder_asks_of_its_attention():
    @dp.component("zoo-layer", fills=nn.TransformerEncoderLayer)
    def layer(old, signature):
        class Layer(nn.Module):
            def __init__(self):
                super().__init__()
                self.mix = nn.Linear(8, 8)

            def forward(self, x, src_mask=None, is_causal=False, src_key_padding_mask=None):
                return x + torch.tanh(self.mix(x))

        return Layer()

    network = dp.swap(Encoder(True), {"encoder.layers.0": "zoo-layer"}, sample())
    first = network.encoder.layers[0]
    assert first.self_attn.batch_first is True
    assert first.self_attn.num_heads == 2
    assert first.norm1.eps == 1e-5
    assert first.linear2.in_features == 16
    with pytest.raises(AttributeError, match=r"'encoder.layers.0.linear1' went with the module.*'weight'"):
        _ = first.linear1.weight
    assert set(network.state_dict()) == set(dp.swap(Encoder(True), {}, sample()).state_dict()) - {
        f"encoder.layers.0.{name}" for name in nn.TransformerEncoderLayer(**SIZES).state_dict()
    } | {"encoder.layers.0.mix.weight", "encoder.layers.0.mix.bias"}


def test_the_projection_that_attention_reads_instead_of_calling_is_refused():
    slot = "encoder.layers.0.self_attn.out_proj"
    assert dp.slots(Encoder(True), sample())[slot].read == ("weight", "bias")
    with pytest.raises(dp.SlotMismatch, match=r"its parent reads its weights instead of calling it \(weight, bias\)"):
        dp.swap(Encoder(True), {slot: "zoo-linear"}, sample())
    with pytest.raises(dp.SlotMismatch, match="its parent reads its weights instead of calling it"):
        _ = dp.slots(Encoder(True), sample())[slot].inputs


@pytest.mark.parametrize("mix", [0.25, 0.5])
def test_a_mixed_slot_answers_for_the_old_module_too(mix):
    swaps = {slot: {"component": name, "mix": mix} for slot, name in SWAPS.items()}
    network = dp.swap(Encoder(True), swaps, sample())
    assert network.encoder.layers[0].self_attn.batch_first is True
    assert network.encoder.layers[1].linear1.out_features == 16
    assert torch.equal(*in_training_and_evaluation(network, sample()))


class Attends(nn.Module):
    """Attention without an encoder layer around it has a fused path of its own."""

    def __init__(self):
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x, padding=None):
        return self.out(self.attention(x, x, x, key_padding_mask=padding, need_weights=False)[0])


@pytest.mark.parametrize("swaps", [{}, {"out": "zoo-linear"}], ids=["level-0", "swapped"])
def test_attention_alone_gives_the_same_bits_in_both_modes(swaps):
    assert torch.equal(*in_training_and_evaluation(dp.swap(Attends(), swaps, sample()), sample()))


class Whole(nn.Module):
    """Encoder, decoder and causal mask: torch's whole transformer."""

    def __init__(self):
        super().__init__()
        self.transformer = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True)

    def forward(self, source, target):
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        return self.transformer(source, target, tgt_mask=mask, tgt_is_causal=True)


def test_the_whole_transformer_is_a_host(tmp_path: Path):
    swaps = {
        "transformer.encoder.layers.0.linear1": "zoo-linear",
        "transformer.decoder.layers.0.linear2": "zoo-linear",
        "transformer.decoder.layers.0.multihead_attn": "zoo-scaled",
        "transformer.decoder.norm": "zoo-norm",
    }
    call = dp.Call(torch.randn(3, 5, 8), torch.randn(3, 4, 8))
    network = lives(Whole, swaps, call, tmp_path)
    assert torch.equal(*in_training_and_evaluation(network, call))


class Classifier(nn.Module):
    """Rows of an image as a sequence; the darkest rows at the end count as padding."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(**SIZES, batch_first=True), 1)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = x.flatten(1).reshape(-1, 8, 8)
        padding = torch.arange(8)[None] >= 4 + (x[:, 0].sum(1, keepdim=True) > 0) * 4
        return self.head(self.encoder(x, src_key_padding_mask=padding).mean(1))


def scores_through_logits(model, streams, log, folder, data):
    """A loop of one's own, which trains a little and says what it evaluates on the first test items."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data.train.inputs[:32]), data.train.targets[:32]).backward()
        optimizer.step()
    x = data.test.inputs[:16]
    trained = model(x).detach()
    model.eval()
    with torch.no_grad():
        evaluated = model(x)
    return {"accuracy": 0.5, "equal": float(torch.equal(trained, evaluated)), "setting": float(fast())}, {
        "evaluated": evaluated
    }


def fast() -> bool:
    return torch.backends.mha.get_fastpath_enabled()


LADDER = [{"encoder.layers.0.linear1": "zoo-linear"}, {"encoder.layers.0.norm1": "zoo-norm"}]


def test_ones_own_loop_evaluates_what_it_trained_on_every_level(tmp_path: Path):
    ladder = dp.Ladder(Classifier).level(**LADDER[0]).level(**LADDER[1])
    answer = dp.run(
        ladder, data="digits", train=scores_through_logits, replicates=1, controls=False, out=tmp_path / "custom"
    )
    assert list(answer.trials["status"]) == ["done"] * 3
    assert list(answer.trials["equal"]) == [1.0] * 3
    assert list(answer.trials["setting"]) == [1.0] * 3  # whatever happens within calls, the setting is the user's
    assert fast()


def test_the_networks_of_an_answer_are_the_ones_that_the_trials_evaluated(tmp_path: Path):
    ladder = dp.Ladder(Classifier).level(**LADDER[0]).level(**LADDER[1])
    recipe = dp.Recipe(lr=3e-3, batch=128, epochs=1)
    answer = dp.run(ladder, data="digits", recipe=recipe, replicates=1, controls=False, out=tmp_path / "supervised")
    assert fast()
    data = dp.dataset("digits")
    for trial in answer.trials["trial"]:
        network = answer.model(trial)
        with torch.no_grad():
            outputs = torch.cat([network(data.test.inputs[part]) for part in torch.arange(len(data.test)).split(128)])
        loss = float(nn.functional.cross_entropy(outputs, data.test.targets))
        row = answer.trials.set_index("trial").loc[trial]
        assert loss == pytest.approx(row["test_loss"], rel=1e-6)
        items = answer.store.items(trial)
        assert torch.equal(torch.as_tensor(items["prediction"]), outputs.argmax(1))
        trained, evaluated = (
            network.train()(data.test.inputs[:50]),
            outputs_in_evaluation(network, data.test.inputs[:50]),
        )
        assert torch.equal(trained, evaluated)


def test_every_pair_of_cells_trains_from_the_same_untouched_weights():
    torch.manual_seed(0)
    host, call = Encoder(True), sample()
    networks = [dp.swap(host, swaps, call) for swaps in CELLS]
    for a, b in itertools.combinations(networks, 2):
        common = [n for n, p in a.named_parameters() if n in dict(b.named_parameters())]
        kept = [n for n in common if n in dict(host.named_parameters())]
        assert all(torch.equal(a.get_parameter(n), b.get_parameter(n)) for n in kept)
    before = [t.clone() for t in tensors(outputs_in_evaluation(networks[0], call))]
    train(networks[1], call)
    assert same(before, outputs_in_evaluation(networks[0], call))
