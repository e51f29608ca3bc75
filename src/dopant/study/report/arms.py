"""What every arm of a race, a placement or a design with one thing changed at a time scored, replicate by replicate.

The forest says how each differs from the host, its controls beside it; this says what each reached and how its
replicates lie.
"""

from __future__ import annotations

from typing import Any

from . import dots
from .scores import (
    Chart,
    cells_drawn,
    failed_note,
    higher_is_better,
    kind_of_design,
    listed,
    metric_drawn,
    reached,
    replicates_note,
)
from .words import clean

ROWS = 60  # more arms than this are not drawn
TITLES = {
    "race": "What every entry of the race reached",
    "placement": "Slot by slot, along the flow",
    "one-at-a-time": "What every swap reached",
}


def chart(answer: Any) -> Chart | None:
    """A race sorted by mean; a placement along the flow of the host, with the slots that it does not fit."""
    kind = kind_of_design(answer)
    metric, found = metric_drawn(answer), reached(answer)
    if kind not in TITLES or not found:
        return None
    cells = cells_drawn(answer)
    host = [c for c in cells if c.role == "level" and not c.swaps]
    entries = [c for c in cells if c.role == "level" and c.swaps]
    if kind == "race":
        sign = 1 if higher_is_better(answer) else -1
        entries.sort(key=lambda c: -sign * found[c.name].mean if c.name in found else 1e300)
    rows = [dots.Row(clean(c.name), "level", found.get(c.name), "untouched", line=True) for c in host]
    for entry in entries:
        rows.append(dots.Row(clean(entry.name), "level", found.get(entry.name)))
    rows += [dots.Row(clean(c.name), "baseline", found.get(c.name), line=True) for c in cells if c.role == "baseline"]
    title = f"{TITLES[kind]}: {metric.label}, mean and 95 % interval, small dots are replicates"
    notes = [
        "Small dots: replicates. Bar: 95 % t interval of the mean, not of the paired difference, which verdicts go "
        "by. The line through all rows: the host untouched."
        + (" Sorted by mean; the order within the intervals is chance." if kind == "race" else ""),
        *failed_note(answer),
    ]
    skipped = getattr(getattr(getattr(answer, "config", None), "design", None), "skipped", None) or {}
    if kind == "placement" and skipped:
        notes.append("Does not fit: " + "; ".join(clean(why) for why in skipped.values()) + ".")
    called = [(row.label, row.reached) for row in rows]
    rows, more = rows[:ROWS], len(rows) - ROWS
    notes += replicates_note(row.reached for row in rows)
    if more > 0:
        notes.append(f"{more} further arms are not drawn; they are in the table.")
    pictures = [dots.dots(rows, metric, title, layout) for layout in (dots.WIDE, dots.NARROW)]
    return Chart("arms", f"{TITLES[kind]}: {metric.label}", pictures, [], notes, listed(called, metric))
