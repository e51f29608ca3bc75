"""The factorial: cells, effects against a linear model, fractions, controlled contrasts, and every wrong request."""

import itertools

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula import api as smf
from statsmodels.stats.multitest import multipletests

import dopant as dp
from dopant import designs
from dopant.study import plan as planning
from dopant.study import verdicts
from dopant.study.config import from_tables

HOST = {"name": "creep-cnn", "size": 8}
CONV = {"classical": {}, "circuit": {"conv1": "flipped-quanv", "conv2": "flipped-quanv"}}
HEAD = {"classical": {"head": "linear"}, "circuit": {"head": "reupload-linear"}, "frozen": {"head": "identity"}}
BIAS = {"normal": {"head:bias_init": "normal"}, "zero": {"head:bias_init": "zero"}}
RATE = {"slow": {"recipe.lr": 3e-4}, "fast": {"recipe.lr": 3e-3}}


def factorial(**changes):
    two = {k: HEAD[k] for k in ("classical", "circuit")}
    return dp.Factorial(HOST, {"conv": CONV, "head": two, "bias": BIAS, "rate": RATE}, **changes)


def table(cells, value, replicates=8):
    """Scores of cells: value(cell, replicate)."""
    rows = [
        {"arm": cell.name, "replicate": r, "value": value(cell, r), "status": "done"}
        for cell in cells
        for r in range(replicates)
    ]
    return pd.DataFrame(rows)


def noise(cell, replicate):
    return np.random.default_rng([abs(hash(cell.name)) % 2**32, replicate]).normal(0, 0.01)


def test_every_combination_is_a_cell_with_its_swaps_options_and_recipe():
    cells = factorial().cells(False)
    assert len(cells) == 16 and len({c.name for c in cells}) == 16
    first, last = cells[0], cells[-1]
    assert first.name == "conv=classical, head=classical, bias=normal, rate=slow"
    assert first.swaps == {"head": {"component": "linear", "bias_init": "normal"}} and first.recipe == {"lr": 3e-4}
    assert last.swaps == {
        "conv1": {"component": "flipped-quanv"},
        "conv2": {"component": "flipped-quanv"},
        "head": {"component": "reupload-linear", "bias_init": "zero"},
    }
    assert last.recipe == {"lr": 3e-3} and not last.tuned


def test_a_list_of_components_has_the_old_module_as_its_first_level():
    design = dp.Factorial(HOST, {"head": ["reupload-linear", {"component": "reupload-linear", "reps": 3}]})
    assert [c.name for c in design.cells(False)] == ["old", "reupload-linear", "reupload-linear:reps=3"]
    assert [c.swaps for c in design.cells(False)][:2] == [{}, {"head": {"component": "reupload-linear"}}]
    assert [(c.cell, c.versus) for c in design.contrasts(False)] == [
        ("reupload-linear", "old"),
        ("reupload-linear:reps=3", "old"),
    ]
    last = dp.Factorial(HOST, {"head": ["reupload-linear", None]})
    assert [c.name for c in last.cells(False)] == ["reupload-linear", "old"]


def test_main_effects_and_interactions_are_those_of_a_linear_model_with_all_two_way_terms():
    """Independent: ordinary least squares (statsmodels) on the same table, in treatment coding for interactions and by
    the marginal means for main effects."""
    design = dp.Factorial(HOST, {"a": HEAD, "b": CONV, "c": RATE})
    cells = design.cells(False)
    data = table(cells, lambda cell, r: 0.8 + noise(cell, r))
    effects = verdicts.effects(data, design.contrasts(False), metric="test_accuracy").set_index("swap")
    places = {design.name(place): place for place in design.places()}
    wide = data.assign(**{f: [places[arm][f] for arm in data["arm"]] for f in "abc"})
    for factor, level in (("a", "circuit"), ("a", "frozen"), ("b", "circuit"), ("c", "fast")):
        means = wide.groupby(factor)["value"].mean()
        first = next(iter(design.factors[factor]))
        assert effects.loc[f"{factor}={level}", "mean"] == pytest.approx(means[level] - means[first])
    reference = {f: next(iter(levels)) for f, levels in design.factors.items()}
    terms = {f: f"C({f}, Treatment('{reference[f]}'))" for f in "abc"}
    for one, two in itertools.combinations("abc", 2):
        for x, y in itertools.product(list(design.factors[one])[1:], list(design.factors[two])[1:]):
            part = wide[wide[one].isin([x, reference[one]]) & wide[two].isin([y, reference[two]])]
            fit = smf.ols(f"value ~ {terms[one]} * {terms[two]}", part).fit()
            coefficient = fit.params[f"{terms[one]}[T.{x}]:{terms[two]}[T.{y}]"]
            row = effects.loc[f"{one}={x} x {two}={y}"]
            assert row["mean"] == pytest.approx(coefficient) and row["role"] == "interaction"


