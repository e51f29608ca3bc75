"""Parameterised circuits inside PyTorch: values, layers, kernels, costs.

from dopant.quantum import Circuit, feature, weight
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "Circuit": ".circuit",
    "CircuitLayer": ".layer",
    "Gate": ".gate",
    "Angle": ".angles",
    "NoiseModel": ".noise",
    "QuantumKernel": ".similarity",
    "parameter_shift": ".shift",
    "feature": ".angles",
    "weight": ".angles",
}

__all__ = sorted(_NAMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_NAMES[name], __name__), name)


def __dir__() -> list[str]:
    return [*__all__, *globals()]
