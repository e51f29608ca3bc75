"""What a baseline is to the rest of the package, and estimators in scikit-learn's manner taken as one."""

from __future__ import annotations

import copy
import inspect
from typing import Any, Protocol

import numpy as np

from .. import local, registry
from ..errors import ConfigError

FLOOR = np.log(1e-12)  # of a class that training never saw, and of a probability of zero

Pair = tuple[np.ndarray, np.ndarray]


class Baseline(Protocol):
    """See `dopant.baselines`."""

    def fit(self, inputs: np.ndarray, targets: np.ndarray, validation: Pair | None = None) -> Any: ...

    def scores(self, inputs: np.ndarray) -> np.ndarray: ...


class Estimator:
    """An estimator with scikit-learn's methods, as a baseline. Its inputs are flattened to (items, features).

    Scores of classes: log(predict_proba), else decision_function, else 1 for the class of `predict` and 0 for the
    others (whose loss means nothing). Of anything else: predict. It is fitted on the training split alone.
    """

    def __init__(self, estimator: Any):
        self.estimator, self.classes = estimator, None

    def fit(self, inputs: np.ndarray, targets: np.ndarray, validation: Pair | None = None) -> None:
        self.classes = np.unique(targets) if is_classes(targets) else None
        self.estimator.fit(flat(inputs), targets)

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        x, classes = flat(inputs), self.classes
        if classes is None:
            return np.asarray(self.estimator.predict(x))
        if hasattr(self.estimator, "predict_proba"):
            found = np.log(np.maximum(self.estimator.predict_proba(x), 1e-12))
        elif hasattr(self.estimator, "decision_function"):
            found = two_columns(np.asarray(self.estimator.decision_function(x)))
        else:
            found = np.equal.outer(np.asarray(self.estimator.predict(x)), classes).astype(float)
        if found.shape != (len(x), len(classes)):
            raise ValueError(
                f"{type(self.estimator).__name__} gives scores {found.shape} for {len(x)} items of {len(classes)} "
                "classes; wrap it in an object with a `scores` of its own"
            )
        return by_class(found, classes)

    @property
    def parameters(self) -> int | None:
        """Numbers in `coef_` and `intercept_`; None where there is no `coef_`."""
        coefficients = getattr(self.estimator, "coef_", None)
        if coefficients is None:
            return None
        return int(np.size(coefficients) + np.size(getattr(self.estimator, "intercept_", ())))


def build(name: str, options: dict[str, Any]) -> Any:
    """The baseline `name` (registered, or `local:…`) with these options, not yet fitted. Raises UnknownName, and
    ConfigError for wrong options and for factories that return something else."""
    factory = local.get(name) if local.is_local(name) else registry.baselines.get(name)
    name = local.label(name)
    if is_model(factory):  # one of this process, ready-made: each trial fits a copy of it
        given, factory = factory, lambda: _copied(given)
    problems = registry.check_options("baseline", name, factory, options, 0)
    if problems:
        raise ConfigError(problems)
    made = factory(**options)
    if is_model(made):
        if callable(getattr(made, "scores", None)):
            try:
                inspect.signature(made.fit).bind(None, None, validation=None)
            except TypeError as error:
                raise ConfigError(
                    f"baseline {name!r}: its fit is called as fit(inputs, targets, validation=None): {error}"
                ) from None
            return made
        if callable(getattr(made, "predict", None)):
            return Estimator(made)
    kind = f"the class {made.__name__}" if isinstance(made, type) else f"a {type(made).__name__}"
    raise ConfigError(f"baseline {name!r} gives {kind}; expected an object with `fit` and `scores` (or `predict`)")


def is_model(value: Any) -> bool:
    """Whether a value is a model that can be fitted, and not what makes one."""
    return callable(getattr(value, "fit", None)) and not isinstance(value, type)


def _copied(model: Any) -> Any:
    """One that is not fitted, where it is scikit-learn's kind, else as it is."""
    if callable(getattr(model, "get_params", None)):
        from sklearn.base import clone

        return clone(model)
    return copy.deepcopy(model)


def is_classes(targets: np.ndarray) -> bool:
    """Whether targets are class numbers, (items,) whole."""
    return targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer)


def flat(inputs: np.ndarray) -> np.ndarray:
    """(items, …) -> (items, features)."""
    return inputs.reshape(len(inputs), -1)


def two_columns(scores: np.ndarray) -> np.ndarray:
    """(items,) log odds of the second of two classes -> (items, 2) logits with these; (items, classes) as it is."""
    return np.stack([-scores / 2, scores / 2], axis=1) if scores.ndim == 1 else scores


def by_class(scores: np.ndarray, classes: np.ndarray, total: int = 0) -> np.ndarray:
    """(items, len(classes)) logits -> (items, at least `total`), column k that of class k.

    A class that is not among `classes` gets 1e-12 of what the others have together.
    """
    total = max(total, int(classes.max()) + 1)
    if total == scores.shape[1]:
        return scores
    whole = np.logaddexp.reduce(scores, axis=1, keepdims=True)
    full = np.repeat(whole + FLOOR, total, axis=1)
    full[:, classes] = scores
    return full
