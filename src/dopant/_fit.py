"""Whether a component can be built here at all, asked before a byte of it is taken.

What asks for more than some megabytes is built on fake tensors, which have shapes and no contents, and is also called
and trained for a step of two samples, since a layer may need far more than its weights. A factory that fakes cannot
pass through is left to the guard around the real building.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from ._build import takes
from .errors import DoesNotFit
from .memory import Guard, Tracker, available, show_bytes
from .registry import ComponentInfo
from .streams import default_generators

_LARGE = 1 << 26  # bytes of weights from which a call is looked at too
_SHARE = 0.9  # of what is available: what is estimated to a few per cent must not take the last of it
_TRIES = 40  # values of an option that are tried to find the largest that fits


def refuse_too_large(
    info: ComponentInfo, old: Any, signature: Any, options: dict[str, Any], slot: str, target: Any
) -> None:
    """Raise DoesNotFit, with the bytes and the largest value of each whole-number option that fits.

    Cost: one building of what is small; else some 0.1 ms an operation of the factory, and no memory.
    """
    if _is_small(info, old, signature, options, target):
        return
    needed = _needs(info, old, signature, options, slot, target)
    room = available(_device(old))
    most = int(_SHARE * room.bytes)
    if needed is None or needed <= most:
        return
    words = (
        f"slot {slot!r}: {info.name!r} needs {show_bytes(needed)} of memory, and {show_bytes(room.bytes)} are available"
    )
    words += f" on {room.where}" if room.where == "this machine" else f" in {room.where}"
    fitting = []
    for name, value in options.items():
        if type(value) is int and value > 1:
            best = _largest(
                value,
                lambda v, name=name: _needs(info, old, signature, {**options, name: v}, slot, target, most),
                most,
            )
            fitting += [f"{name}={best}"] if best else []
    words += f"; the largest that fits is {' or '.join(fitting)}" if fitting else "; choose a smaller component"
    raise DoesNotFit(words, needed=needed, available=room.bytes)


def _is_small(info: ComponentInfo, old: Any, signature: Any, options: dict[str, Any], target: Any) -> bool:
    """Whether it is built from tensors of few bytes altogether, which is tried: fakes take a second to be imported."""
    try:
        with default_generators(), Guard(info.name, {"cpu": _LARGE, "cuda": _LARGE}):
            info.factory(copy.deepcopy(old), signature, **options, **_extras(info, target))
    except DoesNotFit:
        return False
    except Exception:  # the real building will tell
        return True
    return True


def _extras(info: ComponentInfo, target: Any) -> dict[str, Any]:
    extras: dict[str, Any] = {"target": target} if takes(info, "target") else {}
    return extras | ({"generator": torch.Generator()} if takes(info, "generator") else {})


def _device(old: Any) -> torch.device:
    modules = old.values() if isinstance(old, dict) else [old]
    return next((p.device for m in modules for p in m.parameters()), torch.device("cpu"))


def _largest(value: int, needs: Any, room: int) -> int | None:
    """The largest value below `value` that can be built and fits: every one near it, then a search by halves."""

    def fits(v: int) -> bool:
        needed = needs(v)
        return needed is not None and needed <= room

    near = range(value - 1, max(0, value - 1 - _TRIES), -1)
    if value <= _TRIES:
        return next((v for v in near if fits(v)), None)
    low, high = 0, value
    for _ in range(_TRIES):
        middle = (low + high) // 2
        if high - low <= max(1, low // 100):
            break
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low or None


def _needs(
    info: ComponentInfo, old: Any, signature: Any, options: dict[str, Any], slot: str, target: Any,
    enough: float = math.inf,
) -> int | None:  # fmt: skip
    """The most bytes alive at once while the component is built (and, if it is large, trained for a step of two
    samples); None where that cannot be told without real numbers, or it cannot be built. It stops before the
    forward, or the backward, where more than `enough` bytes were alive already."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from .training.footprint import forget_fakes, quiet_fakes

    tracker, called = _Guess(), False
    fakes = FakeTensorMode(allow_non_fake_inputs=True)
    with quiet_fakes(), default_generators(), _disable_current_modes(), fakes as fake:
        try:
            with tracker:
                built: Any = info.factory(copy.deepcopy(old), signature, **options, **_extras(info, target))
            modules = list(built.values()) if isinstance(built, dict) else [built]
            weights = sum(t.numel() * t.element_size() for m in modules for t in [*m.parameters(), *m.buffers()])
            if weights >= _LARGE and tracker.peak <= enough and not isinstance(built, dict) and signature.calls:
                called = True
                with tracker:
                    _train(built, signature, lambda: tracker.peak <= enough)
        except Exception:  # not buildable, which the real building will tell; or not callable without real numbers
            if not called:
                return None
        finally:
            built = modules = None
            peak = tracker.peak
            if called and tracker.left():
                forget_fakes(fake)
    return peak


class _Guess(Tracker):
    """Answers code that asks for a value: yes, or one."""

    def call(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        if func._schema.name == "aten::_local_scalar_dense":
            dtype = args[0].dtype
            return True if dtype is torch.bool else (1.0 if dtype.is_floating_point else 1)
        return func(*args, **kwargs)


def _train(built: nn.Module, signature: Any, goes_on: Callable[[], bool]) -> None:
    """A step of two samples; its backward only if that is still asked for after the forward."""
    call = signature.example(2)
    outputs = built(*call.args, **call.kwargs)
    goals = [t.abs().sum() for t in pytree.tree_leaves(outputs) if isinstance(t, Tensor) and t.requires_grad]
    if goals and goes_on():
        torch.stack(goals).sum().backward()
