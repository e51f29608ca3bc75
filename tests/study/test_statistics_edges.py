"""Where the numbers change rule: no replicate, one, two, twenty-one; whole numbers; one study among many.

Each is a place where a small slip of the code would pass every other test.
"""

import math

import numpy as np
import pytest
from scipy import stats

from dopant.study import statistics as st
from dopant.study.joint import joint_sign_flips, simultaneous

MANY = np.random.default_rng(0).normal(0.4, 1, (3, 21))  # beyond the 20 replicates up to which flips are exact


# --- sign flips -----------------------------------------------------------------------------------------------------


def test_one_difference_has_p_1_and_none_has_no_p():
    assert st.sign_flip_test(np.array([0.3])) == 1
    nothing = st.sign_flip_test(np.zeros((2, 3, 0)))
    assert nothing.shape == (2, 3) and np.isnan(nothing).all()


def test_random_flips_of_many_studies_are_those_of_each():
    together = st.sign_flip_test(MANY, draws=5000)
    assert together == pytest.approx([float(st.sign_flip_test(d, draws=5000)) for d in MANY])
    assert len(set(together)) == 3


def test_more_studies_than_are_done_at_a_time_are_done_all_with_exact_flips_too():
    d = np.random.default_rng(1).normal(0.3, 1, (70, 17))  # 64 at a time
    p = st.sign_flip_test(d)
    for k in (0, 63, 64, 69):
        assert p[k] == st.sign_flip_test(d[k])


def test_as_many_random_flips_are_drawn_as_were_asked_for():
    lone = np.zeros(21)
    lone[4] = 0.7  # every flip has the same |sum|, so that every flip is a hit
    for draws in (1, 9_999, 10_000, 25_000):
        assert st.sign_flip_test(lone, draws=draws) == 1
    assert st.sign_flip_test(np.zeros(21), draws=500) == 1
    assert st.sign_flip_test(np.linspace(1, 2, 40), draws=24_999) == 1 / 25_000


def test_the_default_draws_and_seed_are_those_that_are_documented():
    assert st.sign_flip_test(MANY[0]) == st.sign_flip_test(MANY[0], draws=99_999, seed=0)
    assert joint_sign_flips(MANY) == pytest.approx(joint_sign_flips(MANY, draws=99_999, seed=0), abs=0)


def test_the_floor_of_random_flips_is_the_larger_of_what_is_possible_and_what_is_drawn():
    assert st.smallest_p(21, draws=10**9) == 2.0**-20
    assert st.smallest_p(21, draws=999) == 1 / 1000
    assert st.smallest_p(20, draws=9) == 2.0**-19


# --- t tests and intervals ------------------------------------------------------------------------------------------


def test_two_replicates_are_enough_for_an_interval_and_one_is_not():
    low, high = stats.ttest_1samp([0.1, 0.4], 0).confidence_interval(0.9)
    got = st.paired_interval(np.array([0.1, 0.4]), level=0.9)
    assert (got.low, got.high) == pytest.approx((low, high))
    for found in (st.paired_interval(np.full((2, 1), 0.3)), st.paired_interval(np.zeros((2, 0)))):
        assert np.isnan([found.sd, found.error, found.low, found.high]).all() and found.low.shape == (2,)
    assert st.paired_interval(np.full((2, 1), 0.3)).mean == pytest.approx([0.3, 0.3])
    assert np.isnan(st.paired_interval(np.zeros((2, 0))).mean).all()


def test_lists_of_whole_numbers_are_numbers_too():
    got = st.paired_interval([1, 2, 4])  # pyright: ignore[reportArgumentType]
    assert (got.mean, got.sd) == (pytest.approx(7 / 3), pytest.approx(np.std([1, 2, 4], ddof=1)))
    assert st.sign_flip_test([1, 2, 4]) == 0.25  # pyright: ignore[reportArgumentType]
    assert list(joint_sign_flips([[1, 2, 4], [0, 0, 0]])) == [0.25, 1]  # pyright: ignore[reportArgumentType]
    low, high = st.unpaired_interval([1, 2, 4], [0, 5, 1])  # pyright: ignore[reportArgumentType]
    assert (low, high) == pytest.approx(
        tuple(stats.ttest_ind([1, 2, 4], [0, 5, 1], equal_var=False).confidence_interval(0.95))
    )
    assert st.correlation([1, 2, 4], [0, 5, 1]) == pytest.approx(  # pyright: ignore[reportArgumentType]
        np.corrcoef([1, 2, 4], [0, 5, 1])[0, 1]
    )
    assert list(st.holm([0, 1])) == [0, 1]


