"""Trained networks as a start: reading a checkpoint, naming it by what it holds, loading it into a host.

A study knows its start by the SHA-256 of the tensors, not by a path: the file is copied into the study's folder as
safetensors (`starts/SHA.safetensors`), so that it goes on when the original has moved, and another file under the same
name is another study. Files are opened without running code: safetensors, or torch files with weights only.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from .errors import ConfigError, DataMissing, StoreError, hint, nearest

Tensors = dict[str, torch.Tensor]
WRAPPED = ("state_dict", "model_state_dict", "model", "module", "net", "weights")  # where training scripts put it
FOLDER = "starts"  # of a study's folder
_SHOWN = 5

_known: ContextVar[Mapping[str, Any] | None] = ContextVar("starts", default=None)  # {SHA-256: path or tensors}
_folder: ContextVar[Path | None] = ContextVar("starts_folder", default=None)


def read(path: str | Path) -> Tensors:
    """The tensors of a checkpoint by name, on the CPU.

    path: a safetensors file, or a torch file that holds a state dict, or a dict with one under a usual key such as
    `state_dict`; the prefix `module.` of parallel training is taken off. Never unpickles anything but tensors and plain
    containers. Raises ConfigError for a missing file and for one that is neither.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        raise ConfigError(f"checkpoint: there is no file {str(path)!r}" + hint(nearest(path.name, beside)))
    try:
        return dict(safetensors.torch.load_file(path))
    except safetensors.SafetensorError as error:
        if path.suffix == ".safetensors":
            raise ConfigError(f"checkpoint: {str(path)!r} is damaged, or no safetensors file: {error}") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        words = " ".join(str(error).split())
        if "not an allowed global" in words or "Trying to" in words:  # torch's words for what it will not call
            raise ConfigError(
                f"checkpoint: {str(path)!r} holds more than tensors, which loading would have to run as code; save the "
                "state dict alone: safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
            ) from error
        raise ConfigError(f"checkpoint: {str(path)!r} is neither a safetensors nor a torch file") from error
    return as_tensors(content, str(path))


def as_tensors(content: Any, where: str = "checkpoint") -> Tensors:
    """A state dict, or what training scripts wrap around one, as plain tensors by name. Raises ConfigError."""
    for key in WRAPPED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where}: holds a {type(content).__name__}; expected a state dict, tensors by name")
    tensors = {str(k): v.detach().cpu() for k, v in content.items() if isinstance(v, torch.Tensor)}
    odd = [str(k) for k, v in content.items() if not isinstance(v, torch.Tensor)]
    if odd or not tensors:
        what = f"{', '.join(odd[:_SHOWN])} hold no tensors" if odd else "it is empty"
        raise ConfigError(f"{where}: is no state dict: {what}; save model.state_dict() alone")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def digest(tensors: Tensors) -> str:
    """SHA-256 of names, dtypes, shapes and contents: the same for every file format."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        found.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1f".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


# --- in a study -----------------------------------------------------------------------------------------------------


def spec_of(value: Any) -> dict[str, Any]:
    """A host's `checkpoint` in its full form: {"file": path} or {"sha256": digest}, and perhaps {"leave": [names]}.

    leave: names (or beginnings of names, at a dot) of what stays as the host was built, such as a head, and of what the
        file holds and the host does not have.
    Raises ConfigError for another form.
    """
    table = {"file": value} if isinstance(value, (str, Path)) else value
    problems = []
    if not isinstance(table, Mapping) or len({"file", "sha256"} & set(table)) != 1:
        problems.append(f'checkpoint is {value!r}; expected a file, or {{file = "…", leave = ["head"]}}')
    else:
        problems += [
            f"checkpoint: unknown key {key!r}" + hint(nearest(key, ("file", "leave")))
            for key in table
            if key not in ("file", "sha256", "leave")
        ]
        leave = table.get("leave", [])
        if not isinstance(leave, (list, tuple)) or not all(isinstance(name, str) for name in leave):
            problems.append(f"checkpoint: leave is {leave!r}; expected a list of names, such as ['head']")
    if problems:
        raise ConfigError([f"study.host.{p}" for p in problems])
    found: dict[str, Any] = {k: str(v) for k, v in table.items() if k != "leave"}
    names: Any = table.get("leave")
    return found | ({"leave": list(names)} if names else {})


def intern(checkpoint: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the checkpoint as identities know it, {its SHA-256: where it is now}).

    checkpoint: as `spec_of` takes it, or a state dict itself. One that is known by its sum already is left as it is.
    """
    if isinstance(checkpoint, Mapping) and any(isinstance(v, torch.Tensor) for v in checkpoint.values()):
        tensors = as_tensors(checkpoint)
        return {"sha256": digest(tensors)}, {digest(tensors): tensors}
    spec = spec_of(checkpoint)
    if "sha256" in spec:
        return spec, {}
    path = Path(spec.pop("file")).expanduser()
    sum_ = digest(read(path))
    return {"sha256": sum_, **spec}, {sum_: path.resolve()}


