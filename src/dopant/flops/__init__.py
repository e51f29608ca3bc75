"""Counting the arithmetic of torch code: a multiply-add is two FLOPs, of complex numbers eight.

torch's own FlopCounterMode knows products, convolutions and attention, and takes complex numbers for real ones. Here
decompositions, matrix exponentials, solvers, Fourier transforms, recurrent kernels and in-place products count too.
Element-wise work, sums and copies count nothing, as there. What torch does not run (NumPy, SciPy, Numba, custom
operations) no counter can see: components declare it, see `dopant.cost`.

`counter` is the context, `formulas` the table that its neighbours fill, each with one kind of operation.

Sources. G&VL: Golub and Van Loan, Matrix Computations, 4th edition, sections 3.2 (LU), 4.2 (Cholesky), 5.1, 5.2 (QR),
7.5 (unsymmetric eigenvalues), 8.3 (symmetric ones), 8.6 (SVD). LAWN 41: LAPACK Working Note 41, appendix C. BBC: Bader,
Blanes and Casas 2019, Mathematics 7, 1174, table 1, which is how torch makes matrix exponentials (the scaling and
squaring of Higham 2005 takes six products and a solve where BBC takes five products). FFT: 5 N log2 N (van Loan 1992).
"""

from __future__ import annotations

from . import decompositions, fourier, products
from .counter import KNOWN as KNOWN
from .counter import Counter as Counter
from .formulas import FORMULAS as FORMULAS
from .formulas import of as of

__all__ = ["FORMULAS", "KNOWN", "Counter", "decompositions", "fourier", "of", "products"]
