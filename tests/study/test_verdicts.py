"""The truth table of verdicts, row by row, on planted effects; and what must never be claimed."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from dopant import cost
from dopant.designs import Contrast
from dopant.errors import ConfigError
from dopant.study import statistics as st
from dopant.study import verdicts

API = [
    "swap", "versus", "estimand", "metric", "replicates", "failed", "mean", "sd", "correlation", "low", "high",
    "low_unpaired", "high_unpaired", "item_error", "p", "p_floor", "p_holm", "margin", "equivalence",
    "smallest_detectable", "untuned", "tier", "verdict",
]  # fmt: skip
SWAP = Contrast("head=new", "new", "old", ("plain", "linear"))
ALONE = Contrast("head=new", "new", "old")


def wave(n, phase, size=0.002):
    """Noise without chance: n values of mean 0 and standard deviation `size`, different for each phase."""
    noise = np.random.default_rng(phase).normal(size=n)
    noise -= noise.mean()
    return size * noise / (noise.std(ddof=1) if n > 1 else 1)


def table(n=12, *, sign=1, **means):
    """A table of arms with these means around 0.9, sharing most of their variation."""
    base = 0.8 + wave(n, 99, 0.01)
    rows = []
    for phase, (arm, mean) in enumerate(means.items()):
        values = base + mean + wave(n, phase)
        rows += [{"arm": arm, "replicate": r, "value": sign * v, "status": "done"} for r, v in enumerate(values)]
    return pd.DataFrame(rows)


def judged(data, contrasts=(SWAP,), **settings):
    effects = verdicts.effects(data, list(contrasts), **{"metric": "test_accuracy", **settings})
    return effects, effects.iloc[0]


def set_cell(data, arm, replicate, **values):
    data = data.copy()
    for column, value in values.items():
        data.loc[(data["arm"] == arm) & (data["replicate"] == replicate), column] = value
    return data


# --- the truth table ------------------------------------------------------------------------------------------------


def test_better_than_the_level_below_and_every_control_is_beyond_the_ordinary():
    effects, row = judged(table(old=0, new=0.05, plain=0.01, linear=0.02), margin=0.005)
    assert row["verdict"] == "beyond the ordinary"
    assert row["sentence"].startswith(
        "beyond the ordinary: head=new changed test accuracy by +5.00 percentage points (95 %"
    )
    assert list(effects["role"]) == ["level", "control", "control", "swap-versus-control", "swap-versus-control"]
    assert list(effects["verdict"])[1:] == ["better than"] * 4


def test_a_control_in_disguise_explains_the_swap():
    _, row = judged(table(old=0, new=0.05, plain=0.01, linear=0.05), margin=0.005)
    assert row["verdict"] == "explained by linear"
    assert "beyond the ordinary" not in row["sentence"]


def test_a_better_control_explains_the_swap_even_without_a_margin():
    _, row = judged(table(old=0, new=0.05, plain=0.01, linear=0.08))
    assert row["verdict"] == "explained by linear"


def test_a_control_that_the_swap_beats_by_less_than_the_margin_explains_it():
    effects, row = judged(table(old=0, new=0.05, plain=0.01, linear=0.046), margin=0.01)
    assert effects.iloc[-1]["low"] > 0
    assert row["verdict"] == "explained by linear"
    assert effects.iloc[-1]["verdict"] == "equivalent to"


def test_every_control_that_explains_is_named():
    _, row = judged(table(old=0, new=0.05, plain=0.05, linear=0.05), margin=0.005)
    assert row["verdict"] == "explained by plain and linear"


def test_equivalent_to_the_level_below_is_no_difference():
    _, row = judged(table(old=0, new=0.0005, plain=0.01, linear=0.02), margin=0.005)
    assert row["verdict"] == "no difference"
    assert row["equivalence"] is True
    assert row["p_equivalence"] < 0.05


def test_a_significant_difference_proven_smaller_than_the_margin_is_no_difference():
    for mean in (0.004, -0.004):
        _, row = judged(table(old=0, new=mean, plain=0.01, linear=0.02), margin=0.01)
        assert row["p"] < 0.05
        assert row["verdict"] == "no difference"


def test_worse_than_the_level_below_is_worse():
    _, row = judged(table(old=0, new=-0.05, plain=0.01, linear=0.02), margin=0.005)
    assert row["verdict"] == "worse"
    assert row["high"] < 0


def test_without_a_margin_a_small_difference_cannot_be_told_and_large_ones_are_excluded():
    _, row = judged(table(old=0, new=0.0005, plain=0.01, linear=0.02))
    assert row["verdict"] == "cannot tell"
    assert row["equivalence"] is None
    assert math.isnan(row["margin"])
    widest = 100 * max(abs(row["low"]), abs(row["high"]))
    assert f"Differences larger than {widest:.2f} percentage points are excluded" in row["sentence"]


def test_cannot_tell_names_the_replicates_that_would():
    _, row = judged(table(old=0, new=0.001, plain=0.01, linear=0.02))
    assert row["verdict"] == "cannot tell"
    assert row["replicates_needed"] == st.replicates_needed(row["mean"], row["sd"])
    assert f"About {row['replicates_needed']:.0f} replicates would tell" in row["sentence"]


def test_the_replicates_that_would_tell_may_be_those_that_show_equivalence():
    _, row = judged(table(old=0, new=0.0002, plain=0.01, linear=0.02), margin=0.0018)
    assert row["verdict"] == "cannot tell"
    assert row["replicates_needed"] < st.replicates_needed(row["mean"], row["sd"]) / 10


def test_without_a_control_nothing_is_beyond_the_ordinary():
    _, row = judged(table(old=0, new=0.05), [ALONE])
    assert row["verdict"] == "cannot tell: better than the level below, but no control was run"
    assert row["controls"] == []


def test_why_a_control_could_not_be_built_is_said():
    contrast = Contrast("head=new", "new", "old", missing_controls=("no 'linear' of equal trainable count",))
    _, row = judged(table(old=0, new=0.05), [contrast])
    assert "no control was run" in row["verdict"]
    assert "no 'linear' of equal trainable count" in row["sentence"]


def test_better_than_the_level_below_but_undecided_against_a_control_cannot_be_told():
    effects, row = judged(table(old=0, new=0.05, plain=0.01, linear=0.0495))
    assert row["verdict"] == "cannot tell: better than the level below, but not shown better than linear"
    assert row["replicates_needed"] == effects.iloc[-1]["replicates_needed"] > 12


def test_a_swap_that_is_not_better_is_never_beyond_or_explained():
    _, row = judged(table(old=0, new=0.0, plain=-0.05, linear=-0.05))
    assert row["verdict"] == "cannot tell"


# --- few replicates, unfinished and failed trials -------------------------------------------------------------------


@pytest.mark.parametrize(("n", "prefix"), [(2, "estimate: "), (9, "estimate: "), (10, "")])
def test_below_ten_replicates_a_verdict_is_an_estimate(n, prefix):
    data = table(n, old=0, new=0.1, plain=0.01, linear=0.02)
    assert judged(data)[1]["verdict"] == prefix + "beyond the ordinary"
    assert judged(data, tuned=False)[1]["verdict"] == prefix + "untuned: beyond the ordinary"


def test_below_six_replicates_there_is_no_p():
    few, _ = judged(table(5, old=0, new=0.05, plain=0.01, linear=0.02), margin=0.005)
    assert few[["p", "p_holm", "p_equivalence"]].isna().all(axis=None)
    assert (few["p_floor"] == 0.0625).all()
    assert "Too few replicates for a sign-flip p value" in few["sentence"][0]
    six, row = judged(table(6, old=0, new=0.05, plain=0.01, linear=0.02), margin=0.005)
    assert row["p"] == row["p_floor"] == row["p_holm"] == 2.0**-5
    assert six["p_holm"].notna().sum() == 1


def test_one_replicate_gives_a_difference_and_nothing_else():
    _, row = judged(table(1, old=0, new=0.05, plain=0.01, linear=0.02), margin=0.005)
    assert row["verdict"] == "estimate: cannot tell"
    assert row["mean"] == pytest.approx(0.05)
    nothing = ["sd", "low", "high", "low_unpaired", "high_unpaired", "p", "p_floor", "p_holm", "smallest_detectable"]
    assert row[nothing].isna().all()
    assert "One replicate shows no spread" in row["sentence"]


def test_a_study_without_any_result_yet_has_its_rows():
    empty = pd.DataFrame({"arm": [], "replicate": [], "value": [], "status": []})
    effects, row = judged(empty)
    assert row["verdict"] == "estimate: cannot tell"
    assert len(effects) == 5
    assert row["replicates"] == 0


def test_an_unfinished_pair_withholds_significance_and_is_said():
    data = table(old=0, new=0.05, plain=0.01, linear=0.02)
    for changed in (set_cell(data, "new", 3, status="pending", value=np.nan), data.drop(index=15)):
        effects, row = judged(changed, margin=0.005)
        assert row["verdict"] == "cannot tell"
        assert row["incomplete"] == 1
        assert row["replicates"] == 11
        assert math.isnan(row["p"])
        assert row["equivalence"] is False
        assert row["low"] > 0
        assert "11 of 12 pairs of trials have a result" in row["sentence"]
        assert list(effects["verdict"])[1:3] == ["better than", "better than"]


def test_an_unfinished_control_leaves_the_swap_undecided():
    data = set_cell(table(old=0, new=0.05, plain=0.01, linear=0.02), "linear", 0, status="running")
    _, row = judged(data, margin=0.005)
    assert row["verdict"] == "cannot tell: better than the level below, but not shown better than linear"


def test_a_failed_trial_counts_at_the_declared_value_and_is_said():
    data = table(old=0, new=0.05, plain=0.01, linear=0.02)
    failed = set_cell(data, "new", 4, status="failed", value=np.nan)
    nan = set_cell(data, "new", 4, value=np.nan)
    for changed in (failed, nan):
        _, row = judged(changed, failure_value=0.1, margin=0.005)
        values = data.loc[data["arm"] == "new", "value"].to_numpy().copy()
        values[4] = 0.1
        old = data.loc[data["arm"] == "old", "value"].to_numpy()
        assert row["mean"] == pytest.approx(np.mean(values - old))
        assert (row["failed"], row["incomplete"], row["replicates"]) == (1, 0, 12)
        assert "1 trial failed and counted as test accuracy 0.1" in row["sentence"]


def test_a_failed_trial_without_a_declared_value_withholds_the_verdict():
    data = set_cell(table(old=0, new=0.05, plain=0.01, linear=0.02), "new", 4, status="failed")
    _, row = judged(data)
    assert row["verdict"] == "cannot tell"
    assert (row["failed"], row["incomplete"]) == (1, 1)
    assert "no failure value was declared" in row["sentence"]


def loss(**means):
    return table(sign=-1, **means)


def test_a_failure_that_no_score_describes_withholds_the_verdict_and_is_said():
    """A loss has no worst value: infinity is no score, and must not wipe out the other replicates' differences."""
    data = set_cell(loss(old=0, new=0.05, plain=0.01, linear=0.02), "new", 4, status="failed", value=np.nan)
    effects, row = judged(data, metric="test_mse", higher_is_better=False, failure_value=math.inf, margin=0.005)
    assert (row["failed"], row["incomplete"], row["replicates"]) == (1, 1, 11)
    assert (row["verdict"], row["direction"]) == ("cannot tell", "withheld")
    kept = data[data["replicate"] != 4].pivot(index="replicate", columns="arm", values="value")
    assert row["mean"] == pytest.approx((kept["old"] - kept["new"]).mean())
    assert "1 trial failed and this metric has no score for failure" in row["sentence"]
    assert "dentical" not in row["sentence"]
    assert list(effects["verdict"])[1:3] == ["better than", "better than"]


