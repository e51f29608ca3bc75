"""Hosts from timm, by its own names: `timm:resnet18`, `timm:vit_tiny_patch16_224`, …"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..errors import ConfigError, UnknownName
from ..registry import register_builder

# Of timm.create_model: they fetch files, read pickles, or make something that gives no scores.
_REFUSED = {
    "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "features_only",
    "scriptable", "exportable", "no_jit",
}  # fmt: skip
_OURS = {"num_classes": "classes", "in_chans": "in_channels", "img_size": "size"}


@register_builder("timm")
def timm_host(name: str) -> Callable[..., nn.Module]:
    """The factory of timm's model `name`: `factory(in_channels=, size=, classes=, **options)`, weights untrained.

    size: pixels a side, for the models that are built for one size (vision transformers); the others take any.
    options: what timm.create_model passes on to the model, such as drop_path_rate. Source: Wightman, PyTorch Image
    Models. Raises ConfigError without timm, UnknownName for a model that timm has not.
    """
    try:
        import timm
    except Exception as error:  # with a torchvision that does not fit torch it is no ImportError
        raise ConfigError(
            f"host 'timm:{name}' needs timm, which cannot be imported ({error}): pip install timm"
        ) from None
    if not timm.is_model(name):
        raise UnknownName("timm model", name, timm.list_models())

    create: Callable[..., nn.Module] = timm.create_model  # its own default is pretrained=False

    def factory(*, in_channels: int = 3, size: int | None = None, classes: int = 1000, **options: Any) -> nn.Module:
        problems = [
            f"host 'timm:{name}': the option {option!r} is not for studies; for weights from elsewhere give a function "
            "of your own, --host MODULE:CALLABLE"
            for option in sorted(_REFUSED & set(options))
        ]
        problems += [
            f"host 'timm:{name}': {option!r} is {_OURS[option]!r} here" for option in sorted(set(_OURS) & set(options))
        ]
        if problems:
            raise ConfigError(problems)
        given: dict[str, Any] = {"num_classes": classes, "in_chans": in_channels} | options
        draws = torch.get_rng_state()
        try:
            try:
                return create(name, **given, **({"img_size": size} if size else {}))
            except TypeError as error:
                if not size or "img_size" not in str(error):
                    raise
            torch.set_rng_state(draws)  # as if it had not been tried
            return create(name, **given)
        except Exception as error:
            raise ConfigError(
                f"host 'timm:{name}' cannot be built with {given | {'img_size': size}}: {type(error).__name__}: {error}"
            ) from error

    return factory
