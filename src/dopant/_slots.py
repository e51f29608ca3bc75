"""Find the slots of a host and measure their signatures, by running a copy of it at two batch sizes.

What differs between the runs is the batch axis, and by how much tells its multiplicity: 64 windows of an image are 64
entries a sample. Nothing is assumed about where the batch axis is, except in the sample itself: there it comes first.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ._attention import plain_attention as plain_attention
from ._copy import copy_module
from ._reads import Reads
from ._signature import Batch as Batch
from ._signature import Call as Call
from ._signature import CallSpec as CallSpec
from ._signature import Opaque as Opaque
from ._signature import Seen as Seen
from ._signature import Signature as Signature
from ._signature import Spec as Spec
from ._signature import as_call, show_shape
from ._signature import show as show
from ._signature import sizes as sizes
from ._trees import learn
from .errors import ConfigError
from .streams import default_generators

SMALL, LARGE = 2, 3  # the two batch sizes; not 1, at which BatchNorm refuses to train and batch axes hide
_KEY = 0x5EED  # hosts with dropout are measured under this seed; shapes do not depend on it
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, slice, type(...))


def slots(model: nn.Module, sample: Any) -> dict[str, Signature]:
    """The slots of `model`: every submodule by its dotted name, with its measured signature.

    sample: what the model takes: a tensor, a tuple of positional arguments, or a Call; its tensors have the sample as
    first axis (those whose first axis differs in length from the first tensor's, such as a mask, are left as they are).
    Runs a copy of the model in evaluation (with and without gradients) and in training mode; the model itself, its
    buffers and all global generators stay as they were. Raises ConfigError if the model cannot be copied or fails on
    the sample.
    Cost: one copy, five forward calls at two or three samples.
    """
    found = measure_all(model, sample)
    del found[""]
    return found


measure = slots


def measure_all(model: nn.Module, sample: Any) -> dict[str, Signature]:
    """As `slots`, with the model itself under the empty name."""
    if not isinstance(model, nn.Module):
        what = model.__name__ if isinstance(model, type) else repr(model)
        raise ConfigError(f"the model is {what}; give a torch.nn.Module, such as Net() or dp.host('creep-cnn')")
    call = as_call(sample)
    try:
        model = copy_module(model)
    except Exception as error:
        raise ConfigError(f"the host cannot be copied: {type(error).__name__}: {error}") from error
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with _recording(names) as log, default_generators(_KEY), plain_attention():
        reads, runs = Reads(model, lambda: [entry[0] for entry in log.open]), {}
        for training in (False, True):
            model.train(training)
            with reads:
                runs[training] = tuple(_run(model, call, size, training, device, log) for size in (SMALL, LARGE))
        # Scores are taken without gradients, where a fused path of the host's own may begin.
        model.eval()
        with reads, contextlib.suppress(Exception):  # a host may need gradients for what it gives
            with torch.no_grad():
                _call(model, call, SMALL, device, log)
            seen = {entry[0] for entry in log}
            runs[False] = tuple({m: c for m, c in run.items() if m in seen} for run in runs[False])
    found = {module: _signature(module, names[module], runs, tuple(reads.found.get(module, ()))) for module in names}
    return {name: found[m] for name, m in model.named_modules(remove_duplicate=False)}


class _Log(list):
    """Entries [module, arguments, outputs]; `look` says whether to note what the tensors hold, which takes time.

    open: the entries of the calls that are under way, outermost first.
    """

    look = False

    def __init__(self) -> None:
        super().__init__()
        self.open: list[list] = []


def _run(model: nn.Module, call: Call, size: int, training: bool, device: torch.device, log: _Log) -> dict:
    """The recorded calls {module: [(arguments, outputs), …]} of one run at `size` samples."""
    log.look = size == LARGE and not training
    try:
        with torch.enable_grad():
            _call(model, call, size, device, log)
    except Exception as error:
        mode = "training" if training else "evaluation"
        raise ConfigError(
            f"the host fails in {mode} mode on a batch of {size}: {type(error).__name__}: {error}; give a sample with"
            " the sample as first axis, of a length that no other axis has first" + _keywords(model, call)
        ) from error
    calls: dict[nn.Module, list] = {}
    for entry in log:
        if len(entry) == 3:
            calls.setdefault(entry[0], []).append(entry[1:])
    return calls


def _call(model: nn.Module, call: Call, size: int, device: torch.device, log: _Log) -> None:
    log.clear()
    log.open.clear()
    arguments = resize(call, size).map(lambda t: t.to(device))
    model(*arguments.args, **arguments.kwargs)


def evaluation_error(model: nn.Module, sample: Any) -> Exception | None:
    """What a copy of the model raises in evaluation mode without gradients, as the loop scores it; None if nothing."""
    model = copy_module(model).eval()
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad(), default_generators(_KEY), plain_attention():
            _call(model, as_call(sample), SMALL, device, _Log())
    except Exception as error:
        return error
    return None


def _keywords(model: nn.Module, call: Call) -> str:
    """A hint where a dict was given whose keys are the names of the model's parameters."""
    only = call.args[0] if len(call.args) == 1 and not call.kwargs else None
    if not isinstance(only, Mapping) or not only:
        return ""
    try:
        names = set(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):
        return ""
    return "; a dict is one argument: for keyword arguments give dp.Call(**sample)" if set(only) <= names else ""


@contextlib.contextmanager
def _recording(modules: Any) -> Iterator[_Log]:
    """Context that yields a log which gets [module, arguments, outputs] for each call, in the order of the calls."""
    log = _Log()

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        # Described before the call: a module may change its arguments in place.
        entry = [module, describe((args, kwargs), log.look)]
        log.append(entry)
        log.open.append(entry)

    def after(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
        while log.open:
            entry = log.open.pop()
            if entry[0] is module:
                entry.append(describe(outputs, log.look))
                return

    handles = []
    try:
        for module in modules:
            # First of all hooks: what the module's own do with its weights, or its arguments, happens inside its call.
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True, prepend=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        yield log
    finally:
        for handle in handles:
            handle.remove()


def resize(call: Call, size: int) -> Call:
    """The call at `size` samples: its rows again and again until there are enough."""
    lengths = [t.shape[0] for t in call.tensors() if t.ndim]
    if not lengths:
        raise ConfigError("the sample holds no tensor with a batch axis; give one with the sample as first axis")
    if lengths[0] == 0:
        raise ConfigError("the sample is empty; give at least one")
    rows = torch.arange(size) % lengths[0]
    return call.map(lambda t: t[rows.to(t.device)] if t.ndim and t.shape[0] == lengths[0] else t)


def describe(tree: Any, look: bool = True) -> Any:
    """The tree with each tensor as a Spec of its shape at this batch size; with `look`, of what it holds too."""

    def leaf_spec(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and not leaf.is_nested:
            return Spec(tuple(leaf.shape), leaf.dtype, _look(leaf.detach()) if look else None)
        return leaf if isinstance(leaf, _PLAIN) else Opaque(type(leaf).__name__, leaf)

    return pytree.tree_map(leaf_spec, learn(tree))


def _look(tensor: Tensor) -> Seen:
    if tensor.numel() == 0 or tensor.layout is not torch.strided:
        return Seen()
    if tensor.dtype is torch.bool:
        return Seen(tensor=tensor)
    if tensor.dtype.is_complex:
        return Seen(std=float(torch.view_as_real(tensor.resolve_conj()).std(correction=0)) * math.sqrt(2))
    low, high = (float(v) for v in tensor.aminmax())
    if not tensor.dtype.is_floating_point or not (math.isfinite(low) and math.isfinite(high)):
        return Seen(low, high, tensor=tensor)
    std, mean = torch.std_mean(tensor.float(), correction=0)
    return Seen(low, high, float(mean), float(std), tensor)


def _keep(seen: Seen | None, batched: bool) -> Seen | None:
    """What is kept of a tensor once its batch axis is known: all of it only where a random one would not do."""
    if seen is None or seen.tensor is None:
        return seen
    random = batched and seen.tensor.dtype is not torch.bool and math.isfinite(seen.low) and math.isfinite(seen.high)
    return replace(seen, tensor=None if random else seen.tensor.cpu().clone())


def merge(small: Any, large: Any) -> tuple[Any, list[str]]:
    """The tree recorded at SMALL and at LARGE samples as one with batch axes marked, and what is wrong with it."""
    leaves, form = pytree.tree_flatten(small)
    others, other_form = pytree.tree_flatten(large)
    if form != other_form:
        return small, ["its structure depends on the batch size"]
    problems: list[str] = []
    merged = [_merge_leaf(a, b, problems) for a, b in zip(leaves, others, strict=True)]
    return pytree.tree_unflatten(merged, form), problems


def _merge_leaf(a: Any, b: Any, problems: list[str]) -> Any:
    if isinstance(a, Spec) and isinstance(b, Spec) and len(a.shape) == len(b.shape) and a.dtype == b.dtype:
        shape = tuple(_axis(i, m, n, problems) for i, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)))
        if sum(isinstance(s, Batch) for s in shape) > 1:
            problems.append(f"a tensor of shape {show_shape(shape)} has two batch axes")
        return Spec(shape, a.dtype, _keep(b.seen, any(isinstance(s, Batch) for s in shape)))
    if type(a) is int and type(b) is int and a != b:
        return _axis(None, a, b, problems)
    if a != b:
        problems.append(f"an argument changes with the batch size: {a} at {SMALL}, {b} at {LARGE} samples")
    return a


def _axis(axis: int | None, small: Any, large: Any, problems: list[str]) -> int | Batch:
    if small == large:
        return small
    multiple = (large - small) // (LARGE - SMALL)
    if multiple > 0 and small == multiple * SMALL and large == multiple * LARGE:
        return Batch(multiple)
    where = "a number" if axis is None else f"axis {axis}"
    problems.append(f"{where} is {small} at {SMALL} samples and {large} at {LARGE}: no multiple of the batch size")
    return small


def _signature(module: nn.Module, names: list[str], runs: dict, read: tuple[str, ...]) -> Signature:
    """From the recorded runs {training: (small, large)}; evaluation's calls, or training's where it has none."""
    counts = {training: [len(run.get(module, ())) for run in pair] for training, pair in runs.items()}
    problems = [
        f"it is called {small} times at {SMALL} samples and {large} times at {LARGE}"
        for small, large in counts.values()
        if small != large
    ]
    calls: list[CallSpec] = []
    mode = not counts[False][0]
    if not problems:
        for small, large in zip(*(run.get(module, ()) for run in runs[mode]), strict=True):
            (arguments, wrong_in), (outputs, wrong_out) = (merge(a, b) for a, b in zip(small, large, strict=True))
            calls.append(CallSpec(arguments[0], arguments[1], outputs))
            problems += wrong_in + wrong_out
    return Signature(
        type(module).__name__, tuple(calls), tuple(names), counts[False][0], counts[True][0],
        "; ".join(dict.fromkeys(problems)) or None, read,
    )  # fmt: skip
