"""What a request asks for: each swap read, its names looked up, and what is wrong with them as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ._build import option_problems
from .errors import ConfigError, DopantError, UnknownName
from .registry import ComponentInfo, components

OWN_KEYS = ("component", "mix", "of")  # of a swap's table; the rest are the component's options


@dataclass
class Request:
    """One swap, read and found possible so far. slot: as written; names: its slots, one unless it is a group."""

    slot: str
    names: tuple[str, ...]
    info: ComponentInfo
    options: dict[str, Any]
    mix: float = 1.0
    target: tuple[ComponentInfo, dict[str, Any]] | None = None
    old: dict[str, nn.Module] = field(default_factory=dict)
    new: dict[str, nn.Module] = field(default_factory=dict)  # what stands in each slot
    built: Any = None  # what the factory returned
    held: Any = None  # the module that it wraps or controls


def read(slot: str, value: Any, modules: dict[str, nn.Module], errors: list[DopantError]) -> Request | None:
    """A swap as written, or None with what is wrong added to `errors`."""
    names = tuple(slot.split("+"))
    known = [name for name in modules if name]
    wrong: list[DopantError] = [UnknownName("slot", name, known) for name in names if name not in known]
    if len(set(names)) < len(names):
        wrong.append(ConfigError(f"the group {slot!r} names a slot twice"))
    info, options, mix, of = _read_value(slot, value, wrong)
    target = None
    if of is not None:
        of_info, of_options, _, _ = _read_value(slot, of, wrong)
        if of_info is not None and info is not None and (of_info.mode == "group") != (info.mode == "group"):
            wrong.append(
                ConfigError(f"slot {slot!r}: {info.name!r} and {of_info.name!r} must both fill a group, or none")
            )
        elif of_info is not None:
            target = (of_info, of_options)
    if info is not None:
        if len(names) > 1 and info.mode != "group":
            wrong.append(ConfigError(f"slot {slot!r}: {info.name!r} fills one slot, not a group; give it to each"))
        if info.mode == "group" and 0 < mix < 1 and info.facts.get("changes_shape"):
            wrong.append(ConfigError(f"slot {slot!r}: {info.name!r} changes shapes within its group, so it has no mix"))
    errors += wrong
    if wrong or info is None:
        return None
    return Request(slot, names, info, options, mix, target, {name: modules[name] for name in names})


def _read_value(
    slot: str, value: Any, wrong: list[DopantError]
) -> tuple[ComponentInfo | None, dict[str, Any], float, Any]:
    """(component, options, mix, of) of `"name"` or `{"component": …}`."""
    table = {"component": value} if isinstance(value, (str, ComponentInfo)) else value
    if not isinstance(table, Mapping) or not isinstance(table.get("component"), (str, ComponentInfo)):
        wrong.append(
            ConfigError(f"slot {slot!r}: a swap is a component's name or a table with 'component', not {value!r}")
        )
        return None, {}, 1.0, None
    mix = table.get("mix", 1.0)
    if isinstance(mix, bool) or not isinstance(mix, (int, float)) or not 0 <= mix <= 1:
        wrong.append(ConfigError(f"slot {slot!r}: mix is {mix!r}; it must be a number from 0 (old) to 1 (new)"))
        mix = 1.0
    component = table["component"]
    try:
        info = component if isinstance(component, ComponentInfo) else components.get(component)
    except UnknownName as error:
        wrong.append(error)
        return None, {}, 1.0, None
    options = {key: v for key, v in table.items() if key not in OWN_KEYS}
    problems = option_problems(info, options)
    if problems:
        wrong.append(ConfigError([f"slot {slot!r}: {problem}" for problem in problems]))
    return info, options, float(mix), table.get("of")


def overlaps(requests: list[Request]) -> list[DopantError]:
    """Slots that are filled twice (perhaps under two names), or that lie within one another."""
    errors: list[DopantError] = []
    taken = [(name, request.old[name]) for request in requests for name in request.names]
    for i, (name, module) in enumerate(taken):
        for other, another in taken[i + 1 :]:
            if module is another:
                same = "" if name == other else f": {name!r} and {other!r} are one module"
                errors.append(ConfigError(f"slot {other!r} is filled twice{same}; keep one of the swaps"))
                continue
            for outer, inner, a, b in ((module, another, name, other), (another, module, other, name)):
                if any(m is inner for m in outer.modules()):
                    errors.append(ConfigError(f"slot {b!r} lies within slot {a!r}; fill one of them"))
    return errors
