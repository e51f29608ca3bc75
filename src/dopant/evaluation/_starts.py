"""A circuit at many random starts at once: its weights become columns of the input."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from ..errors import ConfigError
from ..quantum._checks import whole
from ..quantum.angles import Source
from ..quantum.circuit import Circuit

_ROOM = 1 << 22  # amplitudes at a time


def as_inputs(circuit: Circuit) -> Circuit:
    """The same circuit with weight k read from column `circuit.features` + k of the features."""
    first, c = circuit.features, Circuit(circuit.qubits)

    def change(s: Source) -> Source:
        return Source("feature", first + s.index) if s.kind == "weight" else s

    for gate in circuit:
        c = c._append(replace(gate, angles=tuple(a.replace(change) for a in gate.angles)), gate.name)
    return c


def drawn(
    circuit: Circuit, starts: int, features: torch.Tensor | None, generator: torch.Generator | None, kept: int = 1
) -> Iterator[torch.Tensor]:
    """Chunks (some, features + weights), float64, of `starts` rows: weights uniform in [0, 2 pi), radians, and the
    given features (f,), or such draws where there are none given. kept: states of a row that are in memory at once.
    ConfigError for features of another length."""
    f, w = circuit.features, circuit.weights
    if features is not None and (features.dim() != 1 or len(features) < f):
        raise ConfigError(f"features of shape {tuple(features.shape)}; one sample of at least {f} is wanted")
    own = 0 if features is None else f
    device = None if generator is None else generator.device
    while starts > 0:
        some = min(starts, max(1, _ROOM // kept >> circuit.qubits))
        starts -= some
        rows = torch.rand(some, f - own + w, generator=generator, dtype=torch.float64, device=device) * (2 * math.pi)
        fixed = torch.zeros(0) if features is None else features.detach()[:f]
        yield torch.cat([fixed.to(rows).expand(some, -1), rows], 1)


def many(value: object, what: str, least: int) -> int:
    """A whole number from `least` on. ConfigError for anything else."""
    found = whole(value)
    if found is None or found < least:
        raise ConfigError(f"{what} is a whole number from {least} on, not {value!r}")
    return found
