"""Commands run in this process: a tenth of the time that a process of their own takes."""

from __future__ import annotations

import warnings


def command(*arguments: str):
    """The result of `dopant ARGUMENTS`: .exit_code, .output; .exception where it raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # typer's import of click
        from typer.testing import CliRunner

        from dopant.cli import app
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(arguments))
