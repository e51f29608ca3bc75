"""One pair of arms, measured: the numbers of an effect before anybody judges them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import ConfigError
from . import statistics as st
from .items import bootstrap_interval, item_differences, mcnemar_p


@dataclass(frozen=True)
class Effect:
    """One row of `effects`, and what its words need. Numbers are in the metric's unit, positive is better.

    failed: trials of the pair's two arms that failed; unscored: those of them without a score. incomplete: pairs of
    trials without two scores. failure_value: may be infinite, which scores nothing. smallest_detectable: at 0.05 /
    family. share: accuracies between 0 and 1. differences: (replicate,), NaN where incomplete. family: how many have a
    common correction: "holm", or "max-t" over joint sign flips; p_holm is the p of either. reach: what the smallest
    sign-flip p is multiplied by in it. low_joint, high_joint: the interval that holds for the whole race at once.
    chosen: of the leader of a race, among how many it was picked, else 0.
    direction: better, worse, unclear or withheld (pairs missing, or fewer than two). spread: "some", "none" (constant),
    "identical" (all 0) or "rounding" (no more than `step`, to which scores were given, with too few replicates for sign
    flips). at_most: whether it is shown to be at most `margin` better. blocked: why an interval that
    excludes zero is no direction: "", "holm", "sign flips". out_of_reach: the sign-flip p could not have reached 0.05
    when corrected. missing: why controls could not be built. against: the effects swap minus control.
    of: of a simple effect, the main one that it belongs to.
    """

    swap: str
    versus: str
    cell: str
    role: str
    metric: str
    estimand: str
    tier: str
    untuned: bool
    margin: float
    failure_value: float | None
    failed: int
    unscored: int
    incomplete: int
    replicates: int
    mean: float
    sd: float
    correlation: float
    low: float
    high: float
    low_unpaired: float
    high_unpaired: float
    item_error: float
    item_low: float
    item_high: float
    mcnemar_p: float
    p_t: float
    p: float
    p_floor: float
    p_equivalence: float
    equivalence: bool | None
    at_most: bool
    smallest_detectable: float
    spread: str
    share: bool
    resplit: float
    differences: np.ndarray = field(repr=False, compare=False)
    step: float = 0.0
    left_out: bool = False
    family: int = 1
    correction: str = ""
    reach: float = 1.0
    low_joint: float = math.nan
    high_joint: float = math.nan
    chosen: int = 0
    p_holm: float = math.nan
    direction: str = "withheld"
    blocked: str = ""
    out_of_reach: bool = False
    replicates_needed: float = math.nan
    controls: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    of: str = ""
    against: tuple[Effect, ...] = field(default=(), repr=False)
    verdict: str = ""


@dataclass(frozen=True)
class Scores:
    """values, failed: arm by replicate; a value is NaN where there is no score. sign turns larger into better."""

    values: pd.DataFrame
    failed: pd.DataFrame
    sign: int
    share: bool

    @classmethod
    def read(cls, table: pd.DataFrame, higher_is_better: bool, failure_value: float | None) -> Scores:
        twice = table.duplicated(["arm", "replicate"])
        if twice.any():
            names = [f"arm {a!r}, replicate {r!r}" for a, r in table.loc[twice, ["arm", "replicate"]].values.tolist()]
            raise ConfigError([f"{name} is given twice; one value a trial is expected" for name in names])
        value = table["value"].astype(float)
        status = table["status"] if "status" in table else pd.Series("done", index=table.index)
        finite = np.isfinite(value)
        failed = (status == "failed") | ((status == "done") & ~finite)
        score = value.where((status == "done") & finite)
        if failure_value is not None and math.isfinite(failure_value):  # an infinite difference has no mean or spread
            score = score.mask(failed, failure_value)
        wide = table[["arm", "replicate"]].assign(score=score, failed=failed)
        values, lost = (wide.pivot(index="arm", columns="replicate", values=v) for v in ("score", "failed"))
        share = bool(score.dropna().between(0, 1).all())
        return cls(values, lost.eq(True), 1 if higher_is_better else -1, share)

    def with_sums(self, sums: Mapping[str, Sequence[tuple[str, float]]]) -> Scores:
        """With further arms that are weighted sums of arms, replicate by replicate: no score where one has none."""
        values, failed = self.values.copy(), self.failed.copy()
        for name, parts in sums.items():
            arms = [(weight, *self.arm(cell)) for cell, weight in parts]
            values.loc[name] = sum(weight * scores for weight, scores, _ in arms)
            failed.loc[name] = np.any([lost for *_, lost in arms], axis=0)
        return replace(self, values=values, failed=failed)

    def arm(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(scores, failed) over all replicates of the study."""
        if name not in self.values.index:
            return np.full(self.values.shape[1], np.nan), np.zeros(self.values.shape[1], bool)
        return self.values.loc[name].to_numpy(float), self.failed.loc[name].to_numpy(bool)


