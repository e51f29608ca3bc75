"""Coverage, false alarms, power and equivalence as they are promised, each count with its binomial bound."""

from __future__ import annotations

import math
import re
from pathlib import Path

import laws
import numpy as np
import pytest
import rates
from scipy import stats

from dopant.designs import Contrast
from dopant.study import statistics as st

DOCS = Path(__file__).parents[2] / "docs" / "proofs.md"
STUDIES = 20_000
THREE_ERRORS = 3.1 * math.sqrt(0.05 * 0.95 / STUDIES)  # of a share near 95 %: missed by chance once in a thousand


@pytest.mark.parametrize("n", rates.REPLICATES)
@pytest.mark.parametrize("law", laws.PROVEN)
def test_intervals_hold_the_truth_in_93_of_100_studies(law, n):
    assert rates.coverage(laws.LAWS[law], n, STUDIES, seed=50) - THREE_ERRORS >= 0.93


def test_intervals_of_resplit_replicates_hold_the_truth_only_when_corrected():
    shares = [rates.coverage(laws.overlapping, 10, STUDIES, 50, ratio) for ratio in (rates.RATIO, 0.0)]
    assert shares[0] - THREE_ERRORS >= 0.93
    assert shares[1] < 0.75


def test_intervals_of_real_learners_that_resplit_a_pool_hold_the_truth_when_corrected():
    pools = laws.resplit_learners(np.random.default_rng(50), 1000, 10)
    truth = float(pools.mean())
    shares = [rates.coverage(lambda *_: (pools, truth), 10, resplit=ratio) for ratio in (rates.RATIO, 0.0)]
    assert shares[0] >= 0.95
    assert shares[1] < 0.91


@pytest.mark.parametrize("n", [6, 10])
@pytest.mark.parametrize("law", laws.PROVEN)
def test_swaps_without_an_effect_are_called_better_or_worse_in_at_most_5_of_100_studies(law, n):
    wrong = rates.called_without_effect(laws.LAWS[law], n, 4000, seed=50)
    assert 0 < wrong * 4000 <= laws.at_most(0.05, 4000)


def test_the_rule_for_many_studies_at_once_is_that_of_the_engine():
    rng = np.random.default_rng(0)
    for n, resplit in ((6, 0.0), (10, 0.0), (10, rates.RATIO), (5, 0.0)):
        scores = rng.normal(size=(25, 2, n)) + np.linspace(-2, 2, 25)[:, None, None] * [[0.0], [1.0]]
        said = rates.called(scores[:, 1] - scores[:, 0], resplit)
        contrast = [Contrast("swap", "a1", "a0")]
        engine = [rates.judged(s, contrast, metric="score", resplit=resplit or None)["direction"][0] for s in scores]
        assert list(said) == [word in ("better", "worse") for word in engine]
        assert 0 < said.sum() < 25


@pytest.mark.parametrize("resplit", [None, rates.RATIO])
def test_400_studies_of_a_re_seeded_network_are_called_better_or_worse_at_most_at_alpha(resplit):
    assert rates.alike_wrong(400, 10, resplit, seed=50) <= laws.at_most(0.05, 400)


@pytest.mark.parametrize("role", ["level", "race"])
def test_a_family_errs_at_most_at_alpha_beside_a_swap_that_works(role):
    assert rates.family_wrong(150, 10, role, seed=50) <= laws.at_most(0.05, 150)


@pytest.mark.parametrize("law", laws.PROVEN)
def test_equivalence_errs_at_most_at_alpha_where_the_truth_is_the_margin(law):
    wrong = rates.equivalence_errors(laws.LAWS[law], 10, STUDIES, seed=50)
    assert 0.03 * STUDIES <= wrong * STUDIES <= laws.at_most(0.05, STUDIES)


def test_equivalence_of_resplit_replicates_errs_at_most_at_alpha_where_the_truth_is_the_margin():
    wrong = rates.equivalence_errors(laws.overlapping, 10, STUDIES, seed=50, resplit=rates.RATIO)
    assert wrong * STUDIES <= laws.at_most(0.05, STUDIES)


