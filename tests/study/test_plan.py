"""The planner is a pure function: resuming and growing are the same call."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dopant as dp
from dopant.study import plan as planning
from dopant.study.config import Tuning


def ladder() -> dp.Ladder:
    return dp.Ladder("creep-cnn").level(conv1="flipped-quanv").level(head="reupload-linear")


def study(**changes) -> dp.Study:
    base = dp.Study(ladder(), data="digits", recipe=dp.Recipe(epochs=3), replicates=2, controls=False, name="s")
    return base.with_(**changes)


def row(trial, state="done", **metrics):
    return trial.to_json() | {
        "state": state, "attempts": 1, "reason": None, "metrics": metrics, "replicate": trial.replicate,
    }  # fmt: skip


def test_a_ladder_plans_every_level_of_every_replicate_replicate_by_replicate():
    trials = planning.plan(study(), [])
    assert [(t.cell, t.replicate) for t in trials] == [(f"level {n}", r) for r in (0, 1) for n in (0, 1, 2)]


def test_a_finished_study_plans_nothing():
    trials = planning.plan(study(), [])
    assert planning.plan(study(), [row(t) for t in trials]) == []


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 5)))
def test_whatever_is_finished_the_plan_is_exactly_the_rest(done):
    trials = planning.plan(study(), [])
    rows = [row(trials[i]) for i in done]
    assert {t.id for t in planning.plan(study(), rows)} == {t.id for i, t in enumerate(trials) if i not in done}


def test_growing_in_replicates_levels_and_epochs_keeps_every_identifier():
    old = {t.id for t in planning.plan(study(), [])}
    more = study(replicates=3, design=ladder().level(conv2="flipped-quanv"), recipe=dp.Recipe(epochs=9))
    assert old < {t.id for t in planning.plan(more, [])}


def test_more_epochs_make_finished_trials_due_again_and_failed_ones_stay_failed():
    trials = planning.plan(study(), [])
    rows = [row(t) for t in trials[1:]] + [row(trials[0], "failed")]
    longer = study(recipe=dp.Recipe(epochs=4))
    assert {t.id for t in planning.plan(longer, rows)} == {t.id for t in trials[1:]}
    assert all(t.epochs == 4 for t in planning.plan(longer, rows))


def test_epochs_are_part_of_the_identity_where_the_schedule_depends_on_their_number():
    ids = [{t.id for t in planning.plan(study(recipe=dp.Recipe(epochs=e, schedule="cosine")), [])} for e in (3, 4)]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"data": "mnist"}, {"protocol": "published"}, {"recipe": dp.Recipe(epochs=3, lr=1e-2)}],
)
def test_a_change_to_trials_that_exist_is_named_with_both_values(changes):
    rows = [row(t) for t in planning.plan(study(), [])]
    found = planning.changed(study(**changes), rows, {}, True)
    assert len(found) == 1 and "was" in found[0] and "is now" in found[0]


def test_fewer_replicates_or_levels_than_there_are_results_are_refused():
    rows = [row(t) for t in planning.plan(study(), [])]
    assert planning.changed(study(replicates=1), rows, {}, True)[0].startswith("study.replicates: was 2, is now 1")
    shorter = study(design=dp.Ladder("creep-cnn").level(conv1="flipped-quanv"))
    assert any("level 2" in f for f in planning.changed(shorter, rows, {}, True))


def test_growing_is_no_change():
    rows = [row(t) for t in planning.plan(study(), [])]
    assert planning.changed(study(replicates=9, recipe=dp.Recipe(epochs=5)), rows, {}, True) == []


def test_tuning_comes_first_on_draws_of_its_own_and_every_arm_has_the_same_candidates():
    tuned = study(tuning=Tuning(lr=[1e-3, 1e-2], replicates=2))
    trials = planning.plan(tuned, [])
    assert {t.phase for t in trials} == {"tuning"} and {t.replicate for t in trials} == {-1, -2}
    per_cell = {
        c: sorted(t.description["recipe"]["lr"] for t in trials if t.cell == c) for c in {t.cell for t in trials}
    }
    assert set(map(tuple, per_cell.values())) == {(1e-3, 1e-3, 1e-2, 1e-2)}


def test_each_arm_takes_the_learning_rate_that_validates_best_and_a_failed_trial_never_wins():
    tuned = study(tuning=Tuning(lr=[1e-3, 1e-2], replicates=2))
    rows = []
    for t in planning.plan(tuned, []):
        high = t.description["recipe"]["lr"] == 1e-2
        if t.cell == "level 2" and high:
            rows.append(row(t, "failed"))
        else:
            better = high if t.cell == "level 1" else not high
            rows.append(row(t, validation_accuracy=0.9 if better else 0.5))
    main = planning.plan(tuned, rows)
    rates = {t.cell: t.description["recipe"]["lr"] for t in main}
    assert rates == {"level 0": 1e-3, "level 1": 1e-2, "level 2": 1e-3}
    assert {t.phase for t in main} == {"main"} and {t.replicate for t in main} == {0, 1}


def test_the_number_of_trials_is_known_before_tuning_has_ended():
    tuned = study(tuning=Tuning(lr=[1e-3, 1e-2], replicates=2), replicates=5)
    assert planning.total(tuned) == 3 * (2 * 2 + 5)


def test_a_control_stands_in_for_its_component_in_one_cell_of_its_level():
    cells = planning.cells(study(controls={"head": ["frozen"]}))
    control = next(c for c in cells if c.role == "control")
    assert control.level == 2 and control.control == "frozen"
    assert control.swaps["head"] == {"component": "frozen", "of": {"component": "reupload-linear"}}
    assert control.swaps["conv1"] == {"component": "flipped-quanv"}
    contrast = next(c for c in ladder().contrasts({"head": ["frozen"]}) if c.cell == "level 2")
    assert contrast.versus == "level 1" and contrast.controls == (control.name,)


def test_a_description_survives_json():
    for t in planning.plan(study(controls=True), []):
        assert type(t).from_json(t.to_json()) == t
