"""The two examples of docs/own-loop.md are what is tested; a missing extra fails under CI and skips elsewhere."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
sys.path[:0] = [str(EXAMPLES), str(Path(__file__).parents[1] / "study")]

# Lightning's own warnings, each with the reason why it says nothing about dopant.
LIGHTNING = [
    # it asks torch for a class that torch 2.13 is about to rename
    "ignore:.*isinstance.treespec, LeafSpec.* is deprecated:FutureWarning",
    # advice on speed: the data are in memory, worker processes would only slow it down
    "ignore:The '.*' does not have many workers",
]


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            for words in LIGHTNING:
                item.add_marker(pytest.mark.filterwarnings(words))


@pytest.fixture
def example():
    """A function that imports an example by its name, with the package that it needs."""

    def load(name: str):
        from studies import needed

        needed(name.removesuffix("_loop"))
        module = importlib.import_module(name)
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)  # its hints on hardware
        return module

    return load
