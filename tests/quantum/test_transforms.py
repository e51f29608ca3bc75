"""Circuit layers under torch's transforms: forward derivatives, vmap, many gradients at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.func import functional_call, jacfwd, jacrev

from dopant.quantum import Circuit, feature, weight
from dopant.quantum.gates import GATES

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
CLOSE = {torch.float32: 2e-5, torch.float64: 1e-11}


def of(layer: torch.nn.Module) -> Any:
    def function(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, {"weights": w}, (x,))

    return function


def with_gate(name: str) -> Circuit:
    c = Circuit(3).h(0).ry(1, feature(0) * feature(1)).ry(2, 0.3 + 2 * weight() - feature(1))
    if name == "pauli_exp":
        return c.pauli_exp("XYZ", weight()).controlled([0], "rx", 1, weight())
    if name == "dense":
        return c.special_unitary([0, 1]).special_unitary(2, [feature(0), 0.4], ["X", "Z"]).hermitian_exp([1, 2], 0, 3)
    kind = GATES[name]
    return c.gate(name, *range(kind.qubits), *[weight() for _ in kind.angles])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["rx", "u", "rot", "p", "cp", "cry", "rzz", "iswap", "pauli_exp", "dense"])
def test_forward_derivatives_are_the_backward_ones_in_both_precisions(name, dtype):
    layer = with_gate(name).layer(measure=["ZII", "IXY"], dtype=dtype)
    x, w = torch.rand(2, 3, dtype=dtype), layer.weights.detach()
    for argument in (0, 1):
        forward, backward = jacfwd(of(layer), argument)(x, w), jacrev(of(layer), argument)(x, w)
        assert forward.dtype == dtype and torch.allclose(forward, backward, atol=CLOSE[dtype])
        kernel = torch.autograd.functional.jacobian(lambda *inputs: of(layer)(*inputs), (x, w))[argument]
        assert torch.allclose(backward, kernel, atol=CLOSE[dtype])
