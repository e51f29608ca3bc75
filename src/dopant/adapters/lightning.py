"""Lightning in a loop of one's own: metrics into the study, paired draws, a checkpoint that survives a kill.

Needs the extra `lightning`. One process and one device a trial: ranks would share the draws of one replicate.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers.logger import Logger
from torch import nn

from ..errors import ConfigError
from ..streams import Streams
from ..tasks.custom import Log
from .pairing import Pairing, settle


class DopantLogger(Logger):
    """Passes what `self.log` sends to loggers into `log`, so that it appears in `Answer.metrics`.

    One row an epoch, counted from 1 (Lightning counts from 0); of values logged by step the epoch's last one counts.
    What `Trainer.test` and `Trainer.validate` log outside of `fit` is left to what `train` returns.
    """

    def __init__(self, log: Log):
        super().__init__()
        self._log = log
        self.fitting = True  # DopantCallback knows better

    @property
    def name(self) -> str:
        return "dopant"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        values = dict(metrics)
        epoch = int(values.pop("epoch", 0)) + 1
        if values and self.fitting and epoch <= self._log.epochs:
            self._log(epoch, **values)

    def log_hyperparams(self, *arguments: Any, **keywords: Any) -> None:
        """Hyperparameters are in the study's own files already."""


class DopantCallback(Checkpoint):
    """Pairs the model's draws, notices when the study is stopped, and keeps `last.ckpt` in `folder` each epoch.

        kept = DopantCallback(model, streams, log, folder)
        trainer = Trainer(max_epochs=log.epochs, logger=DopantLogger(log), callbacks=[kept], …)
        trainer.fit(module, loader, **kept.resume())

    model: the one that `train` was given, not the LightningModule around it. An epoch's metrics are logged before its
    checkpoint is written, so none is missing after a kill between the two. It takes the place of Lightning's default
    ModelCheckpoint; one of your own may stand beside it. Also calls `after_step` of components after each step of the
    optimizer; their extra losses are yours to add: `loss + kept.pairing.extra_loss()`.
    """

    def __init__(self, model: nn.Module, streams: Streams, log: Log, folder: str | Path):
        self.pairing = Pairing(model, streams)
        self._log, self._folder = log, Path(folder)
        self._steps = 0
        self._stopped = False  # by early stopping, before a kill

    @property
    def path(self) -> Path:
        return self._folder / "last.ckpt"

    def resume(self) -> dict[str, Any]:
        """Keywords for `Trainer.fit`: go on from `last.ckpt` if it is there. It is read with `weights_only=True` where
        Lightning has that (2.6), so that nothing in it is run."""
        if not self.path.is_file():
            return {}
        safe = "weights_only" in inspect.signature(pl.Trainer.fit).parameters
        return {"ckpt_path": str(self.path)} | ({"weights_only": True} if safe else {})

    # --- hooks of the Trainer ---------------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if trainer.world_size > 1:
            raise ConfigError("DopantCallback pairs trials of one device; give the Trainer devices=1")
        self.pairing.__enter__()
        self._tell_loggers(trainer, stage == "fit")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.pairing.__exit__()
        self._tell_loggers(trainer, True)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.pairing.__exit__()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._steps = trainer.global_step
        if self._stopped:
            trainer.should_stop = True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._log.alive()
        self.pairing.train(trainer.current_epoch + 1, batch_idx)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step > self._steps:  # not while gradients accumulate
            self._steps = trainer.global_step
            self.pairing.after_step(self._steps)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        epoch = trainer.current_epoch + 1 if trainer.state.fn == "fit" else 0
        self._held_out("validation", epoch, batch_idx, dataloader_idx)

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._held_out("test", 0, batch_idx, dataloader_idx)

    def on_predict_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._held_out("test", 0, batch_idx, dataloader_idx)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        known = {k: v for k, v in trainer.callback_metrics.items() if not _forked(k, trainer.callback_metrics)}
        self._log(trainer.current_epoch + 1, **known)
        self._stopped = trainer.should_stop
        beside = self.path.with_name(".last.ckpt.tmp")
        trainer.save_checkpoint(beside)
        settle(beside, self.path)

    # --- a Lightning callback's own state, part of last.ckpt ----------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"stopped": self._stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._stopped = state_dict["stopped"]

    def _held_out(self, split: str, epoch: int, batch: int, loader: int) -> None:
        self._log.alive()
        self.pairing.held_out(split if loader == 0 else f"{split}.{loader}", epoch, batch)

    def _tell_loggers(self, trainer: pl.Trainer, fitting: bool) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, DopantLogger):
                logger.fitting = fitting


def _forked(name: str, metrics: Mapping[str, Any]) -> bool:
    """Whether `loss_step` or `loss_epoch` stands beside the `loss` that it is a copy of."""
    stem = name.removesuffix("_step").removesuffix("_epoch")
    return stem != name and stem in metrics
