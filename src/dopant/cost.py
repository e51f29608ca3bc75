"""The ledger: what a network costs. Components add what torch cannot count through a method `cost() -> dict`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .training.lifecycle_calls import call_model


def ledger(model: nn.Module, sample: Any, samples: int) -> dict[str, float]:
    """Costs of one forward pass, per sample where that makes sense.

    sample: inputs of `samples` samples. Keys: parameters, trainable, flops (floating-point operations a sample, one
    multiply-add = 2, as torch counts them, plus what components declare), and the components' own such as qubits,
    circuit_evaluations (a sample).
    """
    found: dict[str, float] = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    probe = copy.deepcopy(model).eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        call_model(probe, sample)
    found["flops"] = counter.get_total_flops() / samples
    for module in model.modules():
        declare = getattr(module, "cost", None)
        if not callable(declare):
            continue
        declared: Any = declare()
        for key, value in declared.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found[key] = found.get(key, 0) + value
    return found
