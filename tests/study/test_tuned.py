"""What tuning gave: expected best of k against brute force, edges against their definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dopant.designs import Cell
from dopant.study.search import Dimension
from dopant.study.tuned import Arm, edges, expected_best

LR = Dimension("lr", (), 1e-4, 1e-1, True)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_the_expected_best_of_k_is_the_mean_over_all_subsets_and_the_biased_one_over_all_sequences(scores):
    subsets = [np.mean([max(c) for c in itertools.combinations(scores, k)]) for k in range(1, len(scores) + 1)]
    sequences = [np.mean([max(c) for c in itertools.product(scores, repeat=k)]) for k in range(1, len(scores) + 1)]
    assert expected_best(scores) == pytest.approx(subsets)
    assert expected_best(scores, unbiased=False) == pytest.approx(sequences)


def test_the_unbiased_one_has_the_true_mean_and_the_other_is_too_low():
    generator = np.random.default_rng(0)
    samples = generator.uniform(size=(4000, 8))
    true = np.arange(1, 9) / np.arange(2, 10)  # of the largest of k uniform numbers
    unbiased = np.mean([expected_best(s) for s in samples], axis=0)
    biased = np.mean([expected_best(s, unbiased=False) for s in samples], axis=0)
    assert np.allclose(unbiased, true, atol=0.01)
    assert np.all(biased[1:] < true[1:] - 0.02)


def test_a_failed_draw_counts_where_it_could_be_the_best():
    found = expected_best([-math.inf, 0.4, 0.6])
    assert found[0] == -math.inf and found[1:] == pytest.approx([(0.4 + 0.6 + 0.6) / 3, 0.6])


def arm(space, values, best):
    return Arm(Cell("a", 0, {}), space, len(values), [(v, [1.0 if i == best else 0.0]) for i, v in enumerate(values)])


@pytest.mark.parametrize(
    ("best", "edge"),
    [(1.05e-4, True), (9.5e-2, True), (3e-3, False), (4e-4, False)],
)
def test_the_best_of_a_range_lies_on_its_edge_where_nothing_was_tried_beyond_it_and_the_end_is_near(best, edge):
    values = [{"lr": lr} for lr in (best, *np.geomspace(6e-4, 6e-2, 9))]
    assert bool(edges(arm((LR,), values, 0))) == edge


def test_a_best_value_with_a_worse_one_beyond_it_is_bracketed_and_on_no_edge():
    values = [{"lr": 1.2e-4}, {"lr": 1.1e-4}, {"lr": 1e-2}]
    assert edges(arm((LR,), values, 0)) == [] and edges(arm((LR,), values, 1)) == [(LR, 1.1e-4)]


def test_the_first_and_the_last_of_a_list_are_its_edges_but_no_weight_decay_is_none_and_names_have_none():
    rates, names = Dimension("lr", (1e-3, 1e-2, 1e-1)), Dimension("schedule", ("constant", "cosine"))
    decay = Dimension("weight_decay", (0.0, 1e-4, 1e-3))
    values = [
        {"lr": 1e-1, "schedule": "constant", "weight_decay": 0.0},
        {"lr": 1e-2, "schedule": "cosine", "weight_decay": 1e-3},
    ]
    assert edges(arm((rates, names, decay), values, 0)) == [(rates, 1e-1)]
    assert edges(arm((rates, names, decay), values, 1)) == [(decay, 1e-3)]


def test_an_arm_that_is_not_finished_has_no_best_and_no_edge():
    half = Arm(Cell("a", 0, {}), (LR,), 3, [({"lr": 1e-4}, [1.0]), ({"lr": 1e-2}, [])])
    assert half.best is None and edges(half) == [] and half.scores == [1.0]
