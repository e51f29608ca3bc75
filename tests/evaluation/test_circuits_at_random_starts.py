"""Gradient variance, expressibility and entanglement against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from dopant.errors import ConfigError
from dopant.evaluation.expressibility import entangling_capability, expressibility, meyer_wallach
from dopant.evaluation.gradient_variance import gradient_variance
from dopant.quantum import Circuit, feature, templates, weight


@pytest.fixture(autouse=True)
def without_the_compiled_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """These are about averages; the kernel is tested elsewhere and need not be compiled for them."""
    monkeypatch.setenv("DOPANT_KERNEL", "off")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_variance_of_a_product_of_cosines_halves_with_every_qubit() -> None:
    for n in (1, 2, 3, 4):
        c = Circuit(n)
        for q in range(n):
            c = c.rx(q, weight())
        found = gradient_variance(c, "Z" * n, 20_000, seeded())
        want = torch.full((1, n), 0.5**n, dtype=torch.float64)  # <Z…Z> = prod cos: E sin^2 cos^2 … = 2^-n
        assert found.variance.shape == (1, n)
        assert bool(((found.variance - want).abs() < 5 * found.error).all())
        assert bool((found.error / want < 0.05).all())
        assert bool((found.mean.abs() < 5 * (want / 20_000).sqrt()).all())


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_deep_circuit_has_the_variance_of_two_designs(n: int) -> None:
    deep = templates.su4_brickwall(n, 3 * n)
    c = deep.compose(Circuit(n).ry(n // 2, weight())).compose(deep)
    found = gradient_variance(c, "Z" + "I" * (n - 1), 800, seeded(n))
    d = 2**n
    got, want = float(found.variance[0, deep.weights]), d**2 / (2 * (d**2 - 1) * (d + 1))
    assert abs(got / want - 1) < 0.25, (got, want)


def test_each_output_has_its_row_and_features_are_held_where_given() -> None:
    c = Circuit(2).ry(0, feature(0)).ry(0, weight()).ry(1, weight())
    x = torch.tensor([0.3], dtype=torch.float64)
    found = gradient_variance(c, "z", 4000, seeded(), features=x)
    assert found.variance.shape == (2, 2)
    assert abs(float(found.variance[0, 0]) - 0.5) < 5 * float(found.error[0, 0])
    assert float(found.variance[0, 1]) < 1e-30 > float(found.variance[1, 0])
    assert "4000 starts" in str(found)
    # only the sample moves <Z> of this one: its derivative is that at the sample, always
    c = Circuit(1).ry(0, feature(0) + 0 * weight()).rz(0, weight())
    assert float(gradient_variance(c, "Z", 10, features=x).variance.max()) < 1e-20
    c = Circuit(1).ry(0, feature(0) * weight())
    still = gradient_variance(c, "Z", 10, features=torch.zeros(1)).variance
    assert not still.any()
    assert gradient_variance(c, "Z", 10).variance.all()  # drawn where there is none


def test_a_circuit_without_weights_says_so() -> None:
    assert str(gradient_variance(Circuit(1).h(0), "Z", 5)) == "no weights"


def test_draws_come_from_the_generator_or_torchs_default_one() -> None:
    c = templates.real_amplitudes(2, 1)
    runs = {
        "variance": lambda g: float(gradient_variance(c, "ZI", 10, g).variance.sum()),
        "expressibility": lambda g: expressibility(c, 50, 10, g),
        "entanglement": lambda g: entangling_capability(c, 10, g),
    }
    for run in runs.values():
        assert run(seeded(1)) == run(seeded(1)) != run(seeded(2))
        torch.manual_seed(1)
        assert run(None) == run(seeded(1))


def test_a_circuit_that_gives_one_state_is_as_inexpressive_as_can_be() -> None:
    for n, bins in ((1, 75), (3, 75), (2, 10), (9, 75)):
        got = expressibility(Circuit(n).h(0), 100, bins)
        assert got == pytest.approx((2**n - 1) * math.log(bins), rel=1e-12)
    assert expressibility(Circuit(1).rz(0, weight()), 100) == pytest.approx(math.log(75))  # |0> but for a phase


def test_states_on_the_equator_have_the_divergence_of_the_arcsine_law() -> None:
    bins, pairs = 75, 100_000
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    p = (2 / math.pi) * (edges[1:].sqrt().asin() - edges[:-1].sqrt().asin())  # fidelity cos^2 of a uniform angle
    want = float((p * (p * bins).log()).sum())  # on one qubit Haar fidelities are uniform
    got = expressibility(Circuit(1).h(0).rz(0, weight()), pairs, bins, seeded())
    assert got == pytest.approx(want, abs=0.01)
    assert 0.1 < want < 0.3


def test_uniform_states_have_no_divergence_but_that_of_counting() -> None:
    pairs, bins = 20_000, 75
    deep = templates.su4_brickwall(3, 24)
    got = expressibility(deep, 2000, 20, seeded())
    assert 0 <= got < 0.02
    shallow = expressibility(templates.real_amplitudes(3, 1), 2000, 20, seeded())
    assert shallow > 5 * got
    # for Haar states the estimate is chi-square: (occupied - 1) / (2 pairs)
    z = torch.randn(2, pairs, 2, dtype=torch.complex128, generator=seeded())
    z = z / z.norm(dim=-1, keepdim=True)
    f = (z[0].conj() * z[1]).sum(-1).abs().square()
    share = torch.bincount((f * bins).long(), minlength=bins).double() / pairs
    assert float((share * (share * bins).log()).sum()) == pytest.approx((bins - 1) / (2 * pairs), rel=0.6)


def test_meyer_wallach_is_0_for_products_and_1_for_ghz_and_bell_pairs() -> None:
    g = seeded()
    for n in (1, 2, 3, 5):
        product = torch.ones(1, dtype=torch.complex128)
        for _ in range(n):
            product = torch.kron(product, torch.nn.functional.normalize(
                torch.randn(2, dtype=torch.complex128, generator=g), dim=0))  # fmt: skip
        assert float(meyer_wallach(product)) == pytest.approx(0, abs=1e-12)
        if n > 1:
            ghz = torch.zeros(2**n, dtype=torch.complex64)
            ghz[0] = ghz[-1] = 2**-0.5
            assert float(meyer_wallach(ghz)) == pytest.approx(1, abs=1e-6)
    w = torch.zeros(8, dtype=torch.complex128)
    w[[1, 2, 4]] = 3**-0.5
    assert float(meyer_wallach(w)) == pytest.approx(8 / 9)  # W of three: purities 5/9
    assert meyer_wallach(torch.stack([w, w])[None]).shape == (1, 2)


def test_haar_states_have_a_meyer_wallach_of_d_minus_2_over_d_plus_1() -> None:
    for n in (2, 4):
        z = torch.randn(4000, 2**n, dtype=torch.complex128, generator=seeded())
        q = meyer_wallach(z / z.norm(dim=-1, keepdim=True))
        assert abs(float(q.mean()) - (2**n - 2) / (2**n + 1)) < 5 * float(q.std()) / 4000**0.5
    deep = entangling_capability(templates.su4_brickwall(4, 40), 1000, seeded())
    assert deep == pytest.approx(14 / 17, abs=0.02)


def test_circuits_without_entangling_gates_make_products_and_ghz_circuits_ghz() -> None:
    c = templates.angle_encoding(3).compose(templates.basic_entangling_layers(3, 0))
    assert entangling_capability(c, 20) == pytest.approx(0, abs=1e-12)
    ghz = Circuit(3).h(0).cx(0, 1).cx(1, 2)
    assert entangling_capability(ghz, 3) == pytest.approx(1)
    # CX between |+> turned by an angle: Q = sin^2 of it, 1/2 on average
    pair = Circuit(2).ry(0, weight()).cx(0, 1)
    assert entangling_capability(pair, 4000, seeded()) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: gradient_variance(c, "Z", 1),
        lambda c: gradient_variance(c, "state", 5),
        lambda c: expressibility(c, 0),
        lambda c: expressibility(c, 5, 1),
        lambda c: entangling_capability(c, 0),
        lambda c: meyer_wallach(torch.ones(3, dtype=torch.complex64)),
        lambda c: gradient_variance(c, "Z", 5, features=torch.zeros(0)),
    ],
)
def test_what_cannot_be_averaged_is_refused(call) -> None:
    with pytest.raises(ConfigError):
        call(Circuit(1).ry(0, feature(0)).ry(0, weight()))
