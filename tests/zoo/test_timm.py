"""timm's networks: residual, vision transformer, windowed attention; and `--host timm:NAME` from end to end."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import dopant as dp
from absence import absent
from dopant import registry
from dopant._slots import Batch
from dopant.streams import Streams
from dopant.study.config import references
from dopant.study.request import study_of_request
from dopant.tasks.build import build_host

from . import timm_shim
from .parts import lives, outputs_in_evaluation

SHIM = Path(timm_shim.__file__)


@pytest.fixture(autouse=True)
def timm_there() -> None:
    if importlib.util.find_spec("timm") is None:
        absent("timm")


def images(size: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.randn(3, channels, size, size)


def make(name: str, **options) -> nn.Module:
    """The host with weights of its own at each call."""
    return dp.host(f"timm:{name}", seed=int(torch.randint(2**31, ())), **{"classes": 5, "size": 32} | options)


class Separable(nn.Module):
    """Instead of a convolution: one filter a channel, then a mixture of channels."""

    def __init__(self, old: nn.Conv2d):
        super().__init__()
        self.depth = nn.Conv2d(old.in_channels, old.in_channels, 3, old.stride, 1, groups=old.in_channels)
        self.point = nn.Conv2d(old.in_channels, old.out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.point(self.depth(x))


dp.component("zoo-separable", fills=nn.Conv2d)(lambda old, signature: Separable(old))


def test_a_residual_network_lives_with_a_convolution_a_norm_and_its_head_swapped(tmp_path):
    swaps = {"layer1.0.conv2": "zoo-separable", "layer4.1.bn2": "zoo-scaled", "fc": "zoo-linear"}
    network = lives(lambda: make("resnet18", channels=(8, 16, 24, 32)), swaps, images(), tmp_path)
    assert network.layer1[0].conv2.kernel_size == (3, 3)
    assert network.get_classifier().in_features == 32


def test_a_vision_transformer_lives_with_attention_mlp_norm_and_head_swapped(tmp_path):
    options = {"embed_dim": 16, "depth": 2, "num_heads": 2, "patch_size": 8}
    swaps = {
        "blocks.0.attn": "zoo-scaled",
        "blocks.0.attn.qkv": "zoo-linear",
        "blocks.1.mlp.fc1": "zoo-linear",
        "blocks.1.norm1": "zoo-norm",
        "head": "zoo-linear",
    }
    with pytest.raises(dp.ConfigError, match="lies within"):
        dp.swap(make("vit_tiny_patch16_224", **options), swaps, images())
    del swaps["blocks.0.attn"]
    network = lives(lambda: make("vit_tiny_patch16_224", **options), swaps, images(), tmp_path)
    assert network.head.in_features == 16
    found = dp.slots(network, images())
    assert found["blocks.0.attn.qkv"].inputs == (17, 16)  # 16 patches and the class token


def test_a_vision_transformer_in_one_mode_is_itself_in_the_other():
    network = dp.swap(make("vit_tiny_patch16_224", depth=2, embed_dim=16, num_heads=2), {}, images())
    x = images()
    assert torch.equal(network.train()(x), outputs_in_evaluation(network, x))


def test_windows_of_a_shifted_window_transformer_are_a_multiple_of_the_batch(tmp_path):
    options = {"embed_dim": 8, "depths": (2, 2), "num_heads": (2, 2), "window_size": 2, "patch_size": 2}
    options |= {"drop_path_rate": 0.0}
    found = dp.slots(make("swin_tiny_patch4_window7_224", **options), images())
    attention = found["layers.0.blocks.1.attn"]
    assert attention.calls[0].args[0].shape == (Batch(64), 4, 8)  # 16 x 16 patches in windows of 2 x 2
    assert attention.outputs == (4, 8)
    assert found["layers.1.blocks.0.attn.qkv"].calls[0].args[0].shape == (Batch(16), 4, 16)
    swaps = {
        "layers.0.blocks.0.attn.proj": "zoo-linear",
        "layers.0.blocks.1.attn": "zoo-scaled",  # the shifted one, with a mask for each window
        "layers.1.blocks.0.mlp.fc2": "zoo-linear",
        "layers.1.blocks.1.norm1": "zoo-norm",
    }
    lives(lambda: make("swin_tiny_patch4_window7_224", **options), swaps, images(), tmp_path)


SMALL = {
    "timm:swin_tiny_patch4_window7_224": {
        "embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 2, "patch_size": 2,
    },
    "timm:vit_tiny_patch16_224": {"embed_dim": 8, "depth": 2, "num_heads": 2, "patch_size": 4},
    "timm:resnet18": {"channels": [4, 4, 8, 8]},
}  # fmt: skip
LADDERS = {
    "timm:swin_tiny_patch4_window7_224": [
        {"layers.0.blocks.1.attn": "zoo-scaled"}, {"layers.0.blocks.0.attn.qkv": "zoo-linear"},
    ],
    "timm:vit_tiny_patch16_224": [{"blocks.0.attn": "zoo-scaled"}, {"blocks.1.mlp.fc2": "zoo-linear"}],
    "timm:resnet18": [{"layer1.0.conv2": "zoo-separable"}, {"fc": "zoo-linear"}],
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_a_ladder_trains_in_dopants_own_loop_and_its_networks_come_back(name, tmp_path):
    x = torch.randn(80, 3, 16, 16)
    first, second = LADDERS[name]
    answer = dp.run(
        dp.Ladder({"name": name, **SMALL[name]}).level(**first).level(**second),
        data=(x, (x.mean((1, 2, 3)) > 0).long()), recipe=dp.Recipe(lr=1e-3, batch=16, epochs=1), replicates=1,
        controls=False, out=tmp_path / "study",
    )  # fmt: skip
    assert list(answer.trials["status"]) == ["done"] * 3
    for trial in answer.trials["trial"]:
        items = answer.store.items(trial)
        outputs = outputs_in_evaluation(answer.model(trial), x[torch.as_tensor(items["ids"])])
        assert torch.equal(outputs.argmax(1), torch.as_tensor(items["prediction"]))


# --- by name --------------------------------------------------------------------------------------------------------


def test_the_facts_of_the_data_reach_the_model_where_it_takes_them():
    facts = {"in_channels": 1, "size": 32, "classes": 7}
    for name in ("resnet18", "vit_tiny_patch16_224"):  # the first takes any size, the second is built for one
        network = build_host({"name": f"timm:{name}"}, Streams(0), facts)
        assert network(images(32, 1)).shape == (3, 7)


def test_the_weights_are_those_of_the_stream_whether_or_not_the_model_takes_a_size():
    import timm

    with Streams(3).seeded("host"):
        direct = timm.create_model("resnet18", pretrained=False, num_classes=5, in_chans=3)
    mine = dp.host("timm:resnet18", seed=3, classes=5, size=32)
    assert all(torch.equal(a, b) for a, b in zip(direct.parameters(), mine.parameters(), strict=True))


def test_unknown_models_and_options_are_refused_in_words():
    with pytest.raises(dp.UnknownName) as caught:
        dp.host("timm:resnet19")
    assert "resnet18" in caught.value.suggestions
    with pytest.raises(dp.ConfigError, match=r"'timm:resnet18' cannot be built with.*bogus"):
        dp.host("timm:resnet18", bogus=3)
    with pytest.raises(dp.ConfigError) as problems:
        dp.host("timm:resnet18", checkpoint_path="weights.pth", pretrained=True, num_classes=3)
    assert len(problems.value.problems) == 3
    for remote in ("hf_hub:somebody/model", "hf-hub:somebody/model", "local-dir:somewhere"):
        with pytest.raises(dp.UnknownName):
            dp.host(f"timm:{remote}")


def test_without_timm_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(dp.ConfigError, match="pip install timm"):
        dp.host("timm:resnet18")
    study = dp.Study(dp.Ladder("timm:resnet18").level(fc="frozen"), data="digits")
    assert any("study.host" in p and "pip install timm" in p for p in study.problems())


def test_a_study_file_may_name_it_and_still_no_code(tmp_path):
    file = tmp_path / "study.toml"
    study = '[study]\nhost = "{host}"\ndata = "digits"\n[design]\nkind = "ladder"\nlevels = [{{fc = "frozen"}}]\n'
    file.write_text(study.format(host="timm:resnet18"))
    loaded = dp.Study.load(file)
    assert loaded.references() == []
    assert loaded.problems() == []
    file.write_text(study.format(host="timm.models:resnet18"))
    with pytest.raises(dp.ConfigError, match="names code"):
        dp.Study.load(file)
    assert references({"study": {"host": {"name": "timm:resnet18", "classes": 3}}}) == []
    assert registry.names_code("os:system")
    file.write_text(study.format(host="timm:resnet19"))
    assert any("did you mean" in p for p in dp.Study.load(file).problems())


SEPARABLE = """
from torch import nn
import dopant as dp

