"""The numbers in the page's words: counts, verdict cards, sentences, checklist, limits, reads of the test set.

A card is matched with its effect by name. Every number of a sentence must be a rounding of one of its numbers,
of one of its controls', or one of the constants that the sentences name.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable
from typing import Any

import tuning
from effects import Effect, Within
from page import Node, Table, ascii_number, is_rounding

SPOKEN = ("level", "main", "race", "confirmed", "variant", "baseline")
TAGS = ("estimate: ", "untuned: ")
# per cent of intervals, replicates that no search goes beyond, the levels of the tests, the fewest replicates of a p
CONSTANTS = (95.0, 10_000.0, 5.0, 80.0, 0.05, 6.0, 10.0)
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])")


def check(study: Any, root: Node, tables: list[Table]) -> list[str]:
    """Every mismatch of the page's words."""
    table = next((t for t in tables if t.id == "effects"), None)
    found = study.effects(table) if table is not None else []
    study.errors = []
    return [*_counts(study, root), *_cards(study, root, found), *_fairness(study, root, found),
            *_limits(study, root, found), *_reads(study, root)]  # fmt: skip


def one(nodes: list[Node]) -> str:
    return nodes[0].text.strip() if nodes else ""


def without_tags(verdict: str) -> str:
    for tag in TAGS:
        verdict = verdict.removeprefix(tag)
    return verdict


def _counts(study: Any, root: Node) -> list[str]:
    """Planned, done, failed: of all trials, those that tune and confirm too."""
    shown = {}
    for span in (n for box in root.find(id="counts") for n in box.find("span")):
        number = one(span.find("b"))
        shown[span.text.replace(number, "").strip()] = int(number.replace("\u202f", "").replace(",", ""))
    states = [t.state for t in study.folder.trials]
    want = {"done": states.count("done"), "failed": states.count("failed") + states.count("lost")}
    want["planned"] = want["done"] + want["failed"] + shown.get("pending", 0) + shown.get("running", 0)
    want["planned"] = max(want["planned"], len(states))
    return [f"counts: {k} {shown.get(k)} on the page, {v} recomputed" for k, v in want.items() if shown.get(k, 0) != v]


def _cards(study: Any, root: Node, effects: list[Effect]) -> list[str]:
    errors, left = [], [e for e in effects if e.pair.role in SPOKEN]
    for card in root.find("article", "card"):
        name = one(card.find("h3"))
        if not name:
            continue
        tags = [n.text for n in card.find("span", "tag")]
        mine = [e for e in left if f"{e.pair.swap} against {e.pair.versus}" == name]
        mine = [e for e in mine if not study.both or any(e.pair.estimand in t for t in tags)] or mine
        if not mine:
            errors.append(f"verdict card {name!r}: no such effect was recomputed")
            continue
        effect = mine[0]
        left.remove(effect)
        errors += [f"verdict card {name!r}: {said}" for said in _card(study, card, effect, effects, tags)]
    return errors + [f"no verdict card for {e.pair.swap} against {e.pair.versus}" for e in left if root.find("article")]


