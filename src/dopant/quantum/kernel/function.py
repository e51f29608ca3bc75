"""A plan as one torch operation: forward and its own backward by un-computing the state.

Only the last state is kept: 2 * 2^n numbers a sample. A second derivative goes through the torch path.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .. import statevector
from .._transforms import several
from ..observables import measurement, of_state
from . import engine
from .loading import DTYPES
from .plan import Plan
from .vectors import LANES

TINY = {np.dtype(np.float32): 1e-9, np.dtype(np.float64): 1e-18}  # so small a cosine is taken for zero
# a block of chunks adds up its gradients apart; what blocks there are depends on shapes alone, so do the bits
_BLOCK_WORK, _MOST_BLOCKS = 1 << 19, 8


class Run(torch.autograd.Function):
    """(plan, wants state, keep, features (batch, f), weights (w,), start) -> expectations (batch, strings) or states
    (batch, 2^n). Features and weights are of one dtype. keep: whether a backward may follow. start: where the plan
    wants one, real (batch, 2^n), else None."""

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, wants_state: bool, keep: bool, features: torch.Tensor, weights: torch.Tensor,
        start: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        keep = keep or wants_state or plan.given
        x = _numbers(features)
        batch, dtype = x.shape[0], x.dtype
        shape = _shape(plan, batch, dtype)
        lanes, tiny, blocks = shape.lanes, shape.tiny, shape.blocks
        w = _numbers(weights)
        half = np.empty(plan.base.size)
        cos, sin = np.empty(plan.tables * plan.rows, dtype), np.empty(plan.tables * plan.rows, dtype)
        rows = plan.rows
        mops = plan.mops[:0] if wants_state else plan.mops
        out = np.empty((batch, len(plan.words)), dtype)
        states = np.empty((shape.chunks if keep else len(blocks), 2 * rows * lanes), dtype)
        kept = np.empty((shape.chunks if keep else 1, 3 * lanes * plan.sampled_rows), dtype)
        if start is not None:
            _into_chunks(start.detach(), torch.from_numpy(states).view(shape.chunks, 2, rows, lanes))

        if len(blocks) == 1:
            engine.forward_alone(plan.base, plan.groups, plan.tables, plan.wptr, plan.widx, plan.wcoef, w, plan.ops,
                                 plan.idx, plan.pat, mops, half, plan.sampled, plan.fptr, plan.fidx, plan.fcoef, x, cos,
                                 sin, rows, plan.scales, lanes, 0, shape.chunks, keep, states, kept, out,
                                 tiny)  # fmt: skip
        else:
            engine.angles_of_weights(plan.base, plan.wptr, plan.widx, plan.wcoef, w, half)
            if plan.tables:
                engine.shared_phases(half, plan.groups, plan.pat, rows, plan.tables, cos, sin)

            def work(k: int) -> None:
                lo, hi = blocks[k]
                engine.forward(plan.ops, plan.idx, plan.pat, mops, half, plan.sampled, plan.fptr, plan.fidx, plan.fcoef,
                               x, cos, sin, rows, plan.scales, lanes, lo, hi, keep,
                               states if keep else states[k : k + 1], kept, out, tiny)  # fmt: skip

            _each(work, len(blocks))
        if keep:
            # saved as tensors, so that they are freed after the backward, and by whoever packs saved tensors
            own = () if start is None else (start,)
            ctx.save_for_backward(features, weights, torch.from_numpy(states), torch.from_numpy(kept), *own)
            ctx.made = (plan, wants_state, shape, half, cos, sin)
        if wants_state:
            return _gathered(states, plan, shape.chunks, batch, lanes)
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        (grad,) = grads
        features, weights, *made = ctx.saved_tensors  # says so where one was changed in place
        start = made.pop() if len(made) > 2 else None
        plan, wants_state, shape, half, cos, sin = ctx.made
        if torch.is_grad_enabled() or several(grad):
            return None, None, None, *_again(plan, wants_state, features, weights, start, grad)
        x, (states, kept) = _numbers(features), (t.numpy() for t in made)
        lanes, tiny, blocks, rows = shape.lanes, shape.tiny, shape.blocks, plan.rows
        gx = np.zeros(x.shape, x.dtype)
        gw = np.zeros((len(blocks), plan.circuit.weights))
        pgrad = np.zeros((len(blocks), plan.tables * rows))
        wanted = start is not None and ctx.needs_input_grad[5]
        gs = np.empty((shape.chunks if wanted else 0, 2 * rows * lanes), x.dtype)
        if wants_state:
            lams, gout, mops = _scattered(grad, plan, shape.chunks, lanes, x.dtype), _none(x.dtype), plan.mops[:0]
        else:
            lams, gout, mops = _none(x.dtype), _numbers(grad), plan.mops

        if len(blocks) == 1:
            total = gw[0]
            engine.backward_alone(plan.groups, plan.tables, plan.ops, plan.idx, plan.pat, mops, half, plan.sampled,
                                  plan.fptr, plan.fidx, plan.fcoef, plan.wptr, plan.widx, plan.wcoef, x, cos, sin, rows,
                                  plan.scales, lanes, 0, shape.chunks, states, kept, gout, lams, gx, total, gs,
                                  pgrad[0], plan.largest, tiny)  # fmt: skip
        else:

            def work(k: int) -> None:
                lo, hi = blocks[k]
                engine.backward(plan.ops, plan.idx, plan.pat, mops, half, plan.sampled, plan.fptr, plan.fidx,
                                plan.fcoef, plan.wptr, plan.widx, plan.wcoef, x, cos, sin, rows, plan.scales, lanes, lo,
                                hi, states, kept, gout, lams, gx, gw[k], gs, pgrad[k], plan.largest, tiny)  # fmt: skip

            _each(work, len(blocks))
            total = gw.sum(0)
            if plan.tables:
                engine.shared_gradients(pgrad.sum(0), plan.groups, plan.pat, rows, plan.wptr, plan.widx, plan.wcoef,
                                        total)  # fmt: skip
        by_start = _out_of_chunks(gs, x.shape[0], rows, lanes) if wanted else None
        return None, None, None, torch.from_numpy(gx), torch.from_numpy(total.astype(x.dtype)), by_start


class _Shape:
    """What follows from the shapes of a call alone: lanes, chunks of samples, blocks of chunks."""

    __slots__ = ("blocks", "chunks", "lanes", "tiny")

    def __init__(self, plan: Plan, batch: int, dtype: np.dtype):
        self.lanes, self.tiny = LANES[dtype], TINY[dtype]
        self.chunks = -(-batch // self.lanes)
        a_chunk = plan.rows * self.lanes * (len(plan.ops) + 1)
        most = max(1, min(_MOST_BLOCKS, self.chunks, self.chunks * a_chunk // _BLOCK_WORK))
        edges = [self.chunks * k // most for k in range(most + 1)]
        self.blocks = list(itertools.pairwise(edges))


def _shape(plan: Plan, batch: int, dtype: np.dtype) -> _Shape:
    found = plan.shapes.get((batch, dtype))
    if found is None:
        if len(plan.shapes) > 64:
            plan.shapes.clear()
        found = plan.shapes[batch, dtype] = _Shape(plan, batch, dtype)
    return found


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's numbers row by row, without a copy where that is possible."""
    found = tensor.detach()
    if found.is_neg():
        found = found.resolve_neg()
    return (found if found.is_contiguous() else found.contiguous()).numpy()


