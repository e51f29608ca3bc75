"""What the lists of the command line say: components, baselines, papers; and one entry of them in full."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from . import registry
from ._options import Option, options_of
from .errors import UnknownName
from .registry import ComponentInfo

WHERE = "where it fits"


def component_rows(fills: str | None = None) -> list[dict[str, Any]]:
    """A row for each component, plain values only; `fills`: of those that fill a module class of this name.

    Raises UnknownName for a class that neither torch.nn nor a component has.
    """
    if fills is not None:
        from torch import nn

        known = [n for n in dir(nn) if isinstance(getattr(nn, n), type)]
        known += [c.__name__ for info in registry.components for c in _classes(info.fills)]
        if fills not in known:
            raise UnknownName("module class", fills, known)
    return [_row(info) for info in registry.list_components(fills)]


def component(name: str) -> dict[str, Any]:
    """The row of one component, its `doc` in full, with `facts`, `fills_probes` (the classes of the built-in probes'
    slots that it fills) and `options`: name, type, default, required, choices.

    Raises UnknownName with the nearest names; of a baseline it says which command has it. Cost: a second for probes.
    """
    from .laws.probes import filled_classes

    if name not in registry.components and name in registry.baselines:
        note = f"; {name!r} is a baseline: dopant baselines {name}"
        raise UnknownName("component", name, (), note)
    info = registry.components.get(name)
    return _row(info) | {
        "doc": info.doc, "facts": {k: _plain(v) for k, v in info.facts.items()}, "fills_probes": filled_classes(info),
        "options": [_option(o) for o in info.options],
    }  # fmt: skip


def baseline_rows() -> list[dict[str, Any]]:
    """A row for each baseline: name, first line of its doc, origin."""
    return [row | {"origin": registry.baselines.origin(row["name"])} for row in named_rows(registry.baselines)]


def named_rows(names: registry.Registry) -> list[dict[str, Any]]:
    """A row for each name of a kind: name, first line of its doc."""
    return [{"name": name, "doc": first_line(inspect.getdoc(names.get(name)))} for name in names.names()]


def baseline(name: str) -> dict[str, Any]:
    """The row of one baseline, its `doc` in full, with `options` as of a component. Raises UnknownName."""
    factory = registry.baselines.get(name)
    told = {"doc": inspect.getdoc(factory) or "", "origin": registry.baselines.origin(name)}
    return {"name": name, **told, "options": [_option(o) for o in options_of(factory)]}


def paper_rows() -> list[dict[str, Any]]:
    """A row for each paper. data: with published numbers. epochs: of every cell of its study, unless told otherwise;
    published_epochs: {version: at how many its numbers were published}."""
    from .papers.compare import published_epochs

    return [
        {
            "name": paper.name, "doc": paper.title, "source": paper.source,
            "data": paper.published_data(), "parts": list(paper.parts),
            "epochs": paper.part()[1].study(paper.check_data(None), False).recipe.epochs,
            "published_epochs": published_epochs(paper),
        }
        for paper in registry.papers
    ]  # fmt: skip


def epochs_text(row: dict[str, Any]) -> str:
    """`50; published: torch 50, equinox 100` of a paper's row."""
    published = ", ".join(f"{version} {epochs}" for version, epochs in row["published_epochs"].items())
    return f"{row['epochs']}" + (f"; published: {published}" if published else "")


def component_lines(found: dict[str, Any]) -> Iterator[str]:
    """One component for people."""
    yield f"{found['name']}" + (f" (control: {found['control']})" if found["control"] else "")
    yield from ("", *found["doc"].splitlines(), "")
    fills = found["fills"]
    if fills == WHERE and found["fills_probes"]:
        fills = f"{WHERE}; of the usual layers {', '.join(found['fills_probes'])}"
    yield f"fills: {fills}" + ("" if found["mode"] == "replace" else f" (mode {found['mode']})")
    if found["facts"]:
        yield "declares: " + ", ".join(k if v is True else f"{k}={v}" for k, v in found["facts"].items())
    yield f"paper: {_paper(found['paper'])}"
    yield from _control_lines(found["controls"])
    yield from option_lines(found)
    yield f"from: {found['origin']}"


def baseline_lines(found: dict[str, Any]) -> Iterator[str]:
    """One baseline for people."""
    yield from (found["name"], "", *found["doc"].splitlines(), "")
    yield from option_lines(found)
    yield f"from: {found['origin']}"


def option_lines(found: dict[str, Any]) -> Iterator[str]:
    """A line for each option: default and choices."""
    if not found["options"]:
        yield "options: none"
        return
    yield "options:"
    for option in found["options"]:
        choices = ", ".join(repr(c) for c in option["choices"])
        named = f"one of {choices}" if option["choices"] else option["type"]
        if option["choices"] and "|" in option["type"]:  # a Literal beside other types
            named = option["type"]
        default = "needed" if option["required"] else f"default {option['default']!r}"
        default = default.replace("default None", "unset unless given")  # a study file has no None
        yield f"    {option['name']}: {named + '; ' if named else ''}{default}"


def _control_lines(names: list[str]) -> Iterator[str]:
    if not names:
        yield "controls: none named"
        return
    yield "controls:"
    for name in names:
        if name not in registry.components:
            yield f"    {name}: not registered"
            continue
        info = registry.components.get(name)
        yield f"    {name}{f' ({info.control})' if info.control else ''}: {first_line(info.doc)}"


def _paper(name: str) -> str:
    if not name:
        return "none"
    if name not in registry.papers:
        return name
    paper = registry.papers.get(name)
    return f"{name}: {paper.title}; {paper.source}"


def _row(info: ComponentInfo) -> dict[str, Any]:
    return {
        "name": info.name, "fills": _fills_text(info.fills), "mode": info.mode, "control": info.control or "",
        "paper": info.paper or "", "controls": list(info.controls), "doc": first_line(info.doc), "origin": info.source,
    }  # fmt: skip


def _option(option: Option) -> dict[str, Any]:
    """Plain values; what JSON cannot hold as its repr."""
    return {
        "name": option.name, "type": option.type, "default": _plain(option.default), "required": option.required,
        "choices": list(option.choices),
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def first_line(doc: str | None) -> str:
    """The first paragraph, as one line."""
    return (doc or "").split("\n\n")[0].replace("\n", " ")


def _classes(fills: Any) -> list[type]:
    return [f for f in (fills if isinstance(fills, (tuple, list)) else [fills]) if isinstance(f, type)]


def _fills_text(fills: Any) -> str:
    if fills is None:
        return "anything"
    if isinstance(fills, (tuple, list)):
        return ", ".join(_fills_text(f) for f in fills)
    return fills.__name__ if isinstance(fills, type) else WHERE
