"""Code from outside the package: installed plug-ins (entry points `dopant.plugins`) and files of one's own (`--with`).

What fails to load leaves no name behind. A file that fails is the request's fault and is refused; a plug-in that fails
is left out with a warning, since the command at hand may have nothing to do with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import random
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from .errors import ConfigError, DopantError, DopantWarning, Problems, hint, nearest

GROUP = "dopant.plugins"


@dataclass
class _Load:
    """One load under way. added: (registry, name) of what it registered so far."""

    source: str | EntryPoint
    added: list[tuple[Any, str]] = field(default_factory=list)


_under_way: list[_Load] = []
_loaded: dict[str, str] = {}  # path of a file -> SHA-256 when it was loaded
_plugins_loaded = False
packages: dict[str, str] = {}  # of plug-ins that were loaded: {name: version}
broken: list[str] = []  # plug-ins that were left out, each with the reason
sources: dict[str, Path] = {}  # origin of what a plug-in registered -> the file that did


# --- who registers --------------------------------------------------------------------------------------------------


def registering() -> str:
    """The module whose body is being executed: decorators at its top level are its own, whoever imported it."""
    return _body().get("__name__", "")


def _body() -> dict[str, Any]:
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    return frame.f_globals if frame is not None else {}


def is_ours() -> bool:
    """Whether what registers now is part of this package."""
    return registering().partition(".")[0] == "dopant"


def being_loaded() -> str | None:
    """The file of one's own that is being imported at this moment."""
    return next((load.source for load in reversed(_under_way) if isinstance(load.source, str)), None)


def note(registry: Any, name: str) -> None:
    """Remember that the load under way registered `name`, so that its failure takes it back."""
    if _under_way and not is_ours():
        _under_way[-1].added.append((registry, name))


def within_one_load(registry: Any, name: str) -> bool:
    """Whether the load under way registered this name before."""
    return bool(_under_way) and any(r is registry and n == name for r, n in _under_way[-1].added)


def origin_of(target: Callable) -> str:
    """Where a registered callable comes from: for messages about clashes, and for the identity of trials.

    `PACKAGE==VERSION:file` of an installed plug-in, the path of a file of one's own, `module:name` of anything else.
    """
    body = _body()
    module = body.get("__name__", "")
    if module.partition(".")[0] != "dopant":
        source = _under_way[-1].source if _under_way else None
        entry = _plugin_of(module) or (source if isinstance(source, EntryPoint) else None)
        if entry is not None:
            return _origin_in(entry, module, body.get("__file__"))
        if isinstance(source, str):
            return source
    return f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', target)}"


@cache
def _entries() -> tuple[EntryPoint, ...]:
    return tuple(sorted(entry_points(group=GROUP), key=lambda entry: (*_package(entry), entry.name)))


def _plugin_of(module: str) -> EntryPoint | None:
    """The plug-in whose package this module is in, also where somebody else imports it."""
    top = module.partition(".")[0]
    return next((entry for entry in _entries() if entry.module.partition(".")[0] == top), None)


