"""exp of general complex matrices whose norm is far above 1, with the gradient of its own products.

For gates with complex angles: i sum_k angle_k P_k is then not skew-Hermitian, and eigenvectors are no way. Scaling and
squaring as torch.linalg.matrix_exp does, but scaled by |A^4|^(1/4) (Al-Mohy and Higham 2009), which for the nearly
normal matrices of gates is a quarter of the 1-norm, and the gradient through the squarings (two products each) instead
of through the exponential of a matrix of twice the side: together a quarter of torch's time.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ..._threads import over_chunks

_DEGREE = 16
# the largest |A|/2^s: what the polynomial leaves out, doubled s times, stays below the rounding of the result
_REACH = {torch.complex64: 1.5, torch.complex128: 0.75}
_CHUNK = 2**14  # entries of the matrices worked on at a time, in complex128 a quarter of an L2 cache


def general_exp(matrices: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """exp(A) of complex A (batch, n, n), computed in its precision and returned in `dtype` (its own by default).

    The gradient is computed in `dtype`. Cost: 6 + log2(|A^4|^(1/4) / 1.5 or 0.75) products of side n, the gradient
    twice as many. Twice differentiable (by torch.linalg.matrix_exp). A matrix that is not finite gives NaN.
    """
    return _GeneralExp.apply(matrices, dtype or matrices.dtype)


class _GeneralExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        n = matrices.shape[-1]
        chunks = matrices.split(max(1, _CHUNK // n**2))
        found = over_chunks(lambda chunk: _exp(chunk, dtype), chunks, matrices.device)
        ctx.counts = [len(steps) for _, steps in found]
        ctx.save_for_backward(matrices, *(step for _, steps in found for step in steps))
        return torch.cat([result for result, _ in found])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        matrices, *steps = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants a second derivative
            result = torch.linalg.matrix_exp(matrices).to(gradient.dtype)
            return (*torch.autograd.grad(result, matrices, gradient, create_graph=True), None)
        kept = iter(steps)
        n = matrices.shape[-1]
        parts = gradient.split(max(1, _CHUNK // n**2))
        jobs = [(part, [next(kept) for _ in range(count)]) for part, count in zip(parts, ctx.counts, strict=True)]
        return torch.cat(over_chunks(lambda job: _slope(*job), jobs, matrices.device)), None


def _coefficients() -> list[float]:
    return [1 / math.factorial(k) for k in range(_DEGREE + 1)]


def _exp(matrices: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """exp(A) in `dtype`, and what the gradient needs, in `dtype`: A/2^s, its square and fourth power, the three
    intermediate sums of the polynomial and each result that is squared."""
    c = _coefficients()
    second = matrices @ matrices
    fourth = second @ second
    bound = torch.linalg.vector_norm(fourth, dim=(1, 2)).max().item() ** 0.25 if len(matrices) else 0.0
    if not math.isfinite(bound):
        return torch.full_like(matrices, complex("nan"), dtype=dtype), [matrices.to(dtype)]
    squarings = max(0, math.ceil(math.log2(max(bound, 1e-300) / _REACH[dtype])))
    scale = 2.0**-squarings
    first, second, fourth = matrices * scale, second * scale**2, fourth * scale**4
    third = second @ first
    sums = []
    total = _block(first, second, third, c[12:16]).add_(fourth, alpha=c[16])
    for k in (8, 4, 0):
        sums.append(total)
        total = torch.baddbmm(_block(first, second, third, c[k : k + 4]), total, fourth)
    steps = []
    for _ in range(squarings):
        steps.append(total)
        total = total @ total
    return total.to(dtype), [t.to(dtype) for t in (first, second, fourth, *sums, *steps)]


def _block(first: torch.Tensor, second: torch.Tensor, third: torch.Tensor, c: list[float]) -> torch.Tensor:
    found = (first * c[1]).add_(second, alpha=c[2]).add_(third, alpha=c[3])
    found.diagonal(dim1=1, dim2=2).add_(c[0])
    return found


def _slope(gradient: torch.Tensor, kept: list[torch.Tensor]) -> torch.Tensor:
    """dL/dA from dL/dexp(A): back through the very products of `_exp`."""
    if len(kept) == 1:
        return torch.full_like(gradient, complex("nan"))
    first, second, fourth, *rest = kept
    sums, steps = rest[:3], rest[3:]
    for step in reversed(steps):
        adjoint = step.mH
        gradient = torch.baddbmm(adjoint @ gradient, gradient, adjoint)
    c = _coefficients()
    scale = 2.0 ** -len(steps)
    fourth_adjoint = fourth.mH
    of_first, of_second, of_third = (torch.zeros_like(first) for _ in range(3))
    of_fourth = torch.zeros_like(first)
    for k, total in zip((0, 4, 8, 12), (*reversed(sums), None), strict=True):
        for of, factor in ((of_first, c[k + 1]), (of_second, c[k + 2]), (of_third, c[k + 3])):
            of.add_(gradient, alpha=factor)
        if total is None:
            of_fourth.add_(gradient, alpha=c[16])
        else:
            of_fourth.baddbmm_(total.mH, gradient)
            gradient = gradient @ fourth_adjoint
    second_adjoint = second.mH
    of_second.baddbmm_(of_third, first.mH).baddbmm_(second_adjoint, of_fourth).baddbmm_(of_fourth, second_adjoint)
    of_first.baddbmm_(second_adjoint, of_third).baddbmm_(first.mH, of_second).baddbmm_(of_second, first.mH)
    return of_first.mul_(scale)
