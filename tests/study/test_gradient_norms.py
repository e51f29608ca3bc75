"""Gradient norms of swapped slots over training: what is logged, what is drawn, what is said of it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dopant.study.report import gradient_norms
from dopant.tasks.supervised import watched


def made(values: dict[str, list[float]], replicates: int = 3):
    rows = [
        {"cell": cell, "replicate": r, "epoch": e, "grad_norm_fc": v * 10 ** (0.1 * (r - 1))}
        for cell, series in values.items() for r in range(replicates) for e, v in enumerate(series, 1)
    ]  # fmt: skip
    swaps = {"fc": {"component": "low-rank"}}
    cells = [SimpleNamespace(name=c, role="level", swaps=swaps if i else {}) for i, c in enumerate(values)]
    effects = pd.DataFrame([{"cell": c, "versus": next(iter(values))} for c in list(values)[1:]])
    return SimpleNamespace(metrics=pd.DataFrame(rows), cells=cells, effects=effects)


def test_the_line_is_the_geometric_mean_over_replicates():
    (slot,) = gradient_norms.of(made({"level 0": [1.0, 0.1], "level 1": [2.0, 0.5]}))
    assert [a.cell for a in slot.arms] == ["level 0", "level 1"] and slot.warnings == [] and slot.still == ""
    assert [float(a.value) for a in slot.arms] == pytest.approx([0.1, 0.5], rel=1e-12)


def test_an_arm_far_below_the_others_is_told_in_words():
    answer = made({"level 0": [1.0] * 6, "level 1": [0.8] * 6, "level 2": [0.5, 1e-3, 1e-5, 1e-5, 1e-5, 1e-5]})
    (slot,) = gradient_norms.of(answer)
    (said,) = slot.warnings
    powers = -math.log10(1e-5 / math.sqrt(1.0 * 0.8))
    assert said.startswith(f"In level 2, the gradient of fc is {powers:.1f} powers of ten below")


def test_an_arm_without_any_gradient_is_named_and_not_drawn():
    (slot,) = gradient_norms.of(made({"level 0": [1.0, 1.0], "level 1": [0.0, 0.0]}))
    assert [a.cell for a in slot.arms] == ["level 0"] and slot.still == "level 1"
    assert gradient_norms.of(made({"level 0": [0.0], "level 1": [0.0]})) == []
    assert gradient_norms.of(SimpleNamespace(metrics=pd.DataFrame(), cells=[], effects=pd.DataFrame())) == []


def test_slots_that_other_arms_swap_are_watched_where_they_are_and_can_move():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 1))
    assert watched(model, {}) == ["0", "1"]
    assert watched(model, {"1": {}}, ["0.0", "0.1", "gone.x", "1"]) == ["1", "0.0", "0"]
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    assert watched(model, {}, ["0.0"]) == ["1"]


def test_a_grid_of_few_powers_has_marks_between_them():
    assert [label for _, label in gradient_norms.powers(-3.1, 0.1)] == ["0.001", "0.01", "0.1", "1"]
    assert [label for _, label in gradient_norms.powers(-0.8, 0.1)] == ["0.2", "0.5", "1"]
    assert all(np.isclose(10**at, float(label.replace("\u2212", "-"))) for at, label in gradient_norms.powers(-9, 2))


def test_what_is_logged_is_the_norm_of_all_gradients_in_the_slot():
    from dopant import Recipe, Streams
    from dopant.datasets.source import load_source
    from dopant.training.loop import Loop

    class Rows:
        def __init__(self):
            self.rows = {}

        def log(self, epoch, row):
            self.rows[epoch] = row

        def due(self):
            return False

        restore = save = alive = progress = lambda self, *a, **k: None

    data = load_source("digits").draw(Streams(0, 0), None, None)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(64, 5), nn.Linear(5, 10)))
    copy = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(64, 5), nn.Linear(5, 10)))
    copy.load_state_dict(model.state_dict())
    keeper = Rows()
    Loop(model, data, Recipe(batch=len(data.train), epochs=1), Streams(0, 0), keeper, epochs=1, slots=["1.0"]).run()
    nn.functional.cross_entropy(copy(data.train.inputs), data.train.targets).backward()
    squares = sum(float(p.grad.double().square().sum()) for p in copy[1][0].parameters())
    assert keeper.rows[1]["grad_norm_1.0"] == pytest.approx(math.sqrt(squares), rel=1e-4)
