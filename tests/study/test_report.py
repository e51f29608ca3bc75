"""The page and the terminal: the right numbers, everything escaped, nothing fetched, no study too odd."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
import zlib
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import tomli_w
from fake_answer import HEAD, HOSTILE, answer, effects_of, hostile_answer
from rich.console import Console

from dopant.study import analysis
from dopant.study.report import curves, forest, page, svg, tables, terminal, words


class Page(HTMLParser):
    """Tables, texts and references of a page, read as a browser would, without one."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.tables: dict[str, list[list[tuple[str, str | None]]]] = {}
        self.columns: dict[str, list[str]] = {}
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._table = self._cell = None
        self._hidden = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.tags.append(tag)
        self.attributes += attrs
        self._hidden = tag in ("style", "script")
        if tag == "table":
            self._table = known["id"]
            self.tables[self._table], self.columns[self._table] = [], []
        elif tag == "th":
            self.columns[self._table].append(known["data-column"])
        elif tag == "tr" and self._table:
            self.tables[self._table].append([])
        elif tag == "td":
            self._cell = ["", None]
        elif tag == "data" and self._cell is not None:
            self._cell[1] = known["value"]

    def handle_endtag(self, tag):
        self._hidden = False
        if tag == "td":
            self.tables[self._table][-1].append(tuple(self._cell))
            self._cell = None
        elif tag == "table":
            self.tables[self._table] = [row for row in self.tables[self._table] if row]
            self._table = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell[0] += data
        if not self._hidden:
            self.text += data

    def records(self, name: str) -> list[dict[str, tuple[str, str | None]]]:
        return [dict(zip(self.columns[name], row, strict=True)) for row in self.tables[name]]


def shown_number(text: str) -> float:
    """A number as a reader would take it from the page."""
    sizes = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "s": 1, "%": 0.01, "": 1}
    match = re.fullmatch(r"([+−]?[\d\u202f]*\.?\d+(?:e[+−]\d+)?)(?:\u202f(\D+))?", text)
    assert match, text
    return float(match[1].replace("\u202f", "").replace("−", "-")) * sizes[match[2] or ""]


def test_every_number_of_the_effects_table_equals_the_data_frame():
    study = answer()
    parsed = Page(page(study)).records("effects")
    ordered = [row for group in forest.groups(study.effects) for row in group]
    assert len(parsed) == len(study.effects) == len(ordered)
    checked = 0
    for shown, true in zip(parsed, ordered, strict=True):
        for column, (text, exact) in shown.items():
            value = true[column]
            if isinstance(value, (bool, np.bool_)):
                assert (text, exact) == ("yes" if value else "no", str(bool(value)).lower())
            elif isinstance(value, (int, float)) and not math.isnan(value):
                assert float(exact) == value
                per_cent = 100 if column in words.IN_UNIT_OF_METRIC else 1
                assert shown_number(text) == pytest.approx(per_cent * value, abs=0.0051)
                checked += 1
            elif isinstance(value, float):
                assert (text, exact) == ("–", None)
    assert checked > 200
    assert {"swap", "versus", "mean", "low", "high", "low_unpaired", "p_holm", "margin", "verdict"} <= set(parsed[0])


def test_every_trial_is_listed_with_its_exact_metrics():
    study = answer(failed=2)
    parsed = Page(page(study)).records("all-trials")
    assert [row["trial"][0] for row in parsed] == list(study.trials["trial"])
    assert [row["status"][0] for row in parsed] == list(study.trials["status"])
    for shown, true in zip(parsed, study.trials.to_dict("records"), strict=True):
        assert int(shown["replicate"][1]) == true["replicate"] and int(shown["attempts"][1]) == true["attempts"]
        if true["status"] == "failed":
            assert shown["reason"][0] == "loss is not finite" and shown["test_accuracy"] == ("–", None)
        else:
            assert float(shown["test_accuracy"][1]) == true["test_accuracy"]
            assert shown_number(shown["test_accuracy"][0]) == pytest.approx(true["test_accuracy"], abs=0.000051)


def test_scores_of_cells_are_means_over_their_finished_trials():
    study = answer(failed=2)
    done = study.trials[study.trials["status"] == "done"].groupby("cell")["test_accuracy"]
    for row in Page(page(study)).records("cells"):
        name = row["cell"][0]
        assert float(row["reached"][1]) == pytest.approx(done.mean()[name], rel=1e-12)
        assert float(row["spread"][1]) == pytest.approx(done.std()[name], rel=1e-12)
        assert int(row["n"][1]) == done.count()[name]
        flops = study.costs.set_index("cell")["flops"][name]
        assert float(row["flops"][1]) == flops and shown_number(row["flops"][0]) == pytest.approx(flops, rel=0.005)


