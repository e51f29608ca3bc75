"""Whatever the circuit, its state keeps its norm."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import random_circuits


@pytest.mark.parametrize("path", ["kernel", "torch"])
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32), qubits=st.integers(1, 6), gates=st.integers(0, 60), batch=st.integers(1, 20))
def test_the_norm_of_a_state_is_one_to_rounding(path, seed, qubits, gates, batch):
    circuit = random_circuits.circuit(random.Random(seed), qubits, gates, dense=path == "torch")
    x, w = (3 * t.detach() for t in random_circuits.inputs_for(circuit, batch, seed % 1000))
    runner = circuit.layer("state", path=path).runner
    assert runner.chosen(x) == path
    psi = runner(x, w)
    assert psi.shape == (batch, 2**qubits)
    assert (psi.abs().square().sum(1) - 1).abs().max() < 1e-13 * (gates + 10)