@np.errstate(over="ignore", invalid="ignore")  # scores near the largest float have no sd; no verdict rests on them
def measure_pair(
    scores: Scores, swap: str, cell: str, versus: str, role: str, resplit: float, items: Mapping, same_items: bool,
    *, margin: float, complete_cases: bool = False, step: float = 0.0, **settings: Any,
) -> Effect:  # fmt: skip
    """All numbers of one pair of arms; no judgement yet. complete_cases: failed trials leave no pair incomplete.

    step: what the scores were rounded to, 0 where they were not. Of two rounded scores the difference is off by less
    than one step, so differences within one step of each other might be one and the same: below six replicates, where
    no sign flips check it, such a spread is not known, and there is no interval and no t test.
    """
    (a, a_failed), (b, b_failed) = scores.arm(cell), scores.arm(versus)
    both = ~np.isnan(a) & ~np.isnan(b)
    names = [r for r, complete in zip(scores.values.columns, both, strict=True) if complete]
    failed = int(a_failed.sum() + b_failed.sum())
    unscored = int((a_failed & np.isnan(a)).sum() + (b_failed & np.isnan(b)).sum())
    incomplete = int((~both & ~(complete_cases & (a_failed | b_failed))).sum())
    a, b, n = scores.sign * a[both], scores.sign * b[both], int(both.sum())
    d = _clean(a - b, a, b)
    spread_out = np.full(len(both), np.nan)
    spread_out[both] = d
    spread = "some" if n == 0 or np.ptp(d) > 0 else "none" if d.any() else "identical"
    if spread == "some" and 2 <= n < st.P_FROM and np.ptp(d) <= step * (1 + 1e-6):
        spread = "rounding"
    got = st.paired_interval(d, resplit=resplit)
    if spread == "rounding":
        got = replace(got, error=np.full_like(got.error, np.nan), low=got.error * np.nan, high=got.error * np.nan)
    low_unpaired, high_unpaired = st.unpaired_interval(a, b, resplit=resplit)
    speaks = n >= st.P_FROM and incomplete == 0
    p_equivalence = p_at_most = math.nan
    if not math.isnan(margin) and n >= 2:
        p_equivalence = float(st.equivalence_test(got.mean, got.error, n, margin))
        p_at_most = float(st.at_most_test(got.mean, got.error, n, margin))
        if spread != "some" and speaks and not resplit:
            # All flips of d + margin and of d - margin agree: one-sided sign flips.
            # d[0], not the mean of equal numbers, which rounding may put below a margin that they lie on.
            p_at_most = 2.0**-n if d[0] < margin else 1.0
            p_equivalence = 2.0**-n if abs(d[0]) < margin else 1.0
    if (a_failed & b_failed & both).any():  # two failures are alike, which is no equivalence of what was asked about
        p_equivalence = p_at_most = math.nan
    pair = [(items[cell, r], items[versus, r]) for r in names if (cell, r) in items and (versus, r) in items]
    ours, theirs = [x for x, _ in pair], [y for _, y in pair]
    by_item = item_differences(ours, theirs) if same_items or len(pair) == 1 else None
    item_low, item_high = sorted(scores.sign * x for x in bootstrap_interval(by_item)) if by_item is not None else (
        math.nan, math.nan
    )  # fmt: skip
    return Effect(
        swap=swap, versus=versus, cell=cell, role=role, margin=margin, failed=failed, unscored=unscored,
        incomplete=incomplete, replicates=n, mean=float(got.mean), sd=float(got.sd),
        correlation=float(st.correlation(a, b)), low=float(got.low), high=float(got.high),
        low_unpaired=float(low_unpaired), high_unpaired=float(high_unpaired),
        item_error=st.item_error(ours, theirs, same_items=same_items), item_low=item_low, item_high=item_high,
        mcnemar_p=mcnemar_p(ours, theirs) if by_item is not None else math.nan, differences=spread_out,
        p_t=float(st.t_test(got.mean, got.error, n)) if n >= 2 and not incomplete else math.nan,
        p=float(st.sign_flip_test(d)) if speaks else math.nan, p_floor=st.smallest_p(n) if n >= 2 else math.nan,
        p_equivalence=p_equivalence if speaks else math.nan,
        equivalence=None if math.isnan(margin) else bool(not incomplete and p_equivalence <= st.ALPHA),
        at_most=bool(not incomplete and p_at_most <= st.ALPHA), left_out=complete_cases,
        smallest_detectable=float(st.smallest_detectable(got.sd, n, resplit=resplit)) if spread == "some" else math.nan,
        spread=spread, resplit=resplit, step=step, **settings,
    )  # fmt: skip


def _clean(d: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Differences freed of rounding: 0.9 - 0.8 and 0.8 - 0.7 are the same difference, though not in binary.

    Each has the rounding of its own two scores, so that one large score (a failure value) does not hide small effects.
    """
    if d.size == 0:
        return d
    rounding = 8 * np.finfo(float).eps * np.maximum(np.abs(a), np.abs(b))
    d = np.where(np.abs(d) <= rounding, 0.0, d)
    sharpest = np.argmin(rounding)
    # scores may have been rounded to single precision before: what varies by no more than that does not vary
    single = 4 * np.finfo(np.float32).eps * np.maximum(np.abs(a), np.abs(b))
    same = np.abs(d - d[sharpest]) <= rounding + rounding[sharpest] + single
    return np.full_like(d, d[sharpest]) if same.all() else d
