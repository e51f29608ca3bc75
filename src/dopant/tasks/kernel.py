"""Kernel machines: what the kernel in the slot `kernel` is worth, everything else of the machine being the same."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..baselines.run import _threads
from ..components.kernels.classical import RBFKernel
from ..components.kernels.kernel import kernels_of
from ..cost import TIERS
from ..errors import ConfigError
from ..evaluation.geometric_difference import geometric_difference, model_complexity, training_gap
from ..hosts.kernel_machine import KernelMachine
from ..recipe import Recipe
from ..registry import metrics as metric_registry
from ..streams import Streams
from ..training import parts
from ..training.kernel_fit import Fitted, count, fit, signs
from ..training.loop import tensors_of
from .base import Result, task
from .build import build_data, fill_host, trial_host
from .supervised import finite

REGULARISATION = 1e-3  # of the geometric difference, beside a mean eigenvalue of 1
MOST_ITEMS = 3000  # training items up to which it is computed

TUNES = (
    "Every kernel, controls included, chose its own settings and C on the validation split from the same number of "
    "candidates (the host's `draws`); nothing was fitted to the validation split, and only the winner saw the test set."
)


@task("kernel", metric="accuracy", host="kernel-machine", epochs=False, tunes=TUNES)
def kernel(trial: Any, streams: Streams, keeper: Any) -> Result:
    """Fit a support vector machine with the cell's kernel: settings and C by validation, the test set read once.

    The host is `kernel-machine`, whose slot `kernel` the study swaps; of the recipe only metrics and threads count.
    Computed in double precision. Metrics: `train_…`, `validation_…`, `test_METRIC`, sizes, `seconds`; `kernel_C`,
    `kernel_SETTING`, `kernel_candidates`, `kernel_support`, `kernel_edge` (what was chosen at an end of its grid),
    `kernel_clipped` (of an estimated matrix the most negative eigenvalue over the largest), `kernel_unconverged`;
    `geometric_difference_rbf`, against the Gaussian kernel of the width that makes it smallest, `…_gamma`,
    `…_training`, `model_complexity` and `model_complexity_rbf` (see dopant.evaluation.geometric_difference; of up to
    3,000 training items); `cost_…`: numbers fitted, and of circuits what a device would run. Items as the supervised
    task's. What a finished trial keeps is the machine itself, for `Answer.model`. It is not resumed within the fit.
    Raises ConfigError for targets that are no classes, inputs of several arrays or with NaN, no validation split, a
    host of another kind; TrialFailed for a kernel that is not finite.
    """
    description = trial.description
    recipe = Recipe(**description["recipe"] | {"device": "cpu"})
    data = build_data(description, streams)
    if data.classes is None:
        raise ConfigError("task 'kernel' tells classes apart, and the data's targets are values")
    if not len(data.validation):
        raise ConfigError(
            "task 'kernel' chooses by validation, and the data have no validation split; leave protocol out"
        )
    machine = fill_host(trial_host(description, streams, data), description, streams, data)
    if not isinstance(machine, KernelMachine):
        raise ConfigError(f"task 'kernel' fits the host 'kernel-machine', not a {type(machine).__name__}")
    machine.double().eval()
    start = time.perf_counter()
    inputs = {part: _inputs(getattr(data, part), part) for part in ("train", "validation")}
    machine.prepare_inputs(inputs["train"][0])
    pairs = {part: (machine.prepared(x), y) for part, (x, y) in inputs.items()}

    def seeded(step: int) -> Any:
        return streams.seeded("slot:kernel", step + 1)

    with _threads(description.get("threads")):
        found = fit(machine, *pairs["train"], pairs["validation"], seeded, keeper.alive)
        seconds = time.perf_counter() - start
        metrics = _scored(machine, pairs["train"], recipe, "train_", seeded(-2))[0]
        metrics |= _scored(machine, pairs["validation"], recipe, "validation_", seeded(-3))[0]
        items: dict[str, Tensor] = {}
        tests = 0
        if trial.phase != "tuning":
            x, y = _inputs(data.test, "test")
            tests = len(y)
            scored, items = _scored(machine, (machine.prepared(x), y), recipe, "test_", seeded(-4))
            metrics |= scored
            items = {"ids": data.test.ids, **items}
            metrics |= _geometry(found, *pairs["train"], machine)
    metrics |= _costs(machine, found, tests) | _choices(machine, found)
    metrics |= {
        "seconds": seconds, "n_train": len(data.train), "n_validation": len(data.validation), "n_test": len(data.test),
        **data.split_facts(), "classes": data.classes, "device": "cpu", "test_reads": int(bool(items)),
    }  # fmt: skip
    keeper.log(1, {k: v for k, v in metrics.items() if k.startswith(("train_", "validation_"))})
    keeper.save({"model": tensors_of(machine), "best": {}})
    return metrics, items


def _inputs(split: Any, part: str) -> tuple[Tensor, Tensor]:
    """(n, …) in double precision, (n,) class numbers."""
    x, y = split.batch(torch.arange(len(split)))
    if len(pytree.tree_leaves((x, y))) != 2 or not isinstance(x, Tensor) or not isinstance(y, Tensor):
        raise ConfigError("task 'kernel' takes one array of inputs and one of class numbers; these data have more")
    if not bool(torch.isfinite(x).all()):
        bad = int((~torch.isfinite(x.flatten(1)).all(1)).sum())
        raise ConfigError(f"{bad} of {len(x)} {part} items have features that are NaN or infinite; mend or drop them")
    return x.double(), y


def _scored(
    machine: KernelMachine, pair: tuple[Tensor, Tensor], recipe: Recipe, prefix: str, seeded: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """({prefix + metric: mean}, items) of prepared inputs."""
    with seeded:
        scores = machine.scores(pair[0])
    values = {name: metric_registry.get(name).function(scores, pair[1]) for name in parts.default_metrics(recipe)}
    means = {f"{prefix}{name}": float(value.double().mean()) for name, value in values.items()}
    return finite(means), {"prediction": scores.argmax(1), **values}


def _geometry(found: Fitted, x: Tensor, y: Tensor, machine: KernelMachine) -> dict[str, float]:
    """What the fitted kernel is beside Gaussian ones; nothing for very many items."""
    if len(x) > MOST_ITEMS:
        return {}
    labels, own = signs(y, machine).numpy(), found.matrix.numpy()
    gaussian = RBFKernel(x.shape[1]).double()
    best: dict[str, float] = {}
    for setting in gaussian.settings(x):
        gaussian.use(**setting)
        matrix = gaussian.gram(x).numpy()
        g = geometric_difference(matrix, own, regularisation=REGULARISATION)
        if not best or g < best["geometric_difference_rbf"]:
            best = {
                "geometric_difference_rbf": g,
                "geometric_difference_rbf_gamma": setting["gamma"],
                "geometric_difference_rbf_training": training_gap(matrix, own, regularisation=REGULARISATION),
                "model_complexity_rbf": model_complexity(matrix, labels, regularisation=REGULARISATION),
            }
    return best | {"model_complexity": model_complexity(own, labels, regularisation=REGULARISATION)}


def _choices(machine: KernelMachine, found: Fitted) -> dict[str, Any]:
    chosen = {f"kernel_{name}": value for name, value in found.chosen.setting.items()}
    return chosen | {
        "kernel_C": found.chosen.C,
        "kernel_candidates": len(found.path),
        "kernel_support": len(machine.support),
        "kernel_edge": ", ".join(found.edges),
        "kernel_clipped": found.clipped,
        "kernel_unconverged": found.unconverged,
    }


def _costs(machine: KernelMachine, found: Fitted, tests: int) -> dict[str, Any]:
    """`cost_…`: what was fitted, and what a device would have run."""
    numbers = machine.dual.numel() + machine.bias.numel()
    costs: dict[str, Any] = {"cost_parameters": numbers, "cost_trainable": numbers}
    support = len(machine.support)
    circuits = found.circuits + (count(machine, tests, support) if tests else 0)
    for _, _, own in kernels_of(machine.kernel):
        declare: Any = getattr(own, "cost", dict)
        for name, value in declare().items():
            if name == "tier":
                before = costs.get("cost_tier", value)
                costs["cost_tier"] = max(before, value, key=lambda t: TIERS.index(t) if t in TIERS else -1)
            else:
                costs[f"cost_{name}"] = max(value, costs.get(f"cost_{name}", 0))
    if circuits:
        costs |= {"cost_circuit_evaluations": circuits, "cost_circuits_per_sample": count(machine, 1, support)}
    return costs
