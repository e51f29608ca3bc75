from __future__ import annotations

import numpy as np
import pytest
import torch

from dopant.datasets import Dataset, Source, dataset
from dopant.datasets.source import Pool, as_source, load_source
from dopant.errors import ConfigError, UnknownName
from dopant.streams import Streams


def labelled(items: int, classes: int = 4) -> Pool:
    return Pool(torch.arange(items * 3.0).view(items, 3), torch.arange(items) % classes)


def test_digits_are_all_there_and_scaled():
    data = dataset("digits")
    everything = torch.cat([data.train.inputs, data.validation.inputs, data.test.inputs])
    assert everything.shape == (1797, 1, 8, 8)
    assert everything.dtype == torch.float32
    assert everything.min() == -1
    assert everything.max() == 1
    assert data.facts() == {"in_channels": 1, "size": 8, "classes": 10}
    assert not data.official_test


def test_without_official_test_each_replicate_draws_a_fresh_disjoint_stratified_split():
    first, again, other = dataset("digits"), dataset("digits"), dataset("digits", replicate=1)
    ids = [first.train.ids, first.validation.ids, first.test.ids]
    assert torch.equal(torch.cat(ids).sort().values, torch.arange(1797))
    assert [round(len(i) / 1797, 2) for i in ids] == [0.6, 0.2, 0.2]
    for split in (first.train, first.validation, first.test):
        counts = torch.bincount(split.targets, minlength=10) / len(split)
        overall = torch.bincount(first.train.pool.targets) / 1797
        assert (counts - overall).abs().max() < 0.004
    assert torch.equal(first.test.ids, again.test.ids)
    assert not torch.equal(first.test.ids, other.test.ids)
    assert not torch.equal(first.test.ids, dataset("digits", seed=1).test.ids)


def test_an_official_test_set_is_kept_and_a_tenth_of_the_training_items_validates():
    source = Source(labelled(200), labelled(40), classes=4)
    data, other = source.draw(Streams(0, 0)), source.draw(Streams(0, 1))
    assert data.official_test
    assert torch.equal(data.test.ids, torch.arange(40))
    assert (len(data.train), len(data.validation)) == (180, 20)
    assert torch.bincount(data.validation.targets).tolist() == [5, 5, 5, 5]
    assert not set(data.train.ids.tolist()) & set(data.validation.ids.tolist())
    assert not torch.equal(data.validation.ids, other.validation.ids)


def test_an_official_validation_set_is_kept_too():
    data = Source(labelled(30), labelled(10), 4, validation=labelled(8)).draw(Streams())
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 8, 10)


def test_the_published_protocol_trains_on_everything_and_validates_on_nothing():
    data = Source(labelled(30), labelled(10), 4).draw(Streams(), "published")
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 0, 10)
    with pytest.raises(ConfigError, match="no official test set"):
        dataset("digits", protocol="published")
    with pytest.raises(ConfigError, match="expected 'published'"):
        dataset("digits", protocol="publish")


def test_a_batch_is_gathered_from_the_pool_by_position_in_the_split():
    data = dataset("digits")
    positions = torch.tensor([5, 0, 5])
    inputs, targets = data.validation.batch(positions)
    assert torch.equal(inputs, data.validation.inputs[positions])
    assert torch.equal(targets, data.validation.pool.targets[data.validation.ids[positions]])
    assert data.sample(3).shape == (3, 1, 8, 8)


def test_splits_may_be_pytrees():
    pool = Pool({"a": torch.arange(20.0), "b": (torch.arange(40).view(20, 2),)}, {"y": torch.rand(20, 5)})
    data = Source(pool).draw(Streams())
    inputs, targets = data.train.batch(torch.tensor([1]))
    number = data.train.ids[1]
    assert inputs["a"].item() == number
    assert inputs["b"][0].tolist() == [[2 * number, 2 * number + 1]]
    assert torch.equal(targets["y"][0], pool.targets["y"][number])
    assert data.facts() == {}


def test_limit_takes_the_same_items_for_every_seed_and_refuses_what_is_no_count():
    a, b = (dataset("digits", seed=s, limit=200) for s in (0, 1))
    sets = [set(torch.cat([d.train.ids, d.validation.ids, d.test.ids]).tolist()) for d in (a, b)]
    assert sets[0] == sets[1]
    assert len(sets[0]) == 200
    smaller = dataset("digits", limit=100)
    assert set(smaller.train.ids.tolist()) < sets[0]
    for limit in (0, -3, 1798, 2.5, True, "many"):
        with pytest.raises(ConfigError, match="expected a whole number from 1 to 1797"):
            dataset("digits", limit=limit)
    with pytest.raises(ConfigError, match="cannot be split by class"):
        dataset("digits", limit=12)


def test_test_limit_takes_the_same_items_of_the_official_test_set_under_every_protocol():
    source = Source(labelled(100), labelled(40), 4).test_limited(10)
    drawn = [source.draw(Streams(seed), protocol).test.ids for seed in (0, 1) for protocol in (None, "published")]
    assert len(drawn[0]) == 10 and all(torch.equal(drawn[0], ids) for ids in drawn)
    assert len(source.draw(Streams(), "published").train) == 100
    with pytest.raises(ConfigError, match=r"test_limit is 41; expected a whole number from 1 to 40"):
        Source(labelled(100), labelled(40), 4).test_limited(41)
    with pytest.raises(ConfigError, match="no official test set"):
        dataset("digits", test_limit=10)


def test_limit_never_shortens_the_official_test_set():
    data = Source(labelled(100), labelled(40), 4).limited(50).draw(Streams())
    assert (len(data.train) + len(data.validation), len(data.test)) == (50, 40)


def test_unknown_data_sets_and_options_are_answered_with_the_nearest_names():
    with pytest.raises(UnknownName) as error:
        load_source("digit")
    assert error.value.suggestions == ["digits"]
    with pytest.raises(ConfigError, match=r"no option 'sise'; did you mean 'size'\?"):
        load_source("mnist", sise=28)
    with pytest.raises(ConfigError, match="expected 32"):
        load_source("mnist", size=64)


def test_arrays_of_one_s_own_become_a_source():
    x, y = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 3
    source = as_source((x, y))
    assert source.train.inputs.dtype == torch.float32
    assert source.classes == 3
    data = source.draw(Streams())
    assert isinstance(data, Dataset)
    assert data.facts() == {"in_features": 5, "classes": 3}
    assert as_source(((x, y), (x[:9], y[:9]))).draw(Streams()).official_test
    assert as_source((x, x[:, 0])).classes is None
    kept = as_source(data).draw(Streams(7))
    assert torch.equal(kept.test.inputs, data.test.inputs)
    for wrong in (x, (x, y, y), "digits"):
        with pytest.raises(ConfigError, match="expected a name"):
            as_source(wrong)
    with pytest.raises(ConfigError, match="as many of each"):
        as_source((x, y[:-1]))


def test_values_that_are_no_classes_are_split_without_strata():
    data = as_source((torch.rand(50, 2), torch.rand(50))).draw(Streams())
    assert data.classes is None
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 10)
