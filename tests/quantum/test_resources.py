"""Costs of circuits against Qiskit's and PennyLane's counts, and against published ones."""

from __future__ import annotations

import importlib
import json
import math
import random
from typing import Any

import pytest
import torch

from absence import absent
from dopant.errors import ConfigError
from dopant.quantum import Circuit, feature, templates, weight
from dopant.quantum._elementary import cx_of_two_qubits, elementary
from dopant.quantum.gates import GATES
from dopant.quantum.pauli import pauli_matrix
from dopant.quantum.resources import elementary_depth, resources
from dopant.quantum.run import needed
from dopant.quantum.shift import parameter_shift
from dopant.quantum.statevector import state
from dopant.quantum.templates.encodings import multiplexed


def library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        absent(name)


NONE = torch.zeros(0, dtype=torch.float64)
COMMON = [g for g in GATES if g not in ("rot", "u")]


def both(seed: int, n: int = 4, gates: int = 40) -> tuple[Circuit, Any]:
    """The same random gates here and in Qiskit."""
    rng, c, q = random.Random(seed), Circuit(n), library("qiskit").QuantumCircuit(n)
    for _ in range(gates):
        name = rng.choice(COMMON)
        on = rng.sample(range(n), GATES[name].qubits)
        angles = [rng.uniform(0.1, 3) for _ in GATES[name].angles]
        c = c.gate(name, *on, *angles)
        getattr(q, name)(*angles, *on)
    return c, q


@pytest.mark.parametrize("seed", range(6))
def test_gates_and_depth_as_drawn_are_qiskits(seed: int) -> None:
    c, q = both(seed)
    got = c.resources()
    assert got.by_name == dict(q.count_ops())
    assert (got.depth, got.gates) == (q.depth(), sum(q.count_ops().values()))


@pytest.mark.parametrize("n", [1, 2, 4, 5])
def test_gates_and_depth_of_templates_are_pennylanes(n: int) -> None:
    qml = library("pennylane")
    names = {"RY": "ry", "Rot": "rot", "CNOT": "cx"}
    ops = [qml.RY(0.1, q) for q in range(n)]
    w = torch.rand(3, n, 3, dtype=torch.float64)
    ops += qml.StronglyEntanglingLayers(w, wires=range(n)).decomposition()
    tape = qml.tape.QuantumScript(ops)
    got = resources(templates.angle_encoding(n).compose(templates.strongly_entangling_layers(n, 3)))
    assert got.by_name == {names[k]: v for k, v in tape.specs["resources"].gate_types.items()}
    assert got.depth == tape.graph.get_depth()


@pytest.mark.parametrize("name", COMMON)
def test_two_qubit_gates_after_decomposition_are_as_many_as_qiskits(name: str) -> None:
    qiskit = library("qiskit")
    on, angles = range(GATES[name].qubits), [0.7 for _ in GATES[name].angles]
    q = qiskit.QuantumCircuit(3)
    getattr(q, name)(*angles, *on)
    theirs = qiskit.transpile(q, basis_gates=["u", "cx"], optimization_level=1, seed_transpiler=1)
    got = resources(Circuit(3).gate(name, *on, *angles))
    assert got.exact
    assert got.two_qubit_gates == theirs.count_ops().get("cx", 0)


@pytest.mark.parametrize("seed", range(6))
def test_depth_in_cx_and_one_qubit_gates_is_that_of_qiskit_with_runs_merged(seed: int) -> None:
    qiskit, passes = library("qiskit"), library("qiskit.transpiler.passes")
    rng, n = random.Random(seed), 4
    events = [tuple(rng.sample(range(n), rng.choice([1, 1, 2]))) for _ in range(60)]
    q = qiskit.QuantumCircuit(n)
    for on in events:
        _ = q.cx(*on) if len(on) == 2 else q.u(*(rng.uniform(0.1, 3) for _ in range(3)), *on)
    merged = library("qiskit.transpiler").PassManager([passes.Optimize1qGatesDecomposition(["u", "cx"])]).run(q)
    assert elementary_depth(events, n) == merged.depth()


