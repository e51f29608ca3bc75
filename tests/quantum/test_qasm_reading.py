"""What OpenQASM means here, and what is said about texts that are not read."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import random_circuits
from dopant.errors import ConfigError, DopantError, UnknownName
from dopant.quantum import Circuit, feature, weight
from dopant.quantum.qasm import from_qasm, to_qasm

HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
NOTHING = torch.zeros(0, dtype=torch.float64)


def read(body: str, **more: object) -> Circuit:
    return from_qasm(HEAD + body, **more)


def matrix(of: Circuit) -> np.ndarray:
    return random_circuits.matrix(of, NOTHING, NOTHING)


def test_registers_follow_one_another_and_stand_for_all_their_qubits():
    found = read("qubit[2] a; qubit b; qubit[2] c; h a; cx a, c; x c[-1]; cz b, a;")
    expected = Circuit(5).h(0).h(1).cx(0, 3).cx(1, 4).x(4).cz(2, 0).cz(2, 1)
    assert found == expected


def test_arithmetic_is_that_of_the_specification():
    found = read("""
        const float half = 1.0/2; const int n = 3;
        input float[64] x_0; input angle[32] w_1;
        qubit q;
        rx(-2**2 + half*n) q; rx(2*(x_0 - pi)*w_1/4 + sin(pi/6)) q; rx(τ - 1_000.5e-1 + .5) q; rx(x_0**2) q; rx(4/2) q;
    """)
    angles = [g.angles[0] for g in found]
    assert angles[0].constant == -2.5 and angles[4].constant == 2
    assert angles[1].value(torch.tensor([0.3]), [0, 5.0]).item() == pytest.approx(2 * (0.3 - math.pi) * 5 / 4 + 0.5)
    assert angles[2].constant == math.tau - 100.05 + 0.5
    assert angles[3] == feature(0) * feature(0)


def test_names_of_inputs_say_what_they_are():
    declare = "".join(f"input float[64] {n};" for n in ("theta_0", "x_1", "_w_2_", "beta", "theta_1"))
    body = "qubit q; rx(theta_0) q; rx(x_1) q; rx(_w_2_) q; rx(beta) q; rx(theta_1) q;"
    angles = [g.angles[0] for g in read(declare + body)]
    assert angles == [feature(2), feature(1), weight(2), feature(3), feature(4)]
    angles = [g.angles[0] for g in read(declare + body, weights=["theta_*"])]
    assert angles == [weight(3), feature(1), weight(2), feature(2), weight(4)]


def test_modifiers_nest_from_the_inside():
    found = matrix(read("qubit[4] q; ctrl @ negctrl @ inv @ pow(3) @ s q[2], q[0], q[1];"))
    s = np.diag([1, 1j]).conj().T  # s^-3 = s
    expected = np.eye(16, dtype=complex)
    for i in range(16):
        bit = [i >> (3 - q) & 1 for q in range(4)]
        if bit[2] and not bit[0]:
            expected[i, i] = np.linalg.matrix_power(s, 3)[bit[1], bit[1]]
    assert abs(found - expected).max() < 1e-14


def test_a_phase_of_the_whole_is_kept_and_under_controls_it_is_a_gate():
    found = matrix(read("qubit[2] q; gphase(pi/3); ctrl @ gphase(0.5) q[1]; ctrl(2) @ gphase(0.25) q[0], q[1];"))
    assert abs(found - np.exp(1j * math.pi / 3) * np.diag(np.exp(1j * np.array([0, 0.5, 0, 0.75])))).max() < 1e-14


def test_a_definition_that_is_ours_becomes_ours_and_another_is_written_out():
    ours = "gate rzz(t) a, b { cx a, b; rz(t) b; cx a, b; }"
    assert read(f"{ours} qubit[2] q; rzz(0.3) q[1], q[0];") == Circuit(2).rzz(1, 0, 0.3)
    phase = "gate rzz(t) a, b { cx a, b; p(t) b; cx a, b; }"
    found = read(f"{phase} qubit[2] q; rzz(0.3) q[1], q[0];")
    assert [g.name for g in found] == ["cx", "p", "cx"]


def test_definitions_use_definitions_parameters_and_functions_of_them():
    text = """gate half(t) a { rx(t/2) a; }
    gate both(s, t) a, b { barrier a; ctrl @ half(s*cos(t)) a, b; inv @ half(t) a; }
    qubit[2] q; both(1.0, pi/3) q[1], q[0];"""
    expected = Circuit(2).gate("rx", 0, math.cos(math.pi / 3) / 2, controls=[1]).rx(1, -math.pi / 6)
    assert abs(matrix(read(text)) - matrix(expected)).max() < 1e-14


def test_the_end_of_a_circuit_is_passed_over():
    found = read("qubit[2] q; bit[2] c; reset q; h q[0]; barrier q; c[0] = measure q[0]; x q[1]; measure q[1] -> c[1];")
    assert found == Circuit(2).h(0).x(1)
    assert read("qubit[2] q; h q; bit[2] c = measure q;") == Circuit(2).h(0).h(1)


def test_version_two_has_its_own_words():
    found = from_qasm("""OPENQASM 2.0; include "qelib1.inc";
    qreg q[3]; creg c[3]; // comment
    u3(pi/2^1, 1/2, 3) q[0]; u2(0, pi) q[1]; cu1(0.5) q[0], q[1]; cu3(1,2,3) q[1],q[2]; rzz(0.1) q[0],q[2]; sxdg q[0];
    barrier q[0],q[1]; measure q -> c;""")
    expected = Circuit(3).u(0, math.pi / 2, 0.5, 3).u(1, math.pi / 2, 0, math.pi).cp(0, 1, 0.5)
    assert found == expected.gate("u", 2, 1, 2, 3, controls=[1]).rzz(0, 2, 0.1).sxdg(0)


def test_a_circuit_that_was_read_can_grow():
    found = read("input float w_0; qubit q; rx(w_0) q;")
    assert found.weights == 1 and found.ry(0, weight(1)).weights == 2
    with pytest.raises(ConfigError, match="number all of them or none"):
        found.ry(0, weight())
    assert read("qubit q; x q;").rx(0, weight()) == Circuit(1).x(0).rx(0, weight(0))


def test_hardware_qubits_are_numbered_by_themselves():
    assert read("h $2; cx $2, $0;") == Circuit(3).h(2).cx(2, 0)


REFUSED = [
    ("qubit q;\nfor int i in [0:3] { h q; }", "line 4: 'for' is not read: .* unroll loops"),
    ("qubit q; bit c;\nc = measure q;\nh q;", "line 5: a gate on qubit 0 after it was measured: .* move measurements"),
    ("qubit q; bit c; if (c == 1) x q;", "line 3: 'if' is not read: .* decide branches before"),
    ("qubit q; float[64] a = 1;", "'float' is not read: only `input float`"),
    ("qubit q; x q; reset q;", "reset of qubit 0 after a gate on it"),
    ("qubit q; delay[10ns] q;", "'delay' is not read: timing"),
    ("qubit[2] q;\nh q[2];", r"line 4: q\[2\] is out of range; q has 2 qubits"),
    ("qubit[2] q; cx q[0], q[0];", "'cx' names a qubit twice"),
    ("qubit[2] q; cx q[0];", "'cx' acts on 2 qubits, not on 1"),
    ("qubit[2] q; ctrl @ x q[0];", "'x' acts on 1 qubit beside its controls, not on 0"),
    ("qubit[2] a; qubit[3] b; cx a, b;", "registers of 2 and 3 qubits"),
    ("qubit[2] q; rx q[0];", "'rx' takes 1 angle, not 0"),
    ("qubit q; rx(a) q;", "'a' has no value here; declare it, `input float"),
    ("qubit q; rx(1/2) q;", "1/2 of whole numbers is 0 in OpenQASM 3, .* write 1.0/2"),
    ("qubit q; rx(1.0/0) q;", "division by zero"),
    ("qubit q; rx(sqrt(-1)) q;", r"sqrt\(-1\) is no number"),
    ("qubit q; rx(exp(1000)) q;", r"exp\(1000\) is no number"),
    ("qubit q; rx(1e308*10) q;", "no finite number"),
    ("qubit q; rx((-8.0)**0.5) q;", "no finite real number"),
    ("qubit q; input float[64] x_0; rx(sin(x_0)) q;", r"sin of an input: .* a feature of its own"),
    ("qubit q; input float[64] x_0; rx(1/x_0) q;", "division by an input"),
    ("qubit q; input float[64] x_0; rx(x_0**0.5) q;", "whole power from 0 to 16"),
    ("qubit q; input int n;", "input of type 'int' is not read"),
    ("qubit q; input array[float[64], 3] x;", "input of type 'array' is not read"),
    ("qubit q; input float x_0; input float _x_0_;", "x_0 and _x_0_ are one and the same"),
    ("qubit q; pow(0.5) @ x q;", "whole powers are read only; name the root"),
    ("qubit q; pow(2000000) @ x q;", "more than 1000000 gates"),
    ("qubit q; qubit q;", "'q' has a meaning already"),
    ("gate h a { x a; } qubit q;", "'h' has a meaning already"),
    ("gate g a { x b; } qubit q;", "'b' is no qubit of gate 'g'; it has a"),
    ("gate g a { x a;", "no closing brace"),
    ("qubit q; h $0;", "hardware qubits such as"),
    ("qubit q; h q[0:0];", "ranges of qubits are not read"),
    ("qubit q; h r;", r"'r' is no register of qubits \(q\)"),
    ("qubit q; c = measure q;", "unknown gate 'c'"),
    ("qubit q; measure q -> c;", "'c' is no register of bits; declare it"),
    ("qubit q; bit a; bit b; a = b;", "outcome of a measurement only"),
    ("qubit[0] q;", "a size is 1 or more"),
    ("qubit q; h q", "';' expected, not 'the end of the text'"),
    ("qubit q; h ? q;", r"'\?' is no part of OpenQASM"),
    ("qubit q; rx(" + "(" * 500 + "1" + ")" * 500 + ") q;", "nested more than"),
    ('include "mine.inc"; qubit q;', "cannot include 'mine.inc'"),
    ("bit c;", "declares no qubits"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED, ids=[b.replace("\n", " ")[:50] for b, _ in REFUSED])
def test_what_is_not_read_is_refused_with_its_line_and_a_remedy(body: str, message: str):
    with pytest.raises(DopantError, match=message):
        read(body)


def test_unknown_gates_name_their_line_and_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown gate 'cxx'; did you mean .*'cx'.*line 4 of the text"):
        read("qubit[2] q;\ncxx q[0], q[1];")
    with pytest.raises(UnknownName, match=r'line 1 of the text; `include "stdgates.inc";` has it'):
        from_qasm("qubit q; h q;")
    with pytest.raises(UnknownName, match="the text has no definition of it"):
        read("qubit[2] q; iswap q[0], q[1];")


def test_other_versions_and_no_texts_are_refused():
    with pytest.raises(ConfigError, match=r"OpenQASM 4.0 is not read; versions are"):
        from_qasm("OPENQASM 4.0; qubit q;")
    with pytest.raises(ConfigError, match="a text is wanted, not PosixPath"):
        from_qasm(__import__("pathlib").Path("circuit.qasm"))
    with pytest.raises(ConfigError, match="no input is named 'theta'; inputs are x_0"):
        read("input float x_0; qubit q; rx(x_0) q;", weights=["theta"])


def test_definitions_within_definitions_do_not_fill_the_memory():
    text = "gate g0 a { x a; y a; }" + "".join(f"gate g{k} a {{ g{k - 1} a; g{k - 1} a; }}" for k in range(1, 60))
    with pytest.raises(ConfigError, match="more than 1000000 gates"):
        read(text + "qubit q; g59 q;")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.data())
def test_a_damaged_text_is_read_or_refused_never_a_bug(seed: int, data: st.DataObject):
    text = to_qasm(random_circuits.circuit(random.Random(seed), 3, 4, dense=False))
    a = data.draw(st.integers(0, len(text)))
    b = data.draw(st.integers(a, min(len(text), a + 12)))
    middle = data.draw(st.text('()[]{};,@*/-+ .0129aqxw\n"$:=', max_size=6))
    try:
        from_qasm(text[:a] + middle + text[b:])
    except DopantError as error:
        assert str(error)
