"""What is measured: Pauli strings, Hermitian sums, probabilities, overlaps."""

from __future__ import annotations

import numbers as numbers_
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ConfigError
from . import _checks
from .pauli import pauli_matrix


@dataclass(frozen=True)
class PauliSum:
    """sum_k coefficient_k P_k, a real combination of Pauli strings on all qubits."""

    strings: tuple[str, ...]
    coefficients: tuple[float, ...]

    @property
    def diagonal(self) -> bool:
        return all(set(s) <= set("IZ") for s in self.strings)


@dataclass(frozen=True)
class Measurement:
    """What a layer gives: `outputs` numbers a sample.

    kind: "paulis" (expectations of `sums`), "probabilities" (of the qubits in `qubits`, or of the basis states in
    `states`), "matrices" (expectations of dense Hermitian `matrices` on `qubits`), "overlaps" (|<v|state>|^2 with the
    rows v of `vectors`), "state" (the complex state).
    """

    kind: str
    outputs: int
    sums: tuple[PauliSum, ...] = ()
    qubits: tuple[int, ...] = ()
    states: tuple[int, ...] | None = None
    matrices: tuple[tuple[tuple[complex, ...], ...], ...] = ()
    vectors: tuple[tuple[complex, ...], ...] = ()
    words: str = ""

    @property
    def diagonal(self) -> bool:
        return self.kind == "paulis" and all(s.diagonal for s in self.sums)


def measurement(given: Any, n: int) -> Measurement:
    """`measure` of a layer on n qubits as a Measurement. ConfigError with the forms that are known.

    "x" "y" "z": that Pauli of every qubit. A Pauli string, or several: their expectations. A dictionary
    {string: coefficient}, or several: Hermitian sums. "probabilities": of all 2^n basis states; ("probabilities",
    [qubits]): of those qubits, the first the most significant; ("states", [numbers or bit strings]): of those basis
    states. ("overlaps", [states or circuits without inputs]): |<v|state>|^2. A Hermitian
    matrix (2^n, 2^n), or several. "state": the state itself, complex.
    """
    if isinstance(given, Measurement):
        return given
    if isinstance(given, str):
        word = given.lower()
        if word in ("x", "y", "z"):
            strings = ["I" * q + word.upper() + "I" * (n - 1 - q) for q in range(n)]
            return _paulis([{s: 1.0} for s in strings], n, given)
        if word in ("probabilities", "probs"):
            return Measurement("probabilities", 1 << n, qubits=tuple(range(n)), words="probabilities")
        if word == "state":
            return Measurement("state", 1 << n, words="state")
        return _paulis([{given: 1.0}], n, given)
    if isinstance(given, dict):
        return _paulis([given], n, "a Hermitian sum")
    if (
        isinstance(given, tuple)
        and len(given) == 2
        and isinstance(given[0], str)
        and given[0] in ("probabilities", "states")
    ):
        return _some(given[0], given[1], n)
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str) and given[0] == "overlaps":
        return _overlaps(given[1], n)
    if hasattr(given, "shape"):
        stack = torch.as_tensor(given)
        return _matrices(stack[None] if stack.dim() == 2 else stack, n)
    if isinstance(given, Sequence) and len(given) and all(isinstance(g, str | dict) for g in given):
        return _paulis([{g: 1.0} if isinstance(g, str) else g for g in given], n, f"{len(given)} observables")
    if isinstance(given, Sequence) and len(given) and all(hasattr(g, "shape") for g in given):
        return _matrices(given, n)
    raise ConfigError(f"measure={given!r}: take 'x', 'y', 'z', 'probabilities', 'state', Pauli strings of {n} letters, "
                      "{string: coefficient}, ('probabilities', qubits), ('states', numbers), ('overlaps', states) or "
                      "Hermitian matrices")  # fmt: skip


