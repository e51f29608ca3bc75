"""What a component or a baseline says of itself: its options, what it fills, its controls and its paper."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import dopant as dp
from dopant import listing, registry
from dopant._options import options_of
from dopant._slots import Signature, measure
from dopant._swap import why_not
from dopant.hosts.kernel_machine import kernel_machine

WITH_CHOICES = [
    (info.name, option) for info in dp.list_components() for option in info.options if option.choices
]  # fmt: skip
SLOTS = (nn.Linear(6, 4), nn.Conv2d(2, 3, 3), nn.GELU())
MACHINE = kernel_machine(in_features=2, classes=2)


def slot_of(info: dp.ComponentInfo) -> tuple[nn.Module, Signature]:
    """A layer that the component fills, with its signature."""
    for old, shape in zip(SLOTS, ((2, 6), (2, 2, 8, 8), (2, 6)), strict=True):
        signature = measure(nn.Sequential(old), torch.randn(*shape))["0"]
        if why_not(info, old, signature) is None:
            return old, signature
    signature = measure(MACHINE, torch.randn(2, 2))["kernel"]
    if why_not(info, MACHINE.kernel, signature) is None:
        return MACHINE.kernel, signature
    raise AssertionError(info.name)


@pytest.mark.parametrize(("name", "option"), WITH_CHOICES, ids=[f"{n}-{o.name}" for n, o in WITH_CHOICES])
def test_the_choices_that_are_told_are_those_that_the_factory_takes(name, option):
    info = registry.components.get(name)
    old, signature = slot_of(info)
    assert option.default in option.choices
    for choice in option.choices:
        assert isinstance(info.factory(old, signature, **{option.name: choice}), nn.Module)
    with pytest.raises((dp.DopantError, RuntimeError)):  # gelu's is torch's own refusal, when it is called
        made = info.factory(old, signature, **{option.name: "no such choice"})
        made(signature.example(2).args[0])


def test_no_option_of_a_builtin_component_takes_any_text():
    texts = [(i.name, o.name) for i in dp.list_components() for o in i.options if o.type == "str"]
    assert texts == []


def test_what_a_factory_is_given_is_no_option_and_what_has_no_default_is_needed():
    def factory(old, signature, *rest, width: int, act="tanh", target=None, generator=None, **more):
        return old

    width, act = options_of(factory, leading=2)
    assert (width.name, width.type, width.required, width.default) == ("width", "int", True, None)
    assert (act.name, act.type, act.required, act.default, act.choices) == ("act", "", False, "tanh", ())
    (line,) = [s for s in listing.option_lines({"options": [listing._option(width)]}) if "width" in s]
    assert line == "    width: int; needed"


def test_a_component_tells_its_text_controls_paper_and_what_it_fills():
    told = listing.component("flipped-quanv")
    assert told["fills_probes"] == ["Conv2d"] and told["paper"] == "quantum-creep"
    assert json.loads(json.dumps(told)) == told
    text = "\n".join(listing.component_lines(told))
    assert "fills: where it fits; of the usual layers Conv2d" in text
    assert "quantum-creep: Let the Quantum Creep In" in text and "arXiv 2409.17583" in text
    assert "psd-conv (same class): " in text and "parameters: one of 'real', 'complex'; default 'real'" in text


def test_an_option_that_is_unset_is_said_so_and_a_literal_beside_a_type_is_written_as_it_is():
    assert "    qubits: int | None; unset unless given" in listing.option_lines(listing.component("symmetrised-linear"))
    lines = list(listing.baseline_lines(listing.baseline("logistic-regression")))
    assert "    C: float | Literal['validation']; default 'validation'" in [line.replace('"', "'") for line in lines]


def test_a_baseline_asked_for_among_components_is_told_where_it_is():
    with pytest.raises(dp.UnknownName, match="dopant baselines logistic-regression"):
        listing.component("logistic-regression")
    with pytest.raises(dp.UnknownName, match="did you mean 'logistic-regression'"):
        listing.baseline("logistic-regresion")
    assert [row["name"] for row in listing.baseline_rows()] == registry.baselines.names()


def test_a_wrong_choice_is_refused_naming_the_right_ones():
    host = nn.Sequential(nn.Linear(6, 4))
    with pytest.raises(dp.ConfigError, match=r"'scale'.*'none' or 'learned'"):
        dp.swap(host, {"0": {"component": "reupload-linear", "scale": "big"}}, torch.randn(2, 6))
    problems = registry.check_options(
        "baseline", "logistic-regression", registry.baselines.get("logistic-regression"), {"C": "best"}, 0
    )
    assert len(problems) == 1 and "valid number" in problems[0] and "or input should be 'validation'" in problems[0]