@pytest.mark.parametrize("controls", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["x", "z", "h", "s", "p", "rx", "ry", "rz", "rot", "u", "swap", "iswap", "rxx", "rzz"])
def test_the_elementary_form_of_a_controlled_gate_reaches_only_what_it_may(name: str, controls: int) -> None:
    kind = GATES[name]
    n = controls + kind.qubits
    c = Circuit(n).gate(name, *range(controls, n), *[0.3] * len(kind.angles), controls=list(range(controls)))
    found = elementary(c.gates[0])
    want = {  # from the constructions that the module names
        "rotation": 2**controls if controls else 0,
        "phase": (2**controls + 2**controls - 2) if controls else 0,
    }
    if name in ("rx", "ry", "rz", "rot"):
        assert found.cx == want["rotation"]
    elif name in ("rxx", "rzz"):
        assert found.cx == 2 + want["rotation"]
    elif name == "swap":
        assert found.cx == (3 if not controls else 2 ** (controls + 2))
    elif name == "iswap":
        assert found.cx == (2 if not controls else 2 + 2 ** (controls + 1))
    elif controls == 1 and name in ("x", "z", "h"):
        assert found.cx == 1
    else:
        assert found.cx == want["phase"]
    assert found.cx == sum(len(e) == 2 for e in found.events)
    assert {q for e in found.events for q in e} == set(range(n))


@pytest.mark.parametrize("controls", [1, 2, 3])
def test_the_elementary_form_of_phases_and_rotations_under_controls_is_enough(controls: int) -> None:
    """With angles put into the one-qubit gates of the form, the same matrix comes out."""
    n, t = controls + 1, 0.7
    above = list(range(controls))
    for name in ("p", "rz"):
        gate = Circuit(n).gate(name, controls, t, controls=above).gates[0]
        diagonal = gate.matrix(NONE, NONE).diagonal()
        phases, c = torch.angle(diagonal), Circuit(n)
        for q in reversed(range(n)):
            pairs = phases.reshape(-1, 2)
            phases = pairs.mean(1)
            if name == "p" or q == controls:  # a rotation has no phase left for its controls
                c = multiplexed(c, "rz", pairs[:, 1] - pairs[:, 0], list(range(q)), q)
        assert tuple(g.qubits for g in c) == elementary(gate).events
        uniform = Circuit(n)
        for q in range(n):
            uniform = uniform.h(q)
        got = state(uniform.compose(c), NONE[None], NONE)[0] * 2 ** (n / 2)
        want = torch.exp(-1j * phases) * diagonal
        torch.testing.assert_close(got, want.to(got.dtype), atol=1e-12, rtol=0)


def test_a_swap_with_a_phase_is_a_rotation_under_a_control_between_two_cx() -> None:
    mine = Circuit(2).cx(0, 1).crx(1, 0, -math.pi).cx(0, 1)
    basis = [Circuit(2), Circuit(2).x(1), Circuit(2).x(0), Circuit(2).x(0).x(1)]
    rows = [state(c.compose(mine), NONE[None], NONE)[0] for c in basis]
    want = Circuit(2).iswap(0, 1).gates[0].matrix(NONE, NONE)
    torch.testing.assert_close(torch.stack(rows, 1), want, atol=1e-12, rtol=0)


@pytest.mark.parametrize("word", ["Z", "XY", "XIZ", "YYZX", "III"])
def test_a_rotation_about_a_string_takes_two_cx_for_each_letter_after_the_first(word: str) -> None:
    qml = library("pennylane")
    weight_of = sum(s != "I" for s in word)
    got = resources(Circuit(len(word)).pauli_exp(word, 0.3)).two_qubit_gates
    assert got == max(0, 2 * (weight_of - 1))
    if weight_of:
        tape = qml.tape.QuantumScript([qml.PauliRot(0.3, word, wires=range(len(word)))])
        (expanded,), _ = qml.transforms.decompose(tape, gate_set={"CNOT", "RX", "RY", "RZ", "Hadamard", "PhaseShift"})
        assert got == sum(op.name == "CNOT" for op in expanded.operations)


