"""exp(iP) of Hermitian matrices by eigendecomposition, with a gradient that repeated eigenvalues cannot spoil.

Autograd through eigh divides by eigenvalue differences. The derivative of exp needs none: in the eigenbasis
dU_jk = i exp(i(l_j + l_k)/2) sinc((l_j - l_k)/2) dP_jk (Daleckii and Krein).

The gates of circuits and the layers that are one exponential after another share this. Against torch.linalg.matrix_exp
on one thread, forward and backward together: equal for one matrix of side 2, half of the time for one of side 32, a
third for 200 of side 8, an eighth for 200 of side 64; and the backward of matrix_exp is an exponential of twice the
side. In single precision matrix_exp is off by up to 4e-5 at the norms of gates on six qubits; here everything that
needs the precision of large eigenvalues is done in double, and the result is off by its rounding.
Not shared, because it would be slower: `reupload-linear` passes states through the exponentials of its data as real
rows, without ever forming those matrices where it takes them from eigenvectors; the gates' path, which must, is 1 to 3
times as long. Nor does a real matrix of few entries come here: torch's one operation is faster than ours.
"""

from __future__ import annotations

from typing import Any

import torch

from .._threads import over_chunks
from . import _series
from ._transforms import beside_real, several, transformed


def sinc(x: torch.Tensor) -> torch.Tensor:
    """sin(x)/x with the value 1 at 0 (torch.sinc is sin(pi x)/(pi x), and four times slower)."""
    safe = x.abs().clamp_(min=1e-30)
    return safe.sin().div_(safe)


def half_differences(values: torch.Tensor) -> torch.Tensor:
    """sinc((l_j - l_k)/2): (..., n) -> (..., n, n)."""
    half = values / 2
    return sinc(half.unsqueeze(-1) - half.unsqueeze(-2))


_CHUNK = 2**14  # entries of the complex matrices worked on at a time
_SYMMETRIC_CHUNK = 2**18  # and of the real ones: they then stay in the L2 cache, and a series has few small calls
_FEW = 2**8  # entries of real matrices, up to which our own small operations take longer than torch's one


