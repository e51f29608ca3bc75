"""Angles of gates: numbers, features, weights, and what arithmetic makes of them.

    feature(0) + 0.5 * weight()          (pi - feature(0)) * (pi - feature(1))

An angle is kept as a polynomial in features and weights, in radians. The common case, an affine one, is recognised as
such: its gradients need no graph.
"""

from __future__ import annotations

import itertools
import math
import numbers
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

_PROCESS = os.urandom(8).hex()
_COUNT = itertools.count()


class _Pending:
    """A weight that has no number yet; it is numbered when its gate is added.

    The same object is the same weight, and so is what pickling makes of it, here or in another process: a token tells
    it from all others, wherever they were made.
    """

    __slots__ = ("token",)

    def __init__(self) -> None:
        # a forked child goes on counting where its parent was, as its siblings do
        self.token = (_PROCESS, os.getpid(), next(_COUNT))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Pending) and self.token == other.token

    def __hash__(self) -> int:
        return hash(self.token)


@dataclass(frozen=True)
class Source:
    """One input of a circuit: kind "feature" or "weight", and its index."""

    kind: str
    index: Any

    def __str__(self) -> str:
        return f"{'x' if self.kind == 'feature' else 'w'}[{'?' if isinstance(self.index, _Pending) else self.index}]"


Monomial = tuple[Source, ...]


def _key(source: Source) -> tuple[str, bool, Any]:
    pending = isinstance(source.index, _Pending)
    return source.kind, pending, source.index.token if pending else source.index


class Angle:
    """A polynomial in features and weights, radians. Immutable; + - * with angles and numbers, / by numbers,
    ** whole numbers."""

    __slots__ = ("terms",)
    terms: dict[Monomial, float]

    def __init__(self, terms: dict[Monomial, float]):
        object.__setattr__(self, "terms", {m: c for m, c in terms.items() if c != 0.0})

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("an angle cannot be changed; make another by arithmetic")

    def __deepcopy__(self, memo: Any) -> Angle:
        return self  # a copy of weight() would be another weight

    def __reduce__(self) -> tuple[Any, ...]:
        return Angle, (self.terms,)

    @property
    def sources(self) -> set[Source]:
        return {s for monomial in self.terms for s in monomial}

    @property
    def constant(self) -> float:
        return self.terms.get((), 0.0)

    @property
    def is_number(self) -> bool:
        return all(not m for m in self.terms)

    @property
    def is_affine(self) -> bool:
        return all(len(m) <= 1 for m in self.terms)

    def replace(self, change: Callable[[Source], Source]) -> Angle:
        """The same polynomial with every source exchanged."""
        found: dict[Monomial, float] = {}
        for monomial, c in self.terms.items():
            new = tuple(sorted((change(s) for s in monomial), key=_key))
            found[new] = found.get(new, 0.0) + c
        return Angle(found)

    def value(self, features: Any, weights: Any) -> Any:
        """What it is at features (…, f) and weights (w): a tensor (…) or a number. Differentiable."""
        total: Any = None
        for monomial, c in self.terms.items():
            if not monomial:
                continue
            product: Any = None
            for s in monomial:
                factor = features[..., s.index] if s.kind == "feature" else weights[s.index]
                product = factor if product is None else product * factor
            product = product if c == 1.0 else product * _like(c, product)
            total = product if total is None else total + product
        constant = self.constant
        if total is None or not constant:
            return constant if total is None else total
        return total + _like(constant, total)

    def derivative(self, by: Source) -> Angle:
        """Its partial derivative, again an angle."""
        found: dict[Monomial, float] = {}
        for monomial, c in self.terms.items():
            power = monomial.count(by)
            if power:
                rest = list(monomial)
                rest.remove(by)
                found[tuple(rest)] = found.get(tuple(rest), 0.0) + power * c
        return Angle(found)

    def __add__(self, other: AngleLike) -> Angle:
        other = _operand(other)
        found = dict(self.terms)
        for m, c in other.terms.items():
            found[m] = found.get(m, 0.0) + c
        return Angle(found)

    def __mul__(self, other: AngleLike) -> Angle:
        other = _operand(other)
        found: dict[Monomial, float] = {}
        for m, a in self.terms.items():
            for k, b in other.terms.items():
                key = tuple(sorted((*m, *k), key=_key))
                found[key] = found.get(key, 0.0) + a * b
        return Angle(found)

    def __truediv__(self, other: AngleLike) -> Angle:
        other = _operand(other)
        if not other.is_number:
            raise ConfigError(f"an angle can be divided by a number only, not by {other}; divide the features before "
                              "they enter the circuit")  # fmt: skip
        if other.constant == 0.0:
            raise ConfigError("an angle cannot be divided by zero")
        return self * (1.0 / other.constant)

    def __pow__(self, power: int) -> Angle:
        if isinstance(power, bool) or not isinstance(power, int) or power < 0:
            raise ConfigError(f"an angle can be raised to a whole power from 0 on, not to {power!r}")
        found = Angle({(): 1.0})
        for _ in range(power):
            found = found * self
        return found

    def __neg__(self) -> Angle:
        return self * -1.0

    def __pos__(self) -> Angle:
        return self

    def __sub__(self, other: AngleLike) -> Angle:
        return self + -_operand(other)

    def __rsub__(self, other: AngleLike) -> Angle:
        return _operand(other) + -self

    __radd__ = __add__
    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Angle) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        parts = []
        for monomial, c in sorted(self.terms.items(), key=lambda t: (len(t[0]), [_key(s) for s in t[0]])):
            names = "*".join(str(s) for s in monomial)
            parts.append(
                f"{c:.6g}" if not names else names if c == 1 else f"-{names}" if c == -1 else f"{c:.6g}*{names}"
            )
        return " + ".join(parts).replace("+ -", "- ")

    __repr__ = __str__


