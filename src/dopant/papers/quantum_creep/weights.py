"""Read a published trained network of the Equinox version into our own layers, and test it.

`python -m dopant.papers.quantum_creep.weights FILE… --data mnist [--record]`. The files are in the repository named in
published.toml. Equal accuracies say that our layers compute what theirs do, for weights that training reached.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...components.quantum.flipped_quanv import FlippedQuanv
from ...components.quantum.reupload_linear import ReuploadLinear
from ...errors import ConfigError
from ...hosts.creep_cnn import CreepCNN


def read_arrays(path: str | Path) -> list[np.ndarray]:
    """The arrays of an .eqx file, a sequence of .npy records; numbers without an axis are settings and are left out.

    Nothing is unpickled. ConfigError for a missing file and for anything else than such records.
    """
    path = Path(path)
    found = []
    try:
        with path.open("rb") as handle:
            while handle.peek(1):
                array = np.load(handle, allow_pickle=False)
                if not isinstance(array, np.ndarray):
                    raise ValueError("an archive instead of arrays")
                found.append(array)
    except OSError as error:
        raise ConfigError(f"cannot read {path.name!r}: {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        raise ConfigError(f"{path.name!r} is no sequence of .npy records, as .eqx files are: {error}") from None
    return [a for a in found if a.ndim]


def load_equinox(path: str | Path, size: int = 32) -> nn.Module:
    """The network of an .eqx file: (batch, channel, size, size) -> (batch, class), in eval mode.

    The shapes say which layers they are: angles (out, in, 15) of a flipped quanvolution or a kernel (out, in, 3, 3),
    angles (reps, 4^q - 1) of a re-uploading head or a weight (class, features). Raises ConfigError where they do not
    fit together, with what was found.
    """
    arrays = read_arrays(path)
    name, shapes = Path(path).name, [tuple(a.shape) for a in arrays]
    wrong = ConfigError(
        f"{name!r} holds arrays of the shapes {shapes}; expected weight and bias of two convolutions, (out, in, 15) or "
        "(out, in, 3, 3), and of a head, (reps, 4^q - 1) or (classes, features)"
    )
    if len(arrays) != 6 or any(not np.isrealobj(a) or a.dtype.kind != "f" for a in arrays):
        raise wrong
    first, bias1, second, bias2, last, bias3 = arrays
    for weight, bias in ((first, bias1), (second, bias2)):
        convolution = (weight.ndim == 3 and weight.shape[2] == 15) or (weight.ndim == 4 and weight.shape[2:] == (3, 3))
        if not convolution or bias.size != weight.shape[0]:
            raise wrong
    if second.shape[1] != first.shape[0] or last.ndim != 2 or bias3.ndim != 1 or size < 5:
        raise wrong
    classes = len(bias3)
    model = CreepCNN(first.shape[1], size, classes, (first.shape[0], second.shape[0]))
    features = model.head.in_features
    qubits = round(np.log2(last.shape[1] + 1) / 2)
    reupload = last.shape[1] == 4**qubits - 1 and 4**qubits >= features and last.shape != (classes, features)
    if not reupload and last.shape != (classes, features):
        raise wrong
    for slot, weight, bias in (("conv1", first, bias1), ("conv2", second, bias2)):
        layer = FlippedQuanv(weight.shape[1], weight.shape[0]) if weight.ndim == 3 else getattr(model, slot)
        _fill(layer, weight, bias)
        setattr(model, slot, layer)
    head = ReuploadLinear(features, classes, qubits=qubits, reps=last.shape[0]) if reupload else model.head
    _fill(head, last, bias3)
    model.head = head  # pyright: ignore[reportAttributeAccessIssue]
    return model.eval()


def _fill(layer: Any, weight: np.ndarray, bias: np.ndarray) -> None:
    target = layer.angles if hasattr(layer, "angles") else layer.weight
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        layer.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)).flatten())


def level_of(model: nn.Module) -> int:
    """Which level of the founding ladder a network is."""
    quantum = [isinstance(model.get_submodule(s), FlippedQuanv) for s in ("conv1", "conv2")]
    return 2 if isinstance(model.get_submodule("head"), ReuploadLinear) else int(all(quantum))


def score(model: nn.Module, split: Any, batch: int = 500) -> tuple[float, float]:
    """(accuracy, mean cross entropy) on a split. Cost: about 10 s for 10,000 images through a seven-qubit head."""
    hits, loss = 0, 0.0
    with torch.no_grad():
        for indices in torch.arange(len(split)).split(batch):
            inputs, targets = split.batch(indices)
            outputs = model(inputs.float())
            hits += int((outputs.argmax(1) == targets).sum())
            loss += float(nn.functional.cross_entropy(outputs, targets, reduction="sum"))
    return hits / len(split), loss / len(split)


def published_accuracy(name: str, data: str, level: int) -> float | None:
    """The published last test accuracy of the run that a file's name says (`…_rep_0.eqx`); None where it says none."""
    import tomllib

    from . import PAPER

    repeat = re.search(r"_rep_(\d+)", name)
    for row in tomllib.loads(PAPER.published_file.read_text(encoding="utf-8"))["series"]:
        if (row["variant"], row["data"], row["level"]) == ("equinox", PAPER.data.get(data), level) and repeat:
            values = row["last_test_accuracies"]
            return values[int(repeat[1])] if int(repeat[1]) < len(values) else None
    return None


def check(file: str | Path, data: str) -> dict[str, Any]:
    """A row of `checked_weights`: the file's name, what it holds, our accuracy with it, the published one."""
    from ...datasets.source import dataset

    test = dataset(data, protocol="published").test
    model = load_equinox(file)
    accuracy, loss = score(model, test)
    head = model.get_submodule("head")
    name, level = Path(file).name, level_of(model)
    return {
        "file": name, "data": data, "level": level, "reps": getattr(head, "reps", None), "images": len(test),
        "test_accuracy": round(accuracy, 4), "test_loss": round(loss, 5),
        "published_test_accuracy": published_accuracy(name, data, level),
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    """The command; 0, or 2 where the request is wrong."""
    from .. import recording
    from . import PAPER

    parser = argparse.ArgumentParser(prog="python -m dopant.papers.quantum_creep.weights", description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--data", required=True, choices=[d for d, name in PAPER.data.items() if name])
    parser.add_argument("--record", action="store_true", help="add rows to measured.toml (checkouts only)")
    asked = parser.parse_args(arguments)

    def record() -> None:
        checkout = recording.require_checkout(PAPER.folder) if asked.record else None
        for file in asked.files:
            row = check(file, asked.data)
            published = row["published_test_accuracy"]
            print(f"{row['file']}: {row['data']}, level {row['level']}, test accuracy {row['test_accuracy']:.4f}"
                  + ("" if published is None else f", published {published:.4f}"))  # fmt: skip
            if checkout:
                command = f"{parser.prog} {row['file']} --data {asked.data} --record"
                row |= {"command": command, **recording.stamp(checkout)}
                recording.add(PAPER.measured_file, "checked_weights", row)

    return recording.told(record)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
