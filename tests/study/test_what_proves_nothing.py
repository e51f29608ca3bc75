"""What looks like a proof and is none: ablations alone, failures that are alike, controls of another size."""

import numpy as np
import pandas as pd
import pytest

import dopant as dp
from dopant.designs import Contrast
from dopant.designs.base import controls_of
from dopant.errors import DoesNotFit
from dopant.quantum import templates
from dopant.study import verdicts
from dopant.study.plan import cells, contrasts, unshared
from dopant.study.run import check
from dopant.study.scored import higher_is_better_of


def table(n=12, **means):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"arm": arm, "replicate": r, "value": mean + rng.normal(0, 0.002), "status": "done"}
            for arm, mean in means.items()
            for r in range(n)
        ]
    )


def judged(data, *contrasts, **more):
    found = verdicts.effects(data, contrasts, metric="test_accuracy", failure_value=0.1, margin=0.02, **more)
    return found[found["role"] == "level"].iloc[0]


def test_ablations_alone_explain_but_prove_nothing_ordinary_wrong():
    contrast = Contrast("new", "new", "old", ("less", "plain"))
    data = table(new=0.9, old=0.8, less=0.8, plain=0.8)
    kinds = {"less": "ablation", "plain": "ablation"}
    assert judged(data, contrast, kinds=kinds)["verdict"] == (
        "cannot tell: better than the level below, but only ablations stood beside it, and no ordinary module"
    )
    assert judged(data, contrast, kinds={**kinds, "plain": "same capacity"})["verdict"] == "beyond the ordinary"
    same = table(new=0.9, old=0.8, less=0.9, plain=0.8)
    assert judged(same, contrast, kinds=kinds)["verdict"] == "explained by less"


def test_two_failures_are_alike_and_no_equivalence():
    data = table(20, new=0.84, old=0.80)
    data.loc[data["replicate"] < 12, ["status", "value"]] = ["failed", np.nan]
    row = judged(data, Contrast("new", "new", "old"))
    assert not row["equivalence"] and np.isnan(row["p_equivalence"]) and "no difference" not in row["verdict"]
    lost = data.assign(status="failed", value=np.nan)
    assert "no difference" not in judged(lost, Contrast("new", "new", "old"))["verdict"]


def test_a_constant_difference_of_scores_in_single_precision_has_no_spread():
    old = np.array([0.9, 0.85, 0.95])
    scores = {"old": old, "new": old + 1 / 360, "control": old}
    data = pd.DataFrame(
        [
            {"arm": arm, "replicate": r, "value": float(np.float32(value)), "status": "done"}
            for arm, values in scores.items()
            for r, value in enumerate(values)
        ]
    )
    row = judged(data, Contrast("new", "new", "old", ("control",)))
    assert np.isnan(row["low"]) and row["verdict"].startswith("estimate: cannot tell")


@pytest.mark.parametrize("name", ["MSE", "Loss", "Test Loss", "Error rate", "val_MAE", "Perplexity", "brier"])
def test_a_metric_that_is_better_when_lower_is_known_whatever_its_capitals(name):
    assert not higher_is_better_of(name)


def test_a_component_is_no_control_of_itself_but_with_other_options_it_may_be():
    ((_, _, problem),) = controls_of({"head": {"component": "low-rank"}}, ["low-rank"])
    assert "itself" in problem
    ((_, _, problem),) = controls_of({"head": {"component": "low-rank", "rank": 2}}, ["low-rank"])
    assert problem is None


def test_a_variant_does_not_share_a_control_that_was_matched_to_another_count():
    ladder = dp.Ladder({"name": "creep-cnn", "size": 8}).level(head={"component": "low-rank", "rank": 1})
    ladder = ladder.variant(1, "wide", head={"component": "low-rank", "rank": 8})
    ladder = ladder.variant(1, "the same", head={"component": "low-rank", "rank": 1})
    study = dp.Study(ladder, data="digits", controls=["bottleneck-mlp"])
    study = study.with_(unbuildable=check(study)[1])
    control = "level 1, head=bottleneck-mlp"
    assert control in {cell.name for cell in cells(study)}
    found = {c.swap: c for c in contrasts(study) if c.role in ("level", "variant")}
    assert found["wide"].controls == () and "trainable numbers" in found["wide"].missing_controls[0]
    assert found["the same"].controls == (control,)
    assert unshared("level 1, wide", control) in study.unbuildable


def test_amplitudes_of_forty_qubits_are_refused_at_once():
    with pytest.raises(DoesNotFit, match="40 qubits have 2\\^40 amplitudes"):
        templates.amplitude_encoding(40)


def test_an_arm_whose_rate_the_design_sets_is_not_at_its_best_beside_one_that_chose_it():
    from dopant.study.estimands import contrasts_of
    from dopant.study.search import BEST

    design = dp.Factorial("mlp", {"net": {"old": {}, "new": {"head": "low-rank", "recipe.lr": 1e-4},
                                          "free": {"head": "low-rank"}}})  # fmt: skip
    search = {"lr": {"low": 1e-3, "high": 1e-1, "log": True}, "weight_decay": [0.0, 1e-4], "draws": 2}
    study = dp.Study(design, data="digits", controls=False, tuning=dp.Tuning(search=search, replicates=1))
    found = contrasts_of(study, contrasts(study), cells(study), BEST)
    assert [c.swap for c in found] == ["free"]
