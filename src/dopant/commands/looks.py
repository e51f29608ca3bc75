"""Commands that look and list: components, baselines, hosts, data sets, a study before it starts, one's component."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError, UnknownName
from .shared import Json, With, app, load_files, show_json, show_named, show_one, show_rows


@app.command()
def components(
    name: Annotated[str | None, typer.Argument(help="Only this one: its text, controls, paper and options.")] = None,
    fills: Annotated[str | None, typer.Option(help="Only those that fill this module class, such as Conv2d.")] = None,
    with_: With = None,
    as_json: Json = False,
) -> None:
    """List what can be swapped in, and the baselines; or tell of one component which options it takes."""
    from .. import listing

    load_files(with_)
    if name is not None and fills is not None:
        raise ConfigError(f"{name!r} and --fills {fills}: one component is told whole; leave one of the two out")
    if name is not None:
        show_one(listing.component(name), as_json, listing.component_lines)
        return
    show_rows(listing.component_rows(fills), as_json, ("name", "fills", "control", "doc"))
    if not as_json:
        print("options of one: dopant components NAME")
        if fills is None:
            print("\nbaselines, whole other models on the same task (study.baselines):")
            show_rows(listing.baseline_rows(), as_json, ("name", "doc"))


@app.command()
def baselines(
    name: Annotated[str | None, typer.Argument(help="Only this one: its text and options.")] = None,
    with_: With = None,
    as_json: Json = False,
) -> None:
    """List whole other models that a study can be compared with; or tell of one which options it takes."""
    from .. import listing

    load_files(with_)
    if name is not None:
        show_one(listing.baseline(name), as_json, listing.baseline_lines)
    else:
        show_rows(listing.baseline_rows(), as_json, ("name", "doc"))


@app.command()
def hosts(with_: With = None, as_json: Json = False) -> None:
    """List registered hosts."""
    from .. import registry

    show_named(registry.hosts, with_, as_json)


@app.command()
def datasets(with_: With = None, as_json: Json = False) -> None:
    """List registered data sets."""
    from .. import registry

    show_named(registry.datasets, with_, as_json)


@app.command()
def inspect(
    study: Annotated[Path | None, typer.Argument(help="Study file.")] = None,
    host: Annotated[str | None, typer.Option()] = None,
    data: Annotated[str | None, typer.Option()] = None,
    slot: Annotated[str | None, typer.Option(help="Only this slot, and why the others do not fit it.")] = None,
    why: Annotated[bool, typer.Option("--why", help="Say for each slot why the others do not fit.")] = False,
    forecast: Annotated[
        bool | None,
        typer.Option("--forecast/--no-forecast", help="Take a dry step of each cell and foretell the whole."),
    ] = None,
    dimension: Annotated[
        bool, typer.Option("--dimension", help="Measure each component's effective dimension; takes up to minutes.")
    ] = False,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Measure each circuit's gradients at random starts; takes seconds.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The study's folder, whose finished trials are left out.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes to foretell for (default: cores).")] = None,
    with_: With = None,
    as_json: Json = False,
) -> None:
    """Slots of a host, and which components fit them or why not; of a study also time, memory and disk.

    --json gives the list of slots; with --forecast, --dimension or --gradients {"slots", "cells", "forecast",
    "dimensions", "gradients"}. A dry step is taken where a study file is given and the output is for people, or with
    --forecast.
    """
    from ..designs import Factorial
    from ..study import look as looking
    from ..study.report.inspection import cell_lines, dimension_lines, forecast_lines, gradient_lines, slot_lines
    from ..study.request import study_of_request

    asked = study_of_request(study, host=host, data=data, swaps=[], sets=[], files=with_ or [], need_swaps=False)
    asked = looking.settled(asked)
    if forecast is None:
        forecast = slot is None and not as_json and not (host or data) and bool(asked.design.fillings())
    cells = looking.dry_steps(asked) if forecast else []  # first: what cannot fit is refused at once
    rows = looking.look(asked)
    directions = looking.dimensions(asked) if dimension else []
    if forecast and not dimension and not as_json:
        directions = looking.dimensions(asked, work=looking.UNASKED)
    slopes = looking.gradients(asked) if gradients else []
    if slot is not None:
        names = [n for row in rows for n in (row["slot"], *row["also"])]
        rows = [row for row in rows if slot in (row["slot"], *row["also"])]
        if not rows:
            raise UnknownName("slot", slot, names)
    whole = None
    if not as_json:
        for line in slot_lines(rows, reasons=why or slot is not None):
            print(line)
        for line in asked.design.aliases() if isinstance(asked.design, Factorial) else []:
            print(line)
    if forecast:
        whole = looking.forecast(asked, out=out, workers=workers, cells=cells)
    if as_json:
        if forecast or dimension or gradients:
            told = {"slots": rows, "cells": [c.to_json() for c in cells], "forecast": whole and whole.to_json()}
            measured = {"dimensions": directions, "gradients": slopes}
            show_json(told | {name: [row.to_json() for row in found] for name, found in measured.items()})
        else:
            show_json(rows)
        return
    for lines in (cell_lines(cells), dimension_lines(directions), gradient_lines(slopes), forecast_lines(whole)):
        for line in lines:
            print(line)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A Python file that registers components.")],
    name: Annotated[str | None, typer.Argument(help="Only this component.")] = None,
    host: Annotated[str | None, typer.Option(help="Try it in this host instead of the built-in probes.")] = None,
    data: Annotated[str | None, typer.Option(help="The data that the host is measured on.")] = None,
    slot: Annotated[str | None, typer.Option(help="The slot of that host; none: all that it says it fills.")] = None,
    as_json: Json = False,
) -> None:
    """Test one's own component against the laws that every component obeys; exit 4 if it breaks one."""
    from ..study.checking import check_file
    from ..study.checking import report as lines_of

    results = check_file(file, name, host=host, data=data, slot=slot)
    if as_json:
        show_json(
            {
                n: [{"law": r.law, "passed": r.passed, "message": r.message, "where": r.where} for r in found]
                for n, found in results.items()
            }
        )
    else:
        for line in lines_of(results):
            print(line)
    if any(not r.passed for found in results.values() for r in found):
        raise typer.Exit(4)
