"""How often the engine is right and wrong, counted over studies whose truth is known.

`python tests/proofs/rates.py [coverage resplit power errors]` prints the tables of docs/proofs.md (about two minutes);
the tests count the same things again from other seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
import laws

from dopant.designs import Contrast
from dopant.study import statistics as st
from dopant.study import verdicts
from dopant.study.joint import joint_sign_flips

REPLICATES = (6, 10, 20)
STUDIES = 20_000
FLIPPED = {6: 20_000, 10: 20_000, 20: 500}  # studies whose sign flips are counted too: 2**(n-1) sums each
RATIO = laws.SPLIT[1] / laws.SPLIT[0]  # n_test / n_train


def coverage(law: Callable, n: int, studies: int = STUDIES, seed: int = 0, resplit: float = 0.0) -> float:
    """Share of 95 % intervals that hold the true mean. An interval without ends (no spread) holds nothing."""
    d, truth = law(np.random.default_rng([seed, n]), studies, n)
    got = st.paired_interval(d, resplit=resplit)
    return float(np.mean((got.low <= truth) & (truth <= got.high)))


def called(d: np.ndarray, resplit: float = 0.0) -> np.ndarray:
    """(studies,) whether the one swap of each study is called better or worse: step 3 of `study.verdicts`.

    The same as `direction` of whole tables (tested), for many studies at once.
    """
    n = d.shape[-1]
    got = st.paired_interval(d, resplit=resplit)
    said = (got.low > 0) | (got.high < 0)
    if n >= st.P_FROM and not resplit and st.smallest_p(n) <= st.ALPHA:
        said &= st.sign_flip_test(d) <= st.ALPHA
    return said


def called_without_effect(law: Callable, n: int, studies: int, seed: int = 1) -> float:
    """Share called better or worse although the true mean is 0: the law, its mean subtracted."""
    d, truth = law(np.random.default_rng([seed, n]), studies, n)
    return float(np.mean(called(d - truth)))


def at_smallest_detectable(n: int, studies: int, seed: int = 2, swaps: int = 1) -> np.ndarray:
    """(studies, n) normal differences whose true mean is what `smallest_detectable` names at their true sd, 1."""
    d, truth = laws.normal(np.random.default_rng([seed, n]), studies, n)
    return d - truth + float(st.smallest_detectable(1.0, n, alpha=st.ALPHA / swaps))


def power_of_t(n: int, studies: int, seed: int = 2, swaps: int = 1) -> float:
    """Share found there by the t test alone, of one of so many swaps at the first step of Holm: planned 80 %."""
    got = st.paired_interval(at_smallest_detectable(n, studies, seed, swaps))
    return float(np.mean(st.t_test(got.mean, got.error, n) <= st.ALPHA / swaps))


def power_of_rule(n: int, studies: int, seed: int = 2) -> float:
    """Share found there by the whole rule, for which the sign flips must agree."""
    return float(np.mean(called(at_smallest_detectable(n, studies, seed))))


def equivalence_errors(law: Callable, n: int, studies: int, seed: int = 3, resplit: float = 0.0) -> float:
    """Share called equivalent although the true mean lies exactly on the margin, 1.5 standard deviations."""
    rng = np.random.default_rng([seed, n])
    margin = 1.5 * float(np.std(law(rng, 1000, 1000)[0]))
    d, truth = law(rng, studies, n)
    got = st.paired_interval(d - truth + margin, resplit=resplit)
    return float(np.mean(st.equivalence_test(got.mean, got.error, n, margin) <= st.ALPHA))


# --- whole tables through the verdict engine ------------------------------------------------------------------------


def judged(scores: np.ndarray, contrasts: list[Contrast], **settings) -> pd.DataFrame:
    """Effects of one study. scores: (arm, replicate); arms are named a0, a1, …"""
    arms, n = scores.shape
    table = pd.DataFrame(
        {"arm": np.repeat([f"a{k}" for k in range(arms)], n), "replicate": np.tile(np.arange(n), arms),
         "value": scores.ravel(), "status": "done"}
    )  # fmt: skip
    return verdicts.effects(table, contrasts, **{"metric": "test_accuracy", **settings})


def re_seeded(rng: np.random.Generator, n: int, arms: int = 2) -> np.ndarray:
    """(arm, replicate) accuracies of the same network begun from other numbers: an A/A study.

    A replicate's split and host move all its arms alike, by 1.5 %, and replicates of one pool move together; a start
    of its own moves each by 1 %; 360 test items put it on a grid.
    """
    pool = 0.9 + 0.01 * rng.normal()
    quality = pool + 0.015 * rng.normal(size=n) + 0.01 * rng.normal(size=(arms, n))
    return rng.binomial(laws.ITEMS, np.clip(quality, 0, 1)) / laws.ITEMS


def alike_wrong(studies: int, n: int, resplit: float | None, seed: int = 4) -> int:
    """A/A studies that were called better or worse, by the whole engine."""
    rng = np.random.default_rng([seed, n])
    contrast = [Contrast("swap", "a1", "a0")]
    return sum(
        judged(re_seeded(rng, n), contrast, resplit=resplit)["direction"].iloc[0] in ("better", "worse")
        for _ in range(studies)
    )


def family_wrong(studies: int, n: int, role: str, swaps: int = 4, seed: int = 5) -> int:
    """Studies of several swaps against one host, the first of which has a large effect, in which any other one was
    called better or worse, by the whole engine. role: "level" (Holm) or "race" (max-|t| over joint sign flips)."""
    rng, wrong = np.random.default_rng([seed, n]), 0
    contrasts = [Contrast(f"s{k}", f"a{k}", "a0", (), role) for k in range(1, swaps + 1)]
    for _ in range(studies):
        scores = rng.standard_t(5, (swaps + 1, n))
        scores[1] += 6
        rest = judged(scores, contrasts, metric="score")["direction"].iloc[1:]
        wrong += bool(rest.isin(["better", "worse"]).any())
    return wrong


def race_wrong(studies: int, n: int, entries: int = 8, seed: int = 6) -> int:
    """The same of the joint p alone, for more races."""
    rng, wrong = np.random.default_rng([seed, n]), 0
    for _ in range(studies):
        d = rng.standard_t(5, (entries, n)) - rng.standard_t(5, n)
        d[0] += 6
        wrong += bool((joint_sign_flips(d)[1:] <= st.ALPHA).any())
    return wrong


# --- the tables -----------------------------------------------------------------------------------------------------


def percent(share: float, studies: int) -> str:
    """A share with twice its Monte-Carlo error: `94.9 ± 0.3`."""
    return f"{100 * share:.1f} ± {200 * np.sqrt(max(share * (1 - share), 1 / studies) / studies):.1f}"


def coverage_table() -> list[str]:
    lines = ["| differences | n | 95 % interval holds the truth | called better or worse without an effect |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for name, law in laws.LAWS.items():
        for n in REPLICATES:
            held, wrong = coverage(law, n), called_without_effect(law, n, FLIPPED[n])
            lines.append(f"| {name} | {n} | {percent(held, STUDIES)} | {percent(wrong, FLIPPED[n])} |")
    return lines


def resplit_table(studies: int = 4000, n: int = 10) -> list[str]:
    lines = ["| re-split replicates, n = 10 | corrected | as if independent |", "| --- | --- | --- |"]
    pools = laws.resplit_learners(np.random.default_rng(7), studies, n)
    truth = float(pools.mean())
    for name, law, count in (
        ("correlation 1/4 of all differences, as the correction assumes", laws.overlapping, STUDIES),
        ("two discriminants on 90 of 150 items, splits drawn anew", lambda *_: (pools, truth), studies),
    ):
        shares = [coverage(law, n, count, resplit=ratio) for ratio in (RATIO, 0.0)]
        lines.append(f"| {name} | {percent(shares[0], count)} | {percent(shares[1], count)} |")
    return lines


def power_table() -> list[str]:
    lines = ["| n | t test alone | one of three swaps, first step of Holm | whole rule, sign flips too |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for n in REPLICATES:
        alone, three, whole = power_of_t(n, STUDIES), power_of_t(n, STUDIES, 9, 3), power_of_rule(n, FLIPPED[n], 8)
        lines.append(f"| {n} | {percent(alone, STUDIES)} | {percent(three, STUDIES)} | {percent(whole, FLIPPED[n])} |")
    return lines


def error_table() -> list[str]:
    rows: list[tuple[str, float, int]] = []
    for n in (6, 10):
        rows += [
            (f"A/A, independent replicates, n = {n}", alike_wrong(400, n, None) / 400, 400),
            (f"A/A, re-split replicates, n = {n}", alike_wrong(400, n, RATIO) / 400, 400),
        ]
    rows += [
        ("Holm: any of three swaps without an effect, n = 10", family_wrong(400, 10, "level") / 400, 400),
        ("race: any of three entries without an effect, n = 10", family_wrong(400, 10, "race") / 400, 400),
        ("race: any of seven entries, joint p alone, n = 8", race_wrong(4000, 8) / 4000, 4000),
    ]
    rows += [
        (f"equivalent, the truth on the margin: {name}", equivalence_errors(laws.LAWS[name], 10, STUDIES), STUDIES)
        for name in laws.PROVEN
    ]
    wrong = equivalence_errors(laws.overlapping, 10, STUDIES, resplit=RATIO)
    rows.append(("equivalent, the truth on the margin: re-split replicates", wrong, STUDIES))
    lines = ["| error | studies with it, % (allowed: 5) | studies |", "| --- | --- | --- |"]
    return lines + [f"| {name} | {percent(share, count)} | {count} |" for name, share, count in rows]


TABLES = {"coverage": coverage_table, "resplit": resplit_table, "power": power_table, "errors": error_table}

if __name__ == "__main__":
    for name, make in TABLES.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            print("\n".join(make()), end="\n\n", flush=True)
