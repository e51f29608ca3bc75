"""How numbers, units and verdicts are written, the same in the page, its figures and the terminal."""

from __future__ import annotations

import math
import numbers
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MINUS, THIN = "\u2212", "\u202f"

# Columns of `effects` that are in the metric's own unit.
IN_UNIT_OF_METRIC = (
    "mean", "sd", "low", "high", "low_unpaired", "high_unpaired", "item_error", "margin", "smallest_detectable",
    "item_low", "item_high", "low_joint", "high_joint",
)  # fmt: skip
SIGNED = ("mean", "low", "high", "low_unpaired", "high_unpaired", "item_low", "item_high", "low_joint", "high_joint")


@dataclass(frozen=True)
class Kind:
    """One of the five verdicts: how it is recognised, drawn and explained."""

    key: str
    symbol: str
    word: str
    meaning: str


KINDS = (
    Kind("beyond", "▲", "beyond the ordinary", "better than the level below and better than every named control"),
    Kind("explained", "◆", "explained by",
         "better than the level below, but a named control does as well within the margin, or better"),
    Kind("same", "=", "no difference", "equal to the level below within the margin written down before the run"),
    Kind("unclear", "?", "cannot tell", "the replicates do not decide; the sentence says how many would"),
    Kind("worse", "▼", "worse", "worse than the level below"),
)  # fmt: skip
NO_VERDICT = Kind("none", "·", "no verdict", "nothing was judged")
TAGS = {
    "estimate": "fewer than ten replicates: read it as an estimate",
    "untuned": "the arms were not tuned alike",
}


def is_missing(value: Any) -> bool:
    """None, NaN, NaT and pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, numbers.Real) and math.isnan(value)


def clean(value: Any) -> str:
    """A text that is safe to print or to encode: control characters (a terminal would obey them) become a mark."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return "".join("\ufffd" if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)


def kind_of(verdict: Any) -> tuple[Kind, list[str]]:
    """The kind of a verdict and its tags: `estimate: untuned: worse` is worse, tagged estimate and untuned.

    The kind whose word comes first in the text counts, because a control's name may contain any word.
    """
    rest, tags = "" if is_missing(verdict) else str(verdict).strip(), []
    while (head := rest.partition(":")[0].strip().lower()) in TAGS and ":" in rest:
        tags.append(head)
        rest = rest.partition(":")[2].strip()
    found = [(at, kind) for kind in KINDS if (at := rest.lower().find(kind.word)) >= 0]
    return (min(found, key=lambda pair: pair[0])[1] if found else NO_VERDICT), tags


def without_tags(verdict: Any) -> str:
    """`estimate: worse` -> `worse`."""
    rest = "" if is_missing(verdict) else str(verdict).strip()
    while ":" in rest and rest.partition(":")[0].strip().lower() in TAGS:
        rest = rest.partition(":")[2].strip()
    return rest


@dataclass(frozen=True)
class Measure:
    """A metric. share: of items, so values are shown in per cent and differences in percentage points."""

    name: str
    share: bool

    @property
    def label(self) -> str:
        return plain(self.name)

    @property
    def unit(self) -> str:
        """Of a difference: `percentage points` for shares; other metrics have no unit that we know."""
        return "percentage points" if self.share else ""

    @property
    def short(self) -> str:
        return " pp" if self.share else ""


def measure(name: Any, values: Any = ()) -> Measure:
    """A metric by its name and values seen: an accuracy above 1 was given in per cent already and stays as it is."""
    name = clean(name)
    if "accuracy" not in name.lower():
        return Measure(name, False)
    if getattr(getattr(values, "dtype", None), "kind", "O") in "iuf":  # half a million lines of a log, at once
        return Measure(name, bool((values.isna() | ((values >= 0) & (values <= 1))).all()))
    seen = [float(v) for v in values if isinstance(v, numbers.Real) and not is_missing(v)]
    return Measure(name, all(0 <= v <= 1 for v in seen))


def measure_of(answer: Any, name: Any = None) -> Measure:
    """The metric of an answer's effects (the first one unless `name` says which), judged by the trials' values."""
    effects, trials = answer.effects, getattr(answer, "trials", None)
    if name is None:
        name = effects["metric"].iloc[0] if len(effects) and "metric" in effects.columns else ""
    return measure(name, () if trials is None or name not in trials.columns else trials[name])


