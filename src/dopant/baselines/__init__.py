"""Whole other models on the same task: what the network and all its swaps have to be compared with.

A baseline is a factory registered by name, `@dp.baseline("my-model")`, that takes options and returns

    fit(inputs, targets, validation=None)    # NumPy: (items, …), (items,) or (items, …); validation: such a pair
    scores(inputs) -> (items, classes)       # column k is class k's, as logits; for regression as the targets

or an estimator with scikit-learn's `fit` and `predict_proba`, `decision_function` or `predict`. From Python,
`dp.run(…, baselines=[…])` also takes such an estimator (each trial fits a copy of it) or a factory itself. Ours that
have settings choose these by validation, or leave them to a study's search (`chosen`). A baseline may have `report()`
(numbers by name, recorded as `baseline_NAME`; `iterations` counts full passes over the training split) and `parameters`
(how many numbers it learned). Its random numbers are those of the default generators of torch, NumPy and `random`,
which are seeded from the replicate's stream `baseline`.
"""

from .estimator import Baseline as Baseline
from .run import run_baseline as run_baseline
