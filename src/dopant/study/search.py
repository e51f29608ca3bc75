"""`[tuning]` as it is written: a grid of learning rates, or a search space with draws; and what is wrong with it."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ConfigError, hint, nearest
from ..explain import explain
from ..recipe import Recipe

DROP_IN, BEST = "drop-in", "best against best"
SUFFIX = f" ({DROP_IN})"  # of a cell that is trained under the study's recipe beside its tuned self
SHARED = ("lr", "weight_decay", "schedule", "gain")  # what every network has, in the order in which it is drawn
SETTINGS = ("draws", "replicates", "sampler")
SAMPLERS = ("grid", "random", "qmc", "tpe")
BASELINE = "baseline "  # "baseline NAME:option" is an option of a whole other model
DRAWS, REPLICATES = 20, 3
EXTRA = "pip install 'dopant[tuning]'"
NAMES = {"lr": "learning rate", "weight_decay": "weight decay", "gain": "initial gain"}  # in sentences


@dataclass(frozen=True)
class Dimension:
    """One thing that is searched. choices: the values of a list; else low to high, whole numbers where both are.

    key: one of SHARED, "slot:option", or "baseline NAME:option".
    """

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def to_json(self) -> list[Any]:
        return [self.key, list(self.choices), self.low, self.high, self.log]

    def ordered(self) -> bool:
        """Whether its values have an order, so that one can lie on the edge."""
        return not self.choices or all(_is_number(value) for value in self.choices)


class Tuning(BaseModel):
    """`[tuning]`: every arm, controls included, is tuned alike, on draws of its own that are not reported.

    lr, replicates: a grid of learning rates, each scored on so many tuning replicates. Or search: the table
    `[tuning.search]` (see docs/tuning.md); it counts its own replicates.
    estimands: of "drop-in" (the study's recipe) and "best against best" (each arm's own best) those that are trained
    and reported; primary: the one that answers the question. Without them: of a grid best against best alone, of a
    search both, and best against best is primary.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lr: list[float] | None = Field(None, min_length=1)
    replicates: int = Field(2, ge=1)
    search: dict[str, Any] | None = None
    estimands: list[Literal["drop-in", "best against best"]] | None = None
    primary: Literal["drop-in", "best against best"] | None = None

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> Tuning:
        """A table checked. ConfigError with every problem."""
        try:
            return cls(**table)
        except ValidationError as error:
            known = {(): list(cls.model_fields)}
            raise ConfigError(list(explain(error, known, "tuning."))) from None

    def to_config(self) -> dict[str, Any]:
        """The `[tuning]` table: what it says and no more."""
        found = self.model_dump(exclude_none=True)
        if self.search is not None:
            found.pop("replicates")
        return found

    @property
    def scored_on(self) -> int:
        """Tuning replicates of each candidate."""
        return self.replicates if self.search is None else self.search.get("replicates", REPLICATES)

    @property
    def draws(self) -> int | None:
        """Draws of each arm; None where every combination of lists is tried."""
        return None if self.sampler == "grid" else (self.search or {}).get("draws", DRAWS)

    @property
    def sampler(self) -> str:
        """One of SAMPLERS: as written, else "grid" where there are lists alone and no number of draws."""
        if self.search is None:
            return "grid"
        lists = all(isinstance(v, list) for k, v in self.search.items() if k not in SETTINGS)
        extras = any(":" in key for key in self.search)
        return self.search.get("sampler", "grid" if lists and not extras and "draws" not in self.search else "random")

    def reported(self) -> tuple[str, ...]:
        """The estimands, the primary one first."""
        asked = self.estimands or ([BEST] if self.search is None else [BEST, DROP_IN])
        first = self.primary or (BEST if BEST in asked else asked[0])
        return (first, *(name for name in asked if name != first))

    def dimensions(self) -> list[Dimension]:
        """What is searched: SHARED first, then extras as written. Raises ConfigError where it cannot be read."""
        if self.search is None:
            return [Dimension("lr", tuple(self.lr or ()))]
        return dimensions_of(self.search)


def dimensions_of(search: Mapping[str, Any]) -> list[Dimension]:
    """What a table `[tuning.search]` searches: SHARED first, then extras as written. Raises ConfigError where it cannot
    be read."""
    keys = [key for key in SHARED if key in search]
    keys += [key for key in search if key not in SHARED and key not in SETTINGS]
    found, problems = [], []
    for key in keys:
        try:
            found.append(_dimension(key, search[key]))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return found


