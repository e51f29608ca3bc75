"""Controls that keep one thing of a circuit's head: its input treatment, its bounded output, its start."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import dopant as dp
from dopant.components.ordinary._capacity import trainable
from dopant.components.ordinary.born_linear import born_linear
from dopant.components.ordinary.linear import linear
from dopant.components.ordinary.matched_start import Moments, matched_start
from dopant.components.ordinary.symmetrised_linear import symmetrised_linear
from dopant.components.quantum.flipped_quanv import flipped_quanv
from dopant.components.quantum.reupload_linear import reupload_linear
from dopant.cost import ledger
from dopant.errors import SlotMismatch
from dopant.streams import Streams
from dopant.training.lifecycle_calls import prepare


def signature_of(old: nn.Module, *shape: int):
    return dp.slots(nn.Sequential(old), torch.randn(*shape))["0"]


# --- symmetrised-linear -----------------------------------------------------------------------------------------------


def test_of_the_published_head_s_inputs_4753_pairs_merge_and_7791_numbers_are_left():
    new = symmetrised_linear(nn.Linear(12544, 10), None)
    assert (new.qubits, new.merged, new.readout.in_features) == (7, 4753, 7791)
    assert "4753 pairs" in new.describe() and trainable(new) == 77_920


def test_the_distinct_numbers_are_those_of_the_symmetrised_matrix_and_all_of_them():
    for inputs, qubits in ((13, 2), (16, 2), (5, 2), (256, 4), (100, 4)):
        new = symmetrised_linear(nn.Linear(inputs, 3).double(), None, qubits=qubits)
        x = torch.randn(inputs, dtype=torch.float64)
        side = 2**qubits
        matrix = functional.pad(x, (0, side * side - inputs)).view(side, side)
        expected = {round(v, 12) for v in ((matrix + matrix.T) / 2).flatten().tolist() if v}
        found = new.distinct(x).tolist()
        assert {round(v, 12) for v in found} == expected and len(found) == len(expected)
        assert new.merged == inputs - len(expected)


def test_mirrored_inputs_count_only_by_their_mean():
    new = symmetrised_linear(nn.Linear(16, 3), None)
    x = torch.randn(5, 4, 4)
    assert torch.allclose(new(x.flatten(1)), new(x.mT.flatten(1)), atol=1e-6)
    assert not torch.allclose(new(x.flatten(1)), new(x.flip(1).flatten(1)), atol=1e-2)


def test_it_takes_the_qubits_of_the_circuit_and_refuses_too_few():
    old = nn.Linear(16, 4)
    assert symmetrised_linear(old, None, target=reupload_linear(old, None, qubits=3)).qubits == 3
    assert symmetrised_linear(old, None, target=nn.Linear(16, 4)).qubits == 2
    with pytest.raises(SlotMismatch, match="at most 4 inputs"):
        symmetrised_linear(old, None, qubits=1)
    with pytest.raises(SlotMismatch, match="fills Linear"):
        symmetrised_linear(nn.ReLU(), None)


# --- born-linear ------------------------------------------------------------------------------------------------------


def test_its_outcomes_are_a_distribution_that_knows_no_length():
    new = born_linear(nn.Linear(16, 3).double(), None).double()
    x = torch.randn(7, 16, dtype=torch.float64)
    p = new.probabilities(x)
    assert p.shape == (7, 4) and p.min() >= 0
    assert torch.allclose(p.sum(-1), torch.ones(7, dtype=torch.float64))
    assert torch.allclose(new.probabilities(-30 * x), p, atol=1e-10)
    assert torch.allclose(new(x), p[:, :3] + new.bias)


def test_its_outcomes_are_those_of_the_complex_matrix_that_it_stands_for():
    for rank in (2, 8):
        new = born_linear(nn.Linear(16, 3), None, rank=rank).double()
        rows = new.gather.weight @ (new.spread.weight if rank < 8 else torch.eye(16, dtype=torch.float64))
        matrix = torch.complex(rows[:4], rows[4:])
        assert torch.linalg.matrix_rank(rows) == rank
        x = torch.randn(5, 16, dtype=torch.float64)
        amplitude = x.to(torch.complex128) @ matrix.T
        expected = amplitude.abs().square() / amplitude.abs().square().sum(-1, keepdim=True)
        assert torch.allclose(new.probabilities(x), expected, atol=1e-9)


def test_an_input_of_zeros_gives_the_uniform_outcome_and_finite_gradients():
    new = born_linear(nn.Linear(16, 10), None)
    x = torch.zeros(3, 16, requires_grad=True)
    p = new.probabilities(x)
    assert torch.allclose(p, torch.full_like(p, 1 / 16))
    gradients = torch.autograd.grad(new(x).square().sum(), [x, *new.parameters()])
    assert all(g.isfinite().all() for g in gradients)
    tiny = torch.full((1, 16), 1e-20, requires_grad=True)
    assert torch.autograd.grad(new(tiny).sum(), tiny)[0].isfinite().all()


def test_the_published_head_s_rank_is_13_and_its_count_the_circuit_s():
    target = nn.Linear(16383, 10)  # of the circuit's 163,830 angles and 10 biases
    new = born_linear(nn.Linear(12544, 10), None, target=target)
    assert (new.width, trainable(new)) == (13, 166_410)
    assert abs(trainable(new) / 163_840 - 1) < 0.02 and "rank 13 of 256" in new.describe()


@pytest.mark.parametrize("options", [{}, {"scale": "learned", "bias_init": "zero"}, {"scale": "learned"}])
def test_scale_and_bias_start_where_the_circuit_s_do(options):
    old = nn.Linear(16, 4)
    target = reupload_linear(old, None, **options)
    new = born_linear(old, None, target=target)
    assert torch.equal(new.bias, target.bias)
    assert (new.log_scale is None) == (target.log_scale is None)
    if new.log_scale is not None:
        assert torch.equal(new.log_scale, target.log_scale) and new.log_scale is not target.log_scale
        x = torch.randn(4, 16)
        assert torch.allclose(new(x), 30 * new.probabilities(x) + new.bias, atol=1e-4)
    assert born_linear(nn.Linear(16, 4, bias=False), None, target=target).bias is None


def test_a_budget_above_the_whole_matrix_takes_the_whole_matrix_and_says_so():
    old = nn.Linear(6, 4)
    new = born_linear(old, None, target=reupload_linear(old, None))
    assert new.width == 6 and isinstance(new.spread, nn.Identity) and "rank 6 of 6" in new.describe()
    with pytest.raises(SlotMismatch, match="expected 1 to 6"):
        born_linear(old, None, rank=7)


# --- matched-start ----------------------------------------------------------------------------------------------------


def test_moments_of_parts_are_the_moments_of_the_whole():
    x = torch.randn(40, 3, 5) * 3 + 100
    found = Moments(1)
    for part in x.split([1, 30, 9]):
        found.add(part)
    rows = x.double().movedim(1, -1).flatten(0, 1)
    assert torch.allclose(found.mean, rows.mean(0)) and torch.allclose(found.variance, rows.var(0, correction=0))


SLOTS = [
    (nn.Linear(16, 4), reupload_linear, (50, 16)),
    (nn.Linear(16, 4), lambda old, _: reupload_linear(old, None, scale="learned"), (50, 16)),
    (nn.Conv2d(3, 5, 3, padding=1), flipped_quanv, (20, 3, 7, 7)),
]


@pytest.mark.parametrize(("old", "component", "shape"), SLOTS, ids=["circuit", "scaled circuit", "quanvolution"])
def test_after_preparing_each_output_has_the_component_s_mean_and_variance(old, component, shape):
    target = component(old, None)
    model = nn.Sequential(matched_start(old, None, target=target))
    batches = list(3 * torch.randn(3, *shape) + 1)
    prepare(model, batches, Streams(0))
    x = torch.cat(batches)
    with torch.no_grad():
        found, wanted = (m(x).double().movedim(1, 0).flatten(1) for m in (model, target))
    assert torch.allclose(found.mean(1), wanted.mean(1), atol=1e-5)
    assert torch.allclose(found.std(1), wanted.std(1), rtol=1e-3)


def test_the_component_is_in_no_parameter_state_or_cost_and_goes_when_preparing_is_done():
    old = nn.Linear(16, 4)
    new = matched_start(old, None, target=reupload_linear(old, None))
    assert list(new.state_dict()) == ["layer.weight", "layer.bias"] and trainable(new) == 68
    costs = ledger(nn.Sequential(new), torch.randn(2, 16), 2, batch=2)
    assert costs["parameters"] == 68 and "qubits" not in costs and "tier" not in costs
    prepare(new, [torch.randn(9, 16)], Streams(0))
    before = new.layer.weight.clone()
    prepare(new, [torch.randn(9, 16)], Streams(0))
    assert torch.equal(new.layer.weight, before) and not new._other


def test_without_a_bias_the_variance_is_matched_and_constant_inputs_leave_the_rows_alone():
    old = nn.Linear(16, 4, bias=False)
    target = reupload_linear(old, None)
    new = matched_start(old, None, target=target)
    x = torch.randn(60, 16)
    prepare(new, [x], Streams(0))
    assert torch.allclose(new(x).std(0), target(x).std(0), rtol=1e-3)
    fixed = matched_start(old, None, target=target)
    before = fixed.layer.weight.clone()
    prepare(fixed, [torch.ones(5, 16)], Streams(0))
    assert torch.equal(fixed.layer.weight, before)
    with pytest.raises(SlotMismatch, match="fills Linear, Conv1d"):
        matched_start(nn.ReLU(), None)


def test_at_the_start_a_circuit_s_outputs_vary_by_about_one_over_their_number():
    torch.manual_seed(0)
    target = reupload_linear(nn.Linear(256, 10), None, reps=3)
    x = target(2 * torch.rand(300, 256) - 1) - target.bias
    spread = x.std(0).mean().item()
    assert abs(x.mean().item() * 16 - 1) < 0.3 and 0.3 < spread * 16 < 1.5


# --- linear with a start ----------------------------------------------------------------------------------------------


def test_a_linear_layer_without_options_is_the_one_it_was_to_the_bit():
    old = nn.Linear(6, 4)
    signature = signature_of(old, 2, 6)
    torch.manual_seed(3)
    new = linear(old, signature)
    torch.manual_seed(3)
    expected = nn.Linear(6, 4)
    assert type(new) is nn.Linear and torch.equal(new.weight, expected.weight) and torch.equal(new.bias, expected.bias)


def test_its_options_change_the_start_of_bias_and_scale_and_not_the_weights():
    old = nn.Linear(6, 400)
    signature = signature_of(old, 2, 6)
    made = {}
    for bias_init in ("default", "normal", "zero"):
        for scale in ("none", "learned"):
            torch.manual_seed(0)
            made[bias_init, scale] = linear(old, signature, bias_init=bias_init, scale=scale, scale_init=30.0)
    weight = made["default", "none"].weight
    assert all(torch.equal(m.weight, weight) for m in made.values())
    for scale in ("none", "learned"):
        assert torch.equal(made["default", scale].bias, made["default", "none"].bias)
        assert abs(made["normal", scale].bias.std() - 1) < 0.1 and not made["zero", scale].bias.any()
    x = torch.randn(3, 6)
    for bias_init in ("default", "normal", "zero"):
        plain, scaled = made[bias_init, "none"], made[bias_init, "learned"]
        assert math.isclose(scaled.log_scale.item(), math.log(30), rel_tol=1e-6)
        assert torch.allclose(scaled(x) - scaled.bias, 30 * (plain(x) - plain.bias), atol=1e-4)
        assert trainable(scaled) == trainable(plain) + 1


def test_a_slot_without_bias_stays_without_whatever_the_start():
    old = nn.Linear(6, 4, bias=False)
    new = linear(old, signature_of(old, 2, 6), bias_init="normal", scale="learned")
    assert new.bias is None and new(torch.zeros(2, 6)).abs().max() == 0


def test_start_options_are_refused_elsewhere_and_for_unknown_values():
    old = nn.Conv2d(3, 4, 3)
    with pytest.raises(SlotMismatch, match="slot of a Linear"):
        linear(old, signature_of(old, 2, 3, 6, 6), bias_init="zero")
    with pytest.raises(SlotMismatch) as error:
        linear(nn.Linear(3, 3), None, bias_init="one", scale="some", scale_init=0.0)
    assert len(error.value.problems) == 3
