"""What every combination costs: from the ledger of the cells that were trained, additive over slots elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .space import Code, Space
from .surrogate import fit

KEYS = ("parameters", "qubits", "seconds")


@dataclass
class Costs:
    """additive: {"parameters" | "seconds": (base, [of each factor, (level,) what it adds; NaN where unknown])}.
    largest: of each factor (level,) qubits of its circuit, at most: circuits stand side by side, so the largest counts.
    exact: {code: costs} of combinations that were trained, or built."""

    space: Space
    additive: dict[str, tuple[float, list[np.ndarray]]]
    largest: list[np.ndarray]
    exact: dict[Code, dict[str, float]] = field(default_factory=dict)

    def of(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """{key: (combination,)} of (combination, factor); exact where known."""
        codes = np.asarray(codes, dtype=np.int64).reshape(-1, len(self.space.sizes))
        found = {}
        for key, (base, parts) in self.additive.items():
            found[key] = base + sum(part[codes[:, f]] for f, part in enumerate(parts))
        found["qubits"] = np.max([part[codes[:, f]] for f, part in enumerate(self.largest)], axis=0)
        place = {code: i for i, code in enumerate(map(tuple, codes.tolist()))}
        for code, known in self.exact.items():
            if code in place:
                for key, value in known.items():
                    found[key][place[code]] = value
        return found

    def one(self, code: Code) -> dict[str, float]:
        return {key: float(values[0]) for key, values in self.of(np.array([code])).items()}


def costs_of(space: Space, measured: Mapping[Code, Mapping[str, float]]) -> Costs:
    """Costs from those of the cells that were trained: {code: {"parameters", "qubits", "seconds"}}.

    What a level adds is fitted by least squares, as main effects of scores are, and is NaN where it cannot be told.
    Qubits of a level: the fewest of the cells that have it, so a circuit of another slot is not put down to it.
    """
    codes: Sequence[Code] = list(measured)
    additive = {}
    for key in ("parameters", "seconds"):
        values = np.array([measured[code].get(key, np.nan) for code in codes], float)
        known = np.isfinite(values)
        additive[key] = _parts(space, [c for c, k in zip(codes, known, strict=True) if k], values[known])
    largest = []
    for f, size in enumerate(space.sizes):
        found = [[measured[code].get("qubits", 0.0) for code in codes if code[f] == level] for level in range(size)]
        largest.append(np.array([min(values) if values else np.nan for values in found]))
    exact = {
        code: {k: float(v) for k, v in costs.items() if k in KEYS and np.isfinite(v)}
        for code, costs in measured.items()
    }
    return Costs(space, additive, largest, exact)


def _parts(space: Space, codes: Sequence[Code], values: np.ndarray) -> tuple[float, list[np.ndarray]]:
    parts = [np.zeros(size) for size in space.sizes]
    if not len(codes):
        return float("nan"), parts
    fitted = fit(space, codes, values, interactions=False)
    for column, value in zip(fitted.columns, fitted.coefficients[1:], strict=True):
        (f, level) = column[0]
        parts[f][level] = value if (f, level) in fitted.estimable else np.nan
    return float(fitted.coefficients[0]), parts
