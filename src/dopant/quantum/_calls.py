"""Methods that say what they take where they were called with something else."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ConfigError

M = TypeVar("M", bound=Callable[..., Any])
C = TypeVar("C", bound=type)


def told(method: M) -> M:
    """A method of a circuit that adds gates: wrong numbers or names of arguments are a ConfigError with the gate, its
    position, what it takes and the remedy, instead of Python's words about a function."""

    @functools.wraps(method)
    def called(self: Any, *given: Any, **named: Any) -> Any:
        try:
            return method(self, *given, **named)
        except TypeError:
            wrong = _wrong(method, self, given, named)
            if wrong is None:  # an error inside of it
                raise
        raise ConfigError(wrong)

    return called  # pyright: ignore[reportReturnType]


def all_told(cls: C) -> C:
    """`told` for every public method of a class."""
    for name, method in list(vars(cls).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(cls, name, told(method))
    return cls


def _wrong(method: Callable[..., Any], circuit: Any, given: tuple[Any, ...], named: dict[str, Any]) -> str | None:
    """What is wrong with the arguments; None if nothing is."""
    signature = inspect.signature(method)
    try:
        signature.bind(circuit, *given, **named)
    except TypeError:
        name, known = method.__name__, [p for p in signature.parameters.values() if p.name != "self"]
        takes = ", ".join(p.name if p.default is p.empty else f"{p.name}=…" for p in known)
        call = ", ".join([*map(str, given), *(f"{k}={v}" for k, v in named.items())])
        places = [p.name for p in known if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
        unknown = [k for k in named if k not in signature.parameters]
        twice = [k for k in named if k in places[: len(given)]]
        missing = [
            p.name for p in known[len(given) :] if p.default is p.empty and p.kind != p.VAR_POSITIONAL
            and p.name not in named
        ]  # fmt: skip
        where = f"gate {len(circuit)} ({name!r})"
        if unknown:
            remedy = f"it has no {', '.join(map(repr, unknown))}"
        elif twice:
            remedy = f"{twice[0]!r} is given twice"
        elif missing:
            angles = [p.name for p in known if "Angle" in str(p.annotation) and p.name in missing]
            how = "; an angle is a number of radians, feature(i) or weight()" if angles else ""
            remedy = f"{', '.join(missing)} missing: add {'it' if len(missing) == 1 else 'them'}{how}"
        else:
            over = len(given) - len(places)
            remedy = f"{over} too many: leave {'it' if over == 1 else 'them'} out, one call adds one gate"
        return f"{where} takes {name}({takes}), not {name}({call}); {remedy}"
    return None
