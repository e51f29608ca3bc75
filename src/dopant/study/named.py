"""Registered names with options, and objects of this process, in one form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import local
from ..errors import ConfigError


def as_named(value: Any, kind: str) -> dict[str, Any]:
    """A name or table in the form {"name": …, options}; an object of this process gets a `local:` name."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping):
        if not isinstance(value.get("name"), str):
            raise ConfigError(f"study.{kind}: a table needs the key 'name'")
        return dict(value)
    label = getattr(value, "__name__", None) or getattr(value, "name", None) or type(value).__name__
    return {"name": local.register(str(label), value)}


def called(baseline: Any) -> str:
    """What a baseline is called: its name and options."""
    spec = as_named(baseline, "baselines")
    options = ",".join(f"{key}={value}" for key, value in spec.items() if key != "name")
    return local.label(spec["name"]) + (f":{options}" if options else "")
