"""What stands between two studies: their settings, whether their replicates pair, their cells, their trials."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from . import estimands, tuning
from .pairs import Scores
from .trial import canonical

if TYPE_CHECKING:
    import pandas as pd

    from ..designs import Contrast
    from .results import StudyAnswer

RECORDED = "provenance."  # how keys begin that are no setting of the study but a fact of its runs
# What two runs of one trial need not share: clocks, memory, machines.
_CLOCKS = re.compile(r"second|time|memory|bytes|device$|reads$")
_FACTS = ("versions", "platform", "processor", "cores", "threads_per_trial", "files", "plugins", "data", "git_commit")


# --- settings -------------------------------------------------------------------------------------------------------


def differences(a: StudyAnswer, b: StudyAnswer) -> list[tuple[str, Any, Any]]:
    """(dotted key, value in A, value in B) of what differs: data, host, recipe and design first, then what provenance
    recorded. The names of the studies and the analysis in words, which follows from the rest, are left out."""
    found = []
    one, two = (dict(flat(answer.study)) for answer in (a, b))
    for key in sorted(one.keys() | two.keys(), key=_place):
        if key != "study.name" and not key.startswith("analysis.plan") and one.get(key) != two.get(key):
            found.append((key, one.get(key), two.get(key)))
    one, two = (dict(flat({k: answer.provenance.get(k) for k in _FACTS})) for answer in (a, b))
    for key in sorted(one.keys() | two.keys()):
        if one.get(key) != two.get(key):
            found.append((RECORDED + key, one.get(key), two.get(key)))
    return found


def flat(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    """(dotted path, leaf) of nested tables and lists of tables; a list of plain values is a leaf."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(v, (Mapping, list, tuple)) for v in value):
        for number, inner in enumerate(value):
            yield from flat(inner, f"{path}.{number}")
    elif value is not None:
        yield path, list(value) if isinstance(value, tuple) else value


def _place(key: str) -> tuple[int, str]:
    first = ("study.data", "study.task", "study.protocol", "study.metric", "study.host", "study", "recipe", "design")
    return next((i for i, start in enumerate(first) if key == start or key.startswith(start + ".")), len(first)), key


def obstacles(a: StudyAnswer, b: StudyAnswer) -> list[str]:
    """Why effects of the two cannot be compared; empty where they can."""
    found = []
    for what, key in (("data", "data"), ("tasks", "task"), ("protocols", "protocol")):
        one, two = (answer.study["study"].get(key) for answer in (a, b))
        if one != two:
            found.append(f"the {what} differ: {_short(one)} and {_short(two)}")
    prints = [(answer.provenance.get("data") or {}).get("fingerprint") for answer in (a, b)]
    if not found and all(prints) and prints[0] != prints[1]:
        found.append(f"the data have one name but other contents (fingerprints {prints[0]} and {prints[1]})")
    (_, one, up), (_, two, upper) = a.metric, b.metric
    if (one, up) != (two, upper):
        found.append(f"the metrics differ: {one} and {two}")
    return found


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        more = ", ".join(f"{k} = {v!r}" for k, v in value.items() if k != "name")
        return f"{value.get('name')}" + (f" ({more})" if more else "")
    return "none" if value is None else str(value)


def pairing(a: StudyAnswer, b: StudyAnswer) -> tuple[bool, str]:
    """Whether replicate r of one study drew what replicate r of the other drew, and why (not), in words."""
    against = []
    for what, key in (("seeds", "seed"), ("data", "data"), ("hosts", "host"), ("tasks", "task"), ("folds", "folds")):
        one, two = (answer.study["study"].get(key) for answer in (a, b))
        if one != two:
            against.append(f"their {what} differ")
    common = min(answer.study["study"].get("replicates", 0) for answer in (a, b))
    if common < 2:
        against.append("they have fewer than two replicates in common")
    if against:
        return False, f"unpaired (Welch): {', '.join(against)}, so the replicates of the two share no draws"
    return True, (
        f"paired: seed, data and host are the same, so each of the {common} common replicates drew the same split, "
        "initial weights and order in both"
    )


