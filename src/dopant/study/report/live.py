"""A look at a running study, for a terminal (redrawn in place) and as plain lines for a log."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .brief import one_line
from .words import Measure, difference, duration, interval, measure, number, plain, score

if TYPE_CHECKING:
    from ..watch import Look, Running, SoFar

MOST_EFFECTS = 12  # the terminal's own height may allow fewer
STALE = 10.0  # seconds without a sign of life that are worth a colour
NARROW = 90  # columns below which workers are not named


def picture(look: Look, height: int = 40, width: int = 100) -> RenderableType:
    """The look as a display of at most `height` lines."""
    ended = look.counts["done"] + look.counts["failed"]
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(one_line(look.name), style="bold"),
        ProgressBar(total=max(1, look.counts["planned"]), completed=ended, width=min(30, width // 4)),
        Text(counted(look)),
    )
    parts: list[RenderableType] = [head, Text(pace(look), style="dim")]
    rest = height - 6
    failures = look.failures[:3]
    running = look.running[: max(3, rest // 2)]
    if running:
        parts += [Text(), _running(running, width)]
        if len(look.running) > len(running):
            parts.append(Text(f"and {len(look.running) - len(running)} more", style="dim"))
    rest -= len(running) + len(failures) + 4
    effects = look.estimates[: max(2, min(MOST_EFFECTS, rest))]
    if any(e.pairs for e in effects):
        parts += [Text(), _effects(effects)]
        if len(look.estimates) > len(effects):
            parts.append(Text(f"and {len(look.estimates) - len(effects)} more effects", style="dim"))
        if look.state != "finished":
            parts.append(Text(no_verdict(look), style="dim"))
    if failures:
        parts += [Text(), *[Text(f"failed: {line}", style="red") for line in failed(look)[:3]]]
        if look.counts["failed"] > len(failures):
            parts.append(Text(f"failed: {look.counts['failed']} in all", style="red"))
    parts += [Text(f"note: {one_line(note)}", style="yellow") for note in look.notes]
    return Group(*parts)


def counted(look: Look) -> str:
    """`12 of 54 done, 2 running, 40 pending`."""
    c = look.counts
    said = [f"{c['done']} of {c['planned']} done"]
    said += [f"{c['failed']} failed"] * bool(c["failed"])
    said += [f"{c[k]} {k}" for k in ("running", "pending") if c[k]]
    return ", ".join(said)


def pace(look: Look) -> str:
    """Who works, how fast, until when."""
    if look.state == "starting":
        return "nothing is planned yet"
    if look.state == "finished":
        return "finished; `dopant report` writes the page"
    workers = f"{look.workers} worker{'' if look.workers == 1 else 's'} alive"
    if look.state == "idle":
        return f"{workers}: no trial is being worked on; if it stays so, `dopant run` with the same study goes on"
    said = [workers]
    if look.per_hour is not None:
        each = look.seconds_per_trial or 0.0
        said.append(f"{number(look.per_hour)} trials an hour ({duration(each) if each >= 1 else '< 1 s'} each)")
    left = look.seconds_left
    said.append("time left unknown yet" if left is None else f"about {duration(left)} left at this pace")
    return ", ".join(said)


def no_verdict(look: Look) -> str:
    """What the effects so far are not."""
    there = sorted({e.pairs for e in look.estimates})
    said = f"{there[0]}" if len(there) == 1 else f"{there[0]} to {there[-1]}"
    said += f" of {look.estimates[0].replicates} replicates"
    return f"not a verdict: {said}; whoever stops when it pleases finds effects that are none"


def failed(look: Look) -> list[str]:
    return [one_line(f"{f.cell}, replicate {f.replicate}: {f.reason}") for f in look.failures]


def _running(running: list[Running], width: int) -> Table:
    wide = width >= NARROW
    body = Table(box=None, pad_edge=False, header_style="dim")
    body.add_column("running", overflow="fold", ratio=3, min_width=12)
    if wide:
        body.add_column("worker", overflow="fold")
    for title in ("replicate" if wide else "r", "epoch", "last score", "seen"):
        body.add_column(title, justify="right", no_wrap=True)
    for r in running:
        worker = [Text(_worker(r), style="" if r.alive is not False else "red")] * wide
        body.add_row(
            Text(_called(r)), *worker, str(r.replicate), _epoch(r), Text(_scored(r) if wide else _short(r)),
            Text(_seen(r), style="red" if r.silent > STALE or r.alive is False else ""),
        )  # fmt: skip
    return body


def _called(r: Running) -> str:
    return one_line(r.cell) + ("" if r.phase == "main" else f" ({one_line(r.phase)})")


def _worker(r: Running) -> str:
    return one_line(r.worker) if len(r.worker) <= 28 else "…" + one_line(r.worker)[-27:]


def _epoch(r: Running) -> str:
    if r.epoch is None:
        return f"–/{r.epochs}" if r.epochs else "–"
    done = f"{r.epoch:.1f}".removesuffix(".0")
    return f"{done}/{r.epochs}" if r.epochs else done


def _scored(r: Running) -> str:
    if not r.metric or math.isnan(r.value):
        return "–"
    return f"{plain(r.metric)} {score(r.value, measure(r.metric, [r.value]))}"


def _short(r: Running) -> str:
    return _scored(r).removeprefix("validation ")


def _seen(r: Running) -> str:
    return "process ended" if r.alive is False else f"{r.silent:.0f} s ago"


def _effects(effects: list[SoFar]) -> Table:
    body = Table(box=None, pad_edge=False, header_style="dim")
    body.add_column("effect so far", overflow="fold", ratio=3)
    body.add_column("against", overflow="fold", ratio=2)
    for title in ("mean [95 % interval]", "replicates"):
        body.add_column(Text(title), justify="right", no_wrap=True)
    for e in effects:
        name = one_line(e.swap) if e.role in ("level", "main", "race") else f"{e.role}: {one_line(e.swap)}"
        body.add_row(Text(name), Text(one_line(e.versus)), value(e), f"{e.pairs} of {e.replicates}")
    return body


def value(e: SoFar) -> str:
    """`+1.20 [0.40, 2.00] pp`."""
    if not e.pairs:
        return "–"
    metric = Measure(e.metric, e.share)
    between = f" {interval(e.low, e.high, metric)}" if math.isfinite(e.low) else ""
    return f"{difference(e.mean, metric)}{between}{metric.short}"


def lines(look: Look) -> list[str]:
    """The look as plain lines: one on the whole, one for each running trial, one for each effect and failure."""
    found = [f"{one_line(look.name)}: {counted(look)}; {pace(look)}"]
    for r in look.running[:8]:
        found.append(
            f"  running: {_called(r)}, replicate {r.replicate}, epoch {_epoch(r)}, {_scored(r)}; {one_line(r.worker)}, "
            f"{_seen(r)}"
        )
    if len(look.running) > 8:
        found.append(f"  and {len(look.running) - 8} more are running")
    for e in look.estimates[:MOST_EFFECTS]:
        if e.pairs:
            word = "" if look.state == "finished" else f" (not a verdict: {e.pairs} of {e.replicates} replicates)"
            found.append(f"  effect so far: {one_line(e.swap)} against {one_line(e.versus)}: {value(e)}{word}")
    found += [f"  failed: {line}" for line in failed(look)]
    return found + [f"  note: {one_line(note)}" for note in look.notes]
