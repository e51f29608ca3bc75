"""An answer as Markdown, LaTeX, tables and figures: the page's numbers, and nothing of a user's that means more than it
says."""

from __future__ import annotations

import copy
import itertools
import re
from xml.etree import ElementTree

import fake_answer
import pandas as pd
import pytest
from markdown_it import MarkdownIt

import dopant as dp
from dopant.errors import ConfigError, UnknownName
from dopant.study.answer import Answer
from dopant.study.report import brief, figures, formats, latex, markdown, page, standalone

SPECIALS = "\\ { } $ & # % _ ^ ~ < > | \" ` ' -- [x] *a ?` 1.\u2212\u202f5 é ł π 名 \U0001f600 \\input{/etc/passwd}\\"
NAMES = [*fake_answer.HOSTILE, SPECIALS, "===", "1. one", "\\"]
NAMES += ["| a | b\n\n# heading\n- @everyone #1 [x](http://y)"]


@pytest.fixture(scope="module")
def study():
    return fake_answer.answer(replicates=6, epochs=4)


def table_answer(tmp_path):
    rows = [(arm, r, 0.80 + 0.01 * r + gain) for arm, gain in (("old", 0), ("new", 0.04)) for r in range(6)]
    return dp.analyse(pd.DataFrame(rows, columns=["arm", "replicate", "accuracy"]), reference="old", metric="accuracy")


# --- which format ---------------------------------------------------------------------------------------------------


def test_a_format_is_chosen_by_name_or_by_suffix_and_an_unknown_one_is_refused_with_the_nearest():
    assert [formats.chosen(p, None) for p in ("a.html", "A.MD", "a.tex", "a.csv", "a.png")] == [
        "html", "md", "latex", "csv", "png",
    ]  # fmt: skip
    assert formats.chosen(None, None) == "html" and formats.chosen("a.report", "md") == "md"
    with pytest.raises(UnknownName, match="'latex'"):
        formats.chosen(None, "latexx")
    for path, name, words in (("a.doc", None, "ends in none of"), ("a.md", "html", "is the name of md")):
        with pytest.raises(ConfigError, match=words):
            formats.chosen(path, name)


def test_the_answer_of_a_table_is_written_in_each_format(tmp_path):
    answer = table_answer(tmp_path)
    for name in ("answer.md", "answer.tex", "answer.html", "answer.csv", "answer.png", "answer.svg", "answer.pdf"):
        path = answer.report(tmp_path / name)
        assert path == tmp_path / name and path.stat().st_size > 200
    assert "+4.00" in (tmp_path / "answer.md").read_text(encoding="utf-8")
    assert pd.read_csv(tmp_path / "answer.csv")["mean"].iloc[0] == pytest.approx(0.04)
    assert (tmp_path / "answer.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "answer.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(ConfigError, match=r"\.html, "):
        answer.report(tmp_path / "answer.docx")


def test_the_tables_are_those_of_the_answer_and_say_which_files_they_are(study, tmp_path):
    for method in ("write_tables", "_tables"):
        setattr(study, method, getattr(Answer, method).__get__(study))
    made = formats.write(study, "csv", tmp_path)
    assert [p.name for p in made] == ["effects.csv", "trials.csv", "metrics.csv", "costs.csv"]
    assert list(pd.read_csv(tmp_path / "effects.csv").columns) == list(study.effects.columns)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "metrics.csv"), study.metrics)


# --- figures --------------------------------------------------------------------------------------------------------


def test_every_figure_stands_alone_and_shows_what_the_page_shows(study):
    made, shown = figures.figures(study), page(study)
    assert {"forest.svg", "forest-controls.svg", "curves-validation-accuracy.svg"} <= made.keys()
    for drawn in made.values():
        root = ElementTree.fromstring(drawn)
        assert "var(" not in drawn and "class=" not in drawn
        painted = [e for e in root.iter() if e.tag.rpartition("}")[2] in ("line", "circle") and e is not root]
        assert painted and all(e.get("stroke") or e.get("fill") for e in painted)
        for text in root.iter("{http://www.w3.org/2000/svg}text"):
            assert (text.text or "") in shown or "…" in (text.text or "") or brief.one_line(text.text) in shown
            assert text.get("fill", "").startswith("#")


