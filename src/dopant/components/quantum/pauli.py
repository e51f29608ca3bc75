"""Real or complex sums of all Pauli strings on n qubits, by the structured transform.

A dense stack of the 4^n - 1 matrices takes 2 GB at n = 7; the transform needs O(n 4^n) work and no table. Up to four
qubits (1 MB in double precision) the stack is one product and therefore several times faster. Strings are
in the order of the product I,X,Y,Z over qubits, the leftmost factor slowest, without the identity string: for two
qubits IX, IY, IZ, XI, XX, … ZZ.
"""

from __future__ import annotations

import functools

import torch

# column P holds the matrix of P = I, X, Y, Z row-major: entries 00, 01, 10, 11
_TABLE = ((1, 0, 0, 1), (0, 1, -1j, 0), (0, 1, 1j, 0), (1, 0, 0, -1))
_DENSE = 4  # qubits up to which the matrices are kept


def pauli_sum(coefficients: torch.Tensor) -> torch.Tensor:
    """sum_k c_k P_k over all Pauli strings but the identity.

    coefficients: (..., 4^n - 1), real (the sum is then Hermitian) or complex, float32 or float64 based.
    Returns (..., 2^n, 2^n), complex of the same precision. Differentiable any number of times.
    Raises ValueError if the last axis is not 4^n - 1 long with n >= 1.
    """
    strings = coefficients.shape[-1] + 1
    qubits = (strings.bit_length() - 1) // 2
    if qubits < 1 or strings != 4**qubits:
        raise ValueError(f"the last axis has {strings - 1} coefficients; expected 4**n - 1 of them: 3, 15, 63, 255, …")
    if qubits <= _DENSE:
        stack = _stack(qubits, coefficients.dtype, coefficients.device)
        found = coefficients @ stack
        found = found if coefficients.is_complex() else torch.view_as_complex(found.unflatten(-1, (-1, 2)))
        return found.unflatten(-1, (2**qubits, 2**qubits))
    return _transform(coefficients, qubits)


@functools.lru_cache(maxsize=32)
def _stack(qubits: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(4^n - 1, 4^n) complex rows, or for a real dtype (4^n - 1, 2 * 4^n): real and imaginary parts by turns."""
    with torch.inference_mode(False):  # made once, perhaps in inference mode, and used in training too
        rows = _transform(torch.eye(4**qubits - 1, dtype=torch.float64, device=device), qubits).flatten(1)
        return (rows if dtype.is_complex else torch.view_as_real(rows).flatten(1)).to(dtype)


def _transform(coefficients: torch.Tensor, qubits: int) -> torch.Tensor:
    strings = 4**qubits
    batch = coefficients.shape[:-1]
    single = torch.tensor(_TABLE, dtype=torch.complex128, device=coefficients.device)
    # two axes at a time: half as many passes over the array
    double = torch.kron(single, single)
    values = torch.nn.functional.pad(coefficients, (1, 0)).to(coefficients.dtype.to_complex())
    values = values.reshape(-1, strings)
    left = qubits
    while left:
        table = double if left >= 2 else single
        table = table.to(values.dtype)
        width = table.shape[0]
        # the transformed axes move from the front to the back; after all of them the order is the first one again
        values = (values.reshape(-1, width, strings // width).transpose(1, 2) @ table.T).reshape(-1, strings)
        left -= 2 if width == 16 else 1
    # (row bit, column bit) of each qubit -> all row bits, all column bits
    values = values.reshape(-1, *(2,) * (2 * qubits))
    order = [0, *range(1, 2 * qubits + 1, 2), *range(2, 2 * qubits + 1, 2)]
    return values.permute(order).reshape(*batch, 2**qubits, 2**qubits)
