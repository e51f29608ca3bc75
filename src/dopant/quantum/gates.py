"""The gates: names, angles, matrices (textbook, with their global phase) and what each is made of.

A matrix is a function of angles (tensors of any one shape S, radians) -> complex (*S, d, d). `steps` says the same gate
as a product of Pauli rotations and basis permutations, first to act first:

    ("pauli", {qubit: "X" | "Y" | "Z"}, angle)   exp(-i angle/2 P)
    ("phase", angle)                             exp(-i angle/2)
    ("cx", a, b) ("x", a) ("swap", a, b)         permutations of the basis

The matrices do not know the steps: they test each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .angles import Angle
from .pauli import pauli_matrix

PI = math.pi
Step = tuple[Any, ...]
Matrix = Callable[..., torch.Tensor]
Steps = Callable[..., list[Step]]


@dataclass(frozen=True)
class GateType:
    """What a name means: how many qubits and which angles, the matrix, the steps, the name in OpenQASM 3."""

    name: str
    qubits: int
    angles: tuple[str, ...]
    matrix: Matrix
    steps: Steps
    qasm: str | None
    doc: str


GATES: dict[str, GateType] = {}


def _gate(name: str, qubits: int, angles: str, doc: str, matrix: Matrix, steps: Steps, qasm: str | None = "") -> None:
    GATES[name] = GateType(name, qubits, tuple(angles.split()), matrix, steps, name if qasm == "" else qasm, doc)


def _rows(rows: Sequence[Sequence[Any]], like: torch.Tensor) -> torch.Tensor:
    """A matrix whose entries are tensors of like's shape or numbers."""
    dtype = like.dtype if like.is_complex() else torch.complex128 if like.dtype == torch.float64 else torch.complex64
    entries = [
        torch.stack([e.to(dtype) if torch.is_tensor(e) else torch.full_like(like, e, dtype=dtype) for e in row], -1)
        for row in rows
    ]
    return torch.stack(entries, -2)


def constant(rows: Sequence[Sequence[complex]]) -> Matrix:
    def matrix() -> torch.Tensor:
        return torch.tensor(rows, dtype=torch.complex128)

    return matrix


def controlled(matrix: torch.Tensor, controls: int = 1) -> torch.Tensor:
    """(…, d, d) -> (…, 2^c d, 2^c d): the identity unless all controls, the leftmost factors, are 1."""
    d = matrix.shape[-1]
    size = d << controls
    eye = torch.eye(size - d, dtype=matrix.dtype, device=matrix.device).expand(*matrix.shape[:-2], size - d, size - d)
    top = torch.nn.functional.pad(eye, (0, d, 0, d))
    return top + torch.nn.functional.pad(matrix, (size - d, 0, size - d, 0))


def _phase(t: torch.Tensor) -> torch.Tensor:
    return torch.complex(t.cos(), t.sin())


def rx(t: torch.Tensor) -> torch.Tensor:
    c, s = (t / 2).cos(), torch.complex(torch.zeros_like(t), -(t / 2).sin())
    return _rows([[c, s], [s, c]], t)


def ry(t: torch.Tensor) -> torch.Tensor:
    c, s = (t / 2).cos(), (t / 2).sin()
    return _rows([[c, -s], [s, c]], t)


def rz(t: torch.Tensor) -> torch.Tensor:
    return _rows([[_phase(-t / 2), 0.0], [0.0, _phase(t / 2)]], t)


def p(t: torch.Tensor) -> torch.Tensor:
    return _rows([[1.0, 0.0], [0.0, _phase(t)]], t)


