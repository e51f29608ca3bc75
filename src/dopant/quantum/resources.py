"""What a circuit costs: on hardware in gates, depth, evaluations and shots, in simulation in arithmetic and memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from ..errors import ConfigError
from . import _checks
from ._closure import closure
from ._elementary import Event, base, elementary, word
from .circuit import Circuit
from .gate import Gate
from .observables import Measurement, measurement
from .run import needed
from .shots import groups

_FREE = {"id", "x", "swap"}  # permutations of the basis, under controls too
_PHASES = {"z", "s", "sdg", "t", "tdg", "p", "iswap"}


@dataclass(frozen=True)
class Resources:
    """qubits, features, parameters: of the circuit. gates, by_name: as drawn ("c.ry": under one control). depth: as
    drawn, every gate one step.

    two_qubit_gates, elementary_depth: in CX and one-qubit gates, neighbouring one-qubit gates being one; where `exact`
    is False they are lower bounds, because general gates on three and more qubits are in it: ceil((4^k - 3k - 1)/4) CX
    for almost all of those on k qubits (Shende et al. 2004, quant-ph/0308033).

    On hardware, for each sample: settings: bases to measure in. evaluations_forward: circuits to run for the outputs.
    evaluations_gradient: for the gradients in weights and features by parameter shifts, forward not included;
    evaluations_weight_gradient, evaluations_feature_gradient: for these alone. shots_forward, shots_gradient: shots
    times evaluations_forward and evaluations_gradient, None without.
    evaluations_step: of a training step of `batch` samples, forward and gradient.

    In simulation: simulations_forward, simulations_gradient: passes, whatever the number of angles. flops_forward,
    flops_step (forward and backward), memory_state, memory_step (bytes): for `batch` samples, see `resources`.
    """

    qubits: int
    features: int
    parameters: int
    gates: int
    by_name: dict[str, int] = field(hash=False)
    depth: int
    two_qubit_gates: int
    elementary_depth: int
    exact: bool
    settings: int
    evaluations_forward: int
    evaluations_gradient: int
    evaluations_weight_gradient: int
    evaluations_feature_gradient: int
    shots_forward: int | None
    shots_gradient: int | None
    simulations_forward: int
    simulations_gradient: int
    batch: int
    flops_forward: float
    flops_step: float
    memory_state: int
    memory_step: int

    @property
    def evaluations_step(self) -> int:
        return self.batch * (self.evaluations_forward + self.evaluations_gradient)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and text, for JSON and tables."""
        return asdict(self) | {"evaluations_step": self.evaluations_step}

    def __str__(self) -> str:
        least = "" if self.exact else "at least "
        names = ", ".join(f"{count} {name}" for name, count in self.by_name.items())
        shots = "" if self.shots_forward is None else f"; shots {self.shots_forward:,} and {self.shots_gradient:,}"
        return "\n".join([
            f"{_many(self.qubits, 'qubit')}, {_many(self.features, 'feature')}, {_many(self.parameters, 'parameter')}",
            f"{_many(self.gates, 'gate')}{f' ({names})' if names else ''}, depth {self.depth}",
            f"in CX and one-qubit gates: {least}{self.two_qubit_gates:,} CX, depth {least}{self.elementary_depth:,}",
            f"on hardware, a sample: {_many(self.evaluations_forward, 'circuit evaluation')} forward, "
            f"{self.evaluations_gradient:,} for the gradient{shots}",
            f"simulated, {_many(self.batch, 'sample')}: {self.flops_forward:.3g} FLOPs forward, "
            f"{self.flops_step:.3g} a training step; {_bytes(self.memory_state)} of state, {_bytes(self.memory_step)} "
            "a training step",
        ])  # fmt: skip


