"""Trials that failed beside published numbers: scored at the declared value, complete cases beside it, both said."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from dopant.designs import Factorial
from dopant.papers import preface, terminal, words
from dopant.papers.compare import measured_of, published_of
from dopant.papers.quantum_creep import PAPER
from dopant.papers.quantum_creep.cells import LEVEL_0
from dopant.papers.reproduce import comparison
from dopant.recipe import Recipe
from dopant.study.run import run

ACCURACIES = (0.915, 0.917, 0.92, 0.921)


def answer_of(folder: Path, states: list[tuple[str, str | None, int]], epochs: int = 3):
    """Five or so trials of level 0 on MNIST. states: (status, reason, epochs finished) of each."""
    good = iter(ACCURACIES)
    metrics, trials = [], []
    for r, (status, reason, reached) in enumerate(states):
        last = next(good) if status == "done" else 0.9
        metrics += [
            {"trial": f"t{r}", "cell": LEVEL_0, "replicate": r, "epoch": e, "train_loss": 1 / e,
             "test_accuracy": last - (epochs - e) / 100}
            for e in range(1, reached + 1)
        ]  # fmt: skip
        trials.append({"trial": f"t{r}", "cell": LEVEL_0, "replicate": r, "status": status, "reason": reason,
                       "seconds": 8.0, "n_train": 60000})  # fmt: skip
    columns = ["trial", "cell", "replicate", "epoch", "train_loss", "test_accuracy"]
    failed = sum(s == "failed" for s, *_ in states)
    return SimpleNamespace(
        metrics=pd.DataFrame(metrics, columns=columns), trials=pd.DataFrame(trials), folder=folder, failures=[],
        cells=[SimpleNamespace(name=c) for c in PAPER.counterparts], failure_value=lambda name: {"accuracy": 0.1}[name],
        config=SimpleNamespace(data={"name": "mnist"}, recipe=SimpleNamespace(epochs=epochs)), rows=[],
        counts={"planned": len(states), "done": len(states) - failed, "failed": failed},
    )  # fmt: skip


DONE = ("done", None, 3)
DIVERGED = ("failed", "nan: the loss is not finite", 1)


def test_a_trial_that_diverged_counts_at_the_declared_value_in_the_interval(tmp_path: Path):
    found = comparison(PAPER, "mnist", answer_of(tmp_path, [DONE, DONE, DIVERGED, DONE, DONE]))
    line = found.lines[0]
    series = published_of(PAPER, "mnist", LEVEL_0)
    assert series is not None
    n, at, at_sd = series.distinct, series.curves["test_accuracy"][2], series.curves["test_accuracy_sd"][2]
    for gap, ours in ((line.difference, [*ACCURACIES, 0.1]), (line.complete, ACCURACIES)):
        test = stats.ttest_ind_from_stats(np.mean(ours), np.std(ours, ddof=1), len(ours), at, at_sd, n, equal_var=False)
        assert gap is not None and gap.measured_n == len(ours) and gap.kind == "Welch"
        assert gap.mean == pytest.approx(np.mean(ours) - at)
        # zero is at the end of the interval whose level is 1 - p: the half widths relate as the two t quantiles
        a, b = np.var(ours, ddof=1) / len(ours), at_sd**2 / n
        freedom = (a + b) ** 2 / (a**2 / (len(ours) - 1) + b**2 / (n - 1))
        ratio = stats.t.ppf(0.975, freedom) / stats.t.ppf(1 - test.pvalue / 2, freedom)
        assert gap.high - gap.mean == pytest.approx(abs(gap.mean) * ratio, rel=1e-6)
    assert line.measured is not None and line.measured.curves["train_loss"].shape == (4, 3)


def test_epochs_that_a_failed_trial_finished_count_as_they_were_measured(tmp_path: Path):
    have = measured_of(answer_of(tmp_path, [DONE, DIVERGED]))[LEVEL_0]
    assert have.curves["test_accuracy"][1].tolist() == pytest.approx([0.88, 0.1, 0.1])
    assert have.complete is not None and have.complete.shape == (1, 3)


def test_it_is_said_how_many_of_how_many_failed_and_what_complete_cases_say(tmp_path: Path):
    answer = answer_of(tmp_path, [DONE, DONE, DIVERGED, DONE, DONE])
    found = comparison(PAPER, "mnist", answer)
    said = next(n for n in words.notes(found) if "failed" in n)
    assert said.startswith(
        f"{LEVEL_0}: 1 of 5 trials failed and counted as test accuracy 0.1 from the epoch on that it"
    )
    assert f"complete cases: 91.83±0.28 (4), difference {words.gap_text(found.lines[0].complete)}." in said
    console = Console(width=80, record=True, file=io.StringIO(), highlight=False)
    console.print(terminal.table(found))
    text = console.export_text()
    assert "1 of 5 failed" in text and "…" not in text and max(map(len, text.splitlines())) <= 80
    assert any(said == b.text for b in preface.blocks(PAPER, "mnist", answer))
    cell = json.loads(json.dumps(found.to_json(), allow_nan=False))["cells"][0]
    assert (cell["measured"]["failed"], cell["measured"]["failure_value"]) == (1, 0.1)
    assert cell["complete_cases"]["measured_n"] == 4 and cell["difference"]["measured_n"] == 5
    last = pd.read_csv(found.curves).iloc[-1]
    assert (last["failed"], last["measured_n"], last["complete_n"]) == (1, 5, 4)
    assert last["complete_difference"] == pytest.approx(cell["complete_cases"]["mean"])


def test_a_cell_of_which_every_trial_failed_is_still_shown(tmp_path: Path):
    found = comparison(PAPER, "mnist", answer_of(tmp_path, [("failed", "nan", 0)] * 3))
    line = found.lines[0]
    assert line.measured is not None and line.measured.curves["test_accuracy"].tolist() == [[0.1] * 3] * 3
    assert line.difference is not None and line.difference.measured == pytest.approx(0.1) and line.complete is None
    assert any("3 of 3 trials failed" in n and n.endswith("complete cases: none.") for n in words.notes(found))


def test_a_trial_lost_to_a_crash_is_no_result_and_is_told(tmp_path: Path):
    found = comparison(PAPER, "mnist", answer_of(tmp_path, [DONE, DONE, ("failed", "crashed: killed", 2)]))
    line = found.lines[0]
    assert line.measured is not None and line.measured.replicates == 2 and line.complete is None
    assert any("1 of 3 trials was lost to a crash" in n for n in words.notes(found))


def test_without_failures_nothing_is_added(tmp_path: Path):
    found = comparison(PAPER, "mnist", answer_of(tmp_path, [DONE, DONE]))
    assert found.to_json()["cells"][0]["complete_cases"] is None
    assert not any("failed" in n or "lost" in n for n in words.notes(found))
    assert pd.read_csv(found.curves)["failed"].eq(0).all()


def test_a_failed_trial_counts_here_as_it_counts_in_the_studys_own_effects(tmp_path: Path):
    design = Factorial(
        {"name": "mlp", "hidden": [8]}, {"cell": {"good": {}, "bad": {"head": "linear", "recipe.lr": 1e30}}}
    )
    answer = run(
        design, data={"name": "digits", "limit": 80}, recipe=Recipe(optimizer="sgd", epochs=2, batch=16), replicates=2,
        workers=1, controls=False, out=tmp_path / "s",
    )  # fmt: skip
    assert set(answer.trials["status"]) == {"done", "failed"}
    good, bad = (measured_of(answer)[cell.name] for cell in answer.cells)
    (effect,) = answer.effects.to_dict("records")
    assert effect["failed"] == 2 and bad.failed == 2 and bad.finished == 2
    test = answer.trials[answer.trials["status"] == "done"]["test_accuracy"].mean()
    assert bad.curves[bad.metric][:, -1].mean() - test == pytest.approx(effect["mean"])
    assert f"counted as test accuracy {bad.failure_value:.3g}" in effect["sentence"]
    assert good.failed == 0 and np.isfinite(good.curves[good.metric]).all()