def test_a_general_gate_takes_as_many_cx_as_the_published_bound_says() -> None:
    published = {1: 0, 2: 3, 3: 14, 4: 61, 5: 252, 7: 4091}
    for k in (1, 2, 3, 4, 5):
        got = resources(templates.su2n(k))
        assert (got.two_qubit_gates, got.exact) == (published[k], k < 3)
    unitary = torch.linalg.qr(torch.randn(128, 128, dtype=torch.complex128))[0]
    got = resources(Circuit(7).unitary(range(7), unitary))
    assert (got.two_qubit_gates, got.exact) == (4091, False)
    assert got.elementary_depth == math.ceil(4091 / 3)
    assert "at least 4,091 CX" in str(got)


def test_a_general_gate_of_fewer_dimensions_has_a_smaller_bound() -> None:
    assert resources(Circuit(3).special_unitary([0, 1, 2], strings=["XXX", "ZZZ"])).two_qubit_gates == 0
    assert resources(Circuit(3).special_unitary([0, 1, 2], strings=["XYZ"])).two_qubit_gates == 4  # a rotation
    symmetric = resources(Circuit(3).hermitian_exp([0, 1, 2]))
    assert symmetric.two_qubit_gates == math.ceil((8 * 9 / 2 - 1 - 9) / 4)
    assert resources(Circuit(3).hermitian_exp([0, 1, 2], count=8)).two_qubit_gates == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_cx_of_a_two_qubit_matrix_are_as_many_as_qiskit_finds(seed: int) -> None:
    synthesis, library_of = library("qiskit.synthesis"), library("qiskit.circuit.library")
    theirs = synthesis.TwoQubitBasisDecomposer(library_of.CXGate())
    g = torch.Generator().manual_seed(seed)
    seen = set()
    for count in range(5):
        c = Circuit(2)
        for i in range(count + 1):
            for q in (0, 1):
                c = c.rot(q, *(torch.rand(3, generator=g) * 6).tolist())
            c = c.cx(0, 1) if i < count else c
        matrix = torch.eye(4, dtype=torch.complex128)
        for gate in c:
            m = gate.matrix(NONE, NONE)
            m = (
                m
                if len(gate.qubits) == 2
                else torch.kron(*((m, torch.eye(2)) if gate.qubits == (0,) else (torch.eye(2), m)))
            )
            matrix = m.to(torch.complex128) @ matrix
        matrix = matrix * torch.exp(1j * torch.rand(1, generator=g, dtype=torch.float64) * 6)
        found = cx_of_two_qubits(matrix)
        assert found == theirs.num_basis_gates(matrix.numpy()) == min(count, 3)
        seen.add(found)
    assert seen == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["cx", "cz", "cp", "crx", "swap", "iswap", "rxx"])
def test_a_matrix_of_a_known_gate_takes_what_the_gate_takes(name: str) -> None:
    angles = [0.7] * len(GATES[name].angles)
    gate = Circuit(2).gate(name, 0, 1, *angles).gates[0]
    assert resources(Circuit(2).unitary([0, 1], gate.matrix(NONE, NONE))).two_qubit_gates == elementary(gate).cx


def test_evaluations_of_a_gradient_are_those_of_pennylanes_parameter_shift() -> None:
    qml = library("pennylane")
    ops = {
        "rx": (lambda t: qml.RX(t, 0), lambda c, t: c.rx(0, t)),
        "p": (lambda t: qml.PhaseShift(t, 1), lambda c, t: c.p(1, t)),
        "rzz": (lambda t: qml.IsingZZ(t, [0, 1]), lambda c, t: c.rzz(0, 1, t)),
        "word": (lambda t: qml.PauliRot(t, "XYZ", [0, 1, 2]), lambda c, t: c.pauli_exp("XYZ", t)),
        "crx": (lambda t: qml.CRX(t, [0, 1]), lambda c, t: c.crx(0, 1, t)),
        "crz": (lambda t: qml.CRZ(t, [2, 1]), lambda c, t: c.crz(2, 1, t)),
        "cp": (lambda t: qml.ControlledPhaseShift(t, [0, 2]), lambda c, t: c.cp(0, 2, t)),
        "rot": (lambda t: qml.Rot(t, t, t, 1), lambda c, t: c.rot(1, t, t, t)),
        "u": (lambda t: qml.U3(t, t, t, 1), lambda c, t: c.u(1, t, t, t)),
    }
    for name, (theirs, mine) in ops.items():
        mixing = [qml.Hadamard(q) for q in range(3)]
        tape = qml.tape.QuantumScript(
            [*mixing, theirs(0.3)], [qml.expval(qml.PauliY(0) @ qml.PauliY(1) @ qml.PauliX(2))]
        )
        tapes, _ = qml.gradients.param_shift(tape)
        got = resources(mine(Circuit(3).h(0).h(1).h(2), weight()), measure="YYX")
        assert got.evaluations_gradient == len(tapes), name


