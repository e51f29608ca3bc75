"""What the page does with JavaScript: colours, metrics, sorting, paging, figures to explore; and what it must not."""

from __future__ import annotations

import base64
import json
import re
import zlib

import numpy as np
import pytest
from fake_answer import HOSTILE, answer, hostile_answer
from opening import opened

from dopant.study.report import bundle, islands, page, room, script, tables, words

VIEWS = ("curves", "costs", "pairs")


def wait(browser, condition, seconds=8):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds, 0.05).until(lambda b: b.execute_script(f"return {condition}"))


def show(browser, name):
    """Scroll to a figure and wait for it to be drawn."""
    browser.execute_script(f"document.querySelector('[data-view={name}]').scrollIntoView()")
    wait(browser, f"document.querySelector('[data-view={name}]')?.dataset.ready === 'yes'")


def press(browser, text, within="body"):
    """Press a button as a reader would, by its text."""
    script = "return [...document.querySelectorAll(arguments[0] + ' button')].find(b => b.textContent === arguments[1])"
    browser.execute_script(script, within, text).click()


def complaints(browser):
    return [e["message"] for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]


def island(html, name):
    return islands.unpack(re.search(rf'<script [^>]*data-island="{name}"[^>]*>([^<]*)<', html)[1])


def column(browser, name):
    """The texts of a column of the trials as they are listed now."""
    return browser.execute_script(
        "const at = [...document.querySelectorAll('#all-trials th')].findIndex(h => h.dataset.column === arguments[0]);"
        "return [...document.querySelectorAll('#all-trials tbody tr')].map(r => r.cells[at].innerText)",
        name,
    )


def test_the_toggle_turns_the_page_dark_and_light_and_print_stays_light(browser, tmp_path):
    opened(browser, tmp_path, answer())
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(f"return {ground}")
    press(browser, "Dark", ".tools")
    dark = browser.execute_script(f"return {ground}")
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 23, 27)")
    pressed = "[...document.querySelectorAll('.tools .segmented button')].map(b => b.ariaPressed)"
    assert browser.execute_script(f"return {pressed}") == ["false", "false", "true"]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.execute_script(f"return {ground}") == light
    assert not browser.execute_script("return document.querySelector('.tools').checkVisibility()")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.refresh()
    assert browser.execute_script(f"return {ground}") == dark  # remembered
    media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    press(browser, "Light", ".tools")
    assert browser.execute_script(f"return {ground}") == light
    press(browser, "Auto", ".tools")
    assert browser.execute_script(f"return {ground}") == dark
    browser.execute_script("localStorage.clear()")


def test_every_figure_is_drawn_without_a_complaint_or_a_request(browser, tmp_path):
    path = opened(browser, tmp_path, answer(failed=1))
    complaints(browser)
    for name in VIEWS:
        show(browser, name)
        marks = f"document.querySelectorAll('[data-view={name}] .plot svg path, [data-view={name}] canvas').length"
        assert browser.execute_script(f"return {marks}") > 0
    assert complaints(browser) == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert {url for url in asked if not url.startswith("data:")} == {path.as_uri()}


def test_a_metric_is_switched_in_panels_and_figure_and_a_name_highlights_its_curve(browser, tmp_path):
    opened(browser, tmp_path, answer())
    show(browser, "curves")
    shown = "[...document.querySelectorAll('#curves > details')].map(d => d.checkVisibility() && d.open)"
    title = "[...document.querySelectorAll('[data-view=curves] .plot svg text')].map(t => t.textContent)"
    assert browser.execute_script(f"return {shown}") == [True, False, False]
    assert "validation accuracy" in browser.execute_script(f"return {title}")
    press(browser, "train loss", "#curves > .segmented")
    assert browser.execute_script(f"return {shown}") == [False, False, True]
    wait(browser, f"{title}.includes('train loss')")
    paths = "[...document.querySelectorAll('[data-view=curves] .plot .mark-line path')]"
    lines = f"{paths}.map(p => +(p.getAttribute('opacity') ?? 1))"
    assert sum(o == 1 for o in browser.execute_script(f"return {lines}")) == 3  # more than eight cells: the levels
    press(browser, "All alike", "[data-view=curves]")
    wait(browser, f"{lines}.every(o => o === 1)")
    press(browser, "level 1", "[data-view=curves] .legend")
    wait(browser, f"{lines}.filter(o => o === 1).length === 1")
    button = "document.querySelectorAll('[data-view=curves] .legend button')[1]"
    assert browser.execute_script(f"return {button}.ariaPressed") == "true"


