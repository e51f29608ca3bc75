"""Studies from end to end: run, resume, grow, refuse, fork, load; and trials in the caller's own process."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dopant as dp
import dopant.registry
from dopant import local
from dopant.study import plan as planning
from dopant.study.config import Tuning
from dopant.study.store import Store
from dopant.study.trial import Trial
from dopant.study.worker import work

RECIPE = dp.Recipe(lr=3e-3, batch=64, epochs=2)


def ladder() -> dp.Ladder:
    return dp.Ladder({"name": "creep-cnn", "size": 8}).level(conv1="flipped-quanv").level(head="reupload-linear")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> dp.Answer:
    """A small study, run once by two workers."""
    out = tmp_path_factory.mktemp("study") / "small"
    return dp.run(
        ladder(), data="digits", recipe=RECIPE, replicates=3, controls={"head": ["frozen"]}, out=out, workers=2
    )


def copy_of(answer: dp.Answer, tmp_path):
    shutil.copytree(answer.folder, tmp_path / "copy")
    return tmp_path / "copy"


def numbers(answer: dp.Answer) -> pd.DataFrame:
    columns = ["trial", "cell", "replicate", "test_accuracy", "test_loss", "validation_accuracy"]
    return answer.trials[columns].sort_values("trial").reset_index(drop=True)


def test_every_cell_of_every_replicate_is_done_and_in_the_tables(finished):
    assert finished.counts == {"planned": 12, "pending": 0, "running": 0, "done": 12, "failed": 0}
    assert len(finished.trials) == 12 and finished.trials["test_accuracy"].between(0, 1).all()
    assert len(finished.metrics) == 24 and {"train_loss", "validation_accuracy", "grad_norm_head"} <= set(
        finished.metrics
    )
    assert {"swap", "versus", "mean", "low", "high", "verdict"} <= set(finished.effects)
    assert all(v.startswith(("estimate:", "Estimate:")) or "estimate" in v for v in finished.verdicts)
    for name in ("study.toml", "provenance.json", "report.html", "effects.csv", "trials.csv", "index.sqlite"):
        assert (finished.folder / name).is_file()


def test_an_effect_is_the_mean_of_paired_differences(finished):
    table = finished.trials.pivot(index="replicate", columns="cell", values="test_accuracy")
    row = finished.effects[finished.effects["cell"] == "level 2"].iloc[0]
    assert row["mean"] == pytest.approx((table["level 2"] - table["level 1"]).mean())


def test_cells_of_a_replicate_share_split_start_and_untouched_weights(finished):
    store = finished.store
    ids = {}
    for row in finished.rows:
        ids.setdefault(row["replicate"], []).append(store.items(row["id"])["ids"])
    for replicate, found in ids.items():
        assert all((f == found[0]).all() for f in found), replicate
    assert not (ids[0][0] == ids[1][0]).all()


def test_the_test_set_is_read_once_a_trial_and_reads_are_counted(finished):
    assert (finished.trials["test_reads"] == 1).all()
    assert finished.provenance["test_set_reads"] == 12


def test_per_item_predictions_give_the_trials_accuracy(finished):
    row = finished.trials.iloc[0]
    items = finished.store.items(row["trial"])
    assert items["accuracy"].mean() == pytest.approx(row["test_accuracy"])


def test_a_trained_network_can_be_had_back_and_scores_what_was_reported(finished):
    row = finished.trials[finished.trials["cell"] == "level 2"].iloc[0]
    model = finished.model(row["trial"])
    data = dp.dataset("digits", replicate=int(row["replicate"]))
    with torch.no_grad():
        accuracy = (model(data.test.inputs).argmax(1) == data.test.targets).float().mean()
    assert float(accuracy) == pytest.approx(row["test_accuracy"], abs=1e-6)


def test_a_finished_study_run_again_does_nothing_and_answers_the_same(finished, tmp_path):
    folder = copy_of(finished, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in (folder / "trials").rglob("*") if p.is_file()}
    again = dp.run(ladder(), data="digits", recipe=RECIPE, replicates=3, controls={"head": ["frozen"]}, out=folder)
    assert {p: p.stat().st_mtime_ns for p in (folder / "trials").rglob("*") if p.is_file()} == before
    pd.testing.assert_frame_equal(numbers(again), numbers(finished))


def test_growing_in_replicates_level_and_epochs_keeps_what_is_there(finished, tmp_path):
    folder = copy_of(finished, tmp_path)
    more = dp.run(
        ladder().level(conv2="flipped-quanv"), data="digits", recipe=RECIPE, replicates=4,
        controls={"head": ["frozen"]}, out=folder, workers=2,
    )  # fmt: skip
    assert len(more.trials) == 20
    old = numbers(finished).set_index("trial")["test_accuracy"]
    assert more.trials.set_index("trial")["test_accuracy"][old.index].equals(old)
    longer = dp.run(
        ladder().level(conv2="flipped-quanv"), data="digits", recipe=RECIPE.model_copy(update={"epochs": 3}),
        replicates=4, controls={"head": ["frozen"]}, out=folder, workers=2,
    )  # fmt: skip
    assert longer.metrics.groupby("trial")["epoch"].max().eq(3).all()
    # Continued, not begun again: the first two epochs are the old ones.
    early = longer.metrics[longer.metrics["epoch"] <= 2].set_index(["trial", "epoch"])["train_loss"]
    first = finished.metrics.set_index(["trial", "epoch"])["train_loss"]
    assert early[first.index].equals(first)
    fresh = dp.run(
        ladder(), data="digits", recipe=RECIPE.model_copy(update={"epochs": 3}), replicates=1, controls=False,
        out=tmp_path / "fresh", workers=1,
    )  # fmt: skip
    a = fresh.trials.set_index("trial")["test_loss"]
    assert longer.trials.set_index("trial")["test_loss"][a.index].equals(a)


def test_a_changed_trial_is_refused_with_the_difference_and_fork_keeps_the_rest(finished, tmp_path):
    folder = copy_of(finished, tmp_path)
    changed = (
        dp.Ladder({"name": "creep-cnn", "size": 8})
        .level(conv1="flipped-quanv")
        .level(head={"component": "reupload-linear", "reps": 2})
    )
    with pytest.raises(dp.ConfigError, match=r"reps.*was None, is now 2[\s\S]*--fork"):
        dp.run(changed, data="digits", recipe=RECIPE, replicates=3, controls=False, out=folder)
    fork = dp.run(
        changed, data="digits", recipe=RECIPE, replicates=3, controls=False, out=folder, fork="other", workers=2
    )
    assert fork.folder == tmp_path / "other" and len(fork.trials) == 9
    kept = numbers(finished).set_index("trial")["test_loss"]
    shared = fork.trials.set_index("trial")["test_loss"]
    assert len(set(kept.index) & set(shared.index)) == 6  # levels 0 and 1 are the same trials


def test_loading_a_study_gives_the_same_answer_without_running(finished):
    again = dp.load(finished.folder)
    pd.testing.assert_frame_equal(again.effects, finished.effects)
    assert again.verdicts == finished.verdicts
    with pytest.raises(dp.StoreError):
        dp.load(finished.folder / "trials")


def test_doctor_rebuilds_a_lost_index_from_the_trial_folders(finished, tmp_path):
    folder = copy_of(finished, tmp_path)
    for path in folder.glob("index.sqlite*"):
        path.unlink()
    result = subprocess.run([sys.executable, "-m", "dopant", "doctor", str(folder)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    pd.testing.assert_frame_equal(numbers(dp.load(folder)), numbers(finished))


class Tiny(nn.Module):
    """A host that exists only in this process."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(64, 12)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(torch.tanh(self.body(x.flatten(1)))))


