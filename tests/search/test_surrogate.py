from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from dopant.designs import Factorial
from dopant.search.space import Space
from dopant.search.surrogate import adjusted_means, fit


def space(*sizes) -> Space:
    keys = ("lr", "clip", "weight_decay", "batch")
    return Space(
        Factorial("mlp", {f"recipe.{k}": [1 + i for i in range(n)] for k, n in zip(keys, sizes, strict=False)}), {}
    )


def test_with_every_cell_it_is_ordinary_least_squares_of_statsmodels():
    one = space(3, 2, 2)
    codes = [tuple(c) for c in one.codes().tolist()]
    scores = np.random.default_rng(0).normal(size=len(codes))
    found = fit(one, codes, scores)
    table = pd.DataFrame(codes, columns=["a", "b", "c"]).assign(y=scores)
    oracle = smf.ols("y ~ (C(a) + C(b) + C(c)) ** 2", table).fit()
    assert np.allclose(found.predict(codes), oracle.fittedvalues)
    assert found.free == oracle.df_resid and found.residual == pytest.approx(np.sqrt(oracle.mse_resid))
    for column, value in zip(found.columns, found.coefficients[1:], strict=True):
        name = ":".join(f"C({'abc'[f]})[T.{level}]" for f, level in column)
        assert value == pytest.approx(oracle.params[name])
    assert not found.assumed and not found.unknown


def test_interactions_that_cells_do_not_tell_count_as_none_and_the_rest_is_least_squares():
    one = space(2, 2, 2)
    # a with b whole at c = 0, and one cell with c: a x b can be told, what c does with a or b cannot
    codes = [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0), (0, 0, 1)]
    scores = np.random.default_rng(1).normal(size=5)
    found = fit(one, codes, scores)
    assert found.columns == (((0, 1),), ((1, 1),), ((2, 1),), ((0, 1), (1, 1)))
    assert found.assumed == (((0, 1), (2, 1)), ((1, 1), (2, 1)))
    table = pd.DataFrame(codes, columns=["a", "b", "c"]).assign(y=scores)
    oracle = smf.ols("y ~ a * b + c", table).fit()
    whole = pd.DataFrame(itertools.product((0, 1), repeat=3), columns=["a", "b", "c"])
    assert np.allclose(found.predict(whole.to_numpy()), oracle.predict(whole))
    assert found.predict([(1, 1, 1)])[0] == pytest.approx(scores[3] + scores[4] - scores[0])


def test_in_a_half_fraction_of_resolution_three_main_effects_have_precedence():
    one = space(2, 2, 2)
    codes = [c for c in itertools.product((0, 1), repeat=3) if (c[0] + c[1] + c[2]) % 2 == 0]
    scores = np.array([1.0, 2.0, 4.0, 8.0])
    found = fit(one, codes, scores)
    assert len(found.estimable) == 3 and len(found.assumed) == 3 and found.free == 0
    assert np.allclose(found.predict(codes), scores)


def test_of_interactions_that_are_one_another_s_alias_none_is_told():
    one = space(2, 2, 2, 2)
    codes = [
        c for c in itertools.product((0, 1), repeat=4) if sum(c) % 2 == 0
    ]  # resolution IV: ab = cd, ac = bd, ad = bc
    found = fit(one, codes, np.arange(8.0))
    assert len(found.estimable) == 4 and len(found.assumed) == 6


def test_one_at_a_time_adds_up_and_swaps_always_together_cannot_be_predicted_apart():
    one = space(3, 2)
    codes = [(0, 0), (1, 0), (2, 0), (0, 1)]
    found = fit(one, codes, np.array([1.0, 2.0, 4.0, 10.0]))
    assert np.allclose(found.predict([(1, 1), (2, 1)]), [11.0, 13.0]) and not found.unknown
    together = fit(space(2, 2, 2), [(0, 0, 0), (1, 1, 0), (1, 1, 1)], np.array([1.0, 2.0, 5.0]))
    assert together.unknown == [(0, 1), (1, 1)] and np.allclose(together.fitted, [1, 2, 5])
    assert np.isnan(together.predict([(1, 0, 0), (1, 1, 0)])).all()
    assert together.predict([(0, 0, 1)])[0] == pytest.approx(4.0)


def test_means_are_adjusted_for_replicates_as_statsmodels_does():
    rng = np.random.default_rng(2)
    rows = [(c, r, rng.normal()) for c in range(4) for r in range(3) if (c, r) not in {(1, 2), (3, 0)}]
    cells, replicates, scores = zip(*rows, strict=True)
    table = pd.DataFrame(rows, columns=["cell", "replicate", "y"])
    oracle = smf.ols("y ~ C(cell) + C(replicate)", table).fit()
    even = pd.DataFrame(itertools.product(range(4), range(3)), columns=["cell", "replicate"])
    theirs = oracle.predict(even).groupby(even["cell"]).mean()
    assert np.allclose(adjusted_means(cells, replicates, scores), theirs)
    full = [(c, r, rng.normal()) for c in range(4) for r in range(3)]
    plain = pd.DataFrame(full).groupby(0)[2].mean()
    assert np.allclose(adjusted_means(*zip(*full, strict=True)), plain)
