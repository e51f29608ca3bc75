"""What a trial keeps of its trained network for the report: the ledger of each swapped slot, the circuits in it, and
the panels that components make (`Lifecycle.panels`).

It is kept as JSON in the attempt's folder, since the page may be made where the network cannot be built again. The
first replicates keep it, so that there is one although the first may fail; the page shows the first that is finished.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from .._signature import Call
from ..cost import forward_flops, own_costs
from ..errors import DopantError
from ..lifecycle import Lifecycle
from ..panels import TEXT, Panel
from ..streams import default_generators
from ..training.lifecycle_calls import call_model
from .folder import Damaged, TrialFolder, dumps, read_sealed, seal, write_atomic

FILE, FORMAT = "panels.json", 1
ITEMS, REPLICATES = 8, 3
PANELS, BYTES = 8, 256 * 1024  # panels of one module, and of all of a trial together
CIRCUITS = 4  # that are drawn of one slot
COUNTED = 5_000_000  # numbers in a slot above which its FLOPs are not counted


def keep(trial: Any, model: nn.Module, split: Any, keeper: Any, precision: str = "float32") -> None:
    """Write `panels.json` for a trial whose network is trained, where it has a folder. split: where the items come
    from. Never raises for what a component or the disk does: the report says what is missing. Changes neither the model
    nor any generator.

    Cost: one forward pass of eight items, three of each swapped slot below five million numbers, and the panels'.
    """
    if trial.phase == "tuning" or trial.replicate >= REPLICATES or keeper.folder is None:
        return
    try:
        found = gather(model, trial.description["swaps"], split, trial.description["recipe"].get("batch", 1), precision)
    except Exception as error:
        found = {"slots": {}, "panels": [], "problems": [f"nothing could be shown: {_words(error)}"]}
    with contextlib.suppress(OSError):
        write_atomic(Path(keeper.folder) / FILE, seal(dumps({"format": FORMAT, **found})))


def gather(model: nn.Module, swaps: Iterable[str], split: Any, batch: int, precision: str = "float32") -> dict:
    """{"slots": {slot: what is known of it}, "panels": [{"path", "slot", panel}], "problems": [sentences]}."""
    names = [slot for group in swaps for slot in group.split("+")]
    there = dict(model.named_modules(remove_duplicate=False))
    slots = {name: there[name] for name in names if name in there}
    showing: dict[str, Any] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Lifecycle) and type(module).panels is not Lifecycle.panels
    }
    problems: list[str] = []
    with default_generators(0), torch.no_grad(), _evaluation(model):
        try:
            seen = _seen(model, [*slots.values(), *showing.values()], split, precision)
        except Exception as error:
            problems.append(f"the network could not be called for them: {_words(error)}")
            seen = {}
        panels = _panels(showing, names, seen, problems)
    with default_generators(0):
        known = {name: _slot(module, seen.get(module, []), batch) for name, module in slots.items()}
    return {"slots": known, "panels": panels, "problems": problems}


@contextlib.contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _seen(model: nn.Module, modules: list[nn.Module], split: Any, precision: str) -> dict[nn.Module, list[Any]]:
    """{module: [(args, kwargs) of each call]} of one pass of the first items of the split; {} without one."""
    if split is None or not modules:
        return {}
    seen: dict[nn.Module, list[Any]] = {}
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    inputs = split.batch(torch.arange(min(ITEMS, len(split))))[0]

    def placed(leaf: Any) -> Any:
        wide = precision == "float64" and isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
        return leaf.to(device, torch.float64 if wide else leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf

    handles = [
        module.register_forward_pre_hook(
            lambda m, args, kwargs: seen.setdefault(m, []).append((args, kwargs)), with_kwargs=True
        )
        for module in dict.fromkeys(modules)
    ]
    try:
        call_model(model, pytree.tree_map(placed, inputs))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _panels(showing: dict[str, Any], slots: list[str], seen: dict, problems: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    size = 0
    for path, module in showing.items():
        try:
            made = list(module.panels([args for args, _ in seen.get(module, [])]))
            wrong = [type(panel).__name__ for panel in made if not isinstance(panel, Panel)]
            if wrong:
                raise TypeError(f"panels() gave {', '.join(wrong)}; expected a list of dopant.panels.Panel")
            for panel in made[:PANELS]:
                one = {"path": path, "slot": slot_of(path, slots), **panel.to_json()}
                size += len(dumps(one))
                if size > BYTES:
                    problems.append(f"{path}: panel {panel.title!r} is left out, with what follows: too large")
                    return found
                found.append(one)
            if len(made) > PANELS:
                problems.append(f"{path}: {len(made) - PANELS} panels more than {PANELS} are left out")
        except Exception as error:
            problems.append(f"{path}: {_words(error)}")
    return found


def slot_of(path: str, slots: Iterable[str]) -> str:
    """The innermost of the slots that a module lies in; "" for one of the host's own."""
    return max((s for s in slots if path == s or path.startswith(s + ".")), key=len, default="")


def _slot(module: nn.Module, calls: list[Any], batch: int) -> dict[str, Any]:
    """class, parameters, trainable, ledger, circuits (drawn as text) and, where they can be counted, FLOPs a sample."""
    numbers = [(p.numel() * (2 if p.is_complex() else 1), p.requires_grad) for p in module.parameters()]
    found: dict[str, Any] = {
        "class": type(module).__name__, "parameters": sum(n for n, _ in numbers),
        "trainable": sum(n for n, moves in numbers if moves), "circuits": _circuits(module),
    }  # fmt: skip
    with contextlib.suppress(Exception):
        found["ledger"] = own_costs(module)
    if calls and found["parameters"] <= COUNTED:
        with contextlib.suppress(Exception):
            given = [Call(*args, **kwargs) for args, kwargs in calls]
            lengths = {call.tensors()[0].shape[0] for call in given}
            if len(lengths) == 1:  # the sample comes first, and is not cut into parts
                samples = lengths.pop()
                if samples <= ITEMS:
                    found["flops"] = sum(forward_flops(module, call, samples, batch=batch) for call in given)
    return found


def _circuits(module: nn.Module) -> list[dict[str, str]]:
    from ..quantum.circuit import Circuit

    found: list[dict[str, str]] = []
    for path, inner in module.named_modules():
        circuit = getattr(inner, "circuit", None)
        if isinstance(circuit, Circuit) and len(found) < CIRCUITS:
            with contextlib.suppress(DopantError):
                found.append({"path": path, "text": circuit.draw()[:TEXT]})
    return found


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def read(folder: Path, trial: str) -> dict[str, Any] | None:
    """What the latest attempt of a trial kept; None where none did, or it cannot be read."""
    place = TrialFolder(Path(folder), trial)
    for number in reversed(place.attempts()):
        with contextlib.suppress(Damaged):
            found = read_sealed(place.attempt(number) / FILE)
            return found if found.get("format") == FORMAT else None
    return None
