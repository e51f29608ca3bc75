"""Parameter shifts against autograd, over all gates, and how many circuits they take."""

from __future__ import annotations

import math
import random

import pytest
import torch

import random_circuits
from dopant.errors import ConfigError
from dopant.quantum import Circuit, feature, parameter_shift, weight
from dopant.quantum.shift import rule

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own


def autograd(circuit: Circuit, measure, x: torch.Tensor, w: torch.Tensor):
    """Values (batch, outputs) and derivatives (batch, outputs, w), (batch, outputs, f) of the torch path."""
    layer = circuit.layer(measure, path="torch", dtype=torch.float64)

    def values(x, w):
        return torch.func.functional_call(layer, {"weights": w}, (x,))

    by_x, by_w = torch.autograd.functional.jacobian(values, (x, w))
    return values(x, w), by_w, torch.stack([by_x[b, :, b] for b in range(len(x))])


def agrees(circuit: Circuit, measure, seed: int = 0, batch: int = 2) -> None:
    x, w = (t.detach() for t in random_circuits.inputs_for(circuit, batch, seed))
    found = parameter_shift(circuit, measure, x, w)
    values, by_weights, by_features = autograd(circuit, measure, x, w)
    assert torch.allclose(found.values, values, atol=1e-12)
    assert torch.allclose(found.weights, by_weights, atol=1e-10)
    assert torch.allclose(found.features, by_features, atol=1e-10)
    assert found.circuits == circuit.resources().evaluations_gradient


@pytest.mark.parametrize("weights", [3, None])
@pytest.mark.parametrize("seed", range(4))
def test_shifts_give_autograds_derivatives_of_random_circuits(seed, weights):
    n = 1 + seed % 4
    agrees(random_circuits.circuit(random.Random(seed), n, 14, weights=weights), "z", seed)


def test_shifts_of_dense_gates_with_shared_weights_and_repeated_features():
    circuit = (
        Circuit(3).h(0).h(1).h(2).special_unitary([0, 2], [weight(0) * feature(1)] + [weight(k % 4) for k in range(14)])
    )
    circuit = circuit.hermitian_exp([1, 0], 0, 3, scale=0.6).special_unitary(1, [feature(0), weight(1)], ["X", "Z"])
    circuit = circuit.hermitian_exp(2, 1, 2, scale=-1.2).ry(0, weight(0))
    agrees(circuit, ["ZZI", "IXY"])


def test_shifts_under_one_and_two_controls():
    circuit = Circuit(3).h(0).h(1).ry(2, 0.4)
    circuit = circuit.gate("u", 2, weight(0), weight(1) + feature(0), weight(0), controls=0).gate(
        "rot", 1, feature(1), weight(1), weight(2), controls=[0, 2]
    )
    circuit = (
        circuit.pauli_exp("YX", weight(2) * feature(0), [0, 1], controls=2).crx(0, 2, weight(0)).cp(1, 2, feature(0))
    )
    agrees(circuit, ["ZXY", {"ZII": 0.5, "IYI": 2.0}])


def test_one_rotation_takes_the_two_textbook_terms():
    ((coefficient, shift),) = rule([1.0])
    assert (coefficient, shift) == (pytest.approx(0.5), pytest.approx(math.pi / 2))
    found = parameter_shift(Circuit(1).ry(0, weight()), "z", None, torch.tensor([0.3], dtype=torch.float64))
    assert found.circuits == 2 and found.weights.item() == pytest.approx(-math.sin(0.3), abs=1e-15)


def test_a_rule_is_exact_for_its_frequencies_and_not_for_others():
    for gaps in ([0.5, 1.0], [1.0, 2.0, 3.0], [0.3, 1.7]):
        for g in gaps:
            slope = sum(c * (math.sin(g * s) - math.sin(-g * s)) for c, s in rule(gaps))
            assert slope == pytest.approx(g, abs=1e-12)
    assert sum(2 * c * math.sin(2 * s) for c, s in rule([1.0])) == pytest.approx(0, abs=1e-12)  # not 2
    assert rule([]) == []


def test_missing_inputs_are_refused():
    with pytest.raises(ConfigError, match=r"w\[1\] is missing"):
        parameter_shift(Circuit(1).rot(0, 0.1, weight(), weight()), "z", None, torch.zeros(1))
    with pytest.raises(ConfigError, match="parameter_shift: the circuit reads 1 features"):
        parameter_shift(Circuit(1).ry(0, feature(0)), "z")
