"""Multinomial logistic regression, solved to convergence: the best that an affine map with a softmax can do."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ..errors import ConfigError
from ..registry import baseline
from .estimator import Pair, by_class, flat, is_classes, two_columns

GRID = tuple(10.0**k for k in range(-4, 4))
PATIENCE = 2  # values of C without a better validation score after which weaker ones are not tried
HELD_OUT = 1 / 6  # of the training split, to choose C where there is no validation split


@dataclass
class _Solved:
    """One optimum. weight (features, columns), intercept (columns,), in the scaled inputs."""

    C: float
    weight: np.ndarray
    intercept: np.ndarray
    classes: np.ndarray
    iterations: int
    objective: float
    gradient_norm: float


class _Scaling:
    """x -> (x - mean)/scale, fitted on the inputs that it returns as a new array of doubles."""

    def __init__(self, inputs: np.ndarray, each: bool):
        x = np.array(flat(inputs), dtype=np.float64, order="C")
        self.mean = x.mean(0)
        x -= self.mean
        squares = np.einsum("ij,ij->j", x, x) / len(x)
        self.scale = np.sqrt(squares if each else squares.mean(keepdims=True))
        self.scale[self.scale == 0] = 1.0
        x /= self.scale
        self.fitted = x

    def affine(self, found: _Solved) -> tuple[np.ndarray, np.ndarray]:
        """(weight, intercept) for inputs that are not scaled."""
        weight = found.weight / self.scale[:, None]
        return weight, found.intercept - self.mean @ weight


class LogisticRegression:
    """See `logistic_regression`. `path`: (C, validation accuracy, validation loss) of every value that was tried."""

    def __init__(self, C: float | str, max_iter: int, tol: float, standardize: bool):
        self.C, self.max_iter, self.tol, self.standardize = C, max_iter, tol, standardize
        self.path: list[tuple[float, float, float]] = []
        self.iterations = 0  # of all fits

    def fit(self, inputs: np.ndarray, targets: np.ndarray, validation: Pair | None = None) -> None:
        if not is_classes(targets):
            raise ConfigError(
                f"baseline 'logistic-regression' needs class numbers, (items,) whole; the targets are {targets.dtype} "
                f"of shape {targets.shape}"
            )
        if not isinstance(self.C, str):
            self._finish(self._solve(_Scaling(inputs, self.standardize), targets, self.C))
        elif validation is not None and len(validation[1]):
            self._finish(self._choose(inputs, targets, validation))
        else:
            rest, held = _hold_out(targets)
            scaling, found = self._choose(inputs[rest], targets[rest], (inputs[held], targets[held]))
            start = scaling.affine(found)
            del scaling
            self._finish(self._solve(_Scaling(inputs, self.standardize), targets, found.C, start))

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        """(items, …) -> (items, classes): logits, in double precision."""
        return self._logits(inputs, self.weight, self.intercept, self.found.classes)

    @property
    def parameters(self) -> int:
        """Weights and intercepts; of two classes one of each is enough."""
        return self.weight.size + self.intercept.size

    def report(self) -> dict[str, Any]:
        """C, iterations of all fits and of the last, whether that converged (largest entry of the gradient at most
        `tol`), that entry, the objective an item, and how many values of C were tried."""
        found = self.found
        return {
            "C": found.C,
            "iterations": self.iterations,
            "last_iterations": found.iterations,
            "converged": found.gradient_norm <= self.tol,
            "gradient_norm": found.gradient_norm,
            "objective": found.objective,
            "tried": len(self.path),
        }

    def _finish(self, result: tuple[_Scaling, _Solved]) -> None:
        scaling, self.found = result
        self.weight, self.intercept = scaling.affine(self.found)

    def _choose(self, inputs: np.ndarray, targets: np.ndarray, validation: Pair) -> tuple[_Scaling, _Solved]:
        """The value of C with the best validation accuracy, the loss deciding between equals; from strong to weak, each
        fit starting at the one before."""
        scaling = _Scaling(inputs, self.standardize)
        best: tuple[tuple[float, float], _Solved] | None = None
        start, since = None, 0
        for C in GRID:
            _, found = self._solve(scaling, targets, C, start)
            start = scaling.affine(found)
            accuracy, loss = self._validate(validation, *start, found.classes)
            self.path.append((C, accuracy, loss))
            if best is None or (accuracy, -loss) > best[0]:
                best, since = ((accuracy, -loss), found), 0
            else:
                since += 1
            if since >= PATIENCE:
                break
        assert best is not None
        return scaling, best[1]

    def _validate(
        self, validation: Pair, weight: np.ndarray, intercept: np.ndarray, classes: np.ndarray
    ) -> tuple[float, float]:
        """(accuracy, mean cross entropy) on the pair; a class that training never saw has almost no probability."""
        inputs, targets = validation
        scores = by_class(self._logits(inputs, weight, intercept, classes), np.arange(1), int(targets.max()) + 1)
        chosen = scores[np.arange(len(targets)), targets]
        return float((scores.argmax(1) == targets).mean()), float((np.logaddexp.reduce(scores, axis=1) - chosen).mean())

    @staticmethod
    def _logits(inputs: np.ndarray, weight: np.ndarray, intercept: np.ndarray, classes: np.ndarray) -> np.ndarray:
        x = flat(inputs)
        # in parts: a whole split in double precision would be twice its size again
        parts = [x[i : i + 4096].astype(np.float64) @ weight + intercept for i in range(0, len(x), 4096)]
        found = np.concatenate(parts) if parts else np.zeros((0, weight.shape[1]))
        return by_class(two_columns(found[:, 0]) if found.shape[1] == 1 else found, classes)

    def _solve(
        self, scaling: _Scaling, targets: np.ndarray, C: float, start: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[_Scaling, _Solved]:
        """The optimum at C. start: (weight, intercept) of inputs that are not scaled."""
        from sklearn.linear_model import LogisticRegression as Solver

        solver: Any = Solver(C=C, max_iter=self.max_iter, tol=self.tol, warm_start=start is not None)
        if start is not None:
            solver.coef_ = (start[0] * scaling.scale[:, None]).T
            solver.intercept_ = start[1] + scaling.mean @ start[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not converge is reported, with the gradient
            solver.fit(scaling.fitted, targets)
        weight, intercept = solver.coef_.T, solver.intercept_
        objective, gradient = objective_and_gradient(scaling.fitted, targets, weight, intercept, solver.classes_, C)
        found = _Solved(C, weight, intercept, solver.classes_, int(solver.n_iter_.max()), objective, gradient)
        self.iterations += found.iterations
        return scaling, found


def objective_and_gradient(
    x: np.ndarray, targets: np.ndarray, weight: np.ndarray, intercept: np.ndarray, classes: np.ndarray, C: float
) -> tuple[float, float]:
    """(mean cross entropy + |weight|^2 / (2 C items), largest entry of its gradient), x (items, features)."""
    logits = x @ weight + intercept
    hit = np.equal.outer(targets, classes)
    full = two_columns(logits[:, 0]) if logits.shape[1] == 1 else logits
    whole = np.logaddexp.reduce(full, axis=1)
    objective = (whole - full[hit]).mean() + np.square(weight).sum() / (2 * C * len(x))
    residual = np.exp(full - whole[:, None]) - hit
    residual = residual[:, -logits.shape[1] :]  # of two classes the second, whose log odds the one column is
    slopes = x.T @ residual / len(x) + weight / (C * len(x))
    return float(objective), float(max(np.abs(slopes).max(), np.abs(residual.mean(0)).max()))


def _hold_out(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rest, held out) item numbers, by class where every class has two items; drawn from torch's default generator."""
    from sklearn.model_selection import train_test_split

    seed = int(torch.randint(2**31 - 1, ()))
    enough = np.unique(targets, return_counts=True)[1].min() >= 2
    numbers = np.arange(len(targets))
    try:
        rest, held = train_test_split(
            numbers, test_size=HELD_OUT, stratify=targets if enough else None, random_state=seed
        )
    except ValueError as error:
        raise ConfigError(
            f"baseline 'logistic-regression': {len(targets)} training items cannot be split to choose C ({error}); "
            "give more items, or a number for C"
        ) from error
    return np.sort(rest), np.sort(held)


