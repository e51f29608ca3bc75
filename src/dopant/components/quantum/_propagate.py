"""States of the data re-uploading circuit: repetitions of exp(iH/r), then a gate, on one state per sample.

exp(iH/r) is the same in every repetition, so it is found once per sample: from a series where H/r is small, else from
a real eigendecomposition. States are kept as two real rows (real part, imaginary part): row times matrix is the fast
order, and real products the fast ones.

The same states come from a circuit of the gates hermitian_exp and special_unitary, which shares the exponential of the
gates and their sums of Pauli strings with this file (dopant.quantum.exponential, .pauli, ._series) but not this road:
gate by gate a step takes 2 to 3 times as long up to three qubits (batch 200, ten repetitions), 1 to 2.5 times on four
to six, because there every state is a complex one, and each exponential of data is a matrix of its own.

Why no Krylov or Chebyshev expansion of exp(iH/r) on the one state, estimated at q = 7, r = 10, batch 200 from measured
rates on one thread: on MNIST behind fresh circuit convolutions |H/r| is 6 to 12 in its first eigenvalue, 3 to 5 in the
second, below 1.2 in all others. One product of two rows with 128 x 128 takes 0.5 ms for the batch. Chebyshev at norm 10
needs about 27 terms, 270 products forward and 270 back and an outer product of rank 540: 330 ms, against some 230 by
eigenvectors (131 of it the decomposition). It would win below a norm of about 3. Lanczos needs about 12 terms, but each
with small inner products, which take as long as the product, and its gradient small decompositions by the thousand.
Taking the two outliers out first and expanding the rest (9 terms) might save 50 ms, for a subspace iteration, mixed
terms in the gradient and a road back for spectra without a gap: not built.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ..._precision import no_autocast
from ..._threads import over_chunks
from ...quantum import _series
from . import _eigenvectors

_CACHED = 2**18  # entries of the samples' matrices worked on at a time: they then stay in the L2 cache


def propagate(inputs: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
    """The final state of |+...+> after W_r e^{iH/r} ... W_1 e^{iH/r}, with H = (X + X^T)/2.

    inputs: (batch, at most n^2), real: the rows of X, the rest of it zero. gates: W (r, n, n), complex of the same
    precision, not necessarily unitary.
    Returns (batch, 2, n): real and imaginary part. A sample that is not finite gives NaN, where eigh would raise.
    Twice differentiable (the second derivative by torch.linalg.matrix_exp: slow, and full autograd memory).
    Cost a sample: one exponential, r products of two rows with 2n x n forward, as many backward.
    The bits of states and gradients are the same for any number of threads, under autocast and outside of it.
    """
    sound = inputs.detach().sum(-1).isfinite()  # a sum tells in a quarter of the time; large numbers may spoil it too
    all_sound = bool(sound.all())
    if not all_sound:
        sound = torch.isfinite(inputs.detach()).all(-1)
        all_sound = bool(sound.all())
    if not all_sound:
        inputs = torch.where(sound[:, None], inputs, 0)
    states = _Propagate.apply(inputs, _real_rows(gates))
    return states if all_sound else torch.where(sound[:, None, None], states, math.nan)


def propagate_plainly(inputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The same states by matrix exponentials and ordinary autograd: slow, differentiable any number of times.

    rows: the gates as _real_rows gives them.
    """
    batch, n = len(inputs), rows.shape[-1] // 2
    matrices = torch.nn.functional.pad(inputs, (0, n * n - inputs.shape[-1])).view(batch, n, n)
    data = torch.linalg.matrix_exp(1j * (matrices + matrices.mT) / (2 * len(rows)))
    state = torch.full((batch, 1, n), 1 / math.sqrt(n), dtype=data.dtype, device=data.device)
    for row in rows:
        state = state @ data
        state = (torch.cat([state.real, state.imag], dim=2) @ row).view(batch, 2, n)
        state = torch.complex(state[:, 0], state[:, 1]).unsqueeze(1)
    return torch.cat([state.real, state.imag], dim=1)


