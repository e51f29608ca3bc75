"""The memory that training a network takes, without taking it: at any batch size, before anything is started.

A step of two samples is run for real, which tells what the network's Python code decides by looking at values. Then
the step is run once more at the full batch on fake tensors, which have shapes and no contents; every storage is
followed from its making to its end. A network that fakes cannot pass through (NumPy, kernels of its own) is run for
real at two small batches, and each moment of the step is carried on in a straight line.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from .._build import cast
from .._slots import plain_attention
from ..memory import Tracker
from ..recipe import Recipe
from ..registry import metrics as metric_registry
from ..registry import rules
from ..streams import default_generators
from . import lifecycle_calls as lifecycle
from . import parts
from .evaluate import to_device

FEW = (2, 6)  # samples of the real steps
FARTHEST = 128  # samples of a trace; beyond, straight on
_SLACK = 64 << 20  # what glibc keeps of freed memory, at most: its largest trimming threshold
_VALUES = ("aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero", "aten::allclose")  # ask what tensors hold
_STEPS = 2  # the optimizer's state is made at the end of the first


@dataclass(frozen=True)
class Footprint:
    """Bytes of a network under training.

    train: the most alive at once in a step of `batch` samples: weights, gradients, optimizer, what is kept for the
    backward pass, temporaries. evaluation: the same of `eval_batch` samples without gradient. fixed: weights, buffers
    and the optimizer's state alone, which are also what a checkpoint holds. how: "traced", "extrapolated", or "bounded"
    (a step of two samples times batch / 2, which is never too little).
    """

    batch: int
    eval_batch: int
    train: int
    evaluation: int
    fixed: int
    how: str

    @property
    def bytes(self) -> int:
        return max(self.train, self.evaluation)

    @property
    def resident(self) -> int:
        """What the process grows by on the CPU: the C library keeps some of what was freed."""
        return self.bytes + (min(self.bytes, _SLACK) if sys.platform.startswith("linux") else 0)


class Meter:
    """What training `model` on `split` by `recipe` takes at any batch; the model is copied and no generator moves.

    Runs two samples for real. Raises what the network raises on them. Cost: three steps of two samples, then for each
    batch size asked for some 0.1 ms an operation; no memory that depends on the batch.
    """

    def __init__(self, model: nn.Module, split: Any, recipe: Recipe, device: torch.device | None = None):
        self.model, self.split, self.recipe = model, split, recipe
        self.device = device or torch.device("cpu")
        self._known: dict[tuple[bool, int], list[int]] = {}
        self._more: Any = None
        self.how = "traced"
        with _apart():
            mine = copy.deepcopy(model)
            mine = cast(mine, torch.float64) if recipe.precision == "float64" else mine
            # hardly moved: a step must not blow up what is only measured
            self._subject = _Subject(mine.to(self.device), recipe.model_copy(update={"lr": 1e-12}))
            self._first = _Recorder()
            self._sizes = [min(n, len(split)) for n in FEW]
            self._few = self._rows(self._sizes[0])
            self._small = self._subject.courses(self._first, *self._few)
            self.fixed = self._subject.fixed()

    def _rows(self, count: int) -> Any:
        return to_device(self.split.batch(torch.arange(count)), self.device, self.recipe.precision)

    def bound(self, batch: int, evaluation: bool = False) -> int:
        """Bytes that are never too few for what is at most proportional to the batch."""
        most = max(self._small[evaluation]) * -(-batch // self._sizes[0])
        return most + _declared(self.model, batch)

    def peak(self, batch: int, evaluation: bool = False) -> int:
        """The most bytes alive at once in a training step, or in a batch of evaluation."""
        return self._torch(batch, evaluation) + _declared(self.model, batch)

    def _torch(self, batch: int, evaluation: bool) -> int:
        if batch <= FARTHEST:
            return max(self._course(batch, evaluation))
        # straight on: code that loops over parts of a batch would take long
        sizes = FARTHEST // 2, FARTHEST
        few, more = (self._course(size, evaluation) for size in sizes)
        return _extrapolated((few, more), sizes, batch)

    def _course(self, batch: int, evaluation: bool) -> list[int]:
        key = (evaluation, batch)
        if key not in self._known:
            with _apart():
                self._known[key] = self._ask(batch, evaluation)
        return self._known[key]

    def _ask(self, batch: int, evaluation: bool) -> list[int]:
        if self.how == "traced":
            try:
                return _traced(self._subject, self._first, self._few, batch, evaluation)
            except Exception:  # NumPy, a kernel of its own, a shape that depends on values: all that fakes are not
                self.how = "extrapolated"
                self._known.clear()
        if self._more is None:
            self._more = self._subject.courses(_Recorder(), *self._rows(self._sizes[1]))
        small, large = self._small[evaluation], self._more[evaluation]
        return _carried(small, large, self._sizes, batch)

    def footprint(self, batch: int | None = None, eval_batch: int | None = None, enough: int = 0) -> Footprint:
        """The Footprint at these sizes, by default the recipe's. enough: bytes below which a bound will do."""
        batch, eval_batch = batch or self.recipe.batch, eval_batch or self.recipe.eval_batch
        bounds = self.bound(batch), self.bound(eval_batch, True)
        if max(bounds) <= enough:
            return Footprint(batch, eval_batch, *bounds, self.fixed, "bounded")
        return Footprint(batch, eval_batch, self.peak(batch), self.peak(eval_batch, True), self.fixed, self.how)

    def largest(self, room: int, evaluation: bool = False) -> int:
        """The most samples that fit into `room` bytes at once; 0 if not even one does."""
        low, high = 1, FARTHEST
        at_low, at_high = self.peak(low, evaluation), self.peak(high, evaluation)
        if at_low > room:
            return 0
        if at_high <= room:
            far = 1 << 30
            at_far = self.peak(far, evaluation)
            if at_far <= room:
                return far
            low, at_low, high, at_high = high, at_high, far, at_far
        for _ in range(12 if low >= FARTHEST else 4):  # memory is nearly linear in the batch: a secant, held inside
            if high - low <= 1:
                break
            guess = int(low + (room - at_low) * (high - low) / (at_high - at_low))
            guess = min(max(guess, low + 1), high - 1)
            at_guess = self.peak(guess, evaluation)
            if at_guess > room:
                high, at_high = guess, at_guess
            else:
                low, at_low = guess, at_guess
                if at_guess > 0.98 * room:
                    break
        return low


@contextlib.contextmanager
def _apart() -> Any:
    with default_generators(0), plain_attention():
        yield


class _Subject:
    """A copy of a network that may be trained, and how."""

    def __init__(self, model: nn.Module, recipe: Recipe):
        self.model, self.recipe = model, recipe
        self.metrics = [metric_registry.get(name) for name in parts.default_metrics(recipe)]
        self.loss = parts.losses.get(recipe.loss)
        self.optimizer = parts.build_optimizer(recipe, model)

    def tensors(self) -> list[Tensor]:
        return [*self.model.parameters(), *self.model.buffers()]

    def faked(self, fake: Any) -> _Subject:
        """The same on fake tensors."""
        memo: dict[int, Any] = {}
        for tensor in self.tensors():
            copied = fake.from_tensor(tensor.detach())
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(copied, tensor.requires_grad) if is_parameter else copied
        return _Subject(copy.deepcopy(self.model, memo), self.recipe)

    def fixed(self) -> int:
        state = [t for t in pytree.tree_leaves(list(self.optimizer.state.values())) if isinstance(t, Tensor)]
        found = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in [*self.tensors(), *state]}
        return sum(found.values())

    def courses(self, tracker: Tracker, inputs: Any, targets: Any, only: bool | None = None) -> Any:
        """Bytes alive at each operation (of training steps, of a batch of evaluation). only: one of the two, which."""
        train: list[int] = []
        with tracker:
            for tensor in [*self.tensors(), *pytree.tree_leaves((inputs, targets))]:
                if isinstance(tensor, Tensor):
                    tracker.see(tensor)
            if only is not True:
                self.model.train()
                self.optimizer = parts.build_optimizer(self.recipe, self.model)  # its first step makes its state
                rule = rules.get(self.recipe.rule)(self.model, self.loss)
                for _ in range(_STEPS):
                    self._step(rule, inputs, targets)
                del rule
            train, tracker.course = tracker.course, []
            if only is not False:
                self.optimizer.zero_grad(set_to_none=True)
                self.model.eval()
                self._evaluate(inputs, targets)
        return train, tracker.course

    def _step(self, rule: Any, inputs: Any, targets: Any) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast(inputs):
            _, outputs, _ = rule(inputs, targets)
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        with torch.no_grad():
            for metric in self.metrics:
                metric.function(outputs, targets)

    def _evaluate(self, inputs: Any, targets: Any) -> None:
        with torch.no_grad(), self._autocast(inputs):
            outputs = lifecycle.predict(self.model, lifecycle.call_model(self.model, inputs))
            self.loss(outputs, targets)
            for metric in self.metrics:
                metric.function(outputs, targets)

    def _autocast(self, inputs: Any) -> contextlib.AbstractContextManager:
        if self.recipe.precision != "bfloat16":
            return contextlib.nullcontext()
        return torch.autocast(pytree.tree_leaves(inputs)[0].device.type, torch.bfloat16)


