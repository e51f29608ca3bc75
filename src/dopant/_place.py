"""Put a built component in its place: beside the old module or instead of it, under every name, seen by the host."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ._slots import CallSpec, Signature
from ._trees import learn
from .errors import DopantWarning as DopantWarning
from .registry import ComponentInfo

SLOT_MARK = "_dopant_slot"  # attribute of a module that was replaced: the name it had in the host


class Mixed(nn.Module):
    """(1 - d) * old(x) + d * new(x), for every tensor of the output that is not of whole numbers; those are new's."""

    def __init__(self, old: nn.Module, new: nn.Module, d: float):
        super().__init__()
        self.old, self.new, self.d = old, new, d

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        old, new = self.old(*args, **kwargs), self.new(*args, **kwargs)

        def blend(a: Any, b: Any) -> Any:
            if isinstance(b, Tensor) and (b.is_floating_point() or b.is_complex()):
                return (1 - self.d) * a + self.d * b
            return b

        return pytree.tree_map(blend, learn(old), learn(new))

    def extra_repr(self) -> str:
        return f"d={self.d}"


class Inserted(nn.Module):
    """new(old(x)): the old module with a component after it."""

    def __init__(self, old: nn.Module, new: nn.Module):
        super().__init__()
        self.old, self.new = old, new

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.new(self.old(*args, **kwargs))


def place(info: ComponentInfo, old: nn.Module, new: nn.Module, mix: float) -> nn.Module:
    """What stands in the slot: the old module itself at mix 0, the new one (after the old, if inserted) at 1."""
    if mix == 0:
        return old
    if info.mode == "insert":
        placed = Inserted(old, new if mix == 1 else Mixed(nn.Identity(), new, mix))
    else:
        placed = new if mix == 1 else Mixed(old, new, mix)
    placed.training = old.training
    return placed


def after(signature: Signature) -> Signature:
    """The signature of a component inserted after the module with this one: its output to the same again."""
    calls = tuple(CallSpec((c.outputs,), {}, c.outputs) for c in signature.calls)
    return Signature(
        signature.module, calls, signature.names, signature.evaluated, signature.trained, signature.problem
    )


def put(modules: dict[str, nn.Module], old: nn.Module, new: nn.Module) -> None:
    """Replace `old` under every name it has. modules: by name, as they were before any replacement.

    Where the old module lives on inside the new one it keeps its name for random draws (see training/reseed.py).
    """
    for name, module in modules.items():
        if module is old and name:
            old.__dict__.setdefault(SLOT_MARK, name)
            parent, _, leaf = name.rpartition(".")
            modules[parent]._modules[leaf] = new


def warn_of_untied(host: nn.Module, slot: str, old: nn.Module, new: nn.Module) -> None:
    """Warn of each parameter of `old`, no longer in `slot`, that another module of the host still uses."""
    left: dict[int, list[str]] = {}
    for name, parameter in host.named_parameters(remove_duplicate=False):
        left.setdefault(id(parameter), []).append(name)
    kept = {id(p) for p in new.parameters()}
    for name, parameter in old.named_parameters():
        if id(parameter) in left and id(parameter) not in kept:
            tied = ", ".join(map(repr, left[id(parameter)]))
            warnings.warn(f"slot {slot!r}: its {name} was tied to {tied}; filling it unties them", DopantWarning)


def warn_of_read(slot: str, component: str, before: Signature, after: Signature) -> None:
    """Warn where the host uses weights of the slot's module beside calling it: there a replacement is not asked."""
    if before.read:
        now = f"the {', '.join(after.read)} of {component!r}" if after.read else "none"
        warnings.warn(
            f"slot {slot!r}: beside calling it its parent uses its {', '.join(before.read)} directly; now it uses"
            f" {now}",
            DopantWarning,
        )
