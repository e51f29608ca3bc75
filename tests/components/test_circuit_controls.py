"""Surrogate and ablations of circuits, against density matrices, least squares and the circuits themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dopant as dp
from dopant.components.ordinary._capacity import trainable
from dopant.components.ordinary.born_linear import BornLinear
from dopant.components.ordinary.symmetrised_linear import SymmetrisedLinear
from dopant.components.quantum._quanv_ablations import DephasedQuanv, SymmetricConv, UnentangledQuanv
from dopant.components.quantum.bounded_output_only import BoundedOutput
from dopant.components.quantum.dephased import DephasedCircuit, _made
from dopant.components.quantum.flipped_quanv import FlippedQuanv
from dopant.components.quantum.fourier_series import FourierSeries
from dopant.components.quantum.input_treatment_only import TreatedInput
from dopant.errors import NotDefined
from dopant.quantum import Circuit, NoiseModel, feature, weight
from dopant.quantum.dephasing import layers_of
from dopant.quantum.spectrum import spectrum

X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
TWO = Circuit(2).ry(0, feature(0)).rx(1, 2 * feature(1)).cx(0, 1).rot(0, weight(), weight(), weight()).ry(1, weight())
AGAIN = TWO.compose(TWO).crz(0, 1, weight())


def control(name: str, of: dict | str = "circuit", old: nn.Module | None = None, x: torch.Tensor = X, **options):
    spec = {"component": name, "of": {"component": of} if isinstance(of, str) else of, **options}
    return dp.swap(nn.Sequential(old or nn.Linear(5, 3)), {"0": spec}, x)[0]


def component(of: dict | str = "circuit", old: nn.Module | None = None, x: torch.Tensor = X):
    return dp.swap(nn.Sequential(old or nn.Linear(5, 3)), {"0": of}, x)[0]


CIRCUITS = {
    "reuploaded": (AGAIN, ["ZI", "XY"]),
    "probabilities": (AGAIN, "probabilities"),
    "products of features": (
        Circuit(2).h(0).h(1).p(0, feature(0)).cp(0, 1, feature(0) * feature(1)).ry(1, weight()), "x",
    ),
    "noisy": (TWO, "z"),
}  # fmt: skip


@pytest.mark.parametrize("name", CIRCUITS)
def test_the_series_holds_the_circuit_by_least_squares_and_starts_as_it(name):
    circuit, measure = CIRCUITS[name]
    noise = NoiseModel(0.01, 0.05) if name == "noisy" else None
    layer = circuit.layer(measure, noise=noise, dtype=torch.float64)
    series = FourierSeries(layer, spectrum(circuit), "random")
    assert series.spectrum.complete
    seen, unseen = torch.rand(2, 1500, 2, dtype=torch.float64) * 14 - 7
    fitted = torch.linalg.lstsq(series.basis(seen), layer(seen).detach(), driver="gelsd").solution
    assert (series.basis(unseen) @ fitted - layer(unseen)).abs().max() < 1e-6
    assert (FourierSeries(layer, spectrum(circuit), "target")(unseen) - layer(unseen)).abs().max() < 1e-6


def test_of_a_dressed_circuit_the_linear_maps_stay_and_the_counts_are_told():
    series, of = control("fourier-series"), component()
    assert torch.equal(series.before.weight, of.before.weight) and torch.equal(series.after.bias, of.after.bias)
    assert (series(X) - of(X)).abs().max() < 1e-5
    assert series.circuit.describe() == "312 frequencies, the whole spectrum: 2500 coefficients for 24 angles"
    assert series.circuit.coefficients.shape == (5**4, 4)
    few = control("fourier-series", most=20)
    assert few.circuit.describe().startswith("20 frequencies, a random sample of a larger spectrum: 164")
    assert torch.equal(few(X), control("fourier-series", most=20)(X))


@dp.component("test-own-circuit", fills=nn.Linear)
def own_circuit(old, signature):
    """A user's own: a normalisation, two circuits that are one module, a linear layer."""
    layer = TWO.layer("z")
    return nn.Sequential(nn.Linear(5, 2), nn.Tanh(), layer, layer, nn.Linear(2, old.out_features))


def test_circuits_inside_a_component_of_one_s_own_are_found_and_shared_ones_stay_shared():
    of = component("test-own-circuit")
    series = control("fourier-series", "test-own-circuit")
    assert isinstance(series[2], FourierSeries) and series[2] is series[3]
    assert torch.equal(series[4].weight, of[4].weight) and (series(X) - of(X)).abs().max() < 1e-5
    for name, kind in (("input-treatment-only", TreatedInput), ("bounded-output-only", BoundedOutput)):
        assert isinstance(control(name, "test-own-circuit")[2], kind)


def dephased_by_matrices(circuit, x, weights, cuts):
    """Density matrices whose off-diagonal entries are zeroed after the gates numbered in `cuts`; one sample."""
    rho = torch.zeros(4, 4, dtype=torch.complex128)
    rho[0, 0] = 1
    for number, gate in enumerate(circuit.gates):
        small = gate.matrix(x, weights)
        if gate.qubits == (0, 1):
            u = small
        else:
            eye = torch.eye(2, dtype=torch.complex128)
            u = torch.kron(small, eye) if gate.qubits == (0,) else torch.kron(eye, small)
        rho = u @ rho @ u.mH
        if number in cuts:
            rho = torch.diag(torch.diag(rho))
    z = torch.diag(torch.tensor([1.0, 1, -1, -1])).cdouble()
    flip = torch.kron(torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.0]])).cdouble()
    return torch.stack([(rho @ z).trace().real, (rho @ flip).trace().real])


