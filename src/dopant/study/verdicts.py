"""From scores to verdicts: what did each swap do, and is it the component or something ordinary?

The rule, for a swap with the differences d = cell - level below (positive is better, whatever the metric's direction):

1. Nothing is decided while a pair of trials is unfinished, or with one replicate.
2. *Equivalent* is looked at first: two one-sided t tests at 5 % against the margin written down before the run. A
   difference proven smaller than what was declared to matter counts as none, be it significant or not.
3. *Better* or *worse*: the 95 % paired t interval excludes zero. For the levels of a design (the Holm family; controls
   and variants stand outside it) the t test must hold after Holm across them too and, from six replicates on, the
   exact sign-flip p after Holm must be at most 0.05, unless no data could bring it there (2**(1-n) times the number of
   swaps is above 0.05): then the sentence says so, and the first two conditions decide. Where replicates re-split one
   pool, the first two decide as well, with the corrected variance: sign flips take the replicates for independent,
   and would be wrong far more often than they say. Their p is shown for completeness, and the sentence says that too.
4. A better swap is compared with each of its controls by the paired difference swap - control, unadjusted, because all
   must be beaten (intersection-union): better than every one (95 % interval above zero) is *beyond the ordinary*; at
   most the margin better than one (one-sided t test at 5 %), or worse than it (95 % interval), is *explained by* it.
   Ablations (a fresh copy of the old module among them) explain but do not prove: what is no ablation must be beaten
   too, or nothing is *beyond the ordinary*.
   Without a control nothing is beyond the ordinary. One that could not be built is named in the sentence.
5. Differences without any spread have no interval. Sign flips alone decide then, so from six replicates on, and never
   where replicates re-split one pool. An interval without finite ends decides nothing. Below six replicates, a spread
   that is no larger than what the scores were rounded to counts as none.

6. A main effect with an interaction (5 % after Holm among interactions) *depends on* the other level: a mean is then
   nobody's effect. Its simple effects, at each level of that other factor, are measured too (role "simple"): in no
   family, each 95 % interval for itself, and their sentences say so.

7. The entries of a race (role "race") are a family of their own: the 95 % interval excludes zero and p by step-down
   max-|t| over joint sign flips is at most 0.05; Holm over t tests where sign flips have no say. The one that leads a
   race of two or more is not judged by the replicates that chose it: "confirmed" is its row on fresh ones alone, a
   single comparison at 5 %.

Everything else is *cannot tell*, with the replicates that would (80 % power at the observed mean and sd). These and the
smallest detectable difference are planned for a t test at the level it is judged at: for levels 0.05 / their number.
The replicates are those at which sign flips agree with that power as well (`power`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..designs import Contrast
from ..designs.entries import HOST
from ..errors import ConfigError
from . import statistics as st
from .joint import joint_sign_flips, simultaneous
from .pairs import Effect, Scores, measure_pair
from .power import with_flips
from .wording import line, sentence

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FAMILIES = (("level", "main"), ("interaction",), ("confirmed",))  # roles that are corrected for each other, by Holm
RACE = "race"  # the family that is corrected by max-|t| over joint sign flips
SPOKEN = ("level", "main", RACE, "confirmed", "variant", "baseline")  # roles that the verdicts' sentences are about
IN_FAMILY = (RACE, *(role for roles in FAMILIES for role in roles))
LEADS = "leads the race: only fresh replicates can judge it"
COMPARED = ("control", "swap-versus-control", "baseline", "interaction", "simple")  # only a comparison, no verdict
ESTIMATE_BELOW = 10  # replicates
TIERS = ("classical", "exact expectation", "finite shots", "noisy", "device")  # of evidence, the most real last
COLUMNS = (
    "swap", "versus", "estimand", "metric", "replicates", "failed", "mean", "sd", "correlation", "low", "high",
    "low_unpaired", "high_unpaired", "item_error", "p", "p_floor", "p_holm", "margin", "equivalence",
    "smallest_detectable", "untuned", "tier", "verdict", "cell", "role", "controls", "incomplete",
    "replicates_needed", "direction", "p_equivalence", "sentence", "of", "correction", "low_joint", "high_joint",
    "item_low", "item_high", "mcnemar_p", "p_t",
)  # fmt: skip


def effects(
    table: pd.DataFrame,
    contrasts: Sequence[Contrast],
    *,
    metric: str,
    higher_is_better: bool = True,
    margin: float | None = None,
    failure_value: float | None = None,
    resplit: float | None = None,
    tuned: bool | Mapping[str, bool] = True,
    estimand: str | None = None,
    tier: str | Mapping[str, str] = "exact expectation",
    items: Mapping[tuple[str, Any], ArrayLike] | None = None,
    same_items: bool | None = None,
    leader: str | None = None,
    complete_cases: bool = False,
    step: float = 0.0,
    kinds: Mapping[str, str | None] | None = None,
) -> pd.DataFrame:
    """One row an effect, in the order of `contrasts`; then simple effects of those that depend on another factor (role
    "simple", `of`: that main effect), and each swap minus each control (role "swap-versus-control").

    table: columns arm, replicate, value and, unless all are done, status. "done" with a number is a score; "failed", or
        "done" with NaN or infinity, is scored at `failure_value`; any other status (pending, running, lost to the
        machine) is no result yet. Without a failure value, or with an infinite one (a loss has no worst score), a
        failed trial leaves its pair incomplete.
    contrasts: names of arms. role "level" is the Holm family; one of role "control" is added where it is missing.
    margin: the smallest difference that matters, in the metric's unit, written down before the run. None: no claim of
        equivalence.
    resplit: n_test / n_train where every replicate drew a new split of one pool (Nadeau-Bengio), else None.
    tier: of evidence, of every row or {arm: tier}: then a row has the more real one of its two arms, in the order of
        TIERS. An arm not named is classical; a tier not in TIERS ranks just above that.
    tuned: whether the arms chose their learning rate, of all or {arm: …}; an effect is untuned where one did not.
    estimand: None is "best against best" where both arms were tuned, else "drop-in".
    leader: of a race, the entry (its cell) that was chosen to be run again; None: the one that leads.
    kinds: {arm: which kind of control it is}; "ablation" alone proves nothing ordinary wrong. Others count as ordinary.
    complete_cases: leave the pairs of failed trials out instead of scoring or awaiting them (a sensitivity analysis).
    step: what the scores were rounded to before they came here (see `measure_pair`); 0: not at all.
    items: per-item values of each trial for `item_error`; same_items: whether all replicates were tested on the same
        items in the same order (None: unless they re-split).

    Columns: COLUMNS. equivalence: True, False or None (no margin). p, p_holm, p_equivalence: NaN below six replicates.
    p_t: of the paired t test that decides beside the interval, with the corrected variance of re-splits and, in a
    family, Holm's correction; from two replicates on.
    Raises ConfigError for a margin that is not positive or a trial given twice. Cost: 2**(n-1) sums an effect.
    """
    scores = Scores.read(table, higher_is_better, None if complete_cases else failure_value)
    if margin is not None and not (math.isfinite(margin) and margin > 0):
        raise ConfigError(f"margin: {margin!r} is not a positive number; leave it out to claim no equivalence")
    settings = {
        "metric": metric, "failure_value": failure_value,
        "margin": math.nan if margin is None else float(margin), "share": scores.share and "accuracy" in metric.lower(),
        "complete_cases": complete_cases, "step": step,
    }  # fmt: skip

    parts: dict[str, tuple[tuple[str, float], ...]] = {}
    single, items = items or {}, dict(items or {})

    def add_sums(contrasts: Sequence[Contrast]) -> None:
        nonlocal scores
        new = {n: tuple(found) for c in contrasts for n, found in ((c.cell, c.plus), (c.versus, c.minus)) if found}
        parts.update(new)
        scores = scores.with_sums(new)
        items.update(_summed(single, new, list(scores.values.columns)))

    def measure(swap: str, cell: str, versus: str, role: str, **more: Any) -> Effect:
        same = resplit is None if same_items is None else same_items
        arms = [arm for name in (cell, versus) for arm, _ in parts.get(name, ((name, 1.0),))]
        alike = tuned if isinstance(tuned, bool) else all(tuned.get(arm, False) for arm in arms)
        more |= {"tier": _tier(tier, arms), "untuned": not alike, **settings}
        more["estimand"] = estimand or ("best against best" if alike else "drop-in")
        return measure_pair(scores, swap, cell, versus, role, resplit or 0.0, items, same, **more)

    contrasts = _with_controls(contrasts)
    add_sums(contrasts)
    ablations = frozenset(arm for arm, kind in (kinds or {}).items() if kind == "ablation")
    labels = {name: name for c in contrasts for name in c.controls}
    labels |= {c.cell: c.swap for c in contrasts if c.role == "control"}
    rows = [
        measure(c.swap, c.cell, c.versus, c.role, controls=tuple(c.controls), missing=tuple(c.missing_controls))
        for c in contrasts
    ]
    rows = _with_leader(_with_joint(_with_holm(rows)), leader)
    final, comparisons = [], []
    for row in rows:
        beside = [measure(row.swap, row.cell, control, "swap-versus-control") for control in row.controls]
        beside = [_judged(_directed(b), labels) for b in beside]
        comparisons += beside
        final.append(_judged(replace(_directed(row), against=tuple(beside)), labels, ablations))
    owners = _dependences(final, contrasts)
    final = _depending(final, owners)
    asked = [s for c in contrasts if c.swap in owners for s in c.simple if set(s.of[1:]) & set(owners[c.swap])]
    add_sums(asked)
    simple = [measure(s.swap, s.cell, s.versus, s.role, of=s.of[0]) for s in asked]
    final += [_judged(_directed(row), labels) for row in simple]
    frame = pd.DataFrame([_record(row, labels) for row in final + comparisons], columns=list(COLUMNS))
    return frame.astype({"equivalence": object})  # True, False or None, whatever the rows


def _dependences(rows: list[Effect], contrasts: Sequence[Contrast]) -> dict[str, list[str]]:
    """{main effect: the main effects with which an interaction was found}."""
    owners = {c.cell: c.of for c in contrasts if c.role == "interaction" and c.of}  # aliased ones belong to none
    main = {row.swap for row in rows if row.role == "main"}
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.cell in owners and row.direction in ("better", "worse") and not row.equivalence:
            one, two = owners[row.cell]
            found.setdefault(one, []).append(two)
            found.setdefault(two, []).append(one)
    return {swap: others for swap, others in found.items() if swap in main}


def _depending(rows: list[Effect], found: Mapping[str, list[str]]) -> list[Effect]:
    """Main effects whose interactions were found say on what they depend: a mean is then nobody's effect."""
    return [
        replace(row, verdict=f"{row.verdict}, depends on {_listed(found[row.swap])}")
        if row.role == "main" and row.swap in found
        else row
        for row in rows
    ]


