"""What the package knows of a paper that it reproduces: one value, registered by the paper's own folder.

A further paper is a further folder with `published.toml`, `README.md` and an `__init__.py` that calls `register`; the
comparison, the recording, the page's tables and the command are general. Published curves are `[[series]]` of
published.toml (see `compare`), numbers published of the end of training `[[figure]]` (see `figures`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
class Part:
    """One study of a paper: what `dopant reproduce NAME --part PART` trains.

    study(data, quick) -> the cells as a dp.Study; it decides the recipe, the protocol and the usual replicates, and its
    name holds the part's. data: {name of our data set: the name that the published numbers use, None without them}.
    """

    study: Callable[[str, bool], Any]
    data: Mapping[str, str | None]
    doc: str = ""


@dataclass(frozen=True)
class Paper:
    """A published system: its studies, where its numbers are, and what to say about them.

    name: as in `dopant reproduce NAME`. folder: has published.toml, and measured.toml once something is recorded.
    data: {name of our data set: the name that the published numbers use, None without published numbers}.
    study(data, quick) -> the published cells as a study; it decides the recipe, the protocol and the usual replicates.
    counterparts: {cell: its published series}. remarks(data, measured) -> lines printed below the comparison.
    parts: {name: Part} of a paper that has several studies, the usual one first; `study` and `data` are then left out.
    limited: whether the published numbers themselves rest on a part of the data (`limit` in the study's data).
    page: the command that makes the page's tables again, where the paper has its own.
    """

    name: str
    title: str
    source: str
    folder: Path
    data: Mapping[str, str | None] = field(default_factory=dict)
    study: Callable[[str, bool], Any] | None = None
    counterparts: Mapping[str, Counterpart] = field(default_factory=dict)
    remarks: Callable[[str, Mapping[str, Any]], list[str]] = lambda data, measured: []
    page: str = ""
    limited: bool = False
    parts: Mapping[str, Part] = field(default_factory=dict)

    def part(self, name: str | None = None) -> tuple[str, Part]:
        """(name, part) of the part that is named, by default the first; a paper of one study has the part "".

        Raises UnknownName for another name.
        """
        if self.parts:
            known = dict(self.parts)
        else:
            assert self.study is not None
            known = {"": Part(self.study, self.data)}
        if name is not None and name not in known:
            raise UnknownName(f"part of the paper {self.name!r}", name, [n for n in known if n] or ["(it has none)"])
        chosen = next(iter(known)) if name is None else name
        return chosen, known[chosen]

    def published_data(self) -> list[str]:
        """Our data sets for which something was published, in any part."""
        every = [part.data for part in self.parts.values()] or [self.data]
        return list(dict.fromkeys(ours for data in every for ours, theirs in data.items() if theirs))

    @property
    def published_file(self) -> Path:
        return self.folder / "published.toml"

    @property
    def measured_file(self) -> Path:
        return self.folder / "measured.toml"

    def check_data(self, data: str | None, part: str | None = None) -> str:
        """The data set's name, by default the part's first; UnknownName where the part is not made for it."""
        known = self.part(part)[1].data
        if data is not None and data not in known:
            raise UnknownName(f"data set of the paper {self.name!r}" + (f", {part}" if part else ""), data, known)
        return next(iter(known)) if data is None else data


def register(paper: Paper) -> Paper:
    """Register a paper under its name. ConfigError where published.toml is missing."""
    if not paper.published_file.is_file():
        raise ConfigError(f"paper {paper.name!r}: there is no {paper.published_file.name} in its folder")
    return papers.add(paper.name, paper, paper.folder.name)
