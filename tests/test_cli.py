"""The command line as a user meets it: every mistake gets exit code 2 and a useful word, never a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMALL = ["--host", "mlp", "--data", "digits", "--swap", "{slot}=bottleneck-mlp", "--no-controls"]


def dopant(*arguments: str, folder: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dopant", *arguments], cwd=folder, capture_output=True, text=True, timeout=240,
        env={**os.environ, "COLUMNS": "160", **(env or {})},
    )  # fmt: skip


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert all(word in result.stderr for word in words), result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--swap", "head=reuplod-linear"], ["'reupload-linear'"]),
        (["--swap", "haed=reupload-linear"], ["'haed'", "'head'"]),
        (["--data", "digit", "--swap", "head=reupload-linear"], ["'digits'"]),
        (["--host", "creep-cn", "--swap", "head=reupload-linear"], ["'creep-cnn'"]),
        (["--swap", "head=reupload-linear:rep=3"], ["'rep'", "'reps'"]),
        (["--swap", "head=reupload-linear:reps=many"], ["reps"]),
        (["--swap", "head=reupload-linear:qubits=3"], ["qubits=4"]),
        (["--swap", "head=flipped-quanv"], ["head", "flipped-quanv"]),
        (["--swap", "head"], ["slot=component"]),
        (["--swap", "head=reupload-linear", "--replicates", "-3"], ["replicates", "-3"]),
        (["--set", "recipe.lr=fast"], ["recipe.lr", "'fast'"]),
        (["--set", "recipe.lerning_rate=1"], ["recipe.lerning_rate"]),
        (["--set", "studdy.seed=1"], ["studdy", "'study'"]),
        (["--epochs", "none"], ["none"]),
        (["--replicat", "3"], ["--replicates"]),
        (["nowhere.toml"], ["nowhere.toml"]),
        (["--with", "nowhere.py"], ["nowhere.py"]),
        (["--engine", "slurm"], ["'slurm'", "'local'"]),
        (["--workers", "0"], ["workers"]),
        (["--set", "recipe.device=cuda:9"], ["cuda:9"]),
    ],
)
def test_a_mistake_is_answered_with_a_word_and_nothing_is_begun(tmp_path, arguments, words):
    refused(dopant("run", *arguments, folder=tmp_path), *words)
    assert not (tmp_path / "runs").exists()


def test_several_mistakes_are_told_at_once(tmp_path):
    result = dopant(
        "run", "--swap", "haed=reupload-linear", "--swap", "conv1=flipped-quanv:padding=3",
        "--swap", "conv2=reupload-linear", folder=tmp_path,
    )  # fmt: skip
    refused(result, "'haed'", "'padding'", "conv2")


def test_a_damaged_study_file_is_located(tmp_path):
    (tmp_path / "study.toml").write_text("[study]\nhost = creep-cnn\nseed = 0\n")
    refused(dopant("run", "study.toml", folder=tmp_path), "study.toml", "line 2")
    (tmp_path / "study.toml").write_bytes(b"\xff\xfe\x00")
    refused(dopant("run", "study.toml", folder=tmp_path), "study.toml")


def test_absent_data_are_answered_with_both_ways_out(tmp_path):
    (tmp_path / "empty").mkdir()
    env = {
        "DOPANT_DATA": str(tmp_path / "empty"),
        "DOPANT_CACHE": str(tmp_path / "cache"),
        "https_proxy": "http://127.0.0.1:9",
    }
    result = dopant("run", "--data", "cifar10", "--swap", "head=reupload-linear", folder=tmp_path, env=env)
    refused(result, "DOPANT_DATA", "download")


def test_a_damaged_data_file_is_named(tmp_path):
    (tmp_path / "mnist.npz").write_bytes(b"PK\x03\x04 this is no archive")
    env = {"DOPANT_DATA": str(tmp_path), "DOPANT_CACHE": str(tmp_path / "cache")}
    refused(dopant("run", "--data", "mnist", "--swap", "head=reupload-linear", folder=tmp_path, env=env), "mnist.npz")


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"x")
    for command in (["report", "photos"], ["doctor", "photos"], ["run", "--quick", "--out", "photos"]):
        refused(dopant(*command, folder=tmp_path), "photos")
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["cat.jpg"]


def test_an_interrupt_saves_the_state_says_so_and_exits_with_130(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "dopant", "run", "--out", "s"], cwd=tmp_path, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 120
    while time.monotonic() < end and not list((tmp_path / "s").glob("trials/*/attempt-*/metrics.jsonl")):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on" in said and "Traceback" not in said


def test_help_and_lists_answer_without_a_study(tmp_path):
    assert "Swap the components" in dopant("--help", folder=tmp_path).stdout
    names = {row["name"] for row in json.loads(dopant("components", "--json", folder=tmp_path).stdout)}
    assert {"flipped-quanv", "reupload-linear", "frozen", "bottleneck-mlp"} <= names
    linear = {
        r["name"] for r in json.loads(dopant("components", "--fills", "Linear", "--json", folder=tmp_path).stdout)
    }
    assert {"reupload-linear", "low-rank"} <= linear and not {"depthwise-conv", "flipped-quanv", "max-pooling"} & linear
    assert {r["name"] for r in json.loads(dopant("hosts", "--json", folder=tmp_path).stdout)} >= {"creep-cnn", "mlp"}
    assert {r["name"] for r in json.loads(dopant("datasets", "--json", folder=tmp_path).stdout)} >= {"digits", "mnist"}


def test_one_component_is_told_with_its_options_and_an_unknown_one_gets_the_nearest_name(tmp_path):
    told = json.loads(dopant("components", "reupload-linear", "--json", folder=tmp_path).stdout)
    assert {o["name"]: o["default"] for o in told["options"]}["scale_init"] == 30.0
    shown = dopant("components", "reupload-linear", folder=tmp_path).stdout
    assert "scale: one of 'none', 'learned'; default 'none'" in shown and "fills: Linear\n" in shown
    refused(dopant("components", "reuplod-linear", folder=tmp_path), "'reupload-linear'")


def test_inspect_says_what_fits_and_why_the_others_do_not(tmp_path):
    result = dopant("inspect", "--host", "creep-cnn", "--data", "digits", "--json", folder=tmp_path)
    rows = {row["slot"]: row for row in json.loads(result.stdout)}
    assert rows["head"]["inputs"] == [256] and rows["head"]["outputs"] == [10]
    assert "reupload-linear" in rows["head"]["fits"] and "flipped-quanv" in rows["conv1"]["fits"]
    assert rows["head"]["does_not_fit"]["flipped-quanv"]
    plain = dopant("inspect", "--host", "creep-cnn", "--data", "digits", folder=tmp_path, env={"COLUMNS": "40"}).stdout
    assert "head: Linear, (256,) -> (10,)" in plain and "reupload-linear" in plain


GOOD = """
from torch import nn
import dopant as dp

