"""Memory: what is said to be needed is what is needed, and what cannot fit is refused before it is taken."""

from __future__ import annotations

import functools
import json
import logging
import os
import subprocess
import sys
import time

import pytest
import torch
import torch._subclasses.fake_tensor  # its first import is no part of what is timed
from torch import nn

import dopant as dp
from dopant.datasets.source import Pool, Split
from dopant.memory import Guard, Tracker, available, show_bytes
from dopant.recipe import Recipe
from dopant.training.footprint import Meter

CASES = """
import torch, dopant as dp
from torch import nn

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 256, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(64, 10)
    def forward(self, x):
        return self.head(self.encoder(x).mean(1))

QUANV = {"conv1": "flipped-quanv", "conv2": "flipped-quanv"}

def build(case, batch):
    generator = torch.Generator().manual_seed(0)
    shape = (32, 64) if case == "encoder" else (1, 32, 32)
    x = torch.randn(batch, *shape, generator=generator)
    y = torch.randint(0, 10, (batch,), generator=generator)
    if case == "encoder":
        return Encoder(), x, y
    if case == "mlp":
        return dp.host("mlp", size=32, hidden=[2048, 2048]), x, y
    if case == "small-cnn":
        return dp.host("small-cnn", in_channels=1, size=32), x, y
    model = dp.host("creep-cnn", in_channels=1, size=32)
    swaps = [{}, QUANV, {**QUANV, "head": "reupload-linear"}][int(case[-1])]
    return (dp.swap(model, swaps, x[:2]) if swaps else model), x, y
"""

# In a process of its own: the high-water mark of the resident set, after a small step has loaded the libraries.
MEASURE = """
import ctypes, gc, json, sys, torch
exec(open("cases.py").read())
from dopant.recipe import Recipe
from dopant.registry import rules
from dopant.training import parts
torch.set_num_threads(1)

def status(field):
    for line in open("/proc/self/status"):
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024

def steps(case, batch):
    model, x, y = build(case, batch)
    optimizer = parts.build_optimizer(Recipe(), model)
    rule = rules.get("backprop")(model, parts.losses.get("cross-entropy"))
    held = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers(), x, y])
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmHWM")
    for _ in range(3):
        optimizer.zero_grad(set_to_none=True)
        rule(x, y)
        optimizer.step()
    return status("VmHWM") - before + held

found = {}
for case in sys.argv[1:]:
    steps(case, 8)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    found[case] = steps(case, 200)
    gc.collect()
print(json.dumps(found))
"""


ALL = ("creep-0", "creep-1", "creep-2", "mlp", "small-cnn", "encoder")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the resident set is read from /proc")


def measured(folder, *cases: str, **environment: str) -> dict[str, int]:
    (folder / "cases.py").write_text(CASES)
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, *cases], cwd=folder, capture_output=True, text=True, timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, check=True,
    )  # fmt: skip
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def peaks(tmp_path_factory) -> dict[str, int]:
    # every block above 64 kB from the kernel and back to it: the C library then keeps nothing that was freed
    return measured(tmp_path_factory.mktemp("peaks"), *ALL, MALLOC_MMAP_THRESHOLD_="65536")


def meter(case: str, batch: int = 8) -> Meter:
    names: dict = {}
    exec(CASES, names)
    model, x, y = names["build"](case, batch)
    return Meter(model, Split(Pool(x, y), torch.arange(batch)), Recipe())


@linux
@pytest.mark.parametrize("case", ALL)
def test_the_estimate_of_a_step_is_within_a_quarter_of_the_measured_peak(peaks, case):
    found = meter(case).footprint(200, 1)
    assert found.how == "traced"
    assert found.train == pytest.approx(peaks[case], rel=0.25)


@linux
def test_what_a_process_grows_by_lies_between_what_is_alive_and_that_with_what_the_c_library_keeps(tmp_path):
    found = meter("creep-0").footprint(200, 1)
    assert 0.95 * found.train < measured(tmp_path, "creep-0")["creep-0"] < 1.1 * found.resident


