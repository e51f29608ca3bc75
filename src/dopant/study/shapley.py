"""How a factorial's total difference may be shared among its factors: Shapley values. A description, no inference.

For one full combination, a level beside the first of every factor, the players are the factors and the worth of a set
of them is the mean score of the cell in which they stand at that combination's levels and all others at their first.
A factor's value is what it adds, averaged over all orders in which the factors could have been changed one after
another; the values add up to the whole difference. Interactions are shared equally among those that take part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..designs import Factorial
from ..errors import ConfigError

if TYPE_CHECKING:
    from .pairs import Scores

MOST_FACTORS = 12
COLUMNS = ("combination", "factor", "level", "value", "total", "replicates")


def shapley_values(worth: Sequence[float] | np.ndarray) -> np.ndarray:
    """(players,) from the worth of every set: worth[m], whose bit i says that player i is in it.

    Source: Shapley 1953, Contributions to the Theory of Games II. Cost: players * 2**players.
    Raises ConfigError above 12 players, or where the length is no power of two.
    """
    worth = np.asarray(worth, float)
    players = (len(worth) - 1).bit_length()
    if len(worth) != 2**players or players > MOST_FACTORS:
        raise ConfigError(f"Shapley values: 2**m worths of at most {MOST_FACTORS} factors expected, not {len(worth)}")
    sets = np.arange(len(worth))
    sizes = np.array([int(s).bit_count() for s in sets])
    weights = [1 / (players * math.comb(players - 1, k)) for k in range(players)]
    found = np.empty(players)
    for player in range(players):
        without = sets[(sets >> player & 1) == 0]
        found[player] = np.sum(np.array(weights)[sizes[without]] * (worth[without | 1 << player] - worth[without]))
    return found


def of_factorial(design: Any, scores: Scores) -> pd.DataFrame:
    """One row a full combination and factor; COLUMNS. Positive is better, in the metric's unit.

    value: of the factor; total: the combination's cell minus the first one, which the values add up to. replicates:
    those in which every cell of the game has a score, the only ones used. Combinations of which some cell was not
    trained have no game. Empty for other designs, fewer than two factors that vary, or more than 12.
    """
    rows: list[dict[str, Any]] = []
    moving = [f for f, levels in design.factors.items() if len(levels) > 1] if isinstance(design, Factorial) else []
    if 2 <= len(moving) <= MOST_FACTORS:
        trained = {design.name(place) for place in design.places()}
        first = {factor: next(iter(levels)) for factor, levels in design.factors.items()}
        for target in itertools.product(*(list(design.factors[f])[1:] for f in moving)):
            levels = dict(zip(moving, target, strict=True))
            names = [
                design.name({**first, **{f: levels[f] for i, f in enumerate(moving) if s >> i & 1}})
                for s in range(2 ** len(moving))
            ]
            if trained.issuperset(names):
                rows += _rows(levels, np.array([scores.sign * scores.arm(name)[0] for name in names]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(levels: dict[str, str], values: np.ndarray) -> list[dict[str, Any]]:
    """values: (set, replicate)."""
    whole = ~np.isnan(values).any(0)
    if not whole.any():
        return []
    worth = values[:, whole].mean(1)
    common = {
        "combination": ", ".join(f"{factor}={level}" for factor, level in levels.items()),
        "total": float(worth[-1] - worth[0]), "replicates": int(whole.sum()),
    }  # fmt: skip
    pairs = zip(levels.items(), shapley_values(worth), strict=True)
    return [common | {"factor": f, "level": x, "value": float(value)} for (f, x), value in pairs]
