"""The kernel inside other people's machinery: second derivatives, checkpoints, modes, threads that came first."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from dopant.errors import ConfigError
from dopant.quantum import Circuit, feature, weight


def layer_of(path: str = "kernel"):
    circuit = Circuit(2)
    for q in range(2):
        circuit = circuit.ry(q, feature(q) + weight()).rx(q, weight() * feature(0))
    layer = circuit.cx(0, 1).ry(1, weight()).layer(path=path, dtype=torch.float64)
    with torch.no_grad():
        layer.weights.copy_(torch.linspace(0.3, 1.7, len(layer.weights), dtype=torch.float64))
    return layer


@pytest.mark.parametrize("use", ["product angles", "twice", "weights as features"])
def test_a_first_gradient_is_the_same_with_create_graph_where_features_depend_on_weights(use):
    x = torch.tensor([[0.5, -0.2], [1.0, 0.4], [0.1, 2.0]], dtype=torch.float64)
    found = []
    for path, create in (("kernel", False), ("kernel", True), ("torch", True)):
        layer = layer_of(path)
        out = {
            "product angles": lambda layer=layer: layer(x),
            "twice": lambda layer=layer: layer(layer(x)),
            "weights as features": lambda layer=layer: layer((layer.weights * 2)[None, :2]),
        }[use]()
        found.append(torch.autograd.grad(out.square().sum(), layer.weights, create_graph=create)[0])
    assert found[0].abs().max() > 0.1
    assert torch.allclose(found[0], found[1], atol=1e-10) and torch.allclose(found[0], found[2], atol=1e-10)


def test_states_are_freed_by_the_backward_and_not_kept_without_gradients():
    layer, x = layer_of(), torch.randn(64, 2, dtype=torch.float64)
    out = layer(x)
    saved = out.grad_fn.saved_tensors
    assert any(t.numel() >= 64 * 8 for t in saved)
    del saved
    out.sum().backward()
    with pytest.raises(RuntimeError, match=r"second time|already been freed"):
        _ = out.grad_fn.saved_tensors
    with torch.no_grad():
        assert layer(x).grad_fn is None


def test_checkpointed_layers_have_the_same_gradients():
    layer, x = layer_of(), torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    plain = torch.autograd.grad(layer(x).sum(), (x, layer.weights))
    again = torch.autograd.grad(checkpoint(layer, x, use_reentrant=False).sum(), (x, layer.weights))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


def test_weights_of_another_length_are_refused_before_anything_is_read():
    layer = layer_of()
    with pytest.raises(ConfigError, match=r"shape \(2,\)"):
        torch.func.functional_call(
            layer, {"weights": torch.zeros(2, dtype=torch.float64)}, (torch.zeros(1, 2).double(),)
        )


def test_nan_in_a_phase_that_no_measurement_sees_is_still_nan():
    circuit = Circuit(2).h(0).ry(1, feature(1)).rz(0, feature(0))
    x = torch.tensor([[float("nan"), 1.0], [0.3, 1.0]])
    for path in ("kernel", "torch"):
        out = circuit.layer(path=path)(x)
        assert out[0].isnan().all() and not out[1].isnan().any()


def test_lazily_negated_features_and_gradients_are_taken():
    layer = layer_of()
    x = torch.randn(3, 2, dtype=torch.complex128)
    negated = x.conj().imag
    assert negated.is_neg()
    expected = layer(negated.clone())
    assert torch.equal(layer(negated), expected)
    (a,) = torch.autograd.grad(layer(negated), layer.weights, negated)
    (b,) = torch.autograd.grad(expected, layer.weights, negated.clone())
    assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, at first use
def test_forward_mode_takes_the_torch_path():
    layer = layer_of("auto")
    x, t = torch.randn(2, 2, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    with torch.autograd.forward_ad.dual_level():
        dual = layer(torch.autograd.forward_ad.make_dual(x, t))
        slope = torch.autograd.forward_ad.unpack_dual(dual).tangent
    h = 1e-6
    assert torch.allclose(slope, (layer(x + h * t) - layer(x - h * t)) / (2 * h), atol=1e-7)


@pytest.mark.parametrize("measure", ["z", "x", "probabilities"])
def test_no_samples_go_forward_and_backward(measure):
    layer = layer_of().circuit.layer(measure, path="kernel", dtype=torch.float64)
    x = torch.zeros(0, 2, dtype=torch.float64, requires_grad=True)
    out = layer(x)
    gx, gw = torch.autograd.grad(out.sum(), (x, layer.weights))
    assert out.shape[0] == 0 and gx.shape == (0, 2) and not gw.any()


def test_tensors_whose_numbers_are_nowhere_are_refused_before_an_address_is_used():
    layer, x = layer_of(), torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ConfigError, match=r"on meta, features of torch\.float64 on cpu"):
        layer.runner(x, torch.empty(len(layer.weights), dtype=torch.float64, device="meta"))
    with pytest.raises(ConfigError, match="one precision and device"):
        layer.runner(x, layer.weights.float())
    with pytest.raises(ConfigError, match="nowhere in memory"):
        torch.autograd.grad(layer(x), x, torch._efficientzerotensor((3, 2), dtype=torch.float64))


@pytest.mark.parametrize("back", [lambda t: t.float(), lambda t: t[: t.shape[0] // 2]])
def test_hooks_that_give_back_other_states_are_refused(back):
    layer, x = layer_of(), torch.randn(3, 2, dtype=torch.float64)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: back(t) if t.dim() == 1 else t):
        out = layer(x)
    with pytest.raises(ConfigError, match="hooks on saved tensors must give back what they took"):
        out.sum().backward()


def test_a_copied_or_pickled_plan_has_tables_of_its_own():
    layer, x = layer_of(), torch.randn(3, 2, dtype=torch.float64)
    out = layer(x)
    plan = layer.runner.plan
    assert plan.shapes
    for other in (copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        assert other.shapes == {}
        layer.runner.plan = other
        assert torch.equal(layer(x), out)


FIRST_CALLS = """
    import os, torch
    from dopant.quantum import Circuit, feature, weight
    from dopant.quantum.kernel import loading
    layer = Circuit(1).ry(0, feature(0) + weight()).layer(path="kernel")
    with torch.inference_mode(), torch.device("meta"):
        layer(torch.zeros(2, 1, device="cpu"))
    assert torch.float32 in loading._ready, loading.refused()
    child = os.fork()
    if child == 0:
        layer(torch.zeros(2, 1)).sum().backward()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print("kernel")
