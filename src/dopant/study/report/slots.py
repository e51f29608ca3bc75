"""The host's part of the page: its drawing, and of each swapped slot what fills it, what that is and what it costs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup

from ... import registry
from ...errors import ConfigError
from .. import exhibits, hosted
from . import blocks, circuits, flow, pictures
from .words import clean, is_missing, large, number

LOOKED_AT = 6  # finished trials in which panels are looked for, a filling
NEVER = 12  # modules that are named of those never called
ROLES = {"level": "", "control": "control", "variant": "variant"}


@dataclass(frozen=True)
class Fact:
    """A line of a list. value: the exact number behind the text, None for words. help: in a few words."""

    label: str
    text: str
    value: str | None = None
    help: str = ""


@dataclass(frozen=True)
class FillingShown:
    """What fills a slot in some cells."""

    id: str
    name: str
    options: str
    role: str
    cells: str
    doc: str
    facts: list[Fact]
    costs: list[Fact]
    gradients: list[Fact]
    circuits: list[str]
    panels: list[pictures.ShownPanel]
    problems: list[str]
    source: str  # which trial the panels and circuits are of


@dataclass(frozen=True)
class SlotShown:
    """One swapped slot. signature: (inputs, outputs) of each distinct call."""

    number: int
    name: str
    old: str
    settings: str
    facts: list[Fact]
    signature: list[tuple[str, str]]
    fillings: list[FillingShown]
    arms: str


@dataclass(frozen=True)
class HostShown:
    name: str
    pictures: list[Markup]
    why: str  # it is not drawn
    never: str
    notes: list[str]
    slots: list[SlotShown]
    own: list[pictures.ShownPanel] = field(default_factory=list)  # panels of modules that no swap brought


def host(answer: Any) -> HostShown | None:
    """None where a study has no host that can be swapped, or an answer no folder."""
    cells = [c for c in getattr(answer, "cells", []) if getattr(c, "swaps", None) is not None]
    used = _fillings(cells)
    folder, config = getattr(answer, "folder", None), getattr(answer, "config", None)
    if not used or folder is None or config is None:
        return None
    kept, why = hosted.read(folder, config)
    if kept is None:
        return HostShown("", [], clean(why), "", [], []) if why else None
    try:
        return _shown(answer, kept, cells, used)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return HostShown("", [], f"The host is not drawn: host.json is not as expected ({clean(error)}).", "", [], [])


def _fillings(cells: list[Any]) -> dict[str, dict[str, list[Any]]]:
    """{slot: {what fills it, as JSON: its cells}}: levels first, groups taken apart."""
    order = {"level": 0, "variant": 1, "control": 2}
    found: dict[str, dict[str, list[Any]]] = {}
    for cell in sorted(cells, key=lambda c: order.get(getattr(c, "role", "level"), 3)):
        for group, spec in (cell.swaps or {}).items():
            for slot in group.split("+"):
                found.setdefault(slot, {}).setdefault(json.dumps(spec, sort_keys=True), []).append(cell)
    return found


def _shown(answer: Any, kept: dict[str, Any], cells: list[Any], used: dict[str, dict[str, list[Any]]]) -> HostShown:
    places = {str(m["name"]): m["first"] for m in kept["modules"]}
    late = len(places)
    known = [s for s in used if s in places]
    slots = sorted(known, key=lambda s: late if places[s] is None else places[s])
    reader = _Reader(answer)
    details = [_slot(i, slot, kept, cells, used[slot], reader) for i, slot in enumerate(slots, 1)]
    drawn = flow.blocks(kept, slots)
    groups: dict[tuple[str, ...], int] = {}
    marked = {}
    for slot, one in zip(slots, details, strict=True):
        arms = tuple(c.name for cs in used[slot].values() for c in cs if _role(c) == "level")
        group = groups.setdefault(arms, min(len(groups), blocks.GROUPS - 1))
        names = [f.name for f in one.fillings if not f.role]
        chips = tuple((_chip(f, names.count(f.name) == 1), f.id) for f in one.fillings)
        marked[slot] = blocks.Marked(one.number, one.arms, group, chips)
    name = clean(kept["class"])
    made = [blocks.drawing(drawn, marked, layout, name) for layout in (blocks.WIDE, blocks.NARROW)]
    never = [str(m["name"]) for m in kept["modules"] if m["first"] is None and not _holds(str(m["name"]), places)]
    lost = [s for s in used if s not in places]
    notes = [f"Slot {clean(s)} has another name in the host as it was measured, and is not drawn." for s in lost]
    return HostShown(name, made, "", _names(never), notes, details, _own(cells, reader))


def _own(cells: list[Any], reader: _Reader) -> list[pictures.ShownPanel]:
    """Panels of the host's own modules, of the first cell without a swap that has some."""
    found = reader.exhibit([c for c in cells if not c.swaps])
    shown = []
    for data in (found or {}).get("panels", []):
        with contextlib.suppress(ConfigError):
            shown.append(pictures.panel(data))
    return shown


