"""What a circuit says when it is called wrongly, and what a copy of it knows of the weights that it was made of."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

from dopant.errors import ConfigError
from dopant.quantum import Circuit, weight

ONE = Circuit(3).h(0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ONE.ry(0), ["gate 1 ('ry')", "takes ry(qubit, angle)", "angle missing", "weight()"]),
        (lambda: ONE.rot(0, 0.1), ["rot(qubit, phi, theta, omega)", "theta, omega missing: add them"]),
        (lambda: ONE.cx(0), ["gate 1 ('cx')", "cx(control, target)", "target missing"]),
        (lambda: ONE.h(), ["h(qubit)", "qubit missing"]),
        (lambda: ONE.ry(0, 1, 2), ["ry(qubit, angle), not ry(0, 1, 2)", "1 too many"]),
        (lambda: ONE.ry(0, theta=1), ["not ry(0, theta=1)", "it has no 'theta'"]),
        (lambda: ONE.h(0, qubit=1), ["'qubit' is given twice"]),
        (lambda: ONE.pauli_exp("XY"), ["pauli_exp(letters, angle, qubits=…, controls=…)", "angle missing"]),
        (lambda: ONE.unitary(0), ["unitary(qubits, matrix, controls=…)", "matrix missing"]),
        (lambda: ONE.controlled([0]), ["controlled(", "name missing"]),
        (lambda: ONE.gate("ry", 0), ["gate 1 ('ry')", "t missing"]),
    ],
)  # fmt: skip
def test_wrong_arguments_of_a_gate_are_told_with_its_place_and_what_it_takes(call, words):
    with pytest.raises(ConfigError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_an_error_inside_of_a_gate_is_not_taken_for_a_wrong_call():
    class Broken:
        def __index__(self) -> int:
            raise TypeError("from inside")

    with pytest.raises(Exception) as caught:
        ONE.ry(Broken(), 0.1)  # pyright: ignore[reportArgumentType]
    assert "takes ry(" not in str(caught.value)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_copy_knows_its_weights_and_takes_no_new_one_for_them(again):
    a, b = weight(), weight()
    made = again(Circuit(2).ry(0, a).ry(1, b))
    grown = made.rx(0, b).rx(1, weight()).rz(0, a).rz(1, weight() + again(b))
    assert [str(g) for gate in grown for g in gate.angles] == ["w[0]", "w[1]", "w[1]", "w[2]", "w[0]", "w[1] + w[3]"]
    assert grown.weights == 4
    for both in (made.compose(made), made + made):
        assert both.weights == 4  # as ever: a second circuit's weights are its own


def test_weights_of_another_process_are_other_weights():
    code = "import pickle, sys; from dopant.quantum import Circuit, weight; w = weight(); " \
           "sys.stdout.buffer.write(pickle.dumps((Circuit(1).ry(0, w), w)))"  # fmt: skip
    theirs = [pickle.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
              for _ in range(2)]  # fmt: skip
    (circuit, own), (_, other) = theirs
    assert [str(a) for g in circuit.ry(0, own).ry(0, other).ry(0, weight()) for a in g.angles] == [
        "w[0]", "w[0]", "w[1]", "w[2]",
    ]  # fmt: skip
