"""A place outside the package: files of a user's own, packages installed beside it, and the command line in process."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from dopant import _loading, registry
from dopant.errors import DopantWarning
from dopant.training import parts

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # importing typer says that click has moved a name
    from dopant import cli

HERE = Path(__file__).parent
REGISTRIES = [
    registry.components, registry.hosts, registry.datasets, registry.tasks, registry.rules, registry.metrics,
    registry.papers, parts.losses, parts.optimizers, parts.schedules,
]  # fmt: skip


@dataclass
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    def refused(self, *words: str, code: int = 2) -> None:
        assert self.code == code, self.out + self.err
        assert "Traceback" not in self.out + self.err
        where = self.err if code == 2 else self.out
        assert all(word in where for word in words), where


class Outside:
    """A folder of the user's, which is the working folder too."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def dopant(self, *arguments: str) -> Said:
        """The command line in this process."""
        self.monkeypatch.setattr(sys, "argv", ["dopant", *arguments])
        self.capsys.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as left:
                cli.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        out, err = self.capsys.readouterr()
        return Said(int(left.value.code or 0), out, err)

    def install(self, package: str, modules: dict[str, str], *, version: str = "1.0", entry: str = "") -> None:
        """A package as pip leaves it, on the path; its plug-in is named as its module."""
        site = self.folder / "site"
        for name, text in modules.items():
            self.write(f"site/{name}", text)
        top = next(iter(modules)).removesuffix(".py").partition("/")[0]
        info = f"site/{package.replace('-', '_')}-{version}.dist-info"
        self.write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        self.write(f"{info}/entry_points.txt", f"[dopant.plugins]\n{top} = {entry or top}\n")
        if str(site) not in sys.path:
            self.monkeypatch.syspath_prepend(str(site))
        forget_plugins()


def forget_plugins() -> None:
    _loading._plugins_loaded = False
    _loading._entries.cache_clear()
    for known in (_loading.packages, _loading.broken, _loading.sources):
        known.clear()


@pytest.fixture
def outside(tmp_path, monkeypatch, capsys):
    """Whatever is loaded in the test is forgotten after it; warnings of ours are shown, as to a user."""
    for kind in REGISTRIES:
        kind.names()
    before = [(dict(kind._items), dict(kind._origins)) for kind in REGISTRIES]
    modules, loaded = set(sys.modules), dict(_loading._loaded)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("default", DopantWarning)
        yield Outside(tmp_path, monkeypatch, capsys)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    for kind, (items, origins) in zip(REGISTRIES, before, strict=True):
        kind._items, kind._origins = items, origins
    monkeypatch.undo()
    forget_plugins()
    _loading._loaded.clear()
    _loading._loaded.update(loaded)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """A folder of installed packages: the example package, built and installed by pip."""
    folder = tmp_path_factory.mktemp("site")
    source = shutil.copytree(HERE / "example_package", tmp_path_factory.mktemp("source") / "example_package")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index",
         "--no-build-isolation", "--no-compile", "--target", str(folder), str(source)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder
