"""The answer as one HTML page: self-contained, readable without JavaScript or network, printable.

`page(answer)` puts together what its neighbours make: `reading` (verdicts, checklist, limits), `forest` and `curves`
(static SVG), `tables`; `script` adds what needs JavaScript. A section of the page is a file of `parts/`, with a style
sheet and a script beside it where it needs them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from . import (
    beside,
    best_of_k,
    charts,
    curves,
    evidence,
    forest,
    gradient_norms,
    listed,
    pareto,
    reading,
    script,
    slots,
    tables,
)
from .room import LIMIT, ROOMS, Room, Shortened
from .words import KINDS, TAGS, Measure, clean, measure_of, plain

__all__ = ["page"]


def page(answer: Any) -> str:
    """The whole HTML page of an `Answer`; everything a user named is escaped.

    answer: has effects, verdicts, trials, and where they exist name, folder, question, study, provenance, counts,
    cells, metrics, costs, notes, preface (a list of `preface.Block`). An unfinished study gives a page too. Size: below
    2 MB; what a page of that size cannot show is cut, in words.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__, "."),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    template = environment.get_template("page.html.jinja")
    context, text, shown = {}, "", None
    for room in ROOMS:
        if shown is None or room.effects is not None:
            shown = answer if room.effects is None else Shortened(answer, room.effects)
            context = _context(shown, room)
        text = template.render(context | _trials(shown, context, room))
        if len(text.encode("utf-8", "replace")) <= LIMIT:
            break
    return text.encode("utf-8", "replace").decode("utf-8")


def _context(answer: Any, room: Room) -> dict[str, Any]:
    metric = measure_of(answer)
    counts = getattr(answer, "counts", None) or _counted(answer.trials)
    drawn = _curves(answer, metric.name)
    cells = tables.cells(getattr(answer, "costs", None), answer.trials, metric, getattr(answer, "dimensions", None))
    if cells and room.effects:
        cells = replace(cells, rows=cells.rows[: room.effects], cut=max(0, len(cells.rows) - room.effects))
    return {
        "style": _style(),
        "name": clean(getattr(answer, "name", "") or "Analysis of a table"),
        "question": clean(getattr(answer, "question", "")),
        "counts": {k: int(counts.get(k, 0)) for k in ("planned", "done", "failed", "pending", "running")},
        "preface": [replace(b, text=clean(b.text)) for b in getattr(answer, "preface", [])],
        "published": reading.reads_test_set(answer),
        "protocol": reading.protocol(answer),
        "verdicts": reading.verdicts(answer),
        "host": slots.host(answer),
        "kinds": KINDS,
        "tags": TAGS,
        "forests": _forests(answer),
        "comparisons": _comparisons(answer),
        "effects": tables.effects(answer.effects, metric) if len(answer.effects) else None,
        "complete_cases": beside.complete_cases(answer, metric),
        "shapley": beside.shapley(answer, metric),
        "decided": beside.decided(answer),
        "charts": charts.charts(answer),
        "pareto": pareto.charts(answer),
        "evidence": evidence.tiers(answer),
        "curves": drawn,
        "gradient_norms": gradient_norms.of(answer),
        "cells": cells,
        "unmeasured": tables.unmeasured(getattr(answer, "dimensions", None)),
        "tuning": best_of_k.summary(answer),
        "best_of_k": best_of_k.panels(answer),
        "gradients": tables.gradients(getattr(answer, "gradients", None)),
        "imitation": tables.imitation(answer.trials, getattr(answer, "cells", [])),
        "checklist": reading.checklist(answer),
        "notes": [clean(n) for n in getattr(answer, "notes", [])],
        "limits": reading.limits(answer),
        "provenance": tables.facts(
            {k: v for k, v in (getattr(answer, "provenance", None) or {}).items() if k != "notes"}
        ),
        "toml": _toml(answer),
        "command": _command(answer),
    }


