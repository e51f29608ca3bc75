"""The options of a factory: what it can be told, with defaults and choices, and what is wrong with what it was told."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import nearest

PASSED = ("generator", "target")  # parameters of a factory that dopant itself passes, beside the first two


@dataclass(frozen=True)
class Option:
    """One option of a factory. type: its annotation as written, "" without one. default: None where it is `required`.
    choices: the values that a Literal in the annotation lists; () where any value of the type will do."""

    name: str
    type: str = ""
    default: Any = None
    required: bool = False
    choices: tuple[Any, ...] = ()


def options_of(factory: Callable, leading: int = 0) -> tuple[Option, ...]:
    """The options of a factory in the order of its parameters, without the `leading` ones and those of `PASSED`.

    Nothing where it has no signature that can be read. `*args` and `**options` are left out: they have no names.
    """
    try:
        parameters = list(inspect.signature(factory).parameters.values())[leading:]
    except (TypeError, ValueError):
        return ()
    hints = _hints(factory)
    return tuple(
        Option(
            p.name, _written(p.annotation), None if p.default is p.empty else p.default, p.default is p.empty,
            _choices(hints.get(p.name)),
        )
        for p in parameters
        if p.name not in PASSED and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    )  # fmt: skip


def _written(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _choices(hint: Any) -> tuple[Any, ...]:
    """The values of a Literal, of those of a union too."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(value for one in typing.get_args(hint) for value in _choices(one))
    return ()


def _hints(function: Callable) -> dict[str, Any]:
    """Annotations as types; none where one cannot be resolved, such as a name that exists for type checkers only."""
    try:
        return typing.get_type_hints(function.__init__ if isinstance(function, type) else function)
    except Exception:
        return {}


def check_options(
    kind: str, name: str, function: Callable, options: dict[str, Any], reserved: int | set[str]
) -> list[str]:
    """Problems with keyword `options` of a factory: unknown names (nearest given) and missing required ones.

    `reserved`: how many leading parameters, or which names, dopant itself passes.
    """
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []
    names = list(parameters)
    taken = set(names[:reserved]) if isinstance(reserved, int) else reserved
    free = {n: p for n, p in parameters.items() if n not in taken}
    if any(p.kind is p.VAR_KEYWORD for p in free.values()):
        return []
    free = {n: p for n, p in free.items() if p.kind is not p.VAR_POSITIONAL}
    problems = []
    for option in options:
        if option not in free:
            near = nearest(option, free)
            tail = (
                f"; did you mean {near[0]!r}?"
                if near
                else (f"; it takes {', '.join(free)}" if free else "; it takes none")
            )
            problems.append(f"{kind} {name!r} has no option {option!r}{tail}")
    for option, parameter in free.items():
        if parameter.default is parameter.empty and option not in options and option not in PASSED:
            problems.append(f"{kind} {name!r} needs the option {option!r}")
    return problems + _wrong_types(kind, name, function, {k: v for k, v in options.items() if k in free})


def _wrong_types(kind: str, name: str, function: Callable, options: dict[str, Any]) -> list[str]:
    """Options whose value is not of the annotated type; where an annotation cannot be resolved, nothing is said."""
    from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

    if not options:
        return []
    hints = _hints(function)
    problems = []
    for option, value in options.items():
        if option not in hints:
            continue
        try:
            TypeAdapter(hints[option], config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
        except ValidationError as error:
            # one message for each type of a union
            told = " or ".join(dict.fromkeys(e["msg"][0].lower() + e["msg"][1:] for e in error.errors()))
            problems.append(f"{kind} {name!r}: option {option!r}: {told}, not {value!r}")
        except (PydanticSchemaGenerationError, TypeError):
            continue
    return problems
