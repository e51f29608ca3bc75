"""The PennyLane component is the circuit that it says, somebody's own QNode too, and says what it needs."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn

import dopant as dp
import random_circuits
from absence import absent
from dopant.components.quantum.pennylane_qnode import PennyLaneQNode
from dopant.errors import ConfigError, SlotMismatch
from dopant.quantum import Circuit, feature, weight

try:
    import pennylane as qml
except ImportError:
    qml = None


@pytest.fixture
def own() -> Any:
    """A QNode of a user's: three inputs, two named weights, two values out."""
    if qml is None:
        absent("PennyLane")

    @qml.qnode(qml.device("default.qubit", wires=2))
    def circuit(inputs: Any, first: Any, second: Any) -> Any:
        qml.RX(inputs[..., 0] * inputs[..., 1], wires=0)
        qml.RY(first + inputs[..., 2], wires=1)
        qml.CRot(*second, wires=[0, 1])
        return qml.expval(qml.PauliZ(0)), qml.expval(qml.PauliX(1) @ qml.PauliZ(0))

    return circuit


OWN = {"weight_shapes": {"first": 1, "second": 3}}


@pytest.fixture
def _pennylane() -> None:
    if qml is None:
        absent("PennyLane")


@pytest.mark.usefixtures("_pennylane")
def test_the_usual_circuit_is_embedding_then_strongly_entangling_layers():
    layer = PennyLaneQNode(3, 3, qubits=3, layers=2, dtype=torch.float64)
    circuit = Circuit(3)
    for q in range(3):
        circuit = circuit.rx(q, feature(q))
    for reach in (1, 2):  # a CNOT to the next qubit, in the second layer to the next but one
        for q in range(3):
            circuit = circuit.rot(q, weight(), weight(), weight())
        for q in range(3):
            circuit = circuit.cx(q, (q + reach) % 3)
    x = torch.randn(4, 3, dtype=torch.float64)
    weights = layer.weights["weights"].detach().flatten()
    signs = 1.0 - 2.0 * torch.tensor([[i >> (2 - q) & 1 for i in range(8)] for q in range(3)])
    for row, found in zip(x, layer(x), strict=True):
        state = torch.as_tensor(random_circuits.matrix(circuit, row, weights)[:, 0])
        torch.testing.assert_close(found.detach(), signs.double() @ state.abs().square(), rtol=0, atol=1e-12)
    assert not list(layer.before.parameters()) + list(layer.after.parameters())  # the widths are equal


def test_a_qnode_of_ones_own_stands_between_linear_maps(own: Any):
    layer = PennyLaneQNode(5, 4, qnode=own, inputs=3, **OWN)
    x = torch.randn(6, 5)
    rows = layer.before(x)
    weights = layer.weights
    values = torch.stack(own(rows, weights["first"], weights["second"]), dim=-1).to(x.dtype)
    torch.testing.assert_close(layer(x), layer.after(values))
    layer(x).sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().max() > 0) for p in layer.parameters())
    assert (layer.qubits, layer.cost()["tier"]) == (2, "exact")


def test_shots_of_a_qnode_are_told(own: Any):
    cost = PennyLaneQNode(3, 2, qnode=qml.set_shots(own, 50), **OWN).cost()
    assert (cost["shots"], cost["tier"]) == (50, "finite shots")


@pytest.mark.usefixtures("_pennylane")
def test_it_starts_from_its_generator_alone_and_takes_any_leading_shape():
    def make(seed: int) -> PennyLaneQNode:
        return PennyLaneQNode(5, 2, qubits=2, layers=1, generator=torch.Generator().manual_seed(seed))

    a, b, c = make(1), make(1), make(2)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters(), strict=True))
    x = torch.randn(3, 2, 5)
    torch.testing.assert_close(a(x), a(x.reshape(6, 5)).reshape(3, 2, 2))
    assert a(torch.zeros(0, 5)).shape == (0, 2)
    with pytest.raises(ValueError, match=r"takes \(..., 5\), not \(2, 4\)"):
        a(torch.zeros(2, 4))


def test_it_is_swapped_into_a_network_and_trains(own: Any):
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2, bias=False))
    x = torch.randn(8, 4)
    new = dp.swap(model, {"2": {"component": "pennylane-qnode", "qnode": own, **OWN}}, x)
    assert torch.equal(new[0].weight, model[0].weight) and isinstance(new[2], PennyLaneQNode)
    optimizer = torch.optim.Adam(new.parameters(), lr=0.1)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = (new(x) - 0.5).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_without_pennylane_the_command_that_helps_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pennylane", None)
    model = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(ConfigError, match=r"slot '0'.*needs PennyLane.*pip install 'dopant\[pennylane\]'"):
        dp.swap(model, {"0": "pennylane-qnode"}, torch.randn(2, 4))


@pytest.mark.usefixtures("_pennylane")
def test_options_that_cannot_be_are_told_all_at_once():
    with pytest.raises(ConfigError) as caught:
        PennyLaneQNode(3, 2, qubits=0, layers=0, inputs=0)
    assert len(caught.value.problems) == 4
    with pytest.raises(ConfigError, match="qnode is a function; give a PennyLane QNode"):
        PennyLaneQNode(3, 2, qnode=lambda inputs: inputs)
    with pytest.raises(SlotMismatch, match="fills Linear, not Conv2d"):
        dp.swap(nn.Sequential(nn.Conv2d(1, 1, 1)), {"0": "pennylane-qnode"}, torch.randn(1, 1, 2, 2))


def test_a_qnode_that_does_not_run_on_a_batch_is_refused_with_the_reason(own: Any):
    with pytest.raises(ConfigError, match="needs weight_shapes"):
        PennyLaneQNode(3, 2, qnode=own)
    one = qml.QNode(lambda inputs: (qml.RX(inputs[0], wires=0), qml.expval(qml.PauliZ(0)))[1], own.device)
    with pytest.raises(ConfigError, match=r"gives \(3,\) for 4 samples, not a row for each"):
        PennyLaneQNode(3, 2, qnode=one, weight_shapes={})
    with pytest.raises(ConfigError, match=r"the QNode fails on inputs of shape \(3, 2\).*`inputs` says how many"):
        PennyLaneQNode(3, 2, qnode=own, inputs=2, **OWN)
