from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from dopant.components.quantum import _propagate
from dopant.components.quantum.reupload_linear import ReuploadLinear, qubits_needed, reupload_linear
from dopant.errors import ConfigError, SlotMismatch

from . import naive


def layer(*args, **kwargs) -> ReuploadLinear:
    return ReuploadLinear(*args, generator=torch.Generator().manual_seed(5), dtype=torch.float64, **kwargs)


INPUTS = {
    "random": lambda n: 3 * torch.randn(3, n, dtype=torch.float64),
    "zero": lambda n: torch.zeros(1, n, dtype=torch.float64),
    "constant": lambda n: torch.full((1, n), 0.7, dtype=torch.float64),
    "identity": lambda n: 2 * torch.eye(math.ceil(n**0.5), dtype=torch.float64).reshape(1, -1)[:, :n],
}


def moved(circuit: ReuploadLinear, by: float = 0.05) -> ReuploadLinear:
    """Complex angles off the real axis, as training leaves them."""
    if circuit.angles.is_complex():
        with torch.no_grad():
            circuit.angles += by * 1j * torch.randn(circuit.angles.shape, dtype=torch.float64)
    return circuit


@pytest.mark.parametrize(
    ("inputs", "outputs", "qubits", "reps"),
    [
        (4, 2, None, 1),
        (3, 2, 1, 3),
        (16, 4, None, 3),
        (11, 3, None, 2),
        (10, 5, None, 10),
        (64, 8, 3, 2),
        (200, 10, 4, 1),
    ],
)
@pytest.mark.parametrize("parameters", ["real", "complex"])
@pytest.mark.parametrize("name", INPUTS)
def test_outputs_and_gradients_equal_a_simulation_sample_by_sample(inputs, outputs, qubits, reps, parameters, name):
    circuit = moved(layer(inputs, outputs, qubits=qubits, reps=reps, parameters=parameters, scale="learned"))
    x = INPUTS[name](inputs).requires_grad_()
    found = circuit(x)
    expected = naive.reupload(x, circuit.angles, outputs) * circuit.log_scale.exp() + circuit.bias
    assert torch.allclose(found, expected, atol=1e-9, rtol=1e-10)
    weight = torch.randn_like(expected)
    leaves = (x, circuit.angles, circuit.bias, circuit.log_scale)
    for a, b in zip(
        torch.autograd.grad((found * weight).sum(), leaves),
        torch.autograd.grad((expected * weight).sum(), leaves),
        strict=True,
    ):
        assert (a - b).abs().max() < 1e-9 * max(1, b.abs().max())


@pytest.mark.parametrize("parameters", ["real", "complex"])
def test_probabilities_at_the_published_size_equal_ones_made_with_scipy(parameters):
    """Each gate's exponent is made of Kronecker products in numpy, its exponential by scipy."""
    circuit = moved(layer(12544, 10, reps=2, parameters=parameters, bias=False), 1e-3)
    x = 2 * np.random.default_rng(0).random(12544) - 1
    matrix = np.pad(x, (0, 128 * 128 - 12544)).reshape(128, 128)
    psi = np.full(128, 128**-0.5, complex)
    paulis = np.stack([naive.I2.numpy(), naive.X.numpy(), naive.Y.numpy(), naive.Z.numpy()])
    for angles in circuit.angles.detach().numpy():
        tensor = np.concatenate([[0], angles]).reshape((4,) * 7)
        for _ in range(7):  # the first axis left becomes a row and a column at the back
            tensor = np.tensordot(tensor, paulis, axes=(0, 0))
        generator = tensor.transpose(*range(0, 14, 2), *range(1, 14, 2)).reshape(128, 128)
        psi = scipy.linalg.expm(1j * (matrix + matrix.T) / 4) @ psi
        psi = scipy.linalg.expm(1j * generator) @ psi
    found = circuit(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, np.abs(psi[:10]) ** 2, atol=1e-10, rtol=1e-9)


