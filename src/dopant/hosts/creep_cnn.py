"""The founding host: two convolutions and a linear head, with nothing between them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..registry import register_host
from ._options import refuse, whole, widths


class CreepCNN(nn.Module):
    """conv1 3x3 -> conv2 3x3 -> flatten -> head. No activation, no normalisation: the whole network is one affine map.

    (batch, in_channels, size, size) -> (batch, classes).
    """

    def __init__(self, in_channels: int, size: int, classes: int, channels: tuple[int, int]):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels[0], 3)
        self.conv2 = nn.Conv2d(channels[0], channels[1], 3)
        self.head = nn.Linear(channels[1] * (size - 4) ** 2, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv2(self.conv1(x)).flatten(1))


@register_host("creep-cnn")
def creep_cnn(*, in_channels: int = 1, size: int = 32, classes: int = 10, channels: Any = (32, 16)) -> nn.Module:
    """Conv2d(in_channels, 32, 3), Conv2d(32, 16, 3), Linear(16 (size - 4)^2, classes). Slots conv1, conv2, head.

    At size 8 the head takes 256 = 4^4 features (four qubits), at 32 12544 (seven).
    channels: the two convolutions' widths.
    Source: Wang et al. 2024, arXiv 2409.17583. Raises ConfigError listing every wrong option.
    """
    problems = whole("creep-cnn", in_channels=in_channels, size=size, classes=classes)
    problems += widths("creep-cnn", "channels", channels)
    if not problems and len(channels) != 2:
        problems.append(f"host 'creep-cnn': channels is {channels!r}; expected two widths, such as [32, 16]")
    if not problems and size < 5:
        problems.append(f"host 'creep-cnn': size is {size}; two 3x3 convolutions need images of 5 or more")
    refuse(problems)
    return CreepCNN(in_channels, size, classes, tuple(channels))
