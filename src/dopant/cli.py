"""The command line: each command is a few lines over the public names."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

# Before torch is imported anywhere: one thread a process, and never let idle OpenMP threads spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from .errors import ConfigError, DopantError, DopantWarning, UnknownName

app = typer.Typer(
    name="dopant",
    help="Swap the components of a neural network one at a time and measure honestly what each swap did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Stable machine-readable output.")]
PUBLISHED_EPOCHS = (
    "Passes over the training data, of every cell (default: the paper's usual; quantum-creep: 50, at which its torch "
    "version was published; its Equinox version was published at 100)."
)
With = Annotated[list[Path] | None, typer.Option("--with", help="Python file that registers components, hosts, …")]


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
        print(f"dopant: warning: {message}", file=sys.stderr)
    else:
        plain(message, category, *where)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _stop(message: str, code: int) -> None:
    print(f"dopant: {message}", file=sys.stderr)
    sys.exit(code)


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


# --- run ------------------------------------------------------------------------------------------------------------


@app.command()
def run(
    study: Annotated[Path | None, typer.Argument(help="Study file; none: the embedded default study.")] = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder (default runs/NAME).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, a TOML value; repeatable.")] = None,
    host: Annotated[str | None, typer.Option(help="Host: a registered name, timm:NAME or module:callable.")] = None,
    data: Annotated[str | None, typer.Option(help="Data set.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="What the host starts from: safetensors, torch weights.")
    ] = None,
    swap: Annotated[list[str] | None, typer.Option(help="slot=component[:option=value,…]; repeatable.")] = None,
    replicates: Annotated[int | None, typer.Option(help="Independent paired repetitions.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training data.")] = None,
    with_: With = None,
    controls: Annotated[bool | None, typer.Option("--controls/--no-controls", help="Train controls too.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes (default: cores).")] = None,
    engine: Annotated[str, typer.Option(help="Where workers run: local.")] = "local",
    quick: Annotated[bool, typer.Option(help="A smoke run: 2 replicates, 2 epochs, no tuning.")] = False,
    fork: Annotated[str | None, typer.Option(help="Go on under another name, keeping what stays the same.")] = None,
) -> None:
    """Run a study, resume it, or let it grow: the same command each time."""
    from .study.report.terminal import LiveProgress, table
    from .study.request import study_of_request
    from .study.run import run as run_study

    asked = study_of_request(
        study, host=host, data=data, swaps=swap or [], sets=set_ or [], replicates=replicates, epochs=epochs,
        controls=controls, quick=quick, files=with_ or [],
    )  # fmt: skip
    console = _console()
    progress = LiveProgress(asked.name or "study")

    def announce(answer: Any, count: int) -> None:
        counts = answer.counts
        progress.name = answer.name
        left = counts["pending"] + counts["running"]
        console.print(f"[bold]{answer.question}[/bold]")
        if left:
            console.print(
                f"{counts['planned']} trials planned, {counts['done']} done, {left} to run by {count} workers; "
                f"results in {answer.folder}"
            )
        else:
            console.print(f"nothing to do: all {counts['planned']} trials of {answer.folder} are finished")

    with progress:
        answer = run_study(
            asked, out=out, workers=workers, engine=engine, with_files=with_ or [], fork=fork, checkpoint=checkpoint,
            command=["dopant", *sys.argv[1:]], progress=progress, before_start=announce,
        )  # fmt: skip
    console.print(table(answer))
    if answer.counts["failed"]:
        raise typer.Exit(3)


# --- answers --------------------------------------------------------------------------------------------------------


@app.command()
def analyse(
    table: Annotated[Path, typer.Argument(help="CSV with the columns arm, replicate, METRIC[, item].")],
    reference: Annotated[str, typer.Option(help="The arm that the others are compared with.")],
    metric: Annotated[str, typer.Option(help="The column that is scored.")],
    controls: Annotated[str, typer.Option(help="Arms that are controls, separated by commas.")] = "",
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better")] = False,
    margin: Annotated[float | None, typer.Option(help="Smallest difference that matters.")] = None,
    failure_value: Annotated[float | None, typer.Option(help="The score of a trial whose METRIC is empty.")] = None,
    race: Annotated[
        bool, typer.Option("--race", help="The arms are entries of which the best is to be found.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the page here, such as answer.html.")] = None,
    as_json: Json = False,
) -> None:
    """The verdict engine on results from anywhere."""
    from .study.analysis import analyse as analyse_table

    names = [c.strip() for c in controls.split(",") if c.strip()]
    answer = analyse_table(
        table, reference=reference, controls=names, metric=metric, higher_is_better=not lower_is_better, margin=margin,
        failure_value=failure_value, race=race,
    )  # fmt: skip
    page = answer.report(out) if out else None
    if as_json:
        effects = json.loads(answer.effects.to_json(orient="records") or "[]")
        _json({"effects": effects, "verdicts": answer.verdicts, "notes": answer.notes})
        return
    from .study.report.terminal import table as render

    _console().print(render(answer))
    for note in answer.notes:
        print(f"note: {note}")
    if page is not None:
        print(f"report: {page}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    format_: Annotated[str, typer.Option("--format", help="html or csv.")] = "html",
) -> None:
    """Write the page, or the tables, of a study again."""
    from .study.results import load

    answer = load(folder)
    if format_ == "html":
        print(answer.report())
    elif format_ == "csv":
        answer.write_tables()
        print(answer.folder / "effects.csv")
        print(answer.folder / "trials.csv")
    else:
        raise ConfigError(f"--format: {format_!r} is not known; there is 'html' and 'csv'")


@app.command()
def doctor(folder: Annotated[Path, typer.Argument(help="A study's folder.")]) -> None:
    """Check a study's folder, rebuild its index from the trial folders; exit 4 if something is damaged."""
    from .study.doctor import repair
    from .study.store import Store

    for word in repair(folder):
        print(word)
    with Store.open(folder) as store:
        problems, counts = store.problems(), store.counts()
    print("; ".join(f"{state} {count}" for state, count in counts.items()))
    for problem in problems:
        print(problem)
    if problems:
        raise typer.Exit(4)
    print("nothing is damaged")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    qasm: Annotated[bool, typer.Option("--qasm", help="Trained circuits as OpenQASM 3, one file each.")] = False,
    trial: Annotated[str | None, typer.Option(help="Only this trial (default: every finished one).")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to (default: qasm in the study's folder).")] = None,
    with_: With = None,
) -> None:
    """Write what other tools read: the trained circuits of a study's models."""
    from .errors import ConfigError
    from .study.export import export_qasm
    from .study.results import load

    if not qasm:
        raise ConfigError("export: say as what; there is --qasm")
    _load(with_)
    for path in export_qasm(load(folder), trial, out):
        print(path)


# --- papers ---------------------------------------------------------------------------------------------------------


@app.command()
def reproduce(
    paper: Annotated[str, typer.Argument(help="A paper; `dopant papers` lists them.")],
    data: Annotated[str | None, typer.Option(help="One of the paper's data sets (default: its first).")] = None,
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

    from .papers import terminal
    from .papers.reproduce import reproduce as run_paper
    from .study.report.terminal import LiveProgress

    console = Console(highlight=False, stderr=as_json)
    progress = LiveProgress(paper, console)

    def announce(answer: Any, count: int) -> None:
        progress.name = answer.name
        console.print(terminal.announcement(answer, count, quick), markup=False, soft_wrap=True)

    with progress:
        found = run_paper(
            paper, data=data, epochs=epochs, replicates=replicates, workers=workers, quick=quick, record=record,
            out=out, command=["dopant", *sys.argv[1:]], progress=progress,
            before_start=announce,
        )  # fmt: skip
    if as_json:
        _json(found.to_json())
    else:
        console.print(terminal.table(found))
    if found.failed:
        raise typer.Exit(3)


@app.command()
def papers(as_json: Json = False) -> None:
    """List reproduced papers."""
    from . import listing

    rows = listing.paper_rows()
    shown = rows if as_json else [row | {"epochs": listing.epochs_text(row)} for row in rows]
    _list(shown, as_json, ("name", "doc", "source", "epochs"))


# --- lists and looks ------------------------------------------------------------------------------------------------


@app.command()
def components(
    name: Annotated[str | None, typer.Argument(help="Only this one: its text, controls, paper and options.")] = None,
    fills: Annotated[str | None, typer.Option(help="Only those that fill this module class, such as Conv2d.")] = None,
    with_: With = None,
    as_json: Json = False,
) -> None:
    """List what can be swapped in, and the baselines; or tell of one component which options it takes."""
    from . import listing

    _load(with_)
    if name is not None and fills is not None:
        raise ConfigError(f"{name!r} and --fills {fills}: one component is told whole; leave one of the two out")
    if name is not None:
        _one(listing.component(name), as_json, listing.component_lines)
        return
    _list(listing.component_rows(fills), as_json, ("name", "fills", "control", "doc"))
    if not as_json:
        print("options of one: dopant components NAME")
        if fills is None:
            print("\nbaselines, whole other models on the same task (study.baselines):")
            _list(listing.baseline_rows(), as_json, ("name", "doc"))


@app.command()
def baselines(
    name: Annotated[str | None, typer.Argument(help="Only this one: its text and options.")] = None,
    with_: With = None,
    as_json: Json = False,
) -> None:
    """List whole other models that a study can be compared with; or tell of one which options it takes."""
    from . import listing

    _load(with_)
    if name is not None:
        _one(listing.baseline(name), as_json, listing.baseline_lines)
    else:
        _list(listing.baseline_rows(), as_json, ("name", "doc"))


@app.command()
def hosts(with_: With = None, as_json: Json = False) -> None:
    """List registered hosts."""
    from . import registry

    _named(registry.hosts, with_, as_json)


@app.command()
def datasets(with_: With = None, as_json: Json = False) -> None:
    """List registered data sets."""
    from . import registry

    _named(registry.datasets, with_, as_json)


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
    from .study import look as looking
    from .study.report.inspection import cell_lines, dimension_lines, forecast_lines, gradient_lines, slot_lines
    from .study.request import study_of_request

    asked = study_of_request(study, host=host, data=data, swaps=[], sets=[], files=with_ or [], need_swaps=False)
    if forecast is None:
        forecast = slot is None and not as_json and not (host or data) and bool(asked.design.fillings())
    cells = looking.dry_steps(asked) if forecast else []  # first: what cannot fit is refused at once
    rows = looking.look(asked)
    directions = looking.dimensions(asked) if dimension else []
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
    if forecast:
        whole = looking.forecast(asked, out=out, workers=workers, cells=cells)
    if as_json:
        if forecast or dimension or gradients:
            told = {"slots": rows, "cells": [c.to_json() for c in cells], "forecast": whole and whole.to_json()}
            measured = {"dimensions": directions, "gradients": slopes}
            _json(told | {name: [row.to_json() for row in found] for name, found in measured.items()})
        else:
            _json(rows)
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
    from .study.checking import check_file
    from .study.checking import report as lines_of

    results = check_file(file, name, host=host, data=data, slot=slot)
    if as_json:
        _json(
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


def _load(files: list[Path] | None) -> None:
    from . import registry

    for file in files or []:
        registry.load_file(file)


def _named(registry: Any, files: list[Path] | None, as_json: bool) -> None:
    from .listing import named_rows

    _load(files)
    _list(named_rows(registry), as_json, ("name", "doc"))


def _one(found: dict[str, Any], as_json: bool, lines: Callable[[dict[str, Any]], Iterable[str]]) -> None:
    if as_json:
        _json(found)
        return
    for line in lines(found):
        print(line)


def _list(rows: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    if as_json:
        _json(rows)
        return
    if not rows:
        print("none yet")
        return
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[c]) for c in columns))
    _console().print(table)


def _json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))


def default_study() -> Path:
    """The embedded study of `dopant run`."""
    return Path(str(resources.files("dopant.study") / "default.toml"))
