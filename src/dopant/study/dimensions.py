"""How many directions of each component's parameters change what it gives, on the study's own data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..streams import Streams, default_generators
from . import plan as planning
from .config import Study
from .trial import canonical

SAMPLES = 512
STARTS = ("bias_init", "scale_init", "start")  # options that choose where parameters start, not what there is


@dataclass(frozen=True)
class Dimension:
    """The component of one slot as it stands in `cell`: its trainable numbers and the rank of its Jacobian in them.

    exact: False for "at least `rank`". samples: training inputs at which it was measured, which bound it too.
    skipped: why it was not measured; rank is None then.
    """

    slot: str
    component: str
    cell: str
    parameters: int
    rank: int | None
    exact: bool
    samples: int
    skipped: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def dimensions(study: Study, *, most: int = 4096, samples: int = SAMPLES, work: float | None = None) -> list[Dimension]:
    """One row for each component in each slot, at its starting values in the first cell that has it.

    most: directions that are looked for; a larger rank is told as "at least". Cost: a gradient for each, and a
    decomposition of (most, parameters): seconds for 1,000 parameters, a minute for 4,000.
    work: FLOPs that may be spent on a row, as for the trials of a study (`dimension_probes`, which then chooses most
    and samples); what would take more says so.
    Only for the task "supervised"; none for others.
    """
    from ..evaluation.dimension_probe import DimensionProbe, dimension_probes
    from ..evaluation.effective_dimension import of_slots
    from ..tasks.build import build_data, build_model
    from .run import check

    if study.task_name != "supervised" or study.data is None:
        return []
    study = study.with_(unbuildable=check(study, {})[1])
    streams = Streams(study.seed, 0)
    found: list[Dimension] = []
    seen: set[str] = set()
    with default_generators():
        data = None
        for cell in planning.cells(study):
            new = {}
            for slot, spec in cell.swaps.items():
                key = canonical([slot, _shape(spec)])
                if key not in seen:
                    seen.add(key)
                    new[slot] = spec
            if not new:
                continue
            description = planning.describe(study, cell, 0, planning.recipe_of(study, cell), {})
            data = build_data(description, streams) if data is None else data
            model = build_model(description, streams, data)
            count = min(samples, len(data.train))
            if work is not None:
                probes = dimension_probes(model, list(new), data.sample, len(data.train), work=work)
            else:
                measured = of_slots(model, list(new), data.sample(count), most=most)
                probes = [DimensionProbe(n, d.parameters, d.rank, d.exact, count) for n, d in measured.items()]
            for p in probes:
                spec = next(s for group, s in new.items() if p.slot in group.split("+"))
                row = Dimension(
                    p.slot, _called(spec), cell.name, p.parameters, p.rank, bool(p.exact), p.samples, p.skipped
                )
                found.append(row)
    return found


def _called(spec: dict[str, Any]) -> str:
    options = ",".join(f"{k}={v}" for k, v in _shape(spec).items() if k not in ("component", "of", "batch"))
    return spec["component"] + (f":{options}" if options else "")


def _shape(spec: dict[str, Any]) -> dict[str, Any]:
    """A swap without the options that only choose where it starts."""
    return {k: _shape(v) if k == "of" else v for k, v in spec.items() if k not in STARTS}
