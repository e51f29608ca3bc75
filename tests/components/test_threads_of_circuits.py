"""The same bits for any number of threads; nothing lost to whoever counts, forks or infers meanwhile."""

from __future__ import annotations

import threading

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dopant._threads import over_chunks
from dopant.components.quantum import _propagate
from dopant.components.quantum.reupload_linear import ReuploadLinear


@pytest.fixture(autouse=True)
def number_of_threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def results(threads: int, features: int, scale: float, parameters: str) -> list[torch.Tensor]:
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    layer = ReuploadLinear(features, 10, reps=2, parameters=parameters, generator=generator, scale="learned")
    x = (scale * torch.randn(40, features, generator=generator)).requires_grad_()
    outputs = layer(x)
    outputs.square().sum().backward()
    assert torch.get_num_threads() == threads
    return [outputs.detach(), x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("parameters", ["real", "complex"])
@pytest.mark.parametrize(("features", "scale"), [(12544, 1.0), (1000, 0.1), (1000, 30.0)])
def test_one_two_and_three_threads_give_the_same_bits(features, scale, parameters, monkeypatch):
    monkeypatch.setattr(_propagate, "_CACHED", 2**16)  # several chunks at five qubits too
    one, *others = (results(threads, features, scale, parameters) for threads in (1, 2, 3))
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_chunks_are_worked_on_by_other_threads_with_one_thread_each_in_order():
    torch.set_num_threads(2)
    meet = threading.Barrier(2)  # passes only if two work at the same time

    def work(number: int) -> tuple[int, str, int, bool]:
        if number < 2:
            meet.wait(timeout=20)
        return number, threading.current_thread().name, torch.get_num_threads(), torch.is_grad_enabled()

    found = over_chunks(work, range(6), torch.device("cpu"))
    assert [number for number, *_ in found] == list(range(6))
    assert threading.current_thread().name not in {name for _, name, *_ in found}
    assert {(threads, grad) for *_, threads, grad in found} == {(1, False)}
    assert torch.get_num_threads() == 2


def test_other_devices_take_no_threads():
    torch.set_num_threads(2)
    (name,) = over_chunks(lambda _: threading.current_thread().name, [0], torch.device("meta"))
    assert name == threading.current_thread().name


def test_an_error_in_a_chunk_is_raised():
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        over_chunks(lambda number: 1 // number, [1, 0], torch.device("cpu"))


def test_a_count_of_flops_sees_the_same_work_with_more_threads():
    layer, x = ReuploadLinear(256, 10, reps=2), torch.randn(4, 256)
    layer(x)  # what is made once, such as the table of Pauli strings, counts for neither

    def counted(threads: int) -> int:
        torch.set_num_threads(threads)
        with FlopCounterMode(display=False) as counter:
            layer(x).sum().backward()
        assert torch.get_num_threads() == threads
        return counter.get_total_flops()

    assert counted(1) == counted(2) > 0


def test_inference_mode_works_with_more_threads():
    torch.set_num_threads(2)
    layer, x = ReuploadLinear(256, 10, reps=2), torch.randn(4, 256)
    with torch.inference_mode():
        found = layer(x)
    assert torch.equal(found, layer(x).detach())
