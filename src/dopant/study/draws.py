"""Draws from a search space: a function of (seed, number of the draw, what is known of earlier ones), by Optuna.

Optuna is asked and told; its storage is not used. Each draw has a sampler of its own, seeded for that draw, so that a
sampler made anew after a resume, or in another process, never repeats the draws of an earlier one, and asking for more
draws leaves the earlier ones as they are.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from ..streams import Streams
from .search import EXTRA, SHARED, Dimension

TUNING = 0  # the replicate that the streams of draws stand at: draws are of the study, not of a replicate
STARTUP = 10  # first draws of "tpe" that are random ones, as in Optuna
BATCH = 4  # later draws of "tpe" that are made together, on the results of those before them
DIGITS = 6  # significant ones of a number drawn: the same on every machine, and readable

Told = Sequence[tuple[Mapping[str, Any], float | None]]  # (a draw, its score; larger is better, None: not known yet)


def draw(space: Sequence[Dimension], sampler: str, seed: int, arm: str, number: int, told: Told = ()) -> dict[str, Any]:
    """Draw `number` (from 0) of an arm: {key: value}.

    What all arms share is drawn alike for every arm ("random", "qmc", and the first STARTUP of "tpe"), its extras for
    the arm by itself. sampler: "random" (independent), "qmc" (a scrambled Sobol sequence over the ranges; lists, and
    the first draw, are random), "tpe" (after STARTUP draws by the results of earlier ones in `told`, in their order).
    seed: the study's. arm: what the arm is known by. Numbers are rounded to DIGITS significant digits.
    Raises ConfigError where Optuna is not installed. Cost: milliseconds.
    """
    if sampler == "tpe" and number >= STARTUP:
        found = _adaptive(space, _seed(seed, number, arm), told)
    else:
        shared = [d for d in space if d.key in SHARED]
        found = _blind(shared, sampler, seed, "", number)
        found |= _blind([d for d in space if d.key not in SHARED], sampler, seed, arm, number)
    return {d.key: _value(d, found[d.key]) for d in space}


def _blind(space: Sequence[Dimension], sampler: str, seed: int, arm: str, number: int) -> dict[str, Any]:
    """A draw that looks at no result."""
    if not space:
        return {}
    with _quiet() as optuna:
        whole = _distributions(optuna, space)
        random = optuna.samplers.RandomSampler(seed=_seed(seed, number, arm))
        found = dict(optuna.create_study(sampler=random).ask(whole).params)
        ranges = {d.key: whole[d.key] for d in space if not d.choices}
        if sampler == "qmc" and ranges and number:
            sequence = optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=_seed(seed, -1, arm))
            study = optuna.create_study(sampler=sequence)
            # Optuna's sequence begins once one trial has told it the space.
            middle = {d.key: d.low for d in space if not d.choices}
            study.add_trial(optuna.trial.create_trial(params=middle, distributions=ranges, value=0.0))
            for _ in range(number):
                asked = study.ask(ranges)
                study.tell(asked, 0.0)
                found |= asked.params
    return found


def _adaptive(space: Sequence[Dimension], seed: int, told: Told) -> dict[str, Any]:
    """A draw of the tree-structured Parzen estimator, each dimension by itself (Optuna's default)."""
    with _quiet() as optuna:
        whole = _distributions(optuna, space)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=1, constant_liar=True)
        study = optuna.create_study(sampler=sampler, direction="maximize")
        for params, score in told:
            state = optuna.trial.TrialState.RUNNING if score is None else optuna.trial.TrialState.COMPLETE
            raw = {d.key: d.choices.index(params[d.key]) if d.choices else params[d.key] for d in space}
            study.add_trial(
                optuna.trial.create_trial(params=raw, distributions=whole, state=state, value=score)
            )  # a failed draw is told as minus infinity, the worst there is
        return dict(study.ask(whole).params)


def _distributions(optuna: Any, space: Sequence[Dimension]) -> dict[str, Any]:
    d = optuna.distributions
    return {
        x.key: d.CategoricalDistribution(list(range(len(x.choices)))) if x.choices
        else d.IntDistribution(x.low, x.high, log=x.log) if x.whole
        else d.FloatDistribution(x.low, x.high, log=x.log)
        for x in space
    }  # fmt: skip


def _value(dimension: Dimension, raw: Any) -> Any:
    if dimension.choices:
        return dimension.choices[raw]
    if dimension.whole:
        return int(raw)
    rounded = float(f"{raw:.{DIGITS}g}")
    return min(max(rounded, dimension.low), dimension.high)


def _seed(seed: int, number: int, arm: str) -> int:
    """A 32-bit seed of one draw."""
    return Streams(seed, TUNING).key(f"tuning:{arm}", number + 1) & 0xFFFFFFFF


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Optuna, without its notices of new studies and of experimental samplers. ConfigError where it is absent."""
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            f"tuning.search: draws come from Optuna, which is not installed: {EXTRA}; lists alone, tried in every "
            "combination (sampler = 'grid'), need none"
        ) from None
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield optuna
    finally:
        optuna.logging.set_verbosity(before)


def score_of(values: Sequence[float]) -> float:
    """A draw's score: the mean over its tuning replicates, minus infinity where one failed."""
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else -math.inf
