"""Answers of every design to draw charts of: scores drawn from a stated distribution, judged by the real engine."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from dopant.designs import Factorial, Mixing, Placement, Race
from dopant.study import verdicts
from dopant.study.pairs import Scores
from dopant.study.shapley import of_factorial

RESPLIT = 0.25


def of_design(design, gains, controls=False, replicates=5, rename=None, resplit=None):
    """gains: what each cell scores above 0.8 on average, in the order of the cells. rename: {cell: another name}."""
    cells, generator = design.cells(controls), np.random.default_rng(1)
    common = generator.normal(0, 0.01, replicates)
    trials, costs = [], []
    for number, cell in enumerate(cells):
        for replicate in range(replicates):
            value = 0.8 + gains[number % len(gains)] + common[replicate] + generator.normal(0, 0.004)
            quantum = number % 2 == 1
            trials.append({"trial": f"{len(trials):016x}", "cell": cell.name, "level": cell.level, "status": "done",
                           "replicate": replicate, "attempts": 1, "test_accuracy": value,
                           "cost_tier": "exact expectation" if quantum else None})  # fmt: skip
        costs.append({"cell": cell.name, "trainable": 100 * 3**number, "seconds_per_step": 0.001 + 0.0002 * number,
                      "circuit_evaluations": 40.0 * number if number % 2 else np.nan})  # fmt: skip
    trials, contrasts = pd.DataFrame(trials), design.contrasts(controls)
    table = pd.DataFrame({"arm": trials["cell"], "replicate": trials["replicate"], "status": trials["status"],
                          "value": trials["test_accuracy"]})  # fmt: skip
    effects = verdicts.effects(table, contrasts, metric="test_accuracy", margin=0.01)
    return SimpleNamespace(
        name="drawn", question="", trials=trials, metrics=pd.DataFrame(), effects=effects, costs=pd.DataFrame(costs),
        cells=cells, contrasts=contrasts, config=SimpleNamespace(design=design, tuning=None, tunes_itself=None),
        verdicts=verdicts.sentences(effects), notes=[],
        counts={"planned": len(trials), "done": len(trials), "failed": 0},
        shapley=of_factorial(design, Scores.read(table, True, None)), study={}, provenance={},
        resplit=lambda: resplit, metric=("accuracy", "test_accuracy", True),
    )  # fmt: skip


FACTORS = {"conv1": ["flipped-quanv"], "conv2": ["flipped-quanv", "depthwise-conv"], "head": ["reupload-linear"]}
GAINS = (0.0, 0.02, -0.03, 0.05, 0.01, -0.01, 0.04, 0.03, 0.06, -0.02, 0.07, 0.015)


def factorial(**settings):
    """Two, three and two levels."""
    return of_design(Factorial("creep-cnn", FACTORS), GAINS, **settings)


def fraction():
    """Four of eight combinations."""
    two = {"conv1": ["flipped-quanv"], "conv2": ["flipped-quanv"], "head": ["reupload-linear"]}
    return of_design(Factorial("creep-cnn", two, resolution="III"), GAINS)


def mixing():
    """Three shares, the self-mixing control at each, another control at the largest."""
    design = Mixing("creep-cnn", "head", "reupload-linear", (0.25, 0.5, 1.0))
    return of_design(design, (0.0, 0.01, 0.0, -0.02, 0.005, -0.05, -0.01, 0.002), ["bottleneck-mlp"])


def race():
    """Three entries, with a control each."""
    entries = ["low-rank", "reupload-linear", "bottleneck-mlp"]
    return of_design(Race("creep-cnn", "head", entries), (0.0, -0.03, 0.01, 0.02, -0.01, 0.005), ["random-features"])


def placement():
    """One component in two slots, with a third that it does not fit."""
    design = Placement("creep-cnn", "depthwise-conv", ["conv1", "conv2"], {"head": "slot 'head': it does not fit"})
    return of_design(design, (0.0, -0.02, 0.01))
