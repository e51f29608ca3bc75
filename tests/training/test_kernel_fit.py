"""The fitted machine against scikit-learn's, and how its candidates are counted and chosen."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

import dopant as dp
from dopant.components.kernels.kernel import Kernel
from dopant.errors import ConfigError, TrialFailed
from dopant.training.kernel_fit import fit, plan, positive

IRIS, NAMES = (torch.from_numpy(a) for a in load_iris(return_X_y=True))
ORDER = torch.randperm(150, generator=torch.Generator().manual_seed(0))
TRAIN, VALIDATION = ORDER[:90], ORDER[90:]


def fitted(machine, x=IRIS, y=NAMES, train=TRAIN, validation=VALIDATION):
    machine.double().eval()
    machine.prepare_inputs(x[train])
    x = machine.prepared(x)
    found = fit(machine, x[train], y[train], (x[validation], y[validation]), lambda step: contextlib.nullcontext(),
                lambda: None)  # fmt: skip
    return found, x


def machine_of(kernel=None, classes=3, features=4, **host):
    machine = dp.host("kernel-machine", in_features=features, classes=classes, **host)
    return dp.swap(machine, {"kernel": kernel}, torch.zeros(2, features)) if kernel else machine


def test_candidates_are_as_many_for_every_kernel():
    for offered in (1, 4, 9, 27):
        values = plan(54, offered, 0.01, 1e4)
        assert len(values) == offered and sum(map(len, values)) == 54
        assert all(v[0] == pytest.approx(0.01) and v[-1] == pytest.approx(1e4) for v in values)
    with pytest.raises(ConfigError, match="offers 28 settings, and 54 draws leave fewer than 2"):
        plan(54, 28, 0.01, 1e4)


@pytest.mark.parametrize(("classes", "keep"), [(3, range(150)), (2, range(50, 150))])
def test_the_machine_is_scikit_learns_at_the_chosen_candidate(classes, keep):
    at = [i for i in TRAIN.tolist() if i in keep], [i for i in VALIDATION.tolist() if i in keep]
    y = NAMES if classes == 3 else (NAMES == 2).long()
    machine = machine_of(classes=classes)
    found, x = fitted(machine, y=y, train=torch.tensor(at[0]), validation=torch.tensor(at[1]))
    theirs = SVC(kernel="rbf", gamma=found.chosen.setting["gamma"], C=found.chosen.C)
    theirs = (OneVsRestClassifier(theirs) if classes == 3 else theirs).fit(x[at[0]], y[at[0]])
    scores = machine.scores(x[at[1]])
    decision = theirs.decision_function(x[at[1]])
    np.testing.assert_allclose(scores if classes == 3 else 2 * scores[:, 1], decision, atol=5e-3 * abs(decision).max())
    assert scores.argmax(1).tolist() == theirs.predict(x[at[1]]).tolist()
    with torch.no_grad():
        np.testing.assert_allclose(machine(IRIS[at[1]]), scores, atol=1e-9)
    assert len(machine.support) < len(at[0])


def test_the_best_on_validation_wins_and_the_smaller_hinge_loss_between_equals():
    found, _ = fitted(machine_of())
    assert len(found.path) == 54 and len({c.setting["gamma"] for c in found.path}) == 9
    best = max(found.path, key=lambda c: (c.accuracy, -c.hinge))
    assert found.chosen == best and len({c.accuracy for c in found.path}) > 1


def test_scale_of_a_kernel_does_not_change_the_choice():
    class Scaled(Kernel):
        factor = 1.0

        def forward(self, x, y):
            return self.factor * torch.exp(-(x - y).square().sum(-1))

    class Thousand(Scaled):
        factor = 1000.0

    found = []
    for kind in (Scaled, Thousand):
        machine = machine_of()
        machine.kernel = kind(4)
        result, x = fitted(machine)
        found.append((result.chosen.C, machine.scores(x)))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-6)


def test_what_was_chosen_at_an_end_is_told():
    found, _ = fitted(machine_of({"component": "rbf-kernel", "gamma": [1e-6, 2e-6, 4e-6]}, draws=6, C=[0.01, 0.1]))
    assert found.edges == ["gamma", "C"]
    found, _ = fitted(machine_of({"component": "rbf-kernel", "gamma": 0.5}, draws=2, C=[1.0, 1.0]))
    assert found.edges == []


def test_a_matrix_is_made_positive_by_dropping_negative_eigenvalues():
    matrix = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)  # eigenvalues 3 and -1
    mended, clipped = positive(matrix)
    np.testing.assert_allclose(mended, [[1.5, 1.5], [1.5, 1.5]], atol=1e-12)
    assert clipped == pytest.approx(1 / 3) and positive(torch.eye(2))[1] == 0.0


@pytest.mark.parametrize("scaling", ["none", "standard", "angle"])
def test_inputs_are_scaled_by_the_training_items(scaling):
    machine = machine_of(scaling=scaling).double()
    machine.prepare_inputs(IRIS[TRAIN])
    x = machine.prepared(IRIS[TRAIN])
    wanted = {"none": IRIS[TRAIN].mean(0), "standard": torch.zeros(4)}
    if scaling == "angle":
        np.testing.assert_allclose(x.amin(0), np.zeros(4), atol=1e-12)
        np.testing.assert_allclose(x.amax(0), np.full(4, 2 * np.pi), atol=1e-12)
    else:
        np.testing.assert_allclose(x.mean(0), wanted[scaling], atol=1e-12)


def test_principal_components_are_scikit_learns():
    from sklearn.decomposition import PCA

    machine = machine_of(pca=2).double()
    machine.prepare_inputs(IRIS[TRAIN])
    theirs = PCA(2).fit(IRIS[TRAIN]).transform(IRIS[VALIDATION])
    np.testing.assert_allclose(machine.prepared(IRIS[VALIDATION]).abs(), np.abs(theirs), atol=1e-9)
    with pytest.raises(ConfigError, match="at most 3 principal components"):
        machine_of(features=4, pca=4).double().prepare_inputs(IRIS[:3])


def test_a_constant_input_stays_finite():
    machine = machine_of(scaling="angle").double()
    machine.prepare_inputs(torch.ones(5, 4, dtype=torch.float64))
    assert bool(torch.isfinite(machine.prepared(torch.zeros(2, 4, dtype=torch.float64))).all())


def test_a_kernel_that_is_not_finite_is_a_failed_trial_and_one_class_a_wrong_request():
    class Broken(Kernel):
        def forward(self, x, y):
            return (x * y).sum(-1) * float("nan")

    machine = machine_of()
    machine.kernel = Broken(4)
    with pytest.raises(TrialFailed, match="NaN or infinite"):
        fitted(machine)
    with pytest.raises(ConfigError, match="one class only"):
        fitted(machine_of(), train=torch.arange(50))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"classes": None}, "the data's targets are values"), ({"classes": 1}, "classes is 1"), ({"draws": 0}, "draws"),
     ({"scaling": "angel"}, "did you mean 'angle'"), ({"pca": 9}, "pca is 9, and there are 4"),
     ({"C": [10.0, 1.0]}, "C is")],
)  # fmt: skip
def test_options_of_the_host_that_cannot_be_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        dp.host("kernel-machine", **{"in_features": 4, "classes": 2, **options})
