"""Controls that are made for any component: which, in what slots, and of what count."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dopant as dp
from dopant._slots import measure
from dopant.components.ordinary._capacity import trainable
from dopant.components.ordinary.linear_residual import linear_residual
from dopant.components.ordinary.random_features import random_features
from dopant.designs.automatic import ALL, MADE, OTHER_SIDE, control_names
from dopant.errors import ConfigError, NotDefined, SlotMismatch
from dopant.registry import CONTROL_KINDS, components
from dopant.study import plan as planning
from dopant.study.results import load_study
from dopant.study.run import check

TRIO = MADE["same capacity"]
RECIPE = dp.Recipe(epochs=1, batch=500)


class Scaled(nn.Module):
    """A user's own component: all features of a position times a matrix, and `extra` more numbers to be trained."""

    def __init__(self, old, extra):
        super().__init__()
        self.old, self.extra = old, nn.Parameter(torch.ones(extra))

    def forward(self, x):
        return self.old(x) * self.extra.mean()


@dp.component("test-own", examples=({"extra": 3},))
def own(old, signature, *, extra: int = 300):
    """For this test: declares no controls."""
    return Scaled(old.requires_grad_(False), extra)


@dp.component("test-declares", fills=nn.Linear, controls=["frozen"])
def declares(old, signature):
    """For this test: one ablation of its own."""
    return nn.Sequential(nn.Linear(old.in_features, old.out_features), nn.Sigmoid())


class Pooled(nn.Module):
    def forward(self, x):
        return x.mean(1)


SLOTS = {
    "linear": (nn.Linear(12, 5), (4, 12), 300),
    "tokens": (nn.Linear(12, 7), (4, 6, 12), 300),
    "convolution": (nn.Conv2d(3, 8, 3, 2, 1), (4, 3, 8, 8), 700),
    "signals": (nn.Conv1d(4, 6, 3, padding=1), (4, 4, 10), 300),
    "grouped": (nn.Conv2d(4, 8, 3, groups=2), (4, 4, 8, 8), 700),
    "volumes": (nn.Conv3d(2, 3, 2), (4, 2, 5, 5, 5), 300),
    "max pool": (nn.MaxPool2d(2), (4, 6, 8, 8), 300),
    "global pool": (nn.AdaptiveAvgPool2d(1), (4, 6, 8, 8), 300),
    "set": (Pooled(), (4, 7, 5), 300),
    "activation": (nn.ReLU(), (4, 12), 500),
    "activation of images": (nn.ReLU(), (4, 6, 8, 8), 300),
    "batch norm": (nn.BatchNorm2d(6), (4, 6, 8, 8), 300),
    "layer norm": (nn.LayerNorm(12), (4, 6, 12), 500),
    "transformer": (nn.TransformerEncoderLayer(12, 2, 16, batch_first=True), (4, 6, 12), 1500),
    "flatten": (nn.Flatten(), (4, 3, 4, 4), 5000),
}  # fmt: skip


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("name", TRIO)
def test_in_any_slot_the_count_is_within_a_tenth_or_two_stand_on_either_side(slot, name):
    old, shape, wanted = SLOTS[slot]
    host, x = nn.Sequential(old), torch.randn(shape)
    of = {"component": "test-own", "extra": wanted}
    near = dp.swap(host, {"0": {"component": name, "of": of}}, x)
    have = trainable(near)
    assert near(x).shape == host(x).shape
    if abs(have - wanted) <= 0.1 * wanted:
        with pytest.raises(NotDefined, match="not needed"):
            dp.swap(host, {"0": {"component": name + OTHER_SIDE, "of": of}}, x)
    else:
        other = trainable(dp.swap(host, {"0": {"component": name + OTHER_SIDE, "of": of}}, x))
        assert min(have, other) < wanted < max(have, other)


@pytest.mark.parametrize(
    ("name", "wanted", "counts"),
    [("bottleneck-mlp", 760, [608, 911]), ("linear-residual", 1050, [905, 1208]), ("random-features", 7, [6, 8])],
)
def test_where_widths_are_coarse_the_neighbours_on_either_side_are_built(name, wanted, counts):
    host, x = nn.Sequential(nn.Linear(300, 2)), torch.randn(4, 300)
    of = {"component": "test-own", "extra": wanted}
    pair = [dp.swap(host, {"0": {"component": n, "of": of}}, x) for n in (name, name + OTHER_SIDE)]
    assert sorted(map(trainable, pair)) == counts


def test_of_a_component_with_nothing_to_train_there_is_nothing_to_match_or_freeze():
    for old, of, shape in ((nn.ReLU(), "gelu", (4, 6)), (nn.Linear(6, 6), "identity", (4, 6))):
        for name in (*TRIO, "frozen"):
            with pytest.raises(NotDefined, match="nothing to"):
                dp.swap(nn.Sequential(old), {"0": {"component": name, "of": {"component": of}}}, torch.randn(shape))


def test_random_features_take_the_median_distance_of_windows_for_their_bandwidth():
    x = torch.randn(20, 4, 10)
    old = nn.Conv1d(4, 6, 3, padding=1, stride=2)
    module = random_features(old, measure(nn.Sequential(old), x)["0"], target=nn.Linear(20, 20))
    before = module(x)
    module.prepare([(x,)])
    windows = nn.functional.unfold(x[:, :, None], (1, 3), padding=(0, 1), stride=(1, 2)).mT.flatten(0, 1)
    assert torch.isclose(module.bandwidth, torch.pdist(windows).median(), rtol=1e-5)
    assert not any(p.shape == module.spread.weight.shape for p in module.parameters())
    assert (module(x) - before).abs().max() > 1e-4


