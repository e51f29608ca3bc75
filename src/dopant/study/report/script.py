"""The page's own script, its data and the policy that lets nothing else run."""

from __future__ import annotations

from importlib import resources
from typing import Any

from . import bundle, islands, tables
from .room import Room
from .words import Measure


def script() -> str:
    """The parts' scripts as one, by name, without comments and indentation."""
    parts = sorted(
        (p for p in resources.files(__name__.rpartition(".")[0]).joinpath("parts").iterdir() if p.name.endswith(".js")),
        key=lambda p: p.name,
    )
    lines = (line.strip() for part in parts for line in part.read_text(encoding="utf-8").splitlines())
    body = "\n".join(line for line in lines if line and not line.startswith("//"))
    return f'(() => {{\n"use strict";\n{body}\n}})();'


def policy(scripts: list[str]) -> str:
    """Nothing is fetched, sent or evaluated, and only scripts with these hashes run."""
    hashes = " ".join(f"'{hash_}'" for hash_ in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; connect-src 'none'; "
        "base-uri 'none'; form-action 'none'"
    )


def parts(answer: Any, trials: Any, metric: Measure, drawn: list[str], room: Room) -> dict[str, Any]:
    """What the template needs: script, policy, library and data sets.

    trials: as the page lists them. drawn: the metrics of the learning curves.

    Without the library there are no data but the trials, and the page says nothing of it.
    """
    library = bundle.bundle()
    own = script()
    metrics, cells = getattr(answer, "metrics", None), getattr(answer, "cells", [])
    if metrics is not None and "phase" in metrics.columns:
        metrics = metrics[metrics["phase"] != "tuning"]
    columns = tables.trial_columns(trials) if len(trials) else []
    found = [islands.trials(trials, columns, cells, metric.name, room.trials)]
    if library is not None:
        found += [islands.learning(metrics, cells, drawn, room.curves)]
        found += [islands.costs(answer.effects, getattr(answer, "costs", None), metric)]
    return {
        "script": own, "library": library.data if library else "", "islands": [i for i in found if i is not None],
        "policy": policy([bundle.sha256(own), *([library.sha256] if library else [])]),
    }  # fmt: skip