@pytest.mark.parametrize("lost", [[4], list(range(12))])
def test_where_both_arms_failed_the_words_hold_no_nan(lost):
    data = loss(old=0, new=0.05, plain=0.01, linear=0.02)
    gone = data["arm"].isin(["old", "new"]) & data["replicate"].isin(lost)
    data = data.assign(status=data["status"].mask(gone, "failed"), value=data["value"].mask(gone))
    effects, row = judged(data, metric="mse", higher_is_better=False, failure_value=math.inf, margin=0.005)
    assert (row["failed"], row["incomplete"]) == (2 * len(lost), len(lost))
    assert row["verdict"].endswith("cannot tell")
    for said in [*effects["sentence"], *verdicts.short(effects)]:
        assert "nan" not in said
        assert "inf" not in said


def test_a_large_failure_value_does_not_hide_small_differences():
    data = set_cell(loss(old=0, new=0.05), "new", 4, status="failed")
    data = set_cell(data, "old", 4, status="failed")
    _, row = judged(data, [ALONE], metric="mse", higher_is_better=False, failure_value=1e20)
    values = data.pivot(index="replicate", columns="arm", values="value").drop(index=4)
    assert row["mean"] == pytest.approx((values["old"] - values["new"]).sum() / 12)
    assert row["low"] > 0


