"""The ad hoc data against dense matrices, circuits and Qiskit; data that replicates draw anew."""

from __future__ import annotations

import importlib.util
import itertools

import numpy as np
import pytest
import scipy.linalg
import torch

import dopant as dp
from absence import absent
from dopant.datasets import ad_hoc
from dopant.datasets.source import load_source
from dopant.errors import ConfigError
from dopant.quantum import QuantumKernel
from dopant.quantum.templates import zz_feature_map
from dopant.streams import Streams

Z, H, ONE = np.diag([1.0, -1.0]), np.array([[1, 1], [1, -1]]) / np.sqrt(2), np.eye(2)


def kron(*factors):
    found = np.ones((1, 1))
    for factor in factors:
        found = np.kron(found, factor)
    return found


def dense_state(x):
    """U(x) H U(x) H |0…0> by matrix exponentials of Pauli strings."""
    n = len(x)
    generator = sum(x[a] * kron(*(Z if q == a else ONE for q in range(n))) for a in range(n))
    for a, b in itertools.combinations(range(n), 2):
        generator = generator + (np.pi - x[a]) * (np.pi - x[b]) * kron(*(Z if q in (a, b) else ONE for q in range(n)))
    layer = scipy.linalg.expm(1j * generator) @ kron(*[H] * n)
    return (layer @ layer)[:, 0]


@pytest.mark.parametrize("qubits", [2, 3])
def test_states_and_values_are_those_of_dense_matrices(qubits):
    numbers = np.random.default_rng(1)
    x = numbers.uniform(0, 2 * np.pi, (5, qubits))
    dense = np.stack([dense_state(row) for row in x])
    np.testing.assert_allclose(ad_hoc.states(x), dense, atol=1e-12)
    unitary = ad_hoc.random_unitary(2**qubits, numbers)
    parity = kron(*[Z] * qubits)
    wanted = [(unitary @ s).conj() @ parity @ (unitary @ s) for s in dense]
    np.testing.assert_allclose(ad_hoc.values(x, ad_hoc.observable(unitary)), np.real(wanted), atol=1e-12)


def test_states_give_the_kernel_of_the_zz_feature_map():
    x = np.random.default_rng(2).uniform(0, 2 * np.pi, (6, 3))
    states = ad_hoc.states(x)
    np.testing.assert_allclose(QuantumKernel(zz_feature_map(3))(x), np.abs(states @ states.conj().T) ** 2, atol=1e-12)


def test_states_give_the_kernel_of_qiskits_feature_map():
    if importlib.util.find_spec("qiskit") is None:
        absent("qiskit")
    from qiskit.circuit.library import zz_feature_map as qiskit_map
    from qiskit.quantum_info import Statevector

    x = np.random.default_rng(3).uniform(0, 2 * np.pi, (4, 2))
    circuit = qiskit_map(2, reps=2)
    theirs = np.stack([Statevector(circuit.assign_parameters(row)).data for row in x])
    ours = ad_hoc.states(x)
    np.testing.assert_allclose(np.abs(ours @ ours.conj().T) ** 2, np.abs(theirs @ theirs.conj().T) ** 2, atol=1e-12)


def test_unitaries_are_uniform():
    numbers = np.random.default_rng(4)
    drawn = np.stack([ad_hoc.random_unitary(4, numbers) for _ in range(4000)])
    np.testing.assert_allclose(drawn[0] @ drawn[0].conj().T, np.eye(4), atol=1e-12)
    trace = np.trace(drawn, axis1=1, axis2=2)
    # of the uniform measure E |tr U|^2 = 1, E |tr U|^4 = 2; QR without its correction of phases gives other numbers
    assert abs((np.abs(trace) ** 2).mean() - 1) < 0.08 and abs((np.abs(trace) ** 4).mean() - 2) < 0.4


def separable(*splits):
    """Whether one hyperplane of density matrices has every point on its label's side."""
    from sklearn.svm import SVC

    x = np.concatenate([split.inputs.double().numpy() for split in splits])
    y = np.concatenate([split.targets.numpy() for split in splits])
    return SVC(kernel=QuantumKernel(zz_feature_map(2)), C=1e5).fit(x, y).score(x, y) == 1.0


def test_labels_are_a_linear_function_of_the_states_with_the_gap():
    data = dp.dataset("ad-hoc", train_size=100, seed=5)
    assert separable(data.train, data.validation, data.test)
    matrix = ad_hoc._labelling(Streams(5, 0), 0.3, 2)
    values = ad_hoc.values(data.train.inputs.double().numpy(), matrix)
    assert np.array_equal(values > 0, data.train.targets.numpy() == 1)
    assert np.abs(values).min() > 0.3 - 1e-5


def test_each_replicate_draws_points_and_unitary_of_its_own_unless_told():
    free = [dp.dataset("ad-hoc", replicate=r, train_size=60) for r in (0, 1)]
    assert not torch.equal(free[0].train.inputs, free[1].train.inputs)
    assert not separable(free[0].train, free[1].train)
    fixed = [dp.dataset("ad-hoc", replicate=r, train_size=60, unitary=3, seed=s) for r, s in ((0, 0), (1, 0), (0, 1))]
    assert not torch.equal(fixed[0].train.inputs, fixed[1].train.inputs)
    assert separable(*(data.train for data in fixed))
    again = dp.dataset("ad-hoc", replicate=1, train_size=60)
    assert torch.equal(again.test.inputs, free[1].test.inputs) and again.fingerprint() == free[1].fingerprint()


@pytest.mark.parametrize("name", ["ad-hoc", "two-moons"])
def test_sizes_are_of_each_label_and_splits_are_the_replicates_own(name):
    data = dp.dataset(name, train_size=7, validation_size=5, test_size=3)
    for split, size in ((data.train, 7), (data.validation, 5), (data.test, 3)):
        assert split.targets.bincount().tolist() == [size, size] and split.inputs.shape == (2 * size, 2)
    assert data.split_facts() == {"resplit": False, "fresh_items": True}
    assert not set(map(tuple, data.train.inputs.tolist())) & set(map(tuple, data.test.inputs.tolist()))


def test_three_qubits():
    data = dp.dataset("ad-hoc", qubits=3)
    assert data.train.inputs.shape == (40, 3) and float(data.train.inputs.min()) > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gap": 1.0}, "gap is 1.0; expected a number from 0 up to"), ({"qubits": 4}, "qubits is 4; expected 2 or 3"),
        ({"train_size": 0}, "train_size is 0"), ({"unitary": -1}, "unitary is -1"), ({"limit": 5}, "has no limit"),
        ({"gap": 0.999}, "take a smaller one"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        load_source("ad-hoc", **options).draw(Streams())


def test_there_is_no_published_split():
    with pytest.raises(ConfigError, match="every replicate draws its own items"):
        dp.dataset("two-moons", protocol="published")
