"""Keep what a finished study found: `python -m dopant.papers.kept DIR --study FILE.toml`, in a checkout of dopant.

Adds one `[[study]]` row to the measured.toml beside the study's file, what was run and every effect with its interval
and verdict, and writes the README.md beside it from all rows.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..study.answer import write_text

SHOWN = ("level", "main", "race", "confirmed", "interaction", "simple", "variant", "baseline", "swap-versus-control")
"""Roles of effects that the page lists; measured.toml has all."""


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
    from . import recording

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


def page_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """The page of all kept studies: for each what was run, and its effects."""
    lines = [
        "# Studies that are kept", "",
        "Written by `python -m dopant.papers.kept` from measured.toml. Differences are in percentage points for",
        "accuracies, positive is better; brackets hold the 95 % interval.", "",
    ]  # fmt: skip
    return "\n".join([*lines, *(lines_of(row, "##") + "\n" for row in rows)])


def lines_of(row: Mapping[str, Any], heading: str) -> str:
    """One kept study: what was run, and its effects."""
    lines = [
            f"{heading} {row['study']}", "",
            f"{row.get('images', '?')} training items of {row['data']}, {row['epochs']} epochs, {row['replicates']} "
            f"replicates, {row['failed']} failed trials, {row.get('seconds', math.nan):,.0f} s of training. "
            f"`{row['command']}`, commit {str(row.get('commit'))[:7]}{' (with changes)' if row.get('dirty') else ''}.",
            "", "| effect | against | kind | difference | verdict |", "| --- | --- | --- | --- | --- |",
        ]  # fmt: skip
    share, places = (100, 2) if "accuracy" in row["metric"] else (1, 4)
    for e in row["effects"]:
        if e["role"] in SHOWN:
            ends = [e.get("low"), e.get("high")]
            known = all(isinstance(x, float) for x in ends)
            interval = f" [{share * ends[0]:+.{places}f}, {share * ends[1]:+.{places}f}]" if known else ""
            mean = f"{share * e['mean']:+.{places}f}" if isinstance(e.get("mean"), float) else "none"
            lines.append(f"| {e['swap']} | {e['versus']} | {e['role']} | {mean}{interval} | {e['verdict']} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """The command; 0, or 2 where the request is wrong."""
    from ..study.results import load
    from . import recording

    parser = argparse.ArgumentParser(prog="python -m dopant.papers.kept", description=__doc__)
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--study", required=True, type=Path, help="the study's file; measured.toml lies beside it")
    asked = parser.parse_args(arguments)

    def record() -> None:
        if not asked.study.is_file():
            raise ConfigError(f"there is no file {str(asked.study)!r}")
        checkout = recording.require_checkout(Path(__file__).parent)
        row = row_of(load(asked.folder), asked.study.name)
        if row["commit"] is None:
            row |= {"commit": checkout.commit, "dirty": checkout.dirty}
        measured = asked.study.parent / "measured.toml"
        done = recording.add(measured, "study", row)
        write_text(measured.parent / "README.md", page_of(recording.read(measured)["study"]))
        print(f"{done} in {measured.name}: {row['study']}, {len(row['effects'])} effects")

    return recording.told(record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
