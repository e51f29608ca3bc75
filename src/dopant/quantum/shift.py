"""Derivatives as a device takes them: differences of the same circuit with one angle shifted.

Sources: Schuld et al. 2019 (arXiv 1811.11184), two terms; Wierichs et al. 2022 (arXiv 2107.12390), several frequencies;
Wiersema et al. 2023 (arXiv 2303.11355), gates exp(i sum_k theta_k P_k) whose strings do not commute: the derivative by
theta_k is a combination of derivatives by rotations about single strings put before the gate.

Amplitudes u that qubits start with are no angles of gates, and no shift of an angle gives their derivatives. But an
expectation is a quadratic form Q(u), so that dQ/du_k = Q(u + e_k/2) - Q(u - e_k/2) exactly, and a device has Q of any
vector v as |v|^2 times the expectation after preparing v / |v|. The norm by which features were divided is known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..errors import ConfigError
from . import amplitudes
from ._closure import closure
from .angles import Angle, Source, feature
from .circuit import Circuit
from .gate import Gate
from .gates import number
from .observables import measurement
from .pauli import pauli_matrix, pauli_strings
from .run import Runner, inputs, weights_of


@dataclass(frozen=True)
class Shifted:
    """values (batch, outputs); weights (batch, outputs, w) and features (batch, outputs, f): derivatives.
    circuits: how many different circuits were evaluated for them, a sample."""

    values: torch.Tensor
    weights: torch.Tensor
    features: torch.Tensor
    circuits: int


def parameter_shift(circuit: Circuit, measure: Any, features: torch.Tensor | None = None,
                    weights: torch.Tensor | None = None) -> Shifted:  # fmt: skip
    """Exact derivatives of measured values by all weights and features, from shifted circuits alone.

    features (batch, f), weights (w,). Any gate and any angle; the dtype is that of the features. Cost: two circuits for
    each angle of a Pauli rotation, four for a controlled one, two for each string of the algebra of a
    dense gate, 4^k - 1 at most, two for each amplitude of an encoding.
    ConfigError for measure="state" after an encoding: a state is no quadratic form.
    """
    dtype = weights.dtype if weights is not None else torch.get_default_dtype()
    x, _ = inputs(circuit, features, dtype, "parameter_shift")
    w = weights_of(circuit, weights, x).detach()
    x = x.detach()
    what = measurement(measure, circuit.qubits)
    counted = itertools.count()

    if what.kind == "state" and any(g.amplitudes is not None for g in circuit.gates):
        raise ConfigError("parameter_shift: measure='state' after an amplitude encoding; take expectations, "
                          "probabilities or overlaps, or autograd through circuit.state")  # fmt: skip

    def value(changed: Circuit, columns: torch.Tensor | None = None) -> torch.Tensor:
        next(counted)
        return Runner(changed, what, "torch")(x if columns is None else columns, w)

    with torch.no_grad():
        values = value(circuit)
        counted = itertools.count()
        by_weights = values.new_zeros(*values.shape, circuit.weights)
        by_features = values.new_zeros(*values.shape, x.shape[1])
        for place, gate in enumerate(circuit.gates):
            if gate.data is None and all(a.is_number for a in gate.angles):
                continue
            if gate.amplitudes is not None:
                _amplitudes(circuit, place, gate, x, w, values, value, by_weights, by_features)
                continue
            if gate.name in ("special_unitary", "hermitian_exp"):
                _dense(circuit, place, gate, x, w, value, by_weights, by_features)
                continue
            for which, angle in enumerate(gate.angles):
                if angle.is_number:
                    continue
                shifts = rule(frequencies(gate, which))
                if shifts:
                    slope = _slope(circuit, place, which, shifts, value)
                    _chain(angle, slope, x, w, by_weights, by_features)
    return Shifted(values, by_weights, by_features, next(counted))


def frequencies(gate: Gate, which: int) -> list[float]:
    """Positive differences of the eigenvalues of the gate's generator by its angle `which`."""
    d = len(gate.angles)

    def matrix(t: torch.Tensor) -> torch.Tensor:
        plain = replace(gate, angles=tuple(Angle({(Source("weight", i),): 1.0}) for i in range(d)))
        # away from 0, where nothing is special
        base = torch.linspace(0.3, 0.9, d, dtype=torch.float64)
        return plain.matrix(torch.zeros(0, dtype=torch.float64), base + t * torch.eye(d, dtype=torch.float64)[which])

    zero = torch.zeros((), dtype=torch.float64)
    with torch.enable_grad():
        u = matrix(zero)
        du = torch.autograd.functional.jacobian(lambda t: torch.view_as_real(matrix(t)), zero)
    found = torch.linalg.eigvalsh(1j * torch.view_as_complex(du) @ u.mH)
    gaps = {round(float(abs(a - b)), 9) for a, b in itertools.combinations(found, 2)}
    return sorted(g for g in gaps if g > 1e-7)


def rule(gaps: list[float]) -> list[tuple[float, float]]:
    """[(coefficient, shift)]: f'(0) = sum of coefficient * (f(shift) - f(-shift)) for f with these frequencies."""
    if not gaps:
        return []
    count, largest = len(gaps), max(gaps)
    shifts = [math.pi * (2 * m + 1) / (2 * count * largest) for m in range(count)]
    system = torch.tensor([[2 * math.sin(g * s) for s in shifts] for g in gaps], dtype=torch.float64)
    found = torch.linalg.solve(system, torch.tensor(gaps, dtype=torch.float64))
    return [(float(c), s) for c, s in zip(found, shifts, strict=True)]


