"""What stays of a module that was replaced: the plain attributes that its parent reads, and nothing that computes.

nn.TransformerEncoder reads `layers[0].self_attn.batch_first`, many networks `self.head.in_features`. A replacement
that lacks such an attribute answers it with the old module's value. Tensors are never answered: a parent that reads
weights instead of calling the module would go on computing with the old ones.
"""

from __future__ import annotations

import copy
import enum
from typing import Any

import torch
from torch import nn

PREFIX = "_dopant_"  # attributes that dopant itself leaves on modules
_ATOMS = (type(None), bool, int, float, complex, str, bytes, enum.Enum, slice, torch.dtype, torch.device, torch.Size)
_OF_DEVICE = (torch.dtype, torch.device)
_MODULE = set(dir(nn.Module())) | {"parametrizations"}


class WeightsGone(AttributeError):
    """A parent asks a module that was replaced for something of which no plain value is left."""


class Replaced:
    """Stands where a child of a replaced module stood: plain attributes to read, nothing to call."""

    def __init__(self, path: str, module: nn.Module):
        vars(self).update(plain_attributes(module))
        for name, child in module.named_children():
            vars(self).setdefault(name, Replaced(f"{path}.{name}", child))
        vars(self).setdefault("_dopant_path", path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle ask for these
            raise AttributeError(name)
        path = vars(self).get("_dopant_path", "a module")
        raise WeightsGone(f"{path!r} went with the module that was replaced, and so did its {name!r}")

    def __repr__(self) -> str:
        return f"Replaced({vars(self).get('_dopant_path')!r})"


def answer(new: nn.Module, old: nn.Module, slot: str, *, sizes: bool = True) -> None:
    """Let `new` answer, in place, each plain attribute of `old` that it has not got itself.

    Children of `old` whose names `new` lacks are answered by a `Replaced`. sizes: whether whole numbers and tuples are
    answered too; not so where the replacement may differ in shape.
    """
    for name, value in plain_attributes(old).items():
        if (sizes or isinstance(value, (bool, str, type(None)))) and not _has(new, name):
            vars(new)[name] = value
    for name, child in old.named_children():
        if name not in _MODULE and not _has(new, name):
            vars(new)[name] = Replaced(f"{slot}.{name}", child)


def _has(module: nn.Module, name: str) -> bool:
    try:
        getattr(module, name)
    except AttributeError:
        return False
    except Exception:  # a property of its own, which has something against being asked now
        return True
    return True


def plain_attributes(module: nn.Module) -> dict[str, Any]:
    """{name: value} of what a module holds beside tensors, modules and objects: numbers, texts, truth values, None, and
    tuples, lists, sets and dicts of them (copied). Of its class too, and of what its properties say now."""
    found: dict[str, Any] = {}
    for kind in reversed(type(module).__mro__):
        if kind not in nn.Module.__mro__:
            for name, value in vars(kind).items():
                if isinstance(value, property):
                    value = _property(module, name)
                if _answerable(name, value) and not isinstance(value, _OF_DEVICE):  # which follow the module around
                    found[name] = value
    for slots in (module._parameters, module._buffers, module._modules):
        found |= {name: None for name, value in slots.items() if value is None}
    found |= {name: value for name, value in vars(module).items() if _answerable(name, value)}
    return {name: copy.deepcopy(value) for name, value in found.items()}


_NOTHING = object()


def _property(module: nn.Module, name: str) -> Any:
    if name in getattr(module, "parametrizations", ()):  # to ask for a parametrised weight computes it
        return _NOTHING
    try:
        return getattr(module, name)
    except Exception:
        return _NOTHING


def _answerable(name: str, value: Any) -> bool:
    return name not in _MODULE and not name.startswith(("__", PREFIX)) and _plain(value)


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_plain(k) and _plain(v) for k, v in value.items())
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(map(_plain, value))
    return isinstance(value, _ATOMS)