@pytest.mark.parametrize("swaps", [1, 3])
@pytest.mark.parametrize("n", rates.REPLICATES)
def test_the_smallest_detectable_difference_is_found_in_80_of_100_studies(n, swaps):
    found = round(rates.power_of_t(n, STUDIES, 50, swaps) * STUDIES)
    assert laws.at_least(0.80, STUDIES) <= found <= laws.at_most(0.80, STUDIES)


@pytest.mark.parametrize(("effect", "resplit"), [(1.2, 0.0), (0.8, 0.0), (1.9, rates.RATIO)])
def test_the_replicates_needed_find_the_effect_in_80_of_100_studies_and_one_fewer_do_not(effect, resplit):
    n = int(st.replicates_needed(effect, 1.0, resplit=resplit))
    rho = resplit / (1 + resplit)
    rng, shares = np.random.default_rng(51), []
    for count in (n, n - 1):
        # sd 1 within a pool; what all replicates of a pool share adds resplit to the variance of their mean
        shared = math.sqrt(rho / (1 - rho)) * rng.normal(size=(STUDIES, 1))
        got = st.paired_interval(effect + shared + rng.normal(size=(STUDIES, count)), resplit=resplit)
        shares.append(int((st.t_test(got.mean, got.error, count) <= st.ALPHA).sum()))
    assert shares[0] >= laws.at_least(0.80, STUDIES)
    assert shares[1] <= laws.at_most(0.80, STUDIES)


# --- the docs -------------------------------------------------------------------------------------------------------


def published(name: str) -> list[list[str]]:
    """The rows of one generated table of docs/proofs.md."""
    text = DOCS.read_text(encoding="utf-8")
    block = re.search(rf"<!-- rates: {name} -->\n(.*?)\n<!-- end -->", text, re.S)
    assert block, f"docs/proofs.md has no table {name!r}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block[1].strip().splitlines()[2:]]


def agree(cell: str, share: float, theirs: int, ours: int) -> bool:
    """Whether a share as published is the one counted here, but for four Monte-Carlo errors of the two and rounding."""
    told = float(cell.split("±")[0]) / 100
    p = min(max((told * theirs + share * ours) / (theirs + ours), 1 / ours), 1 - 1 / ours)
    return abs(told - share) <= 4 * math.sqrt(p * (1 - p) * (1 / theirs + 1 / ours)) + 0.0006


def test_the_published_coverage_is_what_the_engine_gives():
    rows = published("coverage")
    assert [(law, int(n)) for law, n, *_ in rows] == [(law, n) for law in laws.LAWS for n in rates.REPLICATES]
    for law, n, held, wrong in rows:
        n = int(n)
        assert agree(held, rates.coverage(laws.LAWS[law], n, 5000, seed=60), STUDIES, 5000), (law, n)
        if n <= 10:  # 2**19 sums a study at 20
            again = rates.called_without_effect(laws.LAWS[law], n, 2000, seed=60)
            assert agree(wrong, again, rates.FLIPPED[n], 2000), (law, n)


def test_the_published_power_is_what_the_engine_gives():
    for n, alone, three, whole in published("power"):
        n = int(n)
        assert agree(alone, rates.power_of_t(n, 5000, 60), STUDIES, 5000)
        assert agree(three, rates.power_of_t(n, 5000, 61, 3), STUDIES, 5000)
        if n <= 10:
            assert agree(whole, rates.power_of_rule(n, 2000, 60), rates.FLIPPED[n], 2000)


def test_no_published_error_is_above_what_was_allowed():
    rows = published("errors")
    assert len(rows) == len(laws.PROVEN) + 8
    for name, share, studies in rows:
        count = round(float(share.split("±")[0]) / 100 * int(studies))
        assert count <= laws.at_most(0.05, int(studies)), name


def test_published_coverage_of_resplit_replicates_is_at_least_93_of_100_when_corrected():
    for name, corrected, plain in published("resplit"):
        assert float(corrected.split("±")[0]) >= 93 > float(plain.split("±")[0]), name


def test_the_bounds_are_those_of_the_binomial_distribution():
    assert (
        stats.binom.sf(laws.at_most(0.05, 400), 400, 0.05)
        <= 0.001
        < stats.binom.sf(laws.at_most(0.05, 400) - 1, 400, 0.05)
    )
    assert laws.at_least(0.8, STUDIES) < 0.8 * STUDIES < laws.at_most(0.8, STUDIES)
