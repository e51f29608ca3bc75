"""The paper's folder: cells, published weights, the page; and one smoke run of the command."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from dopant import cli, listing, registry
from dopant.components.quantum.reupload_linear import ReuploadLinear
from dopant.designs import Factorial, Ladder
from dopant.errors import ConfigError, UnknownName
from dopant.papers import preface, recording, terminal, words
from dopant.papers.compare import load_published
from dopant.papers.quantum_creep import PAPER, page, record, weights
from dopant.papers.quantum_creep.cells import EQUINOX, LEVEL_0, LEVEL_1, LEVEL_2, REAL, cells
from dopant.papers.quantum_creep.picture import draw
from dopant.papers.reproduce import comparison, reproduce, sized
from dopant.recipe import Recipe
from dopant.study.config import Study
from dopant.study.report import page as report_page
from dopant.study.report.preface import Block
from dopant.study.report.tables import Entry, Header, Table
from dopant.study.results import StudyAnswer
from dopant.study.run import run
from dopant.study.store import Store

PUBLISHED = load_published(PAPER.published_file)


def equinox_file(path: Path, *arrays: np.ndarray) -> Path:
    with path.open("wb") as handle:
        for array in (np.array(7), *arrays):  # settings come as numbers without an axis
            np.save(handle, array)
    return path


def layers(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(size=shape).astype("float32") for shape in shapes]


def test_the_cells_are_the_published_ones_each_with_its_own_recipe():
    found = cells("cifar10")
    assert list(found) == [LEVEL_0, LEVEL_1, LEVEL_2, REAL, EQUINOX] == list(PAPER.counterparts)
    assert found[LEVEL_0] == {}
    assert {spec["parameters"] for spec in found[LEVEL_2].values()} == {"complex"}
    assert found[LEVEL_2]["head"] | {"parameters": "real"} == found[EQUINOX]["head"] == found[REAL]["head"]
    assert (found[EQUINOX]["recipe.lr"], found[EQUINOX]["recipe.batch"]) == (5e-3, 500)
    assert cells("mnist")[EQUINOX]["recipe.batch"] == 1000


def test_unknown_papers_and_data_are_told_the_nearest():
    with pytest.raises(UnknownName, match="quantum-creep"):
        registry.papers.get("quantum-crep")
    with pytest.raises(UnknownName, match="fashion-mnist"):
        PAPER.check_data("fashionmnist")


def test_a_published_file_becomes_the_network_that_its_shapes_say(tmp_path: Path):
    arrays = layers((4, 1, 15), (4, 1, 1), (3, 4, 15), (3, 1, 1), (2, 4**3 - 1), (5,))
    model = weights.load_equinox(equinox_file(tmp_path / "x.eqx", *arrays), size=8)
    head = model.get_submodule("head")
    assert isinstance(head, ReuploadLinear) and (head.qubits, head.reps, head.in_features) == (3, 2, 48)
    assert weights.level_of(model) == 2
    assert torch.equal(head.angles, torch.from_numpy(arrays[4]))
    # the convolution by its definition: the state's outer product, cropped, as kernel
    x = torch.randn(2, 1, 8, 8)
    state = torch.linalg.matrix_exp(1j * _pauli_sum(arrays[0][1, 0]))[:, 0]
    kernel = torch.outer(state.conj(), state).real[:3, :3].float()
    expected = torch.nn.functional.conv2d(x, kernel[None, None]) + float(arrays[1].flatten()[1])
    assert torch.allclose(model.get_submodule("conv1")(x)[:, 1:2], expected, atol=1e-5)


def _pauli_sum(angles: np.ndarray) -> torch.Tensor:
    x, y = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0, -1j], [1j, 0]])
    single = [torch.eye(2), x, y, torch.diag(torch.tensor([1, -1]))]
    strings = [torch.kron(a.to(torch.complex128), b.to(torch.complex128)) for a in single for b in single][1:]
    return sum(float(angle) * string for angle, string in zip(angles, strings, strict=True))


def test_ordinary_layers_are_read_too(tmp_path: Path):
    arrays = layers((4, 3, 3, 3), (4, 1, 1), (2, 4, 3, 3), (2, 1, 1), (5, 32), (5,))
    model = weights.load_equinox(equinox_file(tmp_path / "x.eqx", *arrays), size=8)
    assert weights.level_of(model) == 0
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 5)
    assert torch.equal(model.get_parameter("head.weight"), torch.from_numpy(arrays[4]))


@pytest.mark.parametrize(
    "shapes",
    [
        [(4, 1, 15), (4,)],
        [(4, 1, 14), (4,), (3, 4, 15), (3,), (2, 63), (5,)],
        [(4, 1, 15), (4,), (3, 5, 15), (3,), (2, 63), (5,)],
        [(4, 1, 15), (4,), (3, 4, 15), (3,), (2, 15), (5,)],
    ],
)
def test_files_whose_shapes_do_not_fit_are_refused_with_the_shapes(tmp_path: Path, shapes: list[tuple[int, ...]]):
    with pytest.raises(ConfigError, match="holds arrays of the shapes"):
        weights.load_equinox(equinox_file(tmp_path / "x.eqx", *layers(*shapes)), size=8)


def test_what_is_no_array_file_is_refused_and_nothing_is_unpickled(tmp_path: Path):
    (tmp_path / "text.eqx").write_text("no records")
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for name in ("text.eqx", "pickled.npy"):
        with pytest.raises(ConfigError, match="no sequence of"):
            weights.read_arrays(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot read"):
        weights.read_arrays(tmp_path / "missing.eqx")


# --- the page -------------------------------------------------------------------------------------------------------


def row(**changes):
    return {"cell": LEVEL_0, "data": "mnist", "images": 60000, "epochs": 2, "replicates": 1, "seconds": 9.0,
            "commit": "c" * 40, "dirty": False, "date": "2026-01-01", "test_accuracy": [0.90, 0.9192],
            "train_loss": [0.5, 0.4]} | changes  # fmt: skip


def test_the_committed_page_and_picture_are_what_the_numbers_give():
    measured = recording.read(PAPER.measured_file)
    text = (PAPER.folder / "README.md").read_text(encoding="utf-8")
    assert page.render(text, PUBLISHED, measured) == text
    assert (PAPER.folder / page.PICTURE).read_text(encoding="utf-8") == draw(PUBLISHED, page.best_rows(measured))
    assert (PAPER.folder / page.PICTURE).stat().st_size < 200_000


def test_the_legend_names_only_what_is_drawn():
    empty, full = draw(PUBLISHED, []), draw(PUBLISHED, [row(cell=REAL)])
    assert f"{REAL} (measured only)" not in empty and "Points:" not in empty
    assert f"{REAL} (measured only)" in full and "Points:" in full
    assert empty.count("fill-opacity") == 4 * 3  # a band for each published line


def test_the_page_takes_the_longest_row_and_leaves_smoke_runs_out():
    rows = [row(), row(epochs=1, test_accuracy=[0.5], date="2027"), row(epochs=9, quick=True)]
    assert page.best_rows({"cell": rows}) == [rows[0]]
    table = page.measured_block(PUBLISHED, {"cell": rows})
    assert "| mnist | level 0 | 60,000 | 2 | 1 | 9 | 91.92 ± 0.35 | 91.92 | +0.00 [" in table
    assert "prediction interval" in table


def test_recorded_studies_are_tables_of_the_page():
    effects = [{"swap": "bias", "versus": "normal", "mean": 0.05, "low": 0.04, "high": 0.06, "verdict": "better"},
               {"swap": "scale", "versus": "none", "verdict": "cannot tell"}]  # fmt: skip
    text = page.factorial_block(
        PUBLISHED, {"factorial": [row(study="f.toml", metric="test_accuracy", effects=effects)]}
    )
    assert "| bias | normal | +5.00 | [+4.00, +6.00] | better |" in text
    assert "| scale | none | – | – | cannot tell |" in text


def test_a_factorial_is_recorded_with_its_roles_and_cells_and_told_apart_on_the_page(tmp_path: Path):
    circuit = {"head": {"component": "reupload-linear", "reps": 1}}
    design = Factorial(
        {"name": "creep-cnn", "size": 8}, {"head": {"old": {}, "circuit": circuit}, "recipe.lr": [1e-3, 1e-2]}
    )
    answer = run(
        design, data={"name": "digits", "limit": 80}, recipe=Recipe(epochs=1, batch=64), replicates=2, workers=1,
        controls=False, out=tmp_path / "s",
    )  # fmt: skip
    recording.add(tmp_path / "measured.toml", "factorial", record.row_of(answer, "some.toml"))
    (back,) = recording.read(tmp_path / "measured.toml")["factorial"]
    assert {e["role"] for e in back["effects"]} == {"main", "interaction"}
    means = answer.trials.groupby("cell")["test_accuracy"].mean()
    assert {c["cell"]: c["mean"] for c in back["cells"]} == pytest.approx(dict(means), abs=1e-6)
    norms = {c["cell"]: c.get("state_norm_squared_head") for c in back["cells"]}
    assert [v for c, v in norms.items() if "circuit" in c] == pytest.approx([1, 1], abs=1e-5)
    assert norms["head=old, recipe.lr=0.001"] is None
    text = page.factorial_block(PUBLISHED, {"factorial": [back]})
    assert text.index("Main effects") < text.index("<details><summary>Interactions") < text.index("Every cell")


def test_a_block_that_nobody_makes_is_told():
    with pytest.raises(ConfigError, match="nothing makes the block 'other'"):
        page.render("<!-- generated: other -->\n<!-- end -->", PUBLISHED, {})


# --- the command ----------------------------------------------------------------------------------------------------


def test_papers_are_listed(dopant):
    _, out, _ = dopant("papers", "--json")
    listed = json.loads(out)
    assert [p["name"] for p in listed] == ["quantum-creep"]
    assert listed[0]["data"] == ["mnist", "fashion-mnist", "cifar10"]


def test_it_is_said_how_long_each_version_was_published_at_and_how_long_every_cell_is_trained(dopant):
    _, out, _ = dopant("papers", "--json")
    (row,) = json.loads(out)
    longest = {v: max(s.epochs for s in PUBLISHED if s.variant == v) for v in ("torch", "equinox")}
    assert row["published_epochs"] == longest
    assert row["epochs"] == PAPER.study("mnist").recipe.epochs == row["published_epochs"]["torch"]
    assert listing.epochs_text(row) == "50; published: torch 50, equinox 100"
    said = cli.PUBLISHED_EPOCHS
    assert f"quantum-creep: {longest['torch']}, at which its torch version was published" in said
    assert f"its Equinox version was published at {longest['equinox']}" in said


def test_a_run_on_digits_answers_resumes_and_is_recorded(dopant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paper = dataclasses.replace(PAPER, folder=tmp_path / "paper")
    paper.folder.mkdir()
    (paper.folder / "published.toml").write_bytes(PAPER.published_file.read_bytes())
    monkeypatch.setitem(registry.papers._items, PAPER.name, paper)
    monkeypatch.setattr(recording, "checkout_of", lambda folder: recording.Checkout(tmp_path, "d" * 40, False))
    command = ["reproduce", "quantum-creep", "--data", "digits", "--epochs", "2", "--replicates", "1", "--workers", "1",
               "--record", "--json", "--out", str(tmp_path / "study")]  # fmt: skip
    code, out, err = dopant(*command)
    assert code == 0, err
    found = json.loads(out)
    assert [c["cell"] for c in found["cells"]] == list(PAPER.counterparts)
    assert not found["comparable"] and all(c["difference"] is None for c in found["cells"])
    assert not any(c["same_recipe"] for c in found["cells"])
    assert found["counts"]["done"] == 5 and len(found["recorded"]) == 5
    rows = recording.read(paper.measured_file)["cell"]
    assert {r["commit"] for r in rows} == {"d" * 40}
    real = next(r for r in rows if r["cell"] == REAL)
    assert real["state_norm_squared_head"] == pytest.approx(1, abs=1e-4)
    assert str(tmp_path) not in paper.measured_file.read_text()
    code, _, err = dopant(*command)
    assert code == 0 and "nothing to do" in err
    folder = tmp_path / "study"
    shown = (folder / "report.html").read_text()
    assert PAPER.title in shown and "A run on digits, for which the paper has no numbers: nothing here can be" in shown
    assert "ordinary stand-in" not in shown  # no cell is a control
    for asked, said in (
        (["--epochs", "1"], "--epochs 1: --out"),
        (["--quick"], "holds a study that this request would change"),
        (["--data", "mnist"], "this folder holds digits, and mnist was asked for"),
    ):
        code, _, err = dopant("reproduce", "quantum-creep", "--data", "digits", *asked, "--out", str(folder))
        assert code == 2 and said in err and "another --out" in err and "--fork" not in err
    assert len(recording.read(paper.measured_file)["cell"]) == 5
    table = pd.read_csv(tmp_path / "study" / "published-beside-measured.csv")
    assert table[["difference", "low", "high"]].isna().all(axis=None) and not table["comparable"].any()


def trained(folder: Path, cells=((LEVEL_0, 1), (LEVEL_2, 3)), **data):
    """An answer of two epochs on MNIST. cells: (name, replicates)."""
    metrics = pd.DataFrame([
        {"trial": f"{cell}{r}", "cell": cell, "replicate": r, "epoch": e, "train_loss": 1.2 - e / 10,
         "test_accuracy": 0.9092 + 0.005 * e + 0.001 * r}
        for cell, runs in cells for r in range(runs) for e in (1, 2)
    ])  # fmt: skip
    trials = metrics[["trial", "cell", "replicate"]].drop_duplicates().assign(status="done", seconds=8.0, n_train=60000)
    return SimpleNamespace(
        metrics=metrics, trials=trials, cells=[SimpleNamespace(name=c) for c in PAPER.counterparts], folder=folder,
        config=SimpleNamespace(data={"name": "mnist", **data}), counts={"planned": 4, "done": 4, "failed": 0},
        failures=[], rows=[{"cell": LEVEL_0, "description": {"recipe": {"lr": 5e-4, "batch": 200}}}],
    )  # fmt: skip


def test_a_real_run_is_compared_at_its_last_epoch_and_the_interval_is_named(tmp_path: Path):
    found = comparison(PAPER, "mnist", trained(tmp_path))
    gaps = {line.cell: line.difference for line in found.lines}
    assert (gaps[LEVEL_0].kind, gaps[LEVEL_0].epoch) == ("prediction", 2)
    assert gaps[LEVEL_0].inside and not gaps[LEVEL_2].inside
    assert gaps[LEVEL_2].kind == "Welch" and gaps[LEVEL_1] is None
    table = pd.read_csv(found.curves)
    assert len(table) == 4 and list(table["interval"]) == ["prediction"] * 2 + ["Welch"] * 2
    assert table["difference"].iloc[1] == pytest.approx(0.9192 - table["published_accuracy"].iloc[1])
    console = Console(width=80, record=True, file=io.StringIO(), highlight=False)
    console.print(terminal.table(found))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert "one measured replicate" in text and "Welch" in text
    assert "so not of a normalised state: level 2 (torch, as published) 1.000" in text.replace("\n", " ")
    json.dumps(found.to_json(), allow_nan=False)


def test_a_smoke_run_has_nothing_to_compare(tmp_path: Path):
    found = comparison(PAPER, "mnist", trained(tmp_path, limit=150))
    assert not any(c["same_recipe"] or c["difference"] for c in found.to_json()["cells"])
    table = pd.read_csv(found.curves)
    assert len(table) and not table["same_recipe"].any() and not table["comparable"].any()
    assert table[["difference", "low", "high", "interval"]].isna().all(axis=None)
    assert table["published_accuracy"].notna().any()


def test_the_page_begins_with_published_beside_measured(tmp_path: Path):
    answer = trained(tmp_path)
    made = preface.blocks(PAPER, "mnist", answer)
    assert [b.kind for b in made[:3]] == ["heading", "text", "table"] and made[0].text == PAPER.title
    table = made[2].table
    assert table is not None
    rows = {row[0].text: [e.text for e in row[1:]] for row in table.rows}
    gap = comparison(PAPER, "mnist", answer).lines[0].difference
    assert gap is not None
    assert rows[LEVEL_0][:3] == [f"{100 * gap.published:.2f}±{100 * gap.published_sd:.2f} (5)", "91.92 (1)",
                                 words.points(gap.mean)]  # fmt: skip
    assert rows[LEVEL_0][4:] == ["2", "1", "60,000"]
    assert rows[REAL][0] == "–" and any("nothing was published for it" in b.text for b in made)


def test_the_page_of_a_smoke_run_says_so(tmp_path: Path):
    answer = trained(tmp_path, limit=150)
    answer.trials["n_train"] = 150
    banner = next(b for b in preface.blocks(PAPER, "mnist", answer) if b.kind == "banner")
    assert banner.text == "A smoke run on 150 images: nothing here can be compared with the paper."


def test_a_page_knows_its_paper_from_the_folder_and_only_registered_ones(tmp_path: Path):
    answer = trained(tmp_path)
    assert preface.blocks_of(answer) == []
    for name, known in ((PAPER.name, True), ("gone", False)):
        (tmp_path / recording.STARTS).write_text(json.dumps({"paper": name, "data": "mnist", "starts": []}))
        assert bool(preface.blocks_of(answer)) == known


def test_a_page_escapes_what_its_preface_says():
    table = Table([Header("h", "<h>")], [[Entry("<i>")]])
    said = [Block("heading", "<b>1"), Block("banner", "<b>2"), Block("text", "<b>3"), Block("table", "<b>4", table)]
    empty = SimpleNamespace(effects=pd.DataFrame(), verdicts=[], trials=pd.DataFrame({"status": []}), preface=said)
    shown = report_page(empty)
    part = shown[shown.index('id="preface"') : shown.index('id="verdicts"')]
    assert all(f"&lt;b&gt;{n}" in part for n in range(1, 5)) and "&lt;i&gt;" in part and "<b>1" not in part


def test_only_a_study_with_controls_asks_for_stand_ins(tmp_path: Path):
    for controls in (True, False):
        study = Study(design=Ladder("creep-cnn").level(head="reupload-linear"), data="mnist", controls=controls)
        folder = tmp_path / str(controls)
        Store.create(folder)
        study.save(folder / "study.toml")
        assert ("ordinary stand-in" in StudyAnswer(folder, study).question) == controls


def test_what_nobody_published_has_only_a_remark(tmp_path: Path):
    found = comparison(PAPER, "mnist", trained(tmp_path, cells=((REAL, 1),)))
    cell = next(c for c in found.to_json()["cells"] if c["cell"] == REAL)
    assert cell["published"] is None and cell["difference"] is None and not cell["same_recipe"]
    assert pd.read_csv(found.curves)["published_accuracy"].isna().all()
    said = next(n for n in words.notes(found) if n.startswith(REAL))
    assert "under the same recipe the published torch layer reached" in said and "96.92 % at epoch 50" in said


def test_rows_of_a_smoke_run_are_not_recorded(tmp_path: Path):
    with pytest.raises(ConfigError, match="have no place in"):
        reproduce("quantum-creep", quick=True, record=True, out=tmp_path / "x")


def test_the_shorter_command_goes_on_with_what_a_longer_one_has_grown():
    usual = PAPER.study("mnist", True)
    grown = sized(usual, None, 7, 3)
    assert (grown.recipe.epochs, grown.replicates) == (7, 3)
    again = sized(usual, grown, None, None)
    assert (again.recipe.epochs, again.replicates) == (7, 3)
    assert sized(usual, grown, 9, None).recipe.epochs == 9


def test_a_study_that_is_not_finished_is_not_recorded():
    answer = SimpleNamespace(counts={"pending": 1, "running": 0}, folder=Path("runs/x"))
    with pytest.raises(ConfigError, match="not finished: 1 trials pending"):
        record.row_of(answer, "f.toml")


def test_wrong_requests_are_told_before_anything_starts(dopant, tmp_path: Path):
    for extra, said in (
        (["--data", "fashion"], "did you mean 'fashion-mnist'"),
        (["--epochs", "0"], "--epochs: 0 is too few"),
        (["--workers", "0"], "--workers: 0 is too few"),
    ):
        code, _, err = dopant("reproduce", "quantum-creep", "--out", str(tmp_path / "x"), *extra)
        assert code == 2 and said in err
    code, _, err = dopant("reproduce", "quantum-crep")
    assert code == 2 and "did you mean 'quantum-creep'" in err
    assert not (tmp_path / "x").exists()
