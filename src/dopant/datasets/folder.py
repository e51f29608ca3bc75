"""Images of one's own in folders, one a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DopantError
from ..registry import register_dataset
from ._files import cached, given_path, reading
from ._images import scaled
from .source import Source, pools_of

_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


@register_dataset("folder")
def folder(*, path: Any, size: int | None = None, grey: bool = False) -> Source:
    """PATH/CLASS/*.png (each replicate splits them anew), or PATH/train/CLASS/*.png with PATH/test and maybe PATH/val.

    Classes are numbered in the alphabetical order of their folders. (1 or 3, height, width) in [-1, 1].
    size: the images are resized to size x size; needed where they differ. grey: one channel.
    path: as it is, or inside DOPANT_DATA.
    Raises ConfigError, DataMissing, or DopantError for damaged images and images of different sizes.
    """
    problems = []
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        problems.append(f"data set 'folder': size is {size!r}; expected a whole number of 1 or more")
    if not isinstance(grey, bool):
        problems.append(f"data set 'folder': grey is {grey!r}; expected true or false")
    if problems:
        raise ConfigError(problems)
    root = given_path("folder", path)
    if not root.is_dir():
        raise ConfigError(f"data set 'folder': {str(root)!r} is a file; expected a folder of class folders")
    parts = {_PARTS[d.name]: d for d in sorted(root.iterdir()) if d.is_dir() and d.name in _PARTS}
    if "train" not in parts:
        parts = {"train": root}
    listed = {part: _images(place) for part, place in parts.items()}
    names = sorted({label for files in listed.values() for _, label in files})
    if not listed["train"] or len(names) < 2:
        raise DopantError(
            f"{str(root)!r} has {len(names)} class folders with images; expected two or more, such as "
            "cat/1.png, dog/1.png"
        )

    def decode() -> dict[str, np.ndarray]:
        result = {}
        for part, files in listed.items():
            result[f"{part}_inputs"] = _stack([_read(f, size, grey) for f, _ in files], files)
            result[f"{part}_targets"] = np.array([names.index(label) for _, label in files], np.int64)
        return result

    stamp = [(part, str(f), f.stat().st_size, f.stat().st_mtime_ns) for part, fs in listed.items() for f, _ in fs]
    arrays = cached("folder", f"{root.resolve()} {stamp} size={size} grey={grey}", decode)
    return Source(**pools_of(arrays), classes=len(names), name="folder")


def _images(place: Path) -> list[tuple[Path, str]]:
    """(file, class) of every image, sorted."""
    found = sorted(f for d in place.iterdir() if d.is_dir() for f in d.iterdir() if f.suffix.lower() in _ENDINGS)
    return [(f, f.parent.name) for f in found]


def _read(file: Path, size: int | None, grey: bool) -> np.ndarray:
    from PIL import Image

    with reading(file), Image.open(file) as picture:
        picture = picture.convert("L" if grey else "RGB")
        if size is not None:
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(picture)


def _stack(images: list[np.ndarray], files: list[tuple[Path, str]]) -> np.ndarray:
    for image, (file, _) in zip(images, files, strict=True):
        if image.shape != images[0].shape:
            raise DopantError(
                f"{str(file)!r} is {image.shape[:2]} and {str(files[0][0])!r} {images[0].shape[:2]}; give a `size`"
            )
    return scaled(np.stack(images))
