"""The answer and the progress of a study in a terminal, or in a log where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .forest import against_level, role_of
from .words import (
    Measure,
    clean,
    difference,
    duration,
    interval,
    is_missing,
    kind_of,
    measure_of,
    number,
    p_value,
    score,
)  # fmt: skip

STYLES = {"beyond": "bold blue", "explained": "yellow", "same": "dim", "unclear": "magenta", "worse": "red", "none": ""}
WIDTH = 100
ACCURACY = Measure("accuracy", True)
EVERY = 10.0  # seconds between two plain lines


def table(answer: Any) -> RenderableType:
    """The effects, the verdicts in a line each (the page has the whole sentences) and the page's path; at most 100
    columns wide. Names are printed as they are: neither rich's markup nor escape sequences in them have an effect."""
    from .. import verdicts

    parts: list[RenderableType] = []
    if len(answer.effects):
        parts += [_effects(answer.effects, measure_of(answer)), Text()]
    for sentence, line in zip(answer.verdicts, verdicts.short(answer.effects), strict=True):
        kind, _ = kind_of(sentence)
        mark = Text(f"{kind.symbol} ", style=STYLES[kind.key])
        parts.append(Text.assemble(mark, clean(line)))
    if answer.verdicts:
        parts.append(Text())
    if not answer.verdicts:
        parts.append(Text("No verdict yet: no effect has both its arms finished."))
    counts = getattr(answer, "counts", None)
    if counts:
        said = ", ".join(f"{k} {counts.get(k, 0)}" for k in ("planned", "done", "failed"))
        parts.append(Text(said))
    failures = list(getattr(answer, "failures", []))
    parts += [Text(clean(f"failed: {line}"), style="red") for line in failures[:5]]
    if len(failures) > 5:
        parts.append(Text(f"failed: {len(failures) - 5} more; the page lists every trial"))
    if getattr(answer, "folder", None):
        parts.append(Text(f"report: {clean(Path(answer.folder) / 'report.html')}"))
    return Narrow(Group(*parts))


class Narrow:
    """What it holds, never wider than 100 columns."""

    def __init__(self, inner: RenderableType):
        self.inner = inner

    def __rich_console__(self, console: Console, options: Any):
        yield from console.render(self.inner, options.update_width(min(options.max_width, WIDTH)))


def _effects(effects: Any, metric: Measure) -> Table:
    unit = f" ({metric.unit})" if metric.unit else ""
    title = Text(f"Effects on {metric.label}{unit}, 95 % intervals")
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False)
    shown.add_column("swap", overflow="fold", ratio=3)
    shown.add_column("versus", overflow="fold", ratio=1, min_width=7)
    corrected = "p (corrected)" if "max-t" in set(effects.get("correction", ())) else "p (Holm)"
    for name in ("mean [low, high]", corrected, "n"):
        shown.add_column(
            Text(name),  # not markup
            justify="right",
            no_wrap=True,
        )
    shown.add_column("verdict", overflow="fold", ratio=2)
    for row in (r for group in against_level(effects) for r in group):
        role = role_of(row)
        kind, _ = kind_of(row.get("verdict"))
        name = clean(row.get("swap", "")) if role == "level" else f"  {role}: {clean(row.get('swap', ''))}"
        values = f"{difference(row.get('mean'), metric)} {interval(row.get('low'), row.get('high'), metric)}"
        verdict = (
            "" if is_missing(row.get("verdict")) else clean(row["verdict"]).removesuffix(" than").removesuffix(" to")
        )
        n = "" if is_missing(row.get("replicates")) else str(int(row["replicates"]))
        shown.add_row(
            Text(name, style="bold" if role == "level" else ""), Text(clean(row.get("versus", ""))), values,
            p_value(row.get("p_holm")), n, Text(verdict, style=STYLES[kind.key]),
        )  # fmt: skip
    return shown


class Estimate:
    """How long a study will still take, from what was seen of it: seconds per epoch of each cell.

    A cell not seen yet is taken to be as slow as the mean of those seen. A trial without epochs counts as one.
    """

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}  # by cell, seconds
        self.gone: dict[str, float] = {}  # by cell, epochs
        self.before: dict[str, tuple[float, str]] = {}  # by trial: epochs done, state
        self.at: float | None = None
        self.together = 1

    def update(self, rows: list[dict[str, Any]], now: float) -> float | None:
        """Takes the rows as they are now -> seconds left, None while nothing is known."""
        elapsed = 0.0 if self.at is None else now - self.at
        self.together = max(self.together, sum(row["state"] == "running" for row in rows))
        shares: list[tuple[str, float, float]] = []  # cell, seconds, epochs
        for row in rows:
            done, state = _epoch(row), row["state"]
            if row["id"] in self.before:
                epochs, before = self.before[row["id"]]
                running = (before == "running") + (state == "running")  # one that began or ended ran for half the time
                running = running or 2 * (before == "pending" and state == "done")
                if running:
                    shares.append((row["cell"], elapsed * running / 2, max(0.0, done - epochs)))
            self.before[row["id"]] = (done, state)
        self.at = now
        shared = sum(seconds for _, seconds, _ in shares)
        fair = min(1.0, elapsed * self.together / shared) if shared else 1.0
        for cell, seconds, epochs in shares:
            self.spent[cell] = self.spent.get(cell, 0.0) + fair * seconds
            self.gone[cell] = self.gone.get(cell, 0.0) + epochs
        pace = {cell: self.spent[cell] / gone for cell, gone in self.gone.items() if gone > 0}
        left = [(row["cell"], _epochs(row) - _epoch(row)) for row in rows if row["state"] in ("pending", "running")]
        if not left:
            return 0.0
        if not pace:
            return None
        mean = sum(self.spent[c] for c in pace) / sum(self.gone[c] for c in pace)
        return sum(pace.get(cell, mean) * max(0.0, epochs) for cell, epochs in left) / min(self.together, len(left))


