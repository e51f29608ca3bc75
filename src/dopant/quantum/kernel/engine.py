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
from .vectors import apart, away, divide, fma, fnma, load, mul, narrow, put, rounded, spread, store, total, widen, width

TURN = 2.0 * np.pi
APART = 32  # lines between state and adjoint: places that differ by whole pages share a few ways of the first cache
FLUSH = 64  # chunks whose gradients are added up in the precision of the state

_jit: Any = njit(**p.ONLY)
_inline: Any = njit(forceinline=True, **p.ONLY)
_part: Any = njit(inline="never", **p.ONLY)


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
def sample_lanes(half, sampled, fptr, fidx, fcoef, features, first, count, cos, sin, tan, tiny, keep, kept, wide,
                 values):  # fmt: skip
    """Fill the rows that differ between samples, for samples first … first + count - 1; keep: note them in `kept`.

    wide: room for the lanes of a row in double precision, values: for those of a feature.
    """
    place, lanes = 0, width(tiny)
    single = lanes == 16  # a series in registers; double precision takes the library's functions, one by one
    p.clear(values, 0, 1)
    for r in range(sampled.size):
        if sampled[r]:
            for part in range(lanes // 8):
                store(wide, part, spread(half[r]))
            for k in range(fptr[r], fptr[r + 1]):
                f, c = fidx[k], spread(0.5 * fcoef[k])
                if count == lanes:
                    store(values, 0, apart(features, first * features.shape[1] + f, features.shape[1]))
                else:
                    for i in range(count):
                        values[i] = features[first + i, f]
                for part in range(lanes // 8):
                    store(wide, part, fma(widen(values, part), c, load(wide, part)))
            if single:
                for part in range(lanes // 8):
                    v = load(wide, part)
                    v = fnma(rounded(mul(v, spread(1.0 / TURN))), spread(TURN), v)
                    store(wide, part, mul(v, spread(0.5)))
                narrow(wide, cos, r)
                p.double_angle(cos, sin, r)
            else:
                for i in range(lanes):
                    cos[r * lanes + i] = np.cos(wide[i])
                    sin[r * lanes + i] = np.sin(wide[i])
            c, s = away(load(cos, r), spread(tiny)), load(sin, r)
            t = divide(s, c)
            store(cos, r, c)
            store(tan, r, t)
            if keep:
                store(kept, place, c)
                store(kept, place + 1, s)
                store(kept, place + 2, t)
                place += 3


@_part
def kept_lanes(kept, sampled, cos, sin, tan):
    """Fill the same rows from what sample_lanes kept."""
    place = 0
    for r in range(sampled.size):
        if sampled[r]:
            store(cos, r, load(kept, place))
            store(sin, r, load(kept, place + 1))
            store(tan, r, load(kept, place + 2))
            place += 3


@_part
def given_start(start, first, count, rows, psi):
    """Real states first … first + count - 1 into the chunk, zeros into lanes that are left over."""
    lanes = psi.size // (2 * rows)
    for b in range(rows):
        if count == lanes:
            store(psi, b, apart(start, first * rows + b, rows))
        else:
            for i in range(lanes):
                psi[b * lanes + i] = start[first + i, b] if i < count else 0
    p.clear(psi, rows, rows)


@_part
def run_forward(ops, idx, pat, rows, psi, cos, sin, tan, scale, pcos, psin, tre, tim):
    """All operations on the chunk `psi` (2 * rows), which holds the start states where they are given."""
    if ops.shape[0] == 0 or (ops[0, 0] != START and ops[0, 0] != GIVEN):
        p.clear(psi, 0, 2 * rows)
        store(psi, 0, spread(psi.dtype.type(1)))
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
            p.phase_shared_back(psi, lam, rows, pcos, psin, a, pgrad, bucket)
        elif kind != GIVEN:
            p.phase_table(tre, tim, a, cos, sin, c)
            p.clear(bucket, 0, 1 << a)
            p.phase_sample_back(psi, lam, rows, pat, b, tre, tim, bucket)
            p.signed_sums(bucket, a, grad, c)


@_inline
def room(rows, like):
    """Rows of lanes on whole cache lines: a load across two lines takes the time of two."""
    found = np.empty((rows + 1) * width(like.dtype.type(0)), like.dtype)
    return found[(-found.ctypes.data % 64) // found.itemsize :]


@_part
def rows_of(space, first, count):
    lanes = width(space.dtype.type(0))
    return space[first * lanes : (first + count) * lanes]


@_jit
def forward(ops, idx, pat, mops, half, sampled, fptr, fidx, fcoef, features, pcos, psin, rows, scales, lo, hi,
            keep, states, kept, start, out, tiny):  # fmt: skip
    """Samples of chunks lo … hi - 1. keep: the state of chunk c stays in states[c], else states[0] is used for all.

    start (batch, rows): the real states that the plan begins with where its first operation is GIVEN, else (0, rows).
    out (batch, outputs): expectations of the Z strings of mops (strings, offset in pat, first column).
    """
    lanes, nrows = width(tiny), sampled.size
    space, wide = room(3 * nrows + 3 * 64 + 6 + 1 + scales, states), np.empty(16)
    cos, sin, tan = rows_of(space, 0, nrows), rows_of(space, nrows, nrows), rows_of(space, 2 * nrows, nrows)
    at = 3 * nrows
    tre, tim, bucket = rows_of(space, at, 64), rows_of(space, at + 64, 64), rows_of(space, at + 128, 64)
    at += 192
    sums, values, scale = rows_of(space, at, 6), rows_of(space, at + 6, 1), rows_of(space, at + 7, scales)
    shared_lanes(half, sampled, lanes, cos, sin, tan, tiny)
    batch = features.shape[0]
    for chunk in range(lo, hi):
        first = chunk * lanes
        count = min(lanes, batch - first)
        psi = states[chunk] if keep else states[0]
        noted = kept[chunk] if keep else tan  # which is not written then
        sample_lanes(half, sampled, fptr, fidx, fcoef, features, first, count, cos, sin, tan, tiny, keep, noted, wide,
                     values)  # fmt: skip
        if start.shape[0]:
            given_start(start, first, count, rows, psi)
        run_forward(ops, idx, pat, rows, psi, cos, sin, tan, scale, pcos, psin, tre, tim)
        for g in range(mops.shape[0]):
            m, off, column = mops[g, 0], mops[g, 1], mops[g, 2]
            p.clear(bucket, 0, 1 << m)
            p.probabilities_into(psi, rows, pat, off, bucket)
            p.clear(sums, 0, m)
            p.signed_sums(bucket, m, sums, 0)
            for j in range(m):
                place = first * out.shape[1] + column + j
                for i in range(count):
                    put(out, place + i * out.shape[1], sums[j * lanes + i])


@_jit
def backward(ops, idx, pat, mops, half, sampled, fptr, fidx, fcoef, wptr, widx, wcoef, pcos, psin, rows, scales, lo, hi,
             states, kept, gout, lams, gfeatures, gstart, gweights, pgrad, largest, tiny):  # fmt: skip
    """Derivatives for chunks lo … hi - 1: gfeatures (batch, f) of their samples are written, gweights (w,) and
    pgrad (tables * rows) added to.

    gout (batch, outputs) for the Z strings of mops, or lams (chunks, 2 * rows * lanes) where the state itself was
    given out (mops empty). States are read, not changed. gstart (batch, rows): the derivatives by the start are
    written, or (0, rows) where there is none or nobody wants them.
    """
    lanes, nrows, (batch, columns) = width(tiny), sampled.size, gfeatures.shape
    phases = -(-pgrad.size // lanes)
    space = room(4 * nrows + 3 * 64 + 4 * rows + APART + 2 * largest + 6 + phases + scales + columns, states)
    cos, sin, tan = rows_of(space, 0, nrows), rows_of(space, nrows, nrows), rows_of(space, 2 * nrows, nrows)
    grad, at = rows_of(space, 3 * nrows, nrows), 4 * nrows
    tre, tim, bucket = rows_of(space, at, 64), rows_of(space, at + 64, 64), rows_of(space, at + 128, 64)
    at += 192
    psi, lam = rows_of(space, at, 2 * rows), rows_of(space, at + 2 * rows + APART, 2 * rows)
    at += 4 * rows + APART
    work, prefix = rows_of(space, at, largest), rows_of(space, at + largest, largest)
    at += 2 * largest
    sums, shared, scale = rows_of(space, at, 6), rows_of(space, at + 6, phases), rows_of(space, at + 6 + phases, scales)
    slopes = rows_of(space, at + 6 + phases + scales, columns)
    p.clear(grad, 0, nrows)
    p.clear(shared, 0, phases)
    shared_lanes(half, sampled, lanes, cos, sin, tan, tiny)
    for chunk in range(lo, hi):
        first = chunk * lanes
        count = min(lanes, batch - first)
        kept_lanes(kept[chunk], sampled, cos, sin, tan)
        p.copy(states[chunk], 0, psi, 2 * rows)
        if mops.shape[0]:
            for g in range(mops.shape[0]):
                m, off, column = mops[g, 0], mops[g, 1], mops[g, 2]
                for j in range(m):
                    if count == lanes:
                        store(sums, j, apart(gout, first * gout.shape[1] + column + j, gout.shape[1]))
                    else:
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
                     prefix, grad, shared)  # fmt: skip
        if gstart.shape[0]:
            for b in range(rows):
                for i in range(count):
                    put(gstart, (first + i) * rows + b, lam[b * lanes + i])
        # rows that all samples share are added up over some chunks first
        flush = (chunk - lo) % FLUSH == FLUSH - 1 or chunk == hi - 1
        p.clear(slopes, 0, columns)
        for r in range(nrows):
            if sampled[r]:
                g = load(grad, r)
                for k in range(fptr[r], fptr[r + 1]):
                    c = spread(states.dtype.type(0.5 * fcoef[k]))
                    store(slopes, fidx[k], fma(g, c, load(slopes, fidx[k])))
            elif not flush:
                continue
            if wptr[r] < wptr[r + 1]:
                s = total(load(grad, r))
                for k in range(wptr[r], wptr[r + 1]):
                    gweights[widx[k]] += 0.5 * wcoef[k] * s
            if flush:
                p.clear(grad, r, 1)
        for f in range(columns):
            for i in range(count):
                put(gfeatures, (first + i) * columns + f, slopes[f * lanes + i])
        if flush:
            for i in range(pgrad.size):
                pgrad[i] += shared[i]
                shared[i] = 0


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
