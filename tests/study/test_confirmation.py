"""A race: its family, its leader, and the fresh replicates that alone may judge the leader."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import dopant as dp
from dopant.designs import Cell, Contrast, Filling
from dopant.study import plan as planning
from dopant.study import race, verdicts
from dopant.study.decided import AnalysisTable

CELLS = {
    "old": {},
    "one": {"head": {"component": "reupload-linear"}},
    "two": {"head": {"component": "random-features"}},
    "plain": {"head": {"component": "frozen", "of": {"component": "reupload-linear"}}},
}
GAIN = {"old": 0.0, "one": 0.02, "two": 0.01, "plain": 0.0}


@dataclass(frozen=True)
class Toy(dp.Ladder):
    """A race of two entries, one of which has a control."""

    def cells(self, controls=True):
        return [Cell(name, None, swaps, "control" if name == "plain" else "level") for name, swaps in CELLS.items()]

    def fillings(self):
        return [Filling(name, "head", CELLS[name]["head"]) for name in ("one", "two")]

    def contrasts(self, controls=True):
        return [Contrast("head=one", "one", "old", ("plain",), "race"), Contrast("head=two", "two", "old", (), "race"),
                Contrast("plain", "plain", "old", (), "control")]  # fmt: skip


INPUTS = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
TARGETS = (INPUTS[:, 0] * INPUTS[:, 1] > 0).astype(int)


def study(**changes):
    return dp.Study(Toy("creep-cnn"), data="digits", recipe=dp.Recipe(epochs=1), replicates=3, name="r").with_(
        **changes
    )


def row(trial, state="done", gain=GAIN, reason=None, **metrics):
    r = trial.replicate if trial.replicate < race.FIRST else trial.replicate - race.FIRST + 0.5
    found = {"test_accuracy": 0.8 + gain[trial.cell] + 0.001 * math.sin(7 * r + len(trial.cell)), "classes": 10}
    metrics = {**found, **metrics} if state == "done" else None
    return trial.to_json() | {
        "state": state,
        "attempts": 1,
        "reason": reason,
        "metrics": metrics,
        "replicate": trial.replicate,
    }


def finished(asked, **settings):
    return [row(t, **settings) for t in planning.plan(asked, [])]


# --- the planner ----------------------------------------------------------------------------------------------------


def test_nothing_is_confirmed_before_the_race_is_over():
    rows = finished(study())
    assert {t.phase for t in planning.plan(study(), [])} == {"main"}
    assert all(t.phase == "main" for t in planning.plan(study(), rows[:-4]))
    waiting = [row(planning.plan(study(), [])[0], "running")]
    assert race.leader(study(), waiting + rows[1:]) is None


def test_the_leader_its_reference_and_its_controls_are_run_again_far_from_all_other_replicates():
    fresh = planning.plan(study(), finished(study()))
    assert {t.phase for t in fresh} == {"confirm"}
    assert [(t.cell, t.replicate - 1_000_000) for t in fresh] == [
        (c, r) for r in range(3) for c in ("old", "one", "plain")
    ]
    same = {t.cell: t.description for t in planning.plan(study(), [])}
    assert all(t.description | {"replicate": 2} == same[t.cell] for t in fresh)
    assert planning.plan(study(), finished(study()) + [row(t) for t in fresh]) == []


def test_how_many_are_fresh_is_said_in_the_analysis_and_is_counted_beforehand():
    for confirm, count in ((None, 3), (5, 5), (0, 0)):
        asked = study(analysis=AnalysisTable(confirm=confirm))
        assert len(planning.plan(asked, finished(asked))) == 3 * count
        assert planning.total(asked) == 4 * 3 + 3 * count


def test_an_entry_that_fails_counts_at_chance_and_one_that_is_lost_cannot_lead():
    trials = planning.plan(study(), [])
    first = next(t for t in trials if t.cell == "one")
    rest = [row(t) for t in trials if t is not first]
    assert race.leader(study(), [*rest, row(first, "failed", reason="not finite")]).cell == "two"
    assert race.leader(study(), [*rest, row(first, "failed", reason="error: no")]).cell == "two"
    assert race.leader(study(), [*rest, row(first)]).cell == "one"


def test_where_no_entry_is_better_than_the_reference_nothing_is_run_again():
    worse = {**GAIN, "one": -0.1, "two": -0.2}
    assert planning.plan(study(), finished(study(), gain=worse)) == []


def test_a_metric_of_which_less_is_better_turns_the_choice_round():
    asked = study(metric="mse", recipe=dp.Recipe(epochs=1, metrics=["mse", "accuracy"]))
    rows = [row(t, test_mse=1 - GAIN[t.cell] if t.cell != "two" else 0.1) for t in planning.plan(asked, [])]
    assert race.leader(asked, rows).cell == "two"


def test_the_choice_stands_once_a_fresh_trial_has_begun_whatever_is_added_later():
    rows = finished(study())
    fresh = planning.plan(study(), rows)
    grown = study(replicates=5)
    later = [row(t, gain={**GAIN, "two": 0.3}) for t in planning.plan(grown, rows) if t.phase == "main"]
    assert race.leader(grown, rows + later).cell == "two"  # nothing fresh has begun
    begun = [*rows, row(fresh[1], "running"), *later]
    assert race.leader(grown, begun).cell == "one"
    assert {t.cell for t in planning.plan(grown, begun) if t.phase == "confirm"} == {"old", "one", "plain"}
    assert planning.changed(grown, begun, {}, True) == []


def test_fresh_replicates_are_no_part_of_the_count_that_may_only_grow_but_may_not_shrink_themselves():
    rows = finished(study())
    rows += [row(t) for t in planning.plan(study(), rows)]
    assert planning.changed(study(replicates=4), rows, {}, True) == []
    fewer = planning.changed(study(analysis=AnalysisTable(confirm=2)), rows, {}, True)
    assert fewer == ["analysis.confirm: was 3, is now 2; take 3 or more, nothing is deleted"]
    assert planning.changed(study(replicates=2), rows, {}, True)[0].startswith("study.replicates")


def test_one_entry_alone_is_not_chosen_and_so_not_run_again(monkeypatch):
    monkeypatch.setattr(Toy, "contrasts", lambda self, controls=True: [Contrast("head=one", "one", "old", (), "race")])
    assert planning.plan(study(), finished(study())) == [] and race.confirmations(study()) == 0


def test_a_race_runs_its_leader_again_resumes_and_grows_without_choosing_anew(tmp_path):
    asked = study(
        design=Toy({"name": "mlp", "hidden": [6]}),
        data=(INPUTS, TARGETS),
        recipe=dp.Recipe(lr=3e-2, batch=16, epochs=6),
    )
    answer = dp.run(asked, out=tmp_path / "race", workers=1)
    led = answer.effects.set_index(["cell", "role"])["mean"].drop("old", errors="ignore").xs("race", level="role")
    assert led.max() > 0
    best = led.idxmax()
    beside = ["plain"] if best == "one" else []
    assert sorted(answer.confirming["cell"].unique()) == sorted(["old", best, *beside])
    assert len(answer.trials) == 12 and set(answer.trials["replicate"]) == {0, 1, 2}
    assert answer.counts["planned"] == answer.counts["done"] == 12 + len(answer.confirming)
    row = answer.effects[answer.effects["role"] == "confirmed"].iloc[0]
    wide = answer.confirming.pivot(index="cell", columns="replicate", values="test_accuracy")
    assert row["mean"] == pytest.approx((wide.loc[best] - wide.loc["old"]).mean()) and row["replicates"] == 3
    race_row = answer.effects[(answer.effects["role"] == "race") & (answer.effects["cell"] == best)].iloc[0]
    assert race_row["verdict"].endswith(verdicts.LEADS) and row["verdict"].startswith("estimate: ")
    assert any("led the race and was run again" in note for note in answer.notes)
    assert answer.provenance["test_set_reads"] == answer.counts["done"]
    again = dp.run(asked, out=tmp_path / "race", workers=1)
    assert again.counts == answer.counts
    more = dp.run(asked.with_(replicates=4), out=tmp_path / "race", workers=1)
    assert set(more.confirming["cell"]) == set(answer.confirming["cell"]) and len(more.trials) == 16
    assert more.effects[more.effects["role"] == "confirmed"]["replicates"].iloc[0] == 4


# --- the verdicts ---------------------------------------------------------------------------------------------------


def table(n, seed=0, spread=0.01, **gain):
    rng = np.random.default_rng(seed)
    base = rng.normal(0.8, 0.02, n)
    return pd.DataFrame(
        {"arm": arm, "replicate": r, "value": base[r] + mean + rng.normal(0, spread)}
        for arm, mean in gain.items()
        for r in range(n)
    )


def judged(data, entries=("one", "two", "three"), **settings):
    contrasts = [Contrast(e, e, "old", role="race") for e in entries]
    return verdicts.effects(data, contrasts, metric="accuracy", **settings).set_index("cell")


def test_the_leader_is_not_judged_by_the_replicates_that_chose_it_and_the_others_are():
    found = judged(table(12, old=0, one=0.05, two=0.03, three=-0.05))
    assert found.loc["one", "verdict"] == verdicts.LEADS
    assert "picked as the best of 3 entries" in found.loc["one", "sentence"]
    assert found.loc["two", "verdict"].startswith("cannot tell: better than the level below")
    assert found.loc["three", "verdict"] == "worse"
    assert set(found["correction"]) == {"max-t"}
    assert (found["low_joint"] < found["low"]).all() and (found["high"] < found["high_joint"]).all()
    assert "by max-|t| over joint flips across 3 entries" in found.loc["two", "sentence"]


def test_neither_the_leader_that_was_chosen_before_nor_what_leads_since_is_judged_by_what_put_it_ahead():
    found = judged(table(12, old=0, one=0.05, two=0.03, three=0), leader="two")
    assert found.loc["two", "verdict"] == found.loc["one", "verdict"] == verdicts.LEADS
    assert found.loc["three", "verdict"] != verdicts.LEADS


def test_six_replicates_reach_significance_whatever_the_number_of_entries():
    arms = {f"e{i}": 0.0 for i in range(9)} | {"e8": 0.2, "e7": 0.3}
    found = judged(table(6, old=0, **arms), list(arms))
    assert found.loc["e8", "p_holm"] == pytest.approx(2**-5) and found.loc["e8", "direction"] == "better"


def test_an_unfinished_entry_shares_the_level_with_the_finished_ones():
    data = table(8, old=0, one=0.02, two=0.01, three=0)
    whole = judged(data[data["arm"] != "three"], ("one", "two"))
    part = judged(data[(data["arm"] != "three") | (data["replicate"] < 5)])
    assert list(part.loc[["one", "two"], "p_holm"]) == pytest.approx(list(np.minimum(1, whole["p_holm"] * 1.5)))
    assert math.isnan(part.loc["three", "p_holm"]) and part.loc["three", "verdict"].endswith("cannot tell")


def test_with_resplit_data_holms_t_tests_with_the_corrected_variance_decide():
    data = table(12, old=0, one=0.05, two=0.012, three=0)
    found, plain = judged(data, resplit=1 / 3), judged(data)
    assert plain.loc["two", "direction"] == "better" and found.loc["two", "direction"] == "unclear"
    d = {
        e: (data[data["arm"] == e]["value"].to_numpy() - data[data["arm"] == "old"]["value"].to_numpy())
        for e in found.index
    }
    raw = [2 * stats.t.sf(abs(x.mean()) / (x.std(ddof=1) * math.sqrt(1 / 12 + 1 / 3)), 11) for x in d.values()]
    decided = (np.array(raw) * [3, 2, 1] <= 0.05) & (found["low"] * found["high"] > 0).to_numpy()
    assert list(found["direction"].isin(["better", "worse"])) == list(decided)


def test_a_race_without_any_effect_seldom_names_a_direction():
    wrong = 0
    for seed in range(100):
        found = judged(table(8, seed, old=0, one=0, two=0, three=0))
        wrong += found["direction"].isin(["better", "worse"]).any()
    assert wrong <= stats.binom.isf(0.005, 100, 0.05)


def test_the_chosen_ones_advantage_is_overstated_and_fresh_replicates_put_it_right():
    """Ten entries that are all the same: the best of them looks good, and does not on fresh replicates."""
    names = [f"e{i}" for i in range(10)]
    looked, fresh, claimed = [], [], 0
    for seed in range(40):
        first = judged(table(6, seed, old=0, **dict.fromkeys(names, 0.0)), names)
        best = first["mean"].idxmax()
        again = table(6, 1000 + seed, old=0, **dict.fromkeys(names, 0.0))
        row = verdicts.effects(again, [Contrast(best, best, "old", role="confirmed")], metric="accuracy").iloc[0]
        looked.append(first.loc[best, "mean"])
        fresh.append(row["mean"])
        claimed += row["direction"] == "better"
    assert np.mean(looked) > 3 * stats.sem(fresh) and abs(np.mean(fresh)) < 3 * stats.sem(fresh)
    assert claimed <= stats.binom.isf(0.005, 40, 0.05)


def test_the_confirmed_row_is_one_comparison_with_its_controls_named_as_they_are():
    contrasts, called = race.contrast_of(Contrast("head=one", "one", "old", ("plain",), "race", ("why not",)))
    data = table(12, old=0, one=0.05, plain=0.0)
    data["arm"] = data["arm"].map(called)
    found = verdicts.effects(data, contrasts, metric="accuracy", margin=0.01)
    assert list(found["role"]) == ["confirmed", "control", "swap-versus-control"]
    assert found["verdict"][0] == "beyond the ordinary" and found["p_holm"][0] == found["p"][0]
    assert "the control plain:" in found["sentence"][0] and "against old (fresh replicates)" in found["sentence"][0]
    assert verdicts.sentences(found) == [found["sentence"][0]] and len(verdicts.short(found)) == 1
    assert replace(contrasts[0], role="race").missing_controls == ("why not",)
