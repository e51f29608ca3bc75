"""What the commands share: the application, options that several take, how answers are shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="dopant",
    help="Swap the components of a neural network one at a time and measure honestly what each swap did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Stable machine-readable output.")]
With = Annotated[list[Path] | None, typer.Option("--with", help="Python file that registers components, hosts, …")]


def plain_console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def load_files(files: list[Path] | None) -> None:
    from .. import registry

    for file in files or []:
        registry.load_file(file)


def show_named(registry: Any, files: list[Path] | None, as_json: bool) -> None:
    from ..listing import named_rows

    load_files(files)
    show_rows(named_rows(registry), as_json, ("name", "doc"))


def show_one(found: dict[str, Any], as_json: bool, lines: Callable[[dict[str, Any]], Iterable[str]]) -> None:
    if as_json:
        show_json(found)
        return
    for line in lines(found):
        print(line)


def show_rows(rows: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...]) -> None:
    if as_json:
        show_json(rows)
        return
    if not rows:
        print("none yet")
        return
    from rich.table import Table

    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[c]) for c in columns))
    plain_console().print(table)


def show_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))
