"""Shapley values: against all orders of the factors, and their axioms."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

import dopant as dp
from dopant.designs import Factorial, Ladder
from dopant.errors import ConfigError
from dopant.study.pairs import Scores
from dopant.study.shapley import of_factorial, shapley_values

WORTHS = hs.integers(1, 5).flatmap(lambda m: hs.lists(hs.floats(-5, 5), min_size=2**m, max_size=2**m))


def by_orders(worth, players):
    """What each player adds, averaged over every order of joining."""
    total = np.zeros(players)
    orders = list(itertools.permutations(range(players)))
    for order in orders:
        present = 0
        for player in order:
            total[player] += worth[present | 1 << player] - worth[present]
            present |= 1 << player
    return total / len(orders)


@settings(max_examples=40, deadline=None)
@given(WORTHS)
def test_the_values_are_the_means_over_all_orders_and_add_up(worth):
    players = len(worth).bit_length() - 1
    values = shapley_values(worth)
    assert values == pytest.approx(by_orders(worth, players), abs=1e-9)
    assert values.sum() == pytest.approx(worth[-1] - worth[0], abs=1e-9)


def test_twelve_players_that_do_not_interact_get_what_they_bring():
    brings = np.random.default_rng(0).normal(size=12)
    worth = [sum(b for i, b in enumerate(brings) if s >> i & 1) for s in range(2**12)]
    assert shapley_values(worth) == pytest.approx(brings)


def test_a_game_of_another_size_is_refused():
    with pytest.raises(ConfigError, match="at most 12"):
        shapley_values(np.zeros(6))
    with pytest.raises(ConfigError, match="at most 12"):
        shapley_values(np.zeros(2**13))


DESIGN = Factorial("mlp", {"a": {"a0": {}, "a1": {"x": "linear"}, "a2": {"x": "frozen"}},
                           "b": {"b0": {}, "b1": {"y": "linear"}}})  # fmt: skip
WORTH = {"a0b0": 0.5, "a1b0": 0.6, "a2b0": 0.7, "a0b1": 0.52, "a1b1": 0.8, "a2b1": 0.6}


def scores(design=DESIGN, lose=(), sign=True):
    rows = []
    for place in design.places():
        for r in range(3):
            value = WORTH["".join(place.values())] + 0.01 * r
            lost = (design.name(place), r) in lose
            rows.append({"arm": design.name(place), "replicate": r, "value": np.nan if lost else value})
    return Scores.read(pd.DataFrame(rows), sign, None)


def test_every_full_combination_is_a_game_of_its_own():
    table = of_factorial(DESIGN, scores())
    assert list(table["combination"].unique()) == ["a=a1, b=b1", "a=a2, b=b1"]
    first = table[table["combination"] == "a=a1, b=b1"].set_index("factor")["value"]
    assert first["a"] == pytest.approx(((0.6 - 0.5) + (0.8 - 0.52)) / 2)
    assert first["b"] == pytest.approx(((0.52 - 0.5) + (0.8 - 0.6)) / 2)
    sums = table.groupby("combination")["value"].sum()
    assert dict(sums) == pytest.approx({"a=a1, b=b1": 0.3, "a=a2, b=b1": 0.1})
    assert dict(table.groupby("combination")["total"].first()) == pytest.approx(dict(sums))
    assert of_factorial(DESIGN, scores(sign=False))["value"].to_numpy() == pytest.approx(-table["value"].to_numpy())


def test_only_replicates_in_which_the_whole_game_has_scores_count():
    table = of_factorial(DESIGN, scores(lose={("a=a2, b=b0", 2)}))
    assert list(table["replicates"]) == [3, 3, 2, 2]


def test_cells_that_were_not_trained_leave_their_game_out_and_other_designs_have_none():
    part = Factorial("mlp", DESIGN.factors, only=[{"a": "a0"}, {"a": "a1"}])
    assert list(of_factorial(part, scores(part))["combination"].unique()) == ["a=a1, b=b1"]
    assert of_factorial(Ladder("mlp"), scores()).empty


def test_a_study_answers_with_the_shares_of_its_factors(tmp_path):
    inputs = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    design = Factorial({"name": "mlp", "hidden": [4]}, {"head": ["linear"], "recipe.lr": [1e-3, 1e-1]})
    answer = dp.run(
        design, data=(inputs, (inputs[:, 0] > 0).astype(int)), recipe=dp.Recipe(epochs=2, batch=16), replicates=2,
        controls=False, out=tmp_path / "shares", workers=1,
    )  # fmt: skip
    means = answer.trials.groupby("cell")["test_accuracy"].mean()
    whole = means["head=linear, recipe.lr=0.1"] - means["head=old, recipe.lr=0.001"]
    assert answer.shapley["value"].sum() == pytest.approx(whole) and list(answer.shapley["replicates"]) == [2, 2]
    page = (tmp_path / "shares" / "report.html").read_text(encoding="utf-8")
    assert "How the factors share the whole difference" in page and "How this was decided" in page
