"""The law `work`: what a component does outside of torch is declared, and not three times too little or too much.

The rule. One step (forward and backward, training mode, one thread) is timed at a batch that makes it take some
milliseconds, in CPU time of this thread, the least of several. Of it is explained: the time within torch's own
operations, each timed where it runs; a yardstick of overhead for each of them and for each call of a module; and what
`flops` declares (see `dopant.cost`), at the speed of its kind of work, measured on this machine with NumPy, once per
process. A kind has a slowest and a fastest speed (small and large matrices, single and double precision), a bare number
those of all compiled kinds, and the component has the benefit of both. Refused is:

- a step that takes more than 3 times what is explained at the slowest, and more than 2 ms beyond it: too little is
  declared (or nothing). So ordinary torch code, whose time lies in torch, need not declare anything.
- a declaration with which the step would take more than 3 times what it takes at the fastest, and 2 ms more.

Work in threads of its own is not seen, and work in Python between the calls only if it is much.
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils import _pytree as pytree

from .._slots import Call, Spec, plain_attention
from ..cost import ANY, KINDS, declared, train_once
from ..flops import KNOWN, Counter
from ..streams import default_generators
from .rules import law
from .subject import MOST_ENTRIES, NotTested, Subject, place

FACTOR = 3.0
UNJUDGED = 2e-3  # seconds that stay unexplained, or would be declared too much, without a refusal
WANTED = 6e-3  # seconds that a step is made to take, by a larger batch
LEAST = 1e-3  # seconds below which no step is judged
REPEATS, TRIES = 3, 3  # of each timing, of which the least counts; of the whole before a refusal
Range = tuple[float, float]  # slowest, fastest


@dataclass(frozen=True)
class Timed:
    """One step. seconds: of this thread; all_seconds: of all threads; inside: within torch's operations; calls: of
    these; modules: calls of modules."""

    batch: int
    seconds: float
    all_seconds: float
    inside: float
    calls: int
    modules: int
    flops: float

    @property
    def overhead(self) -> float:
        """Seconds that so many calls cost beside what they do."""
        return self.calls * per_operation() + self.modules * per_module()


@law("work")
def work(subject: Subject) -> str | None:
    """What torch cannot count is declared, within a factor of 3 of what it takes. See the head of this file."""
    tensors = [*subject.module.parameters(), *subject.module.buffers()]
    if any(t.device.type != "cpu" for t in tensors):
        raise NotTested("the yardsticks are those of a CPU, and this component lies elsewhere")
    wrong = None
    with _one_thread():
        module = subject.fresh(True)
        batch = _long_enough(subject, module)
        for _ in range(TRIES):
            wrong = _judge(_time(subject, module, batch), declared(subject.module, batch))
            if wrong is None:
                return None
            rates.cache_clear()  # measured anew: the machine may have been busy with something else
            per_operation.cache_clear()
            per_module.cache_clear()
    return wrong


def _judge(step: Timed, work: dict[str, dict[str, float]]) -> str | None:
    kinds = [pair for part in work.values() for pair in part.items()]
    total = sum(flops for _, flops in kinds)
    slow, fast = (sum(flops / rates()[kind][end] for kind, flops in kinds) for end in (0, 1))
    own = step.inside + step.overhead
    most = max(step.seconds, step.all_seconds)
    beyond = step.seconds - own - slow
    if beyond > UNJUDGED and step.seconds > FACTOR * (own + slow):
        return (
            f"{_told(step, total, slow, fast)}; {_ms(beyond)} more are neither counted nor declared. Let"
            f" flops({step.batch}) return what is done outside of torch, such as {_suggested(beyond + slow)}"
        )
    too_much = min(own, most) + fast - most
    if total and too_much > UNJUDGED and min(own, most) + fast > FACTOR * most:
        left = max(0.0, most - step.inside)
        return (
            f"{_told(step, total, slow, fast)}; that is too much. Declare only what is done outside of torch (the rest"
            f" is counted), such as {_suggested(left)}" + ("" if left > LEAST else ", which may well be nothing")
        )
    if step.seconds < LEAST and most < LEAST:
        raise NotTested(f"{step.batch} samples take {_ms(step.seconds)}, too quick to time")
    if step.overhead > step.seconds / 2:
        raise NotTested(
            f"{step.batch} samples take {_ms(step.seconds)}, most of it the overhead of {step.calls} operations"
            f" and {step.modules} calls of modules"
        )
    return None


def _told(step: Timed, total: float, slow: float, fast: float) -> str:
    return (
        f"a step of {step.batch} samples takes {_ms(step.seconds)}: torch's operations in it take {_ms(step.inside)}"
        f" ({step.flops:.2g} FLOPs counted), and the {total:.2g} FLOPs declared would take "
        + (f"{_ms(fast)} to {_ms(slow)}" if total else "nothing")
    )


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _suggested(seconds: float) -> str:
    """What work of so many seconds is in FLOPs, by kind."""
    return " or ".join(f"{{{k!r}: {seconds * math.sqrt(math.prod(rates()[k])):.1g}}}" for k in KINDS)


# --- timing -----------------------------------------------------------------------------------------------------------


class _Timer(Counter):
    """Counts, and times each of torch's own operations; those of others are no work of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds, self.calls, self.modules = 0.0, 0, 0

    def __enter__(self) -> Any:
        self._handle = register_module_forward_pre_hook(self._called)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._handle.remove()

    def _called(self, module: nn.Module, args: Any) -> None:
        self.modules += 1

    def execute(self, func: Any, args: tuple[Any, ...], kwargs: dict) -> Any:
        start = time.thread_time()
        outputs = func(*args, **kwargs)
        spent = time.thread_time() - start
        if getattr(func, "namespace", "aten") in KNOWN:
            self.seconds += spent
            self.calls += 1
        return outputs


