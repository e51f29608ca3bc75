from __future__ import annotations

import itertools

import numpy as np
import pytest

import dopant as dp
from dopant.designs import Factorial
from dopant.search.costs import Costs
from dopant.search.select import exhaustive, nearest, programmed
from dopant.search.space import Space
from dopant.search.surrogate import Fitted, fit


def space(sizes, forbidden=()) -> Space:
    factors = {
        f"recipe.{key}": [1.0 + i for i in range(n)]
        for key, n in zip(("lr", "clip", "weight_decay"), sizes, strict=True)
    }
    return Space(Factorial("mlp", factors), {}, forbidden)


def instance(seed: int, forbidden=()) -> tuple[Fitted, Costs, dict[str, float]]:
    rng = np.random.default_rng(seed)
    one = space((3, 4, 2), forbidden)
    codes = [tuple(c) for c in one.codes().tolist()]
    fitted = fit(one, codes, rng.normal(size=len(codes)))
    parts = {key: (float(rng.uniform(1, 3)), [rng.uniform(0, 5, n) for n in one.sizes])
             for key in ("parameters", "seconds")}  # fmt: skip
    largest = [rng.integers(0, 6, n).astype(float) for n in one.sizes]
    budgets = {"parameters": float(rng.uniform(6, 14)), "seconds": float(rng.uniform(6, 14)),
               "qubits": float(rng.integers(3, 6))}  # fmt: skip
    return fitted, Costs(one, parts, largest), budgets


def brute_force(fitted: Fitted, costs: Costs, budgets) -> dict:
    """By the definitions, one combination after the other."""
    found = {}
    for code in itertools.product(*map(range, fitted.space.sizes)):
        if any(code[f] == x and code[g] == y for (f, x), (g, y) in fitted.space.forbidden):
            continue
        score = fitted.coefficients[0]
        for column, value in zip(fitted.columns, fitted.coefficients[1:], strict=True):
            score += value * all(code[f] == level for f, level in column)
        own = {key: base + sum(part[i] for part, i in zip(parts, code, strict=True))
               for key, (base, parts) in costs.additive.items()}  # fmt: skip
        own["qubits"] = max(part[i] for part, i in zip(costs.largest, code, strict=True))
        found[code] = (score, max(own[k] / budgets[k] for k in budgets))
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("higher", [True, False])
def test_the_program_and_the_exhaustive_search_order_as_brute_force_does(seed, higher):
    fitted, costs, budgets = instance(seed, (((0, 1), (1, 2)),) if seed % 2 else ())
    known = brute_force(fitted, costs, budgets)
    kept = {code: score for code, (score, excess) in known.items() if excess <= 1}
    order = sorted(kept, key=lambda code: -kept[code] if higher else kept[code])
    for search in (exhaustive, programmed):
        found = list(search(fitted, costs, budgets, higher))
        assert [code for code, _ in found] == order
        assert np.allclose([score for _, score in found], [kept[code] for code in order])


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_combination_exceeds_its_budgets_least(seed, monkeypatch):
    fitted, costs, budgets = instance(seed)
    tight = {key: value / 10 for key, value in budgets.items()}
    known = brute_force(fitted, costs, tight)
    least = min(excess for _, excess in known.values())
    for limit in (100_000, 0):
        monkeypatch.setattr("dopant.search.select.EXHAUSTIVE", limit)
        code, excess = nearest(fitted, costs, tight)
        assert excess == pytest.approx(least) and known[code][1] == pytest.approx(least)


def test_exact_costs_stand_in_for_the_added_ones():
    fitted, costs, budgets = instance(0)
    first = next(exhaustive(fitted, costs, budgets, True))[0]
    costs.exact[first] = {"parameters": 1e9}
    for search in (exhaustive, programmed):
        assert first not in [code for code, _ in search(fitted, costs, budgets, True)]


def test_a_level_that_was_never_trained_is_never_chosen():
    one = space((3, 2, 2))
    codes = [tuple(c) for c in one.codes().tolist() if c[0] < 2]
    fitted = fit(one, codes, np.arange(len(codes), dtype=float))
    costs = Costs(one, {k: (0.0, [np.zeros(n) for n in one.sizes]) for k in ("parameters", "seconds")},
                  [np.zeros(n) for n in one.sizes])  # fmt: skip
    assert fitted.unknown == [(0, 2)]
    for search in (exhaustive, programmed):
        assert {code for code, _ in search(fitted, costs, {}, True)} == set(codes)


def test_a_space_too_large_to_be_looked_at_whole_is_solved():
    factors = {f"slot{i}": ["linear", "identity", "relu", "gelu"] for i in range(8)}
    one = Space(dp.Factorial("mlp", factors), {})
    assert one.total == 5**8
    codes = [(0,) * 8] + [tuple(level if g == f else 0 for g in range(8)) for f in range(8) for level in range(1, 5)]
    rng = np.random.default_rng(0)
    fitted = fit(one, codes, rng.normal(size=len(codes)))
    parts = [np.array([0.0, 1, 2, 3, 4]) for _ in range(8)]
    costs = Costs(one, dict.fromkeys(("parameters", "seconds"), (0.0, parts)), [np.zeros(5)] * 8)
    found = list(itertools.islice(programmed(fitted, costs, {"parameters": 6}, True), 3))
    # without interactions the best under one budget is a knapsack, solved here by dynamic programming
    gain = {0: fitted.coefficients[0]}
    mains = dict(zip((c[0] for c in fitted.columns if len(c) == 1), fitted.coefficients[1:], strict=True))
    for f in range(8):
        more: dict[int, float] = {}
        for used, score in gain.items():
            for level in range(5):
                if used + level <= 6:
                    more[used + level] = max(more.get(used + level, -np.inf), score + mains.get((f, level), 0.0))
        gain = more
    assert found[0][1] == pytest.approx(max(gain.values()))
    assert len({code for code, _ in found}) == 3 and found[0][1] >= found[1][1] >= found[2][1]
