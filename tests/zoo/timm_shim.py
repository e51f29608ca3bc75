"""Lets timm be imported where torchvision is absent or does not fit torch; timm only uses names of it here.

Loading this file is enough; where torchvision works nothing happens. The models tested here compute nothing with it.
"""

from __future__ import annotations

import enum
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


def _works() -> bool:
    try:
        import torchvision  # noqa: F401
    except Exception:  # absent, or built for another torch
        return False
    return True


if not _works():
    for _name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[_name]
    for _name in _NAMES:
        _module = sys.modules[_name] = _Empty(_name)
        _module.__path__, _module.__spec__ = [], ModuleSpec(_name, None, is_package=True)
        _parent, _, _leaf = _name.rpartition(".")
        if _parent:
            setattr(sys.modules[_parent], _leaf, _module)
    for _name in ("torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules[_name].InterpolationMode = InterpolationMode  # type: ignore[attr-defined]