def _package(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist is not None else (entry.name, "unknown")


def _origin_in(entry: EntryPoint, module: str, file: str | None) -> str:
    path = Path(file or "")
    inside = module.replace(".", "/") + ("/__init__.py" if path.stem == "__init__" else path.suffix)
    package, version = _package(entry)
    origin = f"{package}=={version}:{inside}"
    sources[origin] = path
    return origin


def sum_of(origin: str) -> str:
    """SHA-256 of the file that a plug-in's origin names; where that is no file (a zip), its version alone decides."""
    path = sources[origin]
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"


# --- loading --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _load(source: str | EntryPoint) -> Iterator[None]:
    """While code from outside runs: what it prints goes to standard error (`--json` must stay readable), generators
    that it seeds are put back, and what it registered before it failed is forgotten."""
    load = _Load(source)
    _under_way.append(load)
    try:
        with contextlib.redirect_stdout(sys.stderr), _generators_kept():
            yield
    except BaseException:
        for registry, name in load.added:
            registry.forget(name)
        raise
    finally:
        _under_way.remove(load)


@contextlib.contextmanager
def _generators_kept() -> Iterator[None]:
    """The global generators' states restored at the end: those of libraries that are in use when it begins."""
    if "torch" in sys.modules:
        from .streams import default_generators

        with default_generators():
            yield
        return
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def load_plugins() -> None:
    """Import what installed packages declare under the entry-point group `dopant.plugins`, once.

    One that fails is left out with a DopantWarning, and an unknown name later mentions it.
    """
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True
    failed = []
    for entry in _entries():
        package, version = _package(entry)
        try:
            with _load(entry):
                entry.load()
        except (Exception, SystemExit) as error:
            file = _plugin_file(entry, error)
            what = f"the plug-in {entry.name!r} of the package {package} {version}"
            broken.append(f"{what} was left out: {_reason(error, file)}")
            failed.append(
                f"{broken[-1]}; everything else works. Install what it lacks, upgrade it (pip install --upgrade "
                f"{package}) or remove it (pip uninstall {package})"
            )
            continue
        packages[package] = version
    for text in failed:
        warnings.warn(text, DopantWarning, stacklevel=2)


def _plugin_file(entry: EntryPoint, error: BaseException) -> str | None:
    """The innermost file of the plug-in's own that the error went through."""
    top = f"{os.sep}{entry.module.partition('.')[0]}"
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return next((f for f in reversed(files) if f"{top}{os.sep}" in f or f.endswith(f"{top}.py")), None)


def load_file(path: str | Path) -> Any:
    """Import a user's file (`--with`), which registers what it decorates; returns the module.

    The module's name is the file's stem, so `my_file:Net` finds it later. Loading the same file twice is one load.
    Raises ConfigError for what is no Python file, for one that fails to import (with the line), whose names clash with
    others, whose name hides another module, or that was changed since this process loaded it.
    """
    given, path = Path(path), Path(path).resolve()
    _expect_file(given, path)
    load_plugins()  # so that a clash with one of them is seen here, where it can be mended
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if _loaded.get(str(path), digest) != digest:
        raise ConfigError(f"{str(path)!r} was changed after this process loaded it; start Python anew (the kernel)")
    for module in list(sys.modules.values()):
        if str(path) in (getattr(module, "__dopant_file__", None), getattr(module, "__file__", None)):
            return module
    name = path.stem
    hidden = _hidden_by(name, path)
    if hidden:
        raise ConfigError(f"{str(path)!r} would hide the module {name!r} {hidden}; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    module.__dopant_file__ = str(path)  # type: ignore[attr-defined]
    sys.modules[name] = module
    try:
        with _load(str(path)):
            spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, Problems):
            line = _line_in(str(path), error)
            raise ConfigError(
                [f"{str(path)!r}{f', line {line}' if line else ''}: {p}" for p in error.problems]
            ) from error
        if isinstance(error, (Exception, SystemExit)):
            raise ConfigError(f"{str(path)!r} fails to import: {_reason(error, str(path))}") from error
        raise
    _loaded[str(path)] = digest
    return module


def _expect_file(given: Path, path: Path) -> None:
    """ConfigError unless there is a Python file."""
    if path.is_dir():
        inside = sorted(p.name for p in path.glob("*.py") if p.stem != "__init__")
        example = str(given / (inside[0] if inside else "my_layer.py"))
        raise ConfigError(f"{str(given)!r} is a folder; name the file in it, such as {example!r}")
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise ConfigError(f"there is no file {str(path)!r}" + hint(nearest(path.name, beside)))
    if path.suffix != ".py":
        raise ConfigError(f"{str(path)!r} is not a Python file by its name; rename it to {path.stem + '.py'!r}")
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{str(path)!r} cannot be read; change its permissions")


def _hidden_by(name: str, path: Path) -> str | None:
    """Which module of the same name the file would stand before, in words; None if there is none.

    The working folder and the file's own do not count: whether they are searched depends on how Python was started.
    """
    used = sys.modules.get(name)
    if used is not None and getattr(used, "__file__", None) is not None:
        return f"already in use, from {used.__file__!r}"
    if name in sys.stdlib_module_names or used is not None:
        return "of Python's own" if name in sys.stdlib_module_names else "already in use"
    here = {Path.cwd(), path.parent}
    found = PathFinder.find_spec(name, [p for p in sys.path if p and Path(p).resolve() not in here])
    if found is not None and found.origin is not None:
        return f"that is installed, {found.origin!r}"
    return None


# --- what went wrong ------------------------------------------------------------------------------------------------


def _line_in(file: str, error: BaseException) -> int | None:
    """The last line of `file` that the error went through."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return lines[-1] if lines else None


def _reason(error: BaseException, file: str | None) -> str:
    """What went wrong at an import, and on which line of `file`, in words."""
    if isinstance(error, SyntaxError):
        line = f"line {error.lineno}: " if error.lineno else ""
        other = f"{error.filename!r}, " if error.filename and error.filename != file else ""
        return f"{other}{line}{type(error).__name__}: {error.msg}"
    line = _line_in(file, error) if file else None
    where = f"line {line}: " if line else ""
    if isinstance(error, SystemExit):
        return f'{where}it ends Python (sys.exit); put that under `if __name__ == "__main__":`'
    if isinstance(error, ModuleNotFoundError) and error.name:
        top = error.name.partition(".")[0]
        if top in sys.modules or importlib.util.find_spec(top) is not None:
            return f"{where}there is no module {error.name!r} in the package {top!r}"
        if file and Path(file).with_name(f"{top}.py").is_file():
            return (
                f"{where}it imports {top!r} from the file beside it, and only the file itself is loaded; put the two "
                "into one file, or make them a package that is installed"
            )
        return f"{where}it needs the package {top!r}, which is not installed here"
    if isinstance(error, Problems):
        return where + "; ".join(error.problems)
    if isinstance(error, DopantError):
        return f"{where}{error}"
    return f"{where}{type(error).__name__}: {error}"
