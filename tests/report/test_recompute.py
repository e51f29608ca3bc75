"""Every number of the page is recomputed from the trial folders, by a script that shares nothing with dopant."""

from __future__ import annotations

import ast
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import page as pages
import pytest
import recompute
import sums
import tables
import tuning
from study_folder import StudyFolder

import dopant as dp

HERE = Path(__file__).parent
HOST = {"name": "mlp", "hidden": [6]}
CONTROLS = {"head": ["bottleneck-mlp", "frozen"]}
SCRIPTS = (
    "recompute", "study_folder", "sums", "arms", "effects", "tables", "tuning", "page", "prose", "drawings", "figures",
)  # fmt: skip


def ladder():
    design = dp.Ladder(HOST).level(head="low-rank").level(**{"layers.0": "low-rank"})
    return dp.Study(design, margin=0.02, controls=CONTROLS, replicates=6, baselines=["logistic-regression"]), {}


def failing():
    return dp.Study(
        dp.Factorial(HOST, {"head": ["low-rank"], "recipe.lr": [3e-2, 1e30]}), replicates=6, margin=0.05
    ), {}


def race():
    return dp.Study(
        dp.Race(HOST, "head", ["low-rank", "linear", "linear-residual"]), replicates=6, controls=CONTROLS
    ), {}


def mixing():
    return dp.Study(dp.Mixing(HOST, "head", "low-rank", [0.5, 1.0]), replicates=2, controls={"head": ["frozen"]}), {}


def tuned():
    design = dp.Factorial(HOST, {"head": ["low-rank"], "layers.0": ["low-rank"]}, controlled=[
        {"factor": "head", "level": "low-rank"}, {"factor": "layers.0", "level": "low-rank"}])  # fmt: skip
    search = {"lr": [1e-2, 3e-2, 1e-1], "replicates": 1}
    return dp.Study(design, replicates=2, margin=0.02, controls=False), {"search": search}


STUDIES = {f.__name__: f for f in (ladder, failing, race, mixing, tuned)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """{name: folder}, each study run when it is first asked for."""
    found = {}

    def get(name):
        if name not in found:
            study, tuning_table = STUDIES[name]()
            folder = tmp_path_factory.mktemp(name) / "study"
            settings = {"tuning": tuning_table} if tuning_table else {}
            answer = dp.run(
                study, data={"name": "digits", "limit": 160}, recipe=dp.Recipe(epochs=2, batch=32, lr=3e-2),
                out=folder, workers=1, **settings,
            )  # fmt: skip
            answer.report()
            found[name] = folder
        return found[name]

    return get


LONG = ("mixing",)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long) if n in LONG else n for n in STUDIES])
def test_every_number_of_the_page_is_what_the_folder_gives(made, name):
    folder = made(name)
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert recompute.mismatches(folder, html) == []
    assert sum(t.data() for t in pages.tables(pages.parse(html))) > 100


def test_the_study_with_a_failing_arm_has_failures_and_says_what_leaving_them_out_would_give(made):
    html = (made("failing") / "report.html").read_text(encoding="utf-8")
    found = {t.id: t for t in pages.tables(pages.parse(html))}
    assert {"complete", "shapley-values"} <= found.keys()
    assert any(row["failed"].value != "0" for row in found["effects"].rows)


def replaced(html: str, pattern: str, change) -> str:
    """The page with the first match's first group changed."""
    match = re.search(pattern, html, re.S)
    assert match, pattern
    return html[: match.start(1)] + change(match[1]) + html[match.end(1) :]


def next_digit(text: str) -> str:
    """The text with its last digit another one."""
    at = max(i for i, c in enumerate(text) if c.isdigit())
    return text[:at] + str((int(text[at]) + 3) % 10) + text[at + 1 :]


def moved(text: str) -> str:
    return f"{float(text) + 0.9:.1f}"


TAMPERED = {
    "a value of an effect": (r'<table id="effects">.*?<data value="(-?0\.\d{6})', next_digit),
    "the text of a value": (r'<table id="effects">.*?<data value="-?0\.\d+">([^<]+)<', next_digit),
    "a cost": (r'<table id="cells">.*?<data value="(\d{3,}\.0)"', lambda t: f"{float(t) + 1}"),
    "a trial's score": (r'<table id="all-trials">.*?<data value="(0\.\d{5})', next_digit),
    "big figures": (r'<p class="big">([^<]*) pp', next_digit),
    "an interval": (r'<p class="interval">95 % interval ([^<]*)</p>', next_digit),
    "a sentence": (r'<p class="sentence">.*?changed test accuracy by (\S+) percentage points', next_digit),
    "a verdict's word": (r'<p class="kind">.*?<bdi>([^<]*)</bdi>', lambda t: t + " on average"),
    "a count": (r"done <b>(\d+)</b>", next_digit),
    "reads of the test set": (r"<dt>test_set_reads</dt><dd><bdi>(\d+)</bdi>", next_digit),
    "a correlation": (r"correlation achieved (-?\d\.\d\d)", next_digit),
    "what could be detected": (r"only differences of (\S+) percentage points", next_digit),
    "a mark of the forest plot": (r'<circle cx="([\d.]+)"[^>]*class="mark level"', moved),
    "an end of an interval": (r'<line x1="([\d.]+)"[^>]*class="paired level"', moved),
    "numbers beside a mark": (r'class="numbers level"[^>]*>([^<]*)<', next_digit),
    "a learning curve": (r'<path d="M[\d.]+,([\d.]+)[^"]*" class="curve', moved),
    "a band": (r'<path d="M[\d.]+,([\d.]+)[^"]*" class="band', moved),
    "a last value": (r'<span class="last">([\d.]+)', next_digit),
    "a row left out": (r'<table id="effects">.*?<tbody>\s*(<tr.*?</tr>)', lambda t: ""),
    "a new table": (r"(<section id=\"trials\">)", lambda t: t + '<table id="new"><thead><tr><th data-column="a">a</th>'
                    '</tr></thead><tbody><tr><td><data value="1">1</data></td></tr></tbody></table>'),
    "a number outside of tables": (r"(<section id=\"trials\">)", lambda t: '<p><data value="1">1</data></p>' + t),
}  # fmt: skip


