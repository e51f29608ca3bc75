"""The state of a trial as safetensors and JSON: exact, checked by SHA-256, never pickle.

A generation K is two files: `checkpoint-K.safetensors` (all tensors) and, written after it, the sealed
`state-K.json` (everything else, with the checksum of the tensor file). The last two generations of an attempt stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from .folder import Damaged, TrialFolder, read_sealed, seal, write_atomic

FORMAT = 1
KEEP = 2


def flatten(state: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """A state as (JSON tree, tensors by name).

    State: nested dict (keys: str, int, float, bool, None), list, tuple of tensors of any shape and dense dtype, NumPy
    arrays, None, bool, int, float (also nan, inf), complex, str. Raises TypeError naming the place of anything else.
    """
    tensors: dict[str, torch.Tensor] = {}
    storages: set[int] = set()

    def keep(tensor: torch.Tensor, where: str) -> dict[str, Any]:
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
            raise TypeError(f"state{where} is a tensor without plain data ({tensor.layout}, {tensor.device})")
        node: dict[str, Any] = {"$tensor": f"t{len(tensors)}"}
        tensor = tensor.detach().resolve_conj().resolve_neg()
        if tensor.is_complex():  # safetensors knows no complex128
            tensor, node["complex"] = torch.view_as_real(tensor), True
        tensor = tensor.cpu().contiguous()
        if tensor.untyped_storage().data_ptr() in storages:  # and refuses shared memory
            tensor = tensor.clone()
        storages.add(tensor.untyped_storage().data_ptr())
        tensors[node["$tensor"]] = tensor
        return node

    def key(value: Any, where: str) -> Any:
        if value is None or isinstance(value, (str, bool, int, float)):
            return walk(value, where)
        raise TypeError(f"state{where} has a key of type {type(value).__name__}; use str or int")

    def walk(value: Any, where: str) -> Any:
        if isinstance(value, torch.Tensor):
            return keep(value, where)
        if isinstance(value, np.ndarray):
            return keep(torch.from_numpy(np.array(value)), where) | {"numpy": True}  # a copy: order, read-only views
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
        if isinstance(value, complex):
            return {"$complex": [walk(value.real, where), walk(value.imag, where)]}
        if isinstance(value, dict):
            if all(isinstance(k, str) and not k.startswith("$") for k in value):
                return {k: walk(v, f"{where}[{k!r}]") for k, v in value.items()}
            return {"$dict": [[key(k, where), walk(v, f"{where}[{k!r}]")] for k, v in value.items()]}
        if isinstance(value, (list, tuple)):
            inner = [walk(v, f"{where}[{i}]") for i, v in enumerate(value)]
            return {"$tuple": inner} if isinstance(value, tuple) else inner
        raise TypeError(f"state{where} is a {type(value).__name__}; a checkpoint holds tensors, numbers, strings,"
                        " lists, tuples and dicts")  # fmt: skip

    return walk(state, ""), tensors


def unflatten(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The inverse of `flatten`; tensors are on the CPU. Raises Damaged where a tensor is missing."""
    if isinstance(tree, list):
        return [unflatten(v, tensors) for v in tree]
    if not isinstance(tree, dict):
        return tree
    if "$tensor" in tree:
        if tree["$tensor"] not in tensors:
            raise Damaged(f"the tensor {tree['$tensor']!r} is missing")
        tensor = tensors[tree["$tensor"]]
        tensor = torch.view_as_complex(tensor) if tree.get("complex") else tensor
        return tensor.numpy() if tree.get("numpy") else tensor
    if "$complex" in tree:
        return complex(*(unflatten(v, tensors) for v in tree["$complex"]))
    if "$tuple" in tree:
        return tuple(unflatten(v, tensors) for v in tree["$tuple"])
    if "$dict" in tree:
        return {unflatten(k, tensors): unflatten(v, tensors) for k, v in tree["$dict"]}
    return {k: unflatten(v, tensors) for k, v in tree.items()}


def write_tensors(path: Path, state: Any) -> dict[str, Any]:
    """Write the tensors of `state` to `path` (atomic); returns the rest: {"file", "sha256", "tree"}."""
    tree, tensors = flatten(state)
    data = safetensors.torch.save(tensors)
    write_atomic(path, data)
    return {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "tree": tree}


def read_tensors(folder: Path, body: dict[str, Any]) -> Any:
    """The state that `write_tensors` split. Raises Damaged unless the tensor file has the recorded SHA-256."""
    name = body["file"]
    try:
        data = (folder / os.path.basename(name)).read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{folder.name}/{name} is missing") from None
    except OSError as error:
        raise Damaged(f"{folder.name}/{name}: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != body["sha256"]:
        raise Damaged(f"{folder.name}/{name}: the checksum does not match")
    return unflatten(body["tree"], safetensors.torch.load(data))


def write(folder: Path, generation: int, state: Any) -> None:
    """Write generation `generation` into `folder` and drop all but the last two. Raises OSError, TypeError."""
    body = {"format": FORMAT, **write_tensors(folder / f"checkpoint-{generation}.safetensors", state)}
    text = json.dumps(body, separators=(",", ":"), allow_nan=False)
    write_atomic(folder / f"state-{generation}.json", seal(text))
    for old in generations(folder)[KEEP:]:
        drop(folder, old)


def drop(folder: Path, generation: int) -> None:
    """Remove a generation; the JSON first, so that what is left never looks whole."""
    for name in (f"state-{generation}.json", f"checkpoint-{generation}.safetensors"):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()


def generations(folder: Path) -> list[int]:
    """The generations in a folder, newest first. Those without a JSON never finished and do not count."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    numbers = [n[6:-5] for n in names if n.startswith("state-") and n.endswith(".json")]
    return sorted((int(n) for n in numbers if n.isdigit()), reverse=True)


def read(folder: Path, generation: int) -> Any:
    """The state of one generation. Raises Damaged."""
    path = folder / f"state-{generation}.json"
    body = read_sealed(path)
    if not isinstance(body, dict) or not {"file", "sha256", "tree"} <= body.keys():
        raise Damaged(f"{folder.name}/{path.name} is not a state")
    return read_tensors(folder, body)


def newest(folder: TrialFolder, words: list[str] | None = None) -> tuple[Any, int, int] | None:
    """The newest state of a trial that is whole, as (state, attempt, generation); None where there is none.

    Attempts are deterministic, so the state of any attempt is right; `words` collects a sentence on each damaged one.
    """
    damaged: list[str] = []
    for attempt in reversed(folder.attempts()):
        for generation in generations(folder.attempt(attempt)):
            try:
                state = read(folder.attempt(attempt), generation)
            except Damaged as error:
                damaged.append(str(error))
                continue
            if words is not None:
                words += [f"{word}; used attempt-{attempt}/state-{generation} instead" for word in damaged]
            return state, attempt, generation
    if words is not None:
        words += [f"{word}; no older state is left, so the trial starts again" for word in damaged]
    return None
