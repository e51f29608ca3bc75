"""Drawings of circuits: everything is there, in order, and readable."""

from __future__ import annotations

import itertools
import math
import random
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import random_circuits
from dopant.errors import UnknownName
from dopant.quantum import Circuit, feature, weight
from dopant.quantum._draw_layout import columns, figure, picture
from dopant.quantum._draw_svg import _COLOURS, _WIRE
from dopant.quantum.draw import draw

SVG = "{http://www.w3.org/2000/svg}"


def test_a_circuit_in_text_is_what_one_would_draw():
    circuit = Circuit(3).h(0).rx(1, feature(0)).cx(0, 2).swap(0, 1).rzz(1, 2, 2 * weight())
    assert draw(circuit).split("\n") == [
        "q0: ─────H─────●─×──────────────",
        "               │ │",
        "q1: ──RX(x[0])─┼─×─RZZ(2·w[0])──",
        "               │        │",
        "q2: ───────────⊕───────RZZ──────",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.pi / 2, "π/2"),
        (-math.pi, "-π"),
        (3 * math.pi / 4, "3π/4"),
        (0.12345, "0.123"),
        (2.0, "2"),
        (1e-9, "1e-09"),
    ],
)
def test_numbers_have_three_digits_or_are_fractions_of_pi(value: float, text: str):
    assert figure(value) == text


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(0, 2**32))
def test_gates_keep_their_order_on_every_wire_and_never_touch(qubits: int, seed: int):
    circuit = random_circuits.circuit(random.Random(seed), qubits, 20)
    grid = columns([picture(g) for g in circuit], qubits)
    assert sum(map(len, grid)) == len(circuit)
    for column in grid:
        taken = [q for p in column for q in range(p.span[0], p.span[1] + 1)]
        assert len(taken) == len(set(taken))
    for q in range(qubits):
        met = [p.gate for column in grid for p in column if q in p.marks]
        assert met == [g for g in circuit if q in picture(g).marks]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(0, 2**32))
def test_text_stays_in_its_width_with_one_wire_a_line(qubits: int, seed: int):
    circuit = random_circuits.circuit(random.Random(seed), qubits, 30)
    drawing = draw(circuit)
    assert max(map(len, drawing.split("\n"))) <= 100
    every = drawing.split("\n")
    for start in range(0, len(every), 2 * qubits + 1):  # two empty lines between rows
        lines = every[start : start + 2 * qubits - 1]
        assert [line[:3] for line in lines[::2]] == [f"q{q}:" for q in range(qubits)]
        assert len({len(line) for line in lines[::2]}) == 1
        for above, between, below in zip(lines[::2], lines[1::2], lines[2::2], strict=False):
            for at, sign in enumerate(between):  # a connection ends on something
                assert sign == " " or (sign == "│" and above[at] not in "─┄ " and below[at] not in "─┄ ")


def test_symbols_of_controls_targets_and_factors():
    circuit = Circuit(4).ccx(0, 1, 2).cswap(3, 0, 1).ccz(0, 1, 3).gate("p", 2, 0.5, controls=[0])
    text = draw(circuit)
    assert (text.count("●"), text.count("⊕"), text.count("×")) == (2 + 1 + 3 + 1, 1, 2)
    text = draw(Circuit(3).pauli_exp("XIY", weight()).unitary([2, 0], np.eye(4)))
    first, _, third = text.split("\n")[::2]
    assert "e^X(w[0])" in first and "U[1]" in first and "e^Y" in third and "U[0]" in third
    assert "phase(-0.25)" in draw(Circuit(2).pauli_exp("II", 0.5))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(0, 2**32))
def test_an_svg_is_whole_and_within_its_view_box(qubits: int, seed: int):
    circuit = random_circuits.circuit(random.Random(seed), qubits, 25)
    root = ET.fromstring(draw(circuit, "svg"))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    assert width <= 1260
    titles = [g.findtext(f"{SVG}title") for g in root.iter(f"{SVG}g") if g.find(f"{SVG}title") is not None]
    assert sorted(t.rsplit(" on ", 1)[0] for t in titles if t) == sorted(g.label() for g in circuit)
    for box in root.iter(f"{SVG}rect"):
        x, wide = float(box.attrib["x"]), float(box.attrib["width"])
        assert x >= 0 and x + wide <= width
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.attrib["x"]) <= width and -5 <= float(text.attrib["y"]) <= height


def test_boxes_of_one_column_do_not_touch_those_of_the_next():
    circuit = Circuit(1).rot(0, weight(), weight(), weight()).h(0).u(0, feature(0), feature(1), 1.25).sx(0)
    root = ET.fromstring(draw(circuit, "svg"))
    boxes = [b for g in root.iter(f"{SVG}g") if g.find(f"{SVG}title") is not None for b in g.iter(f"{SVG}rect")]
    ends = [(float(b.attrib["x"]), float(b.attrib["x"]) + float(b.attrib["width"])) for b in boxes]
    assert len(ends) == 4 and all(a[1] + 10 < b[0] for a, b in itertools.pairwise(ends))


def test_letters_of_the_svg_stand_out_from_boxes_and_boxes_from_light_and_dark_pages():
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: str, b: str) -> float:
        dark, light = sorted((luminance(a), luminance(b)))
        return (light + 0.05) / (dark + 0.05)

    for colour in _COLOURS.values():
        assert contrast(colour, "#ffffff") >= 4.5 and contrast(colour, "#0d1117") >= 3
    assert min(contrast(_WIRE, "#ffffff"), contrast(_WIRE, "#0d1117")) >= 4


def test_the_svg_brings_everything_and_asks_for_nothing():
    text = draw(Circuit(2).rx(0, feature(0)).ry(1, weight()).cz(0, 1), "svg")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|<script|url\(|@import", text)
    assert "reads data" in text and "trainable" in text
    assert re.findall(r"[}>](\.[\w-]+) ", text) and set(re.findall(r"[}>](\.[\w-]+) ", text)) == {".dopant-circuit"}


def test_another_format_is_refused():
    with pytest.raises(UnknownName, match="unknown format 'latex'; did you mean 'text'"):
        Circuit(1).draw("latex")
