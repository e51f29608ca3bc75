"""The compiled CPU kernel: vectors, passes, the engine that runs plans, its place in autograd, its compilation."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


@functools.cache
def engine_sources() -> str:
    """A hash of what is compiled: other sources are another kernel."""
    found = hashlib.sha256()
    for name in ("vectors.py", "passes.py", "engine.py", "kinds.py", "calls.py", "tables.py"):
        found.update((Path(__file__).parent / name).read_bytes())
    return found.hexdigest()[:12]
