"""What the package knows of a paper that it reproduces: one value, registered by the paper's own folder.

A further paper is a further folder with `published.toml`, `README.md` and an `__init__.py` that calls `register`; the
comparison, the recording and the command are general.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, UnknownName
from ..registry import papers


@dataclass(frozen=True)
class Counterpart:
    """The published series of a cell. same_recipe: whether it was published of this very cell; if not, nothing was, and
    the series is only named in a remark beside it."""

    variant: str
    level: int
    same_recipe: bool = True


@dataclass(frozen=True)
class Paper:
    """A published system: its study, where its numbers are, and what to say about them.

    name: as in `dopant reproduce NAME`. folder: has published.toml, and measured.toml once something is recorded.
    data: {name of our data set: the name that the published numbers use, None without published numbers}.
    study(data, quick) -> the published cells as a study; it decides the recipe, the protocol and the usual replicates.
    counterparts: {cell: its published series}. remarks(data, measured) -> lines printed below the comparison.
    after_recording: called when a row was added, such as to say how the page is made again.
    """

    name: str
    title: str
    source: str
    folder: Path
    data: Mapping[str, str | None]
    study: Callable[[str, bool], Any]
    counterparts: Mapping[str, Counterpart]
    remarks: Callable[[str, Mapping[str, Any]], list[str]] = lambda data, measured: []
    page: str = ""

    @property
    def published_file(self) -> Path:
        return self.folder / "published.toml"

    @property
    def measured_file(self) -> Path:
        return self.folder / "measured.toml"

    def check_data(self, data: str) -> str:
        """The data set's name; UnknownName with suggestions where the paper has no figures for it."""
        if data not in self.data:
            raise UnknownName(f"data set of the paper {self.name!r}", data, self.data)
        return data


def register(paper: Paper) -> Paper:
    """Register a paper under its name. ConfigError where published.toml is missing."""
    if not paper.published_file.is_file():
        raise ConfigError(f"paper {paper.name!r}: there is no {paper.published_file.name} in its folder")
    return papers.add(paper.name, paper, paper.folder.name)
