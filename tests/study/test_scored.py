"""What a failure scores, and when that is not known."""

import math

import pandas as pd
import pytest

from dopant.designs import Contrast
from dopant.study import verdicts
from dopant.study.scored import failure_value_in


def row(state, phase="main", **metrics):
    return {"state": state, "phase": phase, "metrics": metrics or None}


@pytest.mark.parametrize(
    ("name", "rows", "value"),
    [
        ("accuracy", [row("failed"), row("done", classes=10)], 0.1),
        ("accuracy", [row("failed"), row("done", "tuning", classes=4)], 0.25),  # the same data as the main trials
        ("accuracy", [row("failed"), row("done", loss=1.0)], 0.0),  # finished, and there are no classes
        ("accuracy", [row("failed"), row("running"), row("failed", classes=10)], math.nan),
        ("accuracy", [], math.nan),
        ("mse", [row("failed")], math.inf),  # the same for any number of classes
        ("reward", [row("failed")], 0.0),  # registered by nobody
    ],
)
def test_a_failure_scores_what_the_data_say_and_nothing_before_they_said_it(name, rows, value):
    assert failure_value_in(name, rows) == pytest.approx(value, nan_ok=True)


def test_where_every_trial_failed_the_sentence_says_that_their_score_is_not_known():
    table = pd.DataFrame(
        {"arm": arm, "replicate": r, "value": math.nan, "status": "failed"} for arm in ("old", "new") for r in range(8)
    )
    value = failure_value_in("accuracy", [row("failed")] * 16)
    effects = verdicts.effects(table, [Contrast("new", "new", "old")], metric="test_accuracy", failure_value=value)
    (found,) = effects.to_dict("records")
    assert found["verdict"] == "estimate: cannot tell" and found["failed"] == 16 and found["incomplete"] == 8
    assert "16 trials failed, and what that scores is not known before a trial has finished" in found["sentence"]
    assert "counted as" not in found["sentence"] and math.isnan(found["mean"])
