"""`dopant check`: which law broke where, what a factory must return, and a slot of one's own."""

from __future__ import annotations

import json

import pytest
import torch
from own_layer import HEADER, linear
from torch import nn

import dopant as dp
from dopant.registry import load_file
from dopant.study.checking import check_file

WRONG = {
    "None": ("None", ["returns None", "`return`"]),
    "a class": ("nn.Linear", ["the class Linear", "Linear(…)"]),
    "a tensor": ("old.weight.detach()", ["returns Tensor", "`forward`"]),
    "a function": ("nn.functional.relu", ["the function 'relu'", "`forward`"]),
    "a lambda": ("lambda x: x", ["the function '<lambda>'", "`forward`"]),
    "returns tuple": ("(nn.Linear(1, 1), 3)", ["returns tuple", "module alone"]),
    "returns dict": ("{'0': nn.Linear(1, 1)}", ["returns dict", "mode='group'"]),
    "another shape": (
        "nn.Linear(old.in_features, old.out_features + 1)",
        ["signature", "float32(1, 5)", "float32(1, 4)"],
    ),
    "another input": ("nn.Linear(old.in_features + 1, old.out_features)", ["signature", "fails on"]),
    "another dtype": ("Double(old.in_features, old.out_features)", ["signature", "float64", "float32"]),
    "another device": ("nn.Linear(old.in_features, old.out_features, device='meta')", ["device", "meta"]),
    "an error": ("old.nothing", ["AttributeError", "'nothing'"]),
}
DOUBLE = "class Double(nn.Linear):\n    def forward(self, x):\n        return super().forward(x).double()\n\n"


@pytest.mark.parametrize("case", WRONG)
def test_a_factory_that_returns_the_wrong_thing_is_told_what_to_return(outside, case):
    built, words = WRONG[case]
    path = outside.write("wrong_layer.py", HEADER + DOUBLE + linear("wrong", built))
    outside.dopant("check", "wrong_layer.py").refused("wrong: ", *words, code=4)
    said = outside.dopant("check", "wrong_layer.py", "wrong", "--slot", "head")
    said.refused("host creep-cnn, data digits, slot head", code=4)
    load_file(path)
    model, sample = nn.Sequential(nn.Linear(6, 4)), torch.randn(3, 6)
    with pytest.raises((dp.ConfigError, dp.SlotMismatch), match="'wrong'"):
        dp.swap(model, {"0": "wrong"}, sample)


GROUP = "@dp.component('pair', fills=nn.Linear, mode='group')\ndef make(old, signature):\n    'A pair.'\n    return "


@pytest.mark.parametrize(
    ("built", "words"),
    [
        ("{'7': nn.Identity()}", ["each of 7, 10", "dict for 7"]),
        ("nn.Linear(1, 1)", ["each of 7, 10", "returns Linear"]),
        ("{name: None for name in old}", ["returns None"]),
    ],
)
def test_a_group_must_get_a_module_for_each_of_its_slots(outside, built, words):
    outside.write("pair_layer.py", HEADER + GROUP + built)
    outside.dopant("check", "pair_layer.py").refused(*words, code=4)


def test_an_option_without_default_asks_for_examples_and_with_them_is_tried(outside):
    text = (
        "@dp.component('wide', fills=nn.Linear{})\ndef make(old, signature, *, width):\n    'A map.'\n    return {}\n"
    )
    built = "nn.Sequential(nn.Linear(old.in_features, width), nn.Linear(width, old.out_features))"
    outside.write("wide_layer.py", HEADER + text.format("", built))
    outside.dopant("check", "wide_layer.py").refused("needs the option 'width'", "examples=({...},)", code=4)
    outside.write("wider_layer.py", HEADER + text.replace("wide", "wider").format(", examples=({'width': 5},)", built))
    said = outside.dopant("check", "wider_layer.py", "--slot", "head")
    assert said.code == 0 and "{'width': 5}" in said.out, said.out + said.err


@pytest.mark.parametrize("value", ["True", "False"])
def test_a_test_of_the_slot_that_answers_yes_or_no_is_told_the_form(outside, value):
    text = HEADER + linear("yes").replace("fills=nn.Linear", f"fills=lambda old, signature: {value}")
    outside.write("yes_layer.py", text)
    outside.dopant("check", "yes_layer.py").refused(f"returns {value}", "None where it fits", code=4)


