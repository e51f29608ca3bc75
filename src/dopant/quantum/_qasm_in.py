"""The statements of OpenQASM 3 (and of 2, as far as they are the same) as a circuit."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfigError
from ._qasm_calls import NOT_READ, Calls, bounded
from ._qasm_gates import OLD, STANDARD, Gates, settled
from ._qasm_inputs import input_name, numbered
from ._qasm_text import Reader, fail, number, whole
from .circuit import Circuit


def from_qasm(text: str, weights: Iterable[str] = ()) -> Circuit:
    """A circuit from OpenQASM 3, or from OpenQASM 2 with qelib1.inc.

    Read are: registers of qubits (numbered in the order of their declaration; `$k` is qubit k), the gates of
    stdgates.inc, U, CX, gphase, definitions of gates, ctrl, negctrl, inv and pow by whole numbers, registers as
    operands, arithmetic with pi, tau, euler and functions of numbers. Measurements at the end, barriers and resets of
    fresh qubits are passed over.
    Inputs: `x_k` (and `_x_k_`, Qiskit's name of element k of vector x) is feature k, `w_k` weight k. Any other input
    is a feature, in the order of declaration after the highest x_k, unless `weights`, names or patterns such as
    "theta*", has it: then a weight, after the highest w_k.
    A definition that equals our gate of that name (rxx, iswap, …) becomes that gate; any other is written out.
    U has the matrix that it has here and in Qiskit; where a text's author took U with the phase exp(i theta/2), as
    later drafts of the specification do, states differ by phases, relative ones under ctrl.
    Raises ConfigError, naming the line and the remedy, for what is not read: loops, branches, classical variables,
    measurement in the middle, timing; UnknownName for a gate that the text does not define.
    """
    if not isinstance(text, str):
        raise ConfigError(f"from_qasm: a text is wanted, not {type(text).__name__}; read the file first")
    return _Program(text, [weights] if isinstance(weights, str) else list(weights)).circuit()


class _Program:
    def __init__(self, text: str, weights: list[str]):
        self.reader = Reader(text)
        self.inputs = numbered(Reader(text), weights)
        self.calls = Calls(self.reader)
        self.values = self.calls.values
        self.registers: dict[str, range] = {}
        self.bits: set[str] = set()
        self.qubits, self.physical = 0, False
        self.gates: Gates = []
        self.touched: set[int] = set()
        self.measured: set[int] = set()
        self.old = False

    def circuit(self) -> Circuit:
        self._version()
        while self.reader.here.kind != "end":
            self._statement()
        if not self.qubits:
            raise ConfigError("from_qasm: the text declares no qubits; begin with `qubit[2] q;`")
        gates = tuple(settled(self.gates, self.qubits))
        used = {s.index for g in gates for a in g.angles for s in a.sources if s.kind == "weight"}
        found = object.__new__(Circuit)  # at once: a circuit that grows gate by gate is copied at each
        found._set(self.qubits, gates, max(used, default=-1) + 1, {}, True if used else None)
        return found

    # statements

    def _version(self) -> None:
        read = self.reader
        if not read.take("OPENQASM"):
            return
        word = read.next()
        if word.text not in ("2.0", "3", "3.0", "3.1"):
            fail(word.line, f"OpenQASM {word.text} is not read; versions are 3.0, 3.1 and 2.0")
        self.old = word.text == "2.0"
        read.whole_division = not self.old
        read.expect(";")

    def _statement(self) -> None:
        read, word = self.reader, self.reader.here
        if word.kind == "sign" and word.text == "@":
            fail(word.line, "annotations are not read; leave it out")
        if word.kind != "name":
            fail(word.line, f"a statement expected, not {word.text!r}")
        if word.text in NOT_READ:
            fail(word.line, f"{word.text!r} is not read: {NOT_READ[word.text]}")
        special = {
            "include": self._include, "qubit": self._qubits, "qreg": self._qubits, "bit": self._bits,
            "creg": self._bits, "input": self._input, "const": self._const,
            "gate": self.calls.definition, "measure": self._measure,
            "barrier": self._barrier, "reset": self._reset,
        }.get(word.text)  # fmt: skip
        if special:
            read.next()
            special(word.line)
        elif word.text in self.bits:
            self._assignment()
        else:
            self._gate()

    def _include(self, line: int) -> None:
        word = self.reader.next()
        name = word.text.strip("\"'")
        library = {"stdgates.inc": STANDARD, "qelib1.inc": OLD}.get(name)
        if library is None:
            fail(line, f"cannot include {name!r}: only stdgates.inc and qelib1.inc are known; paste the definitions "
                 "in its place")  # fmt: skip
        self.calls.known.update(library)
        self.reader.expect(";")

    def _declared(self, what: str) -> tuple[str, int | None]:
        """Name and size of `[n] name` or `name[n]`; a size of None is one alone."""
        read = self.reader
        size = self._size() if read.at("[") else None
        line = read.here.line
        name = read.name(f"the name of {what}")
        self._fresh(name, line)
        if read.at("["):
            size = self._size()
        return name, size

    def _size(self) -> int:
        read = self.reader
        line = read.expect("[").line
        size = whole(read.expression()(self.values), line, "a size")
        read.expect("]")
        if size < 1:
            fail(line, f"a size is 1 or more, not {size}")
        return size

    def _fresh(self, name: str, line: int) -> None:
        self.calls.free_name(name, line)
        if name in self.registers or name in self.bits:
            fail(line, f"{name!r} has a meaning already; choose another name")

    def _qubits(self, line: int) -> None:
        name, size = self._declared("a register")
        if self.physical:
            fail(line, "declared qubits beside hardware qubits such as $0; use one of the two")
        self.registers[name] = range(self.qubits, self.qubits + (size or 1))
        self.qubits += size or 1
        self.reader.expect(";")

    def _bits(self, line: int) -> None:
        name, _ = self._declared("bits")
        self.bits.add(name)
        if self.reader.take("="):
            self._measured_value(line)
        self.reader.expect(";")

    def _input(self, line: int) -> None:
        name = input_name(self.reader, line)
        self._fresh(name, line)
        self.values[name] = self.inputs[name]
        self.reader.expect(";")

    def _const(self, line: int) -> None:
        read = self.reader
        kind = read.name("a type")
        if kind not in ("float", "angle", "int", "uint"):
            fail(line, f"a constant is a float, not {kind!r}")
        if read.at("["):
            self._size()
        name = read.name("the name of the constant")
        self._fresh(name, line)
        read.expect("=")
        value = number(read.expression()(self.values), line, "a constant")
        self.values[name] = whole(value, line, f"constant {name!r}") if "int" in kind else float(value)
        read.expect(";")

    def _gate(self) -> None:
        call = self.calls.call()
        read = self.reader
        operands: list[list[int]] = []
        while not read.at(";"):
            operands.append(self._operand())
            if not read.take(","):
                break
        read.expect(";")
        lengths = {len(o) for o in operands if len(o) > 1}
        if len(lengths) > 1:
            fail(
                call.line,
                f"registers of {' and '.join(str(n) for n in sorted(lengths))} qubits in one call; take equal ones",
            )
        for i in range(max(lengths, default=1)):
            on = [o[i if len(o) > 1 else 0] for o in operands]
            late = [q for q in on if q in self.measured]
            if late:
                fail(call.line, f"a gate on qubit {late[0]} after it was measured: measurement in the middle is not "
                     "read; move measurements to the end (deferred measurement) or leave them out")  # fmt: skip
            self.touched.update(on)
            self.gates += self.calls.made(call, self.values, on)
            bounded(self.gates, call.line)

    def _operand(self) -> list[int]:
        read, word = self.reader, self.reader.next()
        if word.kind == "name" and word.text.startswith("$"):
            return [self._hardware(int(word.text[1:]), word.line)]
        if word.kind != "name" or word.text not in self.registers:
            known = ", ".join(self.registers) or "none is declared"
            fail(word.line, f"{word.text!r} is no register of qubits ({known})")
        register = self.registers[word.text]
        if not read.take("["):
            return list(register)
        value = read.expression()(self.values)
        if read.at(":", ","):
            fail(word.line, "ranges of qubits are not read; write one call a qubit")
        index = whole(value, word.line, "an index")
        read.expect("]")
        if not -len(register) <= index < len(register):
            fail(word.line, f"{word.text}[{index}] is out of range; {word.text} has {len(register)} qubits, 0 to "
                 f"{len(register) - 1}")  # fmt: skip
        return [register[index]]

    def _hardware(self, index: int, line: int) -> int:
        if self.registers:
            fail(line, "hardware qubits such as $0 beside declared qubits; use one of the two")
        if index >= 64:
            fail(line, f"hardware qubit ${index}: indices count as qubits here, and {index + 1} are too many; "
                 "renumber them from $0")  # fmt: skip
        self.physical, self.qubits = True, max(self.qubits, index + 1)
        return index

    # what ends a circuit

    def _measure(self, line: int) -> None:
        self.measured.update(self._operand())
        if self.reader.take("->"):
            self._bit()
        self.reader.expect(";")

    def _assignment(self) -> None:
        line = self._bit()
        self.reader.expect("=")
        self._measured_value(line)
        self.reader.expect(";")

    def _measured_value(self, line: int) -> None:
        if not self.reader.take("measure"):
            fail(line, "a bit may be the outcome of a measurement only; classical logic is not read")
        self.measured.update(self._operand())

    def _bit(self) -> int:
        read, word = self.reader, self.reader.next()
        if word.text not in self.bits:
            fail(
                word.line,
                f"{word.text!r} is no register of bits; declare it, `bit[{max(self.qubits, 1)}] {word.text};`",
            )
        if read.take("["):
            read.expression()
            read.expect("]")
        return word.line

    def _barrier(self, line: int) -> None:
        while not self.reader.at(";"):
            self._operand()
            if not self.reader.take(","):
                break
        self.reader.expect(";")

    def _reset(self, line: int) -> None:
        late = [q for q in self._operand() if q in self.touched or q in self.measured]
        if late:
            fail(line, f"reset of qubit {late[0]} after a gate on it is not read; take a fresh qubit instead")
        self.reader.expect(";")
