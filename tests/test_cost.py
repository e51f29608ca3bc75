"""The ledger and the counter of FLOPs against counts by hand, formulas and torch's own counter."""

from __future__ import annotations

import math
import types
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import dopant as dp
from dopant._signature import Call
from dopant._slots import measure
from dopant.components.quantum.flipped_quanv import FlippedQuanv
from dopant.components.quantum.reupload_linear import ReuploadLinear
from dopant.cost import declared, forward_flops, ledger, step_flops
from dopant.errors import ConfigError
from dopant.flops import Counter
from dopant.study.results import StudyAnswer


def counted(work) -> float:
    with Counter() as counter:
        work()
    return counter.total


# --- the counter ------------------------------------------------------------------------------------------------------

REAL, COMPLEX = torch.randn(12, 12), torch.randn(12, 12, dtype=torch.complex64)
POSITIVE, TALL = REAL @ REAL.T + 12 * torch.eye(12), torch.randn(20, 6)
BY_HAND = {
    "product": (lambda: REAL @ TALL.new_ones(12, 5), 2 * 12 * 12 * 5),
    "batched product": (lambda: torch.ones(3, 4, 5) @ torch.ones(3, 5, 6), 2 * 3 * 4 * 5 * 6),
    "product in place": (lambda: torch.zeros(3, 4, 6).baddbmm_(torch.ones(3, 4, 5), torch.ones(3, 5, 6)), 720),
    "product by einsum": (lambda: torch.einsum("ij,jk->ki", REAL, REAL), 2 * 12**3),
    "matrix times vector": (lambda: REAL @ REAL[0], 2 * 12 * 12),
    "inner product": (lambda: torch.dot(REAL[0], REAL[1]), 2 * 12),
    "complex product": (lambda: COMPLEX @ COMPLEX, 8 * 12**3),
    "eigenvectors": (lambda: torch.linalg.eigh(POSITIVE), 9 * 12**3),
    "eigenvectors, complex": (lambda: torch.linalg.eigh(COMPLEX + COMPLEX.mH), 4 * 9 * 12**3),
    "eigenvalues alone": (lambda: torch.linalg.eigvalsh(POSITIVE), 4 / 3 * 12**3),
    "eigenvectors of a stack": (lambda: torch.linalg.eigh(POSITIVE.expand(5, 12, 12)), 5 * 9 * 12**3),
    "unsymmetric eigenvectors": (lambda: torch.linalg.eig(REAL), 25 * 12**3),
    "unsymmetric eigenvalues": (lambda: torch.linalg.eigvals(REAL), 10 * 12**3),
    "singular values": (lambda: torch.linalg.svdvals(TALL), 4 * 20 * 36 - 4 / 3 * 216),
    "thin SVD": (lambda: torch.linalg.svd(TALL, full_matrices=False), 14 * 20 * 36 + 8 * 216),
    "thin QR": (lambda: torch.linalg.qr(TALL), 2 * (2 * 20 * 36 - 2 / 3 * 216)),
    "QR, R alone": (lambda: torch.linalg.qr(TALL, "r"), 2 * 20 * 36 - 2 / 3 * 216),
    "Cholesky": (lambda: torch.linalg.cholesky(POSITIVE), 12**3 / 3),
    "determinant": (lambda: torch.linalg.det(REAL), 2 / 3 * 12**3),
    "solution": (lambda: torch.linalg.solve(REAL, REAL[:, :5]), 2 / 3 * 12**3 + 2 * 144 * 5),
    "inverse": (lambda: torch.linalg.inv(REAL), 2 * 12**3),
    "triangular solution": (lambda: torch.linalg.solve_triangular(REAL, REAL[:, :5], upper=True), 144 * 5),
    "Fourier transform": (lambda: torch.fft.fft(torch.ones(3, 16, dtype=torch.complex64)), 3 * 5 * 16 * 4),
    "real Fourier transform": (lambda: torch.fft.rfft(torch.ones(3, 16)), 3 * 5 * 16 * 4 / 2),
    "bilinear": (lambda: nn.functional.bilinear(TALL, TALL, torch.ones(4, 6, 6)), 3 * 20 * 4 * 36),
    "sum, exponential, copy": (lambda: (REAL.exp() + REAL).clone().sum(), 0),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_an_operation_counts_what_the_textbook_says(name):
    work, flops = BY_HAND[name]
    assert math.isclose(counted(work), flops, rel_tol=1e-12)


@pytest.mark.parametrize(
    "work",
    [lambda a: a @ a, torch.linalg.eigh, torch.linalg.matrix_exp, torch.linalg.svd, torch.linalg.qr, torch.linalg.inv,
     torch.linalg.slogdet, torch.linalg.cholesky, torch.linalg.eigvals, lambda a: torch.linalg.solve(a, a)],
)  # fmt: skip
def test_twice_the_side_is_eight_times_the_work(work):
    sides = [counted(lambda n=n: work(torch.eye(n) * 2 + torch.ones(n, n) / n)) for n in (16, 32)]
    assert sides[0] > 0 and math.isclose(sides[1], 8 * sides[0], rel_tol=1e-12)


@pytest.mark.parametrize(("dtype", "theta"), [(torch.float32, 3.010066362817634), (torch.float64, 1.090863719290036)])
def test_a_matrix_exponential_counts_the_products_of_its_polynomial_and_its_squarings(dtype, theta):
    def products(norm: float) -> float:
        return counted(lambda: torch.linalg.matrix_exp(norm * torch.eye(8, dtype=dtype))) / (2 * 8**3)

    assert products(0.0) == 0 and products(0.99 * theta) == 5
    assert [products(theta * 2**s * 0.99) for s in (1, 2, 5)] == [6, 7, 10]
    stack = torch.eye(8, dtype=dtype) * theta * torch.tensor([0.0, 0.99, 3.9], dtype=dtype)[:, None, None]
    assert counted(lambda: torch.linalg.matrix_exp(stack)) == (0 + 5 + 7) * 2 * 8**3


def test_the_gradient_of_a_matrix_exponential_is_one_of_twice_the_side():
    matrix = (torch.eye(8) / 2).requires_grad_()
    forward = counted(lambda: torch.linalg.matrix_exp(matrix))
    step = counted(lambda: torch.linalg.matrix_exp(matrix).sum().backward())
    # the same polynomial: the block matrix [A G; 0 A] has a larger norm by at most G's
    assert 8 * forward <= step - forward <= 8 * (forward + 5 * 2 * 8**3)


MODELS = {
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, 2),
                                           nn.ConvTranspose2d(4, 5, 3), nn.Flatten(), nn.Linear(245, 7)),
                     (2, 3, 12, 12)),
    "attention": (lambda: nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True), (2, 5, 16)),
    "gated recurrence": (lambda: nn.GRU(16, 8), (2, 5, 16)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_the_counter_agrees_with_torchs_where_torch_counts(name):
    make, shape = MODELS[name]
    model, x = make(), torch.randn(shape, requires_grad=True)

    def step() -> None:
        outputs = model(x)
        (outputs[0] if isinstance(outputs, tuple) else outputs).sum().backward()

    step()
    # attention on a CPU is a kernel that torch's counter does not know: there both get its plain form
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        with FlopCounterMode(display=False) as theirs:
            step()
        assert counted(step) == theirs.get_total_flops() > 0


def test_the_fused_attention_counts_what_its_plain_form_does():
    q = torch.randn(2, 3, 7, 4, requires_grad=True)
    k = torch.randn(2, 3, 9, 4)

    def forward() -> None:
        nn.functional.scaled_dot_product_attention(q, k, k)

    fused = counted(forward)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert counted(forward) == fused == 2 * 2 * 3 * 7 * 9 * 4 * 2


def test_grouped_convolutions_and_their_gradients_count_each_group_alone():
    layer, x = nn.Conv2d(8, 6, 3, groups=2), torch.randn(2, 8, 9, 9, requires_grad=True)
    one = 2 * 2 * 7 * 7 * 6 * 4 * 9
    assert counted(lambda: layer(x)) == one
    assert counted(lambda: layer(x).sum().backward()) == 3 * one


def test_the_fused_recurrent_layer_counts_its_products_by_hand():
    layer, x = nn.LSTM(5, 6), torch.randn(7, 2, 5)
    one = 2 * 7 * 2 * (4 * 6 * 5 + 4 * 6 * 6)
    assert counted(lambda: layer(x)) == one
    assert counted(lambda: layer(x)[0].sum().backward()) == 3 * one


def test_operations_count_in_inference_mode_too():
    with torch.inference_mode():
        assert counted(lambda: nn.functional.linear(REAL, REAL)) == 2 * 12**3


def test_tables_made_at_the_first_call_and_kept_cost_no_pass():
    class Keeps(nn.Module):
        table = None

        def forward(self, x):
            if Keeps.table is None:
                Keeps.table = torch.linalg.eigh(torch.eye(40))[1]
            return x @ Keeps.table

    assert forward_flops(Keeps(), Call(torch.ones(2, 40)), 2, batch=64) == 2 * 40 * 40


# --- one module -------------------------------------------------------------------------------------------------------


def test_parameters_and_flops_of_a_linear_layer_are_what_one_counts_by_hand():
    model = nn.Sequential(nn.Linear(30, 7), nn.Linear(7, 5, bias=False))
    model[1].weight.requires_grad_(False)
    found = ledger(model, torch.zeros(4, 30), 4, batch=4)
    assert found["parameters"] == 30 * 7 + 7 + 35 and found["trainable"] == 30 * 7 + 7
    assert found["flops"] == 2 * (30 * 7 + 7 * 5)
    # backward: the first weight's gradient, and the second layer's for its input
    assert found["flops_step"] == found["flops"] + 2 * (30 * 7 + 7 * 5)
    assert not {"tier", "flops_declared", "flops_missing"} & set(found)


def test_a_step_counts_the_gradient_of_inputs_where_it_is_wanted():
    layer = nn.Linear(30, 7)
    call = Call(torch.zeros(4, 30))
    assert forward_flops(layer, call, 4, batch=4) == 2 * 210
    assert step_flops(layer, call, 4, batch=4) == 4 * 210
    assert step_flops(layer, call, 4, batch=4, input_gradients=True) == 6 * 210


class MakesItsWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.angles = nn.Parameter(torch.randn(8, 8))

    def forward(self, x):
        return x @ torch.linalg.eigh(self.angles + self.angles.T)[1]


@pytest.mark.parametrize("batch", [2, 3, 64])
def test_work_done_once_a_call_is_shared_by_the_batch(batch):
    found = forward_flops(MakesItsWeight(), Call(torch.zeros(3, 8)), 3, batch=batch)
    assert math.isclose(found, 2 * 64 + 9 * 512 / batch)


def test_a_batch_axis_that_is_not_the_first_is_counted_through_the_signature():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2)

        def forward(self, x):
            x = x.transpose(0, 1)
            return self.attention(x, x, x, need_weights=False)[0].transpose(0, 1)

    signature = measure(TimeFirst(), torch.randn(2, 5, 8))["attention"]
    found = forward_flops(TimeFirst().attention, signature.example, 2, batch=64)
    assert found == 4 * 2 * 5 * 64 + 2 * 2 * 25 * 8


