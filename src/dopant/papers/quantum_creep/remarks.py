"""What must be said below the comparison: which of the losses a circuit can have at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..compare import load_published
from .bound import TRAIN_COUNTS, lowest_cross_entropy
from .cells import DATA


def remarks(data: str, measured: Mapping[str, Any]) -> list[str]:
    """One line on the bound, with the published final losses, and one on the measured ones below it."""
    published = DATA.get(data)
    if published is None:
        return []
    from . import PAPER

    bound = lowest_cross_entropy(TRAIN_COUNTS[data])
    last = {
        s.variant: s.curves["train_loss"][-1]
        for s in load_published(PAPER.published_file)
        if s.level == 2 and s.data == published
    }
    lines = [
        f"Probabilities of a normalised state plus a bias cannot have a mean cross entropy below {bound:.3f} here. "
        f"Published training losses of level 2: torch {last['torch']:.3f}, "
        f"{'impossible for' if last['torch'] < bound else 'possible for'} a circuit; Equinox {last['equinox']:.3f}, "
        f"{'impossible' if last['equinox'] < bound else 'possible'}."
    ]
    low = [
        f"{cell} {float(have.curves['train_loss'][:, -1].mean()):.3f}"
        for cell, have in measured.items()
        if cell.startswith("level 2") and "train_loss" in have.curves and have.curves["train_loss"].size
        and float(have.curves["train_loss"][:, -1].mean()) < bound
    ]  # fmt: skip
    if low:
        lines.append(f"Measured training losses below it, so not of a normalised state: {'; '.join(low)}.")
    return lines
