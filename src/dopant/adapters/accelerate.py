"""Hugging Face accelerate in a loop of one's own: metrics into the study, states that survive a kill.

Needs the extra `accelerate`. One process a trial: several would share the draws of one replicate.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker

from ..tasks.custom import Log
from .pairing import settle


class DopantTracker(GeneralTracker):
    """Passes `accelerator.log(values, step=epoch)` into `log`, so that it appears in `Answer.metrics`.

        accelerator = Accelerator(log_with=DopantTracker(log))
        accelerator.init_trackers("dopant")

    `step` is the epoch, counted from 1; where values have an "epoch" that one counts, and `step` may be anything. Of
    several values of a name in one epoch the last counts. Text is left out.
    """

    name = "dopant"
    requires_logging_directory = False

    def __init__(self, log: Log):
        super().__init__()
        self._log = log

    @property
    def tracker(self) -> Log:
        return self._log

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Hyperparameters are in the study's own files already."""

    def log(self, values: dict[str, Any], step: int | None = None, **keywords: Any) -> None:
        """Raises TypeError without an epoch, and what `log.alive` raises."""
        known = {k: v for k, v in values.items() if not isinstance(v, str)}
        epoch = known.pop("epoch", step)
        if epoch is None:
            raise TypeError("accelerator.log: give the epoch, counted from 1: accelerator.log(values, step=epoch)")
        self._log(epoch, **known)


def save(accelerator: Accelerator, folder: str | Path, epoch: int) -> Path:
    """`accelerator.save_state` in `folder/epoch-N`, whole or not at all; the ones before it are removed.

    Log the epoch's metrics first, so that none is missing after a kill between the two. Returns the folder.
    """
    folder = Path(folder)
    beside, final = folder / ".saving", folder / f"epoch-{epoch}"
    shutil.rmtree(beside, ignore_errors=True)
    accelerator.save_state(str(beside))
    settle(beside, final)
    for number, path in _saved(folder):
        if number != epoch:
            shutil.rmtree(path)
    return final


def resume(accelerator: Accelerator, folder: str | Path) -> int:
    """Load the last state that `save` wrote and return its epoch; 0 where there is none.

    Call it after `accelerator.prepare`. Weights are read as safetensors, the optimizer's state with
    `weights_only=True`; objects of your own that you registered for checkpointing are unpickled by accelerate.
    """
    found = _saved(Path(folder))
    if not found:
        return 0
    epoch, path = max(found)
    accelerator.load_state(str(path))
    return epoch


def _saved(folder: Path) -> list[tuple[int, Path]]:
    return [(int(path.name[6:]), path) for path in folder.glob("epoch-*") if path.name[6:].isdigit()]
