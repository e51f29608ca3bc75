"""The effective dimension that trials keep: against the measured one, and told where it would take too long."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dopant as dp
from dopant.datasets.source import load_source
from dopant.evaluation.dimension_probe import as_metrics, dimension_probes, of_metrics
from dopant.evaluation.effective_dimension import of_slots
from dopant.study.report import page, tables, words


def factored() -> nn.Module:
    """A product of two matrices through 3 dimensions: 3 (12 + 10 - 3) of 66 directions."""
    return nn.Sequential(nn.Linear(12, 3, bias=False), nn.Linear(3, 10, bias=False))


X = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))


def test_it_is_the_effective_dimension_at_as_many_inputs_as_are_enough():
    host = nn.Sequential(factored(), nn.ReLU(), nn.Linear(10, 4))
    before = [p.clone() for p in host.parameters()]
    product, last, relu = dimension_probes(host, ["0+2", "1"], lambda n: X[:n], len(X))
    assert (product.rank, product.exact, product.parameters) == (3 * (12 + 10 - 3), True, 66)
    assert product.samples == 27  # four outputs for each of 66 parameters, ten a sample
    assert (last.rank, last.parameters) == (44, 44) and str(last) == "44 of 44"
    assert (relu.rank, relu.parameters) == (0, 0)
    assert product.rank == of_slots(host, ["0"], X[:200])["0"].rank
    assert all(torch.equal(a, b) for a, b in zip(before, host.parameters(), strict=True))


def test_what_would_take_long_is_not_measured_and_says_what_it_would_take():
    host = nn.Sequential(nn.Linear(12, 200), nn.Linear(200, 4))
    large, small = dimension_probes(host, ["0", "1"], lambda n: X[:n], len(X))
    assert large.rank is None and "would take 7e+10 FLOPs, and up to 1e+10 are spent unasked" in large.skipped
    assert str(large).startswith("not measured: would take")
    assert small.rank == 4 * (12 + 1)  # what reaches it spans 12 dimensions and a bias
    (none,) = dimension_probes(host, ["1"], lambda n: X[:n], len(X), work=1e6)
    assert none.rank is None and none.parameters == 804


def test_what_cannot_be_measured_stops_nothing():
    class Silent(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(12, 4), nn.Linear(12, 4)

        def forward(self, x):
            return self.used(x)

    (row,) = dimension_probes(Silent(), ["idle"], lambda n: X[:n], len(X))
    assert row.rank is None and "is not called on these inputs" in row.skipped
    (row,) = dimension_probes(Silent(), ["none"], lambda n: X[:n], len(X))
    assert row.rank is None and row.skipped


def test_metrics_are_written_and_read_back():
    probes = dimension_probes(nn.Sequential(factored(), nn.Linear(10, 300)), ["0", "1"], lambda n: X[:n], len(X))
    assert of_metrics(as_metrics(probes)) == probes
    assert as_metrics(probes)["dimension_rank_0"] == 57 and "dimension_rank_1" not in as_metrics(probes)
    assert of_metrics({"gradient_qubits_0": 1, "test_accuracy": 0.5}) == []


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    ladder = dp.Ladder({"name": "mlp", "hidden": [8]}).level(head={"component": "circuit", "qubits": 2, "layers": 1})
    return dp.run(
        ladder, data=load_source("digits"), recipe=dp.Recipe(batch=500, epochs=1), replicates=2, progress=None,
        controls=["compute-matched"], out=tmp_path_factory.mktemp("dimension") / "s",
    )  # fmt: skip


def test_the_first_replicate_of_each_cell_keeps_it_and_the_page_has_it_beside_the_counts(answer):
    rows = answer.dimensions.to_dict("records")
    assert next((r["cell"], r["slot"], r["parameters"]) for r in rows) == ("level 1", "head", 54)
    assert {r["cell"] for r in rows} == {"level 1", "level 1, head=compute-matched"}
    kept = answer.trials[answer.trials["cell"] == "level 1"].set_index("replicate")["dimension_rank_head"]
    assert kept.loc[0] == rows[0]["rank"] <= 54 and kept.isna().loc[1]
    table = tables.cells(answer.costs, answer.trials, words.Measure("test_accuracy", True), answer.dimensions)
    labels = [h.label for h in table.headers]
    assert labels[labels.index("trainable parameters") + 1] == "effective dimension"
    by_cell = {row[0].text: row[labels.index("effective dimension")].text for row in table.rows}
    assert by_cell["level 1"] == f"head: {rows[0]['rank']} of 54" and by_cell["level 0"] == "–"
    text = page(answer)
    assert by_cell["level 1"] in text and "dimension_rank" not in text


def test_what_a_device_would_take_stands_apart_from_what_was_computed(answer):
    table = tables.cells(answer.costs, answer.trials, words.Measure("test_accuracy", True), answer.dimensions)
    labels = [h.label for h in table.headers]
    assert labels.index("time per step") < labels.index("qubits") < labels.index("evidence") == len(labels) - 1
    assert "that is their simulation, and no cost of a device" in page(answer)
    kinds = {cell.control: cell.control_kind for cell in answer.cells if cell.role == "control"}
    assert kinds == {"compute-matched": "same simulation budget"}
