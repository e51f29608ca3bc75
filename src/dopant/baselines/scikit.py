"""Baselines of scikit-learn: a support vector machine, a forest, boosted trees, a multilayer perceptron.

Each takes its inputs flattened and standardised feature by feature, by means and deviations of the training split
alone, and classes or numbers as targets. Settings that are "validation" are chosen (see `chosen.Chosen`); a study's
`[tuning.search]` draws them instead, as many as for every other arm (the factories' `search`). Costs are said for n
items, f features, one candidate.
"""

from __future__ import annotations

from typing import Any, Literal

from ..errors import ConfigError
from ..registry import baseline
from .chosen import CANDIDATES, Chosen, Facts, Settings

Open = Literal["validation"]
SVM = {"C": {"low": 0.1, "high": 1000.0, "log": True}, "gamma_scale": {"low": 0.05, "high": 5.0, "log": True}}
FOREST = {
    "max_features": {"low": 0.05, "high": 1.0, "log": True},
    "min_samples_leaf": {"low": 1, "high": 10, "log": True},
}
BOOSTING = {
    "learning_rate": {"low": 0.02, "high": 0.4, "log": True},
    "max_leaf_nodes": {"low": 4, "high": 63, "log": True},
    "l2_regularization": {"low": 1e-3, "high": 10.0, "log": True},
}
MLP = {
    "hidden": {"low": 16, "high": 256, "log": True},
    "alpha": {"low": 1e-5, "high": 1.0, "log": True},
    "learning_rate": {"low": 3e-4, "high": 1e-2, "log": True},
}


@baseline("rbf-svm")
def rbf_svm(
    *,
    C: float | Open = "validation",
    gamma_scale: float | Open = "validation",
    epsilon: float = 0.1,
    candidates: int = CANDIDATES,
    limit: int | None = None,
) -> Chosen:
    """A support vector machine with the kernel exp(-gamma |x - y|^2), gamma = gamma_scale / (features x variance).

    C: 0.1 to 1000 (start 1); gamma_scale: 0.05 to 5 (start 1). Ties between classes are broken by the decision function
    (one against the rest), which is the score: the loss of it means little. epsilon: of numbers, the half-width of the
    tube, in standard deviations of the targets.
    Cost: between n^2 f and n^3; tens of thousands of images take hours: say `limit`
    (`dopant inspect` foretells it). Reported: support vectors.
    Source: Cortes and Vapnik 1995; Chang and Lin 2011 (LIBSVM), through scikit-learn.
    """
    _positive("rbf-svm", epsilon=epsilon)

    def make(settings: Settings, facts: Facts) -> Any:
        from sklearn.svm import SVC, SVR

        own = {"C": settings["C"], "gamma": settings["gamma_scale"] / facts.varying, "cache_size": 500}
        if facts.classes:
            return _pipeline(SVC(break_ties=True, **own))
        return _pipeline(_scaled(SVR(epsilon=epsilon, **own), facts.several))

    start = {"C": 1.0, "gamma_scale": 1.0}
    return Chosen("rbf-svm", make, start, {"C": C, "gamma_scale": gamma_scale}, SVM, candidates, limit, growth=2.0)


@baseline("random-forest")
def random_forest(
    *,
    trees: int = 200,
    max_features: float | Open = "validation",
    min_samples_leaf: int | Open = "validation",
    candidates: int = CANDIDATES,
    limit: int | None = None,
) -> Chosen:
    """A forest of decision trees on bootstrap samples, each split among a random part of the features.

    max_features: share of the features, 0.05 to 1 (start 0.1); min_samples_leaf: 1 to 10 (start 1). Scores are the
    logarithms of mean leaf probabilities, none below 1e-12.
    Cost: trees x max_features x n f log n. Reported: trees, nodes. Source: Breiman 2001, through scikit-learn.
    """
    _positive("random-forest", trees=trees)

    def make(settings: Settings, facts: Facts) -> Any:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        kind: Any = RandomForestClassifier if facts.classes else RandomForestRegressor
        return _pipeline(kind(n_estimators=facts.work, random_state=facts.seed, n_jobs=1, **settings))

    given = {"max_features": max_features, "min_samples_leaf": min_samples_leaf}
    return Chosen(
        "random-forest", make, {"max_features": 0.1, "min_samples_leaf": 1}, given, FOREST, candidates, limit, trees
    )


