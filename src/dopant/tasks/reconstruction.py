"""Reconstruction: the network gives its own input back, or the clean input from a corrupted one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from ..datasets.source import Dataset, Split
from ..errors import ConfigError
from ..recipe import Recipe
from ..registry import metrics as metric_registry
from ..streams import Streams
from ..training import image_metrics as image_metrics
from ..training import parts
from .base import Result, task
from .build import build_data
from .supervised import finite, trained

Noise = Literal["none", "gaussian", "mask", "salt-and-pepper"]
BATCH = 1000  # items whose noise is drawn at once, where it is drawn once and for all


@dataclass(frozen=True)
class Corruption:
    """What is done to clean values in [0, 1]; see `adapted`."""

    noise: str
    level: float
    clip: bool

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Corrupted values of the same shape, the noise from `generator`."""
        if self.noise == "none" or self.level == 0:
            return clean
        if self.noise == "gaussian":
            found = clean + self.level * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
            return found.clamp(0, 1) if self.clip else found
        hit = torch.rand(clean.shape, generator=generator, dtype=clean.dtype)
        if self.noise == "mask":
            return clean * (hit >= self.level)
        return torch.where(hit < self.level / 2, 0.0, torch.where(hit < self.level, 1.0, clean)).to(clean)


class Corrupted(Split):
    """A split whose targets are its clean inputs, scaled, and whose inputs are those corrupted.

    `batch` gives every item the same noise always, as scoring wants; `batch_at` draws it anew for each batch of each
    epoch, from (seed, replicate, epoch, batch) alone, so that every cell and a resumed trial see the same.
    """

    def __init__(self, split: Split, part: str, corrupt: Corruption, scale: tuple[float, float], streams: Streams):
        super().__init__(split.pool, split.ids)
        self.part, self.corrupt, self.scale, self.streams = part, corrupt, scale, streams

    def clean(self, indices: Tensor) -> Tensor:
        """The items at `indices` as they are to be given back, (items, …)."""
        low, span = self.scale
        return (self.pool.inputs.index_select(0, self.ids[indices]) - low) / span

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        wanted = self.clean(indices)
        if self.corrupt.noise == "none":
            return wanted, wanted
        return self._fixed.index_select(0, indices), wanted

    def batch_at(self, indices: Tensor, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """`batch` with fresh noise, of this batch of this epoch."""
        wanted = self.clean(indices)
        return self.corrupt(wanted, self.streams.generator(f"corruption:{self.part}:{epoch}", number)), wanted

    @cached_property
    def _fixed(self) -> Tensor:
        """Every item corrupted, once."""
        parts = torch.arange(len(self)).split(BATCH)
        drawn = [
            self.corrupt(self.clean(part), self.streams.generator(f"corruption:{self.part}", number))
            for number, part in enumerate(parts)
        ]
        return torch.cat(drawn) if drawn else self.clean(torch.arange(0))

    @cached_property
    def inputs(self) -> Tensor:
        return self.batch(torch.arange(len(self)))[0]

    @cached_property
    def targets(self) -> Tensor:
        return self.clean(torch.arange(len(self)))


def adapted(
    data: Dataset,
    streams: Streams,
    *,
    noise: Noise = "none",
    level: float = 0.0,
    clip: bool = True,
    scale: Literal["unit", "none"] = "unit",
    test_levels: list[float] | None = None,
) -> Dataset:
    """The data to be given back: inputs become corrupted inputs, targets the clean ones.

    noise: "none"; "gaussian" (added, of standard deviation `level`, cut to [0, 1] unless clip = false); "mask" (each
    number becomes 0 with probability `level`); "salt-and-pepper" (0 or 1, with probability `level` together). Training
    items get fresh noise in every epoch, others always the same.
    scale: "unit" maps the data linearly to [0, 1], from the smallest and the largest number of the pool of training
    items; "none" leaves them, and `noise` can only be "none" then or "gaussian" with clip = false.
    test_levels: further levels at which a finished trial is scored, as `test_METRIC_at_LEVEL`.
    Raises ConfigError with every wrong option, and for inputs that are not one tensor of numbers.
    """
    inputs = data.train.pool.inputs
    problems = _problems(noise, level, clip, scale, test_levels)
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        problems.append("task 'reconstruction' gives one array of numbers back; these inputs are something else")
    if problems:
        raise ConfigError(problems)
    low, high = (float(inputs.min()), float(inputs.max())) if scale == "unit" else (0.0, 1.0)
    if not low < high:
        raise ConfigError(f"task 'reconstruction': every number of the data is {low:g}, so there is nothing to scale")
    corrupt = Corruption(noise, float(level), clip)
    made = {
        part: Corrupted(getattr(data, part), part, corrupt, (low, high - low), streams)
        for part in ("train", "validation", "test")
    }
    return replace(data, **made, classes=None)


def _problems(noise: Any, level: Any, clip: Any, scale: Any, levels: Any) -> list[str]:
    found = []
    kinds = ("none", "gaussian", "mask", "salt-and-pepper")
    if noise not in kinds:
        found.append(f"noise is {noise!r}; expected one of {', '.join(kinds)}")
    if scale not in ("unit", "none"):
        found.append(f"scale is {scale!r}; expected 'unit' or 'none'")
    highest = 1.0 if noise in ("mask", "salt-and-pepper") else float("inf")
    for value in (level, *(levels if isinstance(levels, (list, tuple)) else ())):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= highest:
            found.append(f"a level is {value!r}; expected a number from 0" + (" to 1" if highest == 1 else ""))
    if levels is not None and not isinstance(levels, (list, tuple)):
        found.append(f"test_levels is {levels!r}; expected a list of levels")
    if noise == "none" and (levels or level):
        found.append("a level is of a noise, and noise is 'none'; name one, such as noise = 'gaussian'")
    if scale == "none" and noise != "none" and (noise != "gaussian" or clip):
        found.append(f"scale is 'none', and {noise!r} is of values in [0, 1]; take 'gaussian' with clip = false")
    return [f"task 'reconstruction': {problem}" for problem in found]


@task("reconstruction", batched=True, adapt=adapted, loss="mse")
def reconstruction(trial: Any, streams: Streams, keeper: Any) -> Result:
    """Train the cell's network to give its input back, clean: an autoencoder, or a denoiser where noise is asked for.

    Options of `[study] task` are those of `adapted`: noise, level, clip, scale, test_levels. The loss is "mse" unless
    the recipe names another; metrics are "mse" unless it names "psnr", "ssim", "mae".
    Metrics: those of the supervised task; with noise also `input_METRIC`, what the corrupted test items score as they
    are, and `test_METRIC_at_LEVEL` and `input_METRIC_at_LEVEL` at each further level, where the network stays as it is.
    Items: the metrics of each test item. Cost: the clean pool once, and of each split that is scored one copy.
    """
    loop, metrics, items = trained(trial, streams, keeper)
    asked = trial.description["task"]
    if trial.phase == "tuning" or asked.get("noise", "none") == "none":
        return metrics, items
    metrics |= _as_they_are(loop.data.test, loop.recipe, "input_{}")
    for level in asked.get("test_levels") or ():
        at = {"level": level, "test_levels": None}
        loop.data = build_data(
            trial.description | {"task": {k: v for k, v in (asked | at).items() if v is not None}}, streams
        )
        with loop.draws:
            scores = loop.score("test", 0).means("test_")
        metrics |= finite({f"{name}_at_{level:g}": value for name, value in scores.items()})
        metrics |= _as_they_are(loop.data.test, loop.recipe, f"input_{{}}_at_{level:g}")
        metrics["test_reads"] += 1
    return metrics, items


def _as_they_are(split: Split, recipe: Recipe, name: str) -> dict[str, float]:
    """What corrupted items score as if they were a network's outputs."""
    found: dict[str, list[Tensor]] = {}
    for indices in torch.arange(len(split)).split(BATCH):
        inputs, targets = split.batch(indices)
        for key in parts.default_metrics(recipe):
            found.setdefault(key, []).append(metric_registry.get(key).function(inputs, targets))
    return {name.format(key): float(torch.cat(values).double().mean()) for key, values in found.items()}
