"""How a network is trained: one frozen, validated value."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ConfigError
from .explain import explain

RESULT_NEUTRAL = ("epochs", "device", "checkpoint_seconds", "threads", "budget")
"""Keys that stand outside a trial's identity: they continue it, place it or pace it, and change no number of it.

`threads` is part of the description under its own name; `epochs` comes back in where the schedule depends on it.
"""


class RecipeTable(BaseModel):
    """`[recipe]`, as written in a file; see Recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: str = "cross-entropy"
    optimizer: str = "adam"
    lr: float = Field(3e-4, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)
    optimizer_options: dict[str, Any] = Field(default_factory=dict)
    schedule: str = "constant"
    schedule_options: dict[str, Any] = Field(default_factory=dict)
    rule: str = "backprop"
    regime: Literal["all", "freeze", "distil"] = "all"
    distil_epochs: int = Field(5, ge=1)
    distil_lr: float | None = Field(None, gt=0, allow_inf_nan=False)
    metrics: tuple[str, ...] | None = None
    batch: int = Field(200, ge=1)
    eval_batch: int = Field(1000, ge=1)
    epochs: int = Field(50, ge=1)
    clip: float | None = Field(None, gt=0, allow_inf_nan=False)
    early_stop: int | None = Field(None, ge=1)
    budget: Literal["epochs", "cost", "early-stop"] | None = None
    initial_gain: float = Field(1.0, gt=0, allow_inf_nan=False)
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    threads: int = Field(1, ge=1)
    checkpoint_seconds: float = Field(30.0, gt=0)


class Recipe(RecipeTable):
    """Loss, optimizer, schedule, rule, batch and length of training.

    loss, optimizer, schedule, rule, metrics: registered names (`dopant.training.parts`).
    lr, weight_decay: of the optimizer; optimizer_options: its further keywords, such as momentum.
    schedule: "constant", "cosine", "step", "exponential" or "warmup"; schedule_options: its keywords.
    regime: what moves, which matters for a host that is trained already. "all": every parameter. "freeze": only those
    in slots that the design fills somewhere, in every cell alike (in level 0 the old modules there); statistics of
    normalisations outside them are kept too. "distil": before the ordinary epochs, for `distil_epochs` epochs each new
    component learns alone to give what the old module gave for its inputs (layer-wise, squared error), at `distil_lr`
    (None: at lr); then all train. Distilling costs what it costs on top, and is numbered below 1 in the metrics.
    batch: samples a step; the last batch of an epoch may be smaller. eval_batch: samples a call in evaluation.
    epochs: passes over the training split. More epochs continue a trial unless the schedule depends on the total.
    clip: largest gradient norm over all parameters (None: no clipping).
    early_stop: epochs without a better validation score after which training ends; the best epoch's weights are kept.
    budget: what all arms have alike. "epochs": as many passes (the default). "early-stop": a limit of epochs, within
    which each stops by its own validation score (`early_stop` says when; the default with it). "cost": the FLOPs of
    the reference's `epochs`; an arm that costs more a step has fewer epochs, one that costs less has more.
    initial_gain: what the initial weights in all slots that the design fills are multiplied by, in every cell alike (in
    level 0 those of the old modules there); see `dopant.training.gain`.
    precision: "float32", "float64", or "bfloat16" (autocast; weights stay float32).
    device: "auto" (a GPU where there is one), "cpu" or "cuda".
    threads: intra-op threads of a trial; results are reproducible to the bit for equal numbers of threads.
    checkpoint_seconds: seconds between checkpoints inside an epoch; each epoch ends with one in any case.
    """

    def __init__(self, **values: Any) -> None:
        """ConfigError with every problem: unknown keys (nearest given), wrong values, unknown names."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(list(explain(error, {(): list(type(self).model_fields)}, "recipe."))) from None
        problems = self.problems()
        if problems:
            raise ConfigError(problems)

    def to_config(self) -> dict[str, Any]:
        """The `[recipe]` table: only what TOML can say (None is left out)."""
        table = {k: v for k, v in self.model_dump(mode="json").items() if v is not None}
        if self.initial_gain == 1:  # what recipes without a gain were known by
            del table["initial_gain"]
        return table

    def identity(self) -> dict[str, Any]:
        """What of the recipe decides a trial's numbers."""
        from .training.parts import schedules

        values = {k: v for k, v in self.to_config().items() if k not in RESULT_NEUTRAL}
        if self.regime != "distil":
            values = {k: v for k, v in values.items() if not k.startswith("distil_")}
        if self.regime == "all":  # what recipes without regimes were known by
            del values["regime"]
        if schedules.get(self.schedule).depends_on_epochs:
            values["epochs"] = self.epochs
        return values

    def problems(self) -> list[str]:
        """What the registries object to: unknown names and options, each with its dotted path."""
        from .training import parts

        found = parts.problems(self)
        if self.budget == "early-stop" and self.early_stop is None:
            found.append(
                "recipe.budget: 'early-stop' needs recipe.early_stop, the epochs without a better validation score "
                "after which training ends"
            )
        elif self.budget in ("epochs", "cost") and self.early_stop is not None:
            found.append(
                f"recipe.budget: {self.budget!r}, and recipe.early_stop lets each arm stop by itself; leave one of the "
                "two out"
            )
        return found
