"""Spectra read from gates, against those that a discrete Fourier transform of the circuit's outputs finds."""

from __future__ import annotations

import math

import pytest
import torch

from dopant.errors import NotDefined
from dopant.quantum import Circuit, feature, weight
from dopant.quantum.product import without_entanglement
from dopant.quantum.spectrum import spectrum
from dopant.quantum.templates import angle_encoding, strongly_entangling_layers, zz_feature_map


def frequencies_of(circuit: Circuit) -> set[tuple[float, ...]]:
    return {tuple(w) for w in spectrum(circuit).frequencies.tolist()}


def test_each_repetition_of_a_feature_adds_a_whole_frequency():
    c = Circuit(1)
    for repetition in range(1, 5):
        c = c.ry(0, feature(0)).rot(0, weight(), weight(), weight())
        assert frequencies_of(c) == {(float(k),) for k in range(1, repetition + 1)}


def test_scaled_features_give_their_sums_and_differences_and_controlled_gates_halves():
    c = Circuit(2).rx(0, feature(0)).ry(1, 3 * feature(0) + 0.2)
    assert frequencies_of(c) == {(1.0,), (2.0,), (3.0,), (4.0,)}
    assert frequencies_of(Circuit(2).h(0).crx(0, 1, feature(0))) == {(0.5,), (1.0,)}
    assert frequencies_of(Circuit(1).p(0, math.pi * feature(0))) == {(round(math.pi, 9),)}


def test_an_affine_angle_of_two_features_has_one_joint_frequency_and_products_are_variables_of_their_own():
    assert frequencies_of(Circuit(1).ry(0, feature(0) - 2 * feature(1))) == {(1.0, -2.0)}
    found = spectrum(Circuit(2).rzz(0, 1, feature(0) * feature(1)).ry(0, feature(1)))
    assert found.monomials == ((1,), (0, 1)) and len(found.frequencies) == 4
    x = torch.tensor([[2.0, 3.0], [0.5, -1.0]])
    assert torch.equal(found.values(x), torch.tensor([[3.0, 6.0], [-1.0, -0.5]]))


@pytest.mark.parametrize("layers", [1, 2])
def test_no_frequency_of_a_random_circuit_is_missing_by_a_fourier_transform(layers):
    c = Circuit(2)
    for _ in range(layers):
        c = c.compose(angle_encoding(2)).compose(strongly_entangling_layers(2, 1)).rzz(0, 1, 2 * feature(0))
    found = spectrum(c)
    assert found.complete and found.size == len(found.frequencies)
    layer = c.layer(["ZI", "XY"], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    n = 32
    grid = torch.arange(n, dtype=torch.float64) * 2 * math.pi / n
    x = torch.cartesian_prod(grid, grid)
    power = torch.fft.fft2(layer(x).detach().T.reshape(2, n, n)).abs().amax(0) / n**2
    present = {tuple(int((i + n // 2) % n) - n // 2 for i in place) for place in (power > 1e-10).nonzero().tolist()}
    known = {(a * s, b * s) for a, b in frequencies_of(c) for s in (1, -1)} | {(0, 0)}
    assert present <= known and len(present) > len(known) / 4


def test_a_spectrum_that_is_too_large_is_sampled_by_its_generator_from_the_spectrum_itself():
    c = angle_encoding(3) + angle_encoding(3) + angle_encoding(3)
    whole = spectrum(c)
    assert whole.size == (7**3 - 1) // 2
    few, again, other = (spectrum(c, 40, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert not few.complete and len(few.frequencies) == 40
    assert torch.equal(few.frequencies, again.frequencies) and not torch.equal(few.frequencies, other.frequencies)
    drawn = {tuple(w) for w in few.frequencies.tolist()}
    assert len(drawn) == 40 and drawn <= {tuple(w) for w in whole.frequencies.tolist()}


def test_what_has_no_fixed_frequencies_says_which_gate():
    with pytest.raises(NotDefined, match=r"gate 1 \('rx'\): x\[0\]\*w\[0\] multiplies a feature by a weight"):
        spectrum(Circuit(1).h(0).rx(0, weight() * feature(0)))
    with pytest.raises(NotDefined, match=r"gate 0 \('hermitian_exp'\)"):
        spectrum(Circuit(1).hermitian_exp(0))
    with pytest.raises(NotDefined, match="reads no feature"):
        spectrum(Circuit(1).ry(0, weight()))
    one = spectrum(Circuit(1).special_unitary(0, [feature(0)], ["Y"]))
    assert one.frequencies.tolist() == [[2.0]]  # exp(i x Y)
    with pytest.raises(NotDefined, match="eigenvalues"):
        spectrum(Circuit(1).special_unitary(0, [feature(0), weight()], ["Y", "X"]))


def test_without_entanglement_one_qubit_gates_and_their_weights_stay_in_order():
    c = Circuit(2).ry(0, weight()).crx(0, 1, weight()).rzz(0, 1, weight()).swap(0, 1).rx(1, weight() + feature(0))
    found, left = without_entanglement(c.pauli_exp("IX", weight()).cx(0, 1))
    assert [g.name for g in found] == ["ry", "swap", "rx", "pauli_exp"] and left == [0, 3, 4]
    assert (found.weights, found.features) == (3, 1)
    su4, kept = without_entanglement(Circuit(2).special_unitary([0, 1]).ry(0, feature(0)))
    assert len(kept) == 6 and all(sum(s != "I" for s in word) == 1 for word in su4.gates[0].strings)
    with pytest.raises(NotDefined, match="nothing to take out"):
        without_entanglement(angle_encoding(2))
    with pytest.raises(NotDefined, match="reads no feature"):
        without_entanglement(Circuit(2).h(0).crx(0, 1, feature(0)))
    assert without_entanglement(zz_feature_map(2, 1))[0].features == 2


def test_states_without_entanglement_are_products():
    c = strongly_entangling_layers(2, 2)
    found, left = without_entanglement(c)
    weights = torch.rand(c.weights, dtype=torch.float64)
    values = torch.linalg.svdvals(found.state(None, weights[left]).view(2, 2))
    assert values[1] < 1e-12 < torch.linalg.svdvals(c.state(None, weights).view(2, 2))[1]
