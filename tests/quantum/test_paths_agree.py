"""The compiled kernel, the torch path and a dense simulation give the same values and derivatives."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

import random_circuits
from dopant.errors import ConfigError
from dopant.quantum import Circuit, NoiseModel, feature, weight
from random_circuits import circuit as random_circuit
from random_circuits import inputs_for


def both(circuit: Circuit, measure, x, w):
    """Outputs of the kernel and of torch with the same weights, and whether the kernel was really used."""
    found = []
    for path in ("kernel", "torch"):
        layer = circuit.layer(measure, path=path, dtype=w.dtype)
        assert layer.runner.chosen(x) == path
        found.append(layer.runner(x, w))
    return found


MEASURES = ["z", "state", "probabilities", "x", "mixed", "sum"]


def as_measure(name: str, n: int):
    if name == "mixed":
        return ["ZYXZYX"[:n], "I" * n, "Z" * n]
    if name == "sum":
        return [{"Z" * n: 0.5, "I" * n: -1.0}, {"Z" + "I" * (n - 1): 2.0}]
    return name


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("seed", range(6))
def test_values_and_gradients_of_random_circuits_agree_to_1e_11_in_double_precision(seed, measure):
    rng = random.Random(f"{seed}{measure}")
    n = 1 + seed
    circuit = random_circuit(rng, n, 16, dense=False, weights=None if seed % 2 else 3)
    x, w = inputs_for(circuit, rng.choice([1, 7, 8, 19]), seed)
    kernel, torch_ = both(circuit, as_measure(measure, n), x, w)
    assert kernel.shape == torch_.shape and kernel.dtype == torch_.dtype
    assert torch.allclose(kernel, torch_, rtol=0, atol=1e-11)
    seedling = torch.randn(torch_.shape, dtype=torch_.dtype)
    ours = torch.autograd.grad(kernel, (x, w), seedling)
    theirs = torch.autograd.grad(torch_, (x, w), seedling, allow_unused=True, materialize_grads=True)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("seed", range(5))
def test_the_state_is_that_of_a_dense_simulation_with_its_global_phase(seed):
    circuit = random_circuit(random.Random(seed), 1 + seed, 14)
    x, w = inputs_for(circuit, 3, seed)
    assert np.allclose(circuit.state(x, w).detach(), random_circuits.states(circuit, x, w), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_single_precision_agrees_with_double_to_its_own(n):
    circuit = random_circuit(random.Random(n), n, 40, dense=False, controls=False, weights=None)
    x, w = inputs_for(circuit, 33)
    double, _ = both(circuit, "z", x, w)
    x32, w32 = x.detach().float().requires_grad_(), w.detach().float().requires_grad_()
    single = circuit.layer(path="kernel").runner(x32, w32)
    assert torch.allclose(single, double.float(), atol=2e-5)
    a = torch.autograd.grad(single.sum(), (x32, w32))
    b = torch.autograd.grad(double.sum(), (x, w))
    for p, q in zip(a, b, strict=True):
        assert torch.allclose(p, q.float(), atol=5e-4)


def test_gradients_pass_finite_differences_at_angles_where_a_tangent_is_infinite():
    circuit = Circuit(2).ry(0, feature(0)).ry(1, weight()).cx(0, 1).rx(0, weight()).ry(1, feature(1)).rx(1, weight())
    layer = circuit.layer(path="kernel", dtype=torch.float64)
    x = torch.tensor(
        [[torch.pi, 0.3], [-torch.pi, torch.pi], [3 * torch.pi, 0.0]], dtype=torch.float64, requires_grad=True
    )
    w = torch.tensor([torch.pi, torch.pi, 0.2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: layer.runner(x, w), (x, w))


def test_many_quarter_and_half_turns_do_not_overflow_single_precision():
    circuit = Circuit(5)
    for _ in range(8):
        for q in range(5):
            circuit = circuit.ry(q, feature(q)).rx(q, weight())
        circuit = circuit.cx_ring()
    x = torch.full((4, 5), torch.pi, requires_grad=True)
    w = torch.full((circuit.weights,), torch.pi)
    kernel = circuit.layer(path="kernel").runner(x, w)
    exact = circuit.layer(path="torch").runner(x.double(), w.double())
    assert torch.allclose(kernel.double(), exact, atol=1e-5)
    assert torch.isfinite(torch.autograd.grad(kernel.sum(), x)[0]).all()


def test_second_derivatives_are_those_of_the_torch_path():
    circuit = Circuit(3)
    for q in range(3):
        circuit = circuit.rx(q, feature(q)).rot(q, weight(), weight(), weight())
    circuit = circuit.cx_ring().crx(0, 2, weight()).rzz(0, 1, feature(0) * feature(1)).ry(1, feature(2)).h(0)
    x, w = inputs_for(circuit, 2)
    found = []
    for path in ("kernel", "torch"):
        out = circuit.layer(path=path, dtype=torch.float64).runner(x, w)
        (first,) = torch.autograd.grad(out.square().sum(), w, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), (x, w)))
    for a, b in zip(*found, strict=True):
        assert a.abs().max() > 1e-3 and torch.allclose(a, b, atol=1e-10)


def test_any_number_of_threads_gives_the_same_bits():
    circuit = Circuit(8)
    for q in range(8):
        circuit = circuit.ry(q, feature(q))
    for _ in range(4):
        for q in range(8):
            circuit = circuit.rot(q, weight(), weight(), weight())
        circuit = circuit.cx_ring()
    layer, x = circuit.layer(path="kernel"), torch.randn(200, 8, requires_grad=True)
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            out = layer(x)
            found.append([out.detach(), *torch.autograd.grad(out.square().sum(), (x, layer.weights))])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_a_sample_does_not_depend_on_its_batch():
    circuit = random_circuit(random.Random(8), 4, 25, dense=False, weights=None)
    x, w = inputs_for(circuit, 37, dtype=torch.float32)
    runner = circuit.layer(path="kernel").runner
    together = runner(x, w)
    alone = torch.cat([runner(x[b : b + 1], w) for b in range(37)])
    assert torch.equal(together, alone)
    assert torch.equal(runner(x[:0], w), together[:0])


def test_nan_in_one_sample_stays_in_it():
    circuit = random_circuit(random.Random(2), 3, 20, dense=False, weights=None)
    x, w = inputs_for(circuit, 20, dtype=torch.float32)
    x = x.detach()
    x[3, 0] = float("nan")
    for path in ("kernel", "torch"):
        out = circuit.layer(path=path).runner(x, w)
        bad = out.isnan().any(1)
        assert bad[3] and bad.sum() == 1


def test_torch_func_transforms_and_fake_tensors_take_the_torch_path():
    circuit = random_circuit(random.Random(4), 3, 12, dense=False, weights=None)
    layer = circuit.layer(dtype=torch.float64)
    x, _ = inputs_for(circuit, 4)
    x = x.detach()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: layer(row)))(x)
    expected = torch.autograd.functional.jacobian(layer, x)
    expected = torch.stack([expected[b, :, b] for b in range(4)])
    assert torch.allclose(jacobian, expected, atol=1e-10)


def test_overlaps_are_squared_moduli_of_inner_products_exact_noisy_and_drawn():
    circuit = Circuit(2).ry(0, feature(0)).cx(0, 1).rx(1, weight())
    bell = Circuit(2).h(0).cx(0, 1)
    measure = ("overlaps", [bell, torch.tensor([1.0, 0.0, 0.0, 0.0])])
    exact = circuit.layer(measure, dtype=torch.float64)
    x = torch.randn(5, 1, dtype=torch.float64)
    states = circuit.state(x, exact.weights).detach()
    vectors = torch.tensor([[0.5**0.5, 0, 0, 0.5**0.5], [1, 0, 0, 0]], dtype=torch.complex128)
    expected = (states @ vectors.T).abs().square()
    assert torch.allclose(exact(x), expected, atol=1e-12)
    for more, gap in (({"noise": NoiseModel()}, 1e-12), ({"shots": 40_000}, 5 * 0.5 / 200)):
        other = circuit.layer(measure, **more)
        other.weights = exact.weights
        assert torch.allclose(other(x), expected, atol=gap)
    with pytest.raises(ConfigError, match="squared norm is 4"):
        circuit.layer(("overlaps", [torch.ones(4)]))


@pytest.mark.parametrize("size", [4.0, 100.0, 1e6])
def test_single_precision_angles_of_any_size_give_cosines_and_sines_to_1e_6(size):
    x = (torch.rand(4000, 1) * 2 - 1) * size
    for measure, exact in (("z", torch.cos), ("x", torch.sin)):
        found = Circuit(1).ry(0, feature(0)).layer(measure, path="kernel")(x)[:, 0]
        assert torch.allclose(found.double(), exact(x[:, 0].double()), rtol=0, atol=1e-6)
