"""What a design leaves to be found in its host: in which slots a component fits, which components fit a slot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ConfigError, DopantError, UnknownName
from ..streams import Streams
from . import plan as planning
from .config import Study, as_named

LONGEST = 240  # characters of a reason that is written into the study


def settled(study: Study, folder: Path | None = None) -> Study:
    """The study with its design complete: itself, where nothing was left to be found.

    folder: of the study, whose lists are taken where it asked the same: components that were registered since do not
    join it. Builds the host once and each swap once and asks its laws. Raises ConfigError where nothing fits, and
    what building the host raises.
    """
    design: Any = study.design
    if not getattr(design, "unsettled", False):
        return study
    found = _found_before(design, folder)
    if found is not None:
        return study.with_(design=found)
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
            found = attempt(model, {slot: spec}, sample, streams, before, laws=True)[1]
        except DopantError as error:
            found = [error]
        if found:
            why_not[slot if wanted is None else spec["component"]] = _short(found)
        else:
            fits.append((slot, spec))
    return study.with_(design=design.settled(fits, why_not))


def _found_before(design: Any, folder: Path | None) -> Any:
    """What the same request found when the study in `folder` began; None where there is none."""
    path = None if folder is None else folder / "study.toml"
    if path is None or not path.is_file():
        return None
    from .results import load_study

    old: Any = load_study(path.parent).design
    known = type(old) is type(design) and bool(old.skipped)  # it was found, and not written by hand
    if not known or as_named(old.host, "host") != as_named(design.host, "host"):
        return None
    return old if old.asked() == design.asked() else None


def _short(errors: list[Any]) -> str:
    text = "; ".join(dict.fromkeys(" ".join(str(error).split()) for error in errors))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
