"""What each arm is tuned over, with which candidates, and what it has been drawn so far: pure functions of the study
and of the store's rows.

Draws are kept in the store, beside the trials that they ask for (`extra["draws"]`): what is there is never drawn again,
so a resumed study, another version of Optuna, or a page opened without it see the same draws.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import registry
from ..designs import Cell, Factorial
from ..errors import hint, nearest
from . import draws
from .config import Study, as_named
from .search import BASELINE, BEST, DROP_IN, SHARED, SUFFIX, Dimension, Tuning, dimensions_of, schedule_changes
from .search import problems as table_problems
from .trial import canonical, identify

Params = dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """What the store knows of one draw of an arm. scores: by tuning replicate, of those that are finished."""

    params: Params
    scores: dict[int, float] = field(default_factory=dict)


def space_of(study: Study, cell: Cell) -> tuple[Dimension, ...]:
    """What the cell is tuned over; empty where it is not tuned.

    Every network: the shared space, less what its own factors set. Extras only where the component has the option (a
    control, where it has none of that name: the option of the component that it stands in for). A baseline: the
    `search` of its registered factory ({option: list or range}) and what the study declares for it, less the options
    that the study gives.
    """
    if study.tuning is None or cell.drop_in:
        return ()
    dimensions = study.tuning.dimensions()
    if cell.baseline is not None:
        return _space_of_baseline(study.tuning, cell.baseline, dimensions)
    found = []
    for dimension in dimensions:
        if dimension.key in SHARED:
            key = "initial_gain" if dimension.key == "gain" else dimension.key
            if key not in cell.recipe:
                found.append(dimension)
        elif _place(cell, dimension.key) is not None:
            found.append(dimension)
    # An arm whose design sets the learning rate is tuned by nothing but it, where nothing else is searched for all.
    return tuple(found) if any(d.key in SHARED for d in found) else ()


def _space_of_baseline(tuning: Tuning, spec: Mapping[str, Any], declared: Sequence[Dimension]) -> tuple[Dimension, ...]:
    if tuning.sampler == "grid":
        return ()
    prefix = f"{BASELINE}{spec['name']}:"
    own: Any = {}
    if spec["name"] in registry.baselines:
        own = getattr(registry.baselines.get(spec["name"]), "search", None) or {}
    found = {d.key: d for d in dimensions_of({prefix + option: value for option, value in own.items()})}
    found |= {d.key: d for d in declared if d.key.startswith(prefix)}
    return tuple(d for key, d in found.items() if key.removeprefix(prefix) not in spec)


def _place(cell: Cell, key: str) -> tuple[str, bool] | None:
    """(slot, whether the option is of the component that a control stands in for) of "slot:option"; None without."""
    slot, _, option = key.rpartition(":")
    spec = cell.swaps.get(slot)
    if spec is None or key.startswith(BASELINE):
        return None
    if _has_option(spec["component"], option):
        return slot, False
    of = spec.get("of")
    return (slot, True) if of is not None and _has_option(of["component"], option) else None


def _has_option(component: str, option: str) -> bool:
    return component in registry.components and option in {o.name for o in registry.components.get(component).options}


def settled(study: Study, cell: Cell, params: Mapping[str, Any]) -> tuple[Cell, dict[str, Any]]:
    """(the cell with the drawn options, what the draw changes in its recipe)."""
    swaps = {slot: dict(spec) for slot, spec in cell.swaps.items()}
    recipe: dict[str, Any] = {}
    baseline = None if cell.baseline is None else dict(cell.baseline)
    for key, value in params.items():
        if key == "schedule":
            recipe |= schedule_changes(value, study.recipe)
        elif key in SHARED:
            recipe["initial_gain" if key == "gain" else key] = value
        elif baseline is not None:
            baseline[key.rpartition(":")[2]] = value
        else:
            place = _place(cell, key)
            assert place is not None, key
            slot, inner = place
            target = swaps[slot] if not inner else dict(swaps[slot]["of"])
            target[key.rpartition(":")[2]] = value
            if inner:
                swaps[slot]["of"] = target
    return replace(cell, swaps=swaps, baseline=baseline), recipe


def arm_of(study: Study, cell: Cell) -> str:
    """What an arm's draws are known by: its network, its own recipe, its space and the sampler. Not its name, and not
    how many draws there are, so that both may change."""
    assert study.tuning is not None
    space = [dimension.to_json() for dimension in space_of(study, cell)]
    return identify({"arm": [cell.swaps, cell.recipe, cell.baseline, study.tuning.sampler, space]})


def drawn(rows: Iterable[Mapping[str, Any]], metric: str, higher_is_better: bool) -> dict[str, dict[int, Drawn]]:
    """{arm: {number: what the store knows of that draw}} of the store's rows."""
    found: dict[str, dict[int, Drawn]] = {}
    for row in rows:
        for arm, number, params in (row.get("extra") or {}).get("draws", ()):
            known = found.setdefault(arm, {}).setdefault(number, Drawn(params))
            if row["state"] in ("done", "failed"):
                known.scores[row["replicate"]] = score(row, metric, higher_is_better)
    return found


