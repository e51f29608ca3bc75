"""exp(iA) of many small real symmetric matrices by products alone, where eigendecompositions cost several times more.

cos A and sin A are polynomials in A^2, evaluated three powers at a time (Paterson and Stockmeyer 1973); a large A is
halved first and its angle doubled afterwards. The gradient is that of these very products, so it knows no eigenvalue
differences. Every matrix in it is a polynomial in A: symmetric, and of any gradient only the symmetric part counts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

# the largest |A| for which 1, 2, 3 rounds of three further powers of A^2 leave out less than the rounding
_REACH = {torch.float32: (1.25, 2.8), torch.float64: (0.3, 1.1, 2.3)}
_DOUBLINGS = 1  # with more, an eigendecomposition is as fast
SIDE = 64  # of larger matrices too: products then cost what they count


class Plan(NamedTuple):
    rounds: int
    doublings: int


def plan(bound: float, dtype: torch.dtype) -> Plan | None:
    """How to reach rounding error for matrices of spectral norm up to `bound`; None where that is not worth while."""
    reach = _REACH.get(dtype)
    if reach is None or not bound <= reach[-1] * 2**_DOUBLINGS:
        return None
    doublings = max(0, math.ceil(math.log2(max(bound, reach[-1]) / reach[-1])))
    return Plan(next((k for k, most in enumerate(reach, 1) if bound / 2**doublings <= most), len(reach)), doublings)


def cos_sin(matrices: torch.Tensor) -> tuple[torch.Tensor, Plan, tuple[torch.Tensor, ...]] | None:
    """(cos A | sin A) of A (batch, n, n), symmetric: (batch, n, 2n); and what `gradient` needs.

    None if the matrices are too large in side or norm. Cost: 4 + 2 rounds + 3 doublings products of side n.
    """
    batch, n, _ = matrices.shape
    if n > SIDE or not batch:
        return None
    powers = matrices.new_empty(2, batch, n, n)
    torch.bmm(matrices, matrices, out=powers[0])
    # the fourth root of the trace of A^4: at most n^(1/4) above the spectral norm
    chosen = plan(torch.linalg.vector_norm(powers[0], dim=(1, 2)).max().sqrt().item(), matrices.dtype)
    if chosen is None:
        return None
    if chosen.doublings:
        matrices = matrices / 2**chosen.doublings
        powers[0] /= 4**chosen.doublings
    torch.bmm(powers[0], powers[0], out=powers[1])
    sixth = powers[1] @ powers[0]
    constant, factors = _coefficients(chosen.rounds, matrices.dtype, matrices.device)
    terms = (factors @ powers.view(2, -1)).view(-1, batch, n, n)  # (2 rounds + 2, ...): cos A, sin(A)/A by turns
    terms.diagonal(dim1=2, dim2=3).add_(constant)
    for k in reversed(range(2 * chosen.rounds)):
        terms[k].baddbmm_(sixth, terms[k + 2])  # the terms from A^6(k//2) on, divided by it
    data = [torch.cat([terms[0], matrices @ terms[1]], dim=2)]
    for _ in range(chosen.doublings):
        cos, sin = data[-1][..., :n], data[-1][..., n:]
        double = cos @ data[-1]
        torch.baddbmm(double[..., :n], sin, sin, alpha=-1, out=double[..., :n])
        double[..., n:] *= 2
        data.append(double)
    return data[-1], chosen, (matrices, powers, sixth, terms, *data[:-1])


def gradient(chosen: Plan, kept: Sequence[torch.Tensor], outer: torch.Tensor) -> torch.Tensor:
    """dL/dA, symmetric, from dL/d(cos A | sin A). Cost: 6 + 4 rounds + 4 doublings products."""
    matrices, powers, sixth, terms, *data = kept
    n = matrices.shape[-1]
    cos, sin = outer[..., :n], outer[..., n:]
    for double in reversed(data):
        both = torch.cat([_twice_symmetric(cos), _twice_symmetric(sin)], dim=1) @ double
        cos, sin = both[:, :n, :n] + both[:, n:, n:], both[:, n:, :n] - both[:, :n, n:]
    inner = torch.empty_like(terms)
    inner[0] = cos
    found = sin @ terms[1]
    torch.bmm(matrices, sin, out=inner[1])
    of_sixth = torch.zeros_like(sixth)
    for k in range(2 * chosen.rounds):
        of_sixth.baddbmm_(inner[k], terms[k + 2])
        torch.bmm(sixth, inner[k], out=inner[k + 2])
    _, factors = _coefficients(chosen.rounds, matrices.dtype, matrices.device)
    of_square, of_fourth = (factors.T @ inner.view(len(terms), -1)).view_as(powers)
    of_fourth.baddbmm_(of_sixth, powers[0])
    of_square.baddbmm_(powers[1], of_sixth)
    of_square.baddbmm_(_twice_symmetric(of_fourth), powers[0])
    found.baddbmm_(_twice_symmetric(of_square), matrices)
    return _twice_symmetric(found).div_(2 * 2**chosen.doublings)


def _twice_symmetric(matrices: torch.Tensor) -> torch.Tensor:
    return matrices + matrices.mT


@functools.lru_cache(maxsize=16)
def _coefficients(rounds: int, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the k-th three terms of cos A and sin(A)/A: the constant (2 rounds + 2, 1, 1), the factors of A^2 and A^4."""
    rows = [
        [(-1) ** j / math.factorial(2 * j + odd) for j in range(3 * k, 3 * k + 3)]
        for k in range(rounds + 1)
        for odd in (0, 1)
    ]
    with torch.inference_mode(False):  # made once, perhaps in inference mode, and used in training too
        table = torch.tensor(rows, dtype=dtype, device=device)
        return table[:, :1].unsqueeze(2).contiguous(), table[:, 1:].contiguous()