# --- the arms of effects --------------------------------------------------------------------------------------------


class Arms:
    """What the arms of a study's effects are made of, and their scores."""

    def __init__(self, answer: StudyAnswer):
        self.answer = answer
        self.cells = {cell.name: cell for cell in answer.cells}
        self.sums = {
            n: parts for c in _contrasts(answer) for n, parts in ((c.cell, c.plus), (c.versus, c.minus)) if parts
        }
        name, column, higher = answer.metric
        table = answer._scores("main", column, {cell: cell for cell in self.cells})
        self.scores = Scores.read(table, higher, answer.failure_value(name)).with_sums(self.sums)

    def defined(self, arm: str) -> str:
        """All that makes an arm what it is, but not what it is called."""
        parts = self.sums.get(arm, ((arm, 1.0),))
        return canonical(sorted([definition(self.cells.get(cell), cell), float(weight)] for cell, weight in parts))

    def differences(self, effect: Mapping[str, Any]) -> Any:
        """{replicate: cell minus versus}, positive is better, of the replicates that have both."""
        import pandas as pd

        (one, _), (two, _) = self.scores.arm(effect["cell"]), self.scores.arm(effect["versus"])
        return pd.Series(self.scores.sign * (one - two), index=self.scores.values.columns).dropna()


def definition(cell: Any, name: str) -> str:
    """The swaps, recipe and baseline of a cell as text; the name alone where it is not a cell of the study."""
    if cell is None:
        return name
    return canonical([cell.swaps, cell.recipe, cell.baseline, cell.drop_in])


def _contrasts(answer: StudyAnswer) -> list[Contrast]:
    """Every contrast of the study, of both estimands where two are reported, simple ones too."""
    found = list(answer.contrasts)
    if tuning.both(answer.config) and answer.config.tuning is not None:
        for estimand in answer.config.tuning.reported():
            found += estimands.contrasts_of(answer.config, answer.contrasts, answer.cells, estimand)
    return [one for contrast in found for one in (contrast, *contrast.simple)]


# --- cells and trials -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reproduction:
    """common: trials with one identifier in both; finished: of those, done in both; equal: of those, with all results
    equal to the last bit (clocks, memory and machine apart); copied: of those, one and the same run. largest: the
    largest difference of a result, of `where`; apart: the setting by which trials of one place differ, if none is
    common."""

    common: int
    finished: int
    equal: int
    copied: int
    largest: float
    where: str
    apart: tuple[str, ...]
    sentence: str

    def to_json(self) -> dict[str, Any]:
        found = asdict(self) | {"apart": list(self.apart)}
        return found | {"largest": None if math.isnan(self.largest) else self.largest}


def reproduction(a: StudyAnswer, b: StudyAnswer) -> Reproduction:
    """Whether trials with the same identifier gave the same results."""
    one, two = ({row["id"]: row for row in answer.store.rows()} for answer in (a, b))
    common = [i for i in one if i in two]
    both = [i for i in common if one[i]["state"] == two[i]["state"] == "done"]
    copied = sum(all(one[i][k] == two[i][k] for k in ("started", "finished")) for i in both)
    equal, largest, where = 0, math.nan, ""
    for i in both:
        gap, name = largest_gap(one[i]["metrics"] or {}, two[i]["metrics"] or {})
        equal += gap == 0
        if math.isnan(largest) or gap > largest:
            largest, where = gap, f"{name} of {one[i]['cell']}, replicate {one[i]['replicate']}" if name else ""
    apart = () if common else _apart(one.values(), two.values())
    found = (len(common), len(both), equal, copied, largest, where, apart)
    return Reproduction(*found, _sentence(*found))


