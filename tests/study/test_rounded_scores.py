"""Scores that were printed to few decimals: a spread that rounding alone may have made is none."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dopant.study import given
from dopant.study.analysis import analyse


def told(scores, **settings):
    """(the row of the swap, its controls' rows) of {arm: one score a replicate}."""
    table = pd.DataFrame(
        {"arm": arm, "replicate": r, "accuracy": value} for arm, row in scores.items() for r, value in enumerate(row)
    )
    effects = analyse(table, reference="classical", metric="accuracy", **settings).effects
    return effects[effects["role"].isin(["level", "race"])].iloc[0], effects


PLAIN, SWAP, CONTROL = [0.913, 0.915, 0.911], [0.925, 0.928, 0.923], [0.914, 0.915, 0.911]


def test_a_spread_of_one_rounding_step_decides_nothing_below_six_replicates():
    row, _ = told({"classical": PLAIN, "quantum": SWAP, "mlp": CONTROL}, controls=["mlp"], margin=0.005)
    assert row["verdict"] == "estimate: cannot tell" and row["direction"] == "unclear" and row["replicates_needed"] == 6
    assert row["mean"] == pytest.approx(0.037 / 3) and row["sd"] == pytest.approx(0.001 / math.sqrt(3))
    assert math.isnan(row["low"]) and math.isnan(row["high"]) and math.isnan(row["smallest_detectable"])
    assert row["equivalence"] is False and not math.isnan(row["low_unpaired"])
    assert "Scores were given to 0.001, and the differences vary by no more than that" in row["sentence"]
    assert "95 % interval" not in row["sentence"]
    raced, _ = told({"classical": PLAIN, "quantum": SWAP, "mlp": CONTROL}, race=True)
    assert math.isnan(raced["low_joint"]) and raced["direction"] == "unclear"


def test_more_decimals_a_wider_spread_or_items_are_decided_as_ever():
    finer = {"classical": [0.9131, 0.9152, 0.9113], "quantum": SWAP, "mlp": CONTROL}
    row, _ = told(finer, controls=["mlp"])
    differences = np.subtract(SWAP, finer["classical"])
    low, high = stats.ttest_1samp(differences, 0).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((low, high)) and row["direction"] == "better"
    row, _ = told({"classical": PLAIN, "quantum": [0.925, 0.928, 0.922]})
    assert row["direction"] == "better"  # differences of .012, .013 and .011: two steps
    items = pd.DataFrame(
        {"arm": arm, "replicate": r, "item": i, "accuracy": int(i < right)}
        for arm, rights in {"classical": (80, 82, 79), "quantum": (88, 91, 87)}.items()
        for r, right in enumerate(rights)
        for i in range(100)
    )
    row = analyse(items, reference="classical", metric="accuracy").effects.iloc[0]
    assert row["direction"] == "better" and math.isfinite(row["low"])  # 80 of 100 is 0.8 exactly


def test_from_six_replicates_on_nothing_changes():
    plain = [0.913, 0.915, 0.911, 0.917, 0.912, 0.914]
    row, _ = told({"classical": plain, "quantum": [x + 0.012 + 0.001 * (i == 2) for i, x in enumerate(plain)]})
    assert row["direction"] == "better" and row["p"] == 2 / 64 and math.isfinite(row["low"])


def test_one_constant_difference_rounds_to_differences_within_one_step():
    """What the rule rests on, and that it is needed: such a table has no spread of its own whatever it shows."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.5, 0.9, (4000, 4))
    true = rng.uniform(-0.05, 0.05, (4000, 1))
    rounded = np.round(base + true, 2) - np.round(base, 2)
    assert np.ptp(rounded, axis=1).max() <= 0.01 + 1e-12
    shown = np.ptp(rounded, axis=1) > 1e-12
    assert 0.5 < shown.mean() < 1
    wrong = 0
    for scores, difference in zip(base[shown][:60], true[shown][:60], strict=True):
        row, _ = told({"classical": np.round(scores, 2), "quantum": np.round(scores + difference, 2)})
        wrong += row["direction"] != "unclear"
    assert wrong == 0


@pytest.mark.parametrize(
    ("values", "step"),
    [([0.913, 0.925], 1e-3), ([0.9, 0.91], 1e-2), ([91.3, 90.0], 0.1), ([3.0, 200.0], 1), ([0.5, math.nan], 0.1),
     ([np.float32(0.913), np.float32(0.25)], 1e-3), ([], 0), ([math.nan], 0), ([-0.25, 1e3], 1e-2)],
)  # fmt: skip
def test_the_step_is_the_coarsest_decimal_grid(values, step):
    assert given.step(np.array(values, float)) == pytest.approx(step)


def test_scores_of_full_precision_have_no_step_that_matters():
    assert given.step(np.random.default_rng(0).random(6)) < 1e-6
    assert given.step(np.array([1 / 3, 2 / 7])) < 1e-6
