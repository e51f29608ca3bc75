"""Budgets: equal epochs leave every trial what it was; equal cost is checked against FLOPs counted by hand."""

from __future__ import annotations

import math

import pytest

import dopant as dp
from dopant.study import budget
from dopant.study import plan as planning

ITEMS = {"name": "digits", "limit": 120}


def study(epochs=6, levels=({"layers.0": {"component": "low-rank", "rank": 1}},), recipe=None, **changes):
    design = dp.Ladder({"name": "mlp", "hidden": [16]})
    for level in levels:
        design = design.level(**level)
    return dp.Study(
        design, data=ITEMS, recipe=dp.Recipe(epochs=epochs, batch=32, **(recipe or {})), replicates=2, controls=False,
        name="s", **changes,
    )  # fmt: skip


def products(cell):
    """Multiply-adds of one sample through the linear layers, 64 -> 16 -> 10; in level 1 the first has rank 1."""
    return 64 * 16 + 16 * 10 if cell == "level 0" else 64 + 16 + 16 * 10


def test_a_budget_is_no_part_of_a_trial():
    plain = {t.id for t in planning.plan(study(), [])}
    assert {t.id for t in planning.plan(study(recipe={"budget": "epochs"}), [])} == plain
    assert "initial_gain" not in study().recipe.identity() and "budget" not in study().recipe.to_config()


def test_equal_cost_gives_each_arm_the_epochs_that_the_references_flops_buy_rounded_down():
    asked = budget.measured(study(recipe={"budget": "cost"}))
    first = {"level 0": 64 * 16, "level 1": 64 * 1}  # the first layer needs no gradient of its inputs
    for cell, flops in asked.step_flops.items():
        assert flops == pytest.approx(2 * (3 * products(cell) - first[cell]), rel=0.05)
    ratio = asked.step_flops["level 0"] / asked.step_flops["level 1"]
    epochs = {t.cell: t.epochs for t in planning.plan(asked, [])}
    assert epochs == {"level 0": 6, "level 1": math.floor(6 * ratio)} and epochs["level 1"] > 12
    spent = {cell: n * asked.step_flops[cell] for cell, n in epochs.items()}
    assert spent["level 1"] <= spent["level 0"] < spent["level 1"] + asked.step_flops["level 1"]
    assert f"level 1 {epochs['level 1']} (of {6 * ratio:.3g})" in budget.words(asked, planning.cells(asked))[0]


def test_equal_cost_survives_being_written_and_read_and_refuses_to_shorten_what_was_trained(tmp_path):
    asked = budget.measured(study(recipe={"budget": "cost"}))
    asked.save(tmp_path / "study.toml")
    again = dp.Study.load(tmp_path / "study.toml")
    assert [(t.id, t.epochs) for t in planning.plan(again, [])] == [(t.id, t.epochs) for t in planning.plan(asked, [])]
    rows = [
        t.to_json() | {"state": "done", "attempts": 1, "reason": None, "metrics": {}, "replicate": t.replicate}
        for t in planning.plan(asked, [])
    ]
    assert planning.changed(asked, rows, {}, True) == []
    less = asked.with_(recipe=dp.Recipe(epochs=5, batch=32, budget="cost"))
    assert any("cannot be shortened" in line for line in planning.changed(less, rows, {}, True))
    more = asked.with_(recipe=dp.Recipe(epochs=7, batch=32, budget="cost"))
    assert planning.changed(more, rows, {}, True) == [] and len(planning.plan(more, rows)) == 4


def test_an_arm_for_which_the_budget_buys_no_epoch_is_refused_with_the_epochs_that_would():
    design = dp.Ladder({"name": "mlp", "hidden": [4]}).level(head={"component": "reupload-linear", "reps": 20})
    asked = study(epochs=1, recipe={"budget": "cost"}).with_(design=design)
    with pytest.raises(dp.ConfigError, match=r"'level 1' costs .* take recipe.epochs = \d+ or more"):
        budget.measured(asked)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"budget": "early-stop"}, "needs recipe.early_stop"),
        ({"budget": "epochs", "early_stop": 3}, "leave one of the two out"),
        ({"budget": "cost", "early_stop": 3}, "leave one of the two out"),
        ({"budget": "time"}, "recipe.budget"),
    ],
)
def test_a_budget_that_cannot_be_had_is_refused(recipe, words):
    with pytest.raises(dp.ConfigError, match=words):
        dp.Recipe(**recipe)


def test_what_a_budget_cannot_be_had_with_is_told_before_a_run():
    assert "distilling" in "\n".join(study(recipe={"budget": "cost", "regime": "distil"}).problems())
    early = study(recipe={"budget": "early-stop", "early_stop": 2}, protocol="published")
    assert "no validation split" in "\n".join(early.problems())
    tuning = dp.Tuning(search={"lr": [1e-3], "layers.0:rank": [1, 2], "draws": 2})
    assert "would have others" in "\n".join(study(recipe={"budget": "cost"}, tuning=tuning).problems())


def test_the_budget_is_said_in_words():
    cells = planning.cells(study())
    assert "equal epochs" in budget.words(study(), cells)[0]
    assert "own early stop" in budget.words(study(recipe={"early_stop": 2}), cells)[0]


def test_a_study_of_equal_cost_trains_each_arm_for_its_own_epochs(tmp_path):
    design = dp.Ladder(lambda: dp.host("mlp", in_features=64, hidden=[16], classes=10))  # of this process: no workers
    design = design.level(**{"layers.0": {"component": "low-rank", "rank": 1}})
    asked = study(epochs=1, recipe={"budget": "cost"}).with_(design=design)
    answer = dp.run(asked, replicates=1, out=tmp_path / "s")
    epochs = answer.trials.set_index("cell")["epochs"]
    assert epochs["level 0"] == 1 and epochs["level 1"] > 2
    steps = answer.trials.set_index("cell")["steps"]
    assert steps["level 1"] == epochs["level 1"] * steps["level 0"]
    assert any("equal cost" in note for note in answer.notes)
