"""One thread, and real data where it is: its absence fails under CI and skips elsewhere, with the reason."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch

from absence import absent

torch.set_num_threads(1)


@pytest.fixture
def data_folder() -> Path:
    """The folder that DOPANT_DATA names."""
    folder = os.environ.get("DOPANT_DATA")
    if not folder or not Path(folder).is_dir():
        absent("the folder of real data (DOPANT_DATA)")
    return Path(folder or "")


@pytest.fixture(autouse=True)
def the_same_draws_in_any_order(request: pytest.FixtureRequest) -> None:
    """Tests that draw without a generator of their own draw the same whichever worker runs them, after whatever."""
    torch.manual_seed(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(autouse=True)
def no_shared_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded data are cached below the test run's own folder unless the caller named one."""
    if "DOPANT_CACHE" not in os.environ:
        monkeypatch.setenv("DOPANT_CACHE", str(tmp_path_factory.getbasetemp().parent / "dopant-cache"))