def test_trials_are_paged_filtered_and_sorted_by_the_keyboard_alone(browser, tmp_path):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    study = answer(replicates=12, epochs=2, failed=3)
    opened(browser, tmp_path, study)
    wait(browser, "document.querySelector('.paging')")
    assert column(browser, "trial") == list(study.trials["trial"][:50])

    def reach(name):
        for _ in range(12):
            browser.switch_to.active_element.send_keys(Keys.TAB)
            active = browser.switch_to.active_element
            if (active.text or active.get_attribute("type")) == name:
                return active
        raise AssertionError(f"{name} cannot be reached")

    browser.execute_script("document.querySelector('#trials > details > summary').focus()")
    reach("Next →").send_keys(Keys.ENTER)
    assert column(browser, "trial") == list(study.trials["trial"][50:100])
    heading = browser.find_element(By.CSS_SELECTOR, "#all-trials th[data-column=test_accuracy] button")
    heading.send_keys(Keys.ENTER)
    order = study.trials.sort_values("test_accuracy", kind="stable")
    assert column(browser, "trial") == list(order["trial"][:50])
    assert heading.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    heading.send_keys(Keys.SPACE)
    assert column(browser, "trial")[0] == order.dropna(subset=["test_accuracy"])["trial"].iloc[-1]
    heading.send_keys(Keys.ENTER)  # as it was
    press(browser, "All", ".paging")
    assert column(browser, "trial") == list(study.trials["trial"])
    box = browser.find_element(By.CSS_SELECTOR, ".paging input")
    box.send_keys("not finite")
    assert set(column(browser, "status")) == {"failed"} and len(column(browser, "trial")) == 3
    box.clear()
    box.send_keys(study.trials["trial"][80])
    assert column(browser, "trial") == [study.trials["trial"][80]]


def test_rows_that_the_script_writes_are_those_that_python_would_have_written(browser, tmp_path):
    study, generator = answer(replicates=40, epochs=1), np.random.default_rng(3)
    count = len(study.trials)
    study.trials["seconds"] = 10.0 ** generator.uniform(-10, 5, count)
    study.trials["flops_x"] = 10.0 ** generator.uniform(0, 15, count)
    study.trials["x_loss"] = generator.normal(size=count) * 10.0 ** generator.uniform(-7, 9, count)
    study.trials["eighths"] = generator.integers(-4000, 4000, count) / 8
    study.trials["p"] = generator.uniform(0, 1, count) ** 8
    study.trials["mean"], study.trials["fine"] = generator.normal(size=count), generator.random(count) < 0.5
    study.trials["test_accuracy"] = generator.integers(0, 3201, count) / 3200
    study.trials.loc[300:310, "seconds"] = np.nan
    opened(browser, tmp_path, study)
    wait(browser, "document.querySelector('.paging')")
    press(browser, "All", ".paging")
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert column(browser, "trial") == list(study.trials["trial"][: tables.CUT])  # print says where the rest is
    assert "200 trials" in browser.execute_script("return document.querySelector('#cut').textContent")
    browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
    whole = tables.trials(study.trials, count)
    for name in ("seconds", "flops_x", "x_loss", "eighths", "p", "mean", "fine", "test_accuracy", "replicate"):
        at = [h.name for h in whole.headers].index(name)
        assert column(browser, name) == [row[at].text for row in whole.rows], name


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[1], HOSTILE[4], HOSTILE[5]], ids=lambda t: ascii(t[:12]))
def test_hostile_names_stay_text_in_every_figure_and_table(browser, tmp_path, text):
    opened(browser, tmp_path, hostile_answer(text), 390)
    complaints(browser)
    for name in VIEWS:
        show(browser, name)
    press(browser, "All alike", "[data-view=curves]")
    assert browser.title != "owned" and complaints(browser) == []
    assert browser.execute_script("return document.querySelectorAll('img, iframe, main script').length") == 0
    names = browser.execute_script("return [...document.querySelectorAll('.legend bdi')].map(b => b.textContent)")
    assert words.clean(text) in names
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def test_links_lead_into_folds_and_to_a_trial(browser, tmp_path):
    study = answer(failed=1)
    path = opened(browser, tmp_path, study)
    browser.get(path.as_uri() + "#trial-" + study.trials["trial"][20])
    browser.refresh()
    wait(browser, "document.querySelectorAll('#all-trials tbody tr').length === 1")
    browser.execute_script("document.querySelector('#trials > details').open = false; location.hash = '#all-trials'")
    wait(browser, "document.querySelector('#trials > details').open")
    folds = "[...document.querySelectorAll('main details:not(.vega-embed *)')].filter(d => !d.hidden).map(d => d.open)"
    press(browser, "Unfold all", ".tools")
    assert all(browser.execute_script(f"return {folds}"))
    press(browser, "Fold all", ".tools")
    assert not any(browser.execute_script(f"return {folds}"))


