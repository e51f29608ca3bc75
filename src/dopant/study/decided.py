"""How a study will be analysed, written into it before it runs: the `[analysis]` table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..errors import DopantError
from . import statistics as st

if TYPE_CHECKING:
    from .config import Study


class AnalysisTable(BaseModel):
    """`[analysis]`, as written in a file.

    confirm: fresh replicates for the leader of a race; None: as many as the study has; 0: it is not run again.
    alpha, power: only written down: every interval, test and number of replicates is computed at 0.05 and 0.8. plan:
    the analysis in sentences, written by dopant anew at each start; what is changed in it by hand has no effect.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    confirm: int | None = Field(default=None, ge=0)
    alpha: float = st.ALPHA
    power: float = st.POWER
    plan: dict[str, str] = Field(default_factory=dict)

    @field_validator("alpha", "power")
    @classmethod
    def _fixed(cls, value: float, info: Any) -> float:
        only = {"alpha": st.ALPHA, "power": st.POWER}[info.field_name]
        if value != only:
            raise ValueError(f"every interval, test and number of replicates is computed at {only}; leave it out")
        return value


def resolved(study: Study) -> dict[str, Any]:
    """The whole `[analysis]` table of a study."""
    from .race import confirmations, entries

    table: dict[str, Any] = {"alpha": st.ALPHA, "power": st.POWER}
    if study.analysis.confirm is not None:
        table["confirm"] = study.analysis.confirm
    try:
        roles = {contrast.role for contrast in study.design.contrasts(False)}
        race, fresh = entries(study), confirmations(study)
    except (DopantError, KeyError, TypeError, AttributeError):  # something is wrong with the study, and told elsewhere
        roles, race, fresh = set(), [], 0
    return table | {"plan": _plan(study, roles, bool(race), fresh)}


def _plan(study: Study, roles: set[str], race: bool, fresh: int) -> dict[str, str]:
    plan = {
        "metric": _metric(study),
        "difference": "cell minus what it is compared with, replicate by replicate; positive is better",
    }
    plan["estimand"] = _estimand(study)
    families = []
    if roles & {"level", "main"}:
        families.append("swaps by Holm")
    if "interaction" in roles:
        families.append("interactions by Holm")
    if "race" in roles:
        families.append("entries of the race by step-down max-|t| over joint sign flips")
    plan["families"] = "; ".join([*families, "controls, variants, baselines and simple effects uncorrected"])
    plan["decides"] = (
        "from six replicates on the 95 % paired t interval, the t test and exact sign flips, both corrected (in a race "
        "the interval and the joint flips); fewer, or re-split data: the interval (Nadeau-Bengio where re-split) and "
        "the corrected t test"
    )
    plan["controls"] = "beyond the ordinary: better than every control (intersection-union, each at 5 %)"
    plan["margin"] = (
        "none: no equivalence is claimed" if study.margin is None else
        f"{study.margin:g}: equivalent by two one-sided t tests at 5 % each"
    )  # fmt: skip
    plan["failures"] = "scored at the metric's declared value; complete cases beside them as sensitivity"
    if study.folds is not None:
        plan["folds"] = f"{study.folds} replicates are one repetition of {study.folds}-fold cross-validation"
    if race:
        plan["confirm"] = (
            f"the leader is judged on {fresh} fresh replicates alone" if study.analysis.confirm else
            "the leader is judged on as many fresh replicates alone as chose it" if fresh else
            "the leader is not run again, so it gets no verdict"
        )  # fmt: skip
    return plan


def _estimand(study: Study) -> str:
    if study.tunes_itself is not None:
        return "best against best: the task tunes every arm alike"
    if study.tuning is None:
        return "drop-in: every arm runs the host's recipe"
    asked = study.tuning.estimands
    asked = study.tuning.reported()
    if len(asked) > 1:
        return f"{' and '.join(asked)}, each corrected apart; {asked[0]} is the primary one"
    return "best against best where both arms were tuned, else drop-in; each row says which"


def _metric(study: Study) -> str:
    try:
        return f"{study.primary_metric} on the test set"
    except DopantError:
        return "the first that the training loop reports"


def change_notes(old: Study, new: Study, done: int) -> list[str]:
    """What of a study's analysis was changed after so many trials had finished: a sentence each.

    Both plans are written by this version, so that another wording is no change. The margin has a sentence of its own.
    """
    if not done:
        return []
    notes = []
    if old.margin != new.margin:
        notes.append(f"The margin was changed from {old.margin} to {new.margin} after {done} trials had finished.")
    before, now = resolved(old)["plan"], resolved(new)["plan"]
    for key in dict.fromkeys([*before, *now]):
        was, is_now = before.get(key, "nothing"), now.get(key, "nothing")
        if was != is_now and key != "margin":
            notes.append(
                f"The analysis was changed after {done} trials had finished: {key} was '{was}', is now '{is_now}'."
            )
    return notes
