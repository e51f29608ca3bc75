"""The geometric difference and the model complexity against closed forms and the formulas as written."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg

from dopant.errors import ConfigError
from dopant.evaluation.geometric_difference import geometric_difference, model_complexity, training_gap


def matrix(seed, n=6):
    a = np.random.default_rng(seed).normal(size=(n, n))
    k = a @ a.T + 0.1 * np.eye(n)
    return k * n / np.trace(k)


def test_a_kernel_has_no_difference_from_itself():
    assert geometric_difference(matrix(0), matrix(0)) == pytest.approx(1.0, abs=1e-9)
    assert geometric_difference(matrix(0), 7 * matrix(0)) == pytest.approx(1.0, abs=1e-9)  # its scale is no matter


def test_beside_the_identity_it_is_the_root_of_the_largest_eigenvalue():
    q = matrix(1)
    assert geometric_difference(np.eye(6), q) == pytest.approx(math.sqrt(np.linalg.eigvalsh(q)[-1]))
    assert geometric_difference(np.eye(6), np.ones((6, 6))) == pytest.approx(math.sqrt(6))  # the most there is


def test_of_diagonal_matrices_it_is_the_largest_ratio():
    c, q = np.array([2.0, 1.0, 0.5, 0.5]), np.array([0.5, 0.5, 1.5, 1.5])
    assert geometric_difference(np.diag(c), np.diag(q)) == pytest.approx(math.sqrt(3))
    l = 0.1  # noqa: E741
    assert geometric_difference(np.diag(c), np.diag(q), regularisation=l) == pytest.approx(
        math.sqrt((q * c / (c + l) ** 2).max())
    )
    assert training_gap(np.diag(c), np.diag(q), regularisation=l) == pytest.approx(
        l * math.sqrt((q / (c + l) ** 2).max())
    )
    assert model_complexity(np.diag(c), [1, -1, 1, -1]) == pytest.approx((1 / c).sum())


def test_with_regularisation_it_is_the_formula_by_matrix_roots():
    c, q, l = matrix(2), matrix(3), 0.05  # noqa: E741
    rc, rq = scipy.linalg.sqrtm(c), scipy.linalg.sqrtm(q)
    inverse = np.linalg.inv(c + l * np.eye(6))
    wanted = math.sqrt(np.linalg.norm(rq @ rc @ inverse @ inverse @ rc @ rq, 2))
    assert geometric_difference(c, q, regularisation=l) == pytest.approx(wanted)
    y = np.array([1, 1, -1, 1, -1, -1.0])
    assert model_complexity(c, y, regularisation=l) == pytest.approx(y @ rc @ inverse @ inverse @ rc @ y)


@pytest.mark.parametrize("seed", range(5))
def test_it_bounds_the_complexities_and_is_reached(seed):
    c, q = matrix(seed), matrix(seed + 10)
    g = geometric_difference(c, q)
    y = np.sign(np.random.default_rng(seed).normal(size=(6, 50)))
    for labels in y.T:
        assert model_complexity(c, labels) <= g**2 * model_complexity(q, labels) * (1 + 1e-9)
    rq = scipy.linalg.sqrtm(q)
    worst = rq @ np.linalg.eigh(rq @ np.linalg.inv(c) @ rq)[1][:, -1]
    assert model_complexity(c, worst) == pytest.approx(g**2 * model_complexity(q, worst))


def test_what_a_singular_kernel_has_not_is_infinite_without_regularisation():
    c = np.diag([2.0, 2.0, 0.0, 0.0])
    assert geometric_difference(c, np.eye(4)) == math.inf == model_complexity(c, np.ones(4))
    assert geometric_difference(c, c) == pytest.approx(1.0) and model_complexity(c, [1, 1, 0, 0]) == pytest.approx(1.0)
    assert geometric_difference(c, np.eye(4), regularisation=0.1) < 1 / math.sqrt(0.1)
    assert training_gap(c, np.eye(4), regularisation=0.1) == pytest.approx(1.0)  # all of it is lost there


def test_several_columns_of_labels_give_their_mean():
    y = np.sign(np.random.default_rng(0).normal(size=(6, 3)))
    each = [model_complexity(matrix(0), column) for column in y.T]
    assert model_complexity(matrix(0), y) == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    ("c", "q", "l", "said"),
    [
        (np.eye(3), np.eye(4), 0.0, "shapes"), (np.ones((2, 3)), np.ones((2, 3)), 0.0, "square"),
        (np.diag([1.0, -1.0, 2.0]), np.eye(3), 0.0, "semi-definite"), (np.eye(3), np.eye(3), -1.0, "regularisation"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), np.eye(2), 0.0, "symmetric"),
        (np.eye(2) * np.nan, np.eye(2), 0.0, "finite"),
    ],
)  # fmt: skip
def test_what_is_no_pair_of_gram_matrices_is_refused(c, q, l, said):  # noqa: E741
    with pytest.raises(ConfigError, match=said):
        geometric_difference(c, q, regularisation=l)