def test_probabilities_equal_ones_made_with_scipy():
    circuit = layer(16, 4, reps=3, bias=False)
    x = np.random.default_rng(0).normal(size=16)
    matrix = x.reshape(4, 4)
    psi = np.full(4, 0.5, complex)
    for angles in circuit.angles.detach().numpy():
        generator = sum(a * p.numpy() for a, p in zip(angles, naive.strings(2), strict=True))
        psi = scipy.linalg.expm(1j * generator) @ scipy.linalg.expm(1j * (matrix + matrix.T) / 2 / 3) @ psi
    np.testing.assert_allclose(circuit(torch.from_numpy(x)).detach().numpy(), np.abs(psi) ** 2, atol=1e-12)


@pytest.mark.parametrize("name", ["zero", "identity", "constant", "random"])
def test_first_and_second_derivatives_are_right_at_repeated_eigenvalues(name):
    matrix = {"zero": torch.zeros(4, 4), "identity": torch.eye(4), "constant": torch.ones(4, 4)}.get(name)
    matrix = torch.randn(4, 4) if matrix is None else matrix
    circuit = layer(16, 3, reps=2)
    x = matrix.double().reshape(1, 16).requires_grad_()

    def function(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(circuit, {"angles": angles}, (x,))

    angles = circuit.angles.detach().requires_grad_()
    assert torch.autograd.gradcheck(function, (x, angles))
    assert torch.autograd.gradgradcheck(function, (x, angles))


@pytest.mark.parametrize("reps", [1, 10, 100])
def test_the_state_has_norm_one_in_single_precision_after_any_number_of_repetitions(reps):
    circuit = ReuploadLinear(256, 10, reps=reps)
    x = 20 * torch.randn(16, 256)
    assert (circuit.state(x).abs().square().sum(-1) - 1).abs().max() < 1e-6


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-4), (torch.float64, 1e-12)])
def test_the_norm_is_one_before_rounding_is_taken_out_too(dtype, most):
    circuit = ReuploadLinear(256, 10, reps=10, dtype=dtype)
    rows = _propagate.propagate(20 * torch.randn(16, 256, dtype=dtype), circuit.gates())
    assert (rows.square().sum((1, 2)) - 1).abs().max() < most


def test_complex_parameters_begin_as_the_circuit_and_leave_the_norm_once_moved():
    circuit, control = layer(16, 4), layer(16, 4, parameters="complex")
    x = torch.randn(3, 16, dtype=torch.float64)
    assert torch.allclose(circuit(x), control(x), atol=1e-10)
    with torch.no_grad():
        control.angles += 0.01j
    assert (control.state(x).abs().square().sum(-1) - 1).abs().min() > 1e-3


