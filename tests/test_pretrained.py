"""Checkpoints as a start: read without running code, known by content, kept in the study's folder."""

from __future__ import annotations

import os
import pickle
import shutil

import pytest
import safetensors.torch
import torch
from torch import nn

import dopant as dp
from dopant import pretrained

RECIPE = dp.Recipe(lr=3e-3, batch=128, epochs=1)
HOST = {"name": "creep-cnn", "size": 8}


@pytest.fixture
def weights(tmp_path):
    """(state dict of a host that is nobody's default, its safetensors file)."""
    state = dp.host("creep-cnn", seed=77, size=8).state_dict()
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(state, path)
    return state, path


def same(model: nn.Module, state) -> bool:
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[k], state[k]) for k in own)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s},
                                  lambda s: {f"module.{k}": v for k, v in s.items()}])  # fmt: skip
def test_torch_files_give_the_same_tensors_as_safetensors_however_they_are_wrapped(tmp_path, weights, wrap):
    state, path = weights
    torch.save(wrap(dict(state)), tmp_path / "weights.pt")
    found = pretrained.read(tmp_path / "weights.pt")
    assert pretrained.digest(found) == pretrained.digest(pretrained.read(path))
    assert same(dp.host("creep-cnn", size=8, checkpoint=tmp_path / "weights.pt"), state)
    assert not same(dp.host("creep-cnn", size=8), state)


def test_a_file_that_would_run_code_is_refused_and_its_code_does_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    (tmp_path / "weights.pt").write_bytes(pickle.dumps({"weight": Bomb()}, protocol=2))
    torch.save({"weight": Bomb()}, tmp_path / "zipped.pt")
    for name in ("weights.pt", "zipped.pt"):
        with pytest.raises(dp.ConfigError, match=r"more than tensors.*save_file"):
            pretrained.read(tmp_path / name)
    assert not (tmp_path / "canary").exists()


def test_what_is_no_checkpoint_is_refused_by_what_it_is(tmp_path, weights):
    _, path = weights
    with pytest.raises(dp.ConfigError, match=r"no file .*did you mean 'weights.safetensors'"):
        pretrained.read(tmp_path / "weigths.safetensors")
    (tmp_path / "half.safetensors").write_bytes(path.read_bytes()[:200])
    with pytest.raises(dp.ConfigError, match="damaged"):
        pretrained.read(tmp_path / "half.safetensors")
    (tmp_path / "notes.pt").write_text("nothing")
    with pytest.raises(dp.ConfigError, match="neither a safetensors nor a torch file"):
        pretrained.read(tmp_path / "notes.pt")
    torch.save({"optimizer": {"lr": 1.0}, "note": "x"}, tmp_path / "other.pt")
    with pytest.raises(dp.ConfigError, match="no state dict: optimizer, note hold no tensors"):
        pretrained.read(tmp_path / "other.pt")


def test_every_name_and_shape_that_does_not_fit_is_told_at_once(tmp_path, weights):
    state, path = weights
    other = {**state, "extra": torch.zeros(1)}
    del other["conv1.bias"]
    safetensors.torch.save_file(other, path)
    with pytest.raises(dp.ConfigError) as caught:
        dp.host("creep-cnn", size=8, classes=7, checkpoint=path)
    text = str(caught.value)
    assert "lacks conv1.bias" in text and "extra" in text
    assert "head.weight ((10, 256) in the checkpoint, (7, 256) in the host)" in text and "leave" in text


def test_what_is_left_stays_as_the_host_was_built(weights):
    state, path = weights
    model = dp.host("creep-cnn", size=8, classes=7, checkpoint={"file": path, "leave": ["head"]})
    built = dp.host("creep-cnn", size=8, classes=7)
    assert torch.equal(model.conv1.weight, state["conv1.weight"])
    assert torch.equal(model.head.weight, built.head.weight)
    with pytest.raises(dp.ConfigError, match=r"leave names 'haed'.*did you mean 'head'"):
        dp.host("creep-cnn", size=8, checkpoint={"file": path, "leave": ["haed"]})
    with pytest.raises(dp.ConfigError, match=r"unknown key 'leeve'.*did you mean 'leave'"):
        dp.host("creep-cnn", size=8, checkpoint={"file": path, "leeve": ["head"]})


def test_what_the_file_holds_beside_the_host_may_be_left_too(weights):
    state, path = weights
    safetensors.torch.save_file({**state, "aux.weight": torch.zeros(3)}, path)
    with pytest.raises(dp.ConfigError, match=r"aux\.weight; to leave that out: .*leave = \['aux'\]"):
        dp.host("creep-cnn", size=8, checkpoint=path)
    assert same(dp.host("creep-cnn", size=8, checkpoint={"file": path, "leave": ["aux"]}), state)


