"""The site, built once as `make docs` builds it; what its pages hold, read by a parser of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from absence import absent

ROOT = Path(__file__).parents[2]
RESOURCES = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass
class Page(HTMLParser):
    """One page: ids, links, what it loads, its blocks of code with their language, its inline code."""

    path: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    nav: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    blocks: list[tuple[str, str]] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, str]] = []
        self.feed(self.path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {k: v or "" for k, v in attrs}
        if "id" in has:
            self.ids.add(has["id"])
        if tag == "a" and "href" in has:
            (self.nav if any("md-nav" in c or "md-tabs" in c for _, c in self.open) else self.links).append(has["href"])
        if tag in RESOURCES and RESOURCES[tag] in has:
            self.loads.append(has[RESOURCES[tag]])
        self.loads += [part.split()[0] for part in has.get("srcset", "").split(",") if part.strip()]
        if tag == "pre":
            language = next((c.split("language-")[1].split()[0] for _, c in self.open[::-1] if "language-" in c), "")
            self.blocks.append((language, ""))
        if tag == "code" and not self._inside("pre"):
            self.inline.append("")
        if tag not in VOID:
            self.open.append((tag, has.get("class", "")))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._inside("pre"):
            language, text = self.blocks[-1]
            self.blocks[-1] = (language, text + data)
        elif self._inside("code"):
            self.inline[-1] += data

    def _inside(self, tag: str) -> bool:
        return any(name == tag for name, _ in self.open)


@dataclass
class Site:
    """A built site. pages: {path below its folder: page}."""

    folder: Path
    log: str
    pages: dict[str, Page]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """`mkdocs build --strict`, some fifteen seconds of a core, of which torch takes three."""
    pytest.importorskip("mkdocs") if not os.environ.get("CI") else __import__("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)], cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {str(p.relative_to(folder)): Page(p) for p in sorted(folder.rglob("*.html"))}
    return Site(folder, built.stdout + built.stderr, pages)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """Headless Chromium that keeps what it asks for; a missing one fails in CI and skips elsewhere."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        absent("chromium with chromedriver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium or ""
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking",
                     "--disable-component-update", f"--user-data-dir={profile}"):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=Service(driver or ""))
    yield running
    running.quit()
