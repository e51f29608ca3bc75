"""Would the verdicts be others, had the failed trials been left out instead of scored? A sensitivity analysis.

Leaving them out answers another question (how good is the swap where it trains at all?) and flatters whatever fails
more often, so the scored answer is the one that counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

from .report.words import without_tags
from .wording import JUDGED


def rows_of(effects: pd.DataFrame, again: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The rows of `again()`, the effects of complete cases, whose two arms have a failed trial; empty without any.

    effects: as judged; a swap whose control failed is among them too, since its verdict rests on that control.
    """
    if not any(count > 0 for count in effects["failed"]):
        return effects.iloc[:0].copy()
    found: Any = again()
    failed = set(map(tuple, effects.loc[effects["failed"] > 0, ["cell", "versus"]].values.tolist()))
    judged = {cell for cell, _ in failed}
    keep = [
        (row["cell"], row["versus"]) in failed or (row["role"] in JUDGED and row["cell"] in judged)
        for row in found.to_dict("records")
    ]
    return found[keep].reset_index(drop=True)


def notes_of(effects: pd.DataFrame, complete: pd.DataFrame) -> list[str]:
    """A sentence for each verdict that leaving failed trials out would change."""
    from .verdicts import SPOKEN

    was = {(r["cell"], r["versus"], r["role"]): without_tags(r["verdict"]) for r in effects.to_dict("records")}
    notes = []
    for row in complete.to_dict("records"):
        now, before = without_tags(row["verdict"]), was.get((row["cell"], row["versus"], row["role"]))
        if row["role"] in SPOKEN and before is not None and now != before:
            notes.append(
                f"{row['swap']}: with failed trials left out ({row['replicates']} complete pairs) the verdict would be "
                f"'{now}' instead of '{before}'. That flatters what fails more often, so it does not count."
            )
    if len(complete) and not notes:
        notes.append("Leaving failed trials out, instead of scoring them, would change no verdict.")
    return notes