def _long_enough(subject: Subject, module: nn.Module) -> int:
    """A batch at which a step takes as long as is wanted, or the largest that the slot's tensors leave room for."""
    spec = subject.call_spec
    leaves = pytree.tree_leaves((spec.args, spec.kwargs, spec.outputs))
    each = sum(math.prod(s.sizes) * s.multiple for s in leaves if isinstance(s, Spec))
    most = max(8, MOST_ENTRIES // each) if each else 8
    batch = 8
    _plain(subject, module, subject.example(batch, salt=101))  # what is made at the first call only
    while True:
        call = subject.example(batch, salt=101)
        seconds = min(_plain(subject, module, call)[0] for _ in range(2))
        if seconds >= WANTED or batch >= most:
            return batch
        batch = min(most, batch * max(2, min(8, math.ceil(WANTED / max(seconds, 1e-6)))))


def _time(subject: Subject, module: nn.Module, batch: int) -> Timed:
    call = subject.example(batch, salt=101)
    plain, watched = [], []
    for _ in range(REPEATS):  # by turns, so that a busy moment meets both
        plain.append(_plain(subject, module, call))
        timer = _Timer()
        with _quietly(subject), timer:
            train_once(module, place(call, module), input_gradients=True)
        watched.append(timer)
    least = min(watched, key=lambda timer: timer.seconds)
    seconds, all_seconds = (min(times) for times in zip(*plain, strict=True))
    return Timed(batch, seconds, all_seconds, least.seconds, least.calls, least.modules, least.total)


def _plain(subject: Subject, module: nn.Module, call: Call) -> tuple[float, float]:
    """Seconds of one step: of this thread, of all."""
    call = place(call, module)
    with _quietly(subject):
        start = time.thread_time(), time.process_time()
        train_once(module, call, input_gradients=True)
        return time.thread_time() - start[0], time.process_time() - start[1]


@contextlib.contextmanager
def _quietly(subject: Subject) -> Iterator[None]:
    with default_generators(subject.key(1000)), plain_attention():
        yield


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """torch, and the libraries under NumPy and SciPy, on one thread."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


# --- yardsticks -------------------------------------------------------------------------------------------------------


@functools.cache
def per_operation() -> float:
    """Seconds that a call of one of torch's operations costs beside the operation, with its share of the backward."""
    chain = nn.Sequential(*(layer for _ in range(20) for layer in (nn.Linear(2, 2), nn.Tanh())))
    plain, inside, calls = [], [], 1
    for _ in range(5):
        call = Call(torch.ones(2, 2))
        plain.append(_seconds(lambda call=call: train_once(chain, call, input_gradients=True)))
        timer = _Timer()
        with timer:
            train_once(chain, Call(torch.ones(2, 2)), input_gradients=True)
        inside.append(timer.seconds)
        calls = timer.calls
    return max(2e-6, (min(plain) - min(inside)) / calls)


@functools.cache
def per_module() -> float:
    """Seconds that a call of a module costs, whatever it does; with its part of setting the mode."""
    chain = nn.Sequential(*(nn.Identity() for _ in range(200)))
    return min(_seconds(lambda: train_once(chain, Call(torch.ones(2)))) for _ in range(5)) / 200


@functools.cache
def rates() -> dict[str, Range]:
    """FLOPs a second of this machine by kind of work: the slowest and the fastest of its yardsticks."""
    found = {kind: _range(yardsticks) for kind, yardsticks in _yardsticks().items()}
    compiled = [found[kind] for kind in KINDS if kind != "interpreted"]
    return found | {ANY: (min(low for low, _ in compiled), max(high for _, high in compiled))}


def _range(yardsticks: list[tuple[float, Callable[[], Any]]]) -> Range:
    speeds = []
    for flops, run in yardsticks:
        run()
        speeds.append(flops / max(1e-9, min(_seconds(run) for _ in range(4))))
    return min(speeds), max(speeds)


def _seconds(run: Callable[[], Any]) -> float:
    start = time.thread_time()
    run()
    return time.thread_time() - start


def _yardsticks() -> dict[str, list[tuple[float, Callable[[], Any]]]]:
    """(FLOPs, work) by kind, the small and slow beside the large and fast; each takes a fraction of a millisecond."""
    random = np.random.default_rng(0)
    small, middle, large = random.normal(size=(200, 8, 8)), random.normal(size=(96, 96)), random.normal(size=(256, 256))
    single = large.astype(np.float32)
    symmetric = small + small.transpose(0, 2, 1)
    entries, many = random.normal(size=8192), random.normal(size=2**17)
    kept, much = np.empty_like(entries), np.empty_like(many)
    floats = entries.astype(np.float32)
    return {
        "products": [
            (2 * 200 * 8**3, lambda: small @ small),
            (2 * 256**3, lambda: large @ large),
            (2 * 256**3, lambda: single @ single),
        ],
        "decompositions": [
            (9 * 50 * 8**3, lambda: np.linalg.eigh(symmetric[:50])),
            (9 * 96**3, lambda: np.linalg.eigh(middle)),
            (2 * 256**3, lambda: np.linalg.inv(large)),
        ],
        "elementwise": [
            (len(many), lambda: np.add(many, many, out=much)),
            (len(entries), lambda: np.multiply(entries, entries, out=kept)),
            (len(entries), lambda: floats + floats),
        ],
        "functions": [
            (len(entries), lambda: np.sin(entries, out=kept)),
            (len(entries), lambda: np.power(np.abs(entries), 0.3)),
            (len(entries), lambda: np.exp(floats)),
        ],
        "interpreted": [(2 * 2000, _interpreted), (1000, _interpreted_in_a_list)],
    }


def _interpreted() -> float:
    total = 0.0
    for k in range(2000):
        total += k * 0.5
    return total


def _interpreted_in_a_list() -> list[float]:
    values = [0.5] * 1000
    for k in range(1000):
        values[k] = min(max(values[k] * 1.5, -1.0), 1.0)
    return values