def test_an_interval_without_finite_ends_decides_nothing():
    data = loss(old=0, new=0.05)
    for replicate in (4, 5):
        data = set_cell(data, "old", replicate, status="failed")
    _, row = judged(data, [ALONE], metric="mse", higher_is_better=False, failure_value=1.5e308)
    assert row["direction"] == "unclear"
    assert row["verdict"] == "cannot tell"
    assert "too far apart for an interval" in row["sentence"]


def test_equivalence_is_not_claimed_while_a_pair_is_unfinished():
    data = set_cell(table(old=0, new=0.0001, plain=0, linear=0), "new", 3, status="running")
    _, row = judged(data, margin=0.01)
    assert row["equivalence"] is False
    assert row["verdict"] == "cannot tell"


def test_an_infinite_score_is_a_failure_and_never_a_number():
    data = set_cell(table(old=0, new=0.05, plain=0.01, linear=0.02), "new", 4, value=math.inf)
    _, row = judged(data)
    assert (row["failed"], row["incomplete"]) == (1, 1)
    assert math.isfinite(row["mean"])


# --- ties, families, resplits ---------------------------------------------------------------------------------------


def test_identical_results_are_answered_in_words():
    data = table(old=0, new=0, plain=0, linear=0)
    data["value"] = 0.9
    _, row = judged(data)
    assert row["verdict"] == "cannot tell"
    assert "Identical results in all 12 replicates" in row["sentence"]
    assert row["p"] == 1
    assert row[["low", "high", "correlation", "smallest_detectable"]].isna().all()
    assert judged(data, margin=0.01)[1]["verdict"] == "no difference"
    assert judged(data[data["replicate"] < 4], margin=0.01)[1]["verdict"] == "estimate: cannot tell"