def resources(circuit: Circuit, *, measure: Any = "z", shots: int | None = None, dtype: torch.dtype = torch.float32,
              batch: int = 1) -> Resources:  # fmt: skip
    """What `circuit` costs with outputs `measure` (as for a layer), for `batch` samples of `dtype`.

    Settings: strings that agree in every letter that both have share one (grouped in their order, first fit, which need
    not be the least number); probabilities take one; a dense matrix one, in its eigenbasis, the way into which is not
    counted; "state" 3^n, those of tomography.
    Evaluations of a gradient, times the settings: for each gate, 2 for each angle about a Pauli string or of a phase
    (two-term shift; Schuld et al. 2019, arXiv 1811.11184), 4 where it is under controls (generator with eigenvalues -1,
    0, 1; Anselmetti et al. 2021, arXiv 2104.05695), and for exp(i sum_k angle_k P_k) 2 for each string of the algebra
    that its strings generate, for all its angles together (Wiersema et al. 2023, arXiv 2303.11355), 2 for each
    amplitude of an encoding (see `dopant.quantum.shift`). An angle
    without weight or feature costs none; a weight in several gates costs for each.
    An amplitude encoding of k qubits is counted as the exact preparation of real amplitudes by multiplexed rotations,
    2^k - 2 CX and 2^k - 1 RY whatever the vector is (Möttönen et al. 2005, quant-ph/0407010), with other angles for
    each sample; approximate or sparse vectors can take fewer.
    FLOPs, complex multiply-adds being 8: a gate on k targets under c controls takes 8 * 2^k * 2^(n-c), a rotation about
    a Pauli string 16 * 2^(n-c), a diagonal gate 6 * 2^(n-c), permutations none; exp of a (d, d) matrix 40 d^3, for
    each sample where features are in it, an encoding of k qubits 5 * 2^k + 2^n. Backward un-computes the state and
    carries one adjoint, 2 times forward, and takes 8 * 2^n for each gate angle that has a gradient (amplitudes are no
    angles). Simulators that merge gates need less.
    Memory: memory_state is batch * 2^n complex numbers; memory_step what a training step takes at most by the
    formula with which it is refused where there is less (`dopant.quantum.run.needed`), matrices of dense gates apart.
    Raises ConfigError for what is no measurement, no positive batch or shots, or no real floating dtype.
    """
    n = circuit.qubits
    if dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"resources: dtype {dtype}; states are made of float32 or float64")
    problems = [f"resources: {name} is a whole number from 1 on, not {value!r}"
                for name, value in (("batch", batch), ("shots", 1 if shots is None else shots))
                if (_checks.whole(value) or 0) < 1]  # fmt: skip
    if problems:
        raise ConfigError(problems)
    pieces = [elementary(gate) for gate in circuit]
    exact = all(p.exact for p in pieces)
    cx = sum(p.cx for p in pieces)
    if exact:
        deep = elementary_depth([e for p in pieces for e in p.events], n)
    else:
        deep = math.ceil(cx / max(n // 2, 1))  # at most n/2 CX at a time
    bases = settings(measurement(measure, n))
    kinds = (("weight", "feature"), ("weight",), ("feature",))
    both, weights, features = (bases * sum(_shifts(g, k) for g in circuit) for k in kinds)
    forward, step = _flops(circuit, batch)
    state = batch * (1 << n) * 2 * dtype.itemsize
    return Resources(
        qubits=n,
        features=circuit.features,
        parameters=circuit.weights,
        gates=len(circuit),
        by_name=dict(Counter("c." * g.controls + g.name for g in circuit).most_common()),
        depth=depth((g.qubits for g in circuit), n),
        two_qubit_gates=cx,
        elementary_depth=deep,
        exact=exact,
        settings=bases,
        evaluations_forward=bases,
        evaluations_gradient=both,
        evaluations_weight_gradient=weights,
        evaluations_feature_gradient=features,
        shots_forward=None if shots is None else shots * bases,
        shots_gradient=None if shots is None else shots * both,
        simulations_forward=1,
        simulations_gradient=1,
        batch=batch,
        flops_forward=forward,
        flops_step=step,
        memory_state=state,
        memory_step=needed(
            circuit, batch, True, double=dtype == torch.float64, kernel=not any(g.dense for g in circuit)
        ),
    )


def depth(gates: Iterable[Sequence[int]], n: int) -> int:
    """The longest chain of gates, given by their qubits, that follow each other."""
    level = [0] * n
    for on in gates:
        here = 1 + max(level[q] for q in on)
        for q in on:
            level[q] = here
    return max(level)


def elementary_depth(events: Sequence[Event], n: int) -> int:
    """The same for CX and one-qubit gates, of which several in a row on a qubit are one."""
    last: list[Event] = [()] * n
    kept = []
    for on in events:
        if len(on) == 2 or last[on[0]] != on:
            kept.append(on)
        for q in on:
            last[q] = on
    return depth(kept, n)


def settings(measured: Measurement) -> int:
    """How many bases must be measured in."""
    if measured.kind in ("matrices", "overlaps"):  # each in its own eigenbasis, or by a test of its own
        return measured.outputs
    if measured.kind == "state":
        return 3 ** (measured.outputs.bit_length() - 1)
    if measured.kind == "probabilities":
        return 1
    return len(groups(list(dict.fromkeys(s for total in measured.sums for s in total.strings if set(s) != {"I"}))))


def _shifts(gate: Gate, kinds: Sequence[str]) -> int:
    """Evaluations of one setting for the gradient in all angles of the gate that read one of `kinds`."""
    name, controls, targets = base(gate)
    if gate.data is not None:
        return 2 * (4 ** len(targets) - 1) if "feature" in kinds else 0
    if gate.amplitudes is not None:
        return 2 * sum(any(s.kind in kinds for s in a.sources) for a in gate.angles)
    live = [any(s.kind in kinds for s in a.sources) for a in gate.angles]
    about = word(gate)
    if about is not None:
        if set(about) == {"I"}:
            return 2 * bool(controls) * sum(live)
        return (4 if controls else 2) * sum(live)
    if name == "special_unitary":
        return 2 * len([s for s in closure(gate.strings) if set(s) != {"I"}]) if any(live) else 0
    if name == "u":  # P(phi) RY(theta) P(lam): the phases' generators are projectors
        return (4 if controls else 2) * live[0] + 2 * (live[1] + live[2])
    if name == "rot":
        return (4 if controls else 2) * sum(live)
    return 2 * sum(live)  # p


def _flops(circuit: Circuit, batch: int) -> tuple[float, float]:
    n = circuit.qubits
    forward, once, angles = 0.0, 0.0, 0
    for gate in circuit:
        if gate.amplitudes is not None:
            forward += 5.0 * (1 << len(gate.qubits)) + (1 << n)
            continue
        name, controls, targets = base(gate)
        rows, about = float(1 << (n - len(controls))), word(gate)
        if name in _PHASES or (about is not None and set(about) <= {"I", "Z"}):
            forward += 6 * rows
        elif about is not None:
            forward += 16 * rows
        elif name not in _FREE:
            forward += 8 * (1 << len(targets)) * rows
        if name in ("special_unitary", "hermitian_exp") and about is None:
            work = 40.0 * 8 ** len(targets)
            if gate.features:
                forward += work
            else:
                once += work
        angles += sum(not a.is_number for a in gate.angles) + (gate.data[1] if gate.data else 0)
    return batch * forward + once, 3 * (batch * forward + once) + batch * 8.0 * (1 << n) * angles


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError
