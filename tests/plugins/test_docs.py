"""The page about components of one's own: its files are written as they stand there, its commands are run."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

from dopant import _loading

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "your-component.md").read_text()
BLOCKS = re.findall(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', PAGE, re.M | re.S)
COMMANDS = [line[2:] for kind, _, text in BLOCKS if kind == "console" for line in text.splitlines()]


def test_every_command_of_the_page_does_what_it_says(outside, site, monkeypatch):
    for _, title, text in BLOCKS:
        if title.endswith(".py"):
            outside.write(title, text)
    assert len(COMMANDS) == 9 and [c for c in COMMANDS if not c.startswith("dopant ")] == [
        "pip install ./example_package"
    ]
    answers = {}
    for command in COMMANDS:
        first, *arguments = shlex.split(command)
        if first == "pip":  # what pip made of it
            monkeypatch.syspath_prepend(str(site))
            monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
            _loading._plugins_loaded = False
            _loading._entries.cache_clear()
            continue
        if arguments[0] == "run":
            arguments += ["--workers", "1", "--epochs", "1", "--no-controls"]
        answers[command] = said = outside.dopant(*arguments)
        assert said.code == 0, said.out + said.err
    checked, as_json, in_slot, listed, inspected, ran, packaged, ran_packaged = answers.values()
    assert "leaky-linear: " in checked.out and list(json.loads(as_json.out)) == ["leaky-linear"]
    assert "tried in: host mlp, data digits, slot head" in in_slot.out
    assert "leaky" in listed.out and "leaky-linear" in inspected.out
    assert "dopant_example/layers.py" in packaged.out and ran.code == ran_packaged.code == 0
    sys.modules.pop("dopant_example.layers"), sys.modules.pop("dopant_example")


def test_the_pages_snippet_is_the_example_packages_own():
    (snippet,) = [text for _, title, text in BLOCKS if title == "pyproject.toml"]
    whole = tomllib.loads((HERE / "example_package" / "pyproject.toml").read_text())
    assert tomllib.loads(snippet)["project"] == whole["project"]
    said = re.search(r"`(dopant-example==\S+):dopant_example/layers.py`", PAGE)
    assert said and said[1] == f"dopant-example=={whole['project']['version']}"
