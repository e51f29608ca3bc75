"""What all arms have alike: equal epochs, equal cost, or an early stop of each arm's own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .search import SUFFIX
from .trial import Trial, canonical

if TYPE_CHECKING:
    from ..designs import Cell
    from ..recipe import Recipe
    from .config import Study


def kind(recipe: Recipe) -> str:
    """ "epochs", "cost" or "early-stop": as declared, else by whether the recipe stops early."""
    return recipe.budget or ("epochs" if recipe.early_stop is None else "early-stop")


def problems(study: Study) -> list[str]:
    """What a budget cannot be had with."""
    recipe = study.recipe
    if recipe.budget == "early-stop" and study.protocol == "published":
        return ["recipe.budget: 'early-stop' watches validation, and protocol = 'published' leaves no validation split"]
    if recipe.budget != "cost":
        return []
    found = []
    if study.task_name != "supervised":
        found.append(f"recipe.budget: 'cost' is of the task 'supervised', not of {study.task_name!r}")
    if recipe.regime == "distil":
        found.append("recipe.budget: 'cost' does not count what distilling takes; take another regime, or budget")
    return found


def allotted(study: Study, cell: Cell, recipe: Recipe) -> Recipe:
    """The cell's recipe with the whole epochs that the reference's FLOPs buy it, rounded down; unchanged under another
    budget, for a baseline, and before costs are known."""
    bought = epochs_bought(study, cell)
    return recipe if bought is None else recipe.model_copy(update={"epochs": max(1, math.floor(bought + 1e-9))})


def epochs_bought(study: Study, cell: Cell) -> float | None:
    """Epochs of this cell that cost what `recipe.epochs` of the reference do: the same items pass in each, so the
    ratio is that of FLOPs a sample. None where there is no such budget."""
    if study.recipe.budget != "cost" or cell.baseline is not None:
        return None
    own, reference = study.step_flops.get(cell.name.removesuffix(SUFFIX)), study.step_flops.get(_reference(study))
    return None if not own or not reference else study.recipe.epochs * reference / own


def _reference(study: Study) -> str:
    return study.design.references()[0]


def measured(study: Study) -> Study:
    """The study with what a training step of each cell costs (FLOPs a sample, see `dopant.cost.ledger`), where its
    budget is "cost".

    Raises ConfigError for cells whose FLOPs cannot be counted whole, and for cells for which the budget buys less than
    an epoch. Cost: building each network, and a few steps of two samples.
    """
    if study.recipe.budget != "cost":
        return study
    from . import plan as planning

    cells = [cell for cell in planning.cells(study) if cell.baseline is None and not cell.drop_in]
    problems, found = [], _count(study, cells)
    for name, (flops, why_not) in found.items():
        if why_not or not flops:
            problems.append(
                f"recipe.budget: the FLOPs of {name!r} cannot be counted ({why_not or 'none were seen'}), so an equal "
                "cost cannot be had; take equal epochs, or declare them (a method `flops`)"
            )
    if problems:
        raise ConfigError(problems)
    study = study.with_(step_flops={name: flops for name, (flops, _) in found.items()})
    for cell in cells:
        bought = epochs_bought(study, cell)
        if bought is not None and bought + 1e-9 < 1:
            times = study.step_flops[cell.name] / study.step_flops[_reference(study)]
            problems.append(
                f"recipe.budget: {cell.name!r} costs {times:.3g} times what {_reference(study)!r} costs, so "
                f"{study.recipe.epochs} epochs of that buy {bought:.2g} of an epoch; take recipe.epochs = "
                f"{math.ceil(times)} or more, or equal epochs"
            )
    if problems:
        raise ConfigError(problems)
    return study


def _count(study: Study, cells: Iterable[Cell]) -> dict[str, tuple[float, str]]:
    """{cell: (FLOPs a sample of a step, why they are not whole)}."""
    from ..cost import ledger
    from ..streams import Streams
    from ..tasks.build import build_data, build_model
    from ..training.regimes import freeze_rest
    from . import plan as planning

    streams, data, known = Streams(study.seed, 0), None, {}
    found = {}
    for cell in cells:
        recipe = planning.recipe_of(study.with_(step_flops={}), cell)
        key = canonical([cell.swaps, recipe.batch])
        if key not in known:
            description = planning.describe(study, cell, 0, recipe, {})
            data = data or build_data(description, streams)
            model = build_model(description, streams, data)
            if "trained_slots" in description:
                freeze_rest(model, description["trained_slots"])
            costs = ledger(model, data.sample(2), 2, batch=recipe.batch)
            known[key] = (float(costs.get("flops_step", 0.0)), str(costs.get("flops_missing", "")))
        found[cell.name] = known[key]
    return found


def shortened(wanted: Iterable[Trial], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Trials that have more epochs than the study now asks of them: they can be continued, not shortened."""
    asked = {t.id: t for t in wanted}
    found: dict[str, None] = {}
    for row in rows:
        trial = asked.get(row["id"])
        if trial is not None and trial.epochs is not None and (row["epochs"] or 0) > trial.epochs:
            found[f"epochs of {row['cell']}: was {row['epochs']}, is now {trial.epochs}; they cannot be shortened"] = (
                None
            )
    return list(found)


def words(study: Study, cells: Iterable[Cell]) -> list[str]:
    """The budget in sentences, with how it was rounded."""
    recipe, budget = study.recipe, kind(study.recipe)
    if budget == "early-stop":
        return [
            f"Budget: each arm stopped by itself, after {recipe.early_stop} epochs without a better validation score, "
            f"at the latest after {recipe.epochs}; the best epoch's weights count (own early stop)."
        ]
    if budget == "epochs":
        return [f"Budget: recipe.epochs = {recipe.epochs} for every arm (equal epochs), whatever a step of it costs."]
    parts = []
    for cell in cells:
        bought = epochs_bought(study, cell)
        if bought is not None and not cell.drop_in:
            parts.append(f"{cell.name} {max(1, math.floor(bought + 1e-9))} (of {bought:.3g})")
    return [
        f"Budget: equal cost. Every arm has the whole epochs that the FLOPs of {recipe.epochs} epochs of "
        f"{_reference(study)!r} buy, rounded down: {', '.join(parts)}. FLOPs are those of training steps, without "
        "evaluation and phases of components before the first epoch; they are no seconds."
    ]
