"""Repeated cross-validation: each item is tested once a repetition, and the variance is the corrected one."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import dopant as dp
from dopant.datasets.source import Pool, Source, load_source
from dopant.designs import Contrast
from dopant.errors import ConfigError
from dopant.streams import Streams
from dopant.study import plan as planning
from dopant.study import verdicts
from dopant.study.request import study_of_request


def items(n, classes=3):
    return Pool(torch.randn(n, 2, generator=torch.Generator().manual_seed(0)), torch.arange(n) % classes)


@pytest.mark.parametrize(
    "source", [Source(items(61), classes=3), Source(items(60)), Source(items(90), classes=3).limited(40)]
)
def test_each_item_is_tested_once_a_repetition_and_repetitions_differ(source):
    used = torch.arange(len(source.train)) if source.chosen is None else source.chosen.sort().values
    repetitions = []
    for repetition in range(2):
        drawn = [source.draw(Streams(0, 4 * repetition + fold), folds=4) for fold in range(4)]
        assert torch.equal(torch.cat([d.test.ids for d in drawn]).sort().values, used)
        for d in drawn:
            parts = torch.cat([d.train.ids, d.validation.ids, d.test.ids])
            assert torch.equal(parts.sort().values, used) and len(d.validation) > 0
        repetitions.append([d.test.ids.tolist() for d in drawn])
    assert repetitions[0] != repetitions[1]


def test_folds_are_stratified_and_the_same_whoever_asks():
    one, other = (load_source("digits").draw(Streams(3, 7), folds=5) for _ in range(2))
    assert torch.equal(one.test.ids, other.test.ids) and torch.equal(one.train.ids, other.train.ids)
    share = torch.bincount(one.test.targets) / len(one.test) - torch.bincount(one.train.pool.targets) / 1797
    assert share.abs().max() < 0.004 and not one.official_test


def test_what_cannot_be_folded_is_refused():
    with pytest.raises(ConfigError, match="official test set"):
        Source(items(30), items(9), 3).draw(Streams(), folds=3)
    with pytest.raises(ConfigError, match="there are 2; take fewer folds"):
        Source(items(6), classes=3).draw(Streams(), folds=3)
    study = dp.Study(dp.Ladder("creep-cnn").level(conv1="flipped-quanv"), data="digits", replicates=7, folds=5)
    assert "study.replicates: 7 is no multiple of study.folds = 5; take 10" in study.problems()
    assert any("nothing is folded" in p for p in study.with_(replicates=10, protocol="published").problems())
    assert any("from 2 on" in p for p in study.with_(folds=1).problems())


def test_folds_are_part_of_a_trials_identity_only_where_there_are_some():
    study = dp.Study(dp.Ladder("creep-cnn").level(conv1="flipped-quanv"), data="digits", replicates=4, controls=False)
    plain, folded = (planning.plan(s, []) for s in (study, study.with_(folds=2)))
    assert all("folds" not in t.description for t in plain) and all(t.description["folds"] == 2 for t in folded)
    assert not {t.id for t in plain} & {t.id for t in folded}


def test_the_interval_is_that_of_the_corrected_repeated_k_fold_t_test():
    """Bouckaert and Frank 2004, eq. 1: variance (1/(k r) + n2/n1) s2 with k r - 1 degrees of freedom."""
    k, r = 5, 2
    rng = np.random.default_rng(0)
    values = {arm: rng.normal(mean, 0.02, k * r) for arm, mean in (("old", 0.8), ("new", 0.82))}
    table = pd.DataFrame({"arm": arm, "replicate": i, "value": v} for arm, x in values.items() for i, v in enumerate(x))
    row = verdicts.effects(table, [Contrast("new", "new", "old")], metric="accuracy", resplit=1 / (k - 1)).iloc[0]
    d = values["new"] - values["old"]
    half = stats.t.ppf(0.975, k * r - 1) * math.sqrt((1 / (k * r) + 1 / (k - 1)) * d.var(ddof=1))
    assert (row["low"], row["high"]) == pytest.approx((d.mean() - half, d.mean() + half))


def test_a_folded_study_runs_tests_every_item_once_and_says_how_it_was_decided(tmp_path):
    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(1)).numpy()
    ladder = dp.Ladder({"name": "mlp", "hidden": [4]}).level(head="linear")
    data = (inputs, (inputs[:, 0] > 0).astype(int))
    recipe = dp.Recipe(epochs=1, batch=16)
    answer = dp.run(ladder, data=data, recipe=recipe, replicates=3, folds=3, controls=False, out=tmp_path / "folded")
    assert (answer.trials["n_test"].groupby(answer.trials["cell"]).sum() == 60).all()
    ratio = (answer.trials["n_test"] / answer.trials["n_train"]).mean()
    assert answer.resplit() == pytest.approx(ratio) and ratio > 1 / 2
    assert any("3-fold cross-validation" in note for note in answer.notes)
    assert answer.study["study"]["folds"] == 3 and "folds" in answer.study["analysis"]["plan"]


def test_a_smoke_run_of_a_folded_study_is_one_whole_repetition(tmp_path):
    study = dp.Study(
        dp.Ladder("creep-cnn").level(conv1="flipped-quanv"), data="digits", replicates=15, folds=5, name="s"
    )
    study.save(tmp_path / "s.toml")
    assert study_of_request(tmp_path / "s.toml", quick=True).replicates == 5