def test_unpaired_intervals_of_arms_of_different_length_and_of_many_studies():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.4, 1, (2, 5)), rng.normal(0, 3, (2, 9))
    low, high = st.unpaired_interval(a, b, level=0.9)
    for k in range(2):
        oracle = stats.ttest_ind(a[k], b[k], equal_var=False).confidence_interval(0.9)
        assert (low[k], high[k]) == pytest.approx(tuple(oracle))
    wide = st.unpaired_interval(a, b, level=0.9, resplit=0.25)
    variances = a.var(-1, ddof=1) * (1 / 5 + 0.25), b.var(-1, ddof=1) * (1 / 9 + 0.25)
    plain = np.sqrt(a.var(-1, ddof=1) / 5 + b.var(-1, ddof=1) / 9)
    assert wide[1] - wide[0] == pytest.approx((high - low) * np.sqrt(sum(variances)) / plain)


def test_an_arm_without_spread_leaves_the_other_arms_spread():
    low, high = st.unpaired_interval(np.array([0.5, 0.5, 0.5]), np.array([0.1, 0.2, 0.4]))
    oracle = stats.ttest_1samp([0.4, 0.3, 0.1], 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx(tuple(oracle))
    for few in (np.array([0.5]), np.array([])):
        assert np.isnan(st.unpaired_interval(few, np.array([0.1, 0.2]))).all()
        assert np.isnan(st.unpaired_interval(np.array([0.1, 0.2]), few)).all()
    assert all(x.shape == (4,) for x in st.unpaired_interval(np.zeros((4, 1)), np.zeros((4, 1))))


def test_correlations_of_many_studies_are_those_of_each_and_two_replicates_suffice():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(3, 2, 6)), rng.normal(size=(3, 2, 6))
    got = st.correlation(a, b)
    assert got.shape == (3, 2) and got[2, 1] == pytest.approx(np.corrcoef(a[2, 1], b[2, 1])[0, 1])
    assert st.correlation(np.array([1.0, 2.0]), np.array([3.0, 1.0])) == pytest.approx(-1)
    short = st.correlation(np.zeros((2, 1)), np.zeros((2, 1)))
    assert short.shape == (2,) and np.isnan(short).all()


def test_tests_are_absent_without_error_and_two_sided_with_it():
    assert np.isnan(st.t_test(np.array([0.1, 0.1]), np.array([0.0, np.nan]), 5)).all()
    assert st.t_test(np.array(-0.2), np.array(0.1), 5) == pytest.approx(2 * stats.t.sf(2, 4))
    assert st.at_most_test(np.array(0.1), np.array(0.1), 5, 0.3) == pytest.approx(stats.t.cdf(-2, 4))
    for mean in (0.1, -0.1):
        assert st.equivalence_test(np.array(mean), np.array(0.1), 5, 0.3) == pytest.approx(stats.t.sf(2, 4))


# --- planning -------------------------------------------------------------------------------------------------------


def test_one_sided_tests_and_other_powers_are_planned_by_the_noncentral_t():
    for n, alpha, power, sides in ((8, 0.05, 0.9, 1), (8, 0.05, 0.9, 2), (2, 0.01, 0.8, 2), (5, 0.05, 0.5, 1)):
        shift = st.noncentrality(n, alpha, power, sides)
        assert stats.nct.sf(stats.t.isf(alpha / sides, n - 1), n - 1, shift) == pytest.approx(power, abs=1e-7)
    assert st.noncentrality(9) == st.noncentrality(9, 0.05, 0.8, 2)
    assert st.noncentrality(2, 0.001, 0.99) > 1000  # far beyond where the search begins


@pytest.mark.parametrize(("alpha", "power", "sides"), [(0.05, 0.9, 1), (0.01, 0.8, 2), (0.05, 0.5, 1)])
def test_the_replicates_needed_follow_level_power_and_sides(alpha, power, sides):
    n = int(st.replicates_needed(0.7, 1.0, alpha=alpha, power=power, sides=sides))
    for count, right in ((n, True), (n - 1, False)):
        shift, critical = 0.7 * math.sqrt(count), stats.t.isf(alpha / sides, count - 1)
        assert (stats.nct.sf(critical, count - 1, shift) >= power - 1e-9) == right


