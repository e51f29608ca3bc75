"""What may stand on the page before the verdicts: blocks that an answer gives as `preface`."""

from __future__ import annotations

from dataclasses import dataclass

from .tables import Table


@dataclass(frozen=True)
class Block:
    """kind: heading, text, banner, or table (with `text` as its label). Plain text; the page escapes it."""

    kind: str
    text: str
    table: Table | None = None