def test_a_constant_difference_is_no_certainty_and_only_sign_flips_decide():
    data = table(old=0, new=0, plain=0, linear=0)
    shared = data["replicate"] * 0.01 + 0.3
    data["value"] = shared + 0.1 * (data["arm"] == "new")
    _, row = judged(data)
    assert row[["low", "high"]].isna().all()
    assert row["p"] == 2.0**-11
    assert row["verdict"] == "beyond the ordinary"
    assert "without spread there is no interval, which is not certainty" in row["sentence"]
    _, few = judged(data[data["replicate"] < 5])
    assert few["verdict"] == "estimate: cannot tell"
    assert few["replicates_needed"] == 6
    assert judged(data, margin=0.2)[1]["verdict"] == "no difference"


def family(n, *means):
    """A ladder of one level per mean, each above the one below by that much."""
    names = [f"level {i}" for i in range(len(means) + 1)]
    data = table(n, **dict(zip(names, np.cumsum([0, *means]), strict=True)))
    return data, [Contrast(f"swap {i}", names[i], names[i - 1]) for i in range(1, len(names))]


def test_a_control_with_identical_results_explains_the_swap():
    data = table(old=0, new=0.05, plain=0.01, linear=0.05)
    data.loc[data["arm"] == "linear", "value"] = data.loc[data["arm"] == "new", "value"].to_numpy()
    assert judged(data, margin=0.005)[1]["verdict"] == "explained by linear"
    _, without = judged(data)
    assert without["verdict"] == "cannot tell: better than the level below, but not shown better than linear"
    assert "Identical results in all 12 replicates" in without["sentence"]


def test_the_replicates_needed_allow_for_the_number_of_swaps():
    data, contrasts = family(12, 0.001, 0.0, 0.0)
    _, alone = judged(data, contrasts[:1])
    _, row = judged(data, contrasts)
    assert row["replicates_needed"] == st.replicates_needed(row["mean"], row["sd"], alpha=0.05 / 3)
    assert row["replicates_needed"] > alone["replicates_needed"]
    constant = data.assign(value=data["arm"].str[-1].astype(float))
    _, row = judged(constant[constant["replicate"] < 6], contrasts, metric="score")
    assert row["replicates_needed"] == 7  # 3 swaps * 2**-6 is below 0.05, 3 * 2**-5 is not


def test_holm_is_taken_across_levels_only():
    data, contrasts = family(12, 0.0025, 0.0025)
    more = table(12, **{"level 0": 0, "c": 0.002, "v": 0.002}).query("arm != 'level 0'")
    extra = [Contrast("c", "c", "level 0", role="control"), Contrast("v", "v", "level 0", role="variant")]
    effects, _ = judged(pd.concat([data, more]), contrasts + extra)
    levels = effects[effects["role"] == "level"]
    assert list(levels["p_holm"]) == pytest.approx(list(st.holm(levels["p"])))
    assert effects.loc[effects["role"] != "level", "p_holm"].isna().all()