def score(row: Mapping[str, Any], metric: str, higher_is_better: bool) -> float:
    """What a finished tuning trial scores, larger is better; one that failed the worst there is."""
    value = (row["metrics"] or {}).get(f"validation_{metric}") if row["state"] == "done" else None
    if value is None or not math.isfinite(value):
        return -math.inf
    return value if higher_is_better else -value


def candidates(
    study: Study, cell: Cell, known: Mapping[str, Mapping[int, Drawn]], *, all_of_them: bool = False
) -> list[Params]:
    """The draws of an arm that can be named by now, in order; of a grid every combination, the first list slowest.

    known: what `drawn` found. all_of_them: those that wait for results too, as random draws (for a forecast).
    Raises ConfigError where one must be drawn and Optuna is not installed.
    """
    tuning, space = study.tuning, space_of(study, cell)
    if tuning is None or not space:
        return []
    if tuning.draws is None:
        keys = [dimension.key for dimension in space]
        return [dict(zip(keys, v, strict=True)) for v in itertools.product(*(d.choices for d in space))]
    arm = arm_of(study, cell)
    mine, found = known.get(arm, {}), []
    for number in range(tuning.draws):
        if number in mine:
            found.append(mine[number].params)
            continue
        told = _told(tuning, number, found, mine)
        if told is None and not all_of_them:
            break
        sampler = "random" if told is None else tuning.sampler
        found.append(draws.draw(space, sampler, study.seed, arm, number, told or ()))
    return found


def _told(
    tuning: Tuning, number: int, before: Sequence[Params], known: Mapping[int, Drawn]
) -> list[tuple[Params, float | None]] | None:
    """What a draw is made upon: the earlier ones with their scores (None for those of its own batch); None where some
    of these are missing yet."""
    if tuning.sampler != "tpe" or number < draws.STARTUP:
        return []
    first = number - (number - draws.STARTUP) % draws.BATCH
    told: list[tuple[Params, float | None]] = []
    for earlier, params in enumerate(before):
        scores = known[earlier].scores if earlier in known else {}
        if earlier < first and len(scores) < tuning.scored_on:
            return None
        told.append((params, draws.score_of([scores[r] for r in sorted(scores)]) if earlier < first else None))
    return told


def recorded(study: Study, cell: Cell, known: Mapping[str, Mapping[int, Drawn]]) -> list[Params] | None:
    """All draws of an arm as the store has them, or of a grid; None while some are missing."""
    assert study.tuning is not None
    if study.tuning.draws is None:
        return candidates(study, cell, {})
    mine = known.get(arm_of(study, cell), {})
    numbers = range(study.tuning.draws)
    return [mine[n].params for n in numbers] if all(n in mine for n in numbers) else None


def count(study: Study, cell: Cell, known: Mapping[str, Mapping[int, Drawn]]) -> int:
    """How many different candidates an arm has in the end, at most: a draw that came twice is trained once."""
    tuning, space = study.tuning, space_of(study, cell)
    if tuning is None or not space:
        return 0
    if tuning.draws is None:
        return math.prod(len(d.choices) for d in space)
    mine = known.get(arm_of(study, cell), {})
    inside = [drawn.params for n, drawn in mine.items() if n < tuning.draws]
    return tuning.draws - len(inside) + len({canonical(params) for params in inside})


