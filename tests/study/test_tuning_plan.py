"""Planning a search: a pure function of the study and of the store's rows, whoever ran them and in which order."""

from __future__ import annotations

import random

import pytest

import dopant as dp
from dopant import registry
from dopant.errors import ConfigError
from dopant.study import draws
from dopant.study import plan as planning
from dopant.study import tuning as tuning_of
from dopant.study.search import BEST, DROP_IN, Tuning
from dopant.study.trial import identify

LR = {"low": 1e-4, "high": 1e-1, "log": True}


def study(search, *, design=None, controls=False, tuning=None, **changes):
    design = design or dp.Ladder("creep-cnn").level(head="reupload-linear")
    return dp.Study(
        design, data="digits", recipe=dp.Recipe(epochs=3), replicates=2, controls=controls, name="s",
        tuning=Tuning(search=search, **(tuning or {})), **changes,
    )  # fmt: skip


def row(trial, state="done", score=0.5):
    return trial.to_json() | {
        "state": state, "attempts": 1, "reason": None, "replicate": trial.replicate,
        "metrics": {"validation_accuracy": score} if trial.phase == "tuning" else {},
    }  # fmt: skip


def scored(trial):
    """Likes a learning rate near 0.01, more so in level 1, with a wobble of the replicate's own."""
    lr = trial.description["recipe"]["lr"]
    return row(trial, score=1 - abs(lr - 0.01) * (2 if trial.description["swaps"] else 1) + trial.replicate / 100)


def finish(asked, order=lambda trials: trials, rows=()):
    """All rows of a study that is run to its end; order: in which trials are finished, one at a time."""
    rows = list(rows)
    while todo := order(planning.plan(asked, rows)):
        rows.append(scored(todo[0]))
    return rows


def ids(rows):
    return {identify(r["description"]) for r in rows}


def test_every_arm_gets_the_same_number_of_draws_on_the_same_tuning_replicates():
    asked = study({"lr": LR, "head:reps": [1, 2, 3], "draws": 4}, controls=["bottleneck-mlp"])
    tuned = [t for t in planning.plan(asked, []) if t.phase == "tuning"]
    per_arm = {cell: [t for t in tuned if t.cell == cell] for cell in {t.cell for t in tuned}}
    assert set(per_arm) == {"level 0", "level 1", "level 1, head=bottleneck-mlp"}
    for trials in per_arm.values():
        assert len(trials) == 4 * 3 and {t.replicate for t in trials} == {-1, -2, -3}
    rates = [sorted({t.description["recipe"]["lr"] for t in trials}) for trials in per_arm.values()]
    assert rates[0] == rates[1] == rates[2] and len(rates[0]) == 4


def test_an_extra_is_an_arms_own_option_or_of_the_component_that_a_control_stands_in_for():
    asked = study({"lr": LR, "head:reps": [1, 2, 3], "draws": 6}, controls=["bottleneck-mlp"])
    heads = {}
    for t in planning.plan(asked, []):
        if t.phase == "tuning":
            heads.setdefault(t.cell, []).append(t.description["swaps"].get("head", {}))
    assert all(head == {} for head in heads["level 0"])
    assert {head["reps"] for head in heads["level 1"]} <= {1, 2, 3} and len({h["reps"] for h in heads["level 1"]}) > 1
    control = heads["level 1, head=bottleneck-mlp"]
    assert all("reps" not in head and head["of"]["reps"] in (1, 2, 3) for head in control)


def test_what_a_draw_sets_is_what_the_trial_has():
    asked = study({"lr": LR, "weight_decay": [1e-3], "schedule": ["cosine"], "gain": [0.5], "draws": 2})
    trial = next(t for t in planning.plan(asked, []) if t.phase == "tuning")
    recipe, (_, _, params) = trial.description["recipe"], trial.extra["draws"][0]
    assert recipe["lr"] == params["lr"] and recipe["weight_decay"] == 1e-3 and recipe["schedule"] == "cosine"
    assert recipe["initial_gain"] == 0.5 and trial.description["gained_slots"] == ["head"]
    assert recipe["epochs"] == 3  # the cosine depends on their number


def test_both_estimands_train_each_tuned_network_twice_and_a_grid_stays_as_it_was():
    asked = study({"lr": LR, "draws": 2, "replicates": 1})
    assert [c.name for c in planning.cells(asked)] == ["level 0", "level 1", "level 0 (drop-in)", "level 1 (drop-in)"]
    main = [r for r in finish(asked) if r["phase"] == "main"]
    rates = {r["cell"]: r["description"]["recipe"]["lr"] for r in main}
    assert rates["level 0 (drop-in)"] == rates["level 1 (drop-in)"] == 3e-4 and rates["level 0"] != 3e-4
    grid = asked.with_(tuning=Tuning(lr=[1e-3]))
    assert [c.name for c in planning.cells(grid)] == ["level 0", "level 1"]
    assert all("draws" not in t.extra for t in planning.plan(grid, []))


