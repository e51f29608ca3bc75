from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import dopant as dp
from dopant import registry
from dopant.baselines import run_baseline
from dopant.baselines.estimator import Estimator, build, by_class
from dopant.baselines.logistic_regression import LogisticRegression, logistic_regression
from dopant.errors import ConfigError, TrialFailed, UnknownName
from dopant.streams import Streams
from dopant.study.trial import Trial
from dopant.tasks.supervised import supervised


class Keeper:
    """All that a baseline asks of a keeper, and what the loop asks."""

    folder = epochs = None

    def __init__(self):
        self.asked = 0

    def alive(self):
        self.asked += 1

    def restore(self):
        return None

    def due(self):
        return False

    def save(self, state): ...
    def log(self, epoch, metrics): ...
    def progress(self, **values): ...


def trial(baseline=None, replicate=0, phase="main", **changes) -> Trial:
    description = {
        "format": 1, "task": {"name": "supervised"}, "data": {"name": "digits"}, "host": {"name": "creep-cnn"},
        "swaps": {}, "recipe": dp.Recipe().identity(), "protocol": None, "seed": 0, "replicate": replicate,
        "threads": 1, "files": [], **changes,
    }  # fmt: skip
    if baseline is not None:
        description["baseline"] = baseline
    return Trial(description, "a cell", epochs=1, phase=phase, device="cpu")


def run(baseline, **changes):
    made = trial(baseline, **changes)
    return run_baseline(made, Streams(0, made.replicate), Keeper())


def test_its_items_and_metrics_are_those_of_the_supervised_task_on_the_same_split():
    metrics, items = run({"name": "logistic-regression", "C": 1.0})
    other, theirs = supervised(trial(), Streams(0, 0), Keeper())
    assert torch.equal(items["ids"], theirs["ids"])
    assert {k: (v.shape, v.dtype) for k, v in items.items()} == {k: (v.shape, v.dtype) for k, v in theirs.items()}
    for name in ("n_train", "n_validation", "n_test", "resplit", "classes", "test_reads"):
        assert metrics[name] == other[name], name
    assert {k for k in other if not k.startswith("cost_")} - set(metrics) == set()
    assert metrics["cost_parameters"] == metrics["cost_trainable"] == 650
    assert metrics["test_accuracy"] == items["accuracy"].double().mean() > 0.9
    elsewhere = run({"name": "logistic-regression", "C": 1.0}, replicate=1)[1]
    assert not torch.equal(elsewhere["ids"], items["ids"])


def test_the_same_trial_gives_the_same_numbers_and_a_tuning_one_reads_no_test():
    first, again = (run({"name": "logistic-regression"}) for _ in range(2))
    assert {k: v for k, v in first[0].items() if k != "seconds"} == {
        k: v for k, v in again[0].items() if k != "seconds"
    }
    assert all(torch.equal(first[1][k], again[1][k]) for k in first[1])
    metrics, items = run({"name": "logistic-regression", "C": 0.1}, phase="tuning")
    assert items == {} and metrics["test_reads"] == 0 and "test_accuracy" not in metrics


def digits() -> tuple[np.ndarray, np.ndarray]:
    split = dp.dataset("digits").train
    return split.inputs.numpy(), split.targets.numpy()


def test_at_the_optimum_torch_s_own_gradient_of_the_objective_is_zero():
    x, y = digits()
    model = logistic_regression(C=0.1)
    model.fit(x, y)
    assert model.report()["converged"] and model.report()["C"] == 0.1
    # the penalty is on the weights of the scaled inputs
    wide = torch.from_numpy(x.reshape(len(x), -1)).double()
    scaled = wide - wide.mean(0)
    scale = scaled.square().mean().sqrt()
    scaled = scaled / scale
    weight = (torch.from_numpy(model.weight) * scale).requires_grad_()
    intercept = (torch.from_numpy(model.intercept + wide.mean(0).numpy() @ model.weight)).requires_grad_()
    loss = functional.cross_entropy(scaled @ weight + intercept, torch.from_numpy(y))
    objective = loss + weight.square().sum() / (2 * 0.1 * len(x))
    for gradient in torch.autograd.grad(objective, (weight, intercept)):
        assert gradient.abs().max() < 2e-6
    assert math.isclose(float(objective.detach()), model.report()["objective"], rel_tol=1e-9)
    assert np.allclose(model.scores(x), (scaled @ weight + intercept).detach().numpy())


def test_two_classes_reach_the_optimum_of_the_binary_objective_too():
    x, y = digits()
    few = y < 2
    model = logistic_regression(C=1.0)
    model.fit(x[few], y[few])
    assert model.report()["converged"] and model.parameters == 65
    scores = torch.from_numpy(model.scores(x[few]))
    loss = functional.cross_entropy(scores, torch.from_numpy(y[few])).item()
    penalty = np.square(model.found.weight).sum() / (2 * few.sum())
    assert math.isclose(loss + penalty, model.report()["objective"], rel_tol=1e-9)


