"""What a component may show of itself in the report: pictures and tables of plain data, drawn by the page.

A component whose module inherits `Lifecycle` and has `panels(inputs)` returns `Panel`s of Images, Heat, Bars, Table and
Text. A trial asks for them once, on the trained network, and keeps them as JSON; the page, perhaps in another process
and years later, draws them. A component never writes HTML, so nothing that it names can become part of the page's own.
Everything is bounded: what is too much is left out, and `left_out` says so.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigError

IMAGES, SIDE, CELLS, BARS, ROWS, COLUMNS = 64, 64, 64, 64, 60, 12  # the most of each that is kept
CAPTION, LABEL, TEXT = 2000, 80, 20_000  # characters
PICTURES = 8  # of one panel


@dataclass(frozen=True)
class Images:
    """A grid of small pictures. Make it by `Images.of`.

    pixels: for each, height * width * channels bytes (0 to 255) in base64. channels: 1 (grey) or 3 (red, green, blue).
    low, high: what black and white stand for; signed: grey stands for 0, and the pictures are drawn in two colours.
    """

    pixels: tuple[str, ...]
    height: int
    width: int
    channels: int
    low: float
    high: float
    signed: bool = False
    labels: tuple[str, ...] = ()
    left_out: int = 0

    @classmethod
    def of(cls, values: Any, labels: Sequence[str] = (), *, signed: bool = False) -> Images:
        """values: (images, height, width) or (images, channels, height, width) with 1 or 3 channels, any real dtype.

        All share one scale, from the smallest to the largest finite value (signed: the same distance on both sides of
        0); what is not finite is drawn as the smallest. Sides above 64 are made smaller by leaving out rows and columns
        evenly; the first 64 images are kept. Raises ConfigError for another shape.
        """
        tensor = _tensor(values, "Images")
        if tensor.ndim == 3:
            tensor = tensor.unsqueeze(1)
        if tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or 0 in tensor.shape:
            raise ConfigError(
                f"Images of shape {tuple(tensor.shape)}; expected (images, height, width) or (images, 1 or 3, height, "
                "width), none of them 0"
            )
        if signed and tensor.shape[1] == 3:
            raise ConfigError("Images in red, green and blue have no sign; give one channel, or signed=False")
        count = len(tensor)
        tensor = tensor[:IMAGES, :, :: -(-tensor.shape[2] // SIDE), :: -(-tensor.shape[3] // SIDE)]
        low, high = _limits(tensor, signed)
        scaled = ((tensor - low) / ((high - low) or 1.0)).nan_to_num(0.0, 1.0, 0.0).clamp(0, 1)
        whole = (scaled * 255).round().byte().permute(0, 2, 3, 1).contiguous()
        pixels = tuple(base64.b64encode(image.numpy().tobytes()).decode() for image in whole)
        height, width, channels = (int(n) for n in whole.shape[1:])
        return cls(pixels, height, width, channels, low, high, signed, _labels(labels[:IMAGES]), count - len(pixels))


@dataclass(frozen=True)
class Heat:
    """A matrix as coloured squares: an attention map, a table of how often what follows what. Make it by `Heat.of`."""

    values: tuple[tuple[float | None, ...], ...]
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    signed: bool = False
    unit: str = ""
    left_out: int = 0

    @classmethod
    def of(
        cls, values: Any, rows: Sequence[str] = (), columns: Sequence[str] = (), *, signed: bool = False, unit: str = ""
    ) -> Heat:
        """values: (rows, columns); the first 64 of each are kept. unit: what a number is, in a word or two.
        Raises ConfigError for another shape."""
        matrix = _tensor(values, "Heat")
        if matrix.ndim != 2 or 0 in matrix.shape:
            raise ConfigError(f"Heat of shape {tuple(matrix.shape)}; expected (rows, columns), none of them 0")
        kept = matrix[:CELLS, :CELLS]
        table = tuple(tuple(_finite(v) for v in row) for row in kept.tolist())
        return cls(
            table, _labels(rows[:CELLS]), _labels(columns[:CELLS]), signed, _short(unit),
            matrix.numel() - kept.numel(),
        )  # fmt: skip


@dataclass(frozen=True)
class Bars:
    """Numbers by name, as bars from 0: singular values, how often each code is used. Make it by `Bars.of`."""

    values: tuple[float | None, ...]
    labels: tuple[str, ...] = ()
    unit: str = ""
    left_out: int = 0

    @classmethod
    def of(cls, values: Any, labels: Sequence[str] = (), *, unit: str = "") -> Bars:
        """values: (bars,); the first 64 are kept. Raises ConfigError for another shape."""
        row = _tensor(values, "Bars")
        if row.ndim != 1 or not len(row):
            raise ConfigError(f"Bars of shape {tuple(row.shape)}; expected (bars,), one or more")
        kept = tuple(_finite(v) for v in row[:BARS].tolist())
        return cls(kept, _labels(labels[:BARS]), _short(unit), len(row) - len(kept))


@dataclass(frozen=True)
class Table:
    """A small table. Make it by `Table.of`."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]
    left_out: int = 0

    @classmethod
    def of(cls, headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
        """rows: of numbers, texts or None; the first 60 rows and 12 columns are kept. Raises ConfigError for a row that
        is not as long as the headers."""
        for number, row in enumerate(rows):
            if len(row) != len(headers):
                raise ConfigError(f"Table: row {number} has {len(row)} entries for {len(headers)} headers")
        kept = tuple(tuple(_entry(v) for v in row[:COLUMNS]) for row in rows[:ROWS])
        return cls(_labels(headers[:COLUMNS]), kept, len(rows) * len(headers) - sum(map(len, kept)))


@dataclass(frozen=True)
class Text:
    """Text with its line breaks and columns, such as the drawing of a circuit; the first 20,000 characters are kept."""

    text: str
    left_out: int = 0

    @classmethod
    def of(cls, text: str) -> Text:
        return cls(str(text)[:TEXT], max(0, len(str(text)) - TEXT))


Picture = Images | Heat | Bars | Table | Text
KINDS: dict[str, type] = {"images": Images, "heat": Heat, "bars": Bars, "table": Table, "text": Text}


@dataclass(frozen=True)
class Panel:
    """What a component shows: a title of a few words, what is seen and what it says, up to eight pictures."""

    title: str
    pictures: tuple[Picture, ...]
    caption: str = ""
    left_out: int = field(default=0)

    def __init__(self, title: str, *pictures: Picture, caption: str = ""):
        wrong = [type(p).__name__ for p in pictures if not isinstance(p, Picture)]
        if wrong or not pictures:
            raise ConfigError(
                f"panel {str(title)!r} holds {', '.join(wrong) or 'nothing'}; expected Images, Heat, Bars, Table, Text"
            )
        object.__setattr__(self, "title", _short(title))
        object.__setattr__(self, "caption", str(caption)[:CAPTION])
        object.__setattr__(self, "pictures", pictures[:PICTURES])
        object.__setattr__(self, "left_out", len(pictures) - len(pictures[:PICTURES]))

    def to_json(self) -> dict[str, Any]:
        kinds = {cls: kind for kind, cls in KINDS.items()}
        pictures = [{"kind": kinds[type(p)], **vars(p)} for p in self.pictures]
        return {"title": self.title, "caption": self.caption, "pictures": pictures}

    @classmethod
    def from_json(cls, data: Any) -> Panel:
        """Read what a folder holds, which anybody may have written: only what the constructors could have made comes
        through. Raises ConfigError otherwise."""
        try:
            pictures = [_picture(given) for given in data["pictures"]]
            return cls(str(data["title"]), *pictures, caption=str(data.get("caption", "")))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"no panel of this version: {type(error).__name__}: {error}") from None


