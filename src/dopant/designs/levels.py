"""How the factors of a factorial are written: read into named levels, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, hint, nearest
from ..recipe import RESULT_NEUTRAL, RecipeTable
from .base import as_spec

OLD = "old"  # the level at which a slot keeps its old module
RECIPE = "recipe."
Levels = dict[str, dict[str, Any]]  # {level: {slot, "slot:option" or "recipe.key": value}}
Place = dict[str, str]  # {factor: level}


def is_place(value: Any) -> bool:
    """Whether a value can be {factor: level}."""
    return isinstance(value, Mapping) and all(isinstance(w, str) for pair in value.items() for w in pair)


def read_levels(factor: str, levels: Any) -> Levels:
    """The levels of one factor, named. ConfigError where they cannot be read."""
    if isinstance(levels, Mapping):
        found: Levels = {}
        for name, settings in levels.items():
            if not isinstance(settings, Mapping):
                raise ConfigError(f"level {name!r} is a table of what it sets, such as {{head = 'linear'}}")
            found[str(name)] = {key: _value(key, value) for key, value in settings.items()}
    elif isinstance(levels, (list, tuple)):
        values = [_value(factor, value) for value in levels]
        plain = factor.startswith(RECIPE) or ":" in factor
        if not plain and OLD not in values:
            values.insert(0, OLD)
        names = [_called(value) for value in values]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ConfigError(f"the level {twice[0]!r} is there twice")
        found = {n: {} if not plain and v == OLD else {factor: v} for n, v in zip(names, values, strict=True)}
    else:
        raise ConfigError(f"levels are a list, or a table of named ones, not {levels!r}")
    if not found:
        raise ConfigError("there is no level; name at least one")
    return found


def _value(key: str, value: Any) -> Any:
    if key.startswith(RECIPE) or ":" in key:
        return value
    if value is None or value == OLD:
        return OLD
    if not isinstance(value, (str, Mapping)):
        near = nearest(key.partition(".")[2] or key, RecipeTable.model_fields, 1)
        raise ConfigError(
            f"{key!r} = {value!r}: a slot takes a component's name or a table; what is no slot is written "
            "'recipe.KEY' or 'slot:option'"
            + (f"; did you mean 'recipe.{near[0]}'?" if near else "; data and host are no factors")
        )
    return as_spec(value)


def _called(value: Any) -> str:
    if not isinstance(value, dict):
        return f"{value:g}" if isinstance(value, float) else str(value)
    options = ",".join(f"{k}={v}" for k, v in value.items() if k != "component")
    return value["component"] + (f":{options}" if options else "")


def key_problems(where: str, key: str) -> list[str]:
    """What is wrong with a key of the recipe as a factor."""
    if not key.startswith(RECIPE):
        return []
    name = key.removeprefix(RECIPE)
    if name not in RecipeTable.model_fields:
        return [f"{where}: the recipe has no key {name!r}" + hint(nearest(name, RecipeTable.model_fields))]
    if name in RESULT_NEUTRAL:
        return [f"{where}: {key!r} cannot be a factor, because it makes no other trial; set it in [recipe]"]
    return []


def place_problems(factors: Mapping[str, Levels], place: Mapping[str, str], where: str) -> list[str]:
    """Factors and levels of a place that are not there, with the nearest names."""
    found = []
    for factor, level in place.items():
        if factor not in factors:
            found.append(f"{where}: there is no factor {factor!r}{hint(nearest(factor, factors))}")
        elif level not in factors[factor]:
            known = list(factors[factor])
            found.append(f"{where}: factor {factor!r} has no level {level!r}; it has {', '.join(map(repr, known))}")
    return found
