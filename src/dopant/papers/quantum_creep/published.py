"""The published numbers in one file: `python -m dopant.papers.quantum_creep.published CSV` writes published.toml.

CSV: every epoch of every stored run (variant, dataset, level, repeat, epoch, train_loss, train_accuracy, test_loss,
test_accuracy), taken from the result files of the repository and commit named in SOURCE.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

from ...errors import ConfigError, DataMissing
from ..toml_rows import document

FILE = Path(__file__).parent / "published.toml"
METRICS = {"test_accuracy": 5, "test_loss": 5, "train_accuracy": 5, "train_loss": 5}
"""Decimals kept. The source has 4 for test accuracies (a mean of five needs one more) and 4 to 7 for the others."""

SOURCE = {
    "title": "Let the Quantum Creep In: Designing Quantum Neural Network Models by Gradually Swapping Out Classical "
    "Components",
    "authors": "Wang, Myers, Hollenberg, Parampalli",
    "year": 2024,
    "arxiv": "2409.17583",
    "repository": "peiyong-addwater/Let-The-Quantum-Creep-In",
    "commit": "8feb80b",
    "files": "the stored result files of both versions, every epoch of every repeat",
    "test_accuracy": "the mean over batches, read after every epoch",
    "spread": "sd is the sample standard deviation over distinct repeats",
}

_LAYERS = "the sources of the version and the shapes of its parameters"
SETTINGS: list[dict[str, Any]] = [
    {
        "variant": "torch", "optimizer": "adam", "lr": 5e-4, "batch": 200, "epochs": 50, "qubits": 7, "reps": 10,
        "parameters": "complex", "bias_init": "N(0,1)",
        "known_from": {
            "lr": "the configuration of the stored runs (the default file says 3e-4)", "batch": "the configuration",
            "epochs": "the length of the stored logs", "reps": _LAYERS,
            "parameters": "the sources: angles and the convolutions' bias are stored complex64, so training moves "
            "their imaginary parts and the gates stop being unitary; the published training losses show it (bound.py)",
        },
    },
    {
        "variant": "equinox", "optimizer": "adam", "lr": 5e-3, "batch": 1000, "batch_cifar10": 500, "epochs": 100,
        "qubits": 7, "reps": 10, "parameters": "real", "bias_init": "N(0,1)",
        "known_from": {
            "lr": "the notebooks", "batch": "the notebooks", "batch_cifar10": "the notebooks",
            "epochs": "the length of the stored logs",
            "reps": "the stored weights, of shape (10, 16383), and the notebooks; the script eqx_model.py says r = 1, "
            "which the stored weights contradict",
            "parameters": "the stored weights are real",
        },
    },
]  # fmt: skip


def make(csv: str | Path) -> str:
    """The text of published.toml from the CSV. ConfigError where columns are missing, DataMissing without the file."""
    import pandas as pd

    path = Path(csv)
    if not path.is_file():
        raise DataMissing(f"there is no {str(path)!r}; it is quantum_creep_published.csv.gz of the folder DOPANT_DATA")
    table = pd.read_csv(path)
    needed = ["variant", "dataset", "level", "repeat", "epoch", *METRICS]
    lacking = [c for c in needed if c not in table]
    if lacking:
        raise ConfigError(f"{path.name}: the columns {', '.join(lacking)} are missing")
    rows = []
    for place, part in table.groupby(["variant", "dataset", "level"], sort=True):
        variant, data, level = cast(tuple, place)
        rows.append({"variant": str(variant), "data": str(data), "level": int(level), **_series(part)})
    settings = []
    for entry in SETTINGS:
        known = entry["known_from"]
        flat = {k: v for k, v in entry.items() if k != "known_from"}
        settings.append(flat | {f"{key}_known_from": text for key, text in known.items()})
    return document(
        "Published numbers, made by `python -m dopant.papers.quantum_creep.published CSV`; never edited by hand.\n"
        "Arrays hold one number an epoch, the first epoch first: means over distinct repeats, and their sd.",
        {"source": SOURCE},
        {"settings": settings, "series": rows},
    )


def _series(part: Any) -> dict[str, Any]:
    """repeats, distinct, duplicates and the arrays of one variant, data set and level."""
    runs: dict[tuple, int] = {}
    same: list[str] = []
    for repeat, run in part.sort_values("epoch").groupby("repeat", sort=True):
        key = tuple(map(tuple, run[list(METRICS)].to_numpy()))
        if key in runs:
            same.append(f"{repeat} is identical to {runs[key]}")
        else:
            runs[key] = int(repeat)
    kept = part[part["repeat"].isin(runs.values())]
    found: dict[str, Any] = {
        "repeats": int(part["repeat"].nunique()), "distinct": len(runs), "epochs": int(kept["epoch"].max()),
    }  # fmt: skip
    if same:
        found["duplicates"] = "repeat " + ", repeat ".join(same)
    last = part[part["epoch"] == part["epoch"].max()].sort_values("repeat")
    found["last_test_accuracies"] = [float(v) for v in last["test_accuracy"]]  # of every repeat
    for metric, decimals in METRICS.items():
        wide = kept.pivot(index="epoch", columns="repeat", values=metric).sort_index()
        found[metric] = [round(float(v), decimals) for v in wide.mean(axis=1)]
        found[f"{metric}_sd"] = [round(float(v), decimals) for v in wide.std(axis=1, ddof=1)]
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m dopant.papers.quantum_creep.published CSV")
    FILE.write_text(make(sys.argv[1]), encoding="utf-8")
    print(f"{FILE.name}: {FILE.stat().st_size / 1000:.0f} kB")
