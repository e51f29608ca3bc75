from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from dopant.components.quantum.flipped_quanv import FlippedQuanv, flipped_quanv, refuse_conv
from dopant.components.quantum.psd_conv import PSDConv, psd_conv
from dopant.errors import ConfigError, SlotMismatch

from . import naive

CASES = [(2, 1, 0), (2, 2, 1), (3, 1, 0), (3, 1, 1), (3, 2, 0), (3, 3, 2), (4, 1, 0), (4, 2, 1), (1, 1, 0)]


def layer(*args, **kwargs) -> FlippedQuanv:
    return FlippedQuanv(*args, generator=torch.Generator().manual_seed(3), dtype=torch.float64, **kwargs)


def off_the_circuit(quanv: FlippedQuanv) -> FlippedQuanv:
    """With imaginary parts as large as training makes them."""
    with torch.no_grad():
        quanv.angles += 0.2j * torch.randn(quanv.angles.shape, dtype=torch.float64)
    return quanv


@pytest.mark.parametrize("parameters", ["real", "complex"])
@pytest.mark.parametrize(("k", "stride", "padding"), CASES)
def test_outputs_and_gradients_equal_a_simulation_patch_by_patch(k, stride, padding, parameters):
    quanv = layer(2, 3, k, stride, padding, parameters=parameters)
    if parameters == "complex":
        off_the_circuit(quanv)
    x = torch.randn(2, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    expected = naive.flipped_quanv(x, quanv.angles, quanv.bias, k, stride, padding)
    found = quanv(x)
    assert torch.allclose(found, expected, atol=1e-10, rtol=0)
    weight = torch.randn_like(expected)
    inputs = (x, quanv.angles, quanv.bias)
    for a, b in zip(
        torch.autograd.grad((found * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-10, rtol=0)


def test_the_kernel_equals_one_made_with_scipy():
    quanv = layer(1, 1, 3)
    angles = quanv.angles.detach().numpy()[0, 0]
    generator = sum(a * p.numpy() for a, p in zip(angles, naive.strings(2), strict=True))
    psi = scipy.linalg.expm(1j * generator)[:, 0]
    expected = (np.outer(psi.real, psi.real) + np.outer(psi.imag, psi.imag))[:3, :3]
    np.testing.assert_allclose(quanv.kernel().detach()[0, 0].numpy(), expected, atol=1e-12)


def test_the_whole_kernel_is_symmetric_positive_semidefinite_of_rank_two_and_trace_one():
    quanv = layer(3, 5, 4)
    kernel = quanv.kernel() * quanv.in_channels
    values = torch.linalg.eigvalsh(kernel)
    assert torch.allclose(kernel, kernel.mT)
    assert values.min() > -1e-12
    assert values[..., :2].abs().max() < 1e-12
    assert torch.allclose(values.sum(-1), torch.ones(5, 3, dtype=torch.float64))


def test_without_bias_the_layer_is_additive_and_homogeneous():
    quanv = layer(2, 3, 3, bias=False)
    x, y = torch.randn(2, 1, 2, 6, 6, dtype=torch.float64)
    assert torch.allclose(quanv(2.5 * x - y), 2.5 * quanv(x) - quanv(y), atol=1e-12)


def test_states_have_norm_one_in_single_precision():
    quanv = FlippedQuanv(4, 4)
    assert (quanv.state().abs().square().sum(-1) - 1).abs().max() < 1e-6


def test_the_gradient_is_right_where_all_angles_are_zero():
    quanv = layer(1, 2, 3)

    def function(angles: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(quanv, {"angles": angles}, (x,))

    angles = torch.zeros(2, 1, 15, dtype=torch.float64, requires_grad=True)
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (angles, x))


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_complex_angles_give_the_simulations_gradient_from_zero_to_far_out(scale):
    quanv = layer(2, 2, 3, parameters="complex")
    with torch.no_grad():
        quanv.angles *= scale
    x, weight = torch.randn(2, 1, 2, 3, 3, dtype=torch.float64)
    weight = weight[..., :1, :1]
    (found,) = torch.autograd.grad((quanv(x) * weight).sum(), quanv.angles)
    expected = naive.flipped_quanv(x, quanv.angles, quanv.bias, 3, 1, 0)
    (expected,) = torch.autograd.grad((expected * weight).sum(), quanv.angles)
    assert (found - expected).abs().max() < 1e-9 * max(1, expected.abs().max())


def test_complex_angles_begin_as_the_circuit_and_leave_its_norm_once_moved():
    circuit, control = layer(2, 3), layer(2, 3, parameters="complex")
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    assert torch.equal(circuit.angles, control.angles.real)
    assert torch.equal(circuit.bias, control.bias) and not control.bias.is_complex()
    assert torch.allclose(circuit(x), control(x), atol=1e-12)
    norm = off_the_circuit(control).state().abs().square().sum(-1)
    assert (norm - 1).abs().min() > 1e-3
    assert circuit.cost()["unitary"] and control.cost() == {"unitary": False}


def test_complex_kernels_stay_positive_semidefinite_with_the_trace_of_their_state():
    quanv = off_the_circuit(layer(2, 3, 4, parameters="complex"))
    kernel = quanv.kernel() * 2
    assert torch.linalg.eigvalsh(kernel).min() > -1e-12
    trace = kernel.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert torch.allclose(trace, quanv.state().abs().square().sum(-1))


def test_complex_angles_give_the_kernel_of_a_normalised_state_times_the_square_of_the_norm():
    quanv = off_the_circuit(layer(2, 3, parameters="complex"))
    psi = quanv.state()
    norm = torch.linalg.vector_norm(psi, dim=-1, keepdim=True)
    rows = (psi / norm)[..., :3]  # what some circuit prepares: any state of norm 1 is one
    circuit = (rows.unsqueeze(-1) * rows.unsqueeze(-2).conj()).real / 2
    assert torch.allclose(quanv.kernel(), norm.square().unsqueeze(-1) * circuit, atol=1e-12)


def test_a_training_step_moves_the_imaginary_parts():
    quanv = layer(2, 3, parameters="complex")
    optimizer = torch.optim.Adam(quanv.parameters(), lr=1e-2)
    quanv(torch.randn(2, 2, 5, 5, dtype=torch.float64)).square().sum().backward()
    optimizer.step()
    assert quanv.angles.imag.abs().min() > 1e-3


def test_the_slot_takes_complex_parameters_and_refuses_other_kinds():
    assert flipped_quanv(nn.Conv2d(1, 2, 3), None, parameters="complex").angles.is_complex()
    with pytest.raises(ConfigError, match="parameters is 'quaternion'; expected 'real' or 'complex'"):
        flipped_quanv(nn.Conv2d(1, 2, 3), None, parameters="quaternion")


def test_bias_init_changes_the_bias_and_nothing_else():
    normal, zero = layer(2, 3), layer(2, 3, bias_init="zero")
    assert torch.equal(normal.angles, zero.angles)
    assert zero.bias.abs().max() == 0 < normal.bias.abs().min()


def test_every_wrong_argument_is_told_at_once():
    with pytest.raises(ConfigError) as error:
        FlippedQuanv(0, 3, 5, bias_init="ones")
    assert len(error.value.problems) == 3
    assert "expected 1 to 4" in str(error.value)


@pytest.mark.parametrize(
    ("old", "word"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), "groups"),
        (nn.Conv2d(1, 1, 3, dilation=2), "dilation"),
        (nn.Conv2d(1, 1, 5), "kernel size"),
        (nn.Conv2d(1, 1, (2, 3)), "kernel size"),
        (nn.Conv2d(1, 1, 1), "kernel size"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), "padding_mode"),
        (nn.Linear(3, 3), "Conv2d"),
    ],
)
def test_slots_that_cannot_be_filled_are_refused_with_the_reason(old, word):
    assert word in refuse_conv(old)
    for factory in (flipped_quanv, psd_conv):
        with pytest.raises(SlotMismatch, match=word):
            factory(old, None)


