"""A circuit as OpenQASM 3."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import ConfigError
from . import amplitudes
from ._cosine_sine import MOST_QUBITS, euler, parts
from .angles import Angle, Source
from .gate import Gate
from .gates import GATES

if TYPE_CHECKING:
    from .circuit import Circuit

# what stdgates.inc lacks, made of what it has, with the phases of our matrices. `u` is defined rather than written as
# the built-in U: releases of the specification differ in U's phase, which counts under controls. Names of parameters
# are in the order of the alphabet: Qiskit's importer (0.6) hands arguments out in that order, whatever the text's.
_DEFINITIONS = {
    "u": "gate u(t0, t1, t2) a { p(t2) a; ry(t0) a; p(t1) a; }",
    "sxdg": "gate sxdg a { gphase(-pi/4); s a; h a; s a; }",
    "rot": "gate rot(t0, t1, t2) a { rz(t0) a; ry(t1) a; rz(t2) a; }",
    "iswap": "gate iswap a, b { swap a, b; cz a, b; s a; s b; }",
    "ccz": "gate ccz a, b, c { h c; ccx a, b, c; h c; }",
}
_BASIS = {"X": ("h {0};", "h {0};"), "Y": ("rx(pi/2) {0};", "rx(-pi/2) {0};"), "Z": ("", "")}  # before, after: to Z


def to_qasm(circuit: Circuit, features: Any = None, weights: Any = None) -> str:
    """The circuit as OpenQASM 3 with stdgates.inc.

    features, weights: a row of numbers each (a sequence or a tensor (f,), (w,)), or None: then those that the gates
    read become `input float[64] x_0;` and `w_0`, and angles are written as arithmetic of them. More feature columns
    than the circuit reads are accepted, another number of weights is not.
    Qubit k is `q[k]`; there is no measurement, to which end add `bit[n] c; c = measure q;`.
    Every gate keeps its textbook phase. A dense unitary (also that of special_unitary or hermitian_exp once its inputs
    have values) is written by the cosine-sine decomposition, exact to rounding: 6 controlled gates on 2 qubits, 28 on
    3, 4 times as many for each more.
    An amplitude encoding is written for one sample, as the rotations that prepare its vector.
    Raises ConfigError, naming gate and position, for a dense gate or an encoding whose inputs have no values, for a
    dense gate on more than 6 qubits, and for values of another number or that are not finite.
    """
    given = {"feature": _row(features, "features"), "weight": _row(weights, "weights")}
    x, w = given["feature"], given["weight"]
    if x is not None and len(x) < circuit.features:
        raise ConfigError(f"to_qasm: features are {len(x)} numbers but the circuit reads {circuit.features}")
    if w is not None and len(w) != circuit.weights:
        raise ConfigError(f"to_qasm: weights are {len(w)} numbers but the circuit has {circuit.weights} weights")
    writer = _Writer(x, w)
    body = [line for i, gate in enumerate(circuit.gates) for line in writer.gate(gate, i)]
    inputs = [f"input float[64] {_name(s)};" for s in sorted(writer.open, key=lambda s: (s.kind, s.index))]
    head = ["OPENQASM 3.0;", 'include "stdgates.inc";', *writer.definitions.values(), *inputs]
    return "\n".join([*head, f"qubit[{circuit.qubits}] q;", *body]) + "\n"


class _Writer:
    def __init__(self, features: list[float] | None, weights: list[float] | None):
        self.features, self.weights = features, weights
        self.definitions: dict[str, str] = {}
        self.open: set[Source] = set()  # inputs without a value

    def gate(self, gate: Gate, position: int) -> list[str]:
        angles = tuple(self._partly(a) for a in gate.angles)
        if gate.amplitudes is not None:
            return self._start(gate, angles, position)
        on = [f"q[{q}]" for q in gate.qubits]
        if gate.name in GATES:
            return [self._call(self._known(gate.name), angles, gate.controls, on)]
        if gate.name == "special_unitary" and len(gate.strings) == 1:
            return self._pauli(gate.strings[0], angles[0] * -2.0, gate.controls, on)
        if gate.name == "pauli_exp":
            return self._pauli(gate.letters, angles[0], gate.controls, on)
        return self._dense(gate, angles, position, on)

    def _known(self, name: str) -> str:
        if name in _DEFINITIONS:
            self.definitions[name] = _DEFINITIONS[name]
        elif GATES[name].qasm is None:  # rxx, ryy, rzz
            self.definitions[name] = _pauli_definition(name, name[1:].upper())
        return name

    def _pauli(self, letters: str, angle: Angle, controls: int, on: list[str]) -> list[str]:
        active = [i for i, letter in enumerate(letters) if letter != "I"]
        word = "".join(letters[i] for i in active)
        on = [*on[:controls], *(on[controls + i] for i in active)]
        if not word:
            return [self._call("gphase", (angle * -0.5,), controls, on)]
        name = {"X": "rx", "Y": "ry", "Z": "rz", "XX": "rxx", "YY": "ryy", "ZZ": "rzz"}.get(word)
        if name is None:
            name = f"pauli_{word}"
            self.definitions[name] = _pauli_definition(name, word)
        else:
            self._known(name)
        return [self._call(name, (angle,), controls, on)]

    def _start(self, gate: Gate, angles: tuple[Angle, ...], position: int) -> list[str]:
        if not all(a.is_number for a in angles):
            kinds = {s.kind for a in angles for s in a.sources}
            lacking = " and ".join(f"`{k}s`" for k in sorted(kinds))
            raise ConfigError(f"to_qasm: gate {position} ({gate.name!r}): the rotations that prepare amplitudes are no "
                              f"arithmetic of them, and OpenQASM has no such gate; pass {lacking}, one row of numbers, "
                              "for the circuit of that sample")  # fmt: skip
        from dataclasses import replace

        from .templates import amplitude_encoding

        none = torch.zeros(0, dtype=torch.float64, device="cpu")
        made = amplitude_encoding(amplitudes.vector(replace(gate, angles=angles), none, none))
        lines = [self._call(self._known(g.name), g.angles, 0, [f"q[{gate.qubits[q]}]" for q in g.qubits]) for g in made]
        return [f"// gate {position}: {gate.name} on {', '.join(f'q[{q}]' for q in gate.qubits)}", *lines]

    def _dense(self, gate: Gate, angles: tuple[Angle, ...], position: int, on: list[str]) -> list[str]:
        k = len(gate.targets)
        where = f"to_qasm: gate {position} ({gate.label()!r}) on {k} qubit{'s' * (k > 1)}"
        if not all(a.is_number for a in angles) or (gate.data is not None and self.features is None):
            lacking = "features" if gate.data is not None else "features and weights"
            raise ConfigError(f"{where} has no exact form in OpenQASM while its inputs have no values; pass "
                              f"`{lacking}`, or use gates whose angles are inputs (pauli_exp, rot, rzz)")  # fmt: skip
        if k > MOST_QUBITS:
            raise ConfigError(f"{where} is written for up to {MOST_QUBITS} qubits; build it from smaller gates, or "
                              "hand its matrix to the other tool as it is")  # fmt: skip
        matrix = self._matrix(gate).numpy()
        note = [f"// gate {position}: {gate.name} on {', '.join(on)}"]
        before = tuple((i - gate.controls, 1) for i in range(gate.controls))  # its own controls, at negative places
        if k == 1:
            theta, phi, lam, phase = euler(matrix)
            lines = [self._under(before, self._known("u"), (theta, phi, lam), 0, gate.controls, on)]
            if phase:
                lines.append(self._under(before, "gphase", (phase,), None, gate.controls, on))
            return [*note, *lines]
        return note + [
            self._under((*before, *p.controls), p.kind if p.kind != "u" else self._known("u"), p.angles, p.target,
                        gate.controls, on)
            for p in parts(matrix)
        ]  # fmt: skip

    def _matrix(self, gate: Gate) -> Any:
        from dataclasses import replace

        x = torch.tensor(self.features or [], dtype=torch.float64)
        w = torch.tensor(self.weights or [], dtype=torch.float64)
        return replace(gate, qubits=gate.targets, controls=0).matrix(x, w)

    def _under(self, controls: Sequence[tuple[int, int]], name: str, values: Sequence[float], target: int | None,
               first: int, on: list[str]) -> str:  # fmt: skip
        modifiers = "".join("ctrl @ " if value else "negctrl @ " for _, value in controls)
        qubits = [on[first + place] for place, _ in controls] + ([on[first + target]] if target is not None else [])
        return f"{modifiers}{name}({', '.join(_number(v) for v in values)}) {', '.join(qubits)}".rstrip() + ";"

    def _call(self, name: str, angles: Sequence[Angle], controls: int, on: Sequence[str]) -> str:
        modifier = "" if not controls else "ctrl @ " if controls == 1 else f"ctrl({controls}) @ "
        inside = f"({', '.join(_text(a) for a in angles)})" if angles else ""
        return f"{modifier}{name}{inside} {', '.join(on)}".rstrip() + ";"

    def _partly(self, angle: Angle) -> Angle:
        """The angle with the values that are known put in; the rest is noted as open."""
        found = Angle({})
        for monomial, c in angle.terms.items():
            rest = []
            for s in monomial:
                row = self.features if s.kind == "feature" else self.weights
                if row is None:
                    rest.append(s)
                    self.open.add(s)
                else:
                    c = c * row[s.index]
            found = found + Angle({tuple(rest): c})
        return found


def _pauli_definition(name: str, word: str) -> str:
    """exp(-i t/2 P): each letter turned to Z, the parity gathered on the last qubit, one rz."""
    qubits = [f"a{i}" for i in range(len(word))] if len(word) > 1 else ["a"]
    before = [_BASIS[s][0].format(q) for s, q in zip(word, qubits, strict=True)]
    after = [_BASIS[s][1].format(q) for s, q in zip(word, qubits, strict=True)]
    chain = [f"cx {a}, {b};" for a, b in itertools.pairwise(qubits)]
    body = " ".join(s for s in [*before, *chain, f"rz(t) {qubits[-1]};", *reversed(chain), *after] if s)
    return f"gate {name}(t) {', '.join(qubits)} {{ {body} }}"


def _name(source: Source) -> str:
    return f"{'x' if source.kind == 'feature' else 'w'}_{source.index}"


def _text(angle: Angle) -> str:
    """The polynomial as arithmetic that reads back to the same coefficients, to the bit."""
    parts = []
    for monomial, c in sorted(angle.terms.items(), key=lambda t: (len(t[0]), [(s.kind, s.index) for s in t[0]])):
        names = "*".join(_name(s) for s in monomial)
        if not names:
            parts.append(_number(c))
        else:
            parts.append(names if c == 1 else f"-{names}" if c == -1 else f"{_number(c)}*{names}")
    return " + ".join(parts).replace("+ -", "- ") or "0.0"


def _number(value: float) -> str:
    """A fraction of pi where it is one to the bit, else all digits."""
    for below in (1, 2, 3, 4, 6, 8):
        above = round(value * below / math.pi)
        if above and abs(above) <= 32 and above * math.pi / below == value:
            top = "pi" if above == 1 else "-pi" if above == -1 else f"{above}*pi"
            return top + (f"/{below}" if below > 1 else "")
    return repr(float(value))


def _row(values: Any, what: str) -> list[float] | None:
    if values is None:
        return None
    try:
        array = torch.is_tensor(values) or isinstance(values, np.ndarray)
        row = torch.as_tensor(values, dtype=None if array else torch.float64).detach().cpu()
        row = row.to(torch.float64) if not row.is_complex() else None
    except (TypeError, ValueError, RuntimeError):
        row = None
    if row is None or row.ndim != 1:
        shape = "" if row is None else f" of shape {tuple(row.shape)}"
        raise ConfigError(f"to_qasm: {what} are one row of real numbers, not {type(values).__name__}{shape}; one text "
                          "is one sample, write one text a row")  # fmt: skip
    if not bool(torch.isfinite(row).all()):
        raise ConfigError(f"to_qasm: {what} have numbers that are NaN or infinite")
    return row.tolist()
