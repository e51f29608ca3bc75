"""What a design leaves to be found in its host: in which slots a component fits, which components fit a slot."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError, DopantError, UnknownName
from ..streams import Streams
from . import plan as planning
from .config import Study

LONGEST = 240  # characters of a reason that is written into the study


def settled(study: Study) -> Study:
    """The study with its design complete: itself, where nothing was left to be found.

    Builds the host once and each swap once (their laws are not asked here). Raises ConfigError where nothing fits, and
    what building the host raises.
    """
    design: Any = study.design
    if not getattr(design, "unsettled", False):
        return study
    from .._slots import measure_all
    from .._swap import attempt
    from ..tasks.build import build_data, build_host, sample_of

    streams = Streams(study.seed, 0)
    description = planning.describe(study, planning.cells(study)[0], 0, study.recipe, {})
    data = build_data(description, streams) if study.data is not None else None
    if data is None and "sample" not in description["task"]:
        raise ConfigError("study.data: name a data set, or give dp.run a `sample` of the host's inputs")
    model = build_host(description["host"], streams, data.facts() if data else {})
    sample = sample_of(description, data)
    before = measure_all(model, sample)
    slots = [name for name, signature in before.items() if name and name == signature.names[0]]
    wanted = getattr(design, "slot", None)
    if wanted is not None and wanted not in before:
        raise UnknownName("slot", wanted, [name for name in before if name])
    tries, why_not = design.tries(slots)
    fits = []
    for slot, spec in tries:
        try:
            found = attempt(model, {slot: spec}, sample, streams, before, laws=False)[1]
        except DopantError as error:
            found = [error]
        if found:
            why_not[slot if wanted is None else spec["component"]] = _short(found)
        else:
            fits.append((slot, spec))
    return study.with_(design=design.settled(fits, why_not))


def _short(errors: list[Any]) -> str:
    text = "; ".join(dict.fromkeys(" ".join(str(error).split()) for error in errors))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
