"""One trial of a baseline: the split, the metrics and the items of the supervised task, with another model."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..errors import ConfigError
from ..recipe import Recipe
from ..registry import metrics as metric_registry
from ..streams import Streams
from ..tasks.base import Result
from ..tasks.build import build_data
from ..tasks.supervised import finite
from ..training import parts
from ..training.evaluate import Scores, evaluate
from .estimator import build, by_class


def run_baseline(trial: Any, streams: Streams, keeper: Any) -> Result:
    """Fit the baseline that the trial names on its training split and score it as the supervised task scores networks.

    trial.description["baseline"]: {"name": …, options}; `data`, `recipe`, `protocol`, `seed`, `threads` as for any
    trial. Of the recipe only loss, metrics, precision (of the scores) and eval_batch count. The split is the one that
    every cell of the replicate has, so effects pair by replicate and by item.
    Metrics: `train_…`, `validation_…`, `test_loss` and `…_METRIC` of the fitted model; sizes, `seconds` (of the fit),
    `steps` and `epochs` (full passes that the fit reports, else 1), `test_reads`; `cost_parameters` and
    `cost_trainable` where the baseline tells them; `baseline_NAME` for what else it reports. Items as the supervised
    task's. In the phase "tuning" the test set stays unread.
    Cost: beside what the baseline takes, one copy of the training split. It cannot be resumed within the fit.
    Raises UnknownName, ConfigError (options; inputs of several arrays), TrialFailed where a score is not finite, and
    what the fit raises.
    """
    description = trial.description
    options = dict(description["baseline"])
    name = options.pop("name")
    recipe = Recipe(**description["recipe"] | {"epochs": trial.epochs or 1, "device": "cpu"})
    model = build(name, options)
    data = build_data(description, streams)
    keeper.alive()
    with streams.seeded("baseline"), _threads(description.get("threads")):
        seconds = _fit(name, model, data)
        keeper.alive()
        adapter = _Adapter(model, data.classes, recipe.precision)
        metrics: dict[str, Any] = finite(_score(adapter, data.train, recipe).means("train_"))
        if len(data.validation):
            metrics |= finite(_score(adapter, data.validation, recipe).means("validation_"))
        items: dict[str, torch.Tensor] = {}
        if trial.phase != "tuning":
            scores = _score(adapter, data.test, recipe)
            metrics |= finite(scores.means("test_"))
            items = scores.items
    reported = dict(model.report()) if callable(getattr(model, "report", None)) else {}
    passes = int(reported.get("iterations", 1))
    metrics |= {f"baseline_{key}": value for key, value in reported.items()}
    learned = getattr(model, "parameters", None)
    if isinstance(learned, int):
        metrics |= {"cost_parameters": learned, "cost_trainable": learned}
    metrics |= {
        "seconds": seconds,
        "steps": passes,
        "epochs": passes,
        "n_train": len(data.train),
        "n_validation": len(data.validation),
        "n_test": len(data.test),
        **data.split_facts(),
        "classes": data.classes,
        "device": "cpu",
        "test_reads": int(bool(items)),
    }
    return metrics, items


def _fit(name: str, model: Any, data: Any) -> float:
    """Fit on the training split; seconds that it took."""
    train = _arrays(name, data.train)
    validation = _arrays(name, data.validation) if len(data.validation) else None
    start = time.perf_counter()
    model.fit(*train, validation=validation)  # what it raises is an error of the code, and no result to be scored
    return time.perf_counter() - start


def _arrays(name: str, split: Any) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a split; not kept there, as `Split.inputs` would be."""
    inputs, targets = split.batch(torch.arange(len(split)))
    leaves = pytree.tree_leaves((inputs, targets))
    if len(leaves) != 2 or not all(isinstance(leaf, torch.Tensor) for leaf in leaves):
        raise ConfigError(
            f"baseline {name!r}: the data have {len(leaves) - 1} arrays of inputs and targets beside the first; a "
            "baseline takes one of each"
        )
    return leaves[0].numpy(), leaves[1].numpy()


class _Adapter(nn.Module):
    """A fitted baseline as a network: inputs -> scores, in single precision unless the recipe's is double."""

    def __init__(self, model: Any, classes: int | None, precision: str):
        super().__init__()
        self.model, self.classes = (model,), classes
        self.dtype = torch.float64 if precision == "float64" else torch.float32

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = np.asarray(self.model[0].scores(x.numpy()))
        if self.classes is not None and scores.ndim == 2 and scores.shape[1] < self.classes:
            scores = by_class(scores, np.arange(scores.shape[1]), self.classes)
        return torch.as_tensor(scores).to(self.dtype)


def _score(adapter: _Adapter, split: Any, recipe: Recipe) -> Scores:
    return evaluate(
        adapter, split, parts.losses.get(recipe.loss), [metric_registry.get(m) for m in parts.default_metrics(recipe)],
        batch=recipe.eval_batch, device=torch.device("cpu"), precision=recipe.precision, before=lambda number: None,
    )  # fmt: skip


def _threads(count: int | None) -> Any:
    """Context: NumPy's linear algebra on the trial's own number of threads, so that its numbers repeat."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=max(1, int(count or 1)))
