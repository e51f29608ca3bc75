"""Answers to develop the report against: shaped as the real one, with numbers drawn from a stated distribution."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from dopant.designs import Cell, Contrast
from dopant.study import verdicts
from dopant.study.report import words

HEAD = "head=reupload-linear"
CONTROLS = ("frozen", "bottleneck-mlp", "random-features", "linear-residual")
VARIANTS = ("zero bias", "learned scale")
GAIN = {"level 0": 0.0, "level 1": -0.013, "level 2": 0.024, "frozen": -0.05, "bottleneck-mlp": 0.021,
        "random-features": 0.004, "linear-residual": 0.009, "zero bias": 0.030, "learned scale": 0.041}  # fmt: skip


def cells() -> list[Cell]:
    """The founding ladder: the host, two levels, four controls and two variants of the head."""
    convs = {"conv1": {"component": "flipped-quanv"}, "conv2": {"component": "flipped-quanv"}}
    head = {**convs, "head": {"component": "reupload-linear"}}
    found = [Cell("level 0", 0, {}), Cell("level 1", 1, convs), Cell("level 2", 2, head)]
    found += [Cell(f"level 2, head={c}", 2, head, "control", c, "ablation") for c in CONTROLS]
    return found + [Cell(f"level 2, {v}", 2, head, "variant") for v in VARIANTS]


def answer(replicates: int = 6, epochs: int = 12, failed: int = 0, published: bool = False, folder=None, seed: int = 0):
    """A finished study of nine cells. failed: how many trials ended as failed."""
    generator = np.random.default_rng(seed)
    common = generator.normal(0, 0.012, replicates)
    trials, metrics = [], []
    for cell in cells():
        gain = GAIN[cell.name.removeprefix("level 2, ").removeprefix("head=")]
        for replicate in range(replicates):
            identifier = f"{len(trials):016x}"
            score = 0.915 + gain + common[replicate] + generator.normal(0, 0.006)
            lost = len(trials) >= 9 * replicates - failed
            trials.append({
                "trial": identifier, "cell": cell.name, "level": cell.level, "replicate": replicate,
                "status": "failed" if lost else "done", "attempts": 3 if lost else 1,
                "reason": "loss is not finite" if lost else None, "test_accuracy": np.nan if lost else score,
                "test_loss": np.nan if lost else 1.3 - score, "seconds": 3.2,
            })  # fmt: skip
            for epoch in range(1, epochs + 1):
                rise = 1 - np.exp(-epoch / 3)
                value = 0.1 + (score - 0.1) * rise + generator.normal(0, 0.006)
                one = {"trial": identifier, "cell": cell.name, "level": cell.level, "replicate": replicate,
                       "epoch": epoch, "train_loss": 2.3 - 2 * rise, "validation_accuracy": value,
                       "validation_loss": 2.3 - 1.9 * rise + generator.normal(0, 0.02)}  # fmt: skip
                metrics.append(one | ({"test_accuracy": value} if published else {}))
    trials, metrics = pd.DataFrame(trials), pd.DataFrame(metrics)
    if published:
        metrics = metrics.drop(columns=["validation_accuracy", "validation_loss"])
    effects = effects_of(trials)
    return SimpleNamespace(
        name="founding-ladder", folder=folder,
        question="Do flipped quanvolutions and a re-uploading head help a small convolutional network on real digits?",
        counts={"planned": len(trials), "pending": 0, "running": 0, "done": len(trials) - failed, "failed": failed},
        cells=cells(), trials=trials, metrics=metrics, effects=effects, costs=_costs(),
        verdicts=verdicts.sentences(effects),
        notes=["A same-class control of flipped-quanv is not registered yet."],
        study={"study": {"name": "founding-ladder", "seed": 0, "replicates": replicates, "data": "digits",
                         "host": "creep-cnn", "controls": True, "margin": 0.005,
                         **({"protocol": "published"} if published else {})},
               "recipe": {"optimizer": "adam", "lr": 3e-3, "batch": 32, "epochs": epochs},
               "design": {"kind": "ladder", "levels": [{"conv1": {"component": "flipped-quanv"}}]}},
        provenance={"versions": {"dopant": "0.1.0", "torch": "2.9.0", "python": "3.11.9"}, "platform": "Linux x86_64",
                    "threads": 1, "seed": 0, "command": ["dopant", "run"], "data": {"digits": "sha256:0f3a"}},
    )  # fmt: skip


def contrasts() -> list[Contrast]:
    """Level by level, then the head's controls and variants."""
    named = tuple(f"level 2, head={c}" for c in CONTROLS)
    found = [Contrast("conv1=flipped-quanv, conv2=flipped-quanv", "level 1", "level 0"),
             Contrast(HEAD, "level 2", "level 1", named)]  # fmt: skip
    found += [Contrast(f"head={c}", f"level 2, head={c}", "level 1", (), "control") for c in CONTROLS]
    return found + [Contrast(v, f"level 2, {v}", "level 1", named, "variant") for v in VARIANTS]


def effects_of(trials: pd.DataFrame, which: list[Contrast] | None = None) -> pd.DataFrame:
    """The real engine's table on these trials."""
    table = pd.DataFrame({"arm": trials["cell"], "replicate": trials["replicate"], "status": trials["status"],
                          "value": trials["test_accuracy"]})  # fmt: skip
    return verdicts.effects(table, contrasts() if which is None else which, metric="test_accuracy", margin=0.005,
                            failure_value=0.1)  # fmt: skip


def _costs() -> pd.DataFrame:
    rows = []
    for cell in cells():
        quantum = cell.level == 2 and cell.role != "control"
        rows.append({"cell": cell.name, "parameters": 1234 + 300 * (cell.level or 0), "trainable": 1234,
                     "flops": 1.83e6 * (1 + (cell.level or 0)), "seconds_per_step": 0.00231 * (1 + (cell.level or 0)),
                     "qubits": 4 if quantum else np.nan, "circuit_evaluations": 32 if quantum else np.nan})  # fmt: skip
    return pd.DataFrame(rows)


HOSTILE = [
    '<script>document.title="owned"</script>', '"><img src=x onerror=alert(1)>', "a & b 'c' \"d\"",
    "</title></style></pre>", "{{ 7 * 7 }} {% raw %}", "名前 ünïcode \u202e reversed", "x" * 400, "nul\x00 esc\x1b[31m",
    "[red]rich[/red]", "\ud800",
]  # fmt: skip


def hostile_answer(text: str):
    """A study in which every name a user could choose is `text`."""
    study = answer(replicates=3, epochs=3)
    for frame in (study.trials, study.metrics, study.costs):
        frame["cell"] = frame["cell"].replace("level 2", text)
    study.trials["reason"], study.trials[text] = text, 1.5
    which = [
        Contrast(text, text, "level 1", ("level 2, head=frozen",)),
        Contrast(text, "level 2, head=frozen", "level 1"),
    ]
    study.effects = effects_of(study.trials, which)
    study.cells = [SimpleNamespace(name=c.name if c.name != "level 2" else text, role=c.role) for c in study.cells]
    study.verdicts = list(study.effects["sentence"][:2])
    study.name = study.question = text
    study.notes = [text]
    study.provenance = {text: text, "files": {text: [text]}, "command": ["dopant", text]}
    study.study = {"study": {"name": words.clean(text), "data": {"name": words.clean(text)}}}
    return study
