"""What the numbers allow to be said about themselves: fairness of the comparison, and what cannot be concluded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..verdicts import SPOKEN
from .forest import role_of
from .words import clean, difference, interval, is_missing, kind_of, measure_of, without_tags

P_FROM, ESTIMATE_BELOW = 6, 10  # replicates: below the first no p, below the second "estimate:"


@dataclass(frozen=True)
class Check:
    """One line of the checklist. state: `yes`, `no` or `open` (nothing to judge yet)."""

    state: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """A verdict ready to be shown. role, swap, big, interval: empty where the sentence belongs to no effect. simple: a
    line for each simple effect of a main effect that depends on another factor. estimand: where there are two."""

    role: str
    key: str
    symbol: str
    word: str
    tags: list[str]
    swap: str
    big: str
    interval: str
    sentence: str
    simple: list[str]
    estimand: str = ""


def protocol(answer: Any) -> str | None:
    """The study's protocol: None for the usual one, `published` where the test set is read every epoch."""
    return _of(answer, "protocol")


def reads_test_set(answer: Any) -> bool:
    """Whether the test set was read every epoch: the protocol says so, or the curves hold test metrics."""
    metrics = getattr(answer, "metrics", None)
    if protocol(answer) == "published" or metrics is None:
        return protocol(answer) == "published"
    return any(bool(metrics[c].notna().any()) for c in metrics.columns if str(c).startswith("test_"))


def levels(effects: Any) -> list[dict[str, Any]]:
    """The effects that answer the question: not those of controls and variants, and of two estimands the primary."""
    return [row for row in effects.to_dict("records") if role_of(row) == "level" and row.get("primary", True)]


def fewest(rows: list[dict[str, Any]]) -> int:
    """The replicates of the effect that has the fewest."""
    return min(0 if is_missing(r.get("replicates")) else int(r["replicates"]) for r in rows)


def verdicts(answer: Any) -> list[Verdict]:
    """The sentences of `Answer.verdicts`, each beside its effect where there are as many of both."""
    rows = [row for row in answer.effects.to_dict("records") if row.get("role", "level") in SPOKEN]
    if len(rows) != len(answer.verdicts):
        rows = levels(answer.effects)
    paired = rows if len(rows) == len(answer.verdicts) else [None] * len(answer.verdicts)
    shown = []
    for sentence, row in zip(answer.verdicts, paired, strict=True):
        kind, tags = kind_of(row.get("verdict") if row else sentence)
        role = swap = big = between = ""
        simple: list[str] = []
        if row:
            metric, role = measure_of(answer, row.get("metric")), role_of(row)
            swap = f"{clean(row.get('swap', ''))} against {clean(row.get('versus', ''))}"
            simple = [_simple(r, metric) for r in _simple_of(answer.effects, row)]
            big = "" if is_missing(row.get("mean")) else difference(row["mean"], metric) + metric.short
            if not is_missing(row.get("low")):
                low, high = difference(row["low"], metric), difference(row["high"], metric)
                between = f"95 % interval {low} to {high}"
        word = clean(without_tags(row["verdict"])) if row else kind.word
        verdict = Verdict(role, kind.key, kind.symbol, word, tags, swap, big, between, clean(sentence), simple)
        shown.append(replace(verdict, estimand=_estimand(row)) if row else verdict)
    return shown


