"""Both estimands of a study: each has its own contrasts and its own family, and the sentences say which it is."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import dopant as dp
from dopant.study import estimands, verdicts
from dopant.study import plan as planning
from dopant.study.notes import notes_of
from dopant.study.report import reading, terminal
from dopant.study.search import BEST, DROP_IN, Tuning

LR = {"low": 1e-3, "high": 1e-1, "log": True}


def answer(design, scores, *, tuning=None, rows=(), replicates=10, resplit=None):
    """An answer with the parts that effects need. scores: {cell: mean}; every replicate has a shift of its own."""
    study = dp.Study(design, data="digits", replicates=replicates, controls=False, tuning=tuning, margin=0.01)
    generator = np.random.default_rng(0)
    shift = generator.normal(0, 0.01, replicates)
    cells = planning.cells(study)
    table = pd.DataFrame(
        {"arm": c.name, "replicate": r, "status": "done",
         "value": scores.get(c.name, 0.8) + shift[r] + generator.normal(0, 1e-3)}
        for c in cells for r in range(replicates)
    )  # fmt: skip
    found = SimpleNamespace(
        config=study, cells=cells, contrasts=planning.contrasts(study), rows=list(rows),
        metric=("accuracy", "test_accuracy", True), resplit=lambda: resplit, trials=table, failures=[],
        provenance={}, counts={"planned": 1, "done": 1, "failed": 0},
    )  # fmt: skip
    settings = {"metric": "test_accuracy", "failure_value": 0.1, "margin": 0.01}
    found.effects = estimands.effects(found, table, verdicts.effects, settings)
    found.verdicts = verdicts.sentences(found.effects)
    return found


def ladder():
    return dp.Ladder("creep-cnn").level(conv1="flipped-quanv").level(head="reupload-linear")


def search(**changes):
    return Tuning(search={"lr": LR, "draws": 3, "replicates": 1}, **changes)


def test_each_estimand_has_its_own_difference_and_its_own_family():
    scores = {"level 1": 0.9, "level 1 (drop-in)": 0.7, "level 2": 0.9, "level 2 (drop-in)": 0.7}
    found = answer(ladder(), scores, tuning=search())
    effects = found.effects.set_index(["estimand", "swap"])
    assert effects.loc[(BEST, "conv1=flipped-quanv"), "mean"] == pytest.approx(0.1, abs=3e-3)
    assert effects.loc[(DROP_IN, "conv1=flipped-quanv"), "mean"] == pytest.approx(-0.1, abs=3e-3)
    assert (effects["p_holm"] >= 2 * effects["p_floor"] - 1e-12).all()
    assert not any("4 swaps" in s for s in found.verdicts) and sum("2 swaps" in s for s in found.verdicts) == 4


@pytest.mark.parametrize("primary", [BEST, DROP_IN])
def test_the_declared_estimand_comes_first_and_is_called_primary(primary):
    found = answer(ladder(), {}, tuning=search(primary=primary))
    assert found.effects["estimand"].iloc[0] == primary and found.effects["primary"].sum() == 2
    own = f"This is the {primary} effect, the primary estimand of the study."
    assert [own in sentence for sentence in found.verdicts] == [True, True, False, False]
    assert all(f"the primary estimand of the study is {primary}." in s for s in found.verdicts[2:])


def test_main_effects_interactions_and_simple_effects_are_there_under_each_estimand_between_its_own_cells():
    design = dp.Factorial("creep-cnn", {"conv1": ["flipped-quanv"], "head": ["reupload-linear"]})
    found = answer(design, {"conv1=flipped-quanv, head=reupload-linear": 0.9}, tuning=search())
    for estimand, part in found.effects.groupby("estimand"):
        roles = set(part["role"])
        assert {"main", "interaction"} <= roles
        assert ("simple" in roles) == (estimand == BEST)  # only the tuned cells have an interaction
        sums = part[part["role"] == "main"]["cell"]
        assert all(name.endswith("(drop-in)") == (estimand == DROP_IN) for name in sums)
    cards = reading.verdicts(found)
    assert [c.estimand for c in cards[:2]] == [f"{BEST}, primary"] * 2 and len(cards[0].simple) == 2
    assert [c.estimand for c in cards[2:]] == [DROP_IN] * 2 and all(not c.simple for c in cards[2:])


def test_arms_whose_recipe_a_factor_sets_are_compared_under_drop_in_alone():
    design = dp.Factorial("creep-cnn", {"head": ["reupload-linear"], "recipe.lr": [1e-3, 1e-2]})
    found = answer(design, {}, tuning=search())
    assert set(found.effects["estimand"]) == {DROP_IN} and found.effects["untuned"].all()


def test_a_grid_and_an_untuned_study_have_the_table_that_they_always_had():
    for tuning in (None, Tuning(lr=[1e-3, 1e-2])):
        found = answer(ladder(), {}, tuning=tuning)
        assert list(found.effects.columns) == list(verdicts.COLUMNS) and len(found.effects) == 2
        assert set(found.effects["estimand"]) == {DROP_IN if tuning is None else BEST}


def rows_of(tuning, liked):
    """Rows of all tuning trials; liked: {cell: the learning rate that scores best}."""
    study = dp.Study(ladder(), data="digits", controls=False, tuning=tuning)
    found = []
    for t in planning.plan(study, []):
        if t.phase == "tuning":
            score = 1 - abs(np.log(t.description["recipe"]["lr"] / liked[t.cell]))
            found.append(t.to_json() | {
                "state": "done", "attempts": 1, "reason": None, "replicate": t.replicate,
                "metrics": {"validation_accuracy": float(score)},
            })  # fmt: skip
    return found


def test_a_best_value_on_the_edge_is_said_in_the_sentences_of_the_effects_that_rest_on_it_and_in_the_notes():
    grid = Tuning(lr=[1e-3, 1e-2, 1e-1], replicates=1)
    rows = rows_of(grid, {"level 0": 1e-2, "level 1": 1e-2, "level 2": 1e-1})
    found = answer(ladder(), {}, tuning=grid, rows=rows)
    first, second = found.verdicts
    assert "edge" not in first
    assert second.endswith(
        "The best learning rate (0.1) of level 2 lies on the edge of the search, and better ones may lie beyond."
    )
    assert any("level 2: learning rate (0.1)" in note for note in notes_of(found))
    two = Tuning(lr=[1e-2, 1e-1], replicates=1)
    rows = rows_of(two, {"level 0": 1e-2, "level 1": 1e-2, "level 2": 1e-1})
    assert "edge" not in " ".join(answer(ladder(), {}, tuning=two, rows=rows).verdicts)


def test_the_checklist_judges_the_primary_estimand_and_the_terminal_names_it():
    tuned = answer(ladder(), {}, tuning=search())
    texts = [check.text for check in reading.checklist(tuned)]
    assert any(t.startswith("All arms were tuned alike. Beside the primary estimand stand drop-in") for t in texts)
    dropped = answer(ladder(), {}, tuning=search(primary=DROP_IN))
    assert any(t.startswith("The arms were not tuned") for t in (c.text for c in reading.checklist(dropped)))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(terminal.table(tuned))
    assert "primary estimand: best against best" in console.export_text()
