"""`[tuning]` as it is written: old grids stay what they were, and every mistake in a search is named by its path."""

from __future__ import annotations

import builtins
import importlib.util

import pytest

import dopant as dp
from dopant.study import draws
from dopant.study.config import from_tables
from dopant.study.search import BEST, DROP_IN, Tuning

SEARCH = {"lr": {"low": 1e-4, "high": 1e-1, "log": True}}


def study(search=None, *, design=None, tuning=None, recipe=None, **changes):
    table = {"search": search} if tuning is None else tuning
    design = design or dp.Ladder("creep-cnn").level(head="reupload-linear")
    return dp.Study(
        design, data="digits", tuning=Tuning(**table), controls=["bottleneck-mlp"],
        recipe=dp.Recipe(epochs=3, **(recipe or {})), **changes,
    )  # fmt: skip


def test_a_grid_is_written_as_it_always_was_and_reports_best_against_best_alone():
    grid = Tuning(lr=[1e-3, 1e-2])
    assert grid.to_config() == {"lr": [1e-3, 1e-2], "replicates": 2} and grid.sampler == "grid"
    assert grid.reported() == (BEST,)


def test_a_search_written_and_read_again_is_the_same_and_reports_both(tmp_path):
    search = {**SEARCH, "schedule": ["constant", {"name": "step", "every": 2}], "head:reps": [1, 2], "draws": 5}
    asked = study(search)
    assert asked.problems() == []
    asked.save(tmp_path / "study.toml")
    again = dp.Study.load(tmp_path / "study.toml")
    assert again.tuning == asked.tuning and again.to_tables()["tuning"] == asked.to_tables()["tuning"]
    assert again.tuning.reported() == (BEST, DROP_IN)
    assert (again.tuning.draws, again.tuning.scored_on, again.tuning.sampler) == (5, 3, "random")


def test_lists_alone_are_a_grid_unless_a_number_of_draws_is_asked_for():
    lists = {"lr": [1e-3, 1e-2], "weight_decay": [0.0, 1e-4]}
    assert (Tuning(search=lists).sampler, Tuning(search={**lists, "draws": 3}).sampler) == ("grid", "random")


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"lrs": [1e-3]}, ["tuning.search.lrs", "unknown key", "'lr'"]),
        ({"lr": {"low": 1e-1, "high": 1e-4}}, ["tuning.search.lr", "the first the smaller one"]),
        ({"lr": {"low": 0.0, "high": 1.0, "log": True}}, ["begins above 0"]),
        ({"lr": {"low": 0.0, "high": 1.0}}, ["tuning.search.lr", "a number above 0"]),
        ({"lr": {"low": 1e-4, "hihg": 1.0}}, ["tuning.search.lr.hihg"]),
        ({"lr": [1e-3, "fast"]}, ["'fast' is not a number above 0"]),
        ({"lr": [1e-3, 1e-3]}, ["a value is there twice"]),
        ({"lr": []}, ["an empty list"]),
        ({**SEARCH, "weight_decay": [-1e-3]}, ["-0.001 is not a number from 0 on"]),
        ({**SEARCH, "gain": [True]}, ["True is not a number above 0"]),
        ({**SEARCH, "schedule": ["cosin"]}, ["tuning.search.schedule", "'cosine'"]),
        ({**SEARCH, "schedule": ["step"]}, ["tuning.search.schedule", "every"]),
        ({**SEARCH, "schedule": {"low": 1, "high": 2}}, ["schedules have no order"]),
        ({**SEARCH, "draws": 0}, ["tuning.search.draws", "0"]),
        ({**SEARCH, "replicates": 1.5}, ["tuning.search.replicates", "1.5"]),
        ({**SEARCH, "sampler": "bayes"}, ["tuning.search.sampler", "'bayes'"]),
        ({**SEARCH, "sampler": "grid"}, ["a grid takes lists alone"]),
        ({"lr": [1e-3], "draws": 2, "sampler": "grid"}, ["tuning.search.draws", "leave draws out"]),
        ({"lr": [1e-3], "head:reps": [1], "sampler": "grid"}, ["only some arms have 'head:reps'"]),
        ({"head:reps": [1, 2]}, ["nothing that all arms share"]),
        ({**SEARCH, "haed:reps": [1]}, ["no cell swaps the slot 'haed'", "'head'"]),
        ({**SEARCH, "head:rep": [1]}, ["have no option 'rep'", "'reps'"]),
        ({**SEARCH, "baseline forest:trees": [1]}, ["study.baselines has no 'forest'"]),
    ],
)
def test_a_mistake_in_a_search_is_named_by_its_path(search, words):
    found = "\n".join(study(search).problems())
    assert all(word in found for word in words), found


@pytest.mark.parametrize(
    ("tuning", "words"),
    [
        ({}, "give either lr"),
        ({"lr": [1e-3], "search": SEARCH}, "give either lr"),
        ({"search": SEARCH, "replicates": 2}, "write it in [tuning.search]"),
        ({"lr": [1e-3], "estimands": [DROP_IN]}, "nothing is tuned"),
        ({"lr": [1e-3], "estimands": [BEST], "primary": DROP_IN}, "none of tuning.estimands"),
        ({"lr": [1e-3], "primary": DROP_IN}, "reports 'best against best' alone"),
    ],
)
def test_estimands_that_contradict_the_table_are_refused(tuning, words):
    assert words in "\n".join(study(tuning=tuning).problems())


def test_a_wrong_table_from_python_or_a_file_is_a_config_error_with_the_nearest_key():
    with pytest.raises(dp.ConfigError, match="'search'"):
        Tuning.read({"serch": SEARCH})
    tables = study(SEARCH).to_tables() | {"tuning": {"serch": SEARCH}}
    with pytest.raises(dp.ConfigError, match=r"tuning\.serch.*'search'"):
        from_tables(tables)


def test_what_a_factor_of_the_design_sets_cannot_be_searched_as_an_option():
    design = dp.Factorial(
        "creep-cnn", {"head": {"one": {"head": {"component": "reupload-linear"}}}, "reps": {"a": {"head:reps": 1}}}
    )
    assert "a factor of the design sets it" in "\n".join(
        study({**SEARCH, "head:reps": [1, 2]}, design=design).problems()
    )


def test_without_optuna_a_search_names_the_extra_and_a_grid_needs_none(monkeypatch):
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "optuna" else pytest.fail(f"asked for {name}")
    )
    assert "dopant[tuning]" in "\n".join(study(SEARCH).problems())
    assert study({"lr": [1e-3, 1e-2], "weight_decay": [0.0, 1e-4]}).problems() == []


def test_a_draw_without_optuna_is_a_config_error_that_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "optuna":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(dp.ConfigError, match=r"dopant\[tuning\]"):
        draws.draw(Tuning(search=SEARCH).dimensions(), "random", 0, "arm", 0)


def test_a_gain_is_of_fresh_weights_alone():
    asked = study({**SEARCH, "gain": [0.5, 1.0]}, recipe={"regime": "distil"})
    assert "tuning.search.gain" in "\n".join(asked.problems())
