"""Studies of the task `kernel`: what they find on data made for a kernel and on others, and how they are asked."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

import dopant as dp
from dopant.datasets.source import as_source, load_source
from dopant.errors import ConfigError
from dopant.streams import Streams
from dopant.study.dry import Nowhere
from dopant.study.look import look
from dopant.study.plan import cells, trial
from dopant.study.request import study_of_request
from dopant.tasks.kernel import kernel

HOST = {"name": "kernel-machine", "draws": 18, "C": [0.1, 100.0]}  # fewer than by default, to be quick


def study(data, component="zz-kernel", replicates=10, **more):
    given = {"margin": 0.05, **more}
    return dp.Study(dp.Ladder(given.pop("host", HOST)).level(kernel=component), task="kernel", data=data,
                    replicates=replicates, **given)  # fmt: skip


def run(question, folder, **more):
    return dp.run(question, out=folder, workers=1, progress=None, **more)


def one(component, data="ad-hoc", cell=1, replicate=0, **more):
    """Metrics and items of one trial, without a study's folder."""
    question = study(data, component, controls=False, **more)
    planned = trial(question, cells(question)[cell], replicate, question.recipe, {}, "main")
    return kernel(planned, Streams(question.seed, replicate), Keeps())


class Keeps(Nowhere):
    def __init__(self):
        self.saved, self.logged = [], []

    def save(self, state):
        self.saved.append(state)

    def log(self, epoch, metrics):
        self.logged.append((epoch, metrics))


def test_the_sheets_numbers_the_quantum_kernel_separates_what_a_gaussian_one_does_not():
    quantum = [one("zz-kernel", replicate=r)[0]["test_accuracy"] for r in range(4)]
    gaussian = [one("zz-kernel", cell=0, replicate=r)[0]["test_accuracy"] for r in range(4)]
    assert np.mean(quantum) >= 0.95 and np.mean(gaussian) <= np.mean(quantum) - 0.05


@pytest.fixture(scope="module")
def separated(tmp_path_factory):
    return run(study(load_source("ad-hoc")), tmp_path_factory.mktemp("ad-hoc") / "study")


def test_data_made_for_the_kernel_get_beyond_the_ordinary(separated):
    (verdict,) = separated.verdicts
    assert verdict.startswith("beyond the ordinary: kernel=zz-kernel")
    for control in ("rbf-kernel", "laplacian-kernel", "polynomial-kernel", "linear-kernel", "fourier-kernel"):
        assert f"better than the control kernel={control}" in verdict
    row = separated.effects.iloc[0]
    assert row["estimand"] == "best against best" and not row["untuned"] and row["tier"] == "exact expectation"
    assert row["low"] > 0.05


def test_its_page_says_how_kernels_were_tuned_and_that_items_are_fresh(separated):
    notes = " ".join(separated.notes)
    assert "Every kernel, controls included" in notes and "items of its own" in notes and "untuned" not in notes
    assert "drop-in" not in notes and separated.resplit() is None and separated.fresh_items()
    trials = separated.trials
    assert set(trials["kernel_candidates"]) == {18.0} and set(trials["test_reads"]) == {1.0}
    circuits = trials.loc[trials["level"] == 1].set_index("cell").loc["level 1"]
    assert (circuits["cost_qubits"] == 2).all() and (circuits["cost_two_qubit_gates"] == 8).all()
    support = circuits["kernel_support"].to_numpy()
    assert (circuits["cost_circuit_evaluations"].to_numpy() == 40 * 39 / 2 + 40 * 40 + 40 * support).all()
    ordinary = trials[trials["cell"] == "level 0"]
    assert ordinary["cost_circuit_evaluations"].isna().all()
    assert (ordinary["geometric_difference_rbf"] < 1.001).all()  # it is one of the Gaussian kernels
    assert (circuits["geometric_difference_rbf"] > 1.5).all()
    assert (circuits["model_complexity"] < circuits["model_complexity_rbf"]).all()


def test_a_kept_machine_predicts_what_its_trial_recorded(separated):
    row = separated.trials[separated.trials["cell"] == "level 1"].iloc[3]
    machine = separated.model(row["trial"])
    data = dp.dataset("ad-hoc", replicate=int(row["replicate"]))
    with torch.no_grad():
        scores = machine(data.test.inputs.double())
    assert scores.argmax(1).eq(data.test.targets).double().mean() == pytest.approx(row["test_accuracy"])
    assert scores.argmax(1).tolist() == separated.store.items(row["trial"])["prediction"].tolist()


def test_it_grows_and_what_was_lost_is_run_again_to_the_bit(tmp_path):
    data = load_source("ad-hoc")
    before = run(study(data, replicates=2, controls=["fourier-kernel"]), tmp_path / "study").trials
    with dp.load(tmp_path / "study").store as store:
        shutil.rmtree(tmp_path / "study" / "trials" / before["trial"].iloc[0])
        store.rebuild()
    after = run(study(data, replicates=3, controls=["fourier-kernel"]), tmp_path / "study").trials
    assert len(after) == 9 and (after["status"] == "done").all()
    columns = ["trial", "test_accuracy", "kernel_C", "geometric_difference_rbf"]
    again = after[after["replicate"] < 2][columns].reset_index(drop=True)
    assert again.equals(before[columns].reset_index(drop=True))


def test_more_epochs_are_nothing_to_it():
    question = study("ad-hoc")
    assert {trial(question, c, 0, question.recipe, {}, "main").epochs for c in cells(question)} == {None}


