"""Controls that are made for any component, also for one that names none."""

from __future__ import annotations

from typing import Any

from ..registry import components

ALL = (True, "all")  # as `study.controls` says it: the declared ones and those made here
DECLARED = "declared"
OTHER_SIDE = "-other-side"
"""Ends the name of a control's companion: where no width comes within a tenth, the neighbour on the other side."""

MADE = {
    "same capacity": ("bottleneck-mlp", "random-features", "linear-residual"),
    "surrogate": ("fourier-series",),
    "ablation": (
        "frozen", "matched-start", "unentangled", "dephased", "input-treatment-only", "bounded-output-only",
    ),
}  # fmt: skip
"""By kind. A kind of which a component declares a control is its own affair; of the others these are added."""


def control_names(component: str, wanted: Any) -> list[str]:
    """The controls of one component, in the order of their cells. wanted: as `study.controls`, but for {slot: names}.

    Under ALL those that it declares, then of each kind in MADE that is not among them the ones named there, and beside
    each control of the same capacity its companion on the other side. What of these means nothing for the component,
    or is not needed, is told when it is built (`NotDefined`); nothing is built here. Nothing is added to a component
    that is a control itself, nor to one that fills a group of slots.
    """
    if wanted is False:
        return []
    if wanted not in ALL and wanted != DECLARED:
        return list(wanted)
    info = components.get(component)
    names = list(info.controls)
    if wanted == DECLARED or info.control is not None or info.mode == "group":
        return names
    kinds = {components.get(name).control for name in names if name in components}
    names += [name for kind, made in MADE.items() if kind not in kinds for name in made if name not in names]
    found = []
    for name in names:
        found.append(name)
        beside = name + OTHER_SIDE
        if beside in components and beside not in names:
            found.append(beside)
    return found
