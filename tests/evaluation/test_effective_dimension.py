from __future__ import annotations

import pytest
import torch
from torch import nn

import dopant as dp
from dopant.components.quantum.flipped_quanv import FlippedQuanv
from dopant.components.quantum.psd_conv import PSDConv, PSDConvFree
from dopant.components.quantum.reupload_linear import ReuploadLinear
from dopant.errors import ConfigError
from dopant.evaluation.effective_dimension import of_slots


def rank(module: nn.Module, *shape: int, **options) -> int:
    found = dp.effective_dimension(module, torch.randn(shape), **options)
    assert found.exact and found.gap > 1e3
    return found.rank


# a state of two qubits up to its phase has 6 real dimensions, and the real part of its density matrix keeps them: A A^T
# with A (4, 2), less one rotation, less the norm. The top left block of side 3 is A A^T with A (3, 2), without a norm.
@pytest.mark.parametrize(("kernel", "bound", "free"), [(2, 3, 3), (3, 5, 5), (4, 6, 7)])
def test_a_pair_of_channels_has_the_dimensions_of_its_positive_semidefinite_kernel(kernel, bound, free):
    for kind, dimension in ((FlippedQuanv, bound), (PSDConv, bound), (PSDConvFree, free)):
        torch.manual_seed(0)
        assert rank(kind(1, 1, kernel, bias=False), 9, 1, 8, 8) == dimension
        assert rank(kind(2, 3, kernel), 9, 2, 8, 8) == 6 * dimension + 3


def test_linear_layers_have_the_dimensions_of_their_matrices():
    torch.manual_seed(0)
    assert rank(nn.Linear(5, 3), 20, 5) == 18
    assert rank(nn.Sequential(nn.Linear(5, 6, bias=False), nn.Linear(6, 3, bias=False)), 20, 5) == 15
    thin = nn.Sequential(nn.Linear(5, 2, bias=False), nn.Linear(2, 4, bias=False))
    assert rank(thin, 20, 5) == 2 * (5 + 4 - 2)  # matrices of rank 2
    assert rank(nn.Linear(5, 3), 20, 5, parameters=["weight"]) == 15


def test_a_sketch_finds_the_rank_of_the_whole_jacobian():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 4)).double()
    x = torch.randn(60, 6, dtype=torch.float64)
    rows = []
    for output in module(x).flatten():
        rows.append(
            torch.cat([g.flatten() for g in torch.autograd.grad(output, module.parameters(), retain_graph=True)])
        )
    expected = torch.linalg.matrix_rank(torch.stack(rows))
    assert dp.effective_dimension(module, x).rank == expected == 37


def test_one_repetition_of_the_circuit_has_fewer_dimensions_than_angles():
    torch.manual_seed(0)
    for qubits, outputs in ((2, 3), (3, 5)):
        circuit = ReuploadLinear(4**qubits, outputs, qubits=qubits, reps=1, bias=False)
        found = dp.effective_dimension(circuit, torch.randn(200, 4**qubits))
        side = 2**qubits
        # probabilities of some outcomes know only these rows of the unitary, each up to its phase
        assert found.exact and found.rank == 2 * side * outputs - outputs**2 - outputs


def test_complex_parameters_are_two_numbers_each_and_phases_that_do_not_matter_are_not_counted():
    class Amplitude(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(3, dtype=torch.complex64))

        def forward(self, x):
            return (x.to(self.w.dtype) @ self.w).abs().square()

    torch.manual_seed(0)
    found = dp.effective_dimension(Amplitude(), torch.randn(40, 3))
    assert (found.rank, found.parameters, found.exact) == (5, 6, True)  # one common phase is free


def test_too_few_outputs_or_combinations_give_a_lower_bound_that_says_so():
    torch.manual_seed(0)
    few = dp.effective_dimension(nn.Linear(50, 10), torch.randn(3, 50))
    assert (few.rank, few.exact, str(few)) == (30, False, "at least 30 of 510 parameters")
    bounded = dp.effective_dimension(nn.Linear(50, 10), torch.randn(300, 50), most=40)
    assert (bounded.rank, bounded.exact) == (40, False)
    assert dp.effective_dimension(nn.Linear(3, 2).requires_grad_(False), torch.randn(3, 3)).rank == 0


def test_slots_are_measured_at_the_inputs_that_reach_them_and_the_model_is_left_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 2), nn.Linear(2, 6)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = of_slots(model, {"0+1": "anything"}, torch.randn(60, 8))
    assert {k: v.rank for k, v in found.items()} == {"0": 18, "1": 18}
    assert model.training and all(m.training for m in model)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    narrow = nn.Sequential(nn.Linear(8, 1), nn.ReLU(), nn.Linear(1, 6))
    narrow[0].requires_grad_(False)
    assert of_slots(narrow, ["2"], torch.zeros(60, 8))["2"].rank == 6  # one input only: its bias
    with pytest.raises(ConfigError, match="not in the model"):
        of_slots(model, ["7"], torch.randn(3, 8))
    with pytest.raises(ConfigError, match="no trainable parameter 'w'"):
        dp.effective_dimension(nn.Linear(3, 3), torch.randn(3, 3), parameters=["w"])