def _chunk(matrices: torch.Tensor, entries: int) -> int:
    return max(1, entries // max(1, matrices.shape[-1] ** 2))


def _plainly(matrices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The same by torch's own exponential: any derivative, any transform."""
    return torch.linalg.matrix_exp(1j * matrices.to(matrices.dtype.to_complex())).to(dtype)


class _HermitianExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        ctx.chunk = _chunk(matrices, _CHUNK)

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
        if torch.is_grad_enabled() or several(gradient):  # a second derivative, or many first ones at once
            return _slope_plainly(matrices, gradient), None

        def work(job: tuple[torch.Tensor, ...]) -> torch.Tensor:
            part, values, vectors = job
            half = torch.polar(torch.ones_like(values), -values / 2).to(vectors.dtype)
            weight = half_differences(values).to(vectors.real.dtype) * (half.unsqueeze(-1) * half.unsqueeze(-2)) * -1j
            found = vectors @ (weight * (vectors.mH @ part @ vectors)) @ vectors.mH
            return (found + found.mH) / 2

        count = len(kept) // 2
        jobs = zip(gradient.split(ctx.chunk), kept[:count], kept[count:], strict=True)
        return torch.cat(over_chunks(work, jobs, matrices.device)), None


def _slope_plainly(matrices: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The slower road to dL/dP, which has further derivatives and takes many gradients at once."""
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        result = _plainly(matrices, gradient.dtype)
        (found,) = torch.autograd.grad(result, matrices, gradient, create_graph=further)
    return (found + found.mH) / 2


def _finite(numbers: torch.Tensor) -> tuple[torch.Tensor, bool | None]:
    """(where they are finite, whether all are): None of fake tensors, unless somebody answers for them as the tracer
    does by which memory is foreseen; it then follows the road of real ones."""
    finite = torch.isfinite(numbers)
    try:
        return finite, bool(finite.all())
    except RuntimeError:
        if not beside_real(numbers):
            raise
        return finite, None


def hermitian_exp(matrix: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """exp(i matrix) for Hermitian matrix (..., n, n), complex -> unitary (..., n, n) in `dtype` (its own by default).

    Eigenvalues and phases are found in the matrix's precision, products and gradient in that of `dtype`. Matrices that
    are not finite give NaN, as element-wise functions do, where eigh would raise. Twice differentiable; the second
    derivative goes through torch.linalg.matrix_exp, and so does everything under transforms of torch.func, forward
    derivatives and compilation.
    """
    dtype = dtype or matrix.dtype
    if transformed(matrix) and not beside_real(matrix):
        return _plainly(matrix, dtype)
    finite, whole = _finite(torch.view_as_real(matrix.detach()))
    if whole is None:
        return _plainly(matrix, dtype)
    if whole:
        return _HermitianExp.apply(matrix.reshape(-1, *matrix.shape[-2:]), dtype).view(matrix.shape)
    finite = finite.flatten(-3).all(-1)[..., None, None]
    return torch.where(finite, hermitian_exp(torch.where(finite, matrix, 0), dtype), complex("nan"))


class _SymmetricExp(torch.autograd.Function):
    """Chunk by chunk by a series where its matrices are small in side and norm, else by eigenvectors."""

    @staticmethod
    def forward(ctx: Any, matrices: torch.Tensor) -> torch.Tensor:
        ctx.chunk = _chunk(matrices, _SYMMETRIC_CHUNK)
        found = over_chunks(_symmetric, matrices.split(ctx.chunk), matrices.device)
        ctx.plans = [(plan, len(kept)) for _, plan, kept in found]
        ctx.save_for_backward(matrices, *(t for _, _, kept in found for t in kept))
        return torch.cat([result for result, _, _ in found])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        matrices, *kept = ctx.saved_tensors
        if torch.is_grad_enabled() or several(gradient):
            return _slope_plainly(matrices, gradient)
        rest, jobs = iter(kept), []
        for part, (plan, count) in zip(gradient.split(ctx.chunk), ctx.plans, strict=True):
            jobs.append((part, plan, [next(rest) for _ in range(count)]))
        return torch.cat(over_chunks(lambda job: _symmetric_slope(*job), jobs, matrices.device))


def _symmetric(matrices: torch.Tensor) -> tuple[torch.Tensor, _series.Plan | None, tuple[torch.Tensor, ...]]:
    """exp(iA) of one chunk, the plan of its series (None without one), and what the gradient needs."""
    n, real = matrices.shape[-1], matrices.dtype
    found = _series.cos_sin(matrices)
    if found is not None:
        both, plan, kept = found
        return torch.complex(both[..., :n], both[..., n:]), plan, kept
    values, vectors = torch.linalg.eigh(matrices.double())
    cos, sin = values.cos().to(real).unsqueeze(-2), values.sin().to(real).unsqueeze(-2)
    vectors = vectors.to(real)
    return torch.complex((vectors * cos) @ vectors.mT, (vectors * sin) @ vectors.mT), None, (values, vectors)


def _symmetric_slope(
    gradient: torch.Tensor, plan: _series.Plan | None, kept: list[torch.Tensor]
) -> torch.Tensor:  # fmt: skip
    real, imaginary = gradient.real, gradient.imag
    if plan is not None:
        return _series.gradient(plan, kept, torch.cat([real, imaginary], -1))
    values, vectors = kept
    half = torch.polar(torch.ones_like(values), -values / 2)
    weight = half.unsqueeze(-1) * half.unsqueeze(-2) * half_differences(values) * -1j
    real, imaginary = vectors.mT @ real @ vectors, vectors.mT @ imaginary @ vectors
    found = vectors @ (weight.real.to(real) * real - weight.imag.to(real) * imaginary) @ vectors.mT
    return (found + found.mT) / 2


def symmetric_exp(matrix: torch.Tensor) -> torch.Tensor:
    """exp(i matrix) for real symmetric matrix (..., n, n) -> complex unitary (..., n, n) of the same precision.

    By a series where it is small in side and norm, else a real eigendecomposition in double precision; a single small
    matrix by torch.linalg.matrix_exp, which is faster there. Derivatives, transforms and matrices that are not finite
    are as for `hermitian_exp`.
    """
    if (transformed(matrix) and not beside_real(matrix)) or matrix.numel() <= _FEW:
        return _plainly(matrix, matrix.dtype.to_complex())
    finite, whole = _finite(matrix.detach())
    if whole is None:
        return _plainly(matrix, matrix.dtype.to_complex())
    if whole:
        return _SymmetricExp.apply(matrix.reshape(-1, *matrix.shape[-2:])).view(matrix.shape)
    finite = finite.flatten(-2).all(-1)[..., None, None]
    return torch.where(finite, symmetric_exp(torch.where(finite, matrix, 0)), complex("nan"))


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
        if torch.is_grad_enabled() or several(gradient):
            return _slope_plainly(matrix, torch.nn.functional.pad(gradient.unsqueeze(-1), (0, matrix.shape[-1] - 1)))
        # as for the whole matrix, where V^H G V is the product of one column and one row
        half = torch.polar(torch.ones_like(values), -values / 2)
        left = (gradient.unsqueeze(-2) @ vectors.conj()).mT * half.unsqueeze(-1)
        right = (vectors[..., 0, :] * half * -1j).unsqueeze(-2)
        found = vectors @ (half_differences(values) * left * right) @ vectors.mH
        return (found + found.mH) / 2


def hermitian_exp_column(matrix: torch.Tensor) -> torch.Tensor:
    """The first column of hermitian_exp(matrix), (..., n, n) -> (..., n), without the products for the others."""
    if transformed(matrix) and not beside_real(matrix):
        return _plainly(matrix, matrix.dtype)[..., 0]
    finite, whole = _finite(torch.view_as_real(matrix.detach()))
    if whole is None:
        return _plainly(matrix, matrix.dtype)[..., 0]
    if whole:
        return _FirstColumn.apply(matrix)
    finite = finite.flatten(-3).all(-1, keepdim=True)
    result = _FirstColumn.apply(torch.where(finite.unsqueeze(-1), matrix, 0))
    return torch.where(finite, result, complex("nan"))
