"""Fitting a kernel machine: its candidates, which of them validation chooses, and the machine of that one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..components.kernels.kernel import Setting, gram, kernels_of, settings, use
from ..errors import ConfigError, TrialFailed
from ..hosts.kernel_machine import KernelMachine

LEAST_C = 2  # values of C that every setting of a kernel gets
TOLERANCE = 1e-3  # of libsvm's optimality conditions
ITERATIONS = 100_000  # of libsvm for one machine; reaching them is reported
LOST = 1e-12  # of the largest multiplier: smaller ones are no support vectors


@dataclass(frozen=True)
class Candidate:
    """One setting of the kernel with one C, and how it did: larger `score` is better, ties go to the smaller hinge."""

    setting: Setting
    C: float
    accuracy: float
    hinge: float


@dataclass
class Fitted:
    """What fitting found. matrix: the training inputs' Gram matrix in the chosen setting, (n, n). circuits: that a
    device would have run so far. clipped: the most negative eigenvalue set to 0 in it, as a share of the largest."""

    chosen: Candidate
    path: list[Candidate]
    matrix: Tensor
    circuits: int
    clipped: float
    unconverged: int
    edges: list[str] = field(default_factory=list)


def plan(draws: int, offered: int, low: float, high: float) -> list[list[float]]:
    """For each of the kernel's settings its values of C: `draws` in all, spread over [low, high] in equal ratios.

    Raises ConfigError where a setting would get fewer than two.
    """
    if draws < LEAST_C * offered:
        raise ConfigError(
            f"the kernel offers {offered} settings, and {draws} draws leave fewer than {LEAST_C} values of C for each; "
            f"say host = {{ name = 'kernel-machine', draws = {LEAST_C * offered} }} or more, alike for every kernel"
        )
    counts = [draws // offered + (i < draws % offered) for i in range(offered)]
    return [np.geomspace(low, high, count).tolist() for count in counts]


def fit(
    machine: KernelMachine,
    x: Tensor,
    y: Tensor,
    validation: tuple[Tensor, Tensor],
    seeded: Callable[[int], Any],
    alive: Callable[[], None],
) -> Fitted:
    """Choose the kernel's setting and C, and leave the machine of the winner, fitted on the training inputs, in place.

    x: (n, features) prepared, double; y: (n,) class numbers. validation: such a pair. seeded(step): a context for the
    draws of a stochastic kernel. alive: called before each candidate.
    The best validation accuracy wins, the smaller mean hinge loss decides between equals, then the earlier candidate.
    Matrices are divided by the mean of the training diagonal, so that one C means as much for every kernel; a matrix
    with negative eigenvalues (shots) is replaced by the nearest positive semi-definite one.
    Cost: per setting two Gram matrices, per candidate one support vector machine a class. Raises ConfigError (draws,
    one class), TrialFailed for a matrix that is not finite.
    """
    if len(torch.unique(y)) < 2:
        raise ConfigError("the training split has items of one class only; take more items")
    offered = settings(machine.kernel, x)
    plans = plan(machine.draws, len(offered), *machine.C)
    path: list[Candidate] = []
    best: tuple[tuple[float, float], Candidate, Tensor, _Solution, float] | None = None
    circuits, unconverged = 0, 0
    alike = all(kernel.circuits_alike for _, _, kernel in kernels_of(machine.kernel))
    for number, (setting, values) in enumerate(zip(offered, plans, strict=True)):
        alive()
        use(machine.kernel, setting)
        with seeded(number):
            raw, across = gram(machine.kernel, x), gram(machine.kernel, validation[0], x)
        _finite(raw, across)
        if number == 0 or not alike:
            circuits += count(machine, len(x)) + count(machine, len(validation[0]), len(x))
        matrix, clipped = positive(raw)
        scale = float(matrix.diagonal().mean())
        if not scale > 0:
            raise TrialFailed("not finite", "the kernel is 0 on every training input")
        for C in values:
            alive()
            found = solve(matrix / scale, y, machine, C)
            unconverged += found.unconverged
            found = _Solution(found.dual / scale, found.bias, found.unconverged)
            decision = across @ found.dual + found.bias
            accuracy = float((machine.spread(decision).argmax(1) == validation[1]).double().mean())
            hinge = float((1 - decision * signs(validation[1], machine)).clamp(min=0).mean())
            path.append(Candidate(setting, C, accuracy, hinge))
            if best is None or (accuracy, -hinge) > best[0]:
                best = ((accuracy, -hinge), path[-1], matrix, found, clipped)
    assert best is not None
    _, chosen, matrix, solution, clipped = best
    use(machine.kernel, chosen.setting)
    kept = solution.dual.abs().amax(1) > LOST * float(solution.dual.abs().max())
    machine.register_buffer("support", x[kept].clone())
    machine.register_buffer("dual", solution.dual[kept].clone())
    machine.register_buffer("bias", solution.bias.clone())
    return Fitted(chosen, path, matrix, circuits, clipped, unconverged, _edges(chosen, offered, machine))


def count(machine: KernelMachine, rows: int, columns: int | None = None) -> int:
    """Circuits of a Gram matrix, of all kernels of a mixture."""
    return sum(kernel.circuits(rows, columns) for _, _, kernel in kernels_of(machine.kernel))


def positive(matrix: Tensor) -> tuple[Tensor, float]:
    """(the nearest positive semi-definite matrix, the most negative eigenvalue over the largest, 0 for rounding)."""
    matrix = (matrix + matrix.mT) / 2
    values, vectors = torch.linalg.eigh(matrix)
    least = float(values[0] / values[-1]) if float(values[-1]) > 0 else 0.0
    if least > -1e-9:
        return matrix, 0.0
    return (vectors * values.clamp(min=0)) @ vectors.mT, -least


def signs(y: Tensor, machine: KernelMachine) -> Tensor:
    """(n,) class numbers -> (n, columns) of +1 and -1: of two classes the second is +1."""
    classes = torch.tensor([1]) if machine.columns == 1 else torch.arange(machine.classes)
    return 2.0 * (y[:, None] == classes).double() - 1.0


@dataclass(frozen=True)
class _Solution:
    dual: Tensor  # (n, columns)
    bias: Tensor  # (columns,)
    unconverged: int


def solve(matrix: Tensor, y: Tensor, machine: KernelMachine, C: float) -> _Solution:
    """The support vector machine of each column on a Gram matrix (n, n), by scikit-learn (libsvm).

    A class that the training split has not is given the bias -1 and no vectors.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC

    array, goals = matrix.numpy(), signs(y, machine)
    dual, bias = torch.zeros(goals.shape, dtype=torch.float64), -torch.ones(goals.shape[1], dtype=torch.float64)
    unconverged = 0
    for column in range(goals.shape[1]):
        goal = goals[:, column].numpy()
        if len(np.unique(goal)) < 2:
            continue
        found: Any = SVC(C=C, kernel="precomputed", tol=TOLERANCE, max_iter=ITERATIONS)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found.fit(array, goal)
        unconverged += any(issubclass(w.category, ConvergenceWarning) for w in said)
        dual[torch.as_tensor(found.support_.astype(np.int64)), column] = torch.as_tensor(found.dual_coef_[0])
        bias[column] = float(found.intercept_[0])
    return _Solution(dual, bias, unconverged)


def _finite(*matrices: Tensor) -> None:
    if not all(bool(torch.isfinite(m).all()) for m in matrices):
        raise TrialFailed("not finite", "the kernel has entries that are NaN or infinite")


def _edges(chosen: Candidate, offered: list[Setting], machine: KernelMachine) -> list[str]:
    """Names of what was chosen at an end of its grid, so that a wider one might have done better."""
    names = [
        name
        for name, value in chosen.setting.items()
        if len(values := {s[name] for s in offered}) > 2 and value in (min(values), max(values))
    ]
    low, high = machine.C
    return names + (["C"] if low < high and any(math.isclose(chosen.C, end) for end in machine.C) else [])
