"""What other libraries call our gates: for a circuit's error when a method is not there."""

from __future__ import annotations

from ..errors import hint, nearest

OTHERS = {
    "hadamard": "h", "cnot": "cx", "controlled_x": "cx", "controlled_y": "cy", "controlled_z": "cz", "ccnot": "ccx",
    "fredkin": "cswap", "identity": "id", "i": "id", "pauli_x": "x", "pauli_y": "y", "pauli_z": "z", "paulix": "x",
    "pauliy": "y", "pauliz": "z", "x_gate": "x", "phase_shift": "p", "phaseshift": "p", "phase": "p", "u1": "p",
    "controlled_phase": "cp", "cphase": "cp", "controlled_phase_shift": "cp", "cu1": "cp", "u3": "u",
    "isingxx": "rxx", "isingyy": "ryy", "isingzz": "rzz", "multi_rz": "pauli_exp", "multirz": "pauli_exp",
    "pauli_rot": "pauli_exp", "paulirot": "pauli_exp", "pauli_evolution": "pauli_exp", "crot": "controlled",
    "qubit_unitary": "unitary", "qubitunitary": "unitary", "append": "gate", "num_qubits": "qubits",
    "n_qubits": "qubits", "num_parameters": "weights", "to_gate": "compose", "qasm": "to_qasm",
}  # fmt: skip


def unknown(kind: type, name: str) -> str:
    """The message for `circuit.NAME`: Python's, and the method that was probably meant."""
    methods = [m for m in dir(kind) if not m.startswith("_")]
    plain = name.lower().replace("-", "_")
    meant = OTHERS.get(plain, plain)
    found = [meant] if meant in methods else [] if name.startswith("_") else nearest(name, methods)
    return f"{kind.__name__!r} object has no attribute {name!r}{hint(found)}"