@dp.component("tidy", fills=nn.Linear)
def tidy(old, signature):
    "A linear map."
    return nn.Linear(old.in_features, old.out_features)
"""
LEAKY = """
from torch import nn
import dopant as dp

class Leaky(nn.Module):
    def __init__(self, old):
        super().__init__()
        self.linear = nn.Linear(old.in_features, old.out_features)
    def forward(self, x):
        return self.linear(x - x.mean(0, keepdim=True))

@dp.component("leaky", fills=nn.Linear)
def leaky(old, signature):
    "Leaks between samples."
    return Leaky(old)
"""


def test_check_passes_a_good_component_and_names_the_law_a_bad_one_breaks(tmp_path):
    (tmp_path / "good_layer.py").write_text(GOOD)
    (tmp_path / "leaky_layer.py").write_text(LEAKY)
    good = dopant("check", "good_layer.py", folder=tmp_path)
    assert good.returncode == 0, good.stdout + good.stderr
    bad = dopant("check", "leaky_layer.py", folder=tmp_path)
    assert bad.returncode == 4 and "leak" in bad.stdout
    (tmp_path / "empty_layer.py").write_text("x = 1")
    refused(dopant("check", "empty_layer.py", folder=tmp_path), "registers no component")
    (tmp_path / "broken_layer.py").write_text("import nothing_of_the_kind")
    refused(dopant("check", "broken_layer.py", folder=tmp_path), "broken_layer.py", "nothing_of_the_kind")


def test_analyse_reads_a_table_and_answers_in_words(tmp_path):
    lines = ["arm,replicate,accuracy"]
    for replicate in range(12):
        lines += [f"classical,{replicate},{0.80 + 0.001 * replicate}", f"new,{replicate},{0.85 + 0.0013 * replicate}"]
    (tmp_path / "results.csv").write_text("\n".join(lines))
    result = dopant(
        "analyse", "results.csv", "--reference", "classical", "--metric", "accuracy", "--json", folder=tmp_path
    )
    answer = json.loads(result.stdout)
    assert answer["effects"][0]["mean"] == pytest.approx(0.05165) and len(answer["verdicts"]) == 1
    assert answer["notes"][0].startswith("12 replicates, paired")
    command = ["analyse", "results.csv", "--reference", "classical", "--metric", "accuracy", "--race"]
    result = dopant(*command, "--failure-value", "0.1", "--out", "answer.html", folder=tmp_path)
    assert result.returncode == 0 and "note: 12 replicates" in result.stdout and "answer.html" in result.stdout
    assert "How this was decided" in (tmp_path / "answer.html").read_text(encoding="utf-8")
    refused(
        dopant("analyse", "results.csv", "--reference", "clasical", "--metric", "accuracy", folder=tmp_path),
        "'classical'",
    )


def test_several_problems_read_as_one_message(tmp_path):
    wrong = dopant("run", "--set", "recipe.lerning_rate=1", "--set", "studdy.seed=1", folder=tmp_path)
    refused(wrong, "lerning_rate", "studdy")
    first, *rest = wrong.stderr.rstrip("\n").split("\n")
    assert first.startswith("dopant: ") and rest and all(line.startswith(" " * 8) for line in rest)