def _picture(given: Mapping[str, Any]) -> Picture:
    kind, left = given["kind"], int(given.get("left_out", 0))
    if kind == "images":
        h, w, c = (int(given[k]) for k in ("height", "width", "channels"))
        pixels = tuple(str(p) for p in given["pixels"][:IMAGES])
        if not (1 <= h <= SIDE and 1 <= w <= SIDE and c in (1, 3)):
            raise ValueError(f"pictures of {h} x {w} x {c}")
        if given["signed"] and c == 3:
            raise ValueError("coloured pictures with a sign")
        if any(len(base64.b64decode(p, validate=True)) != h * w * c for p in pixels):
            raise ValueError("a picture has another size than it says")
        low, high = float(given["low"]), float(given["high"])
        return Images(pixels, h, w, c, low, high, bool(given["signed"]), _labels(given["labels"][:IMAGES]), left)
    if kind == "heat":
        table = tuple(tuple(_known(v) for v in row[:CELLS]) for row in given["values"][:CELLS])
        if not table or not table[0] or len({len(row) for row in table}) != 1:
            raise ValueError("a matrix whose rows differ")
        rows, columns = _labels(given["rows"][:CELLS]), _labels(given["columns"][:CELLS])
        return Heat(table, rows, columns, bool(given["signed"]), _short(given["unit"]), left)
    if kind == "bars":
        values = tuple(_known(v) for v in given["values"][:BARS])
        if not values:
            raise ValueError("no bars")
        return Bars(values, _labels(given["labels"][:BARS]), _short(given["unit"]), left)
    if kind == "table":
        headers = _labels(given["headers"][:COLUMNS])
        rows_ = tuple(tuple(_entry(v) for v in row[:COLUMNS]) for row in given["rows"][:ROWS])
        return Table(headers, rows_, left)
    if kind == "text":
        return Text(str(given["text"])[:TEXT], left)
    raise ValueError(f"picture of kind {kind!r}")


# --- values ---------------------------------------------------------------------------------------------------------


def _tensor(values: Any, kind: str) -> Any:
    import torch

    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{kind}: {type(values).__name__} is no array of numbers: {error}") from None
    if tensor.is_complex():
        raise ConfigError(f"{kind} of complex numbers; give real ones, such as x.abs() or torch.view_as_real(x)")
    return tensor.detach().to("cpu", torch.float64)


def _limits(tensor: Any, signed: bool) -> tuple[float, float]:
    finite = tensor[tensor.isfinite()]
    if not len(finite):
        return (-1.0, 1.0) if signed else (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if signed:
        reach = max(abs(low), abs(high)) or 1.0
        return -reach, reach
    return low, high


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _known(value: Any) -> float | None:
    return None if value is None else _finite(float(value))


def _entry(value: Any) -> str | float | None:
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if value is None or isinstance(value, str):
        return value if value is None else value[:LABEL]
    if isinstance(value, (bool, int, float)):
        return value if isinstance(value, (bool, int)) else _finite(value)
    return str(value)[:LABEL]


def _labels(labels: Sequence[Any]) -> tuple[str, ...]:
    return tuple(_short(label) for label in labels)


def _short(label: Any) -> str:
    return str(label)[:LABEL]
