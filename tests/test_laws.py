"""Each law refuses what it is for, and nothing else."""

from __future__ import annotations

import copy
import functools
import time

import numpy as np
import pytest
import torch
from torch import nn

import bad_components as bad
import dopant as dp
from dopant._slots import Batch, CallSpec, Spec, measure
from dopant.hosts.kernel_machine import kernel_machine
from dopant.laws import LAWS, QUICK, Subject, check, judge, run_laws, work
from dopant.laws.subject import NotTested
from dopant.registry import ComponentInfo

OLD = nn.Linear(6, 4)
SIGNATURE = measure(nn.Sequential(OLD), torch.randn(4, 6))["0"]


def info(factory, **options) -> ComponentInfo:
    return ComponentInfo(factory.__name__, factory, **options)


def broken(module, facts=None, **options) -> dict[str, str]:
    component = info(bad.factory_of(module), facts=facts or {})
    return {r.law: r.message for r in run_laws(component, OLD, SIGNATURE, **options) if not r.passed}


def test_an_honest_component_obeys_every_law():
    results = run_laws(bad.factory_of(bad.Honest), OLD, SIGNATURE)
    assert [r.law for r in results] == list(LAWS)
    assert all(r.passed for r in results)
    assert {r.law for r in results if r.message.startswith("not tested")} == {"linear", "unitary", "kernel"}


@pytest.mark.parametrize(("law", "module"), [(law, module) for law in bad.BAD for module in bad.BAD[law]])
def test_a_bad_component_is_refused_by_its_law_alone(law, module):
    assert set(broken(module, bad.DECLARES.get(law))) == {law}


def test_every_law_has_a_bad_component():
    assert set(bad.BAD) | {"kernel"} == set(LAWS)


MACHINE = kernel_machine(in_features=3, classes=2)
PAIRS = measure(MACHINE, torch.randn(4, 3))["kernel"]


def broken_as_kernel(kernel, **options) -> dict[str, str]:
    component = info(lambda old, signature: kernel(old.features))
    return {r.law: r.message for r in run_laws(component, MACHINE.kernel, PAIRS, **options) if not r.passed}


def test_an_honest_kernel_obeys_every_law():
    assert broken_as_kernel(bad.HonestKernel) == {}


@pytest.mark.parametrize("kernel", bad.BAD_KERNELS)
def test_a_bad_kernel_is_refused_by_the_law_of_kernels_alone(kernel):
    assert set(broken_as_kernel(kernel)) == {"kernel"}


@pytest.mark.parametrize(
    ("kernel", "said"),
    [(bad.IsIndefinite, "is not positive semi-definite: an eigenvalue of -"), (bad.IsLopsided, "is not symmetric"),
     (bad.HasNoOnes, "unit_diagonal but k(x, x) goes down to 0.9"), (bad.HasAnotherGram, "differs by")],
)  # fmt: skip
def test_a_bad_kernel_is_refused_when_it_is_swapped_in(kernel, said):
    component = info(lambda old, signature: kernel(old.features))
    with pytest.raises(dp.ComponentRefused) as caught:
        dp.swap(MACHINE, {"kernel": {"component": component}}, torch.randn(4, 3))
    assert caught.value.law == "kernel" and said in str(caught.value)


def test_a_module_that_is_no_kernel_is_refused_by_the_machine():
    component = info(lambda old, signature: nn.PairwiseDistance())
    with pytest.raises(dp.SlotMismatch, match="PairwiseDistance is no kernel; derive it from"):
        dp.swap(MACHINE, {"kernel": {"component": component}}, torch.randn(4, 3))


@pytest.mark.parametrize("fact", bad.FALSE)
def test_a_false_declaration_is_refused_by_the_law_that_tests_it(fact):
    assert set(broken(bad.Honest, {fact: True})) == {bad.FALSE[fact]}


def test_the_wrong_dtype_is_refused():
    assert "float64" in broken(bad.WrongDtype)["signature"]


def test_draws_of_a_components_own_are_refused():
    assert "draws of its own" in broken(bad.HasDrawsOfItsOwnInTraining)["no-hidden-randomness"]


