"""Replicates that would tell do tell: both tests that decide are counted over studies that were simulated apart."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dopant.designs import Contrast
from dopant.study import statistics as st
from dopant.study import verdicts
from dopant.study.power import detectable, with_flips


def needed(effect, alpha=0.05):
    return with_flips(st.replicates_needed(effect, 1.0, alpha=alpha), effect, 1.0, alpha=alpha, flips=alpha)


def decided(effect, n, alpha=0.05, studies=6000):
    """The share of studies that SciPy's two tests both decide; its permutation test flips signs for one sample."""
    d = np.random.default_rng(n).normal(effect, 1.0, (studies, n))
    by_t = stats.ttest_1samp(d, 0, axis=1).pvalue <= alpha
    signs = 1 - 2 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1)
    p = (np.abs(d @ signs.T) >= np.abs(d.sum(1))[:, None] - 1e-9).mean(1)
    return float(np.mean(by_t & (p <= alpha) & (d.mean(1) > 0)))


@pytest.mark.parametrize("effect", [1.9, 1.45, 1.28, 1.16, 1.08, 1.0])
def test_as_many_replicates_as_are_named_decide_four_in_five_studies_and_one_less_does_not(effect):
    n = int(needed(effect))
    assert decided(effect, n) > 0.78
    assert n == 6 or decided(effect, n - 1) < 0.81


def test_the_t_test_alone_would_have_promised_too_much():
    for n in (6, 7, 8):
        planned = st.noncentrality(n) / math.sqrt(n)
        assert st.replicates_needed(planned * 1.0001, 1.0) == n < needed(planned * 1.0001)
        assert decided(planned, n) < 0.78


def test_six_replicates_need_all_of_one_sign_which_has_a_closed_form():
    one_sign = stats.norm.ppf(0.8 ** (1 / 6))
    assert one_sign <= detectable(6, 0.05, 0.05) + 0.03 and detectable(6, 0.05, 0.05) < one_sign * 1.04
    assert detectable(5, 0.05, 0.05) == math.inf
    assert needed(3.0) == 6  # a large effect needs no more than the fewest


def test_in_a_family_the_level_and_the_fewest_are_those_of_the_family():
    alpha = 0.05 / 4
    n = int(needed(1.5, alpha))
    assert n >= 8 and decided(1.5, n, alpha) > 0.78 and decided(1.5, n - 1, alpha) < 0.81
    assert needed(0.2) == st.replicates_needed(0.2, 1.0)  # many replicates: the t test's number
    assert math.isnan(needed(math.nan)) and needed(1e-9) == math.inf


def test_a_verdict_names_them_for_what_flips_judge_and_the_t_tests_number_for_a_comparison():
    z = np.array([-1.0, 0.2, 0.8, 0.0])
    d = 1.3 + (z - z.mean()) / z.std(ddof=1)
    table = pd.DataFrame(
        {"arm": arm, "replicate": r, "value": value}
        for arm, values in {"old": np.zeros(4), "new": d, "plain": np.zeros(4)}.items()
        for r, value in enumerate(values)
    )
    rows = verdicts.effects(table, [Contrast("new", "new", "old", ("plain",))], metric="score").set_index("role")
    assert rows.loc["level", "direction"] == "unclear" == rows.loc["swap-versus-control", "direction"]
    assert rows.loc["level", "replicates_needed"] == needed(1.3) > rows.loc["swap-versus-control", "replicates_needed"]
    assert rows.loc["swap-versus-control", "replicates_needed"] == st.replicates_needed(1.3, 1.0)
