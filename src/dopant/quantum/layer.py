"""A circuit as a layer of a network."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from .._precision import no_autocast
from ..errors import ConfigError
from .circuit import Circuit
from .kernel.loading import DTYPES
from .observables import measurement
from .run import Runner, inputs


class CircuitLayer(nn.Module):
    """Measured values of a circuit: (…, features) -> (…, outputs).

    measure: "z" "x" "y" (that Pauli of every qubit), Pauli strings, Hermitian sums {string: coefficient},
        "probabilities", ("probabilities", qubits), ("states", numbers), Hermitian matrices, "state" (complex);
        see `observables.measurement`.
    shots: None gives exact expectations; a number gives means over so many simulated measurements, drawn from
        `generator` or torch's default one at each call, in training and evaluation. Their gradient is that of the exact
        expectation.
    noise: a NoiseModel of `dopant.quantum.noise`: exact density matrices, up to 6 qubits.
    path: "torch"; "kernel" (compiled, CPU), refused where it cannot be; "auto": the kernel where it can be. The two
        round differently. A first call waits while the kernel is compiled, once a machine; after
        `dopant.quantum.kernel.loading.wait(False)` torch answers meanwhile, and repeating to the bit is lost.
    Parameters: weights (circuit.weights,), radians, drawn uniformly from [0, 2 pi).
    Dtype follows the features (float32 or float64; lower precisions are computed in that of the weights). More columns
    than the circuit reads are accepted. NaN among a sample's features gives NaN for that sample.
    Cost: O(batch * 2^n) operations a rotation, three times that backward; memory of one state a sample.
    Raises ConfigError for features that are too few or complex, DoesNotFit before memory is taken that is not there.
    """

    def __init__(
        self,
        circuit: Circuit,
        measure: Any = "z",
        *,
        shots: int | None = None,
        noise: Any = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        path: str = "auto",
    ):
        super().__init__()
        if not isinstance(circuit, Circuit):
            raise ConfigError(f"a CircuitLayer is made of a Circuit, not of {type(circuit).__name__}")
        if dtype is not None and not dtype.is_floating_point:
            raise ConfigError(f"dtype={dtype}: the angles of a circuit are real; take torch.float32 or torch.float64")
        self.circuit, self.shots, self.noise = circuit, shots, noise
        self._least = max(1, circuit.features)  # columns; none at all goes the longer way
        self.measured = measurement(measure, circuit.qubits)
        self.generator = generator if shots is not None else None
        if shots is not None:
            from .shots import check

            check(self.measured, shots)
        if noise is not None:
            from .noise import check as check_noise

            check_noise(circuit, noise, self.measured, shots)
        self.runner = Runner(circuit, self.measured, "torch" if noise is not None or shots is not None else path)
        made = torch.rand(
            circuit.weights, generator=generator, device=generator.device if generator else device, dtype=dtype
        )
        self.weights = nn.Parameter((made * (2 * math.pi)).to(device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self._parameters.get("weights")  # a module's own search for an attribute takes longer
        if weights is None:
            weights = self.weights  # made from others, as pruning and parametrizations do
        usual = (
            type(x) is torch.Tensor
            and (dtype := x.dtype) is weights.dtype
            and dtype in DTYPES
            and len(shape := x.shape) == 2
            and shape[1] >= self._least
        )
        if not usual or torch._C._is_any_autocast_enabled():
            return self._unusual(x)
        return self._evaluated(x, weights)

    def _unusual(self, x: Any) -> torch.Tensor:
        """Other axes, precisions, autocast; what is refused."""
        if torch.is_tensor(x) and _autocast(x.device.type):
            with no_autocast(x.device):
                return self._unusual(x.to(self.weights.dtype) if x.dtype.is_floating_point else x)
        x, shape = inputs(self.circuit, x, self.weights.dtype, "CircuitLayer")
        out = self._evaluated(x, self.weights.to(x.dtype))
        return out.reshape(*shape, out.shape[-1])

    def _evaluated(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        if self.shots is None and self.noise is None:
            return self.runner(x, weights)
        return self._not_exact(x, weights)

    def _not_exact(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        from . import noise, shots

        if self.noise is not None:
            return noise.measured(self.circuit, self.noise, self.measured, x, weights, self.shots, self.generator)
        assert self.shots is not None
        return shots.measured(self.circuit, self.measured, x, weights, self.shots, self.generator)

    def cost(self) -> dict[str, Any]:
        """What the circuit would take on a device, and the tier of evidence of what is computed here."""
        r = self.circuit.resources(measure=self.measured, shots=self.shots)
        gradient = r.evaluations_gradient if self.weights.requires_grad else r.evaluations_feature_gradient
        tier = "noisy" if self.noise is not None else "finite shots" if self.shots is not None else "exact expectation"
        return {
            "qubits": r.qubits,
            "gates": r.gates,
            "two_qubit_gates": r.two_qubit_gates,
            "depth": r.depth,
            "circuits_per_sample": r.evaluations_forward,
            "circuits_per_gradient": gradient,
            "shots": self.shots or 0,
            "tier": tier,
        }

    def flops(self, batch: int) -> dict[str, dict[str, float]]:
        """What the compiled kernel does, which no counter sees; the torch path's work is counted like any other.

        Its kind is that of matrix products: rotations in registers, several to each number that is loaded, and not the
        one operation a number that is bound by memory."""
        if self.runner.plan is None or self.weights.device.type != "cpu" or self.weights.dtype not in DTYPES:
            return {"forward": {"products": 0.0}, "backward": {"products": 0.0}}
        forward = self.runner.plan.flops * batch
        return {"forward": {"products": forward}, "backward": {"products": 3.0 * forward}}

    def extra_repr(self) -> str:
        c = self.circuit
        more = f", shots={self.shots}" if self.shots is not None else ""
        more += f", noise={self.noise}" if self.noise is not None else ""
        return (f"{c.features} features, {self.measured.outputs} outputs, qubits={c.qubits}, gates={len(c)}, "
                f"weights={c.weights}, measure={self.measured.words}{more}")  # fmt: skip


def _autocast(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
