"""How many directions the parameters of a module have that change what it gives: the rank of a Jacobian."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from .._build import cast
from .._copy import copy_module
from .._signature import Call, as_call
from ..errors import ConfigError
from ..streams import default_generators

TOLERANCE = 1e-9  # of the largest singular value; gates in double precision leave errors of about 1e-13
ENTRIES = 2**26  # of the matrix that is decomposed: 512 MB
SPARE = 8  # combinations of outputs beyond the number of parameters, so that the sketch loses nothing of the rank
FIRST = 32  # combinations tried first


@dataclass(frozen=True)
class EffectiveDimension:
    """rank: of the Jacobian of the outputs in the parameters, at the given inputs and parameter values.

    exact: False where as many directions were found as combinations of outputs were looked at: "at least `rank`".
    parameters: trainable real numbers (a complex one is two). gap: smallest singular value that counts over the largest
    that does not (infinite where none is left out): the further from 1, the less the tolerance decided.
    """

    rank: int
    exact: bool
    parameters: int
    gap: float

    def __str__(self) -> str:
        return f"{'' if self.exact else 'at least '}{self.rank} of {self.parameters} parameters"


def effective_dimension(
    module: nn.Module,
    inputs: Any,
    parameters: Iterable[str] | None = None,
    *,
    most: int = 4096,
    tolerance: float = TOLERANCE,
    generator: torch.Generator | None = None,
) -> EffectiveDimension:
    """The rank of the Jacobian of all outputs at `inputs` in the trainable parameters, in double precision.

    inputs: what the module takes, as for `dp.slots`: a tensor, a tuple of positional arguments or a `dp.Call`; give
    more samples than a rank of the module could need, since outputs that are too few bound it (and `exact` is then
    False). It is a statement about these inputs and these values of the parameters: inputs that span few dimensions
    show few of the module's own, and at special values (all angles zero) it may be smaller than nearby.
    parameters: names of those to look at; all that are trainable unless said.
    tolerance: singular values below this part of the largest count as zero.
    The module is copied, cast to double precision and set to evaluation; the argument is untouched. Where there are
    more outputs than parameters, random combinations of the outputs (drawn from `generator`, else from a fixed seed)
    stand for them: with 8 more than the rank they lose nothing of it, with probability one. Their number doubles from
    32 until some are redundant, up to `most` (less where their gradients would take more than 512 MB); where none is
    by then, the rank is a lower bound and `exact` is False.
    Cost: a backward pass for each combination, and singular values of a matrix of combinations times parameters. To
    bound the time for a large module, give a small `most`.
    Raises ConfigError for unknown parameters and for a module that gives no floats.
    """
    return _measure(module, [as_call(inputs)], parameters, most, tolerance, generator)


def of_slots(
    model: nn.Module, slots: Mapping[str, Any] | Iterable[str], inputs: Any, **options: Any
) -> dict[str, EffectiveDimension]:
    """`effective_dimension` of the module in each slot, at the inputs that reach it when `model` is called on `inputs`.

    slots: names, or swaps by slot, whose groups ("a+b") are measured one by one. A copy of the model runs once, in
    evaluation and double precision; a slot that is called several times has the outputs of all its calls.
    options: as for `effective_dimension`. Raises ConfigError for slots that are not there or not called.
    """
    # in double precision from the start: rounded inputs span dimensions that are only their rounding
    model = cast(copy_module(model), torch.float64).eval()
    seen = _calls(model, slots, inputs)
    modules = dict(model.named_modules(remove_duplicate=False))
    settings = {"parameters": None, "most": 4096, "tolerance": TOLERANCE, "generator": None} | options
    return {name: _measure(modules[name], seen[name], **settings) for name in seen}


def outputs_of_slots(model: nn.Module, slots: Iterable[str], inputs: Any) -> dict[str, tuple[list[Call], int]]:
    """{slot: (its calls when `model` is called on `inputs`, how many real numbers come out of them together)}.

    In evaluation, on a copy, in the model's own precision. Raises ConfigError as `of_slots`.
    """
    model = copy_module(model).eval()
    found = {}
    for name, calls in _calls(model, slots, inputs, double=False).items():
        with torch.no_grad(), default_generators(0):
            found[name] = (calls, len(_flat([model.get_submodule(name)(*c.args, **c.kwargs) for c in calls])))
    return found


def _calls(
    model: nn.Module, slots: Mapping[str, Any] | Iterable[str], inputs: Any, double: bool = True
) -> dict[str, list[Call]]:
    """The arguments of every call of each slot in one run of `model`."""
    names = [name for group in slots for name in group.split("+")]
    modules = dict(model.named_modules(remove_duplicate=False))
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ConfigError([f"slot {name!r} is not in the model" for name in unknown])
    seen: dict[str, list[Call]] = {name: [] for name in names}
    handles = []
    for name in names:

        def keep(module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
            seen[name].append(Call(*args, **kwargs).map(lambda t: t.detach().clone()))

        handles.append(modules[name].register_forward_pre_hook(keep, with_kwargs=True))
    call = Call(**inputs) if isinstance(inputs, Mapping) else as_call(inputs)
    call = call.map(_double) if double else call
    with torch.no_grad(), default_generators(0):
        model(*call.args, **call.kwargs)
    for handle in handles:
        handle.remove()
    silent = [name for name, calls in seen.items() if not calls]
    if silent:
        raise ConfigError([f"slot {name!r} is not called on these inputs" for name in silent])
    return seen


def _measure(
    module: nn.Module,
    calls: list[Call],
    parameters: Iterable[str] | None,
    most: int,
    tolerance: float,
    generator: torch.Generator | None,
) -> EffectiveDimension:
    module = cast(copy_module(module), torch.float64).eval()
    chosen = _chosen(module, parameters)
    count = sum(p.numel() * (2 if p.is_complex() else 1) for p in chosen)
    if not count:
        return EffectiveDimension(0, True, 0, float("inf"))
    with torch.enable_grad(), default_generators(0):
        outputs = _flat([module(*c.args, **c.kwargs) for c in (call.map(_double) for call in calls)])
    if not outputs.requires_grad:
        return EffectiveDimension(0, True, count, float("inf"))
    limit = max(1, min(most, count + SPARE, ENTRIES // count))
    generator = generator or torch.Generator().manual_seed(0)
    whole = len(outputs) <= limit
    rows: list[Tensor] = []
    size = len(outputs) if whole else min(FIRST, limit)
    while True:
        for k in range(len(rows), size):
            weights = torch.zeros_like(outputs)
            if whole:
                weights[k] = 1
            else:
                drawn = torch.randn(len(outputs), generator=generator, dtype=torch.float64, device=generator.device)
                weights.copy_(drawn)
            rows.append(_row(outputs, chosen, weights))
        values = torch.linalg.svdvals(torch.stack(rows))
        rank, gap = _rank(values, tolerance)
        if rank < size or size == limit or whole:
            return EffectiveDimension(rank, rank < size or rank == count, count, gap)
        size = min(2 * size, limit)


def _chosen(module: nn.Module, names: Iterable[str] | None) -> list[nn.Parameter]:
    known = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if names is None:
        return list(known.values())
    names = list(names)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            [f"no trainable parameter {name!r}; there are {', '.join(known) or 'none'}" for name in unknown]
        )
    return [known[name] for name in names]


def _double(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def _flat(outputs: Any) -> Tensor:
    """All numbers that come out, (numbers,): a complex one is two."""
    parts = []
    for leaf in pytree.tree_leaves(outputs):
        if isinstance(leaf, Tensor) and leaf.is_complex():
            parts.append(torch.view_as_real(leaf.resolve_conj()).flatten())
        elif isinstance(leaf, Tensor) and leaf.is_floating_point():
            parts.append(leaf.flatten())
    if not parts:
        raise ConfigError("the module gives no tensor of floats, so it has no Jacobian")
    return torch.cat(parts)


def _row(outputs: Tensor, parameters: list[nn.Parameter], weights: Tensor) -> Tensor:
    """The gradient of one combination of outputs, (parameters,) real."""
    found = torch.autograd.grad(outputs, parameters, weights, retain_graph=True, allow_unused=True)
    parts = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    real = [torch.view_as_real(g.resolve_conj()) if g.is_complex() else g for g in parts]
    return torch.cat([g.flatten() for g in real])


def _rank(values: Tensor, tolerance: float) -> tuple[int, float]:
    """(values above the tolerance, smallest of them over the largest below)."""
    rank = int((values > tolerance * values[0]).sum()) if values[0] > 0 else 0
    dropped = float(values[rank]) if rank < len(values) else 0.0
    return rank, float(values[rank - 1]) / dropped if rank and dropped else float("inf")