def _holds(name: str, places: dict[str, Any]) -> bool:
    """Whether a module that is never called holds one that is: a list of layers."""
    return any(place is not None and other.startswith(name + ".") for other, place in places.items())


def _names(names: list[str]) -> str:
    shown = ", ".join(clean(n) for n in names[:NEVER])
    return shown + (f" and {len(names) - NEVER} more" if len(names) > NEVER else "")


def _role(cell: Any) -> str:
    return str(getattr(cell, "role", "level"))


def _chip(filling: FillingShown, alone: bool) -> str:
    """How a block names a filling: a variant by what sets it apart."""
    if filling.role == "variant":
        return f"variant: {filling.options or filling.name}"
    if filling.role:
        return f"{filling.role}: {filling.name}"
    return filling.name + (f", {filling.options}" if filling.options and not alone else "")


def arms_of(using: Iterable[Any], cells: list[Any]) -> str:
    """Which arms swap a slot, in words short enough for a block."""
    swapping = list(dict.fromkeys(c.name for c in using if _role(c) == "level"))
    levels = [c.name for c in cells if _role(c) == "level"]
    if not swapping:
        return "swapped in no level, only beside one"
    words = "swapped in " + ", ".join(clean(n) for n in swapping)
    return words if len(words) <= 34 else f"swapped in {len(swapping)} of {len(levels)} arms"


def _slot(
    i: int, slot: str, kept: dict[str, Any], cells: list[Any], used: dict[str, list[Any]], reader: _Reader
) -> SlotShown:
    known = kept["slots"].get(slot, {})
    facts = [
        Fact("old module", str(known.get("class", ""))),
        _number("its parameters", known.get("parameters")),
        _number("calls in one pass", known.get("calls")),
    ]
    if known.get("flops") is not None:
        facts.append(
            Fact("its FLOPs, a sample", large(known["flops"]), repr(float(known["flops"])), "one forward pass")
        )
    fillings = [
        _filling(f"slot-{i}-{k}", slot, json.loads(spec), using, kept, reader)
        for k, (spec, using) in enumerate(used.items(), 1)
    ]
    signature = [(clean(a), clean(b)) for a, b in known.get("signature", [])]
    arms = arms_of((c for cs in used.values() for c in cs), cells)
    facts = [replace(f, text=clean(f.text)) for f in facts if f.text]
    return SlotShown(i, clean(slot), clean(known.get("class", "")), clean(known.get("settings", "")), facts, signature,
                     fillings, arms)  # fmt: skip


def _number(label: str, value: Any, help_: str = "") -> Fact:
    return Fact(label, "" if is_missing(value) else number(value), None if is_missing(value) else repr(value), help_)


def _filling(
    identifier: str, slot: str, spec: dict[str, Any], using: list[Any], kept: dict[str, Any], reader: _Reader
) -> FillingShown:
    name = str(spec.get("component"))
    options = _options(spec)
    info = kept["components"].get(name) or hosted.components_of(using).get(name) or {}
    found = reader.exhibit(using)
    own = (found or {}).get("slots", {}).get(slot, {})
    shown, problems = [], []
    for data in (found or {}).get("panels", []):
        if data.get("slot") == slot:
            try:
                shown.append(pictures.panel(data))
            except ConfigError as error:
                problems.append(f"A panel cannot be shown: {clean(error)}")
    problems += [
        f"A panel could not be made: {clean(p)}" for p in (found or {}).get("problems", []) if _about(str(p), slot)
    ]
    role = ROLES.get(_role(using[0]), _role(using[0]))
    names = [clean(c.name) for c in using]
    where = "; ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return FillingShown(
        identifier, clean(name), clean(options), role, where, clean(info.get("doc", "")), _registered(info),
        _costs(own, reader.dimension(using, slot)), reader.gradients(using, slot),
        [clean(c["text"]) for c in own.get("circuits", [])], shown, problems, reader.said(using),
    )  # fmt: skip


def _options(spec: dict[str, Any]) -> str:
    """The options of a swap in words; what a control stands in for is not one of them."""
    found = [f"{k} = {v}" for k, v in spec.items() if k not in ("component", "of")]
    instead = spec.get("of")
    if isinstance(instead, dict):
        inner = _options(instead)
        found.append(f"in place of {instead.get('component')}" + (f" ({inner})" if inner else ""))
    return ", ".join(found)


def _about(problem: str, slot: str) -> bool:
    """A problem begins with the path of the module; one without a path is about all of them."""
    path = problem.partition(":")[0]
    return path == slot or path.startswith(slot + ".") or problem.startswith(("nothing", "the network"))


