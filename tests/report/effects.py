"""Every effect of a study from its folder's scores: numbers by `sums`, verdicts by the truth table of the docs.

What is computed follows docs/statistics.md; the words follow docs/statistics.md ("From six replicates on …") and the
meaning of each verdict as the page explains it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import sums
import tuning
from arms import FRESH, Arm
from study_folder import DROP_IN, StudyFolder
from sums import ALPHA, NAN

FAMILIES = (("level", "main"), ("interaction",), ("confirmed",))
CORRECTED = ("level", "main", "interaction", "confirmed", "race")
COMPARED = ("control", "swap-versus-control", "baseline", "interaction", "simple")
TIERS = ("classical", "exact expectation", "finite shots", "noisy", "device")
P_FROM, ESTIMATE_BELOW = 6, 10
ABLATIONS = (
    "frozen", "matched-start", "unentangled", "dephased", "input-treatment-only", "bounded-output-only",
    "symmetrised-linear", "born-linear", "shuffled-labels", "fresh-copy",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """An effect's two arms, as they scored. a, b: of complete pairs, better is larger. incomplete: pairs without."""

    role: str
    swap: str
    versus: str
    estimand: str
    plus: tuple
    minus: tuple
    a: np.ndarray
    b: np.ndarray
    d: np.ndarray
    every: np.ndarray  # differences over all replicates, NaN where incomplete
    replicates: list[int]
    failed: int
    incomplete: int
    both_failed: bool

    @property
    def n(self) -> int:
        return len(self.d)

    @property
    def cell(self) -> Any:
        return self.plus


@dataclass
class Effect:
    """The numbers of one effect by the names of the table's columns, and what the verdict rests on."""

    pair: Pair
    values: dict[str, Any] = field(default_factory=dict)
    p_t: float = NAN
    family: int = 1
    reach: float = 1.0
    direction: str = "withheld"
    at_most: bool = False
    verdict: str = ""
    against: list[Effect] = field(default_factory=list)


