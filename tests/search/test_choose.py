from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import dopant as dp
from dopant.cost import ledger
from dopant.errors import ConfigError
from dopant.search.costs import costs_of
from dopant.search.further import further_study
from dopant.search.measured import measured_of
from dopant.search.space import space_of
from dopant.search.surrogate import fit

ASK = {"data": {"name": "digits", "limit": 150}, "recipe": dp.Recipe(epochs=1, lr=3e-3, batch=50), "replicates": 2,
       "controls": False, "workers": 1}  # fmt: skip
FACTORS = {"head": ["linear", {"component": "low-rank", "rank": 2}], "conv2": ["grouped-conv"]}
APART = [{"head": "old", "conv2": "old"}, {"head": "linear", "conv2": "old"},
         {"head": "low-rank:rank=2", "conv2": "old"}, {"head": "old", "conv2": "grouped-conv"}]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two slots one at a time: four of six combinations."""
    out = tmp_path_factory.mktemp("choose") / "study"
    return dp.run(dp.Factorial(small, FACTORS, only=APART), out=out, **ASK).folder


def small(**_):
    """A host of two slots, built in a moment."""
    from torch import nn

    model = nn.Sequential()
    model.add_module("conv1", nn.Conv2d(1, 4, 3, stride=2))
    model.add_module("relu", nn.ReLU())
    model.add_module("conv2", nn.Conv2d(4, 8, 2, padding=1))
    model.add_module("flat", nn.Flatten())
    model.add_module("head", nn.Linear(8 * 16, 10))
    return model


def test_the_best_few_are_trained_and_the_best_by_validation_is_chosen(folder, tmp_path):
    choice = dp.choose(folder, top=6, out=tmp_path / "more", workers=1)
    table = choice.table.set_index("swaps")
    assert len(table) == 6 and table["new"].sum() == 2 and list(choice.table["rank"]) == [1, 2, 3, 4, 5, 6]
    answer, more = dp.load(folder), dp.load(tmp_path / "more")
    first = answer.trials.groupby("cell")["validation_accuracy"].mean()
    added = first["head=linear, conv2=old"] + first["head=old, conv2=grouped-conv"] - first["head=old, conv2=old"]
    assert table.loc["conv2=grouped-conv, head=linear" if "conv2=grouped-conv, head=linear" in table.index
                     else "head=linear, conv2=grouped-conv", "predicted"] == pytest.approx(added)  # fmt: skip
    second = more.trials.groupby("cell")["validation_accuracy"].mean()
    assert max(*first, *second) == pytest.approx(choice.chosen["validation"])
    for name in table.index[table["new"]]:
        assert table.loc[name, "validation"] == pytest.approx(second[name])
        assert table.loc[name, "costs"] == "measured"
    # the reference was copied, not trained again
    old = set(answer.trials["trial"]) & set(more.trials["trial"])
    assert len(old) == 2 and more.counts["done"] == 6
    chosen = choice.chosen["swaps"]
    where = more if chosen in set(more.trials["cell"]) else answer
    name = chosen if where is more else space_of(answer.config).cells[_code(answer, chosen)]
    tests = where.trials[where.trials["cell"] == name]["test_accuracy"]
    assert choice.chosen["test"] == pytest.approx(tests.mean())
    again = dp.choose(folder, top=6, out=tmp_path / "more", workers=1)
    assert again.chosen == pytest.approx(choice.chosen, nan_ok=True) and set(again.answer.trials["attempts"]) == {1}
    assert choice.sentences[0].startswith("estimate: ")
    assert "test" not in choice.table.columns


def _code(answer, swaps):
    space = space_of(answer.config)
    return next(code for code in space.cells if space.swaps(code) == swaps)


def test_costs_add_up_over_slots_to_what_the_ledger_counts_on_the_whole(folder):
    answer = dp.load(folder)
    space = space_of(answer.config)
    known = answer.costs.set_index("cell").to_dict(orient="index")
    costs = costs_of(space, {code: {"seconds": 1.0, **known[cell]} for code, cell in space.cells.items()})
    for code in map(tuple, space.codes().tolist()):
        swaps, _ = space.design.filled(space.place(code))
        data = dp.dataset("digits")
        model = dp.swap(small(), swaps, data.sample(2)) if swaps else small()
        counted = ledger(model, data.sample(2), 2, batch=50)["parameters"]
        assert costs.one(code)["parameters"] == pytest.approx(counted, rel=1e-12)


def test_qubits_count_as_the_largest_circuit_and_not_towards_another_slot():
    study = dp.Study(dp.Factorial("creep-cnn", {"conv1": ["flipped-quanv"], "head": ["reupload-linear"]}))
    space = space_of(study)
    measured = {(0, 0): {"parameters": 10.0, "qubits": 0.0}, (1, 0): {"parameters": 30.0, "qubits": 4.0},
                (0, 1): {"parameters": 15.0, "qubits": 6.0}}  # fmt: skip
    costs = costs_of(space, measured)
    assert costs.one((1, 1))["qubits"] == 6 and costs.one((1, 1))["parameters"] == pytest.approx(35)
    assert np.isnan(costs.one((1, 1))["seconds"])


def test_budgets_bind_and_those_that_nothing_keeps_name_the_nearest(folder):
    small_one = dp.load(folder).costs["parameters"].min()
    choice = dp.choose(folder, max_parameters=small_one, train=False)
    assert choice.answer is None and choice.chosen["parameters"] == small_one
    assert set(choice.table["in_budget"]) == {True}
    with pytest.raises(ConfigError, match=r"no combination of 6 keeps at most 5 parameters; the nearest is .*low-rank"):
        dp.choose(folder, max_parameters=5)
    with pytest.raises(ConfigError, match=r"max_qubits: -1(?s:.)*top: 0"):
        dp.choose(folder, max_qubits=-1, top=0)


def test_the_command_prints_json_and_refuses_with_2(folder):
    def dopant(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "dopant", "choose", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=240,
        )

    told = dopant("--no-train", "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert sum(row["chosen"] for row in found["table"]) == 1 and found["chosen"]["chosen"] and found["folder"] is None
    refused = dopant("--max-parameters", "1")
    assert refused.returncode == 2 and "the nearest is" in refused.stderr and "Traceback" not in refused.stderr


def test_a_ladder_s_slots_are_factors_and_its_levels_cells():
    study = dp.Study(
        dp.Ladder("creep-cnn").level(conv1="linear").level(head="low-rank").variant(2, "other", head="linear")
    )
    space = space_of(study)
    assert {space.swaps(code): cell for code, cell in space.cells.items()} == {
        "no swap": "level 0", "conv1=linear": "level 1", "conv1=linear, head=low-rank": "level 2",
        "conv1=linear, head=linear": next(c.name for c in study.design.cells(False) if c.role == "variant"),
    }  # fmt: skip
    assert space.total == 6
    found = fit(space, list(space.cells), np.array([1.0, 2.0, 4.0, 3.0]))
    best = max(map(tuple, space.codes().tolist()), key=lambda c: found.predict([c])[0])
    assert space.swaps(best) == "conv1=linear, head=low-rank"
    with pytest.raises(ConfigError, match="cannot be combined"):
        space_of(dp.Study(dp.Ladder("creep-cnn").level(conv1="linear").level(**{"conv1+conv2": "linear"})))


def test_an_option_without_its_component_is_no_combination():
    factors = {"head": ["reupload-linear"], "head:reps": {"few": {"head:reps": 2}, "many": {"head:reps": 3}}}
    space = space_of(dp.Study(dp.Factorial("creep-cnn", factors, only=[{"head": "reupload-linear"}])))
    assert space.codes().tolist() == [[1, 0], [1, 1]] and set(space.cells) == {(1, 0), (1, 1)}


def test_a_recipe_that_moves_every_slot_of_the_design_is_refused_for_fewer(tmp_path):
    study = dp.Study(dp.Factorial("creep-cnn", {"head": ["linear"], "conv1": ["grouped-conv"]}),
                     recipe=dp.Recipe(regime="freeze"))  # fmt: skip
    space = space_of(study)
    with pytest.raises(ConfigError, match="would be other trials"):
        further_study(study, space, (0, 0), [(1, 0)], tmp_path / "x")
    assert further_study(study, space, (0, 0), [(1, 1)], tmp_path / "x").slots() == study.slots()


def test_a_cell_that_lacks_a_replicate_is_trained_on_before_a_choice(folder, tmp_path):
    answer = dp.load(folder)
    whole = answer.trials
    answer.trials = whole[(whole["cell"] != "head=linear, conv2=old") | (whole["replicate"] == 0)]
    choice = dp.choose(answer, top=6, out=tmp_path / "more", workers=1)
    table = choice.table.set_index("swaps")
    assert set(table["replicates"]) == {2} and table["new"].sum() == 3 and table.loc["head=linear", "new"]
    scores = whole[whole["cell"] == "head=linear, conv2=old"]["validation_accuracy"]
    assert table.loc["head=linear", "validation"] == pytest.approx(scores.mean())  # its trials were copied


def test_a_failed_trial_scores_as_declared_and_a_lost_one_not_at_all(folder):
    answer = dp.load(folder)
    answer.trials = answer.trials.copy()
    row = answer.trials.index[answer.trials["cell"] == "head=linear, conv2=old"][0]
    answer.trials.loc[row, ["status", "reason"]] = ["failed", "not finite"]
    space = space_of(answer.config)
    found = measured_of(answer, space.cells).scores[1, 0]
    assert found[int(answer.trials.loc[row, "replicate"])] == 0.1 and len(found) == 2  # the chance of ten classes
    answer._said[answer.trials.loc[row, "trial"]] = "lost"
    assert len(measured_of(answer, space.cells).scores[1, 0]) == 1


def test_a_study_without_validation_scores_is_refused(folder):
    answer = dp.load(folder)
    answer.trials = answer.trials.drop(columns="validation_accuracy")
    with pytest.raises(ConfigError, match="no trial of 'study' has 'validation_accuracy', and networks are chosen by"):
        dp.choose(answer)


def test_the_table_is_readable_at_80_columns():
    import pandas as pd
    from rich.console import Console

    from dopant.search import words

    swaps = "encoder.layers.0.linear1=reupload-linear:reps=10, conv2=grouped-conv, head=low-rank:rank=2"
    row = {"rank": 1.0, "swaps": swaps, "predicted": 0.91234567, "validation": 0.91111111, "low": 0.90123,
           "high": 0.92345, "replicates": 10,
           "parameters": 1234567.0, "qubits": 10.0, "seconds": 123.456, "costs": "measured",
           "in_budget": True, "new": True, "chosen": True}  # fmt: skip
    rows = [row, {**row, "rank": 12.0, "validation": np.nan, "low": np.nan, "in_budget": False, "chosen": False}]
    console = Console(width=80, highlight=False)
    with console.capture() as told:
        console.print(words.lines(pd.DataFrame(rows)))
    text = told.get()
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    for whole in ("0.9123", "0.9111", "0.901 to 0.923", "1,234,567", "123", "not trained", "chosen", "over"):
        assert any(whole in line for line in text.splitlines()), whole
    assert "interval" not in text


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The same four combinations, each tuned over three learning rates, and the low rank over its rank too."""
    out = tmp_path_factory.mktemp("choose") / "tuned"
    factors = {"head": ["linear", "low-rank"], "conv2": ["grouped-conv"]}
    cells = [{slot: level.partition(":")[0] for slot, level in place.items()} for place in APART]
    search = {"lr": [1e-3, 1e-2, 1e-1], "head:rank": [1, 2, 3], "draws": 3, "replicates": 1}
    asked = dp.Factorial(small, factors, only=cells)
    return dp.run(asked, out=out, tuning={"search": search, "primary": "drop-in"}, **ASK).folder


