"""Write TOML whose tables are flat rows and whose arrays stay on one line, so that a new row is a short difference."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any


def document(
    comment: str, tables: Mapping[str, Mapping[str, Any]], lists: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    """The text: a comment, `[name]` tables, `[[name]]` rows. Values: text, whole numbers, floats, truth, lists of them,
    and flat mappings (inline tables). TypeError for others; None is left out."""
    parts = ["\n".join(f"# {line}".rstrip() for line in comment.splitlines())]
    parts += [_table(f"[{name}]", table) for name, table in tables.items()]
    parts += [_table(f"[[{name}]]", row) for name, rows in lists.items() for row in rows]
    return "\n\n".join(parts) + "\n"


def _table(head: str, table: Mapping[str, Any]) -> str:
    return "\n".join([head, *(f"{_key(k)} = {value(v)}" for k, v in table.items() if v is not None)])


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def value(item: Any) -> str:
    """One TOML value on one line."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, str):
        return json.dumps(item, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(item, int):
        return str(item)
    if isinstance(item, float):
        if not math.isfinite(item):
            return "nan" if math.isnan(item) else ("inf" if item > 0 else "-inf")
        return repr(item)
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {value(v)}" for k, v in item.items() if v is not None) + "}"
    if isinstance(item, Sequence):
        return "[" + ", ".join(value(v) for v in item) + "]"
    raise TypeError(f"no TOML value: {item!r}")
