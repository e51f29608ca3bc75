"""A circuit without the gates that entangle."""

from __future__ import annotations

from dataclasses import replace

from ..errors import NotDefined
from .angles import Angle, Source
from .circuit import Circuit
from .gate import Gate
from .gates import GATES

_NEVER = ("swap",)  # on two qubits, and entangles none


def entangles(gate: Gate) -> bool:
    """Whether a gate acts on several qubits other than as a product of gates on each, or an exchange of them."""
    if gate.controls:
        return True
    if gate.name in GATES:
        return GATES[gate.name].qubits > 1 and gate.name not in _NEVER
    if gate.name == "pauli_exp":
        return _weight(gate.letters) > 1
    if gate.name == "special_unitary":
        return any(_weight(s) > 1 for s in gate.strings)
    return len(gate.qubits) > 1


def _weight(letters: str) -> int:
    return sum(letter != "I" for letter in letters)


def without_entanglement(circuit: Circuit) -> tuple[Circuit, list[int]]:
    """(the circuit without its entangling gates, which of its weights are left, in their order).

    Of exp(i sum angle P) over Pauli strings those on one qubit stay. Weights are numbered anew. NotDefined where
    nothing entangles, and where no feature would be read any more.
    """
    if not any(map(entangles, circuit.gates)):
        raise NotDefined("no gate of the circuit entangles, so there is nothing to take out")
    gates = []
    for gate in circuit.gates:
        if not entangles(gate):
            gates.append(gate)
        elif gate.name == "special_unitary" and not gate.controls:
            kept = [i for i, s in enumerate(gate.strings) if _weight(s) == 1]
            if kept:
                angles, strings = (tuple(of[i] for i in kept) for of in (gate.angles, gate.strings))
                gates.append(replace(gate, angles=angles, strings=strings))
    left = sorted({s.index for g in gates for a in g.angles for s in a.sources if s.kind == "weight"})
    number = {old: new for new, old in enumerate(left)}

    def renumbered(angle: Angle) -> Angle:
        return angle.replace(lambda s: Source("weight", number[s.index]) if s.kind == "weight" else s)

    found = Circuit(circuit.qubits)
    for gate in gates:
        found = found._append(replace(gate, angles=tuple(map(renumbered, gate.angles))), f"gate {len(found)}")
    if circuit.features and not found.features:
        raise NotDefined("without its entangling gates the circuit reads no feature")
    return found, left