def test_colours_of_a_figure_are_those_that_the_style_sheet_gives_in_the_light_theme():
    css = """
    :root { --blue: #0063a6; --ground: #fff; } .control { --r: var(--red, #b04a00); } .level { --r: var(--blue); }
    @media (prefers-color-scheme: dark) { :root { --blue: #5ab8f0; } svg line { stroke: red } }
    svg line { stroke: var(--r); stroke-width: 1 } svg line.thick { stroke-width: 3; } svg > line { opacity: 0.5 }
    .panels svg text { font-weight: 650; } line:hover { stroke: green } svg.other line { stroke: pink }
    """
    drawn = (
        '<svg class="wide" viewBox="0 0 10 10"><g class="level"><line class="thick"/></g><line class="control"/>'
        '<text style="--x: #123; fill: var(--x)">a &amp; b</text></svg>'
    )
    root = ElementTree.fromstring(standalone.standalone(drawn, standalone.rules_of(css), ("div.panels",)))
    inner, outer = root.iter("{http://www.w3.org/2000/svg}line")
    assert (inner.get("stroke"), inner.get("stroke-width"), inner.get("opacity")) == ("#0063a6", "3", None)
    assert (outer.get("stroke"), outer.get("stroke-width"), outer.get("opacity")) == ("#b04a00", "1", "0.5")
    text = root.find("{http://www.w3.org/2000/svg}text")
    assert text is not None and (text.get("fill"), text.get("font-weight"), text.text) == ("#123", "600", "a & b")
    assert root.get("viewBox") == "-12 -12 34 34"


@pytest.mark.parametrize("name", [fake_answer.HOSTILE[i] for i in (1, 6, 7, 9)])
def test_figures_of_a_hostile_study_are_sound_pictures(name):
    drawn = figures.pictures(fake_answer.hostile_answer(name))
    assert drawn and figures.rendered(drawn[0], "png").startswith(b"\x89PNG")
    assert all(ElementTree.fromstring(figures.alone(p)) is not None for p in drawn)
    assert all(re.fullmatch(r"[a-z0-9-]+", p.name) for p in drawn)


# --- Markdown -------------------------------------------------------------------------------------------------------


def parsed(text):
    return MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)


def inlines(text):
    """(kind of block around it, text as a reader sees it, kinds of marks in it)."""
    tokens = parsed(text)
    for before, token in itertools.pairwise(tokens):
        if token.type == "inline":
            children = token.children or []
            yield before.type, "".join(c.content for c in children), {c.type for c in children}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_markdown_is_read_as_it_is_and_means_nothing(name):
    plain = brief.one_line(name)
    sheet = brief.Sheet("t", ["a", "b"], [False, True], [[name, "1"], ["x", name]])
    for text in (markdown.escaped(name), "\n".join(markdown.table(sheet))):
        read = list(inlines(text))
        assert all(marks <= {"text", "text_special"} for _, _, marks in read), read
        assert plain in [shown.replace("\u2060", "") for _, shown, _ in read]
    rows = [t for t in parsed("\n".join(markdown.table(sheet))) if t.type == "tr_open"]
    cells = [t for t in parsed("\n".join(markdown.table(sheet))) if t.type in ("td_open", "th_open")]
    assert len(rows) == 3 and len(cells) == 6
    assert not re.search(r"@\w|https?:", markdown.escaped(name))


def test_the_markdown_file_says_all_that_is_needed_to_judge_and_to_repeat(study):
    text = markdown.document(study)
    read = list(inlines(text))
    headings = [shown for kind, shown, _ in read if kind == "heading_open"]
    assert headings[:2] == ["founding-ladder", "Verdicts"]
    assert {"What cannot be concluded", "Notes", "How to get these numbers again"} <= set(headings)
    row = study.effects.iloc[1]
    for number in (row["mean"], row["low"], row["high"]):
        assert f"{100 * abs(number):.2f}" in text
    assert "6 replicates" in text and "0.50 pp count as none" in text and "not tuned" not in text
    fences = [t for t in parsed(text) if t.type == "fence"]
    assert [t.info for t in fences] == ["sh", "toml"] and fences[0].content == "dopant run\n"