def test_too_few_iterations_are_reported_as_not_converged():
    x, y = digits()
    model = logistic_regression(C=1.0, max_iter=3)
    model.fit(x, y)
    assert not model.report()["converged"] and model.report()["gradient_norm"] > 1e-4
    assert model.report()["last_iterations"] == 3


def test_c_is_the_best_on_validation_and_nothing_is_fitted_there():
    x, y = digits()
    train, held = (x[:700], y[:700]), (x[700:], y[700:])
    model = logistic_regression()
    model.fit(*train, validation=held)
    best = max(model.path, key=lambda row: (row[1], -row[2]))
    assert model.report()["C"] == best[0] and len(model.path) >= 4
    fixed = logistic_regression(C=best[0])
    fixed.fit(*train)
    assert np.allclose(model.scores(held[0]), fixed.scores(held[0]), atol=0.02)
    assert math.isclose(best[1], (fixed.scores(held[0]).argmax(1) == held[1]).mean())


def test_without_validation_c_is_chosen_on_a_part_and_refitted_on_all():
    x, y = digits()
    torch.manual_seed(0)
    model = logistic_regression()
    model.fit(x, y)
    fixed = logistic_regression(C=model.report()["C"])
    fixed.fit(x, y)
    assert np.allclose(model.scores(x), fixed.scores(x), atol=0.02)
    assert model.path


def test_no_affine_network_gets_below_its_objective():
    x, y = digits()
    model = logistic_regression(C=1e3, max_iter=20000)
    model.fit(x, y)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.Linear(30, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(300):
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()
    assert loss.item() > model.report()["objective"]


def test_wrong_options_and_targets_are_refused():
    with pytest.raises(ConfigError) as error:
        logistic_regression(C="best", max_iter=0, tol=0.0)
    assert len(error.value.problems) == 3
    with pytest.raises(ConfigError, match="class numbers"):
        LogisticRegression(1.0, 10, 1e-4, False).fit(np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(ConfigError, match="no option 'c'"):
        run({"name": "logistic-regression", "c": 1})
    with pytest.raises(UnknownName, match="did you mean 'logistic-regression'"):
        run({"name": "logistic-regresion"})


@pytest.fixture
def own():
    """Registers baselines of a test's own, and takes them back."""
    names: list[str] = []

    def add(name, factory):
        dp.baseline(name)(factory)
        names.append(name)

    yield add
    for name in names:
        registry.baselines.forget(name)


def test_an_estimator_of_one_s_own_is_a_baseline(own):
    def forest(*, trees: int = 5):
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(trees)

    own("own-forest", forest)
    first, again = (run({"name": "own-forest", "trees": 9})[0] for _ in range(2))
    assert first["test_accuracy"] == again["test_accuracy"] > 0.7 and "cost_parameters" not in first
    assert first["epochs"] == 1


def test_a_failing_fit_a_score_that_is_not_finite_and_what_is_no_baseline_are_told(own):
    class Breaks:
        def fit(self, inputs, targets, validation=None):
            raise RuntimeError("no luck")

        def scores(self, inputs):
            return np.full((len(inputs), 10), np.nan)

    class Nothing(Breaks):
        def fit(self, inputs, targets, validation=None): ...

    own("own-breaks", lambda: Breaks())
    own("own-nothing", lambda: Nothing())
    own("own-number", lambda: 3)
    with pytest.raises(RuntimeError, match="no luck"):
        run({"name": "own-breaks"})
    with pytest.raises(TrialFailed, match="not finite"):
        run({"name": "own-nothing"})
    with pytest.raises(ConfigError, match="gives a int"):
        build("own-number", {})


def test_estimators_with_decisions_or_predictions_alone_score_as_they_predict():
    from sklearn.linear_model import LinearRegression, RidgeClassifier
    from sklearn.svm import SVC

    class Predicts:
        def __init__(self):
            self.ridge = RidgeClassifier()
            self.fit, self.predict = self.ridge.fit, self.ridge.predict

    x, y = digits()
    for estimator in (RidgeClassifier(), SVC(), Predicts()):
        model = Estimator(estimator)
        model.fit(x, y)
        assert (model.scores(x).argmax(1) == estimator.predict(x.reshape(len(x), -1))).mean() > 0.99
    few = y < 2
    model = Estimator(RidgeClassifier())
    model.fit(x[few], y[few])
    assert (model.scores(x[few]).argmax(1) == y[few]).all() and model.parameters == 65
    line = Estimator(LinearRegression())
    line.fit(x, x[:, 0, 0, 3].astype(float))
    assert np.allclose(line.scores(x), x[:, 0, 0, 3], atol=1e-4)


def test_a_class_that_training_never_saw_has_almost_no_probability():
    scores = by_class(np.log([[0.2, 0.8], [0.5, 0.5]]), np.array([0, 2]), 4)
    assert np.allclose(np.exp(scores), [[0.2, 1e-12, 0.8, 1e-12], [0.5, 1e-12, 0.5, 1e-12]])
