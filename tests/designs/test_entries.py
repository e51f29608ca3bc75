"""One at a time, placement, race and mixing: cells, contrasts, what is found in the host, and tiny real studies."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dopant as dp
from dopant.designs import from_config
from dopant.errors import ConfigError, SlotMismatch
from dopant.study.settle import settled

TINY = {"recipe": {"epochs": 1, "batch": 64, "lr": 1e-2}, "replicates": 2}
DATA = {"name": "digits", "limit": 200}
HOST = {"name": "mlp", "hidden": [8]}


def run(design, tmp_path, **more):
    return dp.run(design, data=DATA, out=tmp_path / "study", workers=1, **{**TINY, **more})


ALL = [
    dp.OneAtATime(HOST, {"head": ["linear", {"component": "low-rank", "rank": 2}], "layers.0": "linear"}),
    dp.Placement(HOST, "linear"),
    dp.Placement(HOST, "linear", slots=["head"]),
    dp.Race(HOST, "head", ["linear", "low-rank"]),
    dp.Race(HOST, "head"),
    dp.Mixing(HOST, "head", "linear", [0, 0.5, 1]),
]


@pytest.mark.parametrize("design", ALL, ids=lambda d: d.kind)
def test_a_design_is_written_as_a_table_and_read_back(design, tmp_path):
    assert from_config(HOST, design.to_config()) == design
    study = dp.Study(design, data="digits")
    study.save(tmp_path / "study.toml")
    assert dp.Study.load(tmp_path / "study.toml").design == design
    assert study.problems() == []


def test_each_swap_alone_is_compared_with_the_host_beside_controls_of_its_own():
    design = dp.OneAtATime("creep-cnn", {"head": "reupload-linear", "conv1": ["flipped-quanv"]})
    cells, contrasts = design.cells(["linear"]), design.contrasts(["linear"])
    assert [(c.name, sorted(c.swaps)) for c in cells] == [
        ("host", []), ("head=reupload-linear", ["head"]), ("head=reupload-linear, head=linear", ["head"]),
        ("conv1=flipped-quanv", ["conv1"]), ("conv1=flipped-quanv, conv1=linear", ["conv1"]),
    ]  # fmt: skip
    assert [(c.cell, c.versus, c.role) for c in contrasts if c.role == "level"] == [
        ("head=reupload-linear", "host", "level"), ("conv1=flipped-quanv", "host", "level")
    ]  # fmt: skip
    assert contrasts[0].controls == ("head=reupload-linear, head=linear",)


def test_entries_of_a_race_are_a_family_of_their_own():
    assert {c.role for c in dp.Race("mlp", "head", ["linear", "low-rank"]).contrasts(False)} == {"race"}


def test_each_share_of_a_mixing_curve_has_the_old_module_mixed_with_a_fresh_copy_of_itself():
    design = dp.Mixing("creep-cnn", "head", "reupload-linear", [0, 0.5, 1])
    by_name = {c.name: c for c in design.cells(["linear"])}
    assert by_name["head=reupload-linear:mix=0.5, head=fresh-copy"].swaps == {
        "head": {"component": "fresh-copy", "mix": 0.5}
    }
    controls = {c.cell: c.controls for c in design.contrasts(["linear"]) if c.role == "level"}
    assert controls["head=reupload-linear:mix=0.5"] == ("head=reupload-linear:mix=0.5, head=fresh-copy",)
    assert len(controls["head=reupload-linear:mix=1.0"]) == 2  # and its ordinary control, once
    assert [c.role for c in design.cells(False)] == ["level"] * 3


def test_a_placement_finds_the_slots_that_the_component_fits_and_says_why_not_the_others():
    found = settled(dp.Study(dp.Placement("small-cnn", "grouped-conv"), data="digits")).design
    assert found.slots == ("convs.0", "convs.1") or found.slots == ("convs.1",)
    assert "head" in found.skipped and "convs.1" not in found.skipped
    assert settled(dp.Study(found, data="digits")).design is found
    with pytest.raises(ConfigError, match="fits no slot"):
        settled(dp.Study(dp.Placement(HOST, "flipped-quanv"), data="digits"))


def test_a_race_of_all_lists_what_fits_and_no_control():
    study = dp.Study(dp.Race({"name": "creep-cnn", "size": 8}, "head"), data="digits")
    found = settled(study).design
    names = [spec["component"] for spec in found.candidates]
    assert {"reupload-linear", "linear", "circuit"} <= set(names)
    assert "frozen" not in names and found.skipped["frozen"] == "it is a control"
    assert "flipped-quanv" in found.skipped
    with pytest.raises(dp.UnknownName, match="heat"):
        settled(dp.Study(dp.Race("mlp", "heat"), data="digits"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: dp.OneAtATime("mlp", {}), "design.swaps"),
        (lambda: dp.OneAtATime("mlp", {"head": []}), "no component is named"),
        (lambda: dp.OneAtATime("mlp", {"head": 3}), "design.swaps.head"),
        (lambda: dp.Placement("mlp", 3), "design.component"),
        (lambda: dp.Placement("mlp", "linear", "head"), "a list of slots"),
        (lambda: dp.Race("mlp", "", ["linear"]), "design.slot"),
        (lambda: dp.Race("mlp", "head", []), "none is named"),
        (lambda: dp.Mixing("mlp", "head", "linear", [0]), "a share above 0"),
        (lambda: dp.Mixing("mlp", "head", "linear", [0.5, 1.5]), "1.5 is no number"),
        (lambda: dp.Mixing("mlp", "head", {"component": "linear", "mix": 1}, [0.5]), "leave it out"),
        (lambda: dp.Mixing("mlp", "head", "linear", [0.5, 0.5]), "twice"),
        (lambda: from_config("mlp", {"kind": "mixing"}), "design.slot: the key is missing"),
        (lambda: from_config("mlp", {"kind": "rase"}), "race"),
        (lambda: from_config("mlp", {"kind": "race", "slot": "head", "levels": []}), "design.levels"),
    ],
)
def test_a_design_that_cannot_be_read_names_its_key(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_names_that_are_not_known_are_told_with_the_nearest():
    problems = dp.Study(dp.Placement("mlp", "liner"), data="digits").problems()
    assert any("design.component" in p and "linear" in p for p in problems)
    assert dp.Study(dp.OneAtATime("mlp", {"head": ["linear", "linear"]}), data="digits").problems()


# --- real studies ---------------------------------------------------------------------------------------------------


def test_a_mixing_study_trains_and_its_curve_can_be_read_from_the_effects(tmp_path):
    answer = run(dp.Mixing(HOST, "head", "linear", [0.5, 1]), tmp_path, controls=["low-rank"])
    level = answer.effects[answer.effects["role"] == "level"]
    assert list(level["swap"]) == ["head=linear:mix=0.5", "head=linear:mix=1.0"]
    assert answer.counts["failed"] == 0 and len(answer.trials) == 2 * 6
    beside = answer.effects[answer.effects["role"] == "swap-versus-control"]
    assert sum("fresh-copy" in versus for versus in beside["versus"]) == 2
    assert "mixed in by" in answer.question


def test_a_placement_study_keeps_the_slots_that_it_found(tmp_path):
    answer = run(dp.Placement(HOST, "linear"), tmp_path, controls=False)
    assert set(answer.trials["cell"]) == {"host", "layers.0=linear", "activations.0=linear", "head=linear"}
    text = (answer.folder / "study.toml").read_text()
    assert "slots = [" in text
    again = run(dp.Placement(HOST, "linear"), tmp_path, controls=False, replicates=3)
    assert len(again.trials) == 3 * len(answer.cells)
    assert any(note.startswith("Not tried:") for note in again.notes)


def test_a_fraction_trains_its_part_and_its_page_says_what_is_aliased(tmp_path):
    factors = {
        "head": ["linear"], "layers.0": ["linear"], "recipe.lr": [1e-2, 3e-2], "recipe.batch": [32, 64]
    }  # fmt: skip
    answer = run(dp.Factorial(HOST, factors, resolution="IV"), tmp_path, replicates=1)
    assert len(answer.trials) == 8
    assert any("fraction of resolution IV" in note for note in answer.notes)
    assert "Not told apart" in (answer.folder / "report.html").read_text()


def test_a_fresh_copy_alone_explains_but_proves_nothing():
    from dopant.study import verdicts

    design = dp.Mixing(HOST, "head", "linear", [0.5])
    contrasts = design.contrasts(["low-rank"])
    cell, host, copy = "head=linear:mix=0.5", "host", "head=linear:mix=0.5, head=fresh-copy"
    noise = np.random.default_rng(0).normal(0, 0.002, (4, 12))

    arms = {"swap": cell, "host": host, "copy": copy, "rank": f"{cell}, head=low-rank"}

    def verdict(**scores):
        rows = [
            {"arm": arm, "replicate": r, "value": scores[key] + noise[i, r]}
            for i, (key, arm) in enumerate(arms.items())
            if key in scores
            for r in range(12)
        ]  # fmt: skip
        asked = [c for c in contrasts if c.cell in {row["arm"] for row in rows}]
        asked = [replace(c, controls=tuple(n for n in c.controls if n in {row["arm"] for row in rows})) for c in asked]
        kinds = {copy: "ablation", f"{cell}, head=low-rank": None}
        found = verdicts.effects(pd.DataFrame(rows), asked, metric="test_accuracy", margin=0.01, kinds=kinds)
        return found.loc[found["swap"] == cell, "verdict"].iloc[0]

    assert verdict(swap=0.9, host=0.8, copy=0.8) == (
        "cannot tell: better than the host, but only ablations stood beside it, and no ordinary module"
    )
    assert verdict(swap=0.9, host=0.8, copy=0.9) == "explained by head=fresh-copy"
    assert verdict(swap=0.9, host=0.8, copy=0.8, rank=0.8) == "beyond the ordinary"


def test_a_study_keeps_what_it_found_though_more_is_registered_since(tmp_path):
    study = dp.Study(dp.Race(HOST, "head"), data="digits")
    found = settled(study)
    folder = tmp_path / "study"
    folder.mkdir()
    fewer = replace(found.design, candidates=found.design.candidates[:2])
    found.with_(design=fewer).save(folder / "study.toml")
    assert settled(study, folder).design.candidates == fewer.candidates
    other = dp.Study(dp.Race(HOST, "layers.0"), data="digits")
    assert len(settled(other, folder).design.candidates) > 2


def test_other_questions_of_one_host_have_other_folders():
    from dopant.study.run import default_name

    designs = [*ALL, dp.Ladder(HOST).level(head="linear")]
    names = [default_name(dp.Study(design, data="digits")) for design in designs]
    assert len(set(names)) == len({d.kind for d in designs})
    assert default_name(dp.Study(dp.Race(HOST, "head"), data="digits")) == default_name(
        settled(dp.Study(dp.Race(HOST, "head"), data="digits"))
    )


# --- the fresh copy -------------------------------------------------------------------------------------------------


def test_a_fresh_copy_is_the_same_layer_with_numbers_of_its_own():
    torch.manual_seed(0)
    old = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    with torch.no_grad():
        old[1].weight.fill_(3.0)
        old[2].bias.zero_()
    new = dp.swap(nn.Sequential(old), {"0": "fresh-copy"}, torch.randn(5, 3), seed=1)[0]
    assert [type(m) for m in new] == [type(m) for m in old]
    assert not torch.equal(new[0].weight, old[0].weight)
    for name, parameter in new.named_parameters():  # mean, spread and zeros of any initialisation
        assert torch.equal(parameter.flatten().sort().values, old.get_parameter(name).flatten().sort().values)


def test_a_module_that_cannot_be_drawn_anew_is_refused():
    with pytest.raises(SlotMismatch, match="no parameters"):
        dp.swap(nn.Sequential(nn.ReLU()), {"0": "fresh-copy"}, torch.randn(5, 3))
    with pytest.raises(SlotMismatch, match="couples the samples"):
        dp.swap(nn.Sequential(nn.BatchNorm1d(3)), {"0": "fresh-copy"}, torch.randn(5, 3))
