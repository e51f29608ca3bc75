"""exp(iP) of Hermitian matrices by eigendecomposition, with a gradient that repeated eigenvalues cannot spoil.

Autograd through eigh divides by eigenvalue differences. The derivative of exp needs none: in the eigenbasis
dU_jk = i exp(i(l_j + l_k)/2) sinc((l_j - l_k)/2) dP_jk (Daleckii and Krein).
"""

from __future__ import annotations

from typing import Any

import torch

from ..._threads import over_chunks


def sinc(x: torch.Tensor) -> torch.Tensor:
    """sin(x)/x with the value 1 at 0 (torch.sinc is sin(pi x)/(pi x), and four times slower)."""
    safe = x.abs().clamp_(min=1e-30)
    return safe.sin().div_(safe)


def half_differences(values: torch.Tensor) -> torch.Tensor:
    """sinc((l_j - l_k)/2): (..., n) -> (..., n, n)."""
    half = values / 2
    return sinc(half.unsqueeze(-1) - half.unsqueeze(-2))


_CHUNK = 2**14  # entries of the matrices worked on at a time


class _HermitianExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        ctx.chunk = max(1, _CHUNK // max(1, matrices.shape[-1] ** 2))

        def work(chunk: torch.Tensor) -> tuple[torch.Tensor, ...]:
            values, vectors = torch.linalg.eigh(chunk)
            vectors = vectors.to(dtype)  # after the phases, which need the precision of large eigenvalues
            phases = torch.polar(torch.ones_like(values), values).to(dtype)
            return (vectors * phases.unsqueeze(-2)) @ vectors.mH, values, vectors

        results, values, vectors = zip(*over_chunks(work, matrices.split(ctx.chunk), matrices.device), strict=True)
        ctx.save_for_backward(matrices, *values, *vectors)
        return torch.cat(results)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        matrices, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants a second derivative: the slower road that has one
            result = torch.linalg.matrix_exp(1j * matrices).to(gradient.dtype)
            (found,) = torch.autograd.grad(result, matrices, gradient, create_graph=True)
            return (found + found.mH) / 2, None

        def work(job: tuple[torch.Tensor, ...]) -> torch.Tensor:
            part, values, vectors = job
            half = torch.polar(torch.ones_like(values), -values / 2).to(vectors.dtype)
            weight = half_differences(values).to(vectors.real.dtype) * (half.unsqueeze(-1) * half.unsqueeze(-2)) * -1j
            found = vectors @ (weight * (vectors.mH @ part @ vectors)) @ vectors.mH
            return (found + found.mH) / 2

        count = len(kept) // 2
        jobs = zip(gradient.split(ctx.chunk), kept[:count], kept[count:], strict=True)
        return torch.cat(over_chunks(work, jobs, matrices.device)), None


def hermitian_exp(matrix: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """exp(i matrix) for Hermitian matrix (..., n, n), complex -> unitary (..., n, n) in `dtype` (its own by default).

    Eigenvalues and phases are found in the matrix's precision, products and gradient in that of `dtype`. Matrices that
    are not finite give NaN, as element-wise functions do, where eigh would raise. Twice differentiable; the second
    derivative goes through torch.linalg.matrix_exp.
    """
    dtype = dtype or matrix.dtype
    finite = torch.isfinite(torch.view_as_real(matrix.detach()))
    if bool(finite.all()):
        return _HermitianExp.apply(matrix.reshape(-1, *matrix.shape[-2:]), dtype).view(matrix.shape)
    finite = finite.flatten(-3).all(-1)[..., None, None]
    return torch.where(finite, hermitian_exp(torch.where(finite, matrix, 0), dtype), complex("nan"))


class _FirstColumn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: torch.Tensor) -> torch.Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        ctx.save_for_backward(matrix, values, vectors)
        rotated = torch.polar(torch.ones_like(values), values) * vectors[..., 0, :].conj()
        return (vectors @ rotated.unsqueeze(-1)).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        matrix, values, vectors = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants a second derivative
            result = torch.linalg.matrix_exp(1j * matrix)[..., 0]
            (found,) = torch.autograd.grad(result, matrix, gradient, create_graph=True)
            return (found + found.mH) / 2
        # as for the whole matrix, where V^H G V is the product of one column and one row
        half = torch.polar(torch.ones_like(values), -values / 2)
        left = (gradient.unsqueeze(-2) @ vectors.conj()).mT * half.unsqueeze(-1)
        right = (vectors[..., 0, :] * half * -1j).unsqueeze(-2)
        found = vectors @ (half_differences(values) * left * right) @ vectors.mH
        return (found + found.mH) / 2


def hermitian_exp_column(matrix: torch.Tensor) -> torch.Tensor:
    """The first column of hermitian_exp(matrix), (..., n, n) -> (..., n), without the products for the others."""
    finite = torch.isfinite(torch.view_as_real(matrix.detach()))
    if bool(finite.all()):
        return _FirstColumn.apply(matrix)
    finite = finite.flatten(-3).all(-1, keepdim=True)
    result = _FirstColumn.apply(torch.where(finite.unsqueeze(-1), matrix, 0))
    return torch.where(finite, result, complex("nan"))
