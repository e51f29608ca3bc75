"""What every program of the comparison has in common: it reads a workload, answers on standard output, measures itself.

A program is `serve(make)`: make(work, variant) builds whatever its library builds once and returns a Program. It is
started as `python PROGRAM.py WORKLOAD.json [VARIANT]`, takes lines on standard input and answers each with a line of
JSON (what libraries print themselves goes to standard error):

    (start)       {"compile_cpu", "compile_wall", "samples", "version"}: building and the first step, after the imports
    step [COUNT]  {"cpu", "wall", "peak"}: seconds a step (the mean of COUNT steps) of the process, all its threads
                  together; peak memory so far in GB
    save PATH     {"saved"}: the last step's outputs and gradients as .npz
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Program:
    """step() -> (outputs, gradient of inputs, gradient of weights), or (kernel matrix,); arrays or tensors, finished.

    samples: how many of the workload's samples a step takes, if not all of them.
    """

    step: Callable[[], tuple[Any, ...]]
    version: str
    samples: int | None = None


def arrays(work: dict[str, Any], dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """inputs, weights, cotangent."""
    inputs, weights, cotangent = (np.array(work[key], dtype=dtype) for key in ("inputs", "weights", "cotangent"))
    return inputs, weights, cotangent


def signs(qubits: int) -> np.ndarray:
    """(2^n, n): the eigenvalue of Z of every qubit in every basis state."""
    bits = (np.arange(2**qubits)[:, None] >> np.arange(qubits)[::-1]) & 1
    return (1 - 2 * bits).astype(np.float32)


def peak() -> float:
    """GB that this process held at most."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e9


def _numpy(value: Any) -> np.ndarray:
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def serve(make: Callable[[dict[str, Any], str], Program]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**what: Any) -> None:
        print(json.dumps(what), file=answers, flush=True)

    with open(sys.argv[1]) as file:
        work = json.load(file)
    cpu, wall = time.process_time(), time.perf_counter()
    program = make(work, sys.argv[2] if len(sys.argv) > 2 else "")
    last = program.step()
    compile_cpu, compile_wall = time.process_time() - cpu, time.perf_counter() - wall
    samples = program.samples or len(work["inputs"])
    say(compile_cpu=compile_cpu, compile_wall=compile_wall, samples=samples, version=program.version)
    for line in sys.stdin:
        verb, _, argument = line.strip().partition(" ")
        if verb == "step":
            count = int(argument or 1)
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(count):
                last = program.step()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            say(cpu=cpu / count, wall=wall / count, peak=peak())
        else:
            np.savez(argument, **dict(zip(("outputs", "inputs", "weights"), map(_numpy, last), strict=False)))
            say(saved=argument)
