"""A dense autoencoder: a multilayer perceptron through a narrow code and back."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from ..registry import register_host
from ._options import ACTIVATIONS, choice, refuse, whole, widths


class Autoencoder(nn.Module):
    """encoder -> code -> decoder -> back, in the shape of the input.

    (batch, …) with `features` numbers a sample -> the same shape. Slots encoder.0, …, code, decoder.0, …, back.
    """

    def __init__(self, features: int, hidden: list[int], code: int, activation: str, output: str):
        super().__init__()
        down, up = [features, *hidden], [code, *reversed(hidden)]
        self.encoder = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(down))
        self.code = nn.Linear(down[-1], code)
        self.decoder = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(up))
        self.back = nn.Linear(up[-1], features)
        self.activation, self.output = ACTIVATIONS[activation](), ACTIVATIONS[output]()

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, …) -> (batch, code), before any activation."""
        x = x.flatten(1)
        for layer in self.encoder:
            x = self.activation(layer(x))
        return self.code(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.activation(self.encode(x))
        for layer in self.decoder:
            z = self.activation(layer(z))
        return self.output(self.back(z)).reshape(x.shape)


@register_host("autoencoder")
def autoencoder(
    *,
    in_channels: int = 1,
    size: int = 8,
    in_features: int | None = None,
    hidden: Any = (256,),
    code: int = 64,
    activation: str = "relu",
    output: str = "sigmoid",
) -> nn.Module:
    """Linear layers down to `code` numbers and back, for the task `reconstruction`. Slots encoder.0, …, code,
    decoder.0, …, back.

    Inputs are images of in_channels x size x size, or vectors of `in_features` where that is given.
    hidden: widths of the encoder, which the decoder has in reverse. activation: between layers, after the code too;
    output: after the last one; "sigmoid" for values in [0, 1]. Either is relu, tanh, gelu, silu, sigmoid or none.
    Raises ConfigError listing every wrong option.
    """
    problems = whole("autoencoder", in_channels=in_channels, size=size, code=code)
    if in_features is not None:
        problems += whole("autoencoder", in_features=in_features)
    problems += widths("autoencoder", "hidden", hidden, empty=True)
    problems += choice("autoencoder", "activation", activation, ACTIVATIONS)
    refuse(problems + choice("autoencoder", "output", output, ACTIVATIONS))
    return Autoencoder(in_features or in_channels * size**2, list(hidden), code, activation, output)
