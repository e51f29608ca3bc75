"""Every circuit of a network at random starts, against closed forms and dense Haar unitaries."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dopant.errors import ConfigError
from dopant.evaluation import gradient_probe
from dopant.evaluation.gradient_probe import GradientProbe, as_metrics, gradient_probes, of_metrics
from dopant.evaluation.gradient_variance import gradient_variance, haar_variance
from dopant.quantum import Circuit, CircuitLayer, templates, weight
from dopant.quantum.noise import NoiseModel


@pytest.fixture(autouse=True)
def without_the_compiled_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOPANT_KERNEL", "off")


def cosines(n: int) -> Circuit:
    """<Z…Z> is the product of the cosines of its weights, each derivative's variance 2^-n."""
    c = Circuit(n)
    for q in range(n):
        c = c.rx(q, weight())
    return c


def haar(count: int, d: int, generator: torch.Generator) -> torch.Tensor:
    """(count, d, d) unitaries by the QR of Gaussian matrices, phases made unique."""
    q, r = torch.linalg.qr(torch.randn(count, d, d, generator=generator, dtype=torch.complex128))
    phases = torch.diagonal(r, dim1=1, dim2=2)
    return q * (phases / phases.abs())[:, None, :]


HERMITIAN = torch.tensor([[1.0, 0.5j, 0, 0], [-0.5j, 2, 0, 1], [0, 0, -1, 0], [0, 1, 0, 0.5]], dtype=torch.complex128)
Z, X, I2 = (torch.tensor(m, dtype=torch.complex128) for m in ([[1, 0], [0, -1]], [[0, 1], [1, 0]], [[1, 0], [0, 1]]))


@pytest.mark.parametrize(("measure", "matrix"), [
    ("ZI", torch.kron(Z, I2)),
    ({"ZZ": 0.5, "XI": -2.0, "II": 3.0}, 0.5 * torch.kron(Z, Z) - 2 * torch.kron(X, I2)),
    (("states", [2]), torch.diag(torch.tensor([0, 0, 1, 0], dtype=torch.complex128))),
    (("probabilities", [1]), torch.kron(I2, torch.diag(torch.tensor([1, 0], dtype=torch.complex128)))),
    (HERMITIAN, HERMITIAN),
])  # fmt: skip
def test_the_reference_is_the_variance_between_random_unitaries(measure, matrix) -> None:
    generator, count = torch.Generator().manual_seed(1), 40_000
    before, after = haar(count, 4, generator)[:, :, 0], haar(count, 4, generator)
    turned = after.mH @ matrix @ after
    string = torch.kron(X, Z)  # the rotation exp(-i t XZ / 2) at t = 0: derivative <i/2 [P, H]>
    slope = torch.einsum("bi,bij,bj->b", before.conj(), 0.5j * (string @ turned - turned @ string), before).real
    spread = slope.square()
    got = haar_variance(measure, 2)
    assert abs(float(spread.mean()) - float(got[0])) < 5 * float(spread.std()) / math.sqrt(count)
    assert float(spread.std()) / math.sqrt(count) < 0.02 * float(got[0])


def test_complex_amplitudes_have_no_reference_and_a_probe_says_so() -> None:
    with pytest.raises(ConfigError, match="complex amplitudes"):
        haar_variance("state", 2)
    (row,) = gradient_probes(CircuitLayer(cosines(2), "state"))
    assert "complex amplitudes" in row.skipped and row.variance is None and row.ratio is None


def test_single_precision_gives_the_figures_of_double_precision() -> None:
    c = templates.strongly_entangling_layers(3, 2)
    double, single = (
        gradient_variance(c, "z", 50, torch.Generator().manual_seed(3), dtype=dtype)
        for dtype in (torch.float64, torch.float32)
    )
    assert torch.allclose(double.variance, single.variance, atol=1e-6) and single.variance.dtype == torch.float64


