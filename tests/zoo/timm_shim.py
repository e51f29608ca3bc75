"""Lets timm be imported where there is no torchvision, of which it uses names of transforms and data sets only.

Loading this file is enough; where torchvision is installed nothing happens. The models tested here use none of it.
"""

from __future__ import annotations

import enum
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec

_NAMES = (
    "torchvision", "torchvision.ops", "torchvision.ops.misc", "torchvision.transforms",
    "torchvision.transforms.functional", "torchvision.datasets", "torchvision.models",
    "torchvision.models.feature_extraction",
)  # fmt: skip


class _Empty(types.ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, type(name, (), {}))
        return getattr(self, name)


class InterpolationMode(enum.Enum):
    """As torchvision's: timm keeps a table by these."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
    for _name in _NAMES:
        _module = sys.modules[_name] = _Empty(_name)
        _module.__path__, _module.__spec__ = [], ModuleSpec(_name, None, is_package=True)
        _parent, _, _leaf = _name.rpartition(".")
        if _parent:
            setattr(sys.modules[_parent], _leaf, _module)
    for _name in ("torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules[_name].InterpolationMode = InterpolationMode  # type: ignore[attr-defined]
