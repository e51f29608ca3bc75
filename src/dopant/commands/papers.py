"""Commands on papers: reproduce one, list them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .shared import Json, app, show_json, show_rows

PUBLISHED_EPOCHS = (
    "Passes over the training data, of every cell (default: the paper's usual; quantum-creep: 50, at which its torch "
    "version was published; its Equinox version was published at 100)."
)


@app.command()
def reproduce(
    paper: Annotated[str, typer.Argument(help="A paper; `dopant papers` lists them.")],
    data: Annotated[str | None, typer.Option(help="One of the paper's data sets (default: its first).")] = None,
    part: Annotated[
        str | None, typer.Option(help="One of its studies, where it has several (default: its first).")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help=PUBLISHED_EPOCHS)] = None,
    replicates: Annotated[int | None, typer.Option(help="Independent repetitions (default: as published).")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes (default: cores).")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A smoke run on few images; nothing to conclude from.")
    ] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Add a row per finished cell to the paper's measured.toml (checkouts only)."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The study's folder (default runs/PAPER-DATA).")] = None,
    as_json: Json = False,
) -> None:
    """Train a paper's published cells and print published beside measured; the same command goes on, or grows.

    Exit 0 whatever the difference, 3 if trials failed.
    """
    from rich.console import Console

    from ..papers import terminal
    from ..papers.reproduce import reproduce as run_paper
    from ..study.report.terminal import LiveProgress

    console = Console(highlight=False, stderr=as_json)
    progress = LiveProgress(paper, console)

    def announce(answer: Any, count: int) -> None:
        progress.name = answer.name
        console.print(terminal.announcement(answer, count, quick), markup=False, soft_wrap=True)

    with progress:
        found = run_paper(
            paper, data=data, part=part, epochs=epochs, replicates=replicates, workers=workers, quick=quick,
            record=record, out=out, command=["dopant", *sys.argv[1:]], progress=progress,
            before_start=announce,
        )  # fmt: skip
    if as_json:
        show_json(found.to_json())
    else:
        console.print(terminal.table(found))
    if found.failed:
        raise typer.Exit(3)


@app.command()
def papers(as_json: Json = False) -> None:
    """List reproduced papers."""
    from .. import listing

    rows = listing.paper_rows()
    shown = rows if as_json else [row | {"epochs": listing.epochs_text(row)} for row in rows]
    show_rows(shown, as_json, ("name", "doc", "source", "epochs"))
