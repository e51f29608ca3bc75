"""A parameterised circuit where a linear layer was: one of the usual kinds, or any Circuit.

Source: Mari et al. 2020 (arXiv 1912.08278), "dressed" circuits between linear maps; the circuits' own sources are named
in dopant.quantum.templates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..._precision import as_parameters, no_autocast
from ...errors import ConfigError, SlotMismatch, UnknownName
from ...quantum import Circuit, templates
from ...registry import component
from ._dressed import Start
from .reupload_linear import refuse_linear

Encoding = Literal["angle", "angle-x", "z", "zz", "iqp", "amplitude"]
Ansatz = Literal["strongly-entangling", "basic", "efficient-su2", "real-amplitudes", "su4-brickwall"]
ENCODINGS: dict[str, Callable[..., Circuit]] = {
    "angle": templates.angle_encoding,
    "angle-x": lambda n: templates.angle_encoding(n, "x"),
    "z": lambda n: templates.z_feature_map(n, 1),
    "zz": lambda n: templates.zz_feature_map(n, 1),
    "iqp": templates.iqp_feature_map,
    "amplitude": templates.amplitude_encoding,
}
ANSATZES: dict[str, Callable[[int], Circuit]] = {
    "strongly-entangling": lambda n: templates.strongly_entangling_layers(n, 1),
    "basic": lambda n: templates.basic_entangling_layers(n, 1),
    "efficient-su2": lambda n: templates.efficient_su2(n, 1),
    "real-amplitudes": lambda n: templates.real_amplitudes(n, 1),
    "su4-brickwall": lambda n: templates.su4_brickwall(n, 1),
}
CONTROLS = [
    "frozen", "bottleneck-mlp", "random-features", "linear-residual", "matched-start", "fourier-series", "unentangled",
    "dephased", "input-treatment-only", "bounded-output-only",
]  # fmt: skip


class DressedCircuit(nn.Module):
    """(..., in_features) -> (..., out_features): a linear map to the circuit's features, the circuit, a linear
    map back.

    A map is left out where the widths are equal. measure, shots, noise: see dopant.quantum.CircuitLayer, which holds
    the angles (`circuit.weights`, uniform in [0, 2 pi)).
    Cost: that of the CircuitLayer. Under autocast it computes, and gives its outputs, in the precision of its
    parameters.
    """

    def __init__(self, in_features: int, out_features: int, circuit: Circuit, *, measure: Any = "z",
                 shots: int | None = None,
                 noise: Any = None, bias: bool = True, generator: torch.Generator | None = None,
                 device: torch.device | str | None = None, dtype: torch.dtype | None = None):  # fmt: skip
        super().__init__()
        if measure == "state":
            raise ConfigError("measure='state' gives complex amplitudes; a layer of a network takes "
                              "'z', Pauli strings or "
                              "'probabilities'")  # fmt: skip
        self.in_features, self.out_features = in_features, out_features
        start = Start(generator)
        self.before = start.map(in_features, circuit.features) if circuit.features else _Nothing()
        self.circuit = circuit.layer(measure, shots=shots, noise=noise, generator=generator)
        self.circuit.generator = (
            None  # shots are drawn from torch's default generator at each call, which the caller seeds
        )
        self.after = start.map(self.circuit.measured.outputs, out_features, bias)
        self.to(device=device, dtype=dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] != self.in_features:
            raise ValueError(f"DressedCircuit takes (..., {self.in_features}), not {tuple(x.shape)}")
        x = as_parameters(x, self.circuit.weights)
        with no_autocast(x.device):
            rows = self.before(x.reshape(math.prod(x.shape[:-1]), self.in_features))
            return self.after(self.circuit(rows)).reshape(*x.shape[:-1], self.out_features)


class _Nothing(nn.Module):
    """A circuit that reads no feature gives the same for every sample."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[:, :0]


