"""What tuning gave, for the page: each arm's choice, and a small panel of how good the best of k candidates is."""

from __future__ import annotations

from typing import Any

from . import curves, tables
from .circuits import Column
from .words import measure, score

COLUMN = "expected"
INDEPENDENT = (
    "The validation score that the best of k of an arm's candidates is expected to have, from all that were tried; "
    "grey: the cell that it is compared with. Where curves cross, which arm is better depends on how much is tried; "
    "where one still rises at its end, more candidates would help it. All scores are those that chose: the best of "
    "many is lower on fresh replicates."
)
IN_ORDER = (
    "The best validation score among the first k of an arm's candidates, in the order in which they were drawn (each "
    "depends on the results before it); grey: the cell that it is compared with."
)


def summary(answer: Any) -> tables.Table | None:
    """What each tuned arm chose; None where no arm was tuned."""
    frame = getattr(answer, "tuning_summary", None)
    if frame is None or not len(frame):
        return None
    metric = measure("validation_" + _metric(answer), frame["validation"])
    own = {
        "candidates": Column("candidates", "planned; each trained on every tuning replicate"),
        "finished": Column("finished", ""),
        "failed": Column("failed", "candidates of which a trial failed: the worst score there is"),
        "best": Column("best", "its number, from 0"),
        "validation": Column(metric.label, "mean over tuning replicates of the best", lambda v: score(v, metric)),
        "edge": Column("edge", "chosen values that lie on the edge of the search"),
    }
    return tables.build(frame.to_dict("records"), list(frame.columns), metric, own=own)


def panels(answer: Any) -> dict[str, Any]:
    """{panels, caption, left_out} of the best of k candidates, one panel an arm; none below three candidates."""
    frame = getattr(answer, "best_of_k", None)
    if frame is None or not len(frame) or frame["k"].max() < 3:
        return {"panels": [], "caption": "", "left_out": 0}
    column = "validation_" + _metric(answer)
    drawn = frame.rename(columns={"k": "epoch", COLUMN: column})
    versus: dict[str, str] = {}
    for row in answer.effects.to_dict("records"):
        versus.setdefault(row.get("cell", ""), row["versus"])
    made = curves.panels(drawn, answer.cells, versus, column, axis="candidates", start=0.0)
    caption = INDEPENDENT if (frame["method"] == COLUMN).all() else IN_ORDER
    return {"panels": made, "caption": caption, "left_out": frame["cell"].nunique() - len(made)}


def _metric(answer: Any) -> str:
    return answer.metric[0]
