"""`dopant check`: the laws on the components of one's own file, on the built-in probes or in a real slot."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import laws, registry
from .._build import misfit
from .._slots import measure_all
from ..errors import ConfigError, UnknownName, hint, nearest
from ..laws import LawResult
from ..registry import ComponentInfo
from ..streams import Streams


def check_file(
    file: str | Path,
    name: str | None = None,
    *,
    host: str | None = None,
    data: str | None = None,
    slot: str | None = None,
) -> dict[str, list[LawResult]]:
    """{component: one result a law and place} for every component that the file registers, or for `name` alone.

    Without host, data and slot on the built-in probes; with any of them in that slot of the host (else in every one
    that it says it fills) as the data meet it; `creep-cnn` and `digits` unless given. A control that is declared and
    not registered is a failed result of the law `controls`.
    Raises ConfigError for a file that cannot be loaded, registers no component or none of that name.
    """
    registry.components.names()  # the file may be one of the package's own, or a plug-in's, which are found now
    registry.load_file(file)
    of_file = [info for info in registry.components if _is_from(info, Path(file).resolve())]
    if not of_file:
        raise ConfigError(f"{str(file)!r} registers no component; decorate a factory with @dopant.component(NAME)")
    names = [info.name for info in of_file]
    if name is not None and name not in names:
        tail = hint(nearest(name, names)) or f"; it registers {', '.join(names)}"
        raise ConfigError(f"{str(file)!r} registers no component {name!r}{tail}")
    chosen = [info for info in of_file if name in (None, info.name)]
    if host is None and data is None and slot is None:
        results = {info.name: laws.check(info) for info in chosen}
    else:
        results = _in_host(chosen, host, data, slot)
    for info in chosen:
        for control in info.controls:
            if control not in registry.components:
                near = nearest(control, registry.components.names(), 1)
                text = f"its control {control!r} is not registered" + hint(near)
                results[info.name].append(LawResult("controls", False, text))
    return results


def _is_from(info: ComponentInfo, file: Path) -> bool:
    if info.source == str(file):
        return True
    try:
        source = inspect.getsourcefile(inspect.unwrap(info.factory))
    except TypeError:
        return False
    return source is not None and Path(source).resolve() == file


def _in_host(
    chosen: Sequence[ComponentInfo], host: str | None, data: str | None, slot: str | None
) -> dict[str, list[LawResult]]:
    from ..tasks.build import build_data, build_host, sample_of
    from . import plan as planning
    from .request import study_of_request

    study = study_of_request(None, host=host or "creep-cnn", data=data, need_swaps=False)
    problems = study.problems()
    if problems:
        raise ConfigError(problems)
    streams = Streams(study.seed, 0)
    description = planning.describe(study, planning.cells(study)[0], 0, study.recipe, {})
    dataset = build_data(description, streams)
    model = build_host(description["host"], streams, dataset.facts())
    sample = sample_of(description, dataset)
    modules = {n: m for n, m in model.named_modules() if n}
    unknown = [UnknownName("slot", n, modules) for n in (slot.split("+") if slot else []) if n not in modules]
    if unknown:
        raise ConfigError([str(error) for error in unknown])
    if slot is None and any(info.mode == "group" for info in chosen):
        raise ConfigError("a component that fills a group needs --slot, its slots joined by '+'")
    place = f"host {description['host']['name']}, data {description['data']['name']}, slot "
    signatures = measure_all(model, sample)
    results: dict[str, list[LawResult]] = {}
    for info in chosen:
        slots = [slot] if slot else _fitting(info, modules, signatures)
        results[info.name] = [
            result for one in slots for result in laws.check_in(info, model, sample, one, place=place + one)
        ] or [LawResult("fits", False, f"by its own word it fills none of {', '.join(modules)}")]
    return results


def _fitting(info: ComponentInfo, modules: Mapping[str, Any], signatures: Mapping[str, Any]) -> list[str]:
    """The slots that the component says it fills, of those that the host calls."""
    called = [name for name in modules if signatures[name].calls and not signatures[name].problem]
    return [name for name in called if misfit(info, modules[name], signatures[name]) is None]


def report(results: Mapping[str, Sequence[LawResult]]) -> list[str]:
    """The results for people: a line a component, where it was tried, and each broken law once: its first message, and
    the other places (`--json` has every message)."""
    lines = []
    for name, found in results.items():
        tested = [r for r in found if not r.message.startswith("not tested")]
        broken = [r for r in found if not r.passed]
        idle = len(found) - len(tested)
        tail = f" ({idle} more do not apply)" if idle else ""
        lines.append(f"{name}: {len(tested) - len(broken)} of {len(tested)} checks passed{tail}")
        places = list(dict.fromkeys(r.where for r in found if r.where))
        if places:
            lines.append(f"    tried in: {'; '.join(places)}")
        for kind in dict.fromkeys((r.law, "" if r.where else r.message) for r in broken):
            first, *rest = [r for r in broken if (r.law, "" if r.where else r.message) == kind]
            lines.append(f"    {first.law}: {first.message}" + (f" [{first.where}]" if first.where else ""))
            if rest:
                lines.append(f"        so too in: {'; '.join(r.where for r in rest)}")
        if any(r.law == "fits" and not r.where for r in broken):
            lines.append(
                f"    a slot of your own is tried by: dopant check FILE {name} --host HOST --data DATA --slot SLOT"
            )
    return lines
