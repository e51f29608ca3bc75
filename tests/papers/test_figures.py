"""Papers with several parts and with numbers published of the end of training."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import dopant as dp
from dopant.errors import ConfigError, UnknownName
from dopant.papers import figures, readme, recording
from dopant.papers.paper import Paper, Part
from dopant.papers.reproduce import beside_each_other, reproduce
from dopant.registry import papers

PUBLISHED = """
[[figure]]
part = "narrow"
data = "Digits"
cell = "level 0"
metric = "test_accuracy"
value = 0.9
sd = 0.02
n = 5
known = "read in the paper"

[[figure]]
part = "narrow"
data = "Digits"
cell = "level 1"
metric = "test_accuracy"
value = 0.5
known = "from memory: a target to check"

[[figure]]
part = "narrow"
data = "Digits"
cell = "level 1"
metric = "cost_trainable"
value = 362
known = "counted"
"""


def _study(width):
    def study(data, quick):
        ladder = dp.Ladder({"name": "mlp", "hidden": [width]}).level(head={"component": "low-rank", "rank": 1})
        recipe = dp.Recipe(lr=1e-2, batch=64, epochs=1 if quick else 2)
        return dp.Study(ladder, data=data, recipe=recipe, replicates=3, controls=False, name=f"toy-{width}-{data}")

    return study


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy_paper")
    (folder / "published.toml").write_text(PUBLISHED)
    parts = {"narrow": Part(_study(4), {"digits": "Digits"}, "few units"), "wide": Part(_study(8), {"digits": None})}
    found = Paper("toy-paper", "A toy", "nobody", folder, parts=parts)
    papers.add("toy-paper", found, "test")
    yield found
    papers.forget("toy-paper")


@pytest.fixture(scope="module")
def reproduced(paper, tmp_path_factory):
    return reproduce("toy-paper", workers=1, out=tmp_path_factory.mktemp("runs") / "narrow")


def test_end_figures_stand_beside_what_was_measured_with_the_interval_that_each_allows(reproduced):
    found = {(line.cell, line.metric): line for line in reproduced.figures}
    trials = reproduced.answer.trials
    level_0 = trials.loc[trials["cell"] == "level 0", "test_accuracy"].to_numpy()
    line = found["level 0", "test_accuracy"]
    assert line.difference == pytest.approx(level_0.mean() - 0.9)
    theirs = 0.9 + 0.02 * stats.zscore(np.arange(5), ddof=1)  # five runs with this mean and spread
    low, high = stats.ttest_ind(level_0, theirs, equal_var=False).confidence_interval()
    assert (line.low, line.high) == (pytest.approx(low), pytest.approx(high))
    level_1 = trials.loc[trials["cell"] == "level 1", "test_accuracy"].to_numpy()
    line = found["level 1", "test_accuracy"]  # without a published spread: our own mean's interval
    low, high = stats.ttest_1samp(level_1, 0.5).confidence_interval()
    assert (line.low, line.high) == (pytest.approx(low - 0.5), pytest.approx(high - 0.5))
    size = found["level 1", "cost_trainable"]
    assert size.values[0] == trials.loc[trials["cell"] == "level 1", "cost_trainable"].iloc[0] and math.isnan(size.low)
    assert reproduced.to_json()["figures"][0]["published"]["value"] == 0.9


def test_parts_are_studies_of_their_own_and_a_part_without_figures_compares_nothing(paper, tmp_path):
    other = reproduce("toy-paper", part="wide", quick=True, workers=1, out=tmp_path / "wide")
    assert all(line.figure is None and math.isnan(line.difference) for line in other.figures) and not other.comparable
    assert other.answer.trials["cost_trainable"].max() > 500
    with pytest.raises(UnknownName, match="wide"):
        reproduce("toy-paper", part="wid")
    with pytest.raises(UnknownName, match="data set of the paper"):
        reproduce("toy-paper", data="mnist")


def test_the_page_has_the_published_numbers_and_where_they_come_from(reproduced):
    from dopant.study.report import page

    text = page(dp.load(reproduced.answer.folder))
    assert "from memory: a target to check" in text and "A toy" in text and 'data value="0.5"' in text


def test_rows_of_finished_cells_make_the_tables_of_the_readme(paper, reproduced, monkeypatch):
    root = paper.folder
    checkout = recording.Checkout(root, "c" * 40, False)
    monkeypatch.setattr(recording, "commits_of", lambda folder, trials: [("c" * 40, False)])
    for cell in recording.finished_cells(reproduced.answer):
        row = recording.end_row(
            reproduced.answer, cell, part="narrow", data="digits", command=["dopant", "--out", "x"], checkout=checkout
        )
        assert recording.add(paper.measured_file, recording.CELL, row) == "added"
    assert len(row["test_accuracy"]) == 3 and row["cost_trainable"] > 0
    (root / "README.md").write_text(
        "# Toy\n<!-- generated: figures -->\n<!-- end -->\nprose\n<!-- generated: cells -->\n<!-- end -->\n"
    )
    readme.write(paper)
    text = (root / "README.md").read_text()
    mean = 100 * float(np.mean(recording.read(paper.measured_file)["cell"][0]["test_accuracy"]))
    assert "90.00 ± 2.00 (5)" in text and f"{mean:.2f} ±" in text and "prose" in text and "`" not in text
    with pytest.raises(ConfigError, match="nothing makes the block"):
        readme.render("<!-- generated: nonsense -->\n<!-- end -->", {})


def test_a_figure_that_lacks_a_key_is_told_with_all_others(tmp_path):
    path = tmp_path / "published.toml"
    path.write_text("[[figure]]\ncell = 'a'\nmetrik = 'b'\nvalue = 1\n")
    with pytest.raises(ConfigError) as error:
        figures.load_figures(path)
    assert len(error.value.problems) == 4  # data, known, metric; and the unknown key


def test_an_unfinished_study_is_compared_with_what_it_has(paper, reproduced):
    found = beside_each_other(paper, "digits", reproduced.answer, "narrow")
    assert [line.cell for line in found.figures] == ["level 0", "level 1", "level 1"]
