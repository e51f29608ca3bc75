from __future__ import annotations

import pytest
import torch

from dopant.quantum import _series


def symmetric(norm: float, side: int = 16) -> torch.Tensor:
    matrices = torch.randn(5, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    matrices = matrices + matrices.mT
    return norm * matrices / torch.linalg.matrix_norm(matrices, 2)[:, None, None]


@pytest.mark.parametrize("norm", [0.0, 1e-6, 0.2, 0.9, 1.1, 2.0, 2.4, 2.8])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 2e-6), (torch.float64, 1e-13)])
def test_values_and_gradients_equal_torchs_exponential_whatever_rounds_and_doublings(norm, dtype, most):
    matrices = symmetric(norm, 8).requires_grad_()
    expected = torch.linalg.matrix_exp(1j * matrices)
    expected = torch.cat([expected.real, expected.imag], dim=2)
    weight = torch.randn_like(expected)
    (slope,) = torch.autograd.grad(expected, matrices, weight)
    found = _series.cos_sin(matrices.detach().to(dtype))
    assert found is not None
    data, plan, kept = found
    assert (data - expected).abs().max() < most
    slope = (slope + slope.mT) / 2
    assert (_series.gradient(plan, kept, weight.to(dtype)) - slope).abs().max() < 10 * most * max(1, slope.abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_plan_reaches_rounding_error_on_one_number(dtype):
    seen = set()
    for bound in torch.logspace(-3, 0.66, 60, dtype=torch.float64).tolist():
        found = _series.cos_sin(torch.full((1, 1, 1), bound, dtype=dtype))
        assert found is not None
        seen.add(found[1])
        exact = torch.tensor([bound], dtype=dtype).double()
        assert (found[0].flatten().double() - torch.cat([exact.cos(), exact.sin()])).abs().max() < (
            1e-6 if dtype == torch.float32 else 1e-14
        )
    assert {plan.rounds for plan in seen} == set(range(1, len(_series._REACH[dtype]) + 1))
    assert {plan.doublings for plan in seen} == {0, 1}


@pytest.mark.parametrize("norm", [100.0, float("inf"), float("nan")])
def test_matrices_of_large_or_no_norm_are_left_to_eigenvectors(norm):
    assert _series.cos_sin(torch.full((1, 2, 2), norm)) is None