@baseline("logistic-regression")
def logistic_regression(
    *,
    C: float | Literal["validation"] = "validation",
    max_iter: int = 5000,
    tol: float = 1e-6,
    standardize: bool = False,
) -> LogisticRegression:
    """Multinomial logistic regression on the raw inputs, by L-BFGS (scikit-learn) to convergence.

    The ceiling of every network that is an affine map followed by a softmax, however many layers it is written in: the
    founding study's levels 0 and 1. Its objective is convex, so what such a network has beyond it, or short of it, is
    regularisation and optimisation, not what it can represent.
    C: the inverse strength of the L2 penalty on the weights (of the summed loss: mean cross entropy + |W|^2 / (2 C n)),
    or "validation": 1e-4, 1e-3, … 1e3 from strong to weak until two in a row are no better, by validation accuracy,
    equals by loss; nothing is refitted on the validation split. Without one, a sixth of the training split is held out
    to choose, and the fit at the chosen C is on all of it. Some penalty is needed: on data that a hyperplane separates
    (digits, most small sets) the loss has no minimum without one, the weights grow without end, and "converged" would
    only say where one stopped.
    Inputs are flattened, each feature centred, all divided by one number (the root of their mean variance). With a free
    intercept centring changes no optimum, only the iterations; the one number gives C the same meaning for all data.
    standardize: divide each feature by its own deviation instead. Not the default: pixels that are hardly ever lit
    would weigh as much as the others, and the penalty would hold back other directions than those of the images.
    max_iter, tol: of each fit; tol is on the largest entry of the gradient of the objective above. The report says
    iterations, the gradient at the end, and whether it is within tol.
    Cost: one copy of the training split in double precision (0.5 GB for 60,000 x 1024) and two products with it an
    iteration: with C by validation, 10,000 MNIST images of 32 x 32 take 50 s on one core (1,857 iterations in all,
    C = 0.01 is chosen, test accuracy .912), 0.7 GB at the peak.
    Raises ConfigError for options that cannot be, and targets that are no class numbers.
    """
    problems = []
    if C != "validation" if isinstance(C, str) else not 0 < C < np.inf:
        problems.append(f"C is {C!r}; expected a number above 0, or 'validation'")
    if max_iter < 1:
        problems.append(f"max_iter is {max_iter}; expected 1 or more")
    if not tol > 0:
        problems.append(f"tol is {tol}; expected a number above 0")
    if problems:
        raise ConfigError([f"baseline 'logistic-regression': {p}" for p in problems])
    return LogisticRegression(C, max_iter, tol, standardize)