AngleLike = Angle | float | int


def feature(index: int) -> Angle:
    """Column `index` of the input, from 0. ConfigError where it is no whole number from 0 on."""
    return Angle({(Source("feature", _whole(index, "feature")),): 1.0})


def weight(index: int | None = None) -> Angle:
    """A trainable angle. Without `index` it gets the circuit's next number when its gate is added; `weight(k)` shares
    number k. The two forms cannot be mixed in one circuit."""
    return Angle({(Source("weight", _Pending() if index is None else _whole(index, "weight")),): 1.0})


def as_angle(value: Any, where: str = "angle") -> Angle:
    """`value` as an angle. ConfigError (beginning with `where`) for what is no finite real number and no angle."""
    if isinstance(value, Angle):
        bad = [c for c in value.terms.values() if not math.isfinite(c)]
        if bad:
            raise ConfigError(f"{where}: the angle has a coefficient that is {bad[0]}; angles are finite, in radians")
        return value
    if hasattr(value, "detach"):
        if getattr(value, "requires_grad", False):
            raise ConfigError(f"{where}: a tensor that wants a gradient cannot be an angle; use "
                              f"weight() and set it in the "
                              "layer's `weights`, or feature(i) and pass it as input")  # fmt: skip
        value = value.detach().cpu().numpy()
    if hasattr(value, "ndim") and hasattr(value, "item"):
        if value.size != 1:
            raise ConfigError(f"{where}: an angle is one number, not an array of shape {tuple(value.shape)}; "
                              "one gate takes one angle, use feature(i) for numbers that differ between "
                              "samples")  # fmt: skip
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        complex_ = isinstance(value, numbers.Complex) and not isinstance(value, bool)
        kind = "complex" if complex_ else type(value).__name__
        raise ConfigError(f"{where}: an angle is a real number of radians, feature(i), weight() or arithmetic of them, "
                          f"not {value!r} ({kind})")  # fmt: skip
    number = float(value)
    if not math.isfinite(number):
        raise ConfigError(f"{where}: the angle is {number}; angles are finite, in radians")
    return Angle({(): number})


def _like(number: float, of: Any) -> Any:
    """The number in the precision of a tensor: vmap takes a plain number for a double one beside a tensor without axes,
    and a forward derivative of float32 then ends as float64."""
    return of.new_full((), number) if hasattr(of, "new_full") else number


def _operand(value: Any) -> Angle:
    return value if isinstance(value, Angle) else as_angle(value)


def _whole(index: Any, what: str) -> int:
    try:
        found = index.__index__()
    except (AttributeError, TypeError):
        found = -1
    if isinstance(index, bool) or found < 0:
        raise ConfigError(f"{what}({index!r}): the index is a whole number from 0 on")
    return int(found)


def number(angles: Iterable[Angle], known: dict[Any, int], first: int) -> tuple[list[Angle], int]:
    """The angles with their pending weights numbered, and the next free number.

    known: pending weight -> its number, filled in as new ones are met (from `first` on).
    """

    def change(s: Source) -> Source:
        nonlocal first
        if not isinstance(s.index, _Pending):
            return s
        if s.index not in known:
            known[s.index] = first
            first += 1
        return Source("weight", known[s.index])

    return [angle.replace(change) for angle in angles], first


def has_pending(angle: Angle) -> bool:
    return any(isinstance(s.index, _Pending) for s in angle.sources)


def has_numbered(angle: Angle) -> bool:
    return any(s.kind == "weight" and not isinstance(s.index, _Pending) for s in angle.sources)
