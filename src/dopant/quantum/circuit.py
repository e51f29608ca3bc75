"""A parameterised circuit as a value.

    c = Circuit(2).ry(0, feature(0)).ry(1, feature(1)).cx(0, 1).rot(0, weight(), weight(), weight())
    layer = c.layer(measure="z")          # an nn.Module: (batch, 2) -> (batch, 2)

Qubit 0 is the leftmost factor of the tensor product, the most significant bit. Rotations are exp(-i angle P / 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ConfigError, UnknownName
from . import _checks
from .angles import AngleLike, as_angle, has_numbered, has_pending, number, weight
from .gate import SPECIAL, Gate
from .gates import GATES

if TYPE_CHECKING:
    from .layer import CircuitLayer
    from .resources import Resources


class Circuit:
    """Gates on `qubits` qubits, all of which start in |0>. Immutable: every method returns a new circuit.

    `weight()` is numbered when its gate is added; `weight(k)` shares number k; a circuit uses one of the two forms.
    ConfigError, naming gate and position, for anything that is no gate.
    """

    __slots__ = ("_named", "_pending", "features", "gates", "qubits", "weights")
    qubits: int
    gates: tuple[Gate, ...]
    features: int  # columns of the input that it needs: one more than the highest that a gate reads
    weights: int

    def __init__(self, qubits: int):
        self._set(_checks.count(qubits), (), 0, {}, None)

    def _set(
        self, qubits: int, gates: tuple[Gate, ...], weights: int, pending: dict[Any, int], named: bool | None
    ) -> None:
        features = max((f for gate in gates for f in gate.features), default=-1) + 1
        values = (named, pending, features, gates, qubits, weights)
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a circuit cannot be changed; its methods return new ones")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.qubits, self.gates, self.weights, self._pending, self._named)

    # what it is

    def __len__(self) -> int:
        return len(self.gates)

    def __iter__(self) -> Iterator[Gate]:
        return iter(self.gates)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Circuit) and (self.qubits, self.gates) == (other.qubits, other.gates)

    def __hash__(self) -> int:
        return hash((self.qubits, self.gates))

    def __repr__(self) -> str:
        return f"Circuit(qubits={self.qubits}, gates={len(self)}, features={self.features}, weights={self.weights})"

    # adding gates

    def gate(self, name: str, *arguments: Any, controls: int | Sequence[int] = ()) -> Circuit:
        """Add gate `name` (see GATES): its qubits, then its angles. `controls`: qubits on which it is conditioned.

        UnknownName for a name that is none; ConfigError for wrong numbers of qubits or angles.
        """
        if name not in GATES:
            raise UnknownName("gate", str(name), [*GATES, *SPECIAL], f" (gate {len(self)} of the circuit)")
        kind, where = GATES[name], f"gate {len(self)} ({name!r})"
        wanted = kind.qubits + len(kind.angles)
        if len(arguments) != wanted:
            names = [f"qubit {i}" for i in range(kind.qubits)] + list(kind.angles)
            missing = f"; {', '.join(names[len(arguments) :])} missing" if len(arguments) < wanted else ""
            raise ConfigError(f"{where} takes {kind.qubits} qubit{'s' * (kind.qubits > 1)} and "
                              f"{len(kind.angles)} angle{'s' * (len(kind.angles) != 1)}, not {len(arguments)} "
                              f"arguments{missing}")  # fmt: skip
        return self._add(name, arguments[: kind.qubits], arguments[kind.qubits :], controls)

    def _add(self, name: str, qubits: Iterable[Any], angles: Iterable[Any] = (), controls: int | Sequence[int] = (),
             **more: Any) -> Circuit:  # fmt: skip
        where = f"gate {len(self)} ({name!r})"
        before = _checks.as_qubits(controls)
        found = _checks.qubits([*before, *qubits], self.qubits, where)
        given = [as_angle(a, where) for a in angles]
        return self._append(Gate(name, found, tuple(given), len(before), **more), where)

    def _append(self, gate: Gate, where: str) -> Circuit:
        named = self._named
        angles = list(gate.angles)
        if any(has_pending(a) for a in angles) or any(has_numbered(a) for a in angles):
            pending, numbered = any(has_pending(a) for a in angles), any(has_numbered(a) for a in angles)
            if (pending and numbered) or (named is not None and named != numbered):
                raise ConfigError(f"{where}: weight() and weight(k) in one circuit; number all of them "
                                  f"or none, so that "
                                  "no two share a number by accident")  # fmt: skip
            named = numbered
        known, total = dict(self._pending), self.weights
        angles, total = number(angles, known, total)
        highest = max((s.index for a in angles for s in a.sources if s.kind == "weight"), default=-1)
        from dataclasses import replace

        new = object.__new__(Circuit)
        new._set(self.qubits, (*self.gates, replace(gate, angles=tuple(angles))), max(total, highest + 1), known, named)
        return new

    def unitary(self, qubits: int | Sequence[int], matrix: Any, *, controls: int | Sequence[int] = ()) -> Circuit:
        """A fixed unitary, (2^k, 2^k) for k qubits. ConfigError where it is not unitary to 1e-6, or of another
        shape."""
        where = f"gate {len(self)} ('unitary')"
        on = _checks.as_qubits(qubits)
        return self._add("unitary", on, (), controls, entries=_checks.unitary(matrix, len(on), where))

    def pauli_exp(self, letters: str, angle: AngleLike, qubits: Sequence[int] | None = None, *,
                  controls: int | Sequence[int] = ()) -> Circuit:  # fmt: skip
        """exp(-i angle/2 P): P the tensor product of the letters on `qubits` (default: 0, 1, … as many as letters)."""
        where = f"gate {len(self)} ('pauli_exp')"
        letters = _checks.letters(letters, where)
        on = _checks.as_qubits(range(len(letters)) if qubits is None else qubits)
        if len(on) != len(letters):
            raise ConfigError(f"{where}: {len(letters)} letters in {letters!r} for {len(on)} qubits; "
                              f"give one letter a qubit, "
                              "I where nothing acts")  # fmt: skip
        return self._add("pauli_exp", on, [angle], controls, letters=letters)

    def special_unitary(self, qubits: int | Sequence[int], angles: Sequence[AngleLike] | None = None,
                        strings: Sequence[str] | None = None) -> Circuit:  # fmt: skip
        """exp(i sum_k angle_k P_k) over `strings` (default: all 4^k - 1 of k qubits, in the order of the product I, X,
        Y, Z without the identity). Angles default to new weights. Source: Wiersema et al. 2023 (arXiv 2303.11355)."""
        where = f"gate {len(self)} ('special_unitary')"
        on = _checks.as_qubits(qubits)
        words = _checks.strings(strings, len(on), where)
        given = [weight() for _ in words] if angles is None else list(angles)
        if len(given) != len(words):
            raise ConfigError(f"{where}: {len(given)} angles for {len(words)} Pauli strings on {len(on)} qubits")
        return self._add("special_unitary", on, given, strings=words)

    def hermitian_exp(self, qubits: int | Sequence[int], first: int = 0, count: int | None = None, *,
                      scale: float = 1.0) -> Circuit:  # fmt: skip
        """exp(i scale H(x)): H = (M + M^T)/2, M the (2^k, 2^k) matrix of the `count` features from `first` on, row by
        row, padded with zeros. Source: Wang et al. 2024 (arXiv 2409.17583), the data unitary."""
        where = f"gate {len(self)} ('hermitian_exp')"
        on = _checks.as_qubits(qubits)
        room = 4 ** len(on)
        count = room if count is None else count
        if not 0 < count <= room or first < 0:
            raise ConfigError(f"{where}: features {first} to {first + count - 1} for a matrix of {room} "
                              f"entries; take between "
                              f"1 and {room} features, from 0 on")  # fmt: skip
        scale = as_angle(scale, f"{where}, scale").constant
        return self._add("hermitian_exp", on, data=(int(first), int(count), scale))

    def controlled(self, controls: int | Sequence[int], name: str, *arguments: Any) -> Circuit:
        """Gate `name` done only where every control is 1: `c.controlled([0, 1], "ry", 2, weight())`."""
        return self.gate(name, *arguments, controls=controls)

    def compose(self, other: Circuit, qubits: Sequence[int] | None = None, *, first_feature: int = 0) -> Circuit:
        """This circuit, then `other` on `qubits` (default: 0, 1, …), its weights numbered after this one's and its
        features read from column `first_feature` on. ConfigError where `other` has more qubits than are given."""
        on = _checks.qubits(range(other.qubits) if qubits is None else qubits, self.qubits, "compose")
        if len(on) != other.qubits:
            raise ConfigError(
                f"compose: a circuit of {other.qubits} qubits on {len(on)} qubits; name one qubit for each"
            )
        return _checks.renumbered(self, other, on, first_feature)

    def __add__(self, other: Circuit) -> Circuit:
        """Both, one after the other, on the same qubits and features. Weights that were numbered by hand,
        `weight(k)`, keep
        their numbers, so that the two share them; else those of the second come after those of the first.
        ConfigError where one circuit numbers by hand and the other does not."""
        if not isinstance(other, Circuit):
            return NotImplemented
        _checks.qubits(range(other.qubits), self.qubits, "the second circuit of a sum")
        if not (self._named or other._named):
            return _checks.renumbered(self, other, range(other.qubits), 0)
        if not (self._named and other._named) and self.weights and other.weights:
            raise ConfigError("a sum of circuits of which one numbers its weights by hand, weight(k), "
                              "and the other does not; "
                              "`compose` puts the second's after the first's")  # fmt: skip
        new = object.__new__(Circuit)
        new._set(self.qubits, (*self.gates, *other.gates), max(self.weights, other.weights), {}, True)
        return new

    def inverse(self) -> Circuit:
        """The circuit that undoes it."""
        return self.with_gates([g.inverse() for g in reversed(self.gates)])

    def with_gates(self, gates: Sequence[Gate]) -> Circuit:
        """The same qubits and weights with other gates, which are taken as they are."""
        new = object.__new__(Circuit)
        new._set(self.qubits, tuple(gates), self.weights, self._pending, self._named)
        return new

    # the standard gates

    def id(self, qubit: int) -> Circuit:
        """Nothing."""
        return self.gate("id", qubit)

    def x(self, qubit: int) -> Circuit:
        """Pauli X."""
        return self.gate("x", qubit)

    def y(self, qubit: int) -> Circuit:
        """Pauli Y."""
        return self.gate("y", qubit)

    def z(self, qubit: int) -> Circuit:
        """Pauli Z."""
        return self.gate("z", qubit)

    def h(self, qubit: int) -> Circuit:
        """Hadamard."""
        return self.gate("h", qubit)

    def s(self, qubit: int) -> Circuit:
        """diag(1, i)."""
        return self.gate("s", qubit)

    def sdg(self, qubit: int) -> Circuit:
        """diag(1, -i)."""
        return self.gate("sdg", qubit)

    def t(self, qubit: int) -> Circuit:
        """diag(1, exp(i pi/4))."""
        return self.gate("t", qubit)

    def tdg(self, qubit: int) -> Circuit:
        """diag(1, exp(-i pi/4))."""
        return self.gate("tdg", qubit)

    def sx(self, qubit: int) -> Circuit:
        """Square root of X."""
        return self.gate("sx", qubit)

    def sxdg(self, qubit: int) -> Circuit:
        """Its inverse."""
        return self.gate("sxdg", qubit)

    def rx(self, qubit: int, angle: AngleLike) -> Circuit:
        """exp(-i angle X / 2)."""
        return self.gate("rx", qubit, angle)

    def ry(self, qubit: int, angle: AngleLike) -> Circuit:
        """exp(-i angle Y / 2)."""
        return self.gate("ry", qubit, angle)

    def rz(self, qubit: int, angle: AngleLike) -> Circuit:
        """exp(-i angle Z / 2)."""
        return self.gate("rz", qubit, angle)

    def p(self, qubit: int, angle: AngleLike) -> Circuit:
        """diag(1, exp(i angle))."""
        return self.gate("p", qubit, angle)

    def u(self, qubit: int, theta: AngleLike, phi: AngleLike, lam: AngleLike) -> Circuit:
        """U of OpenQASM 3: exp(i(phi+lam)/2) RZ(phi) RY(theta) RZ(lam)."""
        return self.gate("u", qubit, theta, phi, lam)

    def rot(self, qubit: int, phi: AngleLike, theta: AngleLike, omega: AngleLike) -> Circuit:
        """RZ(omega) RY(theta) RZ(phi)."""
        return self.gate("rot", qubit, phi, theta, omega)

    def cx(self, control: int, target: int) -> Circuit:
        """X on target where control is 1."""
        return self.gate("cx", control, target)

    def cy(self, control: int, target: int) -> Circuit:
        """Y on target where control is 1."""
        return self.gate("cy", control, target)

    def cz(self, control: int, target: int) -> Circuit:
        """Sign where both are 1."""
        return self.gate("cz", control, target)

    def ch(self, control: int, target: int) -> Circuit:
        """H on target where control is 1."""
        return self.gate("ch", control, target)

    def cp(self, control: int, target: int, angle: AngleLike) -> Circuit:
        """Phase exp(i angle) where both are 1."""
        return self.gate("cp", control, target, angle)

    def crx(self, control: int, target: int, angle: AngleLike) -> Circuit:
        """RX on target where control is 1."""
        return self.gate("crx", control, target, angle)

    def cry(self, control: int, target: int, angle: AngleLike) -> Circuit:
        """RY on target where control is 1."""
        return self.gate("cry", control, target, angle)

    def crz(self, control: int, target: int, angle: AngleLike) -> Circuit:
        """RZ on target where control is 1."""
        return self.gate("crz", control, target, angle)

    def swap(self, a: int, b: int) -> Circuit:
        """Exchange two qubits."""
        return self.gate("swap", a, b)

    def iswap(self, a: int, b: int) -> Circuit:
        """Exchange, with a phase i on |01> and |10>."""
        return self.gate("iswap", a, b)

    def rxx(self, a: int, b: int, angle: AngleLike) -> Circuit:
        """exp(-i angle XX / 2)."""
        return self.gate("rxx", a, b, angle)

    def ryy(self, a: int, b: int, angle: AngleLike) -> Circuit:
        """exp(-i angle YY / 2)."""
        return self.gate("ryy", a, b, angle)

    def rzz(self, a: int, b: int, angle: AngleLike) -> Circuit:
        """exp(-i angle ZZ / 2)."""
        return self.gate("rzz", a, b, angle)

    def ccx(self, a: int, b: int, target: int) -> Circuit:
        """Toffoli: X on target where a and b are 1."""
        return self.gate("ccx", a, b, target)

    def ccz(self, a: int, b: int, c: int) -> Circuit:
        """Sign where all three are 1."""
        return self.gate("ccz", a, b, c)

    def cswap(self, control: int, a: int, b: int) -> Circuit:
        """Fredkin: exchange a and b where control is 1."""
        return self.gate("cswap", control, a, b)

    def toffoli(self, a: int, b: int, target: int) -> Circuit:
        """The same as ccx."""
        return self.ccx(a, b, target)

    # rows of gates

    def cx_ring(self) -> Circuit:
        """CX on (0,1), (1,2), …, (n-1,0); nothing on one qubit, both directions on two."""
        return self._pairs("cx", _ring(self.qubits))

    def cz_ring(self) -> Circuit:
        """CZ on (0,1), (1,2), …, (n-1,0); nothing on one qubit, both directions on two."""
        return self._pairs("cz", _ring(self.qubits))

    def cx_chain(self) -> Circuit:
        """CX on (0,1), (1,2), …, (n-2,n-1)."""
        return self._pairs("cx", [(q, q + 1) for q in range(self.qubits - 1)])

    def cz_chain(self) -> Circuit:
        """CZ on (0,1), (1,2), …, (n-2,n-1)."""
        return self._pairs("cz", [(q, q + 1) for q in range(self.qubits - 1)])

    def _pairs(self, name: str, pairs: Sequence[tuple[int, int]]) -> Circuit:
        found = self
        for a, b in pairs:
            found = found.gate(name, a, b)
        return found

    # what it does

    def state(self, features: torch.Tensor | None = None, weights: torch.Tensor | None = None) -> torch.Tensor:
        """The state: features (…, f) and weights (w,) -> complex (…, 2^n), with the global phase of the textbook
        matrices. Without features (2^n,). ConfigError where the circuit needs more of either."""
        from .run import state

        return state(self, features, weights)

    def layer(self, measure: Any = "z", *, shots: int | None = None, noise: Any = None,
              generator: torch.Generator | None = None, device: Any = None, dtype: torch.dtype | None = None,
              path: str = "auto") -> CircuitLayer:  # fmt: skip
        """An nn.Module (…, features) -> (…, outputs); see CircuitLayer."""
        from .layer import CircuitLayer

        return CircuitLayer(self, measure, shots=shots, noise=noise, generator=generator, device=device, dtype=dtype,
                            path=path)  # fmt: skip

    def resources(self, **of: Any) -> Resources:
        """Gates, depth, parameters, circuit evaluations; see dopant.quantum.resources."""
        from .resources import resources

        return resources(self, **of)

    def draw(self, format: str = "text") -> str:
        """The circuit as text or SVG."""
        from .draw import draw

        return draw(self, format)

    def to_qasm(self, features: Any = None, weights: Any = None) -> str:
        """OpenQASM 3; features and weights without values become inputs."""
        from .qasm import to_qasm

        return to_qasm(self, features, weights)

    @staticmethod
    def from_qasm(text: str, weights: Iterable[str] = ()) -> Circuit:
        """A circuit from OpenQASM 3 or 2; `weights` names the inputs that are weights. See dopant.quantum.qasm."""
        from .qasm import from_qasm

        return from_qasm(text, weights)


def _ring(n: int) -> list[tuple[int, int]]:
    # on two qubits the ring of PennyLane and of the textbooks has both directions
    return [] if n < 2 else [(q, (q + 1) % n) for q in range(n)]


def _rebuild(*parts: Any) -> Circuit:
    new = object.__new__(Circuit)
    new._set(*parts)
    return new