def test_an_interval_above_zero_that_holm_does_not_confirm_cannot_be_told():
    data, contrasts = family(12, 0.0022, 0.0, 0.0, 0.0)
    effects, row = judged(data, contrasts)
    assert row["low"] > 0
    assert row["p_holm"] > 0.05
    assert row["verdict"] == "cannot tell"
    assert "not after Holm's correction across 4 swaps" in row["sentence"]
    assert judged(data, contrasts[:1])[0]["direction"][0] == "better"
    assert len(effects) == 4


def test_where_six_replicates_and_two_swaps_cannot_reach_significance_it_is_said():
    data, contrasts = family(6, 0.05, 0.05)
    _, row = judged(data, contrasts)
    assert row["p_holm"] == 0.0625
    assert "cannot reach significance with 6 replicates and 2 swaps" in row["sentence"]
    assert row["verdict"].startswith("estimate: cannot tell: better than the level below, but no control")
    _, row = judged(*family(7, 0.05, 0.05))
    assert "cannot reach" not in row["sentence"]


def test_an_outlier_that_the_sign_flips_do_not_believe_blocks_the_verdict():
    """One level whose t interval excludes zero although sign flips give p above 0.05 (found by search, n = 7)."""
    rng = np.random.default_rng(0)
    candidates = rng.normal(1, 1.1, (5000, 7))
    got = st.paired_interval(candidates)
    found = candidates[(got.low > 0) & (st.sign_flip_test(candidates) > 0.05)][0]
    rows = [{"arm": "old", "replicate": r, "value": 0.0} for r in range(7)]
    rows += [{"arm": "new", "replicate": r, "value": v} for r, v in enumerate(found)]
    _, row = judged(pd.DataFrame(rows), [ALONE], metric="score")
    assert row["low"] > 0
    assert row["verdict"] == "estimate: cannot tell"
    assert "sign-flip test after Holm's correction does not agree" in row["sentence"]


def test_resplit_replicates_widen_the_interval_and_may_withdraw_the_verdict():
    data = table(old=0, new=0.004, plain=-0.01, linear=-0.02)
    plain, corrected = judged(data)[1], judged(data, resplit=0.5)[1]
    assert plain["verdict"] == "beyond the ordinary"
    assert corrected["verdict"] == "cannot tell"
    assert corrected["replicates_needed"] == math.inf
    width = (corrected["high"] - corrected["low"]) / (plain["high"] - plain["low"])
    assert width == pytest.approx(math.sqrt(1 + 12 * 0.5))
    assert "corrected for re-split data" in corrected["sentence"]


def test_with_resplit_replicates_the_sign_flips_are_reported_and_decide_nothing():
    """Studies without an effect, differences correlated by 1/4 as those of overlapping training sets."""
    rng = np.random.default_rng(5)
    n, rho, studies = 10, 0.25, 300
    wrong = flips = 0
    for _ in range(studies):
        d = math.sqrt(rho) * rng.normal() + math.sqrt(1 - rho) * rng.normal(size=n)
        arms = (("old", np.zeros(n)), ("new", d))
        data = pd.DataFrame({"arm": a, "replicate": r, "value": v} for a, values in arms for r, v in enumerate(values))
        _, row = judged(data, [ALONE], metric="score", resplit=rho / (1 - rho))
        assert row["p"] == st.sign_flip_test(d)
        wrong, flips = wrong + (row["direction"] != "unclear"), flips + (row["p"] <= 0.05)
    assert flips > 0.2 * studies  # why they must not decide
    assert 0 < wrong <= stats.binom.ppf(0.999, studies, 0.05)
    assert "ignores that re-split replicates share data and is shown for completeness" in row["sentence"]
    assert "the corrected interval decides" in row["sentence"]


def test_resplit_replicates_without_spread_decide_nothing():
    data = table(old=0, new=0, plain=0, linear=0)
    data["value"] = data["replicate"] * 0.01 + 0.3 + 0.1 * (data["arm"] == "new")
    for more in ({}, {"margin": 0.2}):
        effects, row = judged(data, resplit=0.25, **more)
        assert row["p"] == row["p_holm"] == 2.0**-11
        assert set(effects["verdict"]) == {"cannot tell"}
        assert effects["p_equivalence"].isna().all()
        assert math.isnan(row["replicates_needed"])
        assert "Nothing is decided then, because the replicates re-split one pool" in row["sentence"]


def test_resplit_replicates_are_not_kept_back_by_sign_flips():
    _, row = judged(*family(6, 0.05, 0.05), resplit=0.25)
    assert row["p_holm"] == 0.0625
    assert row["direction"] == "better"
    assert "cannot reach significance" not in row["sentence"]


