"""Dimensions of Lie algebras against known ones and against dense matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dopant.errors import ConfigError, DoesNotFit
from dopant.evaluation.lie_algebra import lie_algebra
from dopant.quantum import Circuit, feature, templates, weight
from dopant.quantum.pauli import pauli_matrix
from dopant.quantum.statevector import state


def dense(total: dict[str, float]) -> np.ndarray:
    return sum(c * pauli_matrix(w).numpy() for w, c in total.items())


def dense_dimension(sums: list[dict[str, float]]) -> int:
    """Closing with matrices and their ranks, nothing of Pauli strings."""
    flat = lambda m: np.concatenate([m.real.ravel(), m.imag.ravel()])  # noqa: E731
    unit = [m / np.linalg.norm(m) for m in map(dense, sums)]
    basis: list[np.ndarray] = []
    queue = list(unit)
    while queue:
        m = queue.pop(0)
        stack = np.array([flat(b) for b in [*basis, m]])
        if np.linalg.matrix_rank(stack, tol=1e-7) > len(basis):
            basis.append(m)
            new = [1j * (g @ m - m @ g) for g in unit]
            queue += [c / np.linalg.norm(c) for c in new if np.linalg.norm(c) > 1e-9]
    return len(basis)


def word(n: int, **letters: str) -> str:
    return "".join(letters.get(f"q{q}", "I") for q in range(n))


def chain(n: int, closed: bool = False) -> list[str]:
    return [word(n, **{f"q{q}": "Z", f"q{(q + 1) % n}": "Z"}) for q in range(n if closed else n - 1)]


def field(n: int) -> list[str]:
    return [word(n, **{f"q{q}": "X"}) for q in range(n)]


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 20])
def test_an_open_ising_chain_with_angles_of_its_own_has_n_times_2n_minus_1_dimensions(n: int) -> None:
    found = lie_algebra([*field(n), *chain(n)])
    assert (found.dimension, found.exact) == (n * (2 * n - 1), True)  # so(2n), free fermions


@pytest.mark.parametrize("n", [3, 4, 5])
def test_a_closed_ising_chain_with_angles_of_its_own_has_twice_as_many(n: int) -> None:
    assert lie_algebra([*field(n), *chain(n, True)]).dimension == 2 * n * (2 * n - 1)  # so(2n) for each parity


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_an_open_ising_chain_with_one_angle_a_term_has_n_squared_dimensions(n: int) -> None:
    found = lie_algebra([dict.fromkeys(field(n), 1.0), dict.fromkeys(chain(n), 1.0)])
    assert (found.dimension, found.exact) == (n * n, False)
    assert found.gap > 1e4


def test_one_qubit_and_all_strings() -> None:
    assert lie_algebra(["X", "Z"]).dimension == 3
    assert lie_algebra(["X"]).dimension == 1
    assert lie_algebra([{"X": 1.0, "Z": 0.3}]).dimension == 1
    assert lie_algebra([{"X": 1.0, "Z": 0.3}, {"X": 1.0}]).dimension == 3
    for n in (1, 2, 3):
        strings = ["".join(w) for w in itertools.product("IXYZ", repeat=n)]
        assert lie_algebra(strings).dimension == 4**n - 1
        generating = [*field(n), *[word(n, **{f"q{q}": "Z"}) for q in range(n)], *chain(n)]
        assert lie_algebra(generating).dimension == 4**n - 1


@pytest.mark.parametrize("seed", range(6))
def test_sums_close_as_dense_matrices_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = ["".join(w) for w in itertools.product("IXYZ", repeat=2)][1:]
    sums = [{str(w): float(rng.normal()) for w in rng.choice(words, 2, replace=False)} for _ in range(2)]
    found = lie_algebra(sums)
    assert found.dimension == dense_dimension(sums)
    # the basis is closed: nothing new comes of it
    assert dense_dimension(list(found.basis)) == found.dimension


def test_sums_on_a_ring_of_heisenberg_bonds_close_as_dense_matrices_do() -> None:
    bonds = [{"".join(s if q in (a, (a + 1) % 3) else "I" for q in range(3)): 1.0 for s in "XYZ"} for a in range(3)]
    total = {"ZII": 1.0, "IZI": 1.0, "IIZ": 1.0}
    assert lie_algebra([*bonds, total]).dimension == dense_dimension([*bonds, total])


def test_layers_of_a_weight_that_is_shared_are_one_generator() -> None:
    n = 4
    c = templates.qaoa(n, [(q, q + 1) for q in range(n - 1)], 2)
    found = lie_algebra(c)
    assert [len(g) for g in found.generators] == [n - 1, n, n - 1, n]
    assert found.dimension == n * n == lie_algebra([*found.generators]).dimension
    # H on all qubits comes first: fields and bonds have changed letters
    assert found.generators[0] == {"XXII": 2.0, "IXXI": 2.0, "IIXX": 2.0}


def test_a_weight_that_turns_what_does_not_commute_is_no_single_generator() -> None:
    w = weight()
    assert lie_algebra(Circuit(1).rx(0, w).rz(0, w)).dimension == 3
    assert lie_algebra(Circuit(1).rx(0, w).rx(0, 2 * w)).dimension == 1
    assert lie_algebra(Circuit(1).rx(0, w).rx(0, feature(0))).dimension == 1
    # equal angles of two qubits are one direction, different ones two
    assert lie_algebra(Circuit(2).rx(0, w).rx(1, w)).dimension == 1
    assert lie_algebra(Circuit(2).rx(0, w).rx(1, w + feature(0))).dimension == 2
    assert lie_algebra(Circuit(2).rx(0, w).rx(1, w + 0.5)).dimension == 1


def test_generators_of_a_circuit_are_the_derivatives_of_its_state() -> None:
    """At zero angles d psi / d w_k = -i/2 F G_k |0>: every way in which a gate can come in, by finite differences."""
    g = torch.Generator().manual_seed(0)
    unitary = torch.linalg.qr(torch.randn(4, 4, generator=g, dtype=torch.complex128))[0]
    c = (
        Circuit(3).h(0).cx(0, 1).rx(1, weight()).t(2).ry(2, 0.4).crz(0, 2, weight()).unitary([2, 0], unitary)
        .pauli_exp("XYZ", weight() + 0.7).swap(0, 1).iswap(1, 2).cp(0, 1, weight()).rot(1, 0.3, weight(), 0.2)
        .controlled([2], "rxx", 0, 1, 2 * weight()).sx(0).cy(1, 0).ryy(2, 0, weight() - 0.1)
    )  # fmt: skip
    none, zero = torch.zeros(1, 0, dtype=torch.float64), torch.zeros(c.weights, dtype=torch.float64)
    found = lie_algebra(c)
    assert len(found.generators) == c.weights
    final = torch.stack([column_of(c, zero, j) for j in range(8)], 1)  # F, by its columns
    for k, generator in enumerate(found.generators):
        step = torch.zeros_like(zero)
        step[k] = 1e-5
        slope = (state(c, none, zero + step)[0] - state(c, none, zero - step)[0]) / 2e-5
        want = -0.5j * final @ torch.as_tensor(dense(generator))[:, 0]
        # the identity in a generator is left out: a phase of the whole
        phase = torch.vdot(final[:, 0], slope - want)
        torch.testing.assert_close(slope, want + phase * final[:, 0], atol=1e-8, rtol=0)
        assert abs(phase.real) < 1e-8


def column_of(circuit: Circuit, weights: torch.Tensor, start: int) -> torch.Tensor:
    prefix = Circuit(circuit.qubits)
    for q in range(circuit.qubits):
        prefix = prefix.x(q) if start >> (circuit.qubits - 1 - q) & 1 else prefix
    return state(prefix.compose(circuit), torch.zeros(1, 0, dtype=torch.float64), weights)[0]


def test_general_gates_bring_all_their_strings_and_matrices_their_entries() -> None:
    assert lie_algebra(templates.su2n(2)).dimension == 15
    assert lie_algebra(templates.su4_brickwall(3, 2)).dimension == 63
    one = Circuit(1).special_unitary(0, [weight(), 0.5], ["X", "Z"])  # the fixed part turns too
    assert lie_algebra(one).dimension == 3
    assert lie_algebra(Circuit(1).special_unitary(0, [weight()], ["X"])).dimension == 1
    diagonal = Circuit(1).hermitian_exp(0, count=1)  # |0><0|, Z but for a phase
    assert lie_algebra(diagonal).dimension == 1
    assert lie_algebra(Circuit(1).hermitian_exp(0)).dimension == 3


def test_a_circuit_without_angles_has_none() -> None:
    assert lie_algebra(Circuit(2).h(0).cx(0, 1)).dimension == 0


def test_more_dimensions_than_allowed_are_refused() -> None:
    with pytest.raises(DoesNotFit, match="more than 20"):
        lie_algebra([*field(4), *chain(4)], most=20)
    with pytest.raises(DoesNotFit, match="more than 10"):
        lie_algebra([dict.fromkeys(field(4), 1.0), dict.fromkeys(chain(4), 1.0)], most=10)


@pytest.mark.parametrize("given", [["X", "ZZ"], [], [{"X": 1j}], ["Q"], [{"X": float("nan")}]])
def test_what_is_no_set_of_hermitian_sums_is_refused(given: list) -> None:
    with pytest.raises(ConfigError):
        lie_algebra(given)
