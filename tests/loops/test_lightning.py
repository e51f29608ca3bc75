"""Lightning beyond the example: schedulers, early stopping, gradient accumulation, interrupts, its own logging."""

from __future__ import annotations

import logging
import signal
import threading

import pytest
import studies
import torch

import dopant as dp
from dopant.study import keeper as keepers
from dopant.study.trial import Trial
from dopant.tasks.custom import custom

studies.needed("lightning")
import lightning.pytorch as pl  # noqa: E402
from lightning.pytorch.callbacks import EarlyStopping  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from dopant.adapters import OrderSampler, Pairing  # noqa: E402
from dopant.adapters.lightning import DopantCallback, DopantLogger  # noqa: E402

ASKED: dict = {}  # what a test wants of `train`; outside of the function, whose source is part of a trial's identity


class Crash(pl.Callback):
    """Fails at the start of an epoch, or when training is over."""

    def on_train_epoch_start(self, trainer, pl_module):
        if ASKED.get("crash") == trainer.current_epoch:
            raise RuntimeError("crash")

    def on_train_end(self, trainer, pl_module):
        if ASKED.get("crash") == "end":
            raise RuntimeError("crash")


class Module(pl.LightningModule):
    def __init__(self, model):
        super().__init__()
        self.model, self.epochs = model, []

    def training_step(self, batch, batch_idx):
        if batch_idx == ASKED.get("stop_at"):
            ASKED["stop"].set()
        loss = torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch):
        self.log("worse", float(self.current_epoch >= 1))  # no progress after the second epoch

    def test_step(self, batch):
        self.log("test_score", 0.5)

    def on_train_epoch_start(self):
        self.epochs.append(self.current_epoch + 1)

    def on_train_epoch_end(self):
        self.log("late", 1.0 + self.current_epoch)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=3e-3)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]


def train(model, streams, log, folder, data):
    kept = DopantCallback(model, streams, log, folder)
    module = Module(model)
    stop = [EarlyStopping("worse", patience=2)] if ASKED.get("early") else []
    trainer = pl.Trainer(
        max_epochs=log.epochs, logger=DopantLogger(log), callbacks=[*stop, kept, Crash()], default_root_dir=folder,
        accelerator="cpu", devices=1, log_every_n_steps=1, accumulate_grad_batches=ASKED.get("accumulate", 1),
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    training, validation = (TensorDataset(s.inputs, s.targets) for s in (data.train, data.validation))
    loader = DataLoader(training, 128, sampler=OrderSampler(len(training), streams))
    trainer.fit(module, loader, DataLoader(validation, 1000), **kept.resume())
    trainer.test(module, DataLoader(validation, 1000), verbose=False)
    ASKED["epochs"] = module.epochs
    return {"accuracy": float((model.eval()(data.test.inputs).argmax(1) == data.test.targets).float().mean())}


@pytest.fixture(autouse=True)
def nothing_asked():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    ASKED.clear()


def trained(tmp_path, epochs=5, **asked) -> tuple[dict, list[dict]]:
    """(weights, metrics of the epochs) of one trial, from its last checkpoint if the folder has one."""
    ASKED.clear()
    ASKED.update(asked)
    recipe = dp.Recipe(epochs=epochs)
    description = {
        "task": {"name": "custom", "train": studies.local_name(train)}, "data": {"name": "digits"},
        "host": studies.HOST, "swaps": {}, "recipe": recipe.identity(), "protocol": None, "seed": 0, "replicate": 0,
    }  # fmt: skip
    trial = Trial(description, "level 0", 0, epochs, device="cpu")
    attempt = len(list(tmp_path.glob("trials/*/attempt-*"))) + 1
    keeper = keepers.Keeper(tmp_path, trial, attempt, stop=asked.get("stop"))
    custom(trial, dp.Streams(0, 0), keeper)
    return keeper.restore()["model"], keeper.trial_folder.metrics()[0]


def assert_same(ours, theirs):
    assert all(torch.equal(ours[0][name], theirs[0][name]) for name in theirs[0])
    assert ours[1] == theirs[1]


def test_a_learning_rate_stepped_each_epoch_survives_a_crash_between_epochs(tmp_path):
    with pytest.raises(RuntimeError, match="crash"):
        trained(tmp_path / "a", crash=3)
    resumed = trained(tmp_path / "a")
    assert ASKED["epochs"] == [4, 5]
    assert_same(resumed, trained(tmp_path / "b"))


def test_a_training_that_had_stopped_early_does_not_go_on_after_a_crash(tmp_path):
    with pytest.raises(RuntimeError, match="crash"):
        trained(tmp_path / "a", epochs=8, early=True, crash="end")
    resumed = trained(tmp_path / "a", epochs=8, early=True)
    assert ASKED["epochs"] == []
    quiet = trained(tmp_path / "b", epochs=8, early=True)
    assert ASKED["epochs"] == [1, 2, 3, 4][: len(quiet[1])] and len(quiet[1]) < 8
    assert_same(resumed, quiet)


def test_an_epoch_is_one_row_with_all_that_was_logged_in_it(tmp_path):
    _, rows = trained(tmp_path, epochs=2)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all({"loss", "worse", "late"} <= set(row) and "test_score" not in row for row in rows)
    assert [row["late"] for row in rows] == [1.0, 2.0]


def test_steps_are_counted_as_the_optimizer_takes_them_and_batches_are_drawn_one_by_one(tmp_path, monkeypatch):
    steps, batches = [], []
    after, before = Pairing.after_step, Pairing.train
    monkeypatch.setattr(Pairing, "after_step", lambda self, step: (steps.append(step), after(self, step)))
    monkeypatch.setattr(
        Pairing, "train", lambda self, epoch, batch: (batches.append(batch), before(self, epoch, batch))
    )
    trained(tmp_path, epochs=1, accumulate=3)
    assert batches == list(range(9)) and steps == [1, 2, 3]


def test_a_request_to_stop_is_an_interrupt_although_lightning_makes_it_an_exit(tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(keepers, "GRACE", 0.0)
    stop = threading.Event()
    try:
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, stop=stop, stop_at=4)
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored
    stop.clear()
    assert len(trained(tmp_path)[1]) == 5
