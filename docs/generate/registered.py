"""A page for each component and each paper, and a list of each other kind, read from the registry."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from writing import block, code, plain, prose, slug, table

import dopant as dp
from dopant import listing, registry
from dopant._options import options_of

ASKS = {
    "same class": "an exact classical parametrisation of the same functions: is it these, or how they are reached?",
    "surrogate": "the same functions or more, without the circuit: would a classical model of it do as well?",
    "same capacity": "ordinary modules with as many trained numbers: would any network of that size do as well?",
    "ablation": "one property taken away: was that property needed?",
    "same simulation budget": "an ordinary network with the same FLOPs: was simulating it worth the time?",
}
FACTS = {
    "stochastic_in_eval": "draws at random in evaluation too",
    "couples_samples": "the output for one sample depends on the others of its batch",
    "no_input_gradient": "gives no gradient to what comes before it",
    "surrogate_gradient": "its gradient is not the slope (straight-through, say)",
    "changes_shape": "changes the shapes between its slots",
    "linear": "a linear map of its input, bias apart",
    "unitary": "keeps norms",
}
PLACES = (  # (host, its options, data, slot), tried in this order
    ("creep-cnn", {"size": 8}, "digits", "head"),
    ("creep-cnn", {"size": 8}, "digits", "conv1"),
    ("small-cnn", {"size": 8}, "digits", "activations.0"),
    ("small-cnn", {"size": 8}, "digits", "norms.0"),
    ("small-cnn", {"size": 8}, "digits", "pool"),
    ("kernel-machine", {"in_features": 2, "classes": 2}, "ad-hoc", "kernel"),
)


def pages() -> Iterator[tuple[str, str, str]]:
    """(title in the navigation, path, Markdown) of every page."""
    yield "All components", "components/index.md", components_index()
    for name in registry.components.names():
        yield name, f"components/{name}.md", component(name)
    yield "All papers", "papers/index.md", papers_index()
    for name in registry.papers.names():
        yield name, f"papers/{name}.md", paper(name)
    yield "Hosts", "reference/hosts.md", factories("hosts")
    yield "Data sets", "reference/datasets.md", factories("datasets")
    yield "Baselines", "reference/baselines.md", factories("baselines")
    yield "Tasks", "reference/tasks.md", tasks()


# --- components -----------------------------------------------------------------------------------------------------


def components_index() -> str:
    """Two tables: components, and controls."""
    rows = listing.component_rows()
    parts = [
        "# Components",
        "What can fill a slot. `dopant components` prints the same list, `dopant components NAME` one of them, and "
        "`dopant inspect --host H --data D` which of them fit where. One of your own needs no place here: see "
        "[your own component](../your-component.md).",
    ]
    for title, chosen in (
        ("## Components", [r for r in rows if not r["control"]]),
        ("## Controls", [r for r in rows if r["control"]]),
    ):
        kinds = title == "## Controls"
        parts += [title, table(
            ["name", *(["kind"] if kinds else []), "fills", "in one line"],
            ([f"[{code(r['name'])}]({r['name']}.md)", *([r["control"]] if kinds else []), _fills(r["name"]),
              plain(r["doc"])] for r in chosen),
        )]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def component(name: str) -> str:
    """What is known of one component, and how to use it."""
    found = listing.component(name)
    parts = [f"# {name}", prose(found["doc"]) or "No text."]
    about = [["fills", _fills(name)], ["mode", _mode(found["mode"])]]
    if found["control"]:
        about.append(["control", f"{found['control']}: {ASKS[found['control']]}"])
    if found["facts"]:
        facts = [f"{code(k)} ({FACTS[k]})" for k, v in found["facts"].items() if v]
        about.append(["declares", "; ".join(facts)])
    about += [["paper", _paper(found["paper"])], ["defined in", code(found["origin"])]]
    parts += [table(["", ""], about), "## Options", _options(found["options"])]
    if found["controls"]:
        parts += ["## Controls", "Trained beside it with `controls = true`; which others are added, and what cannot be "
                  "built, says [Controls](../controls.md).", _controls(found["controls"])]  # fmt: skip
    parts += ["## Use", *_use(found)]
    return "\n\n".join(parts) + "\n"


def _fills(name: str) -> str:
    found = listing.component(name)
    if found["fills"] == "anything":
        return "anything"
    if found["fills"] != listing.WHERE:
        return ", ".join(code(c) for c in found["fills"].split(", "))
    probes = found["fills_probes"]
    return "where it fits" + (f"; of the usual layers {', '.join(code(p) for p in probes)}" if probes else "")


def _mode(mode: str) -> str:
    words = {"replace": "takes the module's place", "wrap": "holds the old module", "insert": "stands after the module",
             "group": "fills several slots together"}  # fmt: skip
    return f"{mode}: {words[mode]}"


def _paper(name: str) -> str:
    return f"[{name}](../papers/{name}.md)" if name in registry.papers else plain(name) or "–"


def _options(options: list[dict[str, Any]]) -> str:
    if not options:
        return "None."
    rows = []
    for option in options:
        choices = ", ".join(code(f'"{c}"' if isinstance(c, str) else c) for c in option["choices"])
        default = "needed" if option["required"] else "unset" if option["default"] is None else code(_toml(option))
        rows.append([code(option["name"]), choices or code(option["type"]), default])
    return table(["option", "type or choices", "default"], rows)


def _toml(option: dict[str, Any]) -> str:
    value = option["default"]
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def _controls(names: list[str]) -> str:
    rows = []
    for name in names:
        info = registry.components.get(name)
        rows.append([f"[{code(name)}]({name}.md)", info.control or "a component", ASKS.get(info.control or "", ""),
                     plain(listing.first_line(info.doc))])  # fmt: skip
    return table(["control", "kind", "what it asks", "what it is"], rows)


@cache
def _built(host: str, options: tuple[tuple[str, Any], ...], data: str) -> tuple[Any, Any]:
    return dp.host(host, **dict(options)), dp.dataset(data).sample()


def place_of(name: str) -> tuple[str, dict[str, Any], str, str] | None:
    """The first of PLACES that the component really fills; None where there is none."""
    for host, options, data, slot in PLACES:
        model, sample = _built(host, tuple(options.items()), data)
        try:
            dp.swap(model, {slot: name}, sample)
        except dp.DopantError:
            continue
        return host, options, data, slot
    return None


def _use(found: dict[str, Any]) -> list[str]:
    name, control = found["name"], found["control"]
    if control and "target" in inspect.signature(registry.components.get(name).factory).parameters:
        return [
            "A control stands in for a component in the one contrast that it is named for. It is trained beside every "
            "component that declares it, or where the study names it:",
            block(f'[study.controls]\nhead = ["{name}"]', "toml"),
            block(f"dopant run --swap head=circuit --set 'study.controls=[\"{name}\"]'"),
        ]
    needed = [o for o in found["options"] if o["required"]]
    place = None if needed else place_of(name)
    if place is None:
        why = (
            f"It needs {', '.join(code(o['name']) for o in needed)}. "
            if needed
            else "No built-in host has a slot for it with its defaults; in a host of your own: "
        )
        option = f":{needed[0]['name']}=…" if needed else ""
        return [why, block(f"dopant run --host my_file:Net --data mnist --swap SLOT={name}{option}")]
    host, options, data, slot = place
    kernel = host == "kernel-machine"
    size = "" if kernel else " --set study.host.size=8"
    tail = " --quick" if data == "digits" else " --replicates 2"
    command = f"dopant run --host {host} --data {data} --swap {slot}={name}{size}{tail}"
    spec = ", ".join(f"{k}={v!r}" for k, v in options.items())
    key = f'"{slot}"' if "." in slot else slot
    host_said = f'"{host}"' if kernel else f'{{ name = "{host}", size = 8 }}'
    task = 'task = "kernel"\n' if kernel else ""
    return [
        block(command),
        block(f'[study]\n{task}data = "{data}"\nhost = {host_said}\n\n'
              f'[[design.levels]]\n{key} = {{ component = "{name}" }}', "toml"),
        block(f'import dopant as dp\n\nsample = dp.dataset("{data}").sample()\n'
              f'model = dp.swap(dp.host("{host}", {spec}), {{"{slot}": "{name}"}}, sample)', "python"),
    ]  # fmt: skip


# --- papers ---------------------------------------------------------------------------------------------------------


def papers_index() -> str:
    """The table of papers."""
    rows = [
        [f"[{code(r['name'])}]({r['name']}.md)", plain(r["doc"]), plain(r["source"]),
         ", ".join(code(d) for d in r["data"]), plain(listing.epochs_text(r))]
        for r in listing.paper_rows()
    ]  # fmt: skip
    return "\n\n".join([
        "# Papers",
        "Published systems that dopant reproduces. `dopant reproduce NAME` trains the published cells and prints "
        "published beside measured, with the difference and its interval.",
        table(["name", "title", "source", "data", "epochs"], rows),
    ]) + "\n"  # fmt: skip


def paper(name: str) -> str:
    """The paper's own page, with what uses it."""
    found = registry.papers.get(name)
    text = (found.folder / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"!\[([^\]]*)\]\((?!https?:)([^)]+)\)", rf"![\1](figures/{name}/\2)", text)
    used = [n for n in registry.components.names() if registry.components.get(n).paper == name]
    links = ", ".join(f"[{code(n)}](../components/{n}.md)" for n in used)
    about = [["name", code(name)], ["source", plain(found.source)],
             ["data", ", ".join(code(d) for d in found.data)], ["its components", links or "–"]]  # fmt: skip
    head, _, rest = text.partition("\n")
    return f"{head}\n\n{table(['', ''], about)}\n{rest}"


