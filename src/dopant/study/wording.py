"""Verdicts as sentences that somebody who does not read tables can act on. Nothing is decided here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .statistics import DRAWS, EXACT_UP_TO, MOST_REPLICATES, P_FROM, POWER

if TYPE_CHECKING:
    from .pairs import Effect

JUDGED = ("level", "main", "variant", "race", "confirmed")  # roles that have a verdict of their own
LINE = 140  # characters
NAME = 24  # of them, where a line is too long for its names


def sentence(row: Effect, labels: Mapping[str, str]) -> str:
    """The verdict, then what was measured, why it says so, and what is missing.

    labels: how a control's cell is called.
    """
    parts = [f"{_alone(row.verdict)}: {_opening(row, labels)}"]
    if row.role in JUDGED:
        parts += _reasons(row, labels)
    parts += [*_uncertain(row), *_caveats(row)]
    return " ".join(part if part.endswith((".", "?")) else part + "." for part in parts if part)


def _alone(verdict: str) -> str:
    """`worse than` -> `worse`: before a colon, and a name that it is not said of, nothing may hang in the air."""
    return verdict.removesuffix(" than").removesuffix(" to")


def amount(value: float, row: Effect, *, signed: bool = False) -> str:
    """A difference in words: percentage points for accuracies between 0 and 1, else three significant digits."""
    return _number(value, row.share, "+" if signed else "")


def _number(value: float, share: bool, sign: str = "+") -> str:
    text = f"{100 * value:{sign}.2f}" if share else f"{value:{sign}.3g}"
    return "0" + text[2:] if text[:2] in ("+0", "-0") and float(text) == 0 else text


def measured(value: float, row: Effect) -> str:
    """`1.20 percentage points`."""
    return amount(value, row) + (" percentage points" if row.share else "")


def _opening(row: Effect, labels: Mapping[str, str]) -> str:
    against = labels.get(row.versus, row.versus) if row.role == "swap-versus-control" else row.versus
    if row.role == "interaction" and row.replicates:
        return (
            f"{row.swap}: together they changed {row.metric.replace('_', ' ')} by {_difference(row, row.replicates)} "
            "more than apart"
        )
    if row.replicates == 0:
        return f"{row.swap} cannot be compared with {against}" + ("" if row.unscored else " yet")
    return f"{row.swap} changed {row.metric.replace('_', ' ')} by {_difference(row, row.replicates)} against {against}"


def _difference(row: Effect, said: int | None = None) -> str:
    """The mean with its interval; `said`: the number of replicates to print, and which direction is better."""
    unit = " percentage points" if row.share else ""
    notes = []
    if math.isfinite(row.low) and math.isfinite(row.high):
        interval = f"95 % interval {amount(row.low, row, signed=True)} to {amount(row.high, row, signed=True)}"
        notes.append(interval + (", corrected for re-split data" if row.resplit else ""))
    if said:
        notes += [f"{said} replicate{'s' if said > 1 else ''}", "positive is better"]
    return amount(row.mean, row, signed=True) + unit + (f" ({', '.join(notes)})" if notes else "")


def _reasons(row: Effect, labels: Mapping[str, str]) -> list[str]:
    """Why the truth table says what it says, as far as the numbers of the opening do not."""
    if row.direction == "withheld":
        return []
    if row.chosen:
        return [
            f"It was picked as the best of {row.chosen} entries for these very scores, which overstates it; its "
            "verdict rests on replicates that had no part in the choice"
        ]
    if row.equivalence:
        small = f"Any difference is smaller than the margin of {measured(row.margin, row)} written down before the run"
        return [small, *_beside(row, labels)]
    if row.direction == "worse":
        return [f"That is worse than {row.versus}", *_beside(row, labels)]
    if row.direction == "unclear":
        return _beside(row, labels)
    parts = [f"That is better than {row.versus}" + (" on average" if row.role == "main" else "")]
    if not row.against and row.role != "main":
        parts.append("No control was run, so it may be the component or something ordinary that came along with it")
    for control in row.against:
        name, compared = labels[control.versus], ""
        if control.replicates:
            compared = f": {_difference(control)}"
        if control.at_most:
            parts.append(
                f"It is not better than the control {name} by the margin of {measured(row.margin, row)}{compared}"
            )
        elif control.direction in ("better", "worse"):
            parts.append(f"It is {control.direction} than the control {name}{compared}")
        else:
            parts.append(f"Against the control {name} nothing is decided{compared}")
            parts += _uncertain(control)
    return parts


def _beside(row: Effect, labels: Mapping[str, str]) -> list[str]:
    """One clause on the controls where the verdict does not rest on them."""
    words = {"better": "better than", "worse": "worse than", "unclear": "not told apart from"}
    clauses = [
        f"{'equivalent to' if control.equivalence else words[control.direction]} {labels[control.versus]}: "
        f"{_difference(control)}"
        if control.direction in words
        else f"not yet compared with {labels[control.versus]}"
        for control in row.against
    ]
    return [f"Beside its control{'s' if len(clauses) > 1 else ''} it is " + "; ".join(clauses)] if clauses else []


def _uncertain(row: Effect) -> list[str]:
    """What stands in the way of a decision about this pair, and what would help."""
    parts = []
    if row.incomplete:
        total = row.incomplete + row.replicates
        withheld = "significance is withheld" + ("" if row.unscored else " until all have")
        parts.append(f"{row.replicates} of {total} pairs of trials have a result; {withheld}")
    if row.replicates == 1:
        parts.append("One replicate shows no spread, so there is no interval and no test")
    if row.direction == "withheld":
        return parts
    if row.spread == "identical":
        parts.append(f"identical results in all {row.replicates} replicates: is the swap in effect?".capitalize())
    elif row.spread == "none":
        parts.append(
            f"The difference was the same in all {row.replicates} replicates; without spread there is no interval, "
            "which is not certainty"
        )
        if row.resplit:
            parts.append("Nothing is decided then, because the replicates re-split one pool and share data")
    elif row.spread == "rounding":
        parts.append(
            f"Scores were given to {row.step:g}, and the differences vary by no more than that: the spread may be "
            "rounding alone, so there is no interval; more decimals would tell more"
        )
    if row.direction != "unclear" or row.equivalence or row.chosen:
        return parts
    if row.blocked == "holm":
        parts.append(f"The interval excludes zero, but not after Holm's correction across {_family(row)}")
    elif row.blocked == "sign flips":
        parts.append(f"The interval excludes zero, but the sign-flip test {_corrected(row)} does not agree")
    elif row.spread == "some" and not (math.isfinite(row.low) and math.isfinite(row.high)):
        parts.append("The results are too far apart for an interval")
    elif row.spread == "some" and math.isnan(row.margin):
        widest = max(abs(row.low), abs(row.high))
        parts.append(f"Differences larger than {measured(widest, row)} are excluded; no margin was written down")
    if math.isinf(row.replicates_needed):
        parts.append(f"Not even {MOST_REPLICATES} replicates would tell")
    elif not math.isnan(row.replicates_needed):
        parts.append(f"About {row.replicates_needed:.0f} replicates would tell ({100 * POWER:.0f} % power)")
    return parts


def _caveats(row: Effect) -> list[str]:
    """p values, failures and controls that could not be built."""
    parts = []
    if not math.isnan(row.p):
        how = "" if row.replicates <= EXACT_UP_TO else f", {DRAWS} random flips from seed 0"
        text = f"Sign-flip p {_p(row.p)} (smallest possible {_p(row.p_floor)}{how})"
        if row.family > 1 and not math.isnan(row.p_holm):
            text += f", {_p(row.p_holm)} {_corrected(row)} across {_family(row)}"
        parts.append(text)
        if row.resplit:
            parts.append(
                "The sign-flip p ignores that re-split replicates share data and is shown for completeness"
                + ("; the corrected interval decides" if row.spread == "some" else "")
            )
    if row.role == "race" and row.family > 1 and math.isfinite(row.low_joint) and math.isfinite(row.high_joint):
        low, high = (amount(x, row, signed=True) for x in (row.low_joint, row.high_joint))
        parts.append(f"Of all {row.family} entries at once (Bonferroni), this one's interval is {low} to {high}")
    if row.out_of_reach:
        parts.append(
            f"The sign-flip test cannot reach significance with {row.replicates} replicates and {_family(row)}"
            + (", so the interval decides" if row.spread == "some" else "")
        )
    if 1 < row.replicates < P_FROM and row.role in JUDGED:
        parts.append(f"Too few replicates for a sign-flip p value, which needs {P_FROM}")
    if row.failed:
        trials = f"{row.failed} trial{'s' if row.failed > 1 else ''} failed"
        if row.left_out:
            parts.append(f"{trials} and {'is' if row.failed == 1 else 'are'} left out here")
        elif row.unscored and row.failure_value is None:
            parts.append(f"{trials} and cannot be scored, because no failure value was declared")
        elif row.unscored and math.isnan(row.failure_value or 0.0):
            parts.append(
                f"{trials}, and what that scores is not known before a trial has finished: it hangs on the number of "
                "classes"
            )
        elif row.unscored:
            parts.append(f"{trials} and this metric has no score for failure")
        else:
            parts.append(f"{trials} and counted as {row.metric.replace('_', ' ')} {row.failure_value:.3g}")
    if row.role == "simple":
        parts.append("A simple effect stands for itself: it is not corrected for how many of them are looked at")
    if row.missing:
        parts.append("Controls that could not be run: " + "; ".join(row.missing))
    return parts


def _family(row: Effect) -> str:
    return f"{row.family} " + ("entries" if row.role == "race" else "swaps")


def _corrected(row: Effect) -> str:
    return "by max-|t| over joint flips" if row.correction == "max-t" else "after Holm's correction"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def line(row: Mapping[str, Any], nearest: Mapping[str, Any] | None) -> str:
    """One line of at most 140 characters from a record of `effects`; nearest: of swap minus its nearest control.

    What does not fit goes in this order: the control's interval, what a "cannot tell" is better than, the ends of
    names, the control, the end of the verdict. The swap's own numbers stay.
    """
    share = " percentage points" in row["sentence"]  # the sentence knows the metric's unit
    total = row["replicates"] + row["incomplete"]
    n = f"n={row['replicates']}" + (f" of {total}" if row["incomplete"] else "")
    verdict = _alone(row["verdict"])
    less = re.sub("better than the (level below|host), but ", "", verdict)
    own = _bracketed(row, share) if row["replicates"] else ""

    def written(words: str, cut: int, control: str) -> str:
        swap, versus = _clipped(row["swap"], cut), _clipped(row["versus"], cut)
        if not own:
            return f"{words}: {swap} vs {versus}, no results"
        return f"{words}: {swap} {own} vs {versus}, {n}{control}"

    full = part = cut = ""
    if nearest is not None:
        name = nearest["versus"]
        mean = _number(nearest["mean"], share) + (" pp" if share else "")
        full, part = f"; vs control {name} {_bracketed(nearest, share)}", f"; vs control {name} {mean}"
        cut = f"; vs control {_clipped(name, NAME)} {mean}"
    tries = [(verdict, LINE, full), (verdict, LINE, part), (less, LINE, part), (less, NAME, cut), (less, NAME, "")]
    for words, names, control in tries:
        text = written(words, names, control)
        if len(text) <= LINE:
            return text
    return written(_clipped(less, max(NAME, LINE - len(written("", NAME, "")))), NAME, "")


def _bracketed(row: Mapping[str, Any], share: bool) -> str:
    """`-4.58 pp [-8.51, -0.66]`."""
    text = _number(row["mean"], share) + (" pp" if share else "")
    ends = (row["low"], row["high"])
    return text + (f" [{', '.join(_number(e, share) for e in ends)}]" if all(map(math.isfinite, ends)) else "")


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
