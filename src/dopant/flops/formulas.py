"""Which formula counts which operation: the neighbours fill it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

Args = tuple[Any, ...]
Formula = Callable[[Any, Args, dict], float]  # (outputs, args, kwargs) -> real FLOPs, if all numbers were real
FORMULAS: dict[Any, Formula] = {}
VALUES_ALONE: dict[Any, Formula] = {}  # where values are asked for without their vectors


def of(*packets: str) -> Callable[[Formula], Formula]:
    """Decorator: this formula holds for these operations, as far as this torch has them."""

    def register(formula: Formula) -> Formula:
        for name in packets:
            if hasattr(aten, name):
                FORMULAS[getattr(aten, name)] = formula
        return formula

    return register


def option(args: Args, kwargs: dict, position: int, name: str, default: Any) -> Any:
    return args[position] if position < len(args) else kwargs.get(name, default)


def batch(tensor: Tensor, core: int = 2) -> int:
    """How many matrices a stack holds."""
    return math.prod(tensor.shape[:-core])


def sides(tensor: Tensor) -> tuple[int, int]:
    """(longer, shorter) side of the matrices."""
    m, n = tensor.shape[-2:]
    return max(m, n), min(m, n)
