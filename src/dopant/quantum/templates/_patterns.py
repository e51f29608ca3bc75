"""Which qubits a layer joins, by the names that Qiskit gives its patterns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ...errors import ConfigError, UnknownName
from .. import _checks

NAMES = ("full", "linear", "reverse_linear", "circular", "sca", "pairwise")
Entanglement = str | Sequence[Sequence[int]]


def joined(n: int, entanglement: Entanglement, layer: int = 0, size: int = 2) -> list[tuple[int, ...]]:
    """The blocks of `size` qubits of layer number `layer`, in the order in which they act; none where size > n.

    "full": all, in lexical order. "linear": (0,1), (1,2), … "reverse_linear": the same from the end. "circular": the
    blocks that close the ring first, (n-1, 0), then linear; on n = size linear alone. "pairwise": (0,1), (2,3), … then
    (1,2), (3,4), … (pairs only). "sca", shifted circular alternating: circular, begun one block earlier in every
    layer, with blocks turned round in odd layers. Or the blocks themselves.
    UnknownName for another name; ConfigError for qubits that are not there and for pairwise blocks that are no pairs.
    """
    if not isinstance(entanglement, str):
        return _given(n, entanglement, size)
    if entanglement not in NAMES:
        raise UnknownName("entanglement", entanglement, NAMES)
    if size > n:
        return []
    linear = [tuple(range(i, i + size)) for i in range(n - size + 1)]
    if entanglement == "full":
        return list(itertools.combinations(range(n), size))
    if entanglement == "linear" or size == 1:
        return linear
    if entanglement == "reverse_linear":
        return linear[::-1]
    if entanglement == "pairwise":
        if size != 2:
            raise ConfigError(f"entanglement 'pairwise' joins pairs; for {size} take 'linear' or name the blocks")
        return linear[::2] + linear[1::2]
    closing = [tuple((n - size + 1 + j + i) % n for i in range(size)) for j in range(size - 1 if n > size else 0)]
    circular = closing + linear
    if entanglement == "circular":
        return circular
    shift = layer % len(circular)
    shifted = circular[len(circular) - shift :] + circular[: len(circular) - shift]
    return [b[::-1] for b in shifted] if layer % 2 else shifted


def _given(n: int, blocks: Sequence[Any], size: int) -> list[tuple[int, ...]]:
    found = [_checks.qubits(_checks.as_qubits(b), n, f"entanglement, block {i}") for i, b in enumerate(blocks)]
    wrong = [b for b in found if len(b) != size]
    if wrong:
        raise ConfigError(f"entanglement: {wrong[0]} names {len(wrong[0])} qubits where a block has {size}; name "
                          f"them as [{', '.join(str(tuple(range(i, i + size))) for i in range(2))}, …]")  # fmt: skip
    return found


def repetitions(value: Any, what: str) -> int:
    """A whole number from 0 on. ConfigError for anything else."""
    found = _checks.whole(value)
    if found is None or found < 0:
        raise ConfigError(f"{what} is a whole number from 0 on, not {value!r}")
    return found


def axis(value: Any) -> str:
    """The rotation about an axis, "rx", "ry" or "rz", from "x" or "rx". UnknownName for another."""
    name = str(value).lower()
    if name.removeprefix("r") not in ("x", "y", "z"):
        raise UnknownName("axis", str(value), ["x", "y", "z"])
    return "r" + name.removeprefix("r")
