"""A small task with all that makes resuming hard: distinct rows, shuffling, dropout, BatchNorm, Adam. A --with file.

Environment: DOPANT_TOY_PACE seconds to sleep in each step; DOPANT_TOY_STEPS a file to which each step is appended.
Neither is part of a trial's description, so a slow study has the same trials as a quick one.
"""

import os
import sys
import time
from types import SimpleNamespace

import torch
from torch import nn

from dopant import registry
from dopant.errors import ConfigError, TrialFailed
from dopant.study.trial import Trial

ROWS, BATCH = 64, 8
STEPS_PER_EPOCH = ROWS // BATCH


def trial(replicate=0, cell="toy", epochs=4, task="toy", seconds=None, **options):
    """A trial of this task; options reach it through the description."""
    recipe = {} if seconds is None else {"checkpoint_seconds": seconds}
    description = {
        "format": 1, "task": {"name": task, **options}, "swaps": {}, "recipe": recipe, "seed": 5,
        "replicate": replicate, "threads": 1, "cell": cell,
    }  # fmt: skip
    return Trial(description, cell, 0, epochs)


def note(trial_id, step):
    path = os.environ.get("DOPANT_TOY_STEPS")
    if path:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{trial_id} {step}\n".encode())
        os.close(handle)
    time.sleep(float(os.environ.get("DOPANT_TOY_PACE", "0")))


def run(trial, streams, keeper):
    """Train; a state is saved at the end of each epoch and whenever one is due."""
    inputs = torch.randn(ROWS, 6, generator=streams.generator("rows"))
    targets = torch.randint(3, (ROWS,), generator=streams.generator("targets"))
    with streams.seeded("host"):
        model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    state = keeper.restore() or {"step": 0, "sum": 0.0}
    if state["step"]:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    step, total = state["step"], state["sum"]
    fail_at = trial.description["task"].get("fail_at")

    def save():
        keeper.save({"step": step, "sum": total, "model": model.state_dict(), "optimizer": optimizer.state_dict()})

    while step < keeper.epochs * STEPS_PER_EPOCH:
        keeper.alive()
        if step == fail_at:
            raise TrialFailed("nan", f"loss is nan at step {step}")
        if step == trial.description["task"].get("refuse_at"):
            raise ConfigError(f"a sample cannot be encoded at step {step}")
        note(trial.id, step)
        epoch, place = divmod(step, STEPS_PER_EPOCH)
        order = torch.randperm(ROWS, generator=streams.generator("order", epoch))
        rows = order[place * BATCH : (place + 1) * BATCH]
        torch.default_generator.manual_seed(streams.key("dropout", step))
        loss = nn.functional.cross_entropy(model(inputs[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step, total = step + 1, total + loss.item()
        if step % STEPS_PER_EPOCH == 0:
            keeper.log(step // STEPS_PER_EPOCH, {"train_loss": total / STEPS_PER_EPOCH})
            keeper.progress(epoch=step // STEPS_PER_EPOCH)
            total = 0.0
            save()
        elif keeper.due():
            save()
    model.eval()
    with torch.no_grad():
        outputs = model(inputs)
    return {"test_loss": nn.functional.cross_entropy(outputs, targets).item(), "steps": step}, {"outputs": outputs}


def mean_only(trial, streams, keeper):
    """Fit once, no epochs, no states."""
    note(trial.id, 0)
    return {"mean": float(streams.numpy("numbers").normal(size=10).mean())}, {}


def broken(trial, streams, keeper):
    raise ValueError("this layer is wrong")


def kills_itself(trial, streams, keeper):
    note(trial.id, 0)
    os.kill(os.getpid(), 9)


for name, function in {"toy": run, "toy-mean": mean_only, "toy-broken": broken, "toy-kill": kills_itself}.items():
    registry.tasks.add(name, SimpleNamespace(name=name, run=function, metric=None, networks=True, doc=""), __file__)
if "pytest" not in sys.modules:  # in a worker only these are needed: without the package's own tasks it starts sooner
    registry.tasks._walked = True