def test_what_a_level_can_detect_allows_for_the_number_of_swaps():
    data, contrasts = family(12, 0.001, 0.0, 0.0)
    more = table(12, **{"level 0": 0, "c": 0.002}).query("arm != 'level 0'")
    effects, row = judged(pd.concat([data, more]), [*contrasts, Contrast("c", "c", "level 0", role="control")])
    power = TTestPower().power(row["smallest_detectable"] / row["sd"], 12, 0.05 / 3)
    assert power == pytest.approx(0.8, abs=1e-5)
    assert st.replicates_needed(row["smallest_detectable"] * 1.0001, row["sd"], alpha=0.05 / 3) == 12
    control = effects.iloc[-1]
    assert TTestPower().power(control["smallest_detectable"] / control["sd"], 12, 0.05) == pytest.approx(0.8, abs=1e-5)


def test_a_row_has_the_more_real_tier_of_its_two_arms():
    data = table(old=0, new=0.05, plain=0.01, linear=0.02)
    effects, _ = judged(data, tier={"new": "exact expectation", "linear": "noisy", "old": "classical"})
    got = {(r["cell"], r["versus"]): r["tier"] for r in effects.to_dict("records")}
    assert got == {
        ("new", "old"): "exact expectation", ("plain", "old"): "classical", ("linear", "old"): "noisy",
        ("new", "plain"): "exact expectation", ("new", "linear"): "noisy",
    }  # fmt: skip
    for one, other in itertools.pairwise(verdicts.TIERS):
        for tiers in ({"new": one, "old": other}, {"new": other, "old": one}):
            assert judged(data, [ALONE], tier=tiers)[1]["tier"] == other
    assert judged(data, [ALONE], tier={"new": "emulated"})[1]["tier"] == "emulated"
    assert verdicts.TIERS[1:] == cost.TIERS


def test_the_columns_are_those_promised_and_agree_with_scipy():
    data = table(old=0, new=0.01, plain=0.005, linear=0.002)
    effects, row = judged(data, estimand="best against best", tier="finite shots", margin=0.003)
    assert list(effects.columns[: len(API)]) == API
    new, old = (data.loc[data["arm"] == arm, "value"].to_numpy() for arm in ("new", "old"))
    paired = stats.ttest_rel(new, old).confidence_interval()
    unpaired = stats.ttest_ind(new, old, equal_var=False).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx(tuple(paired))
    assert (row["low_unpaired"], row["high_unpaired"]) == pytest.approx(tuple(unpaired))
    assert row["correlation"] == pytest.approx(np.corrcoef(new, old)[0, 1])
    assert row["smallest_detectable"] == pytest.approx(float(st.smallest_detectable(row["sd"], 12)))
    assert (row["estimand"], row["tier"], row["margin"], row["untuned"]) == (
        "best against best",
        "finite shots",
        0.003,
        False,
    )
    assert (row["swap"], row["cell"], row["versus"], row["controls"]) == ("head=new", "new", "old", ["plain", "linear"])


def test_items_give_their_error_and_none_where_absent():
    rng = np.random.default_rng(0)
    items = {(arm, r): rng.random(50) < 0.9 for arm in ("old", "new") for r in range(12)}
    effects, row = judged(table(old=0, new=0.05, plain=0.01, linear=0.02), items=items)
    d = np.mean([items["new", r].astype(float) - items["old", r] for r in range(12)], axis=0)
    assert row["item_error"] == pytest.approx(stats.sem(d))
    assert effects["item_error"].isna().sum() == 4


def test_a_listed_control_keeps_its_own_name_and_is_not_listed_twice():
    control = Contrast("head=linear", "linear", "old", role="control")
    effects, row = judged(table(old=0, new=0.05, plain=0.01, linear=0.05), [SWAP, control], margin=0.005)
    assert row["verdict"] == "explained by head=linear"
    assert list(effects.loc[effects["role"] == "control", "cell"]) == ["plain", "linear"]


def test_sentences_are_those_of_levels_and_variants():
    variant = Contrast("zero bias", "linear", "old", ("plain",), role="variant")
    effects, _ = judged(table(old=0, new=0.05, plain=0.01, linear=0.05), [SWAP, variant])
    said = verdicts.sentences(effects)
    assert len(said) == 2
    assert said[1].startswith("beyond the ordinary: zero bias changed")


