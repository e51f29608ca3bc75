"""`dopant inspect`: what can be swapped, and by what."""

from __future__ import annotations

from typing import Any

from .. import registry
from .._slots import measure
from ..streams import Streams
from . import plan as planning
from .config import Study


def look(study: Study) -> list[dict[str, Any]]:
    """One row per slot of the study's host: module, shapes without batch, calls, parameters, components that fit, and
    for the others the reason why not."""
    from .._swap import why_not
    from ..tasks.build import build_data, build_host, sample_of

    problems = study.problems()
    if problems:
        from ..errors import ConfigError

        raise ConfigError(problems)
    streams = Streams(study.seed, 0)
    cell = planning.cells(study)[0]
    description = planning.describe(study, cell, 0, study.recipe, {})
    data = build_data(description, streams)
    model = build_host(description["host"], streams, data.facts())
    rows = []
    for name, signature in measure(model, sample_of(description, data)).items():
        if not name:
            continue
        module = model.get_submodule(name)
        reasons = {info.name: why_not(info, module, signature) for info in registry.components}
        same = len(signature.calls) == 1
        rows.append(
            {
                "slot": name, "module": type(module).__name__, "calls": len(signature.calls),
                "inputs": signature.inputs if same else None, "outputs": signature.outputs if same else None,
                "parameters": sum(p.numel() for p in module.parameters()),
                "fits": [n for n, reason in reasons.items() if reason is None],
                "does_not_fit": {n: reason for n, reason in reasons.items() if reason is not None},
            }
        )  # fmt: skip
    return rows
