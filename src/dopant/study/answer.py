"""What every answer has: tables, verdicts in words, a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

    from .. import designs


class Answer:
    """What a study, or a table of results from anywhere, says.

    trials: one row per reported trial. metrics: one row per trial and epoch (empty where none were kept). effects: one
    row per contrast, see `dopant.study.verdicts`. verdicts: one sentence a swap. notes: what a reader must know beside
    the numbers. complete_cases: `effects` without the pairs of failed trials, where there are some. decided: how it was
    analysed, in words. counts: planned, pending, running, done, failed. costs: one row per cell.
    """

    name: str
    folder: Path | None = None
    question: str
    trials: pd.DataFrame
    metrics: pd.DataFrame
    effects: pd.DataFrame
    costs: pd.DataFrame
    verdicts: list[str]
    notes: list[str]
    counts: dict[str, int]
    cells: list[designs.Cell]
    study: dict[str, Any]
    provenance: dict[str, Any]

    def __repr__(self) -> str:
        counts = ", ".join(f"{key} {self.counts[key]}" for key in ("planned", "done", "failed"))
        lines = [f"<{type(self).__name__} {self.name!r}: {counts}>", *self.verdicts]
        lines += [f"failed: {line}" for line in getattr(self, "failures", [])[:3]]
        return "\n".join(lines)

    def report(self, path: str | Path | None = None, format: str | None = None) -> Path:
        """Write the answer as a file; returns its path. Without a path: into the study's folder, or into this one.

        format: html (the page), md, csv (of a path: the effects alone), latex, png, svg or pdf (of a path: the first
        figure). None: as the path ends, else html. UnknownName for another, ConfigError where path and format differ.
        """
        from .report import formats

        kind = formats.chosen(path, format)
        if path is None:
            return formats.write(self, kind, self.folder or Path())[0]
        return formats.write_one(self, kind, Path(path))

    def write_tables(self, folder: Path | None = None) -> list[Path]:
        """effects.csv and trials.csv, into a folder (default: the study's, or this one); their paths."""
        return [write_table(folder or self.folder or Path(), *named) for named in self._tables().items()]

    def _tables(self) -> dict[str, pd.DataFrame]:
        effects = self.effects.copy()
        effects["controls"] = effects["controls"].map(lambda names: "; ".join(names))
        return {"effects": effects, "trials": self.trials}

    def model(self, trial_id: str, host: Any = None) -> Any:
        """The trained network of a trial; StoreError where none was kept."""
        raise StoreError(f"no network of trial {trial_id!r} was kept: these results came as a table")


def write_table(folder: Path, name: str, table: pd.DataFrame) -> Path:
    path = folder / f"{name}.csv"
    write_text(path, table.to_csv(index=False))
    return path


def write_text(path: Path, text: str) -> None:
    """Write whole or not at all."""
    write_bytes(path, text.encode("utf-8", "replace"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {error.strerror}; finished trials are intact") from error
