"""The circuit kernel is there before laws are timed and calls compared: compiling it is no work of a component."""

from __future__ import annotations

import pytest
import torch

from dopant.quantum.kernel import loading


@pytest.fixture(autouse=True, scope="session")
def the_kernel_is_compiled_first():
    for dtype in (torch.float32, torch.float64):
        loading.ready(dtype, wait=True)
