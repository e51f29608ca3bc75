"""A circuit as a layer: shapes, precisions, copies, every form of measurement against dense algebra, memory."""

from __future__ import annotations

import copy
import io
import pickle
import random

import numpy as np
import pytest
import torch

import random_circuits
from dopant.errors import ConfigError, DoesNotFit
from dopant.memory import Available
from dopant.quantum import Circuit, NoiseModel, feature, run, weight
from dopant.quantum.pauli import pauli_matrix

N = 3
CIRCUIT = random_circuits.circuit(random.Random(11), N, 25, dense=False).ry(0, feature(0)).ry(1, weight(0))
PATHS = ("kernel", "torch")


def layer_of(measure="z", circuit=CIRCUIT, dtype=torch.float64, **more):
    return circuit.layer(measure, dtype=dtype, generator=torch.Generator().manual_seed(3), **more)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("lead", [(), (1,), (7,), (0,), (2, 3), (2, 0, 3), (1, 1, 4)])
def test_leading_axes_stay_as_they_are(lead, path):
    layer = layer_of(path=path)
    x = torch.randn(*lead, CIRCUIT.features + 2, dtype=torch.float64, requires_grad=True)
    out = layer(x)
    assert out.shape == (*lead, N)
    flat = layer(x.reshape(-1, x.shape[-1])) if x.numel() else out
    assert torch.allclose(out.reshape(flat.shape), flat, atol=1e-13)
    (slope,) = torch.autograd.grad(out.sum(), x)
    assert slope.shape == x.shape and bool((slope[..., CIRCUIT.features :] == 0).all())


@pytest.mark.parametrize("path", PATHS)
def test_strided_features_and_columns_that_nobody_reads_change_nothing(path):
    layer = layer_of(path=path)
    x = torch.randn(5, 2 * CIRCUIT.features, dtype=torch.float64)[:, ::2]
    more = torch.cat([x, torch.full((5, 3), float("nan"), dtype=torch.float64)], 1)
    assert not x.is_contiguous()
    assert torch.equal(layer(x), layer(x.contiguous())) and torch.equal(layer(more), layer(x))


def dense(measure, psi: np.ndarray) -> np.ndarray:
    """Expectations (batch, k) of dense matrices."""
    return np.stack([np.einsum("bi,ij,bj->b", psi.conj(), m, psi).real for m in measure], 1)


def pauli(word: str) -> np.ndarray:
    return pauli_matrix(word).numpy()


def single(letter: str) -> list[np.ndarray]:
    return [pauli("I" * q + letter + "I" * (N - 1 - q)) for q in range(N)]


M = np.random.default_rng(0).normal(size=(2, 8, 8)) + 1j * np.random.default_rng(1).normal(size=(2, 8, 8))
UNIT = M[0, :3] / np.linalg.norm(M[0, :3], axis=1, keepdims=True)
HERMITIAN = M + M.conj().transpose(0, 2, 1)


def marginal(psi: np.ndarray, qubits: list[int]) -> np.ndarray:
    p = (abs(psi) ** 2).reshape(-1, 2, 2, 2)
    found = np.zeros((len(p), 2 ** len(qubits)))
    for bits in np.ndindex(2, 2, 2):
        place = int("".join(str(bits[q]) for q in qubits), 2)
        found[:, place] += p[(slice(None), *bits)]
    return found


