"""Every registered component obeys every law in each built-in slot that it fills."""

from __future__ import annotations

import importlib.util

import pytest

from absence import absent
from dopant.laws import check
from dopant.registry import ComponentInfo, list_components

EXTRAS = {"pennylane-qnode": "pennylane"}  # what a component needs beside the core


@pytest.mark.parametrize(
    "info", [i for i in list_components() if not i.name.startswith("test-")], ids=lambda info: info.name
)
def test_a_component_obeys_every_law_wherever_it_fits(info: ComponentInfo):
    package = EXTRAS.get(info.name)
    if package and importlib.util.find_spec(package) is None:
        absent(package)
    results = check(info)
    assert [f"{r.where}: {r.law}: {r.message}" for r in results if not r.passed] == []
    assert any(r.law != "fits" and not r.message.startswith("not tested") for r in results)
