"""The tables of a study file, as written: their keys and types."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from .. import designs
from ..recipe import Recipe, RecipeTable
from .decided import AnalysisTable
from .search import Tuning

Named = str | dict[str, Any]
Controls = bool | Literal["all", "declared"] | list[str] | dict[str, list[str]]


class StudyTable(BaseModel):
    """`[study]`, as written in a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0)
    replicates: int = Field(10, ge=1)
    task: Named = "supervised"
    data: Named | None = None
    host: Named | None = None
    controls: Controls = True
    margin: float | None = Field(None, gt=0, allow_inf_nan=False)
    protocol: Literal["published"] | None = None
    metric: str | None = None
    baselines: list[Named] = Field(default_factory=list)
    unbuildable: dict[str, str] = Field(default_factory=dict)
    step_flops: dict[str, float] = Field(default_factory=dict)
    folds: int | None = Field(None, ge=2)


_of_kinds: dict[str, Any] = {key: (annotation | None, None) for key, annotation in designs.key_types().items()}
_KeysOfDesigns: Any = create_model(
    "_KeysOfDesigns", __config__=ConfigDict(extra="forbid", frozen=True), kind=(str, "ladder"), **_of_kinds
)


class DesignTable(_KeysOfDesigns):
    """`[design]`: kind, and what that kind takes: each class of design brings its keys."""

    kind: str = "ladder"


class Tables(BaseModel):
    """The tables of a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: StudyTable = Field(default_factory=lambda: StudyTable.model_validate({}))
    recipe: RecipeTable = Field(default_factory=lambda: RecipeTable.model_validate({}))
    design: DesignTable = DesignTable()
    tuning: Tuning | None = None
    analysis: AnalysisTable = AnalysisTable()


KNOWN = {
    (): list(Tables.model_fields),
    ("study",): list(StudyTable.model_fields),
    ("recipe",): list(Recipe.model_fields),
    ("design",): list(DesignTable.model_fields),
    ("tuning",): list(Tuning.model_fields),
    ("analysis",): list(AnalysisTable.model_fields),
}  # keys by table, for the nearest name of a wrong one
