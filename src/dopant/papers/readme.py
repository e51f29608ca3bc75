"""The tables of a paper's page, made from published.toml and measured.toml: `python -m dopant.papers.readme NAME`.

Everything between `<!-- generated: NAME -->` and `<!-- end -->` of README.md is replaced; the rest is prose and stays.
Blocks: `figures` (published beside measured at the end of training), `cells` (every measured cell and its cost),
`effects` (verdicts of the recorded studies). A paper with blocks of its own (quantum-creep) has its own command.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import registry
from ..errors import ConfigError
from ..study.answer import write_text
from . import figures, kept, recording
from .paper import Paper

Rows = dict[str, list[dict[str, Any]]]
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOTHING = "Nothing has been measured yet."


def render(text: str, blocks: Mapping[str, Callable[[], str]]) -> str:
    """The page with every generated block made again. ConfigError for a block that nobody makes."""

    def block(found: re.Match[str]) -> str:
        if found[2] not in blocks:
            raise ConfigError(f"README.md: nothing makes the block {found[2]!r}; there is {', '.join(blocks)}")
        return found[1] + blocks[found[2]]().rstrip() + "\n" + found[3]

    return _BLOCK.sub(block, text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], nothing: str = NOTHING) -> str:
    """A Markdown table; `nothing` where it has no rows."""
    if not rows:
        return nothing
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(str(c).replace('|', '/') for c in row)} |" for row in rows)])


def best_rows(paper: Paper, measured: Rows) -> list[dict[str, Any]]:
    """Of each part, data set and cell the row with most epochs, then replicates, then the newest."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in measured.get(recording.CELL, []):
        key = (row.get("part", ""), row["data"], row["cell"])
        weight = (row["epochs"], row["replicates"], str(row["date"]))
        old = found.get(key)
        if old is None or weight >= (old["epochs"], old["replicates"], str(old["date"])):
            found[key] = row
    parts = list(paper.parts) or [""]
    return sorted(found.values(), key=lambda row: (parts.index(row.get("part", "")), row["data"]))


def figures_block(paper: Paper, measured: Rows) -> str:
    """Every published number beside what was measured of the same cell; a dash where nothing was yet."""
    rows, by_cell = [], {}
    for row in best_rows(paper, measured):
        by_cell[row.get("part", ""), row["data"], row["cell"]] = row
    for name in paper.parts or {"": None}:
        data = paper.part(name or None)[1].data
        for ours, theirs in data.items():
            for figure in figures.figures_of(paper, name, ours):
                row = by_cell.get((name, ours, figure.cell))
                values = np.atleast_1d(np.array(row.get(figure.metric, []), float)) if row else np.empty(0)
                line = figures.FigureLine(figure.cell, figure.metric, figure, values, 0)
                line = figures.compared(line) if len(values) else line
                size = "–" if row is None else f"{row['epochs']}, {row['replicates']}, {row.get('images') or 0:,}"
                place = [*([name] if paper.parts else []), str(theirs), figure.cell]
                what = figures.label(figure.metric, [figure.value])
                rows.append([*place, what, *figures.texts(line), size, figure.known])
    head = [*(["part"] if paper.parts else []), "data", "cell", "metric", "published", "measured",
            "difference [95 %]", "epochs, replicates, images", "the published number is"]  # fmt: skip
    return table(head, rows, "Nothing was published.")


def cells_block(paper: Paper, measured: Rows) -> str:
    """Every measured cell: its metrics at the end of training, its size, what was run."""
    rows = []
    for row in best_rows(paper, measured):
        scores = [
            f"{name.removeprefix('test_')} {_mean_sd(name, values)}"
            for name, values in row.items() if name.startswith("test_") and name != "test_loss" and "_at_" not in name
        ]  # fmt: skip
        size = row.get("cost_trainable")
        rows.append([
            *([row.get("part", "")] if paper.parts else []), row["data"], row["cell"], "; ".join(scores),
            "–" if size is None else f"{size:,.0f}", str(row["epochs"]), str(row["replicates"]),
            f"{row.get('images') or 0:,}", f"{row.get('seconds') or math.nan:,.0f}",
            f"{row['commit'][:8]}{'+' if row.get('dirty') else ''}",
        ])  # fmt: skip
    head = [*(["part"] if paper.parts else []), "data", "cell", "mean ± sd over replicates", "trainable", "epochs",
            "replicates", "images", "s a replicate", "commit"]  # fmt: skip
    return table(head, rows)


def _mean_sd(name: str, values: Sequence[float]) -> str:
    line = figures.FigureLine("", name, None, np.atleast_1d(np.array(values, float)), 0)
    return figures.texts(line)[1] + (" %" if "accuracy" in name else "")


def effects_block(paper: Paper, measured: Rows) -> str:
    """The verdicts of the recorded studies, controls among them."""
    return "\n\n".join(kept.lines_of(row, "###") for row in measured.get("study", [])) or NOTHING


BLOCKS: dict[str, Callable[[Paper, Rows], str]] = {
    "figures": figures_block, "cells": cells_block, "effects": effects_block,
}  # fmt: skip


def write(paper: Paper) -> None:
    """Make the generated blocks of a paper's README.md again."""
    measured = recording.read(paper.measured_file)
    page = paper.folder / "README.md"
    blocks = {name: (lambda make=make: make(paper, measured)) for name, make in BLOCKS.items()}
    write_text(page, render(page.read_text(encoding="utf-8"), blocks))


def main(arguments: list[str]) -> int:
    """The command; 0, or 2 where the request is wrong."""

    def make() -> None:
        if len(arguments) != 1:
            raise ConfigError("python -m dopant.papers.readme NAME: name one paper; `dopant papers` lists them")
        paper: Paper = registry.papers.get(arguments[0])
        if paper.page:
            raise ConfigError(f"the page of {paper.name!r} is made by `{paper.page}`")
        write(paper)
        print(f"README.md of {paper.name}")

    return recording.told(make)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
