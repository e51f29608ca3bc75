"""Which shape and width of an ordinary network has a wanted number of trainable parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import NotDefined, SlotMismatch

NEAR = 0.1  # of the wanted count: nearer than this is matched


@dataclass(frozen=True)
class Choice:
    """One network: its shape, its width (0 where the shape has none) and its trainable count."""

    shape: str
    width: int
    count: int

    def __str__(self) -> str:
        return f"{self.shape} of width {self.width}" if self.width else self.shape


@dataclass(frozen=True)
class Family:
    """A shape whose count is fixed + step * width, width from 1 to `most`; step 0: a single network."""

    shape: str
    fixed: int
    step: int = 0
    most: int | None = None

    def at(self, width: int) -> Choice:
        return Choice(self.shape, width if self.step else 0, self.fixed + self.step * width)

    def around(self, wanted: int) -> tuple[Choice | None, Choice | None]:
        """The largest count up to `wanted` and the smallest from it on; None where the shape has none."""
        if not self.step:
            only = self.at(0)
            return (only if only.count <= wanted else None), (only if only.count >= wanted else None)
        most = math.inf if self.most is None else self.most
        below = min(most, (wanted - self.fixed) // self.step)
        above = max(1, -(-(wanted - self.fixed) // self.step))
        return (self.at(int(below)) if below >= 1 else None), (self.at(above) if above <= most else None)


def families(fan_in: int, outputs: int, *, per_feature: bool) -> list[Family]:
    """The shapes in the order of preference, from `fan_in` numbers to `outputs` features.

    bottleneck: affine, activation, affine. affine. low-rank: two affine maps, the first without a bias. per-feature: a
    scale, a shift and the activation for each feature, where as many features come out as go in.
    """
    found = [Family("bottleneck", outputs, fan_in + 1 + outputs), Family("affine", fan_in * outputs + outputs)]
    side = min(fan_in, outputs) - 1
    if side >= 1:
        found.append(Family("low-rank", outputs, fan_in + outputs, side))
    return [*found, Family("per-feature", 2 * outputs)] if per_feature else found


def bracket(known: list[Family], wanted: int) -> tuple[Choice | None, Choice | None]:
    """The neighbours of `wanted`: the bottleneck's one width below and one above; where it has none below, the nearest
    counts of any shape."""
    below, above = known[0].around(wanted)
    if below is None:
        pairs = [family.around(wanted) for family in known]
        below = max((b for b, _ in pairs if b), key=lambda c: c.count, default=None)
        above = min((a for _, a in pairs if a), key=lambda c: c.count, default=None)
    return below, above


def choose(known: list[Family], wanted: int, side: str) -> Choice:
    """nearest: of the first shape that comes within a tenth, its nearest width; else the nearer neighbour. below,
    above: that neighbour. SlotMismatch, with the counts, where the smallest network is still too large."""
    below, above = bracket(known, wanted)
    if side == "above" and above is not None:
        return above
    if side == "nearest":
        for family in known:
            near = [c for c in family.around(wanted) if c is not None and abs(c.count - wanted) <= NEAR * wanted]
            if near:
                return min(near, key=lambda c: abs(c.count - wanted))
    if below is None:
        least = min((family.at(1) for family in known), key=lambda c: c.count)
        raise SlotMismatch(
            f"{wanted} trainable numbers are wanted, and the smallest ordinary network here, {least}, has "
            f"{least.count}; side='above' takes it all the same, and says so"
        )
    if side == "below" or above is None:
        return below
    return below if wanted - below.count <= above.count - wanted else above


def beside(known: list[Family], wanted: int, needed: bool = True) -> Choice:
    """The neighbour of `wanted` on the other side from `choose(…, "nearest")`.

    NotDefined where that is within a tenth (needed=False: the neighbour all the same) or there is none.
    """
    below, above = bracket(known, wanted)
    if below is None and needed:
        raise NotDefined(f"there is none: the narrowest is larger than the {wanted} trainable numbers wanted")
    near = choose(known, wanted, "nearest" if below is not None else "above")
    if needed and abs(near.count - wanted) <= NEAR * wanted:
        raise NotDefined(f"not needed: {near} has {near.count} trainable numbers, within a tenth of {wanted}")
    other = above if below is None or near.count <= wanted else below
    if other is None:
        raise NotDefined(f"there is none: no network here has more than {near.count} trainable numbers")
    return other