def sentences(effects: pd.DataFrame) -> list[str]:
    """The verdicts on levels, variants and baselines as plain sentences, in order."""
    return list(effects.loc[effects["role"].isin(SPOKEN), "sentence"])


def short(effects: pd.DataFrame) -> list[str]:
    """The same verdicts, one line of at most 140 characters each: words, mean [95 % interval], n, nearest control.

    The nearest control is the one that the swap gains least on; its numbers are swap minus control. Positive is better.
    """
    rows = effects.to_dict("records")
    labels = {r["cell"]: r["swap"] for r in rows if r["role"] == "control"}
    lines = []
    for row in rows:
        if row["role"] in SPOKEN:
            beside = [
                {**r, "versus": labels.get(r["versus"], r["versus"])}
                for r in rows
                if r["role"] == "swap-versus-control" and r["cell"] == row["cell"] and r["versus"] in row["controls"]
            ]
            known = [r for r in beside if math.isfinite(r["mean"])]
            lines.append(line(row, min(known, key=lambda r: r["mean"], default=None)))
    return lines


def _tier(tier: str | Mapping[str, str], arms: Sequence[str]) -> str:
    if isinstance(tier, str):
        return tier
    return max((tier.get(arm, TIERS[0]) for arm in arms), key=lambda n: TIERS.index(n) if n in TIERS else 0.5)


