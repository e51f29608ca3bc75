"""Where the gates of a circuit stand in a drawing, and what is written on them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .angles import Angle, Source
from .gate import Gate

# name -> how many of its qubits are controls, and the gate under them
_UNDER = {
    "cx": (1, "x"), "cy": (1, "y"), "cz": (1, "z"), "ch": (1, "h"), "cp": (1, "p"), "crx": (1, "rx"), "cry": (1, "ry"),
    "crz": (1, "rz"), "ccx": (2, "x"), "ccz": (2, "z"), "cswap": (1, "swap"),
}  # fmt: skip
_NAMES = {
    "id": "I", "sdg": "S†", "tdg": "T†", "sx": "√X", "sxdg": "√X†", "rot": "Rot", "iswap": "iSWAP", "unitary": "U",
    "special_unitary": "SU", "hermitian_exp": "exp(iH)",
    "amplitude_encoding": "Amp",
}  # fmt: skip
_SYMBOLS = {"control": "●", "not": "⊕", "swap": "×"}


@dataclass(frozen=True)
class Picture:
    """One gate as it is drawn.

    marks: qubit -> "control", "not", "swap" or "box". label, angles: what is written in the box, once. ports: qubit ->
    the letter or the number of its factor in a gate on several qubits where it matters.
    """

    gate: Gate
    marks: dict[int, str]
    label: str = ""
    angles: str = ""
    ports: dict[int, str] | None = None

    @property
    def span(self) -> tuple[int, int]:
        return min(self.marks), max(self.marks)

    @property
    def boxed(self) -> list[int]:
        """The qubits in the box, from the top."""
        return sorted(q for q, mark in self.marks.items() if mark == "box")

    @property
    def inputs(self) -> str:
        """What the gate depends on: "", "features", "weights" or "both"."""
        kinds = {s.kind for a in self.gate.angles for s in a.sources}
        kinds |= {"feature"} if self.gate.data is not None else set()
        return "both" if len(kinds) == 2 else f"{kinds.pop()}s" if kinds else ""

    def symbol(self, qubit: int) -> str:
        """What stands on the qubit's wire in text."""
        mark = self.marks[qubit]
        if mark != "box":
            return _SYMBOLS[mark]
        port = (self.ports or {}).get(qubit, "")
        inside = f"({self.angles.replace(' ', '')})" if self.angles and qubit == self.boxed[0] else ""
        return f"{self.label}{port and f'^{port}' if self.label == 'e' else port and f'[{port}]'}{inside}"


def picture(gate: Gate, longest: int = 40) -> Picture:
    """longest: characters of the angles, the rest becomes an ellipsis."""
    more, name = _UNDER.get(gate.name, (0, gate.name))
    controls, targets = gate.qubits[: gate.controls + more], gate.qubits[gate.controls + more :]
    marks = dict.fromkeys(controls, "control")
    angles = short(gate.angles, longest)
    if name == "z" and controls:
        return Picture(gate, {**marks, **dict.fromkeys(targets, "control")})
    if name == "x" and controls:
        return Picture(gate, {**marks, targets[0]: "not"})
    if name == "swap":
        return Picture(gate, {**marks, **dict.fromkeys(targets, "swap")})
    if name == "pauli_exp":
        ports = {q: letter for q, letter in zip(targets, gate.letters, strict=True) if letter != "I"}
        if not ports:  # a phase of the whole; it belongs to no wire and stands on the first
            marks[targets[0]] = "box"
            return Picture(gate, marks, "phase", short([gate.angles[0] * -0.5], longest))
        return Picture(gate, {**marks, **dict.fromkeys(ports, "box")}, "e", angles, ports)
    if gate.data is not None:
        first, count, scale = gate.data
        angles = ("" if scale == 1 else f"{figure(scale)}·") + f"x[{first}:{first + count}]"
    if gate.amplitudes is not None and isinstance(gate.columns, slice):
        angles = f"x[{gate.columns.start}:{gate.columns.stop}]"
    several = len(targets) > 1 and name in ("unitary", "special_unitary", "hermitian_exp", "amplitude_encoding")
    ports = {q: str(i) for i, q in enumerate(targets)} if several else None
    return Picture(gate, {**marks, **dict.fromkeys(targets, "box")}, _NAMES.get(name, name.upper()), angles, ports)


def columns(pictures: Iterable[Picture], qubits: int) -> list[list[Picture]]:
    """Each gate in the first column where all wires between its qubits are free, after whatever stands before it."""
    found: list[list[Picture]] = []
    free = [0] * qubits
    for p in pictures:
        low, high = p.span
        at = max(free[low : high + 1])
        while len(found) <= at:
            found.append([])
        found[at].append(p)
        free[low : high + 1] = [at + 1] * (high + 1 - low)
    return found


def short(angles: Iterable[Angle], longest: int) -> str:
    """Angles as a person would jot them down: x[0], 2·w[1], π/2, numbers to three digits."""
    text = ", ".join(_polynomial(a) for a in angles)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def figure(value: float) -> str:
    """Three digits, or a fraction of π where it is one."""
    for below in (1, 2, 3, 4, 6, 8):
        above = round(value * below / math.pi)
        if above and abs(above) <= 16 and math.isclose(above * math.pi / below, value, rel_tol=1e-12):
            top = {1: "π", -1: "-π"}.get(above, f"{above}π")
            return top + (f"/{below}" if below > 1 else "")
    return f"{value:.3g}"


def _polynomial(angle: Angle) -> str:
    def order(s: Source) -> tuple[str, int]:
        return s.kind, s.index

    parts = []
    for monomial, c in sorted(angle.terms.items(), key=lambda t: (len(t[0]), sorted(map(order, t[0])))):
        names = "·".join(str(s) for s in monomial)
        if not names:
            parts.append(figure(c))
        else:
            parts.append(names if c == 1 else f"-{names}" if c == -1 else f"{figure(c)}·{names}")
    return (" + ".join(parts) or "0").replace("+ -", "- ")