def test_a_checkpoint_that_holds_tied_weights_once_is_whole(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(11, 4), nn.Linear(4, 11, bias=False)
            self.head.weight = self.embedding.weight

    trained, fresh = Tied(), Tied()
    safetensors.torch.save_file({"embedding.weight": trained.embedding.weight.detach()}, tmp_path / "w.safetensors")
    pretrained.load(fresh, {"file": str(tmp_path / "w.safetensors")})
    assert torch.equal(fresh.head.weight, trained.head.weight) and fresh.head.weight is fresh.embedding.weight


def here() -> nn.Module:
    """An object of this process, so that trials run here and no worker has to start."""
    return dp.host("creep-cnn", size=8)


def run(folder, checkpoint, host=here, **more):
    ladder = dp.Ladder(host).level(head="bottleneck-mlp")
    values = {"data": "digits", "recipe": RECIPE, "replicates": 1, "controls": False, "workers": 1} | more
    return dp.run(ladder, out=folder, checkpoint=checkpoint, progress=None, **values)


def test_a_study_keeps_its_start_and_goes_on_without_the_original(tmp_path, weights):
    state, path = weights
    answer = run(tmp_path / "study", path, host=dict(HOST))
    assert answer.counts["done"] == 2 and any("one checkpoint" in note for note in answer.notes)
    (kept,) = (tmp_path / "study" / "starts").iterdir()
    assert same(dp.host("creep-cnn", size=8, checkpoint=kept), state)
    assert str(tmp_path) not in (tmp_path / "study" / "study.toml").read_text()
    path.unlink()
    grown = dp.run(dp.Study.load(tmp_path / "study" / "study.toml"), out=tmp_path / "study", replicates=2, workers=1)
    assert grown.counts["done"] == 4
    model = dp.load(tmp_path / "study").model(grown.trials["trial"].iloc[0])
    assert isinstance(model, nn.Module)


def test_a_fork_takes_the_start_along(tmp_path, weights):
    _, path = weights
    run(tmp_path / "study", path)
    (kept,) = (tmp_path / "study" / "starts").iterdir()
    known = {"sha256": kept.stem}
    other = RECIPE.model_copy(update={"lr": 1e-3})
    forked = run(tmp_path / "study", known, recipe=other, fork="beside")
    assert forked.folder == tmp_path / "beside" and forked.counts["done"] == 2
    assert [file.name for file in (tmp_path / "beside" / "starts").iterdir()] == [kept.name]


def test_a_trial_starts_from_the_checkpoint_to_the_bit(tmp_path, weights):
    state, path = weights
    tiny = dp.Recipe(lr=1e-30, optimizer="sgd", batch=128, epochs=1)  # too small a step to move a float32
    answer = run(tmp_path / "s", dict(state), recipe=tiny)
    base, swapped = (answer.model(trial) for trial in answer.trials["trial"])
    assert same(base, state)
    assert torch.equal(swapped.conv1.weight, state["conv1.weight"]) and "head.weight" not in swapped.state_dict()
    file = run(tmp_path / "s", path, recipe=tiny)
    assert list(file.trials["trial"]) == list(answer.trials["trial"])  # the same content is the same question


def test_another_content_under_the_same_name_is_another_study(tmp_path, weights):
    state, path = weights
    run(tmp_path / "study", path)
    safetensors.torch.save_file({**state, "head.bias": state["head.bias"] + 1}, path)
    with pytest.raises(dp.ConfigError, match=r"host.checkpoint.sha256"):
        run(tmp_path / "study", path)


def test_a_kept_start_that_was_changed_or_lost_is_noticed(tmp_path, weights):
    state, path = weights
    run(tmp_path / "study", path)
    (kept,) = (tmp_path / "study" / "starts").iterdir()
    known = {"sha256": kept.stem}
    shutil.copy(kept, tmp_path / "safe")
    safetensors.torch.save_file({**state, "head.bias": state["head.bias"] + 1}, kept)
    with pytest.raises(dp.StoreError, match="was changed"):
        run(tmp_path / "study", known, replicates=2)
    kept.unlink()
    with pytest.raises(dp.DataMissing, match="give the file again"):
        run(tmp_path / "study", known, replicates=2)
    again = run(tmp_path / "study", tmp_path / "safe")
    assert again.counts["done"] == 2


def test_a_missing_checkpoint_is_told_beside_everything_else_that_is_wrong(tmp_path):
    with pytest.raises(dp.ConfigError) as caught:
        dp.run(dp.Ladder(dict(HOST)).level(head="bottelneck-mlp"), data="digits", checkpoint=tmp_path / "none.pt")
    assert "no file" in str(caught.value) and "bottleneck-mlp" in str(caught.value)


def test_a_host_of_ones_own_takes_a_checkpoint_too(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(64, 8), nn.Linear(8, 10)

        def forward(self, x):
            return self.head(self.body(x.flatten(1)).relu())

    state = Net().state_dict()
    tiny = dp.Recipe(lr=1e-30, optimizer="sgd", batch=256, epochs=1)
    answer = dp.run(dp.Ladder(Net).level(head="bottleneck-mlp"), data="digits", recipe=tiny, replicates=1,
                    controls=False, out=tmp_path / "own", checkpoint=state, progress=None)  # fmt: skip
    assert same(answer.model(answer.trials["trial"].iloc[0], host=Net), state)
