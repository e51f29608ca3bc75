"""Find data files, download them, and keep their decoded arrays memory-mapped."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError, DataMissing, DopantError


def data_folder() -> Path | None:
    """The folder that the environment variable DOPANT_DATA names, if it is set."""
    value = os.environ.get("DOPANT_DATA", "")
    return Path(value).expanduser() if value else None


def cache_folder() -> Path:
    """Where downloads and decoded arrays are kept: DOPANT_CACHE, or the system's cache folder for dopant."""
    import pooch

    value = os.environ.get("DOPANT_CACHE", "")
    return Path(value).expanduser() if value else Path(pooch.os_cache("dopant"))


def find(*names: str) -> Path | None:
    """The first of `names` (relative paths) that exists in DOPANT_DATA."""
    folder = data_folder()
    return next((folder / n for n in names if (folder / n).exists()), None) if folder else None


def given_path(kind: str, path: Any) -> Path:
    """A path that the user gave: as it is, or inside DOPANT_DATA. ConfigError or DataMissing otherwise."""
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise ConfigError(f"data set {kind!r}: path is {path!r}; expected the path of a file or folder")
    plain = Path(path).expanduser()
    if plain.exists():
        return plain
    found = find(str(path))
    if found is None:
        raise DataMissing(
            f"data set {kind!r}: there is no {str(path)!r} here; correct the path, or point DOPANT_DATA at the folder "
            "that has it"
        )
    return found


def download(name: str, wanted: str, files: Iterable[tuple[str, str]]) -> list[Path]:
    """The files (address, "md5:…") on this machine, downloaded unless they already were.

    Raises DataMissing with both ways out: `wanted` says what DOPANT_DATA should hold.
    """
    import pooch

    folder = cache_folder() / "downloads" / name
    try:
        return [
            Path(pooch.retrieve(url, known_hash=known, fname=url.rsplit("/", 1)[1], path=folder))
            for url, known in files
        ]
    except Exception as error:
        set_to = data_folder()
        where = f"{str(set_to)!r}, where DOPANT_DATA points, does not have it" if set_to else "DOPANT_DATA is not set"
        raise DataMissing(
            f"data set {name!r} is not here: {where}, and the download failed ({type(error).__name__}); point "
            f"DOPANT_DATA at a folder with {wanted}, or go online and start again"
        ) from error


def file_sum(*paths: Path) -> str:
    """SHA-256 over the contents of the files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def cached(name: str, key: str, decode: Callable[[], dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """The arrays that `decode` gives, from the cache where they are, memory-mapped.

    key: anything that changes when the arrays would. Several processes may decode at once: the first finished folder
    stays. A cache that cannot be written, or a full disk, costs only time and memory.
    """
    folder = cache_folder() / "decoded" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:20]}"
    kept = _mapped(folder)
    if kept is not None:
        return kept
    arrays = decode()
    unfinished = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    try:
        unfinished.mkdir(parents=True)
        for label, array in arrays.items():
            np.save(unfinished / f"{label}.npy", array, allow_pickle=False)
        if folder.exists() and _mapped(folder) is None:
            shutil.rmtree(folder)  # damaged
        unfinished.rename(folder)
    except OSError:
        pass
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    kept = _mapped(folder)
    return kept if kept is not None else {label: torch.from_numpy(array) for label, array in arrays.items()}


def _mapped(folder: Path) -> dict[str, torch.Tensor] | None:
    """The arrays of a cache folder, or None if it is absent or damaged. Copy-on-write: nobody can spoil the files."""
    try:
        files = sorted(folder.glob("*.npy"))
        found = {f.stem: torch.from_numpy(np.load(f, mmap_mode="c", allow_pickle=False)) for f in files}
    except (OSError, ValueError, EOFError):
        return None
    return found or None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Context: whatever goes wrong while decoding `path` is told as a damaged file."""
    try:
        yield
    except DopantError:
        raise
    except Exception as error:
        raise DopantError(
            f"{str(path)!r} cannot be read as the data it should be ({type(error).__name__}: {error}); it may "
            "be damaged: fetch it again"
        ) from error
