"""A choice in words, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..study.search import BEST, DROP_IN
from .costs import Costs
from .space import Code, Space
from .surrogate import Column, Fitted

if TYPE_CHECKING:
    from ..study.results import StudyAnswer
    from .measured import Measured

UNITS = {"parameters": "parameters", "qubits": "qubits", "seconds": "seconds a trial"}
ESTIMATE_BELOW = 10  # replicates, as verdicts have it


def sentences(
    answer: StudyAnswer, space: Space, chosen: Mapping[str, Any], among: int, budgets: Mapping[str, float]
) -> list[str]:
    """The choice, its test score, its difference to the reference."""
    metric = answer.metric[0]
    estimate = "estimate: " if chosen["replicates"] < ESTIMATE_BELOW else ""
    under = f" within {limits(budgets)}" if budgets else ""
    found = [
        f"{estimate}{chosen['swaps']} is chosen by validation among the {among} trained combinations{under}: mean "
        f"validation {metric} {number(chosen['validation'])}{between(chosen['low'], chosen['high'])}, "
        f"{chosen['replicates']} replicates. It costs {costs_text(chosen)}.",
    ]
    if math.isfinite(chosen["test"]):
        found.append(f"Its test {metric}: {number(chosen['test'])}{between(chosen['test_low'], chosen['test_high'])}.")
    if "difference" in chosen:
        low, high = chosen["difference_low"], chosen["difference_high"]
        kept = "" if chosen["versus_in_budget"] else ", which exceeds the budget"
        told = "an interval cannot be told" if math.isnan(low) else (
            "better" if low > 0 else "worse" if high < 0 else "not told apart"
        )  # fmt: skip
        found.append(
            f"{estimate}Against {chosen['versus']}{kept}, paired, on the test set: {chosen['difference']:+.4g}"
            f"{between(low, high)} (positive is better): {told}."
        )
    return found


def notes(
    answer: StudyAnswer, fitted: Fitted, measured: Measured, skipped: Sequence[str], errors: Sequence[float],
    further: StudyAnswer | None,
) -> list[str]:  # fmt: skip
    """What predictions and choice rest on."""
    space = fitted.space
    pairs = [c for c in fitted.columns if len(c) == 2]
    found = [
        f"Predictions rest on {len(fitted.codes)} of {space.total:,} combinations: {len(fitted.estimable)} main "
        f"effects and {len(pairs)} interactions of two, by least squares on mean validation scores"
        + (
            f"; root mean square residual {fitted.residual:.2g} with {fitted.free} degrees of freedom."
            if fitted.free
            else "; as many terms as cells, so predictions of trained cells are their means."
        )
    ]
    if fitted.assumed:
        found.append(
            f"{len(fitted.assumed)} interactions cannot be told from the trained cells and count as none: "
            f"{listed([label(space, c) for c in fitted.assumed])}."
        )
    if fitted.unknown:
        found.append(
            "Not predicted, because the level was never trained or always beside another: "
            f"{listed([space.label(c) for c in fitted.unknown])}."
        )
    if errors:
        worst = max(errors, key=abs)
        found.append(
            f"Of the new combinations, measured minus predicted validation score: root mean square "
            f"{float(np.sqrt(np.mean(np.square(errors)))):.2g}, at most {worst:+.2g}."
        )
    tuning = answer.config.tuning
    if tuning is not None:
        found.append(
            "Combinations are compared at their best: each is tuned alike, and costs and scores are those of what it "
            f"chose{'' if tuning.reported()[0] == BEST else f', not of the recipe as written ({DROP_IN})'}."
        )
    found.append(
        "The choice is by validation alone, so the chosen one's validation score is on average too high"
        + ("; its test score is not, by this choice" if answer.resplit() is None else "")
        + ". Every finished trial reads the test set once; here only the chosen one's is told"
        + (f" (the page in {further.folder} shows those of all)." if further is not None else ".")
    )
    if answer.resplit() is not None:
        found.append(
            "Each replicate draws its own split of one pool, so the choice was made with items that other replicates "
            "test on: its test score is on average too high as well, by an amount that is not known."
        )
    found += [f"Left out: {line}." for line in skipped[:5]]
    if len(skipped) > 5:
        found.append(f"… and {len(skipped) - 5} more left out.")
    found += [f"Left out, its score is not finite: {line}." for line in measured.unscored.values()]
    return found


def nothing_kept(space: Space, costs: Costs, budgets: Mapping[str, float], near: tuple[Code, float] | None) -> str:
    text = f"choose: no combination of {space.total:,} keeps {limits(budgets)}"
    if near is None:
        return text + ", or its costs are not known"
    code, _ = near
    return f"{text}; the nearest is {space.swaps(code)}, with {costs_text(costs.one(code))}"


def limits(budgets: Mapping[str, float]) -> str:
    return " and ".join(f"at most {amount(key, most)} {UNITS[key]}" for key, most in budgets.items())


def costs_text(row: Mapping[str, Any]) -> str:
    known = [f"{amount(key, row[key])} {unit}" for key, unit in UNITS.items() if math.isfinite(row[key])]
    return ", ".join(known) or "what is not known"


def amount(key: str, value: float) -> str:
    if not math.isfinite(value):
        return "?"
    return f"{value:.3g}" if key == "seconds" else f"{value:,.0f}"


def number(value: float) -> str:
    return f"{value:.4g}"


def between(low: float, high: float) -> str:
    return "" if math.isnan(low) else f" (95 % t interval, not cut at the ends of a scale: {low:.4g} to {high:.4g})"


def label(space: Space, column: Column) -> str:
    return " x ".join(map(space.label, column))


def listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Values that JSON can hold; null for what is not known."""
    found = {}
    for key, value in row.items():
        value = value.item() if isinstance(value, np.generic) else value
        found[key] = None if isinstance(value, float) and not math.isfinite(value) else value
    return found


def lines(table: Any) -> Any:
    """The table for people, within 80 columns: only the swaps fold, at their spaces first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    shown.add_column("rank", justify="right", no_wrap=True)
    shown.add_column("swaps", overflow="fold", min_width=14)
    for name in ("predicted", "validation\n(95 %)", "para-\nmeters", "qubits", "seconds"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("", no_wrap=True)
    for row in table.to_dict(orient="records"):
        rank = "" if math.isnan(row["rank"]) else str(int(row["rank"]))
        score = "not trained" if math.isnan(row["validation"]) else number(row["validation"])
        interval = "" if math.isnan(row["low"]) else f"\n{row['low']:.3g} to {row['high']:.3g}"
        predicted = "?" if math.isnan(row["predicted"]) else number(row["predicted"])
        costs = [amount(key, row[key]) for key in UNITS]
        said = [word for word, true in (("chosen", row["chosen"]), ("new", row["new"]),
                                        ("over\nbudget", not row["in_budget"])) if true]  # fmt: skip
        shown.add_row(rank, row["swaps"], predicted, score + interval, *costs, "\n".join(said))
    return shown