def test_what_is_made_of_what_is_declared():
    none = ["bottleneck-mlp", "bottleneck-mlp-other-side", "random-features", "random-features-other-side",
            "linear-residual", "linear-residual-other-side", "fourier-series", "frozen", "matched-start", "unentangled",
            "dephased", "input-treatment-only", "bounded-output-only"]  # fmt: skip
    for said in ALL:
        assert control_names("test-own", said) == none
        assert control_names("test-declares", said) == ["frozen", *none[:7]]
        assert control_names("bottleneck-mlp", said) == []  # a control itself
    assert control_names("test-declares", "declared") == ["frozen"] == control_names("test-own", ["frozen"])
    assert control_names("test-own", "declared") == control_names("test-own", False) == []
    assert set(MADE) < set(CONTROL_KINDS) and all(components.get(n).control == k for k, m in MADE.items() for n in m)
    assert components.get("compute-matched").control == "same simulation budget"


def study(component: str = "test-own", controls=True, **spec) -> dp.Study:
    ladder = dp.Ladder({"name": "mlp", "size": 8, "hidden": [12]}).level(head={"component": component, **spec})
    return dp.Study(ladder, data="digits", recipe=RECIPE, replicates=1, controls=controls)


def test_a_study_of_one_s_own_component_has_controls_and_says_which_mean_nothing():
    asked = study()
    found = asked.with_(unbuildable=check(asked)[1])
    built = [cell.control for cell in planning.cells(found) if cell.role == "control"]
    assert built == ["bottleneck-mlp", "random-features", "linear-residual", "frozen", "matched-start"]
    (level,) = [c for c in planning.contrasts(found) if c.role == "level"]
    assert len(level.controls) == len(built)
    quiet = planning.undefined_controls(found)
    said = " ".join(quiet.values())
    for name in ("fourier-series", "unentangled", "dephased", "input-treatment-only", "bounded-output-only"):
        assert f"{name}: slot 'head', {name!r}: the component holds no dopant.quantum circuit" in said
    assert not any("holds no" in text for text in level.missing_controls)


def test_a_control_that_is_asked_for_by_name_is_told_in_the_contrast_where_it_means_nothing():
    asked = study(controls=["unentangled"])
    found = asked.with_(unbuildable=check(asked)[1])
    (level,) = [c for c in planning.contrasts(found) if c.role == "level"]
    assert level.controls == () and "holds no dopant.quantum circuit" in level.missing_controls[0]
    assert not level.missing_controls[0].startswith(planning.UNDEFINED)
    assert planning.undefined_controls(found) == {}


def test_one_that_could_only_be_larger_than_the_component_is_left_out_with_the_numbers():
    asked = study(extra=40)
    reasons = check(asked)[1]
    (why,) = [text for name, text in reasons.items() if name.endswith("head=linear-residual")]
    assert why == "linear-residual: slot 'head': the narrowest has 153 trainable numbers, and 40 are wanted"
    assert "level 1, head=bottleneck-mlp" not in reasons


def test_a_folder_says_which_controls_were_made_and_an_older_one_had_the_declared_ones(tmp_path):
    path = tmp_path / "study.toml"
    study("test-declares").save(path)
    assert "controls = true" in path.read_text() and load_study(tmp_path).controls == "declared"
    assert dp.Study.load(path).controls is True
    study(controls="all").save(path)
    assert load_study(tmp_path).controls == "all"


def test_controls_is_one_of_the_words_that_are_known():
    assert any("'all', 'declared'" in text for text in study(controls="al").problems())
    path_problems = study(controls="declared").problems()
    assert path_problems == []
    with pytest.raises(ConfigError, match=r"study\.controls"):
        dp.study.config.from_tables({"study": {"host": "mlp", "data": "digits", "controls": "everything"}})


def test_several_slots_together_have_no_controls_but_their_own():
    asked = dp.Study(dp.Ladder("mlp").level(**{"a+b": "test-pair"}), data="digits")
    (level,) = [c for c in asked.design.contrasts(True) if c.role == "level"]
    assert level.controls == () and level.missing_controls[0].startswith("none is made for 'test-pair'")


@dp.component("test-pair", mode="group")
def pair(old, signature):
    """For this test."""
    return dict(old)


def test_residuals_and_features_of_sets_are_means_over_positions():
    x = torch.randn(3, 7, 5)
    signature = measure(nn.Sequential(Pooled()), x)["0"]
    for make in (linear_residual, random_features):
        module = make(Pooled(), signature, target=nn.Linear(10, 10))
        order = torch.randperm(7)
        assert torch.allclose(module(x[:, order]), module(x), atol=1e-6)
        assert (module(x) - module(x[:, :3])).abs().max() > 1e-4


def test_slots_of_other_things_than_one_tensor_are_refused_with_the_reason():
    lstm = nn.LSTM(5, 6, batch_first=True)

    class Host(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = lstm

        def forward(self, x):
            return self.lstm(x)[0]

    with pytest.raises(SlotMismatch, match="gives one tensor of floats"):
        dp.swap(Host(), {"lstm": "bottleneck-mlp"}, torch.randn(4, 7, 5))
