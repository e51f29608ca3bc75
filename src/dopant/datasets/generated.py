"""Sources that draw their items anew for every replicate, from a rule instead of a pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ConfigError
from ..streams import Streams
from .source import Dataset, Pool, Source, Split

PARTS = ("train", "validation", "test")
Draw = Callable[[Streams], dict[str, Pool]]


@dataclass(frozen=True)
class Generated(Source):
    """Items of a rule. make(streams) -> {"train": Pool, "validation": Pool, "test": Pool} of one replicate.

    Replicates share no item, so that they are independent: no correction for overlapping splits is due, and an item
    number means another item in every replicate. `train` is that of seed 0, replicate 0, for whoever asks what the
    items look like.
    """

    make: Draw | None = None

    @classmethod
    def of(cls, name: str, classes: int | None, make: Draw) -> Generated:
        """The source `name`, whose replicates `make` draws."""
        return cls(make(Streams())["train"], classes=classes, name=name, make=make)

    def draw(self, streams: Streams, protocol: str | None = None) -> Dataset:
        """The replicate's own items. ConfigError for a protocol: nothing of such data was published."""
        if protocol is not None:
            raise ConfigError(
                f"data set {self.name!r}: protocol is {protocol!r}; every replicate draws its own items, so there is "
                "no published split; leave it out"
            )
        assert self.make is not None
        pools = self.make(streams)
        splits = [Split(pools[part], torch.arange(len(pools[part]))) for part in PARTS]
        return Dataset(*splits, classes=self.classes, name=self.name, official_test=True, fresh=True)

    def _first(self, option: str, limit: Any, have: int) -> torch.Tensor:
        raise ConfigError(f"data set {self.name!r} has no {option}: it draws as many items as its sizes say")


def problems_of_sizes(name: str, **sizes: Any) -> list[str]:
    """Problems of numbers of items, each of which must be a whole number of at least 1."""
    return [
        f"data set {name!r}: {key} is {value!r}; expected a whole number of 1 or more"
        for key, value in sizes.items()
        if isinstance(value, bool) or not isinstance(value, int) or value < 1
    ]
