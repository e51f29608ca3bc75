"""Reconstruction: the noise that items get, the scores of images, and that the task is dopant's own loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import dopant as dp
from dopant.datasets import dataset
from dopant.errors import ConfigError
from dopant.streams import Streams
from dopant.tasks.reconstruction import adapted
from dopant.training.image_metrics import psnr, ssim

NOISY = {"name": "reconstruction", "noise": "gaussian", "level": 0.3}


def study(task=NOISY, design=None, **settings):
    host = {"name": "autoencoder", "hidden": [], "code": 8, "activation": "none", "output": "none"}
    recipe = dp.Recipe(**{"lr": 1e-2, "batch": 64, "epochs": 2} | settings.pop("recipe", {}))
    design = design or dp.Ladder(host).level(code={"component": "low-rank", "rank": 2})
    return dp.Study(design, task=task, data="digits", recipe=recipe, replicates=2, controls=False, **settings)


@pytest.fixture(scope="module")
def digits():
    return dataset("digits")


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (32, 3), (11, 2)])
def test_ssim_and_psnr_are_those_of_their_definitions_by_other_libraries(size, channels):
    from scipy.ndimage import gaussian_filter
    from torchmetrics.functional.image import peak_signal_noise_ratio

    def local(image):  # means over whole windows; 3.5 standard deviations are the window's 11 pixels
        return gaussian_filter(image, 1.5, truncate=3.5)[5 : size - 5, 5 : size - 5]

    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(4, channels, size, size, generator=generator, dtype=torch.float64)
    noisy = (clean + 0.2 * torch.randn(clean.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    for i in range(len(clean)):
        found = []
        for a, b in zip(noisy[i].numpy(), clean[i].numpy(), strict=True):
            x, y = local(a), local(b)
            xx, yy, xy = local(a * a) - x * x, local(b * b) - y * y, local(a * b) - x * y
            found.append((2 * x * y + 1e-4) * (2 * xy + 9e-4) / ((x * x + y * y + 1e-4) * (xx + yy + 9e-4)))
        pair = noisy[i : i + 1], clean[i : i + 1]
        assert float(ssim(*pair)[0]) == pytest.approx(float(np.mean(found)), abs=1e-10)
        assert float(psnr(*pair)[0]) == pytest.approx(float(peak_signal_noise_ratio(*pair, data_range=1.0)), abs=1e-4)


def test_equal_images_are_alike_and_what_is_no_image_is_refused():
    image = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(ssim(image, image), torch.ones(3)) and torch.equal(
        psnr(image, image), torch.full((3,), 100.0)
    )
    with pytest.raises(ConfigError, match="'ssim' compares images"):
        ssim(torch.rand(3, 5), torch.rand(3, 5))


@pytest.mark.parametrize("noise", ["gaussian", "mask", "salt-and-pepper"])
def test_noise_is_that_of_its_definition_and_the_targets_stay_clean(digits, noise):
    data = adapted(digits, Streams(0, 0), noise=noise, level=0.25, clip=False)
    noisy, clean = data.train.batch_at(torch.arange(len(data.train)), 1, 0)
    raw = digits.train.inputs
    assert torch.allclose(clean, (raw - raw.min()) / (raw.max() - raw.min()))
    if noise == "gaussian":
        assert float((noisy - clean).std()) == pytest.approx(0.25, rel=0.01)
    else:
        changed = (noisy != clean).double().mean()
        ink = clean if noise == "mask" else None
        expected = (
            0.25 * float((ink > 0).double().mean())
            if ink is not None
            else 0.125 * float((clean != 0).double().mean() + (clean != 1).double().mean())
        )
        assert float(changed) == pytest.approx(expected, rel=0.02)


def test_training_noise_is_fresh_each_epoch_and_a_function_of_the_replicate_alone(digits):
    indices = torch.arange(32)
    data = [adapted(digits, Streams(0, r), noise="gaussian", level=0.3).train for r in (0, 0, 1)]
    first = data[0].batch_at(indices, 1, 0)[0]
    data[1].batch_at(indices, 5, 2)  # earlier draws move nothing
    assert torch.equal(first, data[1].batch_at(indices, 1, 0)[0])
    others = [
        data[0].batch_at(indices, 2, 0)[0],
        data[0].batch_at(indices, 1, 1)[0],
        data[2].batch_at(indices, 1, 0)[0],
    ]
    assert not any(torch.equal(first, other) for other in others)


def test_scored_items_have_the_same_noise_always_however_they_are_asked_for(digits):
    test = adapted(digits, Streams(0, 0), noise="mask", level=0.3).test
    some = torch.tensor([7, 3, 200])
    assert torch.equal(test.batch(some)[0], test.inputs[some]) and torch.equal(test.batch(some)[1], test.targets[some])


def test_a_linear_autoencoder_comes_near_principal_components_and_never_beats_them(tmp_path):
    """Eckart and Young: no linear map through eight numbers has a smaller squared error than the eight components."""
    recipe = {"lr": 1e-2, "epochs": 60, "batch": 64, "schedule": "cosine"}
    one = study({"name": "reconstruction"}, recipe=recipe)
    answer = dp.run(one, replicates=1, out=tmp_path / "s", workers=1, progress=None)
    model = answer.model(answer.trials["trial"].iloc[0])
    train = adapted(dataset("digits", one.seed, 0), Streams(one.seed, 0)).train.targets
    with torch.no_grad():
        reached = float((model(train) - train).square().mean())
    x = train.flatten(1).double().numpy()
    values = np.linalg.svd(x - x.mean(0), compute_uv=False)
    best = float((values[8:] ** 2).sum() / x.size)
    assert best - 1e-9 <= reached < 1.1 * best


def test_the_corrupted_items_are_scored_as_they_are_and_at_further_levels(tmp_path):
    task = NOISY | {"test_levels": [0.1, 0.3]}
    answer = dp.run(study(task, recipe={"metrics": ("ssim", "mse")}), out=tmp_path / "s", workers=1, progress=None)
    row = answer.trials.iloc[0]
    data = adapted(dataset("digits"), Streams(0, 0), noise="gaussian", level=0.3)
    assert row["input_mse"] == pytest.approx(float((data.test.inputs - data.test.targets).square().mean()), rel=1e-5)
    assert row["input_mse_at_0.3"] == row["input_mse"] and row["test_mse_at_0.3"] == row["test_mse"]
    assert row["input_mse_at_0.1"] < row["input_mse"] and row["test_reads"] == 3
    assert "prediction" in answer.store.items(row["trial"])  # 64 numbers an item; of larger images none are kept
    assert answer.metric == ("ssim", "test_ssim", True) and math.isfinite(answer.effects["mean"].iloc[0])


def test_more_epochs_go_on_to_what_they_would_have_been(tmp_path):
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    dp.run(study(), out=grown, workers=1, progress=None)
    grown_answer = dp.run(study(recipe={"epochs": 4}), out=grown, workers=1, progress=None)
    whole_answer = dp.run(study(recipe={"epochs": 4}), out=whole, workers=1, progress=None)
    assert list(grown_answer.trials["test_mse"]) == list(whole_answer.trials["test_mse"])


def test_wrong_requests_are_refused_whole_before_anything_is_trained(tmp_path):
    for task, told in [
        ({"noise": "gausian"}, "gausian"), ({"lvl": 1.0}, "did you mean 'level'"),
        ({"noise": "mask", "level": 1.5}, "from 0 to 1"), ({"level": 0.5}, "noise is 'none'"),
        ({"noise": "mask", "level": 0.5, "scale": "none"}, "scale is 'none'"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=told):
            dp.run(study({"name": "reconstruction"} | task), out=tmp_path / "no", progress=None)
    with pytest.raises(ConfigError, match="compares values"):
        dp.run(study(recipe={"loss": "cross-entropy"}), out=tmp_path / "no", progress=None)
    assert study().recipe.loss == "mse" and not (tmp_path / "no").exists()