def _epochs(row: dict[str, Any]) -> float:
    return (row.get("progress") or {}).get("epochs") or row.get("epochs") or 1


def _epoch(row: dict[str, Any]) -> float:
    """Epochs that a trial has behind it."""
    if row["state"] == "done":
        return _epochs(row)
    if row["state"] == "pending":
        return 0
    progress = row.get("progress") or {}
    done = max(0, progress.get("epoch") or 0)  # phases before the first epoch count down to 0
    return done + (progress.get("fraction") or 0)


class LiveProgress:
    """A context manager that shows how far a study is; `.update(rows, counts)` is called at each poll.

    rows: those of `Store.rows()`; counts: those of `Store.counts()`. In a terminal a display that is redrawn in place;
    elsewhere (a log, a pipe) one plain line at most every `every` seconds, and one at the end.
    """

    def __init__(
        self,
        name: str,
        console: Console | None = None,
        *,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.name, self.console, self.every, self.clock = clean(name), console or Console(), every, clock
        self._live: Live | None = None
        self._estimate = Estimate()
        self._latest: tuple[list[dict[str, Any]], dict[str, int], float | None] | None = None
        self._spoke: float | None = None
        self._began = clock()

    def __enter__(self) -> LiveProgress:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
            self._live = None
        if self._latest is not None:
            _, counts, _ = self._latest
            took = duration(self.clock() - self._began)
            self._say(f"{_summary(self.name, counts)}; {took} so far" if _open(counts) else
                      f"{_summary(self.name, counts)}; took {took}")  # fmt: skip

    def update(self, rows: list[dict[str, Any]], counts: dict[str, int]) -> None:
        """Shows the study as it is now."""
        now = self.clock()
        left = self._estimate.update(rows, now)
        known, open_ = len(rows) - counts.get("done", 0) - counts.get("failed", 0), counts.get("planned", 0)
        open_ -= counts.get("done", 0) + counts.get("failed", 0)
        if left is not None and 0 < known < open_:  # trials that wait for tuning to end are taken to be like the rest
            left *= open_ / known
        self._latest = (rows, counts, left)
        if self._live is not None:
            self._live.update(self._picture(rows, counts, left), refresh=True)
        elif self._spoke is None or now - self._spoke >= self.every:
            self._spoke = now
            self._say(_plain_line(self.name, rows, counts, left))

    def _say(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)

    def _picture(self, rows: list[dict[str, Any]], counts: dict[str, int], left: float | None) -> RenderableType:
        planned, ended = counts.get("planned", 0), counts.get("done", 0) + counts.get("failed", 0)
        head = Table.grid(padding=(0, 2))
        head.add_row(Text(_summary(self.name, counts), style="bold"),
                     ProgressBar(total=max(planned, 1), completed=ended, width=24), Text(_left(left)))  # fmt: skip
        running = [row for row in rows if row["state"] == "running"]
        if not running:
            return head
        body = Table(box=None, pad_edge=False, header_style="dim")
        body.add_column("trial", overflow="fold")
        for title in ("replicate", "epoch", "loss", "accuracy"):
            body.add_column(title, justify="right")
        height = max(3, self.console.size.height - 5)
        for row in running[:height]:
            progress = row.get("progress") or {}
            body.add_row(Text(_called(row)), _replicate(row), _at(row), number(progress.get("loss")),
                         score(progress.get("accuracy"), ACCURACY))  # fmt: skip
        if len(running) > height:
            body.add_row(Text(f"and {len(running) - height} more", style="dim"))
        return Group(head, Padding(body, (0, 0, 0, 2)))


def _open(counts: dict[str, int]) -> bool:
    return counts.get("planned", 0) > counts.get("done", 0) + counts.get("failed", 0)


def _summary(name: str, counts: dict[str, int]) -> str:
    text = f"{name}: {counts.get('done', 0)} of {counts.get('planned', 0)} trials done"
    return text + (f", {counts['failed']} failed" if counts.get("failed") else "")


def _left(left: float | None) -> str:
    return "time left unknown yet" if left is None else "" if left == 0 else f"about {duration(left)} left"


def _called(row: dict[str, Any]) -> str:
    return clean(row["cell"]) + (" (tuning)" if row.get("phase") == "tuning" else "")


def _replicate(row: dict[str, Any]) -> str:
    return "" if is_missing(row.get("replicate")) else str(row["replicate"])


def _at(row: dict[str, Any]) -> str:
    """`epoch/epochs`; the step where a trial has no epochs."""
    progress = row.get("progress") or {}
    epochs = progress.get("epochs") or row.get("epochs")
    if epochs:
        fraction = progress.get("fraction") or 0
        done = progress.get("epoch") or 0
        return f"{done + fraction:.1f}/{epochs}" if fraction else f"{done}/{epochs}"
    return f"step {progress['step']}" if progress.get("step") is not None else "–"


def _plain_line(name: str, rows: list[dict[str, Any]], counts: dict[str, int], left: float | None) -> str:
    parts = [_summary(name, counts)]
    for row in [r for r in rows if r["state"] == "running"][:4]:
        progress = row.get("progress") or {}
        said = f"{_called(row)}, replicate {_replicate(row)}, epoch {_at(row)}"
        if not is_missing(progress.get("loss")):
            said += f", loss {number(progress['loss'])}"
        if not is_missing(progress.get("accuracy")):
            said += f", accuracy {score(progress['accuracy'], ACCURACY)}"
        parts.append(said)
    if _left(left):
        parts.append(_left(left))
    return "; ".join(parts)