def _summed(items: Mapping, sums: Mapping[str, Sequence[tuple[str, float]]], replicates: list[Any]) -> dict[Any, Any]:
    """Per-item values of arms that are weighted sums, where every part has them."""
    found = {}
    for name, parts in sums.items():
        for replicate in replicates:
            values = [(weight, items.get((cell, replicate))) for cell, weight in parts]
            if all(v is not None for _, v in values):
                found[name, replicate] = sum(weight * np.asarray(v, float) for weight, v in values)
    return found


def _record(row: Effect, labels: Mapping[str, str]) -> dict[str, Any]:
    record = {name: getattr(row, name) for name in COLUMNS if name != "sentence"}
    return {**record, "controls": list(row.controls), "sentence": sentence(row, labels)}


def _with_controls(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts, those of controls added that a level names and nobody listed."""
    listed = {(c.cell, c.versus) for c in contrasts}
    complete: list[Contrast] = []
    for contrast in contrasts:
        complete.append(contrast)
        for control in contrast.controls:
            if (control, contrast.versus) not in listed:
                listed.add((control, contrast.versus))
                complete.append(Contrast(control, control, contrast.versus, role="control"))
    return complete


def _with_holm(rows: list[Effect]) -> list[Effect]:
    """The rows, those of a family with Holm-adjusted p and what they can detect then; one without p counts as not
    significant."""
    rows = list(rows)
    for roles in FAMILIES:
        level = [i for i, row in enumerate(rows) if row.role in roles]
        by_flips, by_t = st.holm([rows[i].p for i in level]), st.holm([rows[i].p_t for i in level])
        for i, flips, t in zip(level, by_flips, by_t, strict=True):
            row, family = rows[i], len(level)
            least = st.smallest_detectable(row.sd, row.replicates, resplit=row.resplit, alpha=st.ALPHA / family)
            least = float(least) if row.spread == "some" else math.nan
            rows[i] = replace(
                row, p_holm=float(flips), p_t=float(t), family=family, reach=float(family), smallest_detectable=least,
                correction="holm",
            )  # fmt: skip
    return rows


def _with_joint(rows: list[Effect]) -> list[Effect]:
    """The rows, the entries of a race with p by max-|t| over joint sign flips and with simultaneous intervals.

    Where entries are unfinished, p is multiplied by all entries over the finished ones: those and each of the others
    share the level by Bonferroni, which is valid, though not the p of the finished race. p_t is Holm's, for where sign
    flips have no say.
    """
    rows = list(rows)
    race = [i for i, row in enumerate(rows) if row.role == RACE]
    known = [i for i in race if not rows[i].incomplete and rows[i].replicates >= st.P_FROM]
    by_flips: dict[int, float] = {}
    if known:
        # A pair that was left out is no difference under any sign: it counts as 0.
        p = joint_sign_flips(np.array([np.nan_to_num(rows[i].differences) for i in known]))
        by_flips = dict(zip(known, p, strict=True))
    reach = len(race) / len(known) if known else 1.0
    for i, t in zip(race, st.holm([rows[i].p_t for i in race]), strict=True):
        row, family = rows[i], len(race)
        least = st.smallest_detectable(row.sd, row.replicates, resplit=row.resplit, alpha=st.ALPHA / family)
        sd = row.sd if row.spread == "some" else math.nan
        low, high = simultaneous(row.mean, sd, row.replicates, family, resplit=row.resplit)
        rows[i] = replace(
            row, p_holm=min(1.0, float(by_flips[i]) * reach) if i in by_flips else math.nan, p_t=float(t),
            smallest_detectable=float(least) if row.spread == "some" else math.nan, correction="max-t", family=family,
            reach=reach, low_joint=low, high_joint=high,
        )  # fmt: skip
    return rows


def _with_leader(rows: list[Effect], leader: str | None) -> list[Effect]:
    """The rows, the leader of a race of two or more marked: what was picked for its score is over-stated by it."""
    race = [row for row in rows if row.role == RACE]
    ahead = [row for row in race if row.replicates and not row.incomplete and row.mean > 0]
    best = max(ahead, key=lambda row: row.mean).cell if ahead else None
    if len(race) < 2:
        return rows
    # what has come to lead since the leader was chosen is over-stated as well
    marked = {leader, best} - {None}
    return [replace(row, chosen=len(race)) if row.role == RACE and row.cell in marked else row for row in rows]


def _directed(row: Effect) -> Effect:
    """The row with its direction, and the replicates that would tell where there is none."""
    if row.incomplete or row.replicates < 2:
        return row
    n, side = row.replicates, "better" if row.mean > 0 else "worse"
    p = row.p_holm if row.role in IN_FAMILY else row.p
    flips = n >= st.P_FROM and not row.resplit  # do sign flips have a say?
    in_reach = flips and st.smallest_p(n) * row.reach <= st.ALPHA
    row = replace(row, out_of_reach=flips and not in_reach)
    if row.spread != "some":
        if in_reach and p <= st.ALPHA:
            return replace(row, direction=side)
        needed = math.nan if row.spread == "identical" or row.resplit else float(max(_least(row), n + 1))
        return replace(row, direction="unclear", replicates_needed=needed)
    if not (math.isfinite(row.low) and math.isfinite(row.high)):
        return replace(row, direction="unclear")
    if row.low <= 0 <= row.high:
        blocked = "outside"
    elif row.p_t > st.ALPHA and not (row.role == RACE and in_reach):
        blocked = "holm"
    elif row.role in IN_FAMILY and in_reach and p > st.ALPHA:
        blocked = "sign flips"
    else:
        return replace(row, direction=side)
    return replace(row, direction="unclear", blocked=blocked.replace("outside", ""), replicates_needed=_needed(row))


def _needed(row: Effect) -> float:
    """Replicates that would show a direction or, where there is a margin, equivalence: the smaller number.

    A direction of what stands in a family needs the sign flips too, which have less power than the t test while few.
    Equivalence is planned one-sided with half of the allowed misses on each side, which is safe for any mean.
    """
    alpha = st.ALPHA / row.family
    found = st.replicates_needed(row.mean, row.sd, resplit=row.resplit, alpha=alpha)
    if row.role in IN_FAMILY and not row.resplit:
        found = with_flips(found, row.mean, row.sd, alpha=alpha, flips=st.ALPHA / row.reach)
    if abs(row.mean) < row.margin:
        power = 1 - (1 - st.POWER) / 2
        room = row.margin - abs(row.mean)
        found = min(found, st.replicates_needed(room, row.sd, resplit=row.resplit, power=power, sides=1))
    return float(max(found, _least(row), row.replicates + 1))


def _least(row: Effect) -> int:
    """The fewest replicates at which the sign-flip p, where it has a say, can reach 0.05 after Holm in the family."""
    if row.resplit:
        return 2
    return next(n for n in range(st.P_FROM, 64) if 2.0 ** (1 - n) * row.reach <= st.ALPHA)


def _judged(row: Effect, labels: Mapping[str, str], ablations: frozenset[str] = frozenset()) -> Effect:
    """The row with its verdict in words: the truth table."""
    prefix = "estimate: " if row.replicates < ESTIMATE_BELOW else ""
    prefix += "untuned: " if row.untuned else ""
    word, needed = _compared(row) if row.role in COMPARED else _truth(row, labels, ablations)
    return replace(row, verdict=prefix + word, replicates_needed=needed)


def _compared(row: Effect) -> tuple[str, float]:
    if row.role == "interaction":
        words = {"better": "more than additive", "worse": "less than additive"}
        word = "additive" if row.equivalence else words.get(row.direction, "cannot tell")
        return word, row.replicates_needed if word == "cannot tell" else math.nan
    if row.equivalence:
        return "equivalent to", math.nan
    if row.direction in ("better", "worse"):
        return f"{row.direction} than", math.nan
    return "cannot tell", row.replicates_needed


def _truth(row: Effect, labels: Mapping[str, str], ablations: frozenset[str]) -> tuple[str, float]:
    """(words, replicates needed) of a level or variant."""
    if row.direction == "withheld":
        return "cannot tell", math.nan
    if row.chosen:
        return LEADS, math.nan
    average = " on average" if row.role == "main" else ""
    if row.equivalence:
        return f"no difference{average}", math.nan
    if row.direction == "worse":
        return f"worse{average}", math.nan
    if row.direction == "unclear":
        return "cannot tell", row.replicates_needed
    if row.role == "main":
        return "better on average", math.nan
    if not row.against:
        return f"cannot tell: {_ahead(row)}, but no control was run", math.nan
    explains = [c for c in row.against if c.at_most or c.direction == "worse"]
    if explains:
        return "explained by " + _listed([labels[c.versus] for c in explains]), math.nan
    unbeaten = [c for c in row.against if c.direction != "better"]
    if not unbeaten and ablations.issuperset(c.versus for c in row.against):
        # what lacks a part of the component does less; an ordinary module, which has none of it, may yet do the same
        return f"cannot tell: {_ahead(row)}, but only ablations stood beside it, and no ordinary module", math.nan
    if not unbeaten:
        return "beyond the ordinary", math.nan
    names = _listed([labels[c.versus] for c in unbeaten])
    words = f"cannot tell: {_ahead(row)}, but not shown better than {names}"
    known = [c.replicates_needed for c in unbeaten if not math.isnan(c.replicates_needed)]
    return words, max(known, default=math.nan)


def _ahead(row: Effect) -> str:
    return "better than the host" if row.versus == HOST else "better than the level below"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
