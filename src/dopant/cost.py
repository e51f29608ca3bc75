"""The ledger: what a network costs. Components add what torch cannot count through `cost() -> dict` and
`flops(batch) -> number`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ._signature import Call
from .streams import default_generators
from .training.lifecycle_calls import call_model

TIERS = ("exact expectation", "finite shots", "noisy", "device")  # of evidence, from what is computed to what is real
LARGEST = ("qubits", "reps", "depth", "shots", "two_qubit_gates_per_state")  # of several circuits; all else adds up


def ledger(model: nn.Module, sample: Any, samples: int, *, batch: int) -> dict[str, Any]:
    """Costs of a network. sample: inputs of `samples` samples, on the CPU as the model is.

    parameters, trainable: counts; a complex number is two. flops: of one forward pass, a sample, as torch counts (a
    multiply-add is two). flops_declared: what components say torch cannot count, forward and backward, a sample of a
    training batch of `batch`, which shares what is made once a step. The
    components' own, such as qubits and circuits_per_sample. tier: of evidence, the most real among the circuits; absent
    without circuits.
    """
    found: dict[str, Any] = {
        "parameters": sum(_numbers(p) for p in model.parameters()),
        "trainable": sum(_numbers(p) for p in model.parameters() if p.requires_grad),
    }
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        call_model(copy.deepcopy(model).eval(), sample)
    found["flops"] = counter.get_total_flops() / samples
    for module in model.modules():
        _add(found, module, batch)
    return found


def forward_flops(module: nn.Module, call: Call, samples: int, *, batch: int) -> float:
    """FLOPs of one forward pass, a sample (a multiply-add is two): counted on a copy in evaluation mode, plus what the
    modules declare of a training batch of `batch`. call: arguments that hold `samples` samples, on the module's device.
    """
    with torch.no_grad(), default_generators(0), FlopCounterMode(display=False) as counter:
        copy.deepcopy(module).eval()(*call.args, **call.kwargs)
    return counter.get_total_flops() / samples + _declared(module, batch) / 3


def step_flops(module: nn.Module, call: Call, samples: int, *, batch: int) -> float:
    """FLOPs of forward and backward of one training step, a sample, as `forward_flops` counts them."""
    trained = copy.deepcopy(module).train()
    with torch.enable_grad(), default_generators(0), FlopCounterMode(display=False) as counter:
        leaves = torch.utils._pytree.tree_leaves(trained(*call.args, **call.kwargs))
        outputs = [t for t in leaves if isinstance(t, torch.Tensor) and t.requires_grad]
        if outputs:
            torch.autograd.backward(outputs, [torch.ones_like(t) for t in outputs])
    return counter.get_total_flops() / samples + _declared(module, batch)


def _declared(module: nn.Module, batch: int) -> float:
    found = [getattr(m, "flops", None) for m in module.modules()]
    return sum(float(str(flops(batch))) for flops in found if callable(flops)) / batch


def _numbers(parameter: nn.Parameter) -> int:
    return parameter.numel() * (2 if parameter.is_complex() else 1)


def _add(found: dict[str, Any], module: nn.Module, batch: int) -> None:
    flops, declare = getattr(module, "flops", None), getattr(module, "cost", None)
    if callable(flops):
        found["flops_declared"] = found.get("flops_declared", 0) + float(str(flops(batch))) / batch
    declared: Any = declare() if callable(declare) else {}
    for key, value in declared.items():
        if key == "tier":
            tier = "exact expectation" if value == "exact" else value
            found["tier"] = max(tier, found.get("tier", tier), key=lambda t: TIERS.index(t) if t in TIERS else -1)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[key] = max(found.get(key, 0), value) if key in LARGEST else found.get(key, 0) + value
