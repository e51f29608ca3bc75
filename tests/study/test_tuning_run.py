"""A search on real digits, killed and gone on with: both estimands answered, every draw in the study's own store."""

from __future__ import annotations

import sqlite3
import sys

import pytest
from killing import kill_parent

import dopant as dp
from dopant.study import draws
from dopant.study import plan as planning
from dopant.study.request import study_of_request

STUDY = """
[study]
name = "searched"
replicates = 2
data = { name = "digits", limit = 120 }
host = { name = "mlp", hidden = [8] }
margin = 0.02
controls = false
[recipe]
lr = 1e-2
epochs = 2
batch = 32
[tuning.search]
lr = { low = 1e-3, high = 1e-1, log = true }
gain = [0.5, 1.0, 2.0]
"head:rank" = [1, 2]
draws = 11
replicates = 1
sampler = "tpe"
[design]
kind = "ladder"
levels = [{ head = "low-rank" }]
"""


def done(folder):
    with sqlite3.connect(f"file:{folder / 'index.sqlite'}?mode=ro", uri=True) as database:
        return database.execute("SELECT count(*) FROM trials WHERE state='done'").fetchone()[0]


def begun(folder):
    try:
        return done(folder) >= 3
    except sqlite3.Error:
        return False


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "s"
    file = folder.parent / "study.toml"
    file.write_text(STUDY)
    command = [sys.executable, "-m", "dopant", "run", str(file), "--out", str(folder), "--workers", "1"]
    assert kill_parent(command, begun=lambda: begun(folder), delay=0.0) is not None
    before = done(folder)
    found = dp.run(dp.Study.load(file), out=folder, workers=1)
    assert 3 <= before < found.counts["done"]
    return found


def test_a_killed_search_ends_with_as_many_trials_as_were_announced_and_none_is_left_over(answer):
    asked, rows = answer.config, answer.store.rows()
    assert answer.counts["done"] == answer.counts["planned"] == len(rows)
    wanted = {t.id for t in planning.wanted_trials(asked, rows, {}, True)}
    assert wanted == {row["id"] for row in rows}  # a draw that came out another way would have left its trials behind
    assert planning.tuning_total(asked) == 2 * 11


def test_the_draws_before_and_after_the_kill_are_those_of_a_planner_that_never_saw_it(answer):
    asked, rows = answer.config, answer.store.rows()
    first = [t for t in planning.plan(asked, []) if t.phase == "tuning"]
    assert len(first) == 2 * draws.STARTUP
    assert {t.id for t in first} <= {row["id"] for row in rows}
    early = {t.id for t in first}
    later = [t for t in planning.plan(asked, [r for r in rows if r["id"] in early]) if t.phase == "tuning"]
    assert len(later) == 2 and {t.id for t in later} <= {row["id"] for row in rows}


def test_both_estimands_are_answered_the_primary_first_each_between_its_own_cells(answer):
    effects = answer.effects
    assert list(effects["estimand"].unique()) == ["best against best", "drop-in"]
    assert (effects["primary"] == (effects["estimand"] == "best against best")).all()
    assert (effects["untuned"] == (effects["estimand"] == "drop-in")).all()
    drop_in = effects[effects["estimand"] == "drop-in"]
    assert drop_in["versus"].str.endswith("(drop-in)").all() and drop_in["cell"].str.endswith("(drop-in)").all()
    assert not effects.loc[effects["primary"], "versus"].str.contains("drop-in").any()
    first, second = answer.verdicts
    assert "the primary estimand of the study" in first and "the primary estimand of the study is best" in second
    rates = answer.trials.groupby("cell")["lr"].unique()
    assert all(list(rates[c]) == [1e-2] for c in rates.index if "drop-in" in c)


def test_the_difference_of_each_estimand_is_that_of_its_own_trials(answer):
    score = answer.trials.set_index(["cell", "replicate"])["test_accuracy"]
    for row in answer.effects.to_dict("records"):
        by_hand = (score[row["cell"]] - score[row["versus"]]).mean()
        assert row["mean"] == pytest.approx(by_hand, abs=1e-12)


def test_the_summary_has_each_arms_best_by_the_tuning_trials_themselves(answer):
    summary, trials = answer.tuning_summary.set_index("cell"), answer.tuning
    assert list(summary["candidates"]) == list(summary["finished"]) == [11, 11]
    for cell, mine in trials.groupby("cell"):
        best = mine.loc[mine["validation_accuracy"].idxmax()]
        assert summary.loc[cell, "validation"] == best["validation_accuracy"]
        chosen = answer.trials[answer.trials["cell"] == cell].iloc[0]
        assert summary.loc[cell, "lr"] == chosen["lr"] and summary.loc[cell, "initial_gain"] == chosen["initial_gain"]
    assert summary["head:rank"].isna().sum() == 1  # the host's own head has no rank
    assert "test_accuracy" not in trials
    best = answer.best_of_k.groupby("cell")["expected"].max()
    assert all(best[cell] == summary.loc[cell, "validation"] for cell in summary.index)


def test_the_page_shows_what_was_tuned_and_both_estimands_apart(answer):
    page = answer.report().read_text()
    assert "How each arm was tuned" in page and "The best of k candidates" in page and "by candidates" in page
    assert "best against best, the primary estimand" in page and "test accuracy, drop-in" in page
    assert "best against best, primary</span>" in page
    notes = " ".join(answer.notes)
    assert "11 draws" in notes and "head:rank 1 or 2" in notes and "Two estimands" in notes and "equal epochs" in notes


def test_quick_drops_the_search(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    quick = study_of_request(tmp_path / "study.toml", quick=True)
    assert quick.tuning is None and planning.tuning_total(quick) == 0


def test_a_wrong_value_of_a_searched_option_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY.replace('"head:rank" = [1, 2]', '"head:rank" = [1, -3]'))
    with pytest.raises(dp.DopantError, match="rank"):
        dp.run(dp.Study.load(tmp_path / "study.toml"), out=tmp_path / "s")
    assert not (tmp_path / "s").exists()
