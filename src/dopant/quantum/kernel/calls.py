"""The engine's functions as Python calls them: with addresses (see tables.py) and a few numbers.

`tiny` tells the precision T. Nothing is checked here: shapes, layout and device are the caller's to see to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit  # type: ignore[attr-defined]

from . import engine
from . import tables as t
from .vectors import pointer, width

_jit: Any = njit(nogil=True, error_model="numpy", cache=True)
_inline: Any = njit(forceinline=True, **engine.p.ONLY)


@_inline
def _table(address):
    return carray(pointer(address, np.int64), t.LENGTH)


@_inline
def _int64(table, k):
    return carray(pointer(table[k], np.int64), table[k + 1])


@_inline
def _int64s(table, k, columns):
    return carray(pointer(table[k], np.int64), (table[k + 1] // columns, columns))


@_inline
def _int32(table, k):
    return carray(pointer(table[k], np.int32), table[k + 1])


@_inline
def _float64(table, k):
    return carray(pointer(table[k], np.float64), table[k + 1])


@_inline
def _bytes(table, k):
    return carray(pointer(table[k], np.uint8), table[k + 1])


@_inline
def _half(table, made):
    return carray(pointer(made, np.float64), table[t.BASE + 1])


@_inline
def _phases(table, made, line, tiny):
    return carray(pointer(made + 64 * table[line], tiny), table[t.TABLES] * table[t.ROWS])


@_inline
def _states(table, made, count, tiny):
    return carray(pointer(made + 64 * table[t.STATES], tiny), (count, 2 * table[t.ROWS] * width(tiny)))


@_inline
def _lanes(table, made, states, count, tiny):
    """What is kept of the samples' angles, after so many states."""
    line = table[t.STATES] + states * 2 * table[t.ROWS]
    return carray(pointer(made + 64 * line, tiny), (count, 3 * table[t.SAMPLED_ROWS] * width(tiny)))


@_inline
def _start(table, address, tiny):
    """Real states of the samples, or none."""
    return carray(pointer(address, tiny), (table[t.BATCH] if address else 0, table[t.ROWS]))


@_jit
def forward(address, x, weights, made, out, start, keep, prepare, block, tiny, lo, hi):
    """Chunks lo … hi - 1, after angles and phases of the weights where `prepare`.

    x (batch, f), weights (w,), out (batch, words), and start (batch, 2^n), 0 where the plan is given none, all T;
    made: Table.size_kept numbers, or .size of them where not keep.
    """
    table = _table(address)
    half = _half(table, made)
    cos, sin = _phases(table, made, t.COS, tiny), _phases(table, made, t.SIN, tiny)
    pat, rows = _int32(table, t.PAT), table[t.ROWS]
    if prepare:
        w = carray(pointer(weights, tiny), table[t.WEIGHTS])
        engine.angles_of_weights(_float64(table, t.BASE), _int64(table, t.WPTR), _int64(table, t.WIDX),
                                 _float64(table, t.WCOEF), w, half)  # fmt: skip
        if table[t.TABLES]:
            engine.shared_phases(half, _int64s(table, t.GROUPS, 4), pat, rows, table[t.TABLES], cos, sin)
    if lo < hi:
        batch, chunks = table[t.BATCH], table[t.CHUNKS]
        states = _states(table, made, chunks if keep else table[t.BLOCKS], tiny)
        engine.forward(_int64s(table, t.OPS, 6), _int32(table, t.IDX), pat, _int64s(table, t.MOPS, 3), half,
                       _bytes(table, t.SAMPLED), _int64(table, t.FPTR), _int64(table, t.FIDX), _float64(table, t.FCOEF),
                       carray(pointer(x, tiny), (batch, table[t.FEATURES])), cos, sin, rows, table[t.SCALES], lo, hi,
                       keep, states if keep else states[block : block + 1],
                       _lanes(table, made, chunks, chunks if keep else 0, tiny), _start(table, start, tiny),
                       carray(pointer(out, tiny), (batch, table[t.WORDS])), tiny)  # fmt: skip


@_jit
def backward(address, made, gout, lams, gx, gstart, sums, gweights, tiny, lo, hi):
    """Derivatives for chunks lo … hi - 1 of their samples into gx (batch, f), T; of weights and of shared phases into
    sums (w + tables * rows), zeros of float64, and with sums = 0, where there is one block, of weights into
    gweights (w,), T.

    gout (batch, words), T; where the state itself was given out, lams (chunks, 2 * rows * lanes), T. Derivatives by the
    start into gstart (batch, 2^n), T, unless that is 0.
    """
    table = _table(address)
    batch, chunks, rows, weights = table[t.BATCH], table[t.CHUNKS], table[t.ROWS], table[t.WEIGHTS]
    shape, length = (batch, table[t.FEATURES]), weights + table[t.TABLES] * rows
    both = carray(pointer(sums, np.float64), length) if sums else np.zeros(length)
    engine.backward(_int64s(table, t.OPS, 6), _int32(table, t.IDX), _int32(table, t.PAT), _int64s(table, t.MOPS, 3),
                    _half(table, made), _bytes(table, t.SAMPLED), _int64(table, t.FPTR), _int64(table, t.FIDX),
                    _float64(table, t.FCOEF), _int64(table, t.WPTR), _int64(table, t.WIDX), _float64(table, t.WCOEF),
                    _phases(table, made, t.COS, tiny),
                    _phases(table, made, t.SIN, tiny), rows, table[t.SCALES], lo, hi,
                    _states(table, made, chunks, tiny), _lanes(table, made, chunks, chunks, tiny),
                    carray(pointer(gout, tiny), (batch, table[t.WORDS])),
                    carray(pointer(lams, tiny), (chunks, 2 * rows * width(tiny))),
                    carray(pointer(gx, tiny), shape), _start(table, gstart, tiny), both[:weights], both[weights:],
                    table[t.LARGEST], tiny)  # fmt: skip
    if not sums:
        _weights(table, both, carray(pointer(gweights, tiny), weights))


@_jit
def _weights(table, both, out):
    """The gradient of the weights, from sums of backward. Changes them."""
    weights = table[t.WEIGHTS]
    if table[t.TABLES]:
        engine.shared_gradients(both[weights:], _int64s(table, t.GROUPS, 4), _int32(table, t.PAT), table[t.ROWS],
                                _int64(table, t.WPTR), _int64(table, t.WIDX), _float64(table, t.WCOEF),
                                both[:weights])  # fmt: skip
    for i in range(weights):
        out[i] = both[i]


@_jit
def finish(address, sums, blocks, gweights, tiny):
    """gweights (w,), T: what `backward` left in sums (blocks, w + tables * rows), float64. Changes sums."""
    table = _table(address)
    length = table[t.WEIGHTS] + table[t.TABLES] * table[t.ROWS]
    every = carray(pointer(sums, np.float64), (blocks, length))
    first = every[0]
    for k in range(1, blocks):
        for i in range(length):
            first[i] += every[k, i]
    _weights(table, first, carray(pointer(gweights, tiny), table[t.WEIGHTS]))
