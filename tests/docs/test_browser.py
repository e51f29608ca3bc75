"""The site in a browser: it asks nothing of a network, search works, nothing is wider than the screen."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import time

import pytest

PAGES = ("index.html", "verdicts.html", "components/circuit.html")


def requests(browser) -> list[str]:
    """Every address that was asked for since the last look."""
    told = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in told if m["method"] == "Network.requestWillBeSent"]


def searched(browser, words: str) -> list[str]:
    """The titles that the search finds."""
    script = """
        document.querySelector('#__search').checked = true;
        const field = document.querySelector('.md-search__input');
        field.focus(); field.value = arguments[0];
        for (const name of ['keyup', 'input']) field.dispatchEvent(new Event(name, {bubbles: true}));
    """
    browser.execute_script(script, words)
    for _ in range(100):
        time.sleep(0.1)
        found = browser.execute_script(
            "return [...document.querySelectorAll('.md-search-result__item h1')].map(h => h.textContent)"
        )
        if found:
            return found
    return []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opened_as_a_file_asks_for_nothing_but_files(site, browser, page):
    browser.get_log("performance")
    browser.get((site.folder / page).as_uri())
    time.sleep(0.5)
    asked = requests(browser)
    assert any(url.endswith(page) for url in asked)
    assert {url for url in asked if not url.startswith(("file://", "data:", "about:", "blob:"))} == set()
    severe = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert severe == []


def test_search_works_in_a_page_that_was_opened_as_a_file(site, browser):
    browser.get((site.folder / "start.html").as_uri())
    browser.get_log("performance")
    assert any("reupload-linear" in title for title in searched(browser, "reupload-linear"))
    assert {url for url in requests(browser) if not url.startswith(("file://", "data:", "about:", "blob:"))} == set()


def test_search_on_a_server_asks_only_that_server(site, browser):
    handler = functools.partial(Quiet, directory=str(site.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{server.server_port}/"
        try:
            browser.get_log("performance")
            browser.get(home + "index.html")
            assert any("verdict" in title.lower() for title in searched(browser, "what the verdicts mean"))
            asked = requests(browser)
        finally:
            server.shutdown()
    assert any(url.endswith("search_index.json") for url in asked)
    assert {url for url in asked if not url.startswith((home, "data:", "blob:"))} == set()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("page", (*PAGES, "reference/study-file.html", "reference/python.html"))
def test_nothing_is_wider_than_a_phone(site, browser, page):
    size = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.get((site.folder / page).as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_text_can_be_read_in_light_and_in_dark(site, browser):
    """Contrast of body text and links with the ground, by the formula of WCAG 2."""
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        browser.get((site.folder / "verdicts.html").as_uri())
        ground = rgb(browser, "document.body", "backgroundColor")
        for element in (".md-typeset p", ".md-typeset p a", ".md-typeset code"):
            assert contrast(rgb(browser, f"document.querySelector('{element}')", "color"), ground) >= 4.5, (
                scheme,
                element,
            )


def rgb(browser, element: str, name: str) -> list[float]:
    """The colour as painted: drawn on a canvas, so that any notation of it is read."""
    return browser.execute_script(
        f"const c = document.createElement('canvas').getContext('2d', {{willReadFrequently: true}});"
        f"c.fillStyle = getComputedStyle(document.body).backgroundColor; c.fillRect(0, 0, 1, 1);"
        f"c.fillStyle = getComputedStyle({element}).{name}; c.fillRect(0, 0, 1, 1);"
        f"return [...c.getImageData(0, 0, 1, 1).data].slice(0, 3)"
    )


def contrast(one: list[float], two: list[float]) -> float:
    def light(colour: list[float]) -> float:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)
