"""Keep torch's attention to its plain path, in training and in evaluation, whatever was swapped.

The fused path of nn.TransformerEncoder, its layers and nn.MultiheadAttention runs in evaluation only. It reads the
weights of their children instead of calling them, leaves padded positions at zero, and rounds otherwise: a network
would be scored as another one than was trained.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
_MARK = "_dopant_plain"  # attribute of a module that is kept plain already

_settings: list[bool] = []  # the user's setting at each call of such a module that is under way


@contextlib.contextmanager
def plain_attention() -> Iterator[None]:
    """Context without the fused path, for every module there is."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def keep_plain(model: nn.Module) -> nn.Module:
    """The model itself, whose calls leave the fused path out from now on; torch's setting is as it was after each.

    The hooks go with copies of the model and are no part of its state. Doing it again changes nothing.
    """
    for module in model.modules():
        if isinstance(module, FUSED) and _MARK not in vars(module):
            vars(module)[_MARK] = True
            module.register_forward_pre_hook(_off)
            module.register_forward_hook(_back, always_call=True)
    return model


def _off(module: nn.Module, args: Any) -> None:
    _settings.append(torch.backends.mha.get_fastpath_enabled())
    torch.backends.mha.set_fastpath_enabled(False)


def _back(module: nn.Module, args: Any, outputs: Any) -> None:
    torch.backends.mha.set_fastpath_enabled(_settings.pop())