def test_the_smallest_detectable_follows_level_and_power_and_is_absent_below_two_replicates():
    assert float(st.smallest_detectable(2.0, 7, alpha=0.01, power=0.9)) == pytest.approx(
        2 / math.sqrt(7) * st.noncentrality(7, 0.01, 0.9)
    )
    assert float(st.smallest_detectable(1.0, 2)) > 0
    assert np.isnan(st.smallest_detectable(np.ones(3), 1)).tolist() == [True] * 3


def test_the_replicates_needed_at_the_ends_of_the_search():
    assert st.replicates_needed(1.0, 0.0) == 2  # without spread two tell
    assert st.replicates_needed(1e6, 1.0) == 2
    assert st.replicates_needed(math.inf, 1.0) != st.replicates_needed(1.0, 1.0)
    assert math.isnan(st.replicates_needed(math.inf, 1.0)) and math.isnan(st.replicates_needed(1.0, math.inf))
    most = st.MOST_REPLICATES
    least = st.noncentrality(most) / math.sqrt(most)  # the smallest effect that the search can still find
    assert st.replicates_needed(least * (1 + 1e-6), 1.0) == most
    assert st.replicates_needed(least * (1 - 1e-6), 1.0) == math.inf


# --- items ----------------------------------------------------------------------------------------------------------


def test_item_error_needs_two_items_and_takes_any_shape_and_kind():
    assert math.isnan(st.item_error([np.ones(1)], [np.zeros(1)], same_items=True))
    two = st.item_error([np.array([True, False])], [np.array([False, False])], same_items=True)
    assert two == pytest.approx(0.5)
    square = st.item_error([np.eye(2)], [np.zeros((2, 2))], same_items=False)
    assert square == pytest.approx(stats.sem([1, 0, 0, 1]))
    with pytest.raises(ValueError):
        st.item_error([np.eye(2)], [], same_items=True)
    unequal = st.item_error([np.eye(2), np.arange(3)], [np.zeros((2, 2)), np.zeros(3)], same_items=False)
    assert unequal == pytest.approx(math.sqrt((stats.sem([1, 0, 0, 1]) ** 2 + stats.sem([0, 1, 2]) ** 2) / 2))


# --- races ----------------------------------------------------------------------------------------------------------


def test_a_race_of_nobody_or_of_no_replicate_has_no_p():
    assert joint_sign_flips(np.zeros((0, 5))).shape == (0,)
    assert np.isnan(joint_sign_flips(np.zeros((3, 0)))).tolist() == [True] * 3
    assert joint_sign_flips(np.array([[0.4], [0.1]])).tolist() == [1, 1]


def test_a_tiny_entry_beside_a_huge_one_keeps_its_p():
    assert joint_sign_flips(np.array([[1e300] * 6, [1e-10] * 6])) == pytest.approx([2.0**-5] * 2)


def test_an_entry_with_one_difference_is_as_undecided_as_can_be_and_so_are_those_below_it():
    lone, weaker = [1.0, 0, 0, 0, 0, 0], [0.4, 0.3, -0.2, -0.1, 0.1, -0.2]
    assert abs(sum(weaker)) / math.sqrt(sum(x * x for x in weaker)) < 1
    assert joint_sign_flips(np.array([lone, weaker])).tolist() == [1, 1]


def test_simultaneous_intervals_of_two_replicates_and_of_resplit_ones():
    half = stats.t.isf(0.1 / 2 / 3, 1) * 0.5 * math.sqrt(1 / 2 + 0.25)
    got = simultaneous(0.2, 0.5, 2, 3, resplit=0.25, level=0.9)
    assert got == pytest.approx((0.2 - half, 0.2 + half))
    assert simultaneous(0.2, 0.5, 6, 1) == pytest.approx(
        (0.2 - stats.t.isf(0.025, 5) * 0.5 / math.sqrt(6), 0.2 + stats.t.isf(0.025, 5) * 0.5 / math.sqrt(6))
    )


def test_exact_joint_flips_in_several_blocks_and_at_twenty_replicates_are_those_of_one_entry():
    for n in (16, 20):  # 2**14 vectors of signs at a time
        d = np.random.default_rng(n).normal(0.3, 1, n)
        assert joint_sign_flips(d[None])[0] == pytest.approx(float(st.sign_flip_test(d)), rel=1e-12)


def test_as_many_random_joint_flips_are_drawn_as_were_asked_for():
    lone = np.zeros((1, 21))
    lone[0, 4] = 0.7  # every flip is a hit
    for draws in (1, 2**14, 20_000):
        assert joint_sign_flips(lone, draws=draws).tolist() == [1]
    assert joint_sign_flips(np.linspace(1, 2, 40)[None], draws=24_999).tolist() == [1 / 25_000]
