"""`dopant inspect`: what can be swapped, and by what; what each cell costs, and what the whole study will take."""

from __future__ import annotations

from typing import Any

from torch import nn

from .. import registry
from .._slots import Signature, measure, show
from .._swap import slot_problem, why_not
from ..cost import forward_flops
from ..errors import ConfigError, DopantError
from ..evaluation.dimension_probe import WORK
from ..streams import Streams
from . import plan as planning
from .config import Study
from .dimensions import dimensions as dimensions
from .dry import Dry as Dry
from .dry import dry_steps as dry_steps
from .forecast import Forecast as Forecast
from .forecast import forecast as forecast
from .gradients import gradients as gradients
from .settle import settled as settled

UNASKED = WORK  # FLOPs that are spent on an effective dimension that nobody asked for


WORTH_IT, MANY = 40, 60  # trials from which a run is long enough to be foretold; cells above which that takes long


def announced(answer: Any, left: int, workers: int) -> list[str]:
    """How long the trials that are left will take, said before they start; nothing for few of them, or where no step
    can be taken first. Cost: a dry step of each cell."""
    from .report.inspection import forecast_lines

    if left < WORTH_IT:
        return []
    if len(answer.cells) > MANY:
        return ["`dopant inspect` foretells how long that many cells take"]
    try:
        whole = forecast(answer.config, out=answer.folder, workers=workers)
    except DopantError:
        return []
    return [line for line in forecast_lines(whole) if "still to run" in line]


def look(study: Study) -> list[dict[str, Any]]:
    """One row per slot of the study's host, plain values only.

    slot, also: its names. module: its class. calls. inputs, outputs: shapes without batch, None where several.
    signature: of each distinct call {inputs, outputs} in full, with batch axes and dtypes, as text. parameters. flops:
    of the slot's own calls, a sample (None where they cannot be counted). problem: why it cannot be filled at all, or
    None. fits: components; does_not_fit: {component: why not}.
    Cost: each component is built for each kind of slot (same class, settings and signature) and called a few times.
    """
    from ..tasks.build import build_data, build_host, sample_of

    problems = study.problems()
    if problems:
        raise ConfigError(problems)
    streams = Streams(study.seed, 0)
    cell = planning.cells(study)[0]
    description = planning.describe(study, cell, 0, study.recipe, {})
    data = build_data(description, streams)
    model = build_host(description["host"], streams, data.facts())
    rows, answers = [], {}
    for name, signature in measure(model, sample_of(description, data)).items():
        if not name or name != signature.names[0]:
            continue
        module = model.get_submodule(name)
        kind = _kind(module, signature)
        if kind not in answers:
            reasons = {info.name: why_not(info, module, signature) for info in registry.components}
            answers[kind] = (name, reasons, _flops(module, signature, study.recipe.batch))
        first, reasons, flops = answers[kind]
        reasons = {n: reason and reason.replace(f"slot {first!r}", f"slot {name!r}") for n, reason in reasons.items()}
        same = len(signature.distinct) == 1 and not signature.problem
        rows.append(
            {
                "slot": name, "module": type(module).__name__, "calls": len(signature.calls),
                "inputs": signature.inputs if same else None, "outputs": signature.outputs if same else None,
                "parameters": sum(p.numel() for p in module.parameters()),
                "fits": [n for n, reason in reasons.items() if reason is None],
                "does_not_fit": {n: reason for n, reason in reasons.items() if reason is not None},
                "also": list(signature.names[1:]),
                "signature": [
                    {"inputs": show((c.args, c.kwargs) if c.kwargs else _alone(c.args), full=True),
                     "outputs": show(c.outputs, full=True)}
                    for c in signature.distinct
                ],
                "flops": flops, "problem": slot_problem(name, signature),
            }
        )  # fmt: skip
    return rows


def _alone(args: tuple[Any, ...]) -> Any:
    return args[0] if len(args) == 1 else args


def _kind(module: nn.Module, signature: Signature) -> tuple[Any, ...]:
    """What two slots must share to share the answer which components fit: all but their names and weights."""
    shapes = tuple((n, tuple(p.shape), p.dtype) for n, p in module.named_parameters())
    return (
        type(module), repr(module), shapes, repr(signature.calls), signature.problem,
        signature.evaluated > 0, signature.trained > 0,
    )  # fmt: skip


def _flops(module: nn.Module, signature: Signature, batch: int) -> float | None:
    """Of all calls of a slot in one pass, a sample; None where they cannot be counted."""
    try:
        return sum(
            forward_flops(module, lambda n, i=i: signature.example(n, call=i), 2, batch=batch)
            for i in range(len(signature.calls))
        )
    except Exception:
        return None
