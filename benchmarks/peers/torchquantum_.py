"""TorchQuantum-ng: functional gates on one QuantumDevice for the batch, expval of PauliZ, autograd.

It imports torchvision for data sets that nothing here uses, and torchvision's wheels load only beside the CUDA build
of torch: an empty stand-in takes its place, and the requirements leave it out.
"""

from __future__ import annotations

import sys
import types
from typing import Any

for name in ("torchvision", "torchvision.datasets", "torchvision.datasets.utils", "torchvision.transforms"):
    sys.modules[name] = types.ModuleType(name)
vision = sys.modules["torchvision"]
vision.datasets, vision.transforms = sys.modules["torchvision.datasets"], sys.modules["torchvision.transforms"]
vision.datasets.VisionDataset = object
vision.datasets.utils = sys.modules["torchvision.datasets.utils"]
vision.datasets.utils.download_url = None
vision.transforms.InterpolationMode = types.SimpleNamespace(
    **dict.fromkeys(("NEAREST", "BILINEAR", "BICUBIC", "LANCZOS", "BOX", "HAMMING"))
)

import importlib.metadata  # noqa: E402

import torch  # noqa: E402
import torchquantum as tq  # noqa: E402
import torchquantum.functional as tqf  # noqa: E402
from serve import Program, serve  # noqa: E402
from torch_step import gradient_step, kernel_step  # noqa: E402

NAMES = {"h": "hadamard", "x": "paulix", "p": "phaseshift", "cx": "cnot"}


def make(work: dict[str, Any], variant: str) -> Program:
    n = work["qubits"]
    gates = [(tqf.func_name_dict[NAMES.get(name, name)], qubits, angles) for name, qubits, angles in work["gates"]]
    everything = list(range(n))
    z = [tq.PauliZ()] * n

    def run(inputs: torch.Tensor, weights: torch.Tensor | None) -> Any:
        device = tq.QuantumDevice(n_wires=n, bsz=len(inputs))
        for gate, qubits, angles in gates:
            values = [
                inputs.new_tensor([a])
                if not isinstance(a, list)
                else inputs[:, a[1]]
                if a[0] == "feature"
                else weights[a[1] : a[1] + 1]
                for a in angles
            ]
            gate(device, wires=qubits, params=torch.stack(values, -1) if values else None)
        return device

    version = importlib.metadata.version("torchquantum-ng")
    if work["kind"] == "kernel":
        return Program(kernel_step(work, lambda inputs: run(inputs, None).get_states_1d()), version)
    return Program(gradient_step(work, lambda x, w: tq.expval(run(x, w), everything, z)), version)


serve(make)