def test_ordinary_data_do_not_get_it(tmp_path):
    (verdict,) = run(
        study(load_source("two-moons"), controls=["linear-kernel"], replicates=6), tmp_path / "study"
    ).verdicts
    assert verdict.startswith("estimate: worse: kernel=zz-kernel")


def test_a_kernel_that_any_smooth_one_replaces_is_explained_by_the_gaussian(tmp_path):
    smooth = {"component": "projected-quantum-kernel", "encoding": "angle"}
    ladder = dp.Ladder(HOST).level(kernel="linear-kernel").level(kernel=smooth)
    data = load_source("two-moons", test_size=150, noise=0.1)  # an object: its trials run here
    question = dp.Study(ladder, task="kernel", data=data, replicates=6, margin=0.05,
                        controls={"kernel": ["rbf-kernel"]})  # fmt: skip
    verdict = run(question, tmp_path / "study").verdicts[1]
    assert verdict.startswith("estimate: explained by kernel=rbf-kernel: kernel=projected-quantum-kernel")


def test_shots_make_a_paired_and_repeatable_machine():
    first, again = (one({"component": "zz-kernel-shots", "shots": 200})[0] for _ in range(2))
    assert {k: v for k, v in first.items() if k != "seconds"} == {k: v for k, v in again.items() if k != "seconds"}
    assert first["test_accuracy"] > 0.9 and first["kernel_clipped"] > 0
    assert (first["cost_tier"], first["cost_shots"]) == ("finite shots", 200)


def test_images_of_several_classes_are_flattened_and_projected():
    host = {**HOST, "pca": 3, "scaling": "angle"}
    metrics, items = one("zz-kernel", {"name": "digits", "limit": 150}, host=host)
    assert metrics["cost_qubits"] == 3 and metrics["resplit"] and metrics["classes"] == 10
    assert 0.1 < metrics["test_accuracy"] < 1 and set(items) == {"ids", "prediction", "accuracy"}
    assert metrics["test_accuracy"] == pytest.approx(float(items["accuracy"].mean()))
    assert one("zz-kernel", {"name": "digits", "limit": 150}, cell=0)[0]["test_accuracy"] > 0.75


def test_a_tuning_trial_leaves_the_test_set_unread():
    question = study("ad-hoc", controls=False)
    planned = trial(question, cells(question)[1], -1, question.recipe, {}, "tuning")
    metrics, items = kernel(planned, Streams(0, -1), Keeps())
    assert items == {} and metrics["test_reads"] == 0 and not any(k.startswith("test_a") for k in metrics)


def test_progress_is_kept_through_the_keeper():
    question = study("ad-hoc", controls=False)
    keeper = Keeps()
    kernel(trial(question, cells(question)[1], 0, question.recipe, {}, "main"), Streams(0, 0), keeper)
    ((epoch, logged),) = keeper.logged
    assert epoch == 1 and set(logged) == {"train_accuracy", "validation_accuracy"}
    assert keeper.saved[0]["model"]["support"].shape[1] == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((torch.rand(30, 2), torch.rand(30)), "the data's targets are values"),
        ((torch.rand(30, 2).index_fill(0, torch.tensor([3]), float("nan")), torch.arange(30) % 2), "NaN or infinite"),
    ],
)
def test_data_that_it_cannot_take_are_refused(data, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        run(study(as_source(data), controls=False, replicates=1), tmp_path / "study")


# --- how it is asked ------------------------------------------------------------------------------------------------


def test_the_command_line_finds_the_host_of_the_task_and_the_task_of_the_host():
    asked = study_of_request(None, data="ad-hoc", swaps=["kernel=zz-kernel:reps=1"], sets=["task=kernel"])
    assert asked.design.host == "kernel-machine" and asked.problems() == []
    asked = study_of_request(None, host="kernel-machine", data="ad-hoc", swaps=["kernel=zz-kernel"])
    assert asked.task == "kernel" and asked.problems() == []
    more = study_of_request(None, swaps=["kernel=angle-kernel"], sets=["host.pca=4", "task=kernel"])
    assert more.design.host == {"name": "kernel-machine", "pca": 4} and more.problems() == []
    plain = study_of_request(None, data="digits", swaps=["head=reupload-linear"])
    assert (plain.design.host, plain.task) == ("creep-cnn", "supervised")


def test_a_study_file_needs_no_host_for_it(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('[study]\ntask = "kernel"\ndata = "ad-hoc"\n[[design.levels]]\nkernel = "zz-kernel"\n')
    asked = dp.Study.load(file)
    assert asked.design.host == "kernel-machine" and asked.problems() == []
    asked.save(tmp_path / "again.toml")
    assert dp.Study.load(tmp_path / "again.toml").design.host == {"name": "kernel-machine"}


def test_what_does_not_go_together_is_told():
    wrong = dp.Study(dp.Ladder("kernel-machine").level(kernel="zz-kernel"), data="ad-hoc")
    assert "study.task: the host 'kernel-machine' is fitted by the task 'kernel', not 'supervised'" in wrong.problems()
    wrong = study("ad-hoc", host="mlp")
    assert "study.host: the task 'kernel' fits the host 'kernel-machine', not 'mlp'" in wrong.problems()
    wrong = study("ad-hoc", tuning=dp.study.config.Tuning(lr=[0.1]))
    assert any("tunes every arm by itself; leave [tuning] out" in p for p in wrong.problems())


def test_inspecting_lists_the_kernels_that_fit():
    (row,) = look(study("ad-hoc"))
    assert row["slot"] == "kernel" and {"zz-kernel", "rbf-kernel", "projected-quantum-kernel"} <= set(row["fits"])
    assert "linear" in row["does_not_fit"]