def keep(folder: Path, starts: Mapping[str, Any]) -> None:
    """Copy the starts of a study into its folder, as safetensors; those that are there stay. Raises StoreError."""
    for sum_, place in starts.items():
        target = folder / FOLDER / f"{sum_}.safetensors"
        if target.is_file():
            continue
        tensors = place if isinstance(place, Mapping) else read(place)
        scratch = target.with_suffix(".part")
        try:
            target.parent.mkdir(exist_ok=True)
            # cloned: tensors that share memory (tied weights) cannot be written as they are
            safetensors.torch.save_file({n: t.clone().contiguous() for n, t in tensors.items()}, scratch)
            scratch.replace(target)
        except OSError as error:
            raise StoreError(f"cannot keep the checkpoint in {str(target.parent)!r}: {error.strerror}") from error


@contextlib.contextmanager
def places(folder: Path | None = None, starts: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Context in which hosts find the checkpoints that they are known by: in a study's folder, or in `starts`."""
    tokens = _known.set(starts), _folder.set(folder)
    try:
        yield
    finally:
        _known.reset(tokens[0])
        _folder.reset(tokens[1])


def fetch(spec: Mapping[str, Any]) -> Tensors:
    """The tensors of a checkpoint in its full form. Raises DataMissing, or StoreError for a damaged copy."""
    if "file" in spec:
        return read(spec["file"])
    sum_ = spec["sha256"]
    place = (_known.get() or {}).get(sum_)
    if isinstance(place, Mapping):
        return dict(place)
    folder = _folder.get()
    path = place if place is not None else folder / FOLDER / f"{sum_}.safetensors" if folder is not None else None
    if path is None or not Path(path).is_file():
        raise DataMissing(
            f"the checkpoint that this study starts from (SHA-256 {sum_[:16]}…) is not in its folder; give the file "
            "again: --checkpoint FILE, or dp.run(…, checkpoint=FILE)"
        )
    tensors = read(path)
    if digest(tensors) != sum_:
        raise StoreError(f"the checkpoint {str(path)!r} was changed: its content is not what its name says")
    return tensors


def load(model: nn.Module, spec: Mapping[str, Any]) -> nn.Module:
    """Load a checkpoint (full form) into `model`, in place; returns it.

    Raises ConfigError with every name that is missing, unknown or of another shape, and how `leave` would help.
    """
    tensors, leave = fetch(spec), list(spec.get("leave", []))

    def left(name: str) -> bool:
        return any(name == start or name.startswith(start + ".") for start in leave)

    own = model.state_dict()
    known = {name: own[name] for name in own if isinstance(own[name], torch.Tensor)}
    problems = [
        f"study.host.checkpoint: leave names {start!r}, which the host does not have"
        + hint(nearest(start, [n for n, _ in model.named_modules() if n]))
        for start in leave
        if not any(name == start or name.startswith(start + ".") for name in [*known, *tensors])
    ]
    given = {name for name in tensors if not left(name)}
    memory = {known[name].data_ptr() for name in given if name in known and known[name].numel()}
    # Of tied weights, which share their memory, a checkpoint may hold one name only.
    wanted = {n for n in known if not left(n) and (n in given or known[n].data_ptr() not in memory)}
    for what, names in (("lacks", wanted - given), ("holds, and the host does not have,", given - wanted)):
        if names:
            beginnings = sorted({name.split(".")[0] for name in names})
            problems.append(
                f"study.host.checkpoint: it {what} {_some(names)}; to leave that out: "
                f'checkpoint = {{file = "…", leave = {beginnings[:_SHOWN]}}}'
            )
    shapes = [
        f"{name} ({_shape(tensors[name])} in the checkpoint, {_shape(known[name])} in the host)"
        for name in sorted(wanted & given)
        if tensors[name].shape != known[name].shape
    ]
    if shapes:
        problems.append(
            f"study.host.checkpoint: other shapes: {_some(shapes)}; give the host the options that it was trained "
            'with, or leave those as they start: checkpoint = {file = "…", leave = ["…"]}'
        )
    if problems:
        raise ConfigError(problems)
    with torch.no_grad():
        for name in sorted(wanted):
            known[name].copy_(tensors[name])
    return model


def _some(names: Any) -> str:
    names = sorted(names)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _shape(tensor: torch.Tensor) -> str:
    return "(" + ", ".join(map(str, tensor.shape)) + ")"
