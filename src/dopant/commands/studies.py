"""Commands on studies: run them, and what is done with a folder of results (analyse, report, doctor, export).

A command on a study's folder belongs here, after `export`: help lists them in this order.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .shared import Json, With, app, load_files, plain_console, show_json


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
    engine: Annotated[str, typer.Option(help="Where workers run: local, or ray.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto, ray://HOST:PORT or HOST:PORT (none: this machine).")
    ] = None,
    quick: Annotated[bool, typer.Option(help="A smoke run: 2 replicates, 2 epochs, no tuning.")] = False,
    fork: Annotated[str | None, typer.Option(help="Go on under another name, keeping what stays the same.")] = None,
) -> None:
    """Run a study, resume it, or let it grow: the same command each time."""
    from ..study import look as looking
    from ..study.report.terminal import LiveProgress, table
    from ..study.request import study_of_request
    from ..study.run import run as run_study
    from ..study.tuned import for_tuning

    asked = study_of_request(
        study, host=host, data=data, swaps=swap or [], sets=set_ or [], replicates=replicates, epochs=epochs,
        controls=controls, quick=quick, files=with_ or [],
    )  # fmt: skip
    console = plain_console()
    progress = LiveProgress(asked.name or "study")

    def announce(answer: Any, count: int) -> None:
        counts = answer.counts
        progress.name = answer.name
        left = counts["pending"] + counts["running"]
        console.print(f"[bold]{answer.question}[/bold]")
        if left:
            console.print(
                f"{counts['planned']} trials planned{for_tuning(answer)}, {counts['done']} done, {left} to run by "
                f"{count} workers; results in {answer.folder}"
            )
            for line in looking.announced(answer, left, count):
                console.print(line)
        else:
            console.print(f"nothing to do: all {counts['planned']} trials of {answer.folder} are finished")

    with progress:
        answer = run_study(
            asked, out=out, workers=workers, engine=engine, address=address, with_files=with_ or [], fork=fork,
            checkpoint=checkpoint, command=["dopant", *sys.argv[1:]], progress=progress, before_start=announce,
        )  # fmt: skip
    console.print(table(answer))
    for note in answer.notes:
        print(f"note: {note}")
    if answer.counts["failed"]:
        raise typer.Exit(3)


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
    out: Annotated[Path | None, typer.Option(help="Write the answer here: answer.html, .md, .tex, .csv, .png.")] = None,
    as_json: Json = False,
) -> None:
    """The verdict engine on results from anywhere."""
    from ..study.analysis import analyse as analyse_table

    names = [c.strip() for c in controls.split(",") if c.strip()]
    answer = analyse_table(
        table, reference=reference, controls=names, metric=metric, higher_is_better=not lower_is_better, margin=margin,
        failure_value=failure_value, race=race,
    )  # fmt: skip
    page = answer.report(out) if out else None
    if as_json:
        effects = json.loads(answer.effects.to_json(orient="records") or "[]")
        show_json({"effects": effects, "verdicts": answer.verdicts, "notes": answer.notes})
        return
    from ..study.report.terminal import table as render

    plain_console().print(render(answer))
    for note in answer.notes:
        print(f"note: {note}")
    if page is not None:
        print(f"report: {page}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    format_: Annotated[str, typer.Option("--format", help="html, md, csv, png, svg, pdf or latex.")] = "html",
) -> None:
    """Write the page of a study again, or its tables, its figures, a Markdown or a LaTeX file."""
    from ..study.report import formats
    from ..study.results import load

    kind = formats.chosen(None, format_)
    for path in formats.write(load(folder), kind, folder):
        print(path)


@app.command()
def doctor(folder: Annotated[Path, typer.Argument(help="A study's folder.")]) -> None:
    """Check a study's folder, rebuild its index from the trial folders; exit 4 if something is damaged."""
    from ..study.doctor import repair
    from ..study.store import Store

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
    from ..study.export import export_qasm
    from ..study.results import load

    if not qasm:
        raise ConfigError("export: say as what; there is --qasm")
    load_files(with_)
    for path in export_qasm(load(folder), trial, out):
        print(path)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A study's folder.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    out: Annotated[Path | None, typer.Option(help="Write the comparison as a page here, such as compare.html.")] = None,
    as_json: Json = False,
) -> None:
    """Two studies side by side: what differs, the effects that both have, whether one reproduces the other."""
    from ..study.compare import compare as compare_studies
    from ..study.report import compared

    found = compare_studies(a, b)
    page = found.report(out) if out else None
    if as_json:
        show_json(found.to_json())
        return
    plain_console().print(compared.terminal(found))
    if page is not None:
        print(f"page: {page}")


@app.command()
def choose(
    folder: Annotated[Path, typer.Argument(help="The folder of a study over one or several slots.")],
    max_parameters: Annotated[float | None, typer.Option(help="Parameters of a network, at most.")] = None,
    max_qubits: Annotated[float | None, typer.Option(help="Qubits of its largest circuit, at most.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Seconds of training one trial, at most.")] = None,
    top: Annotated[int, typer.Option(help="How many of the best predicted are trained.")] = 3,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Train those that are not yet.")] = True,
    out: Annotated[Path | None, typer.Option(help="Folder of the further study (default NAME-choice).")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes (default: cores).")] = None,
    with_: With = None,
    as_json: Json = False,
) -> None:
    """The best network under a budget: predict all combinations, train a few, choose by validation."""
    from ..search import words
    from ..search.choose import choose as choose_network

    choice = choose_network(
        folder, max_parameters=max_parameters, max_qubits=max_qubits, max_seconds=max_seconds, top=top, train=train,
        out=out, workers=workers, with_files=with_ or [], command=["dopant", *sys.argv[1:]],
        progress=None if as_json else "auto",
    )  # fmt: skip
    if as_json:
        show_json(choice.to_json())
    else:
        plain_console().print(words.lines(choice.table))
        for line in (*choice.sentences, *(f"note: {note}" for note in choice.notes)):
            print(line)
    if choice.answer is not None and choice.answer.counts["failed"]:
        raise typer.Exit(3)
