"""A small convolutional network of the usual make."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from ..registry import register_host
from ._options import ACTIVATIONS, choice, probability, refuse, whole, widths

_NORMS = ("batch", "group", "none")


class SmallCNN(nn.Module):
    """(conv 3x3 -> norm -> activation -> max-pool by 2) for each width -> flatten -> hidden -> activation -> head.

    (batch, in_channels, size, size) -> (batch, classes). Slots convs.0, norms.0, activations.0, …, hidden, head.
    """

    def __init__(
        self, in_channels: int, size: int, classes: int, channels: list[int], dense: int, make: dict[str, Any]
    ):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise([in_channels, *channels]))
        self.norms = nn.ModuleList(_norm(make["norm"], c) for c in channels)
        self.activations = nn.ModuleList(ACTIVATIONS[make["activation"]]() for _ in channels)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(channels[-1] * (size >> len(channels)) ** 2, dense)
        self.hidden_activation = ACTIVATIONS[make["activation"]]()
        self.dropout = nn.Dropout(make["dropout"]) if make["dropout"] else nn.Identity()
        self.head = nn.Linear(dense, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv, norm, activation in zip(self.convs, self.norms, self.activations, strict=True):
            x = self.pool(activation(norm(conv(x))))
        return self.head(self.dropout(self.hidden_activation(self.hidden(x.flatten(1)))))


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(1, channels) if kind == "group" else nn.Identity()


@register_host("small-cnn")
def small_cnn(
    *,
    in_channels: int = 1,
    size: int = 32,
    classes: int = 10,
    channels: Any = (16, 32),
    dense: int = 64,
    activation: str = "relu",
    norm: str = "batch",
    dropout: float = 0.0,
) -> nn.Module:
    """3x3 convolutions with normalisation, activation and pooling, then a dense hidden layer and the head.

    channels: the convolutions' widths, each followed by pooling by 2; norm: batch, group or none;
    activation: relu, tanh, gelu, silu, sigmoid or none. Slots convs.0, norms.0, …, hidden, head.
    Raises ConfigError listing every wrong option.
    """
    problems = whole("small-cnn", in_channels=in_channels, size=size, classes=classes, dense=dense)
    bad_widths = widths("small-cnn", "channels", channels)
    problems += bad_widths + choice("small-cnn", "activation", activation, ACTIVATIONS)
    problems += choice("small-cnn", "norm", norm, _NORMS) + probability("small-cnn", "dropout", dropout)
    if not problems and size >> len(channels) < 1:
        problems.append(
            f"host 'small-cnn': size is {size}, but pooling {len(channels)} times needs {2 ** len(channels)} or more; "
            "give fewer channels"
        )
    refuse(problems)
    make = {"activation": activation, "norm": norm, "dropout": dropout}
    return SmallCNN(in_channels, size, classes, list(channels), dense, make)
