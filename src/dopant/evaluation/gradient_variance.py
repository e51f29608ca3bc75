"""How large the gradients of a circuit are at random starts: whether it lies on a barren plateau."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ConfigError
from ..quantum.circuit import Circuit
from ..quantum.observables import Measurement, measurement
from ..quantum.statevector import blocks
from ._starts import as_inputs, drawn, many


@dataclass(frozen=True)
class GradientVariance:
    """variance, mean, error: (outputs, weights), float64: of the derivative of each output by each weight over random
    starts, and the standard error of the variance. starts: how many. haar: (outputs,), what the variance would be
    between 2-designs, see `haar_variance`."""

    variance: torch.Tensor
    mean: torch.Tensor
    error: torch.Tensor
    starts: int
    haar: torch.Tensor

    def __str__(self) -> str:
        v = self.variance
        if not v.numel():
            return "no weights"
        return f"variance of the gradient {float(v.mean()):.3g} (from {float(v.min()):.3g} to {float(v.max()):.3g}) " \
               f"over {self.starts} starts"  # fmt: skip


def gradient_variance(circuit: Circuit, measure: Any, starts: int = 200, generator: torch.Generator | None = None, *,
                      features: torch.Tensor | None = None,
                      dtype: torch.dtype = torch.float64) -> GradientVariance:  # fmt: skip
    """The variance of d<measure>/d weight over weights drawn uniformly from [0, 2 pi).

    measure: as for a layer; "ZI…I" is one observable, "z" one a qubit. features: (f,), one sample for all starts; drawn
    like the weights where None. dtype: of the states; what is drawn and the result are float64 always.
    McClean et al. 2018 (arXiv 1803.11173): where the parts of the circuit before and after a rotation are 2-designs,
    the variance for a Pauli string on n qubits is about 2^-(n+1); a circuit much above that can be trained from a
    random start with few shots.
    Cost: a forward and an `outputs`-fold backward pass of `starts` samples, with the weights as inputs.
    Draws from `generator`, else from torch's default one. Raises ConfigError for fewer than 2 starts and for
    measure="state".
    """
    count = many(starts, "starts", 2)
    layer = as_inputs(circuit).layer(measure=measure, dtype=dtype)
    found = []
    kept = 1 if layer.runner.plan is not None else 2 * len(blocks(circuit)) + 2  # torch keeps what is between blocks
    for rows in drawn(circuit, count, features, generator, kept):
        with torch.enable_grad():
            x = rows.requires_grad_()
            outputs = layer(x.to(dtype))
            if outputs.is_complex():
                raise ConfigError(
                    f"gradient_variance: measure={measure!r} gives complex amplitudes; take real observables"
                )
            parts = [
                torch.autograd.grad(outputs[:, k].sum(), x, retain_graph=True, allow_unused=True)[0]
                if outputs.requires_grad
                else None
                for k in range(outputs.shape[1])
            ]
        parts = [torch.zeros_like(rows) if p is None else p for p in parts]
        found.append(torch.stack(parts, 1)[..., circuit.features :].detach())
    gradients = torch.cat(found)
    mean = gradients.mean(0)
    squares = (gradients - mean).square()
    variance = squares.sum(0) / (count - 1)
    error = (squares - squares.mean(0)).square().mean(0).sqrt() / count**0.5
    return GradientVariance(variance, mean, error, count, haar_variance(measure, circuit.qubits))


def haar_variance(measure: Any, qubits: int) -> torch.Tensor:
    """(outputs,), float64: the variance of the derivative by the angle of a Pauli rotation between two 2-designs.

    d^2 h / (2 (d^2 - 1) (d + 1)) on d = 2^qubits, h = Tr(H^2) / d of the observable H less its mean eigenvalue: 1 for a
    Pauli string, the sum of squared coefficients for a sum, 2^-m - 4^-m for one probability of m qubits.
    McClean et al. 2018 give h = 1. Raises ConfigError for measure="state".
    """
    found: Measurement = measurement(measure, qubits)
    if found.kind == "state":
        raise ConfigError(f"haar_variance: measure={measure!r} gives complex amplitudes; take real observables")
    if found.kind == "probabilities":
        m = len(found.qubits)
        spread = torch.full((found.outputs,), 2.0**-m - 4.0**-m, dtype=torch.float64)
    elif found.kind == "matrices":
        stack = torch.tensor(found.matrices, dtype=torch.complex128)
        centre = torch.diagonal(stack, dim1=1, dim2=2).mean(1)
        spread = stack.abs().square().sum((1, 2)) / stack.shape[1] - centre.abs().square()
    else:
        sums = [zip(s.strings, s.coefficients, strict=True) for s in found.sums]
        spread = torch.tensor([sum(c * c for s, c in terms if set(s) != {"I"}) for terms in sums], dtype=torch.float64)
    d = 2.0**qubits
    return spread * d**2 / (2 * (d**2 - 1) * (d + 1))