class WorksInNumpy(nn.Linear):
    given: object = None

    def flops(self, batch):
        return self.given(batch)


@pytest.mark.parametrize(
    ("given", "forward", "step"),
    [(lambda batch: 300 * batch, 100, 300), (lambda batch: {"forward": 70 * batch, "backward": 0}, 70, 70),
     (lambda batch: {"forward": {"products": batch, "functions": 9 * batch}, "backward": {"interpreted": 1}},
      10, 10 + 1 / 32),
     (lambda batch: np.float64(300 * batch), 100, 300), (lambda batch: torch.tensor(300 * batch), 100, 300)],
)  # fmt: skip
def test_what_is_declared_is_added(given, forward, step):
    layer = WorksInNumpy(5, 3)
    layer.given = given
    call = Call(torch.zeros(4, 5))
    assert math.isclose(forward_flops(layer, call, 4, batch=32), 2 * 15 + forward)
    assert math.isclose(step_flops(layer, call, 4, batch=32), 4 * 15 + step)
    found = ledger(nn.Sequential(layer), torch.zeros(4, 5), 4, batch=32)
    assert math.isclose(found["flops"], 30 + forward) and math.isclose(found["flops_declared"], step)
    assert math.isclose(found["flops_step"], 60 + step)


def test_a_declaration_that_cannot_be_read_is_refused_whole_and_keeps_no_trial():
    layer = WorksInNumpy(5, 3)
    layer.given = lambda batch: {"forwards": 3, "forward": {"product": 1}, "backward": {"functions": -2.0}}
    with pytest.raises(ConfigError) as caught:
        declared(layer, 4)
    assert len(caught.value.problems) == 3 and "did you mean 'products'?" in str(caught.value)
    found = ledger(layer, torch.zeros(4, 5), 4, batch=4)
    assert found["flops"] == 30 and "forwards" in found["flops_missing"]


