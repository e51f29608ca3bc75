"""The answer as one Markdown file: to paste into a thread or a supplement. Readable as plain text too."""

from __future__ import annotations

import re
from typing import Any

from . import brief, reading
from .words import measure_of

_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~$&])")


def document(answer: Any) -> str:
    """The file's text. Every name that a user gave is escaped: it can make no link, no heading, no column, no HTML, and
    calls nobody (`@name` does where Markdown is pasted)."""
    from . import _command, _counted, _toml

    counts = getattr(answer, "counts", None) or _counted(answer.trials)
    lines = [f"# {escaped(getattr(answer, 'name', '') or 'Analysis of a table')}", ""]
    if getattr(answer, "question", ""):
        lines += [escaped(answer.question), ""]
    shown = [f"{k} {int(counts.get(k, 0))}" for k in ("planned", "done", "failed", "running", "pending")]
    lines += ["Trials: " + ", ".join(s for s in shown if not s.endswith(" 0") or s.startswith(("done", "failed"))), ""]
    if reading.reads_test_set(answer):
        lines += ["**The test set was read every epoch: these figures are no unbiased estimate.**", ""]
    lines += ["## Verdicts", ""]
    lines += [f"- {_verdict(v)}" for v in reading.verdicts(answer)] or [
        "No verdict yet: no effect has both its arms finished."
    ]
    lines.append("")
    sheets = brief.effects(answer)
    for sheet in sheets:
        lines += [f"## {escaped(sheet.title)}", "", *table(sheet), ""]
    if sheets:
        lines += [" ".join(map(escaped, brief.how(answer))), ""]
        if not measure_of(answer).share:
            lines += ["Differences are in the metric's own unit.", ""]
    costs = brief.costs(answer)
    if costs is not None:
        lines += [f"## {costs.title}", "", *table(costs), ""]
        lines += ["FLOPs and times are of what was computed here; of circuits that is their simulation.", ""]
    lines += ["## What cannot be concluded", "", *[f"- {escaped(s)}" for s in reading.limits(answer)], ""]
    lines += ["## Was the comparison fair?", ""]
    lines += [f"- {_STATES.get(c.state, c.state)}: {escaped(c.text)}" for c in reading.checklist(answer)]
    lines.append("")
    notes = [escaped(n) for n in getattr(answer, "notes", None) or []]
    if notes:
        lines += ["## Notes", "", *[f"- {n}" for n in notes], ""]
    toml, command = _toml(answer), _command(answer)
    if toml or command:
        lines += ["## How to get these numbers again", ""]
    if command:
        lines += ["The command that was given:", "", *fenced(command, "sh"), ""]
    if toml:
        lines += ["The study as it was resolved; save it as `study.toml`, then `dopant run study.toml`:", ""]
        lines += [*fenced(toml, "toml"), ""]
    return "\n".join(lines)


_STATES = {"yes": "yes", "no": "**no**", "open": "open"}


def _verdict(v: reading.Verdict) -> str:
    """The sentence with its sign; of main effects that depend on another factor the simple ones too."""
    simple = "".join(f"\n  - simple effect, not corrected: {escaped(one)}" for one in v.simple)
    return f"{v.symbol} {escaped(v.sentence)}{simple}"


def table(sheet: brief.Sheet) -> list[str]:
    """A table; numbers stand right."""
    found = ["| " + " | ".join(map(escaped, sheet.headers)) + " |"]
    found.append("| " + " | ".join("---:" if n else "---" for n in sheet.numeric) + " |")
    return found + ["| " + " | ".join(escaped(text) or " " for text in row) + " |" for row in sheet.rows]


def escaped(text: Any) -> str:
    """A text that is only itself: on one line, no sign of it means anything in Markdown or HTML."""
    plain = _SIGNS.sub(r"\\\1", brief.one_line(text))
    plain = re.sub(r"^(?=[-+=])|^(\d+)(?=[.)](\s|$))", r"\1\\", plain)  # lists and underlines
    plain = re.sub(r"@(?=\w)", "@\u2060", plain)  # a word joiner: nobody is called
    return re.sub(r"(?i)\b(https?|ftp|www)(?=[:.])", "\\1\u2060", plain)  # nor anything linked


def fenced(text: str, kind: str) -> list[str]:
    """A block of code whose fence is longer than any run of backticks in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return [f"{fence}{kind}", *text.rstrip("\n").split("\n"), fence]
