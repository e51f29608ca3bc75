"""Every number against SciPy, statsmodels, a closed form or a simulation."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from dopant.study import statistics as st

NUMBERS = hs.lists(hs.integers(-100, 100), min_size=2, max_size=9).map(lambda v: np.array(v) / 64)


def arms(n, seed=0, shift=0.3):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=n)
    return base + shift + 0.5 * rng.normal(size=n), base


@pytest.mark.parametrize("n", [2, 3, 6, 10, 40])
def test_the_paired_interval_and_p_are_those_of_scipy(n):
    a, b = arms(n)
    oracle = stats.ttest_rel(a, b)
    got = st.paired_interval(a - b)
    assert (got.low, got.high) == pytest.approx(tuple(oracle.confidence_interval(0.95)))
    assert st.t_test(got.mean, got.error, n) == pytest.approx(oracle.pvalue)
    assert got.sd == pytest.approx(np.std(a - b, ddof=1))


@pytest.mark.parametrize("n", [2, 6, 25])
def test_the_unpaired_interval_is_welchs(n):
    a, b = arms(n)
    oracle = stats.ttest_ind(3 * a, b, equal_var=False).confidence_interval(0.95)
    assert st.unpaired_interval(3 * a, b) == pytest.approx(tuple(oracle))


def test_resplit_replicates_get_the_variance_of_nadeau_and_bengio():
    a, b = arms(10)
    d, ratio = a - b, 0.2 / 0.6
    got = st.paired_interval(d, resplit=ratio)
    variance = (1 / 10 + ratio) * sum((x - d.mean()) ** 2 for x in d) / 9
    half = stats.t.ppf(0.975, 9) * math.sqrt(variance)
    assert (got.low, got.high) == pytest.approx((d.mean() - half, d.mean() + half))
    plain, corrected = st.unpaired_interval(a, b), st.unpaired_interval(a, b, resplit=ratio)
    factor = (corrected[1] - corrected[0]) / (plain[1] - plain[0])
    assert factor == pytest.approx(math.sqrt((1 / 10 + ratio) * 10))


def test_the_correlation_is_pearsons_and_absent_for_a_constant_arm():
    a, b = arms(12)
    assert st.correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert math.isnan(st.correlation(a, np.ones(12)))
    assert math.isnan(st.correlation(a[:1], b[:1]))


@pytest.mark.parametrize(("shift", "margin"), [(0.0, 0.5), (0.1, 0.3), (-0.2, 0.4), (0.9, 0.2)])
def test_equivalence_is_the_two_one_sided_tests_of_statsmodels(shift, margin):
    a, b = arms(14, shift=shift)
    oracle, _, upper = ttost_paired(a, b, -margin, margin)
    got = st.paired_interval(a - b)
    assert st.equivalence_test(got.mean, got.error, 14, margin) == pytest.approx(oracle)
    assert st.at_most_test(got.mean, got.error, 14, margin) == pytest.approx(upper[1])


@pytest.mark.parametrize("n", [2, 5, 6, 9, 12])
def test_exact_sign_flips_agree_with_scipys_permutation_test(n):
    d = np.round(np.random.default_rng(n).normal(0.4, 1, n), 1)  # a grid, so that sums tie
    oracle = stats.permutation_test(
        (d,), lambda x, axis: np.abs(x.sum(axis)), permutation_type="samples", n_resamples=np.inf, vectorized=True,
        alternative="greater",
    )  # fmt: skip
    assert st.sign_flip_test(d) == pytest.approx(oracle.pvalue)


def test_sign_flips_count_ties_that_rounding_would_split():
    d = np.array([0.1, 0.2, -0.3, 0.1, 0.2, 0.3])  # 0.1 + 0.2 is not 0.3 in binary
    tenths = [1, 2, -3, 1, 2, 3]
    sums = [
        abs(sum(s * v for s, v in zip(signs, tenths, strict=True))) for signs in itertools.product((1, -1), repeat=6)
    ]
    assert st.sign_flip_test(d) == np.mean([s >= 6 for s in sums])


def test_the_floor_is_reached_when_all_differences_have_one_sign():
    for n in (2, 6, 10, 20):
        assert st.sign_flip_test(np.linspace(1, 2, n)) == st.smallest_p(n) == 2.0 ** (1 - n)
    assert st.sign_flip_test(np.linspace(1, 2, 30)) == st.smallest_p(30) == 1 / 100_000


def test_random_flips_beyond_twenty_are_near_the_normal_limit_and_repeatable():
    d = np.random.default_rng(1).normal(0.3, 1, 60)
    p = st.sign_flip_test(d)
    limit = 2 * stats.norm.sf(abs(d.sum()) / math.sqrt((d**2).sum()))
    assert p == pytest.approx(limit, rel=0.05)
    assert p == st.sign_flip_test(d)
    assert p != st.sign_flip_test(d, seed=1)


def test_sign_flips_of_many_studies_are_those_of_each():
    d = np.random.default_rng(2).normal(size=(3, 4, 7))
    p = st.sign_flip_test(d)
    assert p.shape == (3, 4)
    assert p[2, 1] == st.sign_flip_test(d[2, 1])
    assert st.sign_flip_test(np.zeros(6)) == 1
    assert math.isnan(st.sign_flip_test(np.array([1.0, np.nan])))


@given(hs.lists(hs.floats(0, 1), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_holm_is_that_of_statsmodels(p):
    assert st.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_counts_an_unknown_p_in_the_family_and_leaves_it_unknown():
    got = st.holm([0.01, np.nan, 0.02])
    assert got[[0, 2]] == pytest.approx([0.03, 0.04])
    assert math.isnan(got[1])
    assert st.holm([]).shape == (0,)


@pytest.mark.parametrize("n", [3, 6, 10, 20, 100])
def test_the_smallest_detectable_effect_has_the_power_of_statsmodels(n):
    sd = 0.7
    effect = float(st.smallest_detectable(sd, n))
    assert TTestPower().power(effect / sd, n, 0.05) == pytest.approx(0.8, abs=1e-5)
    resplit = float(st.smallest_detectable(sd, n, resplit=0.25))
    assert resplit == pytest.approx(effect * math.sqrt(1 + 0.25 * n))
    assert math.isnan(st.smallest_detectable(sd, 1))


@pytest.mark.parametrize("effect", [2.0, 1.0, 0.5, 0.1])
def test_the_replicates_needed_are_those_of_statsmodels(effect):
    exact = TTestPower().solve_power(effect_size=effect, alpha=0.05, power=0.8)
    assert st.replicates_needed(effect, 1.0) == math.ceil(exact)
    assert st.replicates_needed(-effect, 1.0) == math.ceil(exact)


def test_no_number_of_replicates_helps_against_overlapping_training_sets():
    assert st.replicates_needed(0.5, 1.0, resplit=0.25) == math.inf
    assert st.replicates_needed(2.0, 1.0, resplit=0.25) < 20
    assert st.replicates_needed(0.0, 1.0) == math.inf
    assert math.isnan(st.replicates_needed(0.0, 0.0))
    assert math.isnan(st.replicates_needed(0.1, math.nan))


def test_without_spread_or_with_one_replicate_nothing_is_claimed():
    constant = 0.1 + 0.2 * np.ones(7)
    for d in (np.zeros(6), constant, np.array([0.3]), np.array([])):
        got = st.paired_interval(d)
        assert np.isnan([got.low, got.high]).all()
        assert math.isnan(st.t_test(got.mean, got.error, max(len(d), 2)))
        assert np.isnan(st.unpaired_interval(d, np.zeros(len(d)))).all()
    assert st.paired_interval(constant).sd == 0


def test_item_error_over_shared_items_is_that_of_the_averaged_differences():
    rng = np.random.default_rng(0)
    a, b = rng.random((5, 200)) < 0.9, rng.random((5, 200)) < 0.8
    d = a.astype(float) - b
    assert st.item_error(a, b, same_items=True) == pytest.approx(stats.sem(d.mean(0)))
    own = [stats.sem(row) for row in d]
    assert st.item_error(a, b, same_items=False) == pytest.approx(math.sqrt(np.mean(np.square(own))))
    assert st.item_error(a[:1], b[:1], same_items=True) == pytest.approx(own[0])


def test_item_error_is_absent_where_items_do_not_match():
    assert math.isnan(st.item_error([np.ones(3)], [np.ones(4)], same_items=True))
    assert math.isnan(st.item_error([np.ones(3), np.ones(4)], [np.ones(3), np.ones(4)], same_items=True))
    assert math.isnan(st.item_error([], [], same_items=True))


@pytest.mark.parametrize("n", [6, 10, 20])
@pytest.mark.parametrize("law", ["normal", "t5", "grid"])
def test_the_interval_covers_the_truth_in_93_of_100_studies(n, law):
    rng = np.random.default_rng(n)
    draws = rng.standard_t(5, (10_000, n)) if law == "t5" else rng.normal(size=(10_000, n))
    got = st.paired_interval((np.round(draws) if law == "grid" else draws) + 0.5)
    assert np.mean((got.low <= 0.5) & (got.high >= 0.5)) >= 0.93


def test_ten_thousand_studies_take_seconds():
    d = np.random.default_rng(0).normal(size=(10_000, 10))
    start = time.process_time()
    st.sign_flip_test(d), st.paired_interval(d), st.unpaired_interval(d, d[::-1])
    assert time.process_time() - start < 5


def test_false_positives_of_both_tests_stay_within_binomial_bounds():
    studies, n = 4000, 8
    rng = np.random.default_rng(3)
    d = rng.normal(size=(studies, n))
    bound = stats.binom.ppf(0.999, studies, 0.05)
    got = st.paired_interval(d)
    assert (st.t_test(got.mean, got.error, n) <= 0.05).sum() <= bound
    assert (st.sign_flip_test(d) <= 0.05).sum() <= bound


def test_equivalence_errs_at_most_in_one_of_twenty_at_the_margin():
    studies, n = 4000, 12
    d = np.random.default_rng(4).normal(size=(studies, n)) + 1.0
    got = st.paired_interval(d)
    wrong = st.equivalence_test(got.mean, got.error, n, 1.0) <= 0.05
    assert 0 < wrong.sum() <= stats.binom.ppf(0.999, studies, 0.05)


@given(NUMBERS, hs.permutations(range(9)))
@settings(deadline=None)
def test_the_order_of_replicates_does_not_matter(d, order):
    shuffled = d[[i for i in order if i < len(d)]]
    first, second = st.paired_interval(d), st.paired_interval(shuffled)
    assert (first.low, first.high) == pytest.approx((second.low, second.high), nan_ok=True)
    assert st.sign_flip_test(d) == pytest.approx(st.sign_flip_test(shuffled))


@given(NUMBERS, hs.sampled_from([-8.0, -1.0, 0.01, 3.0]))
@settings(deadline=None)
def test_scaling_scales_the_interval_and_leaves_p(d, factor):
    first, second = st.paired_interval(d), st.paired_interval(factor * d)
    ends = sorted([factor * first.low, factor * first.high])
    assert [second.low, second.high] == pytest.approx(ends, nan_ok=True)
    assert st.sign_flip_test(factor * d) == pytest.approx(st.sign_flip_test(d))


def test_random_flips_are_counted_as_by_multiplying_with_the_signs():
    generator = np.random.default_rng(5)
    for n in (21, 24, 29):
        rows = np.round(generator.normal(0.1, 1, (2, n)), 2)
        bar = np.abs(rows.sum(1)) - 1e-9
        signs = np.random.default_rng(7).integers(0, 2, (5000, n), dtype=np.int8) * 2.0 - 1.0
        direct = (np.abs(signs @ rows.T) >= bar).sum(0)
        assert list(st._random_hits(rows, bar, 5000, 7)) == list(direct)