def _card(study: Any, card: Node, effect: Effect, effects: list[Effect], tags: list[str]) -> Iterable[str]:
    v = effect.values
    word = re.sub(r"\s+", " ", one(card.find("p", "kind")[0].find("bdi")))
    if word != without_tags(effect.verdict):
        yield f"{word!r} on the page, {without_tags(effect.verdict)!r} recomputed"
    for tag in ("estimate", "untuned"):
        if (tag in tags) != (f"{tag}: " in effect.verdict[:20]):
            yield f"tag {tag!r} is {'there' if tag in tags else 'missing'}, and the verdict is {effect.verdict!r}"
    big = one(card.find("p", "big"))
    if not _same(big, v["mean"], study):
        yield f"{big!r} in big figures, {v['mean']!r} recomputed"
    between = re.fullmatch(r"95 % interval (\S+) to (\S+)", one(card.find("p", "interval")))
    if math.isnan(v["low"]):
        if between:
            yield f"an interval {between[0]!r}, and none was recomputed"
    elif not between or not all(_same(t, v[k], study, True) for t, k in ((between[1], "low"), (between[2], "high"))):
        yield f"{one(card.find('p', 'interval'))!r} on the page, {v['low']!r} to {v['high']!r} recomputed"
    sentence = one(card.find("p", "sentence"))
    yield from unexplained(study, sentence, _numbers(study, effect, effects))
    for line in (n.text for n in card.find("li")):
        owner = next((e for e in effects if e.pair.role == "simple" and line.startswith(e.pair.swap + ": ")
                      and e.pair.estimand == effect.pair.estimand), None)  # fmt: skip
        if owner is None:
            yield f"simple effect {line!r} was not recomputed"
            continue
        yield from unexplained(study, line, _numbers(study, owner, [owner]))
        wanted = without_tags(owner.verdict).removesuffix(" than").removesuffix(" to")
        if not line.endswith(f", {wanted}"):
            yield f"simple effect {line!r}: {wanted!r} recomputed"


def _settings(study: Any, cell: str) -> list[Any]:
    """What a cell's trials had of all that is searched: sentences tell it where it lies on an edge."""
    keys, trials = tuning.searched(study.folder), [t for c, _, t in study.folder.of("main") if c == cell]
    return [tuning.setting(trials[0], key) for key in keys] if trials else []


def share(study: Any) -> bool:
    """Whether the metric is shown in per cent: an accuracy between 0 and 1."""
    values, _ = study.folder.scores()
    known = [x for x in values.values() if not math.isnan(x)]
    return "accuracy" in study.folder.metric and all(0 <= x <= 1 for x in known)


def _same(text: str, value: float, study: Any, bare: bool = False) -> bool:
    if math.isnan(value):
        return text in ("", "–")
    if share(study) and not bare and not ascii_number(text).endswith("pp"):
        return False
    return is_rounding(text, value, share(study) and bare)


def _numbers(study: Any, effect: Effect, effects: list[Effect]) -> list[tuple[float, bool]]:
    """(value, whether in the metric's unit) of all that a sentence on this effect may tell."""
    related = [effect, *effect.against]
    related += [e for e in effects if e.pair.minus == effect.pair.minus or e.pair.plus == effect.pair.plus]
    found: list[tuple[float, bool]] = [(x, False) for x in CONSTANTS]
    unit = ("mean", "low", "high", "low_unpaired", "high_unpaired", "sd", "margin", "smallest_detectable", "item_error",
            "item_low", "item_high", "low_joint", "high_joint")  # fmt: skip
    for e in related:
        for key, value in e.values.items():
            value = value.value if isinstance(value, Within) else value
            if isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value):
                found += [(float(value), key in unit), (abs(float(value)), key in unit)]
        found += [(float(e.family), False), (study.folder.failure_value, True), (float(len(e.against)), False)]
        found.append((e.p_t, False))
        for arm in (*e.pair.plus, *e.pair.minus):
            found += [(float(x), False) for x in _settings(study, arm[1]) if isinstance(x, (int, float))]
    race = sum(e.pair.role == "race" for e in effects)
    return [pair for pair in [*found, (float(race), False)] if not math.isnan(pair[0])]


def unexplained(study: Any, text: str, known: list[tuple[float, bool]]) -> Iterable[str]:
    """A line for each number of a sentence that is a rounding of none of `known`."""
    points = share(study)
    for name in _names(study):
        text = text.replace(name, "·")
    for token in _NUMBER.findall(ascii_number(text)):
        if not any(is_rounding(token, v, unit and points) for v, unit in known):
            yield f"{token} in {text[:160]!r} is no rounding of anything recomputed"


