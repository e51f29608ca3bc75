"""Verdicts where a rule changes: words of interactions, replicates that would tell, labels, and numbers of failures.

Each is a place where a small slip of the code would pass every other test.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dopant.designs import Contrast
from dopant.study import statistics as st
from dopant.study import verdicts
from dopant.study.judging import listed
from dopant.study.pairs import Scores

ALONE = Contrast("swap", "new", "old")


def around(mean: float, n: int, sd: float, seed: int = 0) -> np.ndarray:
    """(n,) values with exactly this mean and standard deviation."""
    x = np.random.default_rng(seed).normal(size=n)
    x = (x - x.mean()) / x.std(ddof=1)
    return mean + sd * x


def table(**arms: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {"arm": arm, "replicate": r, "value": float(v), "status": "done"}
        for arm, values in arms.items()
        for r, v in enumerate(values)
    )


def judged(data: pd.DataFrame, *contrasts: Contrast, **settings) -> pd.DataFrame:
    return verdicts.effects(data, list(contrasts or (ALONE,)), **{"metric": "score", **settings})


def difference(mean: float, n: int = 12, sd: float = 0.1, **settings) -> pd.Series:
    return judged(table(old=np.zeros(n), new=around(mean, n, sd)), **settings).iloc[0]


# --- replicates that would tell -------------------------------------------------------------------------------------


def test_replicates_for_equivalence_are_planned_one_sided_with_half_the_misses_on_each_side():
    row = difference(0.01, sd=0.1, margin=0.03)
    assert row["direction"] == "unclear"
    expected = st.replicates_needed(0.02, row["sd"], power=0.9, sides=1)
    assert row["replicates_needed"] == expected < st.replicates_needed(0.01, row["sd"])


def test_replicates_for_a_direction_are_planned_where_the_mean_lies_beyond_the_margin():
    row = difference(0.04, sd=0.1, margin=0.03)
    assert row["direction"] == "unclear"
    assert row["replicates_needed"] == st.replicates_needed(row["mean"], row["sd"])
    for side in (0.0299, -0.0299):  # hardly any room is left for equivalence
        row = difference(side, sd=0.1, margin=0.03)
        assert row["replicates_needed"] == st.replicates_needed(row["mean"], row["sd"])


def test_what_would_tell_is_at_least_one_replicate_more_and_enough_for_sign_flips():
    d = np.array([1.0] * 11 + [-9.0])  # an outlier: the t test would need few, were the sd its true one
    row = judged(table(old=np.zeros(12), new=d)).iloc[0]
    assert row["replicates_needed"] >= 13
    few = judged(table(old=np.zeros(4), new=around(0.25, 4, 0.2))).iloc[0]
    assert few["replicates_needed"] == max(6, st.replicates_needed(few["mean"], few["sd"]))
    two = judged(table(old=np.zeros(2), new=around(0.25, 2, 0.02))).iloc[0]
    assert (two["direction"], two["replicates_needed"]) == ("better", two["replicates_needed"])
    near = judged(table(old=np.zeros(3), new=around(0.25, 3, 0.102))).iloc[0]
    assert near["direction"] == "unclear" and near["replicates_needed"] == 6 > st.replicates_needed(0.25, near["sd"])
    resplit = judged(table(old=np.zeros(3), new=around(0.25, 3, 0.09)), resplit=0.01).iloc[0]
    if resplit["direction"] == "unclear":
        assert resplit["replicates_needed"] < 6


def test_the_number_of_swaps_raises_what_sign_flips_need():
    arms = {f"a{k}": np.full(6, float(k)) for k in range(8)}
    contrasts = [Contrast(f"s{k}", f"a{k}", "a0") for k in range(1, 8)]
    rows = judged(table(**arms), *contrasts)
    assert list(rows["direction"]) == ["unclear"] * 7
    assert list(rows["replicates_needed"]) == [9.0] * 7  # 7 * 2**-8 is below 0.05, 7 * 2**-7 is not


# --- interactions, and what depends on them -------------------------------------------------------------------------


def crossed(product: float, n: int = 12, **settings) -> pd.DataFrame:
    """Two factors of two levels; the second one's effect, 0.2, grows by `product` at the first one's new level."""
    arms = {
        f"{a}{b}": 0.1 * a + 0.2 * b + product * a * b + around(0, n, 0.01, 2 * a + b) for a in (0, 1) for b in (0, 1)
    }
    mean = {"plus": (("10", 0.5), ("11", 0.5)), "minus": (("00", 0.5), ("01", 0.5))}
    other = {"plus": (("01", 0.5), ("11", 0.5)), "minus": (("00", 0.5), ("10", 0.5))}
    both = {"plus": (("11", 1.0), ("00", 1.0)), "minus": (("10", 1.0), ("01", 1.0))}
    simple = tuple(Contrast(f"one at two={b}", f"1{b}", f"0{b}", role="simple", of=("one", "two")) for b in (0, 1))
    return judged(
        table(**arms),
        Contrast("one", "one+", "one-", role="main", simple=simple, **mean),
        Contrast("two", "two+", "two-", role="main", **other),
        Contrast("one x two", "both+", "both-", role="interaction", of=("one", "two"), **both),
        **settings,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("product", "margin", "words"),
    [(0.3, None, "more than additive"), (-0.15, None, "less than additive"), (0.0, 0.05, "additive"),
     (0.0, None, "cannot tell")],
)  # fmt: skip
def test_an_interaction_is_called_by_its_direction(product, margin, words):
    rows = crossed(product, margin=margin).set_index("swap")
    row = rows.loc["one x two"]
    assert row["verdict"] == words
    assert row["mean"] == pytest.approx(product, abs=1e-9)
    assert math.isnan(row["replicates_needed"]) == (words != "cannot tell")
    depends = words.endswith("than additive")
    assert rows.loc["one", "verdict"] == "better on average" + (", depends on two" if depends else "")
    assert rows.loc["two", "verdict"] == "better on average" + (", depends on one" if depends else "")
    simple = rows[rows["role"] == "simple"]
    assert list(simple["of"]) == (["one", "one"] if depends else [])
    assert list(simple["verdict"]) == (["better than" if 0.1 + product * b > 0 else "worse than" for b in (0, 1)] if depends else [])  # fmt: skip  # noqa: E501


def test_an_interaction_smaller_than_the_margin_makes_nothing_depend_on_it():
    rows = crossed(0.05, margin=0.1).set_index("swap")
    assert rows.loc["one x two", "verdict"] == "additive"
    assert "depends" not in rows.loc["one", "verdict"] and "simple" not in set(rows["role"])


def test_a_main_effect_that_depends_on_three_others_names_them_all():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c", "d"]) == "a, b, c and d"


# --- words ----------------------------------------------------------------------------------------------------------


def test_the_line_names_a_control_as_its_contrast_does_and_keeps_to_its_own_swap():
    n = 12
    data = table(
        old=around(0, n, 0.01, 1), new=around(0.5, n, 0.01, 2), other=around(0.6, n, 0.01, 3),
        plain=around(0.2, n, 0.01, 4), linear=around(0.55, n, 0.01, 5), tiny=around(0.1, n, 0.01, 6),
    )  # fmt: skip
    rows = judged(
        data, Contrast("first", "new", "old", ("plain", "tiny")), Contrast("second", "other", "old", ("linear",)),
        Contrast("a plain layer", "plain", "old", role="control"),
    )  # fmt: skip
    first, second = verdicts.short(rows)
    assert first.startswith("beyond the ordinary: first") and "vs control a plain layer +0.3" in first
    assert "vs control linear" in second
    unbeaten = judged(
        data, Contrast("first", "new", "old", ("linear",)), Contrast("a line", "linear", "old", role="control")
    )
    assert unbeaten["verdict"][0] == "explained by a line"


def test_a_swap_unbeaten_by_two_undecided_controls_waits_for_the_slower_one():
    n = 12
    data = table(
        old=np.zeros(n), new=around(0.5, n, 0.1, 1), fast=around(0.46, n, 0.1, 2), slow=around(0.48, n, 0.1, 3)
    )
    rows = judged(data, Contrast("swap", "new", "old", ("fast", "slow")))
    beside = rows[rows["role"] == "swap-versus-control"]
    assert list(beside["verdict"]) == ["cannot tell"] * 2
    assert rows["verdict"][0] == "cannot tell: better than the level below, but not shown better than fast and slow"
    assert rows["replicates_needed"][0] == beside["replicates_needed"].max() > beside["replicates_needed"].min()


def test_from_ten_replicates_on_a_verdict_is_no_estimate():
    assert difference(0.5, n=9)["verdict"].startswith("estimate: cannot tell: better")
    assert difference(0.5, n=10)["verdict"].startswith("cannot tell: better")


# --- scores ---------------------------------------------------------------------------------------------------------


def test_failures_and_missing_scores_of_a_pair_are_counted_by_arm():
    data = table(old=around(0, 12, 0.1, 1), new=around(0.5, 12, 0.1, 2))
    lost = (data["arm"] == "new") & data["replicate"].isin([2, 5]) | (data["arm"] == "old") & (data["replicate"] == 5)
    data.loc[lost, ["status", "value"]] = ["failed", np.nan]
    row = judged(data, failure_value=-1.0).iloc[0]
    assert (row["failed"], row["incomplete"], row["replicates"]) == (3, 0, 12)
    none = judged(data).iloc[0]
    assert (none["failed"], none["incomplete"], none["replicates"]) == (3, 2, 10)
    assert none["direction"] == "withheld" and none["verdict"] == "cannot tell"
    complete = judged(data, complete_cases=True, failure_value=-1.0).iloc[0]
    assert (complete["failed"], complete["incomplete"], complete["replicates"]) == (3, 0, 10)
    assert complete["direction"] == "better"
    waiting = data.copy()
    waiting.loc[(waiting["arm"] == "new") & (waiting["replicate"] == 7), "status"] = "pending"
    left = judged(waiting, complete_cases=True).iloc[0]
    assert (left["incomplete"], left["replicates"], left["direction"]) == (1, 9, "withheld")


def test_an_arm_that_is_a_sum_has_failed_where_a_part_has_and_no_score_where_a_part_has_none():
    data = table(a=np.arange(3.0), b=10 * np.arange(3.0))
    data.loc[(data["arm"] == "a") & (data["replicate"] == 1), "status"] = "failed"
    scores = Scores.read(data, True, None).with_sums({"sum": (("a", 2.0), ("b", -0.5))})
    values, failed = scores.arm("sum")
    assert values[[0, 2]].tolist() == [0.0, -6.0] and math.isnan(values[1])
    assert failed.tolist() == [False, True, False]
    values, failed = scores.arm("nobody")
    assert np.isnan(values).all() and not failed.any() and values.shape == failed.shape == (3,)


def test_scores_between_0_and_1_are_shares_only_if_all_are():
    assert Scores.read(table(a=np.array([0.0, 1.0])), True, None).share
    assert not Scores.read(table(a=np.array([0.0, 1.01])), True, None).share
    assert not Scores.read(table(a=np.array([-0.01, 1.0])), True, None).share
    assert Scores.read(table(a=np.array([0.5])), False, None).sign == -1


def test_one_sided_sign_flips_decide_equivalence_where_all_differences_are_equal():
    same = judged(table(old=np.zeros(6), new=np.full(6, 0.1)), margin=0.2).iloc[0]
    assert (same["equivalence"], same["p_equivalence"]) == (True, 2.0**-6)
    for value in (0.2, 0.3, -0.2):  # on the margin is not within it
        apart = judged(table(old=np.zeros(6), new=np.full(6, value)), margin=0.2).iloc[0]
        assert (apart["equivalence"], apart["p_equivalence"]) == (False, 1.0)
    five = judged(table(old=np.zeros(5), new=np.full(5, 0.1)), margin=0.2).iloc[0]
    assert five["equivalence"] is False and math.isnan(five["p_equivalence"])
    resplit = judged(table(old=np.zeros(6), new=np.full(6, 0.1)), margin=0.2, resplit=0.3).iloc[0]
    assert resplit["equivalence"] is False


def test_a_control_a_constant_bit_below_the_margin_explains_and_one_above_does_not():
    for gap, words in ((0.05, "explained by plain"), (0.2, "beyond the ordinary")):
        data = table(old=around(0, 12, 0.01), new=around(1, 12, 0.02, 1), plain=around(1, 12, 0.02, 1) - gap)
        assert judged(data, Contrast("swap", "new", "old", ("plain",)), margin=0.1)["verdict"][0] == words


def test_two_replicates_have_an_interval_and_one_has_none():
    two = difference(0.5, n=2)
    assert (two["low"], two["high"]) == pytest.approx(
        tuple(stats.ttest_1samp(around(0.5, 2, 0.1), 0).confidence_interval(0.95))
    )
    assert two["p_floor"] == 0.5 and math.isfinite(two["smallest_detectable"]) and math.isnan(two["p"])
    one = judged(table(old=[0.0], new=[0.5])).iloc[0]
    assert math.isnan(one["p_floor"]) and math.isnan(one["low"]) and one["mean"] == 0.5


def test_items_of_finished_pairs_alone_are_compared_and_turned_as_the_metric_is():
    rng = np.random.default_rng(0)
    data = table(old=around(0.8, 3, 0.01, 1), new=around(0.9, 3, 0.01, 2))
    items = {
        (arm, r): (rng.random(200) < share).astype(float)
        for arm, share in (("old", 0.8), ("new", 0.9))
        for r in range(3)
    }
    row = judged(data, items=items).iloc[0]
    mean = np.mean([items["new", r] - items["old", r] for r in range(3)], axis=0)
    assert row["item_error"] == pytest.approx(stats.sem(mean))
    assert row["item_low"] < mean.mean() < row["item_high"]
    turned = judged(data, items=items, higher_is_better=False).iloc[0]
    assert (turned["item_low"], turned["item_high"]) == (-row["item_high"], -row["item_low"])
    apart = judged(data, items=items, resplit=0.3).iloc[0]
    assert math.isnan(apart["item_low"]) and math.isnan(apart["mcnemar_p"]) and apart["item_error"] > 0
    single = judged(data[data["replicate"] == 0], items=items, resplit=0.3).iloc[0]
    assert math.isfinite(single["item_low"]) and 0 <= single["mcnemar_p"] <= 1
    del items["new", 1]
    fewer = judged(data, items=items).iloc[0]
    mean = np.mean([items["new", r] - items["old", r] for r in (0, 2)], axis=0)
    assert fewer["item_error"] == pytest.approx(stats.sem(mean))


# --- families -------------------------------------------------------------------------------------------------------


def four(role: str, first: np.ndarray, **settings) -> pd.DataFrame:
    """Four swaps against one host, the last three without an effect."""
    n = len(first)
    arms = {"host": np.zeros(n), "a1": first} | {f"a{k}": around(0, n, 1.0, k) for k in (2, 3, 4)}
    return judged(table(**arms), *[Contrast(f"s{k}", f"a{k}", "host", role=role) for k in (1, 2, 3, 4)], **settings)


def test_sign_flips_that_hold_alone_but_not_in_the_family_block_a_level_and_are_named():
    d = np.array([1.0, 1.1, 0.9, 1.0, 1.1, 0.9, 1.0, -0.05])  # as extreme: only the flip of the last one
    alone = judged(table(old=np.zeros(8), new=d)).iloc[0]
    assert (alone["p"], alone["direction"]) == (2 / 128, "better")
    row = four("level", d).iloc[0]
    assert (row["p"], row["p_holm"], row["direction"]) == (2 / 128, 8 / 128, "unclear")
    assert row["replicates_needed"] == 9  # the t test needs fewer, so one more than there are
    assert "sign flips" in row["sentence"] or "sign-flip" in row["sentence"]
    assert four("level", d)["correction"].tolist() == ["holm"] * 4
    joint = four("race", d)
    assert joint["correction"].tolist() == ["max-t"] * 4
    assert joint["p_holm"][0] <= 8 / 128


def test_what_a_racer_can_detect_allows_for_entries_and_splits_and_needs_a_spread():
    d = around(0.1, 10, 1.0, 9)
    for resplit in (None, 0.25):
        row = four("race", d, resplit=resplit).iloc[0]
        expected = st.smallest_detectable(row["sd"], 10, resplit=resplit or 0.0, alpha=0.05 / 4)
        assert row["smallest_detectable"] == pytest.approx(float(expected))
        half = float(stats.t.isf(0.025 / 4, 9)) * row["sd"] * math.sqrt(1 / 10 + (resplit or 0.0))
        assert (row["low_joint"], row["high_joint"]) == pytest.approx((row["mean"] - half, row["mean"] + half))
    constant = four("race", np.ones(10)).iloc[0]
    assert math.isnan(constant["smallest_detectable"]) and math.isnan(constant["low_joint"])
    level = four("level", d, resplit=0.25).iloc[0]
    assert level["smallest_detectable"] == pytest.approx(
        float(st.smallest_detectable(level["sd"], 10, resplit=0.25, alpha=0.05 / 4))
    )
    assert math.isnan(four("level", np.ones(10))["smallest_detectable"][0])


def test_the_leader_of_two_is_judged_by_fresh_replicates_only_and_a_lone_racer_at_once():
    data = table(old=np.zeros(12), one=around(0.5, 12, 0.1, 1), two=around(0.4, 12, 0.1, 2))
    race = [Contrast("1", "one", "old", role="race"), Contrast("2", "two", "old", role="race")]
    said = judged(data, *race)["verdict"].tolist()
    assert said == [verdicts.LEADS, "cannot tell: better than the level below, but no control was run"]
    assert judged(data, *race, leader="two")["verdict"].tolist() == [verdicts.LEADS] * 2  # chosen then, ahead now
    assert judged(data, race[0])["verdict"].tolist() == [said[1]]
    late = data.copy()
    late.loc[(late["arm"] == "one") & (late["replicate"] == 3), "status"] = "pending"
    assert judged(late, *race)["verdict"].tolist() == ["cannot tell", verdicts.LEADS]
    beaten = data.assign(value=-data["value"])
    assert verdicts.LEADS not in judged(beaten, *race)["verdict"].tolist()  # nobody is ahead of the host


def test_items_of_arms_that_are_sums_are_the_sums_of_theirs_where_all_have_them():
    rng, n = np.random.default_rng(1), 3
    data = table(a=around(0.8, n, 0.01, 1), b=around(0.9, n, 0.01, 2), c=around(0.7, n, 0.01, 3))
    items = {(arm, r): (rng.random(100) < 0.8).astype(float) for arm in "abc" for r in range(n)}
    contrast = Contrast("m", "plus", "minus", role="main", plus=(("a", 0.5), ("b", 0.5)), minus=(("c", 1.0),))
    row = judged(data, contrast, items=items).iloc[0]
    per_item = [(items["a", r] + items["b", r]) / 2 - items["c", r] for r in range(n)]
    assert row["item_error"] == pytest.approx(stats.sem(np.mean(per_item, axis=0)))
    del items["b", 2]
    row = judged(data, contrast, items=items).iloc[0]
    assert row["item_error"] == pytest.approx(stats.sem(np.mean(per_item[:2], axis=0)))


def test_a_race_without_p_values_or_with_an_unfinished_entry_has_its_rows():
    few = four("race", around(0.5, 4, 0.1))
    assert few["p_holm"].isna().all() and few["low_joint"].notna().all()
    data = table(old=np.zeros(8), one=around(0.5, 8, 0.1, 1), two=around(0.4, 8, 0.1, 2))
    data.loc[(data["arm"] == "two") & (data["replicate"] == 3), "status"] = "pending"
    rows = judged(data, Contrast("1", "one", "old", role="race"), Contrast("2", "two", "old", role="race"))
    assert rows["p_holm"][0] == 2 * 2.0**-7 and math.isnan(rows["p_holm"][1])  # times all entries over the finished


def test_a_control_of_two_swaps_is_measured_once_and_each_line_has_its_own_comparison():
    n = 12
    data = table(
        old=around(0, n, 0.01, 1),
        new=around(0.5, n, 0.01, 2),
        other=around(0.3, n, 0.01, 3),
        plain=around(0.1, n, 0.01, 4),
    )
    rows = judged(data, Contrast("first", "new", "old", ("plain",)), Contrast("second", "other", "old", ("plain",)))
    assert rows["role"].tolist() == ["level", "control", "level", "swap-versus-control", "swap-versus-control"]
    first, second = verdicts.short(rows)
    assert "vs control plain +0.4" in first and "vs control plain +0.2" in second


def test_replicates_for_equivalence_allow_for_splits_of_one_pool():
    row = difference(0.01, n=3, sd=0.1, margin=0.2, resplit=0.2)
    assert row["equivalence"] is False
    assert row["replicates_needed"] == st.replicates_needed(0.19, row["sd"], resplit=0.2, power=0.9, sides=1) < math.inf


def test_a_tier_that_is_not_known_ranks_between_classical_and_exact():
    data = table(old=np.zeros(6), new=around(0.1, 6, 0.1))
    for other, expected in (("classical", "as given"), ("exact expectation", "exact expectation"), ("noisy", "noisy")):
        assert judged(data, tier={"old": "as given", "new": other})["tier"][0] == expected


def test_an_unfinished_race_multiplies_p_up_to_1_and_so_what_sign_flips_can_reach():
    flat, gain = np.array([1.0, -1.0, 1.1, -0.9, 0.9, -1.0]), around(0.5, 6, 0.1, 1)
    data = table(old=np.zeros(6), one=gain, two=flat, three=gain)
    data.loc[(data["arm"] == "three") & (data["replicate"] == 3), "status"] = "pending"
    rows = judged(data, *[Contrast(arm, arm, "old", role="race") for arm in ("one", "two", "three")])
    assert rows["p_holm"].tolist()[:2] == [1.5 * 2 * 2.0**-5, 1.0]  # 1.5 * 2**-5 = 0.047 was in reach
    assert rows["direction"].tolist() == ["unclear", "unclear", "withheld"]
    fewer = judged(data, Contrast("one", "one", "old", role="race"), Contrast("three", "three", "old", role="race"))
    assert fewer["p_holm"][0] == 2 * 2.0**-5  # 0.0625 could not have been less: the t test decides
    assert fewer["direction"][0] == "better"


def test_identical_results_need_no_replicates_and_equal_differences_those_that_sign_flips_need():
    identical, equal = (judged(table(old=np.zeros(3), new=np.full(3, x))).iloc[0] for x in (0.0, 0.1))
    assert math.isnan(identical["replicates_needed"]) and equal["replicates_needed"] == 6