def test_a_weight_used_twice_costs_for_both_and_an_angle_of_both_kinds_once() -> None:
    w = weight()
    c = Circuit(2).rx(0, w).ry(1, 2 * w + feature(0)).rz(0, feature(1)).rz(1, 0.5)
    got = resources(c, measure="z", shots=100, batch=8)
    assert (got.evaluations_gradient, got.evaluations_weight_gradient) == (6, 4)
    assert (got.shots_forward, got.shots_gradient, got.evaluations_step) == (100, 600, 56)


@pytest.mark.parametrize("name", [*GATES, "pauli_exp", "phase", "special_unitary", "hermitian_exp"])
@pytest.mark.parametrize("controls", [0, 1])
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, in its jvp
def test_evaluations_of_a_gradient_are_as_many_as_shifts_of_ours_take(name: str, controls: int) -> None:
    c, under = Circuit(4).h(0).h(1).h(2), list(range(3, 3 + controls))
    if name in GATES:
        angles = [weight() + feature(0) for _ in GATES[name].angles]
        c = c.gate(name, *range(GATES[name].qubits), *angles, controls=under)
    elif name in ("pauli_exp", "phase"):
        c = c.pauli_exp("XYZ" if name == "pauli_exp" else "III", weight(), controls=under)
    else:
        c = c.special_unitary([0, 1]) if name == "special_unitary" else c.hermitian_exp([0])
    w = torch.rand(c.weights, dtype=torch.float64)
    taken = parameter_shift(c, "YYYY", torch.rand(1, c.features, dtype=torch.float64), w)
    assert resources(c, measure="YYYY").evaluations_gradient == taken.circuits


def test_a_gate_of_few_strings_moves_the_state_within_their_algebra_only() -> None:
    words = ["XI", "ZZ"]  # their commutator is YZ
    theta = torch.tensor([0.4, 1.1], dtype=torch.float64)
    gate = Circuit(2).special_unitary([0, 1], strings=words).gates[0]
    strings = [a + b for a in "IXYZ" for b in "IXYZ"][1:]

    def matrix(t: torch.Tensor) -> torch.Tensor:
        return gate.matrix(NONE, t)

    for k in range(2):
        step = 1e-6 * torch.eye(2, dtype=torch.float64)[k]
        effective = -1j * matrix(theta).mH @ (matrix(theta + step) - matrix(theta - step)) / 2e-6
        shares = {s: float((pauli_matrix(s) @ effective).diagonal().sum().real) / 4 for s in strings}
        assert {s for s, v in shares.items() if abs(v) > 1e-8} == {"XI", "ZZ", "YZ"}


def test_a_gate_of_many_strings_costs_the_strings_of_its_algebra() -> None:
    qml = library("pennylane")
    angles = torch.full((15,), 0.3, dtype=torch.float64, requires_grad=True)
    # PennyLane differentiates by rotations about all strings at 0 before the gate, one for each
    tape = qml.tape.QuantumScript(qml.SpecialUnitary(angles, [0, 1]).decomposition(), [qml.expval(qml.Y(0) @ qml.X(1))])
    tape.trainable_params = range(15)
    tapes, _ = qml.gradients.param_shift(tape)
    assert resources(templates.su2n(2), measure="YX").evaluations_gradient == 2 * 15 == len(tapes)
    c = Circuit(2).special_unitary([0, 1], strings=["XI", "ZZ"])  # with their commutator YZ they close
    assert resources(c).evaluations_gradient == 2 * 3
    assert resources(Circuit(2).special_unitary([0, 1], [0.1, 0.2], ["XI", "ZZ"])).evaluations_gradient == 0
    assert resources(Circuit(2).hermitian_exp([0, 1])).evaluations_gradient == 2 * 15
    assert resources(Circuit(2).hermitian_exp([0, 1])).evaluations_weight_gradient == 0


