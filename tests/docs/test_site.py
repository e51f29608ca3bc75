"""The site holds together: it builds strictly, all of it is its own, every name has a page, every link an end."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import dopant
from dopant import registry


def below(site, page: str, href: str) -> tuple[str, str] | None:
    """(path below the site, anchor) of a link of a page; None for one that leads elsewhere."""
    parts = urlsplit(href)
    if parts.scheme or parts.netloc:
        return None
    target = Path(page).parent / unquote(parts.path) if parts.path else Path(page)
    return str((site.folder / target).resolve().relative_to(site.folder.resolve())), unquote(parts.fragment)


def test_it_builds_without_a_warning(site):
    assert "WARNING" not in site.log and "ERROR" not in site.log, site.log


def test_nothing_that_a_page_loads_comes_from_elsewhere(site):
    loaded = {(name, href) for name, page in site.pages.items() for href in page.loads}
    assert len(loaded) > 100
    assert {pair for pair in loaded if re.match(r"(\w+:)?//", pair[1])} == set()
    sheets = list(site.folder.rglob("*.css"))
    asked = {u for sheet in sheets for u in re.findall(r"(?:url\(|@import )['\"]?([^'\")]+)", sheet.read_text())}
    assert len(sheets) >= 3 and {u for u in asked if not u.startswith(("data:", "#"))} == set()
    assert not list(site.folder.rglob("*.woff*"))


def test_what_a_page_loads_is_there(site):
    for name, page in site.pages.items():
        for href in page.loads:
            if name == "404.html" or href.startswith("data:"):  # that one's are of the server's root
                continue
            target = below(site, name, href)
            assert target is not None and (site.folder / target[0]).is_file(), (name, href)


def test_every_link_and_anchor_has_an_end(site):
    checked = 0
    for name, page in site.pages.items():
        if name == "404.html":  # its links are of the server's root
            continue
        for href in page.links:
            target = below(site, name, href)
            if target is None:
                continue
            path, anchor = target
            assert (site.folder / path).exists(), f"{name} links to {href}"
            if anchor and path.endswith(".html"):
                assert anchor in site.pages[path].ids, f"{name} links to {href}, which has no such place"
            checked += 1
    assert checked > 300


def test_every_page_is_in_the_navigation(site):
    reached = {t[0] for name, page in site.pages.items() if name != "404.html" for href in page.nav
               if (t := below(site, name, href))}  # fmt: skip
    assert set(site.pages) - {"404.html"} <= reached


def test_every_component_and_every_paper_has_a_page(site):
    for kind, names in (("components", registry.components.names()), ("papers", registry.papers.names())):
        ours = [n for n in names if registry.__dict__[kind].origin(n).startswith("dopant") or kind == "papers"]
        assert len(ours) >= 1
        index = {below(site, f"{kind}/index.html", href) for href in site.pages[f"{kind}/index.html"].links}
        for name in ours:
            assert f"{kind}/{name}.html" in site.pages
            assert (f"{kind}/{name}.html", "") in index, f"{name} is not in the table"


def test_every_public_name_is_in_the_reference(site):
    ids = site.pages["reference/python.html"].ids | site.pages["reference/errors.html"].ids
    for name, (module, attribute) in dopant._NAMES.items():
        assert f"dopant{module}.{attribute}" in ids, name


def test_a_file_that_says_what_is_in_the_registry_is_not_kept_in_the_checkout():
    kept = {p.name for p in (Path(__file__).parents[2] / "docs").rglob("*.md")}
    assert not kept & {f"{name}.md" for name in registry.components.names()}
