"""A circuit evaluated: which path does it, and what is refused before it begins.

The compiled kernel serves the CPU in float32 and float64; the torch path everything else: other devices, dense
matrices in the circuit, transforms of torch.func, compilation, and second derivatives.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ..errors import ConfigError, DoesNotFit
from ..memory import available, show_bytes
from . import amplitudes, statevector
from ._transforms import PLAIN, transformed
from .circuit import Circuit
from .kernel import loading
from .observables import Measurement, measurement, of_state

PATHS = ("auto", "kernel", "torch")
# by their own names: four steps of a lookup each are a tenth of a small circuit's time
_grad_enabled, _alive = torch.is_grad_enabled, torch._C._functorch.unwrap_if_dead  # type: ignore[attr-defined]
_LOOK = 1 << 27  # bytes: less is taken without asking how much there is


class Runner:
    """A circuit and what is measured, ready to run. Made once; cheap to copy (it is never changed)."""

    def __init__(self, circuit: Circuit, measured: Measurement, path: str = "auto"):
        if path not in PATHS:
            raise ConfigError(f"path={path!r}: take one of {', '.join(map(repr, PATHS))}")
        self.circuit, self.measured, self.path = circuit, measured, path
        fits(circuit, 1, False)
        self.plan: Any = None
        self.reason = self._planned()
        self.wants_state = not measured.diagonal
        # batches so small that nobody asks how much memory there is
        self._small = {k: _LOOK // needed(circuit, 1, True, double=True, kernel=k) for k in (False, True)}
        self._weights = torch.Size([circuit.weights])
        self._features = circuit.features
        self._apply: Any = None
        self._columns: dict[torch.dtype, torch.Tensor | None] = {}
        if path == "kernel" and self.reason:
            raise ConfigError(f"path='kernel': {self.reason}; path='auto' uses torch where the kernel cannot help")

    def __reduce__(self) -> tuple[Any, ...]:
        return Runner, (self.circuit, self.measured, self.path)

    def __deepcopy__(self, memo: Any) -> Runner:
        return self

    def _planned(self) -> str | None:
        """Why there is no plan, or None."""
        if self.path == "torch":
            return "path='torch'"
        if loading.refused():
            return loading.refused()
        dense = [f"gate {i} ({g.name!r})" for i, g in enumerate(self.circuit.gates) if g.dense]
        if dense:
            return f"{dense[0]} is a dense matrix"
        from .kernel.plan import plan

        self.plan = plan(self.circuit, self.measured)
        return None

    def chosen(self, x: torch.Tensor) -> str:
        """ "kernel" or "torch", for these features."""
        if self.plan is None or not x.is_cpu or x.dtype not in loading.DTYPES or transformed(x):
            return "torch"
        if x.dtype in loading._ready or loading.ready(x.dtype, wait=self.path == "kernel"):
            return "kernel"
        if self.path == "kernel":
            raise ConfigError(
                f"path='kernel': {loading.refused()}; path='auto' uses torch where the kernel cannot help"
            )
        return "torch"

    def __call__(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """features (batch, >= f), weights (w,), of one real dtype and device -> (batch, outputs)."""
        samples, columns = x.shape
        if columns > self._features:
            x = x[:, : self._features]
        kernel = type(weights) in PLAIN and self.chosen(x) == "kernel"
        if samples > self._small[kernel]:
            self._fits(x, weights, kernel)
        if not kernel:
            return of_state(self.measured, statevector.state(self.circuit, x, weights), self.circuit.qubits)
        if weights.shape != self._weights:
            raise ConfigError(f"weights of shape {tuple(weights.shape)} for a circuit of {self.circuit.weights} "
                              f"weights: expected ({self.circuit.weights},)")  # fmt: skip
        if not weights.is_cpu or weights.dtype is not x.dtype:
            raise ConfigError(f"weights of {weights.dtype} on {weights.device}, features of {x.dtype} on {x.device}: "
                              "expected one precision and device; move the layer or the features")  # fmt: skip
        plan, start = self.plan, None
        if plan.prepared:
            x, start = self._prepared(x, weights)
        keep = _grad_enabled() and (x.requires_grad or weights.requires_grad)
        if self._apply is None:
            module = loading.module()
            assert module is not None
            self._apply = module.apply
        # a tensor that is left of a transform that has ended
        out = self._apply(plan, self.wants_state, keep, _alive(x), _alive(weights), start)
        if plan.dropped:  # what cannot change the outputs still makes them NaN
            out = out + (x.detach()[:, plan.dropped] * 0).sum(1, keepdim=True)
        if self.wants_state:
            return of_state(self.measured, out, self.circuit.qubits)
        columns = self._made(x.dtype)
        return out if columns is None else out @ columns

    def _prepared(self, x: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The columns that the plan reads, with those of derived angles after them, and start states if it is given
        any."""
        start = amplitudes.start(self.circuit, x, weights) if self.plan.given else None
        x = x[:, : self.plan.features]
        if self.plan.derived:
            more = [a.value(x, weights).expand(x.shape[0]) for a in self.plan.derived]
            x = torch.cat([x, torch.stack(more, -1)], -1)
        return x, None if start is None else _alive(start)

    def _made(self, dtype: torch.dtype) -> torch.Tensor | None:
        """(words, outputs) that makes observables of the kernel's strings; None where they are the same."""
        if dtype not in self._columns:
            made = torch.from_numpy(self.plan.signs[:, None] * self.plan.columns)
            same = made.shape[0] == made.shape[1] and bool((made == torch.eye(made.shape[0], device="cpu")).all())
            self._columns[dtype] = None if same else made.to(dtype)
        return self._columns[dtype]

    def _fits(self, x: torch.Tensor, weights: torch.Tensor, kernel: bool) -> None:
        training = torch.is_grad_enabled() and (x.requires_grad or weights.requires_grad)
        fits(self.circuit, x.shape[0], training, x, kernel=kernel)


