"""What dopant's own loop does around a model, for a loop of one's own: the draws that cells of a replicate share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Sampler

from ..streams import Streams
from ..training import lifecycle_calls as lifecycle
from ..training.reseed import Reseeder

CALLED = "_dopant_hooks_called"  # attribute of a model: which hooks of its components a loop has called


def order(streams: Streams, epoch: int, items: int) -> torch.Tensor:
    """The replicate's order of `items` training items in `epoch` (from 1): a permutation, the same in every cell, and
    the one that dopant's own loop takes."""
    return torch.randperm(items, generator=streams.generator("order", epoch))


class OrderSampler(Sampler[int]):
    """The order of the training items for a DataLoader: `DataLoader(dataset, batch_size=…, sampler=OrderSampler(…))`.

    Lightning and accelerate call `set_epoch` with epochs counted from 0, as with torch's DistributedSampler; a plain
    loop must do so too, or every epoch has the order of the first.
    """

    def __init__(self, items: int, streams: Streams):
        self.items, self.streams, self.epoch = items, streams, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.items

    def __iter__(self) -> Iterator[int]:
        yield from order(self.streams, self.epoch + 1, self.items).tolist()


class Pairing:
    """Paired draws inside the model, for the length of a loop:

        with Pairing(model, streams) as pairing:
            for epoch in range(1, log.epochs + 1):
                for number, indices in enumerate(pairing.order(epoch, len(data.train)).split(32)):
                    pairing.train(epoch, number)    # dropout and noise of this step are the same in every cell
                    loss = criterion(model(inputs), targets) + pairing.extra_loss()
                    …
                    optimizer.step()
                    pairing.after_step(step)
                pairing.held_out("validation", epoch, 0)

    Before each call of each module torch's default generator is seeded from (replicate, module's name, epoch, batch,
    call), so a component that draws more moves nobody else's mask (see dopant.training.reseed, also for its cost).
    Give the model that `train` was given, not what wraps it: the names of its modules are the names of the streams.
    Names and steps are those of dopant's own loop, so an equal loop gives equal numbers.
    """

    def __init__(self, model: nn.Module, streams: Streams):
        self.model, self.streams = model, streams
        self._draws = Reseeder(model, streams)
        self._open = False

    def __enter__(self) -> Pairing:
        if not self._open:
            self._draws.__enter__()
            self._open = True
        return self

    def __exit__(self, *error: Any) -> None:
        if self._open:
            self._draws.__exit__(None, None, None)
            self._open = False

    def order(self, epoch: int, items: int) -> torch.Tensor:
        """The order of the training items in `epoch` (from 1)."""
        return order(self.streams, epoch, items)

    def train(self, epoch: int, batch: int) -> None:
        """Draws from here on belong to training batch `batch` (from 0) of `epoch` (from 1)."""
        self._draws.at(f"train:{epoch}", batch)

    def held_out(self, split: str, epoch: int, batch: int) -> None:
        """Draws from here on belong to an evaluation of `split` after `epoch` (0: after the training is over)."""
        self._draws.at(f"{split}:{epoch}", batch)

    # --- what components ask of a training loop (dopant.Lifecycle) ----------------------------------------------------

    def prepare(self, batches: list[Any]) -> None:
        """Give components the inputs that reach them on `batches`, before the first step. dopant does this itself
        where the study has data: call it where yours are your own."""
        self._draws.at("prepare", 0)
        lifecycle.prepare(self.model, batches, self.streams)
        self._called("prepare")

    def extra_loss(self) -> torch.Tensor | float:
        """The sum of the losses that components add, of the call just made; 0.0 where there are none."""
        self._called("extra_losses")
        return sum(lifecycle.extra_losses(self.model).values(), start=0.0)

    def after_step(self, step: int) -> None:
        """To be called after each step of the optimizer; step: how many there have been."""
        lifecycle.after_step(self.model, step)
        self._called("after_step")

    def predict(self, outputs: Any) -> Any:
        """The network's outputs as they are scored in evaluation; components may change them."""
        self._called("predict")
        return lifecycle.predict(self.model, outputs)

    def _called(self, kind: str) -> None:
        vars(self.model).setdefault(CALLED, set()).add(kind)


def first_batches(data: Any, streams: Streams, batch: int) -> list[Any]:
    """The training inputs that components are prepared with: four batches, as dopant's own loop takes them."""
    chosen = order(streams, 0, len(data.train))[: 4 * batch]
    return [data.train.batch(indices)[0] for indices in chosen.split(batch)]


def settle(written: Path, final: Path) -> None:
    """Put a file or folder that was written beside `final` in its place: flushed first, so `final` is whole at any
    moment, whenever the process or the machine dies."""
    files: Iterable[Path] = [p for p in written.rglob("*") if p.is_file()] if written.is_dir() else [written]
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    if written.is_dir() and final.exists():
        shutil.rmtree(final)
    os.replace(written, final)