def _none(dtype: np.dtype) -> np.ndarray:
    return np.zeros((0, 0), dtype)


def _each(work: Callable[[int], None], count: int) -> None:
    if torch.get_num_threads() == 1:
        for k in range(count):
            work(k)
    else:
        from ..._threads import over_chunks

        over_chunks(work, range(count), torch.device("cpu"))


def _again(
    plan: Plan, wants_state: bool, features: torch.Tensor, weights: torch.Tensor, start: torch.Tensor | None,
    grad: torch.Tensor,
) -> tuple[Any, ...]:  # fmt: skip
    """The gradient as operations that can be differentiated again, and that take many gradients at once."""
    further = torch.is_grad_enabled()
    with torch.enable_grad():
        # by aliases: features may depend on the weights, and what flows that way is the outer graph's to count
        x, w = features.view_as(features), weights.view_as(weights)
        s = None if start is None else start.view_as(start)
        wanted = [t for t in (x, w, s) if t is not None and t.requires_grad]
        psi = statevector.state(plan.circuit, x, w, s)
        if wants_state:
            out = psi
        else:
            signs = torch.from_numpy(plan.signs).to(x)
            out = of_state(measurement(list(plan.words), plan.circuit.qubits), psi, plan.circuit.qubits) * signs
        found = iter(torch.autograd.grad(out, wanted, grad, create_graph=further, allow_unused=True))
    return tuple(next(found) if t is not None and t.requires_grad else None for t in (x, w, s))


