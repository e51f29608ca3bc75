"""The page in a browser without a network: it fits, it prints, and hostile names stay text."""

from __future__ import annotations

import base64

import pytest
from fake_answer import HOSTILE, answer, hostile_answer
from opening import luminance, opened

WIDTHS = (390, 1280, 1920)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(browser, tmp_path, width):
    opened(browser, tmp_path, answer(), width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    shown = browser.execute_script(
        "return [...document.querySelectorAll('svg.forest')].filter(s => s.checkVisibility()).length"
    )
    assert shown == 1  # one of the two widths
    smallest = browser.execute_script(
        "return Math.min(...[...document.querySelectorAll('svg.forest text')].filter(t => t.checkVisibility())"
        ".map(t => t.getBoundingClientRect().height))"
    )
    assert smallest >= 12


@pytest.mark.parametrize("width", WIDTHS)
def test_texts_of_the_figure_stay_inside_it_and_apart(browser, tmp_path, width):
    opened(browser, tmp_path, answer(), width)
    boxes = browser.execute_script(
        "const s = [...document.querySelectorAll('svg.forest')].find(s => s.checkVisibility());"
        "const box = e => { const b = e.getBoundingClientRect();"
        " return [b.left, b.top, b.right, b.bottom, e.textContent] };"
        "return [box(s), ...[...s.querySelectorAll('text')].map(box)]"
    )
    outer, texts = boxes[0], boxes[1:]
    assert len(texts) > 20
    for left, top, right, bottom, content in texts:
        assert left >= outer[0] - 1 and right <= outer[2] + 1 and top >= outer[1] - 1 and bottom <= outer[3] + 1, (
            content
        )
    for i, a in enumerate(texts):
        for b in texts[i + 1 :]:
            across = min(a[2], b[2]) - max(a[0], b[0])
            down = min(a[3], b[3]) - max(a[1], b[1])
            assert across <= 1 or down <= 5, (a[4], b[4])


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_legible_in_light_and_in_dark(browser, tmp_path, dark):
    """Contrast of at least 4.5 between a text and its ground (WCAG 2.1, level AA)."""
    opened(browser, tmp_path, answer(failed=1), dark=dark)
    colours = browser.execute_script(
        """
        const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
            if (c !== 'rgba(0, 0, 0, 0)') return c; } };
        return [...document.querySelectorAll('p, th, td, li, dt, dd, summary, figcaption, bdi, text, .tag, b, code')]
            .filter(e => e.checkVisibility() && e.textContent.trim())
            .map(e => [e instanceof SVGElement ? getComputedStyle(e).fill : getComputedStyle(e).color,
                       ground(e), e.textContent.slice(0, 60)])
        """
    )
    assert len(colours) > 200
    for front, back, content in colours:
        a, b = sorted((luminance(front), luminance(back)))
        assert (b + 0.05) / (a + 0.05) >= 4.5, (content, front, back)
    grounds = {back for _, back, _ in colours}
    assert all((luminance(g) < 0.2) == dark for g in grounds)


@pytest.mark.parametrize("text", [t for t in HOSTILE if t != "\ud800"], ids=lambda t: ascii(t[:12]))
def test_hostile_names_stay_text(browser, tmp_path, text):
    opened(browser, tmp_path, hostile_answer(text), 390)
    assert browser.title != "owned"
    assert browser.execute_script("return document.querySelectorAll('img, iframe, script[src]').length") == 0
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    name = browser.execute_script("return document.querySelector('h1').textContent")
    assert name == text.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert browser.execute_script("return document.querySelectorAll('#limits li').length") > 0


def test_nothing_is_requested_but_the_page_itself(browser, tmp_path):
    import json

    path = opened(browser, tmp_path, answer())
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert {url for url in asked if not url.startswith("data:")} == {path.as_uri()}
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def test_it_prints_with_every_table_whole(browser, tmp_path):
    opened(browser, tmp_path, answer())
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert pdf.startswith(b"%PDF") and len(pdf) > 20_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    cut = browser.execute_script(
        "return [...document.querySelectorAll('.scroll')]"
        ".filter(s => getComputedStyle(s).overflowX !== 'visible').length"
    )
    hidden = browser.execute_script(
        "return [...document.querySelectorAll('.sentence, .comparisons figure')]"
        ".filter(e => !e.checkVisibility()).length"
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert (cut, hidden) == (0, 0)


def test_the_keyboard_reaches_the_tables_and_the_folds(browser, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened(browser, tmp_path, answer())
    reached = []
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        reached.append(active.get_attribute("aria-label") or active.text)
        if reached[-1].startswith("Every number"):
            active.send_keys(Keys.ENTER)
        if "Table of effects" in reached:
            break
    assert "Table of effects" in reached and "What the words mean" in reached
    fold = browser.find_element(By.CSS_SELECTOR, "details.words summary")
    fold.send_keys(Keys.ENTER)
    assert browser.find_element(By.CSS_SELECTOR, "details.words dl").is_displayed()
