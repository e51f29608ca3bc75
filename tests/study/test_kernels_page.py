"""The page about kernels: its snippets run and print what it says, its study can be run, its components are there."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import dopant as dp
from dopant.registry import components
from dopant.study.request import study_of_request

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "kernels.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.M | re.S)


def test_every_snippet_runs_and_prints_what_the_page_says():
    names: dict[str, Any] = {"__name__": "kernels_page"}
    compared = 0
    try:
        for (kind, text), (after, expected) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
            if kind != "python":
                continue
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile(text, "kernels.md", "exec"), names)
            if after == "text":
                assert said.getvalue().strip() == expected.strip()
                compared += 1
    finally:
        for name in ("cosine-kernel", "sigmoid-kernel"):
            components.forget(name)
    assert compared == 2


def test_every_command_is_a_sound_request():
    commands = [line[2:] for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
    assert len(commands) == 2
    _, _, *words = shlex.split(commands[0])
    given = dict(zip(words[::2], words[1::2], strict=True))
    asked = study_of_request(None, data=given["--data"], swaps=[given["--swap"]], sets=[given["--set"]],
                             replicates=int(given["--replicates"]))  # fmt: skip
    file = dp.Study.load(DOCS.parent / shlex.split(commands[1])[2])
    assert asked.problems() == [] == file.problems()
    assert [c.name for c in file.design.cells()][:2] == ["level 0", "level 1"] and len(file.design.cells()) == 8


def test_every_kernel_is_on_the_page():
    fitting = [info.name for info in dp.list_components() if "kernel" in info.name.split("-")]
    assert len(fitting) == 10 and all(f"`{name}`" in PAGE for name in fitting)