def _paulis(sums: Sequence[dict[str, Any]], n: int, words: str) -> Measurement:
    found = []
    for i, terms in enumerate(sums):
        where = f"measure, observable {i}"
        strings, numbers = [], []
        for s, c in terms.items():
            word = _checks.letters(s, where)
            if len(word) != n:
                raise ConfigError(f"{where}: {s!r} has {len(word)} letters; the circuit has {n} qubits, "
                                  f"one letter each, "
                                  "I where nothing is measured")  # fmt: skip
            if isinstance(c, bool) or not isinstance(c, numbers_.Complex):
                raise ConfigError(f"{where}: the coefficient of {s!r} is {c!r}; take a real number")
            if c.imag:
                raise ConfigError(f"{where}: the coefficient {c} of {s!r} is complex; an observable is Hermitian, its "
                                  "coefficients real")  # fmt: skip
            number = float(c.real)
            if not abs(number) < float("inf"):
                raise ConfigError(f"{where}: the coefficient of {s!r} is {number}")
            strings.append(word)
            numbers.append(number)
        if not strings:
            raise ConfigError(f"{where}: an empty sum")
        found.append(PauliSum(tuple(strings), tuple(numbers)))
    return Measurement("paulis", len(found), sums=tuple(found), words=words)


def _some(kind: str, given: Any, n: int) -> Measurement:
    if kind == "probabilities":
        on = _checks.qubits(_checks.as_qubits(given), n, "measure=('probabilities', …)")
        return Measurement("probabilities", 1 << len(on), qubits=on, words=f"probabilities of qubits {list(on)}")
    states = []
    for s in given:
        bits = isinstance(s, str) and len(s) == n and set(s) <= {"0", "1"}
        number = int(s, 2) if bits else _checks.whole(s)
        if number is None or not 0 <= number < 1 << n:
            raise ConfigError(f"measure=('states', …): {s!r} is no basis state of {n} qubits; take numbers from 0 to "
                              f"{(1 << n) - 1} or {n} bits as text")  # fmt: skip
        states.append(number)
    if not states:
        raise ConfigError("measure=('states', …): no state is named")
    return Measurement(
        "probabilities", len(states), qubits=tuple(range(n)), states=tuple(states), words="chosen states"
    )


def _overlaps(given: Any, n: int) -> Measurement:
    from .circuit import Circuit

    found = []
    for i, v in enumerate(given):
        where = f"measure=('overlaps', …), state {i}"
        if isinstance(v, Circuit):
            if v.qubits != n or v.features or v.weights:
                raise ConfigError(f"{where}: a circuit of {v.qubits} qubits, {v.features} features and {v.weights} "
                                  f"weights; "
                                  f"expected {n} qubits and numbers alone")  # fmt: skip
            v = v.state(None, torch.zeros(0, dtype=torch.float64))
        try:
            vector = torch.as_tensor(v).detach().cpu().to(torch.complex128)
        except (TypeError, ValueError, RuntimeError) as e:
            raise ConfigError(f"{where}: a vector of numbers or a circuit is wanted, not {type(v).__name__}") from e
        if vector.shape != (1 << n,):
            raise ConfigError(f"{where}: shape {tuple(vector.shape)}; a state of {n} qubits has ({1 << n},)")
        norm = float(vector.abs().square().sum())
        if not abs(norm - 1) < 1e-6:
            raise ConfigError(f"{where}: its squared norm is {norm:.6g}; a state has 1 (divide by the norm)")
        found.append(tuple(complex(e) for e in vector.tolist()))
    if not found:
        raise ConfigError("measure=('overlaps', …): no state is named")
    return Measurement("overlaps", len(found), qubits=tuple(range(n)), vectors=tuple(found), words="state overlaps")


def _matrices(given: Any, n: int) -> Measurement:
    found = [_checks.hermitian(m, n, f"measure, observable {i}") for i, m in enumerate(given)]
    entries = tuple(tuple(tuple(complex(e) for e in row) for row in m.tolist()) for m in found)
    return Measurement("matrices", len(found), qubits=tuple(range(n)), matrices=entries, words="Hermitian matrices")


