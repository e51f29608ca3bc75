"""Random starts that are equal on every device."""

from __future__ import annotations

import torch


def normal(
    shape: tuple[int, ...],
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """N(0,1) numbers, drawn where the generator lives (the CPU without one) and then moved to `device`."""
    where = generator.device if generator is not None else torch.device("cpu")
    return torch.randn(shape, generator=generator, dtype=dtype or torch.get_default_dtype(), device=where).to(device)
