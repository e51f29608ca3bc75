"""What a loop may return, and what it is told otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dopant as dp
from dopant.tasks._returned import read

RIGHT = [1.0, 0.0, 1.0, 1.0]


def test_numbers_of_every_kind_become_plain_ones():
    given = {
        "a": 1, "b": 0.5, "c": np.float32(0.25), "d": np.int64(3), "e": torch.tensor(0.125), "f": np.array(2.0),
        "g": torch.tensor(4, dtype=torch.int32), "h": np.bool_(True), "name": "text",
        "i": torch.tensor(0.5, dtype=torch.bfloat16, requires_grad=True),
    }  # fmt: skip
    metrics, items = read(given)
    assert metrics == {
        "a": 1, "b": 0.5, "c": 0.25, "d": 3, "e": 0.125, "f": 2.0, "g": 4, "h": True, "name": "text", "i": 0.5
    }  # fmt: skip
    assert {type(v) for v in metrics.values()} <= {int, float, bool, str} and items == {}


@pytest.mark.parametrize(
    "values",
    [RIGHT, np.array(RIGHT), torch.tensor(RIGHT), torch.tensor(RIGHT).bool(), [torch.tensor(v) for v in RIGHT],
     np.array(RIGHT)[::-1][::-1], torch.tensor(RIGHT, dtype=torch.bfloat16), torch.tensor(RIGHT, requires_grad=True)],
)  # fmt: skip
def test_items_of_every_kind_become_tensors_that_numpy_can_subtract(values):
    _, items = read(({"accuracy": 0.75}, {"accuracy": values}))
    assert items["accuracy"].tolist() == RIGHT and not items["accuracy"].requires_grad
    assert (items["accuracy"].numpy() - items["accuracy"].numpy() == 0).all()


def test_items_come_in_the_order_of_their_ids():
    _, items = read(({"loss": 2.0}, {"ids": [7, 3, 5], "loss": [1.0, 2.0, 3.0], "output": np.eye(3)}))
    assert items["ids"].tolist() == [3, 5, 7] and items["loss"].tolist() == [2.0, 3.0, 1.0]
    assert items["output"].tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]


def test_an_item_named_as_the_test_metric_is_kept_under_the_metrics_own_name():
    _, items = read(({"test_accuracy": 0.75}, {"test_accuracy": RIGHT, "prediction": [1, 2, 3, 4]}))
    assert set(items) == {"accuracy", "prediction"}


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "returned nothing"), (0.9, "a bare number"), (torch.tensor(0.9), "a Tensor"), ([0.9], "a list"),
        ([{"accuracy": 0.9}], r"Trainer.test gives; return its element \[0\]"), ({}, "no number"),
        ({"name": "text"}, "no number"), (({"a": 1.0}, {}, {}), "a tuple of 3"),
        (({"a": 1.0}, [1.0]), "items as a list"),
        ({"validation": {"accuracy": 0.9}}, "'validation' is a dict; give each of its numbers a name"),
        ({"a": None}, "'a' is a NoneType; give a number or leave it out"), ({"a": [0.9]}, "'a' is a list"),
        ({"a": np.zeros((2, 3))}, r"shape \(2, 3\)"), ({"a": torch.tensor([0.9])}, r"shape \(1,\)"),
        ({"a": 1j}, "'a' is a complex"), ({"a": np.complex64(1j)}, "no real number"), ({3: 0.9}, "named 3"),
        (({"a": 1.0}, {"x": 0.5}), "'x' is a single number"), (({"a": 1.0}, {"x": ["p", "q"]}), "'x' is a list of <U1"),
        (({"a": 1.0}, {"x": [torch.zeros(2), torch.zeros(3)]}), "torch.cat"), (({"a": 1.0}, {"x": None}), "'x' is a"),
        (({"a": 1.0}, {"x": [[1.0], [1.0, 2.0]]}), "'x' is"), (({"a": 1.0}, {"x": [1j]}), "'x' is a list of complex"),
        (({"a": 1.0}, {"x": [1.0], "y": [1.0, 2.0]}), "'x' has 1, 'y' has 2"),
        (({"a": 1.0}, {"ids": [1, 1, 2]}), "names 1 items twice"), (({"a": 1.0}, {"ids": [0.5]}), "whole number"),
        (({"accuracy": 75.0}, {"accuracy": RIGHT}), "mean 0.75, but metric 'accuracy' is 75;.*same unit"),
        (({"test_accuracy": 0.5}, {"accuracy": RIGHT}), "metric 'test_accuracy' is 0.5"),
        (({"accuracy": 0.75}, {"accuracy": [float("nan")] * 4}), "mean nan"),
    ],
)  # fmt: skip
def test_what_is_no_result_is_told_what_to_return(returned, words):
    with pytest.raises(dp.ConfigError, match=words):
        read(returned)


def test_all_problems_are_told_at_once():
    with pytest.raises(dp.ConfigError) as caught:
        read(({"a": None, "b": {}}, {"x": "text", "y": 1.0}))
    assert [problem.split("'")[1] for problem in caught.value.problems] == ["a", "b", "x", "y"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), torch.tensor(float("nan")), np.float32("inf")])
def test_a_number_that_is_not_finite_is_a_failed_trial(value):
    with pytest.raises(dp.TrialFailed) as caught:
        read({"accuracy": 0.5, "loss": value})
    assert caught.value.reason == "not finite" and "loss" in str(caught.value)


def test_the_metric_that_the_study_names_must_be_there():
    assert read({"val_acc": 0.5}, "val_acc")[0] and read({"test_acc": 0.5}, "acc")[0]
    with pytest.raises(dp.ConfigError, match=r"'val_ac' is not among what train returned: val_acc; did you mean 'val"):
        read({"val_acc": 0.5}, "val_ac")
