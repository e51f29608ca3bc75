"""Loops of plain torch, `dp.run(design, train=…)`: what they are given, what is made of it, and what goes wrong."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import studies
import torch
from torch import nn

import dopant as dp
from dopant import local, registry
from dopant.adapters import OrderSampler, Pairing
from dopant.datasets.source import load_source
from dopant.study import keeper as keepers
from dopant.study.results import higher_is_better_of
from dopant.study.store import Store
from dopant.study.trial import Trial
from dopant.study.worker import _run_one, work
from dopant.tasks.custom import Log


def fit(model, streams, log, data, epochs=None):
    """A small paired loop; accuracy on the test set, per item."""
    optimizer = torch.optim.Adam(model.parameters(), lr=log.recipe.lr, foreach=False)
    with Pairing(model, streams) as pairing:
        for epoch in range(1, (epochs or log.epochs) + 1):
            for number, indices in enumerate(pairing.order(epoch, len(data.train)).split(log.recipe.batch)):
                inputs, targets = data.train.batch(indices)
                pairing.train(epoch, number)
                optimizer.zero_grad()
                (nn.functional.cross_entropy(model(inputs), targets) + pairing.extra_loss()).backward()
                optimizer.step()
                pairing.after_step(number)
    model.eval()
    return (model(data.test.inputs).argmax(1) == data.test.targets).float()


def small(tmp_path, train, **more) -> dp.Answer:
    return studies.run(tmp_path / "s", **({"epochs": 1, "replicates": 1, "train": train} | more))


def test_a_paired_loop_of_plain_torch_ends_with_the_weights_of_dopants_own(tmp_path):
    def train(model, streams, log, folder, data):
        right = fit(model, streams, log, data)
        return {"test_accuracy": right.mean()}, {"accuracy": right}

    mine = small(tmp_path, train)
    own = studies.own(tmp_path / "own", epochs=1, replicates=1)
    for a, b in zip(mine.trials["trial"], own.trials["trial"], strict=True):
        ours, theirs = (answer.store.state(t)["model"] for answer, t in ((mine, a), (own, b)))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    # What is kept is the network, and it answers as it did.
    row = mine.trials.iloc[1]
    data = dp.dataset("digits", replicate=0)
    right = (mine.model(row["trial"])(data.test.inputs).argmax(1) == data.test.targets).float().mean()
    assert float(right) == pytest.approx(row["test_accuracy"])


def test_the_order_of_a_sampler_is_the_streams_and_changes_with_the_epoch():
    sampler = OrderSampler(20, dp.Streams(3, 1))
    first = list(sampler)
    assert first == Pairing(nn.Identity(), dp.Streams(3, 1)).order(1, 20).tolist() and len(sampler) == 20
    sampler.set_epoch(1)
    assert sorted(sampler) == sorted(first) and list(sampler) != first
    assert first != list(OrderSampler(20, dp.Streams(3, 2)))


def test_dropout_is_the_same_whatever_a_neighbour_draws_and_leaves_no_hook():
    class Greedy(nn.Module):
        def forward(self, x):
            return x + 0 * torch.rand(17).sum()

    masks = []
    for first in (nn.Identity(), Greedy()):
        model = nn.Sequential(first, nn.Dropout(0.5))
        with Pairing(model, dp.Streams(0, 0)) as pairing:
            pairing.train(1, 4)
            torch.rand(3)
            masks.append(model(torch.ones(4, 8)))
            pairing.train(1, 5)
            masks.append(model(torch.ones(4, 8)))
        assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    assert torch.equal(masks[0], masks[2]) and torch.equal(masks[1], masks[3])
    assert not torch.equal(masks[0], masks[1])


def test_a_loop_gets_model_recipe_epochs_device_and_a_folder_of_its_own(tmp_path):
    seen = []

    def train(model, streams, log, folder, data):
        seen.append((model.training, {p.device.type for p in model.parameters()}, log.recipe.lr, log.epochs, folder))
        assert all(p.requires_grad for p in model.parameters()) and log.device.type in ("cpu", "cuda")
        assert not log.tuning and len(data.train) and torch.is_grad_enabled()
        return {"accuracy": fit(model, streams, log, data).mean()}

    small(tmp_path, train)
    assert len(seen) == 2 and len({folder for *_, folder in seen}) == 2
    assert {(mode, *devices, lr, epochs) for mode, devices, lr, epochs, _ in seen} == {(True, "cpu", 3e-3, 1)}


def test_without_data_a_sample_measures_the_slots_and_the_costs(tmp_path):
    def train(model, streams, log, folder):
        x = torch.rand(30, 1, 8, 8, generator=streams.generator("mine"))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(x).square().mean().backward()
        optimizer.step()
        return {"mean_error": model(x).square().mean()}

    answer = small(tmp_path, train, data=None, sample=torch.zeros(2, 1, 8, 8))
    assert answer.counts["done"] == 2, answer.failures
    assert answer.metric == ("mean_error", "mean_error", False) and "n_train" not in answer.trials
    own = studies.own(tmp_path / "own", epochs=1, replicates=1)
    for name in ("parameters", "trainable", "flops"):
        assert answer.costs[name].tolist() == own.costs[name].tolist()


def test_a_loop_given_by_name_runs_in_worker_processes(tmp_path, monkeypatch):
    (tmp_path / "my_file.py").write_text(
        "import os\nimport torch\nfrom torch import nn\n\n\n"
        "def my_train(model, streams, log, folder, data):\n"
        "    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "    nn.functional.cross_entropy(model(data.train.inputs), data.train.targets).backward()\n"
        "    optimizer.step()\n    log(1, train_loss=0.5)\n"
        "    return {'accuracy': 0.5, 'process': os.getpid()}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    answer = small(tmp_path, "my_file:my_train")
    assert answer.counts["done"] == 2, answer.failures
    assert len(answer.metrics) == 2 and os.getpid() not in set(answer.trials["process"])
    with pytest.raises(dp.ConfigError, match=r"train: .*no 'my_tain' there; did you mean 'my_train'"):
        small(tmp_path / "x", "my_file:my_tain")
    with pytest.raises(dp.ConfigError, match="'my_train' is no function; give the function itself"):
        small(tmp_path / "x", "my_train")


def test_a_loop_that_raises_fails_its_trial_with_the_reason_and_the_others_go_on(tmp_path):
    def train(model, streams, log, folder, data):
        if isinstance(model.head, nn.Linear):
            raise ValueError("no luck")
        return {"accuracy": fit(model, streams, log, data).mean()}

    answer = small(tmp_path, train, replicates=2)
    assert answer.trials.groupby("status").size().to_dict() == {"done": 2, "failed": 2}
    assert set(answer.trials["reason"].dropna()) == {"error: ValueError: no luck"}
    assert "no luck" in answer.failures[0]


def test_a_loss_that_is_not_finite_is_a_result_scored_at_chance(tmp_path):
    def train(model, streams, log, folder, data):
        right = fit(model, streams, log, data)
        return {"test_accuracy": right.mean(), "test_loss": 1.0 if isinstance(model.head, nn.Linear) else float("nan")}

    answer = small(tmp_path, train, replicates=2)
    assert set(answer.trials["reason"].dropna()) == {"not finite"}
    host = answer.trials["test_accuracy"].mean()
    assert answer.effects.iloc[0]["failed"] == 2 and answer.effects.iloc[0]["mean"] == pytest.approx(0.1 - host)


def test_a_wrong_return_stops_the_study_before_more_is_trained(tmp_path):
    calls = []

    def train(model, streams, log, folder, data):
        calls.append(1)

    with pytest.raises(dp.ConfigError, match=r"train returned nothing; train must return \{name: number\}"):
        small(tmp_path, train, replicates=3)
    assert len(calls) == 1


def test_the_verdict_takes_the_metric_that_is_named_and_a_wrong_name_is_refused(tmp_path):
    def train(model, streams, log, folder, data):
        right = fit(model, streams, log, data)
        return {"val_acc": right.mean(), "perplexity": 2 - right.mean()}, {"val_acc": right}

    with pytest.raises(dp.ConfigError, match=r"study.metric: 'val_accuracy' is not among .*did you mean 'val_acc'"):
        small(tmp_path, train, metric="val_accuracy")
    answer = small(tmp_path, train, metric="val_acc", replicates=2)
    assert answer.metric == ("val_acc", "val_acc", True) and answer.effects.iloc[0]["item_error"] > 0
    other = small(tmp_path, train, metric="perplexity", replicates=2)  # the same trials, another question
    assert other.trials["attempts"].max() <= 2 and not other.metric[2]
    assert other.effects.iloc[0]["mean"] == pytest.approx(answer.effects.iloc[0]["mean"])
    with pytest.raises(dp.ConfigError, match=r"study\.metric: no trial has 'perplexty'; did you mean 'perplexity'"):
        small(tmp_path, train, metric="perplexty", replicates=2)


def test_the_direction_of_a_metric_is_the_registered_one_under_any_prefix(monkeypatch):
    monkeypatch.setitem(registry.metrics._items, "brier", SimpleNamespace(higher_is_better=False))
    for name in ("brier", "test_brier", "val_brier", "perplexity", "val_ppl", "test_nll", "rmse", "word-wer"):
        assert not higher_is_better_of(name), name
    for name in ("accuracy", "test_accuracy", "val_acc", "f1", "power", "bleu"):
        assert higher_is_better_of(name), name


def test_splits_of_the_studys_data_count_as_resplits_and_a_loops_own_data_do_not(tmp_path):
    def with_data(model, streams, log, folder, data):
        return {"accuracy": fit(model, streams, log, data).mean()}

    def without(model, streams, log, folder):
        return {"accuracy": 0.5}

    answer = small(tmp_path / "a", with_data)
    assert answer.resplit() == pytest.approx(360 / 1078, abs=0.01) and set(answer.trials["classes"]) == {10}
    assert small(tmp_path / "b", without).resplit() is None


def test_tuning_reads_the_rate_from_the_log_and_chooses_by_the_validation_metric(tmp_path):
    def train(model, streams, log, folder, data):
        test = {} if log.tuning else {"test_accuracy": fit(model, streams, log, data).mean()}
        return {"validation_accuracy": -abs(log.recipe.lr - 0.01)} | test

    answer = small(tmp_path, train, tuning=dp.Tuning(lr=[0.1, 0.01, 0.001], replicates=1))
    assert sorted(answer.tuning["lr"].unique()) == [0.001, 0.01, 0.1] and "test_accuracy" not in answer.tuning
    assert set(answer.trials["lr"]) == {0.01} and not answer.effects["untuned"].any()


def test_a_loop_that_leaves_the_model_as_it_was_is_pointed_out(tmp_path):
    def train(model, streams, log, folder, data):
        other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        return {"accuracy": fit(other, streams, log, data).mean()}

    answer = small(tmp_path, train)
    assert any("changed no parameter of a model that it was given" in note for note in answer.notes)


class Noted(nn.Linear, dp.Lifecycle):
    """A layer that asks for a loss of its own and for a call after each step."""

    def extra_losses(self):
        return {"size": self.weight.square().sum()}

    def after_step(self, step):
        self.bias.zero_()


@pytest.mark.parametrize("heeds", [True, False])
def test_a_component_whose_hooks_a_loop_does_not_call_is_pointed_out(tmp_path, monkeypatch, heeds):
    info = registry.ComponentInfo("noted", lambda old, signature: Noted(old.in_features, old.out_features), nn.Linear)
    monkeypatch.setitem(registry.components._items, "noted", info)
    monkeypatch.setitem(registry.components._origins, "noted", "here")

    def train(model, streams, log, folder, data):
        if heeds:
            return {"accuracy": fit(model, streams, log, data).mean()}
        nn.functional.cross_entropy(model(data.train.inputs), data.train.targets).backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        return {"accuracy": 0.5}

    answer = dp.run(
        dp.Ladder(studies.HOST).level(head="noted"), data="digits", train=train, replicates=1, controls=False,
        recipe=dp.Recipe(epochs=1), out=tmp_path / "s", progress=None,
    )  # fmt: skip
    noted = [note for note in answer.notes if "did not call" in note]
    assert len(noted) == (0 if heeds else 1), answer.notes
    assert heeds or "Noted.after_step, Noted.extra_losses" in noted[0]


def test_a_control_that_must_be_prepared_is_prepared_before_the_loop_begins(tmp_path):
    def train(model, streams, log, folder, data):
        return {"accuracy": fit(model, streams, log, data).mean()}

    design = dp.Ladder(studies.HOST).level(head="random-features")
    settings = {"data": "digits", "replicates": 1, "controls": False, "recipe": dp.Recipe(epochs=1, batch=64, lr=3e-3)}
    mine = dp.run(design, train=train, out=tmp_path / "s", progress=None, **settings)
    own = dp.run(design, out=tmp_path / "own", progress=None, **(settings | {"data": load_source("digits")}))
    for a, b in zip(mine.trials["trial"], own.trials["trial"], strict=True):
        ours, theirs = (answer.store.state(t)["model"] for answer, t in ((mine, a), (own, b)))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not any("did not call" in note for note in mine.notes)


def test_a_loop_that_captures_a_function_or_data_is_the_same_one_in_another_process():
    def make(slope):
        data = dp.dataset("digits", limit=100)

        def helper(x):
            return slope * x if x else other(x)

        def other(x):
            return helper(x + 1)  # each captures the other

        def train(model, streams, log, folder):
            return {"accuracy": helper(len(data.train))}

        return train

    assert local.fingerprint(make(1)) == local.fingerprint(make(1)) != local.fingerprint(make(2))


# --- the log ----------------------------------------------------------------------------------------------------------


class Rows:
    """What of a keeper a Log wants."""

    epochs = 3

    def __init__(self):
        self.rows, self.told = [], {}

    def alive(self):
        pass

    def log(self, epoch, metrics):
        self.rows.append((epoch, metrics))

    def progress(self, **values):
        self.told = values


def test_calls_for_one_epoch_add_up_to_one_row_and_nothing_is_written_twice():
    rows = Rows()
    log = Log(rows)
    log(1, train_loss=np.float32(0.5))
    log(1, val_acc=torch.tensor(0.25))
    log(1, train_loss=0.5, val_acc=0.25)
    log(torch.tensor(2), train_loss=float("nan"))
    assert rows.rows[:2] == [(1, {"train_loss": 0.5}), (1, {"train_loss": 0.5, "val_acc": 0.25})]
    assert rows.rows[2][0] == 2 and np.isnan(rows.rows[2][1]["train_loss"]) and len(rows.rows) == 3
    for wrong in ({"x": "text"}, {"x": torch.zeros(2)}, {"x": None}):
        with pytest.raises(TypeError, match="log: 'x' is"):
            log(1, **wrong)
    with pytest.raises(TypeError, match="whole number"):
        log(1.5, x=1.0)


@pytest.mark.parametrize("what", ["stop", "lease"])
def test_what_ends_a_trial_passes_a_framework_that_swallows_it(tmp_path, monkeypatch, what):
    monkeypatch.setattr(keepers, "GRACE", 0.0)
    stop, starts = threading.Event(), []

    def train(model, streams, log, folder, data):
        starts.append(1)
        if len(starts) == 1:
            if what == "stop":
                stop.set()
            else:
                log._keeper.lost.set()
        try:
            for _ in range(1000):
                log.alive()
        except BaseException as error:  # as Lightning does with an interrupt
            raise SystemExit(1) from error
        return {"accuracy": fit(model, streams, log, data).mean()}

    small(tmp_path, lambda model, streams, log, folder, data: {"accuracy": 0.5}, name="s")
    with Store.open(tmp_path / "s") as store:
        trial = store.trials()[0]
    description = trial.description | {"task": {"name": "custom", "train": local.register("train", train)}}
    with Store.create(tmp_path / "t") as store:
        store.add([Trial(description, "level 0", 0, 1)])
        if what == "stop":
            with pytest.raises(KeyboardInterrupt):
                work(store, stop=stop)
            assert store.counts()["pending"] == 1  # given back, not failed
        else:
            lease = store.lease("somebody")
            assert not _run_one(store, lease, None, stop, None)
            assert store.counts()["failed"] == 0
