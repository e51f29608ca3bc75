"""Controls of components that stand beside or after the old module keep that module too."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dopant as dp
from dopant.study import forecast
from dopant.study import plan as planning
from dopant.training import lifecycle_calls


@dp.component("test-after", fills=nn.Linear, mode="insert", controls=["frozen", "parameter-matched"])
def after(old, signature):
    """For this test."""
    return nn.Linear(old.out_features, old.out_features)


def test_a_control_of_a_mixed_component_has_the_same_mix():
    ladder = dp.Ladder({"name": "mlp", "size": 8}).level(head={"component": "reupload-linear", "mix": 0.25})
    study = dp.Study(ladder, data="digits", controls={"head": ["parameter-matched"]})
    (control,) = [cell for cell in planning.cells(study) if cell.role == "control"]
    assert control.swaps["head"]["mix"] == 0.25
    model = dp.swap(dp.host("mlp", size=8), control.swaps, torch.randn(2, 1, 8, 8))
    assert model.head.d == 0.25 and isinstance(model.head.old, nn.Linear)


def test_a_control_of_an_inserted_component_counts_the_old_module_in():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
    sample = torch.randn(2, 1, 8, 8)
    own = dp.swap(model, {"1": "test-after"}, sample)
    frozen = dp.swap(model, {"1": {"component": "frozen", "of": {"component": "test-after"}}}, sample)
    assert torch.equal(frozen(sample), own(sample))
    assert not any(p.requires_grad for p in frozen.parameters())
    matched = dp.swap(model, {"1": {"component": "parameter-matched", "of": {"component": "test-after"}}}, sample)
    wanted = 64 * 8 + 8 + 8 * 8 + 8
    assert abs(sum(p.numel() for p in matched.parameters()) - wanted) <= 0.1 * wanted


class Prepared(nn.Linear, dp.Lifecycle):
    def prepare(self, batches):
        self.drawn = torch.rand(3)


@dp.component("test-prepared", fills=nn.Linear)
def prepared(old, signature):
    """For this test."""
    return Prepared(old.in_features, old.out_features)


def test_a_component_prepares_with_the_same_draws_under_shuffled_labels():
    host, sample = dp.host("mlp", size=8), torch.randn(4, 1, 8, 8)
    drawn = []
    for swap in ("test-prepared", {"component": "shuffled-labels", "of": {"component": "test-prepared"}}):
        model = dp.swap(host, {"head": swap}, sample)
        lifecycle_calls.prepare(model, [sample], dp.Streams(0))
        drawn += [module.drawn for module in model.modules() if isinstance(module, Prepared)]
    assert len(drawn) == 2 and torch.equal(*drawn)


@pytest.fixture
def starved(monkeypatch):
    """A machine that has just run out of memory, as the check before a run sees it."""

    def refuse(name, *_):
        raise dp.DoesNotFit(f"cell {name!r} needs more than there is")

    return lambda: monkeypatch.setattr(forecast, "refuse_cell", refuse)


def test_memory_that_is_short_today_takes_no_control_out_of_a_study_and_stops_no_finished_one(tmp_path, starved):
    ladder = dp.Ladder(lambda: dp.host("mlp", size=8)).level(head="bottleneck-mlp")

    def run(folder):
        return dp.run(ladder, data="digits", recipe=dp.Recipe(epochs=1), replicates=1, out=tmp_path / folder,
                      controls={"head": ["frozen"]}, progress=None)  # fmt: skip

    first = run("done")
    starved()
    again = run("done")
    assert again.counts["done"] == first.counts["done"] == 3
    assert list(again.trials["trial"]) == list(first.trials["trial"])
    with pytest.raises(dp.DoesNotFit, match="level 0"):
        run("fresh")


def test_work_that_is_shared_by_a_batch_is_matched_at_the_recipes_batch():
    ladder = dp.Ladder({"name": "mlp", "size": 8}).level(head="reupload-linear")
    for batch in (8, 200):
        study = dp.Study(ladder, data="digits", recipe=dp.Recipe(batch=batch), controls={"head": ["compute-matched"]})
        (control,) = [cell for cell in planning.cells(study) if cell.role == "control"]
        assert control.swaps["head"]["batch"] == batch
