"""A comparison of two studies, for a terminal and as a page in the report's style."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from . import forest
from .brief import one_line
from .tables import Entry, Header, Table
from .words import Measure, difference, interval, is_missing, measure, number, p_value, score

if TYPE_CHECKING:
    from ..compare import Comparison

SHOWN = 40  # settings in the terminal; the page lists all
KINDS = {
    "larger in A": "bold blue", "larger in B": "bold yellow", "identical": "green", "not comparable": "red",
}  # fmt: skip


def metric_of(found: Comparison) -> Measure:
    """The metric of A, judged by the scores of both."""
    column = found.a.metric[1]
    values = [v for answer in (found.a, found.b) if column in answer.trials for v in answer.trials[column]]
    return measure(column, values)


# --- as tables ------------------------------------------------------------------------------------------------------


def settings(found: Comparison) -> Table | None:
    """What differs: key, value in A, value in B. None where nothing does."""
    if not found.differences:
        return None
    headers = [Header("key", "setting"), Header("a", "A"), Header("b", "B")]
    return Table(headers, [[Entry(one_line(k)), Entry(_value(a)), Entry(_value(b))] for k, a, b in found.differences])


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def effects(found: Comparison) -> Table | None:
    """The effects that both have, with their difference; None where there are none."""
    metric = metric_of(found)
    unit = ", pp" if metric.share else ""
    if not len(found.effects):
        return None
    headers = [
        Header("swap", "swap"), Header("versus", "against"),
        Header("difference", f"A minus B{unit}", "positive: larger in A", True),
        Header("interval", "95 % interval", "of the difference, for itself: not corrected", True),
        Header("p_holm", "p (Holm)", "over all differences of this table; none below six replicates", True),
        Header("reading", "reading"),
        Header("method", "how", "paired over common replicates, or Welch's of two independent means"),
        Header("effect_a", f"effect in A{unit}", "", True), Header("n_a", "n", "", True),
        Header("effect_b", f"effect in B{unit}", "", True), Header("n_b", "n", "", True),
    ]  # fmt: skip
    both = len(set(found.effects["estimand"])) > 1
    rows, roles = [], []
    for r in found.effects.to_dict("records"):
        role = forest.role_of(r)
        name = _called(r) + (f" ({one_line(r['estimand'])})" if both else "")
        sides = []
        for side in "ab":
            shown = f"{difference(r[f'mean_{side}'], metric)} {_interval(r, side, metric)}"
            sides += [Entry(shown, _exact(r[f"mean_{side}"]), "number"), Entry(str(r[f"n_{side}"]), None, "number")]
        rows.append([
            Entry(name), Entry(one_line(r["versus"])),
            Entry(difference(r["difference"], metric), _exact(r["difference"]), "number"),
            Entry(interval(r["low"], r["high"], metric) if not is_missing(r["low"]) else "–", None, "number"),
            Entry(p_value(r["p_holm"]), _exact(r["p_holm"]), "number"), Entry(r["reading"], None, "verdict"),
            Entry(r["method"] + (f", {r['pairs']}" if r["pairs"] else "")), *sides,
        ])  # fmt: skip
        roles.append(role)
    return Table(headers, rows, roles)


def _called(row: dict[str, Any]) -> str:
    role, name = forest.role_of(row), one_line(row["swap"])
    return name if role == "level" else f"{role}: {name}"


def _interval(row: dict[str, Any], side: str, metric: Measure) -> str:
    return "" if is_missing(row[f"low_{side}"]) else interval(row[f"low_{side}"], row[f"high_{side}"], metric)


def _exact(value: Any) -> str | None:
    return None if is_missing(value) else repr(float(value))


def cells(found: Comparison) -> Table | None:
    """The cells that both have: scores, and whether trials with one identifier gave equal results."""
    metric = metric_of(found)
    if not len(found.cells):
        return None
    headers = [
        Header("cell", "cell"), Header("mean_a", f"{metric.label} in A", "mean", True), Header("sd_a", "SD", "", True),
        Header("n_a", "n", "", True), Header("mean_b", "in B", "mean", True), Header("sd_b", "SD", "", True),
        Header("n_b", "n", "", True),
        Header("same", "same trials", "finished trials with one identifier in both", True),
        Header("equal", "equal", "of them, with all results equal to the last bit", True),
        Header("largest", "largest difference", "of any of their results; clocks and memory apart", True),
    ]  # fmt: skip
    rows = []
    for r in found.cells.to_dict("records"):
        name = one_line(r["cell"]) + ("" if r["cell"] == r["cell_b"] else f" (B: {one_line(r['cell_b'])})")
        row = [Entry(name)]
        for side in "ab":
            row += [Entry(score(r[k], metric), _exact(r[k]), "number") for k in (f"mean_{side}", f"sd_{side}")]
            row.append(Entry(str(r[f"n_{side}"]), None, "number"))
        largest = "–" if is_missing(r["largest"]) else number(r["largest"])
        row += [Entry(str(r["same_trials"]), None, "number"), Entry(str(r["equal"]), None, "number")]
        rows.append([*row, Entry(largest, _exact(r["largest"]), "number")])
    return Table(headers, rows)


def picture(found: Comparison) -> list[Markup]:
    """The differences of effects as a forest plot, in two widths; nothing where none could be compared."""
    rows = [
        {"swap": _called(r), "versus": r["versus"], "mean": r["difference"], "low": r["low"], "high": r["high"],
         "replicates": r["pairs"], "role": "level"}
        for r in found.effects.to_dict("records") if math.isfinite(r["difference"])
    ]  # fmt: skip
    if not any(r["mean"] for r in rows):
        return []
    metric = metric_of(found)
    return [
        forest.forest(
            [[r] for r in rows], metric, layout=layout, zero=": effect in A minus in B", aside="right: larger in A"
        )
        for layout in (forest.WIDE, forest.NARROW)
    ]


# --- the terminal ---------------------------------------------------------------------------------------------------


def terminal(found: Comparison) -> RenderableType:
    """All of it; at most as wide as the terminal. Names are printed as they are."""
    parts: list[RenderableType] = [
        Text(f"A: {one_line(found.names[0])}  ({one_line(found.a.folder)})", style="bold"),
        Text(f"B: {one_line(found.names[1])}  ({one_line(found.b.folder)})", style="bold"),
        Text(),
        Text(found.reproduction.sentence),
        Text(),
    ]
    table = settings(found)
    if table is None:
        parts.append(Text("The studies are described alike, and ran with the same versions and threads."))
    else:
        parts.append(_rich("What differs", table, SHOWN))
    parts.append(Text())
    if not found.comparable:
        parts.append(Text("Not comparable: " + "; ".join(map(one_line, found.reasons)) + ".", style="red"))
        parts.append(Text("Effects stand side by side without a difference."))
    else:
        parts.append(Text(found.why))
    table = effects(found)
    parts.append(Text("No effect stands in both.") if table is None else _rich("Effects that both have", table))
    parts.append(Text())
    table = cells(found)
    parts.append(Text("No cell stands in both.") if table is None else _rich("Cells that both have", table))
    parts += [Text(f"note: {one_line(note)}") for note in found.notes]
    return Group(*parts)


def _rich(title: str, table: Table, most: int | None = None) -> RichTable:
    shown = RichTable(title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="dim")
    for h in table.headers:
        shown.add_column(Text(h.label), justify="right" if h.numeric else "left", overflow="fold")
    for row in table.rows[:most]:
        texts = [Text(e.text) for e in row]
        for text in texts:
            text.stylize(KINDS.get(text.plain, ""))
        shown.add_row(*texts)
    if most and len(table.rows) > most:
        shown.add_row(Text(f"and {len(table.rows) - most} more: --json, or the page", style="dim"))
    return shown


# --- the page -------------------------------------------------------------------------------------------------------


def page(found: Comparison) -> str:
    """The whole page, self-contained; everything a user named is escaped."""
    import jinja2

    from . import _style

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__.rpartition(".")[0], "."),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    text = environment.get_template("compared.html.jinja").render(
        style=_style(), names=[one_line(n) for n in found.names], found=found, settings=settings(found),
        effects=effects(found), cells=cells(found), pictures=picture(found), notes=[one_line(n) for n in found.notes],
        reasons=[one_line(r) for r in found.reasons], sentence=one_line(found.reproduction.sentence), why=found.why,
        counts=[answer.counts for answer in (found.a, found.b)],
    )  # fmt: skip
    return text.encode("utf-8", "replace").decode("utf-8")
