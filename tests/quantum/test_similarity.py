"""Quantum kernels against closed forms and reduced density matrices, and inside scikit-learn."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import random_circuits
from dopant.errors import ConfigError
from dopant.quantum import Circuit, QuantumKernel, feature, weight
from dopant.quantum.templates import angle_encoding, zz_feature_map

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(9, 3)), RNG.normal(size=(4, 3))


@pytest.mark.parametrize("n", [1, 3])
def test_the_kernel_of_an_angle_encoding_is_a_product_of_squared_cosines(n):
    kernel = QuantumKernel(angle_encoding(n))
    gap = X[:, None, :n] - Y[None, :, :n]
    assert np.allclose(kernel(X, Y), (np.cos(gap / 2) ** 2).prod(-1), rtol=0, atol=1e-14)


def test_the_projected_kernel_of_an_angle_encoding_is_its_closed_form():
    gap = X[:, None] - Y[None]
    # |rho - rho'|_F^2 of two real states at angle gap: (1 - cos gap)
    expected = np.exp(-0.3 * (1 - np.cos(gap)).sum(-1))
    found = QuantumKernel(angle_encoding(3), kind="projected", gamma=0.3)(X, Y)
    assert np.allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("seed", range(4))
def test_kernels_are_those_of_the_states_and_reduced_density_matrices(seed):
    circuit = random_circuits.circuit(random.Random(seed), 3, 20)
    x, w = torch.as_tensor(X[:5]), RNG.normal(size=circuit.weights)
    psi = random_circuits.states(circuit, x, torch.as_tensor(w))
    found = QuantumKernel(circuit, weights=w)(X[:5])
    assert np.allclose(found, abs(psi.conj() @ psi.T) ** 2, rtol=0, atol=1e-12)
    cube, reduced = psi.reshape(5, 2, 2, 2), []
    for q in range(3):
        rows = np.moveaxis(cube, q + 1, 1).reshape(5, 2, 4)
        reduced.append(rows @ rows.conj().transpose(0, 2, 1))
    rho = np.stack(reduced, 1)  # (samples, qubits, 2, 2)
    distance = (abs(rho[:, None] - rho[None]) ** 2).sum((-1, -2, -3))
    found = QuantumKernel(circuit, kind="projected", gamma=0.8, weights=w)(X[:5])
    assert np.allclose(found, np.exp(-0.8 * distance), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["fidelity", "projected"])
def test_a_kernel_is_symmetric_positive_and_one_on_the_diagonal(kind):
    found = QuantumKernel(zz_feature_map(3), kind=kind)(X)
    assert np.allclose(found, found.T, rtol=0, atol=1e-14) and np.allclose(np.diag(found), 1, rtol=0, atol=1e-12)
    assert np.linalg.eigvalsh(found).min() > -1e-12 and found.min() >= 0


@pytest.mark.parametrize("kind", ["fidelity", "projected"])
def test_blocks_give_the_whole_and_cross_kernels_the_same_entries(kind):
    circuit = zz_feature_map(3)
    whole = QuantumKernel(circuit, kind=kind)(X)
    for block in (1, 2, 4, 9, 100):
        part = QuantumKernel(circuit, kind=kind, block=block)
        assert np.allclose(part(X), whole, rtol=0, atol=1e-13)
        assert np.allclose(part(X, X[2:7]), whole[:, 2:7], rtol=0, atol=1e-13)
    assert QuantumKernel(circuit)(X[:0], Y).shape == (0, 4)


def test_precision_follows_the_inputs():
    kernel = QuantumKernel(zz_feature_map(3))
    single = kernel(X.astype(np.float32))
    assert single.dtype == np.float32 and kernel(X).dtype == np.float64
    assert np.allclose(single, kernel(X.astype(np.float32).astype(np.float64)), rtol=0, atol=1e-5)
    assert kernel(np.arange(6).reshape(2, 3)).dtype == np.float64


def test_a_support_vector_machine_takes_it_clones_it_and_searches_over_it():
    x = RNG.normal(size=(40, 2))
    y = (np.cos(x[:, 0] - x[:, 1]) > 0.4).astype(int)
    kernel = QuantumKernel(zz_feature_map(2), kind="projected", gamma=2.0)
    machine = SVC(kernel=kernel, C=10).fit(x, y)
    by_hand = SVC(kernel="precomputed", C=10).fit(kernel(x), y)
    assert (machine.predict(x) == by_hand.predict(kernel(x))).all() and machine.score(x, y) > 0.8
    again = clone(machine)
    assert again.kernel is not kernel and again.kernel.get_params() == kernel.get_params()
    assert (again.fit(x, y).predict(x) == machine.predict(x)).all()
    search = GridSearchCV(SVC(kernel=kernel), {"kernel__gamma": [0.5, 3.0]}, cv=2).fit(x, y)
    assert search.best_params_["kernel__gamma"] in (0.5, 3.0) and kernel.gamma == 2.0
    assert np.allclose(kernel.set_params(gamma=0.5)(x), kernel(x)) and kernel.gamma == 0.5


one = Circuit(1).ry(0, feature(0))
BAD = {
    "kind": (lambda: QuantumKernel(one, kind="swap"), "kind='swap'.*'projected'"),
    "gamma": (lambda: QuantumKernel(one, gamma=0), "gamma=0.*above 0"),
    "gamma is NaN": (lambda: QuantumKernel(one, gamma=float("nan")), "gamma=nan"),
    "block": (lambda: QuantumKernel(one, block=0), "block=0"),
    "half a block": (lambda: QuantumKernel(one, block=1.5), "block=1.5"),
    "weights missing": (lambda: QuantumKernel(one.ry(0, weight())), r"w\[0\] is missing"),
    "weights too many": (lambda: QuantumKernel(one, weights=[1.0]), r"expected \(0,\)"),
    "no circuit": (lambda: QuantumKernel("rbf"), "Circuit"),
    "columns": (lambda: QuantumKernel(zz_feature_map(3))(X[:, :2]), r"\(9, 2\).*3 columns.*x\[2\]"),
    "columns of Y": (lambda: QuantumKernel(zz_feature_map(3))(X, Y[:, :2]), r"\(4, 2\).*3 columns"),
    "one axis": (lambda: QuantumKernel(one)(X[0]), r"X has shape \(3,\).*\(samples, features\)"),
    "NaN": (lambda: QuantumKernel(one)(X, Y * np.nan), "Y has entries that are NaN"),
    "complex": (lambda: QuantumKernel(one)(X * 1j), "complex128; angles are real"),
    "text": (lambda: QuantumKernel(one)([["a"]]), "angles are real"),
    "unknown parameter": (lambda: QuantumKernel(one).set_params(sigma=1), "'sigma'; known: circuit, kind"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_refused(name):
    make, words = BAD[name]
    with pytest.raises(ConfigError, match=words):
        make()