def test_combinations_of_a_tuned_study_are_compared_at_their_best(tuned, tmp_path):
    answer = dp.load(tuned)
    choice = dp.choose(tuned, top=6, out=tmp_path / "more", workers=1)
    more = dp.load(tmp_path / "more")
    first = answer.trials.groupby("cell")["validation_accuracy"].mean()
    second = more.trials.groupby("cell")["validation_accuracy"].mean()
    table = choice.table.set_index("swaps")
    space = space_of(answer.config)
    for code, cell in space.cells.items():  # the tuned cells, not those under the study's own recipe
        assert table.loc[space.swaps(code), "validation"] == pytest.approx(first[cell])
    assert any(first[cell] != first[f"{cell} (drop-in)"] for cell in space.cells.values())
    new = table.index[table["new"]]
    assert len(new) == 2 and not any("(drop-in)" in cell for cell in second.index)
    for name in new:
        assert table.loc[name, "validation"] == pytest.approx(second[name])

    # every arm chose by its own tuning trials among the same draws; the reference was copied with its tuning
    assert set(more.tuning_summary["candidates"]) == set(answer.tuning_summary["candidates"]) == {3}
    same = set(answer.trials["trial"]) & set(more.trials["trial"])
    assert len(same) == 2
    rows = {row["id"]: row for row in answer.rows}
    copied = [row for row in more.rows if row["id"] in rows]
    assert {row["phase"] for row in copied} == {"main", "tuning"}
    assert all(row["metrics"]["seconds"] == rows[row["id"]]["metrics"]["seconds"] for row in copied)
    assert any("compared at their best" in note and "drop-in" in note for note in choice.notes)
    assert choice.chosen["validation"] == pytest.approx(max(*first[list(space.cells.values())], *second))


