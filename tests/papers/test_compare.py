"""Differences from published numbers, and which interval they carry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dopant.papers.compare import NONE, PREDICTION, WELCH, Series, difference_interval, differences


def test_two_groups_of_runs_get_welchs_interval_as_scipy_gives_it():
    generator = np.random.default_rng(1)
    ours, theirs = generator.normal(0.93, 0.004, 4), generator.normal(0.92, 0.001, 5)
    low, high, kind = difference_interval(ours.mean(), ours.std(ddof=1), 4, theirs.mean(), theirs.std(ddof=1), 5)
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval()
    assert kind == WELCH
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_one_run_of_the_same_kind_lies_in_the_prediction_interval_19_times_in_20():
    generator = np.random.default_rng(2)
    inside = 0
    for runs in generator.normal(0, 1, (4000, 6)):
        low, high, kind = difference_interval(runs[5], math.nan, 1, runs[:5].mean(), runs[:5].std(ddof=1), 5)
        assert kind == PREDICTION
        inside += low <= 0 <= high
    assert inside / 4000 == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(("n", "published_n", "sd"), [(1, 1, 0.1), (3, 1, 0.1), (1, 5, 0.0), (3, 5, 0.0)])
def test_without_a_spread_there_is_no_interval(n: int, published_n: int, sd: float):
    low, high, kind = difference_interval(0.9, sd, n, 0.8, sd, published_n)
    assert kind == NONE
    assert math.isnan(low) and math.isnan(high)


def test_the_comparison_is_at_the_same_epoch_and_ends_with_the_shorter_curve():
    series = Series("torch", "MNIST", 0, 5, 5, {"test_accuracy": (0.1, 0.2, 0.3), "test_accuracy_sd": (0.01,) * 3})
    found = differences(series, np.array([[0.15, 0.1], [0.17, 0.3]]))
    assert [(d.epoch, d.published, round(d.measured, 6)) for d in found] == [(1, 0.1, 0.16), (2, 0.2, 0.2)]
    assert found[1].mean == pytest.approx(0.0) and found[1].inside
    assert len(differences(series, np.full((2, 9), 0.5))) == 3
