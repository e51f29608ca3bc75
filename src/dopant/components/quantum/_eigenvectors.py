"""Repetitions of exp(iA) by the eigenvectors of A, real and symmetric: for norms and sides where series cost more.

A state passes through exp(iA) as two products of its real and imaginary row with a matrix of side n; exp(iA) itself is
never formed. What these rows are in the eigenbasis is all that the gradient needs beside.
"""

from __future__ import annotations

import torch

from ...quantum.exponential import half_differences


def forward(matrices: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The final states (batch, 2, n) and what `backward` needs.

    matrices: A (batch, n, n). rows: gates as real rows (r, 2n, 2n). The start is |+...+>.
    """
    batch, n, _ = matrices.shape
    reps = len(rows)
    values, vectors = torch.linalg.eigh(matrices)
    turned, before_gate = matrices.new_empty(2, reps, batch, 2, n).unbind()
    cos, sin = values.cos(), values.sin()
    state = matrices.new_zeros(batch, 2, n)
    state[:, 0] = n**-0.5
    for k in range(reps):
        torch.bmm(state, vectors, out=turned[k])
        torch.bmm(_turn(turned[k], cos, sin, 1), vectors.mT, out=before_gate[k])
        state = (before_gate[k].view(batch, 2 * n) @ rows[k]).view(batch, 2, n)
    return state, [values, vectors, turned, before_gate]


def backward(
    gradient: torch.Tensor, rows: torch.Tensor, kept: list[torch.Tensor], wanted: int
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """The first `wanted` rows of dL/dA, symmetric (None if 0), and (r, batch, 2, n) states before the gates and
    gradients after them."""
    values, vectors, turned, before_gate = kept
    reps, batch, _, n = turned.shape
    returned, after_gate = torch.empty_like(turned), torch.empty_like(turned)
    cos, sin = values.cos(), values.sin()
    after_gate[-1] = gradient
    for k in reversed(range(reps)):
        found = (after_gate[k].view(batch, 2 * n) @ rows[k].T).view(batch, 2, n)
        torch.bmm(found, vectors, out=returned[k])
        if k:
            torch.bmm(_turn(returned[k], cos, sin, -1), vectors.mT, out=after_gate[k - 1])
    slope = _slope(values, vectors, turned, returned, wanted) if wanted else None
    return slope, before_gate, after_gate


def _turn(rows: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, sign: int) -> torch.Tensor:
    """(batch, 2, n) times exp(sign i lambda)."""
    found = rows * cos.unsqueeze(1)
    found[:, 0].addcmul_(rows[:, 1], sin, value=-sign)
    found[:, 1].addcmul_(rows[:, 0], sin, value=sign)
    return found


def _slope(
    values: torch.Tensor, vectors: torch.Tensor, states: torch.Tensor, gradients: torch.Tensor, wanted: int
) -> torch.Tensor:
    """The first rows of dL/dA from states and gradients in the eigenbasis, (r, batch, 2, n).

    In the eigenbasis dL/dA_jk = sinc((l_j - l_k)/2) Re sum_r conj(-i e^{-i l_j/2} g_j) e^{i l_k/2} y_k. No eigenvalue
    difference is divided by, so repeated eigenvalues (zero, constant, identity inputs) are as good as any.
    """
    cos, sin = (values / 2).cos(), (values / 2).sin()
    y_re, y_im = states.unbind(2)
    g_re, g_im = gradients.unbind(2)
    y = torch.cat([y_re * cos - y_im * sin, y_im * cos + y_re * sin])  # e^{i l/2} y
    g = torch.cat([g_im * cos - g_re * sin, -g_re * cos - g_im * sin])  # -i e^{-i l/2} g
    g /= 2  # of the symmetric part
    one, other = torch.cat([g, y]).transpose(0, 1), torch.cat([y, g]).transpose(0, 1)
    inner = one.mT @ other  # g^T y + y^T g
    return vectors[:, :wanted] @ inner.mul_(half_differences(values)) @ vectors.mT
