"""States of the data re-uploading circuit: repetitions of exp(iH/r), then a gate, on one state per sample.

exp(iH/r) is the same in every repetition, so it is made once per sample: from a series where H/r is small, else from a
real eigendecomposition. States are kept as two real rows (real part, imaginary part): row times matrix is the fast
order, and real products the fast ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from . import _series
from ._exponential import half_differences

_CACHED = 2**18  # entries of the samples' matrices worked on at a time: their unitaries then stay in the L2 cache


def propagate(matrices: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
    """The final state of |+...+> after W_r e^{iH/r} ... W_1 e^{iH/r}, with H = (X + X^T)/2.

    matrices: X (batch, n, n), real; gates: W (r, n, n), complex of the same precision, not necessarily unitary.
    Returns (batch, 2, n): real and imaginary part. A sample that is not finite gives NaN, where eigh would raise.
    Twice differentiable (the second derivative by torch.linalg.matrix_exp: slow, and full autograd memory).
    Cost a sample: one exponential, r products of n x 2n with two rows forward, as many backward.
    """
    sound = torch.isfinite(matrices.detach()).all(-1).all(-1)
    all_sound = bool(sound.all())
    if not all_sound:
        matrices = torch.where(sound[:, None, None], matrices, 0)
    n = matrices.shape[-1]
    rows = _real_rows(gates)
    with torch.no_grad():
        # pieces (re Re U, re Im U, im Re U, im Im U) of a product make re and im by signs; the gate absorbs them
        back = rows.mT
        forth = torch.cat([rows, rows[:, n:], -rows[:, :n]], dim=1)
        back = torch.cat([back[:, :n], -back[:, n:], back[:, n:], back[:, :n]], dim=1)
    chunks = [_Propagate.apply(chunk, rows, forth, back) for chunk in matrices.split(max(1, _CACHED // n**2))]
    states = torch.cat(chunks) if len(chunks) > 1 else chunks[0]
    return states if all_sound else torch.where(sound[:, None, None], states, math.nan)


def propagate_plainly(matrices: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The same states by matrix exponentials and ordinary autograd: slow, differentiable any number of times.

    rows: the gates as _real_rows gives them.
    """
    batch, n, _ = matrices.shape
    data = torch.linalg.matrix_exp(1j * (matrices + matrices.mT) / (2 * len(rows)))
    state = torch.full((batch, 1, n), 1 / math.sqrt(n), dtype=data.dtype, device=data.device)
    for row in rows:
        state = state @ data
        state = (torch.cat([state.real, state.imag], dim=2) @ row).view(batch, 2, n)
        state = torch.complex(state[:, 0], state[:, 1]).unsqueeze(1)
    return torch.cat([state.real, state.imag], dim=1)


class _Propagate(torch.autograd.Function):
    """Each repetition is two products: rows (re, im) times (Re U | Im U), then all four pieces times the gate's rows.

    What the backward needs in the eigenbasis is computed afterwards for all repetitions at once.
    """

    @staticmethod
    def forward(
        ctx: Any, matrices: torch.Tensor, rows: torch.Tensor, forth: torch.Tensor, back: torch.Tensor
    ) -> torch.Tensor:
        batch, n, _ = matrices.shape
        reps = len(rows)
        data, ctx.plan, kept = _exponential((matrices + matrices.mT) / (2 * reps))
        states, pieces = matrices.new_zeros(reps, batch, 2, n), matrices.new_empty(reps, batch, 2, 2 * n)
        states[0, :, 0] = 1 / math.sqrt(n)
        final = matrices.new_empty(batch, 2, n)
        # written where they are kept: no copies, and on small circuits half of the time is the calls' own
        into = [*states.view(reps, batch, 2 * n).unbind()[1:], final.view(batch, 2 * n)]
        for state, piece, flat, gate, out in zip(
            states.unbind(),
            pieces.unbind(),
            pieces.view(reps, batch, 4 * n).unbind(),
            forth.unbind(),
            into,
            strict=True,
        ):
            torch.bmm(state, data, out=piece)
            torch.mm(flat, gate, out=out)
        ctx.save_for_backward(matrices, rows, back, data, states, pieces, *kept)
        return final

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        matrices, rows, back, data, states, pieces, *kept = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():  # somebody wants a second derivative
            inputs = [t for t, w in zip((matrices, rows), wanted, strict=True) if w]
            found = iter(torch.autograd.grad(propagate_plainly(matrices, rows), inputs, gradient, create_graph=True))
            return (*(next(found) if w else None for w in wanted), None, None)
        batch, n, _ = matrices.shape
        reps = len(rows)
        before_gate = torch.empty_like(states)
        returned = pieces.new_empty(reps - 1, batch, 2, 2 * n)
        into = before_gate.view(reps, batch, 2 * n).unbind()
        torch.mm(gradient.reshape(batch, 2 * n), rows[-1].T, out=into[-1])
        flat = returned.view(reps - 1, batch, 4 * n)
        for k in reversed(range(reps - 1)):
            torch.bmm(before_gate[k + 1], data, out=returned[k])
            torch.mm(flat[k], back[k], out=into[k])
        after_gate = torch.cat([_apply_pieces(returned, -1), gradient.unsqueeze(0)])
        return (
            _gradient_of_matrices(ctx.plan, kept, states, before_gate) if wanted[0] else None,
            _gradient_of_rows(_apply_pieces(pieces, 1), after_gate) if wanted[1] else None,
            None,
            None,
        )


