"""Pages that are made while the site is built, from the registry, the command line and the models of study files.

mkdocs calls these functions. Nothing is written into the checkout. Cost: some five seconds, three of them for torch.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DOPANT_KERNEL", "off")  # nothing here is worth compiling for
sys.path.insert(0, str(Path(__file__).parent))

import commands
import python
import registered
import study_file

ROOT = Path(__file__).parents[2]
FROM_THE_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}

_pages: dict[str, tuple[str, str]] = {}  # path: (title, Markdown)


def on_config(config: Any) -> Any:
    """Make the pages, and give each of the many a place below its index in the navigation."""
    _pages.clear()
    _pages.update({path: (title, text) for title, path, text in registered.pages()})
    _pages["reference/commands.md"] = ("Command line", commands.page())
    _pages["reference/study-file.md"] = ("Study file", study_file.page())
    _pages["reference/python.md"] = ("Python", python.page())
    _pages["reference/circuits.md"] = ("Circuits: the names", python.circuits_page())
    _pages["reference/errors.md"] = ("Errors", python.errors_page())
    for path, source in FROM_THE_ROOT.items():
        _pages[path] = (path.split(".")[0].capitalize(), from_the_root((ROOT / source).read_text(encoding="utf-8")))
    for entries in _lists(config.nav):
        for folder in ("components", "papers"):
            if f"{folder}/index.md" in entries:
                entries += [{title: path} for path, (title, _) in _pages.items()
                            if path.startswith(f"{folder}/") and not path.endswith("/index.md")]  # fmt: skip
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, and the pictures of the papers."""
    for path, (_, text) in _pages.items():
        files.append(File.generated(config, path, content=text))
    for path, content in registered.paper_figures():
        files.append(File.generated(config, path, content=content))
    return files


def on_post_build(config: Any) -> None:
    """The index of the search as a script too: a page that was opened as a file may not read it otherwise."""
    index = Path(config.site_dir) / "search" / "search_index.json"
    index.with_suffix(".js").write_text("var __index = " + index.read_text(encoding="utf-8"), encoding="utf-8")


def from_the_root(text: str) -> str:
    """A page of the repository's root: its links into docs/ become links beside it."""
    return re.sub(r"\]\(docs/", "](", text)


def _lists(nav: Any) -> Iterator[list[Any]]:
    """Every list of the navigation."""
    if isinstance(nav, list):
        yield nav
        for entry in nav:
            yield from _lists(entry)
    elif isinstance(nav, dict):
        for entry in nav.values():
            yield from _lists(entry)
