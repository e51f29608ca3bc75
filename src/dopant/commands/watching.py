"""The command that looks at a study while others work on it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError, StoreError
from .shared import Json, app, plain_console, show_json

PATIENCE = 10  # looks in a row that may fail: an index may be in the making, or copied while it is written


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="A study's folder; it may be just in the making.")],
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.")] = 2.0,
    as_json: Json = False,
) -> None:
    """See a study run: who works on what, how long it will take, the effects so far. Writes nothing; stops nothing."""
    from ..study.report import live
    from ..study.watch import Watcher

    if not 0.1 <= interval <= 86_400:
        raise ConfigError(f"--interval: {interval:g} is not between 0.1 and 86400 seconds")
    if as_json and not once:
        raise ConfigError("--json: one look is one JSON value; add --once")
    watcher, console = Watcher(folder), plain_console()
    if once:
        look = watcher.look()
        if look.state == "finished":
            watcher.leave()
        if as_json:
            show_json(look.to_json())
        elif console.is_terminal:
            console.print(live.picture(look, 10_000, console.width))
        else:
            print("\n".join(live.lines(look)))
        return
    try:
        _follow(watcher, console, interval)
    except KeyboardInterrupt:  # ends the watching; what was watched goes on
        return


def _follow(watcher: Any, console: Any, interval: float) -> None:
    """Look until the study is finished: a display in a terminal, plain lines elsewhere."""
    from rich.live import Live

    from ..study.report import live

    failures = 0
    display = Live(console=console, auto_refresh=False) if console.is_terminal else None
    if display is not None:
        display.start()
    try:
        while True:
            try:
                look, failures = watcher.look(), 0
            except StoreError:
                failures += 1
                if failures >= PATIENCE:
                    raise
                time.sleep(min(interval, 1.0))
                continue
            if display is not None:
                display.update(live.picture(look, console.height, console.width), refresh=True)
            else:
                print("\n".join(live.lines(look)), flush=True)
            if look.state == "finished":
                watcher.leave()
                return
            time.sleep(interval)
    finally:
        if display is not None:
            display.stop()
