"""The programs that circuits.py compares: which there are, their environments, and talking to one that runs."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent / "peers"
THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC"), "1"
)
# Installed first wherever a peer needs torch, as in the Makefile; the same override for a torch without CUDA.
TORCH = os.environ.get("TORCH", "torch==2.13.0")
TOLERANCE = 1e-4  # of outputs; of gradients relative to the largest of their kind


class Peer(NamedTuple):
    file: str
    variant: str
    environment: str  # "" = this interpreter


PEERS = {
    "dopant": Peer("dopant_.py", "", ""),
    "pennylane-default": Peer("pennylane_.py", "default", "pennylane"),
    "pennylane-lightning": Peer("pennylane_.py", "lightning", "pennylane"),
    "tensorcircuit-jax": Peer("tensorcircuit_.py", "jax", "tensorcircuit"),
    "tensorcircuit-jax-torch": Peer("tensorcircuit_.py", "jax-torch", "tensorcircuit"),
    "tensorcircuit-torch": Peer("tensorcircuit_.py", "torch", "tensorcircuit"),
    "torchquantum": Peer("torchquantum_.py", "", "torchquantum"),
    "deepquantum": Peer("deepquantum_.py", "", "deepquantum"),
    "qiskit": Peer("qiskit_.py", "", "qiskit"),
}


class Failed(Exception):
    """A program that gave no answer; the text says why."""


def make_environment(name: str, folder: Path) -> None:
    """A virtual environment with the peer's pinned requirements, which are complete: nothing else is pulled in."""
    requirements = HERE / f"requirements-{name}.txt"
    python = folder / name / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
    if any(line.startswith("torch==") for line in requirements.read_text().splitlines()):
        subprocess.run([*pip, TORCH], check=True)
    subprocess.run([*pip, "--no-deps", "-r", str(requirements)], check=True)


class Running:
    """A program on one workload: started, warmed up (its first step done), ready for steps by turns with others.

    memory: GB that it may allocate; patience: seconds to wait for an answer. Failed if it does not get ready.
    """

    def __init__(self, name: str, workload: Path, environments: Path, memory: float, patience: float):
        self.name, self.patience = name, patience
        self.cpu: list[float] = []
        self.wall: list[float] = []
        self.peak = 0.0
        self.count = 1  # steps at a time
        peer = PEERS[name]
        python = environments / peer.environment / "bin" / "python" if peer.environment else Path(sys.executable)
        if not python.exists():
            raise Failed(f"no environment {python.parent.parent}: make it with --make-envs")
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the program)
        limit = int(memory * 1e9)
        self.process = subprocess.Popen(
            [str(python), str(HERE / peer.file), str(workload), peer.variant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, **THREADS, "OMP_WAIT_POLICY": "PASSIVE"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
        )
        self.ready = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(self.patience):
                self.stop()
                raise Failed(f"no answer after {self.patience:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            said = [text.strip() for text in self.errors.read().splitlines() if text.strip()]
            self.stop()
            raise Failed(said[-1][:160] if said else f"ended with {self.process.returncode}")
        return json.loads(line)

    def ask(self, request: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer, or its absence, tells
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
        return self._answer()

    def step(self) -> None:
        found = self.ask(f"step {self.count}")
        self.cpu.append(found["cpu"])
        self.wall.append(found["wall"])
        self.peak = found["peak"]

    def disagreement(self, expected: dict[str, Any]) -> str:
        """How its outputs and gradients differ from the reference: "" if within TOLERANCE."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "found.npz"
            self.ask(f"save {path}")
            with np.load(path) as found:
                arrays = dict(found)
        for key, want in expected.items():
            got = arrays[key]
            if got.shape != want.shape:
                return f"{key} of shape {got.shape}, expected {want.shape}"
            scale = 1.0 if key == "outputs" else max(float(np.abs(want).max()), 1e-12)
            error = float(np.abs(got - want).max()) / scale
            if not error < TOLERANCE:
                return f"{key} off by {error:.1e}, tolerated {TOLERANCE:.0e}"
        return ""

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
