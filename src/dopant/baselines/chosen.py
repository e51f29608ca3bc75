"""A scikit-learn estimator that chooses its own settings by validation, from a stated space, by stated draws."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError
from .estimator import Estimator, Pair, by_class, flat, is_classes

HELD_OUT = 1 / 6  # of the training split, to choose by where there is no validation split
CANDIDATES = 8
VALIDATION = "validation"  # an option with this value is chosen

Settings = dict[str, Any]
Range = Mapping[str, Any]  # {"low", "high", "log"}; whole numbers where both ends are


@dataclass(frozen=True)
class Facts:
    """What an estimator is made for. classes: class numbers as targets, else numbers. varying: features that are not
    constant. several: more than one target an item. work: trees, rounds or passes that are asked for, as given."""

    classes: bool
    seed: int
    varying: int
    several: bool
    work: int


class Chosen:
    """A baseline whose open settings are chosen by validation.

    name: as registered. make: (settings, facts) -> a pipeline, not fitted. start: every setting's usual value. given:
    every setting as it is, or "validation". space: {setting: range}.
    candidates: how many are tried where something is open: the usual values, then a Latin hypercube over the space.
    limit: training items that are fitted to, drawn by class; None: all. work: trees, rounds or passes.
    growth: a fit to n items takes work * n ** growth.

    Classes are chosen by accuracy, the cross entropy deciding between equals where there are probabilities; numbers by
    the mean square error. The first of equals is taken. Every fit starts from the same seed, drawn from torch's default
    generator. Without a validation split a sixth of the training split is held out to choose by, and the choice
    is fitted again to all of it. tried: (settings, score that is larger for better) of every candidate.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[Settings, Facts], Any],
        start: Settings,
        given: Settings,
        space: Mapping[str, Range],
        candidates: int,
        limit: int | None,
        work: int = 1,
        growth: float = 1.0,
    ):
        problems = [f"{k} is {v!r}; expected {allowed(space[k])}" for k, v in given.items() if not within(v, space[k])]
        if candidates < 1:
            problems.append(f"candidates is {candidates}; expected 1 or more")
        if limit is not None and limit < 2:
            problems.append(f"limit is {limit}; expected 2 or more items, or none")
        if problems:
            raise ConfigError([f"baseline {name!r}: {p}" for p in problems])
        self.name, self.make, self.start = name, make, start
        self.given = {k: v for k, v in given.items() if v != VALIDATION}
        self.space = {k: space[k] for k, v in given.items() if v == VALIDATION}
        self.candidates, self.limit, self.work, self.growth = candidates, limit, work, growth
        self.tried: list[tuple[Settings, tuple[float, float]]] = []
        self.items = self.iterations = 0
        self.converged = True

    def fit(self, inputs: np.ndarray, targets: np.ndarray, validation: Pair | None = None) -> None:
        seed, self.shape = int(torch.randint(2**31 - 1, ())), targets.shape[1:]
        keep = subset(targets, self.limit, seed)
        if keep is not None:
            inputs, targets = inputs[keep], targets[keep]
        self.items, settings = len(targets), self.given
        if is_classes(targets) and len(np.unique(targets)) < 2:
            raise ConfigError(f"baseline {self.name!r}: all {len(targets)} training items are of one class")
        whole: Estimator | None = None
        if self.space:
            fitted, judged, again = (inputs, targets), validation, False
            if validation is None or not len(validation[1]):
                rest, held = hold_out(self.name, targets, seed)
                fitted, judged, again = (inputs[rest], targets[rest]), (inputs[held], targets[held]), True
            assert judged is not None
            best = None
            for candidate in self._drawn(seed):
                model = self._fitted(candidate, fitted, seed)
                score = merit(model, judged)
                self.tried.append((candidate, score))
                if best is None or score > best:
                    best, settings, whole = score, candidate, None if again else model
        self.settings = {**self.start, **settings}
        self.model = whole or self._fitted(settings, (inputs, targets), seed)

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        """(items, …) -> (items, classes), or numbers shaped as the targets."""
        found = self.model.scores(inputs)
        return found.reshape(len(found), *self.shape) if self.model.classes is None else found

    @property
    def parameters(self) -> int | None:
        """Of a multilayer perceptron its weights and biases; the other models' size is in `report`."""
        last = self.model.estimator[-1]
        if not hasattr(last, "coefs_"):
            return None
        return int(sum(a.size for a in (*last.coefs_, *last.intercepts_)))

    def report(self) -> dict[str, Any]:
        """The settings, how many were tried, whether all fits converged, items fitted to, and what the model keeps."""
        found = {**self.settings, "tried": len(self.tried), "items": self.items, "converged": self.converged}
        if self.iterations:
            found["iterations"] = self.iterations
        return found | kept(self.model.estimator[-1])

    def seconds(self, inputs: np.ndarray, targets: np.ndarray, items: int, *, alone: bool = False) -> float:
        """What `fit` to `items` of a training split will take, by one fit to these few with a tenth of the work, at the
        usual values.

        alone: with one candidate. Cost: that fit. A rough figure: other settings take longer or shorter.
        """
        few = max(1, self.work // 10)
        start = time.perf_counter()
        self._fitted({**self.start, **self.given}, (inputs, targets), 0, few)
        once = (time.perf_counter() - start) * self.work / few
        items = min(items, self.limit or items)
        fits = 1 if alone or not self.space else self.candidates
        return once * fits * max(1.0, items / len(targets)) ** self.growth

    def _drawn(self, seed: int) -> list[Settings]:
        """The usual values first, then a Latin hypercube over the space."""
        rng = np.random.default_rng(seed)
        found, more = [dict(self.given)], self.candidates - 1
        found[0] |= {key: self.start[key] for key in self.space}
        if not more:
            return found
        columns = {key: (rng.permutation(more) + rng.random(more)) / more for key in self.space}
        for i in range(more):
            found.append(self.given | {key: at(self.space[key], float(column[i])) for key, column in columns.items()})
        return found

    def _fitted(self, settings: Settings, pair: Pair, seed: int, work: int | None = None) -> Estimator:
        from sklearn.exceptions import ConvergenceWarning

        x, y = flat(pair[0]), pair[1]
        y = y.reshape(len(y)) if y.size == len(y) else flat(y)
        facts = Facts(is_classes(y), seed, max(1, int((x != x[:1]).any(axis=0).sum())), y.ndim > 1, work or self.work)
        model = Estimator(self.make({**self.start, **settings}, facts))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(x, y)
        for warning in said:
            if issubclass(warning.category, ConvergenceWarning):
                self.converged = False  # told in the report
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        passes = getattr(model.estimator[-1], "n_iter_", 0)
        self.iterations += int(passes) if hasattr(model.estimator[-1], "coefs_") else 0
        return model


def merit(model: Estimator, pair: Pair) -> tuple[float, float]:
    """(accuracy, minus cross entropy or 0), or (minus mean square error, 0): larger is better."""
    inputs, targets = pair
    scores = model.scores(inputs)
    if model.classes is None:
        return -float(np.square(scores.reshape(targets.shape) - targets).mean()), 0.0
    scores = by_class(scores, np.arange(scores.shape[1]), int(targets.max()) + 1)
    accuracy = float((scores.argmax(1) == targets).mean())
    if not hasattr(model.estimator, "predict_proba"):
        return accuracy, 0.0
    chosen = scores[np.arange(len(targets)), targets]
    return accuracy, -float((np.logaddexp.reduce(scores, axis=1) - chosen).mean())


def kept(estimator: Any) -> dict[str, int]:
    """What a fitted model keeps: support vectors, or trees and their nodes; of several targets all together."""
    found: dict[str, int] = {}
    estimator = getattr(estimator, "regressor_", estimator)
    several = type(estimator).__name__ == "MultiOutputRegressor"
    for one in estimator.estimators_ if several else [estimator]:
        if hasattr(one, "support_vectors_"):
            found["support_vectors"] = found.get("support_vectors", 0) + len(one.support_)
        trees = []
        if hasattr(one, "_predictors"):
            trees = [p.nodes.shape[0] for stage in one._predictors for p in stage]
        elif hasattr(one, "estimators_"):
            trees = [tree.tree_.node_count for tree in one.estimators_]
        if trees:
            found["trees"] = found.get("trees", 0) + len(trees)
            found["nodes"] = found.get("nodes", 0) + int(sum(trees))
    return found


def subset(targets: np.ndarray, limit: int | None, seed: int) -> np.ndarray | None:
    """Numbers of `limit` items in ascending order, by class where that can be had; None: all of them."""
    if limit is None or limit >= len(targets):
        return None
    return split(targets, limit, seed)[0]


def hold_out(name: str, targets: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(rest, held out) item numbers. ConfigError where there are too few items."""
    held = math.ceil(len(targets) * HELD_OUT)
    if len(targets) - held < 2:
        raise ConfigError(
            f"baseline {name!r}: {len(targets)} training items cannot be split to choose settings by; give more items, "
            "or every setting"
        )
    return split(targets, len(targets) - held, seed)


def split(targets: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(`size` item numbers, the others), each ascending; by class where every class has two items and a place on both
    sides."""
    from sklearn.model_selection import train_test_split

    by = None
    if is_classes(targets):
        counts = np.unique(targets, return_counts=True)[1]
        by = targets if counts.min() >= 2 and len(counts) <= min(size, len(targets) - size) else None
    first, second = train_test_split(np.arange(len(targets)), train_size=size, stratify=by, random_state=seed)
    return np.sort(first), np.sort(second)


def at(range_: Range, share: float) -> Any:
    """The value at a share (0 to 1) of a range, rounded to six digits; whole where both ends are."""
    low, high = range_["low"], range_["high"]
    value = low * (high / low) ** share if range_.get("log") else low + (high - low) * share
    return round(value) if isinstance(low, int) and isinstance(high, int) else float(f"{value:.6g}")


def within(value: Any, range_: Range) -> bool:
    """Whether an option can be what it is: "validation", or a positive number, whole where the range is."""
    if value == VALIDATION:
        return True
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        return False
    return not isinstance(range_["low"], int) or isinstance(value, int)


def allowed(range_: Range) -> str:
    return f"a {'whole ' if isinstance(range_['low'], int) else ''}number above 0, or 'validation'"