@pytest.mark.parametrize("after", ["layer", "gate"])
def test_dephasing_is_that_of_density_matrices(after):
    circuit = TWO.compose(TWO)
    layer = circuit.layer(["ZI", "IX"], dtype=torch.float64)
    module = DephasedCircuit(layer, after)
    assert torch.equal(module.weights, layer.weights)
    sizes = [len(g) for g in layers_of(circuit)]
    assert sizes == [3, 2, 3, 2]  # the CX belongs to the encoding that it stands in
    cuts = {2, 4, 7} if after == "layer" else set(range(len(circuit) - 1))
    x = torch.randn(3, 2, dtype=torch.float64)
    expected = torch.stack([dephased_by_matrices(circuit, row, layer.weights.detach(), cuts) for row in x])
    assert torch.allclose(module(x), expected, atol=1e-12)
    assert (module(x) - layer(x)).abs().max() > 1e-2


def test_the_unentangled_circuit_keeps_the_angles_of_the_gates_that_are_left():
    module, of = control("unentangled"), component()
    assert module.circuit.circuit.weights == 24 and torch.equal(module.circuit.weights, of.circuit.weights)
    assert not any(g.name == "cx" for g in module.circuit.circuit)
    shots = control("unentangled", {"component": "circuit-shots", "shots": 64})
    assert shots.circuit.shots == 64
    assert trainable(module) == trainable(of)


def test_bounds_are_those_of_what_is_measured():
    huge = 100 * torch.randn(50, 2)
    for measure, low, high in ((["ZI", {"ZZ": 2.0, "XI": -0.5}], [-1, -2.5], [1, 2.5]), ("z", [-1, -1], [1, 1])):
        out = BoundedOutput(TWO.layer(measure))(huge)
        assert torch.allclose(out.amin(0), torch.tensor(low).float(), atol=1e-3)
        assert torch.allclose(out.amax(0), torch.tensor(high).float(), atol=1e-3)
    whole, some = (BoundedOutput(TWO.layer(m))(huge) for m in ("probabilities", ("states", [0, 3])))
    assert torch.allclose(whole.sum(-1), torch.ones(50)) and (some.sum(-1) <= 1 + 1e-6).all() and some.shape == (50, 2)
    matrix = torch.diag(torch.tensor([3.0, 1.0, 0.0, -1.0])).cdouble()
    out = BoundedOutput(TWO.layer([matrix]))(huge)
    assert out.max() <= 3 + 1e-5 and out.min() >= -1 - 1e-5 and out.max() - out.min() > 3.9


def test_the_treated_input_is_linear_in_the_products_that_angles_hold():
    module = TreatedInput(CIRCUITS["products of features"][0].layer("x"))
    assert module.monomials == ((0,), (0, 1))
    x = torch.randn(4, 2)
    by_hand = torch.stack([x[:, 0], x[:, 0] * x[:, 1]], 1) @ module.linear.weight.T + module.linear.bias
    assert torch.allclose(module(x), by_hand)


def test_of_the_founding_head_some_are_its_own_controls_and_the_others_say_why_not():
    assert isinstance(control("input-treatment-only", "reupload-linear"), SymmetrisedLinear)
    assert isinstance(control("bounded-output-only", "reupload-linear"), BornLinear)
    for name, why in (
        ("fourier-series", "eigenvalues"),
        ("unentangled", "all qubits at once"),
        ("dephased", "1/4 everyw"),
    ):
        with pytest.raises(NotDefined, match=why):
            control(name, "reupload-linear")


def test_of_the_quanvolution_kernels_lose_entanglement_coherence_or_the_circuit():
    old, x = nn.Conv2d(2, 3, 3), torch.randn(2, 2, 6, 6)
    of: FlippedQuanv = component("flipped-quanv", old, x)
    flat, dark, free = (
        control(n, "flipped-quanv", old, x) for n in ("unentangled", "dephased", "input-treatment-only")
    )
    assert isinstance(flat, UnentangledQuanv) and flat.angles.shape == (3, 2, 6)
    assert torch.linalg.svdvals(flat.state().unflatten(-1, (2, 2)))[..., 1].max() < 1e-6
    assert torch.linalg.svdvals(of.state().unflatten(-1, (2, 2)))[..., 1].max() > 1e-2
    assert isinstance(dark, DephasedQuanv) and torch.equal(dark.angles, of.angles)
    diagonal = of.kernel() * torch.eye(3)
    assert torch.allclose(dark.kernel(), diagonal, atol=1e-6)
    assert isinstance(free, SymmetricConv) and torch.equal(free.kernel(), free.kernel().mT)
    assert torch.equal(flat.bias, of.bias)
    for name in ("fourier-series", "bounded-output-only"):
        with pytest.raises(NotDefined, match="psd-conv"):
            control(name, "flipped-quanv", old, x)


def test_what_means_nothing_says_why():
    with pytest.raises(NotDefined, match=r"holds no dopant\.quantum circuit"):
        control("unentangled", "low-rank")
    with pytest.raises(NotDefined, match="same for every input"):
        control("dephased", {"component": "circuit", "encoding": "zz"})
    with pytest.raises(NotDefined, match="7 qubits"):
        control("dephased", {"component": "circuit", "qubits": 7, "layers": 1})
    with pytest.raises(NotDefined, match="noisy"):
        _made(TWO.layer("z", noise=NoiseModel(0.01)), "layer")
    with pytest.raises(NotDefined, match="single layer"):
        DephasedCircuit(Circuit(1).ry(0, feature(0)).layer("z"), "layer")