def test_a_fence_is_longer_than_any_in_what_it_holds():
    lines = markdown.fenced("a\n````\n# not a heading", "toml")
    assert [t.type for t in parsed("\n".join(lines))] == ["fence"]


# --- LaTeX ----------------------------------------------------------------------------------------------------------

COMMANDS = {
    "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "textquotedbl",
    "allowbreak", "texttt", "times", "pi", "l", "ldots",
}  # fmt: skip


def unguarded(text):
    """What is left of a text without commands, escaped signs and mathematics, all of which must be known ones."""
    names = set(re.findall(r"\\([a-zA-Z]+)", re.sub(r"\\\\", "", text)))
    text = re.sub(r"\$(-|\\[a-z]+)\$", "", text)
    text = re.sub(r"\\[{}$&#%_,]|\\['\"`^~=.]\{[A-Za-z]\}", "", text)
    return names, re.sub(r"\\[a-zA-Z]+", "", text)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_latex_leaves_no_sign_that_means_something(name):
    names, rest = unguarded(latex.escaped(name))
    assert names <= COMMANDS and rest.isascii()
    assert not set(rest) & set('\\$&#%_^~<>|"\n\t'), rest
    assert not re.search(r"--|''|\?`|!`|(?<!\{)[\[\]*]", rest.replace("{-}", "").replace("{'}", "")), rest
    depth = [0]
    for sign in rest:
        depth.append(depth[-1] + {"{": 1, "}": -1}.get(sign, 0))
    assert min(depth) == 0 and depth[-1] == 0


@pytest.mark.parametrize("name", ["founding", SPECIALS, fake_answer.HOSTILE[5]])
def test_the_latex_fragment_has_whole_tables_whatever_things_are_called(name):
    answer = fake_answer.hostile_answer(name)
    text = latex.fragment(answer, [("figures/forest.pdf", name)])
    assert sorted(re.findall(r"\\begin\{(\w+)\}", text)) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    for columns, body in re.findall(r"\\begin\{tabular\}\{([^\n]+)\}\n(.*?)\\end\{tabular\}", text, re.S):
        wide = len(re.sub(r">\{.*?\}p\{.*?\}", "l", columns))
        rows = [line for line in body.split("\n") if line.endswith(r" \\")]
        assert rows and all(len(re.split(r"(?<!\\)&", row)) == wide for row in rows)
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert "Means over 3 replicates" in text and "95 \\% paired t intervals" in text and "Holm's" in text
    assert r"\includegraphics[width=\linewidth]{figures/forest.pdf}" in text


def test_a_long_table_breaks_over_pages_and_latex_gets_its_figures(study, tmp_path):
    sheet = brief.Sheet("t", ["a"], [True], [["1"]] * (latex.LONG + 1))
    assert r"\begin{longtable}{r}" in "\n".join(latex.table(sheet, "c", "l"))
    made = formats.write(study, "latex", tmp_path)
    assert made[0].name == "report.tex"
    text = made[0].read_text(encoding="utf-8")
    assert re.findall(r"includegraphics.*?\{(.*?)\}", text) == [f"figures/{p.name}" for p in made[1:]]
    assert all(p.read_bytes().startswith(b"%PDF") for p in made[1:])


def test_captions_say_which_intervals_are_paired_that_none_is_corrected_and_how_many_trials_failed(study):
    text = latex.fragment(study, [("a.pdf", "Differences in accuracy; thick"), ("b.pdf", "Level by level: accuracy")])
    forest, ladder = (part.split(r"\end{figure}")[0] for part in text.split(r"\begin{figure}")[1:])
    assert "paired t intervals" in forest and "not corrected for their number" in forest
    assert "paired t intervals" not in ladder and "means that are not paired" in ladder
    changed = copy.copy(study)
    changed.effects = study.effects.assign(failed=2)
    assert any(said.startswith("Failed trials among their arms (") for said in brief.how(changed))
