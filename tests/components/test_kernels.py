"""Kernels against other libraries, closed forms and dense states; what the slot `kernel` takes and refuses."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise

import dopant as dp
from absence import absent
from dopant.components.kernels.classical import FACTORS
from dopant.components.kernels.kernel import Kernel, gram, settings, use
from dopant.errors import ConfigError, SlotMismatch
from dopant.quantum import QuantumKernel
from dopant.quantum.templates import iqp_feature_map, zz_feature_map

X = torch.from_numpy(np.random.default_rng(0).uniform(0, 6, (7, 3)))
Y = torch.from_numpy(np.random.default_rng(1).uniform(0, 6, (4, 3)))
SAMPLE = torch.zeros(2, 3)


def kernel_of(name, seed=0, host=None, **options):
    """The kernel in its place, in double precision."""
    machine = dp.host("kernel-machine", in_features=3, classes=2, **(host or {}))
    return dp.swap(machine, {"kernel": {"component": name, **options}}, SAMPLE, seed=seed).double().kernel


@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("rbf-kernel", {"gamma": 0.25}, lambda x, y: pairwise.rbf_kernel(x, y, gamma=0.25)),
        ("laplacian-kernel", {"gamma": 0.25}, lambda x, y: pairwise.laplacian_kernel(x, y, gamma=0.25)),
        ("linear-kernel", {}, pairwise.linear_kernel),
    ],
)
def test_ordinary_kernels_are_scikit_learns(name, options, theirs):
    kernel = kernel_of(name, **options)
    np.testing.assert_allclose(kernel.gram(X), theirs(X, X), rtol=1e-12)
    np.testing.assert_allclose(kernel.gram(X, Y), theirs(X, Y), rtol=1e-12)


def test_the_polynomial_kernel_is_scikit_learns_in_each_of_its_settings():
    kernel = kernel_of("polynomial-kernel")
    offered = kernel.settings(X)
    assert len(offered) == 9
    for setting in offered:
        kernel.use(**setting)
        theirs = pairwise.polynomial_kernel(X, Y, degree=setting["degree"], gamma=setting["gamma"], coef0=1.0)
        np.testing.assert_allclose(kernel.gram(X, Y), theirs, rtol=1e-10)


def test_a_tuned_width_is_tried_around_scikit_learns_own():
    from sklearn.svm import SVC

    gamma = SVC(gamma="scale").fit(X, [0, 1] * 3 + [0])._gamma  # pyright: ignore
    tuned = [setting["gamma"] for setting in kernel_of("rbf-kernel").settings(X)]
    assert tuned == pytest.approx([factor * gamma for factor in FACTORS])
    assert kernel_of("rbf-kernel", gamma="scale").settings(X) == [{"gamma": pytest.approx(gamma)}]
    assert kernel_of("rbf-kernel", gamma=[0.1, 0.2]).settings(X) == [{"gamma": 0.1}, {"gamma": 0.2}]


def test_random_features_tend_to_the_gaussian_kernel_and_are_drawn_by_the_seed():
    wide = kernel_of("fourier-kernel", width=50_000, gamma=0.25)
    np.testing.assert_allclose(wide.gram(X), pairwise.rbf_kernel(X, gamma=0.25), atol=0.03)
    few = [kernel_of("fourier-kernel", width=16, gamma=0.25, seed=seed).gram(X) for seed in (0, 0, 1)]
    assert torch.equal(few[0], few[1]) and not torch.equal(few[0], few[2])
    assert torch.linalg.matrix_rank(kernel_of("fourier-kernel", width=3, gamma=0.25).gram(X)) == 3


def test_zz_and_iqp_kernels_are_those_of_their_feature_maps():
    np.testing.assert_allclose(kernel_of("zz-kernel").gram(X, Y), QuantumKernel(zz_feature_map(3))(X, Y), atol=1e-12)
    half = QuantumKernel(iqp_feature_map(3))(0.5 * X, 0.5 * Y)
    np.testing.assert_allclose(kernel_of("iqp-kernel", bandwidth=0.5).gram(X, Y), half, atol=1e-12)


def test_the_zz_kernel_is_qiskits():
    if importlib.util.find_spec("qiskit") is None:
        absent("qiskit")
    from qiskit.circuit.library import zz_feature_map as qiskit_map
    from qiskit.quantum_info import Statevector

    for options in ({"reps": 2, "entanglement": "full"}, {"reps": 1, "entanglement": "linear"}):
        circuit = qiskit_map(3, **options)
        states = np.stack([Statevector(circuit.assign_parameters(row.numpy())).data for row in X])
        np.testing.assert_allclose(kernel_of("zz-kernel", **options).gram(X), np.abs(states @ states.conj().T) ** 2,
                                   atol=1e-12)  # fmt: skip


@pytest.mark.parametrize("axis", ["x", "y"])
def test_the_angle_kernel_is_a_product_of_cosines(axis):
    kernel = kernel_of("angle-kernel", axis=axis, bandwidth=0.7)
    kernel.use(strength=0.7)  # not as single precision kept it
    wanted = (0.7 * (X[:, None] - Y[None]) / 2).cos().square().prod(-1)
    np.testing.assert_allclose(kernel.gram(X, Y), wanted, atol=1e-12)


@pytest.mark.parametrize("encoding", ["zz", "iqp"])
def test_the_projected_kernel_is_that_of_the_reduced_density_matrices(encoding):
    made = {"zz": zz_feature_map(3, 1), "iqp": iqp_feature_map(3, 1)}[encoding]
    states = made.state(X, []).numpy().reshape(7, 2, 2, 2)
    reduced = [np.einsum(pattern, states, states.conj()) for pattern in ("zabc,zdbc->zad", "zabc,zadc->zbd",
                                                                         "zabc,zabd->zcd")]  # fmt: skip
    apart = sum((np.abs(r[:, None] - r[None]) ** 2).sum((-1, -2)) for r in reduced)
    kernel = kernel_of("projected-quantum-kernel", encoding=encoding, reps=1, gamma=0.8)
    np.testing.assert_allclose(kernel.gram(X), np.exp(-0.8 * apart), atol=1e-12)
    np.testing.assert_allclose(kernel.gram(X), QuantumKernel(made, kind="projected", gamma=0.8)(X), atol=1e-12)


@pytest.mark.parametrize("name", ["zz-kernel", "iqp-kernel", "angle-kernel", "projected-quantum-kernel"])
def test_matrices_of_circuits_are_positive_with_ones_on_the_diagonal(name):
    found = kernel_of(name).gram(X)
    np.testing.assert_allclose(found.diagonal(), np.ones(7), atol=1e-12)
    assert float(torch.linalg.eigvalsh(found)[0]) > -1e-12 and torch.equal(found, found.mT)


def test_shots_are_binomial_around_the_exact_kernel():
    exact, kernel = kernel_of("zz-kernel"), kernel_of("zz-kernel-shots", shots=50)
    p = exact.gram(X, Y)
    torch.manual_seed(3)
    drawn = torch.stack([kernel.gram(X, Y) for _ in range(600)])
    assert torch.equal((drawn * 50).round() / 50, drawn)
    spread = (p * (1 - p) / 50).sqrt()
    assert float(((drawn.mean(0) - p) / (spread / 600**0.5)).abs().max()) < 4.5
    np.testing.assert_allclose(drawn.std(0), spread, rtol=0.2, atol=2e-3)
    torch.manual_seed(3)
    assert torch.equal(kernel.gram(X, Y), drawn[0])
    pairs = torch.stack([kernel(X[:1].expand(2000, -1), Y[:1].expand(2000, -1))]).detach()
    assert abs(float(pairs.mean() - p[0, 0])) < 4.5 * float(spread[0, 0]) / 2000**0.5
    square = kernel.gram(X)
    assert torch.equal(square, square.mT) and torch.equal(square.diagonal(), torch.ones(7, dtype=torch.float64))


def test_circuits_are_counted_and_the_overlap_is_what_a_device_runs():
    kernel, shots = kernel_of("zz-kernel"), kernel_of("zz-kernel-shots", shots=64)
    assert kernel.circuits(40) == 40 * 39 // 2 and kernel.circuits(10, 40) == 400
    once = zz_feature_map(3).resources(measure="z")
    cost = kernel.cost()
    assert cost["qubits"] == 3 and cost["two_qubit_gates"] == 2 * once.two_qubit_gates == 24
    assert cost["gates"] == 2 * len(kernel.circuit) and cost["depth"] <= 2 * once.depth
    assert (cost["shots"], cost["tier"]) == (0, "exact expectation")
    assert (shots.cost()["shots"], shots.cost()["tier"]) == (64, "finite shots")
    projected = kernel_of("projected-quantum-kernel")
    assert projected.circuits(40) == 3 * 40 and projected.circuits(10, 40) == 30  # X, Y and Z on all qubits
    assert kernel_of("rbf-kernel").circuits(40) == 0
    overlap = kernel.circuit_run().state(torch.cat([X, X], 1), [])
    np.testing.assert_allclose(overlap[:, 0].abs(), np.ones(7), atol=1e-12)
    pairs = kernel.circuit_run().state(torch.cat([X[:4], Y], 1), [])[:, 0].abs().square()
    np.testing.assert_allclose(pairs, kernel(X[:4], Y), atol=1e-12)


def test_a_mixture_of_kernels_is_their_weighted_sum_with_the_settings_of_both():
    mixed = kernel_of("zz-kernel", mix=0.25)
    assert [set(s) for s in settings(mixed, X)] == [{"old.gamma", "new.strength"}] * 9
    use(mixed, {"old.gamma": 0.5, "new.strength": 1.0})
    alone = 0.75 * pairwise.rbf_kernel(X, Y, gamma=0.5) + 0.25 * kernel_of("zz-kernel", alpha=1.0).gram(X, Y).numpy()
    np.testing.assert_allclose(gram(mixed, X, Y), alone, atol=1e-12)
    pairs = mixed(X[:4], Y).detach()
    np.testing.assert_allclose(pairs, alone[range(4), range(4)], atol=1e-12)


def test_a_kernel_of_ones_own_needs_only_its_values_of_pairs():
    class Cosine(Kernel):
        def forward(self, x, y):
            return torch.cosine_similarity(x, y, dim=-1)

    np.testing.assert_allclose(Cosine(3).gram(X, Y), pairwise.cosine_similarity(X, Y), atol=1e-12)
    assert Cosine(3).gram(X[:0]).shape == (0, 0)


def test_more_features_than_qubits_are_refused_with_the_way_out():
    machine = dp.host("kernel-machine", in_features=64, classes=2)
    with pytest.raises(SlotMismatch, match=r"have 64; up to 20 .* pca = 8"):
        dp.swap(machine, {"kernel": "zz-kernel"}, torch.zeros(2, 64))
    smaller = dp.host("kernel-machine", in_features=64, classes=2, pca=4)
    assert dp.swap(smaller, {"kernel": "zz-kernel"}, torch.zeros(2, 64)).kernel.circuit.qubits == 4


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("rbf-kernel", {"gamma": 0.0}, "gamma is 0.0; expected a positive number"),
        ("rbf-kernel", {"gamma": []}, "gamma is "), ("laplacian-kernel", {"gamma": "wide"}, "gamma"),
        ("polynomial-kernel", {"degree": 0}, "degree is 0"), ("polynomial-kernel", {"coef0": -1.0}, "coef0 is -1.0"),
        ("fourier-kernel", {"width": 0}, "width is 0"), ("zz-kernel", {"reps": 0}, "reps is 0"),
        ("zz-kernel", {"alpha": [1.0, -1.0]}, "alpha is"), ("zz-kernel-shots", {"shots": 0}, "shots is 0"),
        ("iqp-kernel", {"bandwidth": "tuned"}, "bandwidth"), ("zz-kernel", {"entanglement": "ring"}, "entanglement"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(name, options, said):
    with pytest.raises(ConfigError, match=said):
        kernel_of(name, **options)


def test_random_features_that_stand_in_for_a_circuit_are_as_many_as_its_density_matrices_have_dimensions():
    machine = dp.host("kernel-machine", in_features=3, classes=2)
    width = dp.swap(machine, {"kernel": {"component": "fourier-kernel", "of": {"component": "zz-kernel"}}}, SAMPLE)
    assert width.kernel.weight.shape == (64, 3)
    assert kernel_of("fourier-kernel").weight.shape == (256, 3)