def test_rows_tell_variance_idle_weights_and_the_ratio_to_a_deep_random_circuit() -> None:
    c = cosines(3).rz(0, weight()).rz(2, weight())  # the last two turn about what is measured
    (row,) = gradient_probes(nn.Sequential(nn.Linear(2, 2), CircuitLayer(c, "ZZZ")))
    assert (row.slot, row.qubits, row.weights, row.idle, row.starts, row.skipped) == ("1", 3, 5, 2, 512, "")
    assert row.variance is not None and row.ratio is not None and row.lowest is not None and row.highest is not None
    assert abs(row.variance / 2**-3 - 1) < 0.2
    assert row.lowest <= row.variance <= row.highest
    assert row.ratio == pytest.approx(row.variance / (64 / (2 * 63 * 9)))


def test_figures_depend_on_the_seed_and_the_circuit_alone() -> None:
    layer = CircuitLayer(cosines(2), "ZZ")
    weights = layer.weights.detach().clone()
    rows = [gradient_probes(m, seed) for m, seed in ((layer, 0), (CircuitLayer(cosines(2), "ZZ"), 0), (layer, 1))]
    assert rows[0] == rows[1] != rows[2]
    assert torch.equal(layer.weights, weights) and layer.weights.grad is None
    state = torch.get_rng_state()
    gradient_probes(layer, 2)
    assert torch.equal(torch.get_rng_state(), state)


def test_shots_and_noise_are_left_out() -> None:
    exact = gradient_probes(CircuitLayer(cosines(2), "ZZ"))
    noisy = CircuitLayer(cosines(2), "ZZ", noise=NoiseModel(one=0.1))
    assert gradient_probes(CircuitLayer(cosines(2), "ZZ", shots=10)) == exact == gradient_probes(noisy)


def test_rows_are_called_by_their_slot_where_it_has_one_circuit() -> None:
    one, two = nn.Sequential(CircuitLayer(cosines(1))), nn.Sequential(*(CircuitLayer(cosines(n)) for n in (1, 2)))
    model = nn.ModuleDict({"head": one, "heads": two, "own": CircuitLayer(cosines(1))})
    assert [p.slot for p in gradient_probes(model, 0, ["head+heads"])] == ["head", "heads.0", "heads.1", "own"]


@pytest.mark.parametrize(("layer", "reason"), [
    (CircuitLayer(cosines(13)), "13 qubits"),
    (CircuitLayer(cosines(12), "probabilities"), "4096 outputs of 12 gates"),
    (CircuitLayer(Circuit(1).h(0)), "no weights"),
])  # fmt: skip
def test_what_would_take_long_is_left_out_with_the_reason(layer, reason) -> None:
    (row,) = gradient_probes(layer)
    assert reason in row.skipped and row.variance is None


def test_large_circuits_have_fewer_starts_and_without_the_kernel_sooner(monkeypatch) -> None:
    layer = CircuitLayer(templates.strongly_entangling_layers(7, 8))  # 112 gates, 7 outputs
    (row,) = gradient_probes(layer)
    assert row.starts == 2**25 // (7 * 112 * 2**7) == 334
    monkeypatch.setattr(gradient_probe, "FEWEST", 335)
    assert gradient_probes(layer, 1)[0].skipped
    monkeypatch.delenv("DOPANT_KERNEL")

    def refuse(circuit, measure, starts, generator, dtype):
        raise ConfigError(f"asked for {starts}")

    monkeypatch.setattr(gradient_probe, "gradient_variance", refuse)
    assert gradient_probes(layer, 2)[0].skipped == "asked for 512"


def test_weights_that_move_nothing_have_no_variance() -> None:
    (row,) = gradient_probes(CircuitLayer(Circuit(1).rz(0, weight())))
    assert (row.idle, row.variance, row.ratio, row.skipped) == (1, None, None, "")


def test_a_trial_keeps_the_rows_as_metrics() -> None:
    rows = [
        GradientProbe("layers.1_x", 2, 3, 7, 512, 0, 0.25, 0.1, 0.5, 0.2),
        GradientProbe("b", 13, 1, 7, skipped="x"),
    ]
    kept = as_metrics(rows)
    assert kept["gradient_variance_layers.1_x"] == 0.25 and kept["gradient_skipped_b"] == "x"
    assert of_metrics(kept | {"test_accuracy": 1.0, "gradient_qubits_foreign": 1}) == rows
