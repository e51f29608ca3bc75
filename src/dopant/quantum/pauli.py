"""Pauli strings: their letters, their matrices, and sums of them by the structured transform.

Layers and gates whose generator is sum_k angle_k P_k share this. Strings are in the order of the product I,X,Y,Z over
qubits, the leftmost factor slowest: for two qubits II, IX, IY, IZ, XI, XX, … ZZ.

A dense stack of the 4^n - 1 matrices takes 2 GB at n = 7; the transform needs O(n 4^n) work and no table. Up to four
qubits (1 MB in double precision) the stack is one product and therefore several times faster.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import torch
from torch.utils._python_dispatch import _disable_current_modes

from ._transforms import beside_real, transformed

LETTERS = "IXYZ"
PAULIS = {
    "I": torch.eye(2, dtype=torch.complex128, device="cpu"),
    "X": torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128, device="cpu"),
    "Y": torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128, device="cpu"),
    "Z": torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128, device="cpu"),
}
_DENSE = 4  # qubits up to which the matrices are kept


def pauli_strings(n: int) -> tuple[str, ...]:
    """All 4^n strings on n qubits, the identity first."""
    return tuple("".join(s) for s in itertools.product(LETTERS, repeat=n))


def pauli_matrix(letters: str) -> torch.Tensor:
    """The tensor product of the letters, complex128 (2^n, 2^n)."""
    found = torch.ones(1, 1, dtype=torch.complex128, device="cpu")
    for letter in letters:
        found = torch.kron(found, PAULIS[letter])
    return found


def pauli_sum(coefficients: torch.Tensor, strings: Sequence[str] | None = None) -> torch.Tensor:
    """sum_k c_k P_k over `strings`, by default all Pauli strings but the identity.

    coefficients: (..., strings), real (the sum is then Hermitian) or complex, float32 or float64 based; by default
    (..., 4^n - 1). A string may stand in `strings` twice.
    Returns (..., 2^n, 2^n), complex of the same precision. Differentiable any number of times, backward and forward.
    Raises ValueError if the last axis is not as long as `strings`, or 4^n - 1 with n >= 1.
    """
    count = coefficients.shape[-1]
    if strings is not None:
        qubits = len(strings[0]) if len(strings) else 0
        if len(strings) != count or not qubits:
            raise ValueError(f"{count} coefficients for {len(strings)} Pauli strings; expected one for each")
        if len(strings) == 4**qubits - 1 and tuple(strings) == pauli_strings(qubits)[1:]:
            strings = None
    else:
        qubits = ((count + 1).bit_length() - 1) // 2
        if qubits < 1 or count + 1 != 4**qubits:
            raise ValueError(f"the last axis has {count} coefficients; expected 4**n - 1 of them: 3, 15, 63, 255, …")
    if qubits <= _DENSE:
        asked = qubits, None if strings is None else tuple(strings), coefficients.dtype, coefficients.device
        if beside_real(coefficients):
            with _disable_current_modes():  # what is kept is real, and costs a step on fakes no memory either
                stack = _stack(*asked)
        else:
            stack = (_stack.__wrapped__ if transformed(coefficients) else _stack)(*asked)  # a fake one is not kept
        found = coefficients @ stack
        found = found if coefficients.is_complex() else torch.view_as_complex(found.unflatten(-1, (-1, 2)))
        return found.unflatten(-1, (2**qubits, 2**qubits))
    if strings is None:
        return _transform(torch.nn.functional.pad(coefficients, (1, 0)), qubits)
    places = torch.tensor(_places(tuple(strings)), device=coefficients.device)
    whole = coefficients.new_zeros(*coefficients.shape[:-1], 4**qubits)
    return _transform(whole.index_add(-1, places, coefficients), qubits)


@functools.lru_cache(maxsize=64)
def _places(strings: tuple[str, ...]) -> list[int]:
    """Where each string stands in the order of all."""
    return [int("".join(str(LETTERS.index(letter)) for letter in s), 4) for s in strings]


@functools.lru_cache(maxsize=64)
def _stack(
    qubits: int, strings: tuple[str, ...] | None, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:  # fmt: skip
    """(strings, 4^n) complex rows, or for a real dtype (strings, 2 * 4^n): real and imaginary parts by turns."""
    with torch.inference_mode(False):  # made once, perhaps in inference mode, and used in training too
        rows = _transform(torch.eye(4**qubits, dtype=torch.float64, device=device), qubits).flatten(1)
        rows = rows[1:] if strings is None else rows[_places(strings)]
        return (rows if dtype.is_complex else torch.view_as_real(rows.contiguous()).flatten(1)).to(dtype)


def _transform(coefficients: torch.Tensor, qubits: int) -> torch.Tensor:
    """(..., 4^n), the identity's among them -> (..., 2^n, 2^n)."""
    strings = 4**qubits
    batch = coefficients.shape[:-1]
    # column P holds the matrix of P = I, X, Y, Z row-major: entries 00, 01, 10, 11
    single = torch.stack([PAULIS[letter].flatten() for letter in LETTERS], 1).to(coefficients.device)
    # two axes at a time: half as many passes over the array
    double = torch.kron(single, single)
    values = coefficients.to(coefficients.dtype.to_complex()).reshape(-1, strings)
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