def _exponential(matrices: torch.Tensor) -> tuple[torch.Tensor, _series.Plan | None, tuple[torch.Tensor, ...]]:
    """(Re U | Im U) of U = exp(iA), A symmetric; the plan of the series, None without one; what the gradient needs."""
    found = _series.cos_sin(matrices)
    if found is not None:
        return found
    values, vectors = torch.linalg.eigh(matrices)
    transposed = vectors.mT
    cos, sin = values.cos().unsqueeze(2), values.sin().unsqueeze(2)
    return vectors @ torch.cat([transposed * cos, transposed * sin], dim=2), None, (values, vectors)


def _apply_pieces(pieces: torch.Tensor, sign: int) -> torch.Tensor:
    """(r, batch, 2, 2n) products of (re, im) with (Re U | Im U) -> (r, batch, 2, n): U psi, or conj(U) psi for sign -1.

    U is symmetric, so conj(U) is its adjoint.
    """
    n = pieces.shape[-1] // 2
    swapped = torch.stack([-pieces[:, :, 1, n:], pieces[:, :, 0, n:]], dim=2)
    return torch.add(pieces[..., :n], swapped, alpha=sign)


def _real_rows(gates: torch.Tensor) -> torch.Tensor:
    """(r, 2n, 2n) real M with (re, im) row @ M = the row of W psi."""
    real, imaginary = gates.real.mT, gates.imag.mT
    return torch.cat([torch.cat([real, imaginary], dim=2), torch.cat([-imaginary, real], dim=2)], dim=1)


def _gradient_of_rows(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """(r, 2n, 2n): the sum over samples of before^T after, both (r, batch, 2, n)."""
    return before.flatten(2).mT @ after.flatten(2)


def _gradient_of_matrices(
    plan: _series.Plan | None, kept: Sequence[torch.Tensor], states: torch.Tensor, gradients: torch.Tensor
) -> torch.Tensor:
    """dL/dX from the states before each exp(iA) and the gradients after it, both (r, batch, 2, n).

    A = (X + X^T)/(2r), hence the symmetric part over r.
    """
    reps, batch, _, n = states.shape
    states = states.permute(1, 2, 0, 3).reshape(batch, 2 * reps, n)
    gradients = gradients.permute(1, 2, 0, 3)
    if plan is None:
        values, vectors = kept
        return _gradient_by_eigenvectors(values, vectors, states, gradients.reshape(batch, 2 * reps, n)) / reps
    # U is symmetric: Re psi gives (Re g | Im g) to its real and imaginary part, Im psi gives (Im g | -Re g)
    outer = gradients.new_empty(batch, 2, reps, 2, n)
    outer[:, 0] = gradients.transpose(1, 2)
    outer[:, 1, :, 0] = gradients[:, 1]
    torch.neg(gradients[:, 0], out=outer[:, 1, :, 1])
    return _series.gradient(plan, kept, states.mT @ outer.view(batch, 2 * reps, 2 * n)) / reps


def _gradient_by_eigenvectors(
    values: torch.Tensor, vectors: torch.Tensor, states: torch.Tensor, gradients: torch.Tensor
) -> torch.Tensor:
    """dL/dA, symmetric, from states and gradients (batch, 2r, n), all real parts first.

    In the eigenbasis dL/dA_jk = sinc((l_j - l_k)/2) Re sum_r conj(-i e^{-i l_j/2} g_j) e^{i l_k/2} y_k. No eigenvalue
    difference is divided by, so repeated eigenvalues (zero, constant, identity inputs) are as good as any.
    """
    batch, n = values.shape
    cos, sin = (values / 2).cos()[:, None], (values / 2).sin()[:, None]
    y = (states @ vectors).view(batch, 2, -1, n)
    g = (gradients @ vectors).view(batch, 2, -1, n)
    y_re, y_im, g_re, g_im = y[:, 0], y[:, 1], g[:, 0], g[:, 1]
    y = torch.cat([y_re * cos - y_im * sin, y_im * cos + y_re * sin], dim=1)  # e^{i l/2} y
    g = torch.cat([g_im * cos - g_re * sin, -g_re * cos - g_im * sin], dim=1)  # -i e^{-i l/2} g
    inner = g.mT @ y
    inner = half_differences(values) * (inner + inner.mT)
    return vectors @ inner @ vectors.mT / 2
