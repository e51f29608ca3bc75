"""Random numbers as a function of (study seed, replicate, stream name, step), never of earlier draws.

A generator state is therefore never saved: a resumed step draws what it would have drawn, and a component that draws
more than the one it replaced moves nobody else's numbers. Keys are 63-bit integers: BLAKE2b over the names (so equal
on every machine and Python), then a splitmix64 step for the counters of the hot path. (torch's CPU generator uses the
low 32 bits of a seed.)
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

_MASK = (1 << 64) - 1


def name_key(*parts: object) -> int:
    """A 64-bit key of the parts' text, the same in every process."""
    text = "\x1f".join(f"{type(p).__name__}:{p}" for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def mix(key: int, counter: int) -> int:
    """splitmix64: a bijective scramble of key + counter; under a microsecond, for use in every call of a module."""
    z = (key + (counter + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def seed_default(key: int) -> None:
    """Seed torch's default generators (CPU, and CUDA where it is in use) with `key`."""
    torch.default_generator.manual_seed(key & (_MASK >> 1))
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for generator in torch.cuda.default_generators:
            generator.manual_seed(key & (_MASK >> 1))


@dataclass(frozen=True)
class Streams:
    """The named streams of one replicate of one study.

    Tuning replicates are numbered -1, -2, … so that they share no draw with the replicates 0, 1, … that are reported.
    """

    seed: int = 0
    replicate: int = 0

    def key(self, name: str, step: int = 0) -> int:
        """The 63-bit seed of stream `name` at `step`."""
        return mix(name_key(self.seed, self.replicate, name), step) & (_MASK >> 1)

    def generator(self, name: str, step: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
        """A fresh torch generator at the start of stream `name` at `step`."""
        return torch.Generator(device=device).manual_seed(self.key(name, step))

    def numpy(self, name: str, step: int = 0) -> np.random.Generator:
        """A fresh NumPy generator at the start of stream `name` at `step`."""
        return np.random.default_rng(self.key(name, step))

    def seeded(self, name: str, step: int = 0):
        """Context: the default generators of torch, NumPy and `random` start at this stream; restored on leaving."""
        return default_generators(self.key(name, step))


@contextlib.contextmanager
def default_generators(key: int | None = None) -> Iterator[None]:
    """Context that restores the default generators of torch, NumPy and `random`; seeded with `key` if given.

    Factories of hosts and components run inside it, so that code which draws from global generators (all of
    torch.nn's initialisers do) is reproducible and leaves no trace.
    """
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    states = (torch.default_generator.get_state(), np.random.get_state(), random.getstate())
    cuda_states = torch.cuda.get_rng_state_all() if cuda else []
    try:
        if key is not None:
            seed_default(key)
            np.random.seed(key & 0xFFFFFFFF)
            random.seed(key)
        yield
    finally:
        torch.default_generator.set_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda_states)
