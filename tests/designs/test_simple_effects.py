"""Simple effects: what a factor does at each level of another one, told where an interaction says that it differs."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats
from statsmodels.stats.multitest import multipletests

import dopant as dp
from dopant.study import verdicts
from dopant.study.report import page
from dopant.study.report.terminal import table as shown_in_terminal

HEAD = {"classical": {}, "circuit": {"head": "reupload-linear"}}
CONV = {"classical": {}, "circuit": {"conv1": "flipped-quanv"}, "same": {"conv1": "psd-conv"}}
RATE = {"slow": {"recipe.lr": 3e-4}, "fast": {"recipe.lr": 3e-3}}
DESIGN = dp.Factorial({"name": "creep-cnn", "size": 8}, {"head": HEAD, "rate": RATE, "conv": CONV})


def results(design: dp.Factorial, replicates: int = 12) -> pd.DataFrame:
    """The circuit head is 0.3 worse at the slow rate and 0.1 better at the fast one, whatever the convolutions."""
    generator = np.random.default_rng(5)
    rows = []
    for cell in design.cells(False):
        gain = (0.1 if "rate=fast" in cell.name else -0.3) * ("head=circuit" in cell.name)
        for r in range(replicates):
            rows.append({"arm": cell.name, "replicate": r, "value": 0.6 + gain + generator.normal(0, 0.01)})
    return pd.DataFrame(rows)


def effects(design: dp.Factorial = DESIGN, **more) -> pd.DataFrame:
    return verdicts.effects(results(design), design.contrasts(False), metric="test_accuracy", **more)


def test_they_are_the_means_over_the_other_factors_at_each_level_of_the_one_that_it_depends_on():
    rows, data = effects(), results(DESIGN)
    assert rows.set_index("swap").loc["head=circuit", "verdict"].endswith("depends on rate=fast")
    simple = rows[rows["role"] == "simple"].set_index("swap")
    assert list(simple[simple["of"] == "head=circuit"].index) == [
        "head=circuit at rate=slow",
        "head=circuit at rate=fast",
    ]
    assert list(simple[simple["of"] == "rate=fast"].index) == [
        "rate=fast at head=classical",
        "rate=fast at head=circuit",
    ]
    assert len(simple) == 4  # nothing depends on the convolutions
    wide = data.pivot(index="replicate", columns="arm", values="value")
    for rate in RATE:  # independent: SciPy's paired t test on means over the convolutions
        arms = {h: wide[[f"head={h}, rate={rate}, conv={c}" for c in CONV]].mean(axis=1) for h in HEAD}
        new, old = arms["circuit"], arms["classical"]
        row, test = simple.loc[f"head=circuit at rate={rate}"], stats.ttest_rel(new, old)
        interval = test.confidence_interval()
        assert (row["mean"], row["low"], row["high"]) == pytest.approx(
            ((new - old).mean(), interval.low, interval.high)
        )
        assert row["versus"] == f"head=classical at rate={rate}" and row["replicates"] == 12
    assert simple.loc["head=circuit at rate=slow", "verdict"] == "worse than"
    assert simple.loc["head=circuit at rate=fast", "verdict"] == "better than"


def test_they_are_in_no_family_and_claim_no_correction():
    rows = effects()
    for roles in (("main",), ("interaction",)):  # independent: Holm's step-down by statsmodels, without them
        part = rows[rows["role"].isin(roles)]
        assert list(part["p_holm"]) == pytest.approx(list(multipletests(part["p"], method="holm")[1]))
    simple = rows[rows["role"] == "simple"]
    assert simple["p_holm"].isna().all() and simple["p"].notna().all()
    for said in simple["sentence"]:
        assert "Holm" not in said and "not corrected for how many of them are looked at" in said
    assert not any("at rate=" in sentence.partition(":")[0] for sentence in verdicts.sentences(rows))


def test_they_carry_the_tags_of_arms_that_were_not_tuned_alike_and_of_few_replicates():
    data = results(DESIGN, replicates=8)
    rows = verdicts.effects(data, DESIGN.contrasts(False), metric="test_accuracy", tuned=False)
    found = rows[rows["role"] == "simple"]["verdict"]
    assert len(found) and all(v.startswith("estimate: untuned: ") for v in found)


def test_without_an_interaction_there_are_none():
    data = results(DESIGN)
    generator = np.random.default_rng(6)
    data["value"] = 0.6 + 0.1 * data["arm"].str.contains("head=circuit") + generator.normal(0, 0.01, len(data))
    rows = verdicts.effects(data, DESIGN.contrasts(False), metric="test_accuracy")
    assert not (rows["role"] == "simple").any()


def test_in_a_fraction_they_are_means_over_the_pairs_that_are_there_and_say_over_how_many():
    part = dp.Factorial(DESIGN.host, dict(DESIGN.factors), only=[{"conv": "classical"}, {"rate": "slow"}])
    (main,) = [c for c in part.contrasts(False) if c.swap == "head=circuit"]
    simple = {c.swap: c for c in main.simple}
    assert simple["head=circuit at rate=slow"].cell == "head=circuit at rate=slow"
    assert len(simple["head=circuit at rate=slow"].plus) == 3
    assert simple["head=circuit at rate=fast"].cell == "head=circuit at rate=fast (1 cell)"
    assert simple["head=circuit at rate=fast"].minus == (("head=classical, rate=fast, conv=classical", 1.0),)
    assert "head=circuit at conv=same" in simple


def test_page_and_terminal_print_them_beside_the_main_effect():
    rows = effects()
    answer = dp.analyse(results(DESIGN).rename(columns={"value": "test_accuracy"}), metric="test_accuracy",
                        reference="head=classical, rate=slow, conv=classical")  # fmt: skip
    answer.effects, answer.verdicts = rows, verdicts.sentences(rows)
    html = page(answer)
    cards = html[html.index('id="verdicts"') : html.index('id="forest"')].split("<article")
    (card,) = [c for c in cards if "<h3><bdi>head=circuit against head=classical" in c]
    mean = rows.set_index("swap").loc["head=circuit at rate=fast", "mean"]
    assert f"head=circuit at rate=fast: +{100 * mean:.2f} pp [" in card and "], better</bdi>" in card
    assert "head=circuit at rate=slow: " in card and "], worse</bdi>" in card and "not corrected" in card
    (other,) = [c for c in cards if "<h3><bdi>conv=same against" in c]
    assert "Simple effects" not in other
    console = Console(width=100, record=True, file=io.StringIO(), highlight=False)
    console.print(shown_in_terminal(answer))
    lines = console.export_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("head=circuit "))
    assert any("simple:" in line for line in lines[at + 1 : at + 4])
