"""How large the gradients of every circuit in a network are at random starts, cheaply enough for each trial.

Source: McClean et al. 2018 (arXiv 1803.11173), barren plateaus; see `gradient_variance`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ..errors import DopantError
from ..quantum.circuit import Circuit
from ..quantum.kernel import loading
from ..quantum.layer import CircuitLayer
from ..quantum.observables import Measurement
from ..streams import Streams, default_generators
from .gradient_variance import gradient_variance

STARTS, FEWEST = 512, 64  # random starts, and with how few a variance is still told
MOST_QUBITS = 12
WORK = {True: 2**30, False: 2**25}  # starts * outputs * gates * 2^qubits: a second of the compiled kernel, and of torch
IDLE = 1e-10  # variance below which a weight moves no output; single precision leaves about 1e-13


@dataclass(frozen=True)
class GradientProbe:
    """The circuit in one slot at random starts.

    slot: the slot, or the module's own name where the slot holds several circuits or the host brings them.
    weights: angles that are trained; idle: those of them that move no output. variance: of the derivative of an output
    by a weight, mean over outputs and the weights that are not idle; lowest, highest: of one weight, mean over outputs.
    haar: mean over outputs of `haar_variance`. starts: how many random starts. seed: of the study.
    skipped: why there is no figure, else "". Figures are None where skipped or where every weight is idle.
    """

    slot: str
    qubits: int
    weights: int
    seed: int
    starts: int = 0
    idle: int | None = None
    variance: float | None = None
    lowest: float | None = None
    highest: float | None = None
    haar: float | None = None
    skipped: str = ""

    @property
    def ratio(self) -> float | None:
        """The variance over its value between 2-designs; None where either is not known."""
        return self.variance / self.haar if self.variance is not None and self.haar else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}


def gradient_probes(model: nn.Module, seed: int = 0, slots: Iterable[str] = ()) -> list[GradientProbe]:
    """One row for each `CircuitLayer` of `model`, whatever holds it. The model is left untouched.

    seed: of a study; starts and features are drawn, uniformly in [0, 2 pi), from its stream "gradients", so that the
    same circuit has the same figures in every cell and replicate. slots: names by which the rows are called.
    The circuit is taken by itself: exact expectations without shots and noise, features drawn and not those that the
    network would give it, weights drawn and not those that are there.
    Cost: at most about a second a circuit (20 ms for six qubits): fewer starts where 512 would take longer, which is
    sooner where the compiled kernel cannot help; none above 12 qubits, or where 64 would take longer. What was computed
    is kept for the process.
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, CircuitLayer)}
    names = [name for group in slots for name in group.split("+")]
    found = []
    for path, layer in layers.items():
        slot = max((s for s in names if _within(path, s)), key=len, default=None)
        alone = slot is not None and sum(_within(other, slot) for other in layers) == 1
        known = layer.weights.dtype if layer.weights.dtype in (torch.float32, torch.float64) else torch.float32
        compiled = loading.refused() is None and not any(gate.dense for gate in layer.circuit)
        figures = _figures(layer.circuit, layer.measured, seed, known, compiled)
        called = slot if alone and slot is not None else path
        found.append(GradientProbe(called, layer.circuit.qubits, layer.circuit.weights, seed, **figures))
    return found


def as_metrics(probes: Iterable[GradientProbe]) -> dict[str, float | str]:
    """What a trial keeps of them: `gradient_FIELD_SLOT`, without what is not known. `of_metrics` is the way back."""
    return {
        f"gradient_{field}_{probe.slot}": value
        for probe in probes
        for field, value in asdict(probe).items()
        if field != "slot" and value is not None and value != ""
    }


def of_metrics(metrics: dict[str, Any]) -> list[GradientProbe]:
    """The probes in a trial's metrics; none where there was no circuit, or the trial is of a version without them."""
    found = []
    for key in metrics:
        slot = key.removeprefix("gradient_qubits_")
        if slot == key:
            continue
        given = {
            field: metrics[f"gradient_{field}_{slot}"]
            for field in GradientProbe.__dataclass_fields__
            if metrics.get(f"gradient_{field}_{slot}") is not None
        }
        if {"qubits", "weights", "seed"} <= set(given):
            found.append(GradientProbe(slot, **given))
    return found


def _within(path: str, slot: str) -> bool:
    return path == slot or path.startswith(slot + ".")


@functools.lru_cache(maxsize=256)
def _figures(circuit: Circuit, measured: Measurement, seed: int, dtype: torch.dtype, compiled: bool) -> dict[str, Any]:
    """The fields of a probe that are measured; never raises for a circuit that cannot be probed."""
    if not circuit.weights:
        return {"skipped": "it has no weights"}
    if circuit.qubits > MOST_QUBITS:
        return {"skipped": f"{circuit.qubits} qubits; up to {MOST_QUBITS} are looked at"}
    starts = min(STARTS, WORK[compiled] // (measured.outputs * len(circuit) << circuit.qubits))
    if starts < FEWEST:
        return {"skipped": f"{measured.outputs} outputs of {len(circuit)} gates on {circuit.qubits} qubits take long"}
    try:
        with default_generators():
            got = gradient_variance(circuit, measured, starts, Streams(seed, 0).generator("gradients"), dtype=dtype)
    except (DopantError, RuntimeError) as error:
        return {"skipped": " ".join(str(error).split())[:200]}
    moving = got.variance.amax(0) > IDLE
    haar = float(got.haar.mean())
    if not bool(moving.any()):
        return {"starts": starts, "idle": circuit.weights, "haar": haar}
    by_weight = got.variance[:, moving].mean(0)
    return {
        "starts": starts, "idle": int((~moving).sum()), "variance": float(by_weight.mean()),
        "lowest": float(by_weight.min()), "highest": float(by_weight.max()), "haar": haar,
    }  # fmt: skip
