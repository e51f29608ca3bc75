"""Installed packages: found by themselves, in workers too; part of a trial's identity; left out when broken."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from own_layer import HEADER, linear

import dopant as dp
from dopant import registry
from dopant.errors import DopantWarning
from dopant.registry import load_file
from dopant.study import plan as planning
from dopant.study.trial import identify

NAME, KEY = "example-leaky-linear", "dopant-example==0.1.0:dopant_example/layers.py"


def dopant(*arguments: str, folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "dopant", *arguments], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path}, timeout=240,
    )  # fmt: skip


def test_a_package_that_pip_installed_is_listed_checked_and_run_in_workers(site, tmp_path):
    listed = dopant("components", "--json", folder=tmp_path, site=site)
    row = {row["name"]: row for row in json.loads(listed.stdout)}[NAME]
    assert row["origin"] == KEY and row["fills"] == "Linear" and listed.stderr == ""
    file = site / "dopant_example" / "layers.py"
    checked = dopant("check", str(file), "--slot", "head", folder=tmp_path, site=site)
    assert checked.returncode == 0 and f"{NAME}: " in checked.stdout, checked.stdout + checked.stderr
    request = ["run", "--host", "mlp", "--data", "digits", "--swap", f"head={NAME}", "--quick", "--no-controls",
               "--workers", "1", "--epochs", "1", "--out", "s"]  # fmt: skip
    done = dopant(*request, folder=tmp_path, site=site)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((tmp_path / "s" / "provenance.json").read_text())
    assert said["plugins"] == {"dopant-example": "0.1.0"} and said["plugins_left_out"] == []
    trials = [json.loads(p.read_text()) for p in (tmp_path / "s").glob("trials/*/trial.json")]
    files = {bool(t["description"]["swaps"]): t["description"]["files"] for t in trials}
    assert len(trials) == 4
    assert files == {False: {}, True: {KEY: hashlib.sha256(file.read_bytes()).hexdigest()}}

    newer = shutil.copytree(site, tmp_path / "newer")  # another version of the same code is another component
    (info,) = newer.glob("*.dist-info")
    info = info.rename(info.with_name(info.name.replace("0.1.0", "0.2.0")))
    metadata = (info / "METADATA").read_text()
    (info / "METADATA").write_text(metadata.replace("Version: 0.1.0", "Version: 0.2.0"))
    changed = dopant(*request, folder=tmp_path, site=newer)
    assert changed.returncode == 2 and "Traceback" not in changed.stderr
    assert f"files.{KEY}" in changed.stderr and "files.dopant-example==0.2.0:" in changed.stderr, changed.stderr


def descriptions(component: str) -> tuple[dict, dict]:
    """Of the host alone, and with the component in its head."""
    study = dp.Study(dp.Ladder("mlp").level(head=component), data="digits", controls=False)
    first, second = planning.cells(study)
    return tuple(planning.describe(study, cell, 0, study.recipe, {}) for cell in (first, second))


def test_a_plugin_changes_the_identity_of_trials_that_use_it_and_of_no_others(outside):
    before = [identify(d) for d in descriptions("bottleneck-mlp")]
    outside.install("acme-layers", {"acme.py": HEADER + linear("acme")}, version="1.0")
    assert [identify(d) for d in descriptions("bottleneck-mlp")] == before  # found, and not used
    host, old = descriptions("acme")
    assert identify(host) == before[0] and list(old["files"]) == ["acme-layers==1.0:acme.py"]
    outside.write("site/acme.py", HEADER + linear("acme") + "# changed\n")  # the same version, as in development
    changed = descriptions("acme")[1]
    assert list(changed["files"]) == list(old["files"]) and identify(changed) != identify(old)


def test_a_plugin_gives_hosts_and_data_whose_trials_it_decides_too(outside):
    text = HEADER + "@dp.register_host('acme-host')\ndef build(classes=10):\n    return nn.Linear(1, classes)\n"
    outside.install("acme-hosts", {"acme_hosts/__init__.py": "from . import net", "acme_hosts/net.py": text})
    study = dp.Study(dp.Ladder("acme-host").level(fc="frozen"), data="digits", controls=False)
    description = planning.describe(study, planning.cells(study)[0], 0, study.recipe, {})
    assert list(description["files"]) == ["acme-hosts==1.0:acme_hosts/net.py"]


def test_a_plugin_that_a_script_imports_itself_is_the_same_plugin(outside):
    outside.install("acme-layers", {"acme_one.py": HEADER + linear("acme-one")})
    __import__("acme_one")
    assert registry.components.origin("acme-one") == "acme-layers==1.0:acme_one.py"


BROKEN = {
    "a package that is missing": ("import nothing_of_the_kind\n", ["'nothing_of_the_kind'", "not installed"]),
    "an exception": ("raise RuntimeError('no such device')\n", ["RuntimeError: no such device"]),
    "syntax": ("def f(:\n", ["SyntaxError"]),
    "an exit": ("raise SystemExit(3)\n", ["sys.exit"]),
    "a built-in name": (HEADER + linear("frozen"), ["'frozen'", "dopant.components.ordinary", "acme-layers==1.0:"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_left_out_with_a_warning_and_everything_else_works(outside, case):
    text, words = BROKEN[case]
    good = HEADER + linear("half-way") if case != "syntax" else ""
    outside.install("acme-layers", {"acme_bad.py": good + text})
    outside.install("fine-layers", {"fine_layers.py": HEADER + linear("fine")})
    said = outside.dopant("components", "--json")
    names = {row["name"] for row in json.loads(said.out)}
    assert said.code == 0 and {"frozen", "fine"} <= names and "half-way" not in names
    assert said.err.count("\n") == 1 and said.err.startswith("dopant: warning: the plug-in 'acme_bad' of the package")
    assert all(word in said.err for word in ["acme-layers 1.0", "left out", *words, "pip uninstall acme-layers"])
    assert "dopant.components" in registry.components.origin("frozen")
    with pytest.raises(dp.UnknownName, match=r"'half-way'.*'acme_bad' of the package acme-layers.*may have it"):
        registry.components.get("half-way")
    outside.dopant("run", "--swap", "head=half-way").refused("acme-layers", "may have it")


def test_from_python_a_broken_plugin_is_a_warning_that_can_be_caught(outside):
    outside.install("acme-layers", {"acme_warns.py": "1 / 0"})
    with pytest.warns(DopantWarning, match=r"acme-layers 1.0 was left out: line 1: ZeroDivisionError"):
        dp.list_components()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dp.list_components()  # once is enough


def test_of_two_plugins_with_one_name_the_later_is_left_out_naming_both(outside):
    outside.install("a-layers", {"a_layers.py": HEADER + linear("shared")})
    outside.install("b-layers", {"b_layers.py": HEADER + linear("shared")})
    said = outside.dopant("components", "--json")
    assert said.code == 0 and "b-layers 1.0 was left out" in said.err
    assert "two components are named 'shared'" in said.err and "a-layers==1.0:a_layers.py" in said.err
    assert {r["name"]: r["origin"] for r in json.loads(said.out)}["shared"] == "a-layers==1.0:a_layers.py"


def test_a_file_with_a_plugins_name_is_refused_whichever_is_asked_for_first(outside):
    outside.install("acme-layers", {"acme_two.py": HEADER + linear("taken")})
    path = outside.write("own_taken.py", HEADER + linear("taken"))
    outside.dopant("components", "--with", "own_taken.py").refused("'taken'", str(path), "acme-layers==1.0:acme_two.py")
    with pytest.raises(dp.ConfigError, match=r"line 4.*'taken'.*uninstall the package"):
        load_file(path)


def test_what_a_plugin_prints_stays_out_of_json(outside):
    outside.install("acme-layers", {"acme_loud.py": "print('hello')\n" + HEADER + linear("loud")})
    said = outside.dopant("components", "--json")
    assert "hello" in said.err and "loud" in {row["name"] for row in json.loads(said.out)}
