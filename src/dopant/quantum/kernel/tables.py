"""Where a plan's arrays lie, as one table of whole numbers: what a compiled function is given instead of the arrays.

Numba takes some 0.1 us to look at each array of a call, and a small circuit is done in ten; the tensors of a call go
in as addresses, too. A table is made once for a plan and the shape of its inputs.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from .plan import Plan

LINE = 64  # bytes: a cache line, and a row of lanes; what is kept for the backward begins at such a place

# arrays of the plan: address and count of numbers, two entries each
ARRAYS = ("base", "groups", "wptr", "widx", "wcoef", "ops", "idx", "pat", "mops", "sampled", "fptr", "fidx", "fcoef")
BASE, GROUPS, WPTR, WIDX, WCOEF, OPS, IDX, PAT, MOPS, SAMPLED, FPTR, FIDX, FCOEF = range(0, 2 * len(ARRAYS), 2)
# numbers
TABLES, ROWS, SCALES, LARGEST, SAMPLED_ROWS, WORDS, WEIGHTS, BATCH, FEATURES, CHUNKS, BLOCKS = range(26, 37)
# what is kept for the backward, in one piece of memory: cosines and sines of shared phases, and states begin at these
# lines; half angles come first, lanes of samples after the states
COS, SIN, STATES = range(37, 40)
LENGTH = 40

TINY = {torch.float32: np.float32(1e-9), torch.float64: np.float64(1e-18)}  # so small a cosine is taken for zero
# a block of chunks adds up its gradients apart; what blocks there are depends on shapes alone, so do the bits
_BLOCK_WORK, _MOST_BLOCKS = 1 << 19, 8


class Table:
    """For features of one shape (batch, f) and precision.

    address: of the table. blocks: chunks (first, after the last) of each. size, size_kept: numbers of the memory that
    a forward needs without and with a backward to follow; states: where in it states begin.
    tiny: as a number of the precision, by which the compiled functions know it.
    """

    __slots__ = (
        "_held",
        "address",
        "blocks",
        "chunks",
        "features",
        "lanes",
        "outputs",
        "size",
        "size_kept",
        "states",
        "sums",
        "tiny",
        "weights",
    )  # fmt: skip

    def __init__(self, plan: Plan, shape: tuple[int, ...], dtype: torch.dtype, blocks: int | None = None):
        batch, columns = self.features = shape
        self.lanes, self.tiny = LINE // dtype.itemsize, TINY[dtype]
        self.chunks = -(-batch // self.lanes)
        if blocks is None:
            a_chunk = plan.rows * self.lanes * (len(plan.ops) + 1)
            blocks = max(1, min(_MOST_BLOCKS, self.chunks, self.chunks * a_chunk // _BLOCK_WORK))
        edges = [self.chunks * k // blocks for k in range(blocks + 1)]
        self.blocks = list(itertools.pairwise(edges))
        self.outputs, self.weights = (batch, len(plan.words)), plan.circuit.weights
        self.sums = plan.circuit.weights + plan.tables * plan.rows
        half = -(-8 * plan.base.size // LINE)
        phases = -(-plan.tables * plan.rows // self.lanes)
        states, a_state = half + 2 * phases, 2 * plan.rows
        self.states = states * self.lanes
        self.size = (states + blocks * a_state) * self.lanes
        self.size_kept = (states + self.chunks * (a_state + 3 * plan.sampled_rows)) * self.lanes
        arrays = [np.ascontiguousarray(getattr(plan, name)) for name in ARRAYS]
        numbers = [plan.tables, plan.rows, plan.scales, plan.largest, plan.sampled_rows, len(plan.words), self.weights,
                   batch, columns, self.chunks, blocks, half, half + phases, states]  # fmt: skip
        places = [number for a in arrays for number in (a.ctypes.data, a.size)]
        table = np.asarray([*places, *numbers], np.int64)
        assert table.size == LENGTH
        self.address = table.ctypes.data
        self._held = (table, arrays)  # the addresses are theirs

    def __reduce__(self) -> Any:
        raise TypeError("a table holds addresses of this process; make another from the plan")


def table_of(plan: Plan, features: torch.Tensor) -> Table:
    """The plan's table for these features (batch, f); the last 64 shapes stay."""
    key = features.shape, features.dtype
    found = plan.shapes.get(key)
    if found is None:
        if len(plan.shapes) > 64:
            plan.shapes.clear()
        found = plan.shapes[key] = Table(plan, *key)
    return found