def u(theta: torch.Tensor, phi: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
    c, s = (theta / 2).cos(), (theta / 2).sin()
    return _rows([[c, -_phase(lam) * s], [_phase(phi) * s, _phase(phi + lam) * c]], theta)


def rot(phi: torch.Tensor, theta: torch.Tensor, omega: torch.Tensor) -> torch.Tensor:
    c, s = (theta / 2).cos(), (theta / 2).sin()
    plus, minus = (phi + omega) / 2, (phi - omega) / 2
    return _rows([[_phase(-plus) * c, -_phase(minus) * s], [_phase(-minus) * s, _phase(plus) * c]], theta)


def pauli_rotation(letters: str) -> Matrix:
    """exp(-i t/2 P) = cos(t/2) I - i sin(t/2) P, as P^2 = I."""
    pauli = pauli_matrix(letters)

    def matrix(t: torch.Tensor) -> torch.Tensor:
        dtype = torch.complex128 if t.dtype == torch.float64 else torch.complex64
        here = pauli.to(t.device, dtype)
        eye = torch.eye(here.shape[0], dtype=dtype, device=t.device)
        c, s = (t / 2).cos()[..., None, None], (t / 2).sin()[..., None, None]
        return c * eye - 1j * s * here

    return matrix


def _c(of: Matrix) -> Matrix:
    return lambda *angles: controlled(of(*angles))


# what gates are made of


def _pauli(letters: str) -> Steps:
    return lambda qubits, t: [("pauli", dict(zip(qubits, letters, strict=True)), t)]


def _p_steps(q: int, t: Angle) -> list[Step]:
    return [("pauli", {q: "Z"}, t), ("phase", -t)]


def _fixed_phase(angle: float) -> Steps:
    return lambda qubits: _p_steps(qubits[0], number(angle))


def number(value: float) -> Angle:
    return Angle({(): value})


def _cp_steps(a: int, b: int, t: Angle) -> list[Step]:
    # exp(i t n_a n_b) with n = (1 - Z)/2
    h = t * 0.5
    return [("pauli", {a: "Z"}, h), ("pauli", {b: "Z"}, h), ("pauli", {a: "Z", b: "Z"}, -h), ("phase", -h)]


def _h_steps(q: int) -> list[Step]:
    return [*_p_steps(q, number(PI)), ("pauli", {q: "Y"}, number(PI / 2))]  # H = RY(pi/2) Z


def _controlled_rotation(letter: str) -> Steps:
    # (1 - Z_c)/2 in the exponent
    return lambda qubits, t: [
        ("pauli", {qubits[1]: letter}, t * 0.5),
        ("pauli", {qubits[0]: "Z", qubits[1]: letter}, t * -0.5),
    ]


def _u_steps(q: int, theta: Angle, phi: Angle, lam: Angle) -> list[Step]:
    return [("pauli", {q: "Z"}, lam), ("pauli", {q: "Y"}, theta), ("pauli", {q: "Z"}, phi), ("phase", -(phi + lam))]


def _rot_steps(q: int, phi: Angle, theta: Angle, omega: Angle) -> list[Step]:
    return [("pauli", {q: "Z"}, phi), ("pauli", {q: "Y"}, theta), ("pauli", {q: "Z"}, omega)]


def _y_steps(q: int) -> list[Step]:
    return [*_p_steps(q, number(PI)), ("x", q), ("phase", number(-PI))]  # Y = i X Z


def _cy_steps(a: int, b: int) -> list[Step]:
    return [*_p_steps(b, number(-PI / 2)), ("cx", a, b), *_p_steps(b, number(PI / 2))]


def _ch_steps(a: int, b: int) -> list[Step]:
    # H = RY(pi/4) Z RY(-pi/4)
    return [("pauli", {b: "Y"}, number(-PI / 4)), *_cp_steps(a, b, number(PI)), ("pauli", {b: "Y"}, number(PI / 4))]


def _iswap_steps(a: int, b: int) -> list[Step]:
    return [("swap", a, b), ("pauli", {a: "Z", b: "Z"}, number(PI / 2)), ("phase", number(-PI / 2))]


_R = 1 / math.sqrt(2)
_T = complex(_R, _R)
_SX = [[0.5 + 0.5j, 0.5 - 0.5j], [0.5 - 0.5j, 0.5 + 0.5j]]
_SXDG = [[0.5 - 0.5j, 0.5 + 0.5j], [0.5 + 0.5j, 0.5 - 0.5j]]
_x, _y = constant([[0, 1], [1, 0]]), constant([[0, -1j], [1j, 0]])
_z, _h = constant([[1, 0], [0, -1]]), constant([[_R, _R], [_R, -_R]])
_swap = constant([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])

_gate("id", 1, "", "Identity.", constant([[1, 0], [0, 1]]), lambda qubits: [])
_gate("x", 1, "", "Pauli X.", _x, lambda qubits: [("x", qubits[0])])
_gate("y", 1, "", "Pauli Y.", _y, lambda qubits: _y_steps(qubits[0]))
_gate("z", 1, "", "Pauli Z.", _z, _fixed_phase(PI))
_gate("h", 1, "", "Hadamard.", _h, lambda qubits: _h_steps(qubits[0]))
_gate("s", 1, "", "diag(1, i).", constant([[1, 0], [0, 1j]]), _fixed_phase(PI / 2))
_gate("sdg", 1, "", "diag(1, -i).", constant([[1, 0], [0, -1j]]), _fixed_phase(-PI / 2))
_gate("t", 1, "", "diag(1, exp(i pi/4)).", constant([[1, 0], [0, _T]]), _fixed_phase(PI / 4))
_gate("tdg", 1, "", "diag(1, exp(-i pi/4)).", constant([[1, 0], [0, _T.conjugate()]]), _fixed_phase(-PI / 4))
_gate("sx", 1, "", "Square root of X.", constant(_SX),
      lambda qubits: [("pauli", {qubits[0]: "X"}, number(PI / 2)), ("phase", number(-PI / 2))])  # fmt: skip
_gate("sxdg", 1, "", "Inverse square root of X.", constant(_SXDG),
      lambda qubits: [("pauli", {qubits[0]: "X"}, number(-PI / 2)), ("phase", number(PI / 2))], None)  # fmt: skip
_gate("rx", 1, "t", "exp(-i t X / 2).", rx, _pauli("X"))
_gate("ry", 1, "t", "exp(-i t Y / 2).", ry, _pauli("Y"))
_gate("rz", 1, "t", "exp(-i t Z / 2).", rz, _pauli("Z"))
_gate("p", 1, "t", "diag(1, exp(i t)).", p, lambda qubits, t: _p_steps(qubits[0], t))
_gate("u", 1, "theta phi lam", "U of OpenQASM 3: exp(i(phi+lam)/2) RZ(phi) RY(theta) RZ(lam).", u,
      lambda qubits, *angles: _u_steps(qubits[0], *angles), "U")  # fmt: skip
_gate("rot", 1, "phi theta omega", "RZ(omega) RY(theta) RZ(phi), PennyLane's Rot.", rot,
      lambda qubits, *angles: _rot_steps(qubits[0], *angles), None)  # fmt: skip
_gate("cx", 2, "", "Controlled X (control, target).", _c(_x), lambda qubits: [("cx", *qubits)])
_gate("cy", 2, "", "Controlled Y.", _c(_y), lambda qubits: _cy_steps(*qubits))
_gate("cz", 2, "", "Controlled Z.", _c(_z), lambda qubits: _cp_steps(qubits[0], qubits[1], number(PI)))
_gate("ch", 2, "", "Controlled Hadamard.", _c(_h), lambda qubits: _ch_steps(*qubits))
_gate(
    "cp",
    2,
    "t",
    "Controlled phase: diag(1, 1, 1, exp(i t)).",
    _c(p),
    lambda qubits, t: _cp_steps(qubits[0], qubits[1], t),
)
_gate("crx", 2, "t", "Controlled RX.", _c(rx), _controlled_rotation("X"))
_gate("cry", 2, "t", "Controlled RY.", _c(ry), _controlled_rotation("Y"))
_gate("crz", 2, "t", "Controlled RZ.", _c(rz), _controlled_rotation("Z"))
_gate("swap", 2, "", "Exchange two qubits.", _swap, lambda qubits: [("swap", *qubits)])
_gate("iswap", 2, "", "Exchange with a phase i on |01> and |10>.",
      constant([[1, 0, 0, 0], [0, 0, 1j, 0], [0, 1j, 0, 0], [0, 0, 0, 1]]),
      lambda qubits: _iswap_steps(*qubits), None)  # fmt: skip
_gate("rxx", 2, "t", "exp(-i t XX / 2).", pauli_rotation("XX"), _pauli("XX"), None)
_gate("ryy", 2, "t", "exp(-i t YY / 2).", pauli_rotation("YY"), _pauli("YY"), None)
_gate("rzz", 2, "t", "exp(-i t ZZ / 2).", pauli_rotation("ZZ"), _pauli("ZZ"), None)


def controlled_steps(controls: Sequence[int], steps: Sequence[Step]) -> list[Step]:
    """The same steps, done only where every control is 1: each rotation about P becomes 2^c rotations about Z.. P."""
    found: list[Step] = []
    for step in steps:
        if step[0] == "pauli":
            found += _controlled_pauli(controls, step[1], step[2])
        elif step[0] == "phase":
            found += _controlled_pauli(controls, {}, step[1])
        elif step[0] == "x":  # X = i exp(-i pi/2 X)
            found += _controlled_pauli(controls, {step[1]: "X"}, number(PI))
            found += _controlled_pauli(controls, {}, number(-PI))
        elif step[0] == "cx":
            found += controlled_steps([*controls, step[1]], [("x", step[2])])
        elif step[0] == "swap":
            _, a, b = step
            found += [("cx", b, a), *controlled_steps([*controls, a], [("x", b)]), ("cx", b, a)]
    return found


def _controlled_pauli(controls: Sequence[int], letters: dict[int, str], angle: Angle) -> list[Step]:
    # the product of (1 - Z_c)/2 over controls, times P, in the exponent
    found: list[Step] = []
    for subset in range(1 << len(controls)):
        chosen = [c for i, c in enumerate(controls) if subset >> i & 1]
        share = angle * ((-1.0) ** len(chosen) / (1 << len(controls)))
        string = {**dict.fromkeys(chosen, "Z"), **letters}
        found.append(("pauli", string, share) if string else ("phase", share))
    return found


_gate(
    "ccx",
    3,
    "",
    "Toffoli.",
    lambda: controlled(_x(), 2),
    lambda qubits: controlled_steps(qubits[:2], [("x", qubits[2])]),
)
_gate("ccz", 3, "", "Doubly controlled Z.", lambda: controlled(_z(), 2),
      lambda qubits: controlled_steps(qubits[:2], _p_steps(qubits[2], number(PI))), None)  # fmt: skip
_gate("cswap", 3, "", "Fredkin.", lambda: controlled(_swap()),
      lambda qubits: controlled_steps(qubits[:1], [("swap", *qubits[1:])]))  # fmt: skip
