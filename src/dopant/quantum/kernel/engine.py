"""The compiled kernel: a plan's operations over chunks of samples, forward and backward.

Arrays of a plan (see plan.py): ops (k, 6) int64, idx and pat int32, base (rows,) float64, and two sparse matrices in
CSR form that make angles of weights and of features. T is float32 or float64; L lanes make a chunk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from . import passes as p
from .kinds import GIVEN, ROTATE, SHARED, START
from .vectors import load, spread, total

TURN = 2.0 * np.pi
FLUSH = 64  # chunks whose gradients are added up in the precision of the state

_jit: Any = njit(nogil=True, error_model="numpy", cache=True)
_part: Any = njit(nogil=True, inline="never", error_model="numpy", cache=True)


@_jit
def angles_of_weights(base, wptr, widx, wcoef, weights, out):
    """out[row] = half of (base + sum of coefficients times weights), float64."""
    for r in range(base.size):
        v = base[r]
        for k in range(wptr[r], wptr[r + 1]):
            v += wcoef[k] * weights[widx[k]]
        out[r] = 0.5 * v


@_jit
def shared_phases(half, groups, pat, rows, tables, cos, sin):
    """cos and sin (tables * rows) of the phases that all samples share. groups: (table, strings, offset in
    pat, row)."""
    re, im = np.empty(64), np.empty(64)
    tre, tim = np.ones(rows), np.zeros(rows)
    for d in range(tables):
        tre[:] = 1.0
        tim[:] = 0.0
        for g in range(groups.shape[0]):
            if groups[g, 0] != d:
                continue
            m, off, row = groups[g, 1], groups[g, 2], groups[g, 3]
            re[0], im[0] = 1.0, 0.0
            for j in range(m):
                c, s = np.cos(half[row + j]), np.sin(half[row + j])
                for e in range(1 << j):
                    a, b = re[e], im[e]
                    re[e + (1 << j)], im[e + (1 << j)] = a * c - b * s, b * c + a * s
                    re[e], im[e] = a * c + b * s, b * c - a * s
            for b in range(rows):
                e = pat[off + b]
                x, y = tre[b], tim[b]
                tre[b], tim[b] = x * re[e] - y * im[e], x * im[e] + y * re[e]
        for b in range(rows):
            cos[d * rows + b] = tre[b]
            sin[d * rows + b] = -tim[b]


@_part
def shared_lanes(half, sampled, lanes, cos, sin, tan, tiny):
    """Fill the rows that all samples share."""
    for r in range(sampled.size):
        if not sampled[r]:
            c, s = np.cos(half[r]), np.sin(half[r])
            if abs(c) < tiny:
                c = tiny if c >= 0 else -tiny
            for i in range(lanes):
                cos[r * lanes + i] = c
                sin[r * lanes + i] = s
                tan[r * lanes + i] = s / c


@_part
def sample_lanes(half, sampled, fptr, fidx, fcoef, features, first, count, lanes, cos, sin, tan, tiny, keep, kept):
    """Fill the rows that differ between samples, for samples first … first + count - 1; keep: note them in `kept`."""
    place = 0
    single = lanes == 16  # a series in registers; double precision takes the library's functions, one by one
    for r in range(sampled.size):
        if sampled[r]:
            for i in range(lanes):
                v = half[r] if i < count else 0.0
                if i < count:
                    for k in range(fptr[r], fptr[r + 1]):
                        v += 0.5 * fcoef[k] * features[first + i, fidx[k]]
                if single:
                    cos[r * lanes + i] = 0.5 * (v - TURN * np.rint(v * (1.0 / TURN)))
                else:
                    cos[r * lanes + i] = np.cos(v)
                    sin[r * lanes + i] = np.sin(v)
            if single:
                p.double_angle(cos, sin, r)
            for i in range(lanes):
                c = cos[r * lanes + i]
                if abs(c) < tiny:
                    c = tiny if c >= 0 else -tiny
                    cos[r * lanes + i] = c
                tan[r * lanes + i] = sin[r * lanes + i] / c
            if keep:
                p.store(kept, place, load(cos, r))
                p.store(kept, place + 1, load(sin, r))
                p.store(kept, place + 2, load(tan, r))
                place += 3


@_part
def kept_lanes(kept, sampled, cos, sin, tan):
    """Fill the same rows from what sample_lanes kept."""
    place = 0
    for r in range(sampled.size):
        if sampled[r]:
            p.store(cos, r, load(kept, place))
            p.store(sin, r, load(kept, place + 1))
            p.store(tan, r, load(kept, place + 2))
            place += 3


@_part
def run_forward(ops, idx, pat, rows, psi, cos, sin, tan, scale, pcos, psin, tre, tim):
    """All operations on the chunk `psi` (2 * rows), which holds the start states where they are given."""
    if ops.shape[0] == 0 or (ops[0, 0] != START and ops[0, 0] != GIVEN):
        p.clear(psi, 0, 2 * rows)
        p.store(psi, 0, spread(psi.dtype.type(1)))
    for o in range(ops.shape[0]):
        kind, a, b, c, d, e = ops[o, 0], ops[o, 1], ops[o, 2], ops[o, 3], ops[o, 4], ops[o, 5]
        if kind == START:
            if 1 << a < rows:
                p.clear(psi, 0, rows)
            p.clear(psi, rows, rows)
            p.start_product(psi, idx, b, a, cos, sin, c)
        elif kind == ROTATE:
            p.lane_scale(cos, c, a, scale, e)
            s = load(scale, e)
            for base in (0, rows):
                if a == 1:
                    p.rotate1(psi, base, idx, b, d, tan, c, s)
                elif a == 2:
                    p.rotate2(psi, base, idx, b, d, tan, c, s)
                else:
                    p.rotate3(psi, base, idx, b, d, tan, c, s)
        elif kind == SHARED:
            p.phase_shared(psi, rows, pcos, psin, a)
        elif kind != GIVEN:
            p.phase_table(tre, tim, a, cos, sin, c)
            p.phase_sample(psi, rows, pat, b, tre, tim)


@_part
def run_backward(
    ops, idx, pat, rows, psi, lam, cos, sin, tan, scale, pcos, psin, tre, tim, bucket, work, prefix, grad, pgrad
):
    """Undo all operations on psi and lam, adding the derivatives by row to grad (lanes) and pgrad (shared phases)."""
    for o in range(ops.shape[0] - 1, -1, -1):
        kind, a, b, c, d, e = ops[o, 0], ops[o, 1], ops[o, 2], ops[o, 3], ops[o, 4], ops[o, 5]
        if kind == START:
            p.start_product_back(lam, idx, b, a, cos, sin, c, work, prefix, grad)
        elif kind == ROTATE:
            p.lane_scale(cos, c, a, scale, e)
            s = load(scale, e)
            for base in (0, rows):
                if a == 1:
                    p.back1(psi, lam, base, idx, b, d, tan, grad, c, s)
                elif a == 2:
                    p.back2(psi, lam, base, idx, b, d, tan, grad, c, s)
                else:
                    p.back3(psi, lam, base, idx, b, d, tan, grad, c, s)
        elif kind == SHARED:
            p.phase_shared_back(psi, lam, rows, pcos, psin, a, pgrad)
        elif kind != GIVEN:
            p.phase_table(tre, tim, a, cos, sin, c)
            p.clear(bucket, 0, 1 << a)
            p.phase_sample_back(psi, lam, rows, pat, b, tre, tim, bucket)
            p.signed_sums(bucket, a, grad, c)


@_jit
def forward(ops, idx, pat, mops, half, sampled, fptr, fidx, fcoef, features, pcos, psin, rows, scales, lanes, lo, hi,
            keep, states, kept, out, tiny):  # fmt: skip
    """Samples of chunks lo … hi - 1. keep: the state of chunk c stays in states[c], else states[0] is used for all.
    Start states that are given lie in states[c] before, with keep.

    out (batch, outputs): expectations of the Z strings of mops (strings, offset in pat, first column).
    """
    dtype = states.dtype
    nrows = sampled.size
    cos, sin, tan = np.empty(nrows * lanes, dtype), np.empty(nrows * lanes, dtype), np.empty(nrows * lanes, dtype)
    scale = np.empty(max(scales, 1) * lanes, dtype)
    tre, tim, bucket = np.empty(64 * lanes, dtype), np.empty(64 * lanes, dtype), np.empty(64 * lanes, dtype)
    sums = np.empty(6 * lanes, dtype)
    shared_lanes(half, sampled, lanes, cos, sin, tan, tiny)
    batch = features.shape[0]
    for chunk in range(lo, hi):
        first = chunk * lanes
        count = min(lanes, batch - first)
        psi = states[chunk] if keep else states[0]
        noted = kept[chunk] if keep else kept[0]
        sample_lanes(half, sampled, fptr, fidx, fcoef, features, first, count, lanes, cos, sin, tan, tiny, keep, noted)
        run_forward(ops, idx, pat, rows, psi, cos, sin, tan, scale, pcos, psin, tre, tim)
        for g in range(mops.shape[0]):
            m, off, column = mops[g, 0], mops[g, 1], mops[g, 2]
            p.clear(bucket, 0, 1 << m)
            p.probabilities_into(psi, rows, pat, off, bucket)
            p.clear(sums, 0, m)
            p.signed_sums(bucket, m, sums, 0)
            for j in range(m):
                for i in range(count):
                    out[first + i, column + j] = sums[j * lanes + i]


@_jit
def backward(ops, idx, pat, mops, half, sampled, fptr, fidx, fcoef, wptr, widx, wcoef, features, pcos, psin,
             rows, scales,
             lanes, lo, hi, states, kept, gout, lams, gfeatures, gweights, gstart, pgrad, largest,
             tiny):  # fmt: skip
    """Derivatives for chunks lo … hi - 1, added to gfeatures (batch, f), gweights (w,) and pgrad (tables * rows).

    gout (batch, outputs) for the Z strings of mops, or lams (chunks, 2 * rows * lanes) where the state itself was
    given out (mops empty). States are read, not changed. gstart: the derivatives by given start states, as `lams`, or
    empty.
    """
    dtype = states.dtype
    nrows = sampled.size
    cos, sin, tan = np.empty(nrows * lanes, dtype), np.empty(nrows * lanes, dtype), np.empty(nrows * lanes, dtype)
    grad = np.empty(max(nrows, 1) * lanes, dtype)
    scale = np.empty(max(scales, 1) * lanes, dtype)
    tre, tim, bucket = np.empty(64 * lanes, dtype), np.empty(64 * lanes, dtype), np.empty(64 * lanes, dtype)
    sums = np.empty(6 * lanes, dtype)
    psi, lam = np.empty(2 * rows * lanes, dtype), np.empty(2 * rows * lanes, dtype)
    work, prefix = np.empty(largest * lanes, dtype), np.empty(largest * lanes, dtype)
    p.clear(grad, 0, nrows)
    shared_lanes(half, sampled, lanes, cos, sin, tan, tiny)
    batch = features.shape[0]
    for chunk in range(lo, hi):
        first = chunk * lanes
        count = min(lanes, batch - first)
        kept_lanes(kept[chunk], sampled, cos, sin, tan)
        p.copy(states[chunk], 0, psi, 2 * rows)
        if mops.shape[0]:
            for g in range(mops.shape[0]):
                m, off, column = mops[g, 0], mops[g, 1], mops[g, 2]
                for j in range(m):
                    for i in range(lanes):
                        sums[j * lanes + i] = gout[first + i, column + j] if i < count else 0
                p.signed_table(sums, 0, m, bucket)
                p.seed(psi, lam, rows, pat, off, bucket, g == 0)
        else:
            p.copy(lams[chunk], 0, lam, 2 * rows)
        for r in range(nrows):
            if sampled[r]:
                p.clear(grad, r, 1)
        run_backward(ops, idx, pat, rows, psi, lam, cos, sin, tan, scale, pcos, psin, tre, tim, bucket, work,
                     prefix, grad, pgrad)  # fmt: skip
        if gstart.shape[0]:
            p.copy(lam, 0, gstart[chunk], 2 * rows)
        # rows that all samples share are added up over some chunks first
        flush = (chunk - lo) % FLUSH == FLUSH - 1 or chunk == hi - 1
        for r in range(nrows):
            if sampled[r]:
                for k in range(fptr[r], fptr[r + 1]):
                    for i in range(count):
                        gfeatures[first + i, fidx[k]] += 0.5 * fcoef[k] * grad[r * lanes + i]
            elif not flush:
                continue
            if wptr[r] < wptr[r + 1]:
                s = total(load(grad, r))
                for k in range(wptr[r], wptr[r + 1]):
                    gweights[widx[k]] += 0.5 * wcoef[k] * s
            if flush:
                p.clear(grad, r, 1)


@_jit
def shared_gradients(pgrad, groups, pat, rows, wptr, widx, wcoef, gweights):
    """gweights += the derivatives of the shared phases by their strings' weights."""
    bucket = np.empty(64)
    for g in range(groups.shape[0]):
        first, m, off, row = groups[g, 0] * rows, groups[g, 1], groups[g, 2], groups[g, 3]
        bucket[: 1 << m] = 0.0
        for b in range(rows):
            bucket[pat[off + b]] += pgrad[first + b]
        for j in range(m - 1, -1, -1):
            half = 1 << j
            s = 0.0
            for e in range(half):
                s += bucket[e] - bucket[e + half]
                bucket[e] += bucket[e + half]
            for k in range(wptr[row + j], wptr[row + j + 1]):
                gweights[widx[k]] += 0.5 * wcoef[k] * s


