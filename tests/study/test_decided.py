"""How a study is analysed is written into it before it runs, shown on the page, and a later change is noted."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

import dopant as dp
from dopant.designs import Contrast
from dopant.errors import ConfigError
from dopant.study import sensitivity, verdicts
from dopant.study.config import Tuning, from_tables
from dopant.study.decided import change_notes, resolved
from dopant.study.report import page

LADDER = dp.Ladder("creep-cnn").level(conv1="flipped-quanv")
FACTORIAL = dp.Factorial("creep-cnn", {"conv1": ["flipped-quanv"], "head": ["reupload-linear"]})


def study(**changes):
    return dp.Study(LADDER, data="digits", replicates=4, name="s").with_(**changes)


def test_the_plan_says_what_will_decide_and_survives_the_file(tmp_path):
    asked = study(margin=0.01, tuning=Tuning(lr=[1e-3]), analysis={"confirm": 7})
    asked.save(tmp_path / "s.toml")
    again = dp.Study.load(tmp_path / "s.toml")
    assert again.analysis.confirm == 7 and again.to_tables() == asked.to_tables()
    table = asked.to_tables()["analysis"]
    assert (table["alpha"], table["power"], table["confirm"]) == (0.05, 0.8, 7)
    plan = table["plan"]
    assert plan["metric"] == "accuracy on the test set" and plan["margin"].startswith("0.01: equivalent")
    assert plan["families"].startswith("swaps by Holm") and plan["estimand"].startswith("best against best")
    assert "interactions by Holm" in resolved(study(design=FACTORIAL))["plan"]["families"]


def test_another_level_or_power_is_refused_because_nothing_would_honour_it():
    tables = study().to_tables()
    for key, value, only in (("alpha", 0.01, "0.05"), ("power", 0.9, "0.8")):
        with pytest.raises(ConfigError, match=f"analysis.{key}: .* computed at {only}"):
            from_tables({**tables, "analysis": {key: value}})
    with pytest.raises(ConfigError, match=r"analysis\.confirm: .*, not -1"):
        study(analysis={"confirm": -1})
    with pytest.raises(ConfigError, match=r"analysis\.confrim: unknown key; did you mean 'confirm'"):
        from_tables({**tables, "analysis": {"confrim": 3}})


def test_a_file_without_the_table_has_the_default_analysis():
    tables = study().to_tables()
    del tables["analysis"]
    assert from_tables(tables) == from_tables(study().to_tables())


def test_a_change_after_trials_had_finished_is_noted_with_both_values_and_growth_is_none():
    assert change_notes(study(), study(replicates=9, design=LADDER.level(head="reupload-linear")), 5) == []
    assert change_notes(study(), study(margin=0.1, metric="mse"), 0) == []
    notes = change_notes(study(), study(margin=0.1, tuning=Tuning(lr=[1e-3])), 5)
    assert notes[0] == "The margin was changed from None to 0.1 after 5 trials had finished."
    assert len(notes) == 2 and "estimand was 'drop-in" in notes[1] and "is now 'best against best" in notes[1]


# --- complete cases -------------------------------------------------------------------------------------------------


def effects_of(complete_cases=False, n=12, lost=1):
    rows = []
    for r in range(n):
        base = 0.8 + 0.01 * (r % 3)
        rows.append({"arm": "old", "replicate": r, "value": base, "status": "done"})
        gone = r < lost
        value = float("nan") if gone else base + 0.02 + 0.001 * (r % 2)
        rows.append({"arm": "new", "replicate": r, "value": value, "status": "failed" if gone else "done"})
    return verdicts.effects(
        pd.DataFrame(rows), [Contrast("new", "new", "old")], metric="accuracy", failure_value=0.1,
        complete_cases=complete_cases,
    )  # fmt: skip


def test_complete_cases_leave_the_failed_pair_out_and_say_where_that_would_change_a_verdict():
    scored, complete = effects_of(), effects_of(True)
    assert (scored["replicates"][0], complete["replicates"][0]) == (12, 11)
    assert (scored["incomplete"][0], complete["incomplete"][0]) == (0, 0)
    assert scored["direction"][0] == "unclear" and complete["direction"][0] == "better"
    d = [0.02 + 0.001 * (r % 2) for r in range(1, 12)]
    assert complete["mean"][0] == pytest.approx(sum(d) / 11)
    found = sensitivity.rows_of(scored, lambda: complete)
    assert len(found) == 1
    (note,) = sensitivity.notes_of(scored, found)
    assert "11 complete pairs" in note and "instead of 'cannot tell'" in note


def test_without_a_failed_trial_there_is_nothing_to_be_sensitive_to():
    scored = effects_of(lost=0)
    assert sensitivity.rows_of(scored, lambda: pytest.fail("not needed")).empty
    same = sensitivity.rows_of(effects_of(True), lambda: effects_of(True))
    assert sensitivity.notes_of(effects_of(True), same) == [
        "Leaving failed trials out, instead of scoring them, would change no verdict."
    ]


def test_the_page_shows_how_it_was_decided_the_shares_and_the_complete_cases():
    scored = effects_of()
    common = {"combination": "a=1, b=1", "level": "1", "value": 0.0123, "total": 0.0246, "replicates": 12}
    shares = pd.DataFrame([{**common, "factor": f"<b>{x}"} for x in "ab"])
    trials = pd.DataFrame({"trial": ["t"], "cell": ["new"], "replicate": [0], "status": ["done"], "accuracy": [0.9]})
    answer = SimpleNamespace(
        effects=scored, verdicts=verdicts.sentences(scored), trials=trials, shapley=shares,
        complete_cases=effects_of(True), decided={"estimand": "drop-in <i>", "alpha": "0.05"},
    )  # fmt: skip
    text = page(answer)
    for part in (
        "How this was decided",
        "drop-in &lt;i&gt;",
        "Shapley value, pp",
        "&lt;b&gt;a",
        "+1.23",
        "+2.46",
        "complete-cases",
    ):
        assert part in text
    plain = page(SimpleNamespace(effects=scored, verdicts=[], trials=trials))
    assert not any(part in plain for part in ("How this was decided", "Shapley", "complete-cases"))
