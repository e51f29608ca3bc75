"""The published numbers of quantum-creep: the committed file, the bound on the cross entropy, the argument from it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from dopant.datasets.source import load_source
from dopant.errors import ConfigError
from dopant.papers.compare import load_published
from dopant.papers.quantum_creep import PAPER, published
from dopant.papers.quantum_creep.bound import TRAIN_COUNTS, lowest_cross_entropy, mean_of_batches

SERIES = load_published(PAPER.published_file)


def test_the_committed_file_is_what_the_published_logs_give(data_folder: Path):
    made = published.make(data_folder / "quantum_creep_published.csv.gz")
    assert PAPER.published_file.read_text(encoding="utf-8") == made
    assert len(made) < 150_000


def test_repeats_that_are_the_same_file_are_counted_once():
    twice = [s for s in SERIES if s.distinct != s.repeats]
    assert [(s.variant, s.data, s.level, s.distinct) for s in twice] == [("equinox", "FashionMNIST", 2, 3)]
    assert "3 is identical to 0" in twice[0].duplicates


def test_the_final_figures_are_those_of_the_papers_sheet():
    final = {(s.variant, s.data, s.level): round(s.curves["test_accuracy"][-1], 4) for s in SERIES if s.data == "MNIST"}
    assert final == {("torch", "MNIST", 0): 0.9230, ("torch", "MNIST", 1): 0.9234, ("torch", "MNIST", 2): 0.9692,
                     ("equinox", "MNIST", 0): 0.9207, ("equinox", "MNIST", 1): 0.9225,
                     ("equinox", "MNIST", 2): 0.9454}  # fmt: skip


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_for_balanced_classes_the_bound_has_a_closed_form(classes: int):
    assert lowest_cross_entropy([7.0] * classes) == pytest.approx(math.log(math.e + classes - 1) - 1, abs=1e-10)


def test_no_probabilities_and_no_bias_do_better_than_the_bound():
    generator = np.random.default_rng(0)
    for _ in range(300):
        n = int(generator.integers(2, 8))
        f = generator.dirichlet(np.full(n, 2.0)) + 1e-3
        f = f / f.sum()
        # one probability vector a class, often near the best corner; the rest of the norm on outcomes nobody reads
        p = generator.dirichlet(np.full(n + 1, 0.3), size=n)[:, :n]
        p = np.where(generator.random() < 0.5, np.eye(n) * generator.uniform(0.8, 1), p)
        logits = p + np.log(f) * generator.uniform(0, 2) + generator.normal(0, 0.3, n)
        loss = float(f @ (np.log(np.exp(logits).sum(1)) - np.diag(logits)))
        assert loss >= lowest_cross_entropy(f) - 1e-12


def test_the_bound_is_the_least_over_the_bias_found_by_another_method():
    from scipy.optimize import minimize

    f = np.array([0.5, 0.2, 0.3])

    def loss(b: np.ndarray) -> float:
        logits = np.eye(3) + b
        return float(f @ (np.log(np.exp(logits).sum(1)) - np.diag(logits)))

    assert lowest_cross_entropy(f) == pytest.approx(
        minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13}).fun, abs=1e-9
    )


@pytest.mark.parametrize("wrong", [[1.0], [1.0, 0.0], [1.0, math.nan], [[1.0, 2.0]]])
def test_frequencies_that_are_none_are_refused(wrong):
    with pytest.raises(ConfigError, match="two or more positive numbers"):
        lowest_cross_entropy(wrong)


def test_the_class_counts_are_those_of_the_training_data(data_folder: Path):
    for name in ("mnist", "fashion-mnist"):  # CIFAR-10 has 5,000 of each by its makers' word, and takes long to decode
        assert tuple(load_source(name).train.targets.bincount().tolist()) == TRAIN_COUNTS[name]


@pytest.mark.parametrize("data", list(TRAIN_COUNTS))
def test_the_published_torch_losses_are_below_what_a_circuit_can_reach_and_the_equinox_ones_are_not(data: str):
    bound = lowest_cross_entropy(TRAIN_COUNTS[data])
    foreseen = mean_of_batches(TRAIN_COUNTS[data], 200, 50, np.random.default_rng(0))
    assert bound - 0.03 < foreseen < bound
    assert f"{foreseen:.2f}" == "1.44"  # as the page says
    losses = {
        s.variant: np.array(s.curves["train_loss"]) for s in SERIES if s.level == 2 and s.data == PAPER.data[data]
    }
    assert losses["torch"][-1] < foreseen
    assert losses["equinox"].min() > bound