class SaysSoInOneNumber(bad.WorksInNumpyAndSaysSo):
    def flops(self, batch):
        return 2 * 10 * 2 * batch * bad.SIDE**2


class WorksInPython(bad.Honest):
    """Each number doubled and halved ten times, one at a time, forward only."""

    def forward(self, x):
        y = super().forward(x)
        rows = [[functools.reduce(lambda v, _: v * 2.0 * 0.5, range(10), v) for v in row] for row in y.tolist()]
        return y + (torch.tensor(rows, dtype=y.dtype).reshape(y.shape) - y.detach())

    def flops(self, batch):
        return {"forward": {"interpreted": 20 * 4 * batch}, "backward": 0}


@pytest.mark.parametrize("module", [bad.WorksInNumpyAndSaysSo, SaysSoInOneNumber, WorksInPython])
def test_work_outside_of_torch_passes_where_it_is_declared(module):
    assert broken(module) == {}


class TakesRowByRow(bad.Honest):
    def forward(self, x):
        return torch.stack([torch.tanh(self.fc(row)) * row.sum() for row in x])


class PassesThroughHundredsOfModules(bad.Honest):
    def __init__(self):
        super().__init__()
        self.rest = nn.Sequential(*(nn.Sequential(nn.Identity(), nn.Dropout(0.0)) for _ in range(250)))

    def forward(self, x):
        return self.rest(super().forward(x))


@pytest.mark.parametrize("module", [TakesRowByRow, PassesThroughHundredsOfModules])
def test_the_overhead_of_many_calls_is_no_hidden_work(module):
    result = LAWS["work"](Subject(module(), SIGNATURE.call))
    assert result.passed, result.message


def test_a_step_that_is_mostly_overhead_or_too_quick_is_not_tested():
    calls = int(0.006 / work.per_operation())
    nothing = {"forward": {}, "backward": {}}
    with pytest.raises(NotTested, match=f"the overhead of {calls} operations and 3 calls of modules"):
        work._judge(work.Timed(8, 0.008, 0.008, 0.004, calls, 3, 1e3), nothing)
    with pytest.raises(NotTested, match="too quick to time"):
        work._judge(work.Timed(8, 0.0004, 0.0004, 0.0003, 10, 1, 1e3), nothing)


def test_a_refusal_of_work_names_what_is_declared_counted_timed_and_missing():
    message = broken(bad.WorksInNumpyAndSaysNothing)["work"]
    for part in ("a step of", "torch's operations in it take", "FLOPs counted", "0 FLOPs declared", "let flops("):
        assert part in message.replace("Let", "let")
    assert "counted and declared" not in message and "'products'" in message


class Noisy(bad.Honest):
    def forward(self, x):
        return super().forward(x) + 0.3 * torch.randn(x.shape[0], 4, dtype=x.dtype)


class Centred(bad.Honest):
    def forward(self, x):
        y = super().forward(x)
        return y - y.mean(0)


class Rotation(nn.Module):
    def __init__(self):
        super().__init__()
        self.angles = nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        return x @ torch.linalg.matrix_exp(self.angles - self.angles.T)


@pytest.mark.parametrize(
    ("module", "fact"),
    [(Noisy, "stochastic_in_eval"), (Centred, "couples_samples"), (bad.BlocksTheInputGradient, "no_input_gradient"),
     (bad.Signs, "surrogate_gradient"), (lambda: nn.Linear(6, 4), "linear")],
)  # fmt: skip
def test_a_true_declaration_passes(module, fact):
    module.__name__ = fact
    assert broken(module, {fact: True}) == {}


def test_noise_that_is_not_declared_is_refused():
    assert "declare stochastic_in_eval" in broken(Noisy)["eval-deterministic"]


def test_coupling_that_is_not_declared_is_refused_in_values():
    assert {"batch", "no-leak"} <= set(broken(Centred))


class LeaksGradientOnly(bad.Honest):
    def forward(self, x):
        y = super().forward(x)
        return y + y.mean(0) - y.mean(0).detach()


def test_a_leak_that_shows_only_in_the_gradient_is_refused():
    assert "gradient of samples" in broken(LeaksGradientOnly)["no-leak"]


