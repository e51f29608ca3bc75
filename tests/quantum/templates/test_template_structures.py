"""Templates without a namesake elsewhere, against dense algebra; refusals; composing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from dopant.errors import ConfigError, UnknownName
from dopant.quantum import feature, templates, weight
from dopant.quantum.circuit import Circuit
from dopant.quantum.pauli import pauli_matrix
from dopant.quantum.statevector import state

NONE = torch.zeros(0, dtype=torch.float64)


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64) * 6 - 3


def at(circuit: Circuit, x: torch.Tensor = NONE, w: torch.Tensor = NONE) -> torch.Tensor:
    return state(circuit, x[None], w)[0]


def density(psi: torch.Tensor) -> torch.Tensor:
    return torch.outer(psi, psi.conj())


def on(matrix: torch.Tensor, qubits: tuple[int, ...], n: int) -> torch.Tensor:
    """A matrix embedded into n qubits, entry by entry."""
    k, full = len(qubits), torch.zeros(2**n, 2**n, dtype=torch.complex128)
    for column in range(2**n):
        bits = [column >> (n - 1 - q) & 1 for q in range(n)]
        inner = int("".join(str(bits[q]) for q in qubits), 2)
        for row in range(2**k):
            new = list(bits)
            for i, q in enumerate(qubits):
                new[q] = row >> (k - 1 - i) & 1
            full[int("".join(map(str, new)), 2), column] += matrix[row, inner]
    return full


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_heisenberg_encoding_of_many_steps_is_the_exponential_of_the_whole_chain(n: int) -> None:
    x = drawn(n - 1)

    def make(steps: int, time: float) -> Circuit:
        return templates.hamiltonian_encoding(n, steps, time, generator=torch.Generator().manual_seed(3))

    start = at(make(1, 0.0), x)
    h = torch.zeros(2**n, 2**n, dtype=torch.complex128)
    for q in range(n - 1):
        for letter in "XYZ":
            h += x[q] * pauli_matrix("I" * q + 2 * letter + "I" * (n - q - 2))
    want = torch.as_tensor(scipy.linalg.expm(-0.7j * h.numpy())) @ start
    gaps = [float((at(make(steps, 0.7), x) - want).abs().max()) for steps in (20, 40)]
    # a first-order product formula: half the error at twice the steps; exact where the bonds commute
    assert gaps[1] < 1e-12 if n == 2 else 0.4 < gaps[1] / gaps[0] < 0.6


def test_the_start_of_a_heisenberg_encoding_comes_from_the_generator_or_torchs_default() -> None:
    a, b = (templates.hamiltonian_encoding(3, 1, generator=torch.Generator().manual_seed(s)) for s in (1, 1))
    assert a == b
    torch.manual_seed(1)
    c = templates.hamiltonian_encoding(3, 1)
    assert c == a
    assert templates.hamiltonian_encoding(3, 1) != a


def test_starts_of_a_heisenberg_encoding_are_uniform_on_the_sphere() -> None:
    c = templates.hamiltonian_encoding(400, 1, 0.0, generator=torch.Generator().manual_seed(0))
    heights = np.array([math.cos(g.angles[0].constant) for g in c.gates[:400]])
    assert scipy.stats.kstest(heights, scipy.stats.uniform(-1, 2).cdf).pvalue > 0.01


def test_a_weighted_cost_layer_is_the_exponential_of_its_cost() -> None:
    n, edges, fields = 3, [(0, 1, 0.5), (1, 2, -1.5), (0, 2, feature(0))], [0.3, 0.0, -0.8]
    c, w, x = templates.qaoa(n, edges, 1, fields), drawn(2), drawn(1)
    diagonal = torch.zeros(8, dtype=torch.float64)
    for z in range(8):
        s = [1 - 2 * (z >> (n - 1 - q) & 1) for q in range(n)]
        diagonal[z] = 0.5 * s[0] * s[1] - 1.5 * s[1] * s[2] + float(x[0]) * s[0] * s[2] + 0.3 * s[0] - 0.8 * s[2]
    mixer = sum(pauli_matrix("I" * q + "X" + "I" * (n - q - 1)) for q in range(n))
    psi = torch.exp(-1j * w[0] * diagonal) / math.sqrt(8)
    want = torch.as_tensor(scipy.linalg.expm(-1j * float(w[1]) * np.asarray(mixer))) @ psi
    torch.testing.assert_close(at(c, x, w), want, atol=1e-12, rtol=0)
    assert (c.weights, c.features) == (2, 1)


@pytest.mark.parametrize("reps", [1, 2, 3])
def test_reuploading_gives_a_fourier_series_of_as_many_frequencies_as_repetitions(reps: int) -> None:
    c = templates.data_reuploading(1, reps, entangle=Circuit(1).rot(0, weight(), weight(), weight()))
    c = templates.strongly_entangling_layers(1, 1).compose(c)  # Schuld's form
    assert c.weights == 3 * (reps + 1)
    w, count = drawn(c.weights), 16
    x = torch.arange(count, dtype=torch.float64)[:, None] * (2 * math.pi / count)
    psi = state(c, x, w)
    z = psi[:, 0].abs().square() - psi[:, 1].abs().square()
    spectrum = torch.fft.fft(z).abs() / count
    assert bool((spectrum[reps + 1 : count - reps] < 1e-12).all())
    assert float(spectrum[reps]) > 1e-6


def test_reuploading_repeats_encoding_and_entangling_with_weights_of_their_own() -> None:
    c, x, w = templates.data_reuploading(3, 2), drawn(3), drawn(18)
    by_hand = Circuit(3)
    for r in range(2):
        for q in range(3):
            by_hand = by_hand.ry(q, feature(q))
        for q in range(3):
            by_hand = by_hand.rot(q, *(weight(9 * r + 3 * q + k) for k in range(3)))
        by_hand = by_hand.cx(0, 1).cx(1, 2).cx(2, 0)
    torch.testing.assert_close(at(c, x, w), at(by_hand, x, w), atol=1e-12, rtol=0)


def test_pooling_leaves_the_state_that_a_measurement_and_a_conditioned_rotation_would() -> None:
    w = drawn(17) * 0.4
    c = templates.qcnn(2)
    assert c.weights == 17
    rho = density(at(c, w=w)).reshape(2, 2, 2, 2).diagonal(dim1=1, dim2=3).sum(-1)
    psi = at(templates.su2n(2), w=w[:15]).reshape(2, 2)  # qubit 0, qubit 1
    want = torch.zeros(2, 2, dtype=torch.complex128)
    for outcome, letter in ((1, "Z"), (0, "X")):
        turn = torch.as_tensor(
            scipy.linalg.expm(-0.5j * float(w[15 if outcome else 16]) * pauli_matrix(letter).numpy())
        )
        want += density(turn @ psi[:, outcome])
    torch.testing.assert_close(rho, want, atol=1e-12, rtol=0)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7, 8, 9])
def test_a_convolutional_circuit_shares_weights_within_a_level_and_ends_on_qubit_0(n: int) -> None:
    c = templates.qcnn(n)
    levels = math.ceil(math.log2(n))
    assert c.weights == 17 * levels
    joins, active = [g.qubits for g in c if g.name == "special_unitary"], list(range(n))
    while len(active) > 1:
        ring = {frozenset((active[i], active[(i + 1) % len(active)])) for i in range(len(active))}
        here, joins = joins[: len(ring)], joins[len(ring) :]
        assert {frozenset(q) for q in here} == ring
        active = active[::2]
    assert not joins and active == [0]
    assert {g.angles for g in c if g.name == "special_unitary"} == {
        tuple(weight(17 * level + k) for k in range(15)) for level in range(levels)
    }
    later = c.ry(0, weight())  # either form of weight() can follow
    assert later.weights == 17 * levels + 1


def test_a_convolution_of_ones_own_reads_features_and_shares_its_weights() -> None:
    own = Circuit(2).ry(0, feature(0) + weight(1)).cx(0, 1).rz(1, weight(0))
    c = templates.qcnn(4, convolution=own, pooling=Circuit(2).cx(0, 1))
    assert (c.weights, c.features) == (4, 1)
    first = [g for g in c if g.name == "ry"][:4]
    assert {g.qubits for g in first} == {(0,), (1,), (2,), (3,)} and len({g.angles for g in first}) == 1


def test_a_brickwall_alternates_its_rows_and_is_the_product_of_their_exponentials() -> None:
    c = templates.su4_brickwall(4, 3)
    assert [g.qubits for g in c] == [(0, 1), (2, 3), (1, 2), (0, 1), (2, 3)]
    assert [g.qubits for g in templates.su4_brickwall(2, 2)] == [(0, 1), (0, 1)]
    w = drawn(c.weights) * 0.3
    psi = torch.zeros(16, dtype=torch.complex128)
    psi[0] = 1
    strings = [a + b for a in "IXYZ" for b in "IXYZ"][1:]
    for i, gate in enumerate(c):
        h = sum(t * pauli_matrix(s) for t, s in zip(w[15 * i :], strings, strict=False))
        psi = on(torch.as_tensor(scipy.linalg.expm(1j * np.asarray(h))), gate.qubits, 4) @ psi
    torch.testing.assert_close(at(c, w=w), psi, atol=1e-12, rtol=0)


def test_templates_compose_and_number_their_weights_one_after_the_other() -> None:
    c = (
        templates.angle_encoding(3, first=2)
        .compose(templates.real_amplitudes(3, 1))
        .compose(templates.qaoa(3, [(0, 1)], 1))
    )
    assert (c.features, c.weights) == (5, 8)
    x, w = drawn(5), drawn(8)
    start = at(templates.angle_encoding(3), x[2:])
    middle = on_state(templates.real_amplitudes(3, 1), start, w[:6])
    torch.testing.assert_close(at(c, x, w), on_state(templates.qaoa(3, [(0, 1)], 1), middle, w[6:]), atol=1e-12, rtol=0)


def on_state(circuit: Circuit, psi: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    for gate in circuit:
        psi = on(gate.matrix(NONE, w), gate.qubits, circuit.qubits) @ psi
    return psi


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: templates.angle_encoding(2, "w"), "axis"),
        (lambda: templates.zz_feature_map(2, entanglement="fool"), "full"),
        (lambda: templates.zz_feature_map(2, entanglement=[(0, 1, 2)]), "out of range"),
        (lambda: templates.zz_feature_map(3, entanglement=[(0, 1, 2)]), "block has 2"),
        (lambda: templates.pauli_feature_map(3, paulis=["ZZZ"], entanglement="pairwise"), "joins pairs"),
        (lambda: templates.real_amplitudes(2, -1), "reps"),
        (lambda: templates.strongly_entangling_layers(3, 2, [1]), "1 ranges for 2 layers"),
        (lambda: templates.strongly_entangling_layers(3, 1, [3]), "from 1 to 2"),
        (lambda: templates.amplitude_encoding([1.0, 2.0, 3.0]), "zeros"),
        (lambda: templates.amplitude_encoding([0.0, 0.0]), "not all zero"),
        (lambda: templates.amplitude_encoding([float("nan"), 0.0]), "finite"),
        (lambda: templates.hamiltonian_encoding(1), "2 qubits"),
        (lambda: templates.hamiltonian_encoding(2, 0), "one step"),
        (lambda: templates.su4_brickwall(1, 1), "su2n"),
        (lambda: templates.qaoa(3, [(0, 0)], 1), "twice"),
        (lambda: templates.qaoa(3, [(0,)], 1), "edge 0"),
        (lambda: templates.qaoa(3, [(0, 1)], 1, [1.0]), "1 fields"),
        (lambda: templates.qcnn(1), "two qubits"),
        (lambda: templates.qcnn(4, pooling=Circuit(3)), "pooling has 3"),
        (lambda: templates.data_reuploading(2, 1, encode=Circuit(3)), "encode has 3"),
    ],
)
def test_a_wrong_request_is_refused_and_told_what_to_try(make, words: str) -> None:
    with pytest.raises((ConfigError, UnknownName), match=words):
        make()
