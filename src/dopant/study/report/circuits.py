"""The words of circuits: columns of the table of costs, and of the table of gradients at random starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .words import number


@dataclass(frozen=True)
class Column:
    """How a column is called and explained, and how its numbers are written where not as anywhere else."""

    label: str
    help: str
    write: Callable[[Any], str] | None = None


COSTS = {
    "qubits": Column("qubits", "of the largest circuit where there are several"),
    "gates": Column("gates", "of the circuits as they are written, added up"),
    "two_qubit_gates": Column("two-qubit gates", "CX gates of the circuits in CX and one-qubit gates, added up"),
    "depth": Column("circuit depth", "the longest chain of gates as they are written, of the deepest circuit"),
    "circuits_per_sample": Column(
        "circuits per sample, forward", "what a device would run for one forward pass: a circuit a measurement basis"
    ),
    "circuits_per_gradient": Column(
        "circuits per sample, gradient",
        "what a device would run by parameter shifts for the derivatives by features and trained weights",
    ),
    "circuit_evaluations": Column(
        "circuits in all", "what a device would run for the whole trial: fitting, choosing its settings, testing"
    ),
    "shots": Column(
        "shots", "of each circuit; exact: expectations, without shots", lambda v: number(v) if v else "exact"
    ),
    "tier": Column("evidence", "how close to a device it is"),
}
GRADIENTS = {
    "cell": Column("cell", ""),
    "slot": Column("slot", "or the module, where a slot has several circuits or the host brings them"),
    "qubits": Column("qubits", ""),
    "weights": Column("weights", "angles of the circuit that can be trained"),
    "idle": Column("without effect", "weights by which no output has a derivative, at any start"),
    "variance": Column("variance", "of the derivative of an output by a weight over random starts: mean over outputs "
                       "and over the weights that have an effect"),
    "lowest": Column("smallest", "of the weights that have an effect, that of the one with the smallest variance"),
    "highest": Column("largest", "that of the weight with the largest variance"),
    "haar": Column("deep random circuit", "the variance of a rotation between two random unitaries (2-designs): about "
                   "2^-(n+1) for a Pauli string on n qubits"),
    "ratio": Column("ratio", "variance over that of a deep random circuit: near 1, as flat as one; far above, steeper"),
    "starts": Column("random starts", ""),
    "seed": Column("seed", "of the study, from which the starts are drawn"),
    "skipped": Column("not measured", "why"),
}  # fmt: skip
