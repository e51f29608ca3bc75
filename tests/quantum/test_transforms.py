"""Circuit layers under torch's transforms: forward derivatives, vmap, many gradients at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.func import functional_call, jacfwd, jacrev, vmap

from dopant.quantum import Circuit, feature, weight
from dopant.quantum.gates import GATES

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
CLOSE = {torch.float32: 2e-5, torch.float64: 1e-11}


def of(layer: torch.nn.Module) -> Any:
    def function(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, {"weights": w}, (x,))

    return function


def with_gate(name: str) -> Circuit:
    c = Circuit(3).h(0).ry(1, feature(0) * feature(1)).ry(2, 0.3 + 2 * weight() - feature(1))
    if name == "pauli_exp":
        return c.pauli_exp("XYZ", weight()).controlled([0], "rx", 1, weight())
    if name == "dense":
        return c.special_unitary([0, 1]).special_unitary(2, [feature(0), 0.4], ["X", "Z"]).hermitian_exp([1, 2], 0, 3)
    kind = GATES[name]
    return c.gate(name, *range(kind.qubits), *[weight() for _ in kind.angles])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["rx", "u", "rot", "p", "cp", "cry", "rzz", "iswap", "pauli_exp", "dense"])
def test_forward_derivatives_are_the_backward_ones_in_both_precisions(name, dtype):
    layer = with_gate(name).layer(measure=["ZII", "IXY"], dtype=dtype)
    x, w = torch.rand(2, 3, dtype=dtype), layer.weights.detach()
    for argument in (0, 1):
        forward, backward = jacfwd(of(layer), argument)(x, w), jacrev(of(layer), argument)(x, w)
        assert forward.dtype == dtype and torch.allclose(forward, backward, atol=CLOSE[dtype])
        kernel = torch.autograd.functional.jacobian(lambda *inputs: of(layer)(*inputs), (x, w))[argument]
        assert torch.allclose(backward, kernel, atol=CLOSE[dtype])


def phased() -> Circuit:
    """With products of features, and phases at its end: they do not change probabilities, but second derivatives."""
    c = Circuit(2).h(0)
    for q in range(2):
        c = c.ry(q, feature(q) * feature(0)).rot(q, weight(), weight(), weight())
    return c.cx(0, 1).rz(1, weight())


MEASURES = ["z", "state", "probabilities", ["XZ", "YY"]]


def real(layer: torch.nn.Module) -> Any:
    def function(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        found = functional_call(layer, {"weights": w}, (x,))
        return torch.view_as_real(found) if found.is_complex() else found

    return function


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("measure", MEASURES, ids=str)
def test_many_gradients_at_once_are_the_same_gradients_one_after_the_other(measure, dtype):
    layer = phased().layer(measure=measure, path="kernel", dtype=dtype)
    function, x, w = real(layer), torch.rand(5, 2, dtype=dtype, requires_grad=True), layer.weights
    out = function(x, w)
    shares = torch.randn(4, *out.shape, dtype=dtype)
    many = torch.autograd.grad(out, (x, w), shares, is_grads_batched=True, retain_graph=True)
    for k, share in enumerate(shares):
        for found, one in zip(many, torch.autograd.grad(out, (x, w), share, retain_graph=True), strict=True):
            assert torch.allclose(found[k], one, atol=CLOSE[dtype])
    plain = torch.autograd.functional.jacobian(function, (x, w))
    for strategy in ("reverse-mode", "forward-mode"):
        at_once = torch.autograd.functional.jacobian(function, (x, w), vectorize=True, strategy=strategy)
        for a, b in zip(at_once, plain, strict=True):
            assert torch.allclose(a, b, atol=CLOSE[dtype])


@pytest.mark.parametrize("measure", MEASURES, ids=str)
def test_second_derivatives_are_those_of_finite_differences_of_the_first_ones(measure):
    layer = phased().layer(measure=measure, path="kernel", dtype=torch.float64)
    x, w = torch.rand(3, 2, dtype=torch.float64), layer.weights.detach()
    out = real(layer)(x, w)
    share = torch.randn_like(out)

    def score(w: torch.Tensor) -> torch.Tensor:
        return (real(layer)(x, w).square() * share).sum()

    def slope(w: torch.Tensor) -> torch.Tensor:
        w = w.clone().requires_grad_()
        return torch.autograd.grad(score(w), w)[0]

    step = 1e-5 * torch.eye(len(w), dtype=torch.float64)
    expected = torch.stack([(slope(w + s) - slope(w - s)) / 2e-5 for s in step])
    for vectorize in (False, True):
        found = torch.autograd.functional.hessian(score, w, vectorize=vectorize)
        assert torch.allclose(found, expected, atol=1e-7)  # pyright: ignore[reportArgumentType]
    assert torch.allclose(torch.func.hessian(score)(w), expected, atol=1e-7)


@pytest.mark.parametrize("measure", MEASURES, ids=str)
def test_vmap_over_samples_batches_and_weights_gives_what_calls_give(measure):
    layer = phased().layer(measure=measure, path="auto", dtype=torch.float64)
    function, x, w = real(layer), torch.rand(4, 2, dtype=torch.float64), layer.weights.detach()
    several = torch.stack([w, 2 * w])
    expected = torch.stack([function(x, k) for k in several])
    assert torch.allclose(vmap(lambda row: function(row, w))(x), expected[0], atol=1e-12)
    assert torch.allclose(vmap(lambda row: function(row, w), in_dims=1)(x.T), expected[0], atol=1e-12)
    assert torch.allclose(vmap(lambda k: function(x, k))(several), expected, atol=1e-12)
    per_sample = vmap(lambda row: jacrev(function, 1)(row, w))(x)
    assert torch.allclose(per_sample, torch.autograd.functional.jacobian(lambda w: function(x, w), w), atol=1e-12)
