"""What the how-tos show in Python runs, in small; the numbers of the page on verdicts are those of its table."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "generate"))

import verdict_drawings as drawings  # noqa: E402

SMALLER = (
    (r"replicates=10", "replicates=2"),
    (r"epochs=10", "epochs=1"),
    (r"margin=0.01,", "controls=False, workers=1,"),
)


def blocks(page: str) -> list[tuple[str, str, str]]:
    """(language, title, text) of each block of code."""
    return re.findall(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', (DOCS / page).read_text(), re.M | re.S)


@pytest.mark.parametrize("page, says", [("own-model.md", "ReuploadLinear(64, 10"), ("own-data.md", "cannot tell")])
def test_the_python_of_a_how_to_runs(page, says, tmp_path):
    """Its titled blocks are the files that they say; the others together are one script."""
    for _, title, text in blocks(page):
        if title:
            (tmp_path / title).write_text(text)
    script = "\n".join(text for kind, title, text in blocks(page) if kind == "python" and not title)
    for large, small in SMALLER:
        script = re.sub(large, small, script)
    (tmp_path / "script.py").write_text(script)
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240,
                         env=os.environ | {"PYTHONPATH": path})  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert says in ran.stdout
    for (kind, _, _), (after, _, expected) in zip(blocks(page), blocks(page)[1:], strict=False):
        if kind == "python" and after == "text":
            assert expected in ran.stdout


def test_the_page_on_own_data_brings_a_data_set_that_every_worker_reads_alike(tmp_path):
    from dopant import registry

    ((_, title, text),) = [b for b in blocks("own-data.md") if b[1]]
    (tmp_path / title).write_text(text)
    registry.load_file(tmp_path / title)
    try:
        one, two = registry.datasets.get("two-bits")(), registry.datasets.get("two-bits")()
        assert bool((one.train.inputs == two.train.inputs).all()) and len(one.train) == 400
    finally:
        registry.datasets.forget("two-bits")


def test_the_factorial_of_the_how_to_is_the_sixty_trainings_that_it_says(tmp_path):
    import dopant as dp

    (text,) = [text for _, title, text in blocks("a-factorial.md") if title == "factorial.toml"]
    (tmp_path / "factorial.toml").write_text(text)
    study = dp.Study.load(tmp_path / "factorial.toml")
    assert study.problems() == []
    cells = study.design.cells(study.controls)
    networks = {json.dumps([cell.swaps, cell.recipe], sort_keys=True) for cell in cells}
    assert len(networks) * study.replicates == 60
    names: dict = {}
    exec(compile(blocks("a-factorial.md")[-1][2], "a-factorial.md", "exec"), names)
    assert len(names["design"].cells()) == 4


def test_the_numbers_on_the_page_about_verdicts_are_those_of_its_table():
    page = (DOCS / "verdicts.md").read_text()
    rows = drawings.answer().effects
    headings = re.findall(r"^## (.+)$", page, re.M)[:5]
    checked = 0
    for row in rows[rows["role"] == "level"].to_dict("records"):
        words = row["verdict"].replace("explained by mlp", "explained by a control")
        assert words.capitalize() == headings[checked]
        (claim,) = re.findall(rf"^\*\*{row['swap']}: (.+)\*\*$", page, re.M)
        assert claim.startswith(f"{said(row['mean'])} pp [{said(row['low'])}, {said(row['high'])}] against classical")
        beside = rows[(rows["role"] == "swap-versus-control") & (rows["swap"] == row["swap"])].iloc[0]
        if "`mlp`" in claim:
            numbers = f"{said(beside['mean'])} [{said(beside['low'])}, {said(beside['high'])}] against"
            assert numbers in claim.replace("−0.32", "−0.32")
        checked += 1
    assert checked == 5
    a = rows[rows["swap"] == "A"].iloc[0]
    assert f"{said(a['low_unpaired'])} to {said(a['high_unpaired'])}" in page
    e = rows[rows["swap"] == "E"].iloc[0]
    assert f"about {e['replicates_needed']:.0f} replicates would tell" in page.replace("\n", " ").replace("*", "")


def said(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "−")


@pytest.mark.parametrize("name", drawings.DRAWINGS)
def test_a_drawing_is_what_its_table_gives(name):
    assert (DOCS / name).read_text().strip() == drawings.DRAWINGS[name]()
    assert len((DOCS / name).read_text()) < 200_000


def test_pictures_are_small():
    for picture in (*DOCS.glob("*.png"), *DOCS.glob("*.svg")):
        assert picture.stat().st_size < 200_000, picture.name
