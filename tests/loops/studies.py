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
from dopant import local
from dopant.datasets.source import load_source

HOST = {"name": "small-cnn", "size": 8, "channels": [8, 8], "dropout": 0.3}  # BatchNorm and dropout: state and draws


def design() -> dp.Ladder:
    return dp.Ladder(HOST).level(head="bottleneck-mlp")


def run(out, *, epochs: int, replicates: int = 2, **more) -> dp.Answer:
    """The study, by dopant's own loop or by the `train` that is given."""
    recipe = dp.Recipe(lr=3e-3, batch=64, epochs=epochs)
    settings = {"data": "digits", "controls": False, "workers": 1, "progress": None} | more
    return dp.run(design(), recipe=recipe, replicates=replicates, out=out, **settings)


def own(out, **settings) -> dp.Answer:
    """The study by dopant's own loop; an object as data keeps it in this process, which is quicker here."""
    return run(out, data=load_source("digits"), **settings)


def local_name(train) -> str:
    """The name that a function of this process has in a trial's description."""
    return local.register(train.__name__, train)


def needed(package: str) -> None:
    """Fail under CI and skip elsewhere where a package is missing."""
    if importlib.util.find_spec(package) is None:
        import pytest

        if os.environ.get("CI"):
            pytest.fail(f"the extra {package} is missing, and CI is set")
        pytest.skip(f"the extra {package} is missing", allow_module_level=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    run(sys.argv[2], epochs=int(sys.argv[3]), replicates=1, train=importlib.import_module(sys.argv[1]).train)
