"""Two interleaved half circles: what any smooth kernel separates."""

from __future__ import annotations

import torch

from ..errors import ConfigError
from ..registry import register_dataset
from ..streams import Streams
from .generated import PARTS, Generated, problems_of_sizes
from .source import Pool


@register_dataset("two-moons")
def two_moons(*, train_size: int = 20, validation_size: int = 20, test_size: int = 20, noise: float = 0.2) -> Generated:
    """Points (2,) on two half circles of radius 1 that reach into each other, plus Gaussian noise; two classes.

    The ordinary counterpart of `ad-hoc`: a Gaussian kernel is made for it. Every replicate draws points of its own.
    train_size, validation_size, test_size: points of each label. noise: standard deviation, 0 or more.
    Source: scikit-learn's make_moons. Raises ConfigError for options that cannot be.
    """
    problems = problems_of_sizes(
        "two-moons", train_size=train_size, validation_size=validation_size, test_size=test_size
    )
    if not 0 <= noise < float("inf"):
        problems.append(f"data set 'two-moons': noise is {noise!r}; expected a number from 0 on")
    if problems:
        raise ConfigError(problems)
    sizes = dict(zip(PARTS, (train_size, validation_size, test_size), strict=True))

    def make(streams: Streams) -> dict[str, Pool]:
        from sklearn.datasets import make_moons

        pools = {}
        for step, (part, size) in enumerate(sizes.items()):
            seed = int(streams.numpy("split", step).integers(2**31))
            x, y = make_moons(2 * size, noise=noise or None, random_state=seed)  # half of them on each
            pools[part] = Pool(torch.as_tensor(x, dtype=torch.get_default_dtype()), torch.as_tensor(y))
        return pools

    return Generated.of("two-moons", 2, make)
