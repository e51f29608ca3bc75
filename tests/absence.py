"""What to do where something that a test needs is not there."""

from __future__ import annotations

import os

import pytest


def absent(what: str) -> None:
    """Fail under CI, where everything must be there; skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI is set")
    pytest.skip(f"{what} is missing")
