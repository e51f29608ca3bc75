"""The charts of scores: where things are drawn, against means and intervals computed here from the trials."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from chart_answers import factorial, fraction, mixing, placement, race
from fake_answer import HOSTILE, answer, hostile_answer
from hypothesis import given, settings
from hypothesis import strategies as hs
from scipy import stats

from dopant.designs import Cell
from dopant.study.report import _context, arms, axes, evidence, interactions, ladder, pareto, thinning
from dopant.study.report import factorial as heat
from dopant.study.report import mixing as curve
from dopant.study.report.charts import charts
from dopant.study.report.pareto import Point
from dopant.study.report.room import ROOMS
from dopant.study.report.scores import reached

NS = "{http://www.w3.org/2000/svg}"


def parsed(picture):
    return ET.fromstring(str(picture))


def classed(root, name):
    return [e for e in root.iter() if name in e.get("class", "").split()]


def number(label: str) -> float:
    """The value that a tick's label says; a share from per cent."""
    plain = label.replace("\u2212", "-").replace("\u202f", "").replace(" ", "")
    return float(plain.removesuffix("%")) / (100 if plain.endswith("%") else 1)


def axis(root, anchor: str, along: str, log: bool = False):
    """A function from a place to the value there, read from the tick labels."""
    ticks = [t for t in classed(root, "tick") if t.get("text-anchor") == anchor]
    places = np.array([float(t.get(along)) - (4 if along == "y" else 0) for t in ticks])
    values = np.array([number(t.text) for t in ticks])
    values = np.log10(values) if log else values
    slope, start = np.polyfit(places, values, 1)
    assert np.abs(slope * places + start - values).max() < 2e-3 * np.ptp(values)
    return lambda place: 10 ** (slope * place + start) if log else slope * place + start


def centre(mark, r=5.6):
    """The middle of a mark."""
    if mark.get("cx"):
        return float(mark.get("cx")), float(mark.get("cy"))
    points = np.array([list(map(float, p.split(","))) for p in mark.get("d").strip("MZ").split("L")])
    if len(points) == 3:  # a triangle's tip is 1.2 r above its middle
        return points[0][0], points[0][1] + 1.2 * r
    return tuple(points.mean(0))


def arms_of(root, r=5.6):
    """{what an arm is called: (its element, the middle of its mark)}."""
    found = {}
    for arm in classed(root, "arm"):
        mark = next(e for e in arm if "mark" in e.get("class", "").split())
        found[arm.find(f"{NS}title").text.partition(":")[0]] = arm, centre(mark, r)
    return found


def scores(study, cell):
    rows = study.trials[(study.trials["cell"] == cell) & (study.trials["status"] == "done")]
    return rows.sort_values("replicate")["test_accuracy"].to_numpy()


def test_each_level_and_control_of_a_ladder_stands_at_its_mean_with_its_t_interval():
    study = answer()
    hopeless = study.trials["cell"] == "level 2, head=frozen"
    study.trials.loc[hopeless, "test_accuracy"] -= 0.5
    wide, _ = ladder.chart(study).pictures
    root = parsed(wide)
    value, found = axis(root, "end", "y"), arms_of(root)
    assert len(found) == 9
    for cell in study.cells:
        called = cell.name if cell.role == "level" else cell.name.removeprefix("level 2, ")
        mine = scores(study, cell.name)
        arm, (_, y) = found[called]
        assert bool(classed(arm, "beyond-axis")) == (called == "head=frozen")  # it is far below: an arrow says so
        if called == "head=frozen":
            continue
        assert value(y) == pytest.approx(mine.mean(), abs=2e-4)
        low, high = stats.t.interval(0.95, len(mine) - 1, mine.mean(), stats.sem(mine))
        ends = sorted(value(float(e.get("y1"))) for e in classed(arm, "end"))
        assert ends == pytest.approx([low, high], abs=2e-4)
    controls = [arm for arm, _ in found.values() if classed(arm, "control")]
    assert len(controls) == 4
    places = [found[name][1][0] for name in ("level 0", "level 1", "level 2", "zero bias", "head=bottleneck-mlp")]
    assert places == sorted(places)


def test_a_thread_joins_the_scores_of_one_replicate_from_level_to_level():
    study = answer(replicates=4)
    root = parsed(ladder.chart(study).pictures[0])
    value = axis(root, "end", "y")
    drawn = sorted((value(float(e.get("y1"))), value(float(e.get("y2")))) for e in classed(root, "thread"))
    levels = [scores(study, f"level {k}") for k in range(3)]
    wanted = sorted((a, b) for k in range(2) for a, b in zip(levels[k], levels[k + 1], strict=True))
    assert np.array(drawn) == pytest.approx(np.array(wanted), abs=3e-4)


