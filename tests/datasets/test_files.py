from __future__ import annotations

import gzip
import hashlib
import io
import tarfile

import numpy as np
import pooch
import pytest
import torch
from PIL import Image

from dopant.datasets import _files, _images, cifar10, dataset, mnist
from dopant.datasets.source import load_source
from dopant.errors import ConfigError, DataMissing, DopantError

rng = np.random.default_rng(0)


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """No data folder, an empty cache, no net."""
    monkeypatch.delenv("DOPANT_DATA", raising=False)
    monkeypatch.setenv("DOPANT_CACHE", str(tmp_path / "cache"))

    def offline(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(pooch, "retrieve", offline)
    return tmp_path


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


# --- the real files


@pytest.mark.parametrize(("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)])
def test_the_28_pixel_sets_have_the_published_counts_mean_and_deviation(data_folder, name, mean, std):
    source = load_source(name, size=28)
    assert source.train.inputs.shape == (60_000, 1, 28, 28)
    assert source.test.inputs.shape == (10_000, 1, 28, 28)
    pixels = (source.train.inputs + 1) / 2
    assert abs(pixels.mean().item() - mean) < 5e-5
    assert abs(pixels.std().item() - std) < 5e-5
    if name == "fashion-mnist":
        assert torch.bincount(source.train.targets).tolist() == [6000] * 10


def test_mnist_is_the_original_byte_for_byte(data_folder):
    source = load_source("mnist", size=28)
    sums = {
        "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
        "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
    }
    for part, expected in sums.items():
        pool = getattr(source, part)
        images = ((pool.inputs[:, 0] + 1) * 127.5).round().to(torch.uint8).numpy()
        labels = pool.targets.numpy().astype(np.uint8)
        assert tuple(hashlib.md5(idx(a)).hexdigest() for a in (images, labels)) == expected


def test_padding_by_two_adds_black_and_moves_nothing(data_folder):
    small, large = load_source("mnist", size=28), load_source("mnist")
    picture = large.train.inputs[123]
    assert picture.shape == (1, 32, 32)
    assert torch.equal(picture[:, 2:-2, 2:-2], small.train.inputs[123])
    assert (picture[:, :2] == -1).all()
    assert (picture[:, :, -2:] == -1).all()


def test_cifar10_has_the_published_counts_mean_and_deviation_and_mixed_classes(data_folder):
    source = load_source("cifar10")
    assert source.train.inputs.shape == (50_000, 3, 32, 32)
    assert torch.bincount(source.train.targets).tolist() == [5000] * 10
    assert torch.bincount(source.test.targets).tolist() == [1000] * 10
    pixels = (source.train.inputs + 1) / 2
    for k, (mean, std) in enumerate([(0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616)]):
        assert abs(pixels[:, k].mean().item() - mean) < 1e-4
        assert abs(pixels[:, k].std().item() - std) < 1e-4
    assert (torch.bincount(source.train.targets[:5000]) - 500).abs().max() < 100


def test_a_medical_npz_keeps_its_official_validation_set(data_folder):
    data = dataset("npz", path="breastmnist.npz")
    assert (len(data.train), len(data.validation), len(data.test)) == (546, 78, 156)
    assert torch.bincount(data.train.targets).tolist() == [147, 399]
    assert data.facts() == {"in_channels": 1, "size": 28, "classes": 2}


# --- what is not there, or not what it should be


@pytest.mark.parametrize(
    ("name", "file"), [("mnist", "mnist.npz"), ("cifar10", "cifar10"), ("fashion-mnist", "fashion_mnist.npz")]
)
def test_absent_data_are_answered_by_one_sentence_with_both_ways_out(bare, name, file, monkeypatch):
    monkeypatch.setenv("DOPANT_DATA", str(bare))
    with pytest.raises(DataMissing) as error:
        dataset(name)
    text = str(error.value)
    assert "\n" not in text
    assert "DOPANT_DATA" in text
    assert file in text
    assert "go online" in text


def test_the_four_idx_files_are_read_from_the_folder_or_the_net(bare, monkeypatch):
    parts = {"train": 60_000, "t10k": 10_000}
    contents = {}
    for part, count in parts.items():
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 3, 4] = np.arange(count) % 251
        contents[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(idx(images), 1)
        contents[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(idx((np.arange(count) % 10).astype(np.uint8)), 1)
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes(contents[fname])
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    source = load_source("mnist", size=28)
    assert len(asked) == 4
    assert all(known.startswith("md5:") and len(known) == 36 for _, known in asked)
    assert source.train.targets[:12].tolist() == [*range(10), 0, 1]
    assert torch.allclose(source.test.inputs[7, 0, 3, 4], torch.tensor(7 / 127.5 - 1))
    folder = bare / "mnist"
    folder.mkdir()
    for name, content in contents.items():
        (folder / name.removesuffix(".gz")).write_bytes(gzip.decompress(content))
    monkeypatch.setenv("DOPANT_DATA", str(bare))
    asked.clear()
    assert torch.equal(load_source("mnist", size=28).train.targets, source.train.targets)
    assert not asked


def test_mosaics_and_the_binary_archive_of_cifar10_give_the_same_items_in_the_same_order(tmp_path):
    images = rng.integers(0, 256, (40, 32, 32, 3), np.uint8)
    labels = np.arange(40) % 2
    for label in (0, 1):
        tiles = images[labels == label].reshape(4, 5, 32, 32, 3).swapaxes(1, 2).reshape(128, 160, 3)
        Image.fromarray(tiles).save(tmp_path / f"train_{label}_thing.webp", lossless=True)
    records = np.concatenate([labels[:, None].astype(np.uint8), images.transpose(0, 3, 1, 2).reshape(40, -1)], axis=1)
    shuffled = records[rng.permutation(40)].tobytes()
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        info.size = len(shuffled)
        archive.addfile(info, io.BytesIO(shuffled))
    found = []
    for x, y in (
        cifar10._from_mosaics(sorted(tmp_path.glob("*.webp")), "train"),
        cifar10._from_tar(tmp_path / "c.tar.gz", "train"),
    ):
        order = cifar10._by_content(x)
        found.append((x[order], y[order]))
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])
    assert len(set(found[0][1][:20].tolist())) == 2


@pytest.mark.parametrize("damage", ["cut", "garbage", "another set"])
def test_a_damaged_file_is_named_and_no_traceback_of_ours(bare, monkeypatch, damage):
    monkeypatch.setenv("DOPANT_DATA", str(bare))
    file = bare / "mnist.npz"
    x = rng.integers(0, 256, (30, 28, 28), np.uint8)
    np.savez(file, train_images=x, train_labels=x[:, 0, 0] % 10, test_images=x, test_labels=x[:, 0, 0] % 10)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    elif damage == "garbage":
        file.write_bytes(b"not an archive")
    with pytest.raises(DopantError, match="damaged") as error:
        dataset("mnist")
    assert str(file) in str(error.value)
    assert not isinstance(error.value, DataMissing)


def test_an_idx_file_that_is_cut_short_is_refused(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(idx(np.zeros((3, 4), np.uint8))[:-1])
    with pytest.raises(DopantError, match="holds 11 bytes"):
        _images.read_idx(file)
    file.write_bytes(b"hello")
    with pytest.raises(DopantError, match="not an idx file"):
        _images.read_idx(file)


# --- one's own files


def test_an_npz_with_x_and_y_is_split_anew_and_kept_unscaled_if_it_is_no_image(bare):
    x, y = rng.normal(size=(50, 6)), np.arange(50) % 2
    np.savez(bare / "own.npz", x=x, y=y)
    data = dataset("npz", path=str(bare / "own.npz"))
    assert not data.official_test
    assert data.facts() == {"in_features": 6, "classes": 2}
    np.testing.assert_allclose(data.train.inputs.numpy(), x[data.train.ids].astype(np.float32))
    np.savez(bare / "values.npz", x=x, y=x[:, 0])
    assert dataset("npz", path=str(bare / "values.npz")).classes is None


def test_colour_images_in_an_npz_become_channels_first(bare):
    x = rng.integers(0, 256, (20, 5, 5, 3), np.uint8)
    np.savez(bare / "own.npz", x_train=x, y_train=np.arange(20) % 2, x_test=x, y_test=np.arange(20) % 2)
    data = dataset("npz", path=str(bare / "own.npz"))
    assert data.test.inputs.shape == (20, 3, 5, 5)
    np.testing.assert_allclose(data.test.inputs[3, 2].numpy(), x[3, :, :, 2] / 127.5 - 1, atol=1e-6)


def test_npz_files_that_hold_something_else_are_refused_and_objects_never_loaded(bare):
    np.savez(bare / "names.npz", pictures=np.zeros(3), y=np.zeros(3))
    with pytest.raises(DopantError, match="has the arrays pictures, y; expected x and y"):
        dataset("npz", path=str(bare / "names.npz"))
    np.savez(bare / "counts.npz", x=np.zeros((3, 2)), y=np.zeros(4))
    with pytest.raises(DopantError, match="3 inputs and 4 targets"):
        dataset("npz", path=str(bare / "counts.npz"))
    np.savez(bare / "words.npz", x=np.zeros((2, 2)), y=np.array(["a", "b"]))
    with pytest.raises(DopantError, match="expected numbers"):
        dataset("npz", path=str(bare / "words.npz"))
    np.savez(bare / "objects.npz", x=np.array([{}, {}], object), y=np.zeros(2))
    with pytest.raises(DopantError, match="allow_pickle"):
        dataset("npz", path=str(bare / "objects.npz"))
    with pytest.raises(DataMissing, match="DOPANT_DATA"):
        dataset("npz", path="nowhere.npz")
    with pytest.raises(ConfigError, match="needs the option 'path'"):
        dataset("npz")


def pictures(folder, count=12, side=6):
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(folder / label / f"{k:02}.png")


def test_class_folders_become_classes_in_alphabetical_order(bare):
    pictures(bare / "own")
    data = dataset("folder", path=str(bare / "own"))
    assert data.facts() == {"in_channels": 3, "size": 6, "classes": 2}
    assert torch.bincount(data.train.pool.targets).tolist() == [12, 12]
    grey = dataset("folder", path=str(bare / "own"), size=4, grey=True)
    assert grey.facts() == {"in_channels": 1, "size": 4, "classes": 2}
    file = np.asarray(Image.open(bare / "own" / "dog" / "03.png"))
    np.testing.assert_allclose(data.train.pool.inputs[15].numpy(), file.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)


def test_train_and_test_folders_are_the_official_split(bare):
    pictures(bare / "own" / "train")
    pictures(bare / "own" / "test", count=3)
    data = dataset("folder", path=str(bare / "own"))
    assert data.official_test
    assert len(data.test) == 6


def test_folders_that_are_no_classes_and_images_that_do_not_fit_are_refused(bare):
    with pytest.raises(ConfigError) as error:
        dataset("folder", path="x", size=0, grey="yes")
    assert len(error.value.problems) == 2
    pictures(bare / "own")
    Image.new("RGB", (9, 9)).save(bare / "own" / "dog" / "big.png")
    with pytest.raises(DopantError, match="give a `size`"):
        dataset("folder", path=str(bare / "own"))
    (bare / "own" / "dog" / "big.png").write_bytes(b"nothing")
    with pytest.raises(DopantError, match="damaged"):
        dataset("folder", path=str(bare / "own"))
    (bare / "empty" / "a").mkdir(parents=True)
    with pytest.raises(DopantError, match="class folders"):
        dataset("folder", path=str(bare / "empty"))


# --- the cache


def test_decoded_arrays_are_kept_memory_mapped_and_decoded_once(bare):
    calls = []

    def decode():
        calls.append(1)
        return {"train_inputs": np.arange(6.0)}

    first = _files.cached("x", "key", decode)["train_inputs"]
    again = _files.cached("x", "key", decode)["train_inputs"]
    assert len(calls) == 1
    assert torch.equal(first, again)
    first[0] = 9  # copy on write: the file is safe
    assert _files.cached("x", "key", decode)["train_inputs"][0] == 0
    _files.cached("x", "other key", decode)
    assert len(calls) == 2
    kept = list((bare / "cache" / "decoded").iterdir())
    assert len(kept) == 2
    assert not [f for f in kept if f.name.startswith(".")]


def test_a_damaged_cache_is_decoded_again(bare):
    _files.cached("x", "key", lambda: {"a": np.arange(1000.0)})
    (file,) = (bare / "cache").rglob("a.npy")
    file.write_bytes(file.read_bytes()[:200])
    assert _files.cached("x", "key", lambda: {"a": np.arange(1000.0)})["a"][999] == 999
    assert file.stat().st_size > 8000


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(bare, monkeypatch):
    (bare / "file").write_text("")
    monkeypatch.setenv("DOPANT_CACHE", str(bare / "file"))
    assert _files.cached("x", "key", lambda: {"a": np.arange(3.0)})["a"].tolist() == [0, 1, 2]


def test_a_changed_source_file_is_decoded_again(bare):
    for value in (1.0, 2.0):
        np.savez(bare / "own.npz", x=np.full((10, 2), value), y=np.arange(10) % 2)
        assert (load_source("npz", path=str(bare / "own.npz")).train.inputs == value).all()


def test_the_checksums_of_downloads_are_md5_sums():
    for sums in (mnist._MNIST_MD5, mnist._FASHION_MD5, (cifar10._MD5,)):
        assert all(len(bytes.fromhex(s)) == 16 for s in sums)
        assert len(set(sums)) == len(sums)
