"""How real the evidence is: what of the arms is computed exactly, what by shots, with noise or on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...cost import TIERS
from .words import clean, number

MEANING = {
    "exact expectation": "no shots, no noise, no device",
    "finite shots": "simulated with shots, no noise, no device",
    "noisy": "simulated with noise, no device",
    "device": "run on a device",
    "classical": "no circuit",
}


@dataclass(frozen=True)
class Tier:
    """The arms of one tier. said: what it means, and of how many arms it is."""

    name: str
    said: str
    cells: list[str]
    class_: str


def tiers(answer: Any) -> list[Tier]:
    """Those of the cells with circuits, the least real first, then the classical ones; empty without any circuit."""
    table = answer.trials
    if "cost_tier" not in getattr(table, "columns", ()) or "cell" not in table.columns:
        return []
    known: dict[str, str] = {}
    for cell, tier in zip(table["cell"], table["cost_tier"], strict=True):
        if isinstance(tier, str):
            known[str(cell)] = tier
    if not known:
        return []
    done = table[table["status"] == "done"] if "status" in table.columns else table
    every = list(dict.fromkeys(map(str, done["cell"])))
    names = [*TIERS, *sorted(set(known.values()) - set(TIERS)), "classical"]
    found = []
    for name in names:
        cells = [cell for cell in every if known.get(cell, "classical") == name]
        if not cells:
            continue
        said = MEANING.get(name, "as the component says")
        if name == "finite shots":
            said += _shots(done[done["cell"].isin(cells)])
        arms = f"{len(cells)} of {len(every)} arms"
        class_ = "classical" if name == "classical" else "circuit"
        found.append(Tier(clean(name), f"{said} ({arms})", [clean(cell) for cell in cells], class_))
    return found


def _shots(table: Any) -> str:
    """`, 1,024 shots a circuit`, from the trials."""
    if "cost_shots" not in table.columns:
        return ""
    seen = sorted({int(v) for v in table["cost_shots"].dropna() if v > 0})
    if not seen:
        return ""
    return f", {number(seen[0])}{f' to {number(seen[-1])}' if len(seen) > 1 else ''} shots a circuit"