def paper_figures() -> Iterator[tuple[str, bytes]]:
    """(path on the site, content) of the pictures that the papers' pages show."""
    for found in registry.papers:
        text = (found.folder / "README.md").read_text(encoding="utf-8")
        for file in re.findall(r"!\[[^\]]*\]\((?!https?:)([^)]+)\)", text):
            yield f"papers/figures/{found.name}/{file}", (found.folder / file).read_bytes()


# --- other kinds ----------------------------------------------------------------------------------------------------

KINDS = {
    "hosts": (
        "Hosts",
        "A host is any `torch.nn.Module` that works before anything is swapped. These are built in; `in_channels`, "
        "`in_features`, `size` and `classes` are taken from the data unless the study says them. `timm:NAME` is a "
        "network of timm's (`pip install timm`), and `--host my_file:Net` [one of your own](../own-model.md).",
        'host = {{ name = "{name}" }}',
    ),
    "datasets": (
        "Data sets",
        "`limit = 1000` keeps so many training items of any of them, `test_limit` so many test items. Files are looked "
        "for in the folder that `DOPANT_DATA` names, or downloaded. [Data of your own](../own-data.md) come as arrays, "
        "a file or a folder of images.",
        'data = {{ name = "{name}" }}',
    ),
    "baselines": (
        "Baselines",
        "Whole other models on the same task and the same splits: `baselines = [\"logistic-regression\"]` in "
        "`[study]`. [Designs](../designs.md#baselines) says how they are tuned.",
        'baselines = [{{ name = "{name}" }}]',
    ),
}  # fmt: skip


