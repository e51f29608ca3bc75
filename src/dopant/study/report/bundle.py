"""Vega, Vega-Lite and vega-embed as one script, made once a version and kept in the cache folder, deflated."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.metadata
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

FORMAT = "3"  # of what is kept in the cache


@dataclass(frozen=True)
class Bundle:
    """data: the script, deflated, as base64 (0.4 MB). sha256: of the script's text, as a content policy names it."""

    data: str
    sha256: str


def folder() -> Path:
    """Where the script is kept: `report` in DOPANT_CACHE, else in the user's cache folder of dopant."""
    own = os.environ.get("DOPANT_CACHE")
    base = (
        Path(own).expanduser() if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dopant"
    )
    return base / "report"


def sha256(script: str) -> str:
    """The hash of an inline script as `script-src` has it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def bundle() -> Bundle | None:
    """The script; None where vl-convert is missing or fails (the page is whole without it).

    Cost: 2 s the first time, milliseconds after; a cache that cannot be written is done without.
    """
    try:
        version = importlib.metadata.version("vl-convert-python")
    except importlib.metadata.PackageNotFoundError:
        return None
    kept = folder() / f"vega-{version}-{FORMAT}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = Bundle(**json.loads(kept.read_text(encoding="ascii")))
        if sha256(zlib.decompress(base64.b64decode(found.data)).decode()) == found.sha256:
            return found
    try:
        import vl_convert

        text = f"(()=>{{{vl_convert.javascript_bundle(snippet='window.vegaEmbed = vegaEmbed;')}\n}})();"
    except Exception:  # whatever its engine says: pictures and tables do not need it
        return None
    made = Bundle(base64.b64encode(zlib.compress(text.encode(), 9)).decode(), sha256(text))
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        scratch = kept.with_name(f".{kept.name}.{os.getpid()}")
        scratch.write_text(json.dumps(made.__dict__), encoding="ascii")
        scratch.replace(kept)
    return made
