"""The circuits' workloads and their dense reference, against closed forms."""

import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import reference
from workloads import GATES, SIZES, w1, w3, w4, w6, workload


def with_numbers(work, **numbers):
    return {**work, **{key: np.asarray(value).tolist() for key, value in numbers.items()}}


def test_without_weights_w1_multiplies_the_cosines_that_the_rings_of_cnots_bring_together():
    work = w1(3, batch=5, layers=1)
    work = with_numbers(work, weights=np.zeros(len(work["weights"])))
    x = np.array(work["inputs"])
    c = np.cos(x)
    # (0,1) (1,2) (2,0) take Z0 to Z1 Z2, Z1 to Z0 Z1 and Z2 to Z0 Z1 Z2
    expected = np.stack([c[:, 1] * c[:, 2], c[:, 0] * c[:, 1], c.prod(1)], 1)
    found = reference.gradients(work)
    np.testing.assert_allclose(found["outputs"], expected, atol=1e-12)
    g, s = np.array(work["cotangent"]), np.sin(x)
    slope = -s[:, 0] * (g[:, 1] * c[:, 1] + g[:, 2] * c[:, 1] * c[:, 2])
    np.testing.assert_allclose(found["inputs"][:, 0], slope, atol=1e-8)


def test_w1_with_rz_alone_has_the_outputs_of_zero_weights_and_no_gradient_for_them():
    work = w1(4, batch=3, layers=1)
    weights = np.zeros(len(work["weights"]))
    plain = reference.gradients(with_numbers(work, weights=weights))
    weights[1::2] = 0.7
    turned = reference.gradients(with_numbers(work, weights=weights))
    np.testing.assert_allclose(turned["outputs"], plain["outputs"], atol=1e-12)
    np.testing.assert_allclose(turned["weights"][1::2], 0, atol=1e-8)
    assert np.abs(turned["weights"][::2]).min() > 1e-3


@pytest.mark.parametrize("work", [w1(3, batch=2, layers=2), w3(4, batch=2, repetitions=4), w6(4, batch=2, count=60)])
def test_gradients_of_the_reference_are_the_slopes_of_its_outputs(work):
    found = reference.gradients(work)
    step = 1e-5
    for key in ("inputs", "weights"):
        direction = np.random.default_rng(0).standard_normal(np.shape(work[key]))
        losses = [
            (reference.gradients(with_numbers(work, **{key: np.array(work[key]) + s * direction}))["outputs"]
             * np.array(work["cotangent"])).sum()
            for s in (step, -step)
        ]  # fmt: skip
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx((found[key] * direction).sum(), abs=1e-6)


def test_w3_connects_each_qubit_with_one_further_on_in_every_repetition():
    rings = [[g[1] for g in w3()["gates"] if g[0] == "cx"][6 * k : 6 * k + 6] for k in range(5)]
    assert [ring[0] for ring in rings] == [[0, 1], [0, 2], [0, 3], [0, 4], [0, 5]]
    assert all(len({target for _, target in ring}) == 6 for ring in rings)
    # the range starts again after qubits - 1 repetitions
    assert next(g[1] for g in w3(3, repetitions=3)["gates"][-3:]) == [0, 1]


def test_w4_is_the_hadamards_and_phases_of_the_zz_feature_map():
    work = w4(3, batch=4)
    points = np.array(work["points"])
    bits = np.array(list(itertools.product((0, 1), repeat=3)))
    # CX P CX between a and b is a phase on the parity of their bits
    phases = points @ bits.T * 2
    for a, b in itertools.combinations(range(3), 2):
        angle = 2 * (math.pi - points[:, a]) * (math.pi - points[:, b])
        phases = phases + angle[:, None] * (bits[:, a] ^ bits[:, b])
    hadamard = (-1.0) ** (bits @ bits.T) / 8**0.5
    states = np.full((4, 8), 8**-0.5, dtype=complex) * np.exp(1j * phases)
    states = (states @ hadamard) * np.exp(1j * phases)
    expected = np.abs(states @ states.conj().T) ** 2
    np.testing.assert_allclose(reference.kernel(work)["outputs"], expected, atol=1e-5)  # columns are float32
    np.testing.assert_allclose(np.diag(expected), 1)


def test_every_gate_of_the_reference_is_unitary_and_the_controlled_ones_leave_control_0_alone():
    for name, (qubits, angles) in GATES.items():
        gate = (
            reference.matrix(name, *np.linspace(0.3, 1.1, angles))
            if name not in ("cx", "cz")
            else reference.matrix(name)
        )
        assert gate.shape == (2**qubits, 2**qubits)
        np.testing.assert_allclose(gate @ gate.conj().T, np.eye(2**qubits), atol=1e-12)
        if name[0] == "c":
            np.testing.assert_allclose(gate[:2], np.eye(4)[:2], atol=0)
            np.testing.assert_allclose(
                gate[2:, 2:], reference.matrix(name[1:], 0.3) if angles else reference.PAULI[name[1]]
            )


def test_qubit_0_is_the_most_significant_bit_and_the_first_qubit_controls():
    state = np.zeros((1, 8), dtype=complex)
    state[0, 0b100] = 1
    assert np.flatnonzero(reference.apply(state, reference.matrix("cx"), [0, 2])).tolist() == [0b101]
    assert reference.signs(3)[0b100].tolist() == [-1, 1, 1]


@pytest.mark.parametrize("name, qubits", [("W1", 2), ("W1", 14), ("W3", 6), ("W4", 8), ("W6", 8)])
def test_a_workload_is_json_and_the_same_each_time_and_uses_every_weight_and_feature(name, qubits):
    work = workload(name, qubits)
    assert json.loads(json.dumps(work)) == work == workload(name, qubits)
    used = {tuple(a) for _, _, angles in work["gates"] for a in angles}
    given = {("feature", i) for i in range(len(work["inputs"][0]))} | {
        ("weight", i) for i in range(len(work["weights"]))
    }
    assert used == given
    for gate, wires, angles in work["gates"]:
        assert (len(set(wires)), len(angles)) == GATES[gate]


def test_a_size_that_a_workload_does_not_come_in_is_refused():
    assert set(SIZES) == {"W1", "W3", "W4", "W6"}
    with pytest.raises(ValueError, match="W3 comes with 6 to 6 qubits, not 7"):
        workload("W3", 7)
