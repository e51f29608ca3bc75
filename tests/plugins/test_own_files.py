"""A file of the user's own: loaded whole or not at all, and every mistake in it is told with its line."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from own_layer import HEADER, linear

import dopant as dp
from dopant import registry
from dopant.registry import load_file

BROKEN = {
    "syntax": ("x = 1\ndef f(:\n", ["line 2", "SyntaxError"]),
    "a package that is missing": ("import os\nimport nothing_of_the_kind.at_all\n",
                                  ["line 2", "'nothing_of_the_kind'", "not installed"]),
    "a module that is missing": ("import dopant.nothing\n", ["line 1", "no module 'dopant.nothing'"]),
    "a name that is missing": ("from dopant import nothing_at_all\n", ["line 1", "nothing_at_all"]),
    "an exception": ("x = 1\n\n1 / 0\n", ["line 3", "ZeroDivisionError", "division by zero"]),
    "an exception further down": ("import json\nvalue = json.loads('{')\n", ["line 2", "JSONDecodeError"]),
    "an exit": ("import sys\nsys.exit()\n", ["line 2", "sys.exit", "__main__"]),
    "an unknown fact": (HEADER + "dp.component('a', lineal=True)\n", ["line 4", "'lineal'", "'linear'"]),
    "null bytes": ("x = 1\0\n", ["null bytes"]),
    "no name": (HEADER + "@dp.component\ndef a(old, signature): ...\n", ["line 4", "needs a name"]),
    "a name with signs": (HEADER + "dp.component('a:b')\n", ["line 4", "'a:b'", "letters"]),
    "a class": (HEADER + "@dp.component('a')\nclass Layer(nn.Module): ...\n",
                ["line 4", "Layer is a class", "return Layer(…)"]),
    "a value": (HEADER + "dp.component('a')(3)\n", ["line 4", "int cannot be called", "def make(old, signature)"]),
    "no signature": (HEADER + "@dp.component('a')\ndef make(old): ...\n", ["line 4", "takes (old)", "signature"]),
    "a target in its place": (HEADER + "@dp.component('a')\ndef make(old, target): ...\n", ["takes (old, target)"]),
    "a fills of text": (HEADER + "dp.component('a', fills='Linear')\n", ["line 4", "'Linear'", "fills=nn.Linear"]),
    "a fills of an instance": (HEADER + "dp.component('a', fills=nn.ReLU())\n", ["line 4", "ReLU(…)", "module class"]),
    "a study begun": (HEADER + "dp.run(dp.Ladder('mlp').level(head='frozen'), data='digits')\n",
                      ["line 4", "begins a study", "__main__"]),
    "a built-in name": (HEADER + linear("reupload-linear"),
                        ["line 4", "'reupload-linear'", "dopant.components.quantum.reupload_linear", "rename"]),
    "one name twice": (HEADER + linear("twice") + linear("twice"), ["line 8", "'twice'", "rename"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_fails_says_what_and_where_and_leaves_nothing_behind(outside, case):
    text, words = BROKEN[case]
    head = HEADER + linear("half-way")
    path = outside.write("broken_layer.py", text)
    said = outside.dopant("check", "broken_layer.py")
    said.refused("broken_layer.py", *words)
    with pytest.raises(dp.ConfigError) as error:
        load_file(path)
    assert f"dopant: {error.value}" == said.err.strip()
    if case not in ("syntax", "null bytes"):  # those never begin
        outside.write("broken_layer.py", head + text)
        with pytest.raises(dp.ConfigError):
            load_file(path)
    assert not {"half-way", "twice"} & set(registry.components.names())
    assert "broken_layer" not in sys.modules and "dopant.components" in registry.components.origin("reupload-linear")
    outside.write("broken_layer.py", HEADER + linear("mended"))  # mended, it loads in the same process
    load_file(path)
    assert registry.components.origin("mended") == str(path)


def test_an_interrupt_during_a_load_stays_one_and_leaves_nothing_behind(outside):
    path = outside.write("slow_layer.py", HEADER + linear("half-way") + "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_file(path)
    assert "half-way" not in registry.components and "slow_layer" not in sys.modules


def test_a_file_beside_it_is_not_taken_along_and_the_message_says_what_to_do(outside):
    outside.write("sub/own_helper.py", "x = 1")
    outside.write("sub/own_helped.py", "from own_helper import x")
    outside.dopant("components", "--with", "sub/own_helped.py").refused("own_helper", "beside it", "one file")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere_layer.py", ["no file", "'somewhere_layer.py'"]),
        (".", ["is a folder", "such as 'antigravity.py'"]),
        ("layer.txt", ["not a Python file", "'layer.py'"]),
        ("random.py", ["hide the module 'random'", "rename"]),
        ("sys.py", ["hide the module 'sys'", "rename"]),
        ("antigravity.py", ["hide the module 'antigravity'", "Python's own"]),
        ("statsmodels.py", ["hide the module 'statsmodels'", "rename"]),
    ],
)
def test_what_is_no_file_to_load_is_refused_with_the_way_out(outside, name, words):
    for file in ("somewhere_layer.py", "layer.txt", "random.py", "sys.py", "antigravity.py", "statsmodels.py"):
        outside.write(file, HEADER + linear("own"))
    before = sys.modules.get(name.removesuffix(".py"))
    outside.dopant("hosts", "--with", name).refused(*words)
    with pytest.raises(dp.ConfigError, match=r"rename|folder|no file"):
        dp.run(dp.Ladder("mlp").level(head="own"), data="digits", with_files=[name])
    assert "own" not in registry.components and sys.modules.get(name.removesuffix(".py")) is before


def test_two_files_with_one_name_are_refused_naming_both(outside):
    outside.write("first_layer.py", HEADER + linear("same"))
    outside.write("second_layer.py", HEADER + linear("same"))
    said = outside.dopant("components", "--with", "first_layer.py", "--with", "second_layer.py")
    said.refused("'same'", str(outside.folder / "first_layer.py"), str(outside.folder / "second_layer.py"), "rename")
    assert registry.components.origin("same") == str(outside.folder / "first_layer.py")


def test_two_files_called_alike_in_two_folders_are_refused(outside):
    first = outside.write("a/own_layer_x.py", HEADER + linear("a"))
    load_file(first)
    outside.write("b/own_layer_x.py", HEADER + linear("b"))
    outside.dopant("components", "--with", "b/own_layer_x.py").refused(str(first), "rename the file")


def test_the_same_file_twice_by_a_link_or_with_a_dash_in_its_name_is_one_load(outside):
    path = outside.write("my-own-layer.py", HEADER + linear("dashed") + "print('loaded')\n")
    (outside.folder / "link.py").symlink_to(path)
    said = outside.dopant("components", "--json", "--with", path.name, "--with", "link.py", "--with", str(path))
    assert said.code == 0 and said.err.count("loaded") == 1
    origin = {row["name"]: row["origin"] for row in json.loads(said.out)}  # what the file prints is not in it
    assert origin["dashed"] == str(path)
    assert origin["reupload-linear"] == "dopant.components.quantum.reupload_linear:reupload_linear"


def test_a_file_that_was_changed_after_it_was_loaded_is_not_taken_for_the_old_one(outside):
    path = outside.write("changing_layer.py", HEADER + linear("changing"))
    load_file(path)
    outside.write("changing_layer.py", HEADER + linear("changing", "nn.Linear(1, 1)"))
    with pytest.raises(dp.ConfigError, match="changed after"):
        load_file(path)


def test_generators_that_a_file_seeds_are_put_back(outside):
    seeds = "import random, numpy, torch\nrandom.seed(1)\nnumpy.random.seed(1)\ntorch.manual_seed(1)\n"
    paths = [outside.write(f"seeding_{i}.py", seeds + end) for i, end in enumerate(("", "1 / 0\n"))]
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    load_file(paths[0])
    with pytest.raises(dp.ConfigError):
        load_file(paths[1])
    assert before == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_a_builtin_that_a_file_imports_first_stays_a_builtin(outside):
    """The file's import may be the first of that module: its components are not the file's."""
    name = "dopant.components.quantum.reupload_linear"
    module = sys.modules.pop(name)
    try:
        load_file(outside.write("importing_layer.py", f"import {name}\n" + HEADER + linear("importing")))
        assert registry.components.origin("reupload-linear").startswith(name)
        assert registry.components.origin("importing").endswith("importing_layer.py")
    finally:
        sys.modules[name] = module


def test_a_builtin_name_is_known_as_taken_before_anybody_has_asked_for_a_builtin(tmp_path):
    """In a process of its own, where no list of components has been made yet: the clash is the file's, not ours."""
    (tmp_path / "own_layer_first.py").write_text(HEADER + linear("reupload-linear"))
    said = subprocess.run(
        [sys.executable, "-m", "dopant", "hosts", "--with", "own_layer_first.py"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 2 and "Traceback" not in said.stderr
    assert "own_layer_first.py', line 4: two components are named 'reupload-linear'" in said.stderr, said.stderr
