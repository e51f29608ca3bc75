"""A plan as one torch operation: forward and its own backward by un-computing the state.

Only the last state is kept: 2 * 2^n numbers a sample. A second derivative goes through the torch path.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...errors import ConfigError
from .. import statevector
from .._transforms import several
from ..observables import measurement, of_state
from . import calls
from .plan import Plan
from .tables import LINE, Table, table_of

_CPU = torch.device("cpu")  # named, as a default device may be another


class Run(torch.autograd.Function):
    """(plan, wants state, keep, features (batch, f), weights (w,), start) -> expectations (batch, strings) or states
    (batch, 2^n). Features and weights are of one dtype. keep: whether a backward may follow. start: where the plan
    wants one, real (batch, 2^n), else None."""

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, wants_state: bool, keep: bool, features: torch.Tensor, weights: torch.Tensor,
        start: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        keep = keep or wants_state
        x, w, table, dtype = _numbers(features), _numbers(weights), table_of(plan, features), features.dtype
        made = torch.empty(table.size_kept if keep else table.size, dtype=dtype, device=_CPU)
        out = torch.empty(table.outputs, dtype=dtype, device=_CPU)
        # the tensors named here live until the last call is done: addresses hold nothing
        first, first_at = None, 0
        if start is not None:
            first = _numbers(start)
            first_at = first.data_ptr()
            if not first_at:
                _refuse_absent(first)
        given = table.address, x.data_ptr(), w.data_ptr(), made.data_ptr(), out.data_ptr(), first_at, keep
        if not all(given[:5]):
            _refuse_absent(x, w, made, out)
        tiny, blocks = table.tiny, table.blocks
        if len(blocks) == 1:
            calls.forward(*given, True, 0, tiny, 0, table.chunks)
        else:
            calls.forward(*given, True, 0, tiny, 0, 0)
            _each(lambda k: calls.forward(*given, False, k, tiny, *blocks[k]), len(blocks))
        if keep:
            # saved as tensors, so that they are freed after the backward, and by whoever packs saved tensors
            ctx.save_for_backward(features, weights, made, start)
            ctx.made = plan, wants_state, table
        return _gathered(made, plan, table) if wants_state else out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        (grad,) = grads
        features, weights, made, start = ctx.saved_tensors  # says so where one was changed in place
        plan, wants_state, table = ctx.made
        if torch.is_grad_enabled() or several(grad):
            return None, None, None, *_again(plan, wants_state, features, weights, start, grad)
        dtype = features.dtype
        made = _numbers(made)
        if not made.is_cpu or made.dtype is not dtype or made.numel() != table.size_kept:
            raise ConfigError(f"the states that a circuit keeps for its backward came back as {made.numel()} numbers "
                              f"of {made.dtype} on {made.device}: hooks on saved tensors must give back what they "
                              f"took, {table.size_kept} numbers of {dtype} on the CPU")  # fmt: skip
        seed = _scattered(grad, plan, table) if wants_state else _numbers(grad)
        if seed.dtype is not dtype:
            seed = seed.to(dtype)
        gx = torch.empty(table.features, dtype=dtype, device=_CPU)
        gw = torch.empty(table.weights, dtype=dtype, device=_CPU)
        at, gx_at, gw_at = seed.data_ptr(), gx.data_ptr(), gw.data_ptr()
        if not (at and gx_at and gw_at):
            _refuse_absent(seed, gx, gw)
        gs, gs_at = None, 0
        if start is not None and ctx.needs_input_grad[5]:
            gs = torch.empty(start.shape, dtype=dtype, device=_CPU)
            gs_at = gs.data_ptr()
        given = table.address, made.data_ptr(), *((0, at) if wants_state else (at, 0)), gx_at, gs_at
        tiny, blocks = table.tiny, table.blocks
        if len(blocks) == 1:
            calls.backward(*given, 0, gw_at, tiny, 0, table.chunks)
        else:
            sums = np.zeros((len(blocks), table.sums))
            at = sums.ctypes.data
            _each(lambda k: calls.backward(*given, at + k * sums.strides[0], 0, tiny, *blocks[k]), len(blocks))
            calls.finish(table.address, at, len(blocks), gw_at, tiny)
        return None, None, None, gx, gw, gs


# Run.apply without torch's look for transforms, whose place is run.py, where there are none
_plain: Any = super(torch.autograd.Function, Run)
apply: Callable[..., torch.Tensor] = _plain.apply


def _refuse_absent(*tensors: torch.Tensor) -> None:
    """ConfigError for numbers that are nowhere: of fake tensors, lazily zero or freed."""
    for tensor in tensors:
        if tensor.numel() and not tensor.data_ptr():
            raise ConfigError(f"the compiled circuit kernel met a tensor of shape {tuple(tensor.shape)} on "
                              f"{tensor.device} whose numbers are nowhere in memory (fake, lazily zero or freed): "
                              "make it a plain one first, or take path='torch'")  # fmt: skip


def _numbers(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's numbers row by row, without a copy where that is possible."""
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    return tensor if tensor.is_contiguous() else tensor.contiguous()


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


def _gathered(made: torch.Tensor, plan: Plan, table: Table) -> torch.Tensor:
    """Chunks of lanes -> (batch, 2^n) complex, in the order of the logical basis."""
    shape = table.chunks, 2, plan.rows, table.lanes
    planes = made[table.states : table.states + math.prod(shape)].view(shape)
    where = torch.from_numpy(np.argsort(plan.order))
    re, im = (
        planes[:, k].index_select(1, where).transpose(1, 2).reshape(-1, plan.rows)[: table.outputs[0]] for k in (0, 1)
    )
    return torch.complex(re, im)


def _scattered(grad: torch.Tensor, plan: Plan, table: Table) -> torch.Tensor:
    """The reverse of _gathered, padding with zeros."""
    real = torch.view_as_real(grad.resolve_conj())
    padded = torch.nn.functional.pad(real, (0, 0, 0, 0, 0, table.chunks * table.lanes - grad.shape[0]))
    cube = padded.view(table.chunks, table.lanes, plan.rows, 2)[:, :, torch.from_numpy(plan.order)]
    return cube.permute(0, 3, 2, 1).contiguous()


def warm_up(dtype: torch.dtype) -> None:
    """Run every compiled function once: a circuit with rotations and phases of both kinds."""
    from ..angles import feature, weight
    from ..circuit import Circuit
    from .plan import plan

    circuit = Circuit(2).h(0).h(1).rz(0, feature(0)).rz(1, weight()).rx(0, weight())
    lanes = LINE // dtype.itemsize
    for kind in ("z", "state"):
        made = plan(circuit, measurement(kind, 2))
        assert made is not None
        for batch, blocks in ((2, 1), (2 * lanes, 2)):  # in one block, and in two
            shape = torch.Size((batch, 1))
            made.shapes[shape, dtype] = Table(made, shape, dtype, blocks)
            x = torch.zeros(batch, 1, dtype=dtype, device="cpu", requires_grad=True)
            w = torch.zeros(circuit.weights, dtype=dtype, device="cpu", requires_grad=True)
            with torch.enable_grad():
                out = Run.apply(made, kind == "state", True, x, w)
                torch.autograd.grad(out.abs().sum(), (x, w))
