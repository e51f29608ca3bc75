from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

import dopant as dp
from dopant import registry
from dopant.baselines import run_baseline
from dopant.baselines.chosen import HELD_OUT, Chosen
from dopant.baselines.estimator import build
from dopant.baselines.scikit import random_forest, rbf_svm
from dopant.errors import ConfigError
from dopant.streams import Streams
from dopant.study import forecast
from dopant.study import plan as planning
from dopant.tasks.build import build_data

from .test_run_baseline import Keeper, trial

DATA = {"name": "digits", "limit": 300}


def arrays(replicate: int = 0):
    made = trial(data=DATA, replicate=replicate)
    data = build_data(made.description, Streams(0, replicate))
    return [(s.inputs.numpy().reshape(len(s), -1), s.targets.numpy()) for s in (data.train, data.validation, data.test)]


def seed_of(replicate: int = 0) -> int:
    """What the stream `baseline` gives first."""
    with Streams(0, replicate).seeded("baseline"):
        return int(torch.randint(2**31 - 1, ()))


CASES = {
    "rbf-svm": ({"C": 5.0, "gamma_scale": 1.0}, lambda seed: SVC(C=5.0, gamma="scale", break_ties=True)),
    "random-forest": (
        {"trees": 20, "max_features": 0.2, "min_samples_leaf": 2},
        lambda seed: RandomForestClassifier(20, max_features=0.2, min_samples_leaf=2, random_state=seed),
    ),
    "gradient-boosting": (
        {"rounds": 5, "learning_rate": 0.2, "max_leaf_nodes": 6, "l2_regularization": 0.1},
        lambda seed: HistGradientBoostingClassifier(
            max_iter=5, learning_rate=0.2, max_leaf_nodes=6, l2_regularization=0.1, early_stopping=False,
            random_state=seed,
        ),
    ),
    "mlp-classifier": (
        {"hidden": 16, "layers": 2, "alpha": 0.01, "learning_rate": 0.01, "max_iter": 60},
        lambda seed: MLPClassifier((16, 16), alpha=0.01, learning_rate_init=0.01, max_iter=60, random_state=seed),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", CASES)
def test_its_scores_are_those_of_scikit_learn_s_own_run_on_the_same_split(name):
    options, theirs = CASES[name]
    made = trial({"name": name, **options}, data=DATA)
    metrics, items = run_baseline(made, Streams(0, 0), Keeper())
    train, validation, test = arrays()
    model = make_pipeline(StandardScaler(), theirs(seed_of())).fit(*train)
    assert np.array_equal(items["prediction"].numpy(), model.predict(test[0]))
    assert metrics["test_accuracy"] == pytest.approx(model.score(*test))
    assert metrics["validation_accuracy"] == pytest.approx(model.score(*validation))
    if hasattr(model, "predict_proba"):
        given = model.predict_proba(test[0])[np.arange(len(test[1])), test[1]].astype(float)
        assert metrics["test_loss"] == pytest.approx(-np.log(given.clip(1e-12)).mean(), rel=1e-5)
    assert metrics["baseline_tried"] == 0 and metrics["baseline_items"] == len(train[1])


def test_what_models_keep_is_counted():
    train, _, _ = arrays()
    svm = build("rbf-svm", {"C": 1.0, "gamma_scale": 1.0})
    svm.fit(*train)
    own = make_pipeline(StandardScaler(), SVC()).fit(*train)[-1]
    assert svm.report()["support_vectors"] == len(own.support_) and svm.parameters is None
    forest = build("random-forest", {"trees": 3, "max_features": 0.2, "min_samples_leaf": 4})
    forest.fit(*train)
    assert forest.report()["trees"] == 3
    assert forest.report()["nodes"] == sum(t.tree_.node_count for t in forest.model.estimator[-1].estimators_)
    boosted = build("gradient-boosting", {"rounds": 2, "candidates": 1})
    boosted.fit(*train)
    assert boosted.report()["trees"] == 20 and boosted.report()["nodes"] > 40
    net = build("mlp-classifier", {"hidden": 7, "max_iter": 2, "candidates": 1})
    net.fit(*train)
    assert net.parameters == 64 * 7 + 7 + 7 * 10 + 10 and not net.report()["converged"]


def test_open_settings_are_chosen_by_validation_the_usual_ones_first():
    train, validation, _ = arrays()
    torch.manual_seed(3)
    model = rbf_svm(candidates=5)
    model.fit(*train, validation=validation)
    settings, scores = zip(*model.tried, strict=True)
    assert settings[0] == {"C": 1.0, "gamma_scale": 1.0} and len(settings) == model.report()["tried"] == 5
    best = settings[scores.index(max(scores))]
    assert {k: model.report()[k] for k in best} == best
    for tried, (accuracy, _) in model.tried:  # each as scikit-learn would have it
        varying = (train[0].std(0) > 0).sum()
        own = make_pipeline(StandardScaler(), SVC(C=tried["C"], gamma=tried["gamma_scale"] / varying, break_ties=True))
        assert accuracy == pytest.approx(own.fit(*train).score(*validation))
    for key, low, high in (("C", 0.1, 1000), ("gamma_scale", 0.05, 5)):
        drawn = np.log([s[key] for s in settings[1:]])
        strata = np.floor((drawn - np.log(low)) / (np.log(high) - np.log(low)) * 4)
        assert sorted(strata) == [0, 1, 2, 3]  # one draw in each quarter
    half = rbf_svm(C=2.0, candidates=3)
    half.fit(*train, validation=validation)
    assert {s["C"] for s, _ in half.tried} == {2.0} and len({s["gamma_scale"] for s, _ in half.tried}) == 3


def test_without_validation_a_sixth_is_held_out_and_the_choice_fitted_to_all():
    train, _, test = arrays()
    torch.manual_seed(0)
    model = random_forest(trees=5, candidates=2)
    model.fit(*train)
    own = RandomForestClassifier(5, random_state=int(torch.manual_seed(0) and torch.randint(2**31 - 1, ())),
                                 **{k: model.report()[k] for k in ("max_features", "min_samples_leaf")})  # fmt: skip
    own = make_pipeline(StandardScaler(), own).fit(*train)
    assert np.array_equal(model.scores(test[0]).argmax(1), own.predict(test[0]))
    assert pytest.approx(1 / 6) == HELD_OUT and model.items == len(train[1])


def test_the_same_trial_repeats_and_replicates_differ():
    def once(replicate):
        made = trial({"name": "random-forest", "trees": 5, "candidates": 2}, data=DATA, replicate=replicate)
        metrics, items = run_baseline(made, Streams(0, replicate), Keeper())
        return {k: v for k, v in metrics.items() if k != "seconds"}, items

    first, again, other = once(0), once(0), once(1)
    assert first[0] == again[0] and torch.equal(first[1]["prediction"], again[1]["prediction"])
    assert not torch.equal(first[1]["ids"], other[1]["ids"])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shape", [(), (1,), (2, 2)])
@pytest.mark.filterwarnings("error")
def test_numbers_as_targets_keep_their_shape(name, shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    y = np.stack([x @ rng.normal(size=3) for _ in range(int(np.prod(shape)))], axis=1).reshape(60, *shape)
    options = {"rbf-svm": {}, "random-forest": {"trees": 5}, "gradient-boosting": {"rounds": 5}}.get(name)
    model = build(name, {**({"max_iter": 20} if options is None else options), "candidates": 1})
    model.fit(x, y.astype(np.float32))
    assert model.scores(x).shape == y.shape


def test_the_tube_of_numbers_is_in_standard_deviations_of_the_targets():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 2))
    y = 100 * np.sin(x[:, 0]) + 1000
    model = build("rbf-svm", {"C": 3.0, "gamma_scale": 1.0})
    model.fit(x, y)
    scaled = (x - x.mean(0)) / x.std(0)
    own = SVR(C=3.0, gamma=0.5, epsilon=0.1).fit(scaled, (y - y.mean()) / y.std())
    assert np.allclose(model.scores(x), own.predict(scaled) * y.std() + y.mean())


def test_a_limit_takes_as_many_items_by_class():
    train, validation, _ = arrays()
    model = rbf_svm(C=1.0, gamma_scale=1.0, limit=50)
    model.fit(*train, validation=validation)
    assert model.report()["items"] == 50 and model.report()["support_vectors"] <= 50
    assert len(model.model.classes) == 10


def test_wrong_options_are_told_together_and_one_class_is_refused():
    with pytest.raises(ConfigError, match=r"C is -1.*(?s:.)*candidates is 0.*(?s:.)*limit is 1"):
        rbf_svm(C=-1, candidates=0, limit=1)
    with pytest.raises(
        ConfigError, match=r"min_samples_leaf is 1\.5; expected a whole number above 0, or 'validation'"
    ):
        random_forest(min_samples_leaf=1.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="trees is 0"):
        random_forest(trees=0)
    with pytest.raises(ConfigError, match="all 4 training items are of one class"):
        rbf_svm().fit(np.zeros((4, 2)), np.zeros(4, dtype=int))


def test_every_setting_of_a_search_is_an_option_that_may_be_chosen():
    for name in CASES:
        factory = registry.baselines.get(name)
        model = build(name, {})
        assert isinstance(model, Chosen) and set(factory.search) == set(model.space) == set(model.start)
        for key, range_ in factory.search.items():
            assert range_["low"] <= model.start[key] <= range_["high"]


def test_the_time_of_a_fit_grows_as_it_says():
    x, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    few = rbf_svm(candidates=3)
    assert few.seconds(x, y, 40_000) > 1000 * few.seconds(x, y, 40, alone=True)


def test_a_forecast_counts_the_fits_of_baselines_and_names_those_it_cannot_foretell():
    study = dp.Study(
        dp.Ladder("mlp").level(head="bottleneck-mlp"), data=DATA, recipe=dp.Recipe(epochs=1), replicates=2,
        controls=False, baselines=[{"name": "random-forest", "trees": 20}, "logistic-regression"],
    )  # fmt: skip
    left = [(cell.name, "", 1, False) for cell in planning.cells(study)]
    fits = forecast._fits(study, build_data(trial(data=DATA).description, Streams(0, 0)), left)
    assert fits["baseline logistic-regression"] is None and fits["baseline random-forest:trees=20"] > 0.05
    words = forecast._fit_words(fits)
    assert "baseline random-forest:trees=20 about" in words and "baseline logistic-regression not counted" in words


def test_a_study_compares_networks_with_baselines_of_this_process_on_the_same_split(tmp_path):
    def bare_svm():
        return make_pipeline(StandardScaler(), SVC())

    forest = RandomForestClassifier(5, random_state=1)
    ask = {
        "data": DATA, "recipe": dp.Recipe(epochs=1), "replicates": 2, "controls": False, "out": tmp_path / "s",
    }  # fmt: skip
    design = dp.Ladder("creep-cnn").level(head="linear")
    answer = dp.run(design, baselines=[bare_svm, forest], **ask)
    assert answer.counts["done"] == 8 and not hasattr(forest, "estimators_")
    done = answer.trials.set_index(["cell", "replicate"])
    for cell, model in (("baseline bare_svm", bare_svm()), ("baseline RandomForestClassifier", forest)):
        for replicate in (0, 1):
            train, _, test = arrays(replicate)
            assert done.loc[(cell, replicate), "test_accuracy"] == pytest.approx(model.fit(*train).score(*test))
    for replicate in (0, 1):
        ids = [answer.store.items(done.loc[(c, replicate), "trial"])["ids"].tolist()
               for c in ("level 0", "baseline bare_svm")]  # fmt: skip
        assert ids[0] == ids[1]
    again = dp.run(design, baselines=[bare_svm, RandomForestClassifier(5, random_state=1)], **ask)
    assert list(again.trials["trial"]) == list(answer.trials["trial"]) and set(again.trials["attempts"]) == {1}
    with pytest.raises(ConfigError, match=r"has results but is no part of the study now|was .*local:"):
        dp.run(design, baselines=[bare_svm, RandomForestClassifier(6, random_state=1)], **ask)
    with pytest.raises(ConfigError, match="two are called alike"):
        dp.run(design, baselines=[SVC(), SVC(C=2.0)], **ask)


def test_a_study_s_search_draws_a_baseline_s_settings_as_often_as_a_network_s():
    pytest.importorskip("optuna")
    search = {"lr": {"low": 1e-3, "high": 1e-2, "log": True}, "draws": 4, "replicates": 2}
    study = dp.Study(
        dp.Ladder("creep-cnn").level(head="linear"), data=DATA, controls=False,
        baselines=["rbf-svm", {"name": "random-forest", "min_samples_leaf": 3}],
        tuning=dp.Tuning(search=search, estimands=["best against best"]),
    )  # fmt: skip
    found = planning.tuning_trials(study, {})
    assert {name: [len(trials) for _, trials in drawn] for name, drawn in found.items()} == {
        name: [2] * 4
        for name in ("level 0", "level 1", "baseline rbf-svm", "baseline random-forest:min_samples_leaf=3")
    }
    for params, trials in found["baseline rbf-svm"]:
        made = trials[0].description["baseline"]
        assert made == {"name": "rbf-svm", **{k.rpartition(":")[2]: v for k, v in params.items()}}
        assert not rbf_svm(**{k: v for k, v in made.items() if k != "name"}).space
    for _, trials in found["baseline random-forest:min_samples_leaf=3"]:
        assert trials[0].description["baseline"]["min_samples_leaf"] == 3
