"""The error of a finite test set: against SciPy's bootstrap and statsmodels' McNemar test."""

from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from dopant.designs import Contrast
from dopant.study import verdicts
from dopant.study.items import bootstrap_interval, item_differences, mcnemar_p


def right(rate, items, seed):
    return (np.random.default_rng(seed).random(items) < rate).astype(float)


@pytest.mark.parametrize("few", [True, False])
def test_the_interval_is_scipys_percentile_bootstrap(few):
    rng = np.random.default_rng(0)
    d = rng.choice([-1, 0, 0, 0, 1, 1], 300).astype(float) if few else rng.normal(0.1, 1, 300)
    theirs = stats.bootstrap(
        (d,), np.mean, method="percentile", n_resamples=20_000, rng=1, batch=500
    ).confidence_interval
    half = (theirs.high - theirs.low) / 2
    assert bootstrap_interval(d, draws=20_000) == pytest.approx(tuple(theirs), abs=0.04 * half)


def test_mcnemar_of_one_replicate_is_that_of_statsmodels():
    for seed in range(6):
        a, b = right(0.8, 60, seed), right(0.7, 60, 100 + seed)
        table = pd.crosstab(a == 1, b == 1).reindex(index=[True, False], columns=[True, False], fill_value=0)
        assert mcnemar_p([a], [b]) == pytest.approx(mcnemar(table.to_numpy(), exact=True).pvalue)


def test_several_replicates_count_an_item_once_for_the_arm_that_gets_it_right_more_often():
    a, b = [right(0.9, 50, s) for s in range(5)], [right(0.7, 50, 50 + s) for s in range(5)]
    d = np.sum(a, 0) - np.sum(b, 0)
    oracle = stats.binomtest(int((d > 0).sum()), int((d != 0).sum())).pvalue
    assert mcnemar_p(a, b) == pytest.approx(oracle)
    assert mcnemar_p(a * 7, b * 7) == pytest.approx(oracle)  # repetitions of the same networks are no evidence


def test_arms_that_agree_on_every_item_have_p_one_and_no_interval():
    a = right(0.5, 30, 0)
    assert mcnemar_p([a], [a]) == 1.0
    assert all(map(math.isnan, bootstrap_interval(np.zeros(30))))


def test_what_is_not_right_or_wrong_or_not_the_same_items_has_no_test():
    a = right(0.5, 30, 0)
    assert math.isnan(mcnemar_p([a + 0.1], [a])) and math.isnan(mcnemar_p([], []))
    assert math.isnan(mcnemar_p([a, a[:9]], [a, a[:9]])) and item_differences([a], [a[:9]]) is None
    assert item_differences([a + np.nan], [a]) is None


def test_the_interval_holds_as_often_as_it_says():
    rng, held = np.random.default_rng(3), 0
    for study in range(400):
        p = rng.multinomial(1, [0.15, 0.75, 0.10], 300) @ [1.0, 0.0, -1.0]
        low, high = bootstrap_interval(p, draws=800, seed=study)
        held += low <= 0.05 <= high
    assert held >= stats.binom.ppf(0.005, 400, 0.94)


def effects_of(sign=1, resplit=None, replicates=4):
    rng = np.random.default_rng(7)
    items = {
        (arm, r): (rng.random(200) < rate).astype(float)
        for arm, rate in (("old", 0.7), ("new", 0.8))
        for r in range(replicates)
    }
    table = pd.DataFrame([{"arm": a, "replicate": r, "value": v.mean()} for (a, r), v in items.items()])
    found = verdicts.effects(
        table,
        [Contrast("new", "new", "old")],
        metric="accuracy",
        higher_is_better=sign > 0,
        items=items,
        resplit=resplit,
    )
    return items, found.iloc[0]


def test_the_columns_hold_interval_and_test_turned_as_the_metric_is():
    items, row = effects_of()
    ours, theirs = ([items[arm, r] for r in range(4)] for arm in ("new", "old"))
    assert row["item_low"] < row["mean"] < row["item_high"]
    assert (row["item_high"] - row["item_low"]) / 2 == pytest.approx(1.96 * row["item_error"], rel=0.08)
    assert row["mcnemar_p"] == mcnemar_p(ours, theirs)
    _, turned = effects_of(sign=-1)
    assert (turned["item_low"], turned["item_high"]) == pytest.approx((-row["item_high"], -row["item_low"]))


def test_other_items_in_each_replicate_have_neither_but_a_single_replicate_does():
    _, row = effects_of(resplit=0.25)
    assert np.isnan([row["item_low"], row["mcnemar_p"]]).all() and row["item_error"] > 0
    _, alone = effects_of(resplit=0.25, replicates=1)
    assert not np.isnan([alone["item_low"], alone["mcnemar_p"]]).any()


def test_ten_contrasts_of_twenty_replicates_on_ten_thousand_items_take_seconds():
    rng = np.random.default_rng(0)
    a, b = [right(0.9, 10_000, s) for s in range(20)], [right(0.9, 10_000, 99 + s) for s in range(20)]
    start = time.process_time()
    bootstrap_interval(item_differences(a, b))
    mcnemar_p(a, b)
    bootstrap_interval(rng.normal(size=10_000))  # a loss: every value its own
    assert time.process_time() - start < 3