class _Propagate(torch.autograd.Function):
    """Chunk by chunk over threads; only the gradient of the gates sums over samples, one repetition a thread."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        n = rows.shape[-1] // 2
        ctx.chunk = max(1, _CACHED // n**2)
        pair = _with_signs(rows) if n <= _series.SIDE else None
        chunks = inputs.split(ctx.chunk)
        found = over_chunks(lambda chunk: _forward(chunk, rows, pair), chunks, inputs.device)
        ctx.plans = [(plan, len(kept)) for _, plan, kept in found]
        ctx.save_for_backward(inputs, rows, *(t for _, _, kept in found for t in kept))
        return torch.cat([states for states, _, _ in found]) if len(found) > 1 else found[0][0]

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        inputs, rows, *kept = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        if torch.is_grad_enabled():  # somebody wants a second derivative
            leaves = [t for t, w in zip((inputs, rows), wanted, strict=True) if w]
            with no_autocast(inputs.device):
                states = propagate_plainly(inputs, rows)
                found = iter(torch.autograd.grad(states, leaves, gradient, create_graph=True))
            return tuple(next(found) if w else None for w in wanted)
        pair = _with_signs(rows) if any(plan is not None for plan, _ in ctx.plans) else None
        rest = iter(kept)
        jobs: list[tuple[torch.Tensor, _series.Plan | None, list[torch.Tensor], torch.Tensor | None]] = []
        slope = torch.empty_like(inputs) if wanted[0] else None
        slopes = [None] * len(ctx.plans) if slope is None else slope.split(ctx.chunk)
        for part, into, (plan, count) in zip(gradient.split(ctx.chunk), slopes, ctx.plans, strict=True):
            jobs.append((part, plan, [next(rest) for _ in range(count)], into))
        found = over_chunks(lambda job: _backward(*job, rows=rows, pair=pair), jobs, inputs.device)
        before, after = zip(*found, strict=True)
        of_rows = None
        if wanted[1]:  # the sum over samples of before^T after
            pairs = list(zip(torch.cat(before, 1).flatten(2), torch.cat(after, 1).flatten(2), strict=True))
            of_rows = torch.stack(over_chunks(lambda both: both[0].T @ both[1], pairs, inputs.device))
        return slope, of_rows


def _forward(
    inputs: torch.Tensor, rows: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor] | None
) -> tuple[torch.Tensor, _series.Plan | None, list[torch.Tensor]]:
    """Final states of one chunk, the plan of its series (None without one), and what the gradient needs."""
    batch, n = len(inputs), rows.shape[-1] // 2
    half = inputs.new_zeros(batch, n * n)
    torch.div(inputs, 2 * len(rows), out=half[:, : inputs.shape[-1]])
    half = half.view(batch, n, n)
    matrices = half + half.mT
    found = _series.cos_sin(matrices) if pair is not None else None
    if found is None or pair is None:
        final, kept = _eigenvectors.forward(matrices, rows)
        return final, None, kept
    data, plan, terms = found
    final, states, pieces = _through(data, pair[0])
    return final, plan, [data, states, pieces, *terms]


def _backward(
    gradient: torch.Tensor,
    plan: _series.Plan | None,
    kept: list[torch.Tensor],
    into: torch.Tensor | None,
    rows: torch.Tensor,
    pair: tuple[torch.Tensor, torch.Tensor] | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Writes dL/dX of one chunk to `into` (batch, features) unless that is None; returns states before and gradients
    after the gates, (r, batch, 2, n).

    A = (X + X^T)/(2r), hence the symmetric part over r.
    """
    n = rows.shape[-1] // 2
    wanted = 0 if into is None else -(-into.shape[-1] // n)
    if plan is None or pair is None:
        slope, before, after = _eigenvectors.backward(gradient, rows, kept, wanted)
    else:
        data, states, pieces, *terms = kept
        slope, before, after = _back_through(gradient, plan, data, states, pieces, terms, rows, pair[1], wanted > 0)
    if into is not None and slope is not None:
        torch.div(slope.flatten(1)[:, : into.shape[-1]], len(rows), out=into)
    return before, after


# --- by a series: exp(iA) as one matrix (Re U | Im U) -----------------------------------------------------------------
# Each repetition is two products: rows (re, im) times (Re U | Im U), then all four pieces times the gate's rows.


def _through(data: torch.Tensor, forth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Final states, the states before each exponential and the pieces after it; data: (Re U | Im U)."""
    batch, n, _ = data.shape
    reps = len(forth)
    states, pieces = data.new_zeros(reps, batch, 2, n), data.new_empty(reps, batch, 2, 2 * n)
    states[0, :, 0] = 1 / math.sqrt(n)
    final = data.new_empty(batch, 2, n)
    # written where they are kept: no copies, and on small circuits half of the time is the calls' own
    into = [*states.view(reps, batch, 2 * n).unbind()[1:], final.view(batch, 2 * n)]
    for state, piece, flat, gate, out in zip(
        states.unbind(), pieces.unbind(), pieces.view(reps, batch, 4 * n).unbind(), forth.unbind(), into, strict=True
    ):
        torch.bmm(state, data, out=piece)
        torch.mm(flat, gate, out=out)
    return final, states, pieces


def _back_through(
    gradient: torch.Tensor,
    plan: _series.Plan,
    data: torch.Tensor,
    states: torch.Tensor,
    pieces: torch.Tensor,
    terms: list[torch.Tensor],
    rows: torch.Tensor,
    back: torch.Tensor,
    wanted: bool,
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    reps, batch, _, n = states.shape
    before_gate = torch.empty_like(states)
    returned = pieces.new_empty(reps - 1, batch, 2, 2 * n)
    into = before_gate.view(reps, batch, 2 * n).unbind()
    torch.mm(gradient.reshape(batch, 2 * n), rows[-1].T, out=into[-1])
    flat = returned.view(reps - 1, batch, 4 * n)
    for k in reversed(range(reps - 1)):
        torch.bmm(before_gate[k + 1], data, out=returned[k])
        torch.mm(flat[k], back[k], out=into[k])
    after_gate = torch.cat([_apply_pieces(returned, -1), gradient.unsqueeze(0)])
    slope = _slope(plan, terms, states, before_gate) if wanted else None
    return slope, _apply_pieces(pieces, 1), after_gate


def _slope(
    plan: _series.Plan, terms: list[torch.Tensor], states: torch.Tensor, gradients: torch.Tensor
) -> torch.Tensor:
    """dL/dA from the states before each exp(iA) and the gradients after it, both (r, batch, 2, n).

    U is symmetric: Re psi gives (Re g | Im g) to its real and imaginary part, Im psi gives (Im g | -Re g).
    """
    reps, batch, _, n = states.shape
    states = states.permute(1, 2, 0, 3).reshape(batch, 2 * reps, n)
    gradients = gradients.permute(1, 2, 0, 3)
    outer = gradients.new_empty(batch, 2, reps, 2, n)
    outer[:, 0] = gradients.transpose(1, 2)
    outer[:, 1, :, 0] = gradients[:, 1]
    torch.neg(gradients[:, 0], out=outer[:, 1, :, 1])
    return _series.gradient(plan, terms, states.mT @ outer.view(batch, 2 * reps, 2 * n))


def _apply_pieces(pieces: torch.Tensor, sign: int) -> torch.Tensor:
    """(r, batch, 2, 2n) products of (re, im) with (Re U | Im U) -> (r, batch, 2, n): U psi, or conj(U) psi for sign -1.

    U is symmetric, so conj(U) is its adjoint.
    """
    n = pieces.shape[-1] // 2
    swapped = torch.stack([-pieces[:, :, 1, n:], pieces[:, :, 0, n:]], dim=2)
    return torch.add(pieces[..., :n], swapped, alpha=sign)


# --- the gates as real rows -------------------------------------------------------------------------------------------


def _real_rows(gates: torch.Tensor) -> torch.Tensor:
    """(r, 2n, 2n) real M with (re, im) row @ M = the row of W psi."""
    real, imaginary = gates.real.mT, gates.imag.mT
    return torch.cat([torch.cat([real, imaginary], dim=2), torch.cat([-imaginary, real], dim=2)], dim=1)


def _with_signs(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(r, 4n, 2n) forth and back: the pieces (re Re U, re Im U, im Re U, im Im U) of a product make re and im by signs;
    here the gate absorbs them."""
    n = rows.shape[-1] // 2
    forth = torch.cat([rows, rows[:, n:], -rows[:, :n]], dim=1)
    back = rows.mT
    return forth, torch.cat([back[:, :n], -back[:, n:], back[:, n:], back[:, :n]], dim=1)
