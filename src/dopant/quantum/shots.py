"""Finite shots: means over simulated measurements, each drawn from the exact distribution.

Observables that are the same letters qubit by qubit are read off the same shots, as on a device; each such group takes
`shots` of its own. The derivative is that of the exact expectation (what many shots converge to), not of the sample.
"""

from __future__ import annotations

from typing import Any

import torch

from ..errors import ConfigError
from . import statevector
from ._checks import whole
from .circuit import Circuit
from .gates import GATES
from .observables import Measurement, masks, of_probabilities, of_state, parity
from .run import fits

_ONCE = 1 << 22  # shots of all samples together that are drawn at once


def check(measured: Measurement, shots: Any) -> None:
    """ConfigError for shots that are no whole number from 1 on, or of a state, which no shot shows."""
    if (whole(shots) or 0) < 1:
        raise ConfigError(f"shots={shots!r}: take a whole number from 1 on, or None for exact expectations")
    if measured.kind == "state":
        raise ConfigError("measure='state' with shots: a state cannot be measured in one go; take "
                          "'probabilities' or Pauli "
                          "strings, or leave shots out")  # fmt: skip


def groups(strings: list[str]) -> list[tuple[str, list[int]]]:
    """Strings that one setting of the measuring devices reads: (letters of the setting, which strings). Greedy."""
    found: list[tuple[list[str], list[int]]] = []
    for i, s in enumerate(strings):
        for basis, members in found:
            if all("I" in (a, b) or a == b for a, b in zip(basis, s, strict=True)):
                basis[:] = [b if a == "I" else a for a, b in zip(basis, s, strict=True)]
                members.append(i)
                break
        else:
            found.append((list(s), [i]))
    return [("".join(basis), members) for basis, members in found]


def measured(circuit: Circuit, what: Measurement, x: torch.Tensor, weights: torch.Tensor, shots: int,
             generator: torch.Generator | None) -> torch.Tensor:  # fmt: skip
    """(batch, outputs): drawn values with the exact expectation's derivative."""
    fits(circuit, x.shape[0], torch.is_grad_enabled() and (x.requires_grad or weights.requires_grad), x, kernel=False)
    psi = statevector.state(circuit, x, weights)
    exact = of_state(what, psi, circuit.qubits)
    with torch.no_grad():
        drawn = from_density_or_state(what, psi.detach(), circuit.qubits, shots, generator)
    return exact + (drawn - exact.detach())


def from_density_or_state(what: Measurement, psi: torch.Tensor, n: int, shots: int, generator: Any) -> torch.Tensor:
    """Means over shots in the state psi (batch, 2^n), or in the density matrix psi (batch, 2^n, 2^n)."""
    if what.kind == "probabilities":
        frequencies = frequency(outcome(psi), shots, generator)
        return of_probabilities(what, frequencies, n)
    if what.kind == "overlaps":  # each by a test of its own: that state or not
        v = torch.tensor(what.vectors, dtype=psi.dtype, device=psi.device)
        inner = torch.einsum("ki,bij,kj->bk", v.conj(), psi, v).real if psi.dim() == 3 else (psi @ v.mH).abs().square()
        yes = inner.clamp(0, 1)
        pairs = torch.stack([yes, 1 - yes], -1).reshape(-1, 2)
        return frequency(pairs, shots, generator)[:, 0].reshape(yes.shape)
    if what.kind == "matrices":
        values = []
        for entries in what.matrices:
            eigenvalues, vectors = torch.linalg.eigh(torch.tensor(entries, dtype=torch.complex128, device=psi.device))
            vectors = vectors.to(psi.dtype)
            values.append(
                frequency(outcome(turned(psi, vectors.mH)), shots, generator) @ eigenvalues.to(psi.real.dtype)
            )
        return torch.stack(values, -1)
    strings = list(dict.fromkeys(s for total in what.sums for s in total.strings))
    means = torch.zeros(psi.shape[0], len(strings), dtype=psi.real.dtype, device=psi.device)
    rows = torch.arange(1 << n, device=psi.device)
    for basis, members in groups(strings):
        frequencies = frequency(outcome(_in_basis(psi, basis, n)), shots, generator)
        for i in members:
            x, z = masks(strings[i])
            means[:, i] = frequencies @ (1.0 - 2.0 * parity(rows & (x | z)).to(frequencies.dtype))
    mixed = means.new_zeros(len(strings), len(what.sums))
    for k, total in enumerate(what.sums):
        for s, c in zip(total.strings, total.coefficients, strict=True):
            mixed[strings.index(s), k] += c
    return means @ mixed


def outcome(psi: torch.Tensor) -> torch.Tensor:
    """Probabilities (batch, 2^n) of basis states, in the state or the density matrix."""
    p = psi.diagonal(dim1=-2, dim2=-1).real if psi.dim() == 3 else psi.real.square() + psi.imag.square()
    return p.clamp_min(0)


def turned(psi: torch.Tensor, unitary: torch.Tensor) -> torch.Tensor:
    """U psi, or U rho U^+."""
    return unitary @ psi @ unitary.mH if psi.dim() == 3 else psi @ unitary.mT


def _in_basis(psi: torch.Tensor, basis: str, n: int) -> torch.Tensor:
    """The state before devices that read Z, where `basis` is to be read."""
    for q, letter in enumerate(basis):
        if letter in "XY":
            u = GATES["h"].matrix()
            if letter == "Y":
                u = u @ GATES["sdg"].matrix()
            u = u.to(psi.device, psi.dtype)
            if psi.dim() == 3:
                d = psi.shape[-1]
                left = statevector.apply(psi.mT.reshape(-1, d), u, (q,), n).reshape(psi.shape).mT
                psi = statevector.apply(left.reshape(-1, d), u.conj(), (q,), n).reshape(psi.shape)
            else:
                psi = statevector.apply(psi, u, (q,), n)
    return psi


def frequency(p: torch.Tensor, shots: int, generator: torch.Generator | None) -> torch.Tensor:
    """How often each outcome came, as a share: (batch, k) probabilities -> (batch, k). Rows with NaN stay NaN."""
    bad = ~torch.isfinite(p).all(-1) | (p.sum(-1) <= 0)
    safe = torch.where(bad[:, None], torch.ones_like(p), p)
    counts = torch.zeros_like(p)
    if not p.shape[0]:
        return counts
    left = shots
    while left:
        now = min(left, max(1, _ONCE // p.shape[0]))
        drawn = torch.multinomial(safe, now, replacement=True, generator=generator)
        counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=p.dtype))
        left -= now
    return torch.where(bad[:, None], torch.full_like(p, float("nan")), counts / shots)