def needed(circuit: Circuit, batch: int, training: bool, *, double: bool = False, kernel: bool = True) -> int:
    """Bytes that one call takes at most, by formula.

    A state is 2 * 2^n numbers. The kernel keeps the last state of every sample and works on two more of 16 samples; the
    torch path keeps, in training, every state between its blocks of gates. A start of each sample's own is two states
    more, in training four.
    """
    state = (2 if double else 1) * 8 << circuit.qubits
    if any(g.amplitudes is not None for g in circuit.gates):
        own = state * (batch + 15) * (4 if training else 2)
        return own + needed(amplitudes.without(circuit), batch, training, double=double, kernel=kernel)
    if kernel:
        return state * (batch + 15) * (2 if training else 1) + 4 * state * 16
    return state * batch * (2 * len(statevector.blocks(circuit)) + 2 if training else 4)


def fits(circuit: Circuit, batch: int, training: bool, x: torch.Tensor | None = None, *, kernel: bool = True) -> None:
    """DoesNotFit where a call would take more memory than there is, with the largest that would do."""
    double = x is not None and x.dtype == torch.float64
    wanted = needed(circuit, batch, training, double=double, kernel=kernel)
    if wanted < _LOOK:
        return
    room = available(x.device if x is not None and x.device.type == "cuda" else "cpu")
    if wanted <= room.bytes:
        return
    shown = show_bytes(wanted) if wanted < 1 << 60 else f"2^{wanted.bit_length() - 1} bytes"
    one = needed(circuit, 1, training, double=double, kernel=kernel)
    most = circuit.qubits
    while most > 1 and wanted >> (circuit.qubits - most) > room.bytes:
        most -= 1
    smaller = f"a batch of {max(1, batch * room.bytes // wanted)}" if one <= room.bytes else f"{most} qubits"
    raise DoesNotFit(f"a circuit of {circuit.qubits} qubits with a batch of {batch} takes "
                     f"{shown} of memory, "
                     f"and {room.where} has {show_bytes(room.bytes)} left; the largest that fits is {smaller}",
                     needed=wanted, available=room.bytes)  # fmt: skip


def state(circuit: Circuit, features: torch.Tensor | None, weights: torch.Tensor | None) -> torch.Tensor:
    """See Circuit.state."""
    weights = None if weights is None else torch.as_tensor(weights)
    x, shape = inputs(circuit, features, weights.dtype if weights is not None else torch.get_default_dtype(), "state",
                      weights.device if weights is not None else None)  # fmt: skip
    w = weights_of(circuit, weights, x)
    return Runner(circuit, measurement("state", circuit.qubits))(x, w).reshape(*shape, 1 << circuit.qubits)


def inputs(circuit: Circuit, features: Any, dtype: torch.dtype, who: str,
           device: torch.device | None = None) -> tuple[torch.Tensor, torch.Size]:  # fmt: skip
    """features (…, >= f) as (samples, columns) of a precision that is computed in, and the leading axes.

    Lower precisions become `dtype`, and where that is one too, float32. ConfigError for features that are missing,
    complex or too few.
    """
    if features is None:
        if circuit.features:
            raise ConfigError(f"{who}: the circuit reads {circuit.features} features (up to "
                              f"x[{circuit.features - 1}] at "
                              f"{_first_reader(circuit)}) and was given none")  # fmt: skip
        return torch.zeros(1, 0, dtype=dtype, device=device), torch.Size()
    if not torch.is_tensor(features):
        features = torch.as_tensor(features)
    dtype = dtype if dtype in loading.DTYPES else torch.float32
    if features.is_complex():
        raise ConfigError(
            f"{who}: features are {features.dtype}; angles are real: take .real, .abs() or .angle() of them"
        )
    if not features.dtype.is_floating_point:
        features = features.to(dtype)
    if features.dim() == 0 or features.shape[-1] < circuit.features:
        raise ConfigError(f"{who}: features of shape {tuple(features.shape)}; the circuit reads "
                          f"{circuit.features} columns, "
                          f"up to x[{circuit.features - 1}] at {_first_reader(circuit)}: expected (…, "
                          f"{circuit.features}) "
                          "or more")  # fmt: skip
    if features.dtype not in loading.DTYPES:
        features = features.to(dtype)
    shape = features.shape[:-1]
    return features.reshape(math.prod(shape), features.shape[-1]) if len(shape) != 1 else features, shape


def _first_reader(circuit: Circuit) -> str:
    highest = circuit.features - 1
    return next(f"gate {i} ({g.name!r})" for i, g in enumerate(circuit.gates) if highest in g.features)


def weights_of(circuit: Circuit, weights: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    """Weights in the precision of the features. ConfigError for the wrong number, or complex ones."""
    found = torch.zeros(0, dtype=x.dtype, device=x.device) if weights is None else torch.as_tensor(weights)
    if found.is_complex():
        raise ConfigError(f"weights are {found.dtype}; the angles of a circuit are real")
    if found.dim() != 1 or found.numel() < circuit.weights or (weights is not None and found.numel() > circuit.weights):
        missing = f"; w[{found.numel()}] is missing" if found.dim() == 1 and found.numel() < circuit.weights else ""
        raise ConfigError(f"weights of shape {tuple(found.shape)} for a circuit of {circuit.weights} weights: expected "
                          f"({circuit.weights},){missing}")  # fmt: skip
    return found.to(x)
