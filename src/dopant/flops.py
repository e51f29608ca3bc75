"""Counting the arithmetic of torch code: a multiply-add is two FLOPs, of complex numbers eight.

torch's own FlopCounterMode knows products, convolutions and attention, and takes complex numbers for real ones. Here
decompositions, matrix exponentials, solvers, Fourier transforms, recurrent kernels and in-place products count too.
Element-wise work, sums and copies count nothing, as there. What torch does not run (NumPy, SciPy, Numba, custom
operations) no counter can see: components declare it, see `dopant.cost`.

Sources. G&VL: Golub and Van Loan, Matrix Computations, 4th edition, sections 3.2 (LU), 4.2 (Cholesky), 5.1, 5.2 (QR),
7.5 (unsymmetric eigenvalues), 8.3 (symmetric ones), 8.6 (SVD). LAWN 41: LAPACK Working Note 41, appendix C. BBC: Bader,
Blanes and Casas 2019, Mathematics 7, 1174, table 1, which is how torch makes matrix exponentials (the scaling and
squaring of Higham 2005 takes six products and a solve where BBC takes five products). FFT: 5 N log2 N (van Loan 1992).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten
KNOWN = ("aten", "prim", "prims", "profiler")  # operations of torch itself; all others are somebody's own

Args = tuple[Any, ...]
Formula = Callable[[Any, Args, dict], float]  # (outputs, args, kwargs) -> real FLOPs, if all numbers were real
FORMULAS: dict[Any, Formula] = {}
VALUES_ALONE: dict[Any, Formula] = {
    aten._linalg_eigh: lambda out, args, kwargs: 4 / 3 * _batch(args[0]) * args[0].shape[-1] ** 3,
    aten.linalg_eig: lambda out, args, kwargs: 10 * _batch(args[0]) * args[0].shape[-1] ** 3,
    aten._linalg_svd: lambda out, args, kwargs: _batch(args[0]) * _singular_values(*_sides(args[0])),
}  # G&VL 8.3, 7.5 and 8.6, each without vectors


class Counter(TorchDispatchMode):
    """Context in which FLOPs are counted, forward and backward, whatever the device.

    by_operation: FLOPs by name of the operation. unseen: operations that are not torch's, whose work is not in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.by_operation: dict[str, float] = {}
        self.unseen: set[str] = set()
        self._asked = _Asked()

    def __enter__(self) -> Counter:
        self._asked.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._asked.__exit__(*error)

    @property
    def total(self) -> float:
        return sum(self.by_operation.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Args = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        packet = getattr(func, "_overloadpacket", func)
        formula = (VALUES_ALONE if self._asked.values_alone else FORMULAS).get(packet)
        formula = formula or FORMULAS.get(packet) or _torch_formula(packet)
        if formula is None and getattr(func, "_can_decompose", bool)():  # in inference mode they arrive whole
            with torch._C.DisableTorchFunction(), _Again(self):
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        outputs = self.execute(func, args, kwargs)
        if formula is not None:
            self.by_operation[str(packet)] = self.by_operation.get(str(packet), 0) + _flops(
                formula, outputs, args, kwargs
            )
        elif getattr(func, "namespace", "aten") not in KNOWN:
            self.unseen.add(str(packet))
        return outputs

    def execute(self, func: Any, args: Args, kwargs: dict) -> Any:
        return func(*args, **kwargs)


class _Again:
    """The counter's own context once more, within it: what an operation decomposes into is counted as well."""

    def __init__(self, counter: Counter):
        self.counter = counter

    def __enter__(self) -> None:
        TorchDispatchMode.__enter__(self.counter)

    def __exit__(self, *error: Any) -> None:
        TorchDispatchMode.__exit__(self.counter, *error)


class _Asked(TorchFunctionMode):
    """Notes calls for eigenvalues alone: below, while anybody watches, torch makes the vectors too."""

    values_alone = False

    def __torch_function__(self, func: Any, types: Any, args: Args = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func not in (torch.linalg.eigvalsh, torch.linalg.eigvals, torch.linalg.svdvals):
            return func(*args, **kwargs)
        # where a gradient is wanted the vectors are made after all
        tensors = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        self.values_alone = not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
        try:
            return func(*args, **kwargs)
        finally:
            self.values_alone = False


def _flops(formula: Formula, outputs: Any, args: Args, kwargs: dict) -> float:
    inputs = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    return formula(outputs, args, kwargs) * (4 if any(t.is_complex() for t in inputs) else 1)


def _torch_formula(packet: Any) -> Formula | None:
    theirs = flop_registry.get(packet)
    return None if theirs is None else lambda outputs, args, kwargs: theirs(*args, **kwargs, out_val=outputs)


def of(*packets: str) -> Callable[[Formula], Formula]:
    """Decorator: this formula holds for these operations, as far as this torch has them."""

    def register(formula: Formula) -> Formula:
        for name in packets:
            if hasattr(aten, name):
                FORMULAS[getattr(aten, name)] = formula
        return formula

    return register


def _option(args: Args, kwargs: dict, position: int, name: str, default: Any) -> Any:
    return args[position] if position < len(args) else kwargs.get(name, default)


def _batch(tensor: Tensor, core: int = 2) -> int:
    """How many matrices a stack holds."""
    return math.prod(tensor.shape[:-core])


def _sides(tensor: Tensor) -> tuple[int, int]:
    """(longer, shorter) side of the matrices."""
    m, n = tensor.shape[-2:]
    return max(m, n), min(m, n)


# --- products ---------------------------------------------------------------------------------------------------------


@of("mm", "bmm")
def _product(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * math.prod(args[0].shape) * args[1].shape[-1]


@of("addmm", "addmm_", "baddbmm", "baddbmm_", "addbmm", "addbmm_", "_addmm_activation")
def _added_product(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * math.prod(args[1].shape) * args[2].shape[-1]


@of("mv", "dot", "vdot")
def _vector_product(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * args[0].numel()


@of("addmv", "addmv_")
def _added_vector_product(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * args[1].numel()


@of("addr", "addr_")
def _outer(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * args[1].numel() * args[2].numel()


@of("_trilinear")
def _trilinear(out: Any, args: Args, kwargs: dict) -> float:
    """sum of a * b * c over the axes that are written in full: two products and an addition an entry of the whole."""
    shapes = []
    for tensor, expand in zip(args[:3], args[3:6], strict=True):
        shape = list(tensor.shape)
        for axis in sorted(expand):
            shape.insert(axis, 1)
        shapes.append(shape)
    return 3 * math.prod(max(sides) for sides in zip(*shapes, strict=True))


@of("_cdist_forward")
def _distances(out: Any, args: Args, kwargs: dict) -> float:
    return 3 * out.numel() * args[0].shape[-1]


def _convolved(x: Tensor, weight: Tensor, out: Tensor, transposed: bool) -> float:
    positions = (x if transposed else out).shape[2:]
    return 2 * x.shape[0] * math.prod(positions) * weight.numel()


@of("convolution", "_convolution", "cudnn_convolution", "convolution_overrideable", "_slow_conv2d_forward")
def _convolution(out: Any, args: Args, kwargs: dict) -> float:
    # _slow_conv2d_forward has something else there, and is never transposed
    return _convolved(args[0], args[1], out, _option(args, kwargs, 6, "transposed", False) is True)


@of("convolution_backward")
def _convolution_backward(out: Any, args: Args, kwargs: dict) -> float:
    """The gradient of input and that of weight take as much as the forward, each if it is wanted."""
    gradient, x, weight, transposed, wanted = args[0], args[1], args[2], args[7], args[10]
    return (bool(wanted[0]) + bool(wanted[1])) * _convolved(x, weight, gradient, transposed)


@of("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math")
def _attention(out: Any, args: Args, kwargs: dict) -> float:
    query, key, value = args[:3]
    return 2 * math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])


@of("_scaled_dot_product_flash_attention_for_cpu_backward")
def _attention_backward(out: Any, args: Args, kwargs: dict) -> float:
    """Scores anew, then the gradients of values, weights, queries and keys (as torch counts it on a GPU)."""
    _, query, key, value = args[:4]
    scores = 2 * math.prod(query.shape[:-1]) * key.shape[-2]
    return scores * (3 * query.shape[-1] + 2 * value.shape[-1])


@of("_native_multi_head_attention")
def _native_attention(out: Any, args: Args, kwargs: dict) -> float:
    query, key, dim = args[0], args[1], args[3]
    batch, length, source = query.shape[0], query.shape[-2], key.shape[-2]
    return batch * (2 * dim * dim * (2 * length + 2 * source) + 4 * length * source * dim)


@of("mkldnn_rnn_layer")
def _recurrent(out: Any, args: Args, kwargs: dict) -> float:
    """Each of input and state times its weights, at each time: (time, batch, features), whichever comes first."""
    return 2 * math.prod(args[0].shape[:-1]) * (args[1].numel() + args[2].numel())


@of("mkldnn_rnn_layer_backward")
def _recurrent_backward(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * _recurrent(out, args, kwargs)


@of("_cudnn_rnn", "miopen_rnn")
def _cudnn_recurrent(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * math.prod(args[0].shape[:-1]) * sum(w.numel() for w in args[1] if w.ndim > 1)


@of("_cudnn_rnn_backward", "miopen_rnn_backward")
def _cudnn_recurrent_backward(out: Any, args: Args, kwargs: dict) -> float:
    return 2 * _cudnn_recurrent(out, args, kwargs)


# --- decompositions, solvers ------------------------------------------------------------------------------------------


@of("_linalg_eigh")
def _eigh(out: Any, args: Args, kwargs: dict) -> float:
    """G&VL 8.3: 9 n^3 with eigenvectors."""
    return _batch(args[0]) * 9 * args[0].shape[-1] ** 3


@of("linalg_eig")
def _eig(out: Any, args: Args, kwargs: dict) -> float:
    """G&VL 7.5: 25 n^3 with eigenvectors."""
    return _batch(args[0]) * 25 * args[0].shape[-1] ** 3


def _singular_values(m: int, n: int) -> float:
    return 4 * m * n**2 - 4 / 3 * n**3


@of("_linalg_svd")
def _svd(out: Any, args: Args, kwargs: dict) -> float:
    """G&VL 8.6, by Golub and Reinsch: 14mn^2 + 8n^3 with thin vectors, 4m^2n + 8mn^2 + 9n^3 with all."""
    m, n = _sides(args[0])
    full = _option(args, kwargs, 1, "full_matrices", False)
    return _batch(args[0]) * (4 * m**2 * n + 8 * m * n**2 + 9 * n**3 if full else 14 * m * n**2 + 8 * n**3)


def _householder(m: int, n: int) -> float:
    """G&VL 5.2: R by Householder reflections; as much again for the thin Q."""
    k = min(m, n)
    return 4 * m * n * k - 2 * (m + n) * k**2 + 4 / 3 * k**3  # LAWN 41: 2mn^2 - 2n^3/3 where m >= n


@of("linalg_qr")
def _qr(out: Any, args: Args, kwargs: dict) -> float:
    """With Q: twice R's where it is thin, R's and 4(m^2n - mn^2 + n^3/3) where it is complete (G&VL 5.1)."""
    m, n = args[0].shape[-2:]
    mode = _option(args, kwargs, 1, "mode", "reduced")
    k = min(m, n)
    q = {"r": 0.0, "complete": 4 * (m**2 * k - m * k**2 + k**3 / 3)}.get(mode, _householder(m, k))
    return _batch(args[0]) * (_householder(m, n) + q)


@of("geqrf")
def _geqrf(out: Any, args: Args, kwargs: dict) -> float:
    return _batch(args[0]) * _householder(*args[0].shape[-2:])


@of("linalg_householder_product")
def _householder_product(out: Any, args: Args, kwargs: dict) -> float:
    return _batch(args[0]) * _householder(*args[0].shape[-2:])


def _lu(matrix: Tensor) -> float:
    """G&VL 3.2: mn^2 - n^3/3 for m >= n; 2n^3/3 if square."""
    m, n = _sides(matrix)
    return _batch(matrix) * (m * n**2 - n**3 / 3)


@of("linalg_lu", "linalg_lu_factor_ex", "_linalg_det", "_linalg_slogdet", "linalg_det", "linalg_slogdet")
def _factor(out: Any, args: Args, kwargs: dict) -> float:
    return _lu(args[0])


@of("linalg_ldl_factor_ex", "linalg_cholesky_ex")
def _cholesky(out: Any, args: Args, kwargs: dict) -> float:
    """G&VL 4.2 and 4.4: n^3/3."""
    return _batch(args[0]) * args[0].shape[-1] ** 3 / 3


@of("linalg_inv_ex")
def _inverse(out: Any, args: Args, kwargs: dict) -> float:
    """LAWN 41: 2n^3 by LU; from a Cholesky factor 2n^3/3."""
    return 2 * _batch(args[0]) * args[0].shape[-1] ** 3


@of("cholesky_inverse")
def _inverse_by_cholesky(out: Any, args: Args, kwargs: dict) -> float:
    return 2 / 3 * _batch(args[0]) * args[0].shape[-1] ** 3


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
    m, n = _sides(args[0])
    columns = args[1].shape[-1] if args[1].ndim > 1 else 1
    return _batch(args[0]) * (_householder(m, n) + (4 * m * n + n**2) * columns)


@of("linalg_pinv")
def _pseudo_inverse(out: Any, args: Args, kwargs: dict) -> float:
    """By a thin SVD and one product."""
    m, n = _sides(args[0])
    return _batch(args[0]) * (14 * m * n**2 + 8 * n**3 + 2 * m * n**2)


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


# --- Fourier transforms -----------------------------------------------------------------------------------------------


def _transformed(tensor: Tensor, axes: Any) -> float:
    """5 N log2 N of N complex numbers, over all transforms; as FORMULAS count real numbers, a quarter of it."""
    length = math.prod(tensor.shape[a] for a in axes)
    return 5 * tensor.numel() * math.log2(max(length, 2))


@of("_fft_c2c")
def _complex_fft(out: Any, args: Args, kwargs: dict) -> float:
    return _transformed(args[0], args[1]) / 4


@of("_fft_r2c")
def _real_fft(out: Any, args: Args, kwargs: dict) -> float:
    """Half of the complex one of this length; its input is real."""
    return _transformed(args[0], args[1]) / 2


@of("_fft_c2r")
def _inverse_real_fft(out: Any, args: Args, kwargs: dict) -> float:
    return _transformed(out, args[1]) / 2 / 4
