"""Hosts as Hugging Face writes them: inputs by keyword, outputs as dataclasses with `logits`."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import dopant as dp
from dopant._slots import Batch
from dopant._trees import learn, scores_of

from .parts import lives, outputs_in_evaluation, same, train

WORDS, WIDTH = 11, 8


@dataclass
class Output:
    """A plain dataclass."""

    logits: torch.Tensor
    hidden: torch.Tensor | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class ModelOutput(OrderedDict):
    """As transformers' own: a dataclass that is a dict of what is not None, too."""

    logits: torch.Tensor | None = None
    hidden: torch.Tensor | None = None

    def __post_init__(self):
        for field in fields(self):
            if getattr(self, field.name) is not None:
                self[field.name] = getattr(self, field.name)


@dataclass
class Attended:
    """What an inner module gives: the states, and how it attended or None."""

    states: torch.Tensor
    weights: torch.Tensor | None = None


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.value = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH, bias=False)  # softmax is blind to a bias here

    def forward(self, states, attention_mask=None, output_attentions=False):
        scores = self.query(states) @ self.key(states).transpose(1, 2) / WIDTH**0.5
        if attention_mask is not None:
            scores = scores.masked_fill(attention_mask[:, None] == 0, -1e4)
        weights = scores.softmax(-1)
        return Attended(weights @ self.value(states), weights if output_attentions else None)


class Model(nn.Module):
    """Embedding, attention, classifier; the mask is one for words and zero for padding."""

    def __init__(self, output=Output):
        super().__init__()
        self.embeddings = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.attention = SelfAttention()
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.classifier = nn.Linear(WIDTH, 3)
        self.output = output

    def forward(self, input_ids=None, attention_mask=None):
        states = self.embeddings(input_ids)
        states = self.norm(states + self.attention(states, attention_mask=attention_mask).states)
        weights = attention_mask[..., None].to(states)
        pooled = (weights * states).sum(1) / weights.sum(1)
        return self.output(logits=self.classifier(pooled), hidden=states)


def inputs(count: int = 4) -> dict[str, torch.Tensor]:
    lengths = 2 + torch.arange(count) % 4
    mask = (torch.arange(6) < lengths[:, None]).long()
    return {"input_ids": torch.randint(1, WORDS, (count, 6)) * mask, "attention_mask": mask}


SWAPS = {"attention": "zoo-scaled", "norm": "zoo-norm", "classifier": "zoo-linear"}


@pytest.mark.parametrize("output", [Output, ModelOutput])
def test_a_model_with_named_inputs_and_outputs_lives_with_its_parts_swapped(output, tmp_path: Path):
    network = lives(lambda: Model(output), SWAPS, dp.Call(**inputs()), tmp_path)
    assert isinstance(network(**inputs()), output)
    assert network(**inputs()).logits.shape == (4, 3)


def test_the_fields_of_a_dataclass_are_measured_as_tensors():
    found = dp.slots(Model(), dp.Call(**inputs()))
    (call,) = found["attention"].calls
    assert call.outputs.states.shape == (Batch(), 6, WIDTH)
    assert call.outputs.weights is None
    assert found["attention"].outputs == Attended((6, WIDTH), None)
    assert found["embeddings"].inputs == (6,)
    mask = found["attention"].example(50).kwargs["attention_mask"]
    assert mask.shape == (50, 6)
    assert set(mask.unique().tolist()) <= {0, 1}


@dp.component("zoo-wrong-states")
def wrong_states(old, signature):
    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(WIDTH, WIDTH + 1)

        def forward(self, states, **kwargs):
            return Attended(self.linear(states))

    return Wrong()


def test_a_dataclass_with_tensors_of_another_shape_is_refused():
    with pytest.raises(dp.SlotMismatch, match=r"'attention' gives Attended\(states=\(6, 8\).*\(6, 9\)"):
        dp.swap(Model(), {"attention": "zoo-wrong-states"}, dp.Call(**inputs()))


def test_dataclasses_are_mixed_field_by_field():
    sample, model = dp.Call(**inputs()), Model()
    mixed = dp.swap(model, {"attention": {"component": "zoo-scaled", "mix": 0.5}}, sample)
    states = torch.randn(4, 6, WIDTH)
    with torch.no_grad():
        old = mixed.attention.old(states).states
        new = mixed.attention.new(states).states
        torch.testing.assert_close(mixed.attention(states).states, 0.5 * old + 0.5 * new)
    assert not torch.equal(old, new)


def test_a_dict_given_as_it_is_fails_with_the_remedy_and_a_dict_argument_is_a_sample():
    with pytest.raises(dp.ConfigError, match=r"a dict is one argument: for keyword arguments give dp.Call\(\*\*sample"):
        dp.slots(Model(), inputs())

    class OfDict(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Model()

        def forward(self, batch):
            return self.model(**batch).logits

    assert dp.slots(OfDict(), inputs())["model.classifier"].outputs == (3,)


def test_the_scores_are_found_in_what_networks_give():
    scores, other = torch.randn(4, 3), torch.randn(4, 2)
    for given in (scores, Output(scores, other), ModelOutput(scores, other), {"logits": scores, "x": other},
                  (scores, None), [scores]):  # fmt: skip
        assert scores_of(given) is scores
    assert scores_of((scores, other)) == (scores, other)  # two tensors: for losses of one's own


def test_learning_a_dataclass_leaves_those_without_tensors_alone():
    @dataclass
    class Settings:
        width: int = 3

    settings = Settings()
    assert learn([settings])[0] is settings
    assert Settings not in pytree.SUPPORTED_NODES
    assert pytree.tree_leaves(learn({"a": Attended(torch.ones(2)), "b": 1}))[-1] == 1


def targets_of(data: dict[str, torch.Tensor]) -> torch.Tensor:
    return data["input_ids"].sum(1) % 3


@pytest.mark.parametrize("output", [Output, ModelOutput])
def test_a_study_trains_scores_and_hands_back_such_a_model(output, tmp_path: Path):
    data = inputs(120)
    host = Model(output)
    answer = dp.run(
        dp.Ladder(host).level(norm="zoo-norm").level(classifier="zoo-linear"), data=(data, targets_of(data)),
        recipe=dp.Recipe(lr=1e-2, batch=32, epochs=2), replicates=1, controls=False, out=tmp_path / "study",
    )  # fmt: skip
    assert list(answer.trials["status"]) == ["done"] * 3
    assert answer.trials["test_accuracy"].between(0, 1).all()
    for row in answer.trials.itertuples():
        network = answer.model(row.trial)
        items = answer.store.items(row.trial)
        ids = torch.as_tensor(items["ids"])
        given = {name: tensor[ids] for name, tensor in data.items()}
        with torch.no_grad():
            logits = network(**given).logits
        assert torch.equal(logits.argmax(1), torch.as_tensor(items["prediction"]))
        loss = float(nn.functional.cross_entropy(logits, targets_of(data)[ids]))
        assert loss == pytest.approx(row.test_loss, rel=1e-5)
    first = dict(Model(output).named_parameters())
    assert set(dict(answer.model(answer.trials["trial"][0]).named_parameters())) == set(first)


def test_training_such_a_model_moves_every_part_of_it():
    network = dp.swap(Model(), {"norm": "zoo-norm"}, dp.Call(**inputs()))
    before = {name: p.clone() for name, p in network.named_parameters()}
    start = outputs_in_evaluation(network, dp.Call(**inputs()))
    train(network, dp.Call(**inputs()))
    moved = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    assert moved == set(before)
    assert not same(start, outputs_in_evaluation(network, dp.Call(**inputs())))
