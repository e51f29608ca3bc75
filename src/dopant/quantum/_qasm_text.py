"""OpenQASM as words, and its expressions as angles."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from ..errors import ConfigError
from .angles import Angle

Value = int | float | Angle
Expression = Callable[[Mapping[str, Value]], Value]

_WORDS = re.compile(
    r"""(?P<space>[ \t\r]+) | (?P<line>\n) | (?P<comment>//[^\n]*|/\*.*?\*/)
    | (?P<number>(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*)(?:[eE][+-]?\d+)?)
    | (?P<name>[^\W\d]\w*|\$\d+) | (?P<text>"[^"\n]*"|'[^'\n]*')
    | (?P<sign>\*\*|->|==|!=|<=|>=|&&|\|\||[-+*/%=(){}\[\];:,@<>!&|^~\#.])""",
    re.VERBOSE | re.DOTALL,
)

_CONSTANTS = {"pi": math.pi, "π": math.pi, "tau": math.tau, "τ": math.tau, "euler": math.e, "ℇ": math.e}
_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "arcsin": math.asin, "arccos": math.acos, "arctan": math.atan,
    "asin": math.asin, "acos": math.acos, "atan": math.atan, "exp": math.exp, "log": math.log, "ln": math.log,
    "sqrt": math.sqrt,
}  # fmt: skip
RESERVED = {*_CONSTANTS, *_FUNCTIONS}
_DEEPEST = 60  # parentheses, signs and powers within each other


@dataclass(frozen=True)
class Word:
    """kind: "number", "name", "text", "sign" or "end"."""

    kind: str
    text: str
    line: int


def fail(line: int, problem: str) -> NoReturn:
    raise ConfigError(f"from_qasm: line {line}: {problem}")


def words(text: str) -> list[Word]:
    """The text without spaces and comments. ConfigError for a character that OpenQASM has no use for."""
    found, line, at = [], 1, 0
    while at < len(text):
        match = _WORDS.match(text, at)
        if match is None:
            fail(line, f"{text[at]!r} is no part of OpenQASM")
        kind = str(match.lastgroup)
        if kind not in ("space", "line", "comment"):
            found.append(Word(kind, match.group(), line))
        line += match.group().count("\n")
        at = match.end()
    return [*found, Word("end", "the end of the text", line)]


class Reader:
    """The words one after the other."""

    def __init__(self, text: str):
        self._words, self._at, self._depth = words(text), 0, 0
        self.whole_division = True  # 1/2 of whole numbers is a whole number in OpenQASM 3

    @property
    def here(self) -> Word:
        return self._words[self._at]

    def next(self) -> Word:
        word = self.here
        self._at += word.kind != "end"
        return word

    def at(self, *texts: str) -> bool:
        return self.here.text in texts and self.here.kind in ("sign", "name")

    def take(self, *texts: str) -> bool:
        """Step over the word if it is one of these."""
        found = self.at(*texts)
        if found:
            self.next()
        return found

    def expect(self, text: str) -> Word:
        if not self.at(text):
            fail(self.here.line, f"{text!r} expected, not {self.here.text!r}")
        return self.next()

    def name(self, what: str) -> str:
        if self.here.kind != "name" or self.here.text.startswith("$"):
            fail(self.here.line, f"{what} expected, not {self.here.text!r}")
        return self.next().text

    # expressions: closures over the values of names, so that a gate's body is read once

    def expression(self) -> Expression:
        found = self._product()
        while self.at("+", "-"):
            word = self.next()
            found = _binary(word, found, self._product())
        return found

    def _product(self) -> Expression:
        found = self._signed()
        while self.at("*", "/", "%"):
            word = self.next()
            if word.text == "%":
                fail(word.line, "% is not read here; write the angle's value")
            found = _binary(word, found, self._signed(), self.whole_division)
        return found

    def _signed(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            fail(self.here.line, f"an expression nested more than {_DEEPEST} deep")
        try:
            if self.take("-"):
                inner = self._signed()
                return lambda values: -inner(values)
            if self.take("+"):
                return self._signed()
            base = self._atom()
            if self.at("**") or (self.at("^") and not self.whole_division):  # version 2 writes ^
                word = self.next()
                return _power(word, base, self._signed())
            if self.at("^"):
                fail(self.here.line, "^ is no power of numbers in OpenQASM 3; write **")
            return base
        finally:
            self._depth -= 1

    def _atom(self) -> Expression:
        word = self.next()
        if word.kind == "number":
            digits = word.text.replace("_", "")
            value: Value = int(digits) if digits.isdigit() else float(digits)
            return lambda values: value
        if word.text == "(" and word.kind == "sign":
            inner = self.expression()
            self.expect(")")
            return inner
        if word.kind == "name" and not word.text.startswith("$"):
            if self.at("("):
                return self._function(word)
            if self.at("["):
                fail(word.line, f"{word.text}[…] in an expression: arrays are not read; declare each number as an "
                     "input of its own, such as `input float[64] x_0;`")  # fmt: skip
            return lambda values: _look_up(word, values)
        fail(word.line, f"a number, a name or '(' expected, not {word.text!r}")

    def _function(self, word: Word) -> Expression:
        function = _FUNCTIONS.get(word.text)
        if function is None:
            fail(word.line, f"unknown function {word.text!r}; read are {', '.join(_FUNCTIONS)}")
        self.expect("(")
        inner = self.expression()
        self.expect(")")

        def apply(values: Mapping[str, Value]) -> Value:
            x = inner(values)
            if isinstance(x, Angle):
                fail(word.line, f"{word.text} of an input: angles are polynomials of inputs; give the circuit "
                     f"{word.text}(…) as a feature of its own")  # fmt: skip
            try:
                return function(x)
            except (ValueError, OverflowError):
                fail(word.line, f"{word.text}({x}) is no number")

        return apply


def number(value: Value, line: int, what: str) -> float:
    if isinstance(value, Angle):
        fail(line, f"{what} is a number, not something that depends on an input ({value})")
    return value


def whole(value: Value, line: int, what: str) -> int:
    if isinstance(value, Angle) or value != int(value):
        fail(line, f"{what} is a whole number, not {value}")
    return int(value)


def _look_up(word: Word, values: Mapping[str, Value]) -> Value:
    if word.text in values:
        return values[word.text]
    if word.text in _CONSTANTS:
        return _CONSTANTS[word.text]
    fail(word.line, f"{word.text!r} has no value here; declare it, `input float[64] {word.text};`, or write the number")


def _binary(word: Word, left: Expression, right: Expression, whole_division: bool = True) -> Expression:
    def apply(values: Mapping[str, Value]) -> Value:
        a, b = left(values), right(values)
        if word.text == "+":
            found = a + b
        elif word.text == "-":
            found = a - b
        elif word.text == "*":
            found = a * b
        else:
            found = _divided(word, a, b, whole_division)
        if isinstance(found, float) and not math.isfinite(found):
            fail(word.line, f"{a} {word.text} {b} is no finite number")
        return found

    return apply


def _divided(word: Word, a: Value, b: Value, whole_division: bool) -> Value:
    if isinstance(b, Angle):
        fail(word.line, f"a division by an input ({b}): angles are polynomials of inputs; give the circuit the "
             "quotient as a feature")  # fmt: skip
    if b == 0:
        fail(word.line, "a division by zero")
    if isinstance(a, int) and isinstance(b, int) and whole_division:
        if a % b:
            fail(
                word.line, f"{a}/{b} of whole numbers is {a // b} in OpenQASM 3, which is hardly meant; write {a}.0/{b}"
            )
        return a // b
    return a / b


def _power(word: Word, base: Expression, exponent: Expression) -> Expression:
    def apply(values: Mapping[str, Value]) -> Value:
        a, b = base(values), exponent(values)
        if isinstance(b, Angle) or (isinstance(a, Angle) and not (b == int(b) and 0 <= b <= 16)):
            fail(word.line, f"({a}) ** ({b}): an input may have a whole power from 0 to 16")
        if isinstance(a, Angle):
            found: Value = 1.0
            for _ in range(int(b)):
                found = a * found
            return found
        try:
            power = float(a) ** b
        except (ZeroDivisionError, OverflowError):
            power = math.nan
        if isinstance(power, complex) or not math.isfinite(power):
            fail(word.line, f"{a} ** {b} is no finite real number")
        return power

    return apply
