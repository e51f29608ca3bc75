"""The reference of the command line, read from the application itself."""

from __future__ import annotations

from typing import Any

import typer
from writing import block, code, plain, table

from dopant.cli import app

HEAD = """# Command line

`dopant COMMAND …`, or `python -m dopant COMMAND …`. This page is made from the application;
`dopant COMMAND --help` says the same.

Values of options such as `--set recipe.lr=1e-3` and `--swap head=circuit:qubits=4` are TOML; what is no TOML value is a
string.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | a bug of dopant's |
| 2 | the request is wrong; the message on standard error says what, and what to try |
| 3 | finished, but some trials failed |
| 4 | checked and found wanting (`check`, `doctor`) |
| 130 | interrupted; everything finished is kept |
"""


def commands() -> dict[str, Any]:
    """{name: command} in the order of the help."""
    return dict(typer.main.get_command(app).commands)  # pyright: ignore[reportAttributeAccessIssue]


def page() -> str:
    """Every command with its arguments and options."""
    parts = [HEAD, table(["command", "does"], ([f"[`{n}`](#{n})", first(c.help)] for n, c in commands().items()))]
    for name, command in commands().items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        words = [a.name.upper() if a.required else f"[{a.name.upper()}]" for a in arguments]
        needed = [f"{o.opts[0]} {o.name.rstrip('_').upper()}" for o in options if o.required]
        usage = " ".join(["dopant", name, *words, *needed, *(["[OPTIONS]"] if len(options) > len(needed) else [])])
        parts += [f"## {name}", plain(command.help or ""), block(usage, "text")]
        rows = [[code(a.name.upper()), plain(a.help or ""), _type(a)] for a in arguments]
        rows += [[", ".join(code(n) for n in [*o.opts, *o.secondary_opts]), plain(o.help or ""), _type(o)]
                 for o in options]  # fmt: skip
        if rows:
            parts.append(table(["argument or option", "meaning", "value"], rows))
    return "\n\n".join(parts) + "\n"


def first(text: str | None) -> str:
    return plain((text or "").split("\n\n")[0].replace("\n", " "))


def _type(parameter: Any) -> str:
    if getattr(parameter, "is_flag", False):
        return "on or off" if parameter.secondary_opts else "flag"
    said = parameter.type.name + (", repeatable" if parameter.multiple else "")
    if parameter.required:
        return said + ", needed"
    given = parameter.default
    return said + (f", default {code(given)}" if isinstance(given, (str, int, float)) and given != "" else "")