@pytest.fixture(scope="module")
def read(made):
    return tables.Study(StudyFolder(made("ladder")))


@pytest.mark.parametrize("what", TAMPERED)
def test_a_page_of_which_one_thing_was_changed_is_found_out(made, read, what):
    folder = made("ladder")
    html = (folder / "report.html").read_text(encoding="utf-8")
    changed = replaced(html, *TAMPERED[what])
    assert changed != html
    assert recompute.mismatches(read, changed), what


def test_a_column_that_nothing_recomputes_is_found_out(made):
    html = (made("ladder") / "report.html").read_text(encoding="utf-8")
    changed = html.replace('data-column="correlation"', 'data-column="of-a-new-kind"', 1)
    errors = recompute.mismatches(made("ladder"), changed)
    assert any("of-a-new-kind" in e and "nothing recomputes this column" in e for e in errors)


@pytest.mark.parametrize("kind", ["log", "result", "gone"])
def test_a_folder_of_which_one_line_was_changed_is_found_out(made, tmp_path, kind):
    folder = tmp_path / "study"
    shutil.copytree(made("ladder"), folder)
    html = (folder / "report.html").read_text(encoding="utf-8")
    attempt = next(p for p in sorted(folder.glob("trials/*/attempt-1")) if (p / "metrics.jsonl").is_file())
    if kind == "log":
        lines = (attempt / "metrics.jsonl").read_text().splitlines()
        body = json.loads(lines[-1])
        body["validation_accuracy"] = 1 - body["validation_accuracy"] / 2
        (attempt / "metrics.jsonl").write_text("\n".join([*lines[:-1], json.dumps(body)]) + "\n")
    elif kind == "result":
        body = json.loads((attempt / "result.json").read_text())
        body["metrics"]["test_accuracy"] += 1 / 32
        (attempt / "result.json").write_text(json.dumps(body))
    else:
        (attempt / "result.json").unlink()
    assert recompute.mismatches(folder, html)


def test_it_runs_by_hand_without_loading_dopant_and_its_exit_tells(made):
    folder = made("ladder")
    code = (
        f"import sys; sys.path[:0] = [{str(HERE)!r}]; import recompute; code = recompute.main([{str(folder)!r}]); "
        "assert not [m for m in sys.modules if m.split('.')[0] in ('dopant', 'torch')], 'loaded'; sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and "0 mismatches" in ran.stdout, ran.stdout + ran.stderr


def test_none_of_the_scripts_imports_anything_but_the_standard_library_and_numerical_packages():
    allowed = {*sys.stdlib_module_names, "numpy", "scipy", "statsmodels", "pandas", *SCRIPTS}
    for name in SCRIPTS:
        for node in ast.walk(ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {n.split(".")[0] for n in names} <= allowed, (name, names)


@pytest.mark.parametrize(
    ("text", "value", "share", "right"),
    [
        ("−2.59", -0.0259259, True, True), ("−2.60", -0.0259259, True, False), ("95.93 %", 0.959259, False, True),
        ("95.92 %", 0.959259, False, False), ("173\u202fk", 173312.0, False, True), ("7\u202f514", 7514.0, False, True),
        ("7\u202f515", 7514.0, False, False), ("254\u202fms", 0.25373, False, True), ("< 0.001", 0.0005, False, True),
        ("< 0.001", 0.002, False, False), ("∞", math.inf, False, True), ("6", 6.4, False, False),
        ("+0.43", -0.0043, True, False), ("1.20e-05", 1.2e-5, False, True), ("six", 6.0, False, False),
    ],
)  # fmt: skip
def test_a_rounding_is_told_from_what_is_none(text, value, share, right):
    assert pages.is_rounding(text, value, share) == right


def test_joint_sign_flips_of_one_entry_are_its_own_sign_flips():
    d = [0.3, -0.1, 0.2, 0.25, 0.4, 0.05]
    assert sums.joint_flips(sums.np.array([d]))[0] == sums.sign_flips(sums.np.array(d))


def test_the_best_of_k_by_listing_all_subsets_is_that_of_the_formula():
    scores = [0.1, 0.5, 0.4, 0.4, 0.9]
    long = [
        sum(math.comb(i, k - 1) * sorted(scores)[i] for i in range(k - 1, 5)) / math.comb(5, k) for k in range(1, 6)
    ]
    assert tuning.expected_best(scores) == pytest.approx(long)


def test_an_arm_whose_tuning_trials_bear_another_cells_name_shows_what_it_chose(made):
    answer = dp.load(made("tuned"))
    whole = answer.tuning_summary
    assert len(whole) > 3 and (whole["finished"] == 3).all()
    rows = {row["id"]: row for row in answer.rows if row["phase"] == "tuning"}  # each once, under one name
    shared = len([row for row in answer.rows if row["phase"] == "tuning"]) > len(rows)
    again = dp.load(made("tuned"))
    again.rows = [row for row in answer.rows if row["phase"] != "tuning"] + list(rows.values())
    assert shared and again.tuning_summary.equals(whole)
