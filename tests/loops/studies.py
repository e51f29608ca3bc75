"""The study of these tests; as a script, `studies.py EXAMPLE FOLDER EPOCHS`, it runs it, to be killed."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import warnings
from pathlib import Path

import dopant as dp

HOST = {"name": "small-cnn", "size": 8, "channels": [8, 8], "dropout": 0.3}  # BatchNorm and dropout: state and draws


def design() -> dp.Ladder:
    return dp.Ladder(HOST).level(head="bottleneck-mlp")


def run(out, *, epochs: int, replicates: int = 2, **more) -> dp.Answer:
    """The study, by dopant's own loop or by the `train` that is given."""
    recipe = dp.Recipe(lr=3e-3, batch=64, epochs=epochs)
    return dp.run(
        design(), data="digits", recipe=recipe, replicates=replicates, controls=False, out=out, progress=None,
        **({"workers": 1} | more),
    )  # fmt: skip


def needed(package: str) -> None:
    """Fail under CI and skip elsewhere where a package is missing."""
    if importlib.util.find_spec(package) is None:
        import pytest

        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"the extra {package} is missing")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    run(sys.argv[2], epochs=int(sys.argv[3]), replicates=1, train=importlib.import_module(sys.argv[1]).train)
