"""The forms in which an answer can be had as files, and which one a name or a path asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import ConfigError, StoreError, UnknownName
from ..answer import write_bytes, write_table, write_text
from . import figures, latex, markdown

FIGURES = "figures"  # the folder of pictures, beside the page
SUFFIXES = {
    ".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".csv": "csv", ".tex": "latex", ".png": "png",
    ".svg": "svg", ".pdf": "pdf",
}  # fmt: skip
PICTURES = ("png", "svg", "pdf")


def _html(answer: Any, folder: Path) -> list[Path]:
    from . import page

    return [_text(folder / "report.html", page(answer))]


def _markdown(answer: Any, folder: Path) -> list[Path]:
    return [_text(folder / "report.md", markdown.document(answer))]


def _csv(answer: Any, folder: Path) -> list[Path]:
    """The tables that a run leaves, and the two that it does not: every epoch of every trial, and costs."""
    more = (("metrics", answer.metrics), ("costs", answer.costs))
    return answer.write_tables(folder) + [write_table(folder, name, table) for name, table in more if len(table)]


def _latex(answer: Any, folder: Path) -> list[Path]:
    """The fragment, and the figures that it includes."""
    drawn = figures.pictures(answer)
    made = figures.write(drawn, _made(folder / FIGURES), "pdf") if drawn else []
    shown = [(f"{FIGURES}/{path.name}", p.caption) for path, p in zip(made, drawn, strict=True)]
    return [_text(folder / "report.tex", latex.fragment(answer, shown)), *made]


def _pictures(kind: str) -> Callable[[Any, Path], list[Path]]:
    def write_all(answer: Any, folder: Path) -> list[Path]:
        drawn = figures.pictures(answer)
        if not drawn:
            raise StoreError(_NOTHING)
        return figures.write(drawn, _made(folder / FIGURES), kind)

    return write_all


_NOTHING = "there is nothing to draw yet: no effect has both its arms finished, and no epoch was logged"
FORMATS: dict[str, Callable[[Any, Path], list[Path]]] = {
    "html": _html, "md": _markdown, "csv": _csv, "latex": _latex, **{kind: _pictures(kind) for kind in PICTURES},
}  # fmt: skip


def chosen(path: str | Path | None, format: str | None) -> str:
    """The format that a path and a name ask for. UnknownName for a name, ConfigError for a path that has none."""
    if format is not None and format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    if path is None:
        return format or "html"
    ends = SUFFIXES.get(Path(path).suffix.lower())
    if ends is None and format is None:
        raise ConfigError(f"report: {str(path)!r} ends in none of {', '.join(SUFFIXES)}; or say format=")
    if ends is not None and format is not None and ends != format:
        raise ConfigError(f"report: {str(path)!r} is the name of {ends}, and format={format!r} was asked for")
    return format or str(ends)


def write(answer: Any, kind: str, folder: Path) -> list[Path]:
    """Writes a format into a folder, under its usual names; the paths, the main one first."""
    return FORMATS[kind](answer, Path(folder))


def write_one(answer: Any, kind: str, path: Path) -> Path:
    """Writes one file: of csv the effects, of pictures the first one; LaTeX includes no figures then."""
    if kind == "html":
        from . import page

        return _text(path, page(answer))
    if kind == "md":
        return _text(path, markdown.document(answer))
    if kind == "latex":
        return _text(path, latex.fragment(answer, []))
    if kind == "csv":
        return _text(path, answer._tables()["effects"].to_csv(index=False))
    found = figures.pictures(answer)
    if not found:
        raise StoreError(_NOTHING)
    write_bytes(path, figures.rendered(found[0], kind))
    return path


def _text(path: Path, text: str) -> Path:
    write_text(path, text)
    return path


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {str(folder)!r}: {error.strerror}; finished trials are intact") from error
    return folder
