"""Swap the components of a neural network one at a time and measure honestly what each swap did.

The public names are imported when they are first used: `import dopant` loads neither torch nor pandas.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "slots": ("._slots", "measure"),
    "Signature": ("._slots", "Signature"),
    "Spec": ("._slots", "Spec"),
    "Call": ("._slots", "Call"),
    "swap": ("._swap", "swap"),
    "host": (".hosts", "host"),
    "dataset": (".datasets", "dataset"),
    "Dataset": (".datasets.source", "Dataset"),
    "Split": (".datasets.source", "Split"),
    "component": (".registry", "component"),
    "list_components": (".registry", "list_components"),
    "ComponentInfo": (".registry", "ComponentInfo"),
    "register_host": (".registry", "register_host"),
    "register_dataset": (".registry", "register_dataset"),
    "register_rule": (".registry", "register_rule"),
    "baseline": (".registry", "baseline"),
    "effective_dimension": (".evaluation.effective_dimension", "effective_dimension"),
    "metric": (".training.parts", "metric"),
    "task": (".tasks.base", "task"),
    "Lifecycle": (".lifecycle", "Lifecycle"),
    "Phase": (".lifecycle", "Phase"),
    "Panel": (".panels", "Panel"),
    "Streams": (".streams", "Streams"),
    "Ladder": (".designs", "Ladder"),
    "Factorial": (".designs", "Factorial"),
    "OneAtATime": (".designs", "OneAtATime"),
    "Placement": (".designs", "Placement"),
    "Race": (".designs", "Race"),
    "Mixing": (".designs", "Mixing"),
    "Recipe": (".recipe", "Recipe"),
    "Study": (".study.config", "Study"),
    "Tuning": (".study.config", "Tuning"),
    "run": (".study.run", "run"),
    "load": (".study.results", "load"),
    "Answer": (".study.answer", "Answer"),
    "analyse": (".study.analysis", "analyse"),
    "choose": (".search.choose", "choose"),
    "compare": (".study.compare", "compare"),
    "DopantError": (".errors", "DopantError"),
    "ConfigError": (".errors", "ConfigError"),
    "SlotMismatch": (".errors", "SlotMismatch"),
    "ComponentRefused": (".errors", "ComponentRefused"),
    "UnknownName": (".errors", "UnknownName"),
    "DataMissing": (".errors", "DataMissing"),
    "TrialFailed": (".errors", "TrialFailed"),
    "StoreError": (".errors", "StoreError"),
    "DoesNotFit": (".errors", "DoesNotFit"),
}

__all__ = sorted(_NAMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'dopant' has no attribute {name!r}")
    module, attribute = _NAMES[name]
    value = getattr(importlib.import_module(module, __name__), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES])