class Effects:
    """Measures and judges. complete: leave the pairs of failed trials out instead of scoring them."""

    def __init__(self, folder: StudyFolder, complete: bool = False):
        self.folder, self.complete = folder, complete
        self.q = folder.resplit
        self._items: dict[Any, Any] = {}
        self._tuned = tuning.tuned(folder)

    # --- scores -----------------------------------------------------------------------------------------------------

    @cached_property
    def _scores(self):
        return {phase: self.folder.scores(phase) for phase in ("main", "confirm")}

    def _arm(self, arm: Arm, phase: str, numbers: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(score, failed, failed without a score) of each replicate."""
        values, failed = self._scores[phase]
        score, lost = np.zeros(len(numbers)), np.zeros(len(numbers), bool)
        for weight, cell in arm:
            cell = cell.removesuffix(FRESH) if phase == "confirm" else cell
            mine = np.array([values.get((cell, r), NAN) for r in numbers])
            mine_failed = np.array([(cell, r) in failed for r in numbers])
            if self.complete:
                mine = np.where(mine_failed, NAN, mine)
            score, lost = score + weight * mine, lost | mine_failed
        return score, lost, lost & np.isnan(score)

    def pair(self, role: str, swap: str, versus: str, estimand: str, plus: Arm, minus: Arm) -> Pair:
        phase = "confirm" if plus[0][1].endswith(FRESH) else "main"
        seen = {r for _, r in self._scores[phase][0]}
        if phase == "main":
            seen |= set(range(self.folder.study["study"].get("replicates", 0)))
        numbers = sorted(seen)
        (a, a_failed, _), (b, b_failed, _) = self._arm(plus, phase, numbers), self._arm(minus, phase, numbers)
        whole = ~np.isnan(a) & ~np.isnan(b)
        missing = ~whole & ~(self.complete & (a_failed | b_failed))
        sign = self.folder.sign
        every = np.full(len(numbers), NAN)
        x, y = sign * a[whole], sign * b[whole]
        every[whole] = d = sums.freed_of_rounding(x - y, x, y)
        return Pair(
            role, swap, versus, estimand, tuple(plus), tuple(minus), x, y, d, every,
            [r for r, w in zip(numbers, whole, strict=True) if w], int(a_failed.sum() + b_failed.sum()),
            int(missing.sum()), bool((a_failed & b_failed & whole).any()),
        )  # fmt: skip

    # --- numbers ----------------------------------------------------------------------------------------------------

    def measure(self, pair: Pair) -> Effect:
        d, n, q, margin = pair.d, pair.n, self.q, self.folder.margin
        sd = sums.spread(d)
        low, high = sums.interval(d, q)
        low_unpaired, high_unpaired = sums.welch(pair.a, pair.b, q)
        speaks = n >= P_FROM and pair.incomplete == 0
        p_equivalence = at_most = NAN
        if not math.isnan(margin) and n >= 2 and not pair.both_failed:
            p_equivalence, at_most = sums.equivalence(d, q, margin), sums.at_most(d, q, margin)
            if sd == 0 and speaks and not q:  # every flip of the signs agrees
                at_most = 2.0**-n if d[0] < margin else 1.0
                p_equivalence = 2.0**-n if abs(d[0]) < margin else 1.0
        arms = [c for _, c in (*pair.plus, *pair.minus)]
        tuned = all(c.removesuffix(FRESH) in self._tuned for c in arms)
        effect = Effect(pair)
        effect.p_t = sums.t_test(d, q) if n >= 2 and not pair.incomplete else NAN
        effect.at_most = bool(not pair.incomplete and at_most <= ALPHA)
        tiers = [self.folder.tier(c.removesuffix(FRESH)) for c in arms]
        effect.values = {
            "swap": pair.swap, "versus": pair.versus, "estimand": pair.estimand, "metric": self.folder.metric,
            "replicates": n, "failed": pair.failed, "incomplete": pair.incomplete,
            "mean": float(np.mean(d)) if n else NAN, "sd": sd, "correlation": sums.correlation(pair.a, pair.b),
            "low": low, "high": high, "low_unpaired": low_unpaired, "high_unpaired": high_unpaired,
            "p": self._flips(d) if speaks else NAN,
            "p_floor": max(2.0 ** (1 - n), 1e-5 if n > 20 else 0.0) if n >= 2 else NAN,
            "p_holm": NAN, "correction": None, "low_joint": NAN, "high_joint": NAN, "margin": margin,
            "p_equivalence": p_equivalence if speaks else NAN,
            "equivalence": NAN if math.isnan(margin) else bool(not pair.incomplete and p_equivalence <= ALPHA),
            "smallest_detectable": sums.detectable(d, q, ALPHA) if n >= 2 else NAN, "untuned": not tuned,
            "tier": max(tiers, key=lambda t: TIERS.index(t) if t in TIERS else 0.5), "replicates_needed": NAN,
            **self._of_items(pair),
        }  # fmt: skip
        return effect

    def _flips(self, d: np.ndarray) -> float:
        if len(d) <= 20:
            return sums.sign_flips(d)
        draws = np.random.default_rng(1).choice([-1.0, 1.0], (40_000, len(d)))
        return float(np.mean(np.abs(draws @ d) >= abs(d.sum()) * (1 - 1e-9)))

    def _of(self, cell: str, replicate: int) -> np.ndarray | None:
        """Per-item values of a cell's finished trial."""
        if not self._items:
            for phase in ("main", "confirm"):
                for name, _, t in self.folder.of(phase):
                    if t.state == "done":
                        key = (name + (FRESH if phase == "confirm" else ""), t.replicate)
                        self._items[key] = t
        found = self._items.get((cell, replicate))
        if found is not None and not isinstance(found, np.ndarray):
            found = self._items[cell, replicate] = found.items(self.folder.bare)
        return found

    def _of_items(self, pair: Pair) -> dict[str, Any]:
        ours, theirs = [], []
        for r in pair.replicates:
            arms = [[(w, self._of(c, r)) for w, c in arm] for arm in (pair.plus, pair.minus)]
            if all(x is not None for arm in arms for _, x in arm):
                x, y = (sum(w * v for w, v in arm) for arm in arms)
                ours.append(x)
                theirs.append(y)
        found: dict[str, Any] = {"item_error": NAN, "item_low": NAN, "item_high": NAN, "mcnemar_p": NAN}
        if not ours:
            return found
        found["item_error"] = sums.item_error(ours, theirs, self.folder.same_items)
        if self.folder.same_items or len(ours) == 1:
            low, high, wander = sums.item_interval(
                self.folder.sign * np.mean(np.array(ours) - np.array(theirs), axis=0)
            )
            found |= {"item_low": Within(low, wander), "item_high": Within(high, wander)}
            found["mcnemar_p"] = sums.mcnemar(ours, theirs)
        return found

    # --- families, directions, words --------------------------------------------------------------------------------

    def judge(self, pairs: list[Pair]) -> list[Effect]:
        """The effects of one table, in its order, each judged beside the others."""
        rows = [self.measure(p) for p in pairs]
        for estimand in dict.fromkeys(p.estimand for p in pairs):
            for fresh in (False, True):
                here = [r for r in rows if r.pair.estimand == estimand and (FRESH in str(r.pair.plus)) == fresh]
                self._correct(here)
                self._words(here)
        return rows

    def _correct(self, rows: list[Effect]) -> None:
        for roles in FAMILIES:
            family = [r for r in rows if r.pair.role in roles]
            flips, by_t = sums.holm([r.values["p"] for r in family]), sums.holm([r.p_t for r in family])
            for row, p, t in zip(family, flips, by_t, strict=True):
                row.values |= {"p_holm": p, "correction": "holm"}
                row.p_t, row.family, row.reach = t, len(family), len(family)
                self._detect(row)
        race = [r for r in rows if r.pair.role == "race"]
        known = [r for r in race if not r.pair.incomplete and r.pair.n >= P_FROM]
        joint = sums.joint_flips(np.array([np.nan_to_num(r.pair.every) for r in known])) if known else []
        for row, p in zip(known, joint, strict=True):
            row.values["p_holm"] = min(1.0, float(p) * len(race) / len(known))
        for row, t in zip(race, sums.holm([r.p_t for r in race]), strict=True):
            row.p_t, row.family, row.reach = t, len(race), len(race) / max(1, len(known))
            low, high = sums.interval(row.pair.d, self.q, level=1 - ALPHA / len(race))
            row.values |= {"correction": "max-t", "low_joint": low, "high_joint": high}
            self._detect(row)

    def _detect(self, row: Effect) -> None:
        found = sums.detectable(row.pair.d, self.q, ALPHA / row.family) if row.pair.n >= 2 else NAN
        row.values["smallest_detectable"] = found

    def _least(self, row: Effect) -> int:
        if self.q:
            return 2
        return next(n for n in range(P_FROM, 64) if 2.0 ** (1 - n) * row.reach <= ALPHA)

    def _direct(self, row: Effect) -> None:
        """better, worse, unclear or withheld; and the replicates that would tell."""
        pair, v = row.pair, row.values
        if pair.incomplete or pair.n < 2:
            return
        side = "better" if v["mean"] > 0 else "worse"
        flips = pair.n >= P_FROM and not self.q and 2.0 ** (1 - pair.n) * row.reach <= ALPHA
        p = v["p_holm"] if pair.role in CORRECTED else v["p"]
        if v["sd"] == 0:
            row.direction = side if flips and p <= ALPHA else "unclear"
            if row.direction == "unclear" and pair.d.any() and not self.q:
                v["replicates_needed"] = float(max(self._least(row), pair.n + 1))
            return
        excludes = not v["low"] <= 0 <= v["high"]
        by_t = row.p_t <= ALPHA or (pair.role == "race" and flips)
        by_flips = not (pair.role in CORRECTED and flips) or p <= ALPHA
        if excludes and by_t and by_flips:
            row.direction = side
            return
        row.direction = "unclear"
        found = sums.needed(v["mean"], v["sd"], self.q, ALPHA / row.family)
        room = v["margin"] - abs(v["mean"])
        if room > 0:
            found = min(found, sums.needed(room, v["sd"], self.q, ALPHA, power=0.9, sides=1))
        v["replicates_needed"] = float(max(found, self._least(row), pair.n + 1))

    def _words(self, rows: list[Effect]) -> None:
        for row in rows:
            self._direct(row)
        leaders = self._leaders(rows)
        for row in rows:
            row.against = [r for r in rows if r.pair.role == "swap-versus-control" and r.pair.plus == row.pair.plus]
        needs = {id(row): row.values["replicates_needed"] for row in rows}
        found = {r.pair.swap: r for r in rows if r.pair.role == "interaction" and r.direction in ("better", "worse")}
        for row in rows:
            word, needed = self._verdict(row, row.pair.plus in leaders, needs)
            if row.pair.role == "main":
                word += self._depends(
                    row.pair.swap, [s for s, r in found.items() if r.values["equivalence"] is not True]
                )
            tags = "estimate: " if row.pair.n < ESTIMATE_BELOW else ""
            tags += "untuned: " if row.values["untuned"] else ""
            row.verdict = tags + word
            row.values |= {"verdict": row.verdict, "direction": row.direction, "replicates_needed": needed}

    def _leaders(self, rows: list[Effect]) -> set:
        race = [r for r in rows if r.pair.role == "race"]
        ahead = [r for r in race if r.pair.n and not r.pair.incomplete and r.values["mean"] > 0]
        begun = {cell for cell, _, _ in self.folder.of("confirm")}
        found = {r.pair.plus for r in race if r.pair.plus[0][1] in begun}
        if ahead:
            found.add(max(ahead, key=lambda r: r.values["mean"]).pair.plus)
        return found if len(race) > 1 else set()

    def _depends(self, swap: str, interactions: list[str]) -> str:
        others = []
        for name in interactions:
            parts = name.partition(" (aliased with ")[0].split(" x ", 1)
            if swap in parts and " (aliased with " not in name:
                others.append(parts[1 - parts.index(swap)])
        return f", depends on {_listed(others)}" if others else ""

    def _verdict(self, row: Effect, leads: bool, needs: dict[int, float]) -> tuple[str, float]:
        role, own = row.pair.role, needs[id(row)]
        equal = row.values["equivalence"] is True
        if role in COMPARED:
            if role == "interaction":
                words = ("additive", "more than additive", "less than additive")
            else:
                words = ("equivalent to", "better than", "worse than")
            if equal:
                return words[0], NAN
            if row.direction in ("better", "worse"):
                return words[1 if row.direction == "better" else 2], NAN
            return "cannot tell", own
        if row.direction == "withheld":
            return "cannot tell", NAN
        if leads:
            return "leads the race: only fresh replicates can judge it", NAN
        mean = " on average" if role == "main" else ""
        if equal or row.direction == "worse":
            return ("no difference" if equal else "worse") + mean, NAN
        if row.direction == "unclear":
            return "cannot tell", own
        return (f"better{mean}", NAN) if mean else self._beside_controls(row, needs)

    def _beside_controls(self, row: Effect, needs: dict[int, float]) -> tuple[str, float]:
        """The words of a swap that is better than what it is compared with."""
        host = row.pair.versus.removesuffix(DROP_IN).removesuffix(FRESH) == "host"
        ahead = f"better than the {'host' if host else 'level below'}"
        if not row.against:
            return f"cannot tell: {ahead}, but no control was run", NAN
        explains = [r for r in row.against if r.at_most or r.direction == "worse"]
        if explains:
            return f"explained by {_listed([self._control_name(r, row) for r in explains])}", NAN
        unbeaten = [r for r in row.against if r.direction != "better"]
        if unbeaten:
            names = _listed([self._control_name(r, row) for r in unbeaten])
            known = [needs[id(r)] for r in unbeaten if not math.isnan(needs[id(r)])]
            return f"cannot tell: {ahead}, but not shown better than {names}", max(known, default=NAN)
        if all(self._ablation(r.pair.versus) for r in row.against):
            return f"cannot tell: {ahead}, but only ablations stood beside it, and no ordinary module", NAN
        return "beyond the ordinary", NAN

    def _control_name(self, comparison: Effect, row: Effect) -> str:
        """A control as it is called: by what it puts in the swap's place."""
        name = comparison.pair.versus.removesuffix(FRESH).removesuffix(DROP_IN)
        for owner in sorted({c for _, c in row.pair.plus} | set(self.folder.cells), key=len, reverse=True):
            if name.startswith(owner.removesuffix(FRESH) + ", "):
                return name.removeprefix(owner.removesuffix(FRESH) + ", ")
        return name

    @staticmethod
    def _ablation(cell: str) -> bool:
        component = cell.removesuffix(FRESH).removesuffix(DROP_IN).removesuffix(" (controlled)").rpartition("=")[2]
        return component in ABLATIONS


@dataclass(frozen=True)
class Within:
    """A number that may differ by so much: it was drawn at random."""

    value: float
    by: float


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