def _registered(info: dict[str, Any]) -> list[Fact]:
    paper = info.get("paper")
    found = [
        Fact("paper", clean(_paper(paper)) if paper else ""),
        Fact("kind of control", clean(info.get("control") or "")),
        Fact("controls that it declares", clean(", ".join(info.get("controls", ())))),
        Fact("options and defaults", clean(", ".join(info.get("options", ())))),
        Fact("declared facts", clean(", ".join(_facts(info.get("facts", {}))))),
        Fact("how it fills a slot", clean(info.get("mode", ""))),
        Fact("from", clean(info.get("source", ""))),
    ]
    return [fact for fact in found if fact.text]


def _facts(facts: dict[str, Any]) -> list[str]:
    return [k.replace("_", " ") if str(v) == "True" else f"{k.replace('_', ' ')}: {v}" for k, v in facts.items()]


def _paper(name: str) -> str:
    if name not in registry.papers:
        return name
    title = getattr(registry.papers.get(name), "title", "")
    return f"{title} ({name})" if title else name


def _costs(own: dict[str, Any], dimension: Any) -> list[Fact]:
    found = []
    if "class" in own:
        found.append(Fact("module", clean(own["class"])))
    trained = own.get("trainable", dimension.get("parameters") if dimension else None)
    found += [_number("parameters", own.get("parameters")), _number("trainable numbers", trained)]
    if dimension and not is_missing(dimension.get("rank")):
        word = "" if dimension.get("exact") else "at least "
        rank = int(dimension["rank"])
        found.append(Fact("effective dimension", word + number(rank), repr(rank), "as it starts"))
    if own.get("flops") is not None:
        words = "one forward pass, as computed here: of circuits their simulation"
        found.append(Fact("FLOPs, a sample", large(own["flops"]), repr(float(own["flops"])), words))
    for key, value in (own.get("ledger") or {}).items():
        column = circuits.COSTS.get(key, circuits.Column(key.replace("_", " "), ""))
        exact = repr(value) if isinstance(value, (int, float)) else None
        text = column.write(value) if column.write else number(value) if exact else str(value)
        found.append(Fact(clean(column.label), clean(text), exact, column.help))
    return [fact for fact in found if fact.text]


class _Reader:
    """What finished trials kept, each read once."""

    def __init__(self, answer: Any):
        self.folder, self.answer = answer.folder, answer
        self.rows: dict[str, list[dict[str, Any]]] = {}
        for row in sorted(getattr(answer, "rows", []), key=lambda r: r["replicate"]):
            if row["phase"] == "main" and row["state"] == "done" and row["replicate"] < exhibits.REPLICATES:
                self.rows.setdefault(row["cell"], []).append(row)
        self.read: dict[str, dict[str, Any] | None] = {}
        self.chosen: dict[tuple[str, ...], tuple[dict[str, Any], dict[str, Any]] | None] = {}

    def _choose(self, using: list[Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """(row, exhibit) of the first finished trial of these cells that kept one."""
        key = tuple(c.name for c in using)
        if key not in self.chosen:
            self.chosen[key] = None
            rows = [row for name in key for row in self.rows.get(name, ())][:LOOKED_AT]
            for row in rows:
                if row["id"] not in self.read:
                    self.read[row["id"]] = exhibits.read(self.folder, row["id"])
                found = self.read[row["id"]]
                if found is not None:
                    self.chosen[key] = row, found
                    break
        return self.chosen[key]

    def exhibit(self, using: list[Any]) -> dict[str, Any] | None:
        found = self._choose(using)
        return found and found[1]

    def said(self, using: list[Any]) -> str:
        found = self._choose(using)
        return f"cell {clean(found[0]['cell'])}, replicate {found[0]['replicate']}" if found else ""

    def _of(self, table: str, using: list[Any], slot: str) -> list[dict[str, Any]]:
        frame = getattr(self.answer, table, None)
        if frame is None or not len(frame):
            return []
        for cell in using:
            rows = frame[(frame["cell"] == cell.name)].to_dict("records")
            mine = [row for row in rows if row["slot"] == slot or str(row["slot"]).startswith(slot + ".")]
            if mine:
                return mine
        return []

    def dimension(self, using: list[Any], slot: str) -> dict[str, Any] | None:
        rows = [row for row in self._of("dimensions", using, slot) if row["slot"] == slot]
        return rows[0] if rows else None

    def gradients(self, using: list[Any], slot: str) -> list[Fact]:
        """The circuits' gradients at random starts, as the page's table of them has it."""
        found = []
        rows = self._of("gradients", using, slot)
        for row in rows:
            before = "" if row["slot"] == slot else f"{clean(row['slot'])}: "
            for key in ("variance", "haar", "ratio", "idle", "starts", "skipped"):
                value, column = row.get(key), circuits.GRADIENTS[key]
                if is_missing(value) or value == "":
                    continue
                text = number(value) if isinstance(value, (int, float)) else clean(value)
                exact = repr(value) if isinstance(value, (int, float)) else None
                found.append(Fact(before + column.label, text, exact, column.help))
        return found
