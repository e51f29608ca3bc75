"""Both estimands of one study: drop-in (the study's recipe in every arm) and best against best (each arm tuned).

Each has its own contrasts, between its own cells, and its own Holm families; one of them is the primary one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..designs import Cell, Contrast
from . import tuning
from .search import BEST, SHARED, SUFFIX
from .tuned import edge_words, edges_told

if TYPE_CHECKING:
    import pandas as pd

    from .config import Study
    from .results import StudyAnswer


def effects(
    answer: StudyAnswer,
    table: Any,
    engine: Callable[..., Any],
    settings: Mapping[str, Any],
    given: tuple[list[Contrast], Mapping[str, str]] | None = None,
) -> pd.DataFrame:
    """The table of effects by `engine` (`verdicts.effects`): of one estimand as it is, of both one after the other, the
    primary one first, with a column `primary`. Sentences say which estimand they are of, and of tuned arms what lies on
    the edge of the search.

    given: (contrasts of the primary estimand, {cell: how it is named in them}) that are judged alone, as those of a
    race's leader on fresh replicates. Without it the study's, and `leader` in the settings is of the primary estimand:
    in the other one the entry that is ahead there leads, and is not run again.
    """
    import pandas as pd

    study = answer.config
    contrasts, called = given or (answer.contrasts, {cell.name: cell.name for cell in answer.cells})
    by_task = study.tunes_itself is not None
    tuned = {called[c.name]: by_task or tuned_cell(study, c) for c in answer.cells if c.name in called}
    edges = {called[cell]: words for cell, words in _edges(answer).items() if cell in called}
    if not tuning.both(study):
        return _told(engine(table, contrasts, tuned=tuned, **settings), contrasts, edges, "")
    assert study.tuning is not None
    frames = []
    first, second = study.tuning.reported()
    for estimand in (first, second) if given is None else (first,):
        chosen = contrasts_of(study, contrasts, answer.cells, estimand) if given is None else contrasts
        here = settings if estimand == first else {**settings, "leader": None}
        frame = engine(table, chosen, tuned=tuned, estimand=estimand, **here)
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
        tuned = {cell.name: _searched(study, cell) for cell in cells if tuned_cell(study, cell)}
        return [c for c in contrasts if arms_of(c) <= tuned.keys() and _alike(tuned[arm] for arm in arms_of(c))]
    names = {cell.name for cell in cells if cell.drop_in}
    return [_dropped_in(contrast, names) for contrast in contrasts]


def _searched(study: Study, cell: Cell) -> frozenset[str] | None:
    """What of the recipe is searched for a network; None for a baseline, which has a space of its own."""
    if cell.baseline is not None:
        return None
    return frozenset(d.key for d in tuning.space_of(study, cell) if d.key in SHARED)


def _alike(searched: Iterable[frozenset[str] | None]) -> bool:
    """Whether arms were tuned in the same things: one whose rate the design sets is at no best of its own."""
    return len({keys for keys in searched if keys is not None}) < 2


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
