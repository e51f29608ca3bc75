"""The host as the report draws it: its modules in the order in which they run, kept in the study's folder.

The page is made from the folder, perhaps where neither the host's class nor the file of a component exists. So what it
needs is measured when the study is run, and written to `host.json`; of a study without it, the page measures it anew
where host and data come with the package.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .. import registry
from .._copy import copy_module
from .._signature import as_call
from .._slots import SMALL, Signature, plain_attention, resize, show
from ..cost import forward_flops
from ..errors import ConfigError, DopantError
from ..streams import Streams, default_generators
from . import plan as planning
from .config import Study, as_named
from .folder import Damaged, dumps, read_sealed, seal, write_atomic

if TYPE_CHECKING:
    from ..designs import Cell

FILE, FORMAT = "host.json", 1
EMBEDDED = ("digits", "two-moons", "ad-hoc")  # data that are there without a download or a folder
COUNTED = 5_000_000  # numbers in a module above which its FLOPs are not counted for the page
_KEY = 0x5EED


def measured(model: nn.Module, sample: Any, signatures: Mapping[str, Signature], study: Study) -> dict[str, Any]:
    """What `host.json` holds, plain values only. model: the host. signatures: of `measure_all`.

    host, data: as the study names them. class, parameters. modules: of each its name, class, parameters, how often it
    is called in one pass, and `first`, the place of its first call among all (None: never called), in evaluation.
    slots: of each slot that the design fills its class, settings, parameters, calls, inputs, outputs and, of small
    ones, FLOPs a sample. components: of each that some cell has, what its registration says.
    Cost: a copy of the host and one forward pass of two samples, and a few of each slot.
    """
    first, calls = order_of(model, sample)
    modules = [
        {
            "name": name, "class": type(module).__name__, "parameters": _numbers(module), "calls": calls.get(module, 0),
            "first": first.get(module),
        }
        for name, module in model.named_modules()
        if name
    ]  # fmt: skip
    there = dict(model.named_modules(remove_duplicate=False))
    slots = {name: _slot(there[name], signatures[name], study.recipe.batch) for name in study.slots() if name in there}
    cells = [cell for cell in planning.cells(study) if cell.baseline is None]
    return {
        "format": FORMAT, "host": as_named(study.design.host, "host"),
        "data": None if study.data is None else as_named(study.data, "data"),
        "class": type(model).__name__, "parameters": _numbers(model), "modules": modules, "slots": slots,
        "components": components_of(cells),
    }  # fmt: skip


def order_of(model: nn.Module, sample: Any) -> tuple[dict[nn.Module, int], dict[nn.Module, int]]:
    """({module: place of its first call}, {module: calls}) of one pass of a copy in evaluation, keyed by the modules
    of the model itself. Raises what the model raises."""
    copied = copy_module(model).eval()
    own = dict(zip(copied.modules(), model.modules(), strict=True))
    first: dict[nn.Module, int] = {}
    calls: dict[nn.Module, int] = {}

    def note(module: nn.Module, arguments: Any, named: Any) -> None:
        first.setdefault(own[module], len(first))
        calls[own[module]] = calls.get(own[module], 0) + 1

    for module in own:
        module.register_forward_pre_hook(note, with_kwargs=True)
    device = next((p.device for p in copied.parameters()), torch.device("cpu"))
    call = resize(as_call(sample), SMALL).map(lambda t: t.to(device))
    with default_generators(_KEY), plain_attention(), torch.no_grad():
        copied(*call.args, **call.kwargs)
    return first, calls


def _slot(module: nn.Module, signature: Signature, batch: int) -> dict[str, Any]:
    numbers = _numbers(module)
    found: dict[str, Any] = {
        "class": type(module).__name__, "settings": module.extra_repr()[:200], "parameters": numbers,
        "calls": len(signature.calls),
        "signature": [
            [show((c.args, c.kwargs) if c.kwargs else c.args[0] if len(c.args) == 1 else c.args, full=True),
             show(c.outputs, full=True)]
            for c in signature.distinct
        ][:8],
    }  # fmt: skip
    if numbers <= COUNTED and len(signature.calls) <= 4:
        with contextlib.suppress(Exception):  # what cannot be counted is left out
            found["flops"] = sum(
                forward_flops(module, lambda n, i=i: signature.example(n, call=i), 2, batch=batch)
                for i in range(len(signature.calls))
            )
    return found


def _numbers(module: nn.Module) -> int:
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in module.parameters())


def components_of(cells: list[Cell]) -> dict[str, dict[str, Any]]:
    """What the registry says of each component in the cells; those that it does not know are left out."""
    names = {str(spec.get("component")) for cell in cells for spec in cell.swaps.values()}
    found = {}
    for name in sorted(names):
        if name in registry.components:
            info = registry.components.get(name)
            found[name] = {
                "doc": info.doc[:20_000], "paper": info.paper, "controls": list(info.controls), "mode": info.mode,
                "control": info.control, "facts": {k: str(v) for k, v in info.facts.items()},
                "options": [o.name if o.required else f"{o.name} = {o.default!r}"[:200] for o in info.options],
                "source": info.source if not Path(info.source).is_absolute() else Path(info.source).name,
            }  # fmt: skip
    return found


def keep(folder: Path, found: Mapping[str, Any] | None) -> None:
    """Write `host.json` where it is not there as it should be. A disk that refuses costs the page its drawing only."""
    if not found:
        return
    data, path = seal(dumps(found)), folder / FILE
    try:
        if not path.is_file() or path.read_bytes() != data:
            write_atomic(path, data)
    except OSError:
        return


def read(folder: Path | None, study: Study | None) -> tuple[dict[str, Any] | None, str]:
    """(what `host.json` holds, or measured now, or None; why there is nothing, in a sentence, "" where nothing was to
    be expected)."""
    if folder is None or study is None:
        return None, ""
    path = Path(folder) / FILE
    if path.is_file():
        try:
            found = read_sealed(path)
        except Damaged as error:
            return None, f"The host is not drawn: {error}."
        if found.get("format") == FORMAT:
            return found, ""
        return None, "The host is not drawn: its description was written by another version of dopant."
    if study.task_name not in registry.tasks or not registry.tasks.get(study.task_name).networks:
        return None, ""
    return _anew(study)


def _anew(study: Study) -> tuple[dict[str, Any] | None, str]:
    from ..tasks.build import build_data, build_host, sample_of

    why = "The host is not drawn: this study was run before its description was kept, and "
    host = as_named(study.design.host, "host")
    data = None if study.data is None else as_named(study.data, "data")
    if host["name"] not in registry.hosts or host.get("checkpoint") is not None:
        return None, why + "its host is not one that comes with the package."
    if data is None or data["name"] not in EMBEDDED:
        return None, why + "measuring it now would need its data."
    try:
        cells = [cell for cell in planning.cells(study) if cell.baseline is None]
        description = planning.describe(study, cells[0], 0, study.recipe, {})
        streams = Streams(study.seed, 0)
        items = build_data(description, streams)
        model = build_host(description["host"], streams, items.facts())
        return now(model, sample_of(description, items), study), ""
    except (DopantError, RuntimeError, TypeError, ValueError) as error:
        return None, f"{why}measuring it now failed: {' '.join(str(error).split())[:200]}."


def now(model: nn.Module, sample: Any, study: Study) -> dict[str, Any]:
    """As `measured`, with the signatures measured too."""
    from .._slots import measure_all

    return measured(model, sample, measure_all(model, sample), study)


def try_measure(model: nn.Module, sample: Any, signatures: Mapping[str, Signature], study: Study) -> dict[str, Any]:
    """As `measured`; nothing where the host cannot be drawn, since no study fails for its picture."""
    try:
        return measured(model, sample, signatures, study)
    except (ConfigError, RuntimeError, TypeError, ValueError, AttributeError, KeyError):
        return {}
