"""Random features under a quantum name, in a study that they truly improve: the controls must give them away.

The features are those of a circuit, one qubit each: RX(w x + b) on |0> and the expectation of Z is cos(w x + b), with w
and b drawn and never trained. Nothing about them needs a qubit.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import dopant as dp
from dopant import registry
from dopant.datasets.source import Pool, Source

REPLICATES = 10
HEAP = torch.tensor([0, 1, 1, 0, 0, 0, 1, 1, 0, 1])
RIVALS = ("bottleneck-mlp", "random-features", "linear-residual")
MARGIN = 0.03  # of accuracy: what would have mattered, said before the run


class Mirage(nn.Module):
    """readout(<Z> of one qubit a feature after RX(w x + b)): (batch, inputs) -> (batch, outputs)."""

    def __init__(self, inputs: int, outputs: int, qubits: int):
        super().__init__()
        self.register_buffer("angles", torch.randn(qubits, inputs) / math.sqrt(inputs))
        self.register_buffer("start", 2 * math.pi * torch.rand(qubits))
        self.readout = nn.Linear(qubits, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(torch.cos(x @ self.angles.T + self.start))


@pytest.fixture(scope="module")
def names():
    """The component and the data set, known only while these tests run."""

    @dp.component("quantum-mirage", fills=nn.Linear)  # it names no control: they are made
    def quantum_mirage(old: nn.Linear, signature, *, qubits: int = 400) -> nn.Module:
        """Fixed rotations of single qubits, measured, and a trained readout."""
        return Mirage(old.in_features, old.out_features, qubits)

    @dp.register_dataset("two-heaps")
    def two_heaps() -> Source:
        """The digits in two heaps of five which a plane separates worse than any others: a linear head gets .81."""
        pool = registry.datasets.get("digits")().train
        return Source(Pool(pool.inputs, HEAP[pool.targets]), classes=2, name="two-heaps")

    yield
    registry.components.forget("quantum-mirage")
    registry.datasets.forget("two-heaps")


def linear(*, in_channels: int = 1, size: int = 8, classes: int = 2) -> nn.Module:
    """A host of this process, so that its trials run here; its head is all there is."""
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * size**2, classes))


def test_random_features_under_a_quantum_name_are_explained_by_random_features(names, tmp_path):
    answer = dp.run(
        dp.Ladder(linear).level(**{"1": "quantum-mirage"}),
        data="two-heaps",
        recipe=dp.Recipe(lr=5e-2, schedule="cosine", batch=100, epochs=8),
        replicates=REPLICATES,
        controls=True,
        margin=MARGIN,
        out=tmp_path / "mirage",
    )
    row = answer.effects.iloc[0]
    assert (row["replicates"], row["failed"], row["margin"]) == (REPLICATES, 0, MARGIN)
    assert row["mean"] > MARGIN and row["low"] > 0  # the swap is worth having, beyond doubt
    assert row["direction"] == "better"
    verdict = row["verdict"].removeprefix("untuned: ")
    assert verdict.startswith("explained by "), answer.effects[["swap", "versus", "mean", "low", "high", "verdict"]]
    assert "random-features" in verdict
    counts = answer.trials.groupby("cell")["cost_trainable"].first()
    assert {"frozen", "matched-start", *RIVALS} <= {cell.control for cell in answer.cells if cell.control}
    rivals = [counts["level 1"], *(counts[f"level 1, 1={name}"] for name in RIVALS)]
    assert max(rivals) <= 1.1 * min(rivals)  # the swap and its controls of the same capacity are of one size
    assert not any("beyond the ordinary" in sentence for sentence in answer.verdicts)