def test_drop_in_trials_need_no_tuning_and_are_shared_where_the_tuned_recipe_is_the_studys_own():
    asked = study({"lr": [3e-4, 1e-2]}, tuning={"estimands": [BEST, DROP_IN]})
    first = planning.plan(asked, [])
    assert {t.cell for t in first if t.phase == "main"} == {"level 0 (drop-in)", "level 1 (drop-in)"}
    rows = [row(t, score=0.9 if t.description["recipe"]["lr"] == 3e-4 else 0.1) for t in first]
    assert planning.plan(asked, rows) == []  # both arms chose the study's own rate
    wanted = [t for t in planning.wanted_trials(asked, rows, {}, True) if t.phase == "main"]
    assert len(wanted) == 2 * 2 and all(len(t.extra["also"]) == 1 for t in wanted)


def test_the_order_in_which_trials_end_changes_nothing():
    asked = study({"lr": LR, "draws": 13, "replicates": 2, "sampler": "tpe"})
    straight = ids(finish(asked))
    for seed in range(2):
        shuffled = random.Random(seed)
        assert ids(finish(asked, lambda trials, r=shuffled: r.sample(trials, len(trials)))) == straight


def test_adaptive_draws_come_in_batches_and_an_arm_waits_for_none_but_its_own():
    asked = study({"lr": LR, "draws": 16, "replicates": 1, "sampler": "tpe"})
    first = [t for t in planning.plan(asked, []) if t.phase == "tuning"]
    assert len(first) == 2 * draws.STARTUP
    rows = [scored(t) for t in first if t.cell == "level 0"]
    after = [t for t in planning.plan(asked, rows) if t.phase == "tuning"]
    assert sum(t.cell == "level 0" for t in after) == draws.BATCH
    assert sum(t.cell == "level 1" for t in after) == draws.STARTUP


def test_recorded_draws_are_never_drawn_again(monkeypatch):
    asked = study({"lr": LR, "draws": 14, "replicates": 1, "sampler": "tpe"})
    rows = finish(asked)
    monkeypatch.setattr(draws, "draw", lambda *a, **k: pytest.fail("a draw was asked for"))
    assert planning.plan(asked, rows) == []
    assert planning.changed(asked, rows, {}, True) == []
    assert set(planning.choose(asked, {}, rows, True)) == {"level 0", "level 1"}


def test_a_study_cut_off_anywhere_goes_on_to_the_same_trials():
    asked = study({"lr": LR, "draws": 13, "replicates": 1, "sampler": "tpe"})
    whole = finish(asked)
    for cut in (1, 9, 21, 27):
        kept = [{**r, "state": "running" if i == cut - 1 else r["state"]} for i, r in enumerate(whole[:cut])]
        assert ids(finish(asked, rows=[r for r in kept if r["state"] == "done"])) == ids(whole)


def test_the_best_mean_wins_a_failed_trial_never_does_and_the_first_of_equals_is_taken():
    asked = study({"lr": LR, "draws": 3, "replicates": 2})
    first = [t for t in planning.plan(asked, []) if t.phase == "tuning"]
    number = lambda t: t.extra["draws"][0][1]  # noqa: E731
    rows = [
        row(t, "failed") if t.cell == "level 1" and number(t) == 2 and t.replicate == -2
        else row(t, score=[0.6, 0.6, 0.9][number(t)])
        for t in first
    ]  # fmt: skip
    params = {cell: {t.extra["draws"][0][1]: t.extra["draws"][0][2] for t in first if t.cell == cell}
              for cell in ("level 0", "level 1")}  # fmt: skip
    chosen = planning.choose(asked, {}, rows, True)
    assert chosen == {"level 0": params["level 0"][2], "level 1": params["level 1"][0]}
    everything = [row(t, "failed") for t in first]
    assert planning.choose(asked, {}, everything, True)["level 0"] == params["level 0"][0]


def test_the_number_of_trials_is_known_before_and_exact_where_a_draw_came_twice():
    asked = study({"lr": LR, "draws": 12, "replicates": 1, "sampler": "tpe"})
    assert planning.tuning_total(asked) == 2 * 12 and planning.total(asked) == 24 + 4 * 2
    rows = finish(asked)
    assert len(rows) == planning.total(asked, rows)
    few = study({"lr": [1e-3, 1e-2], "draws": 8, "replicates": 1})
    rows = finish(few)
    assert len(rows) == planning.total(few, rows) < planning.total(few)
    assert planning.distinct(few, rows) <= len(rows)


