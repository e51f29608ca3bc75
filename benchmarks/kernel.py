"""The compiled circuit kernel by itself: step by qubits, angles that differ between samples, the torch path beside it.

    python benchmarks/kernel.py [--qubits 2-14]

The circuit is W1 of circuits.py (RY encoding, 4 layers of RY RZ and a CNOT ring, <Z> of all), batch 200, one thread;
"per sample" reads every rotation's angle from a feature of its own instead of a weight. CPU time of forward and
backward, medians, the variants by turns. "us / (n 2^n)" has no step up where no cache is outgrown.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from dopant.quantum import Circuit, feature, weight
from dopant.quantum.kernel import loading


def circuit(n: int, per_sample: bool, layers: int = 4) -> Circuit:
    c, column = Circuit(n), n
    for q in range(n):
        c = c.ry(q, feature(q))
    for _ in range(layers):
        for q in range(n):
            angles = (feature(column), feature(column + 1)) if per_sample else (weight(), weight())
            c = c.ry(q, angles[0]).rz(q, angles[1])
            column += 2
        c = c.cx_ring()
    return c


def step(c: Circuit, path: str, batch: int) -> Callable[[], None]:
    layer = c.layer(path=path)
    x = torch.randn(batch, c.features, requires_grad=True)
    cotangent = torch.randn(batch, c.qubits)
    wanted = (x, layer.weights) if c.weights else (x,)

    def run() -> None:
        torch.autograd.grad(layer(x), wanted, cotangent)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qubits", default="2-14")
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    first, _, last = asked.qubits.partition("-")
    torch.set_num_threads(1)
    loading.wait()
    print(f"{'n':>3} {'kernel ms':>10} {'us / (n 2^n)':>13} {'per sample / shared':>20} {'torch / kernel':>15}")
    for n in range(int(first), int(last or first) + 1):
        steps = [step(circuit(n, False), "kernel", asked.batch), step(circuit(n, True), "kernel", asked.batch)]
        if n <= 12:
            steps.append(step(circuit(n, False), "torch", asked.batch))
        times: list[list[float]] = [[] for _ in steps]
        for run in steps:
            run()
        for _ in range(asked.rounds):
            for run, found in zip(steps, times, strict=True):
                run()  # what the one before gave back to the system is taken again
                began = time.process_time()
                repeats = 0
                while time.process_time() - began < 0.02:
                    run()
                    repeats += 1
                found.append((time.process_time() - began) / repeats)
        shared, sample, *torch_ = (statistics.median(t) for t in times)
        slower = f"{torch_[0] / shared:15.1f}" if torch_ else f"{'-':>15}"
        print(
            f"{n:3} {1e3 * shared:10.3f} {1e6 * shared / (n * 2**n):13.3f} {sample / shared:20.2f} {slower}", flush=True
        )


if __name__ == "__main__":
    main()
