"""The page about circuits: its snippets run as they stand there and print what it says, its commands do their work."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest

import dopant as dp
from dopant.components.quantum.circuit import ANSATZES, ENCODINGS
from dopant.quantum import templates

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # importing typer says that click has moved a name
    from dopant import cli

PAGE = (Path(__file__).parents[2] / "docs" / "circuits.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, in its jvp
def test_every_snippet_runs_and_prints_what_the_page_says():
    names: dict[str, Any] = {}
    compared = 0
    for (kind, text), (after, expected) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if kind != "python":
            continue
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(text, "circuits.md", "exec"), names)
        if after == "text":
            assert [line.rstrip() for line in said.getvalue().strip().splitlines()] == expected.strip().splitlines()
            compared += 1
        else:
            assert not said.getvalue()
    assert compared == sum(kind == "text" for kind, _ in BLOCKS) == 9
    assert names["same"].to_qasm() == names["text"] and names["machine"].score(names["X"], names["y"]) > 0.8
    assert names["far"] >= 0 and 0 <= names["mixed"] <= 1 and names["slopes"].variance.min() >= 0
    found = names["c"].layer()
    assert names["c"].resources(batch=64).evaluations_step == 64 * (1 + 42) == 2752 and "2,752" in PAGE
    assert found(names["x"]).shape == names["drawn"](names["x"]).shape == names["noisy"](names["x"]).shape == (2, 3)


def test_every_command_does_what_it_says(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    commands = [line for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
    assert len(commands) == 4
    for command in commands:
        first, *arguments = shlex.split(command)
        assert first == "dopant"
        monkeypatch.setattr("sys.argv", ["dopant", *arguments, *(["--workers", "1"] if arguments[0] == "run" else [])])
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        assert not ended.value.code, capsys.readouterr()
    texts = list((tmp_path / "runs" / "circuit" / "qasm").rglob("*.qasm"))
    assert len(texts) == 2 and all("qubit[6] q;" in t.read_text() for t in texts)
    assert "strongly-entangling" in capsys.readouterr().out


def test_what_the_page_names_is_there():
    for name in templates.__all__:
        assert f"`{name}`" in PAGE, name
    for name in re.findall(r"`([a-z]+)=([\w.-]+)`", PAGE):
        option, value = name
        assert value in {"encoding": ENCODINGS, "ansatz": ANSATZES}.get(option, [value])
    assert {"circuit", "circuit-shots", "pennylane-qnode"} <= {info.name for info in dp.list_components()}