def built(circuit: Any, qubits: int, layers: int, encoding: str, ansatz: str, reupload: bool,
          width: int | None = None) -> Circuit:  # fmt: skip
    """The circuit that the options mean. width: of the inputs, all of which amplitudes take where there is room.
    ConfigError or UnknownName for what is none."""
    if isinstance(circuit, Circuit):
        return circuit
    if isinstance(circuit, str):
        text = circuit
        if not text.lstrip().startswith(("OPENQASM", "//", "/*")):
            try:
                text = Path(text).read_text()
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"circuit={circuit!r} is neither OpenQASM 3 text nor a file that can be read ({error})"
                ) from None
        return Circuit.from_qasm(text)
    if circuit is not None:
        raise ConfigError(
            f"circuit={circuit!r}: give a dopant.quantum.Circuit, OpenQASM 3 text or the path of its file"
        )
    for kind, name, known in (("encoding", encoding, ENCODINGS), ("ansatz", ansatz, ANSATZES)):
        if name not in known:
            raise UnknownName(kind, str(name), known)
    for name, value, most in (("qubits", qubits, 24), ("layers", layers, 10_000)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ConfigError(f"{name}={value!r}: take a whole number from 1 to {most}")
    block, amplitude = ANSATZES[ansatz](qubits), encoding == "amplitude"
    encode = ENCODINGS[encoding](qubits, **({"features": min(width, 1 << qubits)} if width and amplitude else {}))
    found = encode
    for layer in range(layers):
        if layer and reupload and not amplitude:  # amplitudes are what qubits start with
            found = found.compose(encode)
        found = found.compose(block)
    return found


def _filled(old: nn.Module, signature: Any, name: str, found: Circuit, measure: Any, shots: int | None,
            generator: torch.Generator | None) -> nn.Module:  # fmt: skip
    reason = refuse_linear(old, signature)
    if reason:
        raise SlotMismatch(f"{name!r} cannot fill this slot: {reason}")
    assert isinstance(old, nn.Linear)
    return DressedCircuit(old.in_features, old.out_features, found, measure=measure, shots=shots,
                          bias=old.bias is not None,
                          generator=generator, device=old.weight.device, dtype=old.weight.dtype)  # fmt: skip


@component(
    "circuit",
    fills=refuse_linear,
    controls=CONTROLS,
    examples=({"qubits": 3}, {"qubits": 2, "layers": 1}, {"qubits": 2, "layers": 1, "encoding": "amplitude"}),
)
def circuit(
    old: nn.Module,
    signature: Any,
    *,
    qubits: int = 4,
    layers: int = 2,
    encoding: Encoding = "angle",
    ansatz: Ansatz = "strongly-entangling",
    reupload: bool = True,
    measure: Any = "z",
    circuit: Any = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """A parameterised circuit between linear maps: encoding and ansatz `layers` times, exact expectations.

    Fills Linear; (..., in) -> (..., out). The maps are there where widths differ: in -> features, measured -> out.
    encoding: "angle" (RY), "angle-x" (RX), "z", "zz", "iqp", or "amplitude": up to 2^qubits inputs, divided by their
    norm, are the amplitudes of the start, once, whatever reupload says; no map stands before them where there is room
    for all, and a row of zeros is a ConfigError. ansatz: "strongly-entangling", "basic", "efficient-su2",
    "real-amplitudes", "su4-brickwall". reupload=false encodes once, before the first layer. measure: "z", "x", "y",
    "probabilities", Pauli strings. circuit: any dopant.quantum.Circuit instead (from Python), or OpenQASM 3, as text or
    the path of its file, whose inputs x_0, … are features and w_0, … weights.
    Cost: O(batch * 2^qubits) a rotation. Source: Mari et al. 2020, arXiv 1912.08278.
    Raises SlotMismatch where the slot is no linear layer of real numbers, ConfigError for options that cannot be.
    """
    found = built(circuit, qubits, layers, encoding, ansatz, reupload, getattr(old, "in_features", None))
    return _filled(old, signature, "circuit", found, measure, None, generator)


@component("circuit-shots", fills=refuse_linear, controls=CONTROLS, stochastic_in_eval=True,
           examples=({"qubits": 2, "layers": 1, "shots": 16},))  # fmt: skip
def circuit_shots(
    old: nn.Module,
    signature: Any,
    *,
    shots: int = 1024,
    qubits: int = 4,
    layers: int = 2,
    encoding: Encoding = "angle",
    ansatz: Ansatz = "strongly-entangling",
    reupload: bool = True,
    measure: Any = "z",
    circuit: Any = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """`circuit` with means over `shots` simulated measurements instead of exact expectations, in evaluation too.

    Observables that one setting reads share their shots. The derivative is that of the exact expectation: what is
    simulated is the noise of outputs, not that of gradients taken on a device.
    Everything else, and what is raised, as in `circuit`.
    """
    found = built(circuit, qubits, layers, encoding, ansatz, reupload, getattr(old, "in_features", None))
    return _filled(old, signature, "circuit-shots", found, measure, shots, generator)