def test_a_method_flops_of_another_kind_is_passed_over():
    class Theirs(nn.Linear):
        def flops(self):
            return 1e9

    assert ledger(Theirs(5, 3), torch.zeros(4, 5), 4, batch=4)["flops"] == 30


# --- the ledger -------------------------------------------------------------------------------------------------------


def test_a_complex_parameter_is_two_numbers():
    layer = nn.Module()
    layer.register_parameter("angles", nn.Parameter(torch.zeros(3, dtype=torch.complex64)))
    layer.forward = lambda x: x
    assert ledger(layer, torch.zeros(2, 1), 2, batch=2)["parameters"] == 6


def test_circuits_declare_qubits_cnots_and_the_tier_of_evidence():
    host = dp.host("creep-cnn", size=8)
    model = dp.swap(host, {"conv1": "flipped-quanv", "head": "reupload-linear"}, torch.zeros(2, 1, 8, 8))
    found = ledger(model, torch.zeros(2, 1, 8, 8), 2, batch=64)
    assert found["qubits"] == 4 and found["tier"] == "exact expectation" and "flops_declared" not in found
    assert found["cnots_at_least"] == 10 * 61  # (4^4 - 3 * 4 - 1) / 4 = 60.75 a gate, ten gates


def test_layers_with_complex_angles_are_classical_and_count_no_qubits():
    host = dp.host("creep-cnn", size=8)
    slots = {"conv1": "flipped-quanv", "head": "reupload-linear"}
    slots = {slot: {"component": name, "parameters": "complex"} for slot, name in slots.items()}
    model = dp.swap(host, slots, torch.zeros(2, 1, 8, 8))
    found = ledger(model, torch.zeros(2, 1, 8, 8), 2, batch=64)
    assert not {"tier", "qubits", "cnots_at_least", "circuits_per_sample", "states"} & set(found)


