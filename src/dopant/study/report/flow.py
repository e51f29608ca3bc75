"""Which blocks the host is drawn as: its slots, and what stands around them gathered by name.

A block is one swapped slot, or a part of the host in which nothing is swapped: the largest such part, so a large
network becomes a few blocks. Blocks are in the order in which their modules are first called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

MOST = 16  # blocks; of more, neighbours without a slot become one


@dataclass(frozen=True)
class Block:
    """slot: whether it can be filled differently. names: of the parts that it stands for, more than one where it was
    gathered. modules: how many it holds, itself counted. calls: in one pass; 0 is never. inside: the slot around it."""

    names: tuple[str, ...]
    class_: str
    parameters: int
    modules: int
    calls: int
    slot: bool = False
    inside: str = ""
    place: float = field(default=0.0, compare=False)


def blocks(host: Mapping[str, Any], slots: Iterable[str], most: int = MOST) -> list[Block]:
    """The host of `host.json` as blocks. slots: dotted names of those that some cell swaps."""
    known: dict[str, Mapping[str, Any]] = {str(m["name"]): m for m in host["modules"]}
    children: dict[str, list[str]] = {}
    for name in known:
        children.setdefault(name.rpartition(".")[0], []).append(name)
    slots = [s for s in slots if s in known]
    found: list[Block] = []

    def below(name: str) -> list[str]:
        inner = [name]
        for child in children.get(name, ()):
            inner += below(child)
        return inner

    def place(name: str) -> float:
        """Of the first call of the module or, where it is only a container, of what it holds."""
        places = [known[n]["first"] for n in below(name) if known[n]["first"] is not None]
        return float(min(places)) if places else float("inf")

    def walk(name: str, inside: str) -> None:
        is_slot, inner = name in slots, below(name)
        deeper = any(n in slots for n in inner[1:]) or _around(known, inner, slots)
        if is_slot or not deeper:
            one = known[name]
            calls = int(one["calls"]) or max((int(known[n]["calls"]) for n in inner), default=0)
            where = len(inner), calls, is_slot, inside, place(name)
            found.append(Block((name,), str(one["class"]), int(one["parameters"]), *where))
        if deeper:
            for child in children.get(name, ()):
                walk(child, name if is_slot else inside)

    for top in children.get("", ()):
        walk(top, "")
    found.sort(key=lambda b: b.place)
    return _gathered(found, most)


def _around(known: Mapping[str, Mapping[str, Any]], inner: list[str], slots: list[str]) -> bool:
    """Whether a container that is not called itself (a list of layers) holds modules before and after a slot."""
    places = [known[n]["first"] for n in inner if known[n]["first"] is not None]
    if known[inner[0]]["first"] is not None or not places or inner[0] in slots:
        return False
    return any(known[s]["first"] is not None and min(places) < known[s]["first"] < max(places) for s in slots)


def _gathered(found: list[Block], most: int) -> list[Block]:
    """Neighbours without a slot as one block: first those below the same name, then, while there are too many, any."""
    runs = [[block] for block in found]
    for same_parent in (True, False):
        if len(runs) <= most:
            break
        merged: list[list[Block]] = []
        for run in runs:
            last = merged[-1][-1] if merged else None
            block = run[0]
            plain = last is not None and not last.slot and not block.slot and last.inside == block.inside
            parents = {b.names[0].rpartition(".")[0] for b in (last, block) if b is not None}
            called = last is not None and (last.calls > 0) == (block.calls > 0)
            if plain and called and (not same_parent or len(parents) == 1):
                merged[-1] += run
            else:
                merged.append(list(run))
        runs = merged
    return [run[0] if len(run) == 1 else _one(run) for run in runs]


def _one(run: list[Block]) -> Block:
    classes = list(dict.fromkeys(b.class_ for b in run))
    shown = ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
    return replace(
        run[0], names=tuple(n for b in run for n in b.names), class_=shown, calls=max(b.calls for b in run),
        parameters=sum(b.parameters for b in run), modules=sum(b.modules for b in run),
    )  # fmt: skip


def title(block: Block) -> str:
    """`layer1`, or `layer1 … layer3` of several; names below one parent lose it: `layer4.0 … 2`."""
    if len(block.names) == 1:
        return block.names[0]
    return f"{block.names[0]} … {block.names[-1]}"