def test_chunks_of_a_batch_change_no_value_and_no_gradient(monkeypatch):
    circuit = layer(16, 4, reps=2)
    x = torch.randn(7, 16, dtype=torch.float64, requires_grad=True)
    whole = torch.autograd.grad(circuit(x).square().sum(), (x, circuit.angles))
    monkeypatch.setattr(_propagate, "_CACHED", 2 * 16)
    parts = torch.autograd.grad(circuit(x).square().sum(), (x, circuit.angles))
    for a, b in zip(whole, parts, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("shape", [(16,), (0, 16), (3, 16), (2, 3, 16)])
def test_any_leading_axes_are_kept(shape):
    circuit = layer(16, 3)
    x = torch.randn(*shape, dtype=torch.float64)
    assert circuit(x).shape == (*shape[:-1], 3)
    assert circuit.state(x).shape == (*shape[:-1], 4)


def test_an_input_that_is_not_finite_gives_nan_and_spares_the_other_samples():
    circuit = layer(16, 3)
    x = torch.randn(3, 16, dtype=torch.float64)
    expected = circuit(x)
    x[1, 4] = float("nan")
    found = circuit(x)
    assert torch.isnan(found[1]).all()
    assert torch.allclose(found[[0, 2]], expected[[0, 2]])


def test_a_diverged_parameter_gives_nan_instead_of_a_crash():
    circuit = layer(16, 3)
    with torch.no_grad():
        circuit.angles[0, 0] = float("inf")
    assert torch.isnan(circuit(torch.randn(2, 16, dtype=torch.float64))).all()


def test_the_slot_takes_every_option_of_the_layer():
    new = reupload_linear(nn.Linear(16, 4, bias=False), None, parameters="complex", scale="learned", reps=2)
    assert new.angles.is_complex() and new.log_scale is not None and new.bias is None and new.reps == 2


@pytest.mark.parametrize("parameters", ["real", "complex"])
def test_double_makes_every_parameter_double_also_inside_another_module(parameters):
    network = nn.Sequential(ReuploadLinear(16, 4, parameters=parameters)).double()
    assert network[0].angles.dtype == (torch.float64 if parameters == "real" else torch.complex128)
    assert network(torch.randn(2, 16, dtype=torch.float64)).dtype == torch.float64
    assert network.float()[0].angles.dtype in (torch.float32, torch.complex64)


def test_single_precision_is_near_double_precision():
    circuit = ReuploadLinear(256, 10, generator=torch.Generator().manual_seed(0))
    x = torch.rand(8, 256) * 2 - 1
    single = circuit(x)
    assert (circuit.double()(x.double()) - single).abs().max() < 1e-5


def test_all_variants_start_from_the_same_angles():
    variants = [{}, {"bias_init": "zero"}, {"bias": False}, {"scale": "learned"}, {"parameters": "complex"}]
    angles = [layer(16, 4, **v).angles.real for v in variants]
    assert all(torch.equal(a, angles[0]) for a in angles)


def test_the_learned_scale_multiplies_the_probabilities_and_starts_where_asked():
    plain, scaled = layer(16, 4, bias=False), layer(16, 4, bias=False, scale="learned", scale_init=12.0)
    x = torch.randn(2, 16, dtype=torch.float64)
    assert math.isclose(scaled.log_scale.item(), math.log(12.0), rel_tol=1e-12)
    assert torch.allclose(scaled(x), 12 * plain(x))


@pytest.mark.parametrize(
    ("inputs", "outputs", "qubits"), [(256, 10, 4), (12544, 10, 7), (4, 10, 4), (257, 2, 5), (1, 1, 1)]
)
def test_the_fewest_qubits_that_hold_inputs_and_outputs_are_chosen(inputs, outputs, qubits):
    assert qubits_needed(inputs, outputs) == qubits == ReuploadLinear(inputs, outputs, reps=1).qubits


def test_too_few_qubits_are_refused_with_the_number_that_is_enough():
    with pytest.raises(SlotMismatch) as error:
        reupload_linear(nn.Linear(100, 10), None, qubits=3)
    assert error.value.problems == [
        "the slot gives (10,) but 'reupload-linear' with 3 qubits can give at most 8 outputs; use qubits=4 or more",
        "the slot takes (100,) but 'reupload-linear' with 3 qubits can take at most 64 inputs; use qubits=4 or more",
    ]
    with pytest.raises(ConfigError, match="use qubits=4 or more"):
        ReuploadLinear(9, 10, qubits=3)


def test_every_wrong_option_is_told_at_once():
    with pytest.raises(ConfigError) as error:
        ReuploadLinear(4, 2, reps=0, parameters="quaternion", scale="big", scale_init=0, bias_init="ones", qubits=0)
    assert len(error.value.problems) == 6


def test_the_published_size_has_the_published_count_and_cnot_bound():
    circuit = ReuploadLinear(12544, 10)
    assert sum(p.numel() for p in circuit.parameters()) == 163_840
    assert circuit.cost()["cnots_at_least"] == 40_910


def test_complex_parameters_are_no_circuit_and_declare_neither_counts_nor_a_tier():
    assert layer(16, 4, parameters="complex").cost() == {"unitary": False}
    circuit = layer(16, 4).cost()
    assert circuit["unitary"] and circuit["tier"] == "exact"
