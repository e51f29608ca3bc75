"""The components `circuit` and `circuit-shots`: what they build, against networks built by hand, and refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dopant as dp
from dopant.components.quantum.circuit import ANSATZES, ENCODINGS, DressedCircuit, built
from dopant.errors import ComponentRefused, ConfigError, SlotMismatch
from dopant.quantum import Circuit, NoiseModel, feature, weight
from dopant.quantum.templates import angle_encoding, strongly_entangling_layers

X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))


def in_slot(old: nn.Module | None = None, seed: int = 0, name: str = "circuit", x: torch.Tensor = X, **options):
    return dp.swap(nn.Sequential(old or nn.Linear(5, 3)), {"0": {"component": name, **options}}, x, seed=seed)[0]


def test_it_is_a_linear_map_a_circuit_and_a_linear_map():
    new = in_slot(qubits=4, layers=2)
    assert isinstance(new, DressedCircuit) and sorted(dict(new.named_parameters())) == [
        "after.bias", "after.weight", "before.bias", "before.weight", "circuit.weights"]  # fmt: skip
    circuit = angle_encoding(4).compose(strongly_entangling_layers(4, 1))
    circuit = circuit.compose(angle_encoding(4)).compose(strongly_entangling_layers(4, 1))
    by_hand = nn.Sequential(nn.Linear(5, 4), circuit.layer(), nn.Linear(4, 3))
    by_hand.load_state_dict({
        "0.weight": new.before.weight, "0.bias": new.before.bias, "1.weights": new.circuit.weights,
        "2.weight": new.after.weight, "2.bias": new.after.bias,
    })  # fmt: skip
    assert torch.equal(new(X), by_hand(X)) and new.circuit.circuit == circuit
    towards = torch.randn(6, 3)
    for a, b in zip(torch.autograd.grad(new(X), list(new.parameters()), towards),
                    torch.autograd.grad(by_hand(X), [dict(by_hand.named_parameters())[k] for k in
                    ("0.weight", "0.bias", "1.weights", "2.weight", "2.bias")], towards), strict=True):  # fmt: skip
        assert torch.equal(a, b)


def test_maps_are_left_out_where_the_widths_are_equal_and_the_bias_where_there_was_none():
    new = in_slot(nn.Linear(4, 4, bias=False), qubits=4, x=torch.randn(2, 4))
    assert [n for n, _ in new.named_parameters()] == ["circuit.weights"]
    x = torch.randn(2, 4)
    assert torch.equal(new(x), new.circuit(x))
    assert in_slot(nn.Linear(5, 3, bias=False), qubits=2).after.bias is None


@pytest.mark.parametrize("measure", ["probabilities", ["ZZ", "XI"], "x"])
def test_what_is_measured_sets_the_width_of_the_map_behind(measure):
    new = in_slot(qubits=2, measure=measure)
    assert new.after.in_features == {"probabilities": 4, "x": 2}.get(str(measure), 2)
    assert new.circuit.measured == Circuit(2).layer(measure).measured


@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if e != "amplitude"])
@pytest.mark.parametrize("ansatz", ANSATZES)
def test_every_encoding_goes_with_every_ansatz_and_reuploads_unless_told_not_to(encoding, ansatz):
    once = built(None, 3, 3, encoding, ansatz, reupload=False)
    again = built(None, 3, 3, encoding, ansatz, reupload=True)
    block, encode = ANSATZES[ansatz](3), ENCODINGS[encoding](3)
    assert len(once) == len(encode) + 3 * len(block) and len(again) == 3 * (len(encode) + len(block))
    assert (once.weights, once.features) == (again.weights, again.features) == (3 * block.weights, 3)
    assert built(None, 3, 1, encoding, ansatz, True) == built(None, 3, 1, encoding, ansatz, False)


def test_amplitudes_take_all_inputs_there_is_room_for_without_a_map_and_once():
    new = in_slot(encoding="amplitude", qubits=4)
    assert [n for n, _ in new.named_parameters()] == ["circuit.weights", "after.weight", "after.bias"]
    assert [g.name for g in new.circuit.circuit].count("amplitude_encoding") == 1 and new.circuit.circuit.features == 5
    psi = nn.functional.normalize(nn.functional.pad(X, (0, 11)))
    block = strongly_entangling_layers(4, 1).compose(strongly_entangling_layers(4, 1))
    columns = torch.stack([  # what each basis state becomes
        Circuit(4).unitary(range(4), torch.eye(16).roll(j, 0)).compose(block).state(weights=new.circuit.weights)
        for j in range(16)])  # fmt: skip
    p = (psi.to(columns.dtype) @ columns).abs().square()
    z = torch.stack([p.reshape(-1, 1 << q, 2, 8 >> q).sum((1, 3)) @ torch.tensor([1.0, -1.0]) for q in range(4)], 1)
    assert torch.allclose(new(X), new.after(z), atol=1e-5)
    narrow = in_slot(encoding="amplitude", qubits=2, name="circuit-shots")
    assert (narrow.before.in_features, narrow.before.out_features) == (5, 4)


QASM = """OPENQASM 3.0;
include "stdgates.inc";
input float x_0;
input float w_0;
qubit[2] q;
ry(x_0) q[0];
cx q[0], q[1];
rx(w_0 + 2 * x_0) q[1];
"""
SAME = Circuit(2).ry(0, feature(0)).cx(0, 1).rx(1, weight(0) + 2 * feature(0))


@pytest.mark.parametrize("how", ["text", "file", "Circuit"])
def test_any_circuit_can_be_given_as_a_value_as_openqasm_and_as_its_file(how, tmp_path):
    file = tmp_path / "mine.qasm"
    file.write_text(QASM)
    given = {"text": QASM, "file": str(file), "Circuit": SAME}[how]
    new = in_slot(circuit=given)
    assert (new.before.out_features, new.circuit.circuit.weights, new.after.in_features) == (1, 1, 2)
    layer = SAME.layer()
    layer.load_state_dict(new.circuit.state_dict())
    assert torch.allclose(new(X), new.after(layer(new.before(X))), atol=1e-6)


def test_a_circuit_without_features_gives_every_sample_the_same():
    constant = Circuit(2).ry(0, weight()).cx(0, 1)
    new = DressedCircuit(5, 3, constant)
    assert torch.allclose(new(X), new(X)[:1].expand(6, 3), atol=1e-6)
    with pytest.raises(ComponentRefused, match="law 'gradient'"):
        in_slot(circuit=constant)


def test_the_same_seed_starts_alike_and_another_does_not():
    first, second, third = in_slot(seed=1), in_slot(seed=1), in_slot(seed=2)
    assert torch.equal(first(X), second(X)) and not torch.allclose(first(X), third(X))
    angles = first.circuit.weights
    assert angles.min() >= 0 and 1 < angles.max() < 2 * torch.pi


def test_shots_draw_around_the_exact_outputs_in_evaluation_too():
    exact, drawn = in_slot(qubits=3), in_slot(qubits=3, name="circuit-shots", shots=400)
    drawn.load_state_dict(exact.state_dict())
    torch.manual_seed(0)
    many = torch.stack([drawn.eval()(X) for _ in range(200)])
    spread = many.std(0)
    assert spread.min() > 0 and ((many.mean(0) - exact(X)).abs() < 4.5 * spread / 200**0.5).all()
    torch.manual_seed(0)
    assert torch.equal(drawn(X), many[0])
    ours, theirs = (torch.autograd.grad(m(X).sum(), m.circuit.weights)[0] for m in (drawn, exact))
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert (drawn.circuit.cost()["tier"], exact.circuit.cost()["tier"]) == ("finite shots", "exact expectation")


def test_a_dressed_circuit_takes_noise():
    clean = DressedCircuit(5, 3, SAME)
    noisy = DressedCircuit(5, 3, SAME, noise=NoiseModel(one=0.2, two=0.3))
    noisy.load_state_dict(clean.state_dict())
    rows = clean.before(X)
    # Z of qubit 0 meets one gate on one qubit and one on two
    assert torch.allclose(noisy.circuit(rows)[:, 0], 0.8 * 0.7 * clean.circuit(rows)[:, 0], atol=1e-6)
    assert torch.allclose(noisy(X), noisy.after(noisy.circuit(rows)), atol=1e-6)


def test_leading_axes_and_double_precision_go_through():
    old = nn.Linear(5, 3).double()
    new = in_slot(old, x=torch.randn(2, 3, 5, dtype=torch.float64), qubits=3)
    out = new(torch.randn(2, 3, 5, dtype=torch.float64))
    assert out.shape == (2, 3, 3) and out.dtype == torch.float64 == new.circuit.weights.dtype
    assert new(torch.zeros(2, 0, 5, dtype=torch.float64)).shape == (2, 0, 3)
    with pytest.raises(ValueError, match=r"takes \(\.\.\., 5\), not \(2, 4\)"):
        new(torch.zeros(2, 4, dtype=torch.float64))


BAD = {
    "no such encoding": ({"encoding": "anlge"}, ConfigError, "'encoding'.*'angle'.*not 'anlge'"),
    "no such ansatz": ({"ansatz": "su3"}, ConfigError, "'ansatz'.*su4-brickwall.*not 'su3'"),
    "no qubits": ({"qubits": 0}, ConfigError, "qubits=0.*1 to 24"),
    "too many qubits": ({"qubits": 40}, ConfigError, "qubits=40.*1 to 24"),
    "half a layer": ({"layers": 1.5}, ConfigError, "'layers'.*not 1.5"),
    "state": ({"measure": "state"}, ConfigError, "complex amplitudes"),
    "strings of other length": ({"measure": ["ZZ"]}, ConfigError, "'ZZ' has 2 letters; the circuit has 4 qubits"),
    "no such file": ({"circuit": "none.qasm"}, ConfigError, "'none.qasm' is neither OpenQASM 3 text nor a file"),
    "no circuit": ({"circuit": 3}, ConfigError, "circuit=3: give a dopant.quantum.Circuit"),
    "no option": ({"qubit": 3}, ConfigError, "qubit"),
    "shots": ({"name": "circuit-shots", "shots": 0}, ConfigError, "shots=0"),
}


@pytest.mark.parametrize("name", BAD)
def test_options_that_cannot_be_are_refused(name):
    options, error, words = BAD[name]
    with pytest.raises(error, match=words):
        in_slot(**options)


def test_other_slots_are_refused():
    with pytest.raises(SlotMismatch):
        dp.swap(nn.Sequential(nn.Conv2d(1, 2, 3)), {"0": "circuit"}, torch.randn(2, 1, 5, 5))
    with pytest.raises(SlotMismatch):
        dp.swap(
            nn.Sequential(nn.Linear(3, 2, dtype=torch.complex64)),
            {"0": "circuit"},
            torch.randn(2, 3, dtype=torch.complex64),
        )
