"""Features as amplitudes: against PennyLane, dense NumPy and differences, on every path, and what is refused."""

from __future__ import annotations

import copy
import importlib.util
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

import random_circuits
from absence import absent
from dopant.errors import ConfigError
from dopant.evaluation.lie_algebra import lie_algebra
from dopant.quantum import Circuit, NoiseModel, QuantumKernel, feature, parameter_shift, weight
from dopant.quantum.templates import amplitude_encoding, strongly_entangling_layers

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own


def tail(c: Circuit) -> Circuit:
    """Gates with shared, sampled and both kinds of angles after a start of three qubits."""
    c = c.rx(0, weight()).rz(1, feature(1) * weight()).cx(0, 1).ry(2, feature(0)).h(1).cx(1, 2).ry(1, weight())
    return c.rzz(0, 2, weight()).rx(2, weight()).gate("rx", 0, 0.7, controls=[1, 2])


WHOLE = tail(Circuit(3).amplitude_encoding())
PADDED = tail(Circuit(3).amplitude_encoding(5, pad=0.4))
SOME = tail(Circuit(3).amplitude_encoding([3, 0, 4], qubits=[2, 0], pad=-0.2))
TWO = tail(Circuit(3).amplitude_encoding([4, 1], qubits=1).amplitude_encoding(range(4), qubits=[2, 0]))
MIXED = tail(Circuit(3).h(0).amplitude_encoding([feature(2) * weight(), 1, weight() - feature(0), 3], qubits=[1, 2]))
CIRCUITS = {"whole": WHOLE, "padded": PADDED, "some": SOME, "two": TWO, "mixed": MIXED}
every = pytest.mark.parametrize("circuit", CIRCUITS.values(), ids=CIRCUITS)


def inputs_for(circuit: Circuit, batch: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, circuit.features, generator=g, dtype=torch.float64)
    w = torch.rand(circuit.weights, generator=g, dtype=torch.float64) * 3 + 0.1
    return x.requires_grad_(), w.requires_grad_()


def outputs(circuit: Circuit, measure, x: torch.Tensor, w: torch.Tensor, path: str = "torch") -> torch.Tensor:
    runner = circuit.layer(measure, path=path).runner
    assert runner.chosen(x) == path
    return runner(x, w)