def test_a_true_unitary_and_linear_component_passes_both():
    old = nn.Linear(6, 6)
    signature = measure(nn.Sequential(old), torch.randn(3, 6))["0"]
    component = info(bad.factory_of(Rotation), facts={"linear": True, "unitary": True})
    results = run_laws(component, old, signature)
    assert [r for r in results if r.law != "kernel" and (not r.passed or r.message)] == []


class ZeroGate(bad.Honest):
    """A gate that starts at zero: no gradient passes it at the start, which is meant."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x[:, :4] + self.gate * super().forward(x)


def test_a_gate_that_starts_at_zero_is_no_blocked_gradient():
    assert broken(ZeroGate) == {}


class ComplexWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4, dtype=torch.complex64))

    def forward(self, x):
        return (x.to(self.weight.dtype) @ self.weight).abs().square()


def test_complex_parameters_are_tested_like_real_ones():
    assert broken(ComplexWeights) == {}


class WrongComplexGradient(ComplexWeights):
    def forward(self, x):
        weight = torch.complex(self.weight.real, self.weight.imag.detach() * 2 - self.weight.imag)
        return (x.to(weight.dtype) @ weight).abs().square()


def test_a_wrong_gradient_of_complex_parameters_is_refused():
    assert "central differences" in broken(WrongComplexGradient)["gradient"]


def test_a_declared_surrogate_must_still_reach_every_parameter():
    assert "zero at parameter 'weight'" in broken(bad.SignsWithoutSurrogate, {"surrogate_gradient": True})["gradient"]


class InfiniteSurrogate(bad.Signs):
    def forward(self, x):
        return super().forward(x) + (self.weight.sum() * torch.inf).nan_to_num(0.0, 0.0, 0.0)


def test_a_declared_surrogate_must_still_be_finite():
    assert "not finite" in broken(InfiniteSurrogate, {"surrogate_gradient": True})["gradient"]


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("module", [bad.CentresTheBatchInTraining, bad.CentresLargeBatchesInTraining])
def test_a_leak_in_training_is_refused_at_small_and_at_large_batches(module, quick):
    # "batch" refuses it as well: two of a batch get something else than in a batch of their own
    assert set(broken(module, quick=quick)) == {"no-leak", "batch"}


def test_the_larger_batch_is_left_out_where_it_would_not_fit():
    def crowd(*shape):
        return Subject(OLD, CallSpec((Spec((Batch(1), *shape), torch.float32),), {}, None)).crowd

    assert (crowd(6), crowd(200_000), crowd(3, 512, 512)) == (33, 17, None)


class Counted(bad.Honest):
    calls, seconds = 0, 0.0

    def forward(self, x):
        Counted.calls += 1
        start = time.thread_time()
        while time.thread_time() - start < Counted.seconds:
            pass
        return super().forward(x)


def test_a_costly_component_is_called_less_often_but_by_every_quick_law(monkeypatch):
    calls = {}
    for seconds in (0.0, 0.03):
        monkeypatch.setattr(Counted, "seconds", seconds)
        monkeypatch.setattr(Counted, "calls", 0)
        results = judge(info(Counted), Counted(), SIGNATURE, quick=True, fitted=True)
        assert [r.law for r in results] == [law for law in QUICK if law != "signature"]
        assert all(r.passed and (not r.message or r.law == "kernel") for r in results)
        calls[seconds] = Counted.calls
    assert calls[0.03] <= 7 < calls[0.0]


class Dropped(bad.Honest):
    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.5, self.training)


def test_dropout_is_no_hidden_randomness():
    assert broken(Dropped) == {}


class Squeezes(bad.Honest):
    def forward(self, x):
        return super().forward(x).squeeze()


def test_a_component_that_squeezes_a_batch_of_one_is_refused():
    assert "batch 1" in broken(Squeezes)["signature"]


def test_a_component_that_cannot_run_gives_one_result_with_its_error():
    results = run_laws(bad.factory_of(lambda: nn.Linear(5, 4)), OLD, SIGNATURE)
    assert [(r.law, r.passed) for r in results] == [("signature", False)]
    assert "RuntimeError" in results[0].message


def test_a_wrapper_answers_for_itself_and_not_for_the_module_in_it():
    old = nn.BatchNorm1d(6)
    signature = measure(nn.Sequential(old), torch.randn(4, 6))["0"]
    wrapper = ComponentInfo("doubled", lambda old, signature: nn.Sequential(old, nn.Tanh()), mode="wrap")
    results = {r.law: r for r in run_laws(wrapper, old, signature)}
    assert all(r.passed for r in results.values())
    assert "breaks it too" in results["no-leak"].message
    replacement = ComponentInfo("norm", lambda old, signature: nn.BatchNorm1d(6))
    assert [r.law for r in run_laws(replacement, old, signature) if not r.passed] == ["batch", "no-leak"]


def test_the_laws_leave_component_and_global_generators_alone():
    module = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    before = {n: v.clone() for n, v in module.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    component = info(lambda old, signature: module, facts={"couples_samples": True})
    results = judge(component, module, SIGNATURE, build=lambda seed: copy.deepcopy(module))
    assert len(results) == len(LAWS)
    assert all(torch.equal(before[n], v) for n, v in module.state_dict().items())
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])


def test_quick_laws_are_a_part_of_all():
    assert set(QUICK) < set(LAWS)
    results = run_laws(bad.factory_of(bad.Honest), OLD, SIGNATURE, quick=True)
    assert [r.law for r in results] == QUICK


@pytest.mark.parametrize("law", [law for law in bad.BAD if law in QUICK])
def test_the_quick_form_refuses_the_first_bad_component_too(law):
    assert law in broken(bad.BAD[law][0], quick=True)


def test_check_finds_the_slots_that_a_component_fills():
    def factory(old, signature):
        return nn.Linear(old.in_features, old.out_features)

    results = check(info(factory, fills=nn.Linear, facts={"linear": True}))
    assert all(r.passed for r in results)
    assert "linear 6 to 4, slot 0" in {r.where for r in results}
    assert "attention, slot mlp.0" in {r.where for r in results}  # a linear layer over (batch, token, feature)


def test_check_says_when_a_component_fits_nothing():
    (result,) = check(info(lambda old, signature: nn.Identity(), fills=nn.Bilinear))
    assert (result.law, result.passed) == ("fits", False)
    assert "it fills Bilinear" in result.message


def test_check_tries_the_declared_examples_and_asks_for_them():
    def factory(old, signature, *, width):
        return nn.Sequential(nn.Linear(old.in_features, width), nn.Linear(width, old.out_features))

    (result,) = check(info(factory, fills=nn.Linear))
    assert "needs the option 'width'" in result.message
    results = check(info(factory, fills=nn.Linear, examples=({"width": 2}, {"width": 5})))
    assert all(r.passed for r in results)
    assert any("{'width': 5}" in r.where for r in results)


class NarrowPair:
    """A group whose first end gives fewer features than the slot did, and whose second end takes them."""

    def __new__(cls, old, signature, width=3):
        first, second = old
        return {
            first: nn.Linear(signature[first].inputs[-1], width),
            second: nn.Linear(width, signature[second].outputs[-1]),
        }


def test_a_group_that_changes_its_inner_shape_is_tested_inside_its_host():
    pair = ComponentInfo("narrow", NarrowPair, (nn.Linear,), mode="group", facts={"changes_shape": True})
    results = check(pair)
    assert all(r.passed for r in results), [r for r in results if not r.passed]
    same = ComponentInfo(
        "same", lambda old, signature: {n: nn.Linear(m.in_features, m.out_features) for n, m in old.items()},
        (nn.Linear,), mode="group", facts={"changes_shape": True},
    )  # fmt: skip
    assert {r.law for r in check(same) if not r.passed} == {"signature"}


def test_a_refused_component_names_the_law():
    with pytest.raises(dp.ComponentRefused) as caught:
        dp.swap(nn.Sequential(OLD), {"0": "test-knows-the-batch-size"}, torch.randn(4, 6))
    assert caught.value.law == "batch"
    assert "slot '0'" in str(caught.value)


dp.component("test-knows-the-batch-size", fills=nn.Linear)(bad.factory_of(bad.KnowsTheBatchSize))
