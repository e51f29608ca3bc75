"""The ledger: what a network costs. Counted where torch does the work (see `dopant.flops`), declared where it does not.

A module that works outside of torch (NumPy, SciPy, Numba, custom operations) declares that work, and only that:

    def flops(self, batch): ...      # FLOPs of forward and backward of one training batch
    def cost(self): ...              # further costs of its own, such as {"qubits": 4, "tier": "exact"}

`flops` returns a number (a third of it is then the forward's) or {"forward": …, "backward": …}; each of these is a
number, or {kind: number} with the KINDS of work, which lets the law `work` judge it at that kind's speed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ._copy import copy_module
from ._signature import Call, as_call
from ._slots import plain_attention, resize
from .errors import ConfigError, nearest
from .flops import Counter
from .streams import default_generators
from .training.lifecycle_calls import extra_losses

TIERS = ("exact expectation", "finite shots", "noisy", "device")  # of evidence, from what is computed to what is real
LARGEST = ("qubits", "reps", "depth", "shots", "two_qubit_gates_per_state")  # of several circuits; all else adds up
KINDS = {
    "products": "dense matrix products",
    "decompositions": "eigenvalues, factors and solutions of dense matrices",
    "elementwise": "additions and products of arrays, entry by entry",
    "functions": "sin, exp and the like of arrays",
    "interpreted": "arithmetic of Python itself, one number at a time",
}
ANY = "compiled"  # what a bare number declares: any kind but interpreted

Calls = Call | Callable[[int], Call]


def ledger(model: nn.Module, sample: Any, samples: int, *, batch: int) -> dict[str, Any]:
    """Costs of a network. sample: inputs of `samples` samples, the sample as first axis. The model is left untouched.

    parameters, trainable: counts; a complex number is two.
    flops: FLOPs of one forward pass, a sample of a batch of `batch`, which shares what is made once a pass;
        a multiply-add is two, of complex numbers eight. Element-wise work counts nothing.
    flops_step: of forward and backward of one step of back-propagation, likewise. Where one rises with the samples
        more than linearly, the share of `samples` samples is given.
    flops_declared: the part of flops_step that modules declare; absent where none does.
    flops_missing: why one of these is absent or too small, in words; absent where nothing is missing.
    The components' own, such as qubits and circuits_per_sample. tier: of evidence, the most real among the circuits;
    absent without circuits.
    Cost: a copy of the model, three forward passes and two steps, at `samples` samples and at twice as many.
    """
    found: dict[str, Any] = {
        "parameters": sum(_numbers(p) for p in model.parameters()),
        "trainable": sum(_numbers(p) for p in model.parameters() if p.requires_grad),
    }
    missing: list[str] = []
    call = Call(**sample) if isinstance(sample, Mapping) else as_call(sample)
    try:
        forward, backward = (sum(part.values()) / batch for part in declared(model, batch).values())
    except Exception as error:  # a trial must not fail because its cost cannot be told
        missing.append(f"what is declared cannot be used: {error}")
        forward = backward = 0.0
    unseen: set[str] = set()
    for key, count, extra in (("flops", run_once, forward), ("flops_step", train_once, forward + backward)):
        try:
            counted, own = _count(model, count, call, samples, batch)
        except Exception as error:
            missing.append(f"{key} cannot be counted: {type(error).__name__}: {error}")
            continue
        found[key] = counted + extra
        unseen |= own
    if forward + backward:
        found["flops_declared"] = forward + backward
    elif unseen:
        missing.append(f"operations that are not torch's, and are not declared: {', '.join(sorted(unseen))}")
    for module in model.modules():
        _add(found, module)
    return found | ({"flops_missing": "; ".join(missing)} if missing else {})


def forward_flops(module: nn.Module, call: Calls, samples: int, *, batch: int) -> float:
    """FLOPs of one forward pass in evaluation mode, a sample of a batch of `batch`: counted on a copy, plus declared.

    call: arguments that hold `samples` samples, the sample as first axis, or a function that gives those of any number
        of samples (such as `Signature.example`), for slots where it is elsewhere.
    Raises what the module raises, and ConfigError for a declaration that cannot be read.
    """
    extra = sum(declared(module, batch)["forward"].values())
    return _count(module, run_once, call, samples, batch)[0] + extra / batch


def step_flops(module: nn.Module, call: Calls, samples: int, *, batch: int, input_gradients: bool = False) -> float:
    """FLOPs of forward and backward of one training step, a sample of a batch of `batch`; see `forward_flops`.

    input_gradients: whether the backward goes on to the inputs, as in the middle of a network.
    """

    def count(copied: nn.Module, arguments: Call) -> None:
        train_once(copied, arguments, input_gradients)  # not `train_once` itself, so that it is warmed up

    extra = sum(sum(part.values()) for part in declared(module, batch).values())
    return _count(module, count, call, samples, batch)[0] + extra / batch


def declared(module: nn.Module, batch: int) -> dict[str, dict[str, float]]:
    """{"forward": {kind: FLOPs}, "backward": {kind: FLOPs}} of a training batch, by all modules in it together.

    Methods named `flops` that do not take one argument are other people's, and passed over. Raises ConfigError with
    all that is wrong.
    """
    found: dict[str, dict[str, float]] = {"forward": {}, "backward": {}}
    problems: list[str] = []
    for module_ in module.modules():
        method = getattr(module_, "flops", None)
        if not callable(method) or not _takes_one(method):
            continue
        given: Any = method(batch)
        parts = given if isinstance(given, Mapping) else {"forward": given, "backward": given}
        shares = (
            {"forward": 1.0, "backward": 1.0} if isinstance(given, Mapping) else {"forward": 1 / 3, "backward": 2 / 3}
        )
        where = f"{type(module_).__name__}.flops"
        for part, value in parts.items():
            if part not in found:
                problems.append(f"{where} returns {part!r}; expected a number or 'forward' and 'backward'")
                continue
            for kind, number in (value if isinstance(value, Mapping) else {ANY: value}).items():
                wrong = _wrong(kind, number)
                if wrong:
                    problems.append(f"{where}: {wrong}")
                    continue
                found[part][kind] = found[part].get(kind, 0.0) + float(number) * shares[part]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return found


def _wrong(kind: str, number: Any) -> str | None:
    if kind != ANY and kind not in KINDS:
        near = nearest(kind, KINDS)
        return f"unknown kind of work {kind!r}; " + (
            f"did you mean {near[0]!r}?" if near else f"known: {', '.join(KINDS)}"
        )
    try:
        value = float(number)
    except (TypeError, ValueError):
        return f"{number!r} is no number"
    return None if 0 <= value < math.inf else f"{number!r} is no number of FLOPs"


def _takes_one(method: Callable) -> bool:
    try:
        inspect.signature(method).bind(1)
    except (TypeError, ValueError):
        return False
    return True


def _count(
    module: nn.Module, run: Callable[[nn.Module, Call], None], call: Calls, samples: int, batch: int
) -> tuple[float, set[str]]:
    """(FLOPs a sample of a batch of `batch`, operations that were not counted) of `run(copy of module, arguments)`.

    What is made once a call, whatever the batch, shows in two batch sizes. `train_once` follows a `run_once`.
    """
    copied = copy_module(module)
    device = next((t.device for t in [*copied.parameters(), *copied.buffers()]), torch.device("cpu"))

    def counted(arguments: Call) -> Counter:
        arguments = arguments.map(lambda t: t.detach().to(device))
        with default_generators(0), plain_attention(), Counter() as counter:
            run(copied, arguments)
        return counter

    def arguments(size: int) -> Call:
        if not isinstance(call, Call):
            return call(size)
        first = next(t for t in call.tensors() if t.ndim)
        return call if size == samples else resize(call, first.shape[0] * size // samples)

    try:
        small = counted(arguments(samples))
    except Exception:
        if not any(p.dtype in (torch.float16, torch.bfloat16) for p in copied.parameters()):
            raise
        copied.float()  # what half precision cannot do here, single precision can, at the same count
        halves, given = (torch.float16, torch.bfloat16), arguments
        arguments = lambda size: given(size).map(lambda t: t.float() if t.dtype in halves else t)  # noqa: E731
        small = counted(arguments(samples))
    if run is not train_once:  # tables that are made at the first call and kept are no cost of a pass
        small = counted(arguments(samples))
    if batch == samples:
        return small.total / samples, small.unseen
    try:
        large = counted(arguments(2 * samples))
    except Exception:
        return small.total / samples, small.unseen
    once = 2 * small.total - large.total
    if once < 0:  # samples that meet each other: there is no count of one
        return small.total / samples, small.unseen
    return (small.total - once) / samples + once / batch, small.unseen


def run_once(module: nn.Module, call: Call) -> None:
    with torch.no_grad():
        module.eval()(*call.args, **call.kwargs)


def train_once(module: nn.Module, call: Call, input_gradients: bool = False) -> None:
    """Forward and backward in training mode: of the outputs, and of the losses that the modules add."""
    if input_gradients:
        # copies: what comes from another module may be changed in place, a leaf may not
        call = call.map(lambda t: t.requires_grad_().clone() if t.is_floating_point() or t.is_complex() else t)
    with torch.enable_grad():
        outputs = module.train()(*call.args, **call.kwargs)
        leaves = [*pytree.tree_leaves(outputs), *extra_losses(module).values()]
        tensors = [t for t in leaves if isinstance(t, Tensor) and t.requires_grad]
        if tensors:
            torch.autograd.backward(tensors, [torch.ones_like(t) for t in tensors])
    for parameter in module.parameters():
        parameter.grad = None


def _numbers(parameter: nn.Parameter) -> int:
    return parameter.numel() * (2 if parameter.is_complex() else 1)


def own_costs(module: nn.Module) -> dict[str, Any]:
    """What the modules in `module` say of themselves by `cost()`, such as qubits and tier, as the ledger adds it up."""
    found: dict[str, Any] = {}
    for inner in module.modules():
        _add(found, inner)
    return found


def _add(found: dict[str, Any], module: nn.Module) -> None:
    declare = getattr(module, "cost", None)
    given: Any = declare() if callable(declare) else {}
    for key, value in given.items():
        if key == "tier":
            tier = "exact expectation" if value == "exact" else value
            found["tier"] = max(tier, found.get("tier", tier), key=lambda t: TIERS.index(t) if t in TIERS else -1)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[key] = max(found.get(key, 0), value) if key in LARGEST else found.get(key, 0) + value
