"""One step of a library that computes with torch tensors: forward, loss, gradients by autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from serve import arrays


def gradient_step(
    work: dict[str, Any],
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    parameter: torch.nn.Parameter | None = None,
) -> Callable[[], tuple[Any, ...]]:
    """function(inputs (batch, features), weights (weights,)) -> (batch, qubits).

    parameter: of a module that holds the weights itself; it gets their values, and is what `function` is given.
    """
    torch.set_num_threads(1)
    inputs, weights, cotangent = (torch.from_numpy(a) for a in arrays(work))
    inputs.requires_grad_()
    if parameter is not None:
        with torch.no_grad():
            parameter.copy_(weights)
        weights = parameter
    weights.requires_grad_()

    def step() -> tuple[Any, ...]:
        inputs.grad = weights.grad = None
        outputs = function(inputs, weights)
        (outputs * cotangent).sum().backward()
        return outputs, inputs.grad, weights.grad

    return step


def kernel_step(work: dict[str, Any], states: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], tuple[Any, ...]]:
    """states(inputs (batch, features)) -> (batch, 2^n); the matrix is one product of all states with all."""
    torch.set_num_threads(1)
    inputs = torch.from_numpy(arrays(work)[0])

    def step() -> tuple[Any, ...]:
        with torch.no_grad():
            found = states(inputs)
            return ((found @ found.mH).abs().square(),)

    return step
