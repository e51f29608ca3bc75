"""measured.toml: rows that replace themselves, whole files, commits that trained what is recorded."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from dopant.errors import ConfigError
from dopant.papers import recording
from dopant.papers.toml_rows import value

ROW = {"cell": "level 0", "data": "mnist", "images": 60000, "epochs": 2, "replicates": 1, "commit": "a" * 40,
       "test_accuracy": [0.9, 0.91], "dirty": False, "quick": None, "note": 'a "quoted" \\ word\n'}  # fmt: skip


def test_the_same_cell_of_the_same_commit_is_replaced_and_another_is_added(tmp_path: Path):
    path = tmp_path / "measured.toml"
    assert recording.add(path, "cell", ROW) == "added"
    assert recording.add(path, "cell", ROW | {"epochs": 3}) == "added"
    assert recording.add(path, "cell", ROW | {"commit": "b" * 40}) == "added"
    assert recording.add(path, "cell", ROW | {"test_accuracy": [0.8, 0.81]}) == "replaced"
    rows = recording.read(path)["cell"]
    assert [row["epochs"] for row in rows] == [2, 3, 2]
    assert rows[0] == {k: v for k, v in ROW.items() if v is not None} | {"test_accuracy": [0.8, 0.81]}
    assert "test_accuracy = [0.8, 0.81]\n" in path.read_text()  # one array a line
    assert [p.name for p in tmp_path.iterdir()] == ["measured.toml"]


def test_kinds_of_rows_stand_beside_each_other(tmp_path: Path):
    path = tmp_path / "measured.toml"
    effects = [{"swap": "x", "versus": "y", "mean": 0.1, "verdict": "worse"}]
    recording.add(path, "factorial", {"study": "f.toml", "effects": effects})
    recording.add(path, "cell", ROW)
    assert recording.read(path)["factorial"][0]["effects"] == effects
    assert len(recording.read(path)["cell"]) == 1


def test_rows_added_at_the_same_time_are_all_there(tmp_path: Path):
    path = tmp_path / "measured.toml"
    threads = [threading.Thread(target=recording.add, args=(path, "cell", ROW | {"epochs": e})) for e in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row["epochs"] for row in recording.read(path)["cell"]) == list(range(12))


def test_a_damaged_file_is_told_and_left(tmp_path: Path):
    path = tmp_path / "measured.toml"
    path.write_text("[[cell]\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        recording.add(path, "cell", ROW)
    assert path.read_text() == "[[cell]\n"


def test_values_that_toml_does_not_have_are_refused():
    with pytest.raises(TypeError, match="no TOML value"):
        value(object())


def test_the_recorded_command_names_no_folder():
    assert recording.command_line(["/usr/bin/dopant", "reproduce", "p", "--out", "/home/me/x", "--epochs", "2"]) == (
        "dopant reproduce p --epochs 2"
    )
    assert recording.command_line(["dopant", "--out=/home/me", "--quick"]) == "dopant --quick"


def test_an_installed_copy_cannot_record(tmp_path: Path):
    with pytest.raises(ConfigError, match="git checkout"):
        recording.require_checkout(tmp_path)


def test_a_checkout_is_dirty_by_its_code_but_not_by_what_recording_writes(tmp_path: Path):
    paper = tmp_path / "src" / "dopant" / "papers" / "some"
    paper.mkdir(parents=True)
    files = [paper / "measured.toml", paper / "README.md", paper / "code.py", tmp_path / "pyproject.toml"]
    for file in files:
        file.write_text("one")
    for arguments in (["init", "-q"], ["add", "."], ["-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "x"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    clean = recording.require_checkout(paper)
    assert not clean.dirty and len(clean.commit) == 40
    files[0].write_text("two")
    assert not recording.require_checkout(paper).dirty
    files[2].write_text("two")
    assert recording.require_checkout(paper).dirty


def test_a_row_names_every_commit_that_trained_an_epoch_of_it(tmp_path: Path):
    def start(commit: str, dirty: bool, before: dict[str, int]):
        store = SimpleNamespace(metrics=lambda: [{"trial": t, "epoch": e} for t, e in before.items()])
        answer = SimpleNamespace(store=store)
        recording.note_start(
            tmp_path, answer, ["dopant"], recording.Checkout(tmp_path, commit, dirty), paper="p", data="d"
        )

    start("a", True, {})
    start("b", False, {"t": 2})  # the first trained two epochs of t
    start("c", False, {"t": 2, "u": 1})  # the second one of u only
    assert recording.commits_of(tmp_path, {"t": 5}) == [("a", True), ("c", False)]
    assert recording.commits_of(tmp_path, {"u": 1}) == [("b", False)]
    assert len(json.loads((tmp_path / recording.STARTS).read_text())["starts"]) == 3