def test_effects_that_add_up_have_no_interaction_and_a_product_has_exactly_its_size():
    design = dp.Factorial(HOST, {"a": CONV, "c": RATE})

    def value(cell, r):
        a, c = "a=circuit" in cell.name, "c=fast" in cell.name
        return 0.5 + 0.1 * a + 0.2 * c + 0.05 * a * c + 0.001 * np.sin(r + 3 * a + 5 * c)

    effects = verdicts.effects(table(design.cells(False), value), design.contrasts(False), metric="m").set_index("swap")
    assert effects.loc["a=circuit x c=fast", "mean"] == pytest.approx(0.05, abs=2e-3)
    assert effects.loc["a=circuit x c=fast", "verdict"].endswith("more than additive")
    assert effects.loc["a=circuit", "mean"] == pytest.approx(0.125, abs=2e-3)  # the mean over both rates
    flat = verdicts.effects(
        table(design.cells(False), lambda cell, r: value(cell, r) - 0.05 * ("a=circuit, c=fast" in cell.name)),
        design.contrasts(False), metric="m", margin=0.01,
    ).set_index("swap")  # fmt: skip
    assert flat.loc["a=circuit x c=fast", "verdict"].endswith("additive")


def test_only_main_effects_and_controlled_contrasts_are_corrected_for_each_other():
    design = factorial(controlled=[{"factor": "head", "level": "circuit", "at": {"rate": "fast"}}])
    contrasts = design.contrasts(["frozen"])
    family = [c.swap for c in contrasts if c.role in ("level", "main")]
    assert family == ["conv=circuit", "head=circuit", "bias=zero", "rate=fast", "head=circuit (controlled)"]
    data = table(design.cells(["frozen"]), lambda cell, r: 0.8 + noise(cell, r))
    rows = verdicts.effects(data, contrasts, metric="m").set_index("swap")
    rows = rows[rows["role"] != "swap-versus-control"]
    interactions = rows[rows["role"] == "interaction"]
    for part in (rows.loc[family], interactions):  # independent: Holm's step-down by statsmodels
        expected = multipletests(part["p"], method="holm")[1]
        assert list(part["p_holm"]) == pytest.approx(list(expected))


def test_a_main_effect_that_rests_on_one_cell_says_what_it_depends_on():
    design = dp.Factorial(HOST, {"head": {"classical": {}, "circuit": {"head": "reupload-linear"}}, "rate": RATE})

    def value(cell, r):
        return 0.9 - 0.78 * ("circuit, rate=slow" in cell.name) + noise(cell, r) / 10

    rows = verdicts.effects(table(design.cells(False), value, 10), design.contrasts(False), metric="m")
    verdict = rows.set_index("swap").loc["head=circuit", "verdict"]
    assert verdict == "worse on average, depends on rate=fast"


def test_contrasts_at_other_places_have_cells_of_their_own():
    at = [{"factor": "head", "level": "circuit", "at": {"bias": bias, "rate": "fast"}} for bias in BIAS]
    cells = {c.name: c for c in factorial(controlled=at).cells(["frozen"]) if "controlled" in c.name}
    assert len(cells) == 6 and len({str(c.swaps) for c in cells.values()}) == 6
    arm = cells["head=circuit (controlled, bias=zero, rate=fast)"]
    assert arm.swaps["head"] == {"component": "reupload-linear", "bias_init": "zero"}