def test_on_a_narrow_screen_a_ladder_goes_from_top_to_bottom():
    study = answer()
    root = parsed(ladder.chart(study).pictures[1])
    value, found = axis(root, "middle", "x"), arms_of(root, 5.2)
    for level in range(3):
        assert value(found[f"level {level}"][1][0]) == pytest.approx(scores(study, f"level {level}").mean(), abs=3e-4)
    heights = [found[f"level {level}"][1][1] for level in range(3)]
    assert heights == sorted(heights) and len(classed(root, "thread")) == 12


def test_a_ladder_of_many_arms_is_drawn_in_rows_on_wide_screens_too():
    study = answer(replicates=3)
    study.cells = study.cells + [Cell(f"level 2, head=more-{i}", 2, {}, "control") for i in range(8)]
    wide, _ = ladder.chart(study).pictures
    assert "no score yet" in str(wide) and axis(parsed(wide), "middle", "x")


def test_the_interval_of_a_mean_over_resplits_has_the_corrected_variance():
    study = factorial(resplit=0.25)
    name = study.cells[3].name
    row = next(r for r in heat.chart(study).table.rows if r[0].text == name)
    mine = scores(study, name)
    half = stats.t.ppf(0.975, len(mine) - 1) * mine.std(ddof=1) * math.sqrt(1 / len(mine) + 0.25)
    assert [float(e.value) for e in row[1:5]] == pytest.approx(
        [mine.mean(), mine.std(ddof=1), mine.mean() - half, mine.mean() + half]
    )


def test_a_tile_says_mean_and_deviation_and_a_stronger_tint_a_larger_mean():
    study = factorial()
    root = parsed(heat.chart(study).pictures[0])
    tiles = classed(root, "arm")
    assert len(tiles) == 12
    seen = []
    for tile in tiles:
        where = dict(part.split("=") for part in tile.find(f"{NS}title").text.partition(":")[0].split(", "))
        cell = study.config.design.name({f: where[f] for f in ("conv1", "conv2", "head")})
        mine = scores(study, cell)
        texts = [t.text for t in tile.iter(f"{NS}text")]
        assert number(texts[0]) == pytest.approx(mine.mean(), abs=5.1e-5)
        assert float(texts[1].removeprefix("SD ")) == pytest.approx(100 * mine.std(ddof=1), abs=5.1e-3)
        tint = next(c for c in tile.find(f"{NS}rect").get("class").split() if c.startswith("heat"))
        seen.append((mine.mean(), int(tint.removeprefix("heat"))))
    tints = [tint for _, tint in sorted(seen)]
    assert tints == sorted(tints) and {0, 6} <= set(tints)


def test_what_a_fraction_leaves_out_is_drawn_as_not_trained_and_its_aliases_are_told():
    chart = heat.chart(fraction())
    assert [len(classed(parsed(p), "untrained")) for p in chart.pictures] == [4, 4]
    assert any("Not told apart: conv1 and conv2 x head." in note for note in chart.notes)
    assert interactions.chart(fraction()) is None  # all interactions are aliased


def test_grids_that_are_not_drawn_are_counted(monkeypatch):
    monkeypatch.setattr(heat, "FACETS", 1)
    assert any(note.startswith("1 more grid") for note in heat.chart(factorial()).notes)


def test_the_corners_of_an_interaction_are_means_and_their_differences_its_effect():
    study = factorial()
    chart = interactions.chart(study)
    rows = study.effects[study.effects["role"] == "interaction"]
    assert [p.name for p in chart.panels] == list(rows["swap"])
    for panel, effect, row in zip(chart.panels, rows.to_dict("records"), chart.table.rows, strict=True):
        root = parsed(panel.picture)
        value = axis(root, "end", "y")
        found = {}
        for called, (_, (_, y)) in arms_of(root, 5).items():
            levels = dict(part.split("=") for part in called.split(", "))
            cells = [c.name for c in study.cells
                     if all(f"{f}={x}" in c.name.split(", ") for f, x in levels.items())]  # fmt: skip
            other = next(f for f in ("conv1", "conv2", "head") if f not in levels)
            if other == "conv2":  # the mean is over levels of which all four corners are there: all of them here
                assert len(cells) == 3
            mean = np.mean([scores(study, c).mean() for c in cells])
            assert value(y) == pytest.approx(mean, abs=3e-4)
            found[tuple(x != "old" for x in levels.values())] = mean
        mixed = found[True, True] - found[True, False] - found[False, True] + found[False, False]
        assert mixed == pytest.approx(effect["mean"], abs=1e-12)
        assert [float(e.value) for e in row[5:]] == [effect["mean"], effect["low"], effect["high"]]


