"""Build a host by its name."""

from __future__ import annotations

from typing import Any

from torch import nn

from .. import pretrained, registry
from ..errors import ConfigError
from ..streams import Streams


def host(name: str, seed: int = 0, *, checkpoint: Any = None, **options: Any) -> nn.Module:
    """The registered host `name`, or one of another package (`timm:resnet18`), its weights drawn from stream `host` of
    (seed, replicate 0).

    checkpoint: a safetensors or torch file (weights only), or {"file": path, "leave": [names that stay as drawn]},
    that replaces them.

    Raises UnknownName, or ConfigError listing every wrong option.
    """
    factory = registry.built_by(name) or registry.hosts.get(name)
    problems = registry.check_options("host", name, factory, options, 0)
    if problems:
        raise ConfigError(problems)
    with Streams(seed).seeded("host"):
        model = factory(**options)
    return model if checkpoint is None else pretrained.load(model, pretrained.spec_of(checkpoint))
