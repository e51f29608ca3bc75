"""How much memory there is, what a computation holds at once, and a guard that refuses before it is taken.

`available` asks the machine; `Tracker` follows every tensor's storage from its making to its end, `Guard` also looks
at the size of each new one before it is made. Both see what passes torch's dispatcher: memory that NumPy or a kernel of
one's own takes is declared by the component, as `memory(batch) -> bytes`.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from .errors import DoesNotFit

_UNLIMITED = 1 << 60  # cgroup v1 writes a number near 2^63 where there is no limit
_SMALL = 1 << 16  # bytes: an operation on less, asked for no large shape, gives at most a gigabyte (an outer product)
_LONG = 2048  # a whole number among the arguments that may be a side of something large


@dataclass(frozen=True)
class Available:
    """bytes: free now. total: of the machine, container or GPU. where: what says so, for people."""

    bytes: int
    total: int
    where: str


def available(device: torch.device | str = "cpu", *, root: str | Path = "/") -> Available:
    """Memory that can still be taken: of a GPU what it says itself, else the least of what the machine has left and of
    what each control group above this process (v1 and v2; a container's limit) leaves it. root: for tests.

    A control group's cache of files counts as free, as the kernel gives it back when asked.
    """
    device = torch.device(device)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # what torch holds and does not use is ours too
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return Available(free + held, total, f"GPU {torch.cuda.get_device_name(device)}")
    root = Path(root)
    found = [*_machine(root), *_groups(root)]
    return min(found, key=lambda entry: entry.bytes)


def _machine(root: Path) -> Iterator[Available]:
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (root / "proc/meminfo").read_text().splitlines()
        fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if ":" in line}
        if "MemAvailable" in fields:
            yield Available(fields["MemAvailable"], fields["MemTotal"], "this machine")
            return
    try:  # no Linux: free pages where they are told, else all there are
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
        names = getattr(os, "sysconf_names", {})
        free = page * os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in names else total
        yield Available(free, total, "this machine")
    except (AttributeError, OSError, ValueError):
        yield Available(_UNLIMITED, _UNLIMITED, "a machine that does not say how much memory it has")


def _groups(root: Path) -> Iterator[Available]:
    """What each control group of this process with a limit leaves."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, place = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        inside = PurePosixPath(place.lstrip("/"))
        # inside a container the path may be the host's and not exist here: the root of the mount is then the group
        for folder in dict.fromkeys([base / inside, *(base / parent for parent in inside.parents), base]):
            with contextlib.suppress(OSError, ValueError):
                limit, used = (int((folder / name).read_text()) for name in names[:2])
                if limit < _UNLIMITED:
                    free = max(0, limit - max(0, used - _statistic(folder / "memory.stat", names[2])))
                    yield Available(free, limit, "this container (its control group's limit)")


def _statistic(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def resident(field: str = "RssAnon") -> int | None:
    """Bytes of a field of /proc/self/status: RssAnon (own pages, not those of files), VmRSS, VmHWM; None elsewhere."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None


def show_bytes(count: float) -> str:
    """1234567 -> '1.2 MB'; powers of ten."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 99.5 else f"{count:.3g} {unit}"


# --- following storages ---------------------------------------------------------------------------------------------


class Tracker(TorchDispatchMode):
    """Context that knows how many bytes are alive in tensors, and the most there were.

    Works on real tensors of any device, and on fake ones, which hold nothing. `held` counts tensors that exist already;
    those that only appear as arguments are counted from then on. Views share their storage's bytes. What convolutions
    and other kernels take for themselves on the CPU while they run is added (`workspace`).
    """

    def __init__(self, held: Iterable[Tensor] = ()):
        super().__init__()
        self.live: dict[int, int] = {}
        self.now = 0
        self.peak = 0
        self._fakes: set[int] = set()
        self.course: list[int] = []  # bytes alive during each operation, workspaces included
        for tensor in held:
            self.see(tensor)

    def see(self, tensor: Tensor) -> None:
        """Count the tensor's storage from now until it is freed."""
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):  # sparse and other layouts
            return
        key = storage._cdata
        if key in self.live:
            return
        size = storage.nbytes()
        self.live[key] = size
        self.now += size
        if hasattr(tensor, "fake_mode"):
            self._fakes.add(key)
        weakref.finalize(storage, self._end, key)
        self.peak = max(self.peak, self.now)

    def left(self) -> bool:
        """Whether a fake tensor is still alive: somebody keeps it."""
        if self._fakes.isdisjoint(self.live):
            return False
        gc.collect()
        return not self._fakes.isdisjoint(self.live)

    def _end(self, key: int) -> None:
        self.now -= self.live.pop(key, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        for leaf in pytree.tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self.see(leaf)
        extra = workspace(func, args)
        outputs = self.call(func, args, kwargs)
        for leaf in pytree.tree_leaves(outputs):
            if isinstance(leaf, Tensor):
                self.see(leaf)
        self.course.append(self.now + extra)
        self.peak = max(self.peak, self.course[-1])
        return outputs

    def call(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        return func(*args, **kwargs)


def workspace(func: Any, args: Sequence[Any]) -> int:
    """Bytes that a kernel takes while it runs, beside what goes in and comes out; 0 where nothing is known.

    CPU convolutions. Through oneDNN (single precision and bfloat16) they copy tensors into blocked layouts: forward the
    larger of input and output, and the weight; backward input and output, or output and weight. In double precision the
    whole batch is unfolded. Measured against the resident set to within 5 % on thirteen shapes.
    """
    name = func._schema.name
    if name not in ("aten::convolution", "aten::convolution_backward"):
        return 0
    backward = name.endswith("backward")
    output, given, weight = args[:3] if backward else (None, args[0], args[1])
    if given.device.type != "cpu":
        return 0
    groups = args[9] if backward else args[8]
    if given.dtype == torch.float64 or not torch.backends.mkldnn.is_available():
        places = _places(output, given, weight, args)
        return given.shape[0] * math.prod(weight.shape[1:]) * groups * places * given.element_size()
    x, w = given.numel() * given.element_size(), weight.numel() * weight.element_size()
    if output is not None:
        y = output.numel() * output.element_size()
        return max(x + y, y + w)
    y = given.shape[0] * weight.shape[0] * _places(None, given, weight, args) * given.element_size()
    return max(x, y) + w


def _places(output: Any, given: Tensor, weight: Tensor, args: Sequence[Any]) -> int:
    """Positions of a convolution's output (None: not made yet)."""
    if output is not None:
        return math.prod(output.shape[2:])
    stride, padding, dilation, transposed = args[3:7]
    if transposed:  # as many as come in, by stride
        return math.prod(given.shape[2:]) * math.prod(stride)
    sizes = zip(given.shape[2:], weight.shape[2:], stride, padding, dilation, strict=False)
    return math.prod(max(1, (n + 2 * p - d * (k - 1) - 1) // s + 1) for n, k, s, p, d in sizes)


# --- refusing in time -----------------------------------------------------------------------------------------------


class Guard(Tracker):
    """A Tracker that raises DoesNotFit before a tensor is made for which there is no room.

    what: the beginning of the message, such as "slot 'head': 'reupload-linear'". room: {device type: bytes}; by default
    what is available when the context is entered. Only what is made inside counts, since the rest is there already.
    Cost: some ten microseconds an operation; the sizes of large results are found on the meta device first.
    """

    def __init__(self, what: str, room: dict[str, int] | None = None):
        super().__init__()
        self.what = what
        self.room = dict(room or {})

    def see(self, tensor: Tensor) -> None:
        if tensor.device.type != "meta":
            super().see(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if _may_be_large(args, kwargs):
            needed, device = new_bytes(func, args, kwargs)
            if needed > _SMALL and device != "meta":
                self._ask(needed, device)
        outputs = func(*args, **kwargs)
        given = {id(leaf) for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        if not func.is_view:
            for leaf in pytree.tree_leaves(outputs):
                if isinstance(leaf, Tensor) and id(leaf) not in given:
                    self.see(leaf)
                    self._ask(0, leaf.device.type)  # many small ones add up
        return outputs

    def _ask(self, needed: int, device: str) -> None:
        if device == "meta":
            return
        if device not in self.room:
            self.room[device] = available(device).bytes + self.now
        if self.now + needed > self.room[device]:
            most, room = show_bytes(self.now + needed), show_bytes(self.room[device])
            raise DoesNotFit(
                f"{self.what} needs {most} of memory at once, and {room} are available here",
                needed=self.now + needed,
                available=self.room[device],
            )


def _may_be_large(args: Any, kwargs: Any) -> bool:
    total = 0
    for leaf in pytree.tree_leaves((args, kwargs)):
        if isinstance(leaf, Tensor):
            total += leaf.numel() * leaf.element_size()
        elif type(leaf) is int and leaf > _LONG:
            return True
    if total > _SMALL:
        return True
    lists = [a for a in args if isinstance(a, (list, tuple)) and a and all(type(v) is int for v in a)]
    return any(math.prod(a) > _SMALL for a in lists)


def new_bytes(func: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[int, str]:
    """(bytes of the storages that an operation will make, their device type); (0, …) where that cannot be told."""
    own: set[int] = set()
    device = str(kwargs.get("device") or "cpu").split(":")[0]

    def change(leaf: Any) -> Any:
        nonlocal device
        if isinstance(leaf, Tensor):
            if kwargs.get("device") is None:
                device = leaf.device.type
            leaf = torch.empty_strided(leaf.size(), leaf.stride(), dtype=leaf.dtype, device="meta")
            own.add(leaf.untyped_storage()._cdata)
            return leaf
        if isinstance(leaf, torch.device):
            return torch.device("meta")
        return None if isinstance(leaf, torch.Generator) else leaf

    try:
        given, keywords = pytree.tree_map(change, (args, kwargs))
        if any(argument.name == "device" for argument in func._schema.arguments):
            keywords["device"] = torch.device("meta")
        outputs = func(*given, **keywords)
    except Exception:  # no meta kernel, or its result depends on values: the operation itself will tell
        return 0, device
    storages = {}
    for leaf in pytree.tree_leaves(outputs):
        if isinstance(leaf, Tensor):
            storage = leaf.untyped_storage()
            storages[storage._cdata] = storage.nbytes()
    return sum(size for key, size in storages.items() if key not in own), device