def test_a_flipped_quanvolution_counts_what_its_parts_take_by_hand():
    layer, x = FlippedQuanv(2, 3, 3), torch.zeros(2, 2, 8, 8)
    pairs, convolution = 6, 2 * 3 * 2 * 9 * 36
    # a pair: 15 strings to 32 numbers; one complex eigendecomposition of side 4; a product of 4x4 with a column
    pair = 2 * 15 * 32 + 4 * 9 * 64 + 8 * 16
    assert forward_flops(layer, Call(x), 2, batch=50) == convolution + pairs * pair / 50
    # backward: the strings' gradient, a row times 4x4, two products of 4x4; the kernel's gradient
    back = 2 * 15 * 32 + 8 * 16 + 2 * 8 * 64
    assert step_flops(layer, Call(x), 2, batch=50) == 2 * convolution + pairs * (pair + back) / 50


@pytest.mark.parametrize("n", [4, 8])
@pytest.mark.parametrize(("scale", "each"), [(100.0, "eigh"), (0.1, "series")])
def test_a_re_uploading_layer_counts_what_its_parts_take_by_hand(n, scale, each):
    reps = 5
    layer = ReuploadLinear(n * n, n, reps=reps)
    x = Call(scale * torch.ones(2, n * n))
    if each == "eigh":
        # a sample: A^2, which tells that A is too large for the series, and its eigenvectors; then in each repetition
        # twice the product of two rows with n x n, and that of both as one with 2n x 2n
        exponential = 2 * n**3 + 9 * n**3
        repetition = 2 * 2 * 2 * n * n + 2 * 2 * n * 2 * n
    else:  # in each repetition the product of two rows with n x 2n, and of all four pieces with 4n x 2n
        exponential = 0
        repetition = 2 * 2 * n * 2 * n + 2 * 4 * n * 2 * n
    gates = reps * (2 * (n * n - 1) * 2 * n * n + 4 * 9 * n**3 + 8 * n**3)
    found = forward_flops(layer, x, 2, batch=100)
    if each == "eigh":
        assert math.isclose(found, exponential + reps * repetition + gates / 100)
    else:  # four products and two a round, of one to two rounds, and the polynomials' factors
        rest = found - reps * repetition - gates / 100
        assert 5 * 2 * n**3 <= rest <= (4 + 2 * 2 + 3) * 2 * n**3 + 2 * 2 * 6 * n**2