def test_shapley_bars_are_as_long_as_their_values_and_on_their_side():
    study = factorial()
    panels = interactions.shapley(study).panels
    assert len(panels) == 2
    for panel, (_, rows) in zip(panels, study.shapley.groupby("combination", sort=False), strict=True):
        root = parsed(panel.picture)
        zero = float(classed(root, "zero")[0].get("x1"))
        bars = [(float(b.get("x")), float(b.get("width"))) for b in classed(root, "bar")]
        ends = [x + w if x >= zero - 0.1 else x for x, w in bars]
        values = [*rows["value"], rows["total"].iloc[0]]
        scale = (ends[-1] - zero) / values[-1]
        assert [(e - zero) / scale for e in ends] == pytest.approx(values, abs=0.3 / abs(scale))
        assert sum(values[:-1]) == pytest.approx(values[-1])


def test_a_mixing_curve_goes_by_its_shares_and_the_copy_of_the_old_module_stands_beside():
    study = mixing()
    root = parsed(curve.chart(study).pictures[0])
    value, share, found = axis(root, "end", "y"), axis(root, "middle", "x"), arms_of(root, 5.2)
    for d in (0.25, 0.5, 1.0):
        cell = f"head=reupload-linear:mix={d}"
        x, y = found[f"head=reupload-linear, d = {d:g}"][1]
        assert (share(x), value(y)) == pytest.approx((d, scores(study, cell).mean()), abs=2e-3)
        _, y = found[f"head=fresh-copy, d = {d:g}"][1]
        assert value(y) == pytest.approx(scores(study, f"{cell}, head=fresh-copy").mean(), abs=3e-4)
    assert value(found["the host, d = 0"][1][1]) == pytest.approx(scores(study, "host").mean(), abs=3e-4)
    assert "head=bottleneck-mlp, d = 1" in found and len(found) == 8


def test_a_race_is_sorted_by_what_its_entries_reached():
    chart = arms.chart(race())
    names = [row[0].text for row in chart.table.rows]
    means = [float(row[1].value) for row in chart.table.rows]
    assert names[0] == "host" and means[1:] == sorted(means[1:], reverse=True) and len(names) == 4


def test_a_placement_follows_the_flow_and_says_where_it_does_not_fit():
    chart = arms.chart(placement())
    assert [row[0].text for row in chart.table.rows] == ["host", "conv1=depthwise-conv", "conv2=depthwise-conv"]
    assert any("does not fit" in note for note in chart.notes)


POINTS = hs.lists(hs.tuples(hs.integers(0, 6), hs.integers(-3, 3)), min_size=1, max_size=12)


@settings(deadline=None)
@given(POINTS)
def test_what_is_not_dominated_is_beaten_by_none_and_all_else_by_one_of_it(pairs):
    points = [Point(str(i), "level", c, b, b, math.nan, math.nan) for i, (c, b) in enumerate(pairs)]
    best = pareto.front(points)

    def beats(a, b):
        return a.cost <= b.cost and a.better >= b.better and (a.cost, a.better) != (b.cost, b.better)

    assert not any(beats(a, b) for a in points for b in best)
    assert all(any(beats(a, b) for a in best) for b in points if b not in best)


def test_costs_far_apart_stand_on_a_logarithmic_axis_and_effects_at_their_mean():
    study = race()
    chart = next(c for c in pareto.charts(study) if c.key == "trainable")
    root = parsed(chart.pictures[0])
    value = axis(root, "end", "y")
    effects = study.effects.set_index("cell")["mean"]
    cells = {row[1].text: row for row in chart.table.rows}
    assert set(cells) == set(study.trials["cell"])
    ticks = [t for t in classed(root, "tick") if t.get("text-anchor") == "middle"]
    place = {number(t.text): float(t.get("x")) for t in ticks}
    (a, xa), *_, (b, xb) = sorted(place.items())
    for called, (_, (x, y)) in arms_of(root).items():
        cell = called.partition(" ")[2]
        cost = study.costs.set_index("cell")["trainable"][cell]
        assert xa + (xb - xa) * math.log(cost / a) / math.log(b / a) == pytest.approx(x, abs=0.5)
        mean = 0.0 if cell == "host" else effects[cell].iloc[0] if hasattr(effects[cell], "iloc") else effects[cell]
        assert value(y) / 100 == pytest.approx(mean, abs=3e-4)


def test_a_cell_without_a_circuit_runs_none_on_a_device():
    chart = next(c for c in pareto.charts(race()) if c.key == "circuit_evaluations")
    assert next(row[2].value for row in chart.table.rows if row[1].text == "host") == "0.0"
    assert [c.folded for c in pareto.charts(race())] == [False, True, True]


def test_where_cells_have_no_common_reference_mean_scores_are_drawn():
    study = answer()
    chart = pareto.charts(study)[1]
    shown = {row[1].text: float(row[3].value) for row in chart.table.rows}
    assert shown == pytest.approx({c.name: scores(study, c.name).mean() for c in study.cells})