def test_more_draws_keep_the_earlier_ones_but_not_once_the_arm_has_reported_trials():
    asked = study({"lr": LR, "draws": 3, "replicates": 1})
    more = asked.with_(tuning=Tuning(search={"lr": LR, "draws": 5, "replicates": 1}))
    some = [scored(t) for t in planning.plan(asked, [])]  # tuning and drop-in trials
    assert planning.changed(more, some, {}, True) == []
    found = planning.changed(more, finish(asked), {}, True)
    assert len(found) == 2 and all("would choose again" in line for line in found)


def test_another_range_is_named_and_another_seed_is_named_as_a_seed():
    asked = study({"lr": LR, "draws": 3, "replicates": 1})
    rows = [scored(t) for t in planning.plan(asked, [])]
    other = asked.with_(tuning=Tuning(search={"lr": {**LR, "high": 1.0}, "draws": 3, "replicates": 1}))
    found = planning.changed(other, rows, {}, True)
    assert found and all(line.startswith("tuning.search: level") for line in found)
    assert planning.changed(asked.with_(seed=1), rows, {}, True) == ["seed: was 0, is now 1"]


def test_what_a_factor_sets_is_left_to_it_and_the_rest_is_searched():
    design = dp.Factorial("creep-cnn", {"head": ["reupload-linear"], "recipe.lr": [1e-3, 1e-2]})
    asked = study({"lr": LR, "weight_decay": [0.0, 1e-3], "draws": 4, "replicates": 1}, design=design)
    for cell in planning.cells(asked):
        if not cell.drop_in:
            assert [d.key for d in tuning_of.space_of(asked, cell)] == ["weight_decay"]
    rates = {t.description["recipe"]["lr"] for t in planning.plan(asked, [])}
    assert rates == {1e-3, 1e-2}
    only = study({"lr": LR, "draws": 4}, design=design)
    assert {t.phase for t in planning.plan(only, [])} == {"main"}  # nothing is left to tune


@pytest.fixture
def forest():
    """A baseline that says what of it is searched."""

    def build(trees: int = 10, depth: int = 3):
        raise AssertionError("planning builds nothing")

    build.search = {"trees": [10, 50], "depth": {"low": 2, "high": 8}}
    registry.baselines.add("forest-for-planning", build, "tests")
    yield "forest-for-planning"
    registry.baselines.forget("forest-for-planning")


def test_a_baseline_with_a_search_space_is_tuned_by_as_many_draws_less_what_the_study_gives(forest):
    asked = study({"lr": LR, "draws": 5, "replicates": 2}, baselines=[forest, {"name": forest, "depth": 4}])
    tuned = [t for t in planning.plan(asked, []) if t.phase == "tuning" and "baseline" in t.description]
    specs = {cell: [t.description["baseline"] for t in tuned if t.cell == cell] for cell in {t.cell for t in tuned}}
    assert {s["trees"] for s in specs[f"baseline {forest}"]} <= {10, 50}
    assert all(2 <= s["depth"] <= 8 for s in specs[f"baseline {forest}"])
    assert all(s["depth"] == 4 for s in specs[f"baseline {forest}:depth=4"])
    declared = study({"lr": LR, "draws": 5, f"baseline {forest}:depth": [7]}, baselines=[forest])
    tuned = [t.description["baseline"] for t in planning.plan(declared, []) if "baseline" in t.description]
    assert {s["depth"] for s in tuned} == {7}
    grid = study({"lr": [1e-3, 1e-2]}, baselines=[forest])
    assert {t.phase for t in planning.plan(grid, []) if "baseline" in t.description} == {"main"}


def test_a_grid_that_is_larger_in_some_arms_is_refused_and_one_that_a_factor_shrinks_everywhere_is_not(tmp_path):
    levels = {"as it is": {}, "heavy": {"recipe.weight_decay": 0.1}}
    asked = {"lr": [1e-3, 1e-2], "weight_decay": [0.0, 1e-3, 1e-2]}
    uneven = study(asked, design=dp.Factorial("creep-cnn", {"decay": levels}))
    (problem,) = tuning_of.problems(uneven)
    assert "2 of lr for 'heavy' and 6 of lr, weight_decay for" in problem and "take draws" in problem
    with pytest.raises(ConfigError, match="the best of more candidates"):
        dp.run(uneven, out=tmp_path / "s", workers=1)
    same = {"none": {"recipe.weight_decay": 0.0}, "heavy": {"recipe.weight_decay": 0.1}}
    assert tuning_of.problems(study(asked, design=dp.Factorial("creep-cnn", {"decay": same}))) == []
    drawn = study({**asked, "draws": 3}, design=dp.Factorial("creep-cnn", {"decay": levels}))
    assert tuning_of.problems(drawn) == []
    sizes = {tuning_of.count(drawn, cell, {}) for cell in drawn.design.cells(True)}
    assert sizes == {3}  # the same number of draws in every arm
