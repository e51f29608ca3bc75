"""What may enter a circuit, and what is said about the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import ConfigError
from .angles import Source
from .pauli import pauli_strings

if TYPE_CHECKING:
    from .circuit import Circuit
    from .gate import Gate


def count(qubits: Any) -> int:
    found = whole(qubits)
    if found is None or found < 1:
        raise ConfigError(f"a circuit has a whole number of qubits from 1 on, not {qubits!r}")
    return found


def whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return int(value.__index__())
    except (AttributeError, TypeError):
        return None


def as_qubits(qubits: Any) -> list[Any]:
    """One qubit or several, as a list."""
    return [qubits] if whole(qubits) is not None else list(qubits)


def qubits(given: Iterable[Any], n: int, where: str) -> tuple[int, ...]:
    """The qubits as whole numbers. ConfigError where one is out of range, named twice or no number."""
    found = []
    for q in given:
        w = whole(q)
        if w is None:
            raise ConfigError(f"{where}: a qubit is a whole number from 0 to {n - 1}, not {q!r}")
        if not 0 <= w < n:
            raise ConfigError(f"{where}: qubit {w} is out of range; the circuit has {n} "
                              f"qubit{'s' * (n > 1)}, 0 to {n - 1}; "
                              f"Circuit({w + 1 if w >= 0 else n}) would have it")  # fmt: skip
        if w in found:
            raise ConfigError(f"{where}: qubit {w} is named twice; a gate acts on different qubits")
        found.append(w)
    if not found:
        raise ConfigError(f"{where}: it names no qubit")
    return tuple(found)


def letters(given: Any, where: str) -> str:
    """A Pauli string in capitals. ConfigError where a letter is none of I X Y Z."""
    if not isinstance(given, str) or not given:
        raise ConfigError(f"{where}: a Pauli string is text such as 'XYZI', not {given!r}")
    found = given.upper()
    wrong = sorted(set(found) - set("IXYZ"))
    if wrong:
        raise ConfigError(
            f"{where}: {wrong[0]!r} in {given!r} is no Pauli letter; use I, X, Y and Z, one for each qubit"
        )
    return found


def strings(given: Sequence[str] | None, k: int, where: str) -> tuple[str, ...]:
    """Pauli strings on k qubits, default all but the identity."""
    if given is None:
        if k > 6:
            raise ConfigError(
                f"{where}: all {4**k - 1} Pauli strings on {k} qubits are too many; name some as `strings`"
            )
        return pauli_strings(k)[1:]
    found = tuple(letters(s, where) for s in given)
    bad = [s for s in found if len(s) != k]
    if bad or not found:
        raise ConfigError(f"{where}: Pauli strings on {k} qubits have {k} letters, not {bad[0] if bad else 'none'!r}")
    return found


def unitary(matrix: Any, k: int, where: str) -> tuple[tuple[complex, ...], ...]:
    """The entries of a unitary matrix on k qubits. ConfigError for another shape, NaN, or a matrix that is not
    unitary."""
    found = square(matrix, k, where)
    gap = float((found @ found.conj().T - torch.eye(1 << k, dtype=found.dtype)).abs().max())
    if not gap < 1e-6:
        raise ConfigError(f"{where}: the matrix is not unitary, U U^+ differs from 1 by {gap:.2g}; for "
                          f"a Hermitian H use "
                          "exp(iH), for any matrix its unitary factor (scipy.linalg.polar)")  # fmt: skip
    return tuple(tuple(complex(e) for e in row) for row in found.tolist())


def hermitian(matrix: Any, k: int, where: str) -> torch.Tensor:
    """A Hermitian matrix on k qubits, complex128. ConfigError for another shape, NaN, or one that is not Hermitian."""
    found = square(matrix, k, where)
    gap = float((found - found.conj().T).abs().max())
    if not gap < 1e-6:
        raise ConfigError(f"{where}: the matrix is not Hermitian, it differs from its adjoint by "
                          f"{gap:.2g}; an observable is "
                          "(M + M^+)/2 of any M")  # fmt: skip
    return (found + found.conj().T) / 2


def square(matrix: Any, k: int, where: str) -> torch.Tensor:
    try:
        tensor = torch.as_tensor(matrix if torch.is_tensor(matrix) else np.array(matrix))
        found = tensor.detach().cpu().to(torch.complex128)
    except (TypeError, ValueError, RuntimeError) as e:
        raise ConfigError(f"{where}: a matrix of numbers is wanted, not {type(matrix).__name__}") from e
    d = 1 << k
    if found.shape != (d, d):
        raise ConfigError(
            f"{where}: a matrix on {k} qubit{'s' * (k > 1)} has shape ({d}, {d}), not {tuple(found.shape)}"
        )
    if not bool(torch.isfinite(torch.view_as_real(found)).all()):
        raise ConfigError(f"{where}: the matrix has entries that are NaN or infinite")
    return found


def moved(gate: Gate, on: Sequence[int], n: int, where: str) -> Gate:
    """The gate with its qubit q on `on[q]`."""
    if max(gate.qubits) >= len(on):
        raise ConfigError(f"{where}: qubit {max(gate.qubits)} is out of range; the first circuit has {n} qubits")
    return replace(gate, qubits=tuple(on[q] for q in gate.qubits))


def renumbered(first: Circuit, second: Circuit, on: Sequence[int], first_feature: int) -> Circuit:
    """`first`, then `second` on other qubits, its weights after those of `first`, its features shifted."""
    from .amplitudes import come_first
    from .circuit import Circuit

    def change(s: Source) -> Source:
        return Source(s.kind, s.index + (first.weights if s.kind == "weight" else first_feature))

    gates = []
    for gate in second.gates:
        data = gate.data and (gate.data[0] + first_feature, *gate.data[1:])
        angles = tuple(a.replace(change) for a in gate.angles)
        gates.append(replace(moved(gate, on, first.qubits, "compose"), angles=angles, data=data))
    come_first((*first.gates, *gates))
    new = object.__new__(Circuit)
    named = first._named if first._named is not None else second._named
    new._set(first.qubits, (*first.gates, *gates), first.weights + second.weights, first._pending, named)
    return new
