"""Depolarising noise and readout errors against closed forms, PennyLane's mixed states, and what any channel obeys."""

from __future__ import annotations

import importlib.util
import random

import numpy as np
import pytest
import torch

import random_circuits
from absence import absent
from dopant.errors import ConfigError
from dopant.quantum import Circuit, NoiseModel, feature, weight
from dopant.quantum.noise import density, fidelity_of_gates
from dopant.quantum.pauli import pauli_matrix
from quantum.test_other_libraries import numbers, pennylane_gate

NOTHING = torch.zeros(1, 0, dtype=torch.float64)


def expectations(circuit: Circuit, measure, noise: NoiseModel) -> torch.Tensor:
    return circuit.layer(measure, noise=noise, dtype=torch.float64)(NOTHING)[0].detach()


@pytest.mark.parametrize("p", [0.0, 0.03, 0.5, 1.0])
def test_a_depolarised_bell_state_is_werners(p):
    found = density(Circuit(2).h(0).cx(0, 1), NoiseModel(two=p), NOTHING, NOTHING[0])[0]
    bell = torch.zeros(4, 4, dtype=torch.complex128)
    bell[[[0], [3]], [0, 3]] = 0.5
    assert torch.allclose(found, (1 - p) * bell + p * torch.eye(4) / 4, atol=1e-14)


@pytest.mark.parametrize("gates", [1, 2, 5])
def test_every_gate_on_one_qubit_shrinks_the_bloch_vector_by_1_minus_p(gates):
    circuit = Circuit(1)
    for k in range(gates):
        circuit = circuit.rx(0, 0.3 + k).ry(0, 0.5 * k).id(0)  # id has no noise
    words = ["X", "Y", "Z"]
    clean = circuit.layer(words, dtype=torch.float64)(NOTHING)[0].detach()
    assert torch.allclose(expectations(circuit, words, NoiseModel(one=0.04)), clean * 0.96 ** (2 * gates), atol=1e-14)
    assert fidelity_of_gates(circuit, NoiseModel(one=0.04)) == pytest.approx(0.96 ** (2 * gates), abs=1e-15)


