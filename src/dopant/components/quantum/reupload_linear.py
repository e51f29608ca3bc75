"""A linear layer's stand-in: the data as the Hamiltonian of a re-uploading circuit, probabilities as outputs.

Source: Wang, Myers, Hollenberg, Parampalli 2024, arXiv 2409.17583 ("DataReUploadingLinear").
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import nn

from ..._precision import as_parameters
from ...errors import ConfigError, SlotMismatch
from ...quantum.exponential import hermitian_exp
from ...quantum.pauli import pauli_sum
from ...registry import component
from ._draw import normal
from ._general import general_exp
from ._parameters import KINDS, StateLayer, choice_problems, doubled, start
from ._propagate import propagate


def qubits_needed(in_features: int, out_features: int) -> int:
    """The fewest qubits q with 4^q >= in_features and 2^q >= out_features, at least 1."""
    qubits = 1
    while 4**qubits < in_features or 2**qubits < out_features:
        qubits += 1
    return qubits


def qubit_problems(in_features: int, out_features: int, qubits: int | None) -> list[tuple[str, str]]:
    """What is wrong with `qubits`: pairs of what the slot does, and what so few qubits can do."""
    if qubits is None:
        return []
    enough = f"use qubits={qubits_needed(in_features, out_features)} or more"
    if qubits < 1:
        return [(f"gives ({out_features},)", f"with qubits={qubits} is no circuit; {enough}")]
    count = f"{qubits} qubit{'s' * (qubits > 1)}"
    problems = []
    if 2**qubits < out_features:
        problems.append((f"gives ({out_features},)", f"with {count} can give at most {2**qubits} outputs; {enough}"))
    if 4**qubits < in_features:
        problems.append((f"takes ({in_features},)", f"with {count} can take at most {4**qubits} inputs; {enough}"))
    return problems


class ReuploadLinear(StateLayer):
    """Output j = |<j|state>|^2 (+ bias_j), where the data act as a Hamiltonian `reps` times, a free gate after each.

    (..., in_features) -> (..., out_features). The input is zero-padded to 4^q and read row-major as a matrix X of
    side 2^q, H = (X + X^T)/2. From |+>^q, `reps` times: exp(iH/reps), then exp(i sum_k angle_k P_k).

    qubits: q; None is the fewest that hold inputs and outputs.
    parameters: "real" (a circuit) or "complex" (the published code's: not unitary once training has moved the
        imaginary parts, which start at 0; a control named for what it is).
    scale: "none", or "learned": the probabilities are multiplied by exp(log_scale), which starts at `scale_init`.
    bias_init: "normal" (N(0,1), as published) or "zero".
    Parameters: angles (reps, 4^q - 1), Pauli strings in the order of the product I,X,Y,Z without the identity, from
        N(0,1); bias (out_features,); log_scale ().
    Cost: one exponential of side 2^q per sample (a series up to q = 6 where |H|/reps is small, else a real
        eigendecomposition) and 6 reps products with two rows, forward and backward together. On the CPU, chunks of
        samples go over torch.get_num_threads() threads, with the same bits for any number of them.
    Under autocast it computes, and gives its outputs, in the precision of its parameters all the same.
    Raises ConfigError for sizes and options that cannot be, all at once. Inputs that are not finite give NaN.
    """

    bias: nn.Parameter | None
    log_scale: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        qubits: int | None = None,
        reps: int = 10,
        parameters: str = "real",
        scale: str = "none",
        scale_init: float = 30.0,
        bias: bool = True,
        bias_init: str = "normal",
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        problems = [f"ReuploadLinear {tail}" for _, tail in qubit_problems(in_features, out_features, qubits)]
        problems += _option_problems("ReuploadLinear: ", in_features, out_features, reps, scale_init)
        problems += choice_problems(
            "ReuploadLinear",
            (
                ("parameters", parameters, KINDS),
                ("scale", scale, ("none", "learned")),
                ("bias_init", bias_init, ("normal", "zero")),
            ),
        )
        if problems:
            raise ConfigError(problems)
        self.in_features, self.out_features, self.reps, self.parametrisation = (
            in_features,
            out_features,
            reps,
            parameters,
        )
        self.qubits = qubits or qubits_needed(in_features, out_features)
        self.angles = start(normal((reps, 4**self.qubits - 1), generator, device, dtype), parameters)
        # drawn even where it is not used: the angles of all variants then start equal
        drawn = normal((out_features,), generator, device, dtype)
        self.bias = nn.Parameter(drawn if bias_init == "normal" else torch.zeros_like(drawn)) if bias else None
        learned = nn.Parameter(torch.full_like(drawn[0], math.log(scale_init))) if scale == "learned" else None
        self.register_parameter("log_scale", learned)

    def gates(self) -> torch.Tensor:
        """W_r (reps, 2^q, 2^q), complex: unitary with real parameters. Computed in double precision, because angles of
        norm 2^q cost single precision up to four digits; then rounded to the layer's precision, which is that of the
        gradient too."""
        generator = pauli_sum(doubled(self.angles))
        dtype = self.angles.dtype.to_complex()
        return general_exp(1j * generator, dtype) if self.angles.is_complex() else hermitian_exp(generator, dtype)

    def state(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (..., 2^q), complex: the state that is measured."""
        rows = self._measured(self._rows(x))
        return torch.complex(rows[:, 0], rows[:, 1]).reshape(*x.shape[:-1], 2**self.qubits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self._rows(x)
        self._note(lambda: rows.square().sum((1, 2)))
        rows = self._measured(rows)
        outputs = rows[:, :, : self.out_features].square().sum(1).reshape(*x.shape[:-1], self.out_features)
        if self.log_scale is not None:
            outputs = outputs * self.log_scale.exp()
        return outputs if self.bias is None else outputs + self.bias

    def _rows(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (samples, 2, 2^q): real and imaginary part of the state, as rounding left it."""
        if x.shape[-1] != self.in_features:
            raise ValueError(f"ReuploadLinear takes (..., {self.in_features}), not {tuple(x.shape)}")
        x = as_parameters(x, self.angles)
        return propagate(x.reshape(math.prod(x.shape[:-1]), self.in_features), self.gates())

    def _measured(self, rows: torch.Tensor) -> torch.Tensor:
        if self.parametrisation == "complex":
            return rows
        # unitary, so any departure from norm 1 (1e-5 in single precision after ten repetitions) is rounding
        return rows / rows.detach().square().sum((1, 2), keepdim=True).sqrt()

    def extra_repr(self) -> str:
        return (
            f"{self.in_features}, {self.out_features}, qubits={self.qubits}, reps={self.reps}, "
            f"parameters={self.parametrisation}, scale={'none' if self.log_scale is None else 'learned'}, "
            f"bias={self.bias is not None}"
        )

    def cost(self) -> dict[str, Any]:
        """What the circuit would take on a device, and the tier of evidence of these numbers.

        cnots_at_least counts the free gates only (Shende, Markov, Bullock 2004: (4^q - 3q - 1)/4 each); the data gates
        must be compiled anew for each sample and come on top. Complex parameters are no circuit: nothing to count, and
        no tier, which is to say classical.
        """
        if self.parametrisation == "complex":
            return {"unitary": False}
        q = self.qubits
        return {
            "qubits": q,
            "reps": self.reps,
            "circuits_per_sample": 1,
            "data_gates_per_sample": self.reps,
            "cnots_at_least": self.reps * max(0, math.ceil((4**q - 3 * q - 1) / 4)),
            "shots": 0,
            "unitary": True,
            "tier": "exact",
        }


def _option_problems(prefix: str, in_features: int, out_features: int, reps: int, scale_init: float) -> list[str]:
    problems = []
    for label, value in (("in_features", in_features), ("out_features", out_features), ("reps", reps)):
        if value < 1:
            problems.append(f"{prefix}{label} is {value}; expected 1 or more")
    if not scale_init > 0:
        problems.append(f"{prefix}scale_init is {scale_init}; expected a number above 0")
    return problems


def refuse_linear(old: nn.Module, signature: Any = None) -> str | None:
    """Why a layer of vectors cannot fill the slot of `old`, or None if it can."""
    if not isinstance(old, nn.Linear):
        return f"fills Linear, not {type(old).__name__}"
    if old.weight.is_complex():
        return f"dtype {old.weight.dtype}, expected real numbers"
    return None


@component(
    "reupload-linear",
    fills=nn.Linear,
    paper="quantum-creep",
    controls=[
        "frozen",
        "bottleneck-mlp",
        "random-features",
        "linear-residual",
        "symmetrised-linear",
        "born-linear",
        "matched-start",
    ],
)
def reupload_linear(
    old: nn.Module,
    signature: Any,
    *,
    qubits: int | None = None,
    reps: int = 10,
    parameters: Literal["real", "complex"] = "real",
    scale: Literal["none", "learned"] = "none",
    scale_init: float = 30.0,
    bias_init: Literal["normal", "zero"] = "normal",
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Probabilities of a circuit whose Hamiltonian is the input, re-uploaded `reps` times: |<j|state>|^2 + bias.

    Fills Linear; (..., in) -> (..., out). Without `qubits` it takes the fewest q with 4^q >= in and 2^q >= out.
    parameters="complex" is the published torch code's layer, which is no circuit; scale="learned" and bias_init="zero"
    are variants. A slot without bias stays without.
    Cost: one eigendecomposition of side 2^q per sample; reps (4^q - 1) angles.
    Source: Wang et al. 2024, arXiv 2409.17583. Raises SlotMismatch with every reason at once.
    """
    reason = refuse_linear(old, signature)
    if reason:
        raise SlotMismatch(f"'reupload-linear' cannot fill this slot: {reason}")
    assert isinstance(old, nn.Linear)
    names = getattr(signature, "names", ())
    slot = f"slot {names[0]!r}" if names else "the slot"
    problems = [
        f"{slot} {lead} but 'reupload-linear' {tail}"
        for lead, tail in qubit_problems(old.in_features, old.out_features, qubits)
    ]
    if problems:
        raise SlotMismatch(problems)
    return ReuploadLinear(
        old.in_features,
        old.out_features,
        qubits=qubits,
        reps=reps,
        parameters=parameters,
        scale=scale,
        scale_init=scale_init,
        bias=old.bias is not None,
        bias_init=bias_init,
        generator=generator,
        device=old.weight.device,
        dtype=old.weight.dtype,
    )