def with_drop_in(study: Study, cells: Sequence[Cell]) -> list[Cell]:
    """The cells, and where both estimands are reported every tuned network under the study's recipe too."""
    if study.tuning is None or DROP_IN not in study.tuning.reported():
        return list(cells)
    return [*cells, *(replace(c, name=c.name + SUFFIX, drop_in=True) for c in cells if space_of(study, c))]


def both(study: Study) -> bool:
    """Whether both estimands are reported."""
    return study.tuning is not None and set(study.tuning.reported()) == {DROP_IN, BEST}


def problems(study: Study, *, whole: bool = True) -> list[str]:
    """What is wrong with the study's `[tuning]`: the table, then extras that no arm has or that a factor sets.

    whole: whether the design is sound, so that its cells can be looked at.
    """
    tuning = study.tuning
    if tuning is None:
        return []
    found = table_problems(tuning, study.recipe)
    if found or not whole:
        return found
    cells = study.design.cells(study.controls)
    if tuning.search is None:
        return _unequal_grids(study, cells)
    baselines = [as_named(b, "baselines")["name"] for b in study.baselines]
    for dimension in tuning.dimensions():
        key, where = dimension.key, f"tuning.search.{dimension.key}"
        if key == "gain" and not study.slots():
            found.append(f"{where}: no slot is swapped, so there are no initial weights to scale")
        if key in SHARED:
            continue
        if study.recipe.budget == "cost" and not key.startswith(BASELINE):
            found.append(
                f"{where}: with recipe.budget = 'cost' an arm has one cost, and candidates with other options of a "
                "component would have others; search the recipe alone, or take another budget"
            )
        found += _extra_problems(
            where, key, cells, baselines, study.design.factors if isinstance(study.design, Factorial) else {}
        )
    return found or _unequal_grids(study, cells)


def _unequal_grids(study: Study, cells: Sequence[Cell]) -> list[str]:
    """A grid that is larger in some arms than in others: the best of more candidates is better by that alone."""
    assert study.tuning is not None
    if study.tuning.draws is not None:
        return []
    sizes: dict[int, tuple[str, list[str]]] = {}
    for cell in cells:
        space = space_of(study, cell)
        if space:
            sizes.setdefault(count(study, cell, {}), (cell.name, [d.key for d in space]))
    if len(sizes) < 2:
        return []
    shown = " and ".join(f"{size} of {', '.join(keys)} for {name!r}" for size, (name, keys) in sorted(sizes.items()))
    return [
        f"tuning: the grid would try {shown}, because a factor of the design sets the rest, and the best of more "
        "candidates is better by that alone; take draws, of which every arm has the same number, let the factor set it "
        "in every cell, or leave it out of the search"
    ]


def _extra_problems(
    where: str, key: str, cells: Sequence[Cell], baselines: Sequence[str], factors: Mapping[str, Any]
) -> list[str]:
    owner, _, option = key.rpartition(":")
    if key.startswith(BASELINE):
        name = owner.removeprefix(BASELINE)
        if name not in baselines:
            return [f"{where}: study.baselines has no {name!r}{hint(nearest(name, baselines))}"]
        problems = registry.check_options("baseline", name, registry.baselines.get(name), {option: None}, 0)
        return [f"{where}: {p}" for p in problems]
    slots = {slot for cell in cells for slot in cell.swaps}
    if owner not in slots:
        return [f"{where}: no cell swaps the slot {owner!r}" + hint(nearest(owner, slots))]
    if any(key in settings for levels in factors.values() for settings in levels.values()):
        return [f"{where}: a factor of the design sets it, so it cannot be searched"]
    if all(_place(cell, key) is None for cell in cells):
        names = sorted({cell.swaps[owner]["component"] for cell in cells if owner in cell.swaps})
        options = sorted(
            {o.name for n in names if n in registry.components for o in registry.components.get(n).options}
        )
        return [f"{where}: {', '.join(map(repr, names))} have no option {option!r}" + hint(nearest(option, options))]
    return []


def build_probes(study: Study, cell: Cell) -> list[Cell]:
    """The cell with each value of its extras by itself (of a range its ends), to be tried before anything starts."""
    found = []
    for dimension in space_of(study, cell):
        if dimension.key not in SHARED and cell.baseline is None:
            values = dimension.choices or (dimension.low, dimension.high)
            found += [settled(study, cell, {dimension.key: value})[0] for value in values]
    return found
