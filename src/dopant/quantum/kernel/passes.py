"""The loops of the compiled kernel: what each kind of operation does to the rows of one chunk of samples.

A chunk's state is 2 * 2^n rows, real parts first. Real rotations treat the two halves alike. With t = tan(angle/2)
a rotation is (a - t b, b + t a) times cos(angle/2); the cosines of a pass are multiplied once, into `scale`.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from .vectors import add, at, fma, fnma, load, mul, spread, store, sub, total, totals, width

# called by compiled functions only: what Python would call them through takes longer to compile than they do
ONLY: Any = {"nogil": True, "error_model": "numpy", "cache": True} | dict.fromkeys(
    ("no_cpython_wrapper", "no_cfunc_wrapper"), True
)
_jit: Any = njit(forceinline=True, **ONLY)


@_jit
def rotate1(psi, base, idx, off, orbits, tan, row, scale):
    t = load(tan, row)
    for o in range(orbits):
        i, j = base + at(idx, off + 2 * o), base + at(idx, off + 2 * o + 1)
        a, b = load(psi, i), load(psi, j)
        store(psi, i, mul(fnma(t, b, a), scale))
        store(psi, j, mul(fma(t, a, b), scale))


@_jit
def rotate2(psi, base, idx, off, orbits, tan, row, scale):
    t, u = load(tan, row), load(tan, row + 1)
    for o in range(orbits):
        e = off + 4 * o
        i0, i1, i2, i3 = base + at(idx, e), base + at(idx, e + 1), base + at(idx, e + 2), base + at(idx, e + 3)
        v0, v1, v2, v3 = load(psi, i0), load(psi, i1), load(psi, i2), load(psi, i3)
        a0, a1, a2, a3 = fnma(t, v1, v0), fma(t, v0, v1), fnma(t, v3, v2), fma(t, v2, v3)
        store(psi, i0, mul(fnma(u, a2, a0), scale))
        store(psi, i1, mul(fnma(u, a3, a1), scale))
        store(psi, i2, mul(fma(u, a0, a2), scale))
        store(psi, i3, mul(fma(u, a1, a3), scale))


@_jit
def rotate3(psi, base, idx, off, orbits, tan, row, scale):
    t, u, w = load(tan, row), load(tan, row + 1), load(tan, row + 2)
    for o in range(orbits):
        e = off + 8 * o
        i0, i1, i2, i3 = base + at(idx, e), base + at(idx, e + 1), base + at(idx, e + 2), base + at(idx, e + 3)
        i4, i5, i6, i7 = base + at(idx, e + 4), base + at(idx, e + 5), base + at(idx, e + 6), base + at(idx, e + 7)
        v0, v1, v2, v3 = load(psi, i0), load(psi, i1), load(psi, i2), load(psi, i3)
        v4, v5, v6, v7 = load(psi, i4), load(psi, i5), load(psi, i6), load(psi, i7)
        a0, a1, a2, a3 = fnma(t, v1, v0), fma(t, v0, v1), fnma(t, v3, v2), fma(t, v2, v3)
        a4, a5, a6, a7 = fnma(t, v5, v4), fma(t, v4, v5), fnma(t, v7, v6), fma(t, v6, v7)
        v0, v1, v2, v3 = fnma(u, a2, a0), fnma(u, a3, a1), fma(u, a0, a2), fma(u, a1, a3)
        v4, v5, v6, v7 = fnma(u, a6, a4), fnma(u, a7, a5), fma(u, a4, a6), fma(u, a5, a7)
        store(psi, i0, mul(fnma(w, v4, v0), scale))
        store(psi, i1, mul(fnma(w, v5, v1), scale))
        store(psi, i2, mul(fnma(w, v6, v2), scale))
        store(psi, i3, mul(fnma(w, v7, v3), scale))
        store(psi, i4, mul(fma(w, v0, v4), scale))
        store(psi, i5, mul(fma(w, v1, v5), scale))
        store(psi, i6, mul(fma(w, v2, v6), scale))
        store(psi, i7, mul(fma(w, v3, v7), scale))


@_jit
def back1(psi, lam, base, idx, off, orbits, tan, grad, row, scale):
    t, g = load(tan, row), load(grad, row)
    for o in range(orbits):
        i, j = base + at(idx, off + 2 * o), base + at(idx, off + 2 * o + 1)
        a, b, x, y = load(psi, i), load(psi, j), load(lam, i), load(lam, j)
        g = fma(y, a, fnma(x, b, g))
        store(psi, i, mul(fma(t, b, a), scale))
        store(psi, j, mul(fnma(t, a, b), scale))
        store(lam, i, mul(fma(t, y, x), scale))
        store(lam, j, mul(fnma(t, x, y), scale))
    store(grad, row, g)


@_jit
def back2(psi, lam, base, idx, off, orbits, tan, grad, row, scale):
    t, u = load(tan, row), load(tan, row + 1)
    g, h = load(grad, row), load(grad, row + 1)
    for o in range(orbits):
        e = off + 4 * o
        i0, i1, i2, i3 = base + at(idx, e), base + at(idx, e + 1), base + at(idx, e + 2), base + at(idx, e + 3)
        v0, v1, v2, v3 = load(psi, i0), load(psi, i1), load(psi, i2), load(psi, i3)
        l0, l1, l2, l3 = load(lam, i0), load(lam, i1), load(lam, i2), load(lam, i3)
        g = fma(l1, v0, fnma(l0, v1, fma(l3, v2, fnma(l2, v3, g))))
        h = fma(l2, v0, fnma(l0, v2, fma(l3, v1, fnma(l1, v3, h))))
        a0, a1, a2, a3 = fma(t, v1, v0), fnma(t, v0, v1), fma(t, v3, v2), fnma(t, v2, v3)
        store(psi, i0, mul(fma(u, a2, a0), scale))
        store(psi, i1, mul(fma(u, a3, a1), scale))
        store(psi, i2, mul(fnma(u, a0, a2), scale))
        store(psi, i3, mul(fnma(u, a1, a3), scale))
        a0, a1, a2, a3 = fma(t, l1, l0), fnma(t, l0, l1), fma(t, l3, l2), fnma(t, l2, l3)
        store(lam, i0, mul(fma(u, a2, a0), scale))
        store(lam, i1, mul(fma(u, a3, a1), scale))
        store(lam, i2, mul(fnma(u, a0, a2), scale))
        store(lam, i3, mul(fnma(u, a1, a3), scale))
    store(grad, row, g)
    store(grad, row + 1, h)


@_jit
def back3(psi, lam, base, idx, off, orbits, tan, grad, row, scale):
    t, u, w = load(tan, row), load(tan, row + 1), load(tan, row + 2)
    g, h, k = load(grad, row), load(grad, row + 1), load(grad, row + 2)
    for o in range(orbits):
        e = off + 8 * o
        i0, i1, i2, i3 = base + at(idx, e), base + at(idx, e + 1), base + at(idx, e + 2), base + at(idx, e + 3)
        i4, i5, i6, i7 = base + at(idx, e + 4), base + at(idx, e + 5), base + at(idx, e + 6), base + at(idx, e + 7)
        v0, v1, v2, v3 = load(psi, i0), load(psi, i1), load(psi, i2), load(psi, i3)
        v4, v5, v6, v7 = load(psi, i4), load(psi, i5), load(psi, i6), load(psi, i7)
        l0, l1, l2, l3 = load(lam, i0), load(lam, i1), load(lam, i2), load(lam, i3)
        l4, l5, l6, l7 = load(lam, i4), load(lam, i5), load(lam, i6), load(lam, i7)
        g = fma(l1, v0, fnma(l0, v1, fma(l3, v2, fnma(l2, v3, g))))
        h = fma(l2, v0, fnma(l0, v2, fma(l3, v1, fnma(l1, v3, h))))
        k = fma(l4, v0, fnma(l0, v4, fma(l5, v1, fnma(l1, v5, k))))
        g = fma(l5, v4, fnma(l4, v5, fma(l7, v6, fnma(l6, v7, g))))
        h = fma(l6, v4, fnma(l4, v6, fma(l7, v5, fnma(l5, v7, h))))
        k = fma(l6, v2, fnma(l2, v6, fma(l7, v3, fnma(l3, v7, k))))
        a0, a1, a2, a3 = fma(t, v1, v0), fnma(t, v0, v1), fma(t, v3, v2), fnma(t, v2, v3)
        a4, a5, a6, a7 = fma(t, v5, v4), fnma(t, v4, v5), fma(t, v7, v6), fnma(t, v6, v7)
        v0, v1, v2, v3 = fma(u, a2, a0), fma(u, a3, a1), fnma(u, a0, a2), fnma(u, a1, a3)
        v4, v5, v6, v7 = fma(u, a6, a4), fma(u, a7, a5), fnma(u, a4, a6), fnma(u, a5, a7)
        store(psi, i0, mul(fma(w, v4, v0), scale))
        store(psi, i1, mul(fma(w, v5, v1), scale))
        store(psi, i2, mul(fma(w, v6, v2), scale))
        store(psi, i3, mul(fma(w, v7, v3), scale))
        store(psi, i4, mul(fnma(w, v0, v4), scale))
        store(psi, i5, mul(fnma(w, v1, v5), scale))
        store(psi, i6, mul(fnma(w, v2, v6), scale))
        store(psi, i7, mul(fnma(w, v3, v7), scale))
        a0, a1, a2, a3 = fma(t, l1, l0), fnma(t, l0, l1), fma(t, l3, l2), fnma(t, l2, l3)
        a4, a5, a6, a7 = fma(t, l5, l4), fnma(t, l4, l5), fma(t, l7, l6), fnma(t, l6, l7)
        l0, l1, l2, l3 = fma(u, a2, a0), fma(u, a3, a1), fnma(u, a0, a2), fnma(u, a1, a3)
        l4, l5, l6, l7 = fma(u, a6, a4), fma(u, a7, a5), fnma(u, a4, a6), fnma(u, a5, a7)
        store(lam, i0, mul(fma(w, l4, l0), scale))
        store(lam, i1, mul(fma(w, l5, l1), scale))
        store(lam, i2, mul(fma(w, l6, l2), scale))
        store(lam, i3, mul(fma(w, l7, l3), scale))
        store(lam, i4, mul(fnma(w, l0, l4), scale))
        store(lam, i5, mul(fnma(w, l1, l5), scale))
        store(lam, i6, mul(fnma(w, l2, l6), scale))
        store(lam, i7, mul(fnma(w, l3, l7), scale))
    store(grad, row, g)
    store(grad, row + 1, h)
    store(grad, row + 2, k)


@_jit
def phase_shared(psi, rows, cos, sin, first):
    """psi *= exp(-i phi), one phi a row for all samples."""
    for b in range(rows):
        c, s = spread(cos[first + b]), spread(sin[first + b])
        re, im = load(psi, b), load(psi, rows + b)
        store(psi, b, fma(re, c, mul(im, s)))
        store(psi, rows + b, fnma(re, s, mul(im, c)))


@_jit
def phase_shared_back(psi, lam, rows, cos, sin, first, grad, work):
    """Undo it on both; grad[first + b] += sum over samples of Im(conj(lam) psi). Uses as many rows of `work` as there
    are lanes."""
    together = min(width(psi.dtype.type(0)), rows)
    for start in range(0, rows, together):
        for k in range(together):
            b = start + k
            c, s = spread(cos[first + b]), spread(sin[first + b])
            re, im = load(psi, b), load(psi, rows + b)
            x, y = load(lam, b), load(lam, rows + b)
            store(work, k, fnma(y, re, mul(x, im)))
            store(psi, b, fnma(im, s, mul(re, c)))
            store(psi, rows + b, fma(re, s, mul(im, c)))
            store(lam, b, fnma(y, s, mul(x, c)))
            store(lam, rows + b, fma(x, s, mul(y, c)))
        if together == width(psi.dtype.type(0)):
            row = (first + start) // together
            store(grad, row, add(load(grad, row), totals(work)))
        else:
            for k in range(together):
                grad[first + start + k] += total(load(work, k))


@_jit
def phase_table(tre, tim, m, cos, sin, row):
    """Rows exp(-i sum_j sign_j phi_j) for the 2^m patterns of signs, by doubling: bit j set means sign -1."""
    store(tre, 0, load(cos, row))
    store(tim, 0, mul(load(sin, row), spread(tre.dtype.type(-1))))
    store(tre, 1, load(cos, row))
    store(tim, 1, load(sin, row))
    for j in range(1, m):
        c, s = load(cos, row + j), load(sin, row + j)
        for e in range(1 << j):
            re, im = load(tre, e), load(tim, e)
            store(tre, e, fma(re, c, mul(im, s)))
            store(tim, e, fnma(re, s, mul(im, c)))
            store(tre, e + (1 << j), fnma(im, s, mul(re, c)))
            store(tim, e + (1 << j), fma(re, s, mul(im, c)))


@_jit
def phase_sample(psi, rows, pat, off, tre, tim):
    for b in range(rows):
        e = at(pat, off + b)
        c, s = load(tre, e), load(tim, e)
        re, im = load(psi, b), load(psi, rows + b)
        store(psi, b, fnma(im, s, mul(re, c)))
        store(psi, rows + b, fma(re, s, mul(im, c)))


@_jit
def phase_sample_back(psi, lam, rows, pat, off, tre, tim, bucket):
    for b in range(rows):
        e = at(pat, off + b)
        c, s = load(tre, e), load(tim, e)
        re, im = load(psi, b), load(psi, rows + b)
        x, y = load(lam, b), load(lam, rows + b)
        store(bucket, e, add(load(bucket, e), fnma(y, re, mul(x, im))))
        store(psi, b, fma(im, s, mul(re, c)))
        store(psi, rows + b, fnma(re, s, mul(im, c)))
        store(lam, b, fma(y, s, mul(x, c)))
        store(lam, rows + b, fnma(x, s, mul(y, c)))


@_jit
def signed_sums(bucket, m, out, row):
    """out rows row..row+m-1 += the sums over patterns with the sign of bit j. Destroys bucket."""
    for j in range(m - 1, -1, -1):
        half = 1 << j
        s = spread(bucket.dtype.type(0))
        for e in range(half):
            a, b = load(bucket, e), load(bucket, e + half)
            s = add(s, sub(a, b))
            store(bucket, e, add(a, b))
        store(out, row + j, add(load(out, row + j), s))


@_jit
def signed_table(values, row, m, table):
    """table row e = sum_j sign_j(e) values[row + j]: the reverse of signed_sums."""
    v = load(values, row)
    store(table, 0, v)
    store(table, 1, sub(spread(values.dtype.type(0)), v))
    for j in range(1, m):
        v = load(values, row + j)
        for e in range(1 << j):
            a = load(table, e)
            store(table, e, add(a, v))
            store(table, e + (1 << j), sub(a, v))


@_jit
def clear(array, first, rows):
    z = spread(array.dtype.type(0))
    for b in range(first, first + rows):
        store(array, b, z)


@_jit
def copy(source, first, target, rows):
    for b in range(rows):
        store(target, b, load(source, first + b))


@_jit
def start_product(psi, idx, off, k, cos, sin, row):
    """From |0...0> the product state of k rotations: row idx[c] = product of cos or sin by the bits of c."""
    store(psi, at(idx, off), spread(psi.dtype.type(1)))
    for j in range(k):
        c, s = load(cos, row + j), load(sin, row + j)
        for e in range(1 << j):
            i = at(idx, off + e)
            v = load(psi, i)
            store(psi, i, mul(v, c))
            store(psi, at(idx, off + e + (1 << j)), mul(v, s))


@_jit
def start_product_back(lam, idx, off, k, cos, sin, row, work, prefix, grad):
    """Gradients of start_product: contract lam with the product, one qubit after the other from the last."""
    store(prefix, 1, spread(lam.dtype.type(1)))
    for j in range(k - 1):
        c, s = load(cos, row + j), load(sin, row + j)
        for e in range(1 << j):
            v = load(prefix, (1 << j) + e)
            store(prefix, (2 << j) + e, mul(v, c))
            store(prefix, (2 << j) + e + (1 << j), mul(v, s))
    for e in range(1 << k):
        store(work, e, load(lam, at(idx, off + e)))
    for j in range(k - 1, -1, -1):
        c, s, half = load(cos, row + j), load(sin, row + j), 1 << j
        g = load(grad, row + j)
        for e in range(half):
            a, b = load(work, e), load(work, e + half)
            g = fma(load(prefix, half + e), fnma(s, a, mul(c, b)), g)
            store(work, e, fma(s, b, mul(c, a)))
        store(grad, row + j, g)


@_jit
def probabilities_into(psi, rows, pat, off, bucket):
    for b in range(rows):
        e = at(pat, off + b)
        re, im = load(psi, b), load(psi, rows + b)
        store(bucket, e, add(load(bucket, e), fma(re, re, mul(im, im))))


@_jit
def seed(psi, lam, rows, pat, off, table, first):
    """lam (+)= 2 h psi with h a table by pattern."""
    two = spread(psi.dtype.type(2))
    for b in range(rows):
        h = mul(load(table, at(pat, off + b)), two)
        re, im = load(psi, b), load(psi, rows + b)
        if first:
            store(lam, b, mul(h, re))
            store(lam, rows + b, mul(h, im))
        else:
            store(lam, b, fma(h, re, load(lam, b)))
            store(lam, rows + b, fma(h, im, load(lam, rows + b)))


@_jit
def lane_scale(cos, row, k, scale, place):
    v = load(cos, row)
    for j in range(1, k):
        v = mul(v, load(cos, row + j))
    store(scale, place, v)


@_jit
def double_angle(cos, sin, row):
    """From row r of `cos`, angles in [-pi/2, pi/2], the cosine and sine of twice as much, single precision.

    Taylor series to degrees 12 and 11, whose remainders there are below 6e-8, then one doubling: with rounding good to
    4e-7.
    """
    of = cos.dtype.type
    one, h = spread(of(1)), load(cos, row)
    x = mul(h, h)
    s = fma(x, spread(of(-1 / 39916800)), spread(of(1 / 362880)))
    s = fma(x, s, spread(of(-1 / 5040)))
    s = fma(x, s, spread(of(1 / 120)))
    s = fma(x, s, spread(of(-1 / 6)))
    s = mul(fma(x, s, one), h)
    c = fma(x, spread(of(1 / 479001600)), spread(of(-1 / 3628800)))
    c = fma(x, c, spread(of(1 / 40320)))
    c = fma(x, c, spread(of(-1 / 720)))
    c = fma(x, c, spread(of(1 / 24)))
    c = fma(x, c, spread(of(-0.5)))
    c = fma(x, c, one)
    store(cos, row, fnma(s, s, mul(c, c)))
    store(sin, row, mul(add(s, s), c))
