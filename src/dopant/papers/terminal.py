"""The comparison of published and measured numbers in a terminal, at most 100 columns wide."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..study.report.terminal import Narrow
from ..study.report.terminal import table as effects_of
from ..study.report.words import clean, number
from . import figures, words
from .compare import Measured
from .reproduce import Reproduction


def table(found: Reproduction) -> RenderableType:
    """Accuracies at the last epoch that both have, what was trained, what the intervals are, remarks, paths."""
    parts: list[RenderableType] = [Text(f"{found.paper.title}\n{found.paper.source}", style="dim"), Text()]
    if not found.paper.counterparts:
        said = [Text(clean(line)) for line in words.notes(found)]
        return Narrow(Group(*parts, _figures(found), Text(), *said, Text(), effects_of(found.answer)))
    parts += [_accuracies(found), Text(), _work(found), Text()]
    parts += [Text(clean(line)) for line in words.notes(found)]
    counts = found.answer.counts
    parts.append(Text(", ".join(f"{k} {counts.get(k, 0)}" for k in ("planned", "done", "failed")) + " trials"))
    failures = found.answer.failures
    parts += [Text(clean(f"failed: {line}"), style="red") for line in failures[:5]]
    if len(failures) > 5:
        parts.append(Text(f"failed: {len(failures) - 5} more"))
    parts.append(Text(f"every epoch: {found.curves}"))
    parts.append(Text(f"report: {found.answer.folder / 'report.html'}"))
    return Narrow(Group(*parts))


def _accuracies(found: Reproduction) -> Table:
    read = "test" if any(m.metric == "test_accuracy" for m in _measured(found)) else "validation"
    where = "last epoch that both have" if found.comparable else "last epoch measured"
    title = f"{found.data}: {read} accuracy in %, mean±sd (runs), at the {where}"
    shown = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    shown.add_column("cell", overflow="fold", min_width=14)
    shown.add_column("epoch", justify="right", no_wrap=True)
    for name in ("published", "measured", "difference [95 %]"):
        shown.add_column(Text(name), justify="right", no_wrap=True)
    for line in found.lines:
        shown.add_row(*(Text(text) for text in words.row(line)))
    return shown


def _figures(found: Reproduction) -> Table:
    """Numbers of the end of training, published beside measured."""
    title = f"{found.data}{', ' + found.part if found.part else ''}: at the end of training, mean ± sd (runs)"
    shown = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    shown.add_column("cell", overflow="fold", min_width=14)
    shown.add_column("metric", overflow="fold", min_width=8)
    for name in ("published", "measured", "difference [95 %]"):
        shown.add_column(Text(name), justify="right", overflow="fold")
    for line in found.figures:
        what = figures.label(line.metric, line.values.tolist())
        shown.add_row(*(Text(clean(text)) for text in (line.cell, what, *figures.texts(line))))
    return shown


def _work(found: Reproduction) -> Table:
    shown = Table(
        title=Text("What was trained; training loss and norm² of the last slot's state, at the last epoch"),
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    shown.add_column("cell", overflow="fold", min_width=14)
    for name in ("lr", "batch", "images", "epochs", "runs", "s/epoch", "loss", "norm²"):
        shown.add_column(Text(name), justify="right", no_wrap=True)
    recipes = {row["cell"]: row["description"]["recipe"] for row in found.answer.rows}
    for line in found.lines:
        have, recipe = line.measured, recipes.get(line.cell)
        said = (f"{recipe['lr']:g}", str(recipe["batch"])) if recipe else ("–", "–")
        rest = ["–"] * 6 if have is None else [
            number(have.images), number(have.epochs), _replicates(have), number(_pace(have)),
            number(_last(have, "train_loss")), number(_norm(have)),
        ]  # fmt: skip
        shown.add_row(Text(clean(line.cell)), *said, *rest)
    return shown


def _replicates(have: Measured) -> str:
    return number(have.replicates) + ("" if have.finished else " under way")


def _pace(have: Measured) -> float | None:
    return None if have.seconds is None or not have.epochs else have.seconds / have.epochs


def _last(have: Measured, name: str) -> float | None:
    values = have.curves.get(name)
    return None if values is None or not values.size else float(values[:, -1].mean())


def _norm(have: Measured) -> float | None:
    names = sorted(name for name in have.curves if name.startswith("state_norm"))
    return _last(have, names[-1]) if names else None  # of conv1, conv2 and head the last


def _measured(found: Reproduction) -> list[Measured]:
    return [line.measured for line in found.lines if line.measured is not None]


def announcement(answer: Any, count: int, quick: bool) -> str:
    """Said before training begins: how much there is to do, where, and how to take a smaller step."""
    counts = answer.counts
    left = counts["pending"] + counts["running"]
    if not left:
        return f"nothing to do: all {counts['planned']} trials of {answer.folder} are finished"
    size = f"{answer.config.recipe.epochs} epochs, {answer.config.replicates} replicate(s)"
    text = (f"{counts['planned']} trials planned ({size}), {counts['done']} done, {left} to run by {count} workers; "
            f"results in {answer.folder}")  # fmt: skip
    if not quick and answer.config.recipe.epochs * answer.config.replicates > 10:
        text += "\nstopping is safe at any time; a smaller step first: --epochs 1 --replicates 1, the same folder grows"
    return text
