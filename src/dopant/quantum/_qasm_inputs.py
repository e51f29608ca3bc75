"""What the inputs of an OpenQASM text are: features and weights, by their names."""

from __future__ import annotations

import fnmatch
import re

from ..errors import ConfigError
from ._qasm_text import Reader, fail
from .angles import Angle, feature, weight


def input_name(read: Reader, line: int) -> str:
    """The name in `input float[64] name`, from the type on."""
    kind = read.name("a type")
    if kind not in ("float", "angle"):
        fail(line, f"an input of type {kind!r} is not read; angles are `input float[64] name;`, one for each number")
    if read.take("["):
        read.next()
        read.expect("]")
    return read.name("the name of the input")


def numbered(read: Reader, weights: list[str]) -> dict[str, Angle]:
    """What each input of the text is."""
    names: list[str] = []
    while read.here.kind != "end":
        word = read.next()
        if word.kind == "name" and word.text == "input":
            names.append(input_name(read, word.line))
    said = {name: re.fullmatch(r"(?:_([xw])_(\d+)_|([xw])_(\d+))", name) for name in names}
    given = {name: (m[1] or m[3], int(m[2] or m[4])) for name, m in said.items() if m}
    twice = [name for name, meaning in given.items() if list(given.values()).count(meaning) > 1]
    if twice:
        raise ConfigError(f"from_qasm: the inputs {' and '.join(twice)} are one and the same; rename one")
    free = {kind: max((k for s, k in given.values() if s == kind), default=-1) + 1 for kind in "xw"}
    for name in names:
        if name not in given:
            kind = "w" if any(fnmatch.fnmatchcase(name, p) for p in weights) else "x"
            given[name] = (kind, free[kind])
            free[kind] += 1
    lost = [p for p in weights if not any(fnmatch.fnmatchcase(name, p) for name in names)]
    if lost:
        raise ConfigError(f"from_qasm: no input is named {lost[0]!r}; inputs are {', '.join(names) or 'none'}")
    return {name: (feature if kind == "x" else weight)(k) for name, (kind, k) in given.items()}