def test_a_failed_trial_fails_its_means_and_a_missing_one_leaves_them_open():
    design = dp.Factorial(HOST, {"a": CONV, "c": RATE})
    data = table(design.cells(False), lambda cell, r: 0.9 + noise(cell, r))
    data.loc[0, ["status", "value"]] = ["failed", np.nan]
    scored = verdicts.effects(data, design.contrasts(False), metric="m", failure_value=0.1).set_index("swap")
    assert scored.loc["a=circuit", "failed"] == 1 and scored.loc["a=circuit", "replicates"] == 8
    assert scored.loc["a=circuit", "mean"] > 0.03
    data.loc[0, "status"] = "pending"
    opened = verdicts.effects(data, design.contrasts(False), metric="m", failure_value=0.1).set_index("swap")
    assert opened.loc["a=circuit", "incomplete"] == 1 and opened.loc["a=circuit", "replicates"] == 7


def test_a_fraction_compares_only_cells_that_differ_in_nothing_else():
    design = dp.Factorial(
        HOST, {"conv": CONV, "rate": RATE, "bias": {"normal": {}, "zero": {}}},
        only=[{"conv": "classical", "bias": "normal"}, {"conv": "circuit", "rate": "fast", "bias": "normal"}],
    )  # fmt: skip
    assert [c.name for c in design.cells(False)] == [
        "conv=classical, rate=slow, bias=normal",
        "conv=classical, rate=fast, bias=normal",
        "conv=circuit, rate=fast, bias=normal",
    ]
    found = {c.swap: c for c in design.contrasts(False)}
    assert set(found) == {"conv=circuit", "rate=fast"}  # no bias, no interaction: those cells are not there
    assert found["conv=circuit"].plus == (("conv=circuit, rate=fast, bias=normal", 1.0),)
    assert found["conv=circuit"].minus == (("conv=classical, rate=fast, bias=normal", 1.0),)
    assert found["conv=circuit"].cell == "conv=circuit (1 cell)"


def test_controls_take_the_swaps_place_in_the_controlled_contrast_only():
    design = factorial(controlled=[{"factor": "head", "level": "circuit", "at": {"conv": "circuit", "bias": "zero"}}])
    cells = {c.name: c for c in design.cells({"head": ["frozen", "bottleneck-mlp"], "conv1": ["psd-conv"]})}
    controls = {n: c for n, c in cells.items() if c.role == "control"}
    assert list(controls) == ["head=frozen (controlled)", "head=bottleneck-mlp (controlled)"]
    frozen = controls["head=frozen (controlled)"]
    assert frozen.swaps["head"] == {
        "component": "frozen",
        "of": {"component": "reupload-linear", "bias_init": "zero"},
    }
    assert frozen.swaps["conv1"] == {"component": "flipped-quanv"} and frozen.recipe == {} and frozen.tuned
    contrast = next(c for c in design.contrasts({"head": ["frozen"]}) if c.controls)
    assert (contrast.cell, contrast.versus) == ("head=circuit (controlled)", "head=classical (controlled)")


def test_a_study_file_says_a_factorial_and_comes_back_the_same(tmp_path):
    design = factorial(
        only=[{"rate": "fast"}], controlled=[{"factor": "head", "level": "circuit", "at": {"rate": "fast"}}]
    )
    study = dp.Study(design, data="digits", baselines=["logistic-regression"])
    study.save(tmp_path / "study.toml")
    back = dp.Study.load(tmp_path / "study.toml")
    assert back.design.to_config() == design.to_config() and back.baselines == ("logistic-regression",)
    assert planning.cells(back) == planning.cells(study) and not back.problems()
    assert planning.cells(back)[-1].name == "baseline logistic-regression"


