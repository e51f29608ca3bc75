"""`--with` files and installed plug-ins: which of them decide the numbers of which trial.

A file belongs to a trial's identity where something it registers is used by that trial, so a study may grow by a
component of a new file. A file that registers nothing may do anything, and counts for every trial. Of a plug-in it is
the file that registers what is used, under the package's version.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _loading, local, registry
from ..designs import Cell
from ..training import parts

if TYPE_CHECKING:
    from ..recipe import Recipe


def sums(files: Sequence[str | Path]) -> dict[str, str]:
    """{resolved path: SHA-256}."""
    return {str(Path(f).resolve()): hashlib.sha256(Path(f).read_bytes()).hexdigest() for f in files}


def by_name(files: Mapping[str, str]) -> dict[str, str]:
    """{file name: SHA-256}: what may be written down, since paths are one machine's."""
    return {Path(path).name: digest for path, digest in files.items()}


def used(
    files: Mapping[str, str], cell: Cell, recipe: Recipe, named: Mapping[str, Mapping[str, Any] | None]
) -> dict[str, str]:
    """{file name, or PACKAGE==VERSION:file of a plug-in: SHA-256} of those that decide a trial.

    named: its task, data and host, each with the key `name`.
    """
    code = _modules(named)
    registry.load_plugins()
    if not files and not _loading.sources:
        return by_name(code)
    origins = _origins(cell, recipe, named)
    known = {origin for kind in _registries() for origin in kind.origins()}
    plugins = {origin: _loading.sum_of(origin) for origin in sorted(origins & set(_loading.sources))}
    return plugins | by_name(
        code | {p: s for p, s in files.items() if p in origins or p not in known or Path(p).stem in origins}
    )


def _modules(named: Mapping[str, Mapping[str, Any] | None]) -> dict[str, str]:
    """{path: SHA-256} of the modules that a host or loop given as `module:callable` comes from; {package: version} of
    a host that a registered builder takes from a package."""
    references = [str((named.get("host") or {}).get("name", "")), str((named.get("task") or {}).get("train", ""))]
    found: dict[str, str] = {}
    for reference in references:
        if ":" not in reference or local.is_local(reference):
            continue
        name = reference.split(":")[0]
        if not registry.names_code(reference):  # of a package: its version stands for its code
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # a study may be read without it
                found[name] = importlib.metadata.version(name)
            continue
        path = getattr(sys.modules.get(name), "__file__", None)
        if path is None:
            spec = importlib.util.find_spec(name)
            path = spec.origin if spec else None
        if path and Path(path).is_file():
            found |= sums([path])
    return found


def _registries() -> list[registry.Registry]:
    kinds = [registry.components, registry.hosts, registry.datasets, registry.tasks, registry.rules, registry.metrics,
             registry.baselines]  # fmt: skip
    return [*kinds, parts.losses, parts.optimizers, parts.schedules]


def _origins(cell: Cell, recipe: Recipe, named: Mapping[str, Mapping[str, Any] | None]) -> set[str]:
    """Where everything that a trial uses was registered; of references `module:callable`, the module."""
    found: set[str] = set()
    specs = list(cell.swaps.values())
    for spec in specs:
        found.add(registry.components.origin(spec["component"]))
        if isinstance(spec.get("of"), Mapping):
            specs.append(spec["of"])
    if cell.baseline is not None and cell.baseline["name"] in registry.baselines:
        found.add(registry.baselines.origin(cell.baseline["name"]))
    kinds = {"task": registry.tasks, "data": registry.datasets, "host": registry.hosts}
    for key, kind in kinds.items():
        name = str((named.get(key) or {}).get("name", ""))
        found.add(kind.origin(name) if name in kind else name.split(":")[0])
    train = (named.get("task") or {}).get("train")
    if isinstance(train, str):
        found.add(train.split(":")[0])
    pieces = {"loss": parts.losses, "optimizer": parts.optimizers, "schedule": parts.schedules, "rule": registry.rules}
    found |= {kind.origin(getattr(recipe, key)) for key, kind in pieces.items() if getattr(recipe, key) in kind}
    return found | {registry.metrics.origin(m) for m in parts.default_metrics(recipe) if m in registry.metrics}
