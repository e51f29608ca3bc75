"""The command line in this process."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Callable

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # importing typer says that click has moved a name
    from dopant import cli


@pytest.fixture
def dopant(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """dopant(argument, …) -> (exit code, stdout, stderr) of the command line in this process."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dopant", *arguments])
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as left:
                cli.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        return int(left.value.code or 0), *capsys.readouterr()

    return call
