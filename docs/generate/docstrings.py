"""Docstrings as the reference shows them: the same reading as on the pages of components (see writing.prose)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))

from writing import prose


class Prose(griffe.Extension):
    """Turns each docstring into Markdown once, when its object is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = prose(obj.docstring.value)