def test_extras_of_components_that_the_best_do_without_are_left_out_and_the_draws_stay(tuned, tmp_path):
    from dopant.study import tuning as tuning_of

    study = dp.load(tuned).config
    space = space_of(study)
    plain = further_study(study, space, (0, 0), [(1, 1)], tmp_path / "a")  # neither holds a low rank
    assert plain.problems() == [] and set(plain.tuning.search) == {"lr", "draws", "replicates", "sampler"}
    ranked = further_study(study, space, (0, 0), [(2, 1)], tmp_path / "b")
    assert ranked.problems() == [] and "head:rank" in ranked.tuning.search
    searched = study.with_(baselines=["logistic-regression"], tuning=study.tuning.model_copy(
        update={"search": {**study.tuning.search, "baseline logistic-regression:C": [0.1, 1.0]}}))  # fmt: skip
    assert further_study(searched, space, (0, 0), [(2, 1)], tmp_path / "c").problems() == []
    draws = []
    for asked in (study, plain, ranked):
        cell = next(c for c in asked.design.cells(False) if not c.swaps)
        draws.append((tuning_of.arm_of(asked, cell), tuning_of.candidates(asked, cell, {})))
    assert draws[0] == draws[1] == draws[2]


def test_a_study_tuned_over_a_grid_is_chosen_from_and_resumed(tmp_path):
    ask = {**ASK, "replicates": 1, "tuning": {"lr": [1e-3, 1e-2], "replicates": 1}}
    asked = dp.Factorial(small, FACTORS, only=APART)
    folder = dp.run(asked, out=tmp_path / "grid", **ask).folder
    first = dp.choose(folder, top=6, out=tmp_path / "more", workers=1)
    again = dp.choose(folder, top=6, out=tmp_path / "more", workers=1)
    assert set(first.answer.trials["attempts"]) == {1} == set(again.answer.trials["attempts"])
    assert again.chosen == pytest.approx(first.chosen, nan_ok=True)
    assert set(first.answer.tuning_summary["candidates"]) == {2}
    assert not any("drop-in" in note for note in first.notes)
