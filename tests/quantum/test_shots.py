"""Finite shots: their distribution, their generator, their gradient, and which observables share them."""

from __future__ import annotations

import random

import pytest
import torch

import random_circuits
from dopant.errors import ConfigError
from dopant.quantum import Circuit, NoiseModel, feature, weight
from dopant.quantum.shots import groups

CIRCUIT = random_circuits.circuit(random.Random(4), 3, 30)


def layers(measure, shots: int, circuit: Circuit = CIRCUIT, seed: int = 1, **more):
    """One with shots, and the exact one with the same weights."""
    drawn = circuit.layer(
        measure, shots=shots, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, **more
    )
    exact = circuit.layer(measure, dtype=torch.float64, **more)
    exact.load_state_dict(drawn.state_dict())
    return drawn, exact


@pytest.mark.parametrize("noise", [None, NoiseModel(0.05, 0.1)])
@pytest.mark.parametrize("measure", ["z", "y", ["XYZ", "ZXI", "IIX"], ("states", [0, 3, 7])])
def test_means_have_the_binomial_mean_and_variance(measure, noise):
    drawn, exact = layers(measure, 100, noise=noise)
    x = torch.randn(1, 3, dtype=torch.float64).expand(4000, 3)
    found, mean = drawn(x).detach(), exact(x[:1]).detach()[0]
    variance = (mean * (1 - mean) if isinstance(measure, tuple) else 1 - mean**2) / 100
    assert variance.min() > 1e-4  # else nothing is tested
    z = (found.mean(0) - mean) / (variance / len(x)).sqrt()
    assert z.abs().max() < 4.5
    # the variance of a variance of n near-normal numbers is 2/n
    assert (found.var(0) / variance - 1).abs().max() < 5 * (2 / len(x)) ** 0.5


def test_frequencies_of_all_outcomes_pass_a_chi_square_test():
    drawn, exact = layers("probabilities", 50_000)
    x = torch.randn(1, 3, dtype=torch.float64)
    p = exact(x).detach()
    assert p.min() * 50_000 > 5
    chi = float((50_000 * (drawn(x).detach() - p) ** 2 / p).sum())
    assert 0.6 < chi < 24.3  # 0.1 % on either side with 7 degrees of freedom


def test_a_hermitian_matrix_is_drawn_in_its_own_basis():
    matrix = torch.tensor([[1.0, 2 - 1j], [2 + 1j, -0.5]])
    circuit = Circuit(1).ry(0, 0.7).rz(0, 0.4)
    drawn, exact = layers(matrix, 1, circuit)
    values = drawn(torch.zeros(20_000, 0, dtype=torch.float64)).detach()[:, 0]
    assert torch.allclose(values.unique(), torch.linalg.eigvalsh(matrix.to(torch.complex128)), atol=1e-12)
    assert (
        abs(values.mean() - float(exact(torch.zeros(1, 0, dtype=torch.float64)).detach()))
        < 4.5 * values.std() / 20_000**0.5
    )


def test_observables_that_one_setting_reads_share_their_shots():
    bell = Circuit(2).h(0).cx(0, 1)
    together = bell.layer(["ZI", "IZ", "ZZ"], shots=1)(torch.zeros(50, 0))
    assert torch.equal(together[:, 0], together[:, 1]) and bool((together[:, 2] == 1).all())
    apart = bell.layer(["ZI", "IZ", "XI"], shots=1)(torch.zeros(200, 0))
    assert torch.equal(apart[:, 0], apart[:, 1]) and not torch.equal(apart[:, 0], apart[:, 2])
    assert Circuit(2).resources(measure=["ZI", "IZ", "XI", "II"]).settings == 2
    assert groups(["ZI", "IX", "XX", "ZZ"]) == [("ZX", [0, 1]), ("XX", [2]), ("ZZ", [3])]


def test_the_identity_and_sure_outcomes_have_no_spread():
    found = Circuit(2).x(1).layer(["II", "ZI", {"IZ": 2.0, "II": 1.0}], shots=3)(torch.zeros(9, 0))
    assert torch.equal(found, torch.tensor([[1.0, 1.0, -1.0]]).expand(9, 3))


def test_the_same_generator_draws_the_same_and_a_default_one_follows_the_seed():
    x = torch.randn(5, 3, dtype=torch.float64)
    first, second = (layers("z", 20)[0] for _ in range(2))
    a, b = first(x), first(x)
    assert torch.equal(a, second(x)) and torch.equal(b, second(x)) and not torch.equal(a, b)
    plain = CIRCUIT.layer(shots=20)
    torch.manual_seed(7)
    once = plain(x)
    torch.manual_seed(7)
    assert torch.equal(plain(x), once)
    assert not torch.equal(plain.eval()(x), once)  # in evaluation too


@pytest.mark.parametrize("measure", ["z", "probabilities", ["XYZ"]])
@pytest.mark.parametrize("noise", [None, NoiseModel(0.02, 0.05)])
def test_the_gradient_is_that_of_the_exact_expectation(measure, noise):
    drawn, exact = layers(measure, 10, noise=noise)
    x = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    out, sure = drawn(x), exact(x)
    towards = torch.randn_like(out)
    ours = torch.autograd.grad(out, (x, drawn.weights), towards)
    theirs = torch.autograd.grad(sure, (x, exact.weights), towards)
    assert not torch.allclose(out, sure, atol=1e-3) and theirs[1].abs().max() > 1e-2
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def test_a_row_with_nan_gives_nan_and_leaves_the_others_alone():
    layer = Circuit(2).ry(0, feature(0)).ry(1, weight()).layer(shots=10)
    x = torch.tensor([[0.1], [float("nan")], [float("inf")], [0.0]])
    assert layer(x).isnan().any(1).tolist() == [False, True, True, False]


def test_more_shots_than_are_drawn_at_once_are_all_counted(monkeypatch):
    from dopant.quantum import shots

    monkeypatch.setattr(shots, "_ONCE", 64)
    values = Circuit(1).ry(0, 1.0).layer("probabilities", shots=1000)(torch.zeros(3, 0)) * 1000
    assert torch.allclose(values, values.round(), atol=1e-3)
    assert torch.allclose(values.sum(1), torch.full((3,), 1000.0), atol=1e-2)
    assert ((values[:, 0] - 1000 * torch.tensor(0.5).cos() ** 2).abs() < 4.5 * 1000**0.5 * 0.42).all()


@pytest.mark.parametrize("shots", [0, -1, 1.5, True, "many"])
def test_shots_that_are_no_number_of_shots_are_refused(shots):
    with pytest.raises(ConfigError, match=f"shots={shots!r}.*from 1 on"):
        CIRCUIT.layer(shots=shots)
    with pytest.raises(ConfigError, match="a state cannot be measured"):
        CIRCUIT.layer("state", shots=5)
