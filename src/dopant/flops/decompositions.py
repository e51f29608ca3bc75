"""FLOPs of decompositions, solvers and matrix exponentials."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .formulas import VALUES_ALONE, Args, aten, batch, of, option, sides


@of("_linalg_eigh")
def _eigh(out: Any, args: Args, kwargs: dict) -> float:
    """G&VL 8.3: 9 n^3 with eigenvectors."""
    return batch(args[0]) * 9 * args[0].shape[-1] ** 3


@of("linalg_eig")
def _eig(out: Any, args: Args, kwargs: dict) -> float:
    """G&VL 7.5: 25 n^3 with eigenvectors."""
    return batch(args[0]) * 25 * args[0].shape[-1] ** 3


def _singular_values(m: int, n: int) -> float:
    return 4 * m * n**2 - 4 / 3 * n**3


@of("_linalg_svd")
def _svd(out: Any, args: Args, kwargs: dict) -> float:
    """G&VL 8.6, by Golub and Reinsch: 14mn^2 + 8n^3 with thin vectors, 4m^2n + 8mn^2 + 9n^3 with all."""
    m, n = sides(args[0])
    full = option(args, kwargs, 1, "full_matrices", False)
    return batch(args[0]) * (4 * m**2 * n + 8 * m * n**2 + 9 * n**3 if full else 14 * m * n**2 + 8 * n**3)


def _householder(m: int, n: int) -> float:
    """G&VL 5.2: R by Householder reflections; as much again for the thin Q."""
    k = min(m, n)
    return 4 * m * n * k - 2 * (m + n) * k**2 + 4 / 3 * k**3  # LAWN 41: 2mn^2 - 2n^3/3 where m >= n


@of("linalg_qr")
def _qr(out: Any, args: Args, kwargs: dict) -> float:
    """With Q: twice R's where it is thin, R's and 4(m^2n - mn^2 + n^3/3) where it is complete (G&VL 5.1)."""
    m, n = args[0].shape[-2:]
    mode = option(args, kwargs, 1, "mode", "reduced")
    k = min(m, n)
    q = {"r": 0.0, "complete": 4 * (m**2 * k - m * k**2 + k**3 / 3)}.get(mode, _householder(m, k))
    return batch(args[0]) * (_householder(m, n) + q)


@of("geqrf")
def _geqrf(out: Any, args: Args, kwargs: dict) -> float:
    return batch(args[0]) * _householder(*args[0].shape[-2:])


@of("linalg_householder_product")
def _householder_product(out: Any, args: Args, kwargs: dict) -> float:
    return batch(args[0]) * _householder(*args[0].shape[-2:])


def _lu(matrix: Tensor) -> float:
    """G&VL 3.2: mn^2 - n^3/3 for m >= n; 2n^3/3 if square."""
    m, n = sides(matrix)
    return batch(matrix) * (m * n**2 - n**3 / 3)


@of("linalg_lu", "linalg_lu_factor_ex", "_linalg_det", "_linalg_slogdet", "linalg_det", "linalg_slogdet")
def _factor(out: Any, args: Args, kwargs: dict) -> float:
    return _lu(args[0])


@of("linalg_ldl_factor_ex", "linalg_cholesky_ex")
def _cholesky(out: Any, args: Args, kwargs: dict) -> float:
    """G&VL 4.2 and 4.4: n^3/3."""
    return batch(args[0]) * args[0].shape[-1] ** 3 / 3


@of("linalg_inv_ex")
def _inverse(out: Any, args: Args, kwargs: dict) -> float:
    """LAWN 41: 2n^3 by LU; from a Cholesky factor 2n^3/3."""
    return 2 * batch(args[0]) * args[0].shape[-1] ** 3


@of("cholesky_inverse")
def _inverse_by_cholesky(out: Any, args: Args, kwargs: dict) -> float:
    return 2 / 3 * batch(args[0]) * args[0].shape[-1] ** 3


def _columns(of_matrices: Tensor, rhs: Tensor) -> float:
    """Right-hand sides of all matrices: a vector each, or the columns."""
    return rhs.numel() / of_matrices.shape[-1]


@of("_linalg_solve_ex")
def _solve(out: Any, args: Args, kwargs: dict) -> float:
    """LU, and 2n^2 a right-hand side."""
    return _lu(args[0]) + 2 * args[0].shape[-1] ** 2 * _columns(args[0], args[1])


@of("linalg_solve_triangular")
def _triangular(out: Any, args: Args, kwargs: dict) -> float:
    """n^2 a right-hand side (G&VL 3.1)."""
    return out.numel() * args[0].shape[-1]


@of("cholesky_solve")
def _solve_by_cholesky(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * args[1].shape[-1] * out.numel()


@of("linalg_lu_solve")
def _solve_by_lu(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * args[0].shape[-1] * out.numel()


@of("linalg_lstsq")
def _least_squares(out: Any, args: Args, kwargs: dict) -> float:
    """By QR (G&VL 5.3): the factor, and 4mn + n^2 a right-hand side."""
    m, n = sides(args[0])
    columns = args[1].shape[-1] if args[1].ndim > 1 else 1
    return batch(args[0]) * (_householder(m, n) + (4 * m * n + n**2) * columns)


@of("linalg_pinv")
def _pseudo_inverse(out: Any, args: Args, kwargs: dict) -> float:
    """By a thin SVD and one product."""
    m, n = sides(args[0])
    return batch(args[0]) * (14 * m * n**2 + 8 * n**3 + 2 * m * n**2)


# torch's bounds on the 1-norm for Taylor polynomials of degree 1, 2, 4, 8, 12, 18, which take 0 to 5 products (BBC)
_REACH = {
    torch.float32: (1.192092800768788e-07, 5.978858893805233e-04, 5.116619363445086e-02, 5.800524627688768e-01,
                    1.461661507209034e00, 3.010066362817634e00),
    torch.float64: (2.220446049250313e-16, 2.580956802971767e-08, 3.397168839976962e-04, 4.991228871115323e-02,
                    2.996158913811580e-01, 1.090863719290036e00),
}  # fmt: skip


@of("linalg_matrix_exp")
def _matrix_exp(out: Any, args: Args, kwargs: dict) -> float:
    """2n^3 a product: up to five by the norm of the matrix, and one more for each halving of a larger one."""
    matrix = args[0].detach()
    reach = _REACH.get(matrix.real.dtype if matrix.is_complex() else matrix.dtype, _REACH[torch.float32])
    norms = matrix.abs().sum(-2).amax(-1).double().reshape(-1) if matrix.numel() else matrix.new_zeros(0)
    products = (norms[:, None] > norms.new_tensor(reach[:-1])).sum() + torch.log2(norms / reach[-1]).ceil().clamp(
        0, 1024
    ).nan_to_num(0).sum()
    return float(products) * 2 * matrix.shape[-1] ** 3


VALUES_ALONE |= {
    aten._linalg_eigh: lambda out, args, kwargs: 4 / 3 * batch(args[0]) * args[0].shape[-1] ** 3,
    aten.linalg_eig: lambda out, args, kwargs: 10 * batch(args[0]) * args[0].shape[-1] ** 3,
    aten._linalg_svd: lambda out, args, kwargs: batch(args[0]) * _singular_values(*sides(args[0])),
}  # G&VL 8.3, 7.5 and 8.6, each without vectors