def factories(kind: str) -> str:
    """All of one kind: text and options."""
    title, text, line = KINDS[kind]
    names = getattr(registry, kind)
    parts = [f"# {title}", text, table(["name", "in one line"], (
        [f"[{code(n)}](#{slug(n)})", plain(listing.first_line(inspect.getdoc(names.get(n))))] for n in names.names()
    ))]  # fmt: skip
    for name in names.names():
        factory = names.get(name)
        options = [listing._option(o) for o in options_of(factory)]
        parts += [f"## {name}", prose(inspect.getdoc(factory) or ""), _options(options),
                  block("[study]\n" + line.format(name=name), "toml")]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def tasks() -> str:
    """What a trial can do."""
    found = {name: registry.tasks.get(name) for name in registry.tasks.names()}
    rows = [
        [f"[{code(name)}](#{slug(name)})", code(task.metric or ""), plain(listing.first_line(task.doc))]
        for name, task in found.items()
    ]
    parts = ["# Tasks", "A task says what a trial does. `task = \"supervised\"` in `[study]` is the default.",
             table(["name", "metric", "in one line"], rows)]  # fmt: skip
    for name, task in found.items():
        parts += [f"## {name}", prose(inspect.cleandoc(task.doc))]
        if task.tunes:
            parts.append(f"It tunes by itself: {plain(task.tunes)}.")
        if task.host:
            parts.append(f"It fits the host [{code(task.host)}](hosts.md#{slug(task.host)}).")
    return "\n\n".join(parts) + "\n"