@baseline("gradient-boosting")
def gradient_boosting(
    *,
    rounds: int = 100,
    learning_rate: float | Open = "validation",
    max_leaf_nodes: int | Open = "validation",
    l2_regularization: float | Open = "validation",
    candidates: int = CANDIDATES,
    limit: int | None = None,
) -> Chosen:
    """Boosted trees on histograms of the features, as many rounds as said and no early stop.

    learning_rate: 0.02 to 0.4 (start 0.1); max_leaf_nodes: 4 to 63 (start 31); l2_regularization: 0.001 to 10
    (start 0.001). Several targets: a model for each.
    Cost: rounds x classes x n f, less for few bins. Reported: trees, nodes.
    Source: Friedman 2001; Ke et al. 2017 (LightGBM), through scikit-learn.
    """
    _positive("gradient-boosting", rounds=rounds)

    def make(settings: Settings, facts: Facts) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from sklearn.multioutput import MultiOutputRegressor

        own = {"max_iter": facts.work, "early_stopping": False, "random_state": facts.seed, **settings}
        if facts.classes:
            return _pipeline(HistGradientBoostingClassifier(**own))
        one = HistGradientBoostingRegressor(**own)
        return _pipeline(MultiOutputRegressor(one) if facts.several else one)

    start = {"learning_rate": 0.1, "max_leaf_nodes": 31, "l2_regularization": 1e-3}
    given = {
        "learning_rate": learning_rate, "max_leaf_nodes": max_leaf_nodes, "l2_regularization": l2_regularization
    }  # fmt: skip
    return Chosen("gradient-boosting", make, start, given, BOOSTING, candidates, limit, rounds)


@baseline("mlp-classifier")
def mlp_classifier(
    *,
    hidden: int | Open = "validation",
    layers: int = 1,
    alpha: float | Open = "validation",
    learning_rate: float | Open = "validation",
    max_iter: int = 100,
    candidates: int = CANDIDATES,
    limit: int | None = None,
) -> Chosen:
    """A multilayer perceptron with rectifiers, trained by Adam; of numbers as targets a regressor.

    hidden: units of each of the `layers` hidden layers, 16 to 256 (start 100); alpha: the penalty on squared weights,
    1e-5 to 1 (start 1e-4); learning_rate: 3e-4 to 1e-2 (start 1e-3). max_iter: passes at most; fewer where the training
    loss no longer falls. It is scikit-learn's training, not the study's recipe: a host `mlp` has that.
    Cost: max_iter x n x parameters. Reported: passes of all fits. Source: scikit-learn.
    """
    _positive("mlp-classifier", layers=layers, max_iter=max_iter)

    def make(settings: Settings, facts: Facts) -> Any:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        own = {
            "hidden_layer_sizes": (settings["hidden"],) * layers, "alpha": settings["alpha"],
            "learning_rate_init": settings["learning_rate"], "max_iter": facts.work, "random_state": facts.seed,
        }  # fmt: skip
        if facts.classes:
            return _pipeline(MLPClassifier(**own))
        return _pipeline(MLPRegressor(**own))

    start = {"hidden": 100, "alpha": 1e-4, "learning_rate": 1e-3}
    given = {"hidden": hidden, "alpha": alpha, "learning_rate": learning_rate}
    return Chosen("mlp-classifier", make, start, given, MLP, candidates, limit, max_iter)


for _factory, _space in (
    (rbf_svm, SVM), (random_forest, FOREST), (gradient_boosting, BOOSTING), (mlp_classifier, MLP)
):  # fmt: skip
    _factory.search = _space  # pyright: ignore[reportFunctionMemberAccess]


def _pipeline(last: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), last)


def _scaled(estimator: Any, several: bool) -> Any:
    """One that takes standardised targets, which the tube is told in; a model for each of several."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.preprocessing import StandardScaler

    return TransformedTargetRegressor(
        MultiOutputRegressor(estimator) if several else estimator, transformer=StandardScaler()
    )


def _positive(name: str, **options: Any) -> None:
    wrong = [f"baseline {name!r}: {k} is {v!r}; expected more than 0" for k, v in options.items() if not v > 0]
    if wrong:
        raise ConfigError(wrong)
