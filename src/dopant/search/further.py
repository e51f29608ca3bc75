"""The study beside a study in which a few more combinations are trained: the same recipe, data, replicates and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import pretrained, registry
from ..cost import ledger
from ..designs import Cell, Factorial
from ..errors import ConfigError, DopantError
from ..streams import Streams
from ..study import plan as planning
from ..study.config import Study
from ..study.results import StudyAnswer, load_study
from ..study.search import BEST
from ..study.tuning import space_of as space_of_arm
from .space import Code, Space

FACTOR = "choice"


def further_study(study: Study, space: Space, reference: Code, codes: Sequence[Code], out: Path) -> Study:
    """One factor whose levels are the combinations, the reference first; with what an earlier one in `out` had."""
    levels = {space.swaps(code): space.settings(code) for code in (reference, *codes)}
    if (out / "study.toml").is_file():
        old = load_study(out).design
        if not isinstance(old, Factorial) or list(old.factors) != [FACTOR]:
            raise ConfigError(f"choose: {str(out)!r} is another study; name another folder with --out")
        levels |= {name: dict(settings) for name, settings in old.factors[FACTOR].items() if name not in levels}
        first = next(iter(old.factors[FACTOR]))
        levels = {first: levels[first], **levels}
    tuning = study.tuning
    if tuning is not None:
        tuning = tuning.model_copy(update={"estimands": [BEST], "primary": BEST})
    found = study.with_(
        design=Factorial(study.design.host, {FACTOR: levels}), controls=False, baselines=(), unbuildable={},
        name=out.name, tuning=tuning,
    )  # fmt: skip
    found = _without_strangers(found)
    whole = study.recipe.regime == "freeze" or study.recipe.initial_gain != 1 or (
        tuning is not None and "gain" in (tuning.search or {})
    )  # fmt: skip
    if whole and found.slots() != study.slots():
        raise ConfigError(
            "choose: under this recipe (regime 'freeze', or an initial gain) every cell depends on all slots that the "
            f"design fills, {', '.join(study.slots())}; the best combinations fill only {', '.join(found.slots())}, so "
            "they would be other trials; raise top, or choose among what is trained (train=False, --no-train)"
        )
    return found


def _without_strangers(study: Study) -> Study:
    """The study less the extras that none of its cells is tuned over: of the first study's baselines, and of components
    that the best combinations do without. Draws stay the same: an arm knows them by the dimensions that it has itself
    and by the sampler, which is written down here, since it may have followed from the extras."""
    tuning = study.tuning
    if tuning is None or tuning.search is None:
        return study
    tuned = {d.key for cell in study.design.cells(False) for d in space_of_arm(study, cell)}
    kept = {k: v for k, v in tuning.search.items() if ":" not in k or k in tuned}
    kept |= {"sampler": tuning.sampler} | ({} if tuning.draws is None else {"draws": tuning.draws})
    return study.with_(tuning=tuning.model_copy(update={"search": kept}))


def built(answer: StudyAnswer, space: Space, code: Code) -> dict[str, float] | str:
    """Parameters and qubits of a combination, which is built for it; or why it cannot be built."""
    study = answer.config
    if not registry.tasks.get(study.task_name).networks:
        return {}
    from ..tasks.build import build_data, build_model, sample_of

    swaps, recipe = space.design.filled(space.place(code))
    cell = Cell(space.swaps(code), None, swaps, recipe=recipe)
    description = planning.describe(study, cell, 0, planning.recipe_of(study, cell), {})
    streams = Streams(study.seed, 0)
    try:
        data = build_data(description, streams) if description["data"] is not None else None
        with pretrained.places(answer.folder):
            model = build_model(description, streams, data, None)
    except DopantError as error:
        return str(error)
    sample = sample_of(description, data) if data is None else data.sample(2)
    costs: Mapping[str, Any] = ledger(model, sample, 2, batch=study.recipe.batch)
    return {"parameters": float(costs["parameters"]), "qubits": float(costs.get("qubits", 0))}


def train(
    answer: StudyAnswer, study: Study, out: Path, *, workers: int | None, with_files: Sequence[str | Path],
    progress: Any, command: Sequence[str] | None,
) -> StudyAnswer:  # fmt: skip
    """Run the further study, or go on with it; trials that the first study has finished are copied, not run again."""
    from ..study.files import sums
    from ..study.run import copy_finished, run

    if not (out / "study.toml").is_file():
        copy_finished(answer.folder, out, study, sums(with_files))
    return run(study, out=out, workers=workers, with_files=with_files, progress=progress, command=command)
