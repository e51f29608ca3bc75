"""The drawings mapped back to numbers: forest plots, learning curves, the best of k candidates.

Positions are drawn to a tenth of a unit; axis ticks give the map back. A mark may be off by what rounding of its own
place and of two ticks can do: TENTH.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from statistics import fmean, stdev
from typing import Any

import tuning
from page import Node, Table, ascii_number, is_rounding
from prose import share
from scipy import stats
from tuning import expected_best

TENTH = 0.17
KNOWN = ("forest", "panel")
NAN = math.nan
Curve = dict[int, tuple[float, float, float]]  # epoch: mean, low, high


def check(study: Any, root: Node, tables: list[Table]) -> list[str]:
    return [*_forests(study, root, tables), *_curves(study, root, tables)]


def not_looked_at(root: Node) -> list[str]:
    """Classes of drawings that nothing here maps back to numbers."""
    classes = [n.attributes.get("class", "") for n in root.find("svg") if n.attributes.get("role") == "img"]
    return sorted({c for c in classes if not set(c.split()) & set(KNOWN)})


def _x(node: Node, key: str) -> float:
    return float(node.attributes[key])


class Axis:
    """A linear scale from the ticks of a drawing: {place: value}."""

    def __init__(self, ticks: dict[float, float]):
        (self.at, self.value), *_, (end, last) = sorted(ticks.items())
        self.scale = (end - self.at) / (last - self.value)  # units a value

    def place(self, value: float) -> float:
        return self.at + (value - self.value) * self.scale

    def off(self, place: float, value: float) -> float:
        """How far a mark is from where it should be, in units beyond what rounding can do."""
        return max(0.0, abs(place - self.place(value)) - TENTH - 0.002 * abs(self.place(value) - self.at))


def _value(label: str) -> float:
    return float(ascii_number(label).removesuffix("%").strip())


# --- forest ---------------------------------------------------------------------------------------------------------


def _forests(study: Any, root: Node, tables: list[Table]) -> list[str]:
    table = next((t for t in tables if t.id == "effects"), None)
    if table is None:
        return []
    effects, errors = study.effects(table), []
    sections = root.find("section", id="forest")
    for svg in (n for s in sections for n in s.find("svg", "forest")):
        rows = [g for g in svg.children if isinstance(g, Node) and g.tag == "g"]
        against = svg.inside("details") is not None
        title = one_title(svg.inside("figure"))
        mine = [e for e in effects if (e.pair.role == "swap-versus-control") == against]
        if title and study.both and not against:
            mine = [e for e in mine if f", {e.pair.estimand}" in title]
        if against:  # one swap after another
            order = list(dict.fromkeys((e.pair.plus, e.pair.estimand) for e in mine))
            cells = list(dict.fromkeys(e.pair.plus for e in mine))
            mine = sorted(mine, key=lambda e: (cells.index(e.pair.plus), order.index((e.pair.plus, e.pair.estimand))))
        if len(rows) != len(mine):
            errors.append(f"forest {title!r}: {len(rows)} rows drawn, {len(mine)} effects recomputed")
            continue
        ticks = {_x(t, "x"): _value(t.text) for t in svg.find("text", "tick")}
        if len(ticks) < 2:
            continue
        axis, factor = Axis(ticks), 100 if share(study) else 1
        plot = min(_x(n, "x1") for n in svg.find("line", "grid")), max(_x(n, "x1") for n in svg.find("line", "grid"))
        for g, effect in zip(rows, mine, strict=True):
            errors += [
                f"forest {title!r}, {effect.pair.swap} against {effect.pair.versus}: {said}"
                for said in _forest_row(study, g, effect.values, axis, factor, plot)
            ]
    return errors


def one_title(figure: Node | None) -> str:
    found = [] if figure is None else figure.find("figcaption", "above")
    return found[0].text.strip() if found else ""


def _forest_row(study: Any, g: Node, v: dict[str, Any], axis: Axis, factor: float, plot: Any) -> Iterable[str]:
    cut = bool(g.find(class_="cut"))
    for class_, low, high in (("paired", "low", "high"), ("unpaired", "low_unpaired", "high_unpaired")):
        lines = [n for n in g.find("line", class_) if class_ in n.attributes["class"].split()]
        if math.isnan(v[low]) != (not lines):
            yield f"{class_} interval {'drawn' if lines else 'not drawn'}, {v[low]!r} to {v[high]!r} recomputed"
        for line in lines:
            for end, key in (("x1", low), ("x2", high)):
                outside = cut and not plot[0] <= axis.place(factor * v[key]) <= plot[1]
                if axis.off(_x(line, end), factor * v[key]) and not outside:
                    yield f"{key} drawn at {_x(line, end)}, {axis.place(factor * v[key]):.2f} recomputed"
    marks = g.find(class_="mark")
    if marks and not math.isnan(v["mean"]):
        at = _centre(marks[0])
        if axis.off(at, factor * v["mean"]) > 0.05:
            yield f"mean drawn at {at}, {axis.place(factor * v['mean']):.2f} recomputed"
    for text in g.find("text", "numbers"):
        told = re.fullmatch(r"(\S+) (?:\[(\S+), (\S+)\]|no interval)", text.text)
        shown = [(told[1], v["mean"]), (told[2], v["low"]), (told[3], v["high"])] if told else []
        if not told or not all(_shown(t, x, study) for t, x in shown):
            yield f"{text.text!r} beside the mark, {v['mean']!r} [{v['low']!r}, {v['high']!r}] recomputed"


def _shown(text: str | None, value: float, study: Any) -> bool:
    return text in (None, "–") if math.isnan(value) else text is not None and is_rounding(text, value, share(study))


def _centre(mark: Node) -> float:
    if "cx" in mark.attributes:
        return _x(mark, "cx")
    xs = [float(p.split(",")[0]) for p in re.findall(r"-?[\d.]+,-?[\d.]+", mark.attributes["d"])]
    return (min(xs) + max(xs)) / 2


# --- curves ---------------------------------------------------------------------------------------------------------


def learning(study: Any, cell: str, column: str) -> Curve:
    """Mean over replicates at each epoch with its t interval, of a share within 0 and 1."""
    by_epoch: dict[int, list[float]] = {}
    for name, _, t in study.folder.of("main"):
        for line in t.log if name == cell else ():
            value = line.get(column)
            if isinstance(value, (int, float)) and math.isfinite(value):
                by_epoch.setdefault(int(line["epoch"]), []).append(float(value))
    bounded = "accuracy" in column
    found: Curve = {}
    for epoch, values in sorted(by_epoch.items()):
        mean, low, high = fmean(values), NAN, NAN
        if len(values) > 1:
            half = stats.t.ppf(0.975, len(values) - 1) * stdev(values) / math.sqrt(len(values))
            low, high = mean - half, mean + half
            low, high = (max(low, 0.0), min(high, 1.0)) if bounded else (low, high)
        found[epoch] = mean, low, high
    return found


def best_of(study: Any, cell: str) -> Curve:
    """The validation score that the best of k candidates is expected to have."""
    scores = [fmean(s) for _, s in tuning.candidates(study.folder, cell)]
    scores = [study.folder.sign * study.folder.failure_value if math.isinf(s) else s for s in scores]
    if study.folder.study.get("tuning", {}).get("search", {}).get("sampler") == "tpe":
        expected = [max(scores[: k + 1]) for k in range(len(scores))]
    else:
        expected = expected_best(scores)
    return {k: (study.folder.sign * x, NAN, NAN) for k, x in enumerate(expected, 1)}


def _curves(study: Any, root: Node, tables: list[Table]) -> list[str]:
    errors = []
    table = next((t for t in tables if t.id == "effects"), None)
    versus: dict[str, str] = {}
    for e in study.effects(table) if table is not None else ():
        if len(e.pair.plus) == 1:
            versus.setdefault(e.pair.plus[0][1], e.pair.versus)
    for section, of in (("curves", learning), ("tuning", None)):
        for figure in (n for s in root.find("section", id=section) for n in s.find("figure")):
            svgs = figure.find("svg", "panel")
            if not svgs:
                continue
            caption = figure.find("figcaption")[0].find("bdi")[0]
            cell = caption.attributes.get("title", caption.text)
            if of is None:
                name, get = f"best of k of {cell}", lambda c: best_of(study, c)
                column = f"validation_{study.folder.bare}"
            else:
                box = figure.inside("details")
                while box is not None and not box.find("summary")[0].find("bdi"):  # a fold of further panels
                    box = box.inside("details")
                column = (box.find("summary")[0].find("bdi")[0].text if box else "").replace(" ", "_")
                name, get = f"curve {column} of {cell}", lambda c, column=column: learning(study, c, column)
            errors += [f"{name}: {said}" for said in _panel(svgs[0], figure, column, cell, get, versus)]
    return errors


def _panel(svg: Node, figure: Node, column: str, cell: str, get: Any, versus: dict[str, str]) -> Iterable[str]:
    own = get(cell)
    if not own:
        yield "drawn, and nothing was logged"
        return
    last = own[max(own)][0]
    texts = [n.text for n in figure.find("span", "last")]
    if not all(is_rounding(t, last) for t in texts):
        yield f"last {texts} on the page, {last!r} recomputed"
    labels = svg.find("text", "tick")
    rows = [n for n in labels if n.attributes.get("text-anchor") == "end"]
    columns = [n for n in labels if n.attributes.get("text-anchor") == "middle"]
    percent = any("%" in ascii_number(n.text) for n in rows)
    grid = [_x(n, "y1") for n in svg.find("line", "grid")]
    if len(grid) < 2:
        return
    y = Axis({at: _value(n.text) for at, n in zip(grid, rows, strict=True)})
    x = Axis({_x(n, "x"): _value(n.text) for n in columns}) if len(columns) > 1 else None
    factor = 100 if percent else 1

    def points(node: Node) -> list[tuple[float, float]]:
        if "cx" in node.attributes:
            return [(_x(node, "cx"), _x(node, "cy"))]
        return [tuple(map(float, p.split(","))) for p in re.findall(r"-?[\d.]+,-?[\d.]+", node.attributes["d"])]

    def compare(drawn: list[tuple[float, float]], curve: Curve, part: int, what: str) -> Iterable[str]:
        epochs = [e for e in sorted(curve) if not math.isnan(curve[e][part])]
        if x is None and len(drawn) != len(epochs):
            yield f"{what}: {len(drawn)} points drawn, {len(epochs)} epochs logged"
            return
        for i, (px, py) in enumerate(drawn):
            epoch = epochs[i] if x is None else min(epochs, key=lambda e: abs(x.place(e) - px))
            if x is not None and abs(x.place(epoch) - px) > 0.25:
                yield f"{what}: a point at {px}, where no epoch lies"
            elif y.off(py, factor * curve[epoch][part]):
                yield f"{what} at epoch {epoch} drawn at {py}, {y.place(factor * curve[epoch][part]):.2f} recomputed"
        if len(epochs) <= 120 and len(drawn) != len(epochs):
            yield f"{what}: {len(drawn)} points drawn, {len(epochs)} epochs logged"

    for node in svg.find(class_="curve"):
        yield from compare(points(node), own, 0, "mean")
    for node in svg.find(class_="band"):
        corners = points(node)
        half = len(corners) // 2
        yield from compare(corners[:half], own, 2, "upper edge")
        yield from compare(corners[half:][::-1], own, 1, "lower edge")
    if sum(not math.isnan(c[1]) for c in own.values()) > 1 and not svg.find(class_="band"):
        yield "no band is drawn, and there are replicates"
    title = svg.find("title")[0].text
    for node in svg.find(class_="reference"):
        below = versus.get(cell, "")
        if f"; grey: {below}, last " not in title:
            yield f"the grey curve is not of {below!r}: {title!r}"
            continue
        yield from compare(points(node), get(below), 0, "grey curve")
    for told, name in ((re.search(r", last (\S+(?:\s%)?)(?:;|$)", title), cell),
                       (re.search(r"; grey: .*, last (\S+(?:\s%)?)$", title), versus.get(cell, ""))):  # fmt: skip
        curve = get(name) if told and name else None
        if told and curve and not is_rounding(told[1], curve[max(curve)][0]):
            yield f"last {told[1]!r} of {name} in the drawing's title, {curve[max(curve)][0]!r} recomputed"
