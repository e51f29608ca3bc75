"""The charts in a browser: they fit, their texts are large enough, apart from one another, and legible on any tint."""

from __future__ import annotations

from dataclasses import replace

import jinja2
import pytest
from chart_answers import factorial, fraction, mixing, placement, race
from fake_answer import HOSTILE, answer
from opening import luminance

from dopant.study.report import _style, charts, evidence, pareto

WIDTHS = (390, 1280, 1920)


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """One page with the charts of all designs, under the page's own style sheet, every fold open."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("dopant.study.report", "."), autoescape=True,
                                     trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    body = []
    for study in (answer(), factorial(), fraction(), mixing(), race(), placement()):
        context = {"charts": charts.charts(study), "pareto": pareto.charts(study), "evidence": evidence.tiers(study)}
        body += [environment.get_template(f"parts/{part}.jinja").render(context)
                 for part in ("evidence", "charts", "pareto")]  # fmt: skip
    text = "".join(body).replace("<details", "<details open")
    path = tmp_path_factory.mktemp("charts") / "charts.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><style>{_style()}</style><body><main>{text}", encoding="utf-8")
    return path


def shown(browser, path, width, dark=False):
    media = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())


@pytest.mark.parametrize("width", WIDTHS)
def test_texts_of_charts_are_large_enough_inside_and_apart(browser, every, width):
    shown(browser, every, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    figures = browser.execute_script(
        """
        const box = e => { const b = e.getBoundingClientRect();
            return [b.left, b.top, b.right, b.bottom, e.textContent] };
        return [...document.querySelectorAll('svg.chart')].filter(s => s.checkVisibility()).map(s => ({
            name: s.getAttribute('class'), outer: box(s),
            scale: s.getBoundingClientRect().width / s.viewBox.baseVal.width,
            texts: [...s.querySelectorAll('text')].map(t => [...box(t), parseFloat(t.getAttribute('font-size'))]) }))
        """
    )
    assert len(figures) >= 20
    for figure in figures:
        left, top, right, bottom, _ = figure["outer"]
        texts = figure["texts"]
        for x0, y0, x1, y1, content, size in texts:
            assert size * figure["scale"] >= 11.9, (figure["name"], content)
            inside = x0 >= left - 1 and x1 <= right + 1 and y0 >= top - 1 and y1 <= bottom + 1
            assert inside, (figure["name"], content)
        for i, a in enumerate(texts):
            for b in texts[i + 1 :]:
                across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                assert across <= 1 or down <= 5 * figure["scale"], (figure["name"], a[4], b[4])


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_written_on_a_tint_is_legible_in_light_and_in_dark(browser, every, dark):
    shown(browser, every, 1280, dark)
    pairs = browser.execute_script(
        """
        return [...document.querySelectorAll('svg.heat rect.tile')].flatMap(r =>
            [...r.parentElement.querySelectorAll('text')].map(t =>
                [getComputedStyle(t).fill, getComputedStyle(r).fill, r.getAttribute('class')]))
        """
    )
    labels = browser.execute_script(
        """
        const ground = getComputedStyle(document.body).backgroundColor;
        return [...document.querySelectorAll('svg.chart text, .evidence li')].filter(t => !t.closest('.arm'))
            .map(t => [getComputedStyle(t)[t instanceof SVGElement ? 'fill' : 'color'], ground, t.textContent])
        """
    )
    assert len({tint for _, _, tint in pairs}) >= 5 and len(labels) > 100
    for front, back, what in [*pairs, *labels]:
        a, b = sorted((luminance(front), luminance(back)))
        assert (b + 0.05) / (a + 0.05) >= 4.5, (what, front, back)


def test_hostile_names_stay_text_and_long_ones_keep_their_place(browser, tmp_path):
    """Every hostile name in a ladder's cells, at once."""
    study = answer(replicates=3)
    names = dict(zip((c.name for c in study.cells), HOSTILE[:9], strict=True))
    for frame in (study.trials, study.costs):
        frame["cell"] = frame["cell"].map(names)
    study.cells = [replace(c, name=names[c.name], swaps={names[c.name]: {"component": names[c.name]}})
                   for c in study.cells]  # fmt: skip
    study.effects = study.effects.iloc[:0]
    study.metric = ("accuracy", "test_accuracy", True)
    pictures = [p for c in [*charts.charts(study), *pareto.charts(study)] for p in c.pictures]
    path = tmp_path / "hostile.html"
    path.write_text(
        f"<!doctype html><meta charset=utf-8><style>{_style()}</style>{''.join(pictures)}", encoding="utf-8"
    )
    for width in (390, 1280):
        shown(browser, path, width)
        assert browser.title != "owned" and len(pictures) >= 4
        assert browser.execute_script("return document.querySelectorAll('script, img, iframe').length") == 0
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
