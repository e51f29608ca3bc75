"""pydantic's findings in our words: dotted path, what was expected, the nearest known key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from .errors import hint, nearest


def explain(error: ValidationError, known: Mapping[tuple[str, ...], list[str]], prefix: str = "") -> Iterator[str]:
    """One line a finding. known: {path of a table: its keys}; prefix: what stands before every path."""
    seen: set[str] = set()
    for item in error.errors():
        location: tuple[Any, ...] = tuple(part for part in item["loc"] if not is_branch(part))
        path = prefix + ".".join(str(part) for part in location)
        if item["type"] == "extra_forbidden":
            keys = known.get(location[:-1], [])
            near = nearest(str(location[-1]), keys)
            elsewhere = [table for table, names in known.items() if table and location[-1] in names]
            text = f"{path}: unknown {'key' if location[:-1] or prefix else 'table'}" + hint(near)
            if not near and elsewhere:
                text += f"; it belongs into [{elsewhere[0][0]}]"
            elif not near:
                text += f"; known: {', '.join(keys)}"
        else:
            text = f"{path}: {item['msg'][0].lower()}{item['msg'][1:]}, not {item.get('input')!r}"
        if path not in seen:  # a union gives one finding a branch
            seen.add(path)
            yield text


def is_branch(part: Any) -> bool:
    """pydantic adds the branch of a union (`str`, `dict[str,any]`) to the path; users wrote no such thing."""
    return isinstance(part, str) and (
        part in ("str", "bool", "list[str]") or part.startswith(("dict[", "function-", "literal["))
    )
