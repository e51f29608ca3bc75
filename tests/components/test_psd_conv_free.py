from __future__ import annotations

import pytest
import torch
from torch import nn

from dopant.components.quantum.flipped_quanv import FlippedQuanv, flipped_quanv
from dopant.components.quantum.psd_conv import PSDConv, PSDConvFree, psd_conv, psd_conv_free
from dopant.errors import SlotMismatch

SLOTS = [nn.Conv2d(3, 4, 2), nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(3, 4, 4, bias=False)]


@pytest.mark.parametrize("old", SLOTS, ids=lambda conv: f"kernel {conv.kernel_size[0]}")
def test_it_starts_at_the_very_function_of_the_component(old):
    target = flipped_quanv(old, None)
    new = psd_conv_free(old, None, target=target)
    x = torch.randn(2, 3, 9, 9)
    assert torch.allclose(new.kernel(), target.kernel(), atol=1e-6)
    assert torch.allclose(new(x), target(x), atol=1e-5)
    assert (new.bias is None) == (old.bias is None)


def test_training_takes_the_trace_where_the_circuit_cannot_go():
    torch.manual_seed(0)
    old = nn.Conv2d(1, 1, 3, bias=False)
    target = flipped_quanv(old, None)
    free, bound = psd_conv_free(old, None, target=target), psd_conv(old, None, target=target)
    goal = torch.tensor([[4.0, 1, 0], [1, 3, 0], [0, 0, 0]])
    for module in (free, bound, target):
        optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
        for _ in range(400):
            optimizer.zero_grad()
            (module.kernel()[0, 0] - goal).square().sum().backward()
            optimizer.step()
    assert (free.kernel()[0, 0] - goal).abs().max() < 1e-3
    for module in (bound, target):
        assert module.kernel()[0, 0].trace() < 1 + 1e-5


def test_its_kernels_are_positive_semidefinite_of_rank_two_at_any_size():
    layer = PSDConvFree(3, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        layer.factor.mul_(7 * torch.randn_like(layer.factor))
    values = torch.linalg.eigvalsh(layer.kernel() * 3)
    assert values.min() > -1e-9 and values[..., :2].abs().max() < 1e-9
    assert values.sum(-1).max() > 2


def test_without_a_component_it_draws_what_psd_conv_draws():
    one, other = (kind(3, 4, 3, generator=torch.Generator().manual_seed(1)) for kind in (PSDConv, PSDConvFree))
    assert torch.allclose(one.kernel(), other.kernel(), atol=1e-6)
    assert torch.equal(one.bias, other.bias)
    random = psd_conv_free(nn.Conv2d(3, 4, 3), None, target=flipped_quanv(nn.Conv2d(3, 4, 3), None), start="random")
    assert random.kernel().diagonal(dim1=-2, dim2=-1).sum(-1).max() <= 1 / 3 + 1e-6


class Unnormalised(FlippedQuanv):
    """What complex angles make of the layer: a state of norm other than one, and a complex bias."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.bias = nn.Parameter(torch.complex(self.bias.detach(), torch.ones(self.out_channels)))

    def state(self):
        return 3 * super().state()


def test_it_starts_at_a_state_that_is_not_normalised_and_psd_conv_at_the_normalised_one():
    old = nn.Conv2d(2, 3, 3)
    target = Unnormalised(2, 3, 3)
    free, bound = psd_conv_free(old, None, target=target), psd_conv(old, None, target=target)
    assert torch.allclose(free.kernel(), target.kernel(), atol=1e-5)
    assert torch.allclose(bound.kernel() * 9, target.kernel(), atol=1e-5)
    for layer in (free, bound):
        assert torch.equal(layer.bias, target.bias.real)


def test_wrong_slots_and_starts_are_refused_together():
    with pytest.raises(SlotMismatch, match="Conv2d") as error:
        psd_conv_free(nn.Linear(3, 3), None, start="there")
    assert len(error.value.problems) == 2 and "'psd-conv-free'" in str(error.value)
