"""Every module's draws as a function of (its name, phase, step, call), whatever other modules draw.

Before each call of a module torch's default generator is seeded from the module's own name, and after each call of a
child it is seeded from the parent's: so a dropout mask depends neither on how much the layers before it drew nor on
whether one of them was swapped. The hooks and their two seedings cost about 11 us a call of a module (one core, 200
empty modules); no generator state is ever saved.
"""

from __future__ import annotations

import random
from types import TracebackType

import numpy as np
from torch import nn

from .._place import SLOT_MARK
from ..streams import Streams, mix, seed_default

DRAWS = "_dopant_draws"  # attribute of a network under training: its Reseeder


class Reseeder:
    """Attach to a model for the length of a trial: `with Reseeder(model, streams) as draws: draws.at("train", step)`.

    Modules are known by their dotted names in `model`. A component in slot `fc` so draws from streams `fc`, `fc.0`, …;
    an untouched dropout keeps its own stream in every cell, and so does one inside a module that was mixed or wrapped.
    """

    def __init__(self, model: nn.Module, streams: Streams):
        self._model, self._streams = model, streams
        self._base = 0
        self._stack: list[list[int]] = []  # one [key, children so far] per call under way
        self._calls: dict[int, int] = {}
        self._handles: list = []

    def __enter__(self) -> Reseeder:
        vars(self._model)[DRAWS] = self
        for name, module in stream_names(self._model):
            key = self._streams.key(f"module:{name}")
            self._handles.append(module.register_forward_pre_hook(self._before(key), prepend=True))
            self._handles.append(module.register_forward_hook(self._after, always_call=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        vars(self._model).pop(DRAWS, None)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def at(self, phase: str, step: int) -> None:
        """Draws from here on belong to `step` of `phase` ("train", "validation", …)."""
        self._base = self._streams.key(f"draw:{phase}", step)
        self._stack.clear()
        self._calls.clear()
        seed_default(self._base)
        # Hosts that draw from NumPy or `random` are at least reproducible, though not independent of their neighbours.
        np.random.seed(self._base & 0xFFFFFFFF)
        random.seed(self._base)

    def hook(self, name: str, kind: str) -> None:
        """Draws from here on belong to one hook (`after_step`, …) of the module `name` at the same step."""
        seed_default(self._base ^ self._streams.key(f"hook:{kind}:{name}"))

    def _before(self, key: int):
        def hook(module: nn.Module, arguments: tuple) -> None:
            call = self._calls.get(key, 0)
            self._calls[key] = call + 1
            own = mix(self._base ^ key, call)
            self._stack.append([own, 0])
            seed_default(own)

        return hook

    def _after(self, module: nn.Module, arguments: tuple, output: object) -> None:
        if self._stack:
            self._stack.pop()
        if self._stack:
            parent = self._stack[-1]
            parent[1] += 1
            seed_default(mix(parent[0], parent[1]))


def stream_names(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """(name, module) for draws: the dotted name, or the one it had in the host for an old module that lives on inside
    what replaced it. What stands around such a module gets a `#`, so that the two never share a stream."""
    marked = {path: vars(module)[SLOT_MARK] for path, module in model.named_modules() if SLOT_MARK in vars(module)}

    def name_of(path: str) -> str:
        for inside, slot in marked.items():
            if path == inside or path.startswith(inside + "."):
                return slot + path[len(inside) :]
        for slot in marked.values():
            if path == slot or path.startswith(slot + "."):
                return f"{slot}#{path[len(slot) :]}"
        return path

    return [(name_of(path), module) for path, module in model.named_modules()]