def test_two_cells_that_ask_for_the_same_trial_share_it():
    design = dp.Factorial(HOST, {"conv": CONV, "rate": RATE}, controlled=[{"factor": "conv", "level": "circuit"}])
    study = dp.Study(design, data="digits", recipe=dp.Recipe(lr=3e-3), replicates=2, controls=False)
    trials = planning.main_trials(study, {}, {})
    assert len(trials) == 2 * 4 == planning.distinct(study) == planning.total(study)
    tuned = study.with_(tuning=dp.Tuning(lr=[3e-3, 1e-2], replicates=3))  # the arms may choose 1e-2, or share still
    assert (planning.distinct(tuned), planning.total(tuned)) == (2 * 4 + 12, 2 * 6 + 12)
    shared = {t.cell: t.extra["also"] for t in trials if "also" in t.extra and t.replicate == 0}
    assert shared == {
        "conv=classical, rate=fast": [["conv=classical (controlled)", None]],
        "conv=circuit, rate=fast": [["conv=circuit (controlled)", None]],
    }


@pytest.mark.parametrize(
    ("factors", "more", "words"),
    [
        ({"conv": CONV, "again": {"x": {"conv1": "identity"}, "y": {}}}, {}, "'conv1' is set by 'conv' and by 'again'"),
        ({"head": ["linear"], "bias": BIAS}, {}, "which takes none, stands there in 2 cells"),
        ({"recipe.lrr": [1, 2]}, {}, "the recipe has no key 'lrr'; did you mean 'lr'"),
        ({"recipe.epochs": [1, 2]}, {}, "cannot be a factor"),
        ({"conv": CONV}, {"only": [{"konv": "circuit"}]}, "there is no factor 'konv'; did you mean 'conv'"),
        ({"conv": CONV}, {"only": [{"conv": "quantum"}]}, "has no level 'quantum'; it has 'classical', 'circuit'"),
        ({"conv": CONV}, {"controlled": [{"factor": "conv", "level": "x"}]}, "has no level 'x'"),
        ({"conv": CONV}, {"controlled": [{"factor": "conv", "level": "classical"}]}, "level and versus are both"),
    ],
)
def test_what_is_wrong_between_factors_is_told(factors, more, words):
    design = dp.Factorial(HOST, factors, **more)
    assert any(words in problem for problem in design.problems())
    with pytest.raises(dp.ConfigError, match=r"design"):
        dp.run(design, data="digits", recipe=dp.Recipe(epochs=1))


def test_an_arm_that_chooses_what_another_cell_has_answers_with_its_trials_in_the_same_run(tmp_path):
    design = dp.Factorial(
        {"name": "mlp", "hidden": [4]}, {"head": ["linear"], "recipe.lr": [3e-3, 3e-2]},
        controlled=[{"factor": "head", "level": "linear"}],
    )  # fmt: skip
    answer = dp.run(
        design, data={"name": "digits", "limit": 120}, controls=False, replicates=2, workers=1, out=tmp_path / "s",
        recipe=dp.Recipe(epochs=1, batch=60), tuning={"lr": [3e-3], "replicates": 1},
    )  # fmt: skip
    row = answer.effects.set_index("swap").loc["head=linear (controlled)"]
    assert row["replicates"] == 2 and row["incomplete"] == 0 and row["estimand"] == "best against best"
    cells = answer.trials.set_index(["cell", "replicate"])["trial"]
    assert cells["head=linear (controlled)", 0] == cells["head=linear, recipe.lr=0.003", 0]
    assert answer.counts["planned"] == answer.counts["done"] == 8 + 2


@pytest.mark.parametrize(
    "more",
    [
        {"only": ["x"]},
        {"only": {"conv": "circuit"}},
        {"only": [{"conv": ["circuit"]}]},
        {"controlled": [3]},
        {"controlled": [{"factor": ["conv"], "level": "circuit"}]},
        {"controlled": [{"factor": "conv", "level": "circuit", "at": "x"}]},
    ],
)
def test_tables_of_wrong_types_are_refused(more):
    with pytest.raises(dp.ConfigError, match=r"design\.(only|controlled)"):
        factorial(**more)


def test_a_part_that_can_tell_nothing_is_refused_before_training():
    crossed = [{"conv": "classical", "rate": "slow"}, {"conv": "circuit", "rate": "fast"}]
    design = dp.Factorial(HOST, {"conv": CONV, "rate": RATE}, only=crossed)
    assert any("no two of the cells differ in one factor alone" in p for p in design.problems())
    assert any("no cell is left" in p for p in dp.Factorial(HOST, {"conv": CONV}, only=[]).problems())