def test_short_verdicts_are_one_line_with_the_interval_and_the_nearest_control():
    variant = Contrast("zero bias", "linear", "old", role="variant")
    effects, row = judged(table(6, old=0, new=0.05, plain=0.01, linear=-0.02), [SWAP, variant], tuned=False)
    beside = effects[(effects["role"] == "swap-versus-control") & (effects["versus"] == "plain")].iloc[0]
    worse = effects[effects["role"] == "variant"].iloc[0]

    def numbers(r):
        return f"{100 * r['mean']:+.2f} pp [{100 * r['low']:+.2f}, {100 * r['high']:+.2f}]"

    assert verdicts.short(effects) == [
        f"estimate: untuned: beyond the ordinary: head=new {numbers(row)} vs old, n=6; "
        f"vs control plain {numbers(beside)}",
        f"estimate: untuned: worse: zero bias {numbers(worse)} vs old, n=6",
    ]


def test_short_verdicts_stay_short_whatever_the_names_and_keep_the_numbers():
    long = "the very long name of a quantum component with options=12345678 and more"
    names = [f"{long} {i}" for i in range(4)]
    contrast = Contrast(long, "new", "old", tuple(names))
    for means in ((0.01,) * 4, (0.05,) * 4, (0.0495,) * 4):
        data = table(8, old=0, new=0.05, **dict(zip(names, means, strict=True)))
        for metric in ("test_accuracy", "loss"):
            effects, row = judged(data, [contrast], metric=metric, tuned=False)
            (said,) = verdicts.short(effects)
            assert len(said) <= 140
            assert "\n" not in said
            mean = f"{100 * row['mean']:+.2f} pp [" if metric == "test_accuracy" else f"{row['mean']:+.3g} ["
            assert mean in said
            assert "vs old, n=8" in said


def test_short_verdicts_say_what_is_missing():
    data = set_cell(table(old=0, new=0.05), "new", 3, status="pending")
    assert "n=11 of 12" in verdicts.short(judged(data, [ALONE])[0])[0]
    assert verdicts.short(judged(data.assign(status="pending"), [ALONE])[0]) == [
        "estimate: cannot tell: head=new vs old, no results"
    ]
    one = verdicts.short(judged(table(1, old=0, new=0.05), [ALONE])[0])[0]
    assert one == "estimate: cannot tell: head=new +5.00 pp vs old, n=1"


def test_other_metrics_are_not_put_in_percentage_points():
    _, row = judged(table(old=0, new=0.05, plain=0.01, linear=0.02), metric="loss")
    assert "loss by +0.05 (95 %" in row["sentence"]
    percent = table(old=0, new=0.05, plain=0.01, linear=0.02)
    percent["value"] *= 100
    assert "by +5 (95 %" in judged(percent)[1]["sentence"]


def test_a_useless_margin_and_a_trial_given_twice_are_refused():
    data = table(old=0, new=0.05)
    for margin in (0, -1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="margin"):
            judged(data, [ALONE], margin=margin)
    with pytest.raises(ConfigError, match="arm 'old', replicate 0 is given twice"):
        judged(pd.concat([data, data.iloc[:1]]), [ALONE])


# --- properties -----------------------------------------------------------------------------------------------------

SCORES = hs.integers(2, 8).flatmap(
    lambda n: hs.lists(hs.lists(hs.integers(0, 64), min_size=n, max_size=n), min_size=3, max_size=3)
)
MIRROR = {"better than": "worse than", "worse than": "better than"}


def rows_of(scores, factor=1.0, order=None):
    return pd.DataFrame(
        {"arm": arm, "replicate": r, "value": factor * values[i] / 64}
        for arm, values in zip(("old", "new", "plain"), scores, strict=True)
        for r, i in enumerate(order or range(len(values)))
    )


def compared(data, **more):
    contrasts = [Contrast("head", "new", "old", ("plain",)), Contrast("new", "new", "plain", role="control")]
    return judged(data, contrasts, **{"metric": "score", "margin": 0.2, **more})[0]


@given(SCORES)
@settings(deadline=None, max_examples=60)
def test_turning_the_metric_round_turns_every_comparison_round(scores):
    up, down = compared(rows_of(scores)), compared(rows_of(scores), higher_is_better=False)
    assert list(down["mean"]) == pytest.approx(list(-up["mean"]))
    for one, other in zip(up["verdict"], down["verdict"], strict=True):
        word = one.removeprefix("estimate: ")
        if word in MIRROR:
            assert other.removeprefix("estimate: ") == MIRROR[word]
    assert list(compared(rows_of(scores, -1.0), higher_is_better=False)["verdict"]) == list(up["verdict"])