def test_the_parts_come_in_the_promised_order_and_say_what_they_must():
    study = answer(failed=1)
    html = page(study)
    names = ["counts", "verdicts", "forest", "effects", "curves", "costs", "trials", "fairness", "limits", "provenance"]
    order = [html.index(f'id="{name}"') for name in names]
    assert order == sorted(order)
    parsed = Page(html)
    flat = " ".join(parsed.text.split())
    assert "planned 54 done 53 failed 1" in flat
    for sentence in [*study.verdicts, *study.notes, study.question]:
        assert " ".join(sentence.split()) in flat
    assert tomli_w.dumps(study.study) in parsed.text
    assert "dopant run study.toml" in flat and "sha256:0f3a" in flat


def test_the_page_fetches_nothing_and_runs_nothing_but_its_own_scripts():
    html = page(answer())
    parsed = Page(html)
    assert not {"iframe", "object", "img", "base", "form"} & set(parsed.tags)
    references = [v for k, v in parsed.attributes if k in ("href", "src", "action", "srcset", "xlink:href")]
    within = [r for r in references if r.startswith("#")]
    assert [r for r in references if r not in within] == ["data:,"]
    ids = {v for k, v in parsed.attributes if k == "id"}
    assert within and {r[1:] for r in within} <= ids
    assert not [k for k, _ in parsed.attributes if k.startswith("on")]
    policy = next(v for k, v in parsed.attributes if k == "content" and v and v.startswith("default-src 'none'"))
    allowed = re.search(r"script-src ([^;]*)", policy)[1].split()
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    library = re.search(r"<script [^>]*data-library>(.*?)</script>", html)[1]
    scripts.append(zlib.decompress(base64.b64decode(library)).decode())
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert allowed == [f"'sha256-{h}'" for h in hashes] and len(scripts) == 2
    assert "connect-src 'none'" in policy and "unsafe-eval" not in policy and "script-src 'unsafe" not in policy
    assert "url(" not in page(answer()) and "@import" not in page(answer())


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_names_chosen_by_users_are_text_and_nothing_else(text):
    harmless, html = Page(page(hostile_answer("level 2"))), page(hostile_answer(text))
    html.encode("utf-8")
    assert "\x00" not in html and "\x1b" not in html
    parsed = Page(html)
    assert set(parsed.tags) == set(harmless.tags)
    assert {k for k, _ in parsed.attributes} == {k for k, _ in harmless.attributes}
    assert words.clean(text) in parsed.text


def test_a_hostile_name_is_read_back_whole():
    study = hostile_answer(HOSTILE[0])
    assert HOSTILE[0] in Page(page(study)).records("all-trials")[6]["cell"][0]


def test_a_study_without_any_finished_trial_gives_a_page():
    study = answer()
    study.trials = study.trials.iloc[:0].drop(columns=["test_accuracy"])
    study.metrics, study.costs = study.metrics.iloc[:0], study.costs.iloc[:0]
    table = pd.DataFrame({"arm": [], "replicate": [], "status": [], "value": []})
    study.effects = effects_of(table.rename(columns={"arm": "cell", "value": "test_accuracy"}), [])
    study.verdicts, study.counts = [], {"planned": 54, "pending": 52, "running": 2, "done": 0, "failed": 0}
    flat = " ".join(Page(page(study)).text.split())
    assert "No verdict yet" in flat and "No trial was started" in flat and "pending 52" in flat
    assert "54 of 54 trials are not finished" in flat


def test_an_effect_without_any_pair_is_shown_without_numbers():
    study = answer(replicates=2)
    study.trials["status"] = "pending"
    study.effects = effects_of(study.trials)
    study.verdicts = list(study.effects.loc[study.effects["role"].isin(["level", "variant"]), "sentence"])
    assert all(row["mean"] == ("–", None) for row in Page(page(study)).records("effects"))


def test_one_replicate_has_no_interval_and_says_so():
    study = answer(replicates=1)
    html = page(study)
    assert "no interval" in html and not re.search(r"\bnan\b", html.lower())
    assert 'class="paired level"' in html  # the key still explains the mark
    assert not re.search(r'<line[^>]*class="paired', html)


def test_the_published_protocol_is_labelled_where_it_shows():
    html = page(answer(published=True))
    assert 'id="published"' in html and "test set read every epoch" in html
    assert "Curves show validation data" not in html
    usual = page(answer())
    assert 'id="published"' not in usual and "Curves show validation data" in usual