MEASURES = {
    "z": ("z", lambda psi: dense(single("Z"), psi)),
    "x": ("X", lambda psi: dense(single("X"), psi)),
    "y": ("y", lambda psi: dense(single("Y"), psi)),
    "string": ("XYZ", lambda psi: dense([pauli("XYZ")], psi)),
    "strings": (["zzi", "IXI", "III"], lambda psi: dense([pauli("ZZI"), pauli("IXI"), np.eye(8)], psi)),
    "sum": ({"ZZI": 0.5, "XIY": -2, "III": 3},
        lambda psi: dense([0.5 * pauli("ZZI") - 2 * pauli("XIY") + 3 * np.eye(8)], psi)),
    "sums": ([{"ZII": 2.0, "IZZ": -1.0}, "IIX"],
        lambda psi: dense([2 * pauli("ZII") - pauli("IZZ"), pauli("IIX")], psi)),
    "diagonal sums": ([{"ZII": 2.0, "IZZ": -1.0}, "IIZ"],
        lambda psi: dense([2 * pauli("ZII") - pauli("IZZ"), pauli("IIZ")], psi)),
    "probabilities": ("probabilities", lambda psi: abs(psi) ** 2),
    "of qubits": (("probabilities", [2, 0]), lambda psi: marginal(psi, [2, 0])),
    "of one qubit": (("probabilities", 1), lambda psi: marginal(psi, [1])),
    "of states": (("states", [5, "011", 0]), lambda psi: abs(psi[:, [5, 3, 0]]) ** 2),
    "matrix": (HERMITIAN[0], lambda psi: dense(HERMITIAN[:1], psi)),
    "matrices": (list(HERMITIAN), lambda psi: dense(HERMITIAN, psi)),
    "overlaps": (("overlaps", list(UNIT)), lambda psi: abs(psi @ UNIT.conj().T) ** 2),
    "state": ("state", lambda psi: psi),
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_is_what_dense_algebra_makes_of_the_state(name, path):
    measure, expected = MEASURES[name]
    layer = layer_of(measure, path=path)
    x, _ = random_circuits.inputs_for(CIRCUIT, 4)
    out = layer(x).detach()
    wanted = expected(random_circuits.states(CIRCUIT, x, layer.weights))
    assert out.shape == wanted.shape == (4, layer.measured.outputs)
    assert np.allclose(out, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", PATHS)
def test_circuits_without_features_without_weights_and_without_gates(path):
    bell = Circuit(2).h(0).cx(0, 1).layer(["ZZ", "XX", "YY", "ZI"], path=path)
    assert bell.weights.numel() == 0
    assert torch.allclose(bell(torch.zeros(3, 0)), torch.tensor([[1.0, 1, -1, 0]]).expand(3, 4), atol=1e-6)
    assert bell(torch.zeros(2, 3, 0)).shape == (2, 3, 4) and bell(torch.zeros(0)).shape == (4,)
    turned = Circuit(1).ry(0, weight()).layer(path=path)
    assert torch.allclose(turned(torch.zeros(2, 5)), turned.weights.cos().expand(2, 1), atol=1e-6)
    empty = Circuit(2).layer(path=path)
    assert torch.equal(empty(torch.zeros(2, 1)), torch.ones(2, 2))
    fixed = Circuit(1).ry(0, 2 * feature(0)).layer(path=path)
    x = torch.linspace(-3, 3, 9)[:, None].requires_grad_()
    (slope,) = torch.autograd.grad(fixed(x).sum(), x)
    assert torch.allclose(slope, -2 * (2 * x).sin(), atol=1e-5)


@pytest.mark.parametrize("path", PATHS)
def test_precision_follows_the_features_and_double_is_exact(path):
    layer = layer_of(dtype=torch.float32, path=path)
    x = torch.randn(6, CIRCUIT.features)
    low = layer(x)
    assert low.dtype == torch.float32 and layer(x.double()).dtype == torch.float64
    exact = copy.deepcopy(layer).double()(x.double())
    wanted = MEASURES["z"][1](random_circuits.states(CIRCUIT, x.double(), layer.weights.double()))
    assert exact.dtype == torch.float64 and np.allclose(exact.detach(), wanted, rtol=0, atol=1e-12)
    assert torch.allclose(low.double(), exact, atol=1e-5)


def test_whole_numbers_and_lower_precisions_are_computed_in_the_precision_of_the_weights():
    layer = layer_of(dtype=torch.float32)
    x = torch.randint(-2, 3, (4, CIRCUIT.features))
    for dtype in (torch.int64, torch.bfloat16, torch.float16):
        assert torch.equal(layer(x.to(dtype)), layer(x.float()))
    bfloat = copy.deepcopy(layer).to(torch.bfloat16)
    out = bfloat(x.float())
    assert torch.isfinite(out).all() and torch.equal(out, layer_with(layer, bfloat.weights.float())(x.float()))
    assert torch.equal(bfloat(x.to(torch.bfloat16)), out) and out.dtype == torch.float32


def layer_with(layer, weights):
    found = copy.deepcopy(layer)
    found.weights = torch.nn.Parameter(weights.detach().clone())
    return found


def test_under_autocast_it_computes_in_the_precision_of_its_weights():
    layer, linear = layer_of(dtype=torch.float32), torch.nn.Linear(5, CIRCUIT.features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = linear(torch.randn(3, 5))
        out = layer(given)
    assert given.dtype == torch.bfloat16 and out.dtype == torch.float32
    assert torch.equal(out, layer(given.float()))
    assert torch.isfinite(torch.autograd.grad(out.sum(), linear.weight)[0]).all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_sample_at_all_has_a_state_too(dtype, path):
    assert layer_of("state", path=path)(torch.zeros(0, 3, dtype=dtype)).shape == (0, 8)
    assert CIRCUIT.state(torch.zeros(0, 3), torch.zeros(CIRCUIT.weights)).shape == (0, 8)
    for more in ({"shots": 5}, {"noise": NoiseModel(0.1, 0.1)}, {"noise": NoiseModel(0.1), "shots": 5}):
        for measure in ("z", "xyz", ("probabilities", [2, 1]), HERMITIAN):
            assert layer_of(measure, **more)(torch.zeros(0, 3)).shape[0] == 0


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save", "state_dict"])
@pytest.mark.parametrize("path", ["auto", "torch"])
def test_copies_compute_the_same_and_are_apart(how, path):
    layer = layer_of(["XYZ", {"ZZI": 2.0}], path=path)
    x, _ = random_circuits.inputs_for(CIRCUIT, 3)
    before = layer(x)
    if how == "deepcopy":
        other = copy.deepcopy(layer)
    elif how == "pickle":
        other = pickle.loads(pickle.dumps(layer))
    elif how == "torch.save":
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    else:
        other = CIRCUIT.layer(["XYZ", {"ZZI": 2.0}], path=path, dtype=torch.float64)
        assert list(layer.state_dict()) == ["weights"]
        other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), before)
    with torch.no_grad():
        other.weights.add_(1)
    assert torch.equal(layer(x), before) and not torch.allclose(other(x), before)


def test_weights_start_uniform_between_0_and_2_pi_from_the_generator_given():
    circuit = Circuit(1)
    for _ in range(2000):
        circuit = circuit.ry(0, weight())
    made = [circuit.layer(generator=torch.Generator().manual_seed(s)).weights.detach() for s in (1, 1, 2)]
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    assert 0 <= made[0].min() < 0.05 and 6.2 < made[0].max() < 2 * torch.pi
    assert abs(float(made[0].mean()) - torch.pi) < 4 * torch.pi / (3 * 2000) ** 0.5


def test_more_memory_than_there_is_is_refused_with_the_batch_that_fits(monkeypatch):
    wide = Circuit(16).ry(0, feature(0)).ry(1, weight())
    layers = [wide.layer(path=path) for path in PATHS] + [wide.layer(shots=10)]
    room = Available(200 << 20, 1 << 34, "this machine")
    monkeypatch.setattr(run, "available", lambda device: room)
    for layer in layers:
        with pytest.raises(
            DoesNotFit, match=r"a batch of 4000 takes .* has 210 MB left; .* is a batch of \d+"
        ) as found:
            layer(torch.zeros(4000, 1))
        batch = int(str(found.value).rsplit(" ", 1)[1])
        assert found.value.available == room.bytes < found.value.needed and 1 <= batch < 4000
        assert layer(torch.zeros(2, 1)).shape == (2, 16)


def test_what_is_no_circuit_is_refused():
    from dopant.quantum import CircuitLayer

    with pytest.raises(ConfigError, match="not of str"):
        CircuitLayer("ry(0)")  # pyright: ignore[reportArgumentType]


def test_a_layer_says_what_it_is_and_costs():
    layer = layer_of(shots=None)
    assert f"{CIRCUIT.features} features, 3 outputs, qubits=3, gates=27" in repr(layer)
    r = CIRCUIT.resources()
    cost = layer.cost()
    assert (cost["gates"], cost["depth"], cost["tier"]) == (27, r.depth, "exact expectation")
    assert cost["circuits_per_gradient"] == r.evaluations_gradient
    shots = CIRCUIT.layer(shots=8).cost()
    assert (shots["tier"], shots["shots"]) == ("finite shots", 8)
    assert CIRCUIT.layer(noise=NoiseModel(0.1)).cost()["tier"] == "noisy"