@pytest.mark.parametrize("e", [0.0, 0.1, 0.5])
def test_readout_errors_shrink_each_letter_by_1_minus_2e(e):
    circuit, noise = Circuit(2).ry(0, 0.7).cx(0, 1).rx(1, 0.4), NoiseModel(readout=e)
    words = ["ZI", "ZZ", "XY", "II", {"ZI": 2.0, "ZZ": -1.0}]
    clean = circuit.layer(words, dtype=torch.float64)(NOTHING)[0].detach()
    shrunk = clean[:4] * torch.tensor([1 - 2 * e, (1 - 2 * e) ** 2, (1 - 2 * e) ** 2, 1])
    expected = torch.cat([shrunk, (2 * shrunk[0] - shrunk[1])[None]])
    assert torch.allclose(expectations(circuit, words, noise), expected, atol=1e-14)
    p = circuit.layer("probabilities", dtype=torch.float64)(NOTHING)[0].detach()
    flip = torch.tensor([[1 - e, e], [e, 1 - e]], dtype=torch.float64)
    assert torch.allclose(expectations(circuit, "probabilities", noise), torch.kron(flip, flip) @ p, atol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_expectations_are_those_of_pennylanes_mixed_states(n):
    if importlib.util.find_spec("pennylane") is None:
        absent("pennylane")
    import pennylane as qml

    circuit = random_circuits.circuit(random.Random(n), n, 14, dense=False, controls=False)
    x, w = random_circuits.inputs_for(circuit, 1, n)
    noise, words = NoiseModel(one=0.02, two=0.07), ["Z" * n, "XYXY"[:n], "I" * (n - 1) + "Z"]

    def replaced(p: float, wires: list[int]) -> None:
        """Replacement by the mixed state: each Pauli string, the identity too, with probability p / 4^k."""
        k = len(wires)
        if k == 1:
            qml.DepolarizingChannel(0.75 * p, wires=wires)  # there p is the probability of an error X, Y or Z
            return
        strings = ["".join(s) for s in np.ndindex(*[4] * k) for s in [["IXYZ"[i] for i in s]]]
        kraus = [pauli_matrix(s).numpy() * (p / 4**k) ** 0.5 for s in strings]
        kraus[0] = kraus[0] * ((1 - p + p / 4**k) / (p / 4**k)) ** 0.5
        qml.QubitChannel(kraus, wires=wires)

    @qml.qnode(qml.device("default.mixed", wires=n))
    def theirs():
        for gate, angles in numbers(circuit, x[0], w):
            pennylane_gate(qml, gate, angles, list(gate.qubits))
            if gate.name != "id":
                replaced(noise.one if len(gate.qubits) == 1 else noise.two, list(gate.qubits))
        return [qml.expval(qml.pauli.string_to_pauli_word(s, {q: q for q in range(n)})) for s in words]

    layer = circuit.layer(words, noise=noise, dtype=torch.float64)
    layer.load_state_dict({"weights": w.detach()})
    assert np.allclose(layer(x)[0].detach(), [float(v) for v in theirs()], rtol=0, atol=1e-10)


@pytest.mark.parametrize("measure", ["overlaps", "matrices"])
def test_complex_observables_of_mixed_states_are_traces(measure):
    circuit = random_circuits.circuit(random.Random(1), 2, 12)
    x, w = (t.detach() for t in random_circuits.inputs_for(circuit, 3))
    v = torch.randn(2, 4, dtype=torch.complex128)
    v = v / v.norm(dim=1, keepdim=True)
    projectors, noise = v[:, :, None] * v[:, None, :].conj(), NoiseModel(0.1, 0.2)
    given = ("overlaps", list(v)) if measure == "overlaps" else projectors
    layer = circuit.layer(given, noise=noise, dtype=torch.float64)
    layer.load_state_dict({"weights": w})
    rho = density(circuit, noise, x, w)
    expected = torch.stack([torch.trace(r @ p).real for r in rho for p in projectors]).reshape(3, 2)
    assert torch.allclose(layer(x).detach(), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_density_matrices_have_trace_one_and_no_negative_eigenvalue(seed):
    draw = random.Random(seed)
    circuit = random_circuits.circuit(draw, 1 + seed % 4, 15)
    x, w = (t.detach() for t in random_circuits.inputs_for(circuit, 3, seed))
    rho = density(circuit, NoiseModel(draw.random(), draw.random()), x, w)
    assert torch.allclose(rho.diagonal(dim1=1, dim2=2).sum(-1), torch.ones(3, dtype=rho.dtype), atol=1e-12)
    assert torch.allclose(rho, rho.mH, atol=1e-13) and torch.linalg.eigvalsh(rho).min() > -1e-12
    pure = density(circuit, NoiseModel(), x, w)
    psi = torch.as_tensor(random_circuits.states(circuit, x, w))
    assert torch.allclose(pure, psi[:, :, None] * psi[:, None, :].conj(), atol=1e-12)


def test_gradients_with_noise_pass_finite_differences():
    circuit = Circuit(2).ry(0, feature(0)).crx(0, 1, weight()).rot(1, weight(), feature(1), weight())
    layer = circuit.layer(["ZZ", "IX"], noise=NoiseModel(0.05, 0.1, 0.02), dtype=torch.float64)
    x = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)

    def run(x, w):
        return torch.func.functional_call(layer, {"weights": w}, (x,))

    assert torch.autograd.gradcheck(run, (x, layer.weights))


@pytest.mark.parametrize("model", [{"one": 1.5}, {"two": -0.1}, {"two": float("nan")}, {"one": True}, {"readout": "a"}])
def test_probabilities_that_are_none_are_refused(model):
    with pytest.raises(ConfigError, match=f"NoiseModel: {next(iter(model))}=.* no probability"):
        NoiseModel(**model)


def test_what_has_no_meaning_with_noise_is_refused_when_the_layer_is_made():
    some = NoiseModel(0.1, readout=0.1)
    with pytest.raises(ConfigError, match=r"7 qubits: .* up to 6 qubits"):
        Circuit(7).layer(noise=some)
    with pytest.raises(ConfigError, match=r"take dopant\.quantum\.NoiseModel"):
        Circuit(1).layer(noise=0.1)
    with pytest.raises(ConfigError, match="the state is mixed"):
        Circuit(1).layer("state", noise=some)
    with pytest.raises(ConfigError, match="an overlap is not one"):
        Circuit(1).layer(("overlaps", [[1.0, 0.0]]), noise=some)
    with pytest.raises(ConfigError, match="as Pauli strings"):
        Circuit(1).layer(np.eye(2), noise=some)
    with pytest.raises(ConfigError, match="take one of them"):
        Circuit(1).layer(noise=some, shots=10)
    with pytest.raises(ConfigError, match="exchange the meaning"):
        NoiseModel(readout=0.7)
    assert Circuit(6).layer(noise=some)(torch.zeros(1, 0)).shape == (1, 6)