BOXES = hs.lists(hs.tuples(hs.floats(0, 300), hs.floats(0, 200)), min_size=1, max_size=30)


@settings(deadline=None)
@given(BOXES)
def test_labels_are_put_where_nothing_else_is(marks):
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in marks]
    bounds = (-10.0, -10.0, 310.0, 210.0)
    for x, y in marks:
        box = axes.beside(x, y, 40, 16, taken, bounds)
        if box is not None:
            assert not any(axes.covers(box, other) for other in taken)
            assert box[0] >= -10 and box[1] >= -10 and box[2] <= 310 and box[3] <= 210
            taken.append(box)


@settings(deadline=None)
@given(hs.lists(hs.floats(0, 100), max_size=6))
def test_labels_in_a_column_keep_their_distance(wanted):
    placed = sorted(axes.spread(wanted, 15, 0, 100))
    assert all(b - a >= 15 - 1e-9 for a, b in itertools.pairwise(placed))
    assert all(-1e-9 <= p <= 100 + 1e-9 for p in placed)


def test_the_tier_of_evidence_is_said_with_the_arms_it_is_of():
    exact, classical = evidence.tiers(race())
    assert (exact.name, classical.name) == ("exact expectation", "classical")
    assert exact.said == "no shots, no noise, no device (3 of 7 arms)"
    study = race()
    study.trials.loc[study.trials["cell"] == "host", "cost_tier"] = "finite shots"
    study.trials["cost_shots"] = 1024.0
    assert "1\u202f024 shots a circuit" in evidence.tiers(study)[1].said
    assert evidence.tiers(answer()) == []


@pytest.mark.parametrize("make", [answer, factorial, fraction, mixing, race, placement])
def test_an_unfinished_study_draws_what_there_is(make):
    study = make()
    for kept in (0, 1, 2, len(study.trials) // 2):
        study = make()
        study.trials.loc[kept:, "status"] = "pending"
        study.trials.loc[kept:, "test_accuracy"] = np.nan
        study.effects = study.effects.iloc[:0]
        made = [*charts(study), *pareto.charts(study)]
        for picture in [p for c in made for p in (*c.pictures, *(panel.picture for panel in c.panels))]:
            assert "nan" not in str(picture).lower()
            parsed(picture)


@pytest.mark.parametrize("text", [t for t in HOSTILE if t != "\ud800"], ids=lambda t: ascii(t[:12]))
def test_hostile_names_stay_text_in_every_figure(text):
    study = hostile_answer(text)
    study.study["design"] = {"kind": "ladder"}
    swaps = {"head": {"component": text}}
    study.cells = [Cell(c.name, 2 if c.name == text else k, swaps, c.role) for k, c in enumerate(study.cells)]
    made = [*charts(study), *pareto.charts(study)]
    assert {c.key for c in made} >= {"ladder", "seconds_per_step"}
    for chart in made:
        for picture in chart.pictures:
            tags = {e.tag.removeprefix(NS) for e in parsed(picture).iter()}
            assert tags <= {"svg", "title", "text", "line", "path", "circle", "rect", "g"}


def test_the_page_has_the_charts_of_its_design():
    context = _context(factorial(), ROOMS[0])
    assert [c.key for c in context["charts"]] == ["factorial", "interactions", "shapley"]
    assert context["pareto"] and context["evidence"]


def test_a_thinned_curve_keeps_its_ends_its_peaks_and_its_dips():
    values = list(np.sin(np.linspace(0, 5, 10_000)))
    values[1234], values[5678], values[77] = 40.0, -30.0, math.nan
    places = thinning.kept(values, 300)
    assert len(places) <= 300 and places == sorted(set(places)) and (places[0], places[-1]) == (0, 9999)
    assert {1234, 5678} <= set(places)
    assert thinning.kept(values[:300], 300) == list(range(300))


@given(hs.lists(hs.floats(-5, 5), min_size=4, max_size=200), hs.integers(4, 60))
def test_thinning_keeps_the_range_of_any_curve(values, points):
    places = thinning.kept(values, points)
    assert len(places) <= max(points, 4)
    mine = [values[i] for i in places]
    assert (min(mine), max(mine)) == (min(values), max(values)) and places[-1] == len(values) - 1


def test_an_interval_of_two_accuracies_stays_between_none_and_all():
    from types import SimpleNamespace

    trials = pd.DataFrame({"cell": ["a", "a"], "replicate": [0, 1], "status": "done", "accuracy": [0.2, 0.7]})
    effects = pd.DataFrame({"metric": ["accuracy"]})
    one = reached(SimpleNamespace(trials=trials, effects=effects))["a"]
    assert (one.low, one.high) == (0.0, 1.0) and one.mean == pytest.approx(0.45)
