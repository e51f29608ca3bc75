from __future__ import annotations

import pytest
import torch

from dopant.components.quantum._general import general_exp


def matrices(name: str, n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    random = torch.randn(3, n, n, dtype=torch.complex128, generator=generator)
    skew = (random - random.mH) / 2
    return {
        "zero": torch.zeros_like(random),
        "identity": torch.eye(n, dtype=torch.complex128).expand(3, n, n).clone(),
        "small": 0.01 * random,
        "random": random,
        "nilpotent": random.triu(1),
        "nearly skew": 20 * skew + 0.5 * random,
    }[name]


@pytest.mark.parametrize("name", ["zero", "identity", "small", "random", "nilpotent", "nearly skew"])
@pytest.mark.parametrize("n", [1, 2, 8])
@pytest.mark.parametrize(("dtype", "most"), [(torch.complex128, 1e-11), (torch.complex64, 3e-6)])
def test_values_and_gradients_equal_torchs(name, n, dtype, most):
    given = matrices(name, n).requires_grad_()
    expected = torch.linalg.matrix_exp(given)
    weight = torch.randn_like(expected)
    (slope,) = torch.autograd.grad(expected, given, weight)
    found = general_exp(given, dtype)
    assert found.dtype == dtype
    assert (found - expected).abs().max() < most * max(1, expected.abs().max())
    (mine,) = torch.autograd.grad(found, given, weight.to(dtype))
    assert (mine - slope).abs().max() < most * max(1, slope.abs().max())


def test_first_and_second_derivatives_are_right():
    given = matrices("random", 3)[:1].requires_grad_()
    assert torch.autograd.gradcheck(general_exp, given)
    assert torch.autograd.gradgradcheck(general_exp, given)


def test_numbers_that_are_not_finite_give_nan_with_their_gradient():
    given = matrices("random", 2)
    given[1, 0, 0] = float("inf")
    given.requires_grad_()
    found = general_exp(given)
    assert found.isnan().any()
    (slope,) = torch.autograd.grad(found.abs().sum(), given)
    assert slope.isnan().any()


def test_no_matrices_give_no_matrices():
    given = torch.zeros(0, 4, 4, dtype=torch.complex128, requires_grad=True)
    found = general_exp(given)
    assert found.shape == (0, 4, 4)
    assert torch.autograd.grad(found.abs().sum(), given)[0].shape == (0, 4, 4)