def _names(study: Any) -> list[str]:
    if not hasattr(study, "names"):
        cells = [*study.folder.cells, *(s for s, _ in study.arms.swaps), *(s for s, _ in study.arms.variants)]
        cells += [f"{f}={level}" for f, levels in study.arms.factors.items() for level in levels]
        parts = [part for c in cells for part in c.split(", ")] + [c.partition(", ")[2] for c in cells]
        # why a control could not be built stands in study.toml, in words
        parts += [why.partition(": ")[2] for why in study.folder.study["study"].get("unbuildable", {}).values()]
        study.names = sorted({c for c in (*cells, *parts) if c}, key=len, reverse=True)
    return study.names


def _primary(study: Any, effects: list[Effect]) -> list[Effect]:
    """What the checklist and the limits are about: swaps, under the primary estimand."""
    levels = [e for e in effects if e.pair.role in ("level", "main", "race", "confirmed")]
    return [e for e in levels if not study.both or e.pair.estimand == study.primary]


def _fairness(study: Any, root: Node, effects: list[Effect]) -> list[str]:
    known = [(float(study.folder.study["study"].get("replicates", 0)), False)]
    rows = _primary(study, effects)
    known += [(e.values["correlation"], False) for e in rows if not math.isnan(e.values["correlation"])]
    known += [(float(e.pair.n), False) for e in rows]
    states = [t.state for t in study.folder.trials]
    known += [(float(len(states)), False), (float(sum(s in ("failed", "lost") for s in states)), False)]
    known.append((float(len(states) - states.count("done")), False))
    lines = [n.text.strip() for box in root.find("ul", "checklist") for n in box.find("li")]
    errors = [f"checklist: {said}" for line in lines for said in unexplained(study, line, known)]
    correlations = [e.values["correlation"] for e in rows if not math.isnan(e.values["correlation"])]
    told = next((re.search(r"achieved (\S+?)(?: to (\S+?))?\.(?:\s|$)", x) for x in lines if "achieved" in x), None)
    if told and correlations:
        for text, value in ((told[1], min(correlations)), (told[2] or told[1], max(correlations))):
            if not is_rounding(text, value):
                errors.append(f"checklist: correlation {text} on the page, {value!r} recomputed")
    fewest = min((e.pair.n for e in rows), default=0)
    for line in lines:
        told = re.search(r"(?:Only )?(\d+) replicates?", line)
        if told and int(told[1]) != fewest:
            errors.append(f"checklist: {line!r}, and the fewest replicates are {fewest}")
    return errors


def _limits(study: Any, root: Node, effects: list[Effect]) -> list[str]:
    errors = []
    known = [(x, u) for e in _primary(study, effects) for x, u in _numbers(study, e, [e])]
    for line in (n.text for box in root.find("section", id="limits") for n in box.find("li")):
        errors += [f"limits: {said}" for said in unexplained(study, line, known)]
        told = re.fullmatch(r"Whether (.*) helps: with (\d+) replicates only differences of (\S+).* have been found\.",
                            line.strip(), re.S)  # fmt: skip
        if told:
            mine = [e for e in _primary(study, effects) if e.pair.swap == told[1]]
            good = any(e.pair.n == int(told[2])
                       and is_rounding(told[3], e.values["smallest_detectable"], share(study))
                       for e in mine)  # fmt: skip
            if not good:
                errors.append(f"limits: {line.strip()!r} agrees with no effect that was recomputed")
    return errors


def _reads(study: Any, root: Node) -> list[str]:
    """How often the test set was read: over finished trials that are reported, each once."""
    for box in root.find("dl", "facts"):
        nodes = [n for n in box.children if isinstance(n, Node)]
        for term, value in itertools.pairwise(nodes):
            if term.tag == "dt" and term.text == "test_set_reads":
                want = sum(t.metrics.get("test_reads", 0) for t in study.folder.trials
                           if t.state == "done" and t.phase in ("main", "confirm"))  # fmt: skip
                return (
                    [] if int(value.text) == want else [f"test_set_reads: {value.text} on the page, {want} recomputed"]
                )
    return []
