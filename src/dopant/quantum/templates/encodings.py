"""How numbers enter a state: as angles, as amplitudes, as times of an evolution."""

from __future__ import annotations

import math
from typing import Any

import torch

from ...errors import ConfigError, DoesNotFit
from .. import _checks
from ..angles import feature
from ..circuit import Circuit
from ._patterns import axis as axis_of
from ._patterns import repetitions

MOST_AMPLITUDE_QUBITS = 24


def angle_encoding(n: int, axis: str = "y", first: int = 0) -> Circuit:
    """A rotation of qubit q by feature `first` + q, radians, about `axis`: "x", "y" or "z".

    Features: n. Weights: none. As PennyLane's AngleEmbedding, exactly. About z the state |0…0> gets a phase only:
    begin with a layer of H.
    """
    name = axis_of(axis)
    c = Circuit(n)
    for q in range(n):
        c = c.gate(name, q, feature(first + q))
    return c


def amplitude_encoding(of: Any, features: int | None = None, first: int = 0, *, pad: float = 0.0,
                       normalise: bool = True) -> Circuit:  # fmt: skip
    """Amplitudes of n qubits: features of each sample where `of` is the number n, else the vector `of`, a fixed one.

    Of a number: 2^n features from column `first` on, or as many as `features` says, the rest `pad`. Weights: none. It
    is `Circuit.amplitude_encoding`, which takes any columns, angles and qubits and says the rest.

    Of a vector: the state with amplitudes `of` / |of|, from |0…0>, its global phase included.
    of: 2^n real or complex numbers, n >= 1. Features: none. Weights: none.
    Möttönen et al. 2005 (quant-ph/0407010): RY of qubit k, multiplexed by the qubits before it, splits the norm; for a
    complex vector multiplexed RZ give the phases after that. At most 2^n - 2 CX for a real vector, 2^(n+1) - 4 for a
    complex one, and as many rotations, up to n. Differs from PennyLane's MottonenStatePreparation in the last layer of
    a real vector: signs come from angles beyond pi, so that it needs no RZ.
    ConfigError for another length, for zero and for what is not finite.
    """
    n = _checks.whole(of) if getattr(of, "ndim", 0) == 0 else None
    if n is not None:
        start = _checks.whole(first)
        if start is None or start < 0:
            raise ConfigError(f"amplitude_encoding: first={first!r}; take the number of a column, from 0 on")
        if n > MOST_AMPLITUDE_QUBITS:
            raise DoesNotFit(f"amplitude_encoding: {n} qubits have 2^{n} amplitudes, each an angle of its own; at most "
                             f"{MOST_AMPLITUDE_QUBITS} qubits are encoded so")  # fmt: skip
        c, many = Circuit(n), repetitions(1 << n if features is None else features, "amplitude_encoding: features")
        return c.amplitude_encoding(range(start, start + many), pad=pad, normalise=normalise)
    if features is not None or first != 0 or pad != 0.0 or normalise is not True:
        raise ConfigError("amplitude_encoding: features, first, pad and normalise are for features, and this is a "
                          "fixed vector; give the number of qubits instead, or the vector as it is to be")  # fmt: skip
    a = torch.as_tensor(of).detach().cpu()
    size = a.numel()
    if a.dim() != 1 or size < 2 or size & (size - 1):
        raise ConfigError(f"amplitude_encoding: 2, 4, 8, … amplitudes are wanted, not shape {tuple(a.shape)}; "
                          "pad it with zeros")  # fmt: skip
    a = a.to(torch.complex128)
    norm = float(a.abs().square().sum().sqrt())
    if not math.isfinite(norm) or norm == 0.0:
        raise ConfigError(f"amplitude_encoding: the vector's norm is {norm}; give finite amplitudes, not all zero")
    n = size.bit_length() - 1
    real = bool((a.imag == 0).all())
    values = a.real if real else a.abs()
    c = Circuit(n)
    for q in range(n):
        last = q == n - 1
        halves = values.reshape(1 << q, 2, -1)
        halves = halves[..., 0] if last else halves.square().sum(-1).sqrt()
        c = multiplexed(c, "ry", 2 * torch.atan2(halves[:, 1], halves[:, 0]), list(range(q)), q)
    if real:
        return c
    phases = torch.angle(a)
    for q in reversed(range(n)):
        pairs = phases.reshape(-1, 2)
        c = multiplexed(c, "rz", pairs[:, 1] - pairs[:, 0], list(range(q)), q)
        phases = pairs.mean(1)
    return c.pauli_exp("I", -2 * float(phases[0]), [0])


def multiplexed(circuit: Circuit, name: str, angles: torch.Tensor, controls: list[int], target: int) -> Circuit:
    """Rotation `name` ("ry" or "rz") of target by angles[j], radians, where the controls read j, the first the most
    significant: 2^c rotations and, for c > 0, 2^c CX. angles: (2^c,).

    CX reverses the rotations after it, and by a Gray code every pattern of signs occurs once; the Walsh-Hadamard
    transform of the angles says by how much to turn in each. Möttönen et al. 2004 (quant-ph/0404089), figure 2.
    """
    count, c = len(angles), len(controls)
    gray = [i ^ (i >> 1) for i in range(count)]
    signs = torch.tensor([[(-1.0) ** (j & g).bit_count() for j in range(count)] for g in gray], dtype=torch.float64)
    for i, turn in enumerate((signs @ angles.to(torch.float64) / count).tolist()):
        circuit = circuit.gate(name, target, turn)
        if c:
            changed = gray[i] ^ gray[(i + 1) % count]
            circuit = circuit.cx(controls[c - changed.bit_length()], target)
    return circuit


def hamiltonian_encoding(n: int, steps: int = 20, time: float | None = None, first: int = 0,
                         generator: torch.Generator | None = None) -> Circuit:  # fmt: skip
    """Features as couplings of a Heisenberg chain, evolved from a random product state.

    [prod_j exp(-i time/steps x_j (XX + YY + ZZ) on qubits j, j+1)]^steps. Features: n - 1, from column `first` on.
    Weights: none. time: (n - 1)/3 unless said. The starting state of every qubit is drawn uniformly on the sphere from
    `generator`, else from torch's default one, when the circuit is made. (On |0…0> the evolution would be a phase.)
    Huang et al. 2021 (Power of data in quantum machine learning, arXiv 2011.01938), their Heisenberg embedding with
    20 steps.
    A Hamiltonian whose matrix the features are is `Circuit.hermitian_exp`. ConfigError for n < 2.
    """
    if _checks.count(n) < 2:
        raise ConfigError("hamiltonian_encoding: a chain has at least 2 qubits, one feature for each bond")
    if repetitions(steps, "hamiltonian_encoding: steps") < 1:
        raise ConfigError("hamiltonian_encoding: at least one step is wanted")
    total = (n - 1) / 3 if time is None else float(time)
    drawn = torch.rand(n, 2, generator=generator, dtype=torch.float64,
                       device=None if generator is None else generator.device).tolist()  # fmt: skip
    c = Circuit(n)
    for q, (height, turn) in enumerate(drawn):
        c = c.u(q, math.acos(1 - 2 * height), 2 * math.pi * turn, 0.0)
    for _ in range(steps):
        for q in range(n - 1):
            angle = feature(first + q) * (2 * total / steps)
            for name in ("rxx", "ryy", "rzz"):
                c = c.gate(name, q, q + 1, angle)
    return c