def _gathered(states: np.ndarray, plan: Plan, chunks: int, batch: int, lanes: int) -> torch.Tensor:
    """Chunks of lanes -> (batch, 2^n) complex, in the order of the logical basis."""
    planes = torch.from_numpy(states).view(chunks, 2, plan.rows, lanes)
    where = torch.from_numpy(np.argsort(plan.order))
    re, im = (
        planes[:, k].index_select(1, where).transpose(1, 2).reshape(chunks * lanes, plan.rows)[:batch] for k in (0, 1)
    )
    return torch.complex(re, im)


def _scattered(grad: torch.Tensor, plan: Plan, chunks: int, lanes: int, dtype: Any) -> np.ndarray:
    """The reverse of _gathered, padding with zeros."""
    found = np.zeros((chunks, 2, plan.rows, lanes), dtype)
    padded = torch.nn.functional.pad(
        torch.view_as_real(grad.resolve_conj()), (0, 0, 0, 0, 0, chunks * lanes - grad.shape[0])
    )
    cube = padded.view(chunks, lanes, plan.rows, 2)[:, :, torch.from_numpy(plan.order)].permute(0, 3, 2, 1)
    torch.from_numpy(found).copy_(cube)
    return found.reshape(chunks, 2 * plan.rows * lanes)


def _into_chunks(start: torch.Tensor, planes: torch.Tensor) -> None:
    """Real states (batch, 2^n) into planes (chunks, 2, rows, lanes), what is left over zero."""
    chunks, _, rows, lanes = planes.shape
    padded = torch.nn.functional.pad(start, (0, 0, 0, chunks * lanes - start.shape[0]))
    planes[:, 0].copy_(padded.view(chunks, lanes, rows).transpose(1, 2))
    planes[:, 1].zero_()


def _out_of_chunks(found: np.ndarray, batch: int, rows: int, lanes: int) -> torch.Tensor:
    """The real planes as (batch, 2^n)."""
    planes = torch.from_numpy(found).view(-1, 2, rows, lanes)[:, 0]
    return planes.transpose(1, 2).reshape(planes.shape[0] * lanes, rows)[:batch]


def warm_up(dtype: torch.dtype) -> None:
    """Run every compiled function once: a circuit with rotations and phases of both kinds."""
    from ..angles import feature, weight
    from ..circuit import Circuit
    from .plan import plan

    circuit = Circuit(2).h(0).h(1).rz(0, feature(0)).rz(1, weight()).rx(0, weight())
    number = DTYPES[dtype]
    for kind in ("z", "state"):
        made = plan(circuit, measurement(kind, 2))
        assert made is not None
        for batch, blocks in ((2, 1), (2 * LANES[number], 2)):  # in one block, and in two
            made.shapes[batch, number] = shape = _Shape(made, batch, number)
            shape.blocks = [(k, k + 1) for k in range(blocks)]
            x = torch.zeros(batch, 1, dtype=dtype, device="cpu", requires_grad=True)
            w = torch.zeros(circuit.weights, dtype=dtype, device="cpu", requires_grad=True)
            with torch.enable_grad():
                out = Run.apply(made, kind == "state", True, x, w)
                torch.autograd.grad(out.abs().sum(), (x, w))
