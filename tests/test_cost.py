"""The ledger against counts by hand."""

from __future__ import annotations

import torch
from torch import nn

import dopant as dp
from dopant.cost import ledger


def test_parameters_and_flops_of_a_linear_layer_are_what_one_counts_by_hand():
    model = nn.Sequential(nn.Linear(30, 7), nn.Linear(7, 5, bias=False))
    model[1].weight.requires_grad_(False)
    found = ledger(model, torch.zeros(4, 30), 4, batch=4)
    assert found["parameters"] == 30 * 7 + 7 + 35 and found["trainable"] == 30 * 7 + 7
    assert found["flops"] == 2 * (30 * 7 + 7 * 5)
    assert "tier" not in found


def test_a_complex_parameter_is_two_numbers():
    layer = nn.Module()
    layer.register_parameter("angles", nn.Parameter(torch.zeros(3, dtype=torch.complex64)))
    layer.forward = lambda x: x
    assert ledger(layer, torch.zeros(2, 1), 2, batch=2)["parameters"] == 6


def test_circuits_declare_qubits_cnots_and_the_tier_of_evidence():
    host = dp.host("creep-cnn", size=8)
    model = dp.swap(host, {"conv1": "flipped-quanv", "head": "reupload-linear"}, torch.zeros(2, 1, 8, 8))
    found = ledger(model, torch.zeros(2, 1, 8, 8), 2, batch=64)
    assert found["qubits"] == 4 and found["tier"] == "exact expectation" and found["flops_declared"] > 0
    assert found["cnots_at_least"] == 10 * 61  # (4^4 - 3 * 4 - 1) / 4 = 60.75 a gate, ten gates


def test_the_ledger_changes_nothing():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    ledger(model, torch.randn(8, 4), 8, batch=8)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and model.training