def _dimension(key: str, value: Any) -> Dimension:
    where = f"tuning.search.{key}"
    if key not in SHARED and ":" not in key:
        near = hint(nearest(key, (*SHARED, *SETTINGS)))
        raise ConfigError(
            f"{where}: unknown key{near or '; known: ' + ', '.join((*SHARED, *SETTINGS))}, and options of components "
            'as "slot:option" or of baselines as "baseline NAME:option"'
        )
    if isinstance(value, list):
        if not value:
            raise ConfigError(f"{where}: an empty list has nothing to choose from")
        if len({repr(v) for v in value}) < len(value):
            raise ConfigError(f"{where}: a value is there twice")
        wrong = [v for v in value if not _allowed(key, v)]
        if wrong:
            raise ConfigError(f"{where}: {wrong[0]!r} is not {_expected(key)}")
        return Dimension(key, tuple(float(v) if key in NAMES else v for v in value))
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: a list of values or a table {{low, high, log}} is expected, not {value!r}")
    if key == "schedule":
        raise ConfigError(f"{where}: schedules have no order; give a list of names")
    value = dict(value)
    unknown = [k for k in value if k not in ("low", "high", "log")]
    if unknown:
        raise ConfigError(f"{where}.{unknown[0]}: unknown key; a range has low, high and log")
    low: Any = value.get("low")
    high: Any = value.get("high")
    log = value.get("log", False)
    if not (_is_number(low) and _is_number(high) and low < high):
        raise ConfigError(f"{where}: low and high are two numbers, the first the smaller one; got {value!r}")
    if not isinstance(log, bool):
        raise ConfigError(f"{where}.log: true or false is expected, not {log!r}")
    if log and low <= 0:
        raise ConfigError(f"{where}: a logarithmic range begins above 0, not at {low!r}")
    if not (_allowed(key, low) and _allowed(key, high)):
        raise ConfigError(f"{where}: {low if not _allowed(key, low) else high!r} is not {_expected(key)}")
    if key in NAMES:
        low, high = float(low), float(high)
    return Dimension(key, (), low, high, log)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _allowed(key: str, value: Any) -> bool:
    if key in ("lr", "gain"):
        return _is_number(value) and value > 0
    if key == "weight_decay":
        return _is_number(value) and value >= 0
    if key == "schedule":
        return isinstance(value, str) or (isinstance(value, Mapping) and isinstance(value.get("name"), str))
    return not isinstance(value, float) or math.isfinite(value)


def _expected(key: str) -> str:
    if key == "schedule":
        return "a schedule's name, or a table {name, options}"
    return {"lr": "a number above 0", "gain": "a number above 0", "weight_decay": "a number from 0 on"}.get(
        key, "a finite number"
    )


def schedule_changes(value: Any, recipe: Recipe) -> dict[str, Any]:
    """What a drawn schedule changes in the recipe: its options are its own, but those of the recipe's own schedule."""
    spec = {"name": value} if isinstance(value, str) else dict(value)
    name = spec.pop("name")
    options = dict(recipe.schedule_options) if name == recipe.schedule and not spec else spec
    return {"schedule": name, "schedule_options": options}


def problems(tuning: Tuning, recipe: Recipe) -> list[str]:
    """What is wrong with `[tuning]` by itself: keys, values, and Optuna where it is needed and absent."""
    found = []
    if (tuning.lr is None) == (tuning.search is None):
        found.append("tuning: give either lr, a list of learning rates, or the table [tuning.search]")
    if tuning.estimands is not None and (not tuning.estimands or len(set(tuning.estimands)) < len(tuning.estimands)):
        found.append(f"tuning.estimands: {tuning.estimands!r}: name '{DROP_IN}', '{BEST}' or both, each once")
    elif BEST not in tuning.reported():
        found.append(f"tuning.estimands: without '{BEST}' nothing is tuned; leave [tuning] out for '{DROP_IN}' alone")
    elif tuning.primary is not None and tuning.estimands and tuning.primary not in tuning.estimands:
        found.append(f"tuning.primary: {tuning.primary!r} is none of tuning.estimands")
    elif tuning.primary == DROP_IN and tuning.estimands is None and tuning.search is None:
        found.append(f"tuning.primary: a grid reports '{BEST}' alone unless tuning.estimands names both")
    if tuning.search is None:
        return found
    if "replicates" in tuning.model_fields_set:
        found.append("tuning.replicates: is of a grid of learning rates; write it in [tuning.search]")
    for key in ("draws", "replicates"):
        value = tuning.search.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            found.append(f"tuning.search.{key}: {value!r} is no whole number from 1 on")
    if tuning.sampler not in SAMPLERS:
        near = hint(nearest(str(tuning.sampler), SAMPLERS)) or f"; there is {', '.join(map(repr, SAMPLERS))}"
        found.append(f"tuning.search.sampler: {tuning.sampler!r} is not known{near}")
    try:
        dimensions = tuning.dimensions()
    except ConfigError as error:
        return found + error.problems
    if not any(key in tuning.search for key in SHARED):
        found.append(
            f"tuning.search: nothing that all arms share is searched; name at least one of {', '.join(SHARED)}"
        )
    for dimension in dimensions:
        for value in dimension.choices if dimension.key == "schedule" else ():
            changed = recipe.model_copy(update=schedule_changes(value, recipe))
            wrong = [p for p in changed.problems() if p.startswith("recipe.schedule")]
            found += [f"tuning.search.schedule: {p.partition(': ')[2]}" for p in wrong]
    if tuning.sampler == "grid":
        found += _grid_problems(tuning, dimensions)
    elif importlib.util.find_spec("optuna") is None:
        found.append(
            f"tuning.search: draws come from Optuna, which is not installed: {EXTRA}; lists alone, tried in every "
            "combination (sampler = 'grid'), need none"
        )
    return found


def _grid_problems(tuning: Tuning, dimensions: list[Dimension]) -> list[str]:
    found = []
    if tuning.search and "draws" in tuning.search:
        found.append(
            "tuning.search.draws: a grid tries every combination of its lists; leave draws out, or the sampler"
        )
    ranges = [d.key for d in dimensions if not d.choices]
    if ranges:
        found.append(f"tuning.search.{ranges[0]}: a grid takes lists alone; give one, or another sampler")
    extras = [d.key for d in dimensions if d.key not in SHARED]
    if extras:
        found.append(
            f"tuning.search: only some arms have {extras[0]!r}, so a grid would try more candidates for them than for "
            "others; take draws, of which every arm has the same number"
        )
    return found