def test_without_javascript_the_page_has_no_controls_and_every_metric(browser, tmp_path):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened(browser, tmp_path, answer(replicates=40, epochs=1))
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    count = "document.querySelectorAll(arguments[0]).length"
    assert browser.execute_script(f"return {count}", "button, select, input, .view") == 0
    assert browser.execute_script(f"return {count}", "#curves > details") == 3
    assert browser.execute_script(f"return {count}", "#all-trials tbody tr") == tables.CUT
    assert "trials.csv" in browser.execute_script("return document.querySelector('#cut').textContent")


def test_two_thousand_trials_make_a_small_page_with_all_of_them_in_its_data():
    study = answer(replicates=223, epochs=3)
    html = page(study)
    assert len(html.encode()) < 1_300_000
    found = island(html, "trials")
    assert found["count"] == len(study.trials) == 2007
    by_name = {c["name"]: c for c in found["columns"]}
    scores = np.array(by_name["test_accuracy"]["values"])
    assert np.abs(scores / study.trials["test_accuracy"].to_numpy() - 1).max() < 1e-8
    assert [by_name["cell"]["texts"][i] for i in by_name["cell"]["at"]] == list(study.trials["cell"])
    assert "1807 more are in trials.csv" in html


def test_what_does_not_fit_is_rounded_thinned_and_cut_in_words():
    study = answer(replicates=30, epochs=400)
    every = ["trial", "cell", "replicate", "status", "test_accuracy"]
    small = islands.trials(study.trials, every, study.cells, "test_accuracy", 3000)
    assert len(small.data) <= 3000 and "rounded to 5 digits" in small.note and "in trials.csv only" in small.note
    assert islands.unpack(small.data)["count"] < len(study.trials)
    whole = islands.learning(study.metrics, study.cells, ["validation_accuracy"], 10**6)
    thin = islands.learning(study.metrics, study.cells, ["validation_accuracy"], 12_000)
    assert whole.note == "In this figure every curve is thinned to 120 of 400 epochs."
    assert len(thin.data) <= 12_000 < len(whole.data)
    curve = islands.unpack(thin.data)["metrics"][0]["curves"][0]
    assert curve["epoch"][0] == 1 and curve["epoch"][-1] == 400
    one = study.metrics[(study.metrics["cell"] == "level 0") & (study.metrics["epoch"] == curve["epoch"][7])]
    assert curve["mean"][7] == pytest.approx(one["validation_accuracy"].mean(), rel=1e-5)


def test_a_study_of_hundreds_of_effects_still_fits(monkeypatch):
    monkeypatch.setattr("dopant.study.report.LIMIT", 700_000)
    study = answer()
    study.effects = study.effects.loc[study.effects.index.repeat(14)].reset_index(drop=True)
    html = page(study)
    assert len(html.encode()) < 2_000_000
    assert "effects.csv beside it" in html
    assert room.Shortened(study, 10**6).notes == study.notes


def test_the_library_is_made_once_and_a_page_does_without_it(monkeypatch, tmp_path):
    monkeypatch.setenv("DOPANT_CACHE", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", None)  # cannot be imported
    assert bundle.bundle() is None
    html = page(answer())
    assert "data-library" not in html.split("</script>", 1)[1] and 'data-island="trials"' in html
    assert len(re.findall("sha256-", html.split("</head>")[0].split("<style>")[0])) == 1


def test_a_damaged_copy_of_the_library_is_made_anew(monkeypatch, tmp_path):
    import types

    monkeypatch.setenv("DOPANT_CACHE", str(tmp_path))
    fake = types.SimpleNamespace(javascript_bundle=lambda snippet: "window.vegaEmbed = null;")
    monkeypatch.setitem(__import__("sys").modules, "vl_convert", fake)
    made = bundle.bundle()
    text = zlib.decompress(base64.b64decode(made.data)).decode()
    assert "vegaEmbed" in text and bundle.sha256(text) == made.sha256
    (kept,) = (tmp_path / "report").iterdir()
    kept.write_text(json.dumps({"data": made.data, "sha256": "sha256-other"}), encoding="ascii")
    assert bundle.bundle() == made


def test_the_script_is_small_and_asks_for_nothing():
    text = script.script()
    assert len(text.encode()) < 30_000
    assert not re.search(r"\b(fetch|XMLHttpRequest|eval|Function|innerHTML|import|WebSocket)\b", text)