def _simple_of(effects: Any, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The simple effects that belong to a row of `effects`."""
    if row.get("role") != "main" or "of" not in effects.columns:
        return []
    mine = (effects["role"] == "simple") & (effects["of"] == row["swap"]) & (effects["estimand"] == row["estimand"])
    return effects[mine].to_dict("records")


def _estimand(row: dict[str, Any]) -> str:
    """`drop-in` or `best against best, primary`, where a study reports both."""
    if "primary" not in row:
        return ""
    return clean(row["estimand"]) + (", primary" if row["primary"] else "")


def _simple(row: dict[str, Any], metric: Any) -> str:
    """`head=circuit at rate=fast: -1.20 pp [-2.00, -0.40], worse`."""
    said = without_tags(row["verdict"]).removesuffix(" than").removesuffix(" to")
    values = f"{difference(row['mean'], metric)}{metric.short} {interval(row['low'], row['high'], metric)}"
    return clean(f"{row['swap']}: {values}, {said}")


def checklist(answer: Any) -> list[Check]:
    """Was the comparison fair? Each line from the answer itself."""
    rows, counts = levels(answer.effects), getattr(answer, "counts", None) or {}
    found: list[Check] = []
    failed, left = counts.get("failed", 0), counts.get("planned", 0) - counts.get("done", 0) - counts.get("failed", 0)
    if left > 0:
        found.append(
            Check("open", f"{left} of {counts['planned']} trials are not finished; every number may still move.")
        )
    found.append(
        Check("no", f"{failed} trials failed; they count at the task's failure value and are listed below.")
        if failed else Check("yes" if counts.get("done") else "open", "No trial failed.")
    )  # fmt: skip
    if not rows:
        return [*found, Check("open", "No effect could be computed yet.")]
    correlations = [r["correlation"] for r in rows if not is_missing(r.get("correlation"))]
    if correlations:
        low, high = min(correlations), max(correlations)
        between = f"{low:.2f}" if len(correlations) == 1 else f"{low:.2f} to {high:.2f}"
        found.append(
            Check("yes" if low > 0 else "no",
                  f"Paired: both arms of a replicate share data, start, order, noise; correlation achieved {between}."
                  + ("" if low > 0 else " Where it is not positive, pairing gained nothing."))
        )  # fmt: skip
    n = fewest(rows)
    found.append(
        Check("yes", f"{n} replicates or more for every effect.") if n >= ESTIMATE_BELOW
        else Check("no", f"Only {n} replicate{'' if n == 1 else 's'}: every verdict is an estimate"
                   + (", no p value is given" if n < P_FROM else "") + (" and there is no interval." if n < 2 else "."))
    )  # fmt: skip
    without = [clean(r["swap"]) for r in rows if not r.get("controls")]
    found.append(
        Check("no", f"Without a control: {', '.join(without)}.") if without
        else Check("yes", "Every effect stands beside its controls.")
    )  # fmt: skip
    given = {r.get("estimand") for r in rows} == {
        "as given"
    }  # a table from elsewhere, which tells nothing of its making
    changed = any("margin was changed" in str(note) for note in getattr(answer, "notes", None) or [])
    if any(is_missing(r.get("margin")) for r in rows):
        found.append(Check("no", "No margin was written down before the run, so nothing can be called equal."))
    elif given:
        found.append(Check("open", "Whether the margin was written down before the run, a table cannot tell."))
    elif changed:
        found.append(Check("no", "The margin was changed after trials had finished: see the notes."))
    else:
        found.append(Check("yes", "The margin within which a difference counts as none was set before the run."))
    if any(not is_missing(r.get("untuned")) and bool(r["untuned"]) for r in rows):
        found.append(Check("no", f"The arms were not tuned: all ran one recipe.{_beside(rows)}"))
    elif given:
        found.append(Check("open", "Whether the arms were tuned alike, a table cannot tell."))
    else:
        found.append(Check("yes", f"All arms were tuned alike.{_beside(rows)}"))
    if given:
        return found
    found.append(
        Check("no", "The test set was read every epoch, as the published protocol does.") if reads_test_set(answer)
        else Check("yes", "Curves show validation data; the test set was read once per finished trial.")
    )  # fmt: skip
    return found


def _beside(rows: list[dict[str, Any]]) -> str:
    """What stands beside the primary estimand; empty where there is one alone."""
    if not rows or "primary" not in rows[0]:
        return ""
    other = (
        "drop-in effects, under the study's recipe," if rows[0]["estimand"] != "drop-in" else "effects of tuned arms"
    )
    return f" Beside the primary estimand stand {other} too."


def limits(answer: Any) -> list[str]:
    """What the reader must not conclude from this study."""
    rows, found = levels(answer.effects), []
    data = _of(answer, "data")
    if isinstance(data, dict):
        data = data.get("name")
    if data:
        found.append(
            f"Anything about data other than {clean(data)}, other hosts or other recipes: one of each was tried."
        )
    estimands = {str(r["estimand"]) for r in rows if not is_missing(r.get("estimand"))}
    if estimands == {"drop-in"}:
        found.append(
            "How each cell would do with a recipe of its own: these are drop-in effects; only the swap differs."
        )
    tiers = {str(r["tier"]) for r in rows if not is_missing(r.get("tier"))}
    simulated = sorted(clean(t) for t in tiers & {"exact expectation", "finite shots", "noisy"})
    if simulated:
        found.append(f"What a device would give: the evidence is {' and '.join(simulated)}, by simulation.")
    for row in rows:
        kind, _ = kind_of(row.get("verdict"))
        smallest = row.get("smallest_detectable")
        if kind.key == "unclear" and not is_missing(smallest):
            metric = measure_of(answer, row.get("metric"))
            shown = f"{difference(smallest, metric, signed=False)} {metric.unit}".rstrip()
            found.append(
                f"Whether {clean(row['swap'])} helps: with {int(row['replicates'])} replicates only differences of "
                f"{shown} or more would have been found."
            )
        if kind.key == "beyond":
            found.append(f"That nothing ordinary does what {clean(row['swap'])} does: it beat the named controls only.")
        if not row.get("controls"):
            found.append(f"That it is {clean(row['swap'])} itself that matters: no control stood beside it.")
    if rows and fewest(rows) < ESTIMATE_BELOW:
        found.append("Firm conclusions: with fewer than ten replicates a verdict is an estimate.")
    if not rows:
        found.append("Anything yet: no effect could be computed.")
    return found


def _of(answer: Any, key: str) -> Any:
    """A key of the study's table `[study]`."""
    study: dict[str, Any] = getattr(answer, "study", None) or {}
    table = study.get("study")
    return table.get(key) if isinstance(table, dict) else study.get(key)
