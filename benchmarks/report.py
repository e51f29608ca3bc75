"""How long a page takes that answers for many trials, and how large it is.

A study is written through the real store (its trials drawn from a stated distribution, none is trained), then
`Answer.report` is timed by its parts on one core. Usage: python benchmarks/report.py [FOLDER] [--trials N] [--epochs N]
[--cells N] [--no-items]; a folder that holds the study already is read again. Writing costs about 10 ms a trial.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import dopant as dp
from dopant.study import plan
from dopant.study.keeper import Keeper
from dopant.study.results import load
from dopant.study.store import Store

ITEMS = 360


def study_of(trials: int, epochs: int, cells: int) -> dp.Study:
    """A factorial of three slots with `cells` cells of as many replicates as `trials` allows."""
    kinds = ["frozen", "linear-residual", "bottleneck-mlp", "random-features", "fresh-copy", "psd-conv"]
    side = max(2, round(cells ** (1 / 3)))
    levels = {slot: ["old", *kinds[: side - 1]] for slot in ("conv1", "conv2", "head")}
    levels["head"] = [level for level in levels["head"] if level != "psd-conv"]
    design = dp.Factorial("creep-cnn", levels)
    count = len(design.cells())
    recipe = dp.Recipe(epochs=epochs)
    return dp.Study(design, data="digits", recipe=recipe, replicates=max(2, trials // count), controls="declared",
                    margin=0.01, name="many-trials")  # fmt: skip


def write(folder: Path, study: dp.Study, items: bool = True, seed: int = 0) -> int:
    """Fill a study's folder with finished trials, one in two hundred failed. Returns how many."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    study.save(folder / "study.toml")
    wanted = plan.plan(study, [])
    gains = {cell.name: generator.normal(0, 0.01) for cell in study.design.cells()}
    common = generator.normal(0, 0.012, 1 + max(t.replicate for t in wanted))
    with Store.create(folder) as store:
        store.add(wanted)
        owner = "benchmark"
        for number in range(len(wanted)):
            lease = store.lease(owner)
            assert lease is not None
            if number % 200 == 199:
                store.fail(lease, "loss is not finite", "the loss of step 7 is nan")
                continue
            keeper = Keeper(folder, lease.trial, lease.attempt)
            score = 0.9 + gains.get(lease.trial.cell, 0.0) + common[lease.trial.replicate] + generator.normal(0, 0.006)
            for epoch in range(1, study.recipe.epochs + 1):
                rise = 1 - float(np.exp(-epoch / 8))
                noise = generator.normal(0, 0.006, 6)
                keeper.log(epoch, {
                    "grad_norm_conv1": 0.3 + noise[0], "grad_norm_conv2": 0.5 + noise[1],
                    "grad_norm_head": 1 + noise[2],
                    "train_loss": 2.3 - 2 * rise + noise[3], "train_accuracy": min(1.0, 0.1 + (score - 0.08) * rise),
                    "seconds": 0.3 + noise[4], "validation_loss": 2.3 - 1.9 * rise + noise[3],
                    "validation_accuracy": min(1.0, max(0.0, 0.1 + (score - 0.1) * rise + noise[5])),
                })  # fmt: skip
            right = torch.from_numpy((generator.random(ITEMS) < score).astype("float32"))
            metrics = {
                "cost_parameters": 7514, "cost_trainable": 7514, "cost_flops": 173312.0, "cost_flops_step": 499200.0,
                "seconds": 15.0 + generator.normal(0, 0.2), "steps": 450, "epochs": study.recipe.epochs,
                "n_train": 1078, "n_validation": 359, "n_test": ITEMS, "resplit": False, "classes": 10, "device": "cpu",
                "validation_loss": 1.2 - score, "validation_accuracy": min(1.0, score), "test_loss": 1.25 - score,
                "test_accuracy": float(right.mean()), "test_reads": 1,
            }  # fmt: skip
            kept = {"ids": torch.arange(ITEMS), "prediction": torch.zeros(ITEMS, dtype=torch.int64), "accuracy": right}
            store.commit(lease, metrics, kept if items else None)
    return len(wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--cells", type=int, default=27)
    parser.add_argument("--no-items", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch) / "study"
        if not (folder / "index.sqlite").exists():
            began = time.perf_counter()
            count = write(folder, study_of(given.trials, given.epochs, given.cells), not given.no_items)
            print(f"wrote {count:,} trials of {given.epochs} epochs: {time.perf_counter() - began:.1f} s", flush=True)
        began = time.perf_counter()
        answer = load(folder)
        for part in ("rows", "trials", "metrics", "effects", "complete_cases", "costs", "gradients", "notes"):
            start = time.perf_counter()
            getattr(answer, part)
            print(f"{part:16} {time.perf_counter() - start:6.2f} s", flush=True)
        start = time.perf_counter()
        path = answer.report(Path(scratch) / "report.html")
        now = time.perf_counter()
        print(f"{'page':16} {now - start:6.2f} s")
        print(f"{len(answer.trials):,} trials: {now - began:.1f} s in all, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