def test_a_host_of_this_process_runs_here_and_resumes(tmp_path):
    design = dp.Ladder(Tiny).level(head="bottleneck-mlp")
    answer = dp.run(design, data="digits", recipe=RECIPE, replicates=2, controls=False, out=tmp_path / "s")
    assert answer.counts["done"] == 4
    again = dp.run(design, data="digits", recipe=RECIPE, replicates=3, controls=False, out=tmp_path / "s")
    assert again.counts["done"] == 6
    old = answer.trials.set_index("trial")["test_loss"]
    assert again.trials.set_index("trial")["test_loss"][old.index].equals(old)
    assert isinstance(again.model(again.trials["trial"][0], host=Tiny), Tiny)


def test_a_ready_module_is_one_starting_point_and_the_notes_say_so(tmp_path):
    torch.manual_seed(0)
    answer = dp.run(
        dp.Ladder(Tiny()).level(head="bottleneck-mlp"), data="digits", recipe=RECIPE, replicates=1, controls=False,
        out=tmp_path / "s",
    )  # fmt: skip
    assert any("ready-made" in note for note in answer.notes)


def test_ones_own_loop_gets_model_streams_log_and_folder(tmp_path):
    def train(model, streams, log, folder, data):
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for epoch in range(1, 3):
            order = torch.randperm(len(data.train), generator=streams.generator("order", epoch))
            for indices in order.split(128):
                inputs, targets = data.train.batch(indices)
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs), targets)
                loss.backward()
                optimizer.step()
            log(epoch, train_loss=loss.item())
        (folder / "mine.txt").write_text("kept")
        right = model.eval()(data.test.inputs).argmax(1) == data.test.targets
        return {"accuracy": right.float().mean().item()}, {"accuracy": right.float()}

    answer = dp.run(
        dp.Ladder(Tiny).level(head="bottleneck-mlp"), data="digits", train=train, replicates=2, controls=False,
        metric="accuracy", out=tmp_path / "s",
    )  # fmt: skip
    assert answer.trials["accuracy"].between(0.2, 1).all()
    assert len(answer.metrics) == 8 and answer.effects.iloc[0]["metric"] == "accuracy"
    assert len(list((tmp_path / "s").glob("trials/*/work/mine.txt"))) == 4


