"""Under autocast circuits keep their precision; convolutions run in the lower one, with a kernel in the full one."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from dopant.components.quantum.flipped_quanv import FlippedQuanv
from dopant.components.quantum.psd_conv import PSDConv
from dopant.components.quantum.reupload_linear import ReuploadLinear


@pytest.fixture(autouse=True)
def number_of_threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def lowered() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def through(layer: ReuploadLinear, x: torch.Tensor, forward_in: bool, backward_in: bool) -> list[torch.Tensor]:
    """Outputs and gradients, with autocast on in the forward or the backward pass."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=forward_in):
        outputs = layer(x)
    with torch.autocast("cpu", torch.bfloat16, enabled=backward_in):
        found = torch.autograd.grad(outputs.square().sum(), [x, *layer.parameters()])
    return [outputs.detach(), *found]


@pytest.mark.parametrize("parameters", ["real", "complex"])
@pytest.mark.parametrize(("features", "scale"), [(256, 0.1), (256, 30.0)], ids=["by series", "by eigenvectors"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_reupload_layer_keeps_the_bits_of_its_values_and_gradients(threads, features, scale, parameters):
    torch.set_num_threads(1)
    layer = ReuploadLinear(features, 10, reps=2, parameters=parameters, scale="learned")
    x = (scale * torch.randn(1100, features)).bfloat16()  # several chunks, in the precision of a layer before
    wanted = through(layer, x.float(), False, False)
    torch.set_num_threads(threads)
    for backward_in in (False, True):
        found = through(layer, x, True, backward_in)
        assert found[0].dtype == torch.float32 and found[1].dtype == torch.bfloat16
        assert torch.equal(found[1], wanted[1].bfloat16()) and found[1].isfinite().all()
        for one, other in zip(found[:1] + found[2:], wanted[:1] + wanted[2:], strict=True):
            assert torch.equal(one, other) and one.isfinite().all()


def test_the_second_derivative_of_a_reupload_layer_keeps_its_precision_too():
    layer, x = ReuploadLinear(16, 4, reps=2), torch.randn(3, 16)

    def slope(forward_in: bool) -> torch.Tensor:
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=forward_in):
            (found,) = torch.autograd.grad(layer(given).square().sum(), given, create_graph=True)
        return torch.autograd.grad(found.square().sum(), layer.angles)[0]

    assert torch.equal(slope(True), slope(False))


def test_a_reupload_layer_takes_no_wrong_precision_without_autocast():
    with pytest.raises(RuntimeError):
        ReuploadLinear(16, 4)(torch.randn(3, 16).bfloat16())


@pytest.mark.parametrize("make", [FlippedQuanv, lambda *a: FlippedQuanv(*a, parameters="complex"), PSDConv])
def test_a_quanv_is_the_lowered_convolution_with_the_kernel_of_full_precision(make):
    layer, x = make(2, 3, 3), torch.randn(4, 2, 6, 6)
    kernel, bias = layer.kernel().detach(), layer.bias.detach()
    with lowered():
        found, wanted = layer(x), functional.conv2d(x, kernel, bias)
    assert found.dtype == torch.bfloat16 and torch.equal(found, wanted)
    assert torch.allclose(found.float(), functional.conv2d(x, kernel, bias), atol=0.05)
    found.float().square().sum().backward()
    slopes = [p.grad for p in layer.parameters()]
    layer.zero_grad()
    layer(x).square().sum().backward()
    for lower, p in zip(slopes, layer.parameters(), strict=True):
        assert lower.dtype == p.dtype
        assert torch.linalg.vector_norm(lower - p.grad) < 0.02 * torch.linalg.vector_norm(p.grad)
