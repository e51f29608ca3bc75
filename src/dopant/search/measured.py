"""What a study's folder says of its combinations: validation scores by replicate, and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .space import Code

if TYPE_CHECKING:
    from ..study.results import StudyAnswer


@dataclass
class Measured:
    """scores, tests: {code: {replicate: score}}; a trial that failed scores as the metric declares. costs: {code:
    {"parameters", "qubits", "seconds"}}, seconds of a trial. unscored: {code: why it has no score}."""

    scores: dict[Code, dict[int, float]] = field(default_factory=dict)
    tests: dict[Code, dict[int, float]] = field(default_factory=dict)
    costs: dict[Code, dict[str, float]] = field(default_factory=dict)
    unscored: dict[Code, str] = field(default_factory=dict)

    def add(self, other: Measured) -> None:
        """Take what another study measured too; the same trials are the same scores."""
        for name in ("scores", "tests"):
            mine = getattr(self, name)
            for code, values in getattr(other, name).items():
                mine[code] = {**mine.get(code, {}), **values}
        self.costs |= other.costs
        self.unscored |= other.unscored

    def complete(self, code: Code, replicates: int) -> bool:
        return len(self.scores.get(code, ())) >= replicates


def measured_of(answer: StudyAnswer, cells: Mapping[Code, str]) -> Measured:
    """What `answer` measured of these of its cells. Raises ConfigError where no trial has a validation score."""
    name, column, _ = answer.metric
    validation = f"validation_{name}"
    table: Any = answer.trials
    done = table[table["status"] == "done"]
    if len(done) and (validation not in done or done[validation].isna().all()):
        raise ConfigError(
            f"choose: no trial of {answer.name!r} has {validation!r}, and networks are chosen by validation"
            + (" (protocol = 'published' leaves no validation split)" if answer.config.protocol else "")
        )
    worst = answer.failure_value(name)
    costs: Any = answer.costs
    known = {} if costs.empty else costs.set_index("cell").to_dict(orient="index")
    found, codes = Measured(), {cell: code for code, cell in cells.items()}
    for row in table.to_dict(orient="records"):
        code = codes.get(row["cell"])
        if code is None or row["status"] not in ("done", "failed") or answer.lost(row["trial"]):
            continue
        failed = row["status"] == "failed"
        score = worst if failed else row[validation]
        if not math.isfinite(score):
            found.unscored[code] = f"{row['cell']}, replicate {row['replicate']}: {row['reason'] or 'no score'}"
            continue
        found.scores.setdefault(code, {})[row["replicate"]] = float(score)
        test = worst if failed else row.get(column, float("nan"))
        found.tests.setdefault(code, {})[row["replicate"]] = float(test)
    for code in found.unscored:
        found.scores.pop(code, None)
    for code in found.scores:
        row = known.get(cells[code], {})
        found.costs[code] = {
            key: _number(row.get(key), missing)
            for key, missing in (("parameters", math.nan), ("qubits", 0.0), ("seconds", math.nan))
        }
    return found


def _number(value: Any, missing: float) -> float:
    return missing if value is None or not math.isfinite(value) else float(value)
