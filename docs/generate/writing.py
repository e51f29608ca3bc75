"""Markdown from the package's own texts: tables, code, docstrings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

LABEL = re.compile(r"^([A-Z][a-z]+(?: [a-z]+){0,3}|[a-z_]+(?:, [a-z_]+){0,4}): ")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    lines += ["| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def code(text: Any) -> str:
    """Inline code; nothing for nothing."""
    text = str(text)
    if not text:
        return ""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def block(text: str, language: str = "") -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def plain(text: str) -> str:
    """Prose in which only `code` is marked up: no sign of a formula may turn into emphasis, a tag or a link."""
    parts = re.split(r"(`[^`\n]+(?:\n[^`\n]+)?`)", text)
    return "".join(p if i % 2 else re.sub(r"([\\*_<>\[\]#~^])", r"\\\1", p) for i, p in enumerate(parts))


def prose(doc: str) -> str:
    """A docstring as Markdown: paragraphs stay, a line that begins with `label:` begins a line, indented code stays."""
    found = []
    for paragraph in re.split(r"\n\s*\n", doc.strip()):
        lines = paragraph.split("\n")
        if all(line.startswith("    ") or not line.strip() for line in lines):
            found.append(block("\n".join(line[4:] for line in lines), "text"))
            continue
        text = ""
        for line in lines:
            label = LABEL.match(line)
            said = plain(line.strip())
            if label:
                name = label[1]
                keys = ", ".join(code(key) for key in name.split(", ")) if name[0].islower() else f"**{name}**"
                said = f"{keys}: {plain(line[label.end() :])}"
            text += ("  \n" if label and text else " " if text else "") + said
        found.append(text)
    return "\n\n".join(found)


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
