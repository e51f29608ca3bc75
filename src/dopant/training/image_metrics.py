"""How alike two images are: peak signal-to-noise ratio, structural similarity. Images in [0, 1]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .._trees import scores_of
from ..errors import ConfigError
from .parts import metric

FLOOR = 1e-10  # of a mean squared error: equal images score 100 dB instead of infinity
WINDOW, SIGMA, FLAT = 11, 1.5, 7  # of structural similarity, in pixels


def _pair(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return scores_of(outputs).reshape(targets.shape), targets


@metric("psnr", higher_is_better=True, failure=0.0)
def psnr(outputs: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each item, -10 log10 of the mean squared error: of values in [0, 1].

    (batch, …), (batch, …) -> (batch,). Equal items score 100 dB, where the error is taken as 1e-10.
    """
    found, wanted = _pair(outputs, targets)
    return -10 * (found - wanted).square().flatten(1).mean(dim=1).clamp_min(FLOOR).log10()


@metric("ssim", higher_is_better=True, failure=0.0)
def ssim(outputs: Tensor, targets: Tensor) -> Tensor:
    """Structural similarity of each image: of values in [0, 1], a mean over channels and over whole windows.

    (batch, channel, height, width) twice -> (batch,), from -1 to 1. Windows of 11 x 11 pixels weighted by a Gaussian of
    1.5 pixels, K1 = .01, K2 = .03, variances without Bessel's correction: Wang, Bovik, Sheikh, Simoncelli 2004, section
    III. Images of less than 11 pixels: flat windows of 7 x 7 (all of them where a side is shorter than that).
    Raises ConfigError for what are not images. Cost: five small convolutions.
    """
    found, wanted = _pair(outputs, targets)
    if wanted.ndim != 4:
        raise ConfigError(
            f"metric 'ssim' compares images (batch, channel, height, width), not items of {tuple(wanted.shape[1:])}; "
            "take 'psnr' or 'mse'"
        )
    window = _window(wanted)
    c1, c2 = 0.01**2, 0.03**2
    channels = wanted.shape[1]
    stacked = torch.cat([found, wanted, found * found, wanted * wanted, found * wanted], dim=1)
    mean = F.conv2d(stacked, window.expand(5 * channels, 1, -1, -1), groups=5 * channels)
    x, y, xx, yy, xy = mean.split(channels, dim=1)
    alike = (2 * x * y + c1) * (2 * (xy - x * y) + c2)
    return (alike / ((x * x + y * y + c1) * (xx - x * x + yy - y * y + c2))).flatten(1).mean(dim=1)


def _window(images: Tensor) -> Tensor:
    """(height, width) of weights that add up to 1."""
    shortest = min(images.shape[-2:])
    if shortest < WINDOW:
        size = min(FLAT, shortest)
        return images.new_full((size, size), 1 / size**2)
    at = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    weights = torch.exp(-0.5 * (at / SIGMA) ** 2)
    weights = weights / weights.sum()
    return torch.outer(weights, weights)
