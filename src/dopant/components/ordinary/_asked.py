"""What a control of the same capacity is asked for: which count, and in what kind of slot."""

from __future__ import annotations

from typing import Any

from torch import nn

from ._capacity import ACTIVATIONS, controlled, count_to_match, refuse_dense, require_dense
from .parameter_matched import Geometry, geometry


def asked(
    name: str, old: nn.Module, signature: Any, target: nn.Module | None, bad: list[str]
) -> tuple[int, bool, Geometry | None]:
    """(trainable count to match, whether a component is controlled, the slot's geometry; None for a Linear or plain
    Conv2d). bad: what is wrong with the control's options.

    Raises SlotMismatch with every problem, NotDefined for nothing to match.
    """
    dense = refuse_dense(old) is None
    if dense or bad or signature is None:
        require_dense(name, old, bad)
    wanted, needed = count_to_match(old, target), controlled(old, target) is not None
    if dense or signature is None:
        return wanted, needed, None
    return wanted, needed, geometry(old, signature)


def bad_activation(name: str, act: str) -> list[str]:
    """What is wrong with the option `act`."""
    return [] if act in ACTIVATIONS else [f"{name!r}: act is {act!r}; expected 'tanh' or 'relu'"]