class OfItsOwn(nn.Module):
    """A layer that fakes cannot pass through."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 512), nn.Linear(512, 10)

    def forward(self, x):
        scale = float(x.detach().numpy().std()) if x.shape[0] else 1.0
        return self.second(torch.tanh(self.first(x / scale)))

    def memory(self, batch: int) -> int:
        return 1000 * batch


def split(count: int = 8) -> Split:
    return Split(Pool(torch.randn(count, 64), torch.randint(0, 10, (count,))), torch.arange(count))


def test_what_cannot_be_traced_is_carried_on_from_small_batches_and_declared_memory_is_added():
    class Plain(OfItsOwn):
        def forward(self, x):
            return self.second(torch.tanh(self.first(x / 2)))

        memory = None  # type: ignore[assignment]

    own, plain = Meter(OfItsOwn(), split(), Recipe()), Meter(Plain(), split(), Recipe())
    found, like = own.footprint(5000, 100), plain.footprint(5000, 100)
    assert (found.how, like.how) == ("extrapolated", "traced")
    assert found.train - 5_000_000 == pytest.approx(like.train, rel=0.02)


def test_what_cannot_be_traced_is_said_in_no_log():
    real = torch.ones(1)

    class Sets(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(64, 10)

        def forward(self, x):
            return self.first(x) + torch.zeros(1).set_(real.untyped_storage())  # type: ignore[call-overload]

    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    logger.addHandler(handler)
    try:
        assert Meter(Sets(), split(), Recipe()).footprint(32, 32).how == "extrapolated"
    finally:
        logger.removeHandler(handler)
    assert told == [] and not logger.disabled


def test_no_fake_tensor_is_left_in_a_cache_and_no_weight_or_generator_moves():
    @functools.lru_cache(maxsize=8)
    def table(rows: int) -> torch.Tensor:
        return torch.ones(rows, 1)

    class Caching(OfItsOwn):
        def forward(self, x):
            return self.second(self.first(x) * table(len(x)))

    model, data = Caching(), split()
    before, state = [p.detach().clone() for p in model.parameters()], torch.get_rng_state()
    assert Meter(model, data, Recipe()).footprint(50, 50).how == "traced"
    assert type(table(50)) is torch.Tensor
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert torch.equal(torch.get_rng_state(), state) and all(p.grad is None for p in model.parameters())


def test_the_largest_batch_fits_and_one_a_little_larger_does_not():
    found = meter("small-cnn")
    for room in (30 * 10**6, 5 * 10**9):
        largest = found.largest(room)
        assert found.peak(largest) <= room < found.peak(int(1.05 * largest) + 2)
    assert found.largest(1000) == 0


def test_a_bound_is_never_below_the_estimate():
    for case in ("creep-1", "mlp", "encoder"):
        found = meter(case)
        for batch in (2, 37, 200):
            assert found.bound(batch) >= found.peak(batch)


def test_a_tracker_counts_what_is_alive_at_once():
    with Tracker() as tracker:
        a = torch.zeros(1000)
        b = a + 1
        view = b[10:]
        del a
        c = torch.cat([b, b])
        del b, view, c
    assert tracker.peak == 4000 + 8000 and tracker.now == 0


def test_a_guard_refuses_before_anything_large_is_made():
    room = {"cpu": 10**6}
    with Guard("it", room):
        torch.zeros(200_000)
    for make in (
        lambda: torch.zeros(300_000),
        lambda: torch.eye(600),
        lambda: torch.ones(1, 600).repeat(600, 1),
        lambda: torch.ones(600, 1) * torch.ones(1, 600),
        lambda: nn.functional.pad(torch.ones(2), (0, 300_000)),
        lambda: torch.arange(10**12),
        lambda: [torch.zeros(50_000) for _ in range(6)],
    ):
        with (
            pytest.raises(dp.DoesNotFit, match=r"it needs .* of memory at once, and 1 MB are available"),
            Guard("it", room),
        ):
            make()


@dp.component("test-wide", fills=nn.Linear)
def wide(old: nn.Linear, signature: dp.Signature, *, width: int = 16) -> nn.Module:
    """Two linear maps with a hidden width."""
    return nn.Sequential(nn.Linear(old.in_features, width), nn.Linear(width, width), nn.Linear(width, old.out_features))


@pytest.mark.parametrize(
    ("swap", "words"),
    [
        ({"component": "reupload-linear", "qubits": 16}, "qubits="),
        ({"component": "test-wide", "width": 10**7}, "width="),
    ],
)
def test_a_swap_that_cannot_fit_is_refused_at_once_with_the_numbers_and_the_largest_that_fits(swap, words):
    model, sample = dp.host("creep-cnn", size=8), torch.randn(2, 1, 8, 8)
    dp.swap(model, {"head": swap["component"]}, sample)  # once, so that everything is imported
    start = time.process_time()
    with pytest.raises(dp.DoesNotFit, match=r"slot 'head'.* needs .*B of memory, and .*B are available") as caught:
        dp.swap(model, {"head": swap}, sample)
    assert time.process_time() - start < 3
    assert f"the largest that fits is {words}" in str(caught.value)
    assert caught.value.needed > caught.value.available > 0


def test_the_machine_and_every_control_group_above_the_process_are_asked(tmp_path):
    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    write("proc/meminfo", "MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 8000000 kB\n")
    assert available(root=tmp_path).bytes == 8_000_000 * 1024
    write("proc/self/cgroup", "0::/a/b\n")
    write("sys/fs/cgroup/a/b/memory.max", "max\n")
    write("sys/fs/cgroup/a/b/memory.current", "5\n")
    write("sys/fs/cgroup/a/memory.max", "1000000000\n")
    write("sys/fs/cgroup/a/memory.current", "700000000\n")
    write("sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 100000000\n")
    found = available(root=tmp_path)
    assert (found.bytes, found.total) == (400_000_000, 1_000_000_000) and "container" in found.where
    write("proc/self/cgroup", "4:cpu,memory:/docker/x\n3:cpuset:/\n")
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "500000000\n")  # the container's own, at the root of its mount
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", "450000000\n")
    assert available(root=tmp_path).bytes == 50_000_000
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")  # no limit
    assert available(root=tmp_path).bytes == 8_000_000 * 1024


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (123_456_789, "123 MB"), (4e12, "4 TB")]
)
def test_bytes_are_shown_in_powers_of_ten(count, text):
    assert show_bytes(count) == text