@_jit
def forward_alone(base, groups, tables, wptr, widx, wcoef, weights, ops, idx, pat, mops, half, sampled, fptr, fidx,
                  fcoef, features, pcos, psin, rows, scales, lanes, lo, hi, keep, states, kept, out, tiny):  # fmt: skip
    """angles_of_weights, shared_phases and forward as one call, where there is one block."""
    angles_of_weights(base, wptr, widx, wcoef, weights, half)
    if tables:
        shared_phases(half, groups, pat, rows, tables, pcos, psin)
    forward(ops, idx, pat, mops, half, sampled, fptr, fidx, fcoef, features, pcos, psin, rows, scales, lanes, lo, hi,
            keep, states, kept, out, tiny)  # fmt: skip


@_jit
def backward_alone(groups, tables, ops, idx, pat, mops, half, sampled, fptr, fidx, fcoef, wptr, widx, wcoef, features,
                   pcos, psin, rows, scales, lanes, lo, hi, states, kept, gout, lams, gfeatures, gweights, gstart,
                   pgrad, largest, tiny):  # fmt: skip
    """backward and shared_gradients as one call, where there is one block."""
    backward(ops, idx, pat, mops, half, sampled, fptr, fidx, fcoef, wptr, widx, wcoef, features, pcos, psin, rows,
             scales, lanes, lo, hi, states, kept, gout, lams, gfeatures, gweights, gstart, pgrad, largest,
             tiny)  # fmt: skip
    if tables:
        shared_gradients(pgrad, groups, pat, rows, wptr, widx, wcoef, gweights)