def _declared(model: nn.Module, batch: int) -> int:
    """Bytes that components say torch does not see, at `batch` samples."""
    found = 0
    for module in model.modules():
        declare = getattr(module, "memory", None)
        if callable(declare) and not isinstance(declare, nn.Module):
            found += int(float(str(declare(batch))))
    return found


# --- on fake tensors ------------------------------------------------------------------------------------------------


def _site() -> tuple[str, int]:
    """The line outside torch that asks for a value."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_code.co_filename
        if "/torch/" not in name and not name.endswith(("/memory.py", "/footprint.py")):
            break
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


class _Recorder(Tracker):
    """Notes every value that leaves the tensors, by the line of code that asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[tuple[str, int], Any] = {}

    def call(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        outputs = func(*args, **kwargs)
        if func._schema.name in _VALUES:
            self.values[_site()] = outputs
        return outputs


class _Replayer(Tracker):
    """Answers with the noted values, which fake tensors do not have."""

    def __init__(self, values: dict[tuple[str, int], Any]):
        super().__init__()
        self.values = values

    def call(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        if func.namespace == "profiler":  # the optimizer's own marks, which fakes cannot carry
            with _disable_current_modes():
                return func(*args, **kwargs)
        if func._schema.name in _VALUES:
            site = _site()
            if site in self.values:
                return self.values[site]
        return func(*args, **kwargs)


def _traced(subject: _Subject, first: _Recorder, few: tuple[Any, Any], batch: int, evaluation: bool) -> list[int]:
    from torch._subclasses.fake_tensor import FakeTensorMode

    def full(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return torch.empty((batch, *leaf.shape[1:]), dtype=leaf.dtype, device=leaf.device)

    tracker = _Replayer(first.values)
    with quiet_fakes(), FakeTensorMode(allow_non_fake_inputs=True) as fake:
        try:
            mine = subject.faked(fake)
            inputs, targets = pytree.tree_map(full, few)
            found = mine.courses(tracker, inputs, targets, evaluation)[evaluation]
        finally:
            mine = inputs = targets = None
            if tracker.left():
                forget_fakes(fake)
    state = subject.fixed() if evaluation else 0  # while it evaluates the optimizer is there too
    weights = sum(t.untyped_storage().nbytes() for t in subject.tensors()) if evaluation else 0
    return [alive + max(0, state - weights) for alive in found]


@contextlib.contextmanager
def quiet_fakes() -> Iterator[None]:
    """Without torch's log and warnings: what fakes cannot pass through is an answer here, not an accident."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def forget_fakes(fake: Any) -> None:
    """Empty every cache of a function that kept a fake tensor of this run: it would hand it to real ones later."""
    from torch._subclasses.fake_tensor import FakeTensor

    for cached in [entry for entry in gc.get_objects() if type(entry) is functools._lru_cache_wrapper]:
        near = list(gc.get_referents(cached))
        for _ in range(3):
            near += [inner for entry in near[:1000] for inner in gc.get_referents(entry)]
        if any(isinstance(entry, FakeTensor) and entry.fake_mode is fake for entry in near):
            cached.cache_clear()


def _carried(small: list[int], large: list[int], sizes: Sequence[int], batch: int) -> list[int]:
    """The course at `batch` from two others: each moment on its own where they have the same moments, else the peak."""
    few, more = sizes
    pairs = zip(small, large, strict=True) if len(small) == len(large) else [(max(small), max(large))]
    return [int(a + (b - a) / max(1, more - few) * (batch - few)) for a, b in pairs]


def _extrapolated(courses: tuple[list[int], list[int]], sizes: Sequence[int], batch: int) -> int:
    return max(_carried(*courses, sizes, batch))