ONCE = '''
import torch
import dopant as dp


@dp.task("centroids", metric="accuracy", networks=False)
def centroids(trial, streams, keeper):
    """Fit once, no epochs: nearest class mean, on `share` of the training data."""
    from dopant.tasks.build import build_data

    data = build_data(trial.description, streams)
    x, y = data.train.inputs.flatten(1), data.train.targets
    scale = trial.description["task"].get("scale", 1.0)
    means = torch.stack([x[y == c].mean(0) for c in range(10)])
    guess = torch.cdist(data.test.inputs.flatten(1) * scale, means).argmin(1)
    right = (guess == data.test.targets).float()
    return {"test_accuracy": right.mean().item()}, {"accuracy": right}
'''


def test_a_task_of_ones_own_that_fits_once_needs_one_registration(tmp_path):
    (tmp_path / "once.py").write_text(ONCE)
    (tmp_path / "study.toml").write_text(
        '[study]\nname = "once"\ntask = "centroids"\ndata = "digits"\nhost = "mlp"\nreplicates = 3\n'
        'controls = false\n[design]\nkind = "ladder"\nlevels = []\n'
    )
    result = subprocess.run(
        [sys.executable, "-m", "dopant", "run", "study.toml", "--with", "once.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    answer = dp.load(tmp_path / "runs" / "once")
    assert len(answer.trials) == 3 and (answer.trials["test_accuracy"] > 0.8).all()


def test_a_diverging_arm_is_a_failed_trial_scored_at_chance_and_counted(tmp_path):
    (tmp_path / "burst.py").write_text(
        "import torch\nfrom torch import nn\nimport dopant as dp\n\n"
        "class Burst(nn.Module):\n    def __init__(self, old):\n        super().__init__()\n"
        "        self.linear = nn.Linear(old.in_features, old.out_features)\n        self.calls = 0\n"
        "    def forward(self, x):\n        y = self.linear(x)\n"
        "        return y / 0 if self.training and x.shape[0] == 64 else y\n\n"
        "@dp.component('burst', fills=nn.Linear)\ndef burst(old, signature):\n    'Diverges.'\n    return Burst(old)\n"
    )
    design = dp.Ladder({"name": "creep-cnn", "size": 8}).level(head="burst")
    answer = dp.run(
        design, data="digits", recipe=RECIPE, replicates=2, controls=False, out=tmp_path / "s", workers=1,
        with_files=[tmp_path / "burst.py"],
    )  # fmt: skip
    assert answer.counts["failed"] == 2 and answer.counts["done"] == 2
    assert set(answer.trials.loc[answer.trials["status"] == "failed", "reason"]) == {"not finite"}
    effect = answer.effects.iloc[0]
    host = answer.trials.loc[answer.trials["status"] == "done", "test_accuracy"].mean()
    assert effect["failed"] == 2 and effect["mean"] == pytest.approx(0.1 - host)


def test_a_study_grows_by_a_component_of_a_new_file_but_not_by_a_changed_one(tmp_path):
    def layer(name, slope):
        (tmp_path / f"{name}.py").write_text(
            "from torch import nn\nimport dopant as dp\n\n"
            f"@dp.component('{name}', fills=nn.Linear)\ndef make(old, signature):\n    'A line.'\n"
            f"    return nn.Sequential(nn.Linear(old.in_features, old.out_features), nn.LeakyReLU({slope}))\n"
        )
        return str(tmp_path / f"{name}.py")

    def go(*levels, files):
        swaps = "".join(f"[[design.levels]]\nhead = '{name}'\n" for name in levels)
        (tmp_path / "study.toml").write_text(
            "[study]\ndata = 'digits'\nhost = { name = 'mlp', size = 8, hidden = [8] }\n"
            "replicates = 1\ncontrols = false\n"
            f"[recipe]\nepochs = 1\n[design]\nkind = 'ladder'\n{swaps}"
        )
        withs = [part for file in files for part in ("--with", file)]
        return subprocess.run(
            [sys.executable, "-m", "dopant", "run", "study.toml", "--out", "s", "--workers", "1", *withs],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip

    first, second = layer("first_layer", 0.1), layer("second_layer", 0.2)
    assert go("first_layer", files=[first]).returncode == 0
    grown = go("first_layer", "second_layer", files=[first, second])
    assert grown.returncode == 0 and "1 to run" in grown.stdout, grown.stdout + grown.stderr
    layer("first_layer", 0.3)
    changed = go("first_layer", "second_layer", files=[first, second])
    assert changed.returncode == 2 and "files.first_layer.py" in changed.stderr, changed.stdout + changed.stderr


def test_tuning_gives_every_arm_its_best_rate_and_reports_fresh_replicates(tmp_path):
    answer = dp.run(
        dp.Ladder({"name": "creep-cnn", "size": 8}).level(conv1="flipped-quanv"), data="digits", recipe=RECIPE,
        replicates=2, controls=False, tuning=Tuning(lr=[1e-5, 3e-3], replicates=1), out=tmp_path / "s", workers=2,
    )  # fmt: skip
    assert len(answer.tuning) == 4 and "test_accuracy" not in answer.tuning
    assert set(answer.trials["lr"]) == {3e-3} and not answer.effects["untuned"].any()


def test_other_data_under_the_same_name_are_refused(tmp_path):
    digits = dp.dataset("digits").train

    def write(offset):
        np.savez(tmp_path / "mine.npz", x=digits.inputs.numpy() + offset, y=digits.targets.numpy())

    def go(fork=None):
        return dp.run(
            dp.Ladder({"name": "creep-cnn", "size": 8}).level(head="bottleneck-mlp"), replicates=1, controls=False,
            fork=fork,
            data={"name": "npz", "path": str(tmp_path / "mine.npz")}, recipe=dp.Recipe(epochs=1), out=tmp_path / "s",
            workers=1,
        )  # fmt: skip

    write(0)
    assert go().counts["done"] == 2
    write(1)
    for fork in (None, "beside"):
        with pytest.raises(dp.ConfigError, match="data have changed"):
            go(fork)


def test_epochs_can_grow_but_not_shrink(finished, tmp_path):
    folder = copy_of(finished, tmp_path)
    with pytest.raises(dp.ConfigError, match="not shortened"):
        dp.run(ladder(), data="digits", recipe=RECIPE.model_copy(update={"epochs": 1}), replicates=3, out=folder)


def test_a_study_file_cannot_name_code_and_neither_can_somebodys_folder(tmp_path, finished):
    canary = tmp_path / "canary"
    text = f"[study]\ndata = 'digits'\nhost = {{ name = 'subprocess:getoutput', cmd = 'touch {canary}' }}\n"
    (tmp_path / "evil.toml").write_text(text + "[design]\nlevels = [{ head = 'bottleneck-mlp' }]\n")
    for command in ("run", "inspect"):
        result = subprocess.run(
            [sys.executable, "-m", "dopant", command, "evil.toml"], cwd=tmp_path, capture_output=True, text=True
        )
        assert result.returncode == 2 and "names code" in result.stderr, result.stdout + result.stderr
    with pytest.raises(dp.ConfigError, match="names code"):
        dp.Study.load(tmp_path / "evil.toml")
    # A pending trial planted in a study's folder is not run either.
    folder = copy_of(finished, tmp_path)
    planted = Trial.from_json(finished.store.trials()[0].to_json())
    planted.description["host"] = {"name": "subprocess:getoutput", "cmd": f"touch {canary}"}
    with Store.open(folder) as store:
        store.add([planted])
        with pytest.raises(dp.ConfigError, match="names code"):
            work(store)
    assert not canary.exists()


def test_a_host_by_reference_runs_in_workers_and_a_changed_file_is_refused(tmp_path):
    def write(width):
        (tmp_path / "my_net.py").write_text(
            "from torch import nn\n\n\ndef Net():\n"
            f"    return nn.Sequential(nn.Flatten(), nn.Linear(64, {width}), nn.Tanh(), nn.Linear({width}, 10))\n"
        )

    def go(*more):  # as the installed program begins: without the working directory on the path
        return subprocess.run(
            [sys.executable, "-P", "-c", "from dopant.cli import main; main()",
             "run", "--host", "my_net:Net", "--swap", "3=bottleneck-mlp", "--quick",
             "--no-controls", "--out", "s", *more], cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip

    write(12)
    first = go()
    assert first.returncode == 0, first.stdout + first.stderr
    assert "nothing to do" in go().stdout
    write(13)
    changed = go("--replicates", "3")
    assert changed.returncode == 2 and "my_net.py" in changed.stderr


def test_a_module_that_is_nowhere_is_told_with_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    dopant.registry.allow("no_such_net:Net")
    with pytest.raises(dp.ConfigError, match="PYTHONPATH and in the working directory"):
        dopant.registry.resolve_callable("no_such_net:Net")


def test_closures_and_partials_are_told_apart():
    def net(width):
        return lambda: nn.Linear(64, width)

    assert local.fingerprint(net(8)) != local.fingerprint(net(9))
    one, other = (lambda: 1), (lambda: 2)  # the same line of source
    assert local.fingerprint(one) != local.fingerprint(other)
    sizes = [(nn.Linear, 3, 4), (nn.Linear, 3, 5), (nn.Bilinear, 3, 4)]
    partials = [functools.partial(*size) for size in sizes]
    assert len({local.fingerprint(p) for p in partials}) == 3
    assert local.fingerprint(net(8)) == local.fingerprint(net(8))


def test_a_control_that_does_not_fit_is_left_out_and_says_why(tmp_path):
    design = dp.Ladder({"name": "creep-cnn", "size": 8}).level(conv1="flipped-quanv")
    answer = dp.run(
        design, data="digits", recipe=dp.Recipe(epochs=1), replicates=1, controls=["psd-conv", "linear-residual"],
        out=tmp_path / "s", workers=1,
    )  # fmt: skip
    cells = {cell.control for cell in answer.cells}
    assert "psd-conv" in cells
    if "linear-residual" not in cells:
        assert any("linear-residual" in sentence for sentence in answer.effects["sentence"])
    refused = dp.run(
        design, data="digits", recipe=dp.Recipe(epochs=1), replicates=1, controls=["reupload-linear"],
        out=tmp_path / "t", workers=1,
    )  # fmt: skip
    assert len(refused.trials) == 2 and "reupload-linear" in refused.effects["sentence"].iloc[0]


def test_trials_that_never_began_do_not_stand_in_the_way_of_a_change(tmp_path):
    study = dp.Study(ladder(), data="digits", recipe=RECIPE, replicates=1, controls=False, name="s")
    with Store.create(tmp_path / "s") as store:
        store.add(planning.plan(study, []))
    study.save(tmp_path / "s" / "study.toml")
    other = dp.Ladder({"name": "creep-cnn", "size": 8}).level(conv1="flipped-quanv")
    answer = dp.run(other, data="digits", recipe=dp.Recipe(epochs=1, lr=1e-2), replicates=1, controls=False,
                    out=tmp_path / "s", workers=1)  # fmt: skip
    assert answer.counts["planned"] == answer.counts["done"] == 2


def test_a_metric_that_nobody_measures_is_refused_before_the_run():
    study = dp.Study(ladder(), data="digits", metric="mae")
    assert any("not measured" in p for p in study.problems())
    assert not dp.Study(ladder(), data="digits", metric="mae", recipe=dp.Recipe(metrics=["accuracy", "mae"])).problems()


def test_a_network_that_diverges_in_its_last_step_has_failed(tmp_path):
    answer = dp.run(
        ladder(), data="digits", recipe=dp.Recipe(epochs=1, lr=1e30, batch=2000), replicates=1, controls=False,
        out=tmp_path / "s", workers=1,
    )  # fmt: skip
    assert answer.counts["failed"] == 3 and set(answer.trials["reason"]) == {"not finite"}


def test_reads_of_the_test_set_add_up_over_growth(tmp_path):
    design = dp.Ladder({"name": "creep-cnn", "size": 8}).level(conv1="flipped-quanv")
    for epochs in (1, 2):
        answer = dp.run(
            design, data="digits", recipe=dp.Recipe(epochs=epochs), replicates=1, controls=False, out=tmp_path / "s",
            workers=1,
        )  # fmt: skip
    assert answer.provenance["test_set_reads"] == 4 and (answer.trials["test_reads"] == 2).all()


def test_complex_parameters_stay_complex_in_double_precision(tmp_path):
    design = dp.Ladder({"name": "creep-cnn", "size": 8}).level(
        head={"component": "reupload-linear", "parameters": "complex", "reps": 2}
    )
    answer = dp.run(
        design, data="digits", recipe=dp.Recipe(epochs=1, precision="float64"), replicates=1, controls=False,
        out=tmp_path / "s", workers=1,
    )  # fmt: skip
    model = answer.model(answer.trials.loc[answer.trials["cell"] == "level 1", "trial"].iloc[0])
    assert model.head.angles.dtype == torch.complex128 and model.head.angles.imag.abs().max() > 0


def test_importing_dopant_loads_neither_torch_nor_pandas():
    code = "import sys, dopant; print([m for m in ('torch', 'pandas', 'numpy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_can_be_had():
    assert all(getattr(dp, name) is not None for name in dp.__all__)


@pytest.mark.long
def test_the_published_levels_0_and_1_reach_their_accuracy_on_all_of_mnist(data_folder, tmp_path):
    answer = dp.run(
        dp.Ladder("creep-cnn").level(conv1="flipped-quanv", conv2="flipped-quanv"), data="mnist",
        recipe=dp.Recipe(lr=3e-4, batch=200, epochs=1), replicates=1, controls=False, protocol="published",
        out=tmp_path / "s",
    )  # fmt: skip
    accuracy = answer.trials.set_index("cell")["test_accuracy"]
    assert answer.trials["n_train"].eq(60_000).all()
    assert accuracy["level 0"] == pytest.approx(0.916, abs=0.006)
    assert accuracy["level 1"] == pytest.approx(0.896, abs=0.01)


def test_provenance_names_versions_platform_command_and_data(finished):
    record = json.loads((finished.folder / "provenance.json").read_text())
    assert record["versions"]["torch"] and record["platform"] and record["data"]["classes"] == 10
    assert record["starts"][0]["threads_per_trial"] == 1


def test_store_rows_and_counts_agree(finished):
    counts = Store.open(finished.folder).counts()
    assert counts["planned"] == counts["pending"] + counts["running"] + counts["done"] + counts["failed"]