"""


def test_a_first_call_in_inference_mode_and_on_another_default_device_does_not_lose_the_kernel():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FIRST_CALLS)], capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "kernel", done.stderr


def test_a_cache_that_cannot_be_written_is_told_and_replaced_by_a_temporary_one(tmp_path, monkeypatch, capsys):
    from dopant.quantum.kernel import loading

    wrong = tmp_path / "file"
    wrong.write_text("no folder")
    monkeypatch.setenv("DOPANT_CACHE", str(wrong))
    monkeypatch.setitem(loading._state, "folder", None)
    found = loading._writable()
    assert found.is_dir() and found != wrong and "cannot be written" in capsys.readouterr().err


def test_powers_of_angles_and_numbers_of_numpy_are_taken():
    assert (feature(0) + 1) ** 2 == feature(0) * feature(0) + 2 * feature(0) + 1
    assert feature(0) ** 0 == feature(0) - feature(0) + 1
    with pytest.raises(ConfigError, match="whole power"):
        feature(0) ** -1
    assert Circuit(1).h(0).layer(shots=np.int64(3))(torch.zeros(2, 0)).shape == (2, 1)
    with pytest.raises(ConfigError, match="shots=0"):
        Circuit(1).h(0).layer(shots=0)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("cnot", "cx"), ("CNOT", "cx"), ("hadamard", "h"), ("ccnot", "ccx"), ("PhaseShift", "p"), ("IsingZZ", "rzz"),
     ("num_qubits", "qubits"), ("cx_rings", "cx_ring")],
)  # fmt: skip
def test_a_method_of_another_library_names_ours(theirs, ours):
    with pytest.raises(AttributeError, match=rf"no attribute {theirs!r}; did you mean {ours!r}") as told:
        getattr(Circuit(2), theirs)
    assert told.value.name == theirs
    assert hasattr(Circuit, ours) and not hasattr(Circuit(2), theirs)


def test_every_name_of_another_library_leads_to_a_method_that_is_there():
    from dopant.quantum._names import OTHERS

    assert [theirs for theirs, ours in OTHERS.items() if not hasattr(Circuit(1), ours)] == []
    assert [theirs for theirs in OTHERS if hasattr(Circuit(1), theirs)] == []


def test_a_circuit_without_attributes_can_be_copied_and_pickled_all_the_same():
    circuit = Circuit(2).ry(0, feature(0)).cx(0, 1).ry(1, weight())
    for again in (copy.copy(circuit), copy.deepcopy(circuit), pickle.loads(pickle.dumps(circuit))):
        assert again == circuit and again.weights == 1
    bare = object.__new__(Circuit)  # as copy and pickle make it before they fill it
    with pytest.raises(AttributeError, match="'_pending'"):
        _ = bare._pending
    assert getattr(circuit, "__array__", None) is None
