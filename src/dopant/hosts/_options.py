"""Checks that the hosts share; every problem is told at once."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import ConfigError, hint, nearest

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}


def whole(host: str, **numbers: Any) -> list[str]:
    """Problems of options that must be whole numbers of at least 1."""
    return [
        f"host {host!r}: {name} is {value!r}; expected a whole number of 1 or more"
        for name, value in numbers.items()
        if isinstance(value, bool) or not isinstance(value, int) or value < 1
    ]


def widths(host: str, name: str, values: Any, *, empty: bool = False) -> list[str]:
    """Problems of an option that must be a list of layer widths."""
    is_list = isinstance(values, (list, tuple))
    if not is_list or (not values and not empty) or whole(host, **{str(i): v for i, v in enumerate(values)}):
        return [f"host {host!r}: {name} is {values!r}; expected a list of whole numbers of 1 or more, such as [64, 64]"]
    return []


def choice(host: str, name: str, value: Any, known: Any) -> list[str]:
    """Problems of an option that must be one of `known`."""
    if isinstance(value, str) and value in known:
        return []
    return [
        f"host {host!r}: {name} is {value!r}; expected one of {', '.join(known)}"
        + hint(nearest(str(value), known, n=1))
    ]


def probability(host: str, name: str, value: Any) -> list[str]:
    """Problems of an option that must be a number from 0 up to 1."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1
    return [] if good else [f"host {host!r}: {name} is {value!r}; expected a number from 0 up to, but not, 1"]


def refuse(problems: list[str]) -> None:
    """Raise ConfigError if there are any."""
    if problems:
        raise ConfigError(problems)
