"""Gradients at random starts in a study: kept by trials, shown by the page, listed by `dopant inspect --gradients`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import dopant as dp
from dopant.datasets.source import load_source
from dopant.evaluation.gradient_probe import gradient_probes
from dopant.quantum import CircuitLayer
from dopant.study.gradients import gradients
from dopant.study.report import page, tables, words
from dopant.study.report.inspection import gradient_lines


@pytest.fixture(autouse=True)
def without_the_compiled_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOPANT_KERNEL", "off")


def design(component: str = "circuit") -> dp.Ladder:
    options = {} if component == "linear" else {"qubits": 2, "layers": 1}
    return dp.Ladder({"name": "mlp", "hidden": [8]}).level(head={"component": component, **options})


def run(out, **settings):
    """An object as data keeps the study in this process, which is quicker here."""
    recipe = dp.Recipe(batch=200, epochs=1)
    given = {"data": load_source("digits"), "controls": False, "workers": 1, "progress": None, "replicates": 2}
    return dp.run(settings.pop("design", design()), recipe=recipe, out=out, **given | settings)


def test_the_page_has_one_row_for_each_circuit_and_says_what_it_means(tmp_path):
    answer = run(tmp_path / "s")
    (row,) = answer.gradients.to_dict("records")
    assert (row["cell"], row["slot"], row["qubits"], row["weights"], row["seed"]) == ("level 1", "head", 2, 6, 0)
    trial = answer.trials[answer.trials["cell"] == "level 1"]["trial"].iloc[0]
    layer = next(m for m in answer.model(trial).modules() if isinstance(m, CircuitLayer))
    assert row["variance"] == gradient_probes(layer)[0].variance > 0
    # the same without a run, from the study alone
    (foretold,) = gradients(answer.config)
    assert foretold.to_json() == {k: row[k] for k in foretold.to_json()}
    text = page(answer)
    assert "Gradients at random starts" in text and f'<data value="{row["variance"]!r}">' in text
    assert "says nothing of the trained network" in text
    assert "gradient_variance" not in text and "gradient variance" not in text  # not once more in the table of trials
    cells = tables.cells(answer.costs, answer.trials, words.Measure("test_accuracy", True))
    assert cells is not None and cells.headers[-1].label == "evidence"
    assert [row[-1].text for row in cells.rows] == ["–", "exact expectation"]


def test_a_study_without_circuits_has_no_such_table(tmp_path):
    answer = run(tmp_path / "s", design=design("linear"), replicates=1)
    assert not len(answer.gradients) and "cost_tier" not in answer.trials
    text = page(answer)
    assert "Gradients at random starts" not in text and ">evidence</th>" not in text


def test_loops_of_ones_own_keep_them_too_and_name_their_metric_first(tmp_path):
    def train(model, streams, log, folder):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.01
        return {"quality": 1.0}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            return self.head(x)

    swaps = dp.Ladder(Net).level(head={"component": "circuit-shots", "qubits": 2, "layers": 1, "shots": 8})
    answer = run(tmp_path / "s", design=swaps, data=None, train=train, sample=torch.zeros(2, 3), replicates=1)
    assert answer.metric[0] == "quality"
    assert list(answer.gradients["slot"]) == ["head"] and answer.gradients["variance"].iloc[0] > 0


def test_the_command_line_lists_them_for_programs_and_people(tmp_path):
    study = dp.Study(design(), data="digits", controls=False)
    study.save(tmp_path / "s.toml")
    command = [sys.executable, "-m", "dopant", "inspect", str(tmp_path / "s.toml"), "--gradients", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    (told,) = json.loads(result.stdout)["gradients"]
    assert (told["cell"], told["slot"], told["starts"], told["skipped"]) == ("level 1", "head", 512, "")
    lines = "\n".join(gradient_lines(gradients(study)))
    assert "level 1, head: 2 qubits, 6 weights" in lines and "at 512 starts" in lines
    assert f"variance of a derivative {told['variance']:.3g} (" in lines


def test_a_circuit_that_was_left_out_has_its_reason_in_the_table():
    import pandas as pd

    record = {"cell": "a", "slot": "b", "qubits": 13, "weights": 3, "seed": 0, "variance": None}
    table = tables.gradients(pd.DataFrame([record | {"skipped": "13 qubits"}]))
    assert table is not None and [h.name for h in table.headers][-1] == "skipped"
    assert table.rows[0][-1].text == "13 qubits"


def test_costs_of_circuits_read_in_words_and_a_metric_of_the_same_name_as_before():
    import pandas as pd

    costs = pd.DataFrame({"cell": ["a", "b"], "two_qubit_gates": [8.0, 8.0], "shots": [0.0, 1024.0]})
    table = tables.cells(costs, pd.DataFrame(), words.Measure("accuracy", True))
    assert table is not None and [h.label for h in table.headers] == ["cell", "two-qubit gates", "shots"]
    assert [(row[2].text, row[2].value) for row in table.rows] == [("exact", "0.0"), (words.number(1024), "1024.0")]
    trials = tables.trials(pd.DataFrame({"trial": ["t"], "depth": [3.0], "shots": [0.0], "ratio": [1.5]}))
    assert [h.label for h in trials.headers] == ["trial", "depth", "shots", "ratio"]
    assert [e.text for e in trials.rows[0]] == ["t", "3", "0", "1.50"]


def test_frozen_weights_take_no_circuits_for_their_derivatives():
    layer = CircuitLayer(dp.quantum.Circuit(2).ry(0, dp.quantum.feature(0)).ry(1, dp.quantum.weight()).cx(0, 1))
    assert layer.cost()["circuits_per_gradient"] == 4
    layer.weights.requires_grad_(False)
    assert layer.cost()["circuits_per_gradient"] == 2
