"""Calls and definitions of gates in an OpenQASM text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import UnknownName
from ._qasm_gates import BUILT_IN, STANDARD, Gates, Known, inverse, phase, recognised, under
from ._qasm_text import RESERVED, Expression, Reader, Value, fail, whole
from .angles import Angle
from .gates import number as constant

MOST_GATES = 1_000_000
_CONTROL = ("if", "else", "for", "while", "switch", "break", "continue", "return", "end")
_CLASSICAL = ("int", "uint", "float", "angle", "bool", "complex", "array", "duration", "stretch", "let", "def",
              "extern", "output", "mutable", "readonly")  # fmt: skip
_TIMING = ("delay", "box", "cal", "defcal", "defcalgrammar", "durationof", "opaque", "pragma")
NOT_READ = {
    **dict.fromkeys(_CONTROL, "a circuit here is one straight row of gates: unroll loops and decide branches before "
                              "the export"),
    **dict.fromkeys(_CLASSICAL, "only `input float` and `const float` are read; put the numbers into the angles"),
    **dict.fromkeys(_TIMING, "timing and pulses have no meaning for a state; leave the statement out"),
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A gate call as read: modifiers (kind, count), arguments as closures."""

    name: str
    modifiers: tuple[tuple[str, Expression], ...]
    angles: tuple[Expression, ...]
    line: int


