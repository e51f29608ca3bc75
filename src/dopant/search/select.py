"""The best predicted combinations within budgets: all looked at, or for large spaces a mixed-integer program."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError
from .costs import Costs
from .space import Code, Space
from .surrogate import Column, Fitted

EXHAUSTIVE = 100_000  # combinations up to which all are looked at
SLACK = 1e-9

Budgets = Mapping[str, float]  # {"parameters", "qubits", "seconds": the most}


def inside(costs: Mapping[str, Any], budgets: Budgets) -> Any:
    """Whether costs (numbers, or arrays) keep every budget; one that is not known keeps none."""
    kept: Any = True
    for key, most in budgets.items():
        kept = np.logical_and(kept, np.asarray(costs[key]) <= most * (1 + SLACK))
    return kept


def best_first(fitted: Fitted, costs: Costs, budgets: Budgets, higher_is_better: bool) -> Iterator[tuple[Code, float]]:
    """(combination, predicted score) within the budgets, the best first; only what can be predicted."""
    if fitted.space.total <= EXHAUSTIVE:
        yield from exhaustive(fitted, costs, budgets, higher_is_better)
    else:
        yield from programmed(fitted, costs, budgets, higher_is_better)


def exhaustive(fitted: Fitted, costs: Costs, budgets: Budgets, higher_is_better: bool) -> Iterator[tuple[Code, float]]:
    """By looking at every combination."""
    codes = fitted.space.codes()
    scores = fitted.predict(codes)
    keep = np.isfinite(scores) & inside(costs.of(codes), budgets)
    codes, scores = codes[keep], scores[keep]
    for i in np.argsort(-scores if higher_is_better else scores, kind="stable"):
        yield tuple(codes[i].tolist()), float(scores[i])


def programmed(fitted: Fitted, costs: Costs, budgets: Budgets, higher_is_better: bool) -> Iterator[tuple[Code, float]]:
    """By `scipy.optimize.milp`: a 0-1 variable for each level, one for each interaction with y <= x1, y <= x2,
    y >= x1 + x2 - 1. After each solution it is excluded. Costs are the additive ones there; a solution whose exact
    costs are known is judged by those, so one that additive costs overstate may be missed."""
    program = _Program.of(fitted, costs)
    rows, upper = program.budget_rows(costs, budgets)
    while True:
        found = program.solve(rows, upper, -program.scores if higher_is_better else program.scores)
        if found is None:
            return
        rows.append(program.chosen_row(found))
        upper.append(len(found) - 1.0)
        if inside(costs.one(found), budgets):
            yield found, float(fitted.predict([found])[0])


def nearest(fitted: Fitted, costs: Costs, budgets: Budgets) -> tuple[Code, float] | None:
    """(combination, times the budget that it exceeds most) of the one for which that is least; None where no cost is
    known."""
    if fitted.space.total <= EXHAUSTIVE:
        codes = fitted.space.codes()
        ratio = np.max([np.asarray(costs.of(codes)[key]) / _positive(most) for key, most in budgets.items()], axis=0)
        if not np.isfinite(ratio).any():
            return None
        i = int(np.nanargmin(ratio))
        return tuple(codes[i].tolist()), float(ratio[i])
    program = _Program.of(fitted, costs)
    found = program.least_excess(costs, budgets)
    if found is None:
        return None
    return found, max(costs.one(found)[key] / _positive(most) for key, most in budgets.items())


def _positive(most: float) -> float:
    return most if most > 0 else 1.0


@dataclass
class _Program:
    """Variables: x of every level (`offsets` of each factor), then y of every interaction, then one for a bound."""

    space: Space
    offsets: list[int]
    pairs: list[tuple[int, int]]
    scores: np.ndarray
    barred: np.ndarray

    @classmethod
    def of(cls, fitted: Fitted, costs: Costs) -> _Program:
        space = fitted.space
        offsets = [0, *itertools.accumulate(space.sizes)]
        interactions = [c for c in fitted.columns if len(c) == 2]
        pairs = [(offsets[f] + x, offsets[g] + y) for (f, x), (g, y) in interactions]
        scores, barred = np.zeros(offsets[-1] + len(pairs) + 1), np.zeros(offsets[-1] + len(pairs) + 1)
        place: dict[Column, int] = {column: offsets[-1] + i for i, column in enumerate(interactions)}
        for column, value in zip(fitted.columns, fitted.coefficients[1:], strict=True):
            if len(column) == 1:
                scores[offsets[column[0][0]] + column[0][1]] = value
            else:
                scores[place[column]] = value
        for f, level in fitted.unknown:
            barred[offsets[f] + level] = 1
        for _, parts in costs.additive.values():
            for f, part in enumerate(parts):
                barred[offsets[f] : offsets[f + 1]] += ~np.isfinite(part)
        for f, part in enumerate(costs.largest):
            barred[offsets[f] : offsets[f + 1]] += ~np.isfinite(part)
        return cls(space, offsets[:-1], pairs, scores, barred > 0)

    def budget_rows(self, costs: Costs, budgets: Budgets) -> tuple[list[np.ndarray], list[float]]:
        """Rows r with r @ variables <= upper."""
        rows, upper = [], []
        for key, most in budgets.items():
            if key == "qubits":
                row = self._spread([(part > most * (1 + SLACK)).astype(float) for part in costs.largest])
                rows.append(row)
                upper.append(0.0)
                continue
            base, parts = costs.additive[key]
            rows.append(self._spread(parts) / _positive(most))
            upper.append((most * (1 + SLACK) - base) / _positive(most))
        return rows, upper

    def least_excess(self, costs: Costs, budgets: Budgets) -> Code | None:
        """The combination whose largest cost in units of its budget is least."""
        rows, upper = [], []
        for key, most in budgets.items():
            lines = [(0.0, costs.largest)] if key == "qubits" else [costs.additive[key]]
            for base, parts in lines:
                for chosen in [[part if f == g else np.zeros_like(part) for g, part in enumerate(parts)]
                               for f in range(len(parts))] if key == "qubits" else [parts]:  # fmt: skip
                    row = self._spread(chosen) / _positive(most)
                    row[-1] = -1.0
                    rows.append(row)
                    upper.append(-base / _positive(most))
        aim = np.zeros_like(self.scores)
        aim[-1] = 1.0
        return self.solve(rows, upper, aim)

    def chosen_row(self, code: Code) -> np.ndarray:
        row = np.zeros_like(self.scores)
        row[[self.offsets[f] + level for f, level in enumerate(code)]] = 1
        return row

    def solve(self, rows: list[np.ndarray], upper: list[float], aim: np.ndarray) -> Code | None:
        """The allowed combination with the least aim @ variables; None where there is none."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        bounds: Any = Bounds  # arrays too, whatever its stubs say
        rows_of: Any = LinearConstraint

        count, levels = len(self.scores), sum(self.space.sizes)
        lines, top = [np.asarray(row) for row in rows], list(upper)
        for (f, x), (g, y) in self.space.forbidden:
            lines.append(self._unit({self.offsets[f] + x: 1, self.offsets[g] + y: 1}))
            top.append(1.0)
        for i, (one, two) in enumerate(self.pairs):
            lines += [self._unit({levels + i: 1, one: -1}), self._unit({levels + i: 1, two: -1}),
                      self._unit({one: 1, two: 1, levels + i: -1})]  # fmt: skip
            top += [0.0, 0.0, 1.0]
        exactly = np.zeros((len(self.offsets), count))
        for f, (start, size) in enumerate(zip(self.offsets, self.space.sizes, strict=True)):
            exactly[f, start : start + size] = 1
        constraints = [rows_of(csr_array(exactly), 1, 1)]
        if lines:
            constraints.append(rows_of(csr_array(np.stack(lines)), -np.inf, np.array(top)))
        high = np.where(self.barred, 0.0, 1.0)
        high[-1] = np.inf if aim[-1] else 0.0
        whole = np.ones(count)
        whole[-1] = 0
        result = milp(aim, constraints=constraints, integrality=whole, bounds=bounds(np.zeros(count), high),
                      options={"mip_rel_gap": 0.0})  # fmt: skip
        if result.status == 2:
            return None
        if result.x is None:
            raise ConfigError(
                f"choose: the program over {self.space.total:,} combinations was not solved: {result.message}"
            )
        return tuple(
            int(np.argmax(result.x[start : start + size]))
            for start, size in zip(self.offsets, self.space.sizes, strict=True)
        )

    def _spread(self, parts: list[np.ndarray]) -> np.ndarray:
        row = np.zeros_like(self.scores)
        for start, part in zip(self.offsets, parts, strict=True):
            row[start : start + len(part)] = np.nan_to_num(part)
        return row

    def _unit(self, entries: dict[int, float]) -> np.ndarray:
        row = np.zeros_like(self.scores)
        for i, value in entries.items():
            row[i] = value
        return row