def test_ordinary_studies_stay_far_below_the_limit():
    study = answer(replicates=23, epochs=50)  # 207 trials
    assert len(study.trials) > 200
    assert len(page(study).encode()) < 1_000_000


def test_a_long_table_of_trials_is_cut_in_words():
    study = answer(replicates=40, epochs=1)
    parsed = Page(page(study))
    assert len(parsed.tables["all-trials"]) == tables.CUT == 200
    assert "160 more are in trials.csv" in " ".join(parsed.text.split())


def test_metrics_and_costs_may_lack_columns():
    study = answer()
    study.metrics = study.metrics[["trial", "cell", "level", "replicate", "epoch", "train_loss"]]
    study.costs = study.costs[["cell", "parameters"]]
    html = page(study)
    assert "train loss" in html and "validation accuracy" not in html
    study.metrics = study.metrics[["trial", "cell"]]
    assert "No curve yet" in page(study)


def test_the_analysis_of_a_table_from_elsewhere_gives_page_and_table():
    trials = answer().trials.rename(columns={"cell": "arm"})[["arm", "replicate", "test_accuracy"]]
    trials["test_accuracy"] *= 100  # accuracies in per cent, as many tables have them
    found = analysis.analyse(trials, reference="level 0", controls=["level 1"], metric="test_accuracy")
    html = page(found)
    mean = found.effects["mean"].iloc[0]
    assert words.difference(mean, words.Measure("test_accuracy", False)) in html and "pp</p>" not in html
    assert "a table cannot tell" in html
    assert "level 2" in printed(terminal.table(found))


def test_a_curve_is_the_mean_and_its_t_interval():
    study = answer()
    own = curves.curve(study.metrics, "level 1", "validation_accuracy", share=True)
    rows = study.metrics[(study.metrics["cell"] == "level 1") & (study.metrics["epoch"] == 7)]["validation_accuracy"]
    half = 2.5705818366147395 * rows.std() / math.sqrt(6)  # t of 5 degrees of freedom, from a printed table
    assert own.mean[6] == pytest.approx(rows.mean())
    assert own.high[6] - own.mean[6] == pytest.approx(half) and own.mean[6] - own.low[6] == pytest.approx(half)
    assert own.replicates == 6 and own.epoch == list(range(1, 13))


def test_marks_of_the_forest_stand_where_the_axis_says():
    study = answer()
    metric = words.measure_of(study)
    grouped = forest.against_level(study.effects)
    picture = forest.forest(grouped, metric)
    ticks = {
        words_: float(x) for x, words_ in re.findall(r'<text x="([\d.]+)"[^>]*class="tick"[^>]*>([^<]+)<', picture)
    }
    at = sorted((shown_number(k), x) for k, x in ticks.items())
    slope = (at[-1][1] - at[0][1]) / (at[-1][0] - at[0][0])
    discs = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', picture)]
    means = [100 * r["mean"] for g in grouped for r in g if r["role"] == "level"]
    assert len(discs) == len(means) == 2
    for x, mean in zip(discs, means, strict=True):
        assert at[0][0] + (x - at[0][1]) / slope == pytest.approx(mean, abs=0.02)


def test_controls_and_variants_stand_below_their_level():
    grouped = forest.against_level(answer().effects)
    assert [[row["role"] for row in group] for group in grouped] == [
        ["level"],
        ["level"] + 4 * ["control"] + 2 * ["variant"],
    ]
    assert [len(g) for g in forest.against_controls(answer().effects)] == [4, 4, 4]


def test_one_hopeless_arm_does_not_squash_the_others():
    effects = answer().effects
    before = forest.domain(effects.to_dict("records"), words.Measure("test_accuracy", True))
    effects.loc[1, ["low", "high"]] = [-40.0, 40.0]
    after = forest.domain(effects.to_dict("records"), words.Measure("test_accuracy", True))
    assert after[1] - after[0] < 2.5 * (before[1] - before[0])


def test_ticks_are_round_and_inside():
    assert svg.ticks(-4.2, 6.9, 6) == [-4, -2, 0, 2, 4, 6]
    assert svg.tick_labels([-0.5, 0.0, 0.5], signed=True) == ["−0.5", "0.0", "+0.5"]
    assert svg.ticks(1.0, 1.0) == [1.0] and svg.ticks(math.nan, 1.0) == []


