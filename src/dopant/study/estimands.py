"""Both estimands of one study: drop-in (the study's recipe in every arm) and best against best (each arm tuned).

Each has its own contrasts, between its own cells, and its own Holm families; one of them is the primary one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..designs import Cell, Contrast
from . import tuning
from .search import BEST, SUFFIX
from .tuned import edge_words, edges_told

if TYPE_CHECKING:
    import pandas as pd

    from .config import Study
    from .results import StudyAnswer


def effects(answer: StudyAnswer, table: Any, engine: Callable[..., Any], settings: Mapping[str, Any]) -> pd.DataFrame:
    """The table of effects by `engine` (`verdicts.effects`): of one estimand as it is, of both one after the other, the
    primary one first, with a column `primary`. Sentences say which estimand they are of, and of tuned arms what lies on
    the edge of the search."""
    import pandas as pd

    study = answer.config
    tuned = {cell.name: tuned_cell(study, cell) for cell in answer.cells}
    edges = _edges(answer)
    if not tuning.both(study):
        whole = engine(table, answer.contrasts, tuned=tuned, **settings)
        return _told(whole, answer.contrasts, edges, "")
    assert study.tuning is not None
    frames = []
    first, second = study.tuning.reported()
    for estimand in (first, second):
        chosen = contrasts_of(study, answer.contrasts, answer.cells, estimand)
        frame = engine(table, chosen, tuned=tuned, estimand=estimand, **settings)
        words = (
            f"This is the {estimand} effect, the primary estimand of the study"
            if estimand == first
            else f"This is the {estimand} effect; the primary estimand of the study is {first}"
        )
        frame = _told(frame, chosen, edges, words)
        frames.append(frame.assign(primary=estimand == first))
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def tuned_cell(study: Study, cell: Cell) -> bool:
    """Whether the cell chose its settings by validation: by `[tuning]`, or a baseline by itself, as far as none was
    given."""
    by_itself = cell.baseline is not None and set(cell.baseline) == {"name"}
    return by_itself or bool(tuning.space_of(study, cell))


def contrasts_of(study: Study, contrasts: Sequence[Contrast], cells: Sequence[Cell], estimand: str) -> list[Contrast]:
    """Best against best: those between tuned arms. Drop-in: all, with every tuned network's cell under the study's
    recipe in its place."""
    if estimand == BEST:
        tuned = {cell.name for cell in cells if tuned_cell(study, cell)}
        return [c for c in contrasts if arms_of(c) <= tuned]
    names = {cell.name for cell in cells if cell.drop_in}
    return [_dropped_in(contrast, names) for contrast in contrasts]


def arms_of(contrast: Contrast) -> set[str]:
    """The cells that a contrast compares, its controls left out."""
    one = [cell for cell, _ in contrast.plus] or [contrast.cell]
    return {*one, *([cell for cell, _ in contrast.minus] or [contrast.versus])}


def _dropped_in(contrast: Contrast, known: set[str]) -> Contrast:
    """The contrast between the cells under the study's recipe; weighted sums get names of their own too."""

    def cell(name: str) -> str:
        return name + SUFFIX if name + SUFFIX in known else name

    def parts(sums: tuple[tuple[str, float], ...]) -> tuple[tuple[str, float], ...]:
        return tuple((cell(name), weight) for name, weight in sums)

    return replace(
        contrast,
        cell=contrast.cell + SUFFIX if contrast.plus else cell(contrast.cell),
        versus=contrast.versus + SUFFIX if contrast.minus else cell(contrast.versus),
        controls=tuple(map(cell, contrast.controls)), plus=parts(contrast.plus), minus=parts(contrast.minus),
        simple=tuple(_dropped_in(simple, known) for simple in contrast.simple),
    )  # fmt: skip


def _edges(answer: StudyAnswer) -> dict[str, str]:
    """{cell: what of its best candidate lies on the edge of a search of three values or more, in words}."""
    if answer.config.tuning is None:
        return {}
    return {cell: ", ".join(map(edge_words, found)) for cell, found in edges_told(answer).items() if found}


def _told(frame: Any, contrasts: Sequence[Contrast], edges: Mapping[str, str], estimand: str) -> Any:
    """The frame with what its sentences must say beside the effect."""
    if not len(frame) or not (edges or estimand):
        return frame
    arms = {(c.cell, c.versus): arms_of(c) for c in _with_simple(contrasts)}
    frame = frame.copy()
    frame["sentence"] = [
        _joined(row["sentence"], [estimand, _edges_of(row, arms, edges)]) for row in frame.to_dict("records")
    ]
    return frame


def _with_simple(contrasts: Sequence[Contrast]) -> list[Contrast]:
    return [one for contrast in contrasts for one in (contrast, *contrast.simple)]


def _edges_of(row: Mapping[str, Any], arms: Mapping[tuple[str, str], set[str]], edges: Mapping[str, str]) -> str:
    """One sentence on the arms of a row, controls too, whose best candidate lies on an edge; empty where none does."""
    pair = arms.get((row["cell"], row["versus"]), {row["cell"], row["versus"]})
    found = [f"{edges[name]} of {name}" for name in sorted({*pair, *(row["controls"] or ())}) if name in edges]
    if not found:
        return ""
    lies = "lies" if len(found) == 1 else "lie"
    return f"The best {'; '.join(found)} {lies} on the edge of the search, and better ones may lie beyond"


def _joined(sentence: str, more: Sequence[str]) -> str:
    return " ".join([sentence, *(re.sub(r"\.?$", ".", words) for words in more if words)])


def is_primary(answer: Any) -> str | None:
    """The primary estimand of an answer that reports both; None elsewhere."""
    study = getattr(answer, "config", None)
    return study.tuning.reported()[0] if study is not None and tuning.both(study) else None