@pytest.mark.parametrize(
    ("measure", "settings"),
    [("z", 1), ("x", 1), ("probabilities", 1), (["ZZI", "IZZ", "ZIZ"], 1), (["ZZI", "XXI", "IIX"], 2),
     ({"XXI": 1.0}, 1), ([{"XYI": 1.0, "IYZ": 0.5, "ZII": 1.0}], 2), ("III", 0), ("state", 27), (torch.eye(8), 1)],
)  # fmt: skip
def test_observables_that_agree_letter_by_letter_share_a_setting(measure: Any, settings: int) -> None:
    got = resources(Circuit(3).rx(0, weight()), measure=measure)
    assert (got.settings, got.evaluations_forward, got.evaluations_gradient) == (settings, settings, 2 * settings)


def test_grouping_needs_about_as_many_settings_as_pennylanes() -> None:
    qml = library("pennylane")
    rng = random.Random(1)
    words = list(dict.fromkeys("".join(rng.choice("IXYZ") for _ in range(4)) for _ in range(30)))
    words = [w for w in words if set(w) != {"I"}]
    theirs = qml.pauli.group_observables([qml.pauli.string_to_pauli_word(w) for w in words])
    got = resources(Circuit(4), measure=words).settings
    assert abs(got - len(theirs)) <= 2 and got < len(words) - 5


def test_arithmetic_and_memory_follow_the_formula() -> None:
    n, batch = 5, 7
    c = Circuit(n).h(0).rz(1, feature(0)).cx(0, 1).rx(2, weight()).crx(0, 1, weight()).pauli_exp("XYZII", weight())
    got = resources(c, batch=batch, dtype=torch.float64)
    size = 2**n
    forward = (16 + 6 + 0 + 16 + 8 + 16) * size
    assert got.flops_forward == batch * forward
    assert got.flops_step == batch * (3 * forward + 4 * 8 * size)
    assert got.memory_state == batch * size * 16
    assert got.memory_step == needed(c, batch, True, double=True)
    dense = templates.su2n(3)
    assert resources(dense, batch=9).memory_step == needed(dense, 9, True, kernel=False)
    assert resources(c).memory_state == size * 8
    once = resources(templates.su2n(3), batch=4).flops_forward  # one exponential for all samples
    assert once == 4 * 8 * 8 * 8 + 40 * 8**3
    each = resources(Circuit(3).hermitian_exp([0, 1, 2]), batch=4).flops_forward
    assert each == 4 * (8 * 8 * 8 + 40 * 8**3)


def test_resources_read_as_text_and_as_plain_data() -> None:
    c = templates.angle_encoding(3).compose(templates.strongly_entangling_layers(3, 2))
    got = c.resources(shots=1000, batch=2)
    assert str(got).splitlines()[0] == "3 qubits, 3 features, 18 parameters"
    assert "6 rot, 6 cx, 3 ry" in str(got) and "shots 1,000 and 42,000" in str(got)
    assert json.loads(json.dumps(got.as_dict()))["two_qubit_gates"] == 6
    assert str(Circuit(1).resources()).startswith("1 qubit, 0 features, 0 parameters\n0 gates, depth 0")
    assert Circuit(1).resources().depth == 0


def test_the_name_of_a_controlled_gate_says_so() -> None:
    c = Circuit(3).controlled([0, 1], "ry", 2, weight())
    got = resources(c)
    assert got.by_name == {"c.c.ry": 1} and got.evaluations_gradient == 4 and got.two_qubit_gates == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": 0}, "batch"),
        ({"shots": 0}, "shots"),
        ({"dtype": torch.int32}, "float32"),
        ({"measure": "ZZ"}, "letters"),
    ],
)
def test_costs_of_nothing_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        resources(Circuit(3), **options)