def test_a_study_takes_a_factor_and_an_arm_more_and_keeps_what_it_has(tmp_path):
    settings = {"data": {"name": "digits", "limit": 120}, "out": tmp_path / "s", "replicates": 2, "controls": False}
    settings |= {"recipe": dp.Recipe(epochs=1, batch=60, lr=3e-3), "workers": 1}
    host = {"name": "mlp", "hidden": [4]}
    small = dp.Factorial(host, {"head": ["linear"], "recipe.weight_decay": [0.0, 0.1]})
    first = dp.run(small, **settings)
    more = dp.Factorial(
        host, {"head": ["linear"], "recipe.weight_decay": [0.0, 0.1]},
        controlled=[{"factor": "head", "level": "linear", "at": {"recipe.weight_decay": "0"}}],
    )  # fmt: skip
    grown = dp.run(more, **settings)
    assert set(grown.trials["trial"]) == set(first.trials["trial"])  # the new arms are cells that were there
    row = grown.effects.set_index("swap").loc["head=linear (controlled)"]
    assert row["replicates"] == 2 and row["incomplete"] == 0
    assert grown.provenance["test_set_reads"] == grown.counts["done"] == 8


def test_wrong_levels_are_refused_where_they_are_written():
    with pytest.raises(dp.ConfigError, match="the level 'linear' is there twice"):
        dp.Factorial(HOST, {"head": ["linear", "linear"]})
    with pytest.raises(dp.ConfigError, match="a table of what it sets"):
        dp.Factorial(HOST, {"head": {"circuit": "linear"}})
    with pytest.raises(dp.ConfigError, match="'factor' and 'level' are needed"):
        factorial(controlled=[{"factor": "conv"}])
    tables = {"study": {"host": "creep-cnn", "data": "digits"}, "design": {"kind": "factorial", "levels": [{"a": "b"}]}}
    with pytest.raises(dp.ConfigError, match="is not of the kind 'factorial', which takes factors, only, controlled"):
        from_tables(tables)
    with pytest.raises(dp.ConfigError, match=r"recipe\.lr"):
        dp.run(dp.Factorial(HOST, {"recipe.lr": [0.1, -1]}), data="digits")


def test_a_factorial_runs_grows_and_answers_with_a_baseline_and_shared_trials(tmp_path):
    design = dp.Factorial(
        HOST, {"conv": {"classical": {}, "same": {"conv1": "psd-conv"}}, "rate": RATE},
        controlled=[{"factor": "conv", "level": "same"}],
    )  # fmt: skip
    settings = {
        "data": {"name": "digits", "limit": 200}, "controls": {"conv1": ["depthwise-conv"]}, "out": tmp_path / "s",
        "recipe": dp.Recipe(epochs=1, batch=64, lr=3e-3), "workers": 1,
    }  # fmt: skip
    study = dp.Study(design, baselines=["logistic-regression"])
    answer = dp.run(study, replicates=1, **settings)
    assert answer.counts == {"planned": 6, "pending": 0, "running": 0, "done": 6, "failed": 0}
    answer = dp.run(study, replicates=2, **settings)
    trials = answer.trials.set_index(["cell", "replicate"])
    assert len(trials) == 16 and answer.counts["planned"] == 12  # of 8 cells, two share the trials of two others
    assert trials.loc[("conv=same (controlled)", 1), "trial"] == trials.loc[("conv=same, rate=fast", 1), "trial"]
    rows = answer.effects.set_index("swap")
    assert rows.loc["baseline logistic-regression", "role"] == "baseline"
    assert rows.loc["conv=same", "replicates"] == 2 and not np.isnan(rows.loc["conv=same", "low"])
    assert set(answer.metrics["cell"]) >= {"conv=same (controlled)", "conv=same, rate=fast"}
    page = answer.report().read_text(encoding="utf-8")
    assert "conv=same x rate=fast" in page and "baseline logistic-regression" in page


def test_the_kinds_of_designs_are_known_by_name():
    assert set(designs.KINDS) == set(designs.KEYS) == {
        "ladder", "factorial", "one-at-a-time", "placement", "race", "mixing"
    }  # fmt: skip