@given(SCORES)
@settings(deadline=None, max_examples=60)
def test_the_unit_of_the_metric_does_not_change_a_verdict(scores):
    first, second = compared(rows_of(scores)), compared(rows_of(scores, 8.0), margin=1.6)
    assert list(first["verdict"]) == list(second["verdict"])
    assert list(second["sd"]) == pytest.approx(list(8 * first["sd"]))


@given(SCORES, hs.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_the_order_of_replicates_does_not_change_a_verdict(scores, random):
    order = list(range(len(scores[0])))
    random.shuffle(order)
    assert list(compared(rows_of(scores))["verdict"]) == list(compared(rows_of(scores, order=order))["verdict"])


@given(SCORES)
@settings(deadline=None, max_examples=60)
def test_beyond_the_ordinary_always_beats_the_level_below_and_the_control(scores):
    effects = compared(rows_of(scores))
    row, control = effects.iloc[0], effects[effects["role"] == "swap-versus-control"].iloc[0]
    if "beyond" in row["verdict"]:
        assert row["mean"] > 0
        assert control["mean"] > 0
    if "explained" in row["verdict"]:
        assert row["mean"] > 0
        assert control["mean"] < 0.2


def test_studies_without_any_effect_are_called_better_or_worse_within_binomial_bounds():
    """Three swaps that do nothing, 300 studies: the family-wise error stays below 5 % plus chance."""
    rng = np.random.default_rng(0)
    names = ["level 0", "level 1", "level 2", "level 3"]
    contrasts = [Contrast(b, b, a) for a, b in itertools.pairwise(names)]
    wrong = 0
    for _ in range(300):
        values = rng.normal(size=(4, 8))
        data = pd.DataFrame(
            {"arm": arm, "replicate": r, "value": v}
            for arm, row in zip(names, values, strict=True)
            for r, v in enumerate(row)
        )
        directions = verdicts.effects(data, contrasts, metric="score")["direction"]
        wrong += directions.isin(["better", "worse"]).any()
    assert wrong <= stats.binom.ppf(0.999, 300, 0.05)


def test_what_the_controls_did_is_said_whatever_the_verdict():
    row = judged(table(old=0, new=-0.02, plain=-0.01, linear=-0.03))[1]
    assert row["verdict"] == "worse"
    assert "That is worse than old. Beside its controls it is worse than plain: -1.00 " in row["sentence"]
    assert "; better than linear: +1.00 percentage points (95 % interval +0." in row["sentence"]
    none = judged(table(old=0, new=0, plain=0, linear=-0.03), margin=0.005)[1]
    assert none["verdict"] == "no difference"
    assert "Beside its controls it is equivalent to plain: " in none["sentence"]
    assert "; better than linear: +3.00 " in none["sentence"]
    data = table(old=0, new=0.0005, plain=0)
    unclear = judged(data, [Contrast("head=new", "new", "old", ("plain",))])[1]
    assert unclear["verdict"] == "cannot tell"
    assert "Beside its control it is not told apart from plain: " in unclear["sentence"]
    alone = judged(table(old=0, new=-0.02), [ALONE])[1]
    assert "Beside" not in alone["sentence"]
    unfinished = judged(set_cell(table(old=0, new=-0.02, plain=0), "plain", 0, value=np.nan, status="pending"),
                        [Contrast("head=new", "new", "old", ("plain",))])[1]  # fmt: skip
    assert "Beside its control it is not yet compared with plain" in unfinished["sentence"]


@pytest.mark.parametrize("n", [4, 12])
def test_the_t_test_that_decides_has_its_p_in_the_table_and_in_no_sentence_below_six(n):
    ratio = 0.25
    data = table(n, old=0, new=0.004, other=0.002)
    wide = data.pivot(index="arm", columns="replicate", values="value")
    contrasts = [ALONE, Contrast("head=other", "other", "old")]
    effects, _ = judged(data, contrasts, resplit=ratio)
    raw = []
    for cell in ("new", "other"):
        d = (wide.loc[cell] - wide.loc["old"]).to_numpy()
        raw.append(2 * stats.t.sf(abs(d.mean()) / (d.std(ddof=1) * math.sqrt(1 / n + ratio)), n - 1))
    assert list(effects["p_t"]) == pytest.approx(multipletests(raw, method="holm")[1])
    for _, row in effects.iterrows():
        assert (row["direction"] != "unclear") == (row["p_t"] <= 0.05 and not row["low"] <= 0 <= row["high"])
        assert n >= 6 or ("flip p 0" not in row["sentence"] and math.isnan(row["p"]))
        assert f"{row['p_t']:.3f}" not in row["sentence"]
    assert math.isnan(judged(table(1, old=0, new=0.004), [ALONE])[1]["p_t"])
