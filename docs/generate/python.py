"""The reference of the public names: which there are is read from the package, what they say is read by mkdocstrings
from the sources, without importing them."""

from __future__ import annotations

import dopant
from dopant import quantum

GROUPS = {  # title: (page's introduction, names)
    "Models and slots": ("What can be swapped, and swapping it.",
                         ("slots", "Signature", "Spec", "Call", "swap", "host")),
    "Data": ("Data sets and their splits.", ("dataset", "Dataset", "Split")),
    "Designs": ("Which cells are trained. [Designs](../designs.md) explains them.",
                ("Ladder", "Factorial", "OneAtATime", "Placement", "Race", "Mixing")),
    "Studies": ("The question, its run, its answer.",
                ("Recipe", "Tuning", "Study", "run", "load", "Answer", "analyse", "compare", "choose")),
    "Bringing your own": ("Decorators that register what you write.",
                          ("component", "ComponentInfo", "list_components", "metric", "task", "baseline",
                           "register_host", "register_dataset", "register_rule", "Lifecycle", "Phase", "Panel",
                           "Streams")),
    "Measuring": ("What is measured beside the score.", ("effective_dimension",)),
}  # fmt: skip
CIRCUITS = "Circuits are explained, with examples that run, in [Circuits](../circuits.md)."


def errors() -> list[str]:
    return [name for name in dopant.__all__ if name.endswith("Error") or dopant._NAMES[name][0] == ".errors"]


def ungrouped() -> set[str]:
    """Public names that no page has: none, or the build stops."""
    grouped = {name for _, names in GROUPS.values() for name in names}
    return set(dopant.__all__) - grouped - set(errors())


def defined(name: str) -> str:
    """Where a public name is defined, whatever it is called there."""
    found = getattr(dopant, name)
    return f"{found.__module__}.{found.__qualname__}"


def directive(target: str, heading: str, inherited: bool = False) -> str:
    """A heading of our own for an object, and what its source says."""
    more = "      inherited_members: true\n" if inherited else ""
    return f'::: {target}\n    options:\n      heading: "{heading}"\n      toc_label: "{heading}"\n{more}'


def page() -> str:
    """`import dopant as dp`: every public name but the errors."""
    if ungrouped():
        raise ValueError(f"public names without a place in the reference: {sorted(ungrouped())}")
    parts = ["# Python", "```python\nimport dopant as dp\n```",
             "Names are imported when they are first used: `import dopant` loads neither torch nor pandas. Errors have "
             "[a page of their own](errors.md), circuits [another](circuits.md)."]  # fmt: skip
    for title, (text, names) in GROUPS.items():
        parts += [f"## {title}", text]
        parts += [directive(defined(name), f"dp.{name}") for name in names]
    return "\n\n".join(parts) + "\n"


def errors_page() -> str:
    """Each error's docstring is what to do about it."""
    parts = ["# Errors", "Messages say what was wrong, what was expected and what to try, all problems of a request at "
             "once. All are subclasses of `dp.DopantError`; the command line prints the message without a traceback. "
             "What stands below each is the remedy."]  # fmt: skip
    parts += [directive(defined(name), f"dp.{name}") for name in errors()]
    return "\n\n".join(parts) + "\n"


def circuit_names() -> list[tuple[str, str]]:
    """(name, where it is defined) of what dopant.quantum gives, Circuit first."""
    found = [(name, f"dopant.quantum{module}.{name}") for name, module in quantum._NAMES.items()]
    return sorted(found, key=lambda pair: (pair[0] != "Circuit", pair[0].lower()))


def circuits_page() -> str:
    parts = ["# Circuits: the names", "```python\nfrom dopant.quantum import Circuit, feature, weight\n```", CIRCUITS]
    parts += [directive(where, name, inherited=name == "Circuit") for name, where in circuit_names()]
    return "\n\n".join(parts) + "\n"
