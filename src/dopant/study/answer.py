"""What every answer has: tables, verdicts in words, a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, StoreError

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

    def report(self, path: str | Path | None = None) -> Path:
        """Write the page; returns its path. Without a path: report.html in the study's folder, or in this one."""
        from .report import page

        if path is not None and Path(path).suffix not in (".html", ".htm"):
            raise ConfigError(f"report: {str(path)!r} does not end in .html; the report is a page")
        target = Path(path) if path else (self.folder or Path()) / "report.html"
        write_text(target, page(self))
        return target

    def model(self, trial_id: str, host: Any = None) -> Any:
        """The trained network of a trial; StoreError where none was kept."""
        raise StoreError(f"no network of trial {trial_id!r} was kept: these results came as a table")


def write_text(path: Path, text: str) -> None:
    """Write whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {str(path)!r}: {error.strerror}; finished trials are intact") from error
