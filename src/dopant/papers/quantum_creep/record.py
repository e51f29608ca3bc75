"""Record a finished study on this paper: `python -m dopant.papers.quantum_creep.record DIR --study NAME.toml`.

Adds one `[[factorial]]` row to measured.toml: what was run, and every effect with its interval and verdict.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from ...errors import ConfigError


def row_of(answer: Any, study: str, command: str | None = None) -> dict[str, Any]:
    """The row of a finished study. ConfigError where trials are pending or running, or no effect has both its arms.

    The commit is that of the study's last start; a + in provenance (files differed) becomes `dirty`.
    """
    counts = answer.counts
    if counts["pending"] + counts["running"]:
        raise ConfigError(f"the study in {answer.folder.name!r} is not finished: {counts['pending']} trials pending, "
                          f"{counts['running']} running; `dopant run` goes on with it")  # fmt: skip
    effects = answer.effects
    if not len(effects):
        raise ConfigError(f"the study in {answer.folder.name!r} has no effects to record")
    from .. import recording

    known, trials = answer.provenance, answer.trials
    done = trials[trials["status"] == "done"].drop_duplicates("trial")  # cells may share one
    commit = str(known.get("git_commit") or "")
    data = answer.study["study"].get("data")
    found = [
        {"swap": str(e["swap"]), "versus": str(e["versus"]), "role": str(e["role"]),
         **{k: _number(e[k]) for k in ("mean", "low", "high")}, "verdict": str(e["verdict"])}
        for e in effects.to_dict("records")
    ]  # fmt: skip
    return {
        "study": Path(study).name, "data": data if isinstance(data, str) else (data or {}).get("name"),
        "images": int(done["n_train"].iloc[0]) if "n_train" in done and len(done) else None,
        "epochs": answer.config.recipe.epochs, "replicates": answer.config.replicates,
        "metric": str(effects["metric"].iloc[0]), "failed": counts["failed"],
        "command": command or recording.command_line(known.get("command") or ["dopant"]),
        "commit": commit.rstrip("+") or None, "dirty": commit.endswith("+"), "date": recording.now(),
        "seconds": round(float(done["seconds"].sum()), 1) if "seconds" in done else None, "effects": found,
        "cells": _cells(answer, str(effects["metric"].iloc[0])),
    }  # fmt: skip


def _cells(answer: Any, metric: str) -> list[dict[str, Any]]:
    """Mean and sd of every cell over its replicates, and the squared norm of its circuits' states in the end."""
    done = answer.trials[answer.trials["status"] == "done"]
    last = answer.metrics[answer.metrics["epoch"] == answer.metrics.groupby("trial")["epoch"].transform("max")]
    found = []
    for cell in (c.name for c in answer.cells):
        scores, end = done.loc[done["cell"] == cell, metric].dropna(), last[last["cell"] == cell]
        if not len(scores):
            continue
        row = {"cell": cell, "mean": _number(scores.mean()), "sd": _number(scores.std(ddof=1))}
        norms = [c for c in end.columns if c.startswith("state_norm_squared_") and end[c].notna().any()]
        found.append(row | {c: _number(end[c].mean()) for c in norms})
    return found


def _number(value: Any) -> float | None:
    value = float(value)
    return None if math.isnan(value) else round(value, 6)


def main(arguments: list[str]) -> int:
    """The command; 0, or 2 where the request is wrong."""
    from ...study.results import load
    from .. import recording
    from . import PAPER

    parser = argparse.ArgumentParser(prog="python -m dopant.papers.quantum_creep.record", description=__doc__)
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--study", required=True, help="the study's file, by which the row is known")
    asked = parser.parse_args(arguments)

    def record() -> None:
        checkout = recording.require_checkout(PAPER.folder)
        row = row_of(load(asked.folder), asked.study)
        if row["commit"] is None:
            row |= {"commit": checkout.commit, "dirty": checkout.dirty}
        print(f"{recording.add(PAPER.measured_file, 'factorial', row)} in {PAPER.measured_file.name}: "
              f"{row['study']}, {len(row['effects'])} effects")  # fmt: skip

    return recording.told(record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
