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
from . import _checks, _names, amplitudes
from ._calls import told
from ._standard import StandardGates
from .angles import Angle, AngleLike, as_angle, has_numbered, has_pending, number, weight
from .gate import SPECIAL, Gate
from .gates import GATES

if TYPE_CHECKING:
    from .layer import CircuitLayer
    from .resources import Resources


class Circuit(StandardGates):
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
        self, qubits: int, gates: tuple[Gate, ...], weights: int, pending: dict[Any, int], named: bool | None,
        before: Circuit | None = None,
    ) -> None:  # fmt: skip
        # of gates that were there before it is known already: a circuit grows by one gate at a time
        known, new = (before.features, gates[len(before.gates) :]) if before else (0, gates)
        features = max(known, max((f for gate in new for f in gate.features), default=-1) + 1)
        values = (named, pending, features, gates, qubits, weights)
        for name, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a circuit cannot be changed; its methods return new ones")

    def __getattr__(self, name: str) -> Any:
        # only for what is not found; Python's own protocols (copy, pickle, numpy) ask for names that begin with _
        raise AttributeError(_names.unknown(type(self), name), name=name, obj=self)

    def __deepcopy__(self, memo: Any) -> Circuit:
        return self  # a copy would not know the weights that were added to it as its own

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

    @told
    def gate(self, name: str, *arguments: Any, controls: int | Sequence[int] = ()) -> Circuit:
        """Add gate `name` (see GATES): its qubits, then its angles. `controls`: qubits on which it is conditioned.

        UnknownName for a name that is none; ConfigError for wrong numbers of qubits or angles.
        """
        if name == amplitudes.NAME:
            raise ConfigError(f"gate {len(self)} ({name!r}): it is what qubits start with, and has no controlled form; "
                              "use c.amplitude_encoding(features), or control the gates of "
                              "templates.amplitude_encoding(vector)")  # fmt: skip
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
        new._set(self.qubits, (*self.gates, replace(gate, angles=tuple(angles))), max(total, highest + 1), known, named,
                 before=self)  # fmt: skip
        return new

    @told
    def unitary(self, qubits: int | Sequence[int], matrix: Any, *, controls: int | Sequence[int] = ()) -> Circuit:
        """A fixed unitary, (2^k, 2^k) for k qubits. ConfigError where it is not unitary to 1e-6, or of another
        shape."""
        where = f"gate {len(self)} ('unitary')"
        on = _checks.as_qubits(qubits)
        return self._add("unitary", on, (), controls, entries=_checks.unitary(matrix, len(on), where))

    @told
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

    @told
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

    @told
    def hermitian_exp(self, qubits: int | Sequence[int], first: int = 0, count: int | None = None, *,
                      scale: float = 1.0) -> Circuit:  # fmt: skip
        """exp(i scale H(x)): H = (M + M^T)/2, M the (2^k, 2^k) matrix of the `count` features from `first` on, row by
        row, padded with zeros. Source: Wang et al. 2024 (arXiv 2409.17583), the data unitary."""
        where = f"gate {len(self)} ('hermitian_exp')"
        on = _checks.as_qubits(qubits)
        room = 4 ** len(on)
        start, many = _checks.whole(first), room if count is None else _checks.whole(count)
        if start is None or many is None or not 0 < many <= room or start < 0:
            raise ConfigError(f"{where}: first={first!r}, count={count!r} for a matrix of {room} entries; "
                              f"take between 1 and {room} features, from 0 on")  # fmt: skip
        factor = as_angle(scale, f"{where}, scale")
        if not factor.is_number:
            raise ConfigError(f"{where}: scale={factor} is no number; multiply the features before they enter")
        return self._add("hermitian_exp", on, data=(start, many, factor.constant))

    def amplitude_encoding(self, features: int | Iterable[int | Angle] | None = None, *,
                           qubits: int | Sequence[int] | None = None, pad: float = 0.0,
                           normalise: bool = True) -> Circuit:  # fmt: skip
        """Features of a sample as the real amplitudes that k qubits start with, divided by their norm.

        features: how many columns of the input, from 0 on (default: as many as there are amplitudes, 2^k), or a list of
        columns and angles, `range(4, 12)`, `[feature(0) * weight(), 3]`. Amplitudes that are left over are `pad`.
        qubits: default all; the first is the most significant bit. normalise=False takes vectors of norm 1 as they are,
        and their derivatives too. As PennyLane's AmplitudeEmbedding of real features.
        ConfigError for more features than amplitudes, or qubits on which a gate acted already; when it runs, naming the
        sample, for zero vectors and norms other than 1. A row with NaN is NaN.
        A vector that is the same for all samples: `templates.amplitude_encoding(vector)`.
        Cost: 2^n numbers a sample. On hardware 2^k - 2 CX and 2^k - 1 rotations for each sample (see `resources`).
        """
        where = f"gate {len(self)} ({amplitudes.NAME!r})"
        on = _checks.qubits(range(self.qubits) if qubits is None else _checks.as_qubits(qubits), self.qubits, where)
        given = amplitudes.entries(features, 1 << len(on), where)
        if not isinstance(normalise, bool):
            raise ConfigError(f"{where}: normalise={normalise!r}; take True or False")
        made = self._add(amplitudes.NAME, on, given, amplitudes=(amplitudes.padding(pad, where), normalise))
        amplitudes.come_first(made.gates)
        return made

    @told
    def controlled(self, controls: int | Sequence[int], name: str, *arguments: Any) -> Circuit:
        """Gate `name` done only where every control is 1: `c.controlled([0, 1], "ry", 2, weight())`."""
        return self.gate(name, *arguments, controls=controls)

    def compose(self, other: Circuit, qubits: Sequence[int] | None = None, *, first_feature: int = 0) -> Circuit:
        """This circuit, then `other` on `qubits` (default: 0, 1, …), its weights numbered after this one's and its
        features read from column `first_feature` on. ConfigError where `other` has more qubits than are given, or
        begins with amplitudes on qubits on which a gate acted already."""
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
        amplitudes.come_first((*self.gates, *other.gates))
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
        """The circuit that undoes it. ConfigError where it begins with amplitudes."""
        return self.with_gates([g.inverse() for g in reversed(self.gates)])

    def with_gates(self, gates: Sequence[Gate]) -> Circuit:
        """The same qubits and weights with other gates, which are taken as they are."""
        new = object.__new__(Circuit)
        new._set(self.qubits, tuple(gates), self.weights, self._pending, self._named)
        return new

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


def _rebuild(*parts: Any) -> Circuit:
    new = object.__new__(Circuit)
    new._set(*parts)
    return new
