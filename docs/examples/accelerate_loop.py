"""Hugging Face accelerate in a dopant study: `dp.run(design, data="digits", train=train)`. See docs/own-loop.md."""

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

from dopant.adapters import OrderSampler, Pairing
from dopant.adapters.accelerate import DopantTracker, resume, save


def train(model, streams, log, folder, data):
    """Called once for each trial. folder: its own, found again after a kill."""
    accelerator = Accelerator(cpu=True, log_with=DopantTracker(log))
    accelerator.init_trackers("dopant")
    training = TensorDataset(data.train.inputs, data.train.targets)
    order = OrderSampler(len(training), streams)  # the same batches in every cell of a replicate
    optimizer = torch.optim.Adam(model.parameters(), lr=log.recipe.lr)
    network, optimizer, loader = accelerator.prepare(
        model, optimizer, DataLoader(training, log.recipe.batch, sampler=order)
    )
    steps = len(loader)
    with Pairing(model, streams) as pairing:  # the same dropout in every cell of a replicate
        for epoch in range(resume(accelerator, folder) + 1, log.epochs + 1):
            network.train()
            loader.set_epoch(epoch - 1)
            total = 0.0
            for number, (inputs, targets) in enumerate(loader):
                log.alive()  # stops when asked to
                pairing.train(epoch, number)
                optimizer.zero_grad()
                loss = F.cross_entropy(network(inputs), targets) + pairing.extra_loss()
                accelerator.backward(loss)
                optimizer.step()
                pairing.after_step((epoch - 1) * steps + number + 1)
                total += loss.item() * len(targets)
            pairing.held_out("validation", epoch, 0)
            scores = {f"validation_{k}": v.mean() for k, v in score(network, data.validation).items() if k in SCORED}
            accelerator.log({"train_loss": total / len(training), **scores}, step=epoch)
            save(accelerator, folder, epoch)  # after its metrics, so that a kill in between loses none
        pairing.held_out("test", 0, 0)
        found = score(network, data.test)
    accelerator.end_training()
    return {f"test_{name}": found[name].mean() for name in SCORED}, {"ids": data.test.ids, **found}


SCORED = ("accuracy", "loss")


@torch.no_grad()
def score(network, split):
    """One value per item of each metric, and the prediction."""
    network.eval()
    outputs = network(split.inputs)
    guess = outputs.argmax(1)
    loss = F.cross_entropy(outputs, split.targets, reduction="none")
    return {"prediction": guess, "accuracy": (guess == split.targets).float(), "loss": loss}
