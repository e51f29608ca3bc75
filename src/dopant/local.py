"""Objects that exist only in the caller's process: a host class from a notebook, a ready module, arrays, a function.

They are known by a name that begins with `local:` and carries a fingerprint, so that a study resumed with another
object is refused instead of continued. Trials that use one run in the caller's process.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from .errors import ConfigError

_objects: dict[str, Any] = {}
PREFIX = "local:"


def register(label: str, value: Any) -> str:
    """Keep `value` for this process; returns its name, `local:LABEL@FINGERPRINT`."""
    name = f"{PREFIX}{label}@{fingerprint(value)}"
    _objects[name] = value
    return name


def is_local(name: str) -> bool:
    return name.startswith(PREFIX)


def label(name: str) -> str:
    """What people call it: a `local:` name without its fingerprint, any other as it is."""
    return name.removeprefix(PREFIX).split("@")[0] if is_local(name) else name


def get(name: str) -> Any:
    """The object named `name`; ConfigError when it belongs to another process."""
    if name not in _objects:
        raise ConfigError(
            f"{name.removeprefix(PREFIX).split('@')[0]!r} existed only in the process that began this study: start it "
            "again from there, with the same object, or use a reference such as 'my_file:Net'"
        )
    return _objects[name]


def fingerprint(value: Any, _within: tuple[Any, ...] = ()) -> str:
    """Twelve hexadecimal digits that change when the object does: tensors by content, code by its source, and by what
    it captures. _within: the functions that it was captured by."""
    digest = hashlib.sha256()
    if isinstance(value, nn.Module):
        digest.update(repr(value).encode())
        for key, tensor in value.state_dict().items():
            digest.update(key.encode())
            if isinstance(tensor, torch.Tensor):
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, functools.partial):
        for part in (value.func, *value.args, *sorted(value.keywords.items())):
            digest.update(fingerprint(part).encode())
    elif callable(value):
        digest.update(
            f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', repr(type(value)))}".encode()
        )
        if getattr(value, "__name__", "") == "<lambda>":  # two of them may stand on one line
            digest.update(repr(sorted({p[2] for p in value.__code__.co_positions() if p[2] is not None})).encode())
        with contextlib.suppress(OSError, TypeError):  # built in a shell or by functools.partial: the name must do
            digest.update(inspect.getsource(value).encode())
        for cell in getattr(value, "__closure__", None) or ():
            with contextlib.suppress(ValueError):  # a cell that is still empty
                captured = cell.cell_contents
                if any(captured is outer for outer in (*_within, value)):  # functions that call one another
                    continue
                plain = callable(captured) and not inspect.isfunction(captured) and not isinstance(captured, nn.Module)
                digest.update((repr(captured) if plain else fingerprint(captured, (*_within, value))).encode())
        for default in (getattr(value, "__defaults__", None) or (), getattr(value, "__kwdefaults__", None) or {}):
            digest.update(repr(default).encode())
    elif callable(getattr(value, "fit", None)):  # an estimator: its kind and its settings
        digest.update(fingerprint(type(value)).encode())
        settings = value.get_params() if callable(getattr(value, "get_params", None)) else vars(value)
        for key, setting in sorted(settings.items()):
            digest.update(key.encode())
            fitted = any(setting is outer for outer in (*_within, value))
            digest.update(b"" if fitted else fingerprint(setting, (*_within, value)).encode())
    elif hasattr(value, "tobytes") and hasattr(value, "dtype"):  # an array of NumPy's, whose repr is shortened
        digest.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    elif callable(getattr(value, "fingerprint", None)):  # a data set's own, by content
        digest.update(value.fingerprint().encode())
    else:
        for leaf in pytree.tree_leaves(getattr(value, "arrays", value)):
            if isinstance(leaf, torch.Tensor):
                digest.update(leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
            else:
                digest.update(repr(leaf).encode())
    return digest.hexdigest()[:12]
