"""The trials as the page lists them: each with the seed that it was drawn from and the swaps of its cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .words import clean


def trials(answer: Any) -> Any:
    """`Answer.trials` with the columns `seed` (of the study: every draw is a function of it and of the replicate) and,
    where cells do not bear the names of their swaps, `swaps`: those of the trial itself, with what was tuned. Each only
    where it is known."""
    frame = answer.trials
    if not len(frame) or "cell" not in frame.columns:
        return frame
    added: dict[str, Any] = {}
    seed = ((getattr(answer, "study", None) or {}).get("study") or {}).get("seed")
    if isinstance(seed, int) and "seed" not in frame.columns:
        added["seed"] = seed
    known = {c.name: swaps_of(c) for c in getattr(answer, "cells", ()) if getattr(c, "swaps", None)}
    if "swaps" not in frame.columns and any(name != swaps for name, swaps in known.items()):
        own = {row["id"]: _told(row["description"].get("swaps") or {}) for row in getattr(answer, "rows", ())}
        added["swaps"] = frame["trial"].map(own) if own else frame["cell"].map(known)
    return frame.assign(**added)


def swaps_of(cell: Any) -> str:
    """`conv1=psd-conv(rank=2), head=frozen`; nothing of the host untouched."""
    return _told(cell.swaps)


def _told(swaps: Mapping[str, Any]) -> str:
    return ", ".join(f"{slot}={_filled(spec)}" for slot, spec in swaps.items())


def _filled(spec: Any) -> str:
    if not isinstance(spec, Mapping):
        return clean(spec)
    options = ", ".join(f"{k}={v}" for k, v in spec.items() if k != "component")
    return clean(spec.get("component", "")) + (f"({clean(options)})" if options else "")
