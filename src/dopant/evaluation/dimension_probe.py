"""The effective dimension of what fills each slot, where it is cheap enough to be told beside every cell's counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from .._signature import as_call
from ..cost import forward_flops
from .effective_dimension import of_slots, outputs_of_slots

SAMPLES, FEWEST = 512, 16  # inputs at which the outputs are differentiated, at most and at least
ENOUGH = 4  # outputs for each parameter, from which on further inputs are left out
WORK = 1e10  # FLOPs that are spent unasked on a slot: about a second of one core


@dataclass(frozen=True)
class DimensionProbe:
    """What fills one slot: its trainable numbers, and the rank of its outputs' Jacobian in them as it starts.

    exact: False for "at least `rank`". samples: training inputs at which it was measured. skipped: why it was not, else
    ""; then rank and exact are None.
    """

    slot: str
    parameters: int
    rank: int | None = None
    exact: bool | None = None
    samples: int = 0
    skipped: str = ""

    def __str__(self) -> str:
        if self.rank is None:
            return f"not measured: {self.skipped}"
        return f"{'' if self.exact else 'at least '}{self.rank:,} of {self.parameters:,}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def dimension_probes(
    model: nn.Module, slots: Iterable[str], inputs: Callable[[int], Any], available: int, *, work: float = WORK
) -> list[DimensionProbe]:
    """One row for each slot (of a group, each of its slots), by `effective_dimension` at as many inputs as give four
    outputs a parameter, from 16 to 512. The model is left untouched.

    inputs: n -> those of the first n samples that train, of `available`. work: FLOPs that may be spent on a slot; where
    the estimate 4 p^3 + 3 p * (forward pass at the inputs), p its trainable numbers, or two forward passes of the whole
    model there, is more, it is not measured, and `skipped` says what it would take. The estimate depends on sizes
    alone, so every machine measures the same.
    Never raises for what cannot be measured. Cost: at most some seconds a slot, mostly far less.
    """
    names = [name for group in slots for name in group.split("+")]
    return [_probe(model, name, inputs, available, work) for name in names]


def _probe(
    model: nn.Module, slot: str, inputs: Callable[[int], Any], available: int, work: float
) -> DimensionProbe:  # fmt: skip
    parameters = 0
    try:
        module = model.get_submodule(slot)
        parameters = sum(p.numel() * (2 if p.is_complex() else 1) for p in module.parameters() if p.requires_grad)
        if not parameters:
            return DimensionProbe(slot, 0, 0, True)
        square = 4.0 * parameters**3
        if square > work:  # before anything is run
            return DimensionProbe(slot, parameters, skipped=_would_take(square, work))
        few = min(2, available)
        calls, outputs = outputs_of_slots(model, [slot], inputs(few))[slot]
        wanted = max(FEWEST, math.ceil(ENOUGH * parameters * few / max(1, outputs)))
        samples = min(SAMPLES, available, wanted)
        each = sum(forward_flops(module, call, few, batch=few) for call in calls)
        whole = forward_flops(model, as_call(inputs(few)), few, batch=few)
        needed = square + 3.0 * parameters * each * samples + 2.0 * whole * samples
        if needed > work:
            return DimensionProbe(slot, parameters, skipped=_would_take(needed, work))
        found = of_slots(model, [slot], inputs(samples))[slot]
        return DimensionProbe(slot, parameters, found.rank, found.exact, samples)
    except Exception as error:  # a trial must not fail because its dimension cannot be told
        told = " ".join(str(error).split())[:200]
        return DimensionProbe(slot, parameters, skipped=f"{type(error).__name__}: {told}")


def _would_take(needed: float, work: float) -> str:
    return f"would take {needed:.1g} FLOPs, and up to {work:.0g} are spent unasked; dopant inspect --dimension does it"


def as_metrics(probes: Iterable[DimensionProbe]) -> dict[str, Any]:
    """What a trial keeps of them: `dimension_FIELD_SLOT`, without what is not known. `of_metrics` is the way back."""
    return {
        f"dimension_{field}_{probe.slot}": value
        for probe in probes
        for field, value in asdict(probe).items()
        if field != "slot" and value is not None and value != ""
    }


def of_metrics(metrics: dict[str, Any]) -> list[DimensionProbe]:
    """The probes in a trial's metrics; none where nothing was swapped, or the trial is of a version without them."""
    found = []
    for key in metrics:
        slot = key.removeprefix("dimension_parameters_")
        if slot != key:
            given = {
                field: metrics[f"dimension_{field}_{slot}"]
                for field in DimensionProbe.__dataclass_fields__
                if metrics.get(f"dimension_{field}_{slot}") is not None
            }
            found.append(DimensionProbe(slot, **given))
    return found