def _trials(answer: Any, context: dict[str, Any], room: Room) -> dict[str, Any]:
    """What depends on the room that there is: the table of trials, the script's data."""
    frame = listed.trials(answer)
    drawn = [c["column"] for c in context["curves"]]
    table = tables.trials(frame, room.rows) if len(frame) else None
    return {"trials": table} | script.parts(answer, frame, measure_of(answer), drawn, room)


def _style() -> str:
    """The style sheet of the page, then those of its parts by name."""
    here = resources.files(__name__)
    parts = sorted((p for p in here.joinpath("parts").iterdir() if p.name.endswith(".css")), key=lambda p: p.name)
    return "\n".join(p.read_text(encoding="utf-8") for p in (here.joinpath("style.css"), *parts))


def _counted(trials: Any) -> dict[str, int]:
    done = int((trials["status"] == "done").sum()) if "status" in trials.columns else len(trials)
    return {"planned": len(trials), "done": done, "failed": len(trials) - done}


def _forests(answer: Any) -> list[dict[str, Any]]:
    """One figure for each metric and estimand, in two widths; CSS shows the one that fits."""
    effects = answer.effects
    keys = [k for k in ("metric", "estimand") if k in effects.columns]
    if not len(effects):
        return []
    parts = effects.groupby(keys, sort=False, dropna=False) if keys else [((), effects)]
    found = []
    for key, part in parts:
        known = dict(zip(keys, key, strict=True))
        metric = measure_of(answer, known.get("metric"))
        title = metric.label + (f", {clean(known['estimand'])}" if "estimand" in known else "")
        title += ", the primary estimand" if "primary" in part.columns and part["primary"].all() else ""
        found.append({"title": title, "pictures": _both(forest.against_level(part), metric, "")})
    return found


def _comparisons(answer: Any) -> list[Markup]:
    """Each swap minus each of its controls, in two widths; nothing where no control was run."""
    grouped = forest.against_controls(answer.effects) if len(answer.effects) else []
    return _both(grouped, measure_of(answer), ", the control at zero") if grouped else []


def _both(grouped: list[Any], metric: Measure, zero: str) -> list[Markup]:
    return [forest.forest(grouped, metric, layout=layout, zero=zero) for layout in (forest.WIDE, forest.NARROW)]


def _curves(answer: Any, metric: str) -> list[dict[str, Any]]:
    """The panels of each metric that is drawn, the first one open."""
    metrics = getattr(answer, "metrics", None)
    if metrics is None or not len(metrics) or not {"cell", "epoch"} <= set(metrics.columns):
        return []
    if "phase" in metrics.columns:
        metrics = metrics[metrics["phase"] != "tuning"]
    effects = answer.effects
    versus: dict[str, str] = {}
    for row in effects.to_dict("records"):
        versus.setdefault(row.get("cell", ""), row["versus"])  # the first is against the level below
    cells = getattr(answer, "cells", [])
    found = []
    for column in curves.choose([str(c) for c in metrics.columns], metric):
        made = curves.panels(metrics, cells, versus, column)
        if made:
            left_out = len({c.name for c in cells} & set(metrics["cell"])) - len(made)
            found.append({"metric": plain(column), "column": column, "panels": made, "left_out": left_out})
    return found


def _toml(answer: Any) -> str:
    """The study file itself where the folder has it; otherwise the study written anew."""
    folder = getattr(answer, "folder", None)
    path = Path(folder) / "study.toml" if folder else None
    if path and path.is_file():
        return clean(path.read_text(encoding="utf-8", errors="replace"))
    study = getattr(answer, "study", None)
    if not study:
        return ""
    import tomli_w

    return clean(tomli_w.dumps(_without_none(study)))


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(v) for v in value if v is not None]
    return value


def _command(answer: Any) -> str:
    """The command that was given, as provenance kept it."""
    command = (getattr(answer, "provenance", None) or {}).get("command", "")
    return clean(shlex.join(map(str, command)) if isinstance(command, (list, tuple)) else command)