def of_state(measured: Measurement, psi: torch.Tensor, n: int) -> torch.Tensor:
    """(batch, 2^n) complex -> (batch, outputs), differentiable, on any device."""
    if measured.kind == "state":
        return psi
    if measured.kind == "paulis":
        return _expectations(measured, psi, n)
    if measured.kind == "overlaps":
        inner = psi @ torch.tensor(measured.vectors, dtype=psi.dtype, device=psi.device).mH
        return inner.real.square() + inner.imag.square()
    if measured.kind == "matrices":
        stack = torch.tensor(measured.matrices, dtype=psi.dtype, device=psi.device)
        return torch.einsum("bi,kij,bj->bk", psi.conj(), stack, psi).real
    return of_probabilities(measured, psi.real.square() + psi.imag.square(), n)


def of_probabilities(measured: Measurement, p: torch.Tensor, n: int) -> torch.Tensor:
    """Probabilities of all basis states (batch, 2^n) -> those that are wanted (batch, outputs)."""
    if measured.states is not None:
        return p[:, torch.tensor(measured.states, device=p.device)]
    if measured.qubits == tuple(range(n)):
        return p
    cube = p.reshape(-1, *[2] * n)
    rest = [q + 1 for q in range(n) if q not in measured.qubits]
    cube = cube.sum(rest) if rest else cube
    kept = sorted(measured.qubits)
    return cube.permute(0, *[kept.index(q) + 1 for q in measured.qubits]).reshape(p.shape[0], measured.outputs)


def matrix_of(measured: Measurement, n: int, shrink: float = 1.0) -> torch.Tensor:
    """The observables as matrices (outputs, 2^n, 2^n), complex128. shrink: by what each letter of a Pauli string is
    multiplied, which is what readout errors do to it; matrices and overlaps have none."""
    if measured.kind == "overlaps":
        v = torch.tensor(measured.vectors, dtype=torch.complex128)
        return v[:, :, None] * v[:, None, :].conj()
    if measured.kind == "matrices":
        return torch.tensor(measured.matrices, dtype=torch.complex128)
    found = torch.zeros(len(measured.sums), 1 << n, 1 << n, dtype=torch.complex128)
    for k, total in enumerate(measured.sums):
        for s, c in zip(total.strings, total.coefficients, strict=True):
            found[k] += c * shrink ** sum(letter != "I" for letter in s) * pauli_matrix(s)
    return found


def _expectations(measured: Measurement, psi: torch.Tensor, n: int) -> torch.Tensor:
    strings = sorted({s for total in measured.sums for s in total.strings})
    rows = torch.arange(1 << n, device=psi.device)
    p = psi.real.square() + psi.imag.square()
    values = []
    for s in strings:
        x, z = masks(s)
        signs = 1.0 - 2.0 * parity(rows & z).to(p.dtype)
        if not x:
            values.append(p @ signs)
            continue
        # <psi|P|psi> with P|b> = i^|x&z| (-1)^(b.z) |b^x>: real and imaginary part of conj(psi_b^x) psi_b, by turns
        turns, there = (x & z).bit_count(), psi[:, rows ^ x]
        if turns % 2:
            inner = there.imag * psi.real - there.real * psi.imag
        else:
            inner = there.real * psi.real + there.imag * psi.imag
        values.append(inner @ (signs if turns % 4 < 2 else -signs))
    found = torch.stack(values, -1)
    weights = found.new_zeros(len(strings), len(measured.sums))
    for k, total in enumerate(measured.sums):
        for s, c in zip(total.strings, total.coefficients, strict=True):
            weights[strings.index(s), k] += c
    return found @ weights


def masks(letters: str) -> tuple[int, int]:
    """(x, z) of a Pauli string, qubit 0 the highest bit."""
    x = int("".join("1" if s in "XY" else "0" for s in letters), 2)
    z = int("".join("1" if s in "YZ" else "0" for s in letters), 2)
    return x, z


def parity(numbers: torch.Tensor) -> torch.Tensor:
    found = numbers.clone()
    for shift in (32, 16, 8, 4, 2, 1):
        found = found ^ (found >> shift)
    return found & 1
