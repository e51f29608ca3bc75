"""Two studies side by side: real ones, trained here; a copy, a run again, a fork, another seed, another recipe."""

from __future__ import annotations

import io
import json
import re
import shutil
import sqlite3
from pathlib import Path

import fake_answer
import numpy as np
import pandas as pd
import pytest
from commanding import command
from markupsafe import escape
from rich.console import Console
from scipy import stats
from torch import nn

import dopant as dp
from dopant.errors import ConfigError, StoreError, UnknownName
from dopant.study import between
from dopant.study.compare import _difference, compare, reading, welch_p
from dopant.study.report import compared


class Net(nn.Sequential):
    """8 x 8 digits, one hidden layer."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def study(folder, seed=0, lr=3e-3, replicates=3):
    return dp.run(
        dp.Ladder(Net).level(**{"3": "low-rank"}), data="digits", recipe=dp.Recipe(lr=lr, batch=256, epochs=1),
        seed=seed, replicates=replicates, controls=False, margin=0.01, out=folder, name=folder.name, progress=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """first and again: the same, run twice; copy: its files; seed, rate: with another one, the latter shorter."""
    place = tmp_path_factory.mktemp("studies")
    found = {"first": study(place / "first"), "again": study(place / "again"), "seed": study(place / "seed", seed=1)}
    found["rate"] = study(place / "rate", lr=3e-2, replicates=2)
    shutil.copytree(place / "first", place / "copy")
    return found | {"copy": dp.load(place / "copy")}


def test_a_study_run_again_is_reproduced_to_the_last_bit_and_a_copy_is_told_from_it(studies):
    found = compare(studies["first"], studies["again"])
    assert found.comparable and found.paired and not found.differences
    r = found.reproduction
    assert (r.common, r.finished, r.equal, r.copied, r.largest) == (6, 6, 6, 0, 0.0)
    assert "equal to the last bit" in r.sentence and "copied" not in r.sentence
    assert list(found.effects["reading"]) == ["identical"] and list(found.cells["equal"]) == [3, 3]
    assert compare(studies["first"], studies["copy"]).reproduction.copied == 6


def test_a_changed_result_is_found_with_its_size_and_place(studies, tmp_path):
    shutil.copytree(studies["again"].folder, tmp_path / "changed")
    database = sqlite3.connect(tmp_path / "changed" / "index.sqlite")
    trial, metrics = database.execute("SELECT id, metrics FROM trials WHERE cell='level 1' AND replicate=2").fetchone()
    changed = json.loads(metrics)
    changed["test_loss"] += 0.125
    changed["seconds"] = 1e9
    database.execute("UPDATE trials SET metrics=? WHERE id=?", (json.dumps(changed), trial))
    database.commit()
    database.close()
    r = compare(studies["first"], tmp_path / "changed").reproduction
    assert (r.finished, r.equal) == (6, 5) and r.largest == pytest.approx(0.125)
    assert r.where == "test_loss of level 1, replicate 2"


def test_another_recipe_is_paired_over_common_replicates_as_scipy_pairs_them(studies):
    found = dp.compare(studies["first"].folder, str(studies["rate"].folder))
    assert found.paired and found.reproduction.common == 0 and "recipe.lr" in found.reproduction.sentence
    assert ("recipe.lr", 3e-3, 3e-2) in found.differences and ("study.replicates", 3, 2) in found.differences
    row = found.effects.iloc[0]
    gaps = []
    for name in ("first", "rate"):
        wide = studies[name].trials.pivot(index="replicate", columns="cell", values="test_accuracy")
        gaps.append((wide["level 1"] - wide["level 0"]).loc[:1].to_numpy())
    d, n = gaps[0] - gaps[1], 2
    error = np.std(d, ddof=1) * np.sqrt(1 / n + studies["first"].resplit())  # Nadeau and Bengio
    assert row["difference"] == pytest.approx(d.mean()) and (row["method"], row["pairs"]) == ("paired", 2)
    assert row["high"] - row["difference"] == pytest.approx(stats.t.ppf(0.975, n - 1) * error)
    assert row["reading"] == "too few replicates to tell" and np.isnan(row["p"])
    assert any("replicates that both studies have" in note for note in found.notes)


def test_another_seed_is_unpaired_and_says_why(studies):
    found = compare(studies["first"], studies["seed"])
    assert found.comparable and not found.paired and "seeds differ" in found.why
    row = found.effects.iloc[0]
    assert row["method"] == "unpaired" and row["difference"] == pytest.approx(row["mean_a"] - row["mean_b"])
    assert row["reading"] == "too few replicates to tell" and row["pairs"] == 3
    assert found.cells["same_trials"].sum() == 0


def test_a_fork_shares_the_runs_that_it_kept(studies, tmp_path):
    shutil.copytree(studies["first"].folder, tmp_path / "first")
    forked = dp.run(
        dp.Ladder(Net).level(**{"3": "bottleneck-mlp"}), data="digits", replicates=3, controls=False, margin=0.01,
        recipe=dp.Recipe(lr=3e-3, batch=256, epochs=1), out=tmp_path / "first", fork="forked", progress=None,
    )  # fmt: skip
    found = compare(tmp_path / "first", forked)
    assert (found.reproduction.common, found.reproduction.copied) == (3, 3)
    assert "one and the same run" in found.reproduction.sentence
    assert list(found.cells["cell"]) == ["level 0"] and not len(found.effects)


def test_other_data_are_never_compared_and_no_difference_is_given(studies, tmp_path):
    shutil.copytree(studies["again"].folder, tmp_path / "other")
    path = tmp_path / "other" / "provenance.json"
    path.write_text(path.read_text().replace(studies["again"].provenance["data"]["fingerprint"], "0" * 16))
    found = compare(studies["first"], tmp_path / "other")
    assert not found.comparable and "other contents" in found.reasons[0]
    row = found.effects.iloc[0]
    assert row["reading"] == "not comparable" and np.isnan(row["difference"]) and np.isnan(row["p_holm"])
    assert "Not comparable." in compared.page(found) and not compared.picture(found)


def test_an_arm_of_the_same_name_and_another_making_is_not_compared(studies, tmp_path):
    made = [
        dp.run(
            dp.Ladder(Net).level(**{"1": first}).level(**{"3": "low-rank"}), data="digits", replicates=1, margin=0.01,
            recipe=dp.Recipe(lr=3e-3, batch=256, epochs=1), controls=False, out=tmp_path / first, progress=None,
        )
        for first in ("low-rank", "bottleneck-mlp")
    ]  # fmt: skip
    found = compare(*made)
    assert list(found.effects["swap"]) == ["3=low-rank"] and found.comparable
    assert found.effects["reading"][0] == "same name, but the arms are not the same"
    assert np.isnan(found.effects["difference"][0]) and list(found.cells["cell"]) == ["level 0"]
    arms = between.Arms(made[0])
    assert arms.defined("level 0") == between.Arms(studies["first"]).defined("level 0")


def test_the_difference_of_effects_is_that_of_scipy_without_resplitting():
    a, b = np.random.default_rng(0).normal(0.1, 1, (2, 9))
    series = [pd.Series(v, index=range(9)) for v in (a, b)]
    paired, unpaired = (_difference(*series, paired, 0.0) for paired in (True, False))
    oracle = stats.ttest_rel(a, b)
    low, high = oracle.confidence_interval()
    assert (paired["low"], paired["high"], paired["p"]) == pytest.approx((low, high, oracle.pvalue))
    oracle = stats.ttest_ind(a, b, equal_var=False)
    low, high = oracle.confidence_interval()
    assert (unpaired["low"], unpaired["high"], unpaired["p"]) == pytest.approx((low, high, oracle.pvalue))
    assert welch_p(a, b, resplit=0.3) > oracle.pvalue and np.isnan(welch_p(a * 0, b * 0))


def test_only_the_corrected_p_calls_an_effect_larger():
    row = {"pairs": 8, "difference": 0.1, "low": 0.01, "high": 0.2, "p_holm": 0.04}
    assert reading(row) == "larger in A" and reading(row | {"p_holm": 0.06}) == "cannot tell"
    assert reading(row | {"difference": -0.1, "low": -0.2, "high": -0.01}) == "larger in B"
    assert reading(row | {"pairs": 5}) == "too few replicates to tell"


def test_results_are_compared_without_clocks_and_a_missing_one_is_infinitely_far():
    assert between.largest_gap({"a": 1.0, "seconds": 3.0}, {"a": 1.0, "seconds": 4.0}) == (0.0, "")
    assert between.largest_gap({"a": 1.0}, {"a": 1.0, "b": 2.0}) == (float("inf"), "b")
    assert between.largest_gap({"a": float("nan")}, {"a": float("nan")})[0] == 0.0


@pytest.mark.parametrize("name", fake_answer.HOSTILE[:8])
def test_hostile_names_are_only_names_in_the_page_and_in_the_terminal(studies, name):
    found = compare(studies["first"], studies["seed"])
    found.names, found.notes = (name, name), [name]
    found.effects["swap"] = found.effects["versus"] = name
    found.cells["cell"], found.differences = name, [(name, name, [name])]
    text = compared.page(found)
    assert not re.search(r"<(script|img)\b", text) and "\x1b" not in text
    assert text.count("<title>") - text.count("</title>") == 0
    if "<" in name:
        assert str(escape(name.replace("\x00", ""))) in text
    told = io.StringIO()
    Console(width=100, file=told).print(compared.terminal(found))
    assert "\x1b" not in told.getvalue() and "A: " in told.getvalue()


def test_the_report_command_prints_the_paths_that_it_wrote_and_refuses_an_unknown_format(studies):
    folder = studies["copy"].folder
    for kind, first in (("md", "report.md"), ("csv", "effects.csv"), ("png", "figures/forest.png")):
        paths = command("report", str(folder), "--format", kind).output.split()
        assert paths[0] == str(folder / first) and all(Path(p).stat().st_size for p in paths)
    assert pd.read_csv(folder / "metrics.csv")["trial"].nunique() == 6
    refused = command("report", str(folder), "--format", "markdwon").exception
    assert isinstance(refused, UnknownName) and "known: csv, html" in str(refused)


def test_the_command_prints_tables_stable_json_and_writes_a_page(studies, tmp_path):
    folders = [str(studies[name].folder) for name in ("first", "rate")]
    result = command("compare", *folders, "--out", str(tmp_path / "two.html"))
    assert result.exit_code == 0, result.output
    assert "recipe.lr" in result.output and "too few replicates" in result.output and "two.html" in result.output
    assert "compared-effects" in (tmp_path / "two.html").read_text(encoding="utf-8")
    told = json.loads(command("compare", *folders, "--json").output)
    assert set(told) == {
        "a", "b", "comparable", "reasons", "differences", "paired", "why", "effects", "cells", "reproduction", "notes",
    }  # fmt: skip
    assert told["effects"][0]["p"] is None and told["paired"] is True
    for bad, kind in ((["compare", folders[0], str(tmp_path)], StoreError),
                      (["compare", *folders, "--out", str(tmp_path / "two.md")], ConfigError)):  # fmt: skip
        assert isinstance(command(*bad).exception, kind)
