"""The host's blocks in a browser without scripts: a click or a key on a slot opens its details, at two widths."""

from __future__ import annotations

import pytest
from opening import luminance

import dopant as dp
from dopant.datasets.source import load_source
from dopant.study.report import page


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a small finished study with a flipped quanvolution."""
    folder = tmp_path_factory.mktemp("blocks")
    ladder = dp.Ladder({"name": "creep-cnn", "size": 8}).level(conv1="flipped-quanv").level(head="low-rank")
    study = dp.run(ladder, data=load_source("digits"), recipe=dp.Recipe(batch=400, epochs=1), replicates=1,
                   controls=False, out=folder / "s", workers=1, progress=None)  # fmt: skip
    path = folder / "page.html"
    path.write_text(page(study), encoding="utf-8")
    return path


def opened(browser, report, width, dark=False):
    media = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")
    browser.get(report.as_uri())


@pytest.mark.parametrize("width", [390, 1280])
def test_a_click_on_a_filling_opens_its_details(browser, report, width):
    from selenium.webdriver.common.by import By

    opened(browser, report, width)
    drawn = next(s for s in browser.find_elements(By.CSS_SELECTOR, "svg.blocks") if s.is_displayed())
    details = browser.find_element(By.ID, "slot-1-1")
    assert not details.is_displayed()
    drawn.find_element(By.CSS_SELECTOR, 'a[href="#slot-1-1"]').click()
    assert details.is_displayed() and "density matrix" in details.text and "Trained kernels" in details.text
    assert "float32(batch, 1, 8, 8)" in browser.find_element(By.ID, "slot-1").text
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    boxes = browser.execute_script(
        "const s = [...document.querySelectorAll('svg.blocks')].find(s => s.checkVisibility());"
        "return [...s.querySelectorAll('.block')].flatMap(b => { const o = b.querySelector('.box')"
        ".getBoundingClientRect(); return [...b.querySelectorAll('text')].map(t => { const r ="
        " t.getBoundingClientRect(); return [r.left - o.left, o.right - r.right, r.top - o.top, o.bottom - r.bottom,"
        " r.height, t.textContent]; }) })"
    )
    assert len(boxes) > 8
    for *sides, height, content in boxes:
        assert min(sides) >= -1 and height >= 12, content


def test_the_keyboard_opens_a_slot_and_its_text_is_legible_in_the_dark(browser, report):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    opened(browser, report, 1280, dark=True)
    for _ in range(40):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if browser.execute_script("return document.activeElement.getAttribute('href')") == "#slot-1":
            break
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.find_element(By.ID, "slot-1").is_displayed()
    pairs = browser.execute_script(
        "const g = getComputedStyle(document.body).backgroundColor;"
        "return [...document.querySelectorAll('svg.blocks text')].filter(t => t.checkVisibility())"
        ".map(t => [getComputedStyle(t).fill, t.closest('.block').classList.contains('plain')"
        " || t.classList.contains('chiptext') ? getComputedStyle(t.closest('.block').querySelector('.chip, .box')).fill"
        " : g, t.textContent])"
    )
    assert len(pairs) > 8
    for front, back, content in pairs:
        a, b = sorted((luminance(front), luminance(back)))
        assert (b + 0.05) / (a + 0.05) >= 4.5, content