def by_hand(circuit: Circuit, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """States, sample by sample: the tensor product of the vectors by its definition, then dense matrices."""
    rows = []
    for row in x:
        start = np.zeros(1 << circuit.qubits)
        starts = [g for g in circuit if g.amplitudes is not None]
        for place in range(len(start)):
            value, left = 1.0, set(range(circuit.qubits))
            for g in starts:
                v = np.array([float(a.value(row, w)) for a in g.angles])
                v = np.append(v, np.full((1 << len(g.qubits)) - len(v), g.amplitudes[0]))
                bits = [place >> (circuit.qubits - 1 - q) & 1 for q in g.qubits]
                value *= (v / np.sqrt(v @ v))[int("".join(map(str, bits)), 2)]
                left -= set(g.qubits)
            start[place] = value * all(not place >> (circuit.qubits - 1 - q) & 1 for q in left)
        # h(0) stands before the start of others, which changes nothing
        rest = circuit.with_gates([g for g in circuit if g.amplitudes is None])
        columns = []
        for j in range(len(start)):
            flipped = Circuit(circuit.qubits)
            for q in range(circuit.qubits):
                flipped = flipped.x(q) if j >> (circuit.qubits - 1 - q) & 1 else flipped
            one = torch.as_tensor(row)[None], torch.as_tensor(w)
            columns.append(random_circuits.states(rest.with_gates([*flipped, *rest]), *one)[0])
        rows.append(np.stack(columns, 1) @ start)
    return np.stack(rows)


@every
def test_states_are_those_of_dense_matrices_on_the_product_of_the_vectors(circuit):
    x, w = inputs_for(circuit)
    expected = by_hand(circuit, x.detach().numpy(), w.detach().numpy())
    for path in ("torch", "kernel"):
        assert np.allclose(outputs(circuit, "state", x, w, path).detach(), expected, rtol=0, atol=1e-12)
    assert np.allclose(circuit.state(x, w).detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("measure", ["z", "state", ["XYZ", "ZIZ"], "probabilities"], ids=str)
@every
def test_the_kernel_and_torch_give_the_same_values_and_gradients(circuit, measure):
    x, w = inputs_for(circuit, 19)
    found = [outputs(circuit, measure, x, w, path) for path in ("kernel", "torch")]
    assert torch.allclose(*found, rtol=0, atol=1e-12)
    towards = torch.randn_like(found[0])
    ours, theirs = (torch.autograd.grad(out, (x, w), towards) for out in found)
    for a, b in zip(ours, theirs, strict=True):
        assert b.abs().max() > 0.01 and torch.allclose(a, b, rtol=0, atol=1e-11)


def test_a_kernel_in_blocks_and_single_precision_agree_too():
    c = Circuit(8).amplitude_encoding().compose(strongly_entangling_layers(8, 2))
    x, w = inputs_for(c, 100)
    double = outputs(c, "z", x, w, "torch")
    a, b = x.detach().float().requires_grad_(), w.detach().float().requires_grad_()
    expected = torch.autograd.grad(double.sum(), (x, w))
    for path in ("kernel", "torch"):
        single = outputs(c, "z", a, b, path)
        assert single.dtype == torch.float32 and torch.allclose(single, double.float(), atol=5e-6)
        for p, q in zip(torch.autograd.grad(single.sum(), (a, b)), expected, strict=True):
            assert torch.allclose(p, q.float(), rtol=1e-4, atol=1e-4)
    again = outputs(c, "z", x, w, "kernel")
    for p, q in zip(torch.autograd.grad(again.sum(), (x, w)), expected, strict=True):
        assert torch.allclose(p, q, rtol=0, atol=1e-11)


@pytest.mark.parametrize("measure", ["z", "state"])
def test_values_without_gradients_and_gradients_asked_for_one_by_one_or_many_at_once_are_the_same(measure):
    c = Circuit(3).amplitude_encoding(6, pad=0.3).ry(0, weight()).cx(0, 1).rx(1, feature(0) * weight()).cx(1, 2)
    x, w = inputs_for(c, 37)  # whole chunks of samples and a part of one
    values = outputs(c, measure, x, w, "kernel")
    with torch.no_grad():
        assert torch.equal(outputs(c, measure, x, w, "kernel"), values)
    towards = torch.randn(2, *values.shape, dtype=values.dtype, generator=torch.Generator().manual_seed(1))
    many = torch.autograd.grad(values, (x, w), towards, is_grads_batched=True, retain_graph=True)
    for k in range(2):
        one = torch.autograd.grad(values, (x, w), towards[k], retain_graph=True)
        for a, b in zip(one, many, strict=True):
            assert torch.allclose(a, b[k], rtol=0, atol=1e-12)
    (alone,) = torch.autograd.grad(outputs(c, measure, x.detach(), w, "kernel"), w, towards[0])
    (whole,) = torch.autograd.grad(values, w, towards[0])
    assert torch.equal(alone, whole)


@pytest.mark.parametrize("path", ["kernel", "torch"])
def test_first_and_second_derivatives_pass_finite_differences(path):
    c = Circuit(2).amplitude_encoding([0, 1, 2], pad=0.5).ry(0, weight()).cx(0, 1).rx(1, feature(0) * weight())
    x, w = inputs_for(c, 2, seed=3)
    assert torch.autograd.gradcheck(lambda x, w: outputs(c, "z", x, w, path), (x, w))
    assert torch.autograd.gradgradcheck(lambda x, w: outputs(c, "z", x, w, path), (x, w))


def test_the_gradient_of_features_has_no_part_along_them_and_that_of_unnormalised_ones_has():
    c = Circuit(3).amplitude_encoding().compose(strongly_entangling_layers(3, 1))
    x, w = inputs_for(c)
    (slope,) = torch.autograd.grad(outputs(c, "z", x, w, "kernel")[:, 0].sum(), x)
    assert slope.abs().max() > 0.1 and ((slope * x).sum(1)).abs().max() < 1e-12
    unit = torch.nn.functional.normalize(x.detach()).requires_grad_()
    raw = Circuit(3).amplitude_encoding(normalise=False).compose(strongly_entangling_layers(3, 1))
    values = outputs(raw, "z", unit, w, "kernel")
    assert torch.allclose(values, outputs(c, "z", x, w, "kernel"), atol=1e-12)
    (slope,) = torch.autograd.grad(values[:, 0].sum(), unit)
    assert torch.allclose((slope * unit).sum(1), 2 * values[:, 0], atol=1e-12)  # of degree two: Euler's theorem


@pytest.mark.parametrize("pad", [0.0, 0.5])  # which PennyLane keeps in single precision
def test_values_and_gradients_are_those_of_pennylanes_amplitude_embedding(pad):
    if importlib.util.find_spec("pennylane") is None:
        absent("pennylane")
    import pennylane as qml

    @qml.qnode(qml.device("default.qubit", wires=3), interface="torch", diff_method="backprop")
    def theirs(x, w):
        qml.AmplitudeEmbedding(x, wires=[2, 0], pad_with=pad, normalize=True)
        qml.RX(w[0], wires=0)
        qml.CNOT(wires=[0, 1])
        qml.RY(w[1], wires=2)
        return [*(qml.expval(qml.Z(q)) for q in range(3)), qml.expval(qml.X(0) @ qml.X(1) @ qml.Z(2))]

    ours = Circuit(3).amplitude_encoding(3, qubits=[2, 0], pad=pad).rx(0, weight()).cx(0, 1).ry(2, weight())
    x, w = inputs_for(ours)
    found = torch.stack(list(theirs(x, w)), 1)
    for path in ("kernel", "torch"):
        made = torch.cat([outputs(ours, "z", x, w, path), outputs(ours, "XXZ", x, w, path)], 1)
        assert torch.allclose(made, found, rtol=0, atol=1e-12)
        towards = torch.linspace(-1, 2, 20, dtype=torch.float64).reshape(5, 4)
        for a, b in zip(torch.autograd.grad(made, (x, w), towards),
                        torch.autograd.grad(found, (x, w), towards, retain_graph=True), strict=True):  # fmt: skip
            assert torch.allclose(a, b, rtol=0, atol=1e-12)


@every
def test_shifted_circuits_give_autograds_derivatives_by_amplitudes_too_and_are_counted(circuit):
    x, w = inputs_for(circuit, 3, seed=1)
    measure = ["ZZI", "IXY", "XIX"]
    shifted = parameter_shift(circuit, measure, x, w)
    values = outputs(circuit, measure, x, w)
    assert torch.allclose(shifted.values, values, atol=1e-12)
    for k in range(3):
        for b in range(3):
            by_x, by_w = torch.autograd.grad(values[b, k], (x, w), retain_graph=True)
            assert torch.allclose(shifted.features[b, k], by_x[b], atol=1e-12)
            assert torch.allclose(shifted.weights[b, k], by_w, atol=1e-12)
    assert shifted.circuits == circuit.resources(measure="z").evaluations_gradient


def test_shifts_hold_where_a_vector_is_a_basis_state_and_where_nothing_is_normalised():
    c = Circuit(2).amplitude_encoding(normalise=False).ry(0, 0.4).cx(0, 1).rx(1, 0.3)
    x = torch.tensor([[0.0, -1, 0, 0], [0.6, 0, 0, 0.8]], dtype=torch.float64, requires_grad=True)
    for circuit in (c, c.with_gates([replace(c.gates[0], amplitudes=(0.0, True)), *c.gates[1:]])):
        (expected,) = torch.autograd.grad(outputs(circuit, "ZX", x, torch.zeros(0).to(x)).sum(), x)
        found = parameter_shift(circuit, "ZX", x)
        assert found.circuits == 8 and torch.allclose(found.features[:, 0], expected, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_hardware_cost_is_that_of_the_circuit_that_prepares_one_vector(n):
    found = Circuit(n).amplitude_encoding().resources()
    fixed = amplitude_encoding(np.arange(1.0, 2**n + 1)).resources()
    assert found.two_qubit_gates == fixed.two_qubit_gates == 2**n - 2
    assert found.elementary_depth == fixed.elementary_depth and found.exact
    assert found.evaluations_feature_gradient == 2 * 2**n and found.evaluations_weight_gradient == 0
    assert found.memory_step > Circuit(n).ry(0, feature(0)).resources().memory_step and found.flops_step > 0


def test_noise_is_that_of_one_gate_and_without_any_the_state_is_pure():
    c = Circuit(2).amplitude_encoding(3).cx(0, 1).rx(0, weight())
    x, w = inputs_for(c)
    pure = c.layer("probabilities", noise=NoiseModel(), dtype=torch.float64)
    noisy = c.layer("z", noise=NoiseModel(two=0.2), dtype=torch.float64)
    for layer in (pure, noisy):
        layer.load_state_dict({"weights": w})
    assert torch.allclose(pure(x), outputs(c, "probabilities", x, w), atol=1e-12)
    # both gates on two qubits mix with probability 0.2, after which no Z is left
    assert torch.allclose(noisy(x), 0.8**2 * outputs(c, "z", x, w), atol=1e-12)
    for a, b in zip(torch.autograd.grad(noisy(x).sum(), x), torch.autograd.grad(
            0.64 * outputs(c, "z", x, w).sum(), x), strict=True):  # fmt: skip
        assert torch.allclose(a, b, atol=1e-12)


def test_shots_scatter_about_the_exact_values_with_their_gradient():
    c = Circuit(2).amplitude_encoding().cx(0, 1)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    exact, drawn = c.layer(), c.layer(shots=4000, generator=torch.Generator().manual_seed(1))
    assert (exact(x) - drawn(x)).abs().max() < 5 / 4000**0.5 and not torch.equal(exact(x), drawn(x))
    ours, theirs = (torch.autograd.grad(of(x).sum(), x)[0] for of in (exact, drawn))
    assert torch.allclose(ours, theirs, atol=1e-12)


def test_kernels_of_amplitudes_are_squared_cosines():
    X = np.random.default_rng(0).normal(size=(7, 5))
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    kernel = QuantumKernel(amplitude_encoding(3, features=5))
    assert np.allclose(kernel(X), (unit @ unit.T) ** 2, atol=1e-12)
    assert QuantumKernel(amplitude_encoding(3, features=5), kind="projected")(X, X[:2]).shape == (7, 2)


@pytest.mark.parametrize("path", ["auto", "torch"])
@pytest.mark.parametrize("shape", [(0,), (1,), (2, 3), ()])
def test_any_leading_axes_and_precisions(shape, path):
    layer = Circuit(2).amplitude_encoding().ry(0, weight()).layer(path=path)
    x = torch.randn(*shape, 4, requires_grad=True)
    out = layer(x)
    assert out.shape == (*shape, 2) and out.dtype == torch.float32
    out.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape
    assert layer(x.detach().double()).dtype == torch.float64
    assert torch.allclose(layer(x.detach().bfloat16()).float(), out, atol=0.05)


@pytest.mark.parametrize("path", ["kernel", "torch"])
def test_numbers_of_any_size_make_a_state_and_nan_stays_in_its_row(path):
    layer = Circuit(2).amplitude_encoding().ry(0, 0.3).layer("probabilities", path=path)
    x = torch.tensor([[1.0, -2.0, 3.0, 0.5]])
    every = torch.cat([x, x * 1e30, x * 1e-30, x * float("nan")])
    found = layer(every)
    assert torch.allclose(found[:3], found[:1].expand(3, -1), atol=1e-6) and found[3].isnan().all()
    grown = (x * 1e30).requires_grad_()
    (slope,) = torch.autograd.grad(layer(grown)[0, 1], grown)
    assert slope.abs().max() > 1e-32 and slope.isfinite().all()


def test_openqasm_of_one_sample_prepares_its_state_and_weights_may_stay_open():
    c = tail(Circuit(3).amplitude_encoding([3, 0, 4], qubits=[2, 0], pad=-0.2))
    x, w = inputs_for(c, 1)
    read = Circuit.from_qasm(c.to_qasm(x[0].detach(), w.detach()))
    assert torch.allclose(read.state()[None].to(torch.complex128), c.state(x, w), atol=1e-6)
    opened = Circuit.from_qasm(c.to_qasm(x[0].detach()))
    assert opened.weights == c.weights and opened.features == 0
    with pytest.raises(ConfigError, match=r"gate 0 \('amplitude_encoding'\).*pass `features`"):
        c.to_qasm(weights=w.detach())


def test_pictures_and_labels_name_the_columns():
    c = Circuit(3).amplitude_encoding(range(2, 6), qubits=[0, 2], normalise=False).cx(0, 1)
    assert c.draw().splitlines()[0].startswith("q0: ──Amp[0](x[2:6])─●")
    assert "Amp" in c.draw("svg") and "x[2:6]" in c.draw("svg")
    assert c.gates[0].label() == "amplitude_encoding(x[2:6], normalise=False)"
    other = Circuit(1).amplitude_encoding([1, feature(0) * weight()], pad=0.5)
    assert other.gates[0].label() == "amplitude_encoding(x[1], x[0]*w[0], pad=0.5)"
    assert "Amp(x[1],x[0]·w[0])" in other.draw()


def test_composition_renumbers_columns_and_weights_and_copies_are_equal():
    inner = Circuit(2).amplitude_encoding([feature(1) * weight(), 0]).ry(0, weight())
    c = Circuit(3).ry(1, feature(0) + weight()).compose(inner, [2, 0], first_feature=1)
    assert (c.features, c.weights, c.gates[1].qubits) == (3, 3, (2, 0))
    assert str(c.gates[1].angles[0]) == "x[2]*w[1]"
    both = Circuit(2).amplitude_encoding(2, qubits=0) + Circuit(2).amplitude_encoding(2, qubits=1)
    assert [g.qubits for g in both] == [(0,), (1,)]
    assert pickle.loads(pickle.dumps(c)) == c == copy.deepcopy(c) and hash(c) == hash(copy.copy(c))
    assert amplitude_encoding(2, first=3) == Circuit(2).amplitude_encoding(range(3, 7))


def test_the_algebra_of_a_circuit_is_that_of_the_gates_after_the_start():
    for start in (Circuit(2).amplitude_encoding(), Circuit(2).amplitude_encoding([feature(0) * 0 + 2])):
        assert lie_algebra(start.rx(0, weight()).rz(0, weight())).dimension == 3


one = Circuit(2)
REFUSED = {
    "a gate before": (lambda: one.h(1).amplitude_encoding(), ["gate 1", "gate 0 ('h') acted on qubit 1", "first"]),
    "another start before": (lambda: one.amplitude_encoding().amplitude_encoding(2, qubits=0), ["gate 1", "qubit 0"]),
    "composed after": (lambda: one.h(0).compose(Circuit(1).amplitude_encoding(), [0]), ["gate 1", "gate 0 ('h')"]),
    "added after": (lambda: one.h(0) + one.amplitude_encoding(), ["gate 1", "gate 0 ('h')"]),
    "too many": (lambda: one.amplitude_encoding(5), ["gate 0", "5 features for 4", "3 qubits have 8"]),
    "too many on some": (lambda: one.amplitude_encoding([0, 1, 2], qubits=1), ["3 features for 2", "2 qubits"]),
    "none": (lambda: one.amplitude_encoding([]), ["0 features", "at least one"]),
    "count 0": (lambda: one.amplitude_encoding(0), ["features=0", "1 to 4"]),
    "no list": (lambda: one.amplitude_encoding(2.5), ["features=2.5", "range"]),
    "a vector": (lambda: one.amplitude_encoding([0.5, 0.5]), ["amplitude 0", "templates.amplitude_encoding(vector)"]),
    "a negative column": (lambda: one.amplitude_encoding([-1]), ["feature(-1)"]),
    "pad": (lambda: one.amplitude_encoding(pad=weight()), ["pad=", "no number"]),
    "pad NaN": (lambda: one.amplitude_encoding(pad=float("nan")), ["pad", "finite"]),
    "normalise": (lambda: one.amplitude_encoding(normalise=1), ["normalise=1"]),
    "qubit": (lambda: one.amplitude_encoding(2, qubits=[2]), ["gate 0", "qubit 2 is out of range"]),
    "twice": (lambda: one.amplitude_encoding(qubits=[1, 1]), ["named twice"]),
    "inverse": (lambda: one.amplitude_encoding().inverse(), ["no inverse", "QuantumKernel"]),
    "controlled": (lambda: one.controlled(0, "amplitude_encoding", 1), ["no controlled form", "templates"]),
    "template options of a vector": (lambda: amplitude_encoding([1.0, 2.0], pad=1.0), ["fixed vector"]),
    "template first": (lambda: amplitude_encoding(2, first=-1), ["first=-1"]),
    "a state by shifts": (
        lambda: parameter_shift(one.amplitude_encoding(), "state", torch.ones(1, 4)), ["state", "expectations"]),
    "too few columns": (lambda: one.amplitude_encoding().state(torch.ones(1, 3)), ["(…, 4)", "amplitude_encoding"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_the_reason_and_a_way_out(case):
    call, words = REFUSED[case]
    with pytest.raises(ConfigError) as refused:
        call()
    for word in words:
        assert word in str(refused.value), str(refused.value)


@pytest.mark.parametrize("path", ["kernel", "torch"])
@pytest.mark.parametrize("how", ["exact", "shots", "noise"])
def test_zero_and_unnormalised_vectors_are_refused_with_their_sample(how, path):
    more = {"exact": {"path": path}, "shots": {"shots": 3}, "noise": {"noise": NoiseModel(one=0.1)}}[how]
    x = torch.eye(4)[:3].repeat(2, 1)
    x[4] = 0
    layer = Circuit(2).amplitude_encoding().layer(**more)
    with pytest.raises(ConfigError, match=r"on qubits 0, 1: sample 4 of 6 has no amplitude but zeros.*pad"):
        layer(x)
    raw = Circuit(2).amplitude_encoding(normalise=False).layer(**more)
    x[4] = 0.6
    with pytest.raises(ConfigError, match=r"sample 4 of 6 has a squared norm of 1\.44, not 1; divide"):
        raw(x)
    layer(x)
    assert Circuit(2).amplitude_encoding(3, pad=0.1).layer(**more)(torch.zeros(1, 3)).isfinite().all()
