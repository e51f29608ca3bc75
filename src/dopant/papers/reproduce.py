"""`dopant reproduce PAPER`: train the published cells, and lay what was published beside what was measured."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import ConfigError, DopantError
from ..study.answer import write_text
from . import figures, recording
from .compare import (
    Difference,
    Measured,
    Series,
    complete_cases,
    curve_table,
    kinds_used,
    last_common,
    measured_of,
    near_of,
    published_of,
)
from .paper import Paper

CURVES = "published-beside-measured.csv"


@dataclass(frozen=True)
class Line:
    """One cell: its published series, what was measured, their difference at the last epoch that both have.

    same_recipe: whether the two may be compared: a series of this very cell, and a run on the whole data.
    near: where nothing was published of the cell, the series that a remark names beside it.
    complete: the difference of complete cases alone, where a trial failed.
    """

    cell: str
    series: Series | None
    same_recipe: bool
    measured: Measured | None
    difference: Difference | None
    near: Series | None = None
    complete: Difference | None = None


@dataclass(frozen=True)
class Reproduction:
    """The comparison of one study folder. comparable: whether the data are those of the paper, whole."""

    paper: Paper
    data: str
    answer: Any
    lines: list[Line]
    comparable: bool
    remarks: list[str]
    recorded: list[str]
    curves: Path
    part: str = ""
    figures: list[figures.FigureLine] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return self.answer.counts["failed"]

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints: stable."""
        return {
            "paper": self.paper.name, "source": self.paper.source, "data": self.data,
            "folder": str(self.answer.folder), "counts": self.answer.counts, "comparable": self.comparable,
            "cells": [self._cell(line) for line in self.lines],
            "intervals": kinds_used([line.difference for line in self.lines]), "remarks": self.remarks,
            "recorded": self.recorded, "curves": str(self.curves), "failures": self.answer.failures,
            "part": self.part, "figures": [line.to_json() for line in self.figures],
        }  # fmt: skip

    def _cell(self, line: Line) -> dict[str, Any]:
        have, series = line.measured, line.series
        found: dict[str, Any] = {"cell": line.cell, "same_recipe": line.same_recipe}
        found |= {"measured": None, "published": None, "difference": None, "complete_cases": None}
        if have is not None and have.epochs:
            values = have.curves[have.metric]
            found["measured"] = {
                "metric": have.metric, "epochs": have.epochs, "replicates": have.replicates, "images": have.images,
                "seconds": have.seconds, "mean": values.mean(0).tolist(),
                "sd": values.std(0, ddof=1).tolist() if have.replicates > 1 else None,
                "failed": have.failed, "lost": have.lost, "failure_value": have.failure_value,
            }  # fmt: skip
        if series is not None:
            found["published"] = {
                "variant": series.variant, "level": series.level, "runs": series.distinct, "epochs": series.epochs,
                "mean": list(series.curves["test_accuracy"]), "sd": list(series.curves["test_accuracy_sd"]),
            }  # fmt: skip
        for name, gap in (("difference", line.difference), ("complete_cases", line.complete)):
            if gap is not None:
                known = dataclasses.asdict(gap) | {"inside": gap.inside}
                found[name] = {k: None if isinstance(v, float) and v != v else v for k, v in known.items()}
        return found