def plain(metric: str) -> str:
    """`test_accuracy` -> `test accuracy`."""
    return clean(metric).replace("_", " ")


def number(value: Any, digits: int = 3) -> str:
    """`digits` significant digits, thousands apart, true minus; whole numbers whole; missing ones a dash."""
    if is_missing(value):
        return "–"
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return "yes" if value else "no"
    value = float(value)
    if math.isinf(value):
        return "∞" if value > 0 else MINUS + "∞"
    if value == int(value) and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif 1e-4 <= abs(value) < 1e6:
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{decimals}f}"
    else:
        text = f"{value:.{digits - 1}e}"
    return text.replace(",", THIN).replace("-", MINUS)


def difference(value: Any, metric: Measure, *, signed: bool = True) -> str:
    """A difference of a metric: in percentage points with two decimals for shares."""
    if is_missing(value):
        return "–"
    value = float(value)
    if metric.share and math.isfinite(value):
        text = f"{100 * value:+.2f}" if signed else f"{100 * value:.2f}"
        text = text.replace("-0.00", "0.00").replace("+0.00", "0.00")
    else:
        text = ("+" if signed and value > 0 else "") + number(value)
    return text.replace("-", MINUS)


def interval(low: Any, high: Any, metric: Measure) -> str:
    """`[0.61, 2.25]`, or the reason why there is none."""
    if is_missing(low) or is_missing(high):
        return "no interval"
    return f"[{difference(low, metric)}, {difference(high, metric)}]"


def score(value: Any, metric: Measure) -> str:
    """A metric's value: `91.62 %` for shares."""
    if is_missing(value) or not metric.share:
        return number(value, 4)
    return f"{100 * float(value):.2f}{THIN}%".replace("-", MINUS)


def p_value(value: Any) -> str:
    """Three decimals; below that `< 0.001`."""
    if is_missing(value):
        return "–"
    return "< 0.001" if 0 <= value < 0.001 else f"{value:.3f}"


def _scaled(value: Any, steps: tuple[tuple[float, str], ...]) -> str:
    if is_missing(value):
        return "–"
    for size, suffix in steps:
        if abs(value) >= size:
            return f"{number(value / size)}{THIN}{suffix}".rstrip()
    return number(value)


def seconds(value: Any) -> str:
    """`1.23 ms`."""
    if is_missing(value) or value == 0:
        return number(value)
    size, suffix = next(((s, n) for s, n in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")) if abs(value) >= s), (1e-9, "ns"))
    return f"{number(value / size)}{THIN}{suffix}"


def large(value: Any) -> str:
    """`1.23 M`: thousands, millions and so on."""
    return _scaled(value, ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")))


def duration(value: float) -> str:
    """`1 h 02 min`, `3 min 10 s`, `8 s`."""
    whole = max(0, round(value))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def manner(column: str, metric: Measure, values: Any = ()) -> tuple[Any, ...]:
    """How a column of any table is written, as data: the page's script writes the same. See `formatter`."""
    if column in IN_UNIT_OF_METRIC:
        return "difference", metric.share, column in SIGNED
    if column in ("p", "p_floor", "p_holm", "p_equivalence", "mcnemar_p"):
        return ("p",)
    if "flops" in column or column.endswith("bytes"):
        return ("large",)
    if column.startswith("seconds") or column.endswith("seconds"):
        return ("seconds",)
    if column == "correlation":
        return ("correlation",)
    if measure(column, values).share:
        return ("share",)
    return "number", 4 if "loss" in column else 3


def formatter(column: str, metric: Measure, values: Any = ()) -> Callable[[Any], str]:
    """How a column of any table is written. metric: what the effects are about. values: of the column."""
    kind, *settings = manner(column, metric, values)
    if kind == "difference":
        return lambda v: difference(v, metric, signed=settings[1])
    if kind == "number":
        return lambda v: number(v, settings[0])
    return {
        "p": p_value, "large": large, "seconds": seconds,
        "correlation": lambda v: f"{v:.2f}".replace("-", MINUS),
        "share": lambda v: score(v, Measure(column, True)),
    }[kind]  # fmt: skip
