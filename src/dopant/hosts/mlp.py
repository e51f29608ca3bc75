"""A plain multilayer perceptron."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from ..registry import register_host
from ._options import ACTIVATIONS, choice, probability, refuse, whole, widths


class MLP(nn.Module):
    """flatten -> (linear -> activation -> dropout) for each hidden width -> head.

    (batch, …) with `features` numbers a sample -> (batch, classes). Slots layers.0, layers.1, …, head.
    """

    def __init__(self, features: int, hidden: list[int], classes: int, activation: str, dropout: float):
        super().__init__()
        sizes = [features, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.activations = nn.ModuleList(ACTIVATIONS[activation]() for _ in hidden)
        self.dropouts = nn.ModuleList(nn.Dropout(dropout) for _ in hidden if dropout)
        self.head = nn.Linear(sizes[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        for k, (layer, activation) in enumerate(zip(self.layers, self.activations, strict=True)):
            x = activation(layer(x))
            if self.dropouts:
                x = self.dropouts[k](x)
        return self.head(x)


@register_host("mlp")
def mlp(
    *,
    in_channels: int = 1,
    size: int = 8,
    classes: int = 10,
    in_features: int | None = None,
    hidden: Any = (64, 64),
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Module:
    """Linear layers with an activation between them. Slots layers.0, layers.1, …, head.

    Inputs are images of in_channels x size x size, or vectors of `in_features` where that is given.
    hidden: the hidden widths; activation: relu, tanh, gelu, silu, sigmoid or none.
    Raises ConfigError listing every wrong option.
    """
    problems = whole("mlp", in_channels=in_channels, size=size, classes=classes)
    if in_features is not None:
        problems += whole("mlp", in_features=in_features)
    problems += widths("mlp", "hidden", hidden, empty=True) + choice("mlp", "activation", activation, ACTIVATIONS)
    refuse(problems + probability("mlp", "dropout", dropout))
    return MLP(in_features or in_channels * size**2, list(hidden), classes, activation, dropout)