@pytest.mark.parametrize("factory", [flipped_quanv, psd_conv])
@pytest.mark.parametrize(
    "old", [nn.Conv2d(3, 4, 3, (2, 1), padding=1), nn.Conv2d(3, 4, 3, padding="same", bias=False), nn.Conv2d(3, 4, 4)]
)
def test_the_filled_slot_keeps_shape_bias_and_dtype(factory, old):
    old = old.double()
    new = factory(old, None)
    x = torch.randn(2, 3, 8, 7, dtype=torch.float64)
    assert new(x).shape == old(x).shape
    assert (new.bias is None) == (old.bias is None)
    assert {p.dtype for p in new.parameters()} == {torch.float64}


def test_the_same_class_control_starts_as_the_very_function_of_its_component():
    old = nn.Conv2d(2, 3, 3).double()
    target = flipped_quanv(old, None)
    control = psd_conv(old, None, target=target)
    x = torch.randn(2, 2, 5, 5, dtype=torch.float64)
    assert torch.allclose(control(x), target(x), atol=1e-12)
    assert not torch.allclose(psd_conv(old, None, target=target, start="random")(x), target(x))


@pytest.mark.parametrize(("k", "exact"), [(1, False), (2, False), (3, False), (4, True)])
def test_the_control_reaches_psd_kernels_of_trace_at_most_one_and_no_others(k, exact):
    conv = PSDConv(2, 3, k, dtype=torch.float64)
    with torch.no_grad():
        conv.factor.mul_(10 * torch.rand(3, 2, 1, 1, dtype=torch.float64))
    kernel = conv.kernel() * 2
    trace = kernel.diagonal(dim1=-2, dim2=-1).sum(-1)
    assert torch.linalg.eigvalsh(kernel).min() > -1e-12
    assert bool((trace <= 1 + 1e-12).all())
    assert torch.allclose(trace, torch.ones_like(trace)) == exact


@pytest.mark.parametrize("k", [2, 3, 4])
def test_control_and_component_have_the_same_effective_dimension(k):
    def rank(module: nn.Module, name: str) -> int:
        start = getattr(module, name).detach()
        jacobian = torch.autograd.functional.jacobian(
            lambda p: torch.func.functional_call(Kernel(module), {f"module.{name}": p}, ()).flatten(), start
        ).reshape(k * k, -1)
        return int(torch.linalg.matrix_rank(jacobian, rtol=1e-9))

    class Kernel(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self):
            return self.module.kernel()

    quanv, control = layer(1, 1, k), PSDConv(1, 1, k, dtype=torch.float64)
    assert rank(quanv, "angles") == rank(control, "factor") == {2: 3, 3: 5, 4: 6}[k]
