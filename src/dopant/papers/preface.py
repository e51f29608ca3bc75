"""What a reproduction's page begins with: the paper, published beside measured, remarks."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from .. import registry
from ..study.report.preface import Block
from ..study.report.tables import Entry, Header, Table
from ..study.report.words import clean
from . import figures, words
from .paper import Paper
from .recording import STARTS
from .reproduce import Line, Reproduction, beside_each_other

COLUMNS = (
    ("cell", ""), ("published, %", "mean ± sd (distinct runs), at the epoch of this row"),
    ("measured, %", "mean ± sd (runs)"),
    ("difference, pp", "measured minus published"), ("95 % interval", "a ! where zero is outside"),
    ("epoch", "the last one that both have"), ("replicates", ""), ("images", "that trained"),
)  # fmt: skip


def blocks_of(answer: Any) -> list[Block]:
    """The blocks of a study's folder that `dopant reproduce` began; none where it did not, or the paper is unknown."""
    path = answer.folder / STARTS
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if known.get("paper") not in registry.papers:
        return []
    return blocks(registry.papers.get(known["paper"]), known["data"], answer, known.get("part", ""))


def blocks(paper: Paper, data: str, answer: Any, part: str = "") -> list[Block]:
    """Title and source, a banner where nothing can be compared, the table, the remarks."""
    found = beside_each_other(paper, data, answer, part)
    said = [Block("heading", paper.title), Block("text", paper.source)]
    if not found.comparable:
        said.append(Block("banner", _warning(found)))
    shown = _table(found) if paper.counterparts else _figures(found)
    said.append(Block("table", f"{data}: published beside measured", shown))
    return [*said, *(Block("text", line) for line in words.notes(found))]


def _warning(found: Reproduction) -> str:
    images = max((line.measured.images or 0 for line in found.lines if line.measured is not None), default=0)
    what = f"A smoke run on {images:,} images" if images else "A smoke run"
    if found.paper.part(found.part or None)[1].data.get(found.data) is None:
        what = f"A run on {found.data}, for which the paper has no numbers"
    return f"{what}: nothing here can be compared with the paper."


def _table(found: Reproduction) -> Table:
    rows = [_row(line) for line in found.lines]
    return Table(
        [Header(name, name, note, number > 0) for number, (name, note) in enumerate(COLUMNS)],
        [[row[0], *(replace(e, class_="number") for e in row[1:])] for row in rows],
    )


def _figures(found: Reproduction) -> Table:
    """Numbers of the end of training; see `figures`."""
    names = ("cell", "metric", "published", "measured", "measured minus published [95 %]", "the published number is")
    rows = []
    for line in found.figures:
        published, measured, gap = figures.texts(line)
        mean = repr(float(line.values.mean())) if len(line.values) else None
        value = None if line.figure is None else repr(line.figure.value)
        rows.append([
            Entry(clean(line.cell)), Entry(figures.label(line.metric, line.values.tolist())),
            Entry(published, value, "number"), Entry(measured, mean, "number"),
            Entry(gap, None if math.isnan(line.difference) else repr(line.difference), "number"),
            Entry("–" if line.figure is None else clean(line.figure.known)),
        ])  # fmt: skip
    return Table([Header(n, n, "", i in (2, 3, 4)) for i, n in enumerate(names)], rows)


def _row(line: Line) -> list[Entry]:
    cell, epoch, published, measured, _ = words.row(line)
    gap, have = line.difference, line.measured
    known = have is not None and have.epochs > 0
    between = gap is not None and not math.isnan(gap.low)
    return [
        Entry(cell), Entry(published), Entry(measured),
        Entry(words.points(gap.mean), repr(gap.mean)) if gap else Entry("–"),
        Entry(f"[{words.points(gap.low)}, {words.points(gap.high)}]{'' if gap.inside else ' !'}") if gap and between
        else Entry("–"),
        Entry(epoch), Entry(str(have.replicates) if have and known else "–"),
        Entry(f"{have.images:,}" if have and known and have.images else "–"),
    ]  # fmt: skip
