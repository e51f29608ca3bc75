"""One training step of the founding study: every level, real and complex parameters, the head alone, the naive way.

Batch 200, images of 32x32, convolutions 1 -> 32 -> 16, head 12544 -> 10 with q = 7 and r = 10; one thread; float32.
Seconds are medians of process CPU seconds of forward, backward and Adam, the cases by turns; peak memory is that of a
fresh process each (VmHWM). The machine's own rate of sgemm is measured between the cases: 12 GFLOP, the work of a level
2 step that cannot be avoided, at that rate is the unit of the gate on level 2.
The naive way simulates the definition (dense Pauli matrices, one exponential a patch and repetition, plain autograd)
on a tiny share and is extrapolated.

Usage: python benchmarks/founding.py [--gate] [--rounds N]; --gate: exit code 1 if a gate is missed.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from dopant.components.quantum.flipped_quanv import FlippedQuanv
from dopant.components.quantum.reupload_linear import ReuploadLinear
from dopant.hosts.creep_cnn import CreepCNN

BATCH = 200
CASES = ("level 0", "level 1", "level 1 complex", "level 2", "level 2 complex", "head", "head complex")
GFLOP = 12
GATES = {
    "level 1 / level 0, seconds": 1.15,
    "level 2 / 12 GFLOP of sgemm, seconds": 4.0,
    "level 2, peak memory in GB": 0.65,
}


def network(case: str) -> nn.Module:
    parameters = "complex" if case.endswith("complex") else "real"
    if case.startswith("head"):
        return ReuploadLinear(12544, 10, parameters=parameters)
    model = CreepCNN(1, 32, 10, (32, 16))
    if case != "level 0":
        model.conv1 = FlippedQuanv(1, 32, parameters=parameters)
        model.conv2 = FlippedQuanv(32, 16, parameters=parameters)
    if case.startswith("level 2"):
        model.head = ReuploadLinear(12544, 10, parameters=parameters)
    return model


class Trained:
    """A network in training on random images; a head alone on activations as large as the convolutions make them."""

    def __init__(self, case: str):
        torch.manual_seed(0)
        self.model = network(case)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=5e-4, foreach=False)
        shape = (BATCH, 12544) if case.startswith("head") else (BATCH, 1, 32, 32)
        # the head's inputs get a gradient too, as behind convolutions
        self.inputs = (2 * torch.rand(shape) - 1).requires_grad_(case.startswith("head"))
        self.targets = torch.randint(10, (BATCH,))

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.inputs.grad = None
        F.cross_entropy(self.model(self.inputs), self.targets).backward()
        self.optimizer.step()


def seconds(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


# --- the naive way ----------------------------------------------------------------------------------------------------


def strings(qubits: int) -> torch.Tensor:
    """(4^q - 1, 2^q, 2^q): every Pauli string but the identity."""
    single = torch.tensor(
        [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=torch.complex64
    )
    found = [torch.ones(1, 1, dtype=torch.complex64)]
    for _ in range(qubits):
        found = [torch.kron(a, b) for a, b in itertools.product(found, single)]
    return torch.stack(found[1:])


def naive_patches(samples: int, rows: int) -> float:
    """Seconds of level 1's convolutions, from `rows` rows of outputs of conv2 on `samples` images."""
    paulis = strings(2)
    x = torch.randn(samples, 32, rows + 2, 30, requires_grad=True)
    angles = torch.randn(16, 32, 15, requires_grad=True)

    def step() -> None:
        patches = F.unfold(x, 3).view(samples, 32, 3, 3, -1).permute(0, 4, 1, 2, 3)
        padded = F.pad(patches, (0, 1, 0, 1))
        observables = ((padded + padded.mT) / 2).to(torch.complex64).unsqueeze(2)
        psi = torch.linalg.matrix_exp(1j * torch.einsum("oik,kab->oiab", angles.to(torch.complex64), paulis))[..., 0]
        values = (psi.conj().unsqueeze(-2) @ (observables @ psi.unsqueeze(-1))).real
        values.mean(3).sum().backward()

    step()
    spent = statistics.median(seconds(step) for _ in range(3))
    # all of conv2's (output, input, place) triples and conv1's
    return spent * (16 * 32 * 28 * 28 + 32 * 30 * 30) * BATCH / (16 * 32 * rows * 28 * samples)


