"""One gate at its place in a circuit: a value."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ConfigError
from . import amplitudes as start
from .angles import Angle, Source
from .exponential import hermitian_exp, symmetric_exp
from .gates import GATES, Step, controlled, controlled_steps, pauli_rotation
from .pauli import pauli_sum

SPECIAL = {
    "pauli_exp": "exp(-i angle/2 P) of a Pauli string P.",
    "unitary": "A given unitary matrix.",
    "hermitian_exp": "exp(i scale H), H the symmetrised matrix of some features.",
    "special_unitary": "exp(i sum_k angle_k P_k) over Pauli strings.",
    "amplitude_encoding": "The state whose amplitudes are features, on qubits that no gate acted on.",
}


@dataclass(frozen=True)
class Gate:
    """name: one of GATES or SPECIAL. qubits: controls first. angles: radians.

    letters: the Pauli string of pauli_exp; strings: those of special_unitary. matrix: that of unitary, as nested
    tuples of complex numbers. data: (first feature, how many, scale) of hermitian_exp. amplitudes: (pad, normalise) of
    amplitude_encoding, whose `angles` are its amplitudes.
    """

    name: str
    qubits: tuple[int, ...]
    angles: tuple[Angle, ...] = ()
    controls: int = 0
    letters: str = ""
    strings: tuple[str, ...] = ()
    entries: tuple[tuple[complex, ...], ...] = ()
    data: tuple[int, int, float] | None = None
    amplitudes: tuple[float, bool] | None = None

    @property
    def targets(self) -> tuple[int, ...]:
        return self.qubits[self.controls :]

    @property
    def features(self) -> set[int]:
        """The columns of the input that it reads."""
        found = {s.index for a in self.angles for s in a.sources if s.kind == "feature"}
        if self.data is not None:
            first, count, _ = self.data
            found |= set(range(first, first + count))
        return found

    @functools.cached_property
    def columns(self) -> slice | list[int] | None:
        """Of an encoding: the columns that its amplitudes are, None where they are more than columns."""
        return start.columns(self.angles)

    @property
    def dense(self) -> bool:
        """Whether it is a matrix that has no form in Pauli rotations."""
        return self.amplitudes is None and self.steps is None

    @property
    def steps(self) -> list[Step] | None:
        """As Pauli rotations and basis permutations; None where it has no exact such form (a dense matrix, a start)."""
        if self.name in GATES:
            steps = GATES[self.name].steps(self.targets, *self.angles)
        elif self.name == "pauli_exp":
            letters = {q: s for q, s in zip(self.targets, self.letters, strict=True) if s != "I"}
            steps = [("pauli", letters, self.angles[0]) if letters else ("phase", self.angles[0])]
        else:
            return None
        return controlled_steps(self.qubits[: self.controls], steps) if self.controls else steps

    def matrix(self, features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Complex (…, d, d), d = 2^len(qubits); the leading axes are those of features (…, f) where it reads any.

        Differentiable in features and weights; the dtype is the complex one of features' dtype.
        """
        real = features.dtype
        dtype = torch.complex128 if real == torch.float64 else torch.complex64
        if self.name == "unitary":
            base = torch.tensor(self.entries, dtype=dtype, device=features.device)
        elif self.amplitudes is not None:  # of |0…0> alone
            v = start.vector(self, features, weights).to(dtype)
            base = torch.nn.functional.pad(v[..., None], (0, v.shape[-1] - 1))
        elif self.name == "hermitian_exp":
            base = self._exponential_of_data(features)
        elif self.name == "special_unitary":
            # in double precision: angles of norm 2^k cost single precision up to three digits
            base = hermitian_exp(pauli_sum(self._stacked(features, weights).double(), self.strings), dtype)
        else:
            values = self._values(features, weights)
            if self.name == "pauli_exp":
                base = pauli_rotation(self.letters)(*values)
            else:
                base = GATES[self.name].matrix(*values).to(features.device, dtype)
        return controlled(base, self.controls) if self.controls else base

    def _values(self, features: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The angles as tensors of one shape: () or (…), the leading axes of features."""
        real, device = features.dtype, features.device
        values = [a.value(features, weights) for a in self.angles]
        values = [v if torch.is_tensor(v) else torch.tensor(v, dtype=real, device=device) for v in values]
        return tuple(torch.broadcast_tensors(*values)) if values else ()

    def _stacked(self, features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The angles in one tensor (…, angles)."""
        if self._first is not None:  # without an operation for each
            return weights[self._first : self._first + len(self.angles)]
        return torch.stack(self._values(features, weights), -1)

    @functools.cached_property
    def _first(self) -> int | None:
        """The first of the weights that the angles are, one after the other; None where they are anything else."""
        (source, *_) = self.angles[0].sources or {None}
        if source is None or source.kind != "weight":
            return None
        own = all(a.terms == {(Source("weight", source.index + i),): 1.0} for i, a in enumerate(self.angles))
        return source.index if own else None

    def _exponential_of_data(self, features: torch.Tensor) -> torch.Tensor:
        assert self.data is not None
        first, count, scale = self.data
        d = 1 << len(self.targets)
        flat = torch.nn.functional.pad(features[..., first : first + count], (0, d * d - count))
        square = flat.unflatten(-1, (d, d))
        return symmetric_exp((square + square.mT) * (0.5 * scale))

    def label(self) -> str:
        """As a person would write it: `rx(x[0])`, `c.ry(w[1])`, `pauli_exp[XY](0.5)`."""
        name = self.name + (f"[{self.letters}]" if self.letters else "")
        inside = ", ".join(str(a) for a in self.angles)
        if self.data is not None:
            first, count, scale = self.data
            inside = f"{scale:g} * x[{first}:{first + count}]"
        if self.amplitudes is not None:
            pad, normalise = self.amplitudes
            inside = start.words(self) + (f", pad={pad:g}" if pad else "") + ("" if normalise else ", normalise=False")
        return "c." * self.controls + name + (f"({inside})" if inside else "")

    def inverse(self) -> Gate:
        """The gate that undoes it. ConfigError for an encoding, which is none."""
        from dataclasses import replace

        if self.amplitudes is not None:
            raise ConfigError(f"{self.label()} has no inverse: it is the state that its qubits start with, and says "
                              "nothing of others; invert the gates after it, or for |<x|y>|^2 take QuantumKernel or "
                              "measure=('overlaps', …)")  # fmt: skip
        if self.name in _INVERSES:
            return replace(self, name=_INVERSES[self.name])
        if self.name == "u":
            theta, phi, lam = self.angles
            return replace(self, angles=(-theta, -lam, -phi))
        if self.name == "rot":
            return replace(self, angles=tuple(-a for a in reversed(self.angles)))
        if self.name == "iswap":
            entries = GATES["iswap"].matrix().conj().T.tolist()
            return replace(self, name="unitary", entries=_entries(entries))
        if self.name == "unitary":
            entries = torch.tensor(self.entries, dtype=torch.complex128).conj().T.tolist()
            return replace(self, entries=_entries(entries))
        if self.data is not None:
            first, count, scale = self.data
            return replace(self, data=(first, count, -scale))
        return replace(self, angles=tuple(-a for a in self.angles))


_INVERSES = {"s": "sdg", "sdg": "s", "t": "tdg", "tdg": "t", "sx": "sxdg", "sxdg": "sx"}


def _entries(rows: Sequence[Sequence[Any]]) -> tuple[tuple[complex, ...], ...]:
    return tuple(tuple(complex(e) for e in row) for row in rows)