def test_every_broken_law_is_told_once_with_its_places_and_json_tells_the_same(outside):
    leaky = (
        "class Leaky(nn.Linear):\n    def forward(self, x):\n        return super().forward(x - x.mean(0))\n\n"
        + linear("leaky", "Leaky(old.in_features, old.out_features)").replace("def make", "def other")
    )
    path = outside.write("two_layers.py", HEADER + linear("tidy") + leaky)
    said = outside.dopant("check", "two_layers.py")
    said.refused("tidy: ", "no-leak: ", "[linear 6 to 4, slot 0]", "so too in: linear 16 to 10, slot 0; ", code=4)
    assert said.out.count("no-leak: ") == 1
    rows = json.loads(outside.dopant("check", "two_layers.py", "--json").out)
    assert list(rows) == ["leaky", "tidy"] and {tuple(row) for row in rows["leaky"]} == {
        ("law", "passed", "message", "where")
    }
    assert {r["law"] for r in rows["leaky"] if not r["passed"]} >= {"batch", "no-leak"}
    assert all(r["passed"] for r in rows["tidy"])
    assert outside.dopant("check", "two_layers.py", "tidy").code == 0  # the other is left out
    results = check_file(path)
    assert {n: [(r.law, r.passed, r.where) for r in found] for n, found in results.items()} == {
        n: [(r["law"], r["passed"], r["where"]) for r in found] for n, found in rows.items()
    }


def test_a_name_that_the_file_does_not_register_gets_the_nearest_of_the_file(outside):
    path = outside.write("tidy_layer.py", HEADER + linear("tidy-layer"))
    outside.dopant("check", "tidy_layer.py", "tydy-layer").refused("'tydy-layer'", "'tidy-layer'")
    outside.dopant("check", "tidy_layer.py", "reupload-linear").refused("'reupload-linear'", "tidy-layer")
    with pytest.raises(dp.ConfigError, match="it registers tidy-layer"):
        check_file(path, "zzz")
    empty = outside.write("empty_layer.py", "x = 1")
    outside.dopant("check", "empty_layer.py").refused("registers no component", "@dopant.component(NAME)")
    with pytest.raises(dp.ConfigError, match="registers no component"):
        check_file(empty)


def test_what_fits_no_probe_is_tried_in_a_slot_of_ones_own(outside):
    fills = "fills=lambda old, signature: None if getattr(old, 'in_features', 0) > 200 else 'it wants over 200 inputs'"
    outside.write("large_layer.py", HEADER + linear("large").replace("fills=nn.Linear", fills))
    said = outside.dopant("check", "large_layer.py")
    said.refused("fits no slot", "over 200 inputs", "dopant check FILE large --host HOST", code=4)
    good = outside.dopant(
        "check", "large_layer.py", "large", "--host", "creep-cnn", "--data", "digits", "--slot", "head"
    )
    assert good.code == 0 and "tried in: host creep-cnn, data digits, slot head" in good.out, good.out + good.err
    assert (
        outside.dopant("check", "large_layer.py", "--data", "digits").code == 0
    )  # the only slot that it says it fills
    outside.dopant("check", "large_layer.py", "--slot", "conv1").refused("'conv1'", "over 200 inputs", code=4)
    outside.dopant("check", "large_layer.py", "--slot", "heda").refused("'heda'", "'head'")
    outside.dopant("check", "large_layer.py", "--host", "creep-cn").refused("'creep-cnn'")
    outside.dopant("check", "large_layer.py", "--host", "mlp").refused("by its own word it fills none of", code=4)


def test_a_group_is_tried_in_slots_of_ones_own_joined_by_a_plus(outside):
    built = "{name: nn.Linear(old[name].in_features, old[name].out_features) for name in old}"
    outside.write("pair_layer.py", HEADER + GROUP + built)
    said = outside.dopant("check", "pair_layer.py", "--host", "mlp", "--slot", "layers.1+head")
    assert said.code == 0 and "slot layers.1+head" in said.out, said.out + said.err
    outside.dopant("check", "pair_layer.py", "--host", "mlp").refused("--slot", "'+'")
    outside.write("single_layer.py", HEADER + linear("single"))
    said = outside.dopant("check", "single_layer.py", "--host", "mlp", "--slot", "layers.1+head")
    said.refused("fits: ", "'single' fills one slot, not a group", code=4)
