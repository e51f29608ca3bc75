"""What a kernel is to the rest of the package: a module of pairs, its Gram matrix, and the settings it offers.

A kernel of one's own derives from `Kernel`, writes `forward` for pairs, and is registered with `fills=Kernel`:

    @dp.component("my-kernel", fills=Kernel, controls=["rbf-kernel"])
    def my_kernel(old, signature):
        return MyKernel(old.features)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from ..._place import Mixed
from ...errors import ConfigError, SlotMismatch

PAIRS = 2**16  # that are evaluated at once
Setting = dict[str, float]


class Kernel(nn.Module):
    """k(x, y): (batch, features), (batch, features) -> (batch,), symmetric and positive semi-definite.

    unit_diagonal: whether k(x, x) is 1 for every x, which the law `kernel` then tests.
    shots: measurements an entry is estimated from, None where it is exact; such a kernel draws from torch's default
    generator.
    circuits_alike: whether all settings are computed from the same circuits, so that a device runs those once.
    What `use` changes must lie in buffers of these names, with no axis: they are kept with a trained machine.
    """

    unit_diagonal = False
    shots: int | None = None
    circuits_alike = False

    def __init__(self, features: int):
        super().__init__()
        self.features = features

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """One value a pair, (batch,)."""
        raise NotImplementedError(f"{type(self).__name__} needs a forward(x, y): (batch, features) twice -> (batch,)")

    def gram(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(n, f) -> (n, n), or (n, f), (m, f) -> (n, m): every pair, without gradients. Override it where that is
        quicker than pair by pair."""
        other = x if y is None else y
        rows = max(1, PAIRS // max(1, len(other)))
        with torch.no_grad():
            parts = [
                self(part.repeat_interleave(len(other), 0), other.repeat(len(part), 1)).reshape(len(part), len(other))
                for part in x.split(rows)
            ]
            return torch.cat(parts) if parts else x.new_zeros(0, len(other))

    def settings(self, x: Tensor) -> list[Setting]:
        """The values of its own that are tried on validation, given the training inputs (n, f): {} is as it stands."""
        return [{}]

    def use(self, **setting: float) -> None:
        """Take a setting: fill the buffers of these names."""
        for name, value in setting.items():
            self.get_buffer(name).fill_(value)

    def circuits(self, rows: int, columns: int | None = None) -> int:
        """Circuits that a device runs for the matrix of `rows` inputs with themselves, or with `columns` others that it
        has met: 0 for what is computed classically."""
        return 0


def kernels_of(module: nn.Module) -> list[tuple[str, float, Kernel]]:
    """(prefix of its settings, weight, kernel) of what stands in a slot: a kernel, or a mixture of some.

    Raises SlotMismatch for anything else.
    """
    if isinstance(module, Kernel):
        return [("", 1.0, module)]
    if isinstance(module, Mixed):
        return [
            (f"{side}.{prefix}", weight * share, kernel)
            for side, share in (("old", 1 - module.d), ("new", module.d))
            for prefix, weight, kernel in kernels_of(getattr(module, side))
        ]
    raise SlotMismatch(
        f"slot 'kernel': {type(module).__name__} is no kernel; derive it from "
        "dopant.components.kernels.kernel.Kernel, whose Gram matrix the machine is fitted to"
    )


def gram(module: nn.Module, x: Tensor, y: Tensor | None = None) -> Tensor:
    """The Gram matrix of what stands in the slot: of a mixture the weighted sum."""
    return torch.stack([weight * kernel.gram(x, y) for _, weight, kernel in kernels_of(module)]).sum(0)


def settings(module: nn.Module, x: Tensor) -> list[Setting]:
    """The settings of what stands in the slot: of a mixture every combination, names led by `old.` and `new.`."""
    own = [
        [{prefix + name: value for name, value in setting.items()} for setting in kernel.settings(x)]
        for prefix, _, kernel in kernels_of(module)
    ]
    return [{name: value for part in parts for name, value in part.items()} for parts in product(*own)]


def use(module: nn.Module, setting: Setting) -> None:
    """Take one of `settings`."""
    for prefix, _, kernel in kernels_of(module):
        own = {n.removeprefix(prefix): v for n, v in setting.items() if n.startswith(prefix)}
        kernel.use(**{n: v for n, v in own.items() if "." not in n})


def numbers(component: str, option: str, value: Any, words: Sequence[str] = ()) -> list[str]:
    """Problems of an option that is a positive number, a list of them, or one of `words`."""
    if isinstance(value, str) and value in words:
        return []
    given = value if isinstance(value, (list, tuple)) else [value]
    good = [isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < float("inf") for v in given]
    if given and all(good):
        return []
    other = f", or {' or '.join(map(repr, words))}" if words else ""
    return [f"{component!r}: {option} is {value!r}; expected a positive number, a list of them{other}"]


def refuse(problems: list[str]) -> None:
    """Raise ConfigError if there are any."""
    if problems:
        raise ConfigError(problems)
