"""Trained circuits leave a study as OpenQASM that does what the model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import dopant as dp
import random_circuits
from dopant.errors import ConfigError, StoreError, UnknownName
from dopant.quantum import Circuit, CircuitLayer, feature, weight
from dopant.quantum.qasm import from_qasm
from dopant.study.export import export_qasm


class Net(nn.Module):
    """Digits -> 3 angles -> a circuit -> 10 scores; `extra` is a circuit that cannot be written."""

    def __init__(self, extra: bool = False):
        super().__init__()
        circuit = Circuit(3)
        for q in range(3):
            circuit = circuit.ry(q, feature(q)).rot(q, weight(), weight(), weight())
        self.reduce, self.circuit = nn.Linear(64, 3), circuit.cx_ring().layer("probabilities", path="torch")
        self.extra = Circuit(1).hermitian_exp(0).layer(path="torch") if extra else None
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.circuit(self.reduce(x.flatten(1)))
        if self.extra is not None:
            x = x + self.extra(x[:, :4])
        return self.head(x)


def finished(net: Any, out: Path, slot: str = "head") -> dp.Answer:
    recipe = dp.Recipe(lr=3e-3, batch=256, epochs=1)
    ladder = dp.Ladder(net).level(**{slot: "bottleneck-mlp"})
    return dp.run(ladder, data="digits", recipe=recipe, replicates=1, controls=False, out=out)


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dp.Answer:
    return finished(Net, tmp_path_factory.mktemp("study") / "s")


def test_the_text_of_each_trial_does_what_its_circuit_does(answer: Any):
    paths = export_qasm(answer, host=Net)
    assert [p.relative_to(answer.folder).parts for p in paths] == [
        ("qasm", trial, "circuit.qasm") for trial in answer.trials["trial"]
    ]
    texts = [p.read_text() for p in paths]
    assert texts[0] != texts[1] and all("w_" not in t and t.endswith("c = measure q;\n") for t in texts)
    for trial, text in zip(answer.trials["trial"], texts, strict=True):
        layer: CircuitLayer = answer.model(trial, host=Net).circuit.double()
        x = torch.randn(3, dtype=torch.float64)
        matrix = random_circuits.matrix(from_qasm(text), x, torch.zeros(0))
        torch.testing.assert_close(layer(x).detach(), torch.as_tensor(matrix[:, 0]).abs().square())


def test_one_trial_to_another_folder(answer: Any, tmp_path: Path):
    trial = answer.trials["trial"][1]
    assert export_qasm(answer, trial, tmp_path, host=Net) == [tmp_path / trial / "circuit.qasm"]
    with pytest.raises(UnknownName, match="unknown trial 'none'"):
        export_qasm(answer, "none", host=Net)


def test_what_cannot_be_written_is_told_after_the_rest_is(tmp_path: Path):
    answer: Any = finished(lambda: Net(extra=True), tmp_path / "s")
    with pytest.raises(ConfigError, match=r"replicate 0\), module 'extra'.*hermitian_exp") as caught:
        export_qasm(answer, host=lambda: Net(extra=True))
    assert len(caught.value.problems) == 3 and "2 below" in caught.value.problems[-1]
    assert len(list((answer.folder / "qasm").rglob("*.qasm"))) == 2


def test_a_model_without_circuits_has_nothing_to_write(tmp_path: Path):
    def plain() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    answer: Any = finished(plain, tmp_path / "s", "1")
    with pytest.raises(ConfigError, match="no circuit in the model of any of the 2 finished trials"):
        export_qasm(answer, host=plain)


@pytest.mark.filterwarnings("ignore:.*deprecated and will be removed in Click:DeprecationWarning")  # of typer
def test_the_command_wants_to_know_as_what(answer: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    from dopant import cli

    with pytest.raises(ConfigError, match="there is --qasm"):
        cli.app(["export", str(answer.folder)], standalone_mode=False)
    model = type(answer).model
    monkeypatch.setattr(type(answer), "model", lambda self, trial, host=None: model(self, trial, Net))
    cli.app(["export", str(answer.folder), "--qasm", "--trial", answer.trials["trial"][0]], standalone_mode=False)
    assert capsys.readouterr().out.split() == [str(answer.folder / "qasm" / answer.trials["trial"][0] / "circuit.qasm")]


def test_an_unfinished_study_is_refused(answer: Any, monkeypatch: pytest.MonkeyPatch):
    table = answer.trials.assign(status="failed")
    monkeypatch.setitem(vars(answer), "trials", table)
    with pytest.raises(StoreError, match="is finished; `dopant run` goes on"):
        export_qasm(answer, host=Net)
    with pytest.raises(StoreError, match="it is failed"):
        export_qasm(answer, table["trial"][0], host=Net)
