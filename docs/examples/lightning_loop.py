"""Lightning in a dopant study: `dp.run(design, data="digits", train=train)`. See docs/own-loop.md."""

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from dopant.adapters import OrderSampler
from dopant.adapters.lightning import DopantCallback, DopantLogger


class Classifier(pl.LightningModule):
    """Any LightningModule will do; it holds the model that dopant made."""

    def __init__(self, model, kept, lr):
        super().__init__()
        self.model, self.lr = model, lr
        self.extra_loss = kept.pairing.extra_loss  # losses that components add; 0 for most

    def training_step(self, batch):
        inputs, targets = batch
        loss = F.cross_entropy(self.model(inputs), targets) + self.extra_loss()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch):
        inputs, targets = batch
        outputs = self.model(inputs)
        self.log("validation_loss", F.cross_entropy(outputs, targets))
        self.log("validation_accuracy", (outputs.argmax(1) == targets).float().mean())

    def predict_step(self, batch):
        return self.model(batch[0])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def train(model, streams, log, folder, data):
    """Called once for each trial. folder: its own, found again after a kill."""
    training, validation, test = (TensorDataset(s.inputs, s.targets) for s in (data.train, data.validation, data.test))
    order = OrderSampler(len(training), streams)  # the same batches in every cell of a replicate
    kept = DopantCallback(model, streams, log, folder)  # the same dropout; last.ckpt; stops when asked to
    module = Classifier(model, kept, log.recipe.lr)
    trainer = pl.Trainer(
        max_epochs=log.epochs, logger=DopantLogger(log), callbacks=[kept], default_root_dir=folder,
        accelerator="cpu", devices=1, log_every_n_steps=1, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(
        module, DataLoader(training, log.recipe.batch, sampler=order), DataLoader(validation, 1000), **kept.resume()
    )
    outputs = torch.cat(trainer.predict(module, DataLoader(test, 1000)))
    loss = F.cross_entropy(outputs, data.test.targets)
    right = (outputs.argmax(1) == data.test.targets).float()
    metrics = {"test_accuracy": right.mean(), "test_loss": loss}
    return metrics, {"ids": data.test.ids, "prediction": outputs.argmax(1), "accuracy": right}