@pytest.mark.parametrize(
    ("verdict", "key", "tags"),
    [
        ("estimate: untuned: worse", "worse", ["estimate", "untuned"]),
        ("explained by worse-than-nothing", "explained", []),
        ("cannot tell: better than the level below, but no control was run", "unclear", []),
        ("no difference", "same", []),
        ("beyond the ordinary", "beyond", []),
        (None, "none", []),
        (math.nan, "none", []),
    ],
)
def test_a_verdict_is_recognised_by_its_first_word(verdict, key, tags):
    kind, found = words.kind_of(verdict)
    assert (kind.key, found) == (key, tags)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1\u202f234\u202f567"), (0.000123, "0.000123"), (-2.5, "−2.5"), (1.5e-7, "1.50e−07"), (math.nan, "–"),
     (None, "–"), (True, "yes"), (math.inf, "∞"), (12.3456, "12.3"), (0, "0")],
)  # fmt: skip
def test_numbers_are_written_sensibly(value, text):
    assert words.number(value) == text.replace("−2.5", "−2.50")


def printed(renderable, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_terminal_table_fits_and_holds_the_numbers(width, tmp_path):
    study = answer(folder=tmp_path / "a")
    text = printed(terminal.table(study), width)
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= min(width, 100)
    for row in study.effects[study.effects["role"] != forest.AGAINST_CONTROL].to_dict("records"):
        assert f"{100 * row['mean']:+.2f} [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]".replace("-", "−") in text
    assert "mean [low, high]" in text
    assert "report.html" in text.replace("\n", "") and "planned 54, done 54, failed 0" in text


def test_neither_markup_nor_escape_sequences_reach_the_terminal():
    study = hostile_answer("[red]\x1b[31mname[/red]")
    text = printed(terminal.table(study))
    assert "\x1b" not in text and "[red]" in text


def rows_at(epoch: int, done: int = 0, cell: str = "level 1") -> list[dict]:
    """Four trials of ten epochs: `done` of them finished, the next one running."""
    rows = []
    for i in range(4):
        state = "done" if i < done else "running" if i == done else "pending"
        progress = {"epoch": epoch, "epochs": 10, "loss": 0.5, "accuracy": 0.9} if state == "running" else {}
        rows.append({"id": str(i), "cell": cell, "level": 1, "replicate": i, "phase": "main", "state": state,
                     "attempts": 1, "reason": None, "metrics": None, "progress": progress, "epochs": 10})  # fmt: skip
    return rows


def counts(done: int, failed: int = 0) -> dict[str, int]:
    return {"planned": 4, "pending": 3 - done, "running": 1, "done": done, "failed": failed}


def test_the_time_left_follows_the_pace_of_the_epochs():
    estimate = terminal.Estimate()
    assert estimate.update(rows_at(0), 0.0) is None
    assert estimate.update(rows_at(5), 10.0) == pytest.approx(35 * 2.0)  # 5 epochs in 10 s; 35 are left
    assert estimate.update(rows_at(0, done=1), 20.0) == pytest.approx(30 * 2.0)
    assert estimate.update(rows_at(10, done=4), 80.0) == 0.0


def test_without_a_terminal_one_plain_line_every_ten_seconds():
    now = [0.0]
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    with terminal.LiveProgress("my [b]study", console, clock=lambda: now[0]) as progress:
        for second in range(31):
            now[0] = float(second)
            progress.update(rows_at(min(9, second // 3)), counts(0, failed=1))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 5  # at 0, 10, 20, 30 and the end
    assert lines[1].startswith("my [b]study: 0 of 4 trials done, 1 failed; level 1, replicate 0, epoch 3/10, loss 0.5")
    assert "accuracy 90.00" in lines[1] and re.search(r"about \d+ min \d\d s left", lines[1])


def test_in_a_terminal_the_display_shows_each_running_trial():
    console = Console(file=io.StringIO(), width=100, force_terminal=True, _environ={"TERM": "xterm"})
    with terminal.LiveProgress("study", console) as progress:
        progress.update(rows_at(3, cell="level [bold]2"), counts(0))
        shown = console.file.getvalue()
    assert "level [bold]2" in shown and "3/10" in shown and "0 of 4 trials done" in shown


def test_trials_without_epochs_or_progress_are_shown_too():
    rows = [{**row, "epochs": None, "progress": None} for row in rows_at(0)]
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    with terminal.LiveProgress("study", console) as progress:
        progress.update(rows, counts(0))
    assert "replicate 0, epoch –" in console.file.getvalue()


def test_the_name_of_the_swap_is_in_both_figures():
    html = page(answer())
    assert html.count(f">{HEAD}<") >= 2