def reproduce(
    name: str,
    *,
    data: str | None = None,
    part: str | None = None,
    epochs: int | None = None,
    replicates: int | None = None,
    workers: int | None = None,
    quick: bool = False,
    record: bool = False,
    out: str | Path | None = None,
    command: Sequence[str] | None = None,
    progress: Any = None,
    before_start: Callable[[Any, int], None] | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> Reproduction:
    """Train the published cells of a paper, resume or grow them, and compare.

    data: one of the paper's data sets, by default its first. part: one of its studies, where it has several. quick: a
    smoke run on few images.
    record: add one row per finished cell to the paper's measured.toml, as soon as the cell has all its replicates; not
    with quick.
    progress, before_start: as `dp.run`. say: gets one line for each recorded row.
    Raises UnknownName for a paper or data set, ConfigError for a wrong request, DataMissing without the data.
    """
    paper: Paper = registry.papers.get(name)
    part, chosen = paper.part(part)
    data = paper.check_data(data, part or None)
    for label, value in (("epochs", epochs), ("replicates", replicates), ("workers", workers)):
        if value is not None and value < 1:
            raise ConfigError(f"--{label}: {value} is too few; take 1 or more")
    if record and quick:
        raise ConfigError("--record --quick: rows of a smoke run have no place in measured.toml; leave one of them out")
    checkout = recording.require_checkout(paper.folder) if record else recording.checkout_of(paper.folder)
    study = chosen.study(data, quick)
    folder = Path(out) if out else Path("runs") / study.name
    before = held(folder)
    if before is not None and _data_name(before) != data:
        has = _data_name(before)
        raise ConfigError(f"--out {str(folder)!r}: this folder holds {has}, and {data} was asked for; take another "
                          f"--out, or --data {has}")  # fmt: skip
    study = sized(study, before, epochs, replicates)
    command = list(command or ["dopant", "reproduce", name])
    recorder = Recorder(paper, part, data, command, checkout, say) if record and checkout else None

    def begin(answer: Any, count: int) -> None:
        recording.note_start(answer.folder, answer, command, checkout, paper=paper.name, part=part, data=data)
        if before_start:
            before_start(answer, count)

    from ..study.run import run

    watched = Watched(progress, recorder, folder) if recorder else progress
    try:
        answer = run(study, out=folder, workers=workers, command=command, progress=watched, before_start=begin)
    except ConfigError as error:
        if before is None or not any("--fork" in problem for problem in error.problems):
            raise
        raise ConfigError(_in_our_words(error.problems, before, study, folder)) from None
    if recorder:
        recorder.take(answer, last=True)
        recorder.take_effects(answer)
    return comparison(paper, data, answer, recorder.rows if recorder else [], part)


def held(folder: Path) -> Any:
    """The study that a folder holds, a dp.Study; None where it holds none."""
    from ..study.results import load_study

    return load_study(folder) if (folder / "study.toml").is_file() else None


def sized(study: Any, before: Any, epochs: int | None, replicates: int | None) -> Any:
    """The study with the asked size. What is not asked for is as usual, or as large as the folder's study `before`
    already is, so that the shorter command goes on with what a longer one has grown."""
    if before is not None:
        epochs = epochs or max(before.recipe.epochs, study.recipe.epochs)
        replicates = replicates or max(before.replicates, study.replicates)
    return study.with_(
        recipe=study.recipe.model_copy(update={"epochs": epochs or study.recipe.epochs}),
        replicates=replicates or study.replicates,
    )


def _data_name(study: Any) -> str:
    return str(study.data.get("name") if isinstance(study.data, Mapping) else study.data)


def _in_our_words(problems: Sequence[str], before: Any, study: Any, folder: Path) -> list[str]:
    """A study that cannot be changed so, told with what this command can do: it can grow a folder, or take another."""
    place = f"--out {str(folder)!r}"
    fewer = [
        f"--{label} {asked}: {place} has trials of {label} {have} already, and a folder only grows; ask for {have} or "
        f"more, or take another --out"
        for label, asked, have in (
            ("epochs", study.recipe.epochs, before.recipe.epochs), ("replicates", study.replicates, before.replicates)
        )
        if asked < have
    ]  # fmt: skip
    if fewer:
        return fewer
    details = [line for line in problems if line.startswith("  ")]
    return [f"{place}: this folder holds a study that this request would change; take another --out", *details]


def comparison(paper: Paper, data: str, answer: Any, recorded: Sequence[str] = (), part: str = "") -> Reproduction:
    """The comparison of a study's folder, finished or not; writes its curves beside it."""
    found = dataclasses.replace(beside_each_other(paper, data, answer, part), recorded=list(recorded))
    write_text(found.curves, curve_table(paper, data, measured_of(answer), found.comparable).to_csv(index=False))
    return found


def beside_each_other(paper: Paper, data: str, answer: Any, part: str = "") -> Reproduction:
    """The comparison alone: nothing is written."""
    measured = measured_of(answer)
    comparable = _whole(paper, part, data, answer)
    lines = []
    for cell in (c.name for c in answer.cells):
        series, have = published_of(paper, data, cell), measured.get(cell)
        difference, complete = (last_common(series, have), complete_cases(series, have)) if comparable else (None, None)
        alike = comparable and series is not None
        lines.append(Line(cell, series, alike, have, difference, near_of(paper, data, cell), complete))
    remarks = paper.remarks(data, measured)
    numbers = [] if paper.counterparts else figures.lines(figures.figures_of(paper, part, data), answer, comparable)
    return Reproduction(
        paper, data, answer, lines, comparable, remarks, [], answer.folder / CURVES, part=part, figures=numbers
    )


def _whole(paper: Paper, part: str, data: str, answer: Any) -> bool:
    """Whether there are published numbers, and all images that they rest on were used."""
    spec = answer.config.data
    limited = isinstance(spec, Mapping) and "limit" in spec and not paper.limited
    return paper.part(part or None)[1].data.get(data) is not None and not limited


class Recorder:
    """Adds a row for each cell that has ended, once."""

    def __init__(
        self,
        paper: Paper,
        part: str,
        data: str,
        command: Sequence[str],
        checkout: recording.Checkout,
        say: Callable[[str], None],
    ):
        self.paper, self.part, self.data = paper, part, data
        self.command, self.checkout, self.say = command, checkout, say
        self.rows: list[str] = []

    def take(self, answer: Any, last: bool = False) -> None:
        """Record every cell of `answer` that has ended and is not recorded yet. Unless `last`, a file that cannot be
        written is told and tried again at the next call: training goes on."""
        due = [cell for cell in recording.finished_cells(answer) if cell not in self.rows]
        if not due:
            return
        measured = measured_of(answer) if self.paper.counterparts else {}
        for cell in due:
            asked: dict[str, Any] = {"data": self.data, "command": self.command, "checkout": self.checkout}
            if self.paper.counterparts:
                row = recording.cell_row(answer, measured[cell], **asked)
            else:
                row = recording.end_row(answer, cell, part=self.part, **asked)
            try:
                done = recording.add(self.paper.measured_file, recording.CELL, row)
            except DopantError as error:
                if last:
                    raise
                self.say(f"dopant: not recorded yet: {error}")
                return
            self.rows.append(cell)
            self.say(f"{done} in {self.paper.measured_file.name}: {self.data}, {cell}, {row['replicates']} replicates, "
                     f"{row['epochs']} epochs")  # fmt: skip

    def take_effects(self, answer: Any) -> None:
        """Record the effects of a finished study, of a paper whose figures are of the end of training."""
        counts = answer.counts
        if self.paper.counterparts or counts["pending"] + counts["running"] or not len(answer.effects):
            return
        from . import kept

        row = kept.row_of(answer, self.part or self.paper.name, recording.command_line(self.command))
        row |= {} if row["commit"] else recording.stamp(self.checkout)
        done = recording.add(self.paper.measured_file, "study", row | {"data": self.data})
        self.say(f"{done} in {self.paper.measured_file.name}: {self.data}, {len(row['effects'])} effects")


class Watched:
    """Progress that also records: at each poll, cells that have ended since the last one."""

    def __init__(self, inner: Any, recorder: Recorder, folder: Path):
        self.inner, self.recorder, self.folder = inner, recorder, folder
        self.ended = -1

    def update(self, rows: list[dict[str, Any]], counts: dict[str, int]) -> None:
        if self.inner is not None:
            self.inner.update(rows, counts)
        ended = sum(row["state"] == "done" for row in rows)
        if ended != self.ended:
            self.ended = ended
            from ..study.results import load

            self.recorder.take(load(self.folder))
