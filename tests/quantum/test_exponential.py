"""The exponentials that circuits and layers share: values, first and second derivatives, and both users against each
other."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from dopant.components.quantum.reupload_linear import ReuploadLinear
from dopant.quantum import Circuit, exponential, feature, pauli, weight
from dopant.quantum.exponential import hermitian_exp, symmetric_exp
from dopant.quantum.pauli import pauli_matrix, pauli_strings, pauli_sum


def symmetric(count: int, side: int, norm: float) -> torch.Tensor:
    matrices = torch.randn(count, side, side, dtype=torch.float64)
    matrices = matrices + matrices.mT
    return norm * matrices / torch.linalg.matrix_norm(matrices, 2)[:, None, None]


@pytest.mark.parametrize(("count", "side", "norm"), [(3, 2, 1.0), (40, 4, 0.7), (5, 16, 3.0), (5, 16, 30.0)])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 3e-6), (torch.float64, 1e-13)])
def test_the_exponential_of_a_real_matrix_and_its_gradient_are_torchs_by_every_road(count, side, norm, dtype, most):
    matrices = symmetric(count, side, norm).to(dtype).requires_grad_()
    wide = matrices.detach().double().requires_grad_()
    expected = torch.linalg.matrix_exp(1j * wide)
    share = torch.randn_like(expected)
    (slope,) = torch.autograd.grad(expected, wide, share)
    found = symmetric_exp(matrices)
    assert found.dtype == dtype.to_complex() and (found - expected).abs().max() < most
    (got,) = torch.autograd.grad(found, matrices, share.to(found.dtype))
    symmetrised = (slope + slope.mT) / 2
    assert ((got + got.mT) / 2 - symmetrised).abs().max() < 10 * most * symmetrised.abs().max()


@pytest.mark.parametrize("norm", [1.0, 30.0])
@pytest.mark.parametrize("few", [0, 10**6])
def test_the_exponential_of_a_real_matrix_has_second_derivatives(norm, few, monkeypatch):
    monkeypatch.setattr(exponential, "_FEW", few)
    matrices = symmetric(2, 3, norm).requires_grad_()

    def function(values: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(symmetric_exp((values + values.mT) / 2))

    assert torch.autograd.gradcheck(function, matrices)
    assert torch.autograd.gradgradcheck(function, matrices)
    repeated = torch.zeros(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, repeated) and torch.autograd.gradgradcheck(function, repeated)


def test_a_real_matrix_that_is_not_finite_gives_nan_and_spares_its_neighbours():
    matrices = symmetric(3, 16, 1.0)
    expected = symmetric_exp(matrices)
    matrices[1, 0, 0] = float("nan")
    found = symmetric_exp(matrices)
    assert found[1].real.isnan().all() and torch.allclose(found[::2], expected[::2])


@pytest.mark.parametrize("n", [2, 5])
def test_named_strings_make_the_same_sum_as_kronecker_products(n, monkeypatch):
    words = ("I" * n, "X" + "I" * (n - 1), "Z" * n, "Y" * n, "Z" * n)  # one of them twice, and the identity
    coefficients = torch.randn(3, len(words), dtype=torch.float64)
    stack = torch.stack([pauli_matrix(s) for s in words])
    expected = torch.einsum("bk,kij->bij", coefficients.to(stack.dtype), stack)
    assert torch.allclose(pauli_sum(coefficients, words), expected, atol=1e-12)
    everything = torch.randn(4**n - 1, dtype=torch.float64)
    assert torch.equal(pauli_sum(everything, pauli_strings(n)[1:]), pauli_sum(everything))
    with pytest.raises(ValueError, match="2 coefficients for 5"):
        pauli_sum(coefficients[:, :2], words)


def test_single_precision_gates_are_as_good_as_their_rounding():
    # off by 1e-5 and more where the exponential itself is made in single precision
    circuit = Circuit(5).special_unitary(range(5))
    weights = 2 * torch.pi * torch.rand(circuit.weights)
    none = torch.zeros(0)
    exact = torch.linalg.matrix_exp(1j * pauli_sum(weights.double()))
    found = circuit.gates[0].matrix(none, weights)
    assert found.dtype == torch.complex64 and (found - exact).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_layer_of_the_founding_study_is_the_circuit_that_its_text_says(dtype):
    reps, q = 3, 3
    layer = ReuploadLinear(4**q, 2**q, qubits=q, reps=reps, bias=False, dtype=dtype)
    circuit = Circuit(q).h(0).h(1).h(2)
    for _ in range(reps):
        circuit = circuit.hermitian_exp(range(q), scale=1 / reps).special_unitary(range(q))
    other = circuit.layer(measure="probabilities", dtype=dtype)
    with torch.no_grad():
        other.weights.copy_(layer.angles.flatten())
    x = torch.randn(5, 4**q, dtype=dtype, requires_grad=True)
    close = {"atol": 1e-5 if dtype == torch.float32 else 1e-12, "rtol": 1e-5}
    assert torch.allclose(layer(x), other(x), **close)
    ours = torch.autograd.grad(layer(x).square().sum(), (x, layer.angles))
    theirs = torch.autograd.grad(other(x).square().sum(), (x, other.weights))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a.flatten(), b.flatten(), **close)


def test_dense_gates_have_second_derivatives_in_features_and_weights():
    angles = [weight(), feature(0) * weight(), 0.3]
    circuit = Circuit(2).special_unitary([0, 1], angles, ["XY", "ZI", "XX"]).special_unitary(1)
    circuit = circuit.hermitian_exp([1, 0], 0, 5).ry(0, weight())
    x = torch.rand(20, 5, dtype=torch.float64)[:2].requires_grad_()
    w = torch.rand(circuit.weights, dtype=torch.float64, requires_grad=True)

    def function(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(circuit.state(x, w))

    assert torch.autograd.gradcheck(function, (x, w)) and torch.autograd.gradgradcheck(function, (x, w))


def test_one_upload_of_the_same_data_is_one_exponential(monkeypatch):
    made = []
    plain = exponential.symmetric_exp
    monkeypatch.setattr("dopant.quantum.gate.symmetric_exp", lambda m: made.append(m.shape) or plain(m))
    circuit = Circuit(2).hermitian_exp([0, 1]).h(0).hermitian_exp([1, 0]).hermitian_exp([0, 1], scale=0.5)
    circuit.state(torch.rand(3, 16))
    assert len(made) == 2  # the third has another scale


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, in its jvp
@pytest.mark.parametrize("transform", ["grad", "vmap", "jvp", "fake"])
def test_what_is_kept_from_inside_a_transform_serves_outside_of_it(transform):
    pauli._stack.cache_clear()
    angles = torch.randn(2, 15)

    def function(t: torch.Tensor) -> torch.Tensor:
        return hermitian_exp(pauli_sum(t)).real.sum()

    if transform == "vmap":
        torch.func.vmap(function)(angles)
    elif transform == "grad":
        torch.func.grad(function)(angles)
    elif transform == "fake":
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            function(mode.from_tensor(angles))
    else:
        torch.func.jvp(function, (angles,), (angles,))
    angles.requires_grad_()
    found = function(angles)
    found.backward()
    assert torch.allclose(found, torch.linalg.matrix_exp(1j * pauli_sum(angles)).real.sum(), atol=1e-4)
