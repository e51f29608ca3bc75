"""What a user's own loop returned, read and checked: every problem at once, each with what to return instead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError, TrialFailed, hint, nearest

SHOULD = "train must return {name: number}, or ({name: number}, {name: one value per item})"
CLOSE = 1e-3  # relative: how far the mean of the items may be from the metric, for sums in another order or precision


def read(returned: Any, wanted: str | None = None) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """(metrics, items) of what `train` returned. wanted: the metric that the study names, or None.

    Metrics become Python numbers (strings stay). Items become tensors on the CPU, in the order of `ids` where those
    are given, so that cells are paired item by item whatever order the loop took. An item of a metric's name holds
    that metric's values: its mean must be the metric; `test_NAME` and `NAME` name the same one.
    Raises ConfigError with every problem, TrialFailed("not finite") for a metric that is no finite number.
    """
    metrics, items = _parts(returned)
    problems: list[str] = []
    numbers = {}
    for name, value in metrics.items():
        if not isinstance(name, str):
            problems.append(f"a metric is named {name!r}; names are strings")
            continue
        try:
            numbers[name] = value if isinstance(value, str) else number(value)
        except TypeError as error:
            problems.append(f"metric {name!r} is {error}")
    if not any(not isinstance(v, str) for v in numbers.values()) and not problems:
        problems.append(f"train returned no number; {SHOULD}")
    if wanted is not None and not problems and wanted not in numbers and f"test_{wanted}" not in numbers:
        near = hint(nearest(wanted, numbers))
        problems.append(f"study.metric: {wanted!r} is not among what train returned: {', '.join(numbers)}{near}")
    tensors, wrong = _tensors(items)
    if problems + wrong:
        raise ConfigError(problems + wrong)
    for name, value in numbers.items():
        if isinstance(value, (int, float)) and not math.isfinite(value):
            raise TrialFailed("not finite", f"{name} is {value} after training")
    tensors = {k.removeprefix("test_") if k in numbers else k: v for k, v in tensors.items()}
    _agree(numbers, tensors)
    return numbers, tensors


def number(value: Any) -> Any:
    """A plain number of a number of Python or NumPy or a tensor of no axis. TypeError says what else it is."""
    if isinstance(value, (bool, int, float)) and not isinstance(value, np.generic):
        return value
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)):
        if value.ndim:
            raise TypeError(f"an array of shape {tuple(value.shape)}; give one number, such as its mean, and the "
                            "values themselves as an item")  # fmt: skip
        value = value.item()
        if isinstance(value, (bool, int, float)):
            return value
        raise TypeError(f"{value!r}, which is no real number")
    if isinstance(value, Mapping):
        raise TypeError("a dict; give each of its numbers a name of its own, such as 'validation_accuracy'")
    raise TypeError(f"a {type(value).__name__}; give a number" + (" or leave it out" if value is None else ""))


def _parts(returned: Any) -> tuple[Mapping, Mapping]:
    metrics, items = returned, {}
    if isinstance(returned, tuple):
        if len(returned) != 2:
            raise ConfigError(f"train returned a tuple of {len(returned)}; {SHOULD}")
        metrics, items = returned
    if isinstance(metrics, Mapping) and (items is None or isinstance(items, Mapping)):
        return metrics, items or {}
    if isinstance(metrics, Mapping):
        raise ConfigError(f"train returned items as a {type(items).__name__}; {SHOULD}")
    if isinstance(metrics, list) and metrics and isinstance(metrics[0], Mapping):
        raise ConfigError(f"train returned a list of dicts, as Trainer.test gives; return its element [0]: {SHOULD}")
    what = {"NoneType": "nothing", "float": "a bare number", "int": "a bare number"}
    kind = type(metrics).__name__
    raise ConfigError(f"train returned {what.get(kind, 'a ' + kind)}; {SHOULD}, such as {{'accuracy': 0.91}}")


def _tensors(items: Mapping) -> tuple[dict[str, torch.Tensor], list[str]]:
    """(items as tensors, problems); those that are there in the order of `ids`."""
    problems: list[str] = []
    found: dict[str, torch.Tensor] = {}
    for name, value in items.items():
        try:
            found[name] = _tensor(value)
        except (TypeError, ValueError) as error:
            problems.append(f"item {name!r} is {error}; give one number (or a row of numbers) per item")
        if not isinstance(name, str):
            problems.append(f"an item is named {name!r}; names are strings")
    sizes = {name: len(tensor) for name, tensor in found.items()}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{name!r} has {size}" for name, size in sizes.items())
        problems.append(f"the items differ in number: {shown}; the first axis of each is the items")
    ids = found.get("ids")
    if ids is not None and not problems:
        if ids.ndim != 1 or ids.is_floating_point():
            problems.append(f"item 'ids' has shape {tuple(ids.shape)} and type {ids.dtype}; give one whole number each")
        elif len(ids.unique()) < len(ids):
            problems.append(f"item 'ids' names {len(ids) - len(ids.unique())} items twice; each item counts once")
        else:
            order = ids.argsort()
            found = {name: tensor[order] for name, tensor in found.items()}
    return found, problems


def _tensor(value: Any) -> torch.Tensor:
    """An item's values as a tensor of at least one axis on the CPU. TypeError or ValueError says what is wrong."""
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
    elif isinstance(value, (list, tuple)) and value and all(isinstance(v, torch.Tensor) for v in value):
        shapes = {tuple(v.shape) for v in value}
        if len(shapes) > 1:
            raise ValueError("a list of tensors of several shapes; join the batches with torch.cat")
        tensor = torch.stack([v.detach().cpu() for v in value])
    else:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"a {type(value).__name__} of {array.dtype}")
        tensor = torch.as_tensor(np.ascontiguousarray(array))
        tensor = tensor if array.ndim else tensor.reshape(())
    if tensor.is_complex():
        raise TypeError(f"a tensor of {tensor.dtype}")
    if tensor.ndim == 0:
        raise ValueError("a single number")
    if tensor.dtype == torch.bool or tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()  # right or wrong as 1 or 0; NumPy knows no bfloat16
    return tensor.contiguous()


def _agree(metrics: Mapping[str, Any], items: Mapping[str, torch.Tensor]) -> None:
    """ConfigError where an item has a metric's name and another mean: its standard error would be no error of it."""
    problems = []
    for name, tensor in items.items():
        known = [m for m in (f"test_{name}", name) if not isinstance(metrics.get(m, ""), str)]
        if not known or not len(tensor):
            continue
        mean, value = float(tensor.double().mean()), float(metrics[known[0]])
        if not math.isclose(mean, value, rel_tol=CLOSE, abs_tol=1e-9):
            problems.append(
                f"item {name!r} has the mean {mean:.6g}, but metric {known[0]!r} is {value:.6g}; give the values whose "
                "mean the metric is (in the same unit, of the same items), or give the item another name"
            )
    if problems:
        raise ConfigError(problems)