def largest_gap(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[float, str]:
    """(the largest absolute difference, its name) of two results; infinite where one lacks a value or a word differs.
    Clocks, memory, and the name of the machine's device do not count."""
    worst, name = 0.0, ""
    for key in sorted(a.keys() | b.keys()):
        if _CLOCKS.search(key) or a.get(key) == b.get(key):
            continue
        x: Any = a.get(key)
        y: Any = b.get(key)
        numbers = isinstance(x, (int, float)) and isinstance(y, (int, float))
        gap = abs(x - y) if numbers else math.inf
        if numbers and math.isnan(x) and math.isnan(y):
            continue
        gap = math.inf if math.isnan(gap) else gap
        if gap > worst:
            worst, name = gap, key
    return worst, name


def _apart(one: Iterable[Mapping[str, Any]], two: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """By what the descriptions of trials at one place (cell, replicate) differ, in at most a few keys."""
    from .plan import differences as between

    places = {(row["cell"], row["replicate"], row["phase"]): row for row in one}
    for row in two:
        other = places.get((row["cell"], row["replicate"], row["phase"]))
        if other is not None:
            return tuple(path for path, *_ in between(other["description"], row["description"]))[:6]
    return ()


def _sentence(
    common: int, finished: int, equal: int, copied: int, largest: float, where: str, apart: tuple[str, ...]
) -> str:
    if not common:
        by = f": trials of the same cell and replicate differ in {', '.join(apart)}" if apart else ""
        return f"No trial has the same identifier in both{by}; neither reproduces the other's numbers."
    said = f"{common} trials have the same identifier in both, {finished} of them finished in both; "
    if not finished:
        return said + "nothing to compare yet."
    if equal == finished:
        said += "the results of all of them are equal to the last bit."
    else:
        size = "which one lacks, or in words" if math.isinf(largest) else f"{largest:.3g}"
        said += f"{equal} gave results equal to the last bit; the largest difference is {size} ({where})."
    if copied:
        said += f" {copied} of them are one and the same run, copied or forked, which reproduces nothing."
    return said


def cells(a: StudyAnswer, b: StudyAnswer) -> pd.DataFrame:
    """One row for each cell that both have (the same swaps, recipe, baseline): n, mean and SD of the metric in each,
    trials with one identifier, those of them with equal results, the largest difference."""
    import pandas as pd

    named: dict[str, list[str]] = {}
    for cell in b.cells:
        named.setdefault(definition(cell, cell.name), []).append(cell.name)
    one, two = ({r["id"]: r for r in answer.rows if r["phase"] == "main"} for answer in (a, b))
    rows = []
    for cell in a.cells:
        known = named.get(definition(cell, cell.name))
        if known is None:
            continue
        other = cell.name if cell.name in known else known[0]
        row: dict[str, Any] = {"cell": cell.name, "cell_b": other}
        for side, answer, name in (("a", a, cell.name), ("b", b, other)):
            column = answer.metric[1]
            trials: Any = answer.trials
            done = trials[(answer.trials["cell"] == name) & (answer.trials["status"] == "done")]
            values: Any = pd.to_numeric(done[column], errors="coerce") if column in done else pd.Series(dtype=float)
            values = values.dropna()
            row |= {f"n_{side}": len(values), f"mean_{side}": values.mean(), f"sd_{side}": values.std()}
        mine = a.trials.loc[a.trials["cell"] == cell.name, "trial"]
        gaps = [
            largest_gap(one[i]["metrics"], two[i]["metrics"])[0]
            for i in mine
            if i in two and one[i]["state"] == two[i]["state"] == "done"
        ]
        row |= {"same_trials": len(gaps), "equal": sum(g == 0 for g in gaps), "largest": max(gaps, default=math.nan)}
        rows.append(row)
    return pd.DataFrame(rows, columns=[
        "cell", "cell_b", "n_a", "mean_a", "sd_a", "n_b", "mean_b", "sd_b", "same_trials", "equal", "largest",
    ])  # fmt: skip


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as JSON values: what is not a number is None."""

    def one(value: Any) -> Any:
        value = value.item() if hasattr(value, "item") else value
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return [{k: one(v) for k, v in row.items()} for row in frame.to_dict("records")]
