"""How a comparison is written, the same in the terminal and on the page."""

from __future__ import annotations

import math
from typing import Any

from ..study.report.words import MINUS, clean, is_missing, number
from . import figures
from .compare import NONE, Difference, kinds_used
from .reproduce import Line, Reproduction


def notes(found: Reproduction) -> list[str]:
    """What must be known beside the table."""
    lines = [f"Difference: measured minus published, percentage points; {k}." for k in
             kinds_used([line.difference for line in found.lines])]  # fmt: skip
    if not found.paper.counterparts:
        lines = [f"Difference: measured minus published; {k}." for k in figures.meanings(found.figures)]
    if found.paper.part(found.part or None)[1].data.get(found.data) is None:
        lines.append(f"The paper has no numbers for {found.data}: nothing to compare with.")
    elif not found.comparable:
        lines.append("A smoke run, on few images and with short circuits: it shows that everything works, so no "
                     "difference is given; leave --quick out to measure.")  # fmt: skip
    lines += [said for line in found.lines for said in ended_badly(line)]
    lines += [beside(line) for line in found.lines if line.near is not None]
    duplicates = dict.fromkeys(
        f"{s.variant}, {s.data}, level {s.level}: {s.duplicates}, so {s.distinct} distinct runs."
        for s in (line.series for line in found.lines) if s is not None and s.duplicates
    )  # fmt: skip
    return [*lines, *ends(found), *duplicates, *found.remarks]


def ended_badly(line: Line) -> list[str]:
    """How many trials of a cell failed, what they count as, and what the others alone say; how many were lost."""
    have, said = line.measured, []
    if have is None:
        return said
    ended = have.finished + have.lost
    if have.failed and have.failure_value is not None:
        metric, each = have.metric.replace("_", " "), "it" if have.failed == 1 else "each"
        text = (f"{line.cell}: {have.failed} of {ended} trials failed and counted as {metric} "
                f"{have.failure_value:.3g} from the epoch on that {each} did not finish; complete cases: ")  # fmt: skip
        if have.complete is None or not len(have.complete):
            text += "none"
        else:
            epoch = line.complete.epoch if line.complete else have.epochs
            values = have.complete[:, epoch - 1]
            text += plus_minus(float(values.mean()), spread(values), len(values))
            text += f", difference {gap_text(line.complete)}" if line.complete else ""
        said.append(f"{text}.")
    if have.lost:
        was = "was" if have.lost == 1 else "were"
        said.append(f"{line.cell}: {have.lost} of {ended} trials {was} lost to a crash or an error of the code and "
                    "left out; the same command tries again.")  # fmt: skip
    return said


def beside(line: Line) -> str:
    """Of a cell that nobody published: what the published series nearest to it reached, as a remark."""
    near, have = line.near, line.measured
    assert near is not None
    at = min(have.epochs, near.epochs) if have is not None and have.epochs else near.epochs
    epochs = dict.fromkeys((at, near.epochs))
    reached = " and ".join(f"{100 * near.curves['test_accuracy'][e - 1]:.2f} % at epoch {e}" for e in epochs)
    return (f"{line.cell}: nothing was published for it; under the same recipe the published {near.variant} layer "
            f"reached {reached}.")  # fmt: skip


def row(line: Line) -> tuple[str, ...]:
    """(cell, epoch, published, measured, difference) as text, at the last epoch that both have."""
    have, series, gap = line.measured, line.series, line.difference
    epoch = gap.epoch if gap else (have.epochs if have else None)
    published = measured = "–"
    if series is not None:
        at = min(epoch or series.epochs, series.epochs)
        published = plus_minus(series.curves["test_accuracy"][at - 1], series.curves["test_accuracy_sd"][at - 1],
                               series.distinct)  # fmt: skip
        if epoch is None:
            epoch = at
    if have is not None and have.epochs and epoch:
        values = have.curves[have.metric][:, min(epoch, have.epochs) - 1]
        measured = plus_minus(float(values.mean()), spread(values), len(values))
        measured += f"\n{have.failed} of {have.finished} failed" if have.failed else ""
    return clean(line.cell), number(epoch), published, measured, gap_text(gap)


def ends(found: Reproduction) -> list[str]:
    """The published figures at their own last epoch, so that an early one is not taken for the result."""
    later = {
        (s.variant, s.level): f"{s.variant} level {s.level} {100 * s.curves['test_accuracy'][-1]:.2f} (ep. {s.epochs})"
        for s in (line.series for line in found.lines if line.measured is not None) if s is not None
    }  # fmt: skip
    shorter = any(
        line.series is not None and line.measured is not None and line.measured.epochs < line.series.epochs
        for line in found.lines
    )
    return [f"Published in the end: {', '.join(later.values())}."] if shorter else []


def spread(values: Any) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def plus_minus(mean: float, sd: float, n: int) -> str:
    """`92.34±0.14 (5)`; one run has no spread."""
    tail = "" if is_missing(sd) else f"±{100 * sd:.2f}"
    return f"{100 * mean:.2f}{tail} ({n})"


def gap_text(gap: Difference | None) -> str:
    """`+0.08 [−0.20, +0.36]`, with a ! where zero is outside."""
    if gap is None:
        return "–"
    if gap.kind == NONE:
        return points(gap.mean)
    return f"{points(gap.mean)} [{points(gap.low)}, {points(gap.high)}]" + ("" if gap.inside else " !")


def points(value: float) -> str:
    """A difference in percentage points."""
    text = f"{100 * value:+.2f}"
    return text.replace("-", MINUS) if text not in ("-0.00", "+0.00") else "0.00"