def test_the_ledger_changes_nothing():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(8, 4)
    inputs, state = x.clone(), torch.get_rng_state()
    ledger(model, x, 8, batch=80)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [m.training for m in model] == [True, False, True] and model.training
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(inputs, x) and not x.requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_inputs_may_be_a_tuple_or_a_dict():
    class Two(nn.Linear):
        def forward(self, a, b):
            return super().forward(a + b)

    x = torch.zeros(3, 5)
    for sample in ((x, x), {"a": x, "b": x}):
        assert ledger(Two(5, 4), sample, 3, batch=9)["flops"] == 40


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_counts_as_single(dtype):
    class HalfAwkward(nn.Linear):
        def forward(self, x):
            return torch.linalg.eigh(super().forward(x).expand(5, 5))[0]  # no half precision has it

    layer = HalfAwkward(5, 5).to(dtype)
    assert ledger(layer, torch.zeros(1, 5), 1, batch=1)["flops"] == 2 * 25 + 9 * 125
    assert layer.weight.dtype == dtype


def test_a_network_that_cannot_be_counted_says_why_and_fails_nothing():
    class Refuses(nn.Linear):
        def forward(self, x):
            if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
                raise RuntimeError("no watching")
            return super().forward(x)

    found = ledger(Refuses(5, 3), torch.zeros(4, 5), 4, batch=4)
    assert found["parameters"] == 18 and "flops" not in found and "flops_step" not in found
    assert "flops cannot be counted: RuntimeError: no watching" in found["flops_missing"]


def test_a_network_that_cannot_be_trained_on_so_few_has_the_cost_of_its_forward_alone():
    found = ledger(nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), torch.zeros(1, 5), 1, batch=1)
    assert found["flops"] == 30 and "flops_step" not in found
    assert "flops_step cannot be counted: ValueError" in found["flops_missing"]


def test_custom_operations_that_nobody_declares_are_named():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = torch.library.Library("dopant_test_cost", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: 2 * x, "CPU")

    class Custom(WorksInNumpy):
        def forward(self, x):
            return torch.ops.dopant_test_cost.twice(super().forward(x).detach())

    layer = Custom(5, 3)
    layer.given = lambda batch: 0
    assert "dopant_test_cost.twice" in ledger(layer, torch.zeros(4, 5), 4, batch=4)["flops_missing"]
    layer.given = lambda batch: batch
    assert "flops_missing" not in ledger(layer, torch.zeros(4, 5), 4, batch=4)


def test_what_is_missing_is_words_and_spoils_no_mean_of_the_costs():
    cells = {"cell": ["a", "a", "b"], "status": ["done"] * 3, "cost_flops": [10.0, 30.0, None]}
    trials = pd.DataFrame(cells | {"cost_flops_missing": [None, None, "why"], "cost_tier": [None, "noisy", None]})
    found = StudyAnswer.costs.func(types.SimpleNamespace(trials=trials)).set_index("cell")
    assert list(found.columns) == ["flops"] and found["flops"]["a"] == 20 and math.isnan(found["flops"]["b"])


def test_a_trial_keeps_the_cost_of_a_pass_and_of_a_step(tmp_path):
    answer = dp.run(
        dp.Ladder("creep-cnn").level(head="reupload-linear"), data="digits", recipe=dp.Recipe(epochs=1), replicates=1,
        controls=False, out=tmp_path / "run", workers=1,
    )  # fmt: skip
    rows = answer.trials.sort_values("level")
    assert (rows["cost_flops"] > 0).all() and (rows["cost_flops"] < rows["cost_flops_step"]).all()
    assert (rows["cost_flops_step"] < 5 * rows["cost_flops"]).all() and "cost_flops_missing" not in rows
    assert {"flops", "flops_step"} <= set(answer.costs.columns)
