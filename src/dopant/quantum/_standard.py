"""The standard gates as methods, and rows of them; each is `gate` with a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from ._calls import all_told
from .angles import AngleLike


@all_told
class StandardGates:
    """Methods for whoever has `gate(name, *qubits, *angles)` and `qubits`. All return the longer circuit."""

    __slots__ = ()
    qubits: int

    def gate(self, name: str, *arguments: Any, controls: int | Sequence[int] = ()) -> Self:
        """Add a gate by its name."""
        raise NotImplementedError

    # the standard gates

    def id(self, qubit: int) -> Self:
        """Nothing."""
        return self.gate("id", qubit)

    def x(self, qubit: int) -> Self:
        """Pauli X."""
        return self.gate("x", qubit)

    def y(self, qubit: int) -> Self:
        """Pauli Y."""
        return self.gate("y", qubit)

    def z(self, qubit: int) -> Self:
        """Pauli Z."""
        return self.gate("z", qubit)

    def h(self, qubit: int) -> Self:
        """Hadamard."""
        return self.gate("h", qubit)

    def s(self, qubit: int) -> Self:
        """diag(1, i)."""
        return self.gate("s", qubit)

    def sdg(self, qubit: int) -> Self:
        """diag(1, -i)."""
        return self.gate("sdg", qubit)

    def t(self, qubit: int) -> Self:
        """diag(1, exp(i pi/4))."""
        return self.gate("t", qubit)

    def tdg(self, qubit: int) -> Self:
        """diag(1, exp(-i pi/4))."""
        return self.gate("tdg", qubit)

    def sx(self, qubit: int) -> Self:
        """Square root of X."""
        return self.gate("sx", qubit)

    def sxdg(self, qubit: int) -> Self:
        """Its inverse."""
        return self.gate("sxdg", qubit)

    def rx(self, qubit: int, angle: AngleLike) -> Self:
        """exp(-i angle X / 2)."""
        return self.gate("rx", qubit, angle)

    def ry(self, qubit: int, angle: AngleLike) -> Self:
        """exp(-i angle Y / 2)."""
        return self.gate("ry", qubit, angle)

    def rz(self, qubit: int, angle: AngleLike) -> Self:
        """exp(-i angle Z / 2)."""
        return self.gate("rz", qubit, angle)

    def p(self, qubit: int, angle: AngleLike) -> Self:
        """diag(1, exp(i angle))."""
        return self.gate("p", qubit, angle)

    def u(self, qubit: int, theta: AngleLike, phi: AngleLike, lam: AngleLike) -> Self:
        """U of OpenQASM 3: exp(i(phi+lam)/2) RZ(phi) RY(theta) RZ(lam)."""
        return self.gate("u", qubit, theta, phi, lam)

    def rot(self, qubit: int, phi: AngleLike, theta: AngleLike, omega: AngleLike) -> Self:
        """RZ(omega) RY(theta) RZ(phi)."""
        return self.gate("rot", qubit, phi, theta, omega)

    def cx(self, control: int, target: int) -> Self:
        """X on target where control is 1."""
        return self.gate("cx", control, target)

    def cy(self, control: int, target: int) -> Self:
        """Y on target where control is 1."""
        return self.gate("cy", control, target)

    def cz(self, control: int, target: int) -> Self:
        """Sign where both are 1."""
        return self.gate("cz", control, target)

    def ch(self, control: int, target: int) -> Self:
        """H on target where control is 1."""
        return self.gate("ch", control, target)

    def cp(self, control: int, target: int, angle: AngleLike) -> Self:
        """Phase exp(i angle) where both are 1."""
        return self.gate("cp", control, target, angle)

    def crx(self, control: int, target: int, angle: AngleLike) -> Self:
        """RX on target where control is 1."""
        return self.gate("crx", control, target, angle)

    def cry(self, control: int, target: int, angle: AngleLike) -> Self:
        """RY on target where control is 1."""
        return self.gate("cry", control, target, angle)

    def crz(self, control: int, target: int, angle: AngleLike) -> Self:
        """RZ on target where control is 1."""
        return self.gate("crz", control, target, angle)

    def swap(self, a: int, b: int) -> Self:
        """Exchange two qubits."""
        return self.gate("swap", a, b)

    def iswap(self, a: int, b: int) -> Self:
        """Exchange, with a phase i on |01> and |10>."""
        return self.gate("iswap", a, b)

    def rxx(self, a: int, b: int, angle: AngleLike) -> Self:
        """exp(-i angle XX / 2)."""
        return self.gate("rxx", a, b, angle)

    def ryy(self, a: int, b: int, angle: AngleLike) -> Self:
        """exp(-i angle YY / 2)."""
        return self.gate("ryy", a, b, angle)

    def rzz(self, a: int, b: int, angle: AngleLike) -> Self:
        """exp(-i angle ZZ / 2)."""
        return self.gate("rzz", a, b, angle)

    def ccx(self, a: int, b: int, target: int) -> Self:
        """Toffoli: X on target where a and b are 1."""
        return self.gate("ccx", a, b, target)

    def ccz(self, a: int, b: int, c: int) -> Self:
        """Sign where all three are 1."""
        return self.gate("ccz", a, b, c)

    def cswap(self, control: int, a: int, b: int) -> Self:
        """Fredkin: exchange a and b where control is 1."""
        return self.gate("cswap", control, a, b)

    def toffoli(self, a: int, b: int, target: int) -> Self:
        """The same as ccx."""
        return self.ccx(a, b, target)

    # rows of gates

    def cx_ring(self) -> Self:
        """CX on (0,1), (1,2), …, (n-1,0); nothing on one qubit, both directions on two."""
        return self._pairs("cx", _ring(self.qubits))

    def cz_ring(self) -> Self:
        """CZ on (0,1), (1,2), …, (n-1,0); nothing on one qubit, both directions on two."""
        return self._pairs("cz", _ring(self.qubits))

    def cx_chain(self) -> Self:
        """CX on (0,1), (1,2), …, (n-2,n-1)."""
        return self._pairs("cx", [(q, q + 1) for q in range(self.qubits - 1)])

    def cz_chain(self) -> Self:
        """CZ on (0,1), (1,2), …, (n-2,n-1)."""
        return self._pairs("cz", [(q, q + 1) for q in range(self.qubits - 1)])

    def _pairs(self, name: str, pairs: Sequence[tuple[int, int]]) -> Self:
        found = self
        for a, b in pairs:
            found = found.gate(name, a, b)
        return found


def _ring(n: int) -> list[tuple[int, int]]:
    # on two qubits the ring of PennyLane and of the textbooks has both directions
    return [] if n < 2 else [(q, (q + 1) % n) for q in range(n)]