@dp.component("zoo-file-separable", fills=nn.Conv2d)
def separable(old, signature):
    depth = nn.Conv2d(old.in_channels, old.in_channels, 3, old.stride, 1, groups=old.in_channels)
    return nn.Sequential(depth, nn.Conv2d(old.in_channels, old.out_channels, 1))
"""


def test_a_request_of_the_command_line_runs_in_a_worker_and_the_answer_gives_the_networks(tmp_path):
    """`dopant run --host timm:NAME --swap …`; the identity of the trials holds timm's version."""
    import timm

    (tmp_path / "separable.py").write_text(SEPARABLE)
    files = [SHIM, tmp_path / "separable.py"]
    study = study_of_request(
        None, host="timm:test_resnet", data="digits", swaps=["layer4.0.conv2=zoo-file-separable"], replicates=1,
        epochs=1, controls=False, sets=["recipe.batch=128", "data.limit=300"], files=files,
    )  # fmt: skip
    answer = dp.run(study, out=tmp_path / "study", workers=1, with_files=files)
    assert list(answer.trials["status"]) == ["done", "done"]
    assert answer.provenance["versions"]["timm"] == timm.__version__
    for row in answer.store.rows():
        assert row["description"]["host"] == {"name": "timm:test_resnet"}
        assert row["description"]["files"]["timm"] == timm.__version__
    data = dp.dataset("digits", limit=300)
    for trial in answer.trials["trial"]:
        network = answer.model(trial)
        with torch.no_grad():
            predicted = network(data.test.inputs).argmax(1)
        assert torch.equal(predicted, torch.as_tensor(answer.store.items(trial)["prediction"]))
    assert isinstance(network.get_submodule("layer4.0.conv2"), nn.Sequential)