def _slope(circuit: Circuit, place: int, which: int, shifts: list[tuple[float, float]],
           value: Callable[[Circuit], torch.Tensor]) -> torch.Tensor:  # fmt: skip
    gate, parts = circuit.gates[place], []
    for coefficient, shift in shifts:
        for sign in (1.0, -1.0):
            angles = list(gate.angles)
            angles[which] = angles[which] + number(sign * shift)
            parts.append(sign * coefficient * value(_with(circuit, place, [replace(gate, angles=tuple(angles))])))
    return torch.stack(parts).sum(0)


def _with(circuit: Circuit, place: int, gates: list[Gate]) -> Circuit:
    return circuit.with_gates([*circuit.gates[:place], *gates, *circuit.gates[place + 1 :]])


def _chain(angle: Angle, slope: torch.Tensor, x: torch.Tensor, w: torch.Tensor, by_weights: torch.Tensor,
           by_features: torch.Tensor) -> None:  # fmt: skip
    for source in angle.sources:
        share = angle.derivative(source).value(x, w)
        share = share[..., None] if torch.is_tensor(share) and share.dim() else share
        into = by_weights if source.kind == "weight" else by_features
        into[..., source.index] += share * slope


def _amplitudes(circuit: Circuit, place: int, gate: Gate, x: torch.Tensor, w: torch.Tensor, values: torch.Tensor,
                value: Callable[[Circuit, torch.Tensor], torch.Tensor], by_weights: torch.Tensor,
                by_features: torch.Tensor) -> None:  # fmt: skip
    assert gate.amplitudes is not None
    batch, (_, normalise) = x.shape[0], gate.amplitudes
    u = amplitudes.vector(gate, x, w).expand(batch, -1)
    columns = torch.cat([x, u], 1)
    squared = u.square().sum(1)
    length = amplitudes.norm(gate, x, w).expand(batch)
    for k, angle in enumerate(gate.angles):
        if angle.is_number:
            continue
        ends = []
        for sign in (1.0, -1.0):
            moved = [feature(x.shape[1] + i) + (sign / 2 if i == k else 0.0) for i in range(u.shape[1])]
            prepared = replace(gate, angles=tuple(moved), amplitudes=(0.0, True))
            ends.append((squared + sign * u[:, k] + 0.25)[:, None] * value(_with(circuit, place, [prepared]), columns))
        slope = ends[0] - ends[1]
        if normalise:  # of v / |v|: what goes along u, 2 Q(u) u by Euler's theorem, is taken away
            slope = (slope - 2 * u[:, k, None] * values) / length[:, None]
        _chain(angle, slope, x, w, by_weights, by_features)


def _dense(circuit: Circuit, place: int, gate: Gate, x: torch.Tensor, w: torch.Tensor,
           value: Callable[[Circuit], torch.Tensor], by_weights: torch.Tensor,
           by_features: torch.Tensor) -> None:  # fmt: skip
    k = len(gate.targets)
    # what the gate's own strings generate is enough, and fewer
    words = closure(gate.strings) if gate.strings else list(pauli_strings(k))
    words = [s for s in words if set(s) != {"I"}]
    paulis = torch.stack([pauli_matrix(s) for s in words])
    # d/ds of exp(i s P) put before the gate: two shifts of pauli_exp(-2 s)
    slopes = []
    for word in words:
        ends = []
        for sign in (-1.0, 1.0):
            before = Gate("pauli_exp", gate.targets, (number(sign * math.pi / 2),), letters=word)
            ends.append(value(_with(circuit, place, [before, gate])))
        slopes.append(ends[0] - ends[1])
    slopes = torch.stack(slopes, -1)  # (batch, outputs, strings)
    if gate.data is not None:
        first, count, _ = gate.data

        def matrix(columns: torch.Tensor) -> torch.Tensor:
            full = torch.cat([x[0, :first].double(), columns, x[0, first + count :].double()])
            return gate.matrix(full, w.double())

        for b in range(x.shape[0]):
            shares = _shares(matrix, x[b, first : first + count].double(), paulis)
            by_features[b, :, first : first + count] += (slopes[b].double() @ shares.mT).to(slopes)
        return
    numbered = replace(gate, angles=tuple(Angle({(Source("weight", i),): 1.0}) for i in range(len(gate.angles))))

    def of_angles(theta: torch.Tensor) -> torch.Tensor:
        return numbered.matrix(torch.zeros(0, dtype=torch.float64), theta)

    given = [a.value(x, w) for a in gate.angles]
    for b in range(x.shape[0]):
        theta = torch.tensor(
            [float(v[b]) if torch.is_tensor(v) and v.dim() else float(v) for v in given], dtype=torch.float64
        )
        by_angles = (slopes[b].double() @ _shares(of_angles, theta, paulis).mT).to(slopes)  # (outputs, angles)
        for i, angle in enumerate(gate.angles):
            _chain(angle, by_angles[None, :, i], x[b : b + 1], w, by_weights[b : b + 1], by_features[b : b + 1])


def _shares(matrix: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, paulis: torch.Tensor) -> torch.Tensor:
    """(parameters, strings): omega with U^+ dU/d_k = i sum_l omega_kl P_l."""
    with torch.enable_grad():
        u = matrix(at)
        du = torch.autograd.functional.jacobian(lambda t: torch.view_as_real(matrix(t)), at)
    du = torch.view_as_complex(du.movedim(-1, 0).contiguous())  # (parameters, d, d)
    effective = -1j * (u.detach().mH @ du)
    return torch.einsum("kab,lba->kl", effective, paulis).real / u.shape[-1]