def naive_head() -> float:
    """Seconds of the head's step, from one sample and one repetition with a tenth of the strings of one gate."""
    share = 10
    paulis = strings(7)[::share]
    x = torch.randn(128, 128, requires_grad=True)
    angles = torch.randn(len(paulis), requires_grad=True)

    def data() -> None:
        state = torch.full((128,), 128**-0.5, dtype=torch.complex64)
        (torch.linalg.matrix_exp(1j * (x + x.T) / 20) @ state).real.sum().backward()

    def combination() -> torch.Tensor:
        return torch.einsum("k,kab->ab", angles.to(torch.complex64), paulis)

    def gate() -> None:
        torch.linalg.matrix_exp(1j * share**0.5 * combination()).real.sum().backward()

    data(), gate()
    a, b, c = (
        statistics.median(seconds(f) for _ in range(3))
        for f in (data, gate, lambda: combination().real.sum().backward())
    )
    return 10 * (BATCH * a + (b - c) + share * c)


# --- memory -----------------------------------------------------------------------------------------------------------


def peak_of_this_process() -> float:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9


def peak(case: str) -> float:
    """GB at most in a fresh process that takes three steps."""
    done = subprocess.run([sys.executable, __file__, "--memory", case], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gate", action="store_true", help="exit code 1 if a gate is missed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", metavar="CASE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.memory:
        trained = Trained(given.memory)
        for _ in range(3):
            trained.step()
        print(peak_of_this_process())
        return 0

    cases = {case: Trained(case) for case in CASES}
    a, b = torch.randn(2, 2048, 2048)
    spent: dict[str, list[float]] = {name: [] for name in (*CASES, "sgemm")}
    for trained in cases.values():
        trained.step()
    for _ in range(given.rounds):
        for case, trained in cases.items():
            spent[case].append(seconds(trained.step))
            spent["sgemm"].append(seconds(lambda: a @ b))
    median = {name: statistics.median(times) for name, times in spent.items()}
    rate = 2 * 2048**3 / median["sgemm"] / 1e9
    unit = GFLOP / rate
    memory = {case: peak(case) for case in CASES}
    patches, head = naive_patches(1, 4), naive_head()

    print(f"sgemm {rate:.0f} GFLOP/s on one thread: {GFLOP} GFLOP take {1e3 * unit:.0f} ms. Batch {BATCH}.")
    print(f"{'case':<18} {'ms a step':>10} {'x 12 GFLOP':>11} {'x level 0':>10} {'peak GB':>8}")
    for case in CASES:
        ms = median[case]
        print(f"{case:<18} {1e3 * ms:>10.0f} {ms / unit:>11.2f} {ms / median['level 0']:>10.2f} {memory[case]:>8.2f}")
    print("naive, EXTRAPOLATED from a tiny share:")
    for label, naive, ours in (
        ("level 1 (4 rows of places, 1 image)", patches, median["level 1"]),
        ("head (1 sample, 1 repetition, 1/10 of one gate's strings)", head, median["head"]),
        ("level 2 (their sum)", patches + head, median["level 2"]),
    ):
        print(f"  {label:<60} {naive:>7.1f} s a step, {naive / ours:>5.0f} times ours")
    missed = 0
    for (label, most), value in zip(
        GATES.items(), (median["level 1"] / median["level 0"], median["level 2"] / unit, memory["level 2"]), strict=True
    ):
        missed += value > most
        print(f"gate: {label:<40} {value:>6.2f}, at most {most:.2f}: {'missed' if value > most else 'kept'}")
    return int(given.gate and missed > 0)


if __name__ == "__main__":
    sys.exit(main())
