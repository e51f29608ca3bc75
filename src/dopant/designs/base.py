"""What every design is made of: cells, the contrasts between them, and how swaps are written.

A design is a value: its methods return a new one. `Cell` and `Contrast` are what the planner and the statistics see.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

from ..errors import ConfigError
from ..registry import components
from .automatic import ALL, control_names

Spec = dict[str, Any]  # {"component": name, …options}, always JSON values


@dataclass(frozen=True)
class Cell:
    """One level of every factor. swaps: {slot: spec}; a slot of a group is its names joined by '+'.

    role: "level", "control", "variant" or "baseline". control_kind: of a control, which of the four kinds it is.
    recipe: what differs from the study's recipe, such as {"lr": 3e-3}. baseline: {"name": …, options} of another model.
    drop_in: trained under the study's recipe although it stands beside its tuned self.
    """

    name: str
    level: int | None
    swaps: dict[str, Spec]
    role: str = "level"
    control: str | None = None
    control_kind: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] | None = None
    drop_in: bool = False

    @property
    def tuned(self) -> bool:
        """Whether [tuning] chooses its learning rate: not where the design sets it, nor of a baseline."""
        return "lr" not in self.recipe and self.baseline is None and not self.drop_in


@dataclass(frozen=True)
class Contrast:
    """One effect: `cell` minus `versus`, beside its pre-named `controls` (names of cells). All are names of cells.

    swap: how the effect is called, such as `head=reupload-linear`. role: "level"; "main", the mean effect of a level
    over cells that differ in other things too (one Holm family with the levels); "interaction" (a family of its own);
    or in no family "control", "variant", "simple" or "baseline". missing_controls: sentences, why one is not there.
    of: of an interaction, the main effects that it belongs to; of a simple effect its own, then the other factor's.
    simple: of a main effect, its simple effects at each level of each other factor, which become effects only where an
    interaction with that factor is found.
    plus, minus: where `cell` and `versus` name no cells but weighted sums of some, those as (cell, weight).
    """

    swap: str
    cell: str
    versus: str
    controls: tuple[str, ...] = ()
    role: str = "level"
    missing_controls: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    plus: tuple[tuple[str, float], ...] = ()
    minus: tuple[tuple[str, float], ...] = ()
    simple: tuple[Contrast, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Filling:
    """A swap as it was written: where (its dotted path in the study), which slot, with what."""

    path: str
    slot: str
    spec: Spec


class Design(Protocol):
    """What planner, statistics and texts ask of a design.

    KEYS: what its `[design]` table takes beside `kind`, {key: its type as pydantic takes it}.
    """

    KEYS: ClassVar[dict[str, Any]]

    @classmethod
    def from_table(cls, host: Any, table: Mapping[str, Any]) -> Design:
        """The design of a `[design]` table without `kind`. ConfigError lists every problem."""
        ...

    @property
    def host(self) -> Any: ...

    @property
    def kind(self) -> str: ...

    def cells(self, controls: Any = True) -> list[Cell]:
        """Every cell, the reference first."""
        ...

    def contrasts(self, controls: Any = True) -> list[Contrast]:
        """Every effect, those of the Holm family (role "level") among them."""
        ...

    def references(self) -> list[str]:
        """Names of the cells that whole other models are compared with."""
        ...

    def fillings(self) -> list[Filling]:
        """Every swap that is written in it."""
        ...

    def problems(self) -> list[str]:
        """What is wrong with it beyond names of components, by dotted path."""
        ...

    def summary(self) -> str:
        """What it does to the host, in a few words."""
        ...

    def to_config(self) -> dict[str, Any]:
        """The `[design]` table."""
        ...


def as_spec(value: Any) -> Spec:
    """A swap as written (`"name"` or `{"component": "name", …}`) in its full form."""
    if isinstance(value, str):
        return {"component": value}
    if isinstance(value, Mapping) and isinstance(value.get("component"), str):
        return dict(value)
    raise ConfigError(f"a swap is a component's name or a table with the key 'component', not {value!r}")


def describe_swaps(swaps: Mapping[str, Spec]) -> str:
    """`conv1=flipped-quanv, head=reupload-linear:reps=3`."""
    parts = []
    for slot, spec in swaps.items():
        options = "".join(f":{k}={v}" for k, v in spec.items() if k not in ("component", "of"))
        parts.append(f"{slot}={spec['component']}{options}")
    return ", ".join(parts)


def controls_of(added: Mapping[str, Spec], wanted: Any) -> list[tuple[list[str], str, str | None]]:
    """(slots, control, problem) for the swaps of one level: a control replaces all slots of one component at once.

    wanted: True or "all" for those that the components declare and, of each kind that they do not, those that are made
    for any component; "declared" for the former alone; False for none, a list of names, or {slot: names}. See
    `automatic`.
    """
    if wanted is False:
        return []
    found: list[tuple[list[str], str, str | None]] = []
    by_component: dict[str, list[str]] = {}
    for slot, spec in added.items():
        by_component.setdefault(spec["component"], []).append(slot)
    for name, slots in by_component.items():
        if isinstance(wanted, Mapping):
            names = list(dict.fromkeys(c for slot in slots for c in wanted.get(slot, [])))
        else:
            names = control_names(name, wanted)
        if wanted in ALL and not names and components.get(name).mode == "group":
            text = f"none is made for {name!r}, which fills several slots together; let it name controls of its own"
            found.append((slots, "", text))
        for control in names:
            plain = all(set(added[slot]) <= {"component", "mix"} for slot in slots)
            if control == name and plain:  # it would be equal to itself, and so explain itself
                found.append((slots, control, f"{control!r} is the component itself, which is no control of it"))
            elif control not in components:
                found.append((slots, control, f"control {control!r} of {name!r} is not registered"))
            else:
                found.append((slots, control, None))
    return found


def control_cells(
    name: str, level: int | None, swaps: Mapping[str, Spec], added: Mapping[str, Spec], wanted: Any
) -> tuple[list[Cell], list[str]]:
    """(cells of the controls of `added`, the swaps by which the cell `name` with `swaps` is told apart; why some are
    not there). wanted: as `controls_of`."""
    found, why_not = [], []
    for slots, control, problem in controls_of(added, wanted):
        if problem:
            why_not.append(problem)
            continue
        changed = dict(swaps)
        for slot in slots:
            changed[slot] = {"component": control, "of": added[slot]}
            if "mix" in added[slot]:  # the old module stays beside the control as it does beside the component
                changed[slot]["mix"] = added[slot]["mix"]
        label = f"{name}, {'+'.join(slots)}={control}"
        found.append(Cell(label, level, changed, "control", control, components.get(control).control or "ablation"))
    return found, why_not


def with_host(design: Any, host: Any) -> Any:
    """The same design of another host."""
    return replace(design, host=host)


def takes_target(factory: Callable) -> bool:
    """Whether a control's factory wants the component that it controls."""
    return "target" in inspect.signature(factory).parameters


def is_design(value: Any) -> bool:
    """Whether a value is a design: an instance with all that the protocol asks for."""
    asked = ("cells", "contrasts", "references", "fillings", "problems", "summary", "to_config")
    if isinstance(value, type) or not hasattr(value, "host"):
        return False
    return all(callable(getattr(value, name, None)) for name in asked)
