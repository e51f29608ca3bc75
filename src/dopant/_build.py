"""Build one component for one slot, and the modules that put it in its place: `Mixed` and `Inserted`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ._copy import copy_module
from ._slots import Signature
from .errors import ConfigError, DoesNotFit, DopantError, Problems, SlotMismatch
from .registry import PASSED, ComponentInfo, check_options
from .streams import Streams


def option_problems(info: ComponentInfo, options: dict[str, Any]) -> list[str]:
    """Options that the factory does not know (nearest given), or needs and does not get."""
    try:
        names = list(inspect.signature(info.factory).parameters)
    except (TypeError, ValueError):
        return []
    return check_options("component", info.name, info.factory, options, {*names[:2], *PASSED})


def takes(info: ComponentInfo, parameter: str) -> bool:
    """Whether the factory has this parameter."""
    try:
        return parameter in inspect.signature(info.factory).parameters
    except (TypeError, ValueError):
        return False


def misfit(info: ComponentInfo, old: Any, signature: Any) -> str | None:
    """Why the component does not fill this slot by its own word (`fills`); None if it does.

    old, signature: of a group, dicts by slot; classes then hold for each of them.
    """
    if info.fills is None:
        return None
    if callable(info.fills) and not isinstance(info.fills, type):
        try:
            reason = info.fills(old, signature)
            if isinstance(reason, bool):
                return (
                    f"its test of the slot returns {reason}; it must return None where it fits, else the reason why not"
                )
            return None if reason is None else str(reason)
        except Problems as error:
            return "; ".join(error.problems)
        except Exception as error:
            return f"its test of the slot fails: {type(error).__name__}: {error}"
    classes = tuple(info.fills) if isinstance(info.fills, (tuple, list)) else (info.fills,)
    for module in old.values() if isinstance(old, dict) else [old]:
        if not isinstance(module, classes):
            return f"it fills {' or '.join(c.__name__ for c in classes)}, and this is {type(module).__name__}"
    return None


def make(
    info: ComponentInfo, old: Any, signature: Any, options: dict[str, Any], streams: Streams, slot: str, target: Any
) -> Any:
    """The module that the factory builds for `slot`, under the stream `slot:NAME`; of a group, {slot: module}.

    In the training mode, on the device and in the dtype of the old one. Any exception of the factory becomes an error
    that names slot and component: ConfigError where options were given, SlotMismatch else.
    """
    extras: dict[str, Any] = {}
    if takes(info, "generator"):
        extras["generator"] = streams.generator(f"slot:{slot}")
    if takes(info, "target"):
        extras["target"] = target
    try:
        with streams.seeded(f"slot:{slot}"):
            built = info.factory(old, signature, **options, **extras)
    except Problems as error:
        raise type(error)([_naming(slot, info.name, p) for p in error.problems]) from error
    except DoesNotFit:
        raise
    except DopantError as error:
        raise ConfigError(_naming(slot, info.name, str(error))) from error
    except Exception as error:
        kind = ConfigError if options else SlotMismatch
        raise kind(f"slot {slot!r}: {info.name!r} cannot be built: {type(error).__name__}: {error}") from error
    if info.mode != "group":
        return _conformed(_module(built, slot, info), old, signature, slot, info)
    if not isinstance(built, dict) or set(built) != set(old):
        got = f"dict for {', '.join(map(str, built))}" if isinstance(built, dict) else _what(built)
        raise ConfigError(
            f"slots {slot!r}: {info.name!r} must return a module for each of {', '.join(old)}, {{slot: module}}; it "
            f"returns {got}"
        )
    parts = {name: _module(built[name], name, info) for name in old}
    return {name: _conformed(part, old[name], signature[name], name, info) for name, part in parts.items()}


def _naming(slot: str, component: str, problem: str) -> str:
    if repr(slot) in problem and repr(component) in problem:
        return problem
    return f"slot {slot!r}, {component!r}: {problem}"


def _module(built: Any, slot: str, info: ComponentInfo) -> nn.Module:
    if not isinstance(built, nn.Module):
        raise ConfigError(
            f"slot {slot!r}: the factory of {info.name!r} returns {_what(built)}, not a module{_way(built)}"
        )
    return built


def _what(built: Any) -> str:
    if built is None:
        return "None"
    if isinstance(built, type):
        return f"the class {built.__name__}"
    return f"the function {built.__name__!r}" if inspect.isroutine(built) else type(built).__name__


def _way(built: Any) -> str:
    """What to do where a factory returns this instead of a module."""
    if built is None:
        return "; end it with `return` and the new module"
    if isinstance(built, type):
        return f"; return an instance, {built.__name__}(…)"
    if isinstance(built, dict):
        return "; a dict is for mode='group'"
    if isinstance(built, Tensor) or inspect.isroutine(built):
        return "; return a torch.nn.Module whose `forward` does it"
    return "; return the module alone" if isinstance(built, (tuple, list)) else "; return a torch.nn.Module"


def _conformed(new: nn.Module, old: nn.Module, signature: Signature, slot: str, info: ComponentInfo) -> nn.Module:
    try:
        return conform(new, old, signature)
    except (RuntimeError, NotImplementedError) as error:  # parameters without numbers (device "meta"), for one
        raise SlotMismatch(f"slot {slot!r}: {info.name!r} cannot be moved to the slot's device: {error}") from error


def conform(new: nn.Module, old: nn.Module, signature: Signature) -> nn.Module:
    """`new` in the training mode, on the device and in the dtype of `old`, in place.

    Only tensors of torch's default dtype follow: a component that asks for another one means it.
    """
    kept = {m: m.training for m in old.modules()}
    new.train(old.training)
    for module, training in kept.items():  # a wrapped module may be frozen in part
        module.training = training
    of_old = next((t for t in [*old.parameters(), *old.buffers()] if t.is_floating_point()), None)
    dtype = of_old.dtype if of_old is not None else signature.dtype
    if not dtype.is_floating_point:
        dtype = torch.get_default_dtype()
    cast(new, dtype, only=torch.get_default_dtype())
    return new.to(of_old.device) if of_old is not None else new


COMPLEX = {torch.float64: torch.complex128, torch.float32: torch.complex64}


def cast(module: nn.Module, dtype: torch.dtype, only: torch.dtype | None = None) -> nn.Module:
    """Parameters and buffers in `dtype`, complex ones in its complex kin (which `Module.double` leaves), in place.

    only: change those of this dtype and its kin, and nothing else.
    """
    if only == dtype:
        return module

    def change(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() and only in (None, tensor.dtype):
            return tensor.to(dtype)
        if tensor.is_complex() and (only is None or tensor.dtype == COMPLEX.get(only)):
            return tensor.to(COMPLEX.get(dtype, torch.complex64))
        return tensor

    return module._apply(change)


def copy_of(module: Any, make_error: Callable[[str], Exception]) -> Any:
    """A deep copy, or `make_error(reason)`."""
    try:
        return copy_module(module) if isinstance(module, nn.Module) else copy.deepcopy(module)
    except Exception as error:
        raise make_error(f"{type(error).__name__}: {error}") from error
