"""How much of the space of states a circuit reaches, and how entangled the states are that it makes.

Sim, Johnson and Aspuru-Guzik 2019 (arXiv 1905.10876).
"""

from __future__ import annotations

import torch

from ..errors import ConfigError
from ..quantum.circuit import Circuit
from ._starts import as_inputs, drawn, many


def expressibility(circuit: Circuit, pairs: int = 5000, bins: int = 75, generator: torch.Generator | None = None, *,
                   features: torch.Tensor | None = None) -> float:  # fmt: skip
    """The divergence KL(circuit || Haar), nats, of the fidelities of pairs of states at random weights; 0 is best.

    Fidelities fall into `bins` equal bins of [0, 1]; those of Haar-random states on dimension d = 2^n have the
    probabilities (1 - a)^(d-1) - (1 - b)^(d-1). A circuit that gives one state only has (d - 1) ln(bins), the most
    there is. Weights, and features where none are given as (f,), are uniform in [0, 2 pi). Estimated from counts it is
    too large by about (occupied bins - 1) / (2 pairs); it can only be compared at equal pairs and bins.
    Cost: 2 * pairs states of 2^n amplitudes. Draws from `generator`, else from torch's default one.
    Raises ConfigError for no pairs or fewer than 2 bins.
    """
    count, width = many(pairs, "pairs", 1), many(bins, "bins", 2)
    found = []
    c = as_inputs(circuit)
    for a, b in zip(*(drawn(circuit, count, features, generator) for _ in range(2)), strict=True):
        with torch.no_grad():
            found.append((c.state(a).conj() * c.state(b)).sum(-1).abs().square())
    places = (torch.cat(found) * width).long().clamp(0, width - 1)  # a fidelity of 1 is in the last bin
    share = torch.bincount(places, minlength=width).double() / count
    kept = share > 0
    return float((share[kept] * (share[kept].log() - _haar(width, 1 << circuit.qubits)[kept]).to(share.dtype)).sum())


def _haar(bins: int, d: int) -> torch.Tensor:
    """Logarithms of the probabilities of the bins: they themselves are too small for floats from d = 256 on."""
    edges = torch.arange(bins, dtype=torch.float64) / bins
    below = (d - 1) * torch.log1p(-edges)
    ratio = (1 - edges - 1 / bins).clamp(min=0) / (1 - edges)
    return below + torch.log1p(-(ratio ** (d - 1)))


def entangling_capability(circuit: Circuit, starts: int = 1000, generator: torch.Generator | None = None, *,
                          features: torch.Tensor | None = None) -> float:  # fmt: skip
    """The mean Meyer-Wallach entanglement of the states at random weights: 0 for products, 1 at most.

    Weights, and features where none are given as (f,), are uniform in [0, 2 pi). Haar-random states on dimension
    d = 2^n have (d - 2)/(d + 1). Cost: `starts` states. Draws from `generator`, else from torch's default one.
    Raises ConfigError for no starts.
    """
    total, c = 0.0, as_inputs(circuit)
    for rows in drawn(circuit, many(starts, "starts", 1), features, generator):
        with torch.no_grad():
            total += float(meyer_wallach(c.state(rows)).sum())
    return total / starts


def meyer_wallach(state: torch.Tensor) -> torch.Tensor:
    """2 (1 - mean over qubits of Tr rho_q^2), rho_q the state of qubit q alone: (…, 2^n) complex -> (…) real.

    Meyer and Wallach 2002 (quant-ph/0108104) in the form of Brennen 2003 (quant-ph/0305094). Differentiable.
    Raises ConfigError for a last axis that is no power of two from 2 on.
    """
    d = state.shape[-1] if state.dim() else 0
    if d < 2 or d & (d - 1):
        raise ConfigError(
            f"meyer_wallach: a state has 2, 4, 8, … amplitudes on its last axis, not shape {tuple(state.shape)}"
        )
    n = d.bit_length() - 1
    purity = torch.zeros(state.shape[:-1], dtype=state.abs().dtype, device=state.device)
    for q in range(n):
        parts = state.reshape(*state.shape[:-1], 1 << q, 2, -1).transpose(-3, -2).flatten(-2)
        rho = parts @ parts.mH
        purity = purity + rho.abs().square().sum((-2, -1))
    return 2 * (1 - purity / n)
