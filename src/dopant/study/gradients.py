"""How large the gradients of each cell's circuits are at random starts: the rows of `inspect --gradients`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..streams import Streams, default_generators
from . import plan as planning
from .config import Study


@dataclass(frozen=True)
class Gradients:
    """A cell and the probe of one circuit in it, a `dopant.evaluation.gradient_probe.GradientProbe`."""

    cell: str
    probe: Any

    def to_json(self) -> dict[str, Any]:
        return {"cell": self.cell} | self.probe.to_json()


def gradients(study: Study) -> list[Gradients]:
    """One row for each circuit of each cell, the same figures that the trials of the study keep.

    Cost: each cell's network is built once, and a second at most for each circuit that differs from the others.
    """
    from ..evaluation.gradient_probe import gradient_probes
    from ..tasks.build import build_data, build_model
    from .run import check

    study = study.with_(unbuildable=check(study, {})[1])
    streams = Streams(study.seed, 0)
    found: list[Gradients] = []
    data = None
    with default_generators():
        for cell in planning.cells(study):
            if cell.baseline is not None:
                continue
            description = planning.describe(study, cell, 0, planning.recipe_of(study, cell), {})
            if data is None and study.data is not None:
                data = build_data(description, streams)
            model = build_model(description, streams, data)
            found += [Gradients(cell.name, probe) for probe in gradient_probes(model, study.seed, cell.swaps)]
    return found
