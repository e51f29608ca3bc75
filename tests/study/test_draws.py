"""Draws are a function of seed, number and recorded results: a sampler made anew repeats none and changes none."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dopant.study.draws import BATCH, STARTUP, draw
from dopant.study.search import Dimension

LR = Dimension("lr", (), 1e-4, 1e-1, True)
DECAY = Dimension("weight_decay", (0.0, 1e-4, 1e-2))
REPS = Dimension("head:reps", (), 1, 6)
SPACE = (LR, DECAY, REPS)
SAMPLERS = ("random", "qmc", "tpe")


def drawn(sampler, count, space=SPACE, seed=0, arm="a"):
    """As the planner asks: each draw by itself, later ones of tpe on a score that likes lr near 0.01."""
    found = []
    for number in range(count):
        first = number - (number - STARTUP) % BATCH
        told = [(p, None if n >= first else -abs(math.log(p["lr"] / 1e-2))) for n, p in enumerate(found)]
        found.append(draw(space, sampler, seed, arm, number, told if sampler == "tpe" and number >= STARTUP else ()))
    return found


def test_the_same_question_gives_the_same_draws_in_another_process_and_no_two_are_equal():
    here = [drawn(sampler, 16) for sampler in SAMPLERS]
    code = "import json; from test_draws import *; print(json.dumps([drawn(s, 16) for s in SAMPLERS]))"
    folder = Path(__file__).parent
    there = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert json.loads(there.stdout) == here
    # a sampler made anew with one seed would give one value 16 times
    assert all(len({p["lr"] for p in found}) == 16 for found in here)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_more_draws_leave_the_earlier_ones_and_another_seed_gives_others(sampler):
    assert drawn(sampler, 12)[:5] == drawn(sampler, 5)
    assert drawn(sampler, 5, seed=1) != drawn(sampler, 5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_all_arms_share_is_drawn_alike_whatever_else_an_arm_has(sampler):
    one, two = drawn(sampler, STARTUP), drawn(sampler, STARTUP, space=(LR, DECAY), arm="b")
    assert [(p["lr"], p["weight_decay"]) for p in one] == [(p["lr"], p["weight_decay"]) for p in two]


def test_random_draws_fill_the_range_evenly_on_their_scale():
    found = drawn("random", 300)
    u = [math.log(p["lr"] / 1e-4) / math.log(1e3) for p in found]
    assert stats.kstest(u, "uniform").pvalue > 0.01
    assert {p["head:reps"] for p in found} == set(range(1, 7)) and all(type(p["head:reps"]) is int for p in found)
    counts = [sum(p["weight_decay"] == value for p in found) for value in DECAY.choices]
    assert stats.chisquare(counts).pvalue > 0.01
    assert all(float(f"{p['lr']:.6g}") == p["lr"] for p in found)


def test_quasi_random_draws_lie_more_evenly_than_random_ones():
    def discrepancy(sampler):
        points = [[math.log(p["lr"] / 1e-4) / math.log(1e3)] for p in drawn(sampler, 33, space=(LR,))[1:]]
        return stats.qmc.discrepancy(np.array(points))

    assert discrepancy("qmc") < discrepancy("random") / 4


def test_adaptive_draws_go_where_earlier_ones_scored_well_and_failed_ones_do_not_stop_them():
    found = drawn("tpe", 30, space=(LR,))
    early, late = ([abs(math.log(p["lr"] / 1e-2)) for p in part] for part in (found[:STARTUP], found[STARTUP:]))
    assert np.mean(late) < np.mean(early)
    failed = [(p, -math.inf) for p in found[:STARTUP]]
    assert 1e-4 <= draw((LR,), "tpe", 0, "a", STARTUP, failed)["lr"] <= 1e-1
