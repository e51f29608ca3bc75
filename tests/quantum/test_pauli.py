from __future__ import annotations

import pytest
import torch

from components import naive
from dopant.quantum import pauli
from dopant.quantum.exponential import hermitian_exp, hermitian_exp_column
from dopant.quantum.pauli import pauli_sum


@pytest.mark.parametrize("qubits", [1, 2, 3, 4])
def test_the_structured_sum_equals_explicit_kronecker_products(qubits):
    coefficients = torch.randn(2, 3, 4**qubits - 1, dtype=torch.float64)
    expected = torch.einsum("abk,kij->abij", coefficients.to(torch.complex128), torch.stack(naive.strings(qubits)))
    assert torch.allclose(pauli_sum(coefficients), expected, atol=1e-12, rtol=0)


def test_each_coefficient_alone_gives_its_own_string_in_product_order():
    for k, string in enumerate(naive.strings(2)):
        assert torch.equal(pauli_sum(torch.eye(15, dtype=torch.float64)[k]), string)


def test_complex_coefficients_and_single_precision_are_kept():
    complex_sum = pauli_sum(torch.randn(15, dtype=torch.complex64))
    assert complex_sum.dtype == torch.complex64
    assert not torch.allclose(complex_sum, complex_sum.mH)
    assert pauli_sum(torch.randn(15)).dtype == torch.complex64


def test_the_sum_is_differentiable_in_real_and_complex_coefficients():
    for dtype in (torch.float64, torch.complex128):
        assert torch.autograd.gradcheck(pauli_sum, torch.randn(2, 15, dtype=dtype, requires_grad=True))


@pytest.mark.parametrize("length", [0, 4, 16, 14])
def test_a_wrong_number_of_coefficients_is_refused(length):
    with pytest.raises(ValueError, match="expected 4"):
        pauli_sum(torch.zeros(length))


@pytest.mark.parametrize("angles", [torch.zeros(15), torch.eye(15)[0], torch.randn(15)], ids=["zero", "XI", "random"])
def test_the_exponential_is_right_to_second_order_even_at_repeated_eigenvalues(angles):
    angles = angles.double().requires_grad_()

    def function(values: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(hermitian_exp(pauli_sum(values)))

    assert torch.allclose(torch.view_as_complex(function(angles)), naive.gate(angles), atol=1e-12)
    assert torch.autograd.gradcheck(function, angles)
    assert torch.autograd.gradgradcheck(function, angles)


def test_the_transform_of_more_qubits_gives_what_the_kept_matrices_give(monkeypatch):
    for dtype in (torch.float64, torch.complex128):
        coefficients = torch.randn(2, 63, dtype=dtype)
        kept = pauli_sum(coefficients)
        with monkeypatch.context() as patch:
            patch.setattr(pauli, "_DENSE", 0)
            assert torch.allclose(pauli_sum(coefficients), kept, atol=1e-12, rtol=0)


def test_matrices_first_made_in_inference_mode_serve_training_too():
    pauli._stack.cache_clear()
    with torch.inference_mode():
        pauli_sum(torch.randn(15))
    coefficients = torch.randn(15, requires_grad=True)
    pauli_sum(coefficients).abs().sum().backward()
    assert coefficients.grad is not None and coefficients.grad.isfinite().all()


@pytest.mark.parametrize("angles", [torch.zeros(15), torch.eye(15)[0], torch.randn(15), 10 * torch.randn(15)])
def test_the_first_column_alone_is_that_of_the_whole_exponential_with_its_derivatives(angles):
    angles = angles.double().requires_grad_()

    def function(values: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(hermitian_exp_column(pauli_sum(values)))

    assert torch.allclose(torch.view_as_complex(function(angles)), naive.gate(angles)[:, 0], atol=1e-12)
    assert torch.autograd.gradcheck(function, angles, rtol=1e-4)
    assert torch.autograd.gradgradcheck(function, angles, rtol=1e-4)


def test_a_matrix_that_is_not_finite_gives_nan_and_spares_its_neighbours():
    matrices = pauli_sum(torch.randn(2, 15, dtype=torch.float64))
    matrices[1, 0, 0] = float("inf")
    result = hermitian_exp(matrices)
    assert torch.isfinite(torch.view_as_real(result[0])).all()
    assert torch.isnan(result[1].real).all()
    column = hermitian_exp_column(matrices)
    assert torch.allclose(column[0], result[0, :, 0])
    assert torch.isnan(column[1].real).all()
