"""Max-|t| over joint sign flips, against brute force, SciPy and what it promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from scipy import stats

from dopant.study import statistics as st
from dopant.study.joint import joint_sign_flips, simultaneous

GRID = hs.integers(-6, 6).map(lambda k: k / 40)  # many ties and zeros, as accuracies on few items have


def by_hand(d: np.ndarray) -> list[float]:
    """Step-down max-|t| with t from SciPy, all 2**n flips, the definition word for word."""

    def t(rows: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            found = np.abs(stats.ttest_1samp(rows, 0, axis=1).statistic)
        exact = np.ptp(rows, axis=1) < 1e-12
        found[exact] = np.where(np.abs(rows[exact, 0]) > 1e-12, np.inf, 0.0)
        return found

    flips = [np.array(s) for s in itertools.product((1, -1), repeat=d.shape[1])]
    all_t = np.array([t(d * s) for s in flips])
    seen = t(d)
    order = np.argsort(-seen, kind="stable")
    p, last = np.empty(len(d)), 0.0
    for place, entry in enumerate(order):
        biggest = all_t[:, order[place:]].max(1)
        last = max(last, float(np.mean(biggest >= seen[entry] * (1 - 1e-9))))
        p[entry] = last
    return list(p)


def test_the_p_values_are_those_of_the_definition():
    for seed in range(3):
        d = np.random.default_rng(seed).normal([[0.0], [0.5], [1.5]], 1, (3, 7))
        assert joint_sign_flips(d) == pytest.approx(by_hand(d))


@settings(max_examples=15, deadline=None)
@given(hs.lists(hs.lists(GRID, min_size=6, max_size=6), min_size=1, max_size=3))
def test_ties_zeros_and_constant_differences_are_those_of_the_definition_too(rows):
    assert joint_sign_flips(np.array(rows)) == pytest.approx(by_hand(np.array(rows)))


def test_one_entry_has_the_p_of_the_ordinary_sign_flip_test():
    for n in (6, 10, 21):
        d = np.random.default_rng(n).normal(0.4, 1, n)
        assert joint_sign_flips(d[None])[0] == pytest.approx(float(st.sign_flip_test(d)), abs=4e-3 if n > 20 else 1e-12)


@settings(max_examples=20, deadline=None)
@given(hs.lists(hs.lists(GRID, min_size=8, max_size=8), min_size=2, max_size=4), hs.randoms())
def test_the_joint_p_is_no_smaller_than_the_single_one_and_knows_neither_order_nor_unit(rows, random):
    d = np.array(rows)
    p = joint_sign_flips(d)
    assert (p >= st.sign_flip_test(d) - 1e-12).all()
    order = random.sample(range(len(d)), len(d))
    assert joint_sign_flips(d[order]) == pytest.approx(p[order])
    assert joint_sign_flips(1000 * d) == pytest.approx(p)


def test_copies_of_an_entry_cost_nothing_and_the_smallest_p_does_not_depend_on_their_number():
    d = np.random.default_rng(1).normal(0.6, 1, (1, 9))
    assert joint_sign_flips(np.repeat(d, 30, 0)) == pytest.approx([joint_sign_flips(d)[0]] * 30)
    assert joint_sign_flips(np.ones((40, 8)) + np.arange(40)[:, None])[0] == st.smallest_p(8)


def test_a_huge_failure_value_is_no_overflow():
    assert joint_sign_flips(np.array([[1e300] * 6, [0.0] * 6])) == pytest.approx([st.smallest_p(6), 1.0])


def test_no_true_null_is_rejected_more_often_than_the_level_whatever_the_others_do():
    """Heavy tails, strong dependence through the shared reference, one entry with a large effect."""
    rng, studies, entries, n, wrong = np.random.default_rng(5), 600, 6, 8, 0
    for _ in range(studies):
        d = rng.standard_t(3, (entries, n)) + rng.standard_t(3, n)
        d[0] += 4
        wrong += (joint_sign_flips(d)[1:] <= 0.05).any()
    assert wrong <= stats.binom.isf(0.005, studies, 0.05)


def test_simultaneous_intervals_are_bonferronis_and_hold_together():
    rng, studies, entries, n, held = np.random.default_rng(2), 500, 12, 8, 0
    for _ in range(studies):
        d = 0.7 * rng.normal(size=(entries, n)) + rng.normal(size=n)
        ends = [simultaneous(row.mean(), row.std(ddof=1), n, entries) for row in d]
        held += all(low <= 0 <= high for low, high in ends)
    assert held >= stats.binom.ppf(0.005, studies, 0.95)
    oracle = stats.ttest_1samp(d[0], 0).confidence_interval(1 - 0.05 / entries)
    assert simultaneous(d[0].mean(), d[0].std(ddof=1), n, entries) == pytest.approx(tuple(oracle))
    assert np.isnan(simultaneous(1.0, 0.0, 5, 2)).all() and np.isnan(simultaneous(1.0, 1.0, 1, 2)).all()
