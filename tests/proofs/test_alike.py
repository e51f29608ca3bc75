"""A/A studies with real networks: a slot filled by its own layer, begun from other numbers, on other splits each time.

Nothing was swapped but luck, so a verdict of better or worse is a false alarm.
"""

from __future__ import annotations

import copy

import pytest
import torch
from laws import at_most
from torch import nn

import dopant as dp
from dopant import registry

STUDIES = {"few": 5, "all": 40}


@pytest.fixture(scope="module", autouse=True)
def re_seeded_layer():
    """The component, known only while these tests run."""

    @dp.component("re-seeded")
    def re_seeded(old: nn.Module, signature) -> nn.Module:
        """The old layer, drawn again from the slot's own stream."""
        fresh = copy.deepcopy(old)
        fresh.reset_parameters()
        return fresh

    yield
    registry.components.forget("re-seeded")


def tiny(*, in_channels: int = 1, size: int = 8, classes: int = 10) -> nn.Module:
    """A host of this process, so that its trials run here: no second interpreter to start."""
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * size**2, 12), nn.ReLU(), nn.Linear(12, classes))


def alike(seed: int, folder) -> dp.Answer:
    return dp.run(
        dp.Ladder(tiny).level(**{"1": "re-seeded"}), data={"name": "digits", "limit": 500}, replicates=6, seed=seed,
        recipe=dp.Recipe(lr=1e-2, batch=50, epochs=3), controls=False, out=folder / f"alike-{seed}",
    )  # fmt: skip


def wrong_of(seeds, folder) -> int:
    """How many studies are called better or worse; each is looked at for having compared anything."""
    found = 0
    for seed in seeds:
        answer = alike(seed, folder)
        row = answer.effects.iloc[0]
        assert (row["replicates"], row["failed"]) == (6, 0)
        assert row["sd"] > 0  # other starts, other scores
        assert 0.2 < answer.trials["test_accuracy"].mean() < 0.99  # both arms learn, and neither all of it
        assert answer.resplit() == pytest.approx(1 / 3)
        found += row["direction"] in ("better", "worse")
    return found


def test_five_studies_that_swap_nothing_but_the_start_are_seldom_called_better_or_worse(tmp_path):
    assert wrong_of(range(STUDIES["few"]), tmp_path) <= at_most(0.05, STUDIES["few"], 0.01)


@pytest.mark.long
def test_of_forty_studies_that_swap_nothing_but_the_start_at_most_alpha_are_called_better_or_worse(tmp_path):
    wrong = wrong_of(range(100, 100 + STUDIES["all"]), tmp_path)
    print(f"{wrong} of {STUDIES['all']} called better or worse; at most {at_most(0.05, STUDIES['all'])} allowed")
    assert wrong <= at_most(0.05, STUDIES["all"])


def test_the_re_seeded_layer_is_another_start_of_the_same_module():
    torch.manual_seed(0)
    host, x = tiny(), torch.zeros(2, 1, 8, 8)
    one, again = (dp.swap(host, {"1": "re-seeded"}, x, seed=3) for _ in range(2))
    assert torch.equal(one[1].weight, again[1].weight)
    assert not torch.equal(one[1].weight, host[1].weight)
    assert torch.equal(one[3].weight, host[3].weight)
