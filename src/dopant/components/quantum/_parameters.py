"""Angles that may be complex: what the published torch code stores, and a circuit cannot have.

The two layers of the founding paper share this: how a choice is checked, how complex parameters follow a change of
precision whole, and how the norm of the state, which only complex angles move, is told to the training loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from ...lifecycle import Lifecycle

KINDS = ("real", "complex")


def choice_problems(layer: str, choices: Iterable[tuple[str, object, tuple[str, str]]]) -> list[str]:
    """What is wrong with each (option, value, (one, other))."""
    return [
        f"{layer}: {option} is {value!r}; expected {known[0]!r} or {known[1]!r}"
        for option, value, known in choices
        if value not in known
    ]


def start(angles: torch.Tensor, kind: str) -> nn.Parameter:
    """The parameter that starts at real `angles`; if "complex", with imaginary parts that are 0 and free to move."""
    return nn.Parameter(torch.complex(angles, torch.zeros_like(angles)) if kind == "complex" else angles)


def doubled(angles: torch.Tensor) -> torch.Tensor:
    """The angles in double precision, real or complex as they are."""
    return angles.to(torch.complex128 if angles.is_complex() else torch.float64)


class StateLayer(nn.Module, Lifecycle):
    """A layer that makes quantum states of parameters that may be complex.

    `forward` leaves in `norm_squared` what `call_metrics` tells: a scalar in training, None in evaluation.
    """

    norm_squared: torch.Tensor | None = None

    def call_metrics(self) -> dict[str, torch.Tensor]:
        """{"state_norm_squared": the mean of <psi|psi> over the states of the last call in training}: 1 for a circuit
        (to rounding), anything once complex angles have moved. Empty before such a call and after one in evaluation."""
        return {} if self.norm_squared is None else {"state_norm_squared": self.norm_squared}

    @torch.no_grad()
    def _note(self, squares: Callable[[], torch.Tensor]) -> None:
        """Keep the mean of `squares()`, computed in training only."""
        found = squares() if self.training else None
        self.norm_squared = found.mean() if found is not None and found.numel() else None

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> StateLayer:
        """Module.double() passes over complex parameters, and Module.to(dtype) would drop their imaginary part: here
        they follow the real ones, whole. Where a real precision has no complex kin, they take the next that has one."""

        def whole(tensor: torch.Tensor) -> torch.Tensor:
            if not tensor.is_complex():
                return fn(tensor)
            # one flat row of real numbers: it shares memory with the tensor, and no memory format applies to it
            real = fn(torch.view_as_real(tensor.resolve_conj()).reshape(-1))
            real = real.to(real.dtype.to_complex().to_real())
            return torch.view_as_complex(real.view(*tensor.shape, 2))

        super()._apply(whole, recurse)
        self.norm_squared = None
        return self