class Calls:
    """Reads calls and definitions from `reader`; knows the gates and the values of names so far."""

    def __init__(self, reader: Reader):
        self.reader = reader
        self.values: dict[str, Value] = {}
        self.known: dict[str, Known] = dict(BUILT_IN)

    def call(self) -> Call:
        """Modifiers, name and angles; the operands follow."""
        read = self.reader
        modifiers: list[tuple[str, Expression]] = []
        while read.at("ctrl", "negctrl", "inv", "pow"):
            kind, count = read.next().text, _one
            if read.take("("):
                count = read.expression()
                read.expect(")")
            elif kind == "pow":
                fail(read.here.line, "pow wants its exponent, such as pow(2)")
            read.expect("@")
            modifiers.append((kind, count))
        line = read.here.line
        name = read.name("the name of a gate")
        angles: list[Expression] = []
        if read.take("("):
            while not read.at(")"):
                angles.append(read.expression())
                if not read.take(","):
                    break
            read.expect(")")
        self._callable(name, len(angles), line)
        return Call(name, tuple(modifiers), tuple(angles), line)

    def _callable(self, name: str, angles: int, line: int) -> None:
        if name in NOT_READ:
            fail(line, f"{name!r} is not read: {NOT_READ[name]}")
        if name not in self.known and name != "gphase":
            note = f" (line {line} of the text; "
            note += '`include "stdgates.inc";` has it)' if name in STANDARD else "the text has no definition of it)"
            raise UnknownName("gate", name, [*self.known, "gphase"], note)
        wanted = 1 if name == "gphase" else self.known[name].angles
        if angles != wanted:
            fail(line, f"{name!r} takes {wanted} angle{'s' * (wanted != 1)}, not {angles}")

    def made(self, call: Call, values: Mapping[str, Value], qubits: list[int]) -> Gates:
        """The gates of a call on these qubits, controls first."""
        line = call.line
        counts = [(kind, count(values)) for kind, count in call.modifiers]
        controls: list[tuple[str, list[int]]] = []
        rest = qubits
        for kind, value in counts:
            n = whole(value, line, f"the number of {kind}") if kind != "pow" else 0
            if kind in ("ctrl", "negctrl"):
                if n < 1:
                    fail(line, f"{kind}({n}): the number of controls is 1 or more")
                controls.append((kind, rest[:n]))
                rest = rest[n:]
        wanted = 0 if call.name == "gphase" else self.known[call.name].qubits
        total = len(qubits) - len(rest) + wanted
        if len(rest) != wanted or sum(len(q) for _, q in controls) != len(qubits) - wanted:
            fail(line, f"{call.name!r} acts on {wanted} qubit{'s' * (wanted != 1)}"
                 f"{' beside its controls' * bool(controls)}, not on {len(rest)} ({len(qubits)} operands)")  # fmt: skip
        if len(set(qubits)) < total:
            fail(line, f"{call.name!r} names a qubit twice; a gate acts on different qubits")
        given = [a(values) for a in call.angles]
        angles = [a if isinstance(a, Angle) else constant(a) for a in given]
        found = phase(angles[0]) if call.name == "gphase" else self.known[call.name].make(angles, rest)
        for kind, value in reversed(counts):
            if kind == "inv":
                found = inverse(found)
            elif kind == "pow":
                found = _power(found, value, line)
            else:
                for q in reversed(controls.pop()[1]):
                    found = under(found, q, int(kind == "ctrl"))
        return found

    def definition(self, line: int) -> None:
        read = self.reader
        name = read.name("the name of the gate")
        self.free_name(name, line)
        parameters: list[str] = []
        if read.take("("):
            parameters = self._names(")") if not read.at(")") else []
            read.expect(")")
        places = self._names("{")
        read.expect("{")
        body: list[tuple[Call, tuple[int, ...]]] = []
        while not read.take("}"):
            if read.here.kind == "end":
                fail(line, f"the definition of {name!r} has no closing brace")
            if read.take("barrier"):
                while not read.take(";"):
                    read.next()
                continue
            call = self.call()
            on = [] if read.at(";") else self._names(";")
            unknown = [q for q in on if q not in places]
            if unknown:
                fail(call.line, f"{unknown[0]!r} is no qubit of gate {name!r}; it has {', '.join(places)}")
            read.expect(";")
            body.append((call, tuple(places.index(q) for q in on)))
        outer = {k: v for k, v in self.values.items() if not isinstance(v, Angle)}

        def make(angles: Sequence[Angle], qubits: Sequence[int]) -> Gates:
            given = {p: a.constant if a.is_number else a for p, a in zip(parameters, angles, strict=True)}
            found: Gates = []
            for call, on in body:
                found += self.made(call, {**outer, **given}, [qubits[i] for i in on])
                bounded(found, call.line)
            return found

        size = sum(self.known[call.name].size if call.name in self.known else 1 for call, _ in body)
        if size > MOST_GATES:
            fail(line, f"gate {name!r} is more than {MOST_GATES} gates")
        self.known[name] = recognised(name, Known(len(parameters), len(places), make, size))

    def _names(self, end: str) -> list[str]:
        read = self.reader
        found = [read.name("a name")]
        while read.take(","):
            found.append(read.name("a name"))
        if len(set(found)) < len(found):
            fail(read.here.line, f"a name is there twice in {', '.join(found)}")
        if not read.at(end):
            fail(read.here.line, f"',' or {end!r} expected, not {read.here.text!r}")
        return found

    def free_name(self, name: str, line: int) -> None:
        if name in RESERVED or name in self.values or name in self.known:
            fail(line, f"{name!r} has a meaning already; choose another name")


def _one(values: Mapping[str, Value]) -> Value:
    return 1


def _power(gates: Gates, exponent: Value, line: int) -> Gates:
    if isinstance(exponent, Angle) or exponent != int(exponent):
        fail(line, f"pow({exponent}): whole powers are read only; name the root itself (sx, s, t, or half the angle)")
    k = int(exponent)
    if abs(k) * len(gates) > MOST_GATES:
        fail(line, f"pow({k}) makes more than {MOST_GATES} gates; multiply the angle instead")
    return (gates if k >= 0 else inverse(gates)) * abs(k)


def bounded(gates: Gates, line: int) -> None:
    if len(gates) > MOST_GATES:
        fail(line, f"the text makes more than {MOST_GATES} gates here; read a part of it")
