"""What dopant's loop costs beside a bare PyTorch loop: the same network, batches and optimizer, in one run.

Prints milliseconds a step of each and their ratio, one thread. Usage: python benchmarks/loop.py
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
import torch.nn.functional as F

import dopant as dp
from dopant.datasets.source import load_source
from dopant.streams import Streams
from dopant.tasks.build import build_model
from dopant.training.loop import Loop

ROUNDS = 5


class NoKeeper:
    """A keeper that keeps nothing, so that only the loop is timed."""

    epochs = 1

    def restore(self) -> None: ...
    def save(self, state: Any) -> None: ...
    def due(self) -> bool:
        return False

    def log(self, epoch: int, metrics: dict) -> None: ...
    def progress(self, **values: Any) -> None: ...
    def alive(self) -> None: ...


def bare(model: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor, batch: int) -> float:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, foreach=False)
    began = time.perf_counter()
    order = torch.randperm(len(inputs)).split(batch)
    for indices in order:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs[indices]), targets[indices]).backward()
        optimizer.step()
    return (time.perf_counter() - began) / len(order)


def ours(model: torch.nn.Module, data: Any, batch: int) -> float:
    recipe = dp.Recipe(lr=1e-3, batch=batch, epochs=1)
    loop = Loop(model, data, recipe, Streams(0), NoKeeper(), epochs=1, slots=["conv1", "conv2", "head"])
    data_without_validation = loop.data.validation
    began = time.perf_counter()
    loop.run()
    seconds = time.perf_counter() - began
    steps = loop.progress.step
    # Validation belongs to the answer, not to the overhead of a step: time it apart and take it off.
    began = time.perf_counter()
    if len(data_without_validation):
        with loop.draws:
            loop.score("validation", 1)
    return (seconds - (time.perf_counter() - began)) / steps


def main() -> None:
    torch.set_num_threads(1)
    data = load_source("digits").draw(Streams(0), None)
    inputs, targets = data.train.inputs, data.train.targets
    print(f"{'swaps':<40} {'bare ms':>9} {'dopant ms':>10} {'ratio':>6}")
    for swaps in ({}, {"conv1": {"component": "flipped-quanv"}, "head": {"component": "reupload-linear"}}):
        description = {"host": {"name": "creep-cnn", "size": 8}, "swaps": swaps, "data": {"name": "digits"}}
        pairs = []
        for _ in range(ROUNDS):
            a = bare(build_model(description, Streams(0), data), inputs, targets, 64)
            b = ours(build_model(description, Streams(0), data), data, 64)
            pairs.append((a, b))
        a, b = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        label = ", ".join(f"{slot}={spec['component']}" for slot, spec in swaps.items()) or "host untouched"
        print(f"{label:<40} {1e3 * a:>9.2f} {1e3 * b:>10.2f} {b / a:>6.2f}")


if __name__ == "__main__":
    main()
