"""The command line: `dopant`, also `python -m dopant`. The commands stand in `commands`, each a few lines over the
public names; here is how they begin and end.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

# Before torch is imported anywhere: one thread a process, and never let idle OpenMP threads spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from .commands import studies  # isort: skip  (help lists the commands in the order of these lines)
from .commands import papers  # isort: skip
from .commands import looks  # isort: skip
from .commands.papers import PUBLISHED_EPOCHS
from .commands.shared import app
from .errors import DopantError, DopantWarning

__all__ = ["PUBLISHED_EPOCHS", "app", "default_study", "looks", "main", "papers", "studies"]


def main() -> None:
    """Entry point. Exit codes: 0 done, 2 the request is wrong, 3 trials failed, 4 found wanting, 130 interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.showwarning = _warn
    try:
        code = app(standalone_mode=False)  # click returns the code of a typer.Exit here instead of raising it
    except DopantError as error:
        _stop(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        from click.exceptions import ClickException

        if not isinstance(error, ClickException):
            raise
        error.show()
        sys.exit(2)
    if code == 130:  # typer's word for an interrupt; older versions raise
        _stop("interrupted; the state is saved, the same command goes on", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _warn(message: Any, category: type, *where: Any, plain: Any = warnings.showwarning) -> None:
    """Our own warnings in words; anybody else's as Python shows them."""
    if issubclass(category, DopantWarning):
        print(_said(f"warning: {message}"), file=sys.stderr)
    else:
        plain(message, category, *where)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _stop(message: str, code: int) -> None:
    print(_said(message), file=sys.stderr)
    sys.exit(code)


def _said(message: str) -> str:
    """`dopant: …`, further lines indented below the first word, so that several problems read as one message."""
    return "dopant: " + "\n        ".join(message.splitlines())


def default_study() -> Path:
    """The embedded study of `dopant run`."""
    return Path(str(resources.files("dopant.study") / "default.toml"))
