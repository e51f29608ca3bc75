"""The control on shuffled labels: the component's own cell but for the labels it is trained on."""

from __future__ import annotations

import pytest
import torch
from keepers import MemoryKeeper, Stopped
from torch import nn

import dopant as dp
from dopant._swap import fill
from dopant.cost import ledger
from dopant.datasets.source import load_source
from dopant.registry import ComponentInfo
from dopant.streams import Streams
from dopant.training.loop import Loop, tensors_of


@pytest.fixture(scope="module")
def digits():
    return load_source("digits").draw(Streams(0), None)


class Dropping(nn.Module):
    """A component with dropout of its own, which notes what it is called with and which masks it drew in training."""

    def __init__(self, old):
        super().__init__()
        self.linear = nn.Linear(old.in_features, old.out_features)
        self.drop = nn.Dropout(0.4)
        self.inputs: list[torch.Tensor] = []
        self.masks: list[torch.Tensor] = []

    def forward(self, x):
        y = self.drop(torch.ones_like(x))
        if self.training and torch.is_grad_enabled():
            self.inputs.append(x.detach().clone())
            self.masks.append(y.clone())
        return self.linear(x * y)


DROPPING = ComponentInfo("dropping", lambda old, signature: Dropping(old), fills=nn.Linear)


def host() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10)
    )


def loop_of(swap, digits, keeper=None, epochs=3) -> Loop:
    model = host() if swap is None else fill(host(), {"2": swap}, digits.sample(), Streams(0), laws=True)
    recipe = dp.Recipe(lr=3e-3, batch=64, epochs=epochs)
    return Loop(model, digits, recipe, Streams(0), keeper or MemoryKeeper(), epochs=epochs, slots=["2"])


SHUFFLED = {"component": "shuffled-labels", "of": {"component": DROPPING}}


def test_inputs_masks_and_starting_weights_are_those_of_the_component_s_own_cell(digits):
    own, control = loop_of({"component": DROPPING}, digits, epochs=1), loop_of(SHUFFLED, digits, epochs=1)
    a, b = own.model[2], control.model[2].inner
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    own.run(), control.run()
    assert len(a.masks) == len(b.masks) > 10
    assert all(torch.equal(x, y) for x, y in zip(a.masks, b.masks, strict=True))
    assert all(torch.equal(x, y) for x, y in zip(a.inputs, b.inputs, strict=True))
    assert not torch.equal(a.linear.weight, b.linear.weight)  # the labels differ


def test_an_old_module_under_shuffled_labels_draws_what_it_drew_before(digits):
    """The host's own dropouts, and one that is itself the slot."""
    masks = {}
    for name, swap in (("plain", None), ("shuffled", "shuffled-labels")):
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
        if swap:
            model = dp.swap(model, {"1": swap}, digits.sample())
        torch.nn.init.zeros_(model[2].weight)
        seen = masks[name] = []
        model[2].register_forward_pre_hook(lambda m, args, seen=seen: seen.append(args[0] == 0) if m.training else None)
        Loop(model, digits, dp.Recipe(batch=64, epochs=1), Streams(0), MemoryKeeper(), epochs=1, slots=[]).run()
    assert all(torch.equal(x, y) for x, y in zip(masks["plain"], masks["shuffled"], strict=True))


def test_the_labels_are_a_permutation_of_the_split_s_and_a_new_one_each_replicate(digits):
    loop = loop_of(SHUFFLED, digits, epochs=1)
    loop.run()
    true = digits.train.targets
    assert torch.equal(loop.targets.sort().values, true.sort().values)
    assert float((loop.targets == true).double().mean()) < 0.2  # a tenth agree by chance
    drawn = torch.randperm(len(true), generator=Streams(0).generator("targets:2"))
    assert torch.equal(loop.targets, true[drawn])
    other = Loop(
        loop.model, digits, dp.Recipe(batch=64), Streams(0, 1), MemoryKeeper(), epochs=0, slots=[]
    )  # fmt: skip
    other.run()
    assert not torch.equal(other.targets, loop.targets)


def test_a_host_still_reads_what_it_reads_of_the_module_there():
    host = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1, enable_nested_tensor=False
    )  # fmt: skip
    x = torch.randn(4, 6, 8)
    new = dp.swap(host, {"layers.0.self_attn": "shuffled-labels"}, x)
    assert torch.allclose(new.eval()(x), host.eval()(x))
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = new.layers[0].self_attn.nothing_of_the_kind


def test_its_costs_are_counted_once():
    class Costly(nn.Identity):
        def cost(self):
            return {"qubits": 4, "gates": 10}

        def flops(self, batch):
            return 100 * batch

    of = {"component": ComponentInfo("costly", lambda old, signature: Costly())}
    new = dp.swap(nn.Sequential(nn.ReLU()), {"0": {"component": "shuffled-labels", "of": of}}, torch.randn(4, 3))
    costs = ledger(new, torch.randn(2, 3), 2, batch=8)
    assert costs["gates"] == 10 and costs["flops_declared"] == pytest.approx(100)


def test_all_tensors_of_the_targets_move_together():
    from dopant.components.ordinary.shuffled_labels import ShuffledLabels

    targets = {"label": torch.arange(50), "box": torch.arange(100).view(50, 2)}
    torch.manual_seed(0)
    found = ShuffledLabels(nn.Identity()).training_targets(targets)
    assert torch.equal(found["box"][:, 0], 2 * found["label"])
    assert not torch.equal(found["label"], targets["label"])
    assert torch.equal(targets["label"], torch.arange(50))


def test_what_is_learnt_from_shuffled_labels_is_worth_no_more_than_chance(digits):
    control, own = (loop_of(swap, digits, epochs=12) for swap in (SHUFFLED, {"component": DROPPING}))
    scores = []
    for loop in (control, own):
        loop.run(reads_test=True)
        scores.append(loop.test().means("")["accuracy"])
    n = len(digits.test)
    assert scores[0] < 0.1 + 5 * (0.1 * 0.9 / n) ** 0.5 + 0.05  # chance, and a spread of five standard errors and more
    assert scores[1] > 0.85


@pytest.mark.parametrize(("stop_at", "every"), [(1, None), (9, 4), (30, None)])
def test_a_training_on_shuffled_labels_resumes_to_the_bit(digits, stop_at, every):
    undisturbed = loop_of(SHUFFLED, digits)
    undisturbed.run()
    cut = MemoryKeeper(stop_at=stop_at, every=every)
    with pytest.raises(Stopped):
        loop_of(SHUFFLED, digits, cut).run()
    resumed = loop_of(SHUFFLED, digits, MemoryKeeper(state=cut.states[-1] if cut.states else None))
    torch.manual_seed(7)
    resumed.run()
    a, b = tensors_of(undisturbed.model), tensors_of(resumed.model)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


HEAD = [n for n, m in dp.host("mlp", in_features=64, classes=10).named_modules() if isinstance(m, nn.Linear)][-1]


def test_a_training_loop_of_one_s_own_is_refused_not_fooled(tmp_path):
    calls = []

    def mine(model, streams, log, folder):
        calls.append(model)
        return {"test_accuracy": 0.5}

    ladder = dp.Ladder("mlp").level(**{HEAD: "shuffled-labels"})
    answer = dp.run(ladder, data="digits", train=mine, replicates=1, controls=False, out=tmp_path / "x", workers=1)
    trials = answer.trials.set_index("cell")
    assert trials["status"].to_dict() == {"level 0": "done", "level 1": "failed"}
    assert trials.loc["level 1", "reason"] == "training targets" and len(calls) == 1
